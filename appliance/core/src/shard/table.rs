//! The checksums of a shard's blocks, each bound to the one place where it is right.

use super::{BLOCK_LEN, HEADER_LEN, SUM_LEN, TableRoot};
use crate::ids::{PackId, VaultId};
use std::fmt;

/// Context of the key of one shard's checksums. The key is no secret: anyone can check, nobody by mistake.
const BLOCKS_CONTEXT: &str = "coffre 2026 v1 shard blocks";
/// Stands where block checksums have the block number; no shard has so many blocks.
const ROOT_MARK: u32 = u32::MAX;

/// The block checksums of one shard.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockTable {
    key: [u8; 32],
    shard_len: u64,
    sums: Vec<[u8; SUM_LEN]>,
}

impl BlockTable {
    /// The checksums of these data bytes of shard number `shard`.
    pub fn compute(vault: VaultId, pack: PackId, shard: u8, data: &[u8]) -> Self {
        let mut table = Self::begin(vault, pack, shard);
        data.chunks(BLOCK_LEN).for_each(|block| table.push(block));
        table
    }

    /// A table without blocks yet.
    pub(super) fn begin(vault: VaultId, pack: PackId, shard: u8) -> Self {
        Self { key: table_key(vault, pack, shard), shard_len: 0, sums: Vec::new() }
    }

    /// Adds the next block: [`BLOCK_LEN`] bytes, the last one may be shorter.
    pub(super) fn push(&mut self, block: &[u8]) {
        self.sums.push(checksum(&self.key, self.sums.len() as u32, block));
        self.shard_len += block.len() as u64;
    }

    /// Whether these bytes are block number `block` of this shard.
    pub fn check(&self, block: u32, bytes: &[u8]) -> bool {
        let expected_len =
            self.shard_len.saturating_sub(u64::from(block) * BLOCK_LEN as u64).min(BLOCK_LEN as u64);
        let expected = self.sums.get(block as usize);
        bytes.len() as u64 == expected_len && expected == Some(&checksum(&self.key, block, bytes))
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u32 {
        self.sums.len() as u32
    }

    /// The checksum of the whole table, which all headers of the pack carry.
    pub fn root(&self) -> TableRoot {
        checksum(&self.key, ROOT_MARK, self.sums.as_flattened())
    }

    /// The table as it stands in the file, padded with zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.sums.as_flattened().to_vec();
        bytes.resize(bytes.len().next_multiple_of(HEADER_LEN), 0);
        bytes
    }

    /// Takes the table out of its padded bytes; `None` when they have the wrong length or the padding is not
    /// zero. Its root is still to be compared.
    pub(super) fn read(
        vault: VaultId,
        pack: PackId,
        shard: u8,
        shard_len: u64,
        bytes: &[u8],
    ) -> Option<Self> {
        let used = shard_len.div_ceil(BLOCK_LEN as u64) as usize * SUM_LEN;
        let (sums, padding) = bytes.split_at_checked(used)?;
        if padding.iter().any(|byte| *byte != 0) || bytes.len() != used.next_multiple_of(HEADER_LEN) {
            return None;
        }
        let (sums, _) = sums.as_chunks::<SUM_LEN>();
        Some(Self { key: table_key(vault, pack, shard), shard_len, sums: sums.to_vec() })
    }
}

impl fmt::Debug for BlockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockTable({} blocks)", self.sums.len())
    }
}

fn table_key(vault: VaultId, pack: PackId, shard: u8) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(BLOCKS_CONTEXT);
    hasher.update(&vault.0).update(&pack.0).update(&[shard]);
    *hasher.finalize().as_bytes()
}

/// The number goes into the key: in front of the bytes it would shift them against the hash's own blocks, and the
/// widest vector instructions would stand idle.
fn checksum(key: &[u8; 32], number: u32, bytes: &[u8]) -> [u8; SUM_LEN] {
    let mut key = *key;
    key.iter_mut().zip(number.to_le_bytes()).for_each(|(of_shard, of_block)| *of_shard ^= of_block);
    *blake3::keyed_hash(&key, bytes).as_bytes()
}
