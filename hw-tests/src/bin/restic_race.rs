//! The restic door beside other servers of its protocol: CPU and memory for the same requests over HTTPS, in one run.
//!
//! `coffred` (4+2, sealed, parity, everything verified, synced), restic's `rest-server` of Debian sid (hash, sync) and
//! `rclone serve restic` (neither). Turns alternate, figures are medians of `/proc` times of the server alone, and what is quoted is
//! the ratio. `cargo run --release -p coffre-rig --bin restic_race`, alone on the machine; results go into `docs/performance.md`.

#![allow(clippy::print_stdout)] // Figures are what this program is for.

use anyhow::{Context, Result, ensure};
use coffre_rig::rig::binaries::{self, Binaries};
use coffre_rig::rig::clients::{self, Client};
use coffre_rig::rig::daemon::{Coffre, Daemon, Usage, usage_of};
use coffre_rig::rig::input::{self, Input};
use coffre_rig::rig::process;
use coffre_rig::rig::rclone::Rclone;
use coffre_rig::rig::rest_server::{self, RestServer};
use coffre_rig::rig::{newer, tools};
use coffre_rig::rng::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PACKS: usize = 64;
const PARALLEL: usize = 5;
const ROUNDS: usize = 3;
const DISKS: usize = 6;
const BACKUP_BYTES: u64 = 400 << 20;
/// Names in the list that is asked for, and how often it is asked for in one turn.
const NAMES: usize = 50_000;
const LISTS: u32 = 5;
const LIMIT: Duration = Duration::from_secs(600);
const USER: &str = "race";

/// A server that takes part.
struct Side {
    name: &'static str,
    pid: i32,
    address: String,
    pem: PathBuf,
    secret: String,
    /// Name and secret for curl.
    config: PathBuf,
    /// Where its files lie, when they are plain files.
    files: Option<PathBuf>,
}

fn main() -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("race-").tempdir_in(binaries::scratch("bench")?)?;
    let folder = scratch.path().canonicalize()?;
    let (daemon, coffred) = coffred(&folder)?;
    let mut sides = vec![coffred];
    let (_rest, side) = or_told("rest-server", rest_server(&folder)).unzip();
    sides.extend(side);
    let (_rclone, side) = or_told("rclone", rclone(&folder)).unzip();
    sides.extend(side);
    for side in &sides {
        side.make("packs")?;
        side.make("names")?;
    }
    packs(&sides, &folder)?;
    backups(&sides, &folder)?;
    lists(&sides, &folder)?;
    daemon.stop().map(drop)
}

fn or_told<T>(name: &str, made: Result<T>) -> Option<T> {
    made.map_err(|why| println!("NOT RUN: {name}: {why:#}")).ok()
}

fn coffred(folder: &Path) -> Result<(Daemon, Side)> {
    let binaries = Binaries::ready()?;
    let disks: Vec<PathBuf> = (1..=DISKS).map(|n| folder.join(format!("disk{n}"))).collect();
    for disk in &disks {
        fs::create_dir(disk)?;
    }
    let (state, pem) = (folder.join("state"), folder.join("box.pem"));
    let coffre = Coffre::new(&binaries, &state);
    coffre.init(&disks, "race")?;
    fs::write(&pem, coffre.certificate()?)?;
    let daemon = Daemon::start(&binaries, &state, &folder.join("log"))?;
    let address = daemon.url.trim_start_matches("https://").to_owned();
    let secret = coffre.client_add(USER)?;
    let side = Side::new("coffred", daemon.pid(), &address, &pem, &secret, folder)?;
    Ok((daemon, side))
}

fn rest_server(folder: &Path) -> Result<(RestServer, Side)> {
    let peers = binaries::scratch("peers")?;
    let program = newer::fetch(&peers, "restic-rest-server", "usr/bin/restic-rest-server");
    let server = RestServer::start(&program.map_err(anyhow::Error::msg)?, folder)?;
    let (pid, address) = (server.pid(), server.address());
    let mut side = Side::new("rest-server", pid, address, server.certificate(), "none", folder)?;
    side.files = Some(folder.join("rest-data"));
    Ok((server, side))
}

fn rclone(folder: &Path) -> Result<(Rclone, Side)> {
    let program = tools::ensure(tools::RCLONE).map_err(anyhow::Error::msg)?;
    let files = folder.join("rclone-data");
    let server = Rclone::start(&program, folder, &files)?;
    let (pid, address) = (server.pid(), server.address());
    let mut side = Side::new("rclone", pid, address, server.certificate(), "none", folder)?;
    side.files = Some(files);
    Ok((server, side))
}

