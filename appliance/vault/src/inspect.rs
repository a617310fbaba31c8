//! Looking at a shard file on its disk: what it must be, and what is wrong with it, without any key.
//!
//! Read from the medium, past what the system remembers of it: this is how a shard is proved after it was healed, and
//! how the scrub finds rot. The journal's digest of the pack convicts a header, the header convicts the table, the table
//! convicts each block.

use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult};
use coffre_core::buffer::Buffer;
use coffre_core::fact::PackFact;
use coffre_core::ids::{DiskNo, PackId, VaultId};
use coffre_core::shard::{BLOCK_LEN, BlockTable, HEADER_LEN, SUM_LEN, ShardHeader, shard_len};
use std::ops::Range;

/// Blocks that are read at once: 1 MiB.
pub const BLOCKS_AT_ONCE: u32 = 16;

/// What a shard must be, as the journal says.
#[derive(Clone, Debug)]
pub struct Wanted {
    vault: VaultId,
    fact: PackFact,
    shard: usize,
}

/// What is wrong with a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// There is no file.
    pub absent: bool,
    /// Header, footer or table are not its own.
    pub frame: bool,
    /// Blocks that do not match or cannot be read.
    pub blocks: u32,
}

impl Damage {
    /// There is no file.
    pub const ABSENT: Self = Self { absent: true, frame: false, blocks: 0 };
    /// Header, footer or table are not its own.
    pub const FRAME: Self = Self { absent: false, frame: true, blocks: 0 };
}

impl Wanted {
    /// Shard number `shard` of a pack of `vault`; `None` when the pack has no such shard.
    pub fn new(vault: VaultId, fact: &PackFact, shard: usize) -> Option<Self> {
        let known = shard < fact.geometry.width() && shard < fact.disks.len();
        known.then(|| Self { vault, fact: fact.clone(), shard })
    }

    /// The pack.
    pub fn pack(&self) -> PackId {
        self.fact.id
    }

    /// The disk it is on.
    pub fn disk(&self) -> DiskNo {
        self.fact.disks[self.shard]
    }

    /// Its number in the pack.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Blocks of data it has.
    pub fn blocks(&self) -> u32 {
        self.data_len().div_ceil(BLOCK_LEN as u64) as u32
    }

    /// Bytes of its file.
    pub fn file_len(&self) -> u64 {
        self.footer().end
    }

    fn data_len(&self) -> u64 {
        shard_len(self.fact.pack_len, self.fact.geometry.k())
    }

    fn footer(&self) -> Range<u64> {
        let table = (u64::from(self.blocks()) * SUM_LEN as u64).next_multiple_of(HEADER_LEN as u64);
        let start = HEADER_LEN as u64 + self.data_len() + table;
        start..start + HEADER_LEN as u64
    }

    /// Whether this is the header that the shard must have.
    pub fn is_header(&self, h: &ShardHeader) -> bool {
        h.vault == self.vault
            && h.pack == self.fact.id
            && usize::from(h.shard) == self.shard
            && h.geometry == self.fact.geometry
            && h.pack_len == self.fact.pack_len
            && h.digest() == self.fact.digest
    }

    /// Looks at header and footer only. A disk that does not answer is an error; a file that is not there, or a medium that
    /// fails under it, is damage.
    pub fn look_at_ends(&self, disk: &dyn Disk) -> DiskResult<Result<ShardHeader, Damage>> {
        let found = self.frame(disk, &layout::shard(self.fact.id), self.footer().start)?;
        Ok(found.map(|(header, _)| header))
    }

    /// The header in front, and what stands behind the data from `start` on, when it ends with a copy of that header.
    fn frame(
        &self,
        disk: &dyn Disk,
        path: &str,
        start: u64,
    ) -> DiskResult<Result<(ShardHeader, Buffer), Damage>> {
        let (mut front, mut behind) = (Buffer::new(), Buffer::new());
        if let Err(damage) = told(disk.read_medium(path, 0, HEADER_LEN, &mut front), Damage::FRAME)? {
            return Ok(Err(damage));
        }
        let len = (self.footer().end - start) as usize;
        if let Err(damage) = told(disk.read_medium(path, start, len, &mut behind), Damage::FRAME)? {
            return Ok(Err(damage));
        }
        let same = front.len() == HEADER_LEN && behind.len() == len && behind.ends_with(&front);
        behind.truncate(len - HEADER_LEN);
        let parsed = ShardHeader::parse(&front).ok().filter(|h| same && self.is_header(h));
        Ok(parsed.map(|header| (header, behind)).ok_or(Damage::FRAME))
    }

