//! Forgetting in seeded worlds: G5 (no clock makes anything expire early), G9 (nothing that is needed is removed), G12 (full
//! disks), and the flaws of this corner of the bug bank.

use coffre_core::flaw::{Flaw, Flaws};
use coffre_rig::scale;
use coffre_rig::seeds::{Ran, Seeded};
use coffre_rig::world::{FORGET_FLAWS, ForgetCase, ForgetSeen, forget, wrong_clock};

const GEOMETRIES: &[(u8, u8)] = &[(1, 0), (1, 1), (2, 1), (1, 1), (2, 1), (2, 2)];

fn case(seed: u64) -> ForgetCase {
    let (k, m) = GEOMETRIES[seed as usize % GEOMETRIES.len()];
    let steps = 40 + (seed % 5) as usize * 20;
    ForgetCase { seed, k, m, steps, clocks: false, full: false, rot: true, flaws: Flaws::NONE }
}

/// Seeds of this file's tests that failed once.
const KEPT: &str = include_str!("../seeds/forgetting.txt");

/// One seed again: `COFFRE_REPLAY=SEED cargo test ... one_again`.
#[test]
fn one_again() {
    forget(case(scale("COFFRE_REPLAY", 1))).unwrap_or_else(|why| panic!("{why}"));
}

fn run_all(test: &'static str, fresh: u64, case: impl Fn(u64) -> ForgetCase + Sync) -> Ran<ForgetSeen> {
    let seeded = Seeded { binary: "forgetting", test, kept: KEPT, fresh };
    seeded.play(|seed| forget(case(seed)), ForgetSeen::add)
}

/// G9: commits, sharing, forgetting, compaction, merging, scrub and healing interleaved at random, with rot and power cuts.
#[test]
fn forgetting_removes_nothing_that_is_needed() {
    let fresh = scale("COFFRE_FORGET_SEEDS", 10_000);
    let ran = run_all("forgetting_removes_nothing_that_is_needed", fresh, case);
    let Ran { seen, seeds: runs, alone: false } = ran else { return };
    let removing = seen.forgotten > runs / 2 && seen.freed_packs > runs / 2 && seen.compacted > runs / 20;
    let mending = seen.rotten > runs && seen.scrubbed > runs && seen.healings > runs / 2;
    let in_use = seen.deleted > runs / 2 && seen.shown > runs / 20 && seen.files_gone > runs / 4;
    assert!(in_use, "no repository is used: {seen:?}");
    let asked = seen.cuts > runs && seen.asked > runs / 500;
    assert!(seen.incomplete > runs / 4, "nothing was cut off: {seen:?}");
    assert!(removing && mending && asked, "the world sleeps: {seen:?}");
}

/// G5: the same with clocks that jump, stand still, sleep and lie, while running and across power cuts.
#[test]
fn no_clock_makes_anything_expire_early() {
    let fresh = scale("COFFRE_CLOCK_SEEDS", 5_000);
    let with_clocks = |seed| ForgetCase { clocks: true, ..case(seed) };
    let Ran { seen, seeds: runs, alone } =
        run_all("no_clock_makes_anything_expire_early", fresh, with_clocks);
    assert!(alone || seen.attacks > runs && seen.forgotten > runs / 2, "the world sleeps: {seen:?}");
}

/// G5: a push in 2106, one while the retention clock lags, a wall that is bent back: each is locked for what its class says, no shorter, and not
/// for decades.
#[test]
fn what_a_wrong_clock_locked_is_set_right() {
    wrong_clock(Flaws::NONE).unwrap_or_else(|why| panic!("{why}"));
    for flaw in [Flaw::LocksInDoubt, Flaw::LocksMissLeaps] {
        assert!(wrong_clock(Flaws::only(flaw)).is_err(), "{flaw:?}");
    }
}

/// G12: foreign files fill disks and go away again.
#[test]
fn full_disks_lose_nothing() {
    let fresh = scale("COFFRE_FULL_SEEDS", 1_000);
    let on_full_disks = |seed| ForgetCase { full: true, ..case(seed) };
    let Ran { seen, seeds: runs, alone } = run_all("full_disks_lose_nothing", fresh, on_full_disks);
    assert!(alone || seen.refused_full > runs / 20, "no disk was ever full: {seen:?}");
}

/// G0: the same seed gives the same trace.
#[test]
fn the_same_seed_forgets_the_same() {
    let seeded =
        Seeded { binary: "forgetting", test: "the_same_seed_forgets_the_same", kept: KEPT, fresh: 30 };
    seeded.check(|seed| {
        let case = ForgetCase { clocks: seed % 2 == 1, ..case(seed) };
        if forget(case) == forget(case) { Ok(()) } else { Err("it plays otherwise the second time".into()) }
    });
}

/// G0: each deliberate fault of forgetting is noticed.
#[test]
fn every_flaw_of_forgetting_is_caught() {
    let tries = scale("COFFRE_FLAW_SEEDS", 4_000);
    let mut unseen = Vec::new();
    for flaw in FORGET_FLAWS {
        if wrong_clock(Flaws::only(*flaw)).is_err() {
            continue;
        }
        let clocks = matches!(flaw, Flaw::TrustWall | Flaw::IgnoreDoubt);
        let with = |seed| {
            let case = case(seed);
            ForgetCase { flaws: Flaws::only(*flaw), clocks, steps: case.steps * 2, ..case }
        };
        match (0..tries).find_map(|seed| forget(with(seed)).err()) {
            Some(why) => eprintln!("{flaw:?}: {why}"),
            None => unseen.push(*flaw),
        }
    }
    assert!(unseen.is_empty(), "not noticed in {tries} runs: {unseen:?}");
}
