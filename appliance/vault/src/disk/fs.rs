//! The real disk: a folder on a mounted file system.
//!
//! Two things must never happen: writing into the empty folder under a disk that was unmounted, and writing to
//! another disk that took its place. So the folder is opened once, when the disk is attached, and everything
//! is opened beneath that handle: a write lands on the disk that was attached or nowhere. Besides, every
//! operation first asks whether the path still names the folder of that handle, so that a disk that went
//! says `Gone` at once instead of living on as a ghost. (While the handle is held, the system gives its device
//! number and inode to nothing else.)
//!
//! `sync` is `fdatasync`: it also makes the length durable, as far as it is needed to read the data back. It is
//! called once and never again after it failed: Linux reports a failed write-back once, then forgets the pages.
//!
//! Large pieces that lie on whole pages in memory and in the file go past the page cache (`O_DIRECT`): it would
//! cost more than everything else that is done to them, and nobody reads them again soon. What is read from the medium goes
//! past it too. A file system that will not have it is written and read through the cache.

use super::beneath::{FOLDER_MODE, Root, kind};
use super::{Hold, Holder, MAX_OPEN_FILES, is_folder, is_path, parent};
use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult, EntryKind, Space};
use coffre_core::buffer::{Buffer, PAGE};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, PosixFadviseAdvice, open, posix_fadvise, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat, stat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, fdatasync, fsync, unlinkat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A folder, usually the root of a file system of its own, as a disk.
#[derive(Debug)]
pub struct FsDisk {
    path: PathBuf,
    root: Root,
    /// Device and inode of the folder that was attached.
    identity: (u64, u64),
    open: Mutex<BTreeMap<String, Arc<Handle>>>,
    /// While this is attached nobody else has the disk.
    hold: OnceLock<Arc<Hold>>,
    /// The file system refused to be written past the cache.
    cached_only: AtomicBool,
}

#[derive(Debug)]
struct Handle {
    file: File,
    /// The same file, written past the page cache; `None` when that cannot be.
    direct: OnceLock<Option<File>>,
    /// A sync failed: nothing that is said through this handle means anything any more.
    failed: AtomicBool,
}

/// Shorter pieces are not worth a second handle.
const DIRECT_MIN: usize = 128 * 1024;

impl Handle {
    fn new(fd: OwnedFd) -> Self {
        Self { file: File::from(fd), direct: OnceLock::new(), failed: AtomicBool::new(false) }
    }
}

impl FsDisk {
    /// Opens the folder `path` as a disk. `Gone` if there is none.
    pub fn attach(path: &Path) -> DiskResult<Self> {
        let shown = path.to_string_lossy();
        let path = std::path::absolute(path).map_err(|e| trouble("attach", &shown, e))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = match open(&path, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Err(DiskError::Gone(format!("there is no folder {shown}"))),
            Err(Errno::ENOTDIR) => return Err(DiskError::Gone(format!("{shown} is not a folder"))),
            other => other.map_err(|e| trouble("attach", &shown, e.into()))?,
        };
        let attached = fstat(&handle).map_err(|e| trouble("attach", &shown, e.into()))?;
        let root = Root::new(handle).map_err(|e| trouble("attach", &shown, e.into()))?;
        Ok(Self {
            path,
            root,
            identity: (attached.st_dev, attached.st_ino),
            open: Mutex::default(),
            hold: OnceLock::new(),
            cached_only: AtomicBool::new(false),
        })
    }

    /// Takes the disk for `holder` for as long as this is attached: nobody else can take it meanwhile. `Held` when somebody has.
    /// Whoever writes to a disk holds it; looking needs no hold.
    pub fn hold(&self, holder: &Holder) -> DiskResult<()> {
        self.check()?;
        let shown = self.path.to_string_lossy();
        let folder = self.root.folder("").map_err(|e| trouble("hold", &shown, e.into()))?;
        let hold = holder.take(folder, &shown)?;
        // Held already, through this very handle: one hold is enough.
        let _ = self.hold.set(hold);
        Ok(())
    }