impl Side {
    fn new(
        name: &'static str,
        pid: i32,
        address: &str,
        pem: &Path,
        secret: &str,
        folder: &Path,
    ) -> Result<Self> {
        let config = folder.join(format!("{name}.curl"));
        fs::write(&config, format!("user = \"{USER}:{secret}\"\n"))?;
        let (address, secret) = (address.to_owned(), secret.to_owned());
        Ok(Self { name, pid, address, pem: pem.to_owned(), secret, config, files: None })
    }

    fn usage(&self) -> Result<Usage> {
        usage_of(self.pid).with_context(|| format!("no /proc of {}", self.name))
    }

    fn url(&self, repo: &str) -> String {
        format!("https://{}/{USER}/{repo}/", self.address)
    }

    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        // The same version of HTTP for all; of the two it is the cheaper one for servers that speak both.
        curl.args(["--http1.1", "-sS", "--noproxy", "*", "--cacert"]).arg(&self.pem);
        curl.arg("-K").arg(&self.config);
        curl
    }

    fn make(&self, repo: &str) -> Result<()> {
        let url = format!("{}?create=true", self.url(repo));
        process::run_ok(self.curl().args(["-f", "-X", "POST", &url]), LIMIT).map(drop).context(self.name)
    }

    /// Hands in files named by their hash, so many at once.
    fn post(&self, repo: &str, files: &[PathBuf], parallel: usize, scratch: &Path) -> Result<()> {
        let mut list =
            String::from("request = \"POST\"\nheader = \"Expect:\"\nwrite-out = \"%{http_code}\\n\"\n");
        for file in files {
            let name = file.file_name().context("a file without a name")?.to_string_lossy();
            let url = format!("{}data/{name}", self.url(repo));
            list.push_str(&format!(
                "upload-file = \"{}\"\nurl = \"{url}\"\noutput = \"/dev/null\"\n",
                file.display()
            ));
        }
        let path = scratch.join("post.curl");
        fs::write(&path, list)?;
        let mut curl = self.curl();
        curl.args(["--parallel", "--parallel-immediate", "--parallel-max", &parallel.to_string(), "-K"])
            .arg(&path);
        let said = process::run(&mut curl, LIMIT)?;
        let good = said.text().lines().filter(|line| *line == "200").count();
        ensure!(good == files.len(), "{}: {good} of {} kept: {}", self.name, files.len(), said.err.trim());
        Ok(())
    }

    /// CPU time of the server while `work` is done, and how long that took.
    fn spent(&self, work: impl FnOnce() -> Result<()>) -> Result<(f64, f64)> {
        let (before, since) = (self.usage()?.cpu, Instant::now());
        work()?;
        let took = since.elapsed().as_secs_f64();
        Ok(((self.usage()?.cpu - before).as_secs_f64(), took))
    }
}

/// Sides take turns, another one beginning in each round. Per side the median of what `turn` gives.
fn medians(
    sides: &[Side],
    mut turn: impl FnMut(&Side, usize) -> Result<(f64, f64)>,
) -> Result<Vec<(f64, f64)>> {
    let mut all = vec![Vec::new(); sides.len()];
    for round in 0..ROUNDS {
        for n in (0..sides.len()).map(|n| (n + round) % sides.len()) {
            all[n].push(turn(&sides[n], round).with_context(|| sides[n].name)?);
        }
    }
    let middle = |mut list: Vec<f64>| {
        list.sort_by(f64::total_cmp);
        list[list.len() / 2]
    };
    let median = |turns: Vec<(f64, f64)>| {
        (middle(turns.iter().map(|t| t.0).collect()), middle(turns.iter().map(|t| t.1).collect()))
    };
    Ok(all.into_iter().map(median).collect())
}

fn tell(sides: &[Side], medians: &[(f64, f64)], gib: Option<f64>, what: &str) -> Result<()> {
    let of = |name: &str| sides.iter().position(|side| side.name == name).map(|n| medians[n].0);
    for (side, (cpu, took)) in sides.iter().zip(medians) {
        let beside = of("rest-server").map_or("?".into(), |peer| format!("{:.2}", cpu / peer));
        let cost = gib.map_or(String::new(), |gib| format!("{:.2} s/GiB", cpu / gib));
        let peak = side.usage()?.peak_bytes >> 20;
        let name = side.name;
        println!(
            "{what:<36} {name:<12} {cpu:>7.3} CPU s {cost:>11} {beside:>5} x rest-server {took:>6.2} s, peak {peak} MiB"
        );
    }
    Ok(())
}

