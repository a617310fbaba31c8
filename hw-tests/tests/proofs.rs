//! R3 where it is narrow: a disk comes back from the past and has forgotten its promises, so that the box begins an epoch that is
//! not above all others; what it acknowledges must hold when an attempt under a higher epoch shows up, that only began.
//!
//! There is no witness: one would have remembered the epochs. The seeded world meets this course once in some hundred thousand
//! runs; here it is driven towards it.

use coffre_core::diskset::DiskSet;
use coffre_core::flaw::Flaws;
use coffre_core::ids::DiskNo;
use coffre_rig::coordsim::PROOF_FLAWS;
use coffre_rig::rng::Rng;
use coffre_rig::scale;
use coffre_rig::seeds::Seeded;
use coffre_rig::world::Bench;

fn attempt(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut bench = Bench::with(2, 1, seed, false);
    bench.case.flaws = flaws;
    bench.boot(bench.all()).map_err(|e| e.to_string())?;
    bench.rest();
    bench.put(&rng.bytes(60)).map_err(|e| e.to_string())?;
    bench.rest();
    bench.power_cut(&mut rng);
    let mut disks = [DiskNo(0), DiskNo(1), DiskNo(2)];
    rng.shuffle(&mut disks);
    let [old, away, other] = disks;
    let pair = |a, b| DiskSet::EMPTY.with(a).with(b);
    let past = bench.disk(old).snapshot();
    for _ in 0..1 + rng.below(3) {
        bench.machine.power.cut_after(1 + rng.below(60));
        if bench.boot(pair(old, away)).is_ok() {
            bench.rest();
        }
        bench.power_cut(&mut rng);
    }
    bench.disk(old).restore(&past);
    bench.boot(pair(old, other)).map_err(|e| format!("with the old disk: {e}"))?;
    // Clients are there at once, or a little later.
    if rng.chance(1, 2) {
        bench.rest();
    }
    for len in [60, 700].into_iter().take(1 + rng.index(2)) {
        bench.put(&rng.bytes(len)).map_err(|e| format!("with the old disk: {e}"))?;
    }
    bench.power_cut(&mut rng);
    let without = rng.pick(&[DiskSet::EMPTY, DiskSet::EMPTY.with(old)]).copied().unwrap_or_default();
    bench.boot(bench.all().minus(without)).map_err(|e| format!("without {without:?}: {e}"))?;
    bench.rest();
    bench.check(true).map_err(|why| format!("without {without:?}: {why}"))?;
    // It goes on from there, and each disk comes back.
    bench.put(&rng.bytes(80)).map_err(|e| format!("without {without:?}: {e}"))?;
    bench.power_cut(&mut rng);
    bench.boot(bench.all()).map_err(|e| e.to_string())?;
    bench.rest();
    bench.check(true).map(|_| ())
}

/// G1: what was acknowledged holds against any attempt that only began.
#[test]
fn what_was_acknowledged_is_not_put_aside() {
    let (test, kept) = ("what_was_acknowledged_is_not_put_aside", include_str!("../seeds/proofs.txt"));
    let seeded = Seeded { binary: "proofs", test, kept, fresh: scale("COFFRE_PROOF_SEEDS", 2_000) };
    seeded.check(|seed| attempt(seed, Flaws::NONE));
}

/// G0: it is noticed when the epoch alone decides, and when facts prove nothing.
#[test]
fn the_flaws_of_proofs_are_caught() {
    let tries = scale("COFFRE_PROOFS", 2_000);
    for flaw in PROOF_FLAWS {
        let caught = (0..tries).find_map(|seed| Some((seed, attempt(seed, Flaws::only(*flaw)).err()?)));
        let Some((seed, why)) = caught else { panic!("{flaw:?} is not noticed in {tries} attempts") };
        eprintln!("{flaw:?}, attempt {seed}: {why}");
    }
}
