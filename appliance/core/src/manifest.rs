//! The manifest of an object: its chunks in order, and a hint where each was last seen.
//!
//! Lengths and ids are the truth. Pack and position are hints from the time of writing: packs are merged and
//! encoded again, so a reader whose hint fails asks the index.
//!
//! CBOR, an array of 5, in columns so that a chunk costs about 40 bytes:
//!
//! ```text
//! [version 1, size, packs: bytes (16 each), ids: bytes (32 each), [length, pack, position, length, …]]
//! ```
//!
//! Only this one encoding is accepted: numbers in their shortest form, definite lengths, nothing behind.

use crate::fault::{Fault, Result};
use crate::ids::{ChunkId, PackId};
use crate::squeeze::MAX_CHUNK_LEN;
use std::fmt;

/// Most chunks of one object: 4 TiB of average ones.
pub const MAX_MANIFEST_CHUNKS: usize = 4 * 1024 * 1024;
/// Most packs that one manifest names.
pub const MAX_MANIFEST_PACKS: usize = 1024 * 1024;
/// Longest manifest, in bytes: a chunk takes at most 32 + 3 × 5, a pack 16, the frame less than 64.
pub const MAX_MANIFEST_LEN: usize = MAX_MANIFEST_CHUNKS * 47 + MAX_MANIFEST_PACKS * 16 + 64;

const VERSION: u8 = 1;

/// One chunk of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkRef {
    /// Which chunk.
    pub id: ChunkId,
    /// Its length, in bytes: 1 to [`MAX_CHUNK_LEN`].
    pub len: u32,
    /// Index into the manifest's packs: where it was when the object was written.
    pub pack: u32,
    /// Its position in that pack.
    pub position: u32,
}

/// The chunks of an object, checked: lengths add up, indices are within bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    packs: Vec<PackId>,
    chunks: Vec<ChunkRef>,
    /// Where each chunk ends in the object; the last one is its size.
    ends: Vec<u64>,
}

impl Manifest {
    /// A manifest of these chunks. [`Class::Misuse`](crate::fault::Class::Misuse) when a length or an index is out
    /// of bounds, `Full` when the object is too large. No chunks at all is an empty object.
    pub fn new(packs: Vec<PackId>, chunks: Vec<ChunkRef>) -> Result<Self> {
        if chunks.len() > MAX_MANIFEST_CHUNKS || packs.len() > MAX_MANIFEST_PACKS {
            return Err(Fault::full(format!(
                "an object of {} chunks in {} packs is too large",
                chunks.len(),
                packs.len()
            )));
        }
        let possible =
            |c: &ChunkRef| (1..=MAX_CHUNK_LEN).contains(&(c.len as usize)) && (c.pack as usize) < packs.len();
        if !chunks.iter().all(possible) {
            return Err(Fault::misuse("a manifest with a chunk of impossible length or in no pack"));
        }
        let mut end = 0;
        let ends = chunks.iter().map(|chunk| {
            end += u64::from(chunk.len);
            end
        });
        Ok(Self { ends: ends.collect(), packs, chunks })
    }

    /// Size of the object, in bytes.
    pub fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The packs that hints point into.
    pub fn packs(&self) -> &[PackId] {
        &self.packs
    }

    /// All chunks in order.
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.chunks
    }

    /// The pack a chunk's hint names.
    pub fn pack_of(&self, chunk: &ChunkRef) -> Option<PackId> {
        self.packs.get(chunk.pack as usize).copied()
    }

    /// The index of the chunk with the byte at `offset` of the object, and where that chunk starts; `None` at
    /// the end and beyond.
    pub fn chunk_at(&self, offset: u64) -> Option<(usize, u64)> {
        let ix = self.ends.partition_point(|end| *end <= offset);
        let chunk = self.chunks.get(ix)?;
        Some((ix, self.ends[ix] - u64::from(chunk.len)))
    }

    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let ids: Vec<u8> = self.chunks.iter().flat_map(|chunk| chunk.id.0).collect();
        let packs: Vec<u8> = self.packs.iter().flat_map(|pack| pack.0).collect();
        let mut out = Vec::with_capacity(ids.len() + packs.len() + self.chunks.len() * 8 + 64);
        let mut e = minicbor::Encoder::new(&mut out);
        let written = (|| {
            e.array(5)?.u8(VERSION)?.u64(self.size())?.bytes(&packs)?.bytes(&ids)?;
            e.array(self.chunks.len() as u64 * 3)?;
            for chunk in &self.chunks {
                e.u32(chunk.len)?.u32(chunk.pack)?.u32(chunk.position)?;
            }
            e.ok()
        })();
        written.expect("writing to a Vec cannot fail");
        out
    }

    /// Reads what [`encode`](Self::encode) wrote. [`Class::Corrupt`](crate::fault::Class::Corrupt) for anything
    /// else, even when it would mean the same.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bad = |why: &str| Fault::corrupt(format!("manifest: {why}"));
        if bytes.len() > MAX_MANIFEST_LEN {
            return Err(bad("too long"));
        }
        let (size, manifest) = read(bytes).map_err(|_| bad("not readable"))??;
        if manifest.size() != size {
            return Err(bad("its chunks do not add up to its size"));
        }
        // One meaning, one encoding: whoever hashes or compares manifests may rely on it.
        if manifest.encode() != bytes {
            return Err(bad("not in its one proper form"));
        }
        Ok(manifest)
    }
}

