//! Reading back: from a chunk to its blob, from a blob to blocks of shards, each block verified before it is used.
//!
//! A block that cannot be read or does not match its checksum is made from k other verified blocks of the same stripe.
//! The pack named in a manifest is a hint as well: packs are merged and re-encoded, and the journal says into which.
//! Sources of such a block are kept for a while: the stream wants most of them itself a little later, and the others again.
//! Reading never depends on the index; it is asked last but one, and last every table of contents is read.

use crate::core::{Core, lock};
use crate::engine::guest_seat;
use crate::inspect::{Damage, Wanted};
use crate::layout;
use crate::ports::{Disk, DiskError};
use bytes::Bytes;
use coffre_core::erasure::reconstruct_one;
use coffre_core::fact::PackFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ChunkId, DiskNo, PackId};
use coffre_core::pack::{PACK_TARGET, TocEntry, open_blob, open_toc};
use coffre_core::shard::{BLOCK_LEN, BlockTable, HEADER_LEN, ShardHeader, shard_len};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Tables of contents kept in memory.
const MAX_TOCS: usize = 64;
/// Checksum tables of shards kept in memory: for a full pack 16 KiB each, divided by the number of data shards.
const MAX_TABLES: usize = 512;

/// Blocks kept that were read to make others: those of all shards of two packs of the usual length.
const MAX_SOURCE_BLOCKS: usize = 2 * PACK_TARGET / BLOCK_LEN;

/// Pack, shard, and number of a block.
type BlockName = (PackId, usize, u32);

/// What readers remember.
#[derive(Debug)]
pub(crate) struct Caches {
    /// Verified blocks by pack, shard and number, while shards are missing. Empty in a healthy vault.
    sources: Mutex<Recent<BlockName, Bytes>>,
    tocs: Mutex<Recent<PackId, Arc<Vec<TocEntry>>>>,
    tables: Mutex<Recent<(PackId, usize), Arc<Checked>>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            sources: Mutex::new(Recent::new(MAX_SOURCE_BLOCKS)),
            tocs: Mutex::new(Recent::new(MAX_TOCS)),
            tables: Mutex::new(Recent::new(MAX_TABLES)),
        }
    }
}

/// A shard whose header and checksum table were verified.
#[derive(Debug)]
pub(crate) struct Checked {
    pub header: ShardHeader,
    pub table: BlockTable,
}

impl Core {
    /// A chunk's plain bytes. `pack` and `position` are hints.
    pub fn chunk(&self, id: &ChunkId, pack: Option<PackId>, position: u32) -> Result<Vec<u8>> {
        let mut trouble = None;
        let hinted = pack.and_then(|p| self.with(|e| e.catalog().current_pack(&p).cloned()));
        let indexed = || {
            let hint = self.index.chunk(id).ok().flatten()?;
            self.with(|e| e.catalog().current_pack(&hint.pack).cloned())
        };
        for pack in hinted.into_iter().chain(std::iter::once_with(indexed).flatten()) {
            match self.chunk_in(&pack, id, position) {
                Ok(Some(plain)) => return Ok(plain),
                Ok(None) => {}
                Err(fault) => trouble = Some(fault),
            }
        }
        // A pack that is known and cannot be read now is the answer; reading every table of contents would not change it,
        // unless the chunk was stored again and the index has not learnt where.
        if let Some(fault) = trouble.take_if(|_| self.index_ready.load(Ordering::Relaxed)) {
            return Err(fault);
        }
        let mut all: Vec<PackFact> = self.with(|e| e.catalog().packs().cloned().collect());
        all.sort_unstable_by_key(|p| p.id);
        for pack in all {
            match self.chunk_in(&pack, id, position) {
                Ok(Some(plain)) => return Ok(plain),
                Ok(None) => {}
                Err(fault) => trouble = trouble.or(Some(fault)),
            }
        }
        Err(trouble.unwrap_or_else(|| Fault::corrupt(format!("chunk {id} is in no pack"))))
    }

