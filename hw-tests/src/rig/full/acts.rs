//! The acts of a run on full disks, one after the other.

use super::{BULK, CLIENT, KEPT, Vault, wait_until};
use crate::rig::client::Pushed;
use crate::rig::show::{self, Page};
use crate::rig::signals::Stop;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const BULK_LEN: usize = 12 * MIB;
/// More pushes than fit.
const MAX_PUSHES: usize = 300;
/// Snapshots that can be forgotten leave this much of each disk; the rest is filled by a stream that goes on for ever, and
/// by small ones.
const LEFT_BYTES: u64 = 72 << 20;
/// No push that fills the last of it is smaller.
const SMALL_BULK: usize = 128 << 10;
const LARGE_BULK: usize = 8 * MIB;
/// Filling what is left takes seconds.
const FULL_LIMIT: Duration = Duration::from_secs(120);
const ENDLESS_LEN: usize = 400 * MIB;
/// A refusal counts what is on its way as if it were on the disks; after another look there may be room for a little more.
const LOOK: Duration = Duration::from_millis(600);
/// Length that is announced and can never fit. The file is a hole.
const ANNOUNCED_LEN: u64 = 4 << 30;
/// Lock, grace of the snapshots, grace of their packs, and the box's own pace: half a minute when nothing is in the way.
const FREED_LIMIT: Duration = Duration::from_secs(90);
/// The box looks at its disks several times a second in a try-out.
const NOTICED_LIMIT: Duration = Duration::from_secs(10);
const RECOVERED_LIMIT: Duration = Duration::from_secs(30);
const FOREIGN: &str = "foreign";

/// One act of the play.
type Act = fn(&mut Vault) -> Result<()>;

impl Vault {
    pub(super) fn play(&mut self, page: Page, stop: &Stop) -> Result<()> {
        let acts: &[(&str, Act)] = &[
            ("keeping something", Self::keep_something),
            ("announcing too much", Self::announce_too_much),
            ("filling the disks", Self::fill),
            ("full: refused with numbers, readable", Self::refused_and_readable),
            ("forgetting makes room", Self::forget),
            ("a foreign file takes a whole disk", |v| v.foreign(&[1])),
            ("foreign files take all disks, SIGKILL, start", |v| v.foreign(&[0, 1, 2])),
        ];
        for (what, act) in acts {
            stop.check()?;
            let since = Instant::now();
            act(self).with_context(|| (*what).to_owned())?;
            self.compare().with_context(|| format!("after: {what}"))?;
            page.line(format_args!("  {what}: {}", show::time(since.elapsed())));
        }
        self.subject.stop()
    }

    fn keep_something(&mut self) -> Result<()> {
        for len in [5 * MIB, 200, MIB, 0, 70_000] {
            let pushed = self.push(KEPT, len)?;
            pushed.receipt().context("nothing is full yet")?;
        }
        Ok(())
    }

    /// What was announced and can never fit is refused before it is sent.
    fn announce_too_much(&mut self) -> Result<()> {
        let path = self.scratch.path().join("hole");
        File::create(&path)?.set_len(ANNOUNCED_LEN)?;
        let (status, text) = self.subject.curl.push_file(BULK, &path)?;
        ensure!(status == 507, "announcing {ANNOUNCED_LEN} bytes was answered with {status}: {text}");
        for word in ["4.3 GB are needed", "B free", "reserve of"] {
            ensure!(text.contains(word), "the refusal does not tell \"{word}\": {text}");
        }
        self.figures.refused += 1;
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        while self.least_free()? > LEFT_BYTES {
            ensure!(self.subject.acknowledged().len() < MAX_PUSHES, "the disks never fill");
            self.push(BULK, BULK_LEN)?.receipt()?;
        }
        let endless = self.push(BULK, ENDLESS_LEN)?;
        with_numbers(&endless)?;
        ensure!(endless.sent_bytes > MIB as u64, "it was refused before it began");
        self.fill_up()
    }

    /// Until not even a small object is taken. What the endless stream left is freed meanwhile, so pieces grow again where
    /// they are taken.
    fn fill_up(&mut self) -> Result<()> {
        let mut len = LARGE_BULK;
        let since = Instant::now();
        while since.elapsed() < FULL_LIMIT {
            let pushed = self.push(BULK, len)?;
            if pushed.status == 507 {
                len = (len / 2).max(SMALL_BULK);
                with_numbers(&pushed)?;
                std::thread::sleep(LOOK);
                if self.push(KEPT, 300)?.status == 507 {
                    return Ok(());
                }
            } else {
                len = (len * 2).min(LARGE_BULK);
            }
        }
        bail!("the disks never fill")
    }

