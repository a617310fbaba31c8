//! `coffre get`: a snapshot back into a file, verified before it gets its name.
//!
//! The bytes go to a temporary file beside the target; only when length and BLAKE3 are those of the receipt and the
//! file is synced does it get its name. So the target is whole or not there. An interrupted `get` may leave a file
//! `.NAME.PID.part`, which can be deleted. On stdout there is nothing to hold back: a mismatch is an exit code.
//!
//! A rename replaces whatever has the name, a device or a pipe too. So only a plain file is ever replaced, `--force` or not. Who
//! names `/dev/null` wants to know whether a backup reads back: that is `--check` and `--compare`, which write nothing.

use super::knock::{self, Daemon};
use super::{Outcome, Said, progress, show, snapshot_id};
use crate::clock;
use crate::state::StateDir;
use clap::Args;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::ObjectId;
use coffre_core::names::DatasetRef;
use coffre_core::wire::{Reply, Request, SnapshotInfo};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes taken behind one `Reply::Data` line.
const MAX_PIECE_BYTES: u64 = 16 * 1024 * 1024;

/// Options of `coffre get`.
#[derive(Debug, Args)]
pub struct Options {
    /// The data set, written CLIENT/NAME.
    dataset: DatasetRef,
    /// Which snapshot; without this the newest one that is complete, as far as that is known.
    #[arg(long, value_parser = snapshot_id)]
    id: Option<ObjectId>,
    /// The file to write; `-` is standard output.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["check", "compare"])]
    to: Option<PathBuf>,
    /// Replace the file if there is one; only a plain file is ever replaced.
    #[arg(long, requires = "to")]
    force: bool,
    /// Read everything back and verify it, and write nothing.
    #[arg(long, conflicts_with_all = ["to", "compare"])]
    check: bool,
    /// Compare with this file, byte for byte, and write nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    compare: Option<PathBuf>,
}

/// Restores one snapshot, or reads it back to check it.
pub fn run(state: &StateDir, options: Options, json: bool) -> Outcome<Said> {
    let Options { dataset, id, to, force, check: _, compare } = options;
    if to.as_deref().is_some_and(is_stdout) && json {
        return Err(Fault::misuse("--json and --to - would mix on standard output")
            .next("name a file")
            .into());
    }
    if let Some(target) = to.as_deref().filter(|to| !is_stdout(to)) {
        replaceable(target, force)?;
    }
    let compared = compare.as_deref().map(Compared::open).transpose()?;
    let mut daemon = Daemon::knock(state)?;
    daemon.send(&Request::Get { dataset, id })?;
    let info = match daemon.reply()? {
        Reply::Object(info) => info,
        other => return Err(knock::unexpected(&other)),
    };
    let done = match (&to, compared) {
        (Some(to), _) if is_stdout(to) => {
            copy(&mut daemon, &info, &mut io::stdout().lock())?;
            return Ok(Said { human: String::new(), json: json!({}) });
        }
        (Some(target), _) => {
            let mut part = Part::create(target)?;
            copy(&mut daemon, &info, &mut part.file)?;
            part.keep(target, force)?;
            format!("{}: {} of {}, verified", target.display(), show::bytes(info.size), info.dataset)
        }
        (None, Some(mut compared)) => {
            copy(&mut daemon, &info, &mut compared)?;
            compared.end(&info)?;
            format!("{} is what {} has: {}", compared.path.display(), info.dataset, show::bytes(info.size))
        }
        (None, None) => {
            copy(&mut daemon, &info, &mut io::sink())?;
            format!("{}: {} read back and verified, nothing written", info.dataset, show::bytes(info.size))
        }
    };
    Ok(said(done, &info, to.as_deref(), compare.as_deref()))
}

fn said(mut human: String, info: &SnapshotInfo, to: Option<&Path>, compare: Option<&Path>) -> Said {
    let complete = info.checked.and_then(|checked| checked.complete());
    if complete == Some(false) {
        let why = info.checked.and_then(|checked| checked.why()).unwrap_or_default();
        human.push_str(&format!("\nThese are the bytes that arrived, but they were not complete: {why}."));
    }
    let shown = |path: Option<&Path>| path.map(|path| path.to_string_lossy().into_owned());
    let json = json!({
        "dataset": info.dataset, "id": info.id, "size": info.size, "hash": info.hash,
        "to": shown(to), "compared_with": shown(compare),
        "received_at": clock::utc(info.received_ms), "complete": complete,
    });
    Said { human, json }
}

