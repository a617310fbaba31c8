//! The journal's side of version 1, read for ever: label, records, checkpoint and witness in `fixtures/v1`.
//!
//! The files are never changed. `cargo test -p coffre-core --test journal_fixtures -- --ignored` wrote them once; a
//! new format version gets a folder of its own.

use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::class::LockClass;
use coffre_core::coord::{Anchor, Spot};
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{Body, Born, ClientFact, Fact, ObjectFact, PackFact, decode_facts, encode_facts};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ContentHash, DiskId, DiskNo, ObjectId, PackId, RecordHash, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::label::Label;
use coffre_core::record::{self, Found, Header, Kind, Meta};
use coffre_core::roster::{Change, Roster};
use coffre_core::shard::PackDigest;
use coffre_core::witness::{EpochNote, Witness};
use std::path::PathBuf;

const VAULT: VaultId = VaultId([0xc0; 16]);
const SALT: [u8; 16] = [0x5a; 16];
/// Length of an AEAD tag.
const TAG: usize = 16;

fn keys() -> KeyRing {
    KeyRing::new(&RootKey::new([0x11; 32]), VAULT)
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).expect("the fixture is there")
}

fn label(generation: u64) -> Label {
    Label {
        vault: VAULT,
        disk: DiskId([2; 16]),
        roster: Roster {
            version: generation << 16,
            disks: [1, 2, 3].map(|n| DiskId([n; 16])).to_vec(),
            geometry: Geometry::new(2, 1).expect("possible"),
            change: Some(Change::Replaced(DiskNo(1))),
        },
        since: 77,
        try_out: true,
        created_ms: 1_790_000_000_000,
        generation,
        promised: generation + 5,
        owner: [0x0e; 16],
    }
}

/// Two slots, the newer one second.
fn label_file() -> Vec<u8> {
    [label(2).encode(&keys()), label(3).encode(&keys())].concat()
}

/// One fact of each kind, and each kind of body.
fn facts() -> Vec<Fact> {
    let object = |n: u8, body| ObjectFact {
        id: ObjectId([n; 16]),
        dataset: "pc-fatima/documents".parse().expect("valid"),
        size: 7,
        stored_bytes: 9,
        received_ms: 1_790_000_000_001,
        locked_until_ms: 1_792_592_000_001,
        class: LockClass::DAYS_30,
        hash: ContentHash([0x33; 32]),
        body,
        file: None,
        checked: None,
        basis: None,
    };
    let client = |secret_hash: Option<Vec<u8>>| ClientFact {
        name: "pc-fatima".parse().expect("valid"),
        secret_hash: secret_hash.map(Into::into),
        quota_bytes: None,
        created_ms: 1_790_000_000_000,
        secret_ms: None,
        daily_bytes: None,
        max_objects: None,
    };
    vec![
        Fact::Born(Born {
            name: "bureau".into(),
            created_ms: 1_790_000_000_000,
            authority_der: vec![0x30, 0].into(),
            try_out: true,
        }),
        Fact::Client(client(Some(vec![0x44; 32]))),
        Fact::PackAdded(PackFact {
            id: PackId([0xbe; 16]),
            class: LockClass::DAYS_30,
            pack_len: 8192,
            toc_sealed_len: 200,
            geometry: Geometry::new(2, 1).expect("possible"),
            epoch: 9,
            disks: vec![DiskNo(1), DiskNo(2), DiskNo(0)],
            digest: PackDigest([0x66; 32]),
        }),
        Fact::PackDropped { id: PackId([0xbd; 16]), into: PackId([0xbe; 16]) },
        Fact::Object(object(1, Body::Inline(b"payload".to_vec().into()))),
        Fact::Object(object(2, Body::Chunks(read("manifest").into()))),
        Fact::Object(object(3, Body::Deep(read("manifest").into()))),
        Fact::Folded { id: ObjectId([1; 16]), body: Body::Chunks(read("manifest").into()) },
        Fact::Client(client(None)),
    ]
}

fn sealed(header: Header, facts: &[Fact]) -> (Meta, Vec<u8>) {
    record::seal(&keys(), header, &encode_facts(facts)).expect("seals")
}

