//! Tests of packs: everything comes back, and nothing else ever does.

use super::*;
use crate::fault::Class;
use crate::keys::RootKey;
use crate::squeeze::{Squeezer, squeeze};
use proptest::prelude::*;

const ID: PackId = PackId([3; 16]);

fn keys() -> KeyRing {
    KeyRing::new(&RootKey::new([1; 32]), VaultId([2; 16]))
}

fn chunk_id(n: usize) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn sealed(chunks: &[Vec<u8>]) -> SealedPack {
    let mut squeezer = Squeezer::new().expect("starts");
    let mut builder = PackBuilder::new(ID, LockClass::DAYS_30, &keys());
    for (n, chunk) in chunks.iter().enumerate() {
        let position = builder.push(chunk_id(n), &squeeze(chunk, &mut squeezer)).expect("fits");
        assert_eq!(position as usize, n);
    }
    builder.finish().expect("seals")
}

fn toc_of(pack: &SealedPack) -> &[u8] {
    &pack.body[pack.body.len() - pack.toc_sealed_len as usize..]
}

fn blob<'a>(pack: &'a SealedPack, entry: &TocEntry) -> &'a [u8] {
    &pack.body[entry.offset as usize..entry.end() as usize]
}

fn sample() -> (SealedPack, Vec<Vec<u8>>) {
    let chunks = vec![vec![7; 3000], b"short".to_vec(), (0..=255).collect(), b"again ".repeat(200)];
    (sealed(&chunks), chunks)
}

#[test]
fn what_cannot_be_a_chunk_is_refused() {
    let mut builder = PackBuilder::new(ID, LockClass::DAYS_30, &keys());
    let mut push = |len: usize, compressed, plain_len| {
        builder.push(chunk_id(0), &Squeezed { bytes: &vec![0; len], compressed, plain_len })
    };
    for (len, compressed, plain_len) in
        [(0, false, 0), (5, false, 6), (5, true, 5), (0, true, 5), (5, true, 1 << 30)]
    {
        assert_eq!(push(len, compressed, plain_len).expect_err("refused").class, Class::Misuse);
    }
    assert!(push(5, false, 5).is_ok());
    assert_eq!(PackBuilder::new(ID, LockClass(5), &keys()).finish().expect_err("empty").class, Class::Misuse);
}

#[test]
fn a_pack_stays_below_its_ceiling() {
    let mut builder = PackBuilder::new(ID, LockClass::DAYS_30, &keys());
    let chunk = vec![0; MAX_CHUNK_LEN];
    let squeezed = Squeezed { bytes: &chunk, compressed: false, plain_len: chunk.len() as u32 };
    let fault = loop {
        assert_eq!(builder.is_full(), builder.body_len() >= PACK_TARGET);
        if let Err(fault) = builder.push(chunk_id(0), &squeezed) {
            break fault;
        }
    };
    assert_eq!(fault.class, Class::Full);
    let pack = builder.finish().expect("seals");
    assert!(pack.body.len() <= MAX_PACK_LEN && pack.entries.len() == 7);
}

#[test]
fn the_largest_table_stays_below_its_ceiling() {
    let mut builder = PackBuilder::new(ID, LockClass::DAYS_30, &keys());
    let squeezed = Squeezed { bytes: &[0; 200], compressed: true, plain_len: 70_000 };
    for n in 0..MAX_PACK_ENTRIES {
        assert!(!builder.is_full());
        builder.push(chunk_id(n), &squeezed).expect("fits");
    }
    assert!(builder.is_full());
    assert_eq!(builder.push(chunk_id(0), &squeezed).expect_err("full").class, Class::Full);
    let pack = builder.finish().expect("seals");
    let read = open_toc(&keys(), ID, pack.body.len() as u64, toc_of(&pack)).expect("opens");
    assert_eq!(read, pack.entries);
}

#[test]
fn no_place_and_no_key_but_its_own_opens_a_blob() {
    let (pack, chunks) = sample();
    let entry = pack.entries[1];
    let bytes = blob(&pack, &entry);
    assert_eq!(open_blob(&keys(), ID, 1, &entry, bytes).expect("opens"), chunks[1]);
    assert!(open_blob(&keys(), ID, 0, &entry, bytes).is_err(), "position");
    assert!(open_blob(&keys(), PackId([4; 16]), 1, &entry, bytes).is_err(), "pack");
    let other_vault = KeyRing::new(&RootKey::new([1; 32]), VaultId([9; 16]));
    assert!(open_blob(&other_vault, ID, 1, &entry, bytes).is_err(), "vault");
    let liar = TocEntry { chunk: chunk_id(9), ..entry };
    assert!(open_blob(&keys(), ID, 1, &liar, bytes).is_err(), "chunk id");
    let liar = TocEntry { compressed: true, plain_len: entry.plain_len + 1, ..entry };
    assert!(open_blob(&keys(), ID, 1, &liar, bytes).is_err(), "length");
}

#[test]
fn a_drawn_id_is_said_and_stays_said_under_another_pack_id() {
    let mut builder = PackBuilder::new(ID, LockClass::DAYS_30, &keys());
    let content = Squeezed { bytes: b"content", compressed: false, plain_len: 7 };
    builder.push(chunk_id(0), &content).expect("fits");
    builder.push(Name::Drawn(chunk_id(1)), &content).expect("fits");
    let pack = builder.finish().expect("seals");
    let names = [Name::Content(chunk_id(0)), Name::Drawn(chunk_id(1))];
    let again = reseal(&pack, PackId([4; 16]), &keys()).expect("seals");
    for pack in [pack, again] {
        let read = open_toc(&keys(), pack.id, pack.body.len() as u64, toc_of(&pack)).expect("opens");
        assert_eq!(read.iter().map(TocEntry::name).collect::<Vec<_>>(), names);
    }
}

