//! The leg of restic: the program of this machine, if it has one, backs real files up to the same box, with a disk pulled meanwhile.
//!
//! Nothing is installed for it: where there is no restic, the page says what was left out.

use super::legs;
use super::noise;
use super::stage::Stage;
use super::summary::{Summary, transfer};
use crate::rig::clients::{self, Client, files};
use crate::rig::show;
use crate::rig::signals::Stop;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CLIENT: &str = "laptop";
/// Real files of the first backup, or less where the demo was asked for less.
const REAL_BYTES: u64 = 50_000_000;
/// What is new in the second.
const NEW_BYTES: u64 = 12_000_000;
/// The disk that is pulled between the two.
const PULLED: usize = 3;
/// Length of packs: so many files of the box.
const PACK_MIB: u32 = 16;
/// An old restic tries a refused deletion again and again for a quarter of an hour; this long it is watched.
const REFUSED_LIMIT: Duration = Duration::from_secs(6);
const FORGET_LIMIT: Duration = Duration::from_secs(60);

/// The client, the folder that it backs up, and where it restores to.
struct Laptop {
    restic: Client,
    folder: PathBuf,
    scratch: PathBuf,
}

/// Init, two backups, a disk pulled between them, everything checked and compared; then what happens to who deletes.
pub fn backup_and_compare(
    stage: &mut Stage,
    input_bytes: u64,
    summary: &mut Summary,
    stop: &Stop,
) -> Result<()> {
    let page = summary.page();
    page.head("10  restic, and a disk pulled between two backups");
    let Some(program) = clients::restic_here() else {
        page.line("  There is no restic on this machine, so this leg is left out: init, two backups, check and restore by");
        page.line("  restic itself, with a disk pulled, and what the box answers to forget and prune. Any restic will do");
        page.line("  (on Debian: apt-get install restic); it uses the network of this machine only.");
        summary.fact("restic", "not on this machine: its leg was left out");
        return Ok(());
    };
    page.fact("restic", &program.version);
    let secret = stage.coffre().client_add(CLIENT)?;
    let address = stage.url().trim_start_matches("https://").to_owned();
    let pem = stage.path("restic.pem");
    std::fs::write(&pem, stage.coffre().certificate()?)?;
    let restic = Client::new(&program, &address, CLIENT, &secret, &pem).with_packs_of(PACK_MIB);
    let restic = restic.with_cache(&stage.path("restic-cache"));
    let laptop = Laptop { restic, folder: stage.path("laptop"), scratch: stage.path("restored") };
    let bytes = files::real(&laptop.folder, input_bytes.min(REAL_BYTES))?;
    let played = laptop.backups(stage, bytes, summary, stop);
    if stage.pulled(PULLED).exists() {
        stage.put_back(PULLED)?;
    }
    stop.check()?;
    // What restic itself says went wrong is a comparison that failed, and no reason to leave the rest out.
    if let Err(why) = played {
        summary.check(false, format!("restic does its work ({why:#})"));
        return Ok(());
    }
    legs::green_again(stage, "after restic's backups", summary, stop)?;
    let forgotten = laptop.forgets(stage, summary, stop);
    stop.check()?;
    if let Err(why) = forgotten {
        summary.check(false, format!("restic forgets as it may ({why:#})"));
    }
    Ok(())
}

