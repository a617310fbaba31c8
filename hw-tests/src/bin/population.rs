//! Measures a box that has grown old: mount time, memory, index and the cost of a push with millions of chunks in it.
//!
//! `cargo run --release --bin population [-- PACKS]` (300,000 packs of 67 chunks unless said: 20 million). The
//! population is made, not pushed: facts of packs are written into the vault's own checkpoints, their chunks are learnt by its own index,
//! and each disk gets a file for each shard. Of a pack's body only the table of contents is there, in a shard file of full length that is
//! a hole otherwise; so are the other shards' files but for their headers and footers. So no chunk of it can be read, and everything that grows with
//! it is there: catalogue, checkpoint, folders, index, and what the index is taught from when it was burned. The same pushes
//! are measured before and after, in one run.

#![allow(clippy::print_stdout)] // Figures are what this program is for.

use anyhow::{Context, Result, ensure};
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::class::LockClass;
use coffre_core::fact::{Fact, PackFact};
use coffre_core::geometry::{Geometry, MAX_DISKS};
use coffre_core::ids::{ChunkId, DiskId, DiskNo, PackId};
use coffre_core::keys::KeyRing;
use coffre_core::pack::{PACK_TARGET, TocEntry};
use coffre_core::shard::{BlockTable, SUM_LEN, ShardHeader};
use coffre_core::slots::{new_identity, open_root};
use coffre_core::words::RecoveryWords;
use coffre_rig::rig::binaries::{self, Binaries};
use coffre_rig::rig::client::Curl;
use coffre_rig::rig::daemon::{Coffre, Daemon};
use coffre_rig::rng::Rng;
use coffre_vault::disk::FsDisk;
use coffre_vault::index::StoredIndex;
use coffre_vault::layout;
use coffre_vault::ports::Index;
use coffre_vault::survey::peek_label;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DISKS: usize = 6;
const PUSHES: usize = 5;
const PUSH_BYTES: usize = 200_000_000;
const CHUNKS_PER_PACK: u64 = 67;
const LOOKUPS: u64 = 500_000;
/// The shard whose end is the end of the body.
const LAST_DATA_SHARD: u8 = 3;
/// Length of an authentication tag.
const TAG_LEN: usize = 16;
/// Longest that an index may take to be built again.
const TAUGHT_WITHIN: Duration = Duration::from_secs(3600);

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
    in_earnest(&state)?;

    let mut grown = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:.1} s", grown.elapsed().as_secs_f64());
        grown = Instant::now();
    };
    let keys = keys_of(&disks[0], &words.join(" "))?;
    let headers = add_shards(&disks, &keys, packs)?;
    lap(&format!("(made: {} shard files)", packs * DISKS as u64));
    let image = add_packs(&disks, &keys, headers)?;
    lap(&format!("(made: a checkpoint of {packs} packs, {} MB)", image / 1_000_000));
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
    burn(&coffre, &daemon, total)?;
    daemon.stop()?;
    look_up(&state.join("index"), total)?;
    Ok(())
}

/// No snapshot names these packs: strays, which a try-out frees after seconds, and a box in earnest after a week.
fn in_earnest(state: &Path) -> Result<()> {
    let path = state.join("box.json");
    let mut of: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    ensure!(of["try_out"] == true, "{} is not that of a try-out", path.display());
    of["try_out"] = false.into();
    fs::write(&path, serde_json::to_vec(&of)?)?;
    Ok(())
}

