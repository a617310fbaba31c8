//! The index on the system medium: where chunks are, and which snapshots a data set has. Never the truth.
//!
//! Two parts. Hints of the newest packs, and the catalogue's projection, are in sled, which is good at small
//! changing things and not to be trusted (`hints`). Once about a thousand packs are there, their hints move to
//! an immutable, checked, sorted file (`segment`), so that sled stays small however large the vault grows.
//! Lookups ask sled, then the segments from the newest to the oldest; a filter of 9 bits per chunk in front of
//! each segment answers "never seen" without touching the medium. Eight small segments become one larger one,
//! so that there are some dozens of filters to ask for 20 million chunks and not hundreds.
//!
//! Whatever goes wrong when it is opened, the damaged part is thrown away, an empty one takes its place, and
//! the caller is told: it learns the missing packs again from their tables of contents. The same after sled
//! was not closed cleanly three times in a row: then it may be what kills the process. A drawing of the files
//! is in `docs/index.md`.

mod hints;
mod memory;
mod segment;

pub use memory::MemIndex;

use crate::ports::{ChunkHint, Index, IndexError};
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use hints::Hints;
use segment::{Entry, Segment};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Packs in a segment, by default.
pub const PACKS_PER_SEGMENT: usize = 1000;
/// Most hints that stay in sled, whatever the number of packs.
const MAX_YOUNG_CHUNKS: usize = 1 << 20;
/// Small segments that become one.
const MERGED_AT_ONCE: usize = 8;
/// Most entries of a segment made so: they are in memory while it is written, 40 bytes each and as much for the filter.
const MAX_MERGED_ENTRIES: usize = 1 << 20;
/// Unclean stops in a row after which sled's folder is thrown away.
const MAX_UNCLEAN_STOPS: usize = 3;

/// The index in a folder of the state directory.
#[derive(Debug)]
pub struct StoredIndex {
    dir: PathBuf,
    packs_per_segment: usize,
    now: RwLock<Parts>,
    /// Held by those who change what is known; readers do not need it.
    learning: Mutex<Young>,
}

/// What was learnt into sled since the last segment; a pack learnt twice counts twice.
#[derive(Debug, Default)]
struct Young {
    packs: usize,
    chunks: usize,
}

#[derive(Debug, Default)]
struct Parts {
    /// `None` when no database could be opened: every call fails until a burn succeeds.
    hints: Option<Arc<Hints>>,
    /// Oldest first.
    segments: Vec<Arc<Segment>>,
    forgotten: HashSet<PackId>,
    /// Number of the next sled folder or segment.
    next: u64,
}

/// An opened index.
#[derive(Debug)]
pub struct Opened {
    /// The index.
    pub index: StoredIndex,
    /// What had to be thrown away and why, for people. Empty is no proof: a damaged database may come back with
    /// fewer rows and say nothing. So in any case learn the packs missing from [`Index::packs`] again, and
    /// compare the catalogue with the journal.
    pub lost: Vec<String>,
}

impl StoredIndex {
    /// Opens the index in the folder `dir`, made if missing. Fails only if the folder cannot be used at all.
    pub fn open(dir: &Path) -> Result<Opened, IndexError> {
        Self::open_with(dir, PACKS_PER_SEGMENT)
    }

    /// The same with another number of packs per segment: tests use small ones.
    pub fn open_with(dir: &Path, packs_per_segment: usize) -> Result<Opened, IndexError> {
        let mut lost = Vec::new();
        std::fs::create_dir_all(dir).map_err(|e| trouble("make", dir, &e))?;
        let stops = note_opening(dir)?;
        let (segments, mut next) = open_segments(dir, &mut lost)?;
        let hints = open_hints(dir, stops, &mut next, &mut lost)?;
        let forgotten = hints.forgotten()?.into_iter().collect();
        let packs = hints.packs()?;
        let young = Young { packs: packs.len(), chunks: packs.iter().map(|pack| pack.1 as usize).sum() };
        let parts = Parts { hints: Some(Arc::new(hints)), segments, forgotten, next };
        let (now, learning) = (RwLock::new(parts), Mutex::new(young));
        lost.iter().for_each(|what| tracing::warn!("index: {what}"));
        Ok(Opened { index: Self { dir: dir.to_owned(), packs_per_segment, now, learning }, lost })
    }