    /// Looks at header, footer and table, and gives header and table back.
    pub fn open(&self, disk: &dyn Disk) -> DiskResult<Result<(ShardHeader, BlockTable), Damage>> {
        self.open_at(disk, &layout::shard(self.fact.id))
    }

    fn open_at(&self, disk: &dyn Disk, path: &str) -> DiskResult<Result<(ShardHeader, BlockTable), Damage>> {
        let found = self.frame(disk, path, HEADER_LEN as u64 + self.data_len())?;
        Ok(found.and_then(|(header, table)| {
            let table = header.check_table(&table).map_err(|_| Damage::FRAME)?;
            Ok((header, table))
        }))
    }

    /// Reads some blocks, [`BLOCKS_AT_ONCE`] at once, and counts those that are wrong. `room` is where they are read to.
    pub fn wrong_blocks(
        &self,
        disk: &dyn Disk,
        table: &BlockTable,
        blocks: Range<u32>,
        room: &mut Buffer,
    ) -> DiskResult<u32> {
        self.wrong_blocks_at(disk, &layout::shard(self.fact.id), table, blocks, room)
    }

    fn wrong_blocks_at(
        &self,
        disk: &dyn Disk,
        path: &str,
        table: &BlockTable,
        blocks: Range<u32>,
        room: &mut Buffer,
    ) -> DiskResult<u32> {
        let mut wrong = 0;
        for start in blocks.clone().step_by(BLOCKS_AT_ONCE as usize) {
            let some = start..(start + BLOCKS_AT_ONCE).min(blocks.end);
            wrong += match self.wrong_in_run(disk, path, table, some.clone(), room)? {
                Some(wrong) => wrong,
                // A bad sector takes its own block only.
                None => {
                    let one = |no| Ok(self.wrong_in_run(disk, path, table, no..no + 1, room)?.unwrap_or(1));
                    some.map(one).sum::<DiskResult<u32>>()?
                }
            };
        }
        Ok(wrong)
    }

    /// The same of a run that is read at once; `None` when it cannot be read.
    fn wrong_in_run(
        &self,
        disk: &dyn Disk,
        path: &str,
        table: &BlockTable,
        blocks: Range<u32>,
        room: &mut Buffer,
    ) -> DiskResult<Option<u32>> {
        let start = u64::from(blocks.start) * BLOCK_LEN as u64;
        let end = (u64::from(blocks.end) * BLOCK_LEN as u64).min(self.data_len());
        let len = end.saturating_sub(start) as usize;
        if told(disk.read_medium(path, HEADER_LEN as u64 + start, len, room), Damage::ABSENT)?.is_err() {
            return Ok(None);
        }
        let good = blocks.clone().zip(room.chunks(BLOCK_LEN)).filter(|(no, b)| table.check(*no, b));
        Ok(Some(blocks.len() as u32 - good.count() as u32))
    }

    /// Looks at the whole file at `path` (the shard's own place, or where it is being made). `None`: it is whole.
    pub fn inspect(&self, disk: &dyn Disk, path: &str) -> DiskResult<Option<Damage>> {
        let table = match self.open_at(disk, path)? {
            Ok((_, table)) => table,
            Err(damage) => return Ok(Some(damage)),
        };
        let wrong = self.wrong_blocks_at(disk, path, &table, 0..table.blocks(), &mut Buffer::new())?;
        Ok((wrong > 0).then_some(Damage { blocks: wrong, ..Damage::default() }))
    }
}

/// What a failed reading says of the file, if it says anything of it.
fn told<T>(read: DiskResult<T>, failing: Damage) -> DiskResult<Result<T, Damage>> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(DiskError::NotFound(_)) => Ok(Err(Damage::ABSENT)),
        Err(e) if e.medium_fails() => Ok(Err(failing)),
        Err(e) => Err(e),
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { absent: true, .. } => f.write_str("it is not there"),
            Self { frame: true, .. } => f.write_str("its header, footer or checksums are not its own"),
            Self { blocks: 1, .. } => f.write_str("1 block does not match"),
            Self { blocks, .. } => write!(f, "{blocks} blocks do not match"),
        }
    }
}