/// The outer error is CBOR's, the inner one what the numbers say.
fn read(bytes: &[u8]) -> std::result::Result<Result<(u64, Manifest)>, minicbor::decode::Error> {
    let wrong = minicbor::decode::Error::message;
    let mut d = minicbor::Decoder::new(bytes);
    if d.array()? != Some(5) || d.u8()? != VERSION {
        return Err(wrong("unknown version"));
    }
    let size = d.u64()?;
    let (packs, rest) = d.bytes()?.as_chunks::<16>();
    let (ids, more) = d.bytes()?.as_chunks::<32>();
    // The ids are there already, so the number of chunks is bounded by the length of the input.
    if !rest.is_empty() || !more.is_empty() || d.array()? != Some(ids.len() as u64 * 3) {
        return Err(wrong("columns of unequal length"));
    }
    let mut chunks = Vec::with_capacity(ids.len());
    for id in ids {
        chunks.push(ChunkRef { id: ChunkId(*id), len: d.u32()?, pack: d.u32()?, position: d.u32()? });
    }
    let packs = packs.iter().copied().map(PackId).collect();
    Ok(Manifest::new(packs, chunks).map(|m| (size, m)).map_err(|f| Fault::corrupt(f.what)))
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({} bytes, {} chunks, {} packs)", self.size(), self.chunks.len(), self.packs.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Class;
    use proptest::prelude::*;

    fn chunk(n: u32, len: u32) -> ChunkRef {
        ChunkRef { id: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()), len, pack: n % 2, position: n }
    }

    fn manifest(lens: &[u32]) -> Manifest {
        let chunks = (0u32..).zip(lens).map(|(n, len)| chunk(n, *len)).collect();
        Manifest::new(vec![PackId([1; 16]), PackId([2; 16])], chunks).expect("possible")
    }

    #[test]
    fn bounds_are_checked() {
        let new = |c: ChunkRef| Manifest::new(vec![PackId([1; 16])], vec![c]).map_err(|f| f.class);
        assert_eq!(new(chunk(0, 0)).expect_err("empty"), Class::Misuse);
        assert_eq!(new(chunk(0, MAX_CHUNK_LEN as u32 + 1)).expect_err("long"), Class::Misuse);
        assert_eq!(new(chunk(1, 1)).expect_err("no such pack"), Class::Misuse);
        assert!(new(chunk(0, MAX_CHUNK_LEN as u32)).is_ok());
        let empty = Manifest::new(vec![], vec![]).expect("possible");
        assert_eq!((empty.size(), empty.chunk_at(0)), (0, None));
        assert_eq!(Manifest::decode(&empty.encode()).expect("reads"), empty);
    }

    #[test]
    fn a_chunk_costs_about_forty_bytes() {
        let lens = vec![1_000_000; 10_000];
        let len = manifest(&lens).encode().len();
        assert!(len < 10_000 * 42, "{len}");
    }

    #[test]
    fn a_size_that_does_not_add_up_is_refused() {
        let mut bytes = manifest(&[5, 6]).encode();
        assert_eq!(bytes[2], 11);
        bytes[2] = 12;
        assert!(Manifest::decode(&bytes).expect_err("wrong").what.contains("add up"));
    }

    #[test]
    fn every_cut_and_every_tail_is_refused() {
        let mut bytes = manifest(&[5, 6, 700]).encode();
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        bytes.push(0);
        assert!(Manifest::decode(&bytes).is_err());
        // The same numbers in a longer form.
        assert!(Manifest::decode(&[0x85, 1, 0x18, 0, 0x40, 0x40, 0x80]).is_err());
        assert!(Manifest::decode(&[0x85, 1, 0, 0x40, 0x40, 0x80]).is_ok());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_another_whole_manifest() {
        // A manifest is always sealed, which is what notices flips; here only: no panic, no second form.
        let mut bytes = manifest(&[5, 300, 70_000]).encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match Manifest::decode(&bytes) {
                Ok(other) => assert_eq!(other.encode(), bytes),
                Err(fault) => assert_eq!(fault.class, Class::Corrupt),
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    proptest! {
        #[test]
        fn comes_back_and_finds_each_byte(lens in proptest::collection::vec(1u32..5000, 0..50), at in 0u64..250_000) {
            let m = manifest(&lens);
            prop_assert_eq!(&Manifest::decode(&m.encode()).expect("reads"), &m);
            match m.chunk_at(at) {
                None => prop_assert!(at >= m.size()),
                Some((ix, start)) => {
                    prop_assert_eq!(start, lens[..ix].iter().map(|len| u64::from(*len)).sum::<u64>());
                    prop_assert!(start <= at && at < start + u64::from(lens[ix]));
                }
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            if let Ok(m) = Manifest::decode(&bytes) {
                prop_assert_eq!(m.encode(), bytes);
            }
        }
    }
}
