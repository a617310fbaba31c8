//! restic and rustic as programs: found, built or fetched, and driven by the same words.
//!
//! The secret, the password and where the repository is go through the environment, never through arguments. Nothing is
//! cached unless it is asked for: what a client reads comes from the box. Packs are small, so that some megabytes are many uploads.

use crate::rig::process::{self, Group, Said};
use crate::rig::tools;
use crate::rig::{binaries, newer};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest wait for a client.
pub const LIMIT: Duration = Duration::from_secs(180);
/// Building rustic's crates takes minutes on two cores, once.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
const PASSWORD: &str = "a password of the client's own";

/// Which language of words a program understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// restic.
    Restic,
    /// rustic, by `hw-tests/rustic`.
    Rustic,
}

/// A client program.
#[derive(Clone, Debug)]
pub struct Program {
    /// A word for it; also its client's name on the box.
    pub name: &'static str,
    /// What it says of itself.
    pub version: String,
    kind: Kind,
    path: PathBuf,
}

/// The restic of this machine, if it has one. Nothing is installed.
pub fn restic_here() -> Option<Program> {
    let path = tools::find(tools::RESTIC.program)?;
    let version = process::run_ok(Command::new(&path).arg("version"), LIMIT).ok()?.text().trim().to_owned();
    Some(Program { name: "restic", version, kind: Kind::Restic, path })
}

/// The program of this name (`restic-old`, `restic-new`, `rustic`), or in one sentence why it is not to be had.
pub fn have(name: &'static str) -> Result<Program, String> {
    let (kind, path) = match name {
        "restic-old" => (Kind::Restic, tools::ensure(tools::RESTIC)?),
        "restic-new" => {
            let peers = binaries::scratch("peers").map_err(|why| format!("{why:#}"))?;
            (Kind::Restic, newer::fetch(&peers, "restic", "usr/bin/restic")?)
        }
        _ => (Kind::Rustic, build_rustic().map_err(|why| last_line(&format!("{why:#}")))?),
    };
    let version = match kind {
        Kind::Restic => process::run_ok(Command::new(&path).arg("version"), LIMIT).map(|said| said.text()),
        Kind::Rustic => Ok(rustic_version()),
    };
    let version = version.map_err(|why| format!("{why:#}"))?.trim().to_owned();
    Ok(Program { name, version, kind, path })
}

impl Program {
    /// Which words it understands.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// It in a folder, where it must find everything by itself: nothing is set for it but what a test needs for its own order.
    pub fn in_folder(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(folder).env("NO_PROXY", "*").env("RUST_BACKTRACE", "0");
        if self.kind == Kind::Restic {
            command.env("RESTIC_CACHE_DIR", folder.join("cache"));
        }
        command
    }
}

fn rustic_package() -> PathBuf {
    binaries::checkout().join("hw-tests/rustic")
}

fn build_rustic() -> Result<PathBuf> {
    let target = binaries::scratch("rustic")?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(rustic_package().join("Cargo.toml"));
    build.arg("--target-dir").arg(&target);
    process::run_ok(&mut build, BUILD_LIMIT)?;
    Ok(target.join("debug/coffre-rustic"))
}

/// The version that stands in the lock file.
fn rustic_version() -> String {
    let lock = std::fs::read_to_string(rustic_package().join("Cargo.lock")).unwrap_or_default();
    let after = lock.split_once("name = \"rustic_core\"\nversion = \"").map_or("?", |(_, after)| after);
    format!("rustic_core {}", after.split('"').next().unwrap_or("?"))
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or("").to_owned()
}

/// A program with a repository.
#[derive(Clone)]
pub struct Client {
    /// The program.
    pub program: Program,
    /// Its name on the box.
    pub user: String,
    secret: String,
    /// `127.0.0.1:PORT` of the box.
    address: String,
    path: String,
    pem: PathBuf,
    /// Length of packs; restic only.
    pack_mib: u32,
    /// Where it keeps what it has read of trees and indexes; nowhere, if everything is to come from the box. restic only.
    cache: Option<PathBuf>,
}

impl Client {
    /// `program` as the box's client `user`, with its repository `repo`.
    pub fn new(program: &Program, address: &str, user: &str, secret: &str, pem: &Path) -> Self {
        let (user, secret, address) = (user.to_owned(), secret.to_owned(), address.to_owned());
        Self {
            program: program.clone(),
            path: format!("{user}/repo"),
            user,
            secret,
            address,
            pem: pem.to_owned(),
            pack_mib: 4,
            cache: None,
        }
    }

    /// `CLIENT/REPO`, as the box's command calls it.
    pub fn repo(&self) -> &str {
        &self.path
    }

    /// The same client, somewhere else.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// The same client with packs of this length: 4 to 128. rustic keeps the length that its repository was made with.
    pub fn with_packs_of(&self, pack_mib: u32) -> Self {
        Self { pack_mib, ..self.clone() }
    }

