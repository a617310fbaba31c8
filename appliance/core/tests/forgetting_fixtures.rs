//! The facts of forgetting of version 1, read for ever: `fixtures/v1/forgetting`.
//!
//! The file is never changed once a version with it is released. The ignored test wrote it.

use coffre_core::class::LockClass;
use coffre_core::fact::{DatasetFact, Fact, decode_facts, encode_facts};
use coffre_core::ids::{ObjectId, PackId};
use coffre_core::keep::KeepRules;
use coffre_core::retention::ClockFact;
use std::path::PathBuf;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/forgetting")
}

fn facts() -> Vec<Fact> {
    vec![
        Fact::Clock(ClockFact {
            retention_ms: 1_790_000_000_000,
            calm_ms: 259_200_000,
            wall_ms: 1_790_000_000_777,
        }),
        Fact::Dataset(DatasetFact {
            dataset: "pc-fatima/documents".parse().expect("valid"),
            class: LockClass(366 * 86_400),
            keep: KeepRules { last: 1, daily: 7, weekly: 4, monthly: 12, yearly: 10 },
            set_ms: 1_790_000_000_001,
            kind: None,
            every_s: None,
        }),
        Fact::Condemned {
            at_ms: 1_790_000_000_002,
            objects: vec![ObjectId([1; 16]), ObjectId([2; 16])],
            packs: vec![PackId([0xbe; 16])],
        },
        Fact::Pardoned { objects: vec![ObjectId([2; 16])], packs: Vec::new() },
        Fact::Freed {
            objects: vec![ObjectId([1; 16])],
            packs: vec![PackId([0xbe; 16])],
            moves: vec![PackId([0xbd; 16])],
        },
    ]
}

#[test]
fn facts_of_forgetting_of_version_1() {
    let kept = std::fs::read(file()).expect("the fixture is there");
    assert!(kept == encode_facts(&facts()), "written as ever");
    assert_eq!(decode_facts(&kept), Some(facts()));
    let drawn = [0x81, 0x82, 0x09, 0x82, 0x80, 0x80];
    assert_eq!(encode_facts(&[Fact::Pardoned { objects: Vec::new(), packs: Vec::new() }]), drawn);
}

#[test]
#[ignore = "writes the fixture; only for a format version that was never released"]
fn write() {
    std::fs::write(file(), encode_facts(&facts())).expect("writes");
}
