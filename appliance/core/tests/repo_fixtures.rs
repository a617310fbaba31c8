//! The facts of repositories of version 1, read for ever: `fixtures/v1/repos`.
//!
//! The file is never changed once a version with it is released. The ignored test wrote it.

use coffre_core::class::LockClass;
use coffre_core::fact::{Body, Fact, ObjectFact, decode_facts, encode_facts};
use coffre_core::ids::{ContentHash, ObjectId};
use coffre_core::repo::{FileKind, RepoFact, RepoMode, RightFiles};
use std::path::PathBuf;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/repos")
}

/// A repository in each mode, a file of each kind, what is hidden and what is shown again.
fn facts() -> Vec<Fact> {
    let repo = |name: &str, mode, removed| {
        let repo = name.parse().expect("valid");
        Fact::Repo(RepoFact {
            repo,
            mode,
            created_ms: 1_790_000_000_000,
            removed,
            every_s: None,
            right: None,
        })
    };
    let object = |n: u8, kind| {
        Fact::Object(ObjectFact {
            id: ObjectId([n; 16]),
            dataset: "pc-fatima/work".parse().expect("valid"),
            size: 3,
            stored_bytes: 3,
            received_ms: 1_790_000_000_001,
            locked_until_ms: 1_792_592_000_001,
            class: LockClass::DAYS_30,
            hash: ContentHash([n; 32]),
            body: Body::Inline(vec![n; 3].into()),
            file: Some(kind),
            checked: None,
            basis: None,
        })
    };
    let mut facts = vec![
        repo("pc-fatima/work", RepoMode::AppendOnly, false),
        repo("pc-fatima/old", RepoMode::Recoverable, true),
    ];
    facts.push(object(0, FileKind::Config));
    facts.extend((1..).zip(FileKind::NAMED).map(|(n, kind)| object(n, kind)));
    facts
        .push(Fact::Hidden { at_ms: 1_790_000_000_002, objects: vec![ObjectId([1; 16]), ObjectId([2; 16])] });
    facts.push(Fact::Shown { objects: vec![ObjectId([1; 16])] });
    facts.push(Fact::Repo(RepoFact {
        repo: "pc-fatima/work".parse().expect("valid"),
        mode: RepoMode::Recoverable,
        created_ms: 1_790_000_000_000,
        removed: false,
        every_s: None,
        right: Some(RightFiles { config: Some(ObjectId([0; 16])), keys: vec![ObjectId([2; 16])] }),
    }));
    facts
}

#[test]
fn facts_of_repositories_of_version_1() {
    let kept = std::fs::read(fixture()).expect("the fixture is there");
    assert!(kept == encode_facts(&facts()), "written as ever");
    assert_eq!(decode_facts(&kept), Some(facts()));
    assert_eq!(encode_facts(&[Fact::Shown { objects: Vec::new() }]), [0x81, 0x82, 0x0d, 0x81, 0x80]);
}

#[test]
#[ignore = "writes the fixture; only for a format version that was never released"]
fn write() {
    std::fs::write(fixture(), encode_facts(&facts())).expect("writes");
}
