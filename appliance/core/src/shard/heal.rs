//! One shard made again from its siblings, to the very bytes that were lost.
//!
//! Nothing in a shard file depends on when it is written: data follow from any k other shards, the table from the data,
//! and the header from any sibling's but for number and disk. So a shard made again for the same disk is the same file,
//! and the root that every sibling's header carries says whether it came out right.

use super::{BlockTable, HEADER_LEN, ShardHeader};
use crate::buffer::{Buffer, Pool};
use crate::erasure;
use crate::fault::{Fault, Result};
use crate::flaw::{Flaw, Flaws};
use crate::ids::DiskId;
use std::fmt;

/// A shard on its way to be whole again: ranges are pushed in order, each out of k others.
pub struct Rebuild {
    header: ShardHeader,
    header_bytes: Vec<u8>,
    /// Header and data so far.
    file: Buffer,
}

/// A shard file made again, in memory; its table has the root that its siblings know.
pub struct Rebuilt {
    header: ShardHeader,
    file: Buffer,
}

impl Rebuild {
    /// Begins shard number `shard` of the pack that `known` heads, for `disk`. Takes memory for the whole file from
    /// `pool`.
    /// `Refused` when a newer version wrote the pack, `Misuse` when there is no such shard.
    pub fn begin(known: &ShardHeader, shard: u8, disk: DiskId, pool: &Pool) -> Result<Self> {
        let header = known.sibling(shard, disk, known.epoch)?;
        let header_bytes = header.to_bytes();
        let mut file = pool.take(header.file_len() as usize);
        file.extend_from_slice(&header_bytes);
        Ok(Self { header, header_bytes, file })
    }

    /// Bytes made so far: where the next range begins.
    pub fn len(&self) -> u64 {
        (self.file.len() - HEADER_LEN) as u64
    }

    /// Whether nothing was made yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the next range out of the same range of k other shards, verified before, as (number, bytes).
    pub fn push(&mut self, present: &[(usize, &[u8])]) -> Result<()> {
        let len = present.first().map_or(0, |(_, bytes)| bytes.len());
        if self.len() + len as u64 > self.header.shard_len() {
            return Err(Fault::misuse("more bytes than a shard has"));
        }
        let place = self.file.lengthen(len);
        erasure::reconstruct_into(self.header.geometry, present, usize::from(self.header.shard), place)
    }

    /// The file. `Corrupt` when it is not the shard that its siblings speak of.
    pub fn finish(self, flaws: Flaws) -> Result<Rebuilt> {
        let Self { header, header_bytes, mut file } = self;
        let wrong = |why: &str| {
            Fault::corrupt(format!("pack {} shard {} made again: {why}", header.pack, header.shard))
        };
        let data = &file[HEADER_LEN..];
        if data.len() as u64 != header.shard_len() {
            return Err(wrong("it is cut off"));
        }
        let table = BlockTable::compute(header.vault, header.pack, header.shard, data);
        let known = header.roots.get(usize::from(header.shard));
        if known != Some(&table.root()) && !flaws.has(Flaw::HealUnverified) {
            return Err(wrong("it is not what its siblings say").next("test the memory of this machine"));
        }
        file.extend_from_slice(&table.to_bytes());
        file.extend_from_slice(&header_bytes);
        Ok(Rebuilt { header, file })
    }
}

impl Rebuilt {
    /// Its header, which also knows where everything lies.
    pub fn header(&self) -> &ShardHeader {
        &self.header
    }

    /// The file: header, data, table, footer. Begins on a page and has whole ones.
    pub fn bytes(&self) -> &[u8] {
        &self.file
    }
}

impl fmt::Debug for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rebuilt({} shard {})", self.header.pack, self.header.shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::LockClass;
    use crate::fault::Class;
    use crate::geometry::Geometry;
    use crate::ids::{ChunkId, PackId, VaultId};
    use crate::keys::{KeyRing, RootKey};
    use crate::pack::PackBuilder;
    use crate::shard::{BLOCK_LEN, EncodedPack, encode_pack};
    use crate::squeeze::{Squeezer, squeeze};

    fn pack(k: u8, m: u8, bytes: usize) -> EncodedPack {
        let vault = VaultId([3; 16]);
        let keys = KeyRing::new(&RootKey::new([9; 32]), vault);
        let mut builder = PackBuilder::new(PackId([0x5a; 16]), LockClass::DAYS_30, &keys);
        let plain: Vec<u8> =
            (0..bytes as u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..1].to_vec()).collect();
        let mut squeezer = Squeezer::new().expect("zstd");
        builder.push(ChunkId([1; 32]), &squeeze(&plain, &mut squeezer)).expect("fits");
        let disks: Vec<DiskId> = (0..k + m).map(|n| DiskId([n + 1; 16])).collect();
        let g = Geometry::new(k, m).expect("possible");
        encode_pack(builder.finish().expect("sealed"), vault, g, 7, &disks).expect("encodes")
    }

    /// `want` out of the last k others, `step` bytes at a time.
    fn again(pack: &EncodedPack, want: usize, step: usize, spoil: bool) -> Result<Rebuilt> {
        let g = pack.geometry();
        let from: Vec<usize> = (0..g.width()).rev().filter(|n| *n != want).take(g.k()).collect();
        let known = pack.header(from[0]);
        let mut rebuild = Rebuild::begin(known, want as u8, pack.header(want).disk, &Pool::default())?;
        for at in (0..known.shard_len() as usize).step_by(step) {
            let end = (at + step).min(known.shard_len() as usize);
            let mut ranges: Vec<(usize, Vec<u8>)> =
                from.iter().map(|n| (*n, pack.data(*n)[at..end].to_vec())).collect();
            if spoil && at == 0 {
                ranges[0].1[5] ^= 1;
            }
            let refs: Vec<(usize, &[u8])> = ranges.iter().map(|(n, b)| (*n, b.as_slice())).collect();
            rebuild.push(&refs)?;
        }
        rebuild.finish(Flaws::NONE)
    }

    #[test]
    fn every_shard_comes_back_as_the_same_bytes() {
        for (k, m) in [(1, 1), (2, 1), (1, 3), (4, 2), (6, 2)] {
            let pack = pack(k, m, 3 * BLOCK_LEN + 777);
            for want in 0..usize::from(k + m) {
                for step in [4096, BLOCK_LEN, 1 << 20] {
                    let made = again(&pack, want, step, false).expect("comes back");
                    assert_eq!(made.bytes(), pack.parts(want).concat(), "{k}+{m} shard {want}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_source_or_a_cut_is_noticed() {
        let pack = pack(2, 1, BLOCK_LEN);
        for want in 0..3 {
            assert_eq!(again(&pack, want, 4096, true).expect_err("wrong").class, Class::Corrupt);
        }
        let begun =
            Rebuild::begin(pack.header(0), 1, DiskId([9; 16]), &Pool::default()).expect("a shard of it");
        assert_eq!(begun.finish(Flaws::NONE).expect_err("nothing").class, Class::Corrupt);
        assert!(
            Rebuild::begin(pack.header(0), 3, DiskId([9; 16]), &Pool::default()).is_err(),
            "there is no such shard"
        );
    }
}