    fn read(&self) -> RwLockReadGuard<'_, Parts> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Parts> {
        self.now.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn learning(&self) -> MutexGuard<'_, Young> {
        self.learning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the hints of sled into a new segment. The caller holds `learning`.
    fn seal(&self) -> Result<(), IndexError> {
        let hints = self.read().hints()?;
        let packs: Vec<PackId> = hints.packs()?.into_iter().map(|pack| pack.0).collect();
        let place: BTreeMap<PackId, u32> = packs.iter().copied().zip(0..).collect();
        // Hints to packs that were forgotten meanwhile, or never learnt to the end, stay behind.
        let known = |(id, hint): (ChunkId, ChunkHint)| Some((id, *place.get(&hint.pack)?, hint.position));
        let entries: Vec<Entry> = hints.all()?.into_iter().filter_map(known).collect();
        // Seen in the segment before it vanishes from sled.
        self.write_segment(&packs, &entries)?;
        hints.clear_hints()?;
        self.merge()?;
        self.tidy(&hints)
    }

    /// A new segment, the newest; none when it would be empty. The caller holds `learning`.
    fn write_segment(&self, packs: &[PackId], entries: &[Entry]) -> Result<(), IndexError> {
        if entries.is_empty() {
            return Ok(());
        }
        let number = self.write().take_number();
        let segment = Segment::write(&self.dir, number, packs, entries);
        let segment = segment.map_err(|e| trouble("write a segment in", &self.dir, &e))?;
        self.write().segments.push(Arc::new(segment));
        Ok(())
    }

    /// Makes one segment out of the oldest small ones when there are enough of them. One that cannot be read stays as
    /// it is: whoever meets it in a lookup reports it.
    fn merge(&self) -> Result<(), IndexError> {
        let small = |s: &&Arc<Segment>| s.entries() * MERGED_AT_ONCE <= MAX_MERGED_ENTRIES;
        let (old, forgotten) = {
            let parts = self.read();
            let old: Vec<Arc<Segment>> = parts.segments.iter().filter(small).cloned().collect();
            (old, parts.forgotten.clone())
        };
        let Some(old) = old.get(..MERGED_AT_ONCE) else { return Ok(()) };
        let Ok((packs, entries)) = segment::union(old, &forgotten) else { return Ok(()) };
        let number = self.write().take_number();
        let merged = match entries.is_empty() {
            true => None,
            false => Some(
                Segment::write(&self.dir, number, &packs, &entries)
                    .map_err(|e| trouble("write a segment in", &self.dir, &e))?,
            ),
        };
        let mut parts = self.write();
        parts.segments.retain(|s| !old.iter().any(|o| Arc::ptr_eq(o, s)));
        parts.segments.extend(merged.map(Arc::new));
        drop(parts);
        // One that cannot be removed comes back at the next start, as a hint like any other.
        old.iter().for_each(|segment| drop(std::fs::remove_file(segment.path())));
        Ok(())
    }

    /// A forgotten pack that no segment names is remembered no longer. Called when sled holds no hints.
    fn tidy(&self, hints: &Hints) -> Result<(), IndexError> {
        let mut parts = self.write();
        let named: HashSet<PackId> = parts.segments.iter().flat_map(|s| s.packs()).copied().collect();
        let gone: Vec<PackId> = parts.forgotten.iter().filter(|p| !named.contains(p)).copied().collect();
        parts.forgotten.retain(|pack| named.contains(pack));
        drop(parts);
        hints.remember_no_more(&gone)
    }
}

