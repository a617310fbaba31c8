//! Index segments: immutable sorted files from chunk id to pack and position. Drawn in `docs/index.md`.
//!
//! The head (pack table, first ids of the blocks, filter) is about 1.3 bytes per chunk: it is read whole and
//! checked when the segment is opened, and stays in memory. The blocks are 40 bytes per chunk, up to gigabytes:
//! each is read with one `pread` when a lookup needs it and checked then. So opening costs little however
//! large the vault is, and no answer comes from bytes that were not checked. No mapping of files into
//! memory: a truncated or failing file would kill the process (SIGBUS) where a read returns an error.

use crate::ports::{ChunkHint, IndexError};
use coffre_core::ids::{ChunkId, PackId};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

const MAGIC: &[u8; 8] = b"cofidx\x001";
/// 3: a block has a CRC, into which its place goes first.
const VERSION: u32 = 3;
const BLOCK_LEN: usize = 4096;
const ENTRY_LEN: usize = 40;
const SUM_LEN: usize = 4;
const ENTRIES_PER_BLOCK: usize = (BLOCK_LEN - SUM_LEN) / ENTRY_LEN;
/// Fixed fields, then the hash of the rest of the head.
const FIXED_LEN: usize = 64;
const HEAD_START: usize = FIXED_LEN + 32;
const DESCRIPTOR_LEN: usize = BinaryFuse8::DESCRIPTOR_LEN;
/// Most packs and entries one segment may have: what is read into memory when it is opened has a ceiling.
const MAX_PACKS: usize = 1 << 16;
const MAX_ENTRIES: usize = 1 << 24;

/// One open segment.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    packs: Vec<PackId>,
    entries: usize,
    /// The first 8 bytes of the first id of each block.
    fences: Vec<u64>,
    /// `None` if none could be built: then every lookup reads a block.
    filter: Option<Fuse>,
    blocks_at: usize,
}

/// A binary fuse filter as it lies in the file: the library's descriptor, and one byte per slot.
#[derive(Debug)]
struct Fuse {
    descriptor: [u8; DESCRIPTOR_LEN],
    slots: Vec<u8>,
}

/// An id with its hint: the pack by its place in the pack table.
pub(super) type Entry = (ChunkId, u32, u32);

impl Segment {
    pub(super) fn packs(&self) -> &[PackId] {
        &self.packs
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a segment and opens it. `entries` is sorted by id, without repetition.
    ///
    /// # Durability
    /// The file is synced before it gets its name. The name may be lost: then so is what it knew, nothing more.
    pub(super) fn write(dir: &Path, number: u64, packs: &[PackId], entries: &[Entry]) -> io::Result<Self> {
        let head = head(number, packs, entries);
        let temporary = dir.join(format!("{}.tmp", file_name(number)));
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let mut out = io::BufWriter::with_capacity(1 << 18, &file);
        out.write_all(&head)?;
        out.write_all(&vec![0; head.len().next_multiple_of(BLOCK_LEN) - head.len()])?;
        for (no, entries) in entries.chunks(ENTRIES_PER_BLOCK).enumerate() {
            out.write_all(&block(number, no as u64, entries))?;
        }
        out.flush()?;
        drop(out);
        file.sync_data()?;
        let path = dir.join(file_name(number));
        std::fs::rename(&temporary, &path)?;
        Self::open(&path)
    }

    /// Opens a segment and checks its head.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut fixed = [0; HEAD_START];
        file.read_exact_at(&mut fixed, 0)?;
        let number = u64_at(&fixed, 24);
        let (packs, entries) = (u32_at(&fixed, 12) as usize, u64_at(&fixed, 16) as usize);
        let filter_len = u32_at(&fixed, 32) as usize;
        let named = path.file_name().is_some_and(|name| name == file_name(number).as_str());
        let in_bounds =
            packs <= MAX_PACKS && (1..=MAX_ENTRIES).contains(&entries) && filter_len <= 2 * MAX_ENTRIES;
        if fixed[..8] != *MAGIC || u32_at(&fixed, 8) != VERSION || !named || !in_bounds {
            return Err(bad("not a segment of this name and version"));
        }
        let blocks = entries.div_ceil(ENTRIES_PER_BLOCK);
        let (fences_at, filter_at) = (packs * PackId::LEN, packs * PackId::LEN + blocks * 8);
        let blocks_at = (HEAD_START + filter_at + filter_len).next_multiple_of(BLOCK_LEN);
        if file.metadata()?.len() != (blocks_at + blocks * BLOCK_LEN) as u64 {
            return Err(bad("wrong length"));
        }
        let mut rest = vec![0; filter_at + filter_len];
        file.read_exact_at(&mut rest, HEAD_START as u64)?;
        if head_hash(&fixed[..FIXED_LEN], &rest) != fixed[FIXED_LEN..] {
            return Err(bad("the head's checksum does not match"));
        }
        let filter = Fuse::from_file(&fixed[36..36 + DESCRIPTOR_LEN], &rest[filter_at..])?;
        let fences = rest[fences_at..filter_at].chunks_exact(8).map(|f| u64_at(f, 0)).collect();
        let packs = rest[..fences_at].chunks_exact(PackId::LEN).filter_map(PackId::from_slice).collect();
        Ok(Self { file, path: path.to_owned(), number, packs, entries, fences, filter, blocks_at })
    }

