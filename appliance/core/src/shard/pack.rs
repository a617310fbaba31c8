//! From a sealed pack to the bytes of its shard files, decoded again and compared before anybody may write them.

use super::stripe;
use super::{BlockTable, PackDigest, ShardHeader, TableRoot, shard_len};
use crate::buffer::Buffer;
use crate::class::LockClass;
use crate::fault::{Fault, Result};
use crate::geometry::{Geometry, MAX_DISKS};
use crate::ids::{DiskId, PackId, VaultId};
use crate::pack::{SealedPack, TocEntry};
use std::fmt;

/// All shard files of one pack, in memory.
pub struct EncodedPack {
    entries: Vec<TocEntry>,
    /// The pack's body, zero-filled to k × shard length.
    body: Buffer,
    /// All parity shards, one after the other.
    parity: Buffer,
    tables: Vec<Vec<u8>>,
    headers: Vec<ShardHeader>,
    header_bytes: Vec<Vec<u8>>,
}

/// Encodes a pack for `disks`, one shard each in that order (k + m of them, all different), and proves by
/// decoding that any data shard comes back from the parity.
pub fn encode_pack(
    pack: SealedPack,
    vault: VaultId,
    geometry: Geometry,
    epoch: u64,
    disks: &[DiskId],
) -> Result<EncodedPack> {
    let distinct = disks.iter().enumerate().all(|(n, disk)| !disks[..n].contains(disk));
    if disks.len() != geometry.width() || !distinct {
        return Err(Fault::misuse(format!("{geometry} needs {} disks that differ", geometry.width())));
    }
    let SealedPack { id, class, mut body, toc_sealed_len, entries } = pack;
    let pack_len = body.len() as u64;
    let len = shard_len(pack_len, geometry.k()) as usize;
    body.resize(len * geometry.k());
    let data: Vec<&[u8]> = body.chunks_exact(len).collect();
    let mut parity = body.sibling(len * geometry.m());
    let tables = stripe::encode(geometry, vault, id, &data, parity.lengthen(len * geometry.m()))?;
    let mut roots: [TableRoot; MAX_DISKS] = Default::default();
    roots.iter_mut().zip(&tables).for_each(|(root, table)| *root = table.root());
    let tables = tables.iter().map(BlockTable::to_bytes).collect();
    let first = ShardHeader {
        vault,
        pack: id,
        disk: disks[0],
        epoch,
        geometry,
        shard: 0,
        class,
        pack_len,
        toc_sealed_len,
        roots,
        read_only: false,
    };
    if let Some(why) = first.contradiction() {
        return Err(Fault::misuse(format!("pack {id} cannot be written: {why}")));
    }
    let headers =
        (0u8..).zip(disks).map(|(n, disk)| first.sibling(n, *disk, epoch)).collect::<Result<Vec<_>>>()?;
    let header_bytes = headers.iter().map(ShardHeader::to_bytes).collect();
    Ok(EncodedPack { entries, body, parity, tables, headers, header_bytes })
}

impl EncodedPack {
    /// The pack's id.
    pub fn id(&self) -> PackId {
        self.headers[0].pack
    }

    /// The pack's lock class.
    pub fn class(&self) -> LockClass {
        self.headers[0].class
    }

    /// The geometry it was encoded for.
    pub fn geometry(&self) -> Geometry {
        self.headers[0].geometry
    }

    /// The header of a shard, which also knows where everything lies.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn header(&self, shard: usize) -> &ShardHeader {
        &self.headers[shard]
    }

    /// The shard's file: header, data, table, footer, to be written one after the other.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn parts(&self, shard: usize) -> [&[u8]; 4] {
        let header = self.header_bytes[shard].as_slice();
        [header, self.data(shard), &self.tables[shard], header]
    }

    /// The data bytes of a shard.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn data(&self, shard: usize) -> &[u8] {
        let k = self.geometry().k();
        let len = self.body.len() / k;
        let (from, shard) = match shard.checked_sub(k) {
            Some(parity) => (&self.parity, parity),
            None => (&self.body, shard),
        };
        &from[shard * len..(shard + 1) * len]
    }

    /// What the table of contents says.
    pub fn entries(&self) -> &[TocEntry] {
        &self.entries
    }

    /// The pack's body: blobs, padding, sealed table of contents.
    pub fn body(&self) -> &[u8] {
        &self.body[..self.headers[0].pack_len as usize]
    }

    /// What goes into the journal, see [`PackDigest`].
    pub fn digest(&self) -> PackDigest {
        self.headers[0].digest()
    }

    /// The sealed pack again, copied, to be encoded anew when a disk failed under this one.
    pub fn to_sealed(&self) -> SealedPack {
        let ShardHeader { pack, class, toc_sealed_len, .. } = self.headers[0];
        let mut body = self.body.sibling(self.body.len());
        body.extend_from_slice(self.body());
        SealedPack { id: pack, class, body, toc_sealed_len, entries: self.entries.clone() }
    }
}

impl fmt::Debug for EncodedPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedPack({}, {}, {} bytes)", self.id(), self.geometry(), self.body.len())
    }
}
