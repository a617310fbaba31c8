//! Programs of the system that a run needs: found, installed where this is allowed, or told how to get.
//!
//! Only root on a system with apt installs anything, and only what is missing; everybody else is told the
//! command. The package lists are refreshed at most once per run.

use super::process;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// A program and the Debian package it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub program: &'static str,
    /// Its package.
    pub package: &'static str,
}

/// The client of the drop-box.
pub const CURL: Tool = Tool { program: "curl", package: "curl" };
/// A server of restic's protocol, among much else.
pub const RCLONE: Tool = Tool { program: "rclone", package: "rclone" };
/// A client of the restic door.
pub const RESTIC: Tool = Tool { program: "restic", package: "restic" };
/// Makes networks of their own.
pub const IP: Tool = Tool { program: "ip", package: "iproute2" };
/// Makes ext4 file systems.
pub const MKFS_EXT4: Tool = Tool { program: "mkfs.ext4", package: "e2fsprogs" };
/// Makes XFS file systems.
pub const MKFS_XFS: Tool = Tool { program: "mkfs.xfs", package: "xfsprogs" };

/// Where a program is: on the path, or where the programs of root are.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(roots).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Sees to it that a tool is there, or says in one sentence why it is not and how to get it.
pub fn ensure(tool: Tool) -> Result<PathBuf, String> {
    ensured(tool.program, tool.package, || find(tool.program))
}

/// Where a PostgreSQL server is, as Debian lays it: off the path, by its version.
pub fn find_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions.map(|version| version.path().join("bin/initdb")).find(|initdb| initdb.is_file())
}

/// Sees to it that a PostgreSQL server is there.
pub fn ensure_postgres() -> Result<PathBuf, String> {
    ensured("a PostgreSQL server", "postgresql", find_postgres)
}

/// Where libfaketime is, which tells one program another time.
pub fn find_faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|lib| lib.is_file())
}

/// Sees to it that libfaketime is there.
pub fn ensure_faketime() -> Result<PathBuf, String> {
    ensured("libfaketime", "libfaketime", find_faketime)
}

/// The same for a file that a package brings, by its full path.
pub fn ensure_file(file: &Path, package: &str) -> Result<(), String> {
    ensured(&file.display().to_string(), package, || file.exists().then_some(()))
}

fn ensured<T>(what: &str, package: &str, look: impl Fn() -> Option<T>) -> Result<T, String> {
    if let Some(found) = look() {
        return Ok(found);
    }
    let by_hand = format!("{what} is missing; install it with: apt-get install {package}");
    if !is_root() || find("apt-get").is_none() {
        return Err(by_hand);
    }
    refreshed_lists().clone().map_err(|why| format!("{by_hand} (package lists: {why})"))?;
    // On stderr, for whoever waits: it takes minutes where the network is slow.
    eprintln!("installing {package} ({what}) with apt-get");
    apt(&["install", "-y", "-q", "--no-install-recommends", package])
        .map_err(|why| format!("{by_hand} (tried: {why})"))?;
    look().ok_or_else(|| format!("{package} did not bring {what}"))
}

fn refreshed_lists() -> &'static Result<(), String> {
    static ONCE: OnceLock<Result<(), String>> = OnceLock::new();
    ONCE.get_or_init(|| apt(&["update", "-q"]))
}

fn apt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    process::run_ok(&mut command, INSTALL_LIMIT).map(drop).map_err(|why| last_line(&why.to_string()))
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_the_rest_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
        assert!(ensure(Tool { program: "sh", package: "dash" }).is_ok());
        assert!(ensure_file(Path::new("/bin/sh"), "dash").is_ok());
    }
}
