//! Parity, proof and checksums of a pack in one walk over its data.
//!
//! A full pack is far larger than any cache, and three walks over it would wait for memory three times. So a range of
//! all shards, small enough for the cache, is encoded and at once proved: data shards are decoded again from subsets
//! that together use every parity shard, and compared in registers with what they were made from. When the ranges of a
//! block are done, the block of each shard gets its checksum, still before it leaves the second cache.

use super::{BLOCK_LEN, BlockTable};
use crate::erasure::Recipe;
use crate::fault::{Fault, Result};
use crate::geometry::Geometry;
use crate::ids::{PackId, VaultId};
use std::ops::{Deref, Range};

/// Bytes of each shard that are encoded and proved at once: those of eight shards fit 128 KiB of cache.
const RANGE_LEN: usize = 16 * 1024;

/// Encodes k equally long data shards, and proves by decoding that any data shard comes back from the parity. The m
/// parity shards go into `parity`, one after the other; all of it is written. Returns the checksum tables of
/// all k + m shards.
pub(super) fn encode(
    geometry: Geometry,
    vault: VaultId,
    id: PackId,
    data: &[&[u8]],
    parity: &mut [u8],
) -> Result<Vec<BlockTable>> {
    let len = data.first().map_or(0, |shard| shard.len());
    if parity.len() != len * geometry.m() {
        return Err(Fault::misuse(format!("{} bytes of parity are not those of {geometry}", parity.len())));
    }
    let (code, proof) = (Recipe::parity(geometry)?, Proof::new(geometry, id)?);
    let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(len.max(1)).collect();
    let numbers = 0..geometry.width() as u8;
    let mut tables: Vec<BlockTable> = numbers.map(|n| BlockTable::begin(vault, id, n)).collect();
    for block in ranges(0..len, BLOCK_LEN) {
        for range in ranges(block.clone(), RANGE_LEN) {
            let sources: Vec<&[u8]> = data.iter().map(|shard| &shard[range.clone()]).collect();
            let mut out: Vec<&mut [u8]> = parity.iter_mut().map(|shard| &mut shard[range.clone()]).collect();
            code.make(&sources, &mut out)?;
            proof.check(data, &parity, range)?;
        }
        let shards = data.iter().copied().chain(parity.iter().map(|shard| &**shard));
        tables.iter_mut().zip(shards).for_each(|(table, shard)| table.push(&shard[block.clone()]));
    }
    Ok(tables)
}

/// Cuts a range into pieces of `len`, the last may be shorter.
fn ranges(whole: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = whole.end;
    whole.step_by(len).map(move |start| start..(start + len).min(end))
}

/// How data shards are decoded from subsets of k shards until every parity shard has been used.
struct Proof {
    pack: PackId,
    decodings: Vec<Decoding>,
}

/// One subset, and the data shards that are not in it, both by number.
struct Decoding {
    recipe: Recipe,
    from: Vec<usize>,
    wanted: Vec<usize>,
}

impl Proof {
    fn new(geometry: Geometry, pack: PackId) -> Result<Self> {
        let k = geometry.k();
        let parity: Vec<usize> = (k..geometry.width()).collect();
        let decode = |group: &[usize]| {
            // As many data shards are left out as there are parity shards in the group; which ones varies by pack.
            let first = usize::from(pack.0[0]) % k;
            let wanted: Vec<usize> = (0..group.len()).map(|n| (first + n) % k).collect();
            let left = (0..k).filter(|n| !wanted.contains(n));
            let from: Vec<usize> = left.chain(group.iter().copied()).collect();
            Ok(Decoding { recipe: Recipe::new(geometry, &from, &wanted)?, from, wanted })
        };
        Ok(Self { pack, decodings: parity.chunks(k).map(decode).collect::<Result<_>>()? })
    }

    fn check<P: Deref<Target = [u8]>>(
        &self,
        data: &[&[u8]],
        parity: &[P],
        range: Range<usize>,
    ) -> Result<()> {
        let of = |number: &usize| match number.checked_sub(data.len()) {
            None => &data[*number][range.clone()],
            Some(number) => &parity[number][range.clone()],
        };
        for Decoding { recipe, from, wanted } in &self.decodings {
            let from: Vec<&[u8]> = from.iter().map(of).collect();
            let expected: Vec<&[u8]> = wanted.iter().map(of).collect();
            if !recipe.confirms(&from, &expected)? {
                let why = format!("pack {} does not decode to what was encoded", self.pack);
                return Err(Fault::corrupt(why).next("test the memory of this machine"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Class;

    const VAULT: VaultId = VaultId([2; 16]);

    fn geometries() -> impl Iterator<Item = Geometry> {
        (1..=8).flat_map(|k| (0..=7).filter_map(move |m| Geometry::new(k, m).ok()))
    }

    fn shards(k: usize, len: usize) -> Vec<Vec<u8>> {
        let mut out = vec![vec![0; len]; k];
        for (shard, n) in out.iter_mut().zip(0u8..) {
            blake3::Hasher::new().update(&[n]).finalize_xof().fill(shard);
        }
        out
    }

    #[test]
    fn one_walk_gives_what_three_would() {
        for (g, len) in geometries().flat_map(|g| [(g, 4096), (g, BLOCK_LEN), (g, BLOCK_LEN + 20_480)]) {
            let (data, id) = (shards(g.k(), len), PackId([9; 16]));
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let mut parity = vec![0x55; len * g.m()];
            let made = encode(g, VAULT, id, &data, &mut parity).expect("encodes");
            assert_eq!(parity, crate::erasure::encode(g, &data).expect("encodes").concat(), "{g} {len}");
            let all = data.iter().copied().chain(parity.chunks_exact(len));
            let tables: Vec<BlockTable> =
                (0..).zip(all).map(|(n, shard)| BlockTable::compute(VAULT, id, n, shard)).collect();
            assert_eq!(made, tables, "{g} {len}");
        }
    }

    #[test]
    fn a_wrong_byte_in_any_shard_is_seen_before_anything_is_written() {
        for (g, first) in geometries().filter(|g| g.m() > 0).flat_map(|g| (0..g.k()).map(move |n| (g, n))) {
            let (len, id) = (4096 + 512, PackId([first as u8; 16]));
            let mut data = shards(g.k(), len);
            let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let mut parity = crate::erasure::encode(g, &slices).expect("encodes");
            let proof = Proof::new(g, id).expect("possible");
            let check = |data: &[Vec<u8>], parity: &[Vec<u8>]| {
                proof.check(&data.iter().map(Vec::as_slice).collect::<Vec<_>>(), parity, 0..len)
            };
            check(&data, &parity).expect("whole");
            for (shard, at) in (0..g.width()).flat_map(|shard| [(shard, 0), (shard, 100), (shard, len - 1)]) {
                let flip = |data: &mut [Vec<u8>], parity: &mut [Vec<u8>]| match shard.checked_sub(g.k()) {
                    None => data[shard][at] ^= 4,
                    Some(parity_shard) => parity[parity_shard][at] ^= 4,
                };
                flip(&mut data, &mut parity);
                let seen = check(&data, &parity).expect_err("wrong").class;
                assert_eq!(seen, Class::Corrupt, "{g} {shard} {at}");
                flip(&mut data, &mut parity);
            }
        }
    }
}
