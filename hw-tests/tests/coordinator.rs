//! The coordinator's rules in a seeded world: R1 to R6, the witness, 1+1 and 2+2, checkpoints; and their bug bank.

use coffre_core::flaw::Flaws;
use coffre_rig::coordsim::{COORDINATOR_FLAWS, Case, HOLE_FLAWS, OWNER_FLAWS, Outcome, ROSTER_FLAWS, run};
use coffre_rig::scale;
use coffre_rig::seeds::{Ran, Seeded};

/// Seeds of this file's tests that failed once.
const KEPT: &str = include_str!("../seeds/coordinator.txt");

fn seeded(test: &'static str, fresh: u64) -> Seeded {
    Seeded { binary: "coordinator", test, kept: KEPT, fresh }
}

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
        rivals: false,
        flaws,
    }
}

/// G1 for the journal: nothing acknowledged is lost, whatever the order of power cuts, absences and faults in budget.
#[test]
fn nothing_acknowledged_is_lost() {
    let seeded = seeded("nothing_acknowledged_is_lost", scale("COFFRE_COORD_SEEDS", 20_000));
    let Ran { seen, seeds, alone } = seeded.play(|seed| run(case(seed, Flaws::NONE)), Outcome::add);
    let some = seeds / 20;
    assert!(
        alone
            || seen.acked > seeds / 2
                && seen.checkpoints > some
                && seen.witnessed > some
                && seen.changed > seeds / 40
                && seen.bad_nights > some
                && seen.stranded <= 2 + seeds / 1_000,
        "the world sleeps: {seen:?}"
    );
}

/// Single records and checkpoints rot on more disks in one night than the geometry can miss, each with a good copy
/// elsewhere: the box comes up writable, nothing acknowledged is lost, and each disk gets back what it lacks.
#[test]
fn rot_on_many_disks_stops_nobody() {
    let seeded = seeded("rot_on_many_disks_stops_nobody", scale("COFFRE_COORD_ROT_SEEDS", 10_000));
    let rot = |seed| Case { rot: true, faults: false, changes: seed % 3 == 0, ..case(seed, Flaws::NONE) };
    let Ran { seen, seeds, alone } = seeded.play(|seed| run(rot(seed)), Outcome::add);
    assert!(alone || seen.bad_nights > seeds / 2, "the nights are quiet: {seen:?}");
}

/// A case in which other machines take the disks of a box that runs.
fn with_rivals(seed: u64, flaws: Flaws) -> Case {
    let quiet = case(seed, flaws);
    Case { rivals: true, faults: false, rot: false, witness: false, changes: false, eager: false, ..quiet }
}

/// G19: a second owner at any moment. What either of the two acknowledged is never lost, and the older one stops.
#[test]
fn two_owners_lose_nothing_that_either_acknowledged() {
    let name = "two_owners_lose_nothing_that_either_acknowledged";
    let seeded = seeded(name, scale("COFFRE_RIVAL_SEEDS", 10_000));
    let Ran { seen, seeds, alone } = seeded.play(|seed| run(with_rivals(seed, Flaws::NONE)), Outcome::add);
    let met = seen.rivals > seeds && seen.fenced > seen.rivals / 3 && seen.acked > 5 * seeds;
    assert!(alone || met, "nobody meets: {seen:?}");
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
    seeded("the_same_seed_gives_the_same_trace", 200).check(|seed| {
        let once = run(case(seed, Flaws::NONE))?;
        let other = run(case(seed + 1_000, Flaws::NONE))?;
        match once == run(case(seed, Flaws::NONE))? && once.trace != other.trace {
            true => Ok(()),
            false => Err("it plays otherwise the second time, or another seed plays the same".into()),
        }
    });
}

/// G0: each deliberate fault is noticed.
#[test]
fn every_coordinator_flaw_is_caught() {
    let tries = scale("COFFRE_COORD_FLAW_SEEDS", 600_000);
    let mut unseen = Vec::new();
    for flaw in COORDINATOR_FLAWS.iter().chain(ROSTER_FLAWS).chain(HOLE_FLAWS).chain(OWNER_FLAWS) {
        // Flaws of changes show where disks are changed: only such runs are tried.
        const SMALL: &[(usize, usize)] = &[(3, 1), (1, 0), (2, 1), (1, 1)];
        let (of_changes, of_owners) = (ROSTER_FLAWS.contains(flaw), OWNER_FLAWS.contains(flaw));
        let with = |seed: u64| {
            let as_ever = case(seed, Flaws::only(*flaw));
            let (k, m) = SMALL[seed as usize % SMALL.len()];
            let changing = Case { k, m, changes: true, eager: true, faults: false, rot: false, ..as_ever };
            match of_owners {
                true => with_rivals(seed, Flaws::only(*flaw)),
                false if of_changes => changing,
                false => as_ever,
            }
        };
        match (0..tries).find_map(|seed| run(with(seed)).err()) {
            Some(caught) => eprintln!("{flaw:?}: {caught}"),
            None => unseen.push(*flaw),
        }
    }
    assert!(unseen.is_empty(), "not noticed in {tries} runs: {unseen:?}");
}
