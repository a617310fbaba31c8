//! The vault's turns: a box of six folders that is opened, robbed of shards, and watched while it heals and scrubs.

use crate::Turn;
use crate::yardstick::{forget_cached, shard_files};
use anyhow::{Context, ensure};
use coffre_rig::rng::Rng;
use coffre_vault::{InitPlan, Vault};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing here takes so long, unless it stands still.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the vault is asked how far it is.
const POLL: Duration = Duration::from_millis(1);

/// See the module.
pub struct Box6 {
    dir: tempfile::TempDir,
}

impl Box6 {
    /// A box with so much random data.
    pub fn filled(megabytes: usize) -> anyhow::Result<Self> {
        let base = std::env::var_os("COFFRE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new().prefix("rebuild-speed").tempdir_in(base)?;
        let disks: Vec<PathBuf> = (0..6).map(|n| dir.path().join(format!("disk{n}"))).collect();
        disks.iter().try_for_each(std::fs::create_dir)?;
        let state = dir.path().join("state");
        let plan = InitPlan { state, disks, geometry: None, name: "bench".into(), try_out: true };
        coffre_vault::init(&plan, &|keys, _, _, _| Ok(keys.authority_scalar[..4].to_vec()))?;
        let it = Self { dir };
        let vault = it.open()?;
        // The scrub opens packs while they arrive: whose chunks they are must be known.
        vault.client_add(&"bench".parse()?, None, None)?;
        let (mut rng, mut piece) = (Rng::new(1), vec![0; 1_000_000]);
        let mut stream = vault.put(&"bench/random".parse()?, None)?;
        for _ in 0..megabytes {
            rng.fill(&mut piece);
            stream.write(&piece)?;
        }
        stream.finish()?;
        vault.close();
        Ok(it)
    }

    /// Where its folders are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Shard files on all disks.
    pub fn shard_files(&self) -> anyhow::Result<usize> {
        (0..6).map(|n| Ok(shard_files(self.folder(), n)?.len())).sum()
    }

    fn open(&self) -> anyhow::Result<Vault> {
        Ok(Vault::open(&self.folder().join("state"))?)
    }

    /// Removes all shards of a disk and has them healed. Timed from the first shard that is proved to the last, so that
    /// the opening of the vault does not count.
    pub fn rebuild(&self, victim: usize) -> anyhow::Result<Turn> {
        let lost = shard_files(self.folder(), victim)?;
        let bytes: u64 = lost.iter().map(|file| file.len).sum();
        lost.iter().try_for_each(|file| std::fs::remove_file(&file.path))?;
        forget_cached(self.folder())?;
        let vault = self.open()?;
        let healed = || vault.status().heal.healed_shards;
        wait(POLL, || healed() > 0).context("the first shard")?;
        let (start, first) = (Stopwatch::start()?, healed());
        wait(POLL, || healed() >= lost.len() as u64).context("the last shard")?;
        let turn = start.stop(bytes / lost.len() as u64 * (lost.len() as u64 - first))?;
        ensure!(vault.status().heal.packs_left == 0, "something was not healed");
        vault.close();
        Ok(turn)
    }

    /// A light and a deep round over everything.
    pub fn deep_look(&self) -> anyhow::Result<Turn> {
        let vault = self.open()?;
        // What comes after every opening is over by then.
        sleep(Duration::from_secs(2));
        forget_cached(self.folder())?;
        let bytes = (0..6).map(|n| Ok(shard_files(self.folder(), n)?.iter().map(|f| f.len).sum::<u64>()));
        let bytes = bytes.sum::<anyhow::Result<u64>>()?;
        let start = Stopwatch::start()?;
        vault.scrub(Some(true))?;
        let running = || vault.scrub(None).is_ok_and(|info| info.running.is_some());
        wait(POLL * 5, || !running()).context("the end of the round")?;
        let turn = start.stop(bytes)?;
        let info = vault.scrub(None)?;
        let open: Vec<_> = info.finds.iter().filter(|find| find.healed_ms.is_none()).collect();
        ensure!(
            open.is_empty() && info.last_deep_ms.is_some(),
            "{:?}: the round found {open:?}",
            info.last_deep_ms
        );
        vault.close();
        Ok(turn)
    }
}

fn wait(poll: Duration, done: impl Fn() -> bool) -> anyhow::Result<()> {
    let since = Instant::now();
    while !done() {
        ensure!(since.elapsed() < PATIENCE, "it stands still");
        sleep(poll);
    }
    Ok(())
}

/// Wall time, and the CPU time of this process.
pub struct Stopwatch {
    since: Instant,
    cpu_before: f64,
}

impl Stopwatch {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self { since: Instant::now(), cpu_before: cpu_seconds()? })
    }

    pub fn stop(self, bytes: u64) -> anyhow::Result<Turn> {
        let seconds = self.since.elapsed().as_secs_f64();
        Ok(Turn { bytes, seconds, cpu_seconds: cpu_seconds()? - self.cpu_before })
    }
}

fn cpu_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// The most memory this process ever had.
pub fn peak_mib() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() / 1024)
}
