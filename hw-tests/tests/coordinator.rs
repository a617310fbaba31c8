//! The coordinator's rules in a seeded world: R1 to R6, the witness, 1+1 and 2+2, checkpoints; and their bug bank.

use coffre_core::flaw::Flaws;
use coffre_rig::coordsim::{COORDINATOR_FLAWS, Case, HOLE_FLAWS, Outcome, ROSTER_FLAWS, run};
use coffre_rig::scale;

const GEOMETRIES: &[(usize, usize)] =
    &[(1, 1), (1, 1), (2, 1), (2, 1), (2, 2), (1, 2), (3, 1), (3, 2), (4, 2), (1, 0), (6, 2)];

fn case(seed: u64, flaws: Flaws) -> Case {
    let (k, m) = GEOMETRIES[seed as usize % GEOMETRIES.len()];
    let turn = seed / GEOMETRIES.len() as u64;
    Case {
        seed,
        k,
        m,
        steps: if turn % 4 < 2 { 250 } else { 400 },
        faults: turn % 2 == 1,
        rot: turn % 8 >= 4 && turn % 8 != 6,
        witness: !turn.is_multiple_of(3),
        changes: turn % 4 >= 2,
        eager: turn % 8 == 6,
        flaws,
    }
}

/// G1 for the journal: nothing acknowledged is lost, whatever the order of power cuts, absences and faults in budget.
#[test]
fn nothing_acknowledged_is_lost() {
    let mut sum = Outcome::default();
    for seed in 0..scale("COFFRE_COORD_SEEDS", 20_000) {
        let out = run(case(seed, Flaws::NONE)).unwrap_or_else(|e| panic!("{e}"));
        sum.acked += out.acked;
        sum.mounts += out.mounts;
        sum.checkpoints += out.checkpoints;
        sum.witnessed += out.witnessed;
        sum.refused += out.refused;
        sum.begun += out.begun;
        sum.changed += out.changed;
        sum.stranded += out.stranded;
        sum.rotten += out.rotten;
        sum.bad_nights += out.bad_nights;
    }
    eprintln!("{sum:?}");
    assert!(
        sum.acked > 10_000
            && sum.checkpoints > 1_000
            && sum.witnessed > 1_000
            && sum.changed > 500
            && sum.bad_nights > 1_000
            && sum.stranded < 20,
        "the world sleeps: {sum:?}"
    );
}

/// Single records and checkpoints rot on more disks in one night than the geometry can miss, each with a good copy
/// elsewhere: the box comes up writable, nothing acknowledged is lost, and each disk gets back what it lacks.
#[test]
fn rot_on_many_disks_stops_nobody() {
    let mut sum = Outcome::default();
    for seed in 0..scale("COFFRE_COORD_ROT_SEEDS", 10_000) {
        let rot = Case { rot: true, faults: false, changes: seed % 3 == 0, ..case(seed, Flaws::NONE) };
        let out = run(rot).unwrap_or_else(|e| panic!("{e}"));
        sum.rotten += out.rotten;
        sum.bad_nights += out.bad_nights;
    }
    eprintln!("{sum:?}");
    assert!(sum.bad_nights > 5_000, "the nights are quiet: {sum:?}");
}

/// One seed again: `COFFRE_REPLAY=SEED cargo test ... replay`.
#[test]
fn replay() {
    let seed = scale("COFFRE_REPLAY", 1);
    run(case(seed, Flaws::NONE)).unwrap_or_else(|why| panic!("{why}"));
}

/// G0: the same seed gives the same trace.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..200 {
        let (a, b) = (run(case(seed, Flaws::NONE)), run(case(seed, Flaws::NONE)));
        assert_eq!(a, b);
        assert_ne!(a.expect("passes").trace, run(case(seed + 1_000, Flaws::NONE)).expect("passes").trace);
    }
}

/// G0: each deliberate fault is noticed.
#[test]
fn every_coordinator_flaw_is_caught() {
    let tries = scale("COFFRE_COORD_FLAW_SEEDS", 200_000);
    let mut unseen = Vec::new();
    for flaw in COORDINATOR_FLAWS.iter().chain(ROSTER_FLAWS).chain(HOLE_FLAWS) {
        // Flaws of changes show where disks are changed: only such runs are tried.
        const SMALL: &[(usize, usize)] = &[(3, 1), (1, 0), (2, 1), (1, 1)];
        let of_changes = ROSTER_FLAWS.contains(flaw);
        let with = |seed: u64| {
            let as_ever = case(seed, Flaws::only(*flaw));
            let (k, m) = SMALL[seed as usize % SMALL.len()];
            let changing = Case { k, m, changes: true, eager: true, faults: false, rot: false, ..as_ever };
            if of_changes { changing } else { as_ever }
        };
        match (0..tries).find_map(|seed| run(with(seed)).err()) {
            Some(caught) => eprintln!("{flaw:?}: {caught}"),
            None => unseen.push(*flaw),
        }
    }
    assert!(unseen.is_empty(), "not noticed in {tries} runs: {unseen:?}");
}