impl Laptop {
    fn backups(&self, stage: &mut Stage, bytes: u64, summary: &mut Summary, stop: &Stop) -> Result<()> {
        let page = summary.page();
        page.line(format_args!("  $ restic -r rest:https://{CLIENT}:…@BOX/{}/ init", self.restic.repo()));
        let made = self.restic.init()?;
        summary.check(made.status.success(), "restic init makes the repository, with no step on the box");
        page.line("  $ restic backup laptop");
        let before = stage.usage();
        let since = Instant::now();
        self.restic.backup(&self.folder)?;
        let took = since.elapsed();
        summary.fact("restic backup", transfer(bytes, took, before, stage.usage()));
        stop.check()?;
        let first = self.figure(stage, "bytes")?;
        stage.pull(PULLED)?;
        page.fact("pulled", stage.disks()[PULLED].display());
        noise::write("laptop", NEW_BYTES, &mut File::create(self.folder.join("new"))?)?;
        let since = Instant::now();
        self.restic.backup(&self.folder)?;
        let added = self.figure(stage, "bytes")?.saturating_sub(first);
        let took = show::time(since.elapsed());
        summary.fact("restic backup, a disk gone", format!("{} new in {took}", show::bytes(added)));
        summary.check(added < NEW_BYTES * 2, "the second backup adds little more than what is new");
        stop.check()?;
        let since = Instant::now();
        self.restic.check()?;
        summary.fact("restic check --read-data", show::time(since.elapsed()));
        let count = self.restic.snapshots()?.len();
        summary.check(count == 2, "restic lists both backups, and read all of their data without an error");
        let since = Instant::now();
        let same = self.comes_back(&self.restic.newest()?);
        let line = transfer(bytes + NEW_BYTES, since.elapsed(), None, None);
        summary.fact("restic restore, a disk gone", line);
        summary
            .check(same.is_ok(), format!("every file comes back bit-identical, a disk gone{}", why(&same)));
        stop.check()
    }

    /// Deletes the newest backup, first as it may not, then as it may; brings it back.
    fn forgets(&self, stage: &mut Stage, summary: &mut Summary, stop: &Stop) -> Result<()> {
        let page = summary.page();
        let (repo, newest) = (self.restic.repo(), self.restic.newest()?);
        page.line("  $ restic forget --prune        (the repository is append-only)");
        let refused = clients::was_refused(self.restic.forget(&newest, REFUSED_LIMIT));
        self.restic.unlock()?;
        summary.fact("forget --prune, append-only", told(&refused, "403: refused, nothing was deleted"));
        summary.check(refused.is_ok(), "who has the client's secret cannot delete its backups");
        summary.check(self.restic.snapshots()?.contains(&newest), "the backup is still listed");
        stop.check()?;
        page.line(format_args!("  $ coffre repo set {repo} --mode recoverable"));
        stage.coffre().json(&["repo", "set", repo, "--mode", "recoverable"])?;
        page.line("  $ restic forget --prune");
        let pruned = self.restic.forget(&newest, FORGET_LIMIT)?;
        let gone = pruned.status.success() && !self.restic.snapshots()?.contains(&newest);
        summary.check(gone, "where its owner lets it, restic cleans up as it likes");
        let hidden = self.figure(stage, "deleted_bytes")?;
        let line = format!("done: {} hidden from it, kept until their lock ends", show::bytes(hidden));
        summary.fact("forget --prune, recoverable", line);
        summary.check(hidden >= NEW_BYTES, "what it deleted is hidden from it, and still there");
        page.line(format_args!("  $ coffre repo restore {repo}"));
        stage.coffre().json(&["repo", "restore", repo])?;
        summary.check(self.restic.snapshots()?.contains(&newest), "one command brings the backup back");
        let same = self.comes_back(&newest);
        summary.check(same.is_ok(), format!("and every file of it is bit-identical{}", why(&same)));
        stop.check()
    }

    /// Restores a backup and compares it with the folder, file by file.
    fn comes_back(&self, id: &str) -> Result<()> {
        self.restic.restore(id, &self.scratch)?;
        files::compare(&self.folder, &self.scratch)?;
        remove(&self.scratch)
    }

    fn figure(&self, stage: &Stage, key: &str) -> Result<u64> {
        let listed = stage.coffre().json(&["repo", "list"])?;
        let all = listed["repositories"].as_array().context("no list of repositories")?;
        let ours = all.iter().find(|one| one["repository"] == self.restic.repo());
        ours.and_then(|one| one[key].as_u64()).with_context(|| format!("no {key} of {}", self.restic.repo()))
    }
}

fn remove(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}

fn told(outcome: &Result<()>, well: &str) -> String {
    outcome.as_ref().map_or_else(|why| format!("{why:#}"), |()| well.to_owned())
}

fn why(outcome: &Result<()>) -> String {
    outcome.as_ref().map_or_else(|why| format!(" ({why:#})"), |()| String::new())
}
