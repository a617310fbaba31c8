//! Measures the whole path with the real daemon and curl: CPU seconds per GB in and out, memory, acknowledgements.
//!
//! Bodies are made before a turn and thrown away after it: the client takes as little as can be of the processor that it
//! shares with the server.
//!
//! Machines differ and shared machines differ from minute to minute, so each figure stands beside a yardstick taken in the
//! same run: one thread that hashes the same bytes with BLAKE3 and writes them to one file with one fsync. What is quoted
//! is the ratio. `cargo run --release -p coffre-rig --bin whole_path`; results go into `docs/performance.md`.

#![allow(clippy::print_stdout)] // Figures are what this program is for.

use anyhow::{Context, Result, bail, ensure};
use coffre_rig::rig::binaries::{self, Binaries};
use coffre_rig::rig::client::Curl;
use coffre_rig::rig::daemon::{Coffre, Daemon};
use coffre_rig::rig::newer;
use coffre_rig::rig::rest_server::{self, RestServer};
use coffre_rig::rng::Rng;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const MB: u64 = 1_000_000;
/// Bytes of each large body.
const BODY_BYTES: u64 = 1000 * MB;
/// How often each figure is taken.
const TURNS: u64 = 3;
/// Small objects, their size, and how many are in flight.
const SMALL: (usize, usize, usize) = (4000, 200, 16);
const DISKS: usize = 6;

fn main() -> Result<()> {
    let binaries = Binaries::ready()?;
    let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(binaries::scratch("bench")?)?;
    let disks: Vec<PathBuf> = (1..=DISKS).map(|n| scratch.path().join(format!("disk{n}"))).collect();
    for disk in &disks {
        std::fs::create_dir(disk)?;
    }
    let state = scratch.path().join("state");
    let coffre = Coffre::new(&binaries, &state);
    coffre.init(&disks, "bench")?;
    let daemon = Daemon::start(&binaries, &state, &scratch.path().join("log"))?;
    let curl = Curl::new(
        scratch.path(),
        &daemon.url,
        "bench",
        &coffre.client_add("bench")?,
        &coffre.certificate()?,
    )?;
    let peer = peer(scratch.path());
    let table = Table { daemon: &daemon, yardstick: yardstick(scratch.path())?, peer };
    println!(
        "4+2 on six folders of one file system, HTTPS, one stream of {} MB, medians of {TURNS} turns; CPU of the server only",
        BODY_BYTES / MB
    );
    println!("yardstick (BLAKE3, write, fsync, one thread): {:.2} CPU s/GB", table.yardstick);
    // In turns with the other server: a machine that is slower for a minute is so for both.
    let mut turns = [Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        if let Some(peer) = &table.peer {
            turns[0].push(peer.turn(turn)?);
        }
        let random = format!("random-{turn}");
        let file = body(scratch.path(), noise, turn)?;
        turns[1].push(table.cost(|| push(&curl, &random, &file))?);
        turns[2].push(table.cost(|| push(&curl, &random, &file))?);
        let file = body(scratch.path(), dump, turn)?;
        turns[3].push(table.cost(|| push(&curl, &format!("dump-{turn}"), &file))?);
        std::fs::remove_file(file)?;
        turns[4].push(table.cost(|| get(&curl, &random))?);
    }
    let names = ["rest-server", "new random data", "duplicates", "dump-like text", "restore, healthy"];
    let peer = median(&turns[0]);
    names.iter().zip(&turns).for_each(|(what, costs)| table.row(what, costs, peer));
    for disk in &disks[..2] {
        std::fs::rename(disk, disk.with_extension("pulled"))?;
    }
    std::thread::sleep(Duration::from_secs(5));
    let costs = (0..TURNS).map(|turn| table.cost(|| get(&curl, &format!("random-{turn}"))));
    table.row("restore, two disks gone", &costs.collect::<Result<Vec<_>>>()?, peer);
    for disk in &disks[..2] {
        std::fs::rename(disk.with_extension("pulled"), disk)?;
    }
    std::thread::sleep(Duration::from_secs(5));
    small(scratch.path(), &curl)?;
    let before = daemon.usage().context("no /proc")?.peak_bytes;
    println!("peak memory of coffred with one stream at a time: {} MiB", before >> 20);
    four_streams(&curl)?;
    let peak = daemon.usage().context("no /proc")?.peak_bytes;
    println!("peak memory of coffred with four streams at once: {} MiB", peak >> 20);
    daemon.stop()?;
    Ok(())
}

struct Table<'a> {
    daemon: &'a Daemon,
    yardstick: f64,
    /// restic's server, where it is to be had.
    peer: Option<Peer>,
}

