//! The box that the clients meet: six folders as 4+2, a daemon on a port that stays, and the command beside it.

use super::files;
use super::program::{Client, Program};
use crate::rig::binaries::{self, Binaries};
use crate::rig::client::Curl;
use crate::rig::daemon::{Coffre, Daemon};
use crate::rng::Rng;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// 4+2.
const DISKS: usize = 6;
/// The box looks at its disks several times a second in a try-out; what was not written to all of them is caught up.
const BACK_LIMIT: Duration = Duration::from_secs(90);
/// Real files of a first backup.
const REAL_BYTES: u64 = 40 << 20;
/// What curl pushes into the drop-box.
const DROPPED_BYTES: usize = 20 << 20;
const POLL: Duration = Duration::from_millis(20);

/// Fields are dropped in order: the daemon before its folder.
pub struct Stage {
    daemon: Option<Daemon>,
    binaries: Binaries,
    /// `127.0.0.1:PORT`, the same after each start.
    pub address: String,
    /// The command.
    pub coffre: Coffre,
    pem: PathBuf,
    state: PathBuf,
    log: PathBuf,
    disks: Vec<PathBuf>,
    /// Real files.
    pub real: PathBuf,
    /// For files that nobody has seen before.
    pub rng: Rng,
    folders: usize,
    scratch: tempfile::TempDir,
}

impl Stage {
    /// A new box, up and ready.
    pub fn new(binaries: Binaries) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(binaries::scratch("clients")?)?;
        let folder = scratch.path().canonicalize()?;
        let disks: Vec<PathBuf> = (1..=DISKS).map(|n| folder.join(format!("disk{n}"))).collect();
        for disk in &disks {
            std::fs::create_dir(disk)?;
        }
        let (state, log, pem, real) =
            (folder.join("state"), folder.join("log"), folder.join("box.pem"), folder.join("real"));
        let coffre = Coffre::new(&binaries, &state);
        coffre.init(&disks, "clients")?;
        std::fs::write(&pem, coffre.certificate()?)?;
        files::real(&real, REAL_BYTES)?;
        let daemon = Daemon::start(&binaries, &state, &log)?;
        let address = daemon.url.trim_start_matches("https://").to_owned();
        let rng = Rng::new(41);
        let daemon = Some(daemon);
        Ok(Self { daemon, binaries, address, coffre, pem, state, log, disks, real, rng, folders: 0, scratch })
    }

    /// The daemon's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Makes a client of the box for a program.
    pub fn client(&self, program: &Program) -> Result<Client> {
        let secret = self.coffre.client_add(program.name)?;
        Ok(Client::new(program, &self.address, program.name, &secret, &self.pem))
    }

    /// A path in the scratch folder that nothing has yet.
    pub fn path(&mut self, what: &str) -> Result<PathBuf> {
        self.folders += 1;
        Ok(self.scratch.path().canonicalize()?.join(format!("{what}-{}", self.folders)))
    }

    /// A folder of random files that nobody has seen before.
    pub fn fresh(&mut self) -> Result<PathBuf> {
        let folder = self.path("fresh")?;
        files::fresh(&folder, &mut self.rng)?;
        Ok(folder)
    }

    /// Restores a snapshot and compares it with the folder that it is of.
    pub fn restored_is(&mut self, client: &Client, id: &str, folder: &Path) -> Result<()> {
        let to = self.path("restored")?;
        client.restore(id, &to)?;
        files::compare(folder, &to)?;
        Ok(std::fs::remove_dir_all(&to)?)
    }

    /// curl at the drop-box, beside the repositories: pushed, got back, compared.
    pub fn drop_box(&mut self) -> Result<()> {
        let folder = self.path("curl")?;
        std::fs::create_dir(&folder)?;
        let (secret, pem) = (self.coffre.client_add("curl")?, self.coffre.certificate()?);
        let curl = Curl::new(&folder, &format!("https://{}", self.address), "curl", &secret, &pem)?;
        let body = self.rng.bytes(DROPPED_BYTES);
        let pushed = curl.push("dump", |out| out.write_all(&body))?;
        pushed.receipt()?;
        let got = curl.get("/v1/datasets/dump/snapshots/latest")?;
        ensure!(
            got.whole && got.hash == pushed.hash,
            "other bytes came back from the drop-box: {}",
            got.trouble
        );
        ensure!(self.repo("curl/dump")?.is_none(), "a data set is listed as a repository");
        Ok(())
    }

    /// SIGKILL, and a new start at the same address.
    pub fn kill_and_start(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon")?.kill()?;
        self.daemon = Some(Daemon::start_at(&self.binaries, &self.state, &self.log, &self.address)?);
        Ok(())
    }

    /// Ends the daemon gracefully.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon")?.stop().map(drop)
    }

    /// Takes two disks away.
    pub fn pull_two(&self) -> Result<()> {
        for disk in &self.disks[1..3] {
            std::fs::rename(disk, disk.with_extension("pulled"))?;
        }
        Ok(())
    }

    /// Puts them back and waits until all are in use.
    pub fn put_back(&self) -> Result<()> {
        for disk in &self.disks[1..3] {
            std::fs::rename(disk.with_extension("pulled"), disk)?;
        }
        let since = Instant::now();
        loop {
            let status = self.coffre.json(&["status"])?;
            if status["light"] == "green" {
                return Ok(());
            }
            ensure!(since.elapsed() < BACK_LIMIT, "the light is not green again: {}", status["reasons"]);
            std::thread::sleep(POLL * 10);
        }
    }

    /// Disks that are in use, as the box sees it.
    pub fn active_disks(&self) -> Result<usize> {
        let said = self.coffre.json(&["disk", "list"])?;
        let disks = said["disks"].as_array().context("no disks")?;
        Ok(disks.iter().filter(|disk| disk["state"] == "active").count())
    }

    /// What the box tells of a repository; `None` when it has none of this name.
    pub fn repo(&self, name: &str) -> Result<Option<Value>> {
        let said = self.coffre.json(&["repo", "list"])?;
        let all = said["repositories"].as_array().context("no list of repositories")?;
        Ok(all.iter().find(|repo| repo["repository"] == name).cloned())
    }

    /// A figure of a repository.
    pub fn figure(&self, name: &str, key: &str) -> Result<u64> {
        let repo = self.repo(name)?.with_context(|| format!("{name} is not listed"))?;
        repo[key].as_u64().with_context(|| format!("{name} has no {key}"))
    }

    /// Waits until a repository has grown by some megabytes: the backup is under way.
    pub fn wait_for_growth(&self, name: &str, from: u64) -> Result<()> {
        let since = Instant::now();
        while self.figure(name, "bytes")? < from + (8 << 20) {
            if since.elapsed() > super::program::LIMIT {
                bail!("{name} does not grow");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}
