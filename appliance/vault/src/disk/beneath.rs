//! Opening paths beneath a folder's handle, whatever lies there: no symlink, no `..`, no other mount is followed.
//!
//! The handle is what makes a write land on the disk that was attached, even if its path has come to mean
//! something else a microsecond ago. `openat2` does the walk in the kernel (Linux 5.6 and later); where it is
//! missing or forbidden, the walk is done part by part with `O_NOFOLLOW`, and each folder must be on the
//! file system of the root.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat, fstatat};
use std::os::fd::{AsFd, OwnedFd};

/// New files: for us alone.
pub(super) const FILE_MODE: Mode = Mode::from_bits_truncate(0o600);
/// New folders: for us alone.
pub(super) const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o700);

/// A folder beneath which paths are opened.
#[derive(Debug)]
pub(super) struct Root {
    handle: OwnedFd,
    device: u64,
    kernel_walks: bool,
}

impl Root {
    pub(super) fn new(handle: OwnedFd) -> nix::Result<Self> {
        let device = fstat(&handle)?.st_dev;
        let kernel_walks = openat2(&handle, ".", how(OFlag::O_PATH | OFlag::O_CLOEXEC)).is_ok();
        Ok(Self { handle, device, kernel_walks })
    }

    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.kernel_walks = false;
        self
    }

    /// Opens a file beneath. Anything that is not a regular file is refused: `EISDIR`, whatever it is.
    pub(super) fn file(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        // Non-blocking: a pipe planted under a file's name must not hold us for ever.
        match self.open(path, flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY) {
            Ok(fd) if fstat(&fd)?.st_mode & kind::MASK == kind::REGULAR => Ok(fd),
            Ok(_) | Err(Errno::ELOOP) => Err(Errno::EISDIR),
            // A socket, or a device that nothing drives: no word on whether the disk is there.
            Err(Errno::ENXIO | Errno::ENODEV) if self.is_no_file(path) => Err(Errno::EISDIR),
            Err(e) => Err(e),
        }
    }

    /// Whether something else than a regular file bears this name.
    fn is_no_file(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Ok(folder) = self.folder(folder) else { return false };
        fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|what| what.st_mode & kind::MASK != kind::REGULAR)
    }

    /// Opens a folder beneath; `""` is the root itself.
    pub(super) fn folder(&self, path: &str) -> nix::Result<OwnedFd> {
        self.open(if path.is_empty() { "." } else { path }, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        if self.kernel_walks {
            // EAGAIN: something was renamed during the walk.
            return (0..8)
                .map(|_| openat2(&self.handle, path, how(flags)))
                .find(|outcome| !matches!(outcome, Err(Errno::EAGAIN | Errno::EINTR)))
                .unwrap_or(Err(Errno::EAGAIN));
        }
        let mut at = self.handle.try_clone().map_err(|_| Errno::EMFILE)?;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if part == ".." {
                return Err(Errno::EXDEV);
            }
            let last = parts.peek().is_none();
            let step = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            at = openat(&at, part, if last { flags } else { step }, FILE_MODE)?;
            if fstat(&at)?.st_dev != self.device {
                return Err(Errno::EXDEV);
            }
        }
        Ok(at)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn how(flags: OFlag) -> OpenHow {
    let mode = if flags.contains(OFlag::O_CREAT) { FILE_MODE } else { Mode::empty() };
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    OpenHow::new().flags(flags).mode(mode).resolve(resolve)
}

/// The bits of `st_mode` that say what kind of thing it is.
pub(super) mod kind {
    use nix::sys::stat::SFlag;
    pub(crate) const MASK: u32 = SFlag::S_IFMT.bits();
    pub(crate) const REGULAR: u32 = SFlag::S_IFREG.bits();
    pub(crate) const FOLDER: u32 = SFlag::S_IFDIR.bits();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn neither_walk_leaves_the_folder() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("in")).expect("scratch");
        std::fs::create_dir(dir.path().join("out")).expect("scratch");
        for file in ["root/in/f", "out/f"] {
            std::fs::write(dir.path().join(file), b"x").expect("scratch");
        }
        symlink("f", root.join("in/link")).expect("scratch");
        symlink("../out", root.join("away")).expect("scratch");
        let open =
            || Root::new(OwnedFd::from(std::fs::File::open(&root).expect("scratch"))).expect("a folder");
        for root in [open(), open().without_openat2()] {
            root.file("in/f", OFlag::O_RDONLY).expect("a plain file");
            root.folder("in").expect("a plain folder");
            root.folder("").expect("the root");
            for bad in ["in/link", "away/f", "../out/f", "in/none", "in"] {
                assert!(root.file(bad, OFlag::O_RDONLY).is_err(), "{bad}");
            }
            for bad in ["away", "..", "in/f"] {
                assert!(root.folder(bad).is_err(), "{bad}");
            }
        }
    }
}
