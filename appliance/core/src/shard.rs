//! The shard file: one disk's part of one pack, with everything needed to judge it without any key.
//!
//! ```text
//! header 4096 | data (blocks of 65536, the last may be shorter) | table, padded to 4096 | footer 4096
//! ```
//!
//! A pack's body is cut into k equal slices, one data shard each, so that a small blob lies in one shard and is
//! read from one disk. The table has a checksum for each block; the header carries the checksum ("root") of that
//! table *and of the tables of all sibling shards*. So one good shard convicts a bad sibling, and nothing that a
//! disk returns is believed because of where it came from: checksums are keyed by vault, pack, shard and block
//! number, and a block that was misdirected, or belongs to an older file, does not match.
//!
//! The footer is a copy of the header. A file whose header, footer and table agree was written to its end: no
//! rename is needed for a commit, and a torn file never passes for a whole one.
//!
//! The bytes are drawn in `docs/format.md`.

mod heal;
mod pack;
mod stripe;
mod table;

pub use heal::{Rebuild, Rebuilt};
pub use pack::{EncodedPack, encode_pack};
pub use table::BlockTable;

use crate::class::LockClass;
use crate::fault::{Fault, Result};
use crate::geometry::{Geometry, MAX_DISKS};
use crate::ids::{DiskId, PackId, VaultId};
use crate::pack::{MAX_PACK_LEN, MAX_TOC_LEN, PACK_ALIGN};
use std::fmt;
use std::ops::Range;

/// Length of the header, of the footer, and what everything is aligned to, in bytes.
pub const HEADER_LEN: usize = 4096;
/// Data bytes under one checksum; the last block of a shard may be shorter.
pub const BLOCK_LEN: usize = 64 * 1024;
/// Length of one block checksum.
pub const SUM_LEN: usize = 32;
/// Most blocks of one shard: a whole pack mirrored.
pub const MAX_BLOCKS: usize = MAX_PACK_LEN / BLOCK_LEN;
/// Longest shard file, in bytes.
pub const MAX_SHARD_FILE_LEN: usize = 2 * HEADER_LEN + MAX_PACK_LEN + MAX_BLOCKS * SUM_LEN;

const MAGIC: [u8; 8] = *b"CoffreSh";
const VERSION: u32 = 1;
/// Incompatible features this version knows: none yet.
const KNOWN_INCOMPATIBLE: u32 = 0;
/// Features that forbid writing to whoever does not know them. None yet.
const KNOWN_READ_ONLY: u32 = 0;
/// Context of the header's own checksum.
const HEADER_CONTEXT: &str = "coffre 2026 v1 shard header";
/// Context of [`PackDigest`].
const DIGEST_CONTEXT: &str = "coffre 2026 v1 pack digest";

/// Where each field of the header begins. `at::ROOTS` has [`MAX_DISKS`] × 32 bytes, `at::CHECKSUM` is last.
mod at {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 8;
    pub const COMPATIBLE: usize = 12;
    pub const READ_ONLY: usize = 16;
    pub const INCOMPATIBLE: usize = 20;
    pub const VAULT: usize = 24;
    pub const PACK: usize = 40;
    pub const DISK: usize = 56;
    pub const EPOCH: usize = 72;
    pub const K: usize = 80;
    pub const M: usize = 81;
    pub const SHARD: usize = 82;
    pub const CLASS: usize = 84;
    pub const PACK_LEN: usize = 88;
    pub const TOC_LEN: usize = 96;
    pub const BLOCK_LEN: usize = 100;
    pub const SHARD_LEN: usize = 104;
    pub const ROOTS: usize = 128;
    pub const CHECKSUM: usize = super::HEADER_LEN - 32;
}

const _: () = assert!(at::ROOTS + MAX_DISKS * SUM_LEN <= at::CHECKSUM);
const _: () = assert!(HEADER_LEN == PACK_ALIGN && BLOCK_LEN.is_multiple_of(PACK_ALIGN));

/// Checksum of a table of block checksums.
pub type TableRoot = [u8; SUM_LEN];

/// What the journal remembers of a pack: covers its geometry, class, lengths and all table roots, and therefore
/// every byte of every shard. The same for all shards of a pack, whichever disks they are on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct PackDigest(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// The header of a shard file, read and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardHeader {
    /// Whose it is.
    pub vault: VaultId,
    /// Which pack.
    pub pack: PackId,
    /// The disk it was written for.
    pub disk: DiskId,
    /// The epoch of the mount that wrote it.
    pub epoch: u64,
    /// The geometry of this pack, which may be narrower than the vault's.
    pub geometry: Geometry,
    /// Which shard this is: 0 to k - 1 data, then parity.
    pub shard: u8,
    /// The lock class of the pack.
    pub class: LockClass,
    /// Length of the pack's body, in bytes.
    pub pack_len: u64,
    /// Length of the sealed table of contents at the end of the body.
    pub toc_sealed_len: u32,
    /// Table roots of all shards; zeros beyond the geometry's width.
    pub roots: [TableRoot; MAX_DISKS],
    /// Written by a newer version in a way that this one may read but not rewrite.
    pub read_only: bool,
}