    /// Where it is attached.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still names the folder that was attached.
    fn check(&self) -> DiskResult<()> {
        let gone = |why: &str| Err(DiskError::Gone(format!("{} {why}", self.path.display())));
        match stat(&self.path) {
            Ok(now) if (now.st_dev, now.st_ino) == self.identity => Ok(()),
            Ok(_) => gone("is another folder than the one attached (unmounted, or replaced)"),
            Err(Errno::ENOENT | Errno::ENOTDIR) => gone("is not there any more"),
            Err(e) if is_shortage(e) => Err(trouble("look at", &self.path.to_string_lossy(), e.into())),
            Err(e) => gone(e.desc()),
        }
    }

    /// The check that comes before everything else, and the form of the path.
    fn admit(&self, what: &str, path: &str, well_formed: bool) -> DiskResult<()> {
        self.check()?;
        if well_formed { Ok(()) } else { Err(trouble(what, path, Errno::EINVAL.into())) }
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Handle>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, what: &str, path: &str) -> DiskResult<Arc<Handle>> {
        let handle = self.handles().get(path).cloned();
        let handle = handle.ok_or_else(|| trouble(what, path, Errno::EBADF.into()))?;
        if handle.failed.load(SeqCst) {
            let why = io::Error::other("an earlier sync of this handle failed; close it and write anew");
            return Err(DiskError::Io { what: format!("{what} {path}"), source: why });
        }
        Ok(handle)
    }

    fn keep(&self, what: &str, path: &str, flags: OFlag) -> DiskResult<()> {
        let mut handles = self.handles();
        if handles.contains_key(path) && !flags.contains(OFlag::O_CREAT) {
            return Ok(());
        }
        if handles.len() >= MAX_OPEN_FILES {
            let source = io::Error::other("too many files of this disk are open");
            return Err(DiskError::Io { what: format!("{what} {path}"), source });
        }
        let fd = self.root.file(path, flags).map_err(|e| trouble(what, path, e.into()))?;
        let handle = Handle::new(fd);
        handles.insert(path.to_owned(), Arc::new(handle));
        Ok(())
    }

    /// The open file of `path`, or a new handle to read it.
    fn for_reading(&self, what: &str, path: &str) -> DiskResult<Arc<Handle>> {
        if let Some(handle) = self.handles().get(path) {
            return Ok(Arc::clone(handle));
        }
        let fd = self.root.file(path, OFlag::O_RDONLY).map_err(|e| trouble(what, path, e.into()))?;
        Ok(Arc::new(Handle::new(fd)))
    }