fn is_stdout(target: &Path) -> bool {
    target.as_os_str() == "-"
}

/// `Refused` when something has the name that may not be replaced: without `force` anything, with it all but a plain file.
fn replaceable(target: &Path, force: bool) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(target) else { return Ok(()) };
    let kind = there.file_type();
    if kind.is_file() {
        return if force { Ok(()) } else { Err(taken(target)) };
    }
    let what = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_symlink() => "a link",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let next = match () {
        () if kind.is_dir() => "name a file in it",
        () if kind.is_symlink() => "name the file that it leads to, or another",
        () if kind.is_fifo() => "write to it with `--to - > PIPE`",
        () => {
            "name a file; `--check` instead of --to reads everything back and writes nothing, `--compare FILE` compares"
        }
    };
    let fault = Fault::refused(format!("{} is {what}, not a plain file: it is left alone", target.display()));
    Err(fault.next(next))
}

/// Takes all bytes; `Corrupt` unless they are exactly those of the snapshot.
fn copy(daemon: &mut Daemon, info: &SnapshotInfo, to: &mut dyn Write) -> Outcome<()> {
    let bar = progress::bar(info.size, "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    let mut hasher = blake3::Hasher::new();
    let mut piece = Vec::new();
    let mut got = 0_u64;
    loop {
        match daemon.reply()? {
            Reply::Done => break,
            Reply::Data { bytes } if bytes <= MAX_PIECE_BYTES => {
                piece.resize(bytes as usize, 0);
                daemon.data(&mut piece)?;
            }
            other => return Err(knock::unexpected(&other)),
        }
        hasher.update(&piece);
        got += piece.len() as u64;
        to.write_all(&piece).map_err(|e| cannot_write(&e))?;
        bar.set_position(got);
    }
    to.flush().map_err(|e| cannot_write(&e))?;
    bar.finish_and_clear();
    if got != info.size || format!("blake3:{}", hasher.finalize().to_hex()) != info.hash {
        let fault = Fault::corrupt("what came is not what was received at the time");
        return Err(fault.next("do not use it; see the daemon's log").into());
    }
    Ok(())
}

/// A file that what comes is compared with, as it comes.
struct Compared {
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
    /// Where the first difference is, in bytes from 0.
    differs_at: Option<u64>,
}

impl Compared {
    fn open(path: &Path) -> Result<Self> {
        let whole = |e: io::Error| {
            Fault::permanent(format!("cannot read {}: {e}", path.display()))
                .next("name a file to compare with")
        };
        let file = File::open(path).map_err(whole)?;
        if !file.metadata().map_err(whole)?.is_file() {
            return Err(Fault::misuse(format!("{} is not a plain file", path.display()))
                .next("name a file to compare with"));
        }
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), at: 0, differs_at: None })
    }

    /// `Permanent` when the file is not exactly what came.
    fn end(&mut self, info: &SnapshotInfo) -> Result<()> {
        let more = self.file.fill_buf().map_err(|e| cannot_read(&self.path, &e))?.len();
        if self.differs_at.is_none() && more > 0 {
            self.differs_at = Some(self.at);
        }
        let Some(at) = self.differs_at else { return Ok(()) };
        let what = format!(
            "{} is not what {} has: they differ from byte {at} on",
            self.path.display(),
            info.dataset
        );
        Err(Fault::permanent(what)
            .next(format!("the backup is whole, {} bytes; get it with --to", info.size)))
    }
}