fn packs(sides: &[Side], folder: &Path) -> Result<()> {
    let mut rng = Rng::new(61);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let blobs = folder.join(format!("blobs-{round}"));
        rounds.push(rest_server::blobs(&blobs, PACKS, || rng.bytes(rest_server::BLOB_BYTES))?);
    }
    let medians = medians(sides, |side, round| {
        let spent = side.spent(|| side.post("packs", &rounds[round], PARALLEL, folder))?;
        if let Some(files) = &side.files {
            fs::remove_dir_all(files.join(USER).join("packs"))?;
            side.make("packs")?;
        }
        Ok(spent)
    })?;
    for round in 0..ROUNDS {
        fs::remove_dir_all(folder.join(format!("blobs-{round}")))?;
    }
    let gib = (PACKS * rest_server::BLOB_BYTES) as f64 / f64::from(1 << 30);
    tell(sides, &medians, Some(gib), &format!("{PACKS} packs of 16 MiB, {PARALLEL} at once"))
}

/// The newest restic backs real files up, into a new repository each time.
fn backups(sides: &[Side], folder: &Path) -> Result<()> {
    let restic = match clients::have("restic-new") {
        Ok(restic) => restic,
        Err(why) => {
            println!("NOT RUN: a backup by restic: {why}");
            return Ok(());
        }
    };
    let places: Vec<_> = input::sources().into_iter().chain(input::toolchain()).collect();
    let (input, files, tar) =
        (Input::gather(&places, BACKUP_BYTES)?, folder.join("files"), folder.join("files.tar"));
    input.write_tar(&mut fs::File::create(&tar)?)?;
    fs::create_dir(&files)?;
    tar::Archive::new(fs::File::open(&tar)?).unpack(&files)?;
    fs::remove_file(&tar)?;
    let medians = medians(sides, |side, round| {
        let client = Client::new(&restic, &side.address, USER, &side.secret, &side.pem);
        let client = client.with_repo(&format!("{USER}/backup-{round}")).with_packs_of(16);
        ensure!(client.init()?.status.success(), "no repository");
        side.spent(|| client.backup(&files).map(drop))
    })?;
    let gib = input.bytes() as f64 / f64::from(1 << 30);
    tell(sides, &medians, Some(gib), &format!("restic backup of {} MiB real files", input.bytes() >> 20))
}

/// The list of many names, in version 2. Where files are plain files they are put there by hand.
fn lists(sides: &[Side], folder: &Path) -> Result<()> {
    let small = small_files(&folder.join("small"))?;
    for side in sides {
        match &side.files {
            Some(files) => by_hand(&files.join(USER).join("names/data"), &small)?,
            None => side.post("names", &small, 32, folder)?,
        }
    }
    let answer = folder.join("list.json");
    let medians = medians(sides, |side, _| {
        let url = format!("{}data/", side.url("names"));
        let mut curl = side.curl();
        curl.args(["-f", "-H", "Accept: application/vnd.x.restic.rest.v2", "-o"]).arg(&answer).arg(&url);
        let spent =
            side.spent(|| (0..LISTS).try_for_each(|_| process::run_ok(&mut curl, LIMIT).map(drop)))?;
        let names = fs::read_to_string(&answer)?.matches("\"name\"").count();
        ensure!(names == NAMES, "{names} names, not {NAMES}");
        Ok((spent.0 / f64::from(LISTS), spent.1 / f64::from(LISTS)))
    })?;
    tell(sides, &medians, None, &format!("list of {NAMES} names"))
}

/// Small files named by their SHA-256.
fn small_files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir(folder)?;
    let mut named = Vec::new();
    for first in (0..NAMES).step_by(1000) {
        let files: Vec<PathBuf> = (first..first + 1000).map(|n| folder.join(n.to_string())).collect();
        for (n, file) in (first..).zip(&files) {
            fs::write(file, format!("file {n} of a long list"))?;
        }
        let said = process::run_ok(Command::new("sha256sum").args(&files), LIMIT)?.text();
        for line in said.lines() {
            let (hash, file) = line.split_once("  ").context("sha256sum")?;
            let to = folder.join(hash);
            fs::rename(file, &to)?;
            named.push(to);
        }
    }
    Ok(named)
}

/// As rest-server and rclone keep them: in folders by the first two digits.
fn by_hand(data: &Path, files: &[PathBuf]) -> Result<()> {
    for file in files {
        let name = file.file_name().context("a file without a name")?.to_string_lossy();
        let folder = data.join(&name[..2]);
        fs::create_dir_all(&folder)?;
        fs::copy(file, folder.join(&*name))?;
    }
    Ok(())
}
