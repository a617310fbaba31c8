//! The state folder as the street side uses it: the lock, the control socket, the authority's certificate.
//!
//! ```text
//! STATE/lock            flock of the running daemon: who holds it may replace a stale socket
//! STATE/control.sock    Unix socket, 0600
//! STATE/authority.pem   the certificate that clients pin; public, refreshed at each start
//! STATE/leaf            the certificate that serves, so that it is the same after a restart; nothing secret; made again
//! STATE/hosts           names of the box that its owner gave it, one a line
//! ```
//! Everything else in the folder is the vault's.

use coffre_core::fault::{Fault, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const AUTHORITY: &str = "authority.pem";
const LEAF: &str = "leaf";
const HOSTS: &str = "hosts";
/// Most bytes of a small file that are read, whatever a damaged folder says.
const MAX_SMALL_FILE_LEN: u64 = 256 * 1024;
/// Longest path that surely fits a Unix socket address (108 bytes with its final zero).
const MAX_SOCKET_PATH_LEN: usize = 100;

/// Paths inside a state folder.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Held by the one daemon of a state folder, until the process ends however it ends.
#[derive(Debug)]
pub struct StateLock {
    _lock: Flock<File>,
    made: Option<PathBuf>,
}

/// A socket's path short enough for the kernel; keeps the folder open while it is used.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl StateDir {
    /// The state folder at `path`; looks at nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `Absent` unless there is a folder with something in it: an empty or missing one holds no vault.
    pub fn require(&self) -> Result<()> {
        let init = "make a vault with `coffre init`, or name its state folder with --state";
        match fs::read_dir(&self.path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Fault::absent(format!("the state folder {} is empty", self.path.display())).next(init))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(Fault::absent(format!("there is no state folder {}", self.path.display())).next(init))
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                Err(Fault::refused(format!("the state folder {}: {e}", self.path.display()))
                    .next("run this as the owner of the box, or as root"))
            }
            Err(e) => Err(Fault::permanent(format!("the state folder {}: {e}", self.path.display()))),
        }
    }

    /// Takes the daemon's lock. `Refused` when another process holds it, `Absent` when there is no vault.
    pub fn lock(&self) -> Result<StateLock> {
        self.require()?;
        let path = self.path.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (file, made) = match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (options.create(true).truncate(false).open(&path), Some(path.clone()))
            }
            other => (other, None),
        };
        let file = file.map_err(|e| Fault::permanent(format!("{}: {e}", path.display())))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StateLock { _lock: lock, made }),
            Err((_, Errno::EWOULDBLOCK)) => {
                Err(Fault::refused(format!("another coffred already serves {}", self.path.display()))
                    .next("stop it first, or use it"))
            }
            Err((_, e)) => Err(Fault::permanent(format!("{}: {e}", path.display()))),
        }
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// A path for a socket called `name` in this folder that fits a socket address, however deep the folder is.
    pub fn socket_path(&self, name: &str) -> io::Result<SocketPath> {
        let path = self.path.join(name);
        if path.as_os_str().len() <= MAX_SOCKET_PATH_LEN {
            return Ok(SocketPath { path, _folder: None });
        }
        let folder = File::open(&self.path)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(SocketPath { path, _folder: Some(folder) })
    }

    /// Where the authority's certificate is kept for those who ask while no daemon runs.
    pub fn authority_pem(&self) -> PathBuf {
        self.path.join(AUTHORITY)
    }

    /// Writes the authority's certificate, readable by all: it is public.
    ///
    /// # Durability
    /// On `Ok` the new file is on stable storage whole; after a crash the old or the new one is there.
    pub fn write_authority(&self, pem: &str) -> Result<()> {
        self.write(AUTHORITY, pem, 0o644)
    }

    /// The certificate that serves, as it was kept; `None` when there is none that can be read.
    pub fn read_leaf(&self) -> Option<String> {
        self.read(LEAF).ok().flatten()
    }

    /// Keeps the certificate that serves.
    ///
    /// # Durability
    /// As [`write_authority`](Self::write_authority).
    pub fn write_leaf(&self, text: &str) -> Result<()> {
        self.write(LEAF, text, 0o600)
    }

    /// The names that the owner gave the box, one a line; `None` when there are none.
    pub fn read_hosts(&self) -> Result<Option<String>> {
        self.read(HOSTS).map_err(|e| Fault::permanent(format!("{}: {e}", self.path.join(HOSTS).display())))
    }

    /// Replaces them.
    ///
    /// # Durability
    /// As [`write_authority`](Self::write_authority).
    pub fn write_hosts(&self, text: &str) -> Result<()> {
        self.write(HOSTS, text, 0o600)
    }

    /// A small text; `None` when there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let file = match File::open(self.path.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = String::new();
        file.take(MAX_SMALL_FILE_LEN).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        let target = self.path.join(name);
        if fs::read(&target).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let fresh = self.path.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            fs::rename(&fresh, &target)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| Fault::permanent(format!("{}: {e}", target.display())))
    }
}

impl StateLock {
    /// Ends the lock, and removes its file if this lock made it: the folder turned out to hold no vault.
    pub fn undo(self) {
        if let Some(path) = &self.made {
            // What cannot be removed is an empty file.
            let _ = fs::remove_file(path);
        }
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    #[test]
    fn no_vault_is_absent_and_nothing_is_written() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let empty = StateDir::new(scratch.path());
        assert_eq!(empty.lock().expect_err("empty").class, Class::Absent);
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0);
        let missing = StateDir::new(scratch.path().join("no"));
        assert_eq!(missing.lock().expect_err("missing").class, Class::Absent);
    }

    #[test]
    fn one_holder_at_a_time() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        fs::write(scratch.path().join("something"), b"x").expect("writable");
        let state = StateDir::new(scratch.path());
        let held = state.lock().expect("free");
        assert_eq!(state.lock().expect_err("held").class, Class::Refused);
        drop(held);
        assert!(state.lock().is_ok());
    }

    #[test]
    fn a_socket_can_be_bound_however_deep_the_folder() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let deep = scratch.path().join("d".repeat(120));
        fs::create_dir(&deep).expect("writable");
        let state = StateDir::new(&deep);
        let path = state.socket_path("control.sock").expect("opened");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        assert!(state.control_socket().exists());
    }
}