    fn least_free(&self) -> Result<u64> {
        let status = self.subject.status()?;
        let disks = status["disks"].as_array().context("no disks")?;
        disks.iter().filter_map(|d| d["free_bytes"].as_u64()).min().context("no disk says how much is free")
    }

    fn refused_and_readable(&mut self) -> Result<()> {
        for len in [300, 100_000, BULK_LEN] {
            with_numbers(&self.push(KEPT, len)?)?;
        }
        let status = self.subject.status()?;
        let reasons = status["reasons"].to_string();
        ensure!(status["light"] == "red" && status["writable"] == false, "full, and the status is {status}");
        ensure!(reasons.contains("backups are refused") && reasons.contains("B left"), "{reasons}");
        ensure!(status["can_lose_disks"] == 1, "a full disk is as good as another: {status}");
        // From when it is full until its end a box starts, too.
        self.restart()
    }

    /// The owner approves what is to go, until there is room again.
    fn forget(&mut self) -> Result<()> {
        let coffre = self.subject.coffre.clone();
        let since = Instant::now();
        wait_until("room again", FREED_LIMIT, || {
            let plan = coffre.json(&["forget", "--plan"])?;
            let id = plan["plan"].as_str().context("a plan without an id")?.to_owned();
            // Refused when something was forgotten meanwhile: the next plan is asked about.
            let _ = coffre.json(&["forget", "--approve", &id]);
            let status = coffre.json(&["status"])?;
            let open = status["writable"] == true;
            Ok(open.then_some(()).ok_or_else(|| format!("{} {plan:.300}", status["reasons"])))
        })?;
        self.figures.freed_after = since.elapsed();
        for len in [5 * MIB, 300] {
            self.push(KEPT, len)?.receipt().context("there is room again")?;
        }
        Ok(())
    }

    /// Files of somebody else take every block of these disks. The box says so, goes on reading, can still set what the
    /// journal keeps, comes up again, and takes new data once they are gone.
    fn foreign(&mut self, disks: &[usize]) -> Result<()> {
        let files: Vec<PathBuf> = disks.iter().map(|n| self.mounts[*n].path.join(FOREIGN)).collect();
        files.iter().try_for_each(take_every_block)?;
        let coffre = self.subject.coffre.clone();
        wait_until("said", NOTICED_LIMIT, || {
            let status = coffre.json(&["status"])?;
            let said = status["light"] == "red" && status["reasons"].to_string().contains("B left");
            Ok(said.then_some(()).ok_or_else(|| status.to_string()))
        })?;
        self.compare().context("with no block left")?;
        with_numbers(&self.push(KEPT, 300)?)?;
        self.write_journal(2).context("with no block left")?;
        self.restart().context("with no block left")?;
        self.compare().context("started with no block left")?;
        self.write_journal(2).context("started with no block left")?;
        // What the ballast gave is taken, too.
        files.iter().try_for_each(take_every_block)?;
        self.compare().context("with no block and no ballast left")?;
        for file in &files {
            std::fs::remove_file(file)?;
        }
        wait_until("taking data again", RECOVERED_LIMIT, || {
            let status = coffre.json(&["status"])?;
            let disks = status["disks"].as_array().map_or(&[][..], Vec::as_slice);
            let well = status["writable"] == true && disks.iter().all(|d| d["state"] == "active");
            Ok(well.then_some(()).ok_or_else(|| status.to_string()))
        })?;
        self.push(KEPT, MIB)?.receipt().context("the foreign files are gone")?;
        Ok(())
    }

    /// Facts that need the journal and no pack.
    fn write_journal(&mut self, count: u32) -> Result<()> {
        for n in 0..count {
            let class = format!("{}d", 30 + n);
            self.subject.coffre.json(&["dataset", "set", &format!("{CLIENT}/{KEPT}"), "--class", &class])?;
        }
        Ok(())
    }
}

/// 507, with what is free and what is kept in reserve.
fn with_numbers(pushed: &Pushed) -> Result<()> {
    let text = pushed.text();
    ensure!(pushed.status == 507, "{} bytes were taken by full disks: {text}", pushed.sent_bytes);
    let numbers = text.contains("B free") && text.contains("B are kept in reserve");
    ensure!(numbers, "the refusal tells no numbers: {text}");
    Ok(())
}

/// Writes until the file system has not a block left.
fn take_every_block(path: &PathBuf) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    for piece in [MIB, 4096, 512] {
        loop {
            match file.write(&vec![0xA5; piece]).and_then(|n| file.sync_data().map(|()| n)) {
                Ok(0) => bail!("{} takes no bytes and says nothing", path.display()),
                Ok(_) => {}
                Err(why) if why.kind() == std::io::ErrorKind::StorageFull => break,
                Err(why) => return Err(why).with_context(|| path.display().to_string()),
            }
        }
    }
    Ok(())
}