impl Write for Compared {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.differs_at.is_none() {
            let here = self.file.fill_buf()?;
            let both = here.len().min(piece.len());
            let same = here.iter().zip(piece).take_while(|(a, b)| a == b).count();
            if same < both || both == 0 {
                self.differs_at = Some(self.at + same as u64);
            } else {
                self.file.consume(both);
                self.at += both as u64;
                return Ok(both);
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that has not got its name yet; gone when dropped.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            Fault::misuse(format!("{} is not a file name", target.display())).next("name a file with --to")
        })?;
        let path = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| no_place(target, &e))?;
        Ok(Self { path, file })
    }

    /// Syncs the file and gives it its name; refuses to replace another unless forced.
    fn keep(self, target: &Path, force: bool) -> Result<()> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => taken(target),
            _ => Fault::permanent(format!("{}: {e}", target.display())),
        };
        self.file.sync_all().map_err(failed)?;
        // Looked at again: hours may have gone since the first look.
        replaceable(target, force)?;
        if force {
            fs::rename(&self.path, target).map_err(failed)?;
        } else {
            rename_new(&self.path, target).map_err(failed)?;
        }
        File::open(folder_of(target)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After `keep` there is nothing of that name any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Renames without ever replacing; a file system that cannot promise that gets a link and an unlink instead.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The temporary file could not be made: said in the names that the user wrote.
fn no_place(target: &Path, error: &io::Error) -> Fault {
    let (shown, folder) = (target.display(), folder_of(target).display());
    match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::permanent(format!("cannot write {shown}: there is no folder {folder}"))
                .next("make the folder first, or name a file elsewhere with --to")
        }
        io::ErrorKind::NotADirectory => {
            Fault::permanent(format!("cannot write {shown}: {folder} is not a folder"))
                .next("name a file elsewhere with --to")
        }
        _ => Fault::permanent(format!("cannot write {shown}: {error}"))
            .next("name a file elsewhere with --to, in a folder that you may write to"),
    }
}

fn taken(target: &Path) -> Fault {
    Fault::refused(format!("{} is already there", target.display()))
        .next("choose another name, or add --force")
}

fn cannot_read(path: &Path, error: &io::Error) -> Fault {
    Fault::permanent(format!("cannot read {}: {error}", path.display()))
}

fn cannot_write(error: &io::Error) -> Fault {
    Fault::permanent(format!("cannot write: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    #[test]
    fn a_part_gets_its_name_or_leaves_nothing() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let target = scratch.path().join("out");
        drop(Part::create(&target).expect("created"));
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0);

        let mut part = Part::create(&target).expect("created");
        part.file.write_all(b"one").expect("written");
        part.keep(&target, false).expect("kept");
        assert_eq!(fs::read(&target).expect("there"), b"one");

        let mut part = Part::create(&target).expect("created");
        part.file.write_all(b"two").expect("written");
        assert_eq!(part.keep(&target, false).expect_err("taken").class, Class::Refused);
        assert_eq!(fs::read(&target).expect("there"), b"one");

        let mut part = Part::create(&target).expect("created");
        part.file.write_all(b"two").expect("written");
        part.keep(&target, true).expect("forced");
        assert_eq!(fs::read(&target).expect("there"), b"two");
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 1);
        assert!(Part::create(Path::new("..")).is_err());
    }

    #[test]
    fn only_plain_files_are_replaced_with_force_or_not() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("file"), b"old").expect("written");
        fs::create_dir(at("folder")).expect("made");
        std::os::unix::fs::symlink("file", at("link")).expect("made");
        std::os::unix::fs::symlink("nothing", at("dangling")).expect("made");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("made");
        for name in ["folder", "link", "dangling", "pipe", "socket"] {
            for force in [false, true] {
                let fault = replaceable(&at(name), force).expect_err(name);
                assert_eq!(fault.class, Class::Refused, "{name}");
                assert!(fault.next.as_deref().is_some_and(|next| !next.contains("--force")), "{fault}");
                let part = Part::create(&at(name)).expect("created");
                part.keep(&at(name), force).expect_err(name);
            }
        }
        let null = replaceable(Path::new("/dev/null"), true).expect_err("a device");
        assert!(null.next.is_some_and(|next| next.contains("--check")));
        assert!(replaceable(&at("file"), false).expect_err("there").to_string().contains("--force"));
        assert!(replaceable(&at("file"), true).is_ok() && replaceable(&at("new"), false).is_ok());
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 6);
        drop(socket);
    }

    #[test]
    fn a_comparison_says_where_they_differ() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let path = scratch.path().join("file");
        let body: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let differs = |kept: &[u8]| {
            fs::write(&path, kept).expect("written");
            let mut compared = Compared::open(&path).expect("opened");
            body.chunks(7_777).for_each(|piece| compared.write_all(piece).expect("taken"));
            let more = compared.file.fill_buf().expect("read").len();
            compared.differs_at.or((more > 0).then_some(compared.at))
        };
        let mut changed = body.clone();
        changed[99_999] ^= 1;
        assert_eq!(differs(&body), None);
        assert_eq!(differs(&changed), Some(99_999));
        assert_eq!(differs(&body[..50_000]), Some(50_000));
        assert_eq!(differs(&[&body[..], b"x"].concat()), Some(100_000));
        assert_eq!(differs(b""), Some(0));
    }
}
