//! What version 1 wrote must be read for ever: the files in `fixtures/v1`, and the same bytes made again.
//!
//! The files are never changed. `cargo test -p coffre-core --test fixtures -- --ignored` wrote them once; a new
//! format version gets a folder of its own.

use coffre_core::class::LockClass;
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskId, PackId, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::manifest::{ChunkRef, Manifest};
use coffre_core::pack::{PackBuilder, open_blob, open_toc};
use coffre_core::shard::{EncodedPack, ShardHeader, encode_pack};
use coffre_core::slots::{new_identity, open_root, seal_root};
use coffre_core::squeeze::Squeezed;
use coffre_core::words::RecoveryWords;
use std::path::PathBuf;

const VAULT: VaultId = VaultId([0xc0; 16]);
const PACK: PackId = PackId([0xbe; 16]);
const ENTROPY: [u8; 32] = [0x5a; 32];
const WORDS: &str = "esprit routine marqueur paysage noirceur cerner flore droiture \
    esprit routine marqueur paysage noirceur cerner flore droiture \
    esprit routine marqueur paysage noirceur cerner flore éblouir";
/// What the compressed chunk holds.
const TEXT: &[u8] = b"the same words again and again, the same words again and again, the same words";
/// A zstd frame of `TEXT`, fixed here because compressors may change their output and decompressors may not.
const FRAME: &str =
    "28b52ffd204e1d0100d07468652073616d6520776f72647320616761696e20616e642c2002000f6530c5ca18";

fn root() -> RootKey {
    RootKey::new([0x11; 32])
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).expect("the fixture is there")
}

/// Two chunks, one of them compressed: 2+1 shards.
fn pack() -> EncodedPack {
    let keys = KeyRing::new(&root(), VAULT);
    let domain = keys.domain(&"pc-fatima".parse().expect("valid"));
    let mut builder = PackBuilder::new(PACK, LockClass::DAYS_30, &keys);
    let raw: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let frame = hex::decode(FRAME).expect("hexadecimal");
    for (plain, squeezed) in [
        (&raw[..], Squeezed { bytes: &raw, compressed: false, plain_len: 5000 }),
        (TEXT, Squeezed { bytes: &frame, compressed: true, plain_len: TEXT.len() as u32 }),
    ] {
        builder.push(domain.chunk_id(plain), &squeezed).expect("fits");
    }
    let disks = [1, 2, 3].map(|n| DiskId([n; 16]));
    let geometry = Geometry::new(2, 1).expect("possible");
    encode_pack(builder.finish().expect("seals"), VAULT, geometry, 9, &disks).expect("encodes")
}

fn manifest(pack: &EncodedPack) -> Manifest {
    let chunks = (0u32..).zip(pack.entries()).map(|(position, entry)| ChunkRef {
        id: entry.chunk,
        len: entry.plain_len,
        pack: 0,
        position,
    });
    Manifest::new(vec![PACK], chunks.collect()).expect("possible")
}

#[test]
fn packs_of_version_1() {
    let pack = pack();
    for shard in 0..3 {
        assert!(read(&format!("shard-{shard}")) == pack.parts(shard).concat(), "shard {shard}");
    }
    assert_eq!(read("manifest"), manifest(&pack).encode());
}

#[test]
fn a_chunk_of_version_1_is_read_from_its_files_alone() {
    let keys = KeyRing::new(&root(), VAULT);
    let files = [read("shard-0"), read("shard-1")];
    let headers = files.each_ref().map(|file| ShardHeader::parse(file).expect("whole"));
    let header = &headers[0];
    let mut body = Vec::new();
    for (header, file) in headers.iter().zip(&files) {
        let slice = |range: std::ops::Range<u64>| &file[range.start as usize..range.end as usize];
        let table = header.check_table(slice(header.table_in_file())).expect("whole");
        for block in 0..header.blocks() {
            let bytes = slice(header.block_in_file(block));
            assert!(table.check(block, bytes));
            body.extend_from_slice(bytes);
        }
    }
    let toc = header.toc_in_pack();
    let entries = open_toc(&keys, header.pack, header.pack_len, &body[toc.start as usize..toc.end as usize])
        .expect("opens");
    let manifest = Manifest::decode(&read("manifest")).expect("reads");
    let (ix, start) = manifest.chunk_at(5000).expect("within");
    let chunk = &manifest.chunks()[ix];
    let entry = entries[chunk.position as usize];
    assert_eq!((ix, start, entry.chunk), (1, 5000, chunk.id));
    let blob = &body[entry.offset as usize..entry.end() as usize];
    assert_eq!(open_blob(&keys, header.pack, chunk.position, &entry, blob).expect("opens"), TEXT);
}

#[test]
fn the_words_of_version_1_open_the_slot_of_version_1() {
    let words = RecoveryWords::parse_text(WORDS).expect("reads");
    assert_eq!(words.entropy(), &ENTROPY);
    let opened = open_root(&read("root.age"), &new_identity(*words.entropy())).expect("opens");
    assert_eq!(opened, (VAULT, root()));
}

#[test]
#[ignore = "writes the fixtures; only for a format version that was never released"]
fn write() {
    let pack = pack();
    for shard in 0..3 {
        std::fs::write(file(&format!("shard-{shard}")), pack.parts(shard).concat()).expect("writes");
    }
    std::fs::write(file("manifest"), manifest(&pack).encode()).expect("writes");
    let recipients = [new_identity(ENTROPY).recipient(), new_identity([0x77; 32]).recipient()];
    std::fs::write(file("root.age"), seal_root(&root(), VAULT, &recipients).expect("seals")).expect("writes");
}
