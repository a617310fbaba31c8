//! G2: no parser panics, takes memory out of proportion, or reads something else than what was written.
//!
//! Bounded by default; `COFFRE_FUZZ_INPUTS` for more.

use coffre_rig::fuzz::meter::{self, Meter};
use coffre_rig::fuzz::{self, Answer, Target};
use coffre_rig::scale;
use coffre_rig::seeds::announce;
use std::path::{Path, PathBuf};

#[global_allocator]
static METER: Meter = Meter;

/// Inputs per target of a run that nobody asked more of; slow targets take a part of it.
const INPUTS: u64 = 200_000;

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(target.name)
}

/// Every `part`th target: two tests run at once.
fn run_part(part: usize, test: &str) {
    let (inputs, seed) = (scale("COFFRE_FUZZ_INPUTS", INPUTS), announce("fuzz", test));
    for target in fuzz::targets().iter().skip(part).step_by(2) {
        let figures = fuzz::run(target, inputs, seed, &folder(target))
            .unwrap_or_else(|broken| panic!("a promise is broken by seed {seed}:\n{broken}"));
        assert!(figures.inputs >= inputs / target.one_in, "{target:?}: {figures:?}");
        // A run in which everything is refused, or everything taken, has tried nothing.
        let broken_and_taken =
            figures.accepted > (target.samples)(&mut coffre_rig::rng::Rng::new(1)).len() as u64;
        assert!(broken_and_taken || target.name == "slots", "{target:?} takes nothing but its samples");
        assert!(figures.accepted < figures.inputs, "{target:?} takes everything");
        assert!(figures.kinds >= 2, "{target:?}: {figures:?}");
        eprintln!(
            "{:<12} {:>8} inputs {:>8} accepted {:>4} kinds of answers",
            target.name, figures.inputs, figures.accepted, figures.kinds
        );
    }
}

#[test]
fn no_parser_breaks_its_promise_first_half() {
    run_part(0, "no_parser_breaks_its_promise_first_half");
}

#[test]
fn no_parser_breaks_its_promise_second_half() {
    run_part(1, "no_parser_breaks_its_promise_second_half");
}

#[test]
fn targets_and_fixtures_belong_together() {
    assert!(meter::is_installed(), "without the meter no ceiling of memory means anything");
    let targets = fuzz::targets();
    for (n, target) in targets.iter().enumerate() {
        assert!(targets[..n].iter().all(|other| other.name != target.name), "{target:?} is there twice");
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz");
    for entry in std::fs::read_dir(kept).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let known = targets.iter().any(|target| *target.name == *name);
        assert!(known || name == "README.md", "fixtures of no target: {name:?}");
    }
}

/// A target with a planted bug: a length that is believed.
fn planted(check: fn(&[u8]) -> Result<Answer, String>) -> Target {
    Target {
        name: "planted",
        samples: |_| vec![b"\x03\x00\x00\x00abc".to_vec()],
        check,
        mend: None,
        tokens: &[],
        max_len: 64,
        one_in: 1,
        memory: |len| 16 * len + 4096,
    }
}

fn parse(bytes: &[u8], read: fn(&[u8], usize) -> Option<Vec<u8>>) -> Result<Answer, String> {
    let taken =
        bytes.split_first_chunk::<4>().and_then(|(len, body)| read(body, u32::from_le_bytes(*len) as usize));
    Ok(Answer { accepted: taken.is_some(), kind: taken.map_or(0, |taken| taken.len() as u64 + 1) })
}

#[test]
fn the_harness_finds_planted_bugs_and_shortens_them() {
    let nowhere = Path::new("no/such/folder");
    let honest = planted(|bytes| parse(bytes, |body, len| Some(body.get(..len)?.to_vec())));
    let figures = fuzz::run(&honest, 20_000, 1, nowhere).expect("nothing is wrong with it");
    assert!(figures.accepted > 100, "{figures:?}");

    let panics = planted(|bytes| parse(bytes, |body, len| Some(body[..len].to_vec())));
    let broken = fuzz::run(&panics, 20_000, 1, nowhere).expect_err("it reads behind the end");
    assert!(broken.why.starts_with("panic: ") && broken.input.len() == 4, "{broken}");

    let greedy = planted(|bytes| {
        parse(bytes, |body, len| {
            let mut room = Vec::with_capacity(len.min(1 << 30));
            room.extend_from_slice(body.get(..len)?);
            Some(room)
        })
    });
    let broken = fuzz::run(&greedy, 20_000, 1, nowhere).expect_err("it takes what a length says");
    assert!(broken.why.contains("bytes of memory"), "{broken}");

    let liar = planted(|bytes| match bytes {
        [.., b'#'] => Err("the last byte counts".into()),
        _ => Ok(Answer { accepted: true, kind: 0 }),
    });
    let broken = fuzz::run(&liar, 200_000, 1, nowhere).expect_err("one byte is enough");
    assert_eq!((broken.why.as_str(), broken.input.as_slice()), ("the last byte counts", &b"#"[..]));
}

#[test]
fn what_once_broke_is_replayed_first() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(folder.path().join("0"), b"#").expect("written");
    let liar = planted(|bytes| match bytes {
        b"#" => Err("known".into()),
        _ => Ok(Answer { accepted: true, kind: 0 }),
    });
    assert_eq!(fuzz::run(&liar, 0, 1, folder.path()).expect_err("it is there").why, "known");
}
