//! Full disks on real file systems: a polite refusal with numbers, everything readable, forgetting makes room, and the same
//! with foreign files that leave no block at all, also across SIGKILL and a new start.
//!
//! One vault of 2+1 on small file systems of its own. What is kept for long is read back after each act; what has locks
//! of seconds fills the disks and is forgotten again. The box in the simulator meets the same in `world/forget`; here the file
//! system decides what "no space left" means.

mod acts;

use super::binaries::{self, Binaries};
use super::client::{Curl, Pushed};
use super::daemon::{Coffre, Daemon, tail};
use super::ledger;
use super::mounts::{Fs, LoopMount};
use super::show::{self, Page};
use super::signals::Stop;
use crate::rng::Rng;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Disks of the vault: 2+1.
const DISKS: u32 = 3;
/// Size of each file system: as small as mkfs.xfs makes one.
const DISK_BYTES: u64 = 320 << 20;
const CLIENT: &str = "pusher";
/// Kept for long.
const KEPT: &str = "kept";
/// Locked for half a minute: longer than filling takes, so that room does not come back meanwhile.
const BULK: &str = "bulk";

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Pushes that were acknowledged.
    pub acknowledged: u64,
    /// Pushes that were refused with 507.
    pub refused: u64,
    /// Snapshots read back and compared, each as often as it was.
    pub read_back: u64,
    /// Bytes of them.
    pub read_back_bytes: u64,
    /// From the first approval until pushes went again.
    pub freed_after: Duration,
    /// The slowest start on full disks.
    pub slowest_start: Duration,
}

/// Plays all acts on one kind of file system. An error names the first thing that was wrong.
pub fn run(fs: Fs, page: Page, stop: &Stop) -> Result<Figures> {
    let mut vault = Vault::new(fs)?;
    vault.play(page, stop).map_err(|why| {
        anyhow!("{why:#}\n(on {})\nthe end of coffred's log:\n{}", fs.name(), tail(&vault.log, 15))
    })?;
    Ok(vault.figures)
}

struct Snapshot {
    dataset: &'static str,
    id: String,
    hash: blake3::Hash,
    size: u64,
}

/// Fields are dropped in order: the daemon before the mounts, these before the folder they are in.
struct Vault {
    binaries: Binaries,
    state: PathBuf,
    log: PathBuf,
    coffre: Coffre,
    daemon: Option<Daemon>,
    curl: Curl,
    rng: Rng,
    acknowledged: Vec<Snapshot>,
    figures: Figures,
    mounts: Vec<LoopMount>,
    scratch: tempfile::TempDir,
}

impl Vault {
    fn new(fs: Fs) -> Result<Self> {
        let binaries = Binaries::ready()?;
        let scratch = tempfile::Builder::new().prefix("full-").tempdir_in(binaries::scratch("rig")?)?;
        let mounts: Vec<LoopMount> = (1..=DISKS)
            .map(|n| LoopMount::new(scratch.path(), &format!("disk{n}"), fs, DISK_BYTES))
            .collect::<Result<_>>()?;
        let disks: Vec<PathBuf> = mounts.iter().map(|m| m.path.clone()).collect();
        let (state, log) = (scratch.path().join("state"), scratch.path().join("coffred.log"));
        let coffre = Coffre::new(&binaries, &state);
        coffre.init(&disks, "full")?;
        let daemon = Daemon::start(&binaries, &state, &log)?;
        let (secret, pem) = (coffre.client_add(CLIENT)?, coffre.certificate()?);
        let curl = Curl::new(scratch.path(), &daemon.url, CLIENT, &secret, &pem)?;
        coffre.json(&["dataset", "set", &format!("{CLIENT}/{BULK}"), "--class", "30s"])?;
        Ok(Self {
            binaries,
            state,
            log,
            coffre,
            daemon: Some(daemon),
            curl,
            rng: Rng::new(12),
            acknowledged: Vec::new(),
            figures: Figures::default(),
            mounts,
            scratch,
        })
    }

    /// Pushes bytes that nobody has seen; 201 is noted, 507 counted, anything else is an error.
    fn push(&mut self, dataset: &'static str, len: usize) -> Result<Pushed> {
        let body = self.rng.bytes(len);
        let pushed = self.curl.push(dataset, |out| out.write_all(&body))?;
        match pushed.status {
            201 => {
                let receipt = pushed.receipt()?;
                let hash = blake3::hash(&body);
                ensure!(
                    receipt["hash"] == ledger::label(hash),
                    "the receipt is of something else: {receipt}"
                );
                let id = receipt["id"].as_str().context("a receipt without an id")?.to_owned();
                self.acknowledged.push(Snapshot { dataset, id, hash, size: len as u64 });
                self.figures.acknowledged += 1;
            }
            507 => self.figures.refused += 1,
            status => bail!("a push was answered with {status}: {} {}", pushed.text(), pushed.trouble),
        }
        Ok(pushed)
    }

    /// What is acknowledged reads bit-identical. Of the data that has locks of seconds only the newest must be there.
    fn compare(&mut self) -> Result<()> {
        let newest_bulk = self.acknowledged.iter().rposition(|s| s.dataset == BULK);
        let paths: Vec<String> = self
            .acknowledged
            .iter()
            .map(|s| format!("/v1/datasets/{}/snapshots/{}", s.dataset, s.id))
            .collect();
        let got = self.curl.get_many(&paths, self.scratch.path())?;
        for (n, (snapshot, (status, hash))) in self.acknowledged.iter().zip(got).enumerate() {
            if status == 404 && snapshot.dataset == BULK && Some(n) != newest_bulk {
                continue;
            }
            let Snapshot { dataset, id, size, .. } = snapshot;
            ensure!(
                status == 200 && hash == snapshot.hash,
                "{dataset} {id} ({size} bytes) read back with {status} as {hash}"
            );
            self.figures.read_back += 1;
            self.figures.read_back_bytes += size;
        }
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        self.coffre.json(&["status"])
    }

    /// SIGKILL, and a new start.
    fn restart(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
        }
        let daemon = Daemon::start(&self.binaries, &self.state, &self.log)?;
        self.curl = self.curl.at(&daemon.url);
        self.figures.slowest_start = self.figures.slowest_start.max(daemon.ready_after);
        self.daemon = Some(daemon);
        Ok(())
    }
}

/// Asks again and again until it is so.
fn wait_until(
    what: &str,
    limit: Duration,
    mut so: impl FnMut() -> Result<Option<String>>,
) -> Result<Duration> {
    let since = Instant::now();
    loop {
        let Some(instead) = so()? else { return Ok(since.elapsed()) };
        if since.elapsed() > limit {
            bail!("not {what} after {}: {instead}", show::time(limit));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}