    /// Where the chunk is, as far as this segment knows.
    pub(super) fn find(&self, id: &ChunkId) -> Result<Option<ChunkHint>, IndexError> {
        let key = prefix(id);
        if self.filter.as_ref().is_some_and(|filter| !filter.may_have(key)) {
            return Ok(None);
        }
        // Ids may share their first 8 bytes across a border, so the block before the first equal fence counts.
        let first = self.fences.partition_point(|fence| *fence < key).saturating_sub(1);
        for no in first..self.fences.len() {
            if self.fences[no] > key {
                break;
            }
            let block = self.block(no).map_err(|e| IndexError(format!("{}: {e}", self.path.display())))?;
            let (entries, _) = block.as_chunks::<ENTRY_LEN>();
            if let Ok(at) = entries.binary_search_by(|entry| entry[..32].cmp(&id.0)) {
                let pack = self.packs.get(u32_at(&entries[at], 32) as usize);
                let pack =
                    *pack.ok_or_else(|| IndexError("a segment names a pack it does not list".into()))?;
                return Ok(Some(ChunkHint { pack, position: u32_at(&entries[at], 36) }));
            }
        }
        Ok(None)
    }

    /// The checked entries of one block.
    fn block(&self, no: usize) -> io::Result<Vec<u8>> {
        let at = self.blocks_at + no * BLOCK_LEN;
        let mut block = vec![0; BLOCK_LEN];
        self.file.read_exact_at(&mut block, at as u64)?;
        if block_sum(self.number, no as u64, &block[..BLOCK_LEN - SUM_LEN]) != block[BLOCK_LEN - SUM_LEN..] {
            return Err(bad("a block's checksum does not match"));
        }
        let entries = (self.entries - no * ENTRIES_PER_BLOCK).min(ENTRIES_PER_BLOCK);
        block.truncate(entries * ENTRY_LEN);
        Ok(block)
    }
}

/// Sorted entries of packs and the chunks at their positions; the place of a pack is its place in the list. Of a chunk
/// that is in two, the later one holds.
pub(super) fn entries_of(packs: &[(PackId, Vec<ChunkId>)]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(packs.iter().map(|(_, chunks)| chunks.len()).sum());
    for (place, (_, chunks)) in packs.iter().enumerate().rev() {
        entries.extend(chunks.iter().zip(0..).map(|(id, position)| (*id, place as u32, position)));
    }
    settle(entries)
}

/// Stable: of equal ids the first one stays.
fn settle(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.0);
    entries.dedup_by_key(|entry| entry.0);
    entries
}

