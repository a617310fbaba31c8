//! The whole vault in seeded worlds: G1 (nothing acknowledged is lost), G3 (any crash, nested), G11 (an index that lies),
//! all loss sets, and the bug bank.

use coffre_core::flaw::{Flaw, Flaws};
use coffre_rig::scale;
use coffre_rig::seeds::{Ran, Seeded};
use coffre_rig::world::{Case, Seen, VAULT_FLAWS, run};

const GEOMETRIES: &[(u8, u8)] =
    &[(1, 1), (2, 1), (1, 1), (2, 1), (1, 0), (2, 2), (3, 1), (3, 2), (4, 2), (6, 2)];

fn case(seed: u64) -> Case {
    let (k, m) = GEOMETRIES[seed as usize % GEOMETRIES.len()];
    let turn = seed / GEOMETRIES.len() as u64;
    Case {
        seed,
        k,
        m,
        steps: 60 + (seed % 7) as usize * 20,
        faults: turn % 2 == 1,
        witness: !turn.is_multiple_of(3),
        lies_per_1000: 0,
        all_losses: false,
        flaws: Flaws::NONE,
    }
}

/// Seeds of this file's tests that failed once.
const KEPT: &str = include_str!("../seeds/world.txt");

/// One seed again, with its story on stderr: `COFFRE_TELL=1 COFFRE_REPLAY=SEED cargo test ... replay -- --nocapture`.
#[test]
fn replay() {
    let seed = scale("COFFRE_REPLAY", 1);
    run(case(seed)).unwrap_or_else(|why| panic!("{why}"));
}

/// Runs the cases of a test; panics with the first that breaks a promise.
fn run_all(test: &'static str, fresh: u64, case: impl Fn(u64) -> Case + Sync) -> Ran<Seen> {
    let seeded = Seeded { binary: "world", test, kept: KEPT, fresh };
    let ran = seeded.play(|seed| run(case(seed)), Seen::add);
    assert_eq!(ran.seen.locked_forgotten, 0, "a lock of 30 days was not kept");
    ran
}

/// G1, G2, G3: bit-identical after any power cut, loss, staleness or lie within what the receipt tolerates.
#[test]
fn acknowledged_snapshots_survive() {
    let Ran { seen, seeds, alone } =
        run_all("acknowledged_snapshots_survive", scale("COFFRE_WORLD_SEEDS", 20_000), case);
    let awake = seen.acked > seeds && seen.cuts > seeds && seen.read > seeds;
    assert!(seen.torn <= 2 + seeds / 1_000, "disks show two histories too often: {seen:?}");
    assert!(alone || awake, "the world sleeps: {seen:?}");
    assert!(alone || seen.littered > 0, "no foreign files anywhere");
}

/// G1: every set of at most m lost disks, for the small geometries and 4+2.
#[test]
fn every_loss_set_is_survived() {
    let geometries = [(1, 1), (2, 1), (3, 1), (2, 2), (4, 2)];
    run_all("every_loss_set_is_survived", scale("COFFRE_LOSS_SEEDS", 500), |seed| {
        let (k, m) = geometries[seed as usize % geometries.len()];
        Case { k, m, all_losses: true, ..case(seed) }
    });
}

/// G11: the index may lie.
#[test]
fn a_lying_index_changes_nothing() {
    run_all("a_lying_index_changes_nothing", scale("COFFRE_INDEX_SEEDS", 2_000), |seed| Case {
        lies_per_1000: [10, 100, 500][seed as usize % 3],
        ..case(seed)
    });
}

/// G0: the same seed gives the same trace.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let seeded =
        Seeded { binary: "world", test: "the_same_seed_gives_the_same_trace", kept: KEPT, fresh: 50 };
    seeded.check(|seed| match run(case(seed)) == run(case(seed)) {
        true => Ok(()),
        false => Err("it plays otherwise the second time".into()),
    });
}

/// G0: each deliberate fault is noticed.
#[test]
fn every_vault_flaw_is_caught() {
    let tries = scale("COFFRE_FLAW_SEEDS", 4_000);
    let mut unseen = Vec::new();
    for flaw in VAULT_FLAWS {
        let lies_per_1000 = if *flaw == Flaw::TrustIndexHit { 300 } else { 0 };
        let with = |seed| Case { flaws: Flaws::only(*flaw), lies_per_1000, ..case(seed) };
        match (0..tries).find_map(|seed| run(with(seed)).err()) {
            Some(why) => eprintln!("{flaw:?}: {why}"),
            None => unseen.push(*flaw),
        }
    }
    assert!(unseen.is_empty(), "not noticed in {tries} runs: {unseen:?}");
}
