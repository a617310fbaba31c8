//! A real box under test: its daemon, its command, one client, and what that client was told is safe.

use super::binaries::Binaries;
use super::client::{Curl, Pushed};
use super::daemon::{Coffre, Daemon, tail};
use super::ledger;
use crate::rng::Rng;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One push that was acknowledged.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The data set, without its client.
    pub dataset: &'static str,
    /// Its id.
    pub id: String,
    hash: blake3::Hash,
    size: u64,
}

/// What was acknowledged and read back so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Pushes that were acknowledged.
    pub acknowledged: u64,
    /// Snapshots read back and compared, each as often as it was.
    pub read_back: u64,
    /// Bytes of them.
    pub read_back_bytes: u64,
}

/// The box. Dropped before its disks are unmounted, so it stands before them in whatever holds both.
#[derive(Debug)]
pub struct Subject {
    /// The two programs.
    pub binaries: Binaries,
    /// The command, for this box.
    pub coffre: Coffre,
    /// The client.
    pub curl: Curl,
    /// Everything that is drawn comes from it.
    pub rng: Rng,
    /// What came of it.
    pub tally: Tally,
    folder: PathBuf,
    state: PathBuf,
    log: PathBuf,
    daemon: Option<Daemon>,
    acknowledged: Vec<Snapshot>,
}

impl Subject {
    /// Makes a box of these disks with a client of that name, and starts it. State and log are in `folder`.
    pub fn new(folder: &Path, disks: &[PathBuf], client: &str, seed: u64) -> Result<Self> {
        let binaries = Binaries::ready()?;
        let (state, log) = (folder.join("state"), folder.join("coffred.log"));
        let coffre = Coffre::new(&binaries, &state);
        coffre.init(disks, "rig")?;
        let daemon = Daemon::start(&binaries, &state, &log)?;
        let (secret, pem) = (coffre.client_add(client)?, coffre.certificate()?);
        let curl = Curl::new(folder, &daemon.url, client, &secret, &pem)?;
        Ok(Self {
            binaries,
            coffre,
            curl,
            rng: Rng::new(seed),
            tally: Tally::default(),
            folder: folder.to_owned(),
            state,
            log,
            daemon: Some(daemon),
            acknowledged: Vec::new(),
        })
    }

    /// Starts it again. Gives how long that took.
    pub fn start(&mut self) -> Result<Duration> {
        let daemon = Daemon::start(&self.binaries, &self.state, &self.log)?;
        self.curl = self.curl.at(&daemon.url);
        let took = daemon.ready_after;
        self.daemon = Some(daemon);
        Ok(took)
    }

    /// Stops it gracefully.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon")?.stop().map(drop)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon")?.kill()
    }

    /// What `coffre status --json` says.
    pub fn status(&self) -> Result<Value> {
        self.coffre.json(&["status"])
    }

    /// The last lines of the daemon's log.
    pub fn end_of_log(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// Pushes bytes that nobody has seen. A push that is acknowledged is noted.
    pub fn push(&mut self, dataset: &'static str, len: usize) -> Result<Pushed> {
        let body = self.rng.bytes(len);
        let pushed = self.curl.push(dataset, |out| out.write_all(&body))?;
        if pushed.status == 201 {
            self.note(dataset, &pushed.receipt()?, &body)?;
        }
        Ok(pushed)
    }

    /// Notes that `body` was acknowledged. Wrong when the receipt is of something else.
    pub fn note(&mut self, dataset: &'static str, receipt: &Value, body: &[u8]) -> Result<()> {
        let hash = blake3::hash(body);
        ensure!(receipt["hash"] == ledger::label(hash), "the receipt is of something else: {receipt}");
        let id = receipt["id"].as_str().context("a receipt without an id")?.to_owned();
        self.acknowledged.push(Snapshot { dataset, id, hash, size: body.len() as u64 });
        self.tally.acknowledged += 1;
        Ok(())
    }

    /// What was acknowledged, in order.
    pub fn acknowledged(&self) -> &[Snapshot] {
        &self.acknowledged
    }

    /// Everything that was acknowledged reads bit-identical. One that `may_be_gone`, by its place and itself, may be absent.
    pub fn compare(&mut self, may_be_gone: impl Fn(usize, &Snapshot) -> bool) -> Result<()> {
        let path = |s: &Snapshot| format!("/v1/datasets/{}/snapshots/{}", s.dataset, s.id);
        let paths: Vec<String> = self.acknowledged.iter().map(path).collect();
        let got = self.curl.get_many(&paths, &self.folder)?;
        for (n, (snapshot, (status, came))) in self.acknowledged.iter().zip(got).enumerate() {
            if status == 404 && may_be_gone(n, snapshot) {
                continue;
            }
            let Snapshot { dataset, id, hash, size } = snapshot;
            ensure!(
                status == 200 && came == *hash,
                "{dataset} {id} ({size} bytes) read back with {status} as {came}"
            );
            self.tally.read_back += 1;
            self.tally.read_back_bytes += size;
        }
        Ok(())
    }
}

/// Asks again and again until it is so; gives the answer. `Err` in it is what is so instead.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut so: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        let instead = match so()? {
            Ok(answer) => return Ok(answer),
            Err(instead) => instead,
        };
        if since.elapsed() > limit {
            bail!("not {what} after {}: {instead}", super::show::time(limit));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