/// Burns the index and waits until the daemon has built it again.
fn burn(coffre: &Coffre, daemon: &Daemon, total: u64) -> Result<()> {
    let before = daemon.usage().context("no /proc")?.cpu;
    let since = Instant::now();
    coffre.json(&["index", "burn"])?;
    while coffre.json(&["status"])?["index_ready"] != true {
        ensure!(since.elapsed() < TAUGHT_WITHIN, "the index is not built again after {TAUGHT_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    let cpu = daemon.usage().context("no /proc")?.cpu - before;
    println!(
        "index of {total} chunks burned and built again: {:.1} s, {:.1} CPU s; anonymous memory {} MiB, peak resident {} MiB",
        since.elapsed().as_secs_f64(),
        cpu.as_secs_f64(),
        anonymous(daemon.pid())? >> 20,
        daemon.usage().context("no /proc")?.peak_bytes >> 20
    );
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

fn keys_of(disk: &Path, words: &str) -> Result<KeyRing> {
    let words = RecoveryWords::parse_text(words).context("the words do not read")?;
    let (vault, root) = open_root(&fs::read(disk.join(layout::KEYS))?, &new_identity(*words.entropy()))?;
    Ok(KeyRing::new(&root, vault))
}

/// Writes facts of packs into the newest checkpoint of each disk. Returns its new length.
fn add_packs(disks: &[PathBuf], keys: &KeyRing, headers: Vec<PackFact>) -> Result<u64> {
    let newest = newest_checkpoint(&disks[0])?.context("the daemon left no checkpoint")?;
    let name = layout::checkpoint(newest);
    let old = fs::read(disks[0].join(&name))?;
    let anchor = checkpoint::verify(keys.vault(), &old).context("the checkpoint is not whole")?;
    let mut facts = checkpoint::open(keys, &old)?;
    facts.extend(headers.into_iter().map(Fact::PackAdded));
    let mut salt = [0; 16];
    Rng::new(99).fill(&mut salt);
    let image = checkpoint::encode(keys, anchor, salt, &facts)?;
    for disk in disks {
        fs::write(disk.join(&name), &image)?;
    }
    ensure!(image.len() > BLOCK, "an empty checkpoint");
    Ok(image.len() as u64)
}

/// A file for each shard with its header and footer; the last data shard's has the pack's table of contents as well.
fn add_shards(disks: &[PathBuf], keys: &KeyRing, packs: u64) -> Result<Vec<PackFact>> {
    let ids = disks.iter().map(|disk| id_of(disk)).collect::<Result<Vec<_>>>()?;
    let mut facts = Vec::with_capacity(usize::try_from(packs)?);
    let mut data = Vec::new();
    for n in 0..packs {
        let toc = sealed_toc(keys, n)?;
        let (header, table) = last_data_shard(keys, n, &mut data, &toc)?;
        facts.push(PackFact {
            id: header.pack,
            class: header.class,
            pack_len: header.pack_len,
            toc_sealed_len: header.toc_sealed_len,
            geometry: header.geometry,
            epoch: header.epoch,
            disks: (0..DISKS as u8).map(DiskNo).collect(),
            digest: header.digest(),
        });
        for (shard, (disk, id)) in (0..).zip(disks.iter().zip(&ids)) {
            let ends = header.sibling(shard, *id, header.epoch)?.to_bytes();
            let file = File::create(disk.join(layout::shard(header.pack)))?;
            file.set_len(header.file_len())?;
            file.write_all_at(&ends, 0)?;
            file.write_all_at(&ends, header.footer_in_file().start)?;
            if shard == LAST_DATA_SHARD {
                let start = header.locate(header.toc_in_pack().start).1;
                file.write_all_at(&toc, header.block_in_file(0).start + start)?;
                file.write_all_at(&table.to_bytes(), header.table_in_file().start)?;
            }
        }
    }
    Ok(facts)
}

fn id_of(disk: &Path) -> Result<DiskId> {
    let disk = FsDisk::attach(disk).map_err(|why| anyhow::anyhow!("{why:?}"))?;
    Ok(peek_label(&disk).map_err(|why| anyhow::anyhow!("{why:?}"))?.disk)
}

/// The sealed table of contents of pack `n`: chunks of equal length that fill it.
fn sealed_toc(keys: &KeyRing, n: u64) -> Result<Vec<u8>> {
    let ids = (n * CHUNKS_PER_PACK..(n + 1) * CHUNKS_PER_PACK).map(chunk_id);
    let each = (PACK_TARGET as u64 - BLOCK as u64) / CHUNKS_PER_PACK;
    let entries: Vec<TocEntry> = (0u32..)
        .zip(ids)
        .map(|(at, chunk)| TocEntry {
            chunk,
            offset: at * each as u32,
            sealed_len: each as u32,
            plain_len: each as u32 - TAG_LEN as u32,
            compressed: false,
            drawn: false,
        })
        .collect();
    // As `docs/format.md` has it: version and entries; bound to vault, pack and length of the body.
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.array(2)?.u8(1)?.encode(&entries)?;
    let mut aad = [keys.vault().0, pack_id(n).0].concat();
    aad.extend_from_slice(&(PACK_TARGET as u64).to_le_bytes());
    let mut sealed = Vec::new();
    keys.toc_key(pack_id(n)).seal(0, &aad, encoder.writer(), &mut sealed)?;
    Ok(sealed)
}

/// Header and table of the last data shard of pack `n`, and in `data` that shard's bytes: zeros and the table of contents.
fn last_data_shard(
    keys: &KeyRing,
    n: u64,
    data: &mut Vec<u8>,
    toc: &[u8],
) -> Result<(ShardHeader, BlockTable)> {
    let mut header = ShardHeader {
        vault: keys.vault(),
        pack: pack_id(n),
        disk: DiskId([0; 16]),
        epoch: 1,
        geometry: Geometry::new(4, 2)?,
        shard: LAST_DATA_SHARD,
        class: LockClass::DAYS_30,
        pack_len: PACK_TARGET as u64,
        toc_sealed_len: u32::try_from(toc.len())?,
        roots: [[0; SUM_LEN]; MAX_DISKS],
        read_only: false,
    };
    data.resize(usize::try_from(header.shard_len())?, 0);
    let start = data.len() - toc.len();
    data[start..].copy_from_slice(toc);
    let table = BlockTable::compute(header.vault, header.pack, LAST_DATA_SHARD, data);
    header.roots[usize::from(LAST_DATA_SHARD)] = table.root();
    Ok((header, table))
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