/// A Mount record and a record of facts, as they stand at the beginning of a segment.
fn records() -> (Vec<u8>, [Meta; 2]) {
    let mount = Header {
        vault: VAULT,
        seq: 1,
        epoch: 9,
        kind: Kind::Mount { active: DiskSet(0b101), witnessed: true },
        prev: RecordHash::ZERO,
        salt: SALT,
        durable: [0; 8],
        acked: 0,
        tag: [0; 16],
    };
    let (first, mount_bytes) = sealed(mount, &[]);
    let second = Header {
        seq: 2,
        kind: Kind::Facts,
        prev: first.hash,
        durable: [1, 0, 1, 0, 0, 0, 0, 0],
        acked: 1,
        ..mount
    };
    let (second, bytes) = sealed(second, &facts());
    ([mount_bytes, bytes].concat(), [first, second])
}

fn anchor() -> Anchor {
    let [_, last] = records().1;
    Anchor { seq: 2, epoch: 9, hash: last.hash, end: Spot { segment: 0, offset: records().0.len() as u32 } }
}

fn checkpoint_file() -> Vec<u8> {
    checkpoint::encode(&keys(), anchor(), [0x77; 16], facts()).expect("encodes")
}

fn witness(generation: u64) -> Witness {
    let confirmed = EpochNote { epoch: 9, active: DiskSet(0b11), witnessed: false };
    let opening = EpochNote { epoch: 10, active: DiskSet(0b01), witnessed: true };
    Witness { vault: VAULT, generation, confirmed, opening, built_on: (8, 30), acked: 40 + generation }
}

/// Two slots, the newer one first.
fn witness_file() -> Vec<u8> {
    [witness(4).encode(), witness(3).encode()].concat()
}

#[test]
fn a_label_of_version_1() {
    assert!(read("label") == label_file(), "written as ever");
    assert_eq!(Label::open(&keys(), &read("label")), Ok(label(3)));
}

#[test]
fn records_of_version_1() {
    let (bytes, [mount, facts_meta]) = records();
    let kept = read("records");
    assert!(kept == bytes, "written as ever");
    assert_eq!(kept.len() % BLOCK, 0, "whole blocks");
    let Found::Record(meta, body) = record::decode(VAULT, &kept) else { panic!("the Mount record reads") };
    assert_eq!((meta, body.len()), (mount, 1 + TAG), "a Mount record seals an empty list");
    let Found::Record(meta, body) = record::decode(VAULT, &kept[mount.padded_len..]) else {
        panic!("the record of facts reads")
    };
    assert_eq!((meta, meta.header.prev), (facts_meta, mount.hash));
    let plain = record::open(&keys(), &meta.header, body).expect("opens");
    assert_eq!(decode_facts(&plain), Some(facts()));
}

#[test]
fn a_checkpoint_of_version_1() {
    let kept = read("checkpoint");
    assert!(kept == checkpoint_file(), "written as ever");
    assert_eq!(checkpoint::verify(VAULT, &kept), Some(anchor()));
    assert_eq!(checkpoint::open(&keys(), &kept).expect("opens"), facts());
}

#[test]
fn a_witness_of_version_1() {
    assert!(read("witness") == witness_file(), "written as ever");
    assert_eq!(Witness::decode(VAULT, &read("witness")), Some(witness(4)));
}

#[test]
fn facts_have_the_drawn_shape() {
    let drawn = [0x81, 0x82, 0x03, 0x82, 0x50]; // list of one [number, [id …
    let dropped = [Fact::PackDropped { id: PackId([0xbd; 16]), into: PackId([0xbe; 16]) }];
    assert_eq!(encode_facts(&dropped)[..5], drawn);
    let folded = [Fact::Folded { id: ObjectId([1; 16]), body: Body::Deep(vec![9].into()) }];
    let drawn = [&[0x81, 0x82, 0x05, 0x82, 0x50][..], &[1; 16], &[0x82, 0x02, 0x81, 0x41, 9]].concat();
    assert_eq!(encode_facts(&folded), drawn);
    let born =
        [Fact::Born(Born { name: "b".into(), created_ms: 1, authority_der: vec![7].into(), try_out: true })];
    let drawn = [0x81, 0x82, 0x00, 0x81, 0x84, 0x61, b'b', 0x01, 0x41, 7, 0xf5];
    assert_eq!(encode_facts(&born), drawn);
}

#[test]
#[ignore = "writes the fixtures; only for a format version that was never released"]
fn write() {
    std::fs::write(file("label"), label_file()).expect("writes");
    std::fs::write(file("records"), records().0).expect("writes");
    std::fs::write(file("checkpoint"), checkpoint_file()).expect("writes");
    std::fs::write(file("witness"), witness_file()).expect("writes");
}
