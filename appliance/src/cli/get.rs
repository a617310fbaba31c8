//! `coffre get`: a snapshot back into a file, verified before it gets its name.
//!
//! The bytes go to a temporary file beside the target; only when length and BLAKE3 are those of the receipt and the
//! file is synced does it get its name. So the target is whole or not there. An interrupted `get` may leave a file
//! `.NAME.PID.part`, which can be deleted. On stdout there is nothing to hold back: a mismatch is an exit code.

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
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

/// Restores one snapshot.
pub fn run(state: &StateDir, options: Options, json: bool) -> Outcome<Said> {
    let to_stdout = options.to.as_os_str() == "-";
    if to_stdout && json {
        return Err(Fault::misuse("--json and --to - would mix on standard output")
            .next("name a file")
            .into());
    }
    if !to_stdout && !options.force && fs::symlink_metadata(&options.to).is_ok() {
        return Err(taken(&options.to).into());
    }
    let mut daemon = Daemon::knock(state)?;
    daemon.send(&Request::Get { dataset: options.dataset, id: options.id })?;
    let info = match daemon.reply()? {
        Reply::Object(info) => info,
        other => return Err(knock::unexpected(&other)),
    };
    if to_stdout {
        copy(&mut daemon, &info, &mut io::stdout().lock())?;
        return Ok(Said { human: String::new(), json: json!({}) });
    }
    let mut part = Part::create(&options.to)?;
    copy(&mut daemon, &info, &mut part.file)?;
    part.keep(&options.to, options.force)?;
    let complete = info.checked.and_then(|checked| checked.complete());
    let mut human =
        format!("{}: {} of {}, verified", options.to.display(), show::bytes(info.size), info.dataset);
    if complete == Some(false) {
        let why = info.checked.and_then(|checked| checked.why()).unwrap_or_default();
        human.push_str(&format!("\nThese are the bytes that arrived, but they were not complete: {why}."));
    }
    let json = json!({
        "dataset": info.dataset, "id": info.id, "size": info.size, "hash": info.hash,
        "to": options.to.to_string_lossy(),
        "received_at": clock::utc(info.received_ms), "complete": complete,
    });
    Ok(Said { human, json })
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
}