impl Parts {
    fn hints(&self) -> Result<Arc<Hints>, IndexError> {
        self.hints.clone().ok_or_else(|| IndexError("no database is open: burn it".into()))
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl Index for StoredIndex {
    fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkHint>, IndexError> {
        let parts = self.read();
        let alive = |hint: &ChunkHint| !parts.forgotten.contains(&hint.pack);
        if let Some(hint) = parts.hints()?.chunk(id)?.filter(alive) {
            return Ok(Some(hint));
        }
        for segment in parts.segments.iter().rev() {
            if let Some(hint) = segment.find(id)?.filter(alive) {
                return Ok(Some(hint));
            }
        }
        Ok(None)
    }

    fn learn(&self, pack: PackId, chunks: &[ChunkId]) -> Result<(), IndexError> {
        let mut young = self.learning();
        let hints = self.read().hints()?;
        hints.learn(pack, chunks)?;
        self.write().forgotten.remove(&pack);
        young.packs += 1;
        young.chunks += chunks.len();
        if young.chunks >= MAX_YOUNG_CHUNKS || young.packs >= self.packs_per_segment {
            self.seal()?;
            *young = Young::default();
        }
        Ok(())
    }

    /// Enough packs at once are written as a segment and never enter sled.
    fn learn_many(&self, packs: &[(PackId, Vec<ChunkId>)]) -> Result<(), IndexError> {
        if packs.len() * MERGED_AT_ONCE < self.packs_per_segment {
            return packs.iter().try_for_each(|(pack, chunks)| self.learn(*pack, chunks));
        }
        let mut young = self.learning();
        if young.packs > 0 {
            // What was learnt before is older: sled is asked first.
            self.seal()?;
            *young = Young::default();
        }
        let ids: Vec<PackId> = packs.iter().map(|pack| pack.0).collect();
        self.write_segment(&ids, &segment::entries_of(packs))?;
        self.read().hints()?.remember_no_more(&ids)?;
        self.write().forgotten.retain(|pack| !ids.contains(pack));
        self.merge()
    }

    fn forget(&self, pack: PackId) -> Result<(), IndexError> {
        let _learning = self.learning();
        let hints = self.read().hints()?;
        self.write().forgotten.insert(pack);
        hints.forget(pack)
    }

    fn packs(&self) -> Result<Vec<PackId>, IndexError> {
        let parts = self.read();
        let mut packs: BTreeSet<PackId> = parts.hints()?.packs()?.into_iter().map(|pack| pack.0).collect();
        packs.extend(parts.segments.iter().flat_map(|segment| segment.packs()));
        packs.retain(|pack| !parts.forgotten.contains(pack));
        Ok(packs.into_iter().collect())
    }

    fn note_object(&self, dataset: &DatasetRef, order: u64, id: ObjectId) -> Result<(), IndexError> {
        let hints = self.read().hints()?;
        hints.note_object(dataset, order, id)
    }

    fn objects(&self, dataset: &DatasetRef) -> Result<Vec<ObjectId>, IndexError> {
        let hints = self.read().hints()?;
        hints.objects(dataset)
    }

    fn in_place(&self) -> bool {
        let parts = self.read();
        // Without a database every call fails anyway.
        parts.hints.as_ref().is_none_or(|hints| hints.in_place())
            && parts.segments.iter().all(|segment| segment.path().exists())
    }

    fn burn(&self) -> Result<(), IndexError> {
        // Never the folders above it: a state folder that was moved away is not to be begun anew.
        match std::fs::create_dir(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(trouble("make", &self.dir, &e));
            }
            _ => {}
        }
        let mut young = self.learning();
        let mut parts = self.write();
        let old = std::mem::take(&mut *parts);
        parts.next = old.next;
        *young = Young::default();
        for segment in &old.segments {
            // One that cannot be removed comes back at the next start, as a hint like any other.
            drop(std::fs::remove_file(segment.path()));
        }
        // A caller that still holds it finishes on it; its folder then stays until the next start.
        if let Some(hints) = old.hints.and_then(|hints| Arc::try_unwrap(hints).ok()) {
            hints.discard();
        }
        let number = parts.take_number();
        parts.hints = Some(Arc::new(Hints::open(&self.dir.join(hints_name(number)))?));
        Ok(())
    }
}

impl Drop for StoredIndex {
    fn drop(&mut self) {
        if self.read().hints().is_ok_and(|hints| hints.flush().is_ok()) {
            drop(std::fs::remove_file(self.dir.join(OPENINGS)));
        }
    }
}

/// One byte for each time it was opened and not closed cleanly since.
const OPENINGS: &str = "openings";

fn hints_name(number: u64) -> String {
    format!("hints-{number:016x}")
}

fn number_of_hints(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("hints-").filter(|d| d.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Counts this opening; returns the number of earlier ones that were not closed cleanly.
fn note_opening(dir: &Path) -> Result<usize, IndexError> {
    use std::io::Write;
    let path = dir.join(OPENINGS);
    let file = std::fs::File::options().append(true).create(true).open(&path);
    let mut file = file.map_err(|e| trouble("open", &path, &e))?;
    let before = file.metadata().map_err(|e| trouble("look at", &path, &e))?.len();
    file.write_all(b".").map_err(|e| trouble("write", &path, &e))?;
    Ok(usize::try_from(before).unwrap_or(usize::MAX))
}

/// Opens all segments, oldest first, throwing damaged ones away; returns them and the next free number.
fn open_segments(dir: &Path, lost: &mut Vec<String>) -> Result<(Vec<Arc<Segment>>, u64), IndexError> {
    let names = names_in(dir)?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        drop(std::fs::remove_file(dir.join(name)));
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in &numbers {
        let path = dir.join(segment::file_name(*number));
        match Segment::open(&path) {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(e) => {
                lost.push(format!("{} was damaged and is thrown away: {e}", path.display()));
                drop(std::fs::remove_file(&path));
            }
        }
    }
    let used = numbers.into_iter().chain(names.iter().filter_map(|name| number_of_hints(name)));
    Ok((segments, used.max().map_or(0, |n| n.saturating_add(1))))
}

/// Opens the newest sled folder; a new one if there is none, or if it does not open or is suspected.
fn open_hints(dir: &Path, stops: usize, next: &mut u64, lost: &mut Vec<String>) -> Result<Hints, IndexError> {
    let mut numbers: Vec<u64> = names_in(dir)?.iter().filter_map(|name| number_of_hints(name)).collect();
    numbers.sort_unstable();
    let newest = numbers.pop();
    for leftover in numbers {
        drop(std::fs::remove_dir_all(dir.join(hints_name(leftover))));
    }
    if let Some(number) = newest {
        let path = dir.join(hints_name(number));
        let opened = if stops >= MAX_UNCLEAN_STOPS {
            Err(IndexError(format!("not closed cleanly {stops} times in a row")))
        } else {
            // What it lists is read once here, so that damage shows now.
            Hints::open(&path).and_then(|hints| {
                hints.packs()?;
                hints.forgotten()?;
                Ok(hints)
            })
        };
        match opened {
            Ok(hints) => return Ok(hints),
            Err(e) => {
                lost.push(format!("{} was damaged and is thrown away: {}", path.display(), e.0));
                drop(std::fs::remove_dir_all(&path));
            }
        }
    }
    let number = *next;
    *next += 1;
    Hints::open(&dir.join(hints_name(number)))
}

fn names_in(dir: &Path) -> Result<Vec<String>, IndexError> {
    let entries = std::fs::read_dir(dir).map_err(|e| trouble("list", dir, &e))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn trouble(what: &str, path: &Path, e: &std::io::Error) -> IndexError {
    IndexError(format!("{what} {}: {e}", path.display()))
}
