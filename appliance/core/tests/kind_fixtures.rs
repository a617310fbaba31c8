//! Kinds and what was found out about snapshots, as version 1 writes them, read for ever: `fixtures/v1/kinds`.
//!
//! The file is never changed once a version with it is released. The ignored test wrote it.

use coffre_core::class::LockClass;
use coffre_core::fact::{Body, DatasetFact, Fact, ObjectFact, decode_facts, encode_facts};
use coffre_core::ids::{ContentHash, ObjectId};
use coffre_core::keep::KeepRules;
use coffre_core::kind::{Checked, Finding, Kind};
use std::path::PathBuf;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/kinds")
}

/// Each kind said of a data set, and each finding of a snapshot.
fn facts() -> Vec<Fact> {
    let dataset = |kind| {
        Fact::Dataset(DatasetFact {
            dataset: "pc-fatima/documents".parse().expect("valid"),
            class: LockClass::DAYS_30,
            keep: KeepRules::default(),
            set_ms: 1_790_000_000_001,
            kind: Some(kind),
            every_s: None,
        })
    };
    let object = |(n, finding): (u8, Finding)| {
        Fact::Object(ObjectFact {
            id: ObjectId([n; 16]),
            dataset: "pc-fatima/documents".parse().expect("valid"),
            size: 7,
            stored_bytes: 9,
            received_ms: 1_790_000_000_001,
            locked_until_ms: 1_792_592_000_001,
            class: LockClass::DAYS_30,
            hash: ContentHash([0x33; 32]),
            body: Body::Inline(b"payload".to_vec().into()),
            file: None,
            checked: Some(Checked { kind: Kind::Zip, finding }),
            basis: None,
        })
    };
    Kind::ALL.map(dataset).into_iter().chain((0..).zip(Finding::ALL).map(object)).collect()
}

#[test]
fn kinds_of_version_1() {
    let kept = std::fs::read(file()).expect("the fixture is there");
    assert!(kept == encode_facts(&facts()), "written as ever");
    assert_eq!(decode_facts(&kept), Some(facts()));
    let one = encode_facts(&facts()[6..7]);
    assert!(one.ends_with(b"\xf6\x82\x02\x01"), "no file of a repository, then [zip, long directory]");
}

#[test]
#[ignore = "writes the fixture; only for a format version that was never released"]
fn write() {
    std::fs::write(file(), encode_facts(&facts())).expect("writes");
}