    /// The chunk, if this pack has it.
    fn chunk_in(&self, pack: &PackFact, id: &ChunkId, position: u32) -> Result<Option<Vec<u8>>> {
        let entries = self.toc(pack)?;
        let at = match entries.get(position as usize) {
            Some(e) if e.chunk == *id => Some(position as usize),
            _ => entries.iter().position(|e| e.chunk == *id),
        };
        let Some((at, entry)) = at.and_then(|at| Some((at, entries.get(at)?))) else { return Ok(None) };
        let range = u64::from(entry.offset)..entry.end();
        let sealed = self.pack_range(pack, range)?;
        open_blob(&self.keys, pack.id, at as u32, entry, &sealed).map(Some)
    }

    /// A pack's table of contents.
    pub fn toc(&self, pack: &PackFact) -> Result<Arc<Vec<TocEntry>>> {
        if let Some(entries) = lock(&self.caches.tocs).get(&pack.id) {
            return Ok(entries);
        }
        let start = pack.pack_len.saturating_sub(u64::from(pack.toc_sealed_len));
        let sealed = self.pack_range(pack, start..pack.pack_len)?;
        let entries = Arc::new(open_toc(&self.keys, pack.id, pack.pack_len, &sealed)?);
        lock(&self.caches.tocs).put(pack.id, entries.clone());
        Ok(entries)
    }

    /// Bytes of a pack's body, each block of them verified.
    fn pack_range(&self, pack: &PackFact, range: Range<u64>) -> Result<Bytes> {
        self.pack_range_without(pack, range, None)
    }