/// What a turn cost: CPU seconds and wall seconds per GB.
type Cost = (f64, f64);

impl Table<'_> {
    fn cost(&self, work: impl FnOnce() -> Result<u64>) -> Result<Cost> {
        let (before, since) = (self.daemon.usage().context("no /proc")?.cpu, Instant::now());
        let gigabytes = work()? as f64 / 1e9;
        let (after, took) = (self.daemon.usage().context("no /proc")?.cpu, since.elapsed());
        Ok(((after - before).as_secs_f64() / gigabytes, took.as_secs_f64() / gigabytes))
    }

    fn row(&self, what: &str, costs: &[Cost], peer: Option<Cost>) {
        let Some((cpu, wall)) = median(costs) else { return };
        println!(
            "{what:<26} {cpu:>6.2} CPU s/GB  {:>5.2} x yardstick  {:>5} x rest-server  {:>6.0} MB/s",
            cpu / self.yardstick,
            peer.map_or("?".into(), |peer| format!("{:.2}", cpu / peer.0)),
            1000.0 / wall
        );
    }
}

/// Of each figure on its own.
fn median(costs: &[Cost]) -> Option<Cost> {
    let middle = |of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    Some((middle(|c| c.0)?, middle(|c| c.1)?))
}

/// Writes the next mebibyte or so of a body.
type Fill = fn(&mut Rng, &mut Vec<u8>);

fn push(curl: &Curl, dataset: &str, file: &Path) -> Result<u64> {
    let (status, text) = curl.push_file(dataset, file)?;
    ensure!(status == 201, "push was answered with {status}: {text}");
    Ok(BODY_BYTES)
}

fn get(curl: &Curl, dataset: &str) -> Result<u64> {
    let (status, bytes) = curl.get_nothing(&format!("/v1/datasets/{dataset}/snapshots/latest"))?;
    ensure!(status == 200 && bytes == BODY_BYTES, "get was answered with {status} and {bytes} bytes");
    Ok(bytes)
}

/// A body in a file; the same bytes for the same seed.
fn body(folder: &Path, fill: Fill, seed: u64) -> Result<PathBuf> {
    let path = folder.join("body");
    let mut file = File::create(&path)?;
    let mut rng = Rng::new(7 + seed);
    let mut left = BODY_BYTES as usize;
    while left > 0 {
        let mut piece = Vec::with_capacity(1 << 20);
        fill(&mut rng, &mut piece);
        piece.truncate(left);
        file.write_all(&piece)?;
        left -= piece.len();
    }
    // What the system still has to write would be written while others are measured.
    file.sync_all()?;
    Ok(path)
}

fn noise(rng: &mut Rng, piece: &mut Vec<u8>) {
    *piece = rng.bytes(1 << 20);
}

/// Lines such as a dump has.
fn dump(rng: &mut Rng, piece: &mut Vec<u8>) {
    while piece.len() < 1 << 20 {
        let (id, a, b) = (rng.below(1 << 40), rng.below(90_000), rng.below(1_000_000));
        let line = format!("{id}\tS{a:05}\tsale.order\t2026-03-{:02}\t{b}.00\tdone\tFatima\n", a % 28 + 1);
        piece.extend_from_slice(line.as_bytes());
    }
}

