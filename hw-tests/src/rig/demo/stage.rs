//! The demo's box: six disk folders and a state folder in a scratch folder, its daemon, its client.

use crate::rig::binaries::{self, Binaries};
use crate::rig::client::Curl;
use crate::rig::daemon::{Coffre, Daemon, Usage, tail};
use crate::rig::signals::Stop;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Disks of the demo's box: 4+2.
pub const DISKS: usize = 6;
const CLIENT: &str = "demo";

/// The box and what surrounds it.
pub struct Stage {
    // Dropped first: nothing runs any more when the folder goes.
    daemon: Option<Daemon>,
    binaries: Binaries,
    coffre: Coffre,
    curl: Option<Curl>,
    disks: Vec<PathBuf>,
    peak_bytes: u64,
    scratch: tempfile::TempDir,
}

impl Stage {
    /// Makes the folders and the vault. Gives what `coffre init` told.
    pub fn init(binaries: &Binaries) -> Result<(Self, Value)> {
        let scratch = tempfile::Builder::new().prefix("box-").tempdir_in(binaries::scratch("demo")?)?;
        let disks: Vec<PathBuf> = (1..=DISKS).map(|n| scratch.path().join(format!("disk{n}"))).collect();
        for disk in &disks {
            std::fs::create_dir(disk)?;
        }
        std::fs::create_dir(scratch.path().join("pulled"))?;
        let coffre = Coffre::new(binaries, &scratch.path().join("state"));
        let told = coffre.init(&disks, "demo")?;
        let stage = Self {
            daemon: None,
            binaries: binaries.clone(),
            coffre,
            curl: None,
            disks,
            peak_bytes: 0,
            scratch,
        };
        Ok((stage, told))
    }

    /// Starts the daemon and waits until it is ready. The first time, makes the client.
    pub fn start(&mut self) -> Result<Duration> {
        let daemon = Daemon::start(&self.binaries, &self.state(), &self.log())?;
        let curl = match self.curl.take() {
            Some(curl) => curl.at(&daemon.url),
            None => {
                let (secret, pem) = (self.coffre.client_add(CLIENT)?, self.coffre.certificate()?);
                Curl::new(self.scratch.path(), &daemon.url, CLIENT, &secret, &pem)?
            }
        };
        let took = daemon.ready_after;
        self.curl = Some(curl);
        self.daemon = Some(daemon);
        Ok(took)
    }

    /// The client.
    pub fn curl(&self) -> &Curl {
        self.curl.as_ref().expect("the daemon was started before anybody asks for its client")
    }

    /// The client, and the daemon to kill while the client is at work.
    pub fn curl_and_daemon(&mut self) -> (Curl, &mut Daemon) {
        self.note_peak();
        let curl = self.curl().clone();
        (curl, self.daemon.as_mut().expect("the daemon was started before anybody kills it"))
    }

    /// Where the box serves.
    pub fn url(&self) -> &str {
        self.daemon.as_ref().map_or("", |daemon| &daemon.url)
    }

    /// The disk folders, in the order of the roster.
    pub fn disks(&self) -> &[PathBuf] {
        &self.disks
    }

    /// What the daemon has used so far.
    pub fn usage(&mut self) -> Option<Usage> {
        self.note_peak();
        self.daemon.as_ref()?.usage()
    }

    /// The highest resident size of the daemon seen so far, over all its lives.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn note_peak(&mut self) {
        let seen = self.daemon.as_ref().and_then(Daemon::usage).map_or(0, |usage| usage.peak_bytes);
        self.peak_bytes = self.peak_bytes.max(seen);
    }

    /// The command `coffre` for this box.
    pub fn coffre(&self) -> &Coffre {
        &self.coffre
    }

    /// The status, as scripts read it.
    pub fn status(&self) -> Result<Value> {
        self.coffre.json(&["status"])
    }

    /// The line that shows a person the status.
    pub fn status_line(&self) -> String {
        format!("{} --state {} status", self.binaries.coffre.display(), self.state().display())
    }

    /// A sentence of the box without the long way to its scratch folder.
    pub fn short(&self, text: &str) -> String {
        text.replace(&*self.scratch.path().to_string_lossy(), "…")
    }

    /// Waits until the status is as wanted. The error tells the last one.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        stop: &Stop,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(Value, Duration)> {
        let since = Instant::now();
        loop {
            let status = self.status()?;
            if wanted(&status) {
                return Ok((status, since.elapsed()));
            }
            if since.elapsed() > limit {
                bail!("{what}: not within {} s; the status is {status}", limit.as_secs());
            }
            stop.sleep(Duration::from_millis(100))?;
        }
    }

    /// Pulls a disk: its folder is somewhere else from one moment to the next.
    pub fn pull(&self, disk: usize) -> Result<()> {
        std::fs::rename(&self.disks[disk], self.pulled(disk)).context("pulling a disk")
    }

    /// Puts a disk back where it was. What the box left in its place meanwhile is in the way, and wrong.
    pub fn put_back(&self, disk: usize) -> Result<()> {
        if self.disks[disk].exists() {
            bail!("something was written to {}, where no disk was", self.disks[disk].display());
        }
        std::fs::rename(self.pulled(disk), &self.disks[disk]).context("putting a disk back")
    }

    /// Puts a new, empty disk in the place of a dead one. Gives what the command told, and where the old disk was.
    pub fn replace(&mut self, disk: usize) -> Result<(Value, PathBuf)> {
        let new = self.scratch.path().join(format!("disk{}", DISKS + 1));
        std::fs::create_dir(&new).context("a new disk")?;
        let number = (disk + 1).to_string();
        let told = self.coffre.json(&["disk", "replace", &number, "--with", &new.to_string_lossy()])?;
        Ok((told, std::mem::replace(&mut self.disks[disk], new)))
    }

    /// Where a disk lies that was pulled.
    pub fn pulled(&self, disk: usize) -> PathBuf {
        self.pulled_folder().join(format!("disk{}", disk + 1))
    }

    fn pulled_folder(&self) -> PathBuf {
        self.scratch.path().join("pulled")
    }

    /// A path in the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("coffred.log")
    }

    /// The end of the daemon's log, for a run that went wrong.
    pub fn log_tail(&self) -> String {
        tail(&self.log(), 15)
    }

    /// Stops the daemon gracefully and removes the scratch folder.
    pub fn end(mut self) -> Result<Duration> {
        self.daemon.take().context("no daemon to stop")?.stop()
    }
}

/// Bytes in all files below a folder.
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
