//! Programs that carry the same bytes and understand nothing: one thread per disk, nothing decoded, hashed or read back.
//!
//! A program that fills a disk reads the same k shards of each pack, writes one of them, and syncs file and folder. Reading is
//! ahead of writing, as far as a few shards per disk fit in memory.

use crate::Turn;
use crate::ours::Stopwatch;
use anyhow::Context;
use coffre_core::buffer::Buffer;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{scope, spawn};

/// Data shards of each pack.
const K: usize = 4;
/// Bytes of one system call.
const PIECE: usize = 1 << 20;
/// Shards that a disk may be ahead.
const AHEAD: usize = 2;

/// Through the system's cache, as most programs do, or past it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    Cached,
    Direct,
}

/// A shard's file.
#[derive(Clone, Debug)]
pub struct ShardFile {
    pub path: PathBuf,
    pub len: u64,
}

/// The shards on a disk, in the order of their packs.
pub fn shard_files(folder: &Path, disk: usize) -> anyhow::Result<Vec<ShardFile>> {
    let mut files = Vec::new();
    for dir in std::fs::read_dir(folder.join(format!("disk{disk}/{}", coffre_vault::layout::SHARDS)))? {
        for file in std::fs::read_dir(dir?.path())? {
            let file = file?;
            files.push(ShardFile { path: file.path(), len: file.metadata()?.len() });
        }
    }
    files.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    Ok(files)
}

/// Has the system forget what it knows of all shards.
pub fn forget_cached(folder: &Path) -> anyhow::Result<()> {
    nix::unistd::sync();
    for file in (0..6).map(|n| shard_files(folder, n)).collect::<anyhow::Result<Vec<_>>>()?.concat() {
        posix_fadvise(File::open(file.path)?, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

/// Fills a folder as a rebuild of disk `victim` would. Timed from the first shard that is synced to the last.
pub fn rebuild(folder: &Path, victim: usize, reading: Reading) -> anyhow::Result<Turn> {
    let disks = (0..6).map(|n| shard_files(folder, n)).collect::<anyhow::Result<Vec<_>>>()?;
    let target = folder.join("yard");
    std::fs::create_dir(&target)?;
    forget_cached(folder)?;
    // Of each pack another one of the five is left out.
    let others: Vec<usize> = (0..6).filter(|n| *n != victim).collect();
    let sources =
        |pack: usize| others.iter().copied().filter(move |n| *n != others_left(victim, pack)).take(K);
    let packs = disks[victim].len();
    let mut given: Vec<Receiver<io::Result<Buffer>>> = Vec::new();
    for (disk, files) in disks.iter().enumerate() {
        let list: Vec<ShardFile> =
            (0..packs).filter(|p| sources(*p).any(|n| n == disk)).map(|p| files[p].clone()).collect();
        let (give, take) = sync_channel(AHEAD);
        spawn(move || read_ahead(&list, reading, &give));
        given.push(take);
    }
    let mut begun = None;
    let mut bytes = 0;
    for pack in 0..packs {
        let shards = sources(pack).map(|n| Ok(given[n].recv().context("a reader ended")??));
        let shards = shards.collect::<anyhow::Result<Vec<Buffer>>>()?;
        write(&target, pack, &shards[0], reading)?;
        match &begun {
            None => begun = Some(Stopwatch::start()?),
            Some(_) => bytes += shards[0].len() as u64,
        }
    }
    let turn = begun.context("no packs")?.stop(bytes)?;
    std::fs::remove_dir_all(target)?;
    Ok(turn)
}

fn others_left(victim: usize, pack: usize) -> usize {
    (victim + 1 + pack % 5) % 6
}

/// Reads all shards of all disks, a piece at a time.
pub fn read_all(folder: &Path, reading: Reading) -> anyhow::Result<Turn> {
    let disks = (0..6).map(|n| shard_files(folder, n)).collect::<anyhow::Result<Vec<_>>>()?;
    forget_cached(folder)?;
    let start = Stopwatch::start()?;
    let bytes = scope(|scope| {
        let readers: Vec<_> =
            disks.iter().map(|files| scope.spawn(|| read_through(files, reading))).collect();
        readers.into_iter().map(|r| r.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))).sum()
    });
    let bytes: io::Result<u64> = bytes;
    start.stop(bytes?)
}

fn read_ahead(files: &[ShardFile], reading: Reading, give: &SyncSender<io::Result<Buffer>>) {
    let pool = coffre_core::buffer::Pool::default();
    for file in files {
        let mut whole = pool.take(file.len as usize);
        let read = read_into(file, reading, whole.lengthen(file.len as usize));
        if give.send(read.map(|()| whole)).is_err() {
            return;
        }
    }
}

fn read_through(files: &[ShardFile], reading: Reading) -> io::Result<u64> {
    let mut piece = Buffer::new();
    piece.lengthen(PIECE);
    let mut bytes = 0;
    for file in files {
        let open = open(&file.path, reading)?;
        for at in (0..file.len).step_by(PIECE) {
            let len = (file.len - at).min(PIECE as u64);
            open.read_exact_at(&mut piece[..len as usize], at)?;
            bytes += len;
        }
    }
    Ok(bytes)
}

fn read_into(file: &ShardFile, reading: Reading, whole: &mut [u8]) -> io::Result<()> {
    let open = open(&file.path, reading)?;
    let pieces = (0..).step_by(PIECE).zip(whole.chunks_mut(PIECE));
    pieces.into_iter().try_for_each(|(at, piece)| open.read_exact_at(piece, at))
}

fn open(path: &Path, reading: Reading) -> io::Result<File> {
    let direct = if reading == Reading::Direct { OFlag::O_DIRECT.bits() } else { 0 };
    OpenOptions::new().read(true).custom_flags(direct).open(path)
}

fn write(folder: &Path, pack: usize, shard: &[u8], reading: Reading) -> io::Result<()> {
    let direct = if reading == Reading::Direct { OFlag::O_DIRECT.bits() } else { 0 };
    let path = folder.join(pack.to_string());
    let file = OpenOptions::new().write(true).create_new(true).custom_flags(direct).open(path)?;
    let pieces = (0..).step_by(PIECE).zip(shard.chunks(PIECE));
    pieces.into_iter().try_for_each(|(at, piece)| file.write_all_at(piece, at))?;
    file.sync_data()?;
    File::open(folder)?.sync_all()
}
