//! Fixed little-endian fields at drawn offsets: the reading and writing that every header shares.

use crate::ids::VaultId;

/// Blocks of 4 KiB: the unit that a write never damages beyond (see the vault's ports).
pub const BLOCK: usize = 4096;

/// `len` rounded up to whole blocks.
pub const fn blocks(len: usize) -> usize {
    len.div_ceil(BLOCK) * BLOCK
}

/// A header under construction or inspection; offsets are those of `docs/format.md`.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }
    pub fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    pub fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    pub fn vault(&self, at: usize) -> Option<VaultId> {
        self.array(at).map(VaultId)
    }
}

/// Puts `bytes` at `at` of a header buffer that is known to be long enough.
pub(crate) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// BLAKE3 in key-derivation mode: a plain checksum that belongs to one purpose only.
pub(crate) fn purpose_hash(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
