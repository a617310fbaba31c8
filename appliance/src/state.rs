//! The state folder as the street side uses it: the lock, the control socket, the authority's certificate.
//!
//! ```text
//! STATE/lock            flock of the running daemon: who holds it may replace a stale socket
//! STATE/control.sock    Unix socket, 0600
//! STATE/authority.pem   the certificate that clients pin; public, refreshed at each start
//! ```
//! Everything else in the folder is the vault's.
//!
//! A system medium that is worn turns read-only. Then lock and socket are in a folder of their own below `/run` (or `XDG_RUNTIME_DIR`), named
//! after the state folder: the box starts, gives backups back, and its light says what is wrong.

use coffre_core::fault::{Fault, Result};
use coffre_core::wire::{SOCKET, spare_folders};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::getuid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

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
    /// Where the control socket goes.
    sockets: PathBuf,
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
        // Never `init`: who lost the state folder of a vault must not be sent to make another one on its disks.
        let lost = coffre_vault::STATE_LOST;
        match fs::read_dir(&self.path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Fault::absent(format!("the state folder {} is empty", self.path.display())).next(lost))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(Fault::absent(format!("there is no state folder {}", self.path.display())).next(lost))
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
        let mut sockets = self.path.clone();
        let (file, made) = match options.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (options.create(true).truncate(false).open(&path), Some(path.clone()))
            }
            other => (other, None),
        };
        let file = match file {
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                sockets = self.make_spare()?;
                let mut elsewhere = || options.create(true).truncate(false).open(sockets.join("lock"));
                // One that was made before holds its daemon off also now.
                File::open(&path).or_else(|_| elsewhere())
            }
            other => other,
        };
        let file = file.map_err(|e| {
            Fault::permanent(format!("{}: {e}", path.display()))
                .next("see whether the system medium can be written; if it is worn, replace it and run `coffre adopt`")
        })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StateLock { _lock: lock, made, sockets }),
            Err((_, Errno::EWOULDBLOCK)) => {
                Err(Fault::refused(format!("another coffred already serves {}", self.path.display()))
                    .next("stop it first, or use it"))
            }
            Err((_, e)) => Err(Fault::permanent(format!("{}: {e}", path.display()))),
        }
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Folders where the control socket may be, the likelier first: the state folder, and those that serve while that cannot be
    /// written, where they are there and this user's.
    pub fn socket_folders(&self) -> Vec<PathBuf> {
        let spare = self.spare().into_iter().filter(|folder| is_ours(folder));
        [self.path.clone()].into_iter().chain(spare).collect()
    }

    fn spare(&self) -> Vec<PathBuf> {
        let full = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        spare_folders(&full, std::env::var_os("XDG_RUNTIME_DIR").as_deref())
    }

    /// A folder for lock and socket while the state folder cannot be written.
    fn make_spare(&self) -> Result<PathBuf> {
        let shown = self.path.display();
        let usable = |folder: &PathBuf| {
            // One that is there already may be left over; whose it is decides.
            let _ = fs::DirBuilder::new().mode(0o700).create(folder);
            is_ours(folder)
        };
        let Some(folder) = self.spare().into_iter().find(usable) else {
            return Err(Fault::permanent(format!("the state folder {shown} is on a medium that cannot be written"))
                .next("replace the medium, then run `coffre adopt`; to give backups back until then, run this as root"));
        };
        tracing::error!(
            "the state folder {shown} cannot be written: backups can be got back, but replace the system medium soon, and run `coffre adopt`"
        );
        Ok(folder)
    }

    /// Where the authority's certificate is kept for those who ask while no daemon runs.
    pub fn authority_pem(&self) -> PathBuf {
        self.path.join("authority.pem")
    }

    /// Writes the authority's certificate, readable by all: it is public.
    ///
    /// # Durability
    /// On `Ok` the new file is on stable storage whole; after a crash the old or the new one is there.
    pub fn write_authority(&self, pem: &str) -> Result<()> {
        let target = self.authority_pem();
        if fs::read(&target).is_ok_and(|old| old == pem.as_bytes()) {
            return Ok(());
        }
        let fresh = self.path.join("authority.pem.new");
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh)?;
            file.write_all(pem.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
            fs::rename(&fresh, &target)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| Fault::permanent(format!("{}: {e}", target.display())))
    }
}

/// Whether this is a folder, no link to one, of the user who runs this.
fn is_ours(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|there| there.is_dir() && there.uid() == getuid().as_raw())
}

/// A path for a socket called `name` in `folder` that fits a socket address, however deep the folder is.
pub fn socket_path(folder: &Path, name: &str) -> io::Result<SocketPath> {
    let path = folder.join(name);
    if path.as_os_str().len() <= MAX_SOCKET_PATH_LEN {
        return Ok(SocketPath { path, _folder: None });
    }
    let open = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()));
    Ok(SocketPath { path, _folder: Some(open) })
}

impl StateLock {
    /// Where the control socket goes: the state folder, or another while that cannot be written.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

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
        let path = socket_path(state.path(), SOCKET).expect("opened");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        assert!(state.control_socket().exists());
    }
}