    /// Writes past the page cache as much as can be. Returns how many bytes of the beginning are written.
    fn write_direct(&self, handle: &Handle, path: &str, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let apart = bytes.len() < DIRECT_MIN
            || !bytes.as_ptr().addr().is_multiple_of(PAGE)
            || !offset.is_multiple_of(PAGE as u64);
        if apart || self.cached_only.load(SeqCst) {
            return Ok(0);
        }
        if handle.direct.get().is_none() {
            let opened = match self.root.file(path, OFlag::O_WRONLY | OFlag::O_DIRECT) {
                // The next time there may be a descriptor for it; until then it goes through the cache.
                Err(e) if is_shortage(e) => return Ok(0),
                opened => opened.ok().map(File::from),
            };
            let same = |file: &File| {
                let (a, b) = (fstat(file).ok()?, fstat(&handle.file).ok()?);
                Some((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
            };
            // Another thread may have been quicker: then its handle is taken.
            let _ = handle.direct.set(opened.filter(|file| same(file) == Some(true)));
        }
        let Some(Some(file)) = handle.direct.get() else {
            self.cached_only.store(true, SeqCst);
            return Ok(0);
        };
        let (whole, mut done) = (bytes.len() / PAGE * PAGE, 0);
        while done < whole {
            match file.write_at(&bytes[done..whole], offset + done as u64) {
                Ok(n) if n >= PAGE => done += n / PAGE * PAGE,
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => {
                    self.cached_only.store(true, SeqCst);
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Reads past the page cache, if that can be; `false` when it cannot.
    fn read_direct(&self, path: &str, offset: u64, len: usize, into: &mut Buffer) -> DiskResult<bool> {
        into.truncate(0);
        if !offset.is_multiple_of(PAGE as u64) || self.cached_only.load(SeqCst) {
            return Ok(false);
        }
        let file = match self.root.file(path, OFlag::O_RDONLY | OFlag::O_DIRECT) {
            Err(Errno::EINVAL) => return Ok(false),
            other => File::from(other.map_err(|e| trouble("read", path, e.into()))?),
        };
        let length = file.metadata().map_err(|e| trouble("read", path, e))?.len();
        let len = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let pages = into.lengthen(len.next_multiple_of(PAGE));
        let mut done = 0;
        while done < len {
            match file.read_at(&mut pages[done..], offset + done as u64) {
                Ok(n) if n.is_multiple_of(PAGE) && n > 0 => done += n,
                // The end of the file, which need not end on a page.
                Ok(n) => {
                    done += n;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(false),
                Err(e) => return Err(trouble("read", path, e)),
            }
        }
        into.truncate(done.min(len));
        Ok(true)
    }

    /// The folder of `path` and the last part of its name.
    fn place<'a>(&self, what: &str, path: &'a str) -> DiskResult<(OwnedFd, &'a str)> {
        let folder = self.root.folder(parent(path)).map_err(|e| trouble(what, path, e.into()))?;
        Ok((folder, path.rsplit('/').next().unwrap_or(path)))
    }
}

impl Disk for FsDisk {
    fn make_dir(&self, path: &str) -> DiskResult<()> {
        self.admit("make folder", path, is_path(path))?;
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for part in ends.map(|end| &path[..end]) {
            let (folder, name) = self.place("make folder", part)?;
            match mkdirat(&folder, name, FOLDER_MODE) {
                Ok(()) => {}
                Err(Errno::EEXIST) if self.root.folder(part).is_ok() => {}
                Err(e) => return Err(trouble("make folder", part, e.into())),
            }
        }
        Ok(())
    }

    fn create(&self, path: &str) -> DiskResult<()> {
        self.admit("create", path, is_path(path))?;
        self.keep("create", path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL)
    }

    fn open_rw(&self, path: &str) -> DiskResult<()> {
        self.admit("open", path, is_path(path))?;
        self.keep("open", path, OFlag::O_RDWR)
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        self.check()?;
        let handle = self.handle("write", path)?;
        let done = self.write_direct(&handle, path, offset, bytes).map_err(|e| trouble("write", path, e))?;
        // Goes on after short and interrupted writes.
        handle.file.write_all_at(&bytes[done..], offset + done as u64).map_err(|e| trouble("write", path, e))
    }

    fn sync(&self, path: &str) -> DiskResult<()> {
        self.check()?;
        let handle = self.handle("sync", path)?;
        let outcome = fdatasync(&handle.file).map_err(|e| trouble("sync", path, e.into()));
        // Asked after the fact too: a sync that says Ok on a disk that went meanwhile counts for nothing.
        let outcome = outcome.and_then(|()| self.check());
        if outcome.is_err() {
            handle.failed.store(true, SeqCst);
        }
        outcome
    }

    fn close(&self, path: &str) {
        self.handles().remove(path);
    }

    fn sync_dir(&self, path: &str) -> DiskResult<()> {
        self.admit("sync folder", path, is_folder(path))?;
        let folder = self.root.folder(path).map_err(|e| trouble("sync folder", path, e.into()))?;
        fsync(&folder).map_err(|e| trouble("sync folder", path, e.into()))?;
        self.check()
    }

    fn read_at(&self, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
        self.admit("read", path, is_path(path))?;
        let handle = self.for_reading("read", path)?;
        if !path.starts_with(layout::SHARDS) {
            // What decides about truth is read from the medium.
            forget_cached(&handle.file, 0, 0);
        }
        read(&handle.file, path, offset, len)
    }

    fn read_medium(&self, path: &str, offset: u64, len: usize, into: &mut Buffer) -> DiskResult<()> {
        self.admit("read", path, is_path(path))?;
        if self.read_direct(path, offset, len, into)? {
            return Ok(());
        }
        let handle = self.for_reading("read", path)?;
        forget_cached(&handle.file, offset, len);
        let bytes = read(&handle.file, path, offset, len);
        // Whoever proves reads once: what clients read again should stay in memory instead.
        forget_cached(&handle.file, offset, len);
        into.truncate(0);
        into.extend_from_slice(&bytes?);
        Ok(())
    }

    fn len(&self, path: &str) -> DiskResult<u64> {
        self.admit("length of", path, is_path(path))?;
        let handle = self.for_reading("length of", path)?;
        Ok(handle.file.metadata().map_err(|e| trouble("length of", path, e))?.len())
    }

    fn list(&self, path: &str) -> DiskResult<Vec<String>> {
        let mut names = Vec::new();
        self.each(path, &mut |name, _| names.push(name.to_owned()))?;
        names.sort_unstable();
        Ok(names)
    }

    fn each(&self, path: &str, see: &mut dyn FnMut(&str, EntryKind)) -> DiskResult<()> {
        self.admit("list", path, is_folder(path))?;
        let whole = |e: Errno| trouble("list", path, e.into());
        let asked = self.root.folder(path).map_err(whole)?;
        let mut folder = Dir::from_fd(self.root.folder(path).map_err(whole)?).map_err(whole)?;
        for entry in folder.iter() {
            let entry = entry.map_err(whole)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::File) => EntryKind::File,
                Some(Type::Directory) => EntryKind::Folder,
                Some(_) => EntryKind::Other,
                // Some file systems say it only when asked.
                None => kind_of(&asked, name),
            };
            see(&name.to_string_lossy(), kind);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> DiskResult<()> {
        self.admit("rename", from, is_path(from) && is_path(to))?;
        let (from_folder, from_name) = self.place("rename", from)?;
        let (to_folder, to_name) = self.place("rename to", to)?;
        must_be_file("rename", from, &from_folder, from_name)?;
        // Held over the rename: nobody opens either name between it and the change of handles.
        let mut handles = self.handles();
        renameat(&from_folder, from_name, &to_folder, to_name)
            .map_err(|e| trouble("rename", from, e.into()))?;
        if from != to {
            handles.remove(to);
            if let Some(handle) = handles.remove(from) {
                handles.insert(to.to_owned(), handle);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> DiskResult<()> {
        self.admit("remove", path, is_path(path))?;
        let (folder, name) = self.place("remove", path)?;
        must_be_file("remove", path, &folder, name)?;
        let mut handles = self.handles();
        unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir).map_err(|e| trouble("remove", path, e.into()))?;
        handles.remove(path);
        Ok(())
    }

    fn space(&self) -> DiskResult<Space> {
        self.check()?;
        let sizes = fstatvfs(&self.root).map_err(|e| trouble("sizes of", "the disk", e.into()))?;
        let unit = sizes.fragment_size();
        Ok(Space {
            total: sizes.blocks().saturating_mul(unit),
            free: sizes.blocks_available().saturating_mul(unit),
        })
    }
}

/// Nothing is moved or removed that is not a file: the box makes no other thing that it would ever move or remove.
fn must_be_file(what: &str, path: &str, folder: &OwnedFd, name: &str) -> DiskResult<()> {
    let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    match found.map_err(|e| trouble(what, path, e.into()))?.st_mode & kind::MASK {
        kind::REGULAR => Ok(()),
        _ => Err(trouble(what, path, Errno::EISDIR.into())),
    }
}

fn kind_of(folder: &OwnedFd, name: &std::ffi::CStr) -> EntryKind {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|what| what.st_mode & kind::MASK) {
        Ok(kind::REGULAR) => EntryKind::File,
        Ok(kind::FOLDER) => EntryKind::Folder,
        Ok(_) => EntryKind::Other,
        Err(_) => EntryKind::Unknown,
    }
}

/// Asks the system to forget what it has in memory of a part of a file (`len` 0: to its end): after a failed sync the cache
/// shows bytes that no medium has, clean, until somebody drops them. The advice may be ignored; then nothing is lost by it.
fn forget_cached(file: &File, offset: u64, len: usize) {
    if let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) {
        let _ = posix_fadvise(file, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

/// Reads on after short and interrupted reads, up to the end of the file.
fn read(file: &File, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
    let length = file.metadata().map_err(|e| trouble("read", path, e))?.len();
    let len = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
    let (mut bytes, mut done) = (vec![0; len], 0);
    while done < len {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(trouble("read", path, e)),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// What the system said, in the words of the port.
pub(super) fn trouble(what: &str, path: &str, source: io::Error) -> DiskError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => DiskError::NotFound(path.into()),
        Some(Errno::EEXIST) => DiskError::Exists(path.into()),
        Some(Errno::ENOSPC | Errno::EDQUOT) => DiskError::Full(path.into()),
        Some(e @ (Errno::ENODEV | Errno::ENXIO | Errno::ESTALE)) => {
            DiskError::Gone(format!("{what} {path}: {}", e.desc()))
        }
        Some(e) if is_shortage(e) => DiskError::Shortage { what: format!("{what} {path}"), source },
        Some(Errno::EISDIR | Errno::ELOOP) => {
            let source =
                io::Error::new(io::ErrorKind::IsADirectory, "something that is no file stands there");
            DiskError::Io { what: format!("{what} {path}"), source }
        }
        _ => DiskError::Io { what: format!("{what} {path}"), source },
    }
}

/// What the system says when the process or the whole machine is short of something, whatever the disk.
fn is_shortage(e: Errno) -> bool {
    matches!(e, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pieces_go_past_the_cache_and_read_back_the_same() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a scratch folder");
        let disk = FsDisk::attach(dir.path()).expect("a folder");
        let mut piece = coffre_core::buffer::Buffer::new();
        piece.extend_from_slice(&b"0123456789abcde".repeat(30_000));
        disk.create("f").expect("new");
        disk.write_at("f", 0, &[7; PAGE]).expect("written");
        disk.write_at("f", PAGE as u64, &piece).expect("written");
        let end = PAGE + piece.len();
        disk.write_at("f", end as u64, b"footer").expect("written");
        disk.sync("f").expect("synced");
        let handle = disk.handle("look at", "f").expect("open");
        let direct = handle.direct.get().is_some_and(Option::is_some);
        assert!(direct || disk.cached_only.load(SeqCst), "tried, or known to be refused");
        disk.close("f");
        let back = disk.read_at("f", 0, usize::MAX).expect("read");
        assert_eq!(back.len(), end + 6);
        assert!(back[..PAGE].iter().all(|b| *b == 7));
        assert_eq!(back[PAGE..end], *piece);
        assert_eq!(back[end..], *b"footer");
        // From memory that lies anywhere, through the cache.
        disk.open_rw("f").expect("there");
        disk.write_at("f", 0, &piece[1..]).expect("written");
        assert_eq!(disk.read_at("f", 0, 4).expect("read"), piece[1..5]);
    }

    #[test]
    fn what_the_system_says_has_one_meaning() {
        let of = |e: Errno| trouble("write", "f", e.into());
        assert!(matches!(of(Errno::ENOENT), DiskError::NotFound(_)));
        assert!(matches!(of(Errno::EEXIST), DiskError::Exists(_)));
        for full in [Errno::ENOSPC, Errno::EDQUOT] {
            assert!(matches!(of(full), DiskError::Full(_)), "{full}");
        }
        for gone in [Errno::ENODEV, Errno::ENXIO, Errno::ESTALE] {
            assert!(matches!(of(gone), DiskError::Gone(_)), "{gone}");
        }
        for short in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EAGAIN] {
            assert!(matches!(of(short), DiskError::Shortage { .. }), "{short}");
            assert!(!of(short).medium_fails(), "{short}");
        }
        for other in [Errno::EIO, Errno::ENODATA, Errno::EROFS, Errno::ETIMEDOUT, Errno::EUCLEAN] {
            assert!(
                matches!(of(other), DiskError::Io { .. })
                    && of(other).medium_fails() == (other != Errno::ETIMEDOUT),
                "{other}"
            );
        }
    }
}
