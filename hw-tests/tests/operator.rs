//! Operators who exchange disks as they please, over the whole vault: with whole disks nothing acknowledged is lost.

use coffre_core::flaw::{Flaw, Flaws};
use coffre_rig::scale;
use coffre_rig::world::{Walk, Walked, walk};
use std::time::{SystemTime, UNIX_EPOCH};

/// Boxes that are walked over, in turn.
const BOXES: [(u8, u8); 5] = [(2, 1), (1, 1), (3, 1), (2, 2), (1, 2)];

fn of(seed: u64, flaws: Flaws) -> Walk {
    let (k, m) = BOXES[(seed % BOXES.len() as u64) as usize];
    Walk { seed, k, m, steps: 70, flaws }
}

/// Walks these; the broken ones fail the test with the seed to replay.
fn all(from: u64, count: u64) -> Walked {
    let mut seen = Walked::default();
    for seed in from..from + count {
        match walk(of(seed, Flaws::NONE)) {
            Ok(walked) => seen.add(&walked),
            Err(why) => panic!("replay with COFFRE_OPERATOR_SEED={seed}: {why}"),
        }
    }
    seen
}

/// G1, G13: no sequence of an operator's commands loses what is acknowledged while the disks are whole; while all disks of the
/// roster are in use, nothing needs those that left it. Half of the seeds are the same in each run, half are drawn anew.
#[test]
fn no_operator_loses_anything_while_the_disks_are_whole() {
    let count = scale("COFFRE_OPERATOR_WALKS", 60);
    let replay = std::env::var("COFFRE_OPERATOR_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = replay {
        eprintln!("{:?}", walk(of(seed, Flaws::NONE)));
    }
    let drawn = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    eprintln!("seeds from {drawn} on");
    let mut seen = all(1, count);
    seen.add(&all(drawn, count));
    eprintln!("{seen:?}");
    assert!(seen.acked > count && seen.replaced > count && seen.refused > count, "it sleeps: {seen:?}");
    assert!(seen.undone > count / 2 && seen.added > count / 4 && seen.taken_out > count / 4, "{seen:?}");
    assert!(seen.checked > count, "{seen:?}");
}

/// Whoever counts disks and not shards is found out.
#[test]
fn counting_disks_is_caught() {
    let flaws = Flaws::only(Flaw::CountDisksNotShards);
    let caught = (1..).take(200).find_map(|seed| walk(of(seed, flaws)).err());
    let why = caught.expect("200 walks, and nobody noticed");
    eprintln!("{why}");
}
