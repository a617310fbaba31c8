//! The young part of the index, in sled: hints of packs that no segment holds yet, and the catalogue's projection.
//!
//! sled says of itself that it is beta. So it may do here whatever it likes without harm: an error, a panic or
//! a value of the wrong form becomes an `IndexError`; opening runs on a thread of its own with a deadline; what
//! it holds can be made again from the journal and the tables of contents. Only this file knows it.

use crate::ports::{ChunkHint, IndexError};
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

const CACHE_BYTES: u64 = 8 << 20;
/// Rarely: nothing is promised, and the system medium may be flash.
const FLUSH_EVERY_MS: u64 = 10_000;
/// A database that does not open within this time is taken for damaged.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// How often, and how far apart, an opening is tried again.
const OPEN_TRIES: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(25);

/// An open sled database.
#[derive(Debug)]
pub(super) struct Hints {
    dir: PathBuf,
    /// Device and inode of sled's own file.
    file: Option<(u64, u64)>,
    db: sled::Db,
    /// chunk id → pack id, position (u32, little-endian).
    chunks: sled::Tree,
    /// pack id → number of chunks (u32, little-endian); written after all of them.
    packs: sled::Tree,
    /// pack id → nothing: dropped, though a segment or hint may still name it.
    forgotten: sled::Tree,
    /// `CLIENT/NAME`, 0, order (u64, big-endian) → object id.
    objects: sled::Tree,
}

impl Hints {
    /// Opens or creates the database in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, IndexError> {
        let (answer, answered) = mpsc::channel();
        let dir = dir.to_owned();
        let work = move || {
            // Nobody listens after the deadline: then it is closed again at once.
            drop(answer.send(Self::open_now(dir)));
        };
        let spawned = std::thread::Builder::new().name("index-open".into()).spawn(work);
        spawned.map_err(|e| IndexError(format!("no thread to open sled: {e}")))?;
        answered.recv_timeout(OPEN_DEADLINE).map_err(|_| IndexError("sled did not open".into()))?
    }

    fn open_now(dir: PathBuf) -> Result<Self, IndexError> {
        guard(|| {
            let db = open_db(&dir)?;
            let tree = |name| db.open_tree(name);
            let (chunks, packs) = (tree("chunks")?, tree("packs")?);
            let (forgotten, objects) = (tree("forgotten")?, tree("objects")?);
            let file = identity(&dir);
            Ok(Self { dir, file, db, chunks, packs, forgotten, objects })
        })
    }

    /// Whether the file that is written to is still the one of that name.
    pub(super) fn in_place(&self) -> bool {
        self.file.is_some() && identity(&self.dir) == self.file
    }

    pub(super) fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkHint>, IndexError> {
        guard(|| self.chunks.get(id.0))?.map(|value| hint(&value)).transpose()
    }

    pub(super) fn learn(&self, pack: PackId, chunks: &[ChunkId]) -> Result<(), IndexError> {
        guard(|| {
            for (id, position) in chunks.iter().zip(0_u32..) {
                let mut value = [0; 20];
                value[..16].copy_from_slice(&pack.0);
                value[16..].copy_from_slice(&position.to_le_bytes());
                self.chunks.insert(id.0, &value)?;
            }
            self.packs.insert(pack.0, &(chunks.len() as u32).to_le_bytes())?;
            self.forgotten.remove(pack.0).map(drop)
        })
    }

    pub(super) fn forget(&self, pack: PackId) -> Result<(), IndexError> {
        guard(|| {
            self.forgotten.insert(pack.0, &[])?;
            self.packs.remove(pack.0).map(drop)
        })
    }

    /// Takes packs out of those that were forgotten.
    pub(super) fn remember_no_more(&self, packs: &[PackId]) -> Result<(), IndexError> {
        guard(|| packs.iter().try_for_each(|pack| self.forgotten.remove(pack.0).map(drop)))
    }

    /// Packs it holds with their numbers of chunks, in order.
    pub(super) fn packs(&self) -> Result<Vec<(PackId, u32)>, IndexError> {
        let rows = guard(|| self.packs.iter().collect::<sled::Result<Vec<_>>>())?;
        let row = |(key, value): &(sled::IVec, sled::IVec)| {
            let count = <[u8; 4]>::try_from(value.as_ref()).ok()?;
            Some((exactly::<16>(key).map(PackId)?, u32::from_le_bytes(count)))
        };
        rows.iter().map(|r| row(r).ok_or_else(strange)).collect()
    }

    pub(super) fn forgotten(&self) -> Result<Vec<PackId>, IndexError> {
        let keys = guard(|| self.forgotten.iter().keys().collect::<sled::Result<Vec<_>>>())?;
        keys.iter().map(|key| exactly(key).map(PackId).ok_or_else(strange)).collect()
    }

    /// All hints in order of ids.
    pub(super) fn all(&self) -> Result<Vec<(ChunkId, ChunkHint)>, IndexError> {
        let rows = guard(|| self.chunks.iter().collect::<sled::Result<Vec<_>>>())?;
        let row = |(key, value): &(sled::IVec, sled::IVec)| {
            Ok((exactly(key).map(ChunkId).ok_or_else(strange)?, hint(value)?))
        };
        rows.iter().map(row).collect()
    }

    /// Forgets hints and packs (a segment has them now), keeps the catalogue.
    pub(super) fn clear_hints(&self) -> Result<(), IndexError> {
        guard(|| {
            self.packs.clear()?;
            self.chunks.clear()
        })
    }

    pub(super) fn note_object(
        &self,
        dataset: &DatasetRef,
        order: u64,
        id: ObjectId,
    ) -> Result<(), IndexError> {
        let mut key = objects_of(dataset);
        key.extend_from_slice(&order.to_be_bytes());
        guard(|| self.objects.insert(key, &id.0).map(drop))
    }

    pub(super) fn objects(&self, dataset: &DatasetRef) -> Result<Vec<ObjectId>, IndexError> {
        let prefix = objects_of(dataset);
        let rows = guard(|| self.objects.scan_prefix(&prefix).values().collect::<sled::Result<Vec<_>>>())?;
        rows.iter().map(|value| exactly(value).map(ObjectId).ok_or_else(strange)).collect()
    }

    /// Writes what it has; without it a clean stop would lose the last seconds.
    pub(super) fn flush(&self) -> Result<(), IndexError> {
        guard(|| self.db.flush().map(drop))
    }

    /// Closes it and removes its folder. On a thread of its own: a damaged database may never close.
    pub(super) fn discard(self) {
        let work = move || {
            let dir = self.dir.clone();
            drop(catch_unwind(AssertUnwindSafe(move || drop(self))));
            drop(std::fs::remove_dir_all(dir));
        };
        // Without a thread the folder stays until the next start.
        drop(std::thread::Builder::new().name("index-discard".into()).spawn(work));
    }
}

