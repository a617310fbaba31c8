//! Measures a box that has grown old: mount time, memory, index and the cost of a push with millions of chunks in it.
//!
//! `cargo run --release -p coffre-rig --bin population [-- PACKS]` (300,000 packs of 67 chunks unless said: 20 million). The
//! population is made, not pushed: facts of packs are written into the vault's own checkpoints, their chunks are learnt by its own index,
//! and each disk gets an empty file for each shard. So nothing of it can be read, and everything that grows with
//! it is there: catalogue, checkpoint, folders, index. The same pushes are measured before and after, in one run.

#![allow(clippy::print_stdout)] // Figures are what this program is for.

use anyhow::{Context, Result, ensure};
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::class::LockClass;
use coffre_core::fact::{Fact, PackFact};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ChunkId, DiskNo, PackId};
use coffre_core::keys::KeyRing;
use coffre_core::pack::PACK_TARGET;
use coffre_core::shard::PackDigest;
use coffre_core::slots::{new_identity, open_root};
use coffre_core::words::RecoveryWords;
use coffre_rig::rig::binaries::{self, Binaries};
use coffre_rig::rig::client::Curl;
use coffre_rig::rig::daemon::{Coffre, Daemon};
use coffre_rig::rng::Rng;
use coffre_vault::index::StoredIndex;
use coffre_vault::layout;
use coffre_vault::ports::Index;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DISKS: usize = 6;
const PUSHES: usize = 5;
const PUSH_BYTES: usize = 200_000_000;
const CHUNKS_PER_PACK: u64 = 67;
const LOOKUPS: u64 = 500_000;

fn main() -> Result<()> {
    let packs: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(300_000);
    let binaries = Binaries::ready()?;
    let scratch = tempfile::Builder::new().prefix("population-").tempdir_in(binaries::scratch("bench")?)?;
    let disks: Vec<PathBuf> = (1..=DISKS).map(|n| scratch.path().join(format!("disk{n}"))).collect();
    for disk in &disks {
        fs::create_dir(disk)?;
    }
    let state = scratch.path().join("state");
    let coffre = Coffre::new(&binaries, &state);
    let made = coffre.init(&disks, "bench")?;
    let words: Vec<&str> =
        made["recovery_words"].as_array().context("no words")?.iter().filter_map(|w| w.as_str()).collect();
    let log = scratch.path().join("log");
    let daemon = Daemon::start(&binaries, &state, &log)?;
    let curl = Curl::new(
        scratch.path(),
        &daemon.url,
        "bench",
        &coffre.client_add("bench")?,
        &coffre.certificate()?,
    )?;
    let empty = pushes(&daemon, &curl, 0)?;
    println!(
        "empty vault: {empty:.2} CPU s/GB, median of {PUSHES} pushes of {} MB of new data",
        PUSH_BYTES / 1_000_000
    );
    until_checkpoint(&curl, &disks[0])?;
    daemon.stop()?;

    let mut grown = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:.1} s", grown.elapsed().as_secs_f64());
        grown = Instant::now();
    };
    let image = add_packs(&disks, &words.join(" "), packs)?;
    lap(&format!("(made: a checkpoint of {packs} packs, {} MB)", image / 1_000_000));
    add_shards(&disks, packs)?;
    lap(&format!("(made: {} shard names)", packs * DISKS as u64));
    let total = teach(&state.join("index"), packs)?;
    lap(&format!("(made: an index of {total} chunks)"));
    look_up(&state.join("index"), total)?;

    let cgroup = Cgroup::new(1 << 30);
    if let Err(why) = &cgroup {
        println!("not in a cgroup of 1 GiB: {why:#}");
    }
    let since = Instant::now();
    let daemon = Daemon::start(&binaries, &state, &log)?;
    println!("start with {packs} packs, from exec to ready: {:.1} s", since.elapsed().as_secs_f64());
    if let Ok(cgroup) = &cgroup {
        cgroup.take(daemon.pid())?;
    }
    let status = coffre.json(&["status"])?;
    println!("status: {} after {:.1} s", status["light"], since.elapsed().as_secs_f64());
    let curl = curl.at(&daemon.url);
    let full = pushes(&daemon, &curl, 1)?;
    println!("populated vault: {full:.2} CPU s/GB, {:.2} x the empty one", full / empty);
    println!(
        "anonymous memory after the pushes: {} MiB, peak resident: {} MiB",
        anonymous(daemon.pid())? >> 20,
        daemon.usage().context("no /proc")?.peak_bytes >> 20
    );
    daemon.stop()?;
    Ok(())
}

/// Median CPU seconds per GB of several pushes, each of bytes never seen before.
fn pushes(daemon: &Daemon, curl: &Curl, round: u64) -> Result<f64> {
    let mut costs = Vec::new();
    for n in 0..PUSHES as u64 {
        let before = daemon.usage().context("no /proc")?.cpu;
        let mut rng = Rng::new(1_000 * round + n + 1);
        let pushed = curl.push("grown", |out| {
            (0..PUSH_BYTES / 1_000_000).try_for_each(|_| out.write_all(&rng.bytes(1_000_000)))
        })?;
        ensure!(pushed.status == 201, "push was answered with {}: {}", pushed.status, pushed.text());
        let after = daemon.usage().context("no /proc")?.cpu;
        costs.push((after - before).as_secs_f64() / (PUSH_BYTES as f64 / 1e9));
    }
    costs.sort_by(f64::total_cmp);
    Ok(costs[PUSHES / 2])
}