    /// The same, with what lies in data shard `out_shard` decoded from the others.
    pub(crate) fn pack_range_without(
        &self,
        pack: &PackFact,
        range: Range<u64>,
        out_shard: Option<usize>,
    ) -> Result<Bytes> {
        let each = shard_len(pack.pack_len, pack.geometry.k());
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let (shard, offset) = ((at / each) as usize, at % each);
            let len = (each - offset).min(range.end - at);
            let avoid = out_shard == Some(shard);
            pieces.push(self.shard_range(pack, shard, offset..offset + len, avoid)?);
            at += len;
        }
        // Nearly always in one shard: then it stays where it was read to.
        Ok(match pieces.as_slice() {
            [one] => one.clone(),
            pieces => pieces.concat().into(),
        })
    }

    /// Bytes of one data shard: read from it, or made from the others. With `avoid`, always from the others.
    fn shard_range(&self, pack: &PackFact, shard: usize, range: Range<u64>, avoid: bool) -> Result<Bytes> {
        let block = BLOCK_LEN as u64;
        let whole = range.start / block * block..range.end.div_ceil(block) * block;
        let whole = whole.start..whole.end.min(shard_len(pack.pack_len, pack.geometry.k()));
        let plain = if avoid {
            Err(Fault::transient("it is to be decoded from the others"))
        } else {
            self.known_or_verified(pack, shard, whole.clone())
        };
        let bytes = match plain {
            Ok(bytes) => bytes,
            Err(first) => self.mended(pack, shard, whole.clone(), first)?,
        };
        let (from, to) = ((range.start - whole.start) as usize, (range.end - whole.start) as usize);
        if to > bytes.len() {
            return Err(Fault::corrupt("a shard is shorter than it says"));
        }
        Ok(bytes.slice(from..to))
    }

    fn mended(&self, pack: &PackFact, shard: usize, blocks: Range<u64>, first: Fault) -> Result<Bytes> {
        let k = pack.geometry.k();
        let mut present = Vec::new();
        let mut last = first;
        for other in (0..pack.geometry.width()).filter(|o| *o != shard) {
            match self.known_or_verified(pack, other, blocks.clone()) {
                Ok(bytes) => {
                    self.keep_sources(pack.id, other, &blocks, &bytes);
                    present.push((other, bytes));
                }
                Err(fault) => last = fault,
            }
            if present.len() == k {
                return made_of(pack, &present, shard);
            }
        }
        // Disks that were taken out and show may have what the others lack, this very shard too.
        for (other, place) in self.with(|e| e.lent(pack)) {
            if present.iter().all(|(there, _)| *there != other)
                && let Ok(bytes) = self.lent_range(pack, other, place, &blocks)
            {
                present.push((other, bytes));
            }
            if present.len() == k {
                return made_of(pack, &present, shard);
            }
        }
        let what =
            format!("pack {}: only {} of {k} needed shards are good ({})", pack.id, present.len(), last.what);
        Err(Fault::new(last.class, what))
    }

    /// Whole blocks of a shard from a guest, verified like any others.
    fn lent_range(&self, pack: &PackFact, shard: usize, place: DiskNo, blocks: &Range<u64>) -> Result<Bytes> {
        let lacks = |why: &str| {
            self.guest_lacks(place, &pack.id);
            Fault::corrupt(format!("pack {} shard {shard} on a disk that was taken out: {why}", pack.id))
        };
        let checked = match self.table_of(pack, shard) {
            Some(checked) => checked,
            None => self.lent_table(pack, shard, place)?,
        };
        let (first, len) = (ShardHeader::block_of(blocks.start), (blocks.end - blocks.start) as usize);
        let offset = checked.header.block_in_file(first).start;
        let bytes =
            self.read(place, &layout::shard(pack.id), offset, len).map_err(|e| lacks(&e.to_string()))?;
        let good = bytes.len() == len
            && bytes.chunks(BLOCK_LEN).zip(first..).all(|(block, no)| checked.table.check(no, block));
        if good { Ok(bytes.into()) } else { Err(lacks("a block does not match")) }
    }

    /// Header and table of a shard on a guest. They are those of the lost shard, wherever they are read.
    pub(crate) fn lent_table(&self, pack: &PackFact, shard: usize, place: DiskNo) -> Result<Arc<Checked>> {
        let wanted = Wanted::new(self.keys.vault(), pack, shard)
            .ok_or_else(|| Fault::corrupt("a pack names too few disks"))?;
        match self.ask_all([(place, move |disk: &dyn Disk| wanted.open(disk))]).pop() {
            Some(Ok(Ok((header, table)))) => {
                let checked = Arc::new(Checked { header, table });
                lock(&self.caches.tables).put((pack.id, shard), checked.clone());
                Ok(checked)
            }
            answer => {
                if let Some(Ok(_)) = answer {
                    self.guest_lacks(place, &pack.id);
                }
                Err(Fault::transient(format!(
                    "pack {} shard {shard}: a disk that was taken out lacks it",
                    pack.id
                )))
            }
        }
    }

    fn table_of(&self, pack: &PackFact, shard: usize) -> Option<Arc<Checked>> {
        lock(&self.caches.tables).get(&(pack.id, shard))
    }

    /// What a guest does not have, or has wrong, is not asked of it again.
    pub(crate) fn guest_lacks(&self, place: DiskNo, pack: &PackId) {
        if let Some(seat) = guest_seat(place) {
            self.with(|e| e.guest_lacks(seat, pack));
        }
    }

    /// Whole blocks of a shard: those that were read a moment ago to make others, or as [`verified`](Self::verified).
    fn known_or_verified(&self, pack: &PackFact, shard: usize, blocks: Range<u64>) -> Result<Bytes> {
        let kept: Option<Vec<Bytes>> = {
            let sources = lock(&self.caches.sources);
            numbers(&blocks).map(|no| sources.get(&(pack.id, shard, no))).collect()
        };
        match kept {
            Some(kept) => Ok(kept.concat().into()),
            None => self.verified(pack, shard, blocks).map(Bytes::from),
        }
    }

    /// Blocks share the memory of the range in which they were read, unless some of it is kept already: else one block of
    /// each of many ranges that overlap could keep all of them.
    fn keep_sources(&self, pack: PackId, shard: usize, blocks: &Range<u64>, bytes: &Bytes) {
        let mut sources = lock(&self.caches.sources);
        let fresh: Vec<bool> = numbers(blocks).map(|no| sources.get(&(pack, shard, no)).is_none()).collect();
        let all = fresh.iter().all(|fresh| *fresh);
        for ((no, block), _) in
            numbers(blocks).zip(bytes.chunks(BLOCK_LEN)).zip(fresh).filter(|(_, fresh)| *fresh)
        {
            let block = if all { bytes.slice_ref(block) } else { Bytes::copy_from_slice(block) };
            sources.put((pack, shard, no), block);
        }
    }

    /// Whole blocks of a shard, each checked against the shard's checksum table.
    fn verified(&self, pack: &PackFact, shard: usize, blocks: Range<u64>) -> Result<Vec<u8>> {
        let checked = self.checked(pack, shard)?;
        let disk =
            pack.disks.get(shard).copied().ok_or_else(|| Fault::corrupt("a pack names too few disks"))?;
        let path = layout::shard(pack.id);
        let (first, len) = (ShardHeader::block_of(blocks.start), (blocks.end - blocks.start) as usize);
        let offset = checked.header.block_in_file(first).start;
        let bytes = self.read(disk, &path, offset, len).map_err(|e| self.trouble(pack, shard, &e))?;
        let good = bytes.len() == len
            && bytes.chunks(BLOCK_LEN).zip(first..).all(|(block, no)| checked.table.check(no, block));
        if !good && !self.flaws.has(Flaw::SkipShardCheck) {
            return Err(self.damaged(pack, shard, "a block does not match"));
        }
        Ok(bytes)
    }

    pub(crate) fn checked(&self, pack: &PackFact, shard: usize) -> Result<Arc<Checked>> {
        if let Some(checked) = lock(&self.caches.tables).get(&(pack.id, shard)) {
            return Ok(checked);
        }
        let disk =
            pack.disks.get(shard).copied().ok_or_else(|| Fault::corrupt("a pack names too few disks"))?;
        let path = layout::shard(pack.id);
        let read = |offset: u64, len: usize| {
            self.read(disk, &path, offset, len).map_err(|e| self.trouble(pack, shard, &e))
        };
        let expected = |h: &ShardHeader| self.is_header_of(h, pack, shard);
        let header = match ShardHeader::parse(&read(0, HEADER_LEN)?) {
            Ok(header) if expected(&header) => header,
            // The footer is a copy of the header; where it is follows from what the journal says.
            _ => {
                let footer = self.footer_offset(pack);
                match ShardHeader::parse(&read(footer, HEADER_LEN)?) {
                    Ok(header) if expected(&header) => header,
                    _ => return Err(self.damaged(pack, shard, "neither header nor footer is its own")),
                }
            }
        };
        let place = header.table_in_file();
        let table = header
            .check_table(&read(place.start, (place.end - place.start) as usize)?)
            .map_err(|_| self.damaged(pack, shard, "its checksum table does not match"))?;
        let checked = Arc::new(Checked { header, table });
        lock(&self.caches.tables).put((pack.id, shard), checked.clone());
        Ok(checked)
    }

    /// Looks at all of a pack's shards on the disks that are there: header or footer in place and its own. What is gone
    /// or wrong counts no more from here on. The blocks are not read: that is what reading and scrubbing do.
    pub(crate) fn look_at(&self, pack: &PackFact) {
        let here = self.with(|e| e.present());
        let path = layout::shard(pack.id);
        for (shard, disk) in pack.disks.iter().enumerate().filter(|(_, d)| here.has(**d)) {
            let own =
                |bytes: &[u8]| ShardHeader::parse(bytes).is_ok_and(|h| self.is_header_of(&h, pack, shard));
            match self.read(*disk, &path, 0, HEADER_LEN) {
                Ok(bytes) if own(&bytes) => {}
                Ok(_) => {
                    let footer = self.read(*disk, &path, self.footer_offset(pack), HEADER_LEN);
                    if !footer.is_ok_and(|bytes| own(&bytes)) {
                        self.damaged(pack, shard, "neither header nor footer is its own");
                    }
                }
                Err(e) => drop(self.trouble(pack, shard, &e)),
            }
        }
    }

    fn is_header_of(&self, h: &ShardHeader, pack: &PackFact, shard: usize) -> bool {
        h.vault == self.keys.vault()
            && h.pack == pack.id
            && usize::from(h.shard) == shard
            && h.geometry == pack.geometry
            && h.pack_len == pack.pack_len
            && h.digest() == pack.digest
    }

    /// A shard that is there and wrong: it counts no more.
    pub(crate) fn damaged(&self, pack: &PackFact, shard: usize, why: &str) -> Fault {
        self.with(|e| e.shard_damaged(pack.id, shard, Damage { blocks: 1, ..Damage::default() }));
        Fault::corrupt(format!("pack {} shard {shard}: {why}", pack.id))
    }

    /// A shard that could not be read. A disk that is away or slow, or a box short of descriptors, says nothing about its shards; a file that is
    /// gone or a medium that fails does.
    pub(crate) fn trouble(&self, pack: &PackFact, shard: usize, error: &DiskError) -> Fault {
        match error {
            error if error.medium_fails() => self.damaged(pack, shard, &error.to_string()),
            DiskError::NotFound(_) => self.damaged(pack, shard, &error.to_string()),
            _ => Fault::transient(format!("pack {} shard {shard}: {error}", pack.id)),
        }
    }

    fn footer_offset(&self, pack: &PackFact) -> u64 {
        let data = shard_len(pack.pack_len, pack.geometry.k());
        let sums = data.div_ceil(BLOCK_LEN as u64) * coffre_core::shard::SUM_LEN as u64;
        HEADER_LEN as u64 + data + sums.next_multiple_of(HEADER_LEN as u64)
    }

    /// Forgets what is remembered of shards: called when a disk came back, whose files may be others now, and whose
    /// packs the index may not have learnt while they could not be read.
    pub fn forget_tables(&self) {
        self.index_ready.store(false, Ordering::Relaxed);
        lock(&self.caches.tables).clear();
        self.forget_sources();
    }

    /// Gives back what was kept to read with shards missing.
    pub(crate) fn forget_sources(&self) {
        lock(&self.caches.sources).clear();
    }
}

