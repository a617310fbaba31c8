//! G10: rot is found within 30 days, healed to the very bytes that were lost, and told; in virtual time, through power cuts,
//! kills, failing reads, writes that go astray and disks that go in the middle of it.

use coffre_core::flaw::Flaws;
use coffre_rig::scale;
use coffre_rig::seeds::on_two_threads;
use coffre_rig::world::{RotCase, RotSeen, SCRUB_FLAWS, rot};

fn case(seed: u64) -> RotCase {
    let (k, m) = [(1, 1), (2, 1), (2, 2), (1, 1), (3, 1), (2, 1), (3, 2), (4, 2)][seed as usize % 8];
    RotCase { seed, k, m, flaws: Flaws::NONE }
}

/// One seed again: `COFFRE_REPLAY=SEED cargo test ... replay`.
#[test]
fn replay() {
    rot(case(scale("COFFRE_REPLAY", 1))).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn rot_is_found_and_healed_within_thirty_days() {
    let count = scale("COFFRE_ROT_SEEDS", 1_000);
    let seen = on_two_threads(count, |seed| rot(case(seed)), RotSeen::add);
    assert!(seen.rotten >= count && seen.rotten == seen.healed && seen.cuts > count / 20, "{seen:?}");
}

/// G0: each deliberate fault of the scrub is noticed.
#[test]
fn every_scrub_flaw_is_caught() {
    let tries = scale("COFFRE_ROT_FLAW_SEEDS", 1_000);
    let mut unseen = Vec::new();
    for flaw in SCRUB_FLAWS {
        let with = |seed| RotCase { flaws: Flaws::only(*flaw), ..case(seed) };
        match (0..tries).find_map(|seed| rot(with(seed)).err()) {
            Some(why) => eprintln!("{flaw:?}: {why}"),
            None => unseen.push(*flaw),
        }
    }
    assert!(unseen.is_empty(), "not noticed in {tries} runs: {unseen:?}");
}

#[test]
fn the_same_seed_gives_the_same_months() {
    for seed in 0..16 {
        assert_eq!(rot(case(seed)), rot(case(seed)), "seed {seed}");
    }
}