/// CPU seconds per GB of a program that only hashes, writes and syncs.
fn yardstick(folder: &Path) -> Result<f64> {
    let path = folder.join("yardstick");
    let piece = Rng::new(1).bytes(1 << 20);
    let before = own_cpu()?;
    let mut file = File::create(&path)?;
    let mut hash = blake3::Hasher::new();
    let pieces = BODY_BYTES as usize >> 20;
    for _ in 0..pieces {
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    let cost = (own_cpu()? - before).as_secs_f64() / ((pieces << 20) as f64 / 1e9);
    std::fs::remove_file(&path)?;
    std::hint::black_box(hash.finalize());
    Ok(cost)
}

/// restic's server, and where its files are made.
struct Peer {
    server: RestServer,
    folder: PathBuf,
}

/// `None`, and why, where it is not to be had.
fn peer(folder: &Path) -> Option<Peer> {
    let start = || -> Result<Peer> {
        let peers = binaries::scratch("peers")?;
        let program = newer::fetch(&peers, "restic-rest-server", "usr/bin/restic-rest-server");
        let program = program.map_err(anyhow::Error::msg)?;
        Ok(Peer { server: RestServer::start(&program, folder)?, folder: folder.to_owned() })
    };
    start().inspect_err(|why| println!("NOT RUN: rest-server: {why:#}")).ok()
}

impl Peer {
    /// What as many bytes cost it, in bodies of 16 MiB over HTTP/1.1.
    fn turn(&self, turn: u64) -> Result<Cost> {
        let mut rng = Rng::new(21 + turn);
        let count = BODY_BYTES as usize / rest_server::BLOB_BYTES;
        let blobs = self.folder.join("blobs");
        let files = rest_server::blobs(&blobs, count, || rng.bytes(rest_server::BLOB_BYTES))?;
        let before = self.server.usage().context("no /proc")?.cpu;
        let since = Instant::now();
        self.server.push(&files)?;
        let took = since.elapsed().as_secs_f64();
        let spent = (self.server.usage().context("no /proc")?.cpu - before).as_secs_f64();
        std::fs::remove_dir_all(blobs)?;
        let gigabytes = (count * rest_server::BLOB_BYTES) as f64 / 1e9;
        Ok((spent / gigabytes, took / gigabytes))
    }
}

/// Four streams of new data at once.
fn four_streams(curl: &Curl) -> Result<()> {
    std::thread::scope(|scope| {
        let push = |n: u64| {
            curl.push(&format!("stream-{n}"), |out| {
                let mut rng = Rng::new(100 + n);
                (0..300).try_for_each(|_| out.write_all(&rng.bytes(1 << 20)))
            })
        };
        let all: Vec<_> = (0..4).map(|n| scope.spawn(move || push(n))).collect();
        for one in all {
            let pushed = one.join().map_err(|_| anyhow::anyhow!("a stream panicked"))??;
            ensure!(pushed.status == 201, "push was answered with {}: {}", pushed.status, pushed.text());
        }
        Ok(())
    })
}

fn own_cpu() -> Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let all = [usage.user_time(), usage.system_time()];
    Ok(all.iter().map(|t| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000)).sum())
}

/// Acknowledgements per second of small objects, beside what the disk can sync.
fn small(folder: &Path, curl: &Curl) -> Result<()> {
    let (count, size, flying) = SMALL;
    let file = folder.join("small");
    std::fs::write(&file, Rng::new(3).bytes(size))?;
    let mut list = String::from(
        "parallel\nparallel-immediate\noutput = \"/dev/null\"\nwrite-out = \"%{http_code}\\n\"\n",
    );
    for n in 0..count {
        list.push_str(&format!(
            "upload-file = \"{}\"\nurl = \"{}/v1/datasets/small-{}\"\n",
            file.display(),
            curl.url(),
            n % 50
        ));
    }
    let path = folder.join("small.curl");
    std::fs::write(&path, list)?;
    let since = Instant::now();
    let said = Command::new("curl")
        .args(["--parallel-max", &flying.to_string(), "--silent", "-K"])
        .arg(curl.config())
        .arg("-K")
        .arg(&path)
        .stdin(Stdio::null())
        .output()?;
    let took = since.elapsed().as_secs_f64();
    let stored = String::from_utf8_lossy(&said.stdout).matches("201").count();
    if stored < count {
        bail!("only {stored} of {count} small objects were stored");
    }
    let (rate, one, commits) =
        (count as f64 / took, commits_per_s(folder, 1)?, commits_per_s(folder, DISKS)?);
    println!(
        "small objects ({size} B, {flying} in flight): {rate:.0} acknowledged/s, {:.2} x group commits",
        rate / commits
    );
    println!(
        "group commits (4 KiB and fdatasync on {DISKS} files at once, then the next): {commits:.0}/s; on one file: {one:.0}/s"
    );
    Ok(())
}

/// How often per second 4 KiB can be written to each of `files` files and all of them be synced, at once.
fn commits_per_s(folder: &Path, files: usize) -> Result<f64> {
    const ROUNDS: u64 = 2_000;
    let together = Barrier::new(files);
    let commit = |n: usize| -> Result<Duration> {
        let file = File::create(folder.join(format!("syncs-{n}")))?;
        file.write_all_at(&vec![0; 4 << 20], 0)?;
        file.sync_all()?;
        together.wait();
        let since = Instant::now();
        for round in 0..ROUNDS {
            file.write_all_at(&[7; 4096], round % 1000 * 4096)?;
            file.sync_data()?;
            together.wait();
        }
        Ok(since.elapsed())
    };
    std::thread::scope(|scope| {
        let commit = &commit;
        let all: Vec<_> = (0..files).map(|n| scope.spawn(move || commit(n))).collect();
        let mut took = Duration::ZERO;
        for one in all {
            took = one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(ROUNDS as f64 / took.as_secs_f64())
    })
}