/// One shard of a pack out of the same blocks of k, which may have it among them.
fn made_of(pack: &PackFact, present: &[(usize, Bytes)], shard: usize) -> Result<Bytes> {
    let slices: Vec<(usize, &[u8])> = present.iter().map(|(n, bytes)| (*n, &bytes[..])).collect();
    reconstruct_one(pack.geometry, &slices, shard).map(Bytes::from)
}

/// Numbers of the blocks in a range of a shard's data that begins with a block.
fn numbers(blocks: &Range<u64>) -> impl Iterator<Item = u32> + use<> {
    ShardHeader::block_of(blocks.start)..blocks.end.div_ceil(BLOCK_LEN as u64) as u32
}

/// The entries that came last, up to a ceiling; being used does not make one younger.
#[derive(Debug)]
struct Recent<K, V> {
    ceiling: usize,
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    fn new(ceiling: usize) -> Self {
        Self { ceiling, map: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&self, key: &K) -> Option<V> {
        self.map.get(key).cloned()
    }

    fn put(&mut self, key: K, value: V) {
        if self.map.insert(key, value).is_none() {
            self.order.push_back(key);
            if self.order.len() > self.ceiling
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
    }

    fn clear(&mut self) {
        self.map.clear();
        self.order.clear();
    }
}
