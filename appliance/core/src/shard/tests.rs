//! Tests of shard files: every flipped bit is noticed, every loss of up to m shards is made good.

use super::*;
use crate::erasure;
use crate::fault::Class;
use crate::keys::{KeyRing, RootKey};
use crate::pack::{PackBuilder, SealedPack, open_blob, open_toc};
use crate::squeeze::Squeezed;
use proptest::prelude::*;

const VAULT: VaultId = VaultId([2; 16]);

fn keys() -> KeyRing {
    KeyRing::new(&RootKey::new([1; 32]), VAULT)
}

fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn sealed(len: usize) -> SealedPack {
    let mut builder = PackBuilder::new(PackId([3; 16]), LockClass::DAYS_30, &keys());
    for chunk in noise(len).chunks(50_000) {
        let id = keys().chunk_id(&"pc".parse().expect("valid"), chunk);
        let squeezed = Squeezed { bytes: chunk, compressed: false, plain_len: chunk.len() as u32 };
        builder.push(id, &squeezed).expect("fits");
    }
    builder.finish().expect("seals")
}

fn disks(n: usize) -> Vec<DiskId> {
    (1..=n as u8).map(|n| DiskId([n; 16])).collect()
}

fn encoded(len: usize, k: u8, m: u8) -> EncodedPack {
    let g = Geometry::new(k, m).expect("possible");
    encode_pack(sealed(len), VAULT, g, 7, &disks(g.width())).expect("encodes")
}

/// Reads a file as a stranger would: header, footer, table, each block. `None` as soon as something is wrong.
fn read_file(file: &[u8]) -> Option<(ShardHeader, Vec<u8>)> {
    let header = ShardHeader::parse(file).ok()?;
    let slice = |range: Range<u64>| file.get(range.start as usize..range.end as usize);
    if file.len() as u64 != header.file_len() || slice(header.footer_in_file())? != &file[..HEADER_LEN] {
        return None;
    }
    let table = header.check_table(slice(header.table_in_file())?).ok()?;
    let mut data = Vec::new();
    for block in 0..header.blocks() {
        let bytes = slice(header.block_in_file(block))?;
        table.check(block, bytes).then(|| data.extend_from_slice(bytes))?;
    }
    Some((header, data))
}

#[test]
fn every_geometry_is_read_back_with_m_shards_lost() {
    for (k, m) in [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 2), (6, 2), (2, 3), (1, 3)] {
        let pack = encoded(300_000, k, m);
        let g = pack.geometry();
        let mut shards: Vec<Option<Vec<u8>>> = (0..g.width())
            .map(|n| {
                let (header, data) = read_file(&pack.parts(n).concat()).expect("whole");
                assert_eq!((header.digest(), header.disk), (pack.digest(), disks(8)[n]));
                Some(data)
            })
            .collect();
        (0..g.m()).for_each(|n| shards[n] = None);
        erasure::reconstruct(g, &mut shards).expect("enough is left");
        let body: Vec<u8> = shards.into_iter().take(g.k()).flatten().flatten().collect();
        let header = pack.header(0);
        let body = &body[..header.pack_len as usize];
        assert_eq!(body, pack.body());
        let toc = header.toc_in_pack();
        let entries =
            open_toc(&keys(), pack.id(), header.pack_len, &body[toc.start as usize..toc.end as usize])
                .expect("opens");
        assert_eq!(entries, pack.entries());
    }
}

#[test]
fn a_blob_is_found_through_the_pieces() {
    let pack = encoded(400_000, 3, 1);
    let header = pack.header(0);
    let mut straddling = 0;
    for (position, entry) in (0u32..).zip(pack.entries()) {
        let range = u64::from(entry.offset)..entry.end();
        assert_eq!(
            header.pieces(range.clone()).next().map(|p| (p.shard, p.offset)),
            Some(header.locate(range.start))
        );
        let bytes: Vec<u8> = header
            .pieces(range)
            .flat_map(|p| &pack.data(p.shard)[p.offset as usize..(p.offset + p.len) as usize])
            .copied()
            .collect();
        straddling += usize::from(header.pieces(u64::from(entry.offset)..entry.end()).count() > 1);
        assert_eq!(
            open_blob(&keys(), pack.id(), position, entry, &bytes).expect("opens"),
            noise(400_000)[position as usize * 50_000..][..50_000]
        );
    }
    assert!(straddling > 0 && straddling < pack.entries().len());
    assert_eq!(header.pieces(0..header.pack_len + 1).count(), 0);
    assert_eq!(header.pieces(5..5).count(), 0);
}

#[test]
fn every_flipped_bit_of_the_header_is_noticed() {
    let pack = encoded(1000, 2, 1);
    let mut bytes = pack.header(1).to_bytes();
    assert_eq!(ShardHeader::parse(&bytes).expect("whole"), *pack.header(1));
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ShardHeader::parse(&bytes).expect_err("flipped").class, Class::Corrupt, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(ShardHeader::parse(&bytes[..HEADER_LEN - 1]).is_err());
    assert!(ShardHeader::parse(&[]).is_err());
}