/// What these segments know, but for forgotten packs: their packs, and sorted entries. Where two know a chunk, the later
/// one holds.
pub(super) fn union(
    segments: &[Arc<Segment>],
    forgotten: &HashSet<PackId>,
) -> io::Result<(Vec<PackId>, Vec<Entry>)> {
    let mut packs: Vec<PackId> = Vec::new();
    let mut places: HashMap<PackId, u32> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(segments.iter().map(|s| s.entries).sum());
    for segment in segments.iter().rev() {
        // Also those whose chunks are all known from elsewhere: else they would be taught again and again.
        for pack in segment.packs.iter().filter(|pack| !forgotten.contains(pack)) {
            places.entry(*pack).or_insert_with(|| {
                packs.push(*pack);
                packs.len() as u32 - 1
            });
        }
        for block in 0..segment.fences.len() {
            for entry in segment.block(block)?.chunks_exact(ENTRY_LEN) {
                let pack = *segment
                    .packs
                    .get(u32_at(entry, 32) as usize)
                    .ok_or_else(|| bad("a segment names a pack it does not list"))?;
                let Some(place) = places.get(&pack).copied() else { continue };
                let id = ChunkId::from_slice(&entry[..32]).ok_or_else(|| bad("a short entry"))?;
                entries.push((id, place, u32_at(entry, 36)));
            }
        }
    }
    if packs.len() > MAX_PACKS {
        return Err(bad("too many packs for one segment"));
    }
    Ok((packs, settle(entries)))
}

/// Name of the file of segment `number`.
pub(super) fn file_name(number: u64) -> String {
    format!("segment-{number:016x}")
}

/// The number in a segment's file name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-").filter(|d| d.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

fn head(number: u64, packs: &[PackId], entries: &[Entry]) -> Vec<u8> {
    let mut keys: Vec<u64> = entries.iter().map(|e| prefix(&e.0)).collect();
    keys.dedup();
    let filter = BinaryFuse8::try_from(&keys).ok();
    let mut rest: Vec<u8> = packs.iter().flat_map(|pack| pack.0).collect();
    let firsts = entries.chunks(ENTRIES_PER_BLOCK).filter_map(|block| block.first());
    rest.extend(firsts.flat_map(|first| prefix(&first.0).to_le_bytes()));
    let mut head = Vec::with_capacity(HEAD_START + rest.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    head.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    head.extend_from_slice(&number.to_le_bytes());
    if let Some(filter) = &filter {
        let slots = filter.dma_fingerprints();
        head.extend_from_slice(&(slots.len() as u32).to_le_bytes());
        let mut descriptor = [0; DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut descriptor);
        head.extend_from_slice(&descriptor);
        rest.extend_from_slice(slots);
    }
    head.resize(FIXED_LEN, 0);
    let hash = head_hash(&head, &rest);
    head.extend_from_slice(&hash);
    head.extend_from_slice(&rest);
    head
}

impl Fuse {
    /// `None` if the file has none.
    fn from_file(descriptor: &[u8], slots: &[u8]) -> io::Result<Option<Self>> {
        if slots.is_empty() {
            return Ok(None);
        }
        let (length, mask, count) = (u32_at(descriptor, 8), u32_at(descriptor, 12), u32_at(descriptor, 16));
        // The checksum matched; this is against a writer that was wrong, so that the library stays in bounds.
        let reach = u64::from(count) + 2 * u64::from(length);
        let sound = length.is_power_of_two() && mask == length - 1 && count > 0 && count % length == 0;
        if !sound || reach > slots.len() as u64 {
            return Err(bad("the filter makes no sense"));
        }
        let mut own = [0; DESCRIPTOR_LEN];
        own.copy_from_slice(descriptor);
        Ok(Some(Self { descriptor: own, slots: slots.to_vec() }))
    }

    fn may_have(&self, key: u64) -> bool {
        BinaryFuse8Ref::from_dma(&self.descriptor, &self.slots).contains(&key)
    }
}

fn block(number: u64, no: u64, entries: &[Entry]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_LEN);
    for (id, pack, position) in entries {
        block.extend_from_slice(&id.0);
        block.extend_from_slice(&pack.to_le_bytes());
        block.extend_from_slice(&position.to_le_bytes());
    }
    block.resize(BLOCK_LEN - SUM_LEN, 0);
    let sum = block_sum(number, no, &block);
    block.extend_from_slice(&sum);
    block
}

