//! G10: rot is found within 30 days, healed to the very bytes that were lost, and told; in virtual time, through power cuts,
//! kills, failing reads, writes that go astray and disks that go in the middle of it.

use coffre_core::class::LockClass;
use coffre_core::flaw::Flaws;
use coffre_core::repo::FileKind;
use coffre_rig::rng::Rng;
use coffre_rig::scale;
use coffre_rig::seeds::{Ran, Seeded};
use coffre_rig::world::{Bench, RotCase, RotSeen, SCRUB_FLAWS, rot};
use coffre_vault::put::Put;

fn case(seed: u64) -> RotCase {
    let (k, m) = [(1, 1), (2, 1), (2, 2), (1, 1), (3, 1), (2, 1), (3, 2), (4, 2)][seed as usize % 8];
    RotCase { seed, k, m, flaws: Flaws::NONE }
}

/// Seeds of this file's tests that failed once.
const KEPT: &str = include_str!("../seeds/rot.txt");

/// One seed again, with its story on stderr: `COFFRE_TELL=1 COFFRE_REPLAY=SEED cargo test ... replay -- --nocapture`.
#[test]
fn replay() {
    rot(case(scale("COFFRE_REPLAY", 1))).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn rot_is_found_and_healed_within_thirty_days() {
    let (test, fresh) = ("rot_is_found_and_healed_within_thirty_days", scale("COFFRE_ROT_SEEDS", 1_000));
    let seeded = Seeded { binary: "rot", test, kept: KEPT, fresh };
    let Ran { seen, seeds, alone } = seeded.play(|seed| rot(case(seed)), RotSeen::add);
    assert_eq!(seen.rotten, seen.healed, "{seen:?}");
    assert!(alone || seen.rotten >= seeds && seen.cuts > seeds / 20, "the months are quiet: {seen:?}");
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

/// The daily sample opens packs of repositories too. Their chunks have drawn ids, which say nothing of the content: it finds
/// nothing wrong with them.
#[test]
fn the_sample_opens_what_clients_encrypted() {
    let mut bench = Bench::new(2, 1, 7);
    bench.boot(bench.all()).expect("comes up");
    bench.rest();
    let core = bench.core().expect("it is up").clone();
    for seed in 0..4 {
        let repo = "alpha/repo".parse().expect("valid");
        let mut put =
            Put::begin_file(core.clone(), repo, FileKind::Data, LockClass::DAYS_30).expect("begins");
        put.write(&Rng::new(seed).bytes(5_000)).expect("takes it");
        let submitted = put.submit().expect("ends");
        core.wait(submitted.ticket).expect("acknowledged");
    }
    for _ in 0..5 * 24 {
        while core.scrub_step() {
            bench.rest();
        }
        bench.pass_time(3_600_000);
    }
    let told = core.scrub_info();
    assert!(told.sampled_per_mille.is_some_and(|share| share > 0), "{told:?}");
    assert!(told.finds.is_empty() && told.last_light_ms.is_some(), "{told:?}");
}

#[test]
fn the_same_seed_gives_the_same_months() {
    let seeded = Seeded { binary: "rot", test: "the_same_seed_gives_the_same_months", kept: KEPT, fresh: 16 };
    seeded.check(|seed| match rot(case(seed)) == rot(case(seed)) {
        true => Ok(()),
        false => Err("it plays otherwise the second time".into()),
    });
}