#[test]
fn every_flipped_bit_of_the_file_is_noticed() {
    let file = encoded(70_000, 1, 0).parts(0).concat();
    assert!(read_file(&file).is_some());
    let mut flipped = file.clone();
    // Each byte once would hash gigabytes; a prime step still meets every region and block.
    for byte in (0..file.len()).step_by(53) {
        flipped[byte] ^= 1 << (byte % 8);
        assert!(read_file(&flipped).is_none(), "byte {byte}");
        flipped[byte] = file[byte];
    }
    for len in [0, 1, HEADER_LEN, file.len() - HEADER_LEN, file.len() - 1] {
        assert!(read_file(&file[..len]).is_none(), "{len} bytes");
    }
}

/// A header with a right checksum over wrong fields, as a bug or an enemy would make it.
#[test]
fn fields_that_contradict_each_other_are_refused() {
    let good = encoded(1000, 2, 1).header(1).to_bytes();
    let class = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        let checksum = header_checksum(&bytes);
        bytes[at::CHECKSUM..].copy_from_slice(&checksum);
        ShardHeader::parse(&bytes).map(|header| header.read_only).map_err(|fault| fault.class)
    };
    assert_eq!(class(at::EPOCH, &[9]), Ok(false));
    for (at, value) in [
        (at::K, &[0][..]),
        (at::K, &[9]),
        (at::M, &[7]),
        (at::SHARD, &[3]),
        (at::PACK_LEN, &[1]),
        (at::PACK_LEN, &[0; 8]),
        (at::PACK_LEN, &[0xff; 8]),
        (at::TOC_LEN, &[0; 4]),
        (at::TOC_LEN, &[0xff; 4]),
        (at::BLOCK_LEN, &[1]),
        (at::SHARD_LEN, &[1]),
        (at::ROOTS + 3 * 32, &[1]),
    ] {
        assert_eq!(class(at, value), Err(Class::Corrupt), "{at} {value:?}");
    }
    assert_eq!(class(at::VERSION, &[2]), Err(Class::Refused));
    assert_eq!(class(at::INCOMPATIBLE, &[1]), Err(Class::Refused));
    assert_eq!(class(at::READ_ONLY, &[1]), Ok(true));
    assert_eq!(class(at::COMPATIBLE, &[1]), Ok(false));
}

#[test]
fn a_block_in_another_place_is_noticed() {
    let pack = encoded(600_000, 2, 1);
    let (zero, one) = (pack.header(0), pack.header(1));
    let table = zero.check_table(pack.parts(0)[2]).expect("whole");
    let block = |shard: usize, n: u32| {
        let range = zero.block_in_shard(n);
        &pack.data(shard)[range.start as usize..range.end as usize]
    };
    assert!(table.check(0, block(0, 0)) && table.check(1, block(0, 1)));
    assert!(!table.check(1, block(0, 0)), "misdirected within the shard");
    assert!(!table.check(0, block(1, 0)), "of a sibling");
    assert!(!table.check(99, &[]) && !table.check(u32::MAX, &[]), "beyond the end");
    assert!(!table.check(0, &block(0, 0)[1..]), "cut");
    assert!(one.check_table(pack.parts(0)[2]).is_err(), "table of a sibling");
    assert!(one.check_table_of(0, pack.parts(0)[2]).is_ok(), "a sibling's header knows the root");
    assert!(one.check_table_of(3, pack.parts(0)[2]).is_err() && one.check_table_of(99, &[]).is_err());
    let mut padding = pack.parts(0)[2].to_vec();
    *padding.last_mut().expect("not empty") = 1;
    assert!(zero.check_table(&padding).is_err(), "padding");
}

#[test]
fn a_shard_made_anew_matches_what_the_journal_has() {
    let pack = encoded(100_000, 2, 1);
    let header = pack.header(0).sibling(2, DiskId([9; 16]), 8).expect("allowed");
    let data = erasure::reconstruct_one(pack.geometry(), &[(0, pack.data(0)), (1, pack.data(1))], 2)
        .expect("enough");
    let table = BlockTable::compute(VAULT, pack.id(), 2, &data);
    assert_eq!(table.root(), header.roots[2]);
    let file = [&header.to_bytes()[..], &data, &table.to_bytes(), &header.to_bytes()].concat();
    let (read, _) = read_file(&file).expect("whole");
    assert_eq!((read.digest(), read.epoch), (pack.digest(), 8));
    let newer = ShardHeader { read_only: true, ..header.clone() };
    assert_eq!(newer.sibling(1, DiskId([9; 16]), 8).expect_err("newer").class, Class::Refused);
    assert_eq!(header.sibling(3, DiskId([9; 16]), 8).expect_err("no such").class, Class::Misuse);
}

#[test]
fn the_sealed_pack_comes_back_for_another_try() {
    let pack = sealed(100_000);
    let g = Geometry::new(3, 1).expect("possible");
    let again = encode_pack(pack.clone(), VAULT, g, 1, &disks(4)).expect("encodes").to_sealed();
    assert!(again == pack);
    for wrong in [&disks(3)[..], &[DiskId([1; 16]); 4]] {
        assert_eq!(encode_pack(pack.clone(), VAULT, g, 1, wrong).expect_err("disks").class, Class::Misuse);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..9000), checked: bool) {
        let mut bytes = bytes;
        if checked && bytes.len() >= HEADER_LEN {
            // Past the magic and the checksum, so that the fields themselves meet nonsense.
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[at::VERSION..at::VAULT].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let checksum = header_checksum(&bytes[..HEADER_LEN]);
            bytes[at::CHECKSUM..HEADER_LEN].copy_from_slice(&checksum);
        }
        let _ = read_file(&bytes);
    }
}