fn head_hash(fixed: &[u8], rest: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(fixed).update(rest).finalize().as_bytes()
}

/// Bound to its place, so that a block of another segment or position does not pass. A CRC is enough against a medium that
/// rots: what a block says is a hint, and is confirmed in the pack that it names. A cryptographic hash was a third of
/// what a lookup cost.
fn block_sum(number: u64, no: u64, entries: &[u8]) -> [u8; SUM_LEN] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number.to_le_bytes());
    sum.update(&no.to_le_bytes());
    sum.update(entries);
    sum.finalize().to_le_bytes()
}

/// The first 8 bytes, so that numbers sort as ids do. Ids are keyed hashes: any 8 bytes are as good as random.
fn prefix(id: &ChunkId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(first)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> ChunkId {
        ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn entries(n: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = (0..n).map(|i| (id(i), (i % 7) as u32, i as u32)).collect();
        // A run that shares its first 8 bytes and crosses the border of a block.
        for i in 0..150 {
            let mut same = [0x55; 32];
            same[31] = i;
            entries.push((ChunkId(same), 3, u32::from(i)));
        }
        entries.sort_unstable();
        entries
    }

    fn packs() -> Vec<PackId> {
        (1..=7).map(|i| PackId([i; 16])).collect()
    }

    #[test]
    fn finds_every_entry_and_no_other() {
        let dir = tempfile::tempdir().expect("scratch");
        for n in [0, 1, 102, 103, 5000] {
            let entries = entries(n);
            let segment = Segment::write(dir.path(), n, &packs(), &entries).expect("room");
            for (id, pack, position) in &entries {
                let want = ChunkHint { pack: packs()[*pack as usize], position: *position };
                assert_eq!(segment.find(id).expect("healthy"), Some(want));
            }
            for i in 0..2000 {
                assert_eq!(segment.find(&id(1_000_000 + i)).expect("healthy"), None);
            }
            assert!(segment.filter.is_some());
        }
    }

    #[test]
    fn one_entry_is_enough() {
        let dir = tempfile::tempdir().expect("scratch");
        let segment = Segment::write(dir.path(), 9, &packs(), &[(id(1), 6, 5)]).expect("room");
        assert_eq!(
            segment.find(&id(1)).expect("healthy"),
            Some(ChunkHint { pack: PackId([7; 16]), position: 5 })
        );
        assert_eq!(segment.find(&id(2)).expect("healthy"), None);
        assert_eq!((number_of("segment-00000000000000ff"), number_of("segment-ff")), (Some(255), None));
    }

    #[test]
    fn no_flipped_byte_and_no_cut_gives_a_wrong_answer() {
        let dir = tempfile::tempdir().expect("scratch");
        let entries = entries(300);
        let path = Segment::write(dir.path(), 1, &packs(), &entries).expect("room").path;
        let good = std::fs::read(&path).expect("written");
        let honest = |segment: &Segment| {
            entries.iter().all(|(id, pack, position)| match segment.find(id) {
                Ok(hint) => hint == Some(ChunkHint { pack: packs()[*pack as usize], position: *position }),
                Err(_) => true,
            })
        };
        for at in (0..good.len()).step_by(41) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).expect("scratch");
            if let Ok(segment) = Segment::open(&path) {
                assert!(honest(&segment), "byte {at}");
            }
        }
        for len in (0..good.len()).step_by(97) {
            std::fs::write(&path, &good[..len]).expect("scratch");
            assert!(Segment::open(&path).is_err(), "cut to {len}");
        }
        std::fs::write(dir.path().join(file_name(2)), &good).expect("scratch");
        assert!(Segment::open(&dir.path().join(file_name(2))).is_err(), "another segment's name");
        std::fs::write(&path, &good).expect("scratch");
        let segment = Segment::open(&path).expect("whole again");
        std::fs::File::options().write(true).open(&path).and_then(|f| f.set_len(5000)).expect("scratch");
        assert!(entries.iter().any(|e| segment.find(&e.0).is_err()), "cut while open: an error, no crash");
    }
}