/// Pushes small objects until the journal has grown long enough for a checkpoint.
fn until_checkpoint(curl: &Curl, disk: &Path) -> Result<()> {
    let mut rng = Rng::new(77);
    for _ in 0..1_000 {
        if newest_checkpoint(disk)?.is_some() {
            return Ok(());
        }
        let body = rng.bytes(60_000);
        let pushed = curl.push("small", |out| out.write_all(&body))?;
        ensure!(pushed.status == 201, "push was answered with {}: {}", pushed.status, pushed.text());
    }
    for _ in 0..600 {
        if newest_checkpoint(disk)?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("the daemon made no checkpoint")
}

fn newest_checkpoint(disk: &Path) -> Result<Option<u64>> {
    let names = fs::read_dir(disk.join(layout::CHECKPOINTS))?;
    Ok(names.filter_map(|entry| layout::checkpoint_seq(entry.ok()?.file_name().to_str()?)).max())
}

fn pack_id(n: u64) -> PackId {
    let mut id = [0; 16];
    Rng::new(n + 0xc0ff).fill(&mut id);
    PackId(id)
}

fn chunk_id(n: u64) -> ChunkId {
    let mut id = [0; 32];
    Rng::new(n).fill(&mut id);
    ChunkId(id)
}

/// Writes facts of packs into the newest checkpoint of each disk. Returns its new length.
fn add_packs(disks: &[PathBuf], words: &str, packs: u64) -> Result<u64> {
    let words = RecoveryWords::parse_text(words).context("the words do not read")?;
    let (vault, root) = open_root(&fs::read(disks[0].join(layout::KEYS))?, &new_identity(*words.entropy()))?;
    let keys = KeyRing::new(&root, vault);
    let newest = newest_checkpoint(&disks[0])?.context("the daemon left no checkpoint")?;
    let name = layout::checkpoint(newest);
    let old = fs::read(disks[0].join(&name))?;
    let anchor = checkpoint::verify(vault, &old).context("the checkpoint is not whole")?;
    let mut facts = checkpoint::open(&keys, &old)?;
    let geometry = Geometry::new(4, 2)?;
    facts.extend((0..packs).map(|n| {
        Fact::PackAdded(PackFact {
            id: pack_id(n),
            class: LockClass::DAYS_30,
            pack_len: PACK_TARGET as u64,
            toc_sealed_len: 4096,
            geometry,
            epoch: 1,
            disks: (0..DISKS as u8).map(DiskNo).collect(),
            digest: PackDigest(chunk_id(n).0),
        })
    }));
    let mut salt = [0; 16];
    Rng::new(99).fill(&mut salt);
    let image = checkpoint::encode(&keys, anchor, salt, &facts)?;
    for disk in disks {
        fs::write(disk.join(&name), &image)?;
    }
    ensure!(image.len() > BLOCK, "an empty checkpoint");
    Ok(image.len() as u64)
}

/// An empty file for each shard: what a listing finds.
fn add_shards(disks: &[PathBuf], packs: u64) -> Result<()> {
    for disk in disks {
        for n in 0..packs {
            File::create(disk.join(layout::shard(pack_id(n))))?;
        }
    }
    Ok(())
}

fn teach(index: &Path, packs: u64) -> Result<u64> {
    let index = StoredIndex::open(index)?.index;
    for n in 0..packs {
        let chunks: Vec<ChunkId> = (n * CHUNKS_PER_PACK..(n + 1) * CHUNKS_PER_PACK).map(chunk_id).collect();
        index.learn(pack_id(n), &chunks)?;
    }
    Ok(packs * CHUNKS_PER_PACK)
}

fn look_up(index: &Path, total: u64) -> Result<()> {
    let since = Instant::now();
    let index = StoredIndex::open(index)?.index;
    println!("index of {total} chunks opened in {:.1} s", since.elapsed().as_secs_f64());
    let mut rng = Rng::new(5);
    for (what, from) in [("known", 0), ("unknown", total)] {
        let ids: Vec<ChunkId> = (0..LOOKUPS).map(|_| chunk_id(from + rng.below(total))).collect();
        let since = Instant::now();
        let mut found = 0;
        for id in &ids {
            found += u64::from(index.chunk(id)?.is_some());
        }
        let rate = LOOKUPS as f64 / since.elapsed().as_secs_f64();
        ensure!(
            found == if from == 0 { LOOKUPS } else { 0 },
            "{found} of {LOOKUPS} {what} chunks were found"
        );
        println!("lookups of {what} chunks, one thread: {rate:.0} per second");
    }
    Ok(())
}

fn anonymous(pid: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// A control group with a ceiling for memory, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(bytes: u64) -> Result<Self> {
        // Version 1 has a tree for each controller.
        let (root, ceiling) = match Path::new("/sys/fs/cgroup/memory").is_dir() {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let path = PathBuf::from(format!("{root}/coffre-population-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let group = Self(path);
        fs::write(group.0.join(ceiling), bytes.to_string()).context("no memory controller here")?;
        Ok(group)
    }

    fn take(&self, pid: i32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("the daemon cannot be moved into it")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process needs a moment to be gone.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