    /// The same client as people have it: with a cache, in this folder.
    pub fn with_cache(&self, folder: &Path) -> Self {
        Self { cache: Some(folder.to_owned()), ..self.clone() }
    }

    /// The same client with another repository.
    pub fn with_repo(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// The same client with another secret.
    pub fn with_secret(&self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self.clone() }
    }

    /// Makes the repository.
    pub fn init(&self) -> Result<Said> {
        process::run(&mut self.command(&["init"]), LIMIT)
    }

    /// Backs a folder up.
    pub fn backup(&self, folder: &Path) -> Result<Said> {
        self.ok(&["backup", folder.to_str().context("a path that is no text")?])
    }

    /// Begins to back a folder up. What it says goes to `log`.
    pub fn start_backup(&self, folder: &Path, log: &Path) -> Result<Group> {
        let out = std::fs::File::create(log)?;
        let err = out.try_clone()?;
        Group::start(self.backup_command(folder).stdin(Stdio::null()).stdout(out).stderr(err))
    }

    /// Reads everything and looks whether it is right.
    pub fn check(&self) -> Result<()> {
        let words: &[&str] = if self.is_restic() { &["check", "--read-data"] } else { &["check"] };
        self.ok(words).map(drop)
    }

    /// Ids of the snapshots, the oldest first.
    pub fn snapshots(&self) -> Result<Vec<String>> {
        if !self.is_restic() {
            return Ok(self.ok(&["snapshots"])?.text().lines().map(str::to_owned).collect());
        }
        let said = self.ok(&["snapshots", "--json"])?;
        let list: Vec<serde_json::Value> = serde_json::from_slice(&said.out).context("snapshots --json")?;
        let id =
            |one: &serde_json::Value| one["id"].as_str().map(str::to_owned).context("a snapshot without id");
        list.iter().map(id).collect()
    }

    /// The newest snapshot.
    pub fn newest(&self) -> Result<String> {
        self.snapshots()?.pop().context("there is no snapshot")
    }

    /// Restores a snapshot below `to`, where the paths begin at the root.
    pub fn restore(&self, id: &str, to: &Path) -> Result<()> {
        let to = to.to_str().context("a path that is no text")?;
        let words: &[&str] =
            if self.is_restic() { &["restore", id, "--target", to] } else { &["restore", id, to] };
        self.ok(words).map(drop)
    }

    /// Forgets a snapshot and prunes. An error when it has not ended after `limit`, with what it said.
    pub fn forget(&self, id: &str, limit: Duration) -> Result<Said> {
        let mut words = vec!["forget", id];
        if self.is_restic() {
            words.extend(["--prune", "--max-unused", "0"]);
        }
        process::run(&mut self.command(&words), limit)
    }

    /// Takes away what a killed client left locked.
    pub fn unlock(&self) -> Result<()> {
        // rustic makes no locks.
        if self.is_restic() { self.ok(&["unlock"]).map(drop) } else { Ok(()) }
    }

    fn is_restic(&self) -> bool {
        self.program.kind == Kind::Restic
    }

    /// The words, and an error when they do not end well. It tells nothing of the environment.
    fn ok(&self, words: &[&str]) -> Result<Said> {
        let said = process::run(&mut self.command(words), LIMIT)?;
        ensure!(said.status.success(), "{}: {}: {}", words.join(" "), said.status, said.err.trim());
        Ok(said)
    }

    fn backup_command(&self, folder: &Path) -> Command {
        let mut command = self.command(&["backup"]);
        command.arg(folder);
        command
    }

    fn command(&self, words: &[&str]) -> Command {
        let at = format!("rest:https://{}:{}@{}/{}/", self.user, self.secret, self.address, self.path);
        let mut command = Command::new(&self.program.path);
        if self.is_restic() {
            match &self.cache {
                Some(folder) => command.env("RESTIC_CACHE_DIR", folder),
                None => command.arg("--no-cache"),
            };
            command.arg("--cacert").arg(&self.pem);
            command
                .env("RESTIC_REPOSITORY", at)
                .env("RESTIC_PASSWORD", PASSWORD)
                .env("RESTIC_PACK_SIZE", self.pack_mib.to_string());
        } else {
            command
                .env("RUSTIC_REPOSITORY", at)
                .env("RUSTIC_PASSWORD", PASSWORD)
                .env("RUSTIC_CACERT", &self.pem);
        }
        command.env("NO_PROXY", "*").env("RUST_BACKTRACE", "0").args(words);
        command
    }
}

/// Waits for a backup to end well.
pub fn ended_well(mut backup: Group, log: &Path) -> Result<()> {
    let said = || String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).trim().to_owned();
    match backup.wait(LIMIT)? {
        Some(status) => ensure!(status.success(), "the backup ended with {status}: {}", said()),
        None => bail!("the backup took longer than {} s: {}", LIMIT.as_secs(), said()),
    }
    Ok(())
}