#[test]
fn what_is_not_drawn_is_written_as_before_there_was_such_a_thing() {
    let (pack, _) = sample();
    let bytes = minicbor::to_vec(pack.entries[0]).expect("to memory");
    let mut before = minicbor::Decoder::new(&bytes);
    assert_eq!(before.array().expect("an array"), Some(5));
    assert_eq!(minicbor::decode::<TocEntry>(&bytes).expect("reads"), pack.entries[0]);
    let drawn = TocEntry { drawn: true, ..pack.entries[0] };
    let bytes = minicbor::to_vec(drawn).expect("to memory");
    assert_eq!(minicbor::decode::<TocEntry>(&bytes).expect("reads"), drawn);
}

#[test]
fn a_flipped_bit_never_opens() {
    let (mut pack, _) = sample();
    let (len, toc_len) = (pack.body.len(), pack.toc_sealed_len as usize);
    let blobs_end = pack.entries[3].end() as usize;
    for byte in 0..len {
        let bit = 1 << (byte % 8);
        pack.body[byte] ^= bit;
        let toc = open_toc(&keys(), ID, len as u64, toc_of(&pack));
        assert_eq!(toc.is_err(), byte >= len - toc_len, "byte {byte}");
        if byte < blobs_end {
            let hit = |e: &&TocEntry| (e.offset as usize..e.end() as usize).contains(&byte);
            let (position, entry) = (0u32..).zip(&pack.entries).find(|(_, e)| hit(e)).expect("within a blob");
            let opened = open_blob(&keys(), ID, position, entry, blob(&pack, entry));
            assert_eq!(opened.expect_err("flipped").class, Class::Corrupt);
        }
        pack.body[byte] ^= bit;
    }
    assert!(open_toc(&keys(), ID, len as u64 + 4096, toc_of(&pack)).is_err());
    assert!(open_toc(&keys(), ID, len as u64, &toc_of(&pack)[1..]).is_err());
}

/// A table that is well sealed but wrong, as a bug elsewhere would make it.
#[test]
fn a_table_that_does_not_fit_its_pack_is_refused() {
    let (pack, _) = sample();
    let len = pack.body.len() as u64;
    let open = |entries: Vec<TocEntry>, version: u8, tail: &[u8]| {
        let mut plain = minicbor::to_vec(&Toc { version, entries }).expect("encodes");
        plain.extend_from_slice(tail);
        let mut sealed = Vec::new();
        keys().toc_key(ID).seal(0, &toc_aad(keys().vault(), ID, len), &plain, &mut sealed).expect("seals");
        open_toc(&keys(), ID, len, &sealed)
    };
    let changed = |change: &dyn Fn(&mut Vec<TocEntry>)| {
        let mut entries = pack.entries.clone();
        change(&mut entries);
        entries
    };
    assert!(open(pack.entries.clone(), 1, &[]).is_ok());
    assert!(open(pack.entries.clone(), 2, &[]).is_err());
    assert!(open(pack.entries.clone(), 1, &[0]).is_err());
    assert!(open(vec![], 1, &[]).is_err());
    assert!(open(changed(&|e| e[1].offset += 1), 1, &[]).is_err());
    assert!(open(changed(&|e| e.swap(0, 1)), 1, &[]).is_err());
    assert!(open(changed(&|e| e[0].plain_len = u32::MAX), 1, &[]).is_err());
    assert!(open(changed(&|e| e[0].sealed_len = u32::MAX), 1, &[]).is_err());
    assert!(open(changed(&|e| e[0].compressed = !e[0].compressed), 1, &[]).is_err());
    let huge = TocEntry { plain_len: 8192, sealed_len: 8192 + 16, compressed: false, ..pack.entries[0] };
    assert!(open(vec![huge], 1, &[]).is_err(), "beyond the body");
}

#[test]
fn resealing_keeps_the_chunks_and_shares_no_bytes() {
    let (pack, chunks) = sample();
    let other = reseal(&pack, PackId([8; 16]), &keys()).expect("reseals");
    assert_eq!((other.id, other.class, &other.entries), (PackId([8; 16]), pack.class, &pack.entries));
    for (n, entry) in other.entries.iter().enumerate() {
        assert_ne!(blob(&other, entry), blob(&pack, entry));
        assert_eq!(
            open_blob(&keys(), other.id, n as u32, entry, blob(&other, entry)).expect("opens"),
            chunks[n]
        );
    }
    let mut damaged = pack;
    damaged.body[10] ^= 1;
    assert_eq!(reseal(&damaged, PackId([8; 16]), &keys()).expect_err("damaged").class, Class::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunks_come_back(
        chunks in proptest::collection::vec(proptest::collection::vec(0u8..6, 1..3000), 1..20),
    ) {
        let pack = sealed(&chunks);
        prop_assert_eq!(pack.body.len() % PACK_ALIGN, 0);
        let entries = open_toc(&keys(), ID, pack.body.len() as u64, toc_of(&pack)).expect("opens");
        prop_assert_eq!(&entries, &pack.entries);
        for (n, entry) in entries.iter().enumerate() {
            prop_assert_eq!(&open_blob(&keys(), ID, n as u32, entry, blob(&pack, entry)).expect("opens"), &chunks[n]);
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, len in 0u64..100_000) {
        prop_assert!(open_toc(&keys(), ID, len, &bytes).is_err());
    }
}