/// A range within one data shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which data shard.
    pub shard: usize,
    /// First byte within the shard's data.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// Length of each shard's data for a pack of `pack_len` bytes in k slices, in bytes.
pub fn shard_len(pack_len: u64, k: usize) -> u64 {
    pack_len.div_ceil(k as u64).next_multiple_of(PACK_ALIGN as u64)
}

impl ShardHeader {
    /// Reads a header or a footer from the first [`HEADER_LEN`] bytes. [`Class::Corrupt`](crate::fault::Class)
    /// when it is not one or contradicts itself, `Refused` when a newer version wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |why: &str| Fault::corrupt(format!("shard header: {why}"));
        let bytes: &[u8; HEADER_LEN] =
            bytes.get(..HEADER_LEN).and_then(|b| b.try_into().ok()).ok_or_else(|| bad("cut off"))?;
        if bytes[at::MAGIC..at::VERSION] != MAGIC {
            return Err(bad("not a shard"));
        }
        if bytes[at::CHECKSUM..] != header_checksum(bytes) {
            return Err(bad("checksum does not match"));
        }
        let unknown = u32_at(bytes, at::INCOMPATIBLE) & !KNOWN_INCOMPATIBLE;
        if u32_at(bytes, at::VERSION) != VERSION || unknown != 0 {
            return Err(Fault::refused("a shard in a format that this version does not know")
                .next("update this box to the version that wrote it"));
        }
        let geometry = Geometry::new(bytes[at::K], bytes[at::M]).map_err(|_| bad("impossible geometry"))?;
        let mut roots = [[0; SUM_LEN]; MAX_DISKS];
        for (root, from) in roots.iter_mut().zip(bytes[at::ROOTS..].chunks_exact(SUM_LEN)) {
            root.copy_from_slice(from);
        }
        let header = Self {
            vault: VaultId(array_at(bytes, at::VAULT)),
            pack: PackId(array_at(bytes, at::PACK)),
            disk: DiskId(array_at(bytes, at::DISK)),
            epoch: u64_at(bytes, at::EPOCH),
            geometry,
            shard: bytes[at::SHARD],
            class: LockClass(u32_at(bytes, at::CLASS)),
            pack_len: u64_at(bytes, at::PACK_LEN),
            toc_sealed_len: u32_at(bytes, at::TOC_LEN),
            roots,
            read_only: u32_at(bytes, at::READ_ONLY) & !KNOWN_READ_ONLY != 0,
        };
        header.contradiction().map_or(Ok(()), |why| Err(bad(why)))?;
        // Both follow from the rest; they are written for readers that do not know this program.
        if u32_at(bytes, at::BLOCK_LEN) as usize != BLOCK_LEN
            || u64_at(bytes, at::SHARD_LEN) != header.shard_len()
        {
            return Err(bad("impossible lengths"));
        }
        Ok(header)
    }

    /// The bytes of header and footer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(at::MAGIC, &MAGIC);
        put(at::VERSION, &VERSION.to_le_bytes());
        put(at::COMPATIBLE, &0u32.to_le_bytes());
        put(at::READ_ONLY, &KNOWN_READ_ONLY.to_le_bytes());
        put(at::INCOMPATIBLE, &KNOWN_INCOMPATIBLE.to_le_bytes());
        put(at::VAULT, &self.vault.0);
        put(at::PACK, &self.pack.0);
        put(at::DISK, &self.disk.0);
        put(at::EPOCH, &self.epoch.to_le_bytes());
        put(at::K, &[self.geometry.k() as u8]);
        put(at::M, &[self.geometry.m() as u8]);
        put(at::SHARD, &[self.shard]);
        put(at::CLASS, &self.class.0.to_le_bytes());
        put(at::PACK_LEN, &self.pack_len.to_le_bytes());
        put(at::TOC_LEN, &self.toc_sealed_len.to_le_bytes());
        put(at::BLOCK_LEN, &(BLOCK_LEN as u32).to_le_bytes());
        put(at::SHARD_LEN, &self.shard_len().to_le_bytes());
        put(at::ROOTS, self.roots.as_flattened());
        let checksum = header_checksum(&bytes);
        bytes[at::CHECKSUM..].copy_from_slice(&checksum);
        bytes
    }

    /// The header of another shard of the same pack, for a disk that gets it anew: same pack, same roots.
    /// Refused when a newer version wrote this one with features that must not be rewritten.
    pub fn sibling(&self, shard: u8, disk: DiskId, epoch: u64) -> Result<Self> {
        if self.read_only {
            return Err(Fault::refused(format!("pack {} was written by a newer version", self.pack))
                .next("update this box before it repairs this pack"));
        }
        if usize::from(shard) >= self.geometry.width() {
            return Err(Fault::misuse(format!("there is no shard {shard} in {}", self.geometry)));
        }
        Ok(Self { shard, disk, epoch, ..self.clone() })
    }

    /// What the journal has for this pack, if this header is right about it.
    pub fn digest(&self) -> PackDigest {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        hasher.update(&self.vault.0).update(&self.pack.0);
        hasher.update(&[self.geometry.k() as u8, self.geometry.m() as u8]);
        hasher.update(&self.class.0.to_le_bytes());
        hasher.update(&self.pack_len.to_le_bytes());
        hasher.update(&self.toc_sealed_len.to_le_bytes());
        hasher.update(self.roots[..self.geometry.width()].as_flattened());
        PackDigest(*hasher.finalize().as_bytes())
    }

    /// Bytes of data in each shard.
    pub fn shard_len(&self) -> u64 {
        shard_len(self.pack_len, self.geometry.k())
    }

    /// Blocks in each shard.
    pub fn blocks(&self) -> u32 {
        self.shard_len().div_ceil(BLOCK_LEN as u64) as u32
    }

    /// Which block of a shard's data has this byte.
    pub fn block_of(offset_in_shard: u64) -> u32 {
        (offset_in_shard / BLOCK_LEN as u64) as u32
    }

    /// Where a block lies within its shard's data; empty beyond the last block.
    pub fn block_in_shard(&self, block: u32) -> Range<u64> {
        let start = (u64::from(block) * BLOCK_LEN as u64).min(self.shard_len());
        start..(start + BLOCK_LEN as u64).min(self.shard_len())
    }

    /// Where a block lies in the file.
    pub fn block_in_file(&self, block: u32) -> Range<u64> {
        let range = self.block_in_shard(block);
        range.start + HEADER_LEN as u64..range.end + HEADER_LEN as u64
    }

    /// Where the table lies in the file, its padding included.
    pub fn table_in_file(&self) -> Range<u64> {
        let start = HEADER_LEN as u64 + self.shard_len();
        let len = u64::from(self.blocks()) * SUM_LEN as u64;
        start..start + len.next_multiple_of(HEADER_LEN as u64)
    }

    /// Where the footer lies in the file.
    pub fn footer_in_file(&self) -> Range<u64> {
        let start = self.table_in_file().end;
        start..start + HEADER_LEN as u64
    }

    /// Length of the file.
    pub fn file_len(&self) -> u64 {
        self.footer_in_file().end
    }

    /// Where the sealed table of contents lies in the pack's body.
    pub fn toc_in_pack(&self) -> Range<u64> {
        self.pack_len - u64::from(self.toc_sealed_len)..self.pack_len
    }

    /// The data shard and the offset in it of one byte of the pack's body.
    pub fn locate(&self, pack_offset: u64) -> (usize, u64) {
        ((pack_offset / self.shard_len()) as usize, pack_offset % self.shard_len())
    }

    /// Where a range of the pack's body lies, in order. Empty when it is not within the body.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + use<> {
        let (shard_len, end) = (self.shard_len(), range.end);
        let mut next = if end <= self.pack_len { range.start } else { end };
        std::iter::from_fn(move || {
            let (shard, offset) = ((next / shard_len) as usize, next % shard_len);
            let len = (shard_len - offset).min(end.saturating_sub(next));
            next += len;
            (len > 0).then_some(Piece { shard, offset, len })
        })
    }

    /// Checks this shard's table of block checksums (the bytes of [`table_in_file`](Self::table_in_file)).
    pub fn check_table(&self, table: &[u8]) -> Result<BlockTable> {
        self.check_table_of(usize::from(self.shard), table)
    }

    /// As [`check_table`](Self::check_table), of a sibling shard: this header knows its root.
    pub fn check_table_of(&self, shard: usize, table: &[u8]) -> Result<BlockTable> {
        let range = self.table_in_file();
        let root = self.roots.get(shard).filter(|_| shard < self.geometry.width());
        (table.len() as u64 == range.end - range.start)
            .then(|| BlockTable::read(self.vault, self.pack, shard as u8, self.shard_len(), table))
            .flatten()
            .filter(|table| Some(&table.root()) == root)
            .ok_or_else(|| {
                Fault::corrupt(format!(
                    "shard {shard} of pack {}: its block checksums do not match",
                    self.pack
                ))
            })
    }

    /// Why these fields cannot belong to one pack.
    fn contradiction(&self) -> Option<&'static str> {
        let toc_len = u64::from(self.toc_sealed_len);
        let whole = self.pack_len > 0 && self.pack_len.is_multiple_of(PACK_ALIGN as u64);
        if !whole || self.pack_len > MAX_PACK_LEN as u64 {
            return Some("impossible pack length");
        }
        if toc_len == 0 || toc_len > self.pack_len || toc_len > MAX_TOC_LEN as u64 {
            return Some("impossible length of the table of contents");
        }
        if usize::from(self.shard) >= self.geometry.width() {
            return Some("impossible shard number");
        }
        let beyond = &self.roots[self.geometry.width()..];
        beyond.iter().any(|root| *root != [0; SUM_LEN]).then_some("roots of shards that do not exist")
    }
}

fn header_checksum(bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(HEADER_CONTEXT, &bytes[..at::CHECKSUM])
}

fn array_at<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

impl fmt::Debug for PackDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackDigest({})", hex::encode(&self.0[..4]))
    }
}

#[cfg(test)]
mod tests;