/// sled lets go of its lock a moment after it was closed: an opening right after that is tried again.
fn open_db(dir: &Path) -> sled::Result<sled::Db> {
    let mut tries_left = OPEN_TRIES;
    loop {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
        match config.flush_every_ms(Some(FLUSH_EVERY_MS)).open() {
            Err(sled::Error::Io(_)) if tries_left > 0 => tries_left -= 1,
            other => return other,
        }
        std::thread::sleep(OPEN_PAUSE);
    }
}

/// Runs sled's code: errors and panics alike become `IndexError`.
fn guard<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|e| IndexError(format!("sled: {e}"))),
        Err(_) => Err(IndexError("sled panicked".into())),
    }
}

fn objects_of(dataset: &DatasetRef) -> Vec<u8> {
    let mut key = dataset.to_string().into_bytes();
    key.push(0);
    key
}

fn hint(value: &[u8]) -> Result<ChunkHint, IndexError> {
    let value = exactly::<20>(value).ok_or_else(strange)?;
    let pack = PackId::from_slice(&value).ok_or_else(strange)?;
    let position = u32::from_le_bytes([value[16], value[17], value[18], value[19]]);
    Ok(ChunkHint { pack, position })
}

/// What sled keeps its log in, by device and inode.
fn identity(dir: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(dir.join("db")).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn exactly<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn strange() -> IndexError {
    IndexError("sled returned a row of the wrong form".into())
}
