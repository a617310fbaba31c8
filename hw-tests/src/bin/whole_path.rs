//! Measures the whole path with the real daemon and curl: CPU seconds per GB in and out, memory, acknowledgements.
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
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const MB: u64 = 1_000_000;
/// Bytes of each large body.
const BODY_BYTES: u64 = 1000 * MB;
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
    let mut table = Table { daemon: &daemon, yardstick: yardstick(scratch.path())?, peer: None };
    table.peer = rest_server(scratch.path());
    println!(
        "4+2 on six folders of one file system, HTTPS, one stream of {} MB; CPU of coffred only",
        BODY_BYTES / MB
    );
    println!("yardstick (BLAKE3, write, fsync, one thread): {:.2} CPU s/GB", table.yardstick);
    for (dataset, what, body) in
        [("random", "new random data", 1), ("random", "duplicates", 1), ("dump", "dump-like text", 0)]
    {
        table.row(what, || push(&curl, dataset, body))?;
    }
    table.row("restore, healthy", || get(&curl, "random"))?;
    for disk in &disks[..2] {
        std::fs::rename(disk, disk.with_extension("pulled"))?;
    }
    std::thread::sleep(Duration::from_secs(5));
    table.row("restore, two disks gone", || get(&curl, "random"))?;
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
    /// CPU seconds per GB of rest-server, where it is to be had.
    peer: Option<f64>,
}

impl Table<'_> {
    fn row(&mut self, what: &str, work: impl FnOnce() -> Result<u64>) -> Result<()> {
        let (before, since) = (self.daemon.usage().context("no /proc")?.cpu, Instant::now());
        let gigabytes = work()? as f64 / 1e9;
        let (after, took) = (self.daemon.usage().context("no /proc")?.cpu, since.elapsed());
        let cost = (after - before).as_secs_f64() / gigabytes;
        println!(
            "{what:<26} {cost:>6.2} CPU s/GB  {:>5.2} x yardstick  {:>5} x rest-server  {:>6.0} MB/s",
            cost / self.yardstick,
            self.peer.map_or("?".into(), |peer| format!("{:.2}", cost / peer)),
            gigabytes * 1000.0 / took.as_secs_f64()
        );
        Ok(())
    }
}

fn push(curl: &Curl, dataset: &str, random: u64) -> Result<u64> {
    let pushed = curl.push(dataset, |out| body(out, random == 1))?;
    ensure!(pushed.status == 201, "push was answered with {}: {}", pushed.status, pushed.text());
    Ok(pushed.sent_bytes)
}

fn get(curl: &Curl, dataset: &str) -> Result<u64> {
    let got = curl.get(&format!("/v1/datasets/{dataset}/snapshots/latest"))?;
    ensure!(got.whole && got.status == 200, "get was answered with {}: {}", got.status, got.trouble);
    Ok(got.bytes)
}

/// The same bytes each time: random ones, or lines such as a dump has.
fn body(out: &mut dyn Write, random: bool) -> io::Result<()> {
    let mut rng = Rng::new(7);
    let mut left = BODY_BYTES as usize;
    let mut line = 0u64;
    while left > 0 {
        let mut piece = Vec::with_capacity(1 << 20);
        if random {
            piece = rng.bytes(1 << 20);
        } else {
            while piece.len() < 1 << 20 {
                line += 1;
                let (a, b) = (rng.below(90_000), rng.below(1_000_000));
                writeln!(
                    piece,
                    "{line}\tS{a:05}\tsale.order\t2026-03-{:02}\t{b}.00\tdone\tFatima",
                    a % 28 + 1
                )?;
            }
        }
        piece.truncate(left);
        out.write_all(&piece)?;
        left -= piece.len();
    }
    Ok(())
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

/// CPU seconds per GB of restic's server for the same kind of bytes over HTTPS; `None`, and why, where it is not to be had.
fn rest_server(folder: &Path) -> Option<f64> {
    let measure = || -> Result<f64> {
        let peers = binaries::scratch("peers")?;
        let program = newer::fetch(&peers, "restic-rest-server", "usr/bin/restic-rest-server");
        let program = program.map_err(anyhow::Error::msg)?;
        let mut rng = Rng::new(21);
        let count = BODY_BYTES as usize / rest_server::BLOB_BYTES;
        let files = rest_server::blobs(&folder.join("blobs"), count, || rng.bytes(rest_server::BLOB_BYTES))?;
        let server = RestServer::start(&program, folder)?;
        let before = server.usage().context("no /proc")?.cpu;
        server.push(&files)?;
        let spent = server.usage().context("no /proc")?.cpu - before;
        drop(server);
        std::fs::remove_dir_all(folder.join("blobs"))?;
        std::fs::remove_dir_all(folder.join("rest-data"))?;
        Ok(spent.as_secs_f64() / ((count * rest_server::BLOB_BYTES) as f64 / 1e9))
    };
    match measure() {
        Ok(cost) => {
            println!("rest-server, {} MB in bodies of 16 MiB: {cost:.2} CPU s/GB", BODY_BYTES / MB);
            Some(cost)
        }
        Err(why) => {
            println!("NOT RUN: rest-server: {why:#}");
            None
        }
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
