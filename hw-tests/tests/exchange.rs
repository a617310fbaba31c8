//! Disks exchanged in the whole vault, with a power cut at every single operation of the walk, and whatever shows afterwards.

use coffre_core::diskset::DiskSet;
use coffre_core::ids::DiskNo;
use coffre_rig::rng::Rng;
use coffre_rig::scale;
use coffre_rig::seeds::announce;
use coffre_rig::world::Bench;

/// A box with snapshots of every kind, up, with the disks in `visible`.
fn at_work(k: u8, m: u8, seed: u64, visible: DiskSet) -> Bench {
    let mut bench = Bench::new(k, m, seed);
    let all = bench.all();
    bench.boot(all).expect("comes up");
    bench.rest();
    bench.work();
    bench.rest();
    bench.off();
    bench.boot(visible).expect("comes up with disks away");
    bench.rest();
    bench
}

struct Cut {
    k: u8,
    m: u8,
    /// The disk that is replaced; `None`: one is added.
    old: Option<DiskNo>,
    /// Whether the old disk is dead already.
    dead: bool,
}

const CUTS: &[Cut] = &[
    Cut { k: 2, m: 1, old: Some(DiskNo(1)), dead: true },
    Cut { k: 2, m: 1, old: Some(DiskNo(1)), dead: false },
    Cut { k: 1, m: 1, old: Some(DiskNo(0)), dead: true },
    Cut { k: 1, m: 0, old: None, dead: false },
    Cut { k: 3, m: 1, old: None, dead: false },
    Cut { k: 2, m: 2, old: Some(DiskNo(3)), dead: true },
];

/// Plays one exchange with the power going out after `ops` operations; `None` when it came to its end before.
fn cut_at(case: &Cut, ops: u64, seed: u64) -> Option<()> {
    let old = case.old.filter(|_| case.dead).map_or(DiskSet::EMPTY, |d| DiskSet::EMPTY.with(d));
    let all = DiskSet::first(usize::from(case.k + case.m));
    let here = all.minus(old);
    let mut bench = at_work(case.k, case.m, seed, here);
    bench.machine.power.cut_after(ops);
    let changed = bench.change(case.old, 0, here);
    let _ = bench.put(b"after the exchange");
    bench.rest();
    let came_to_its_end = !bench.machine.power.is_out();
    assert!(!came_to_its_end || changed.is_ok(), "refused: {changed:?}");
    // The power comes back, and with it the old disk; everything acknowledged is there, before and after the new disk joins.
    let mut rng = Rng::new(seed ^ ops);
    bench.power_cut(&mut rng);
    let back = if rng.chance(1, 2) { all } else { here };
    bench.boot(back).unwrap_or_else(|e| panic!("{e} after {ops} operations"));
    bench.rest();
    bench.check(true).unwrap_or_else(|e| panic!("{e} after {ops} operations, {back:?} back"));
    bench.take_in();
    bench.check(true).unwrap_or_else(|e| panic!("{e} after {ops} operations, when all had come"));
    let core = bench.core().expect("up").clone();
    let joined = core.with(|e| !e.changing() && e.writable().is_ok());
    if joined && bench.put(b"goes on").is_ok() {
        let _ = bench.merge();
        bench.rest();
        bench.check(true).unwrap_or_else(|e| panic!("{e} after {ops} operations, when it had gone on"));
    }
    if came_to_its_end {
        let report = core.report();
        assert!(report.debt.is_empty() && report.stalled.is_none(), "not whole: {report:?}");
        let roster = core.with(|e| e.roster().clone());
        assert_eq!(report.can_lose as usize, roster.geometry.m());
    }
    (!came_to_its_end).then_some(())
}

/// G1, G3, G13: whatever instant the power goes at, one roster holds, nothing acknowledged is lost, and the box goes on.
#[test]
fn a_power_cut_at_every_operation_of_an_exchange() {
    let step = scale("COFFRE_EXCHANGE_STEP", 3);
    let mut states = 0;
    let from = announce("exchange", "a_power_cut_at_every_operation_of_an_exchange");
    for (n, case) in CUTS.iter().enumerate() {
        for turn in 0.. {
            if cut_at(case, turn * step + n as u64 % step, from + n as u64).is_none() {
                break;
            }
            states += 1;
        }
    }
    eprintln!("{states} power cuts");
    assert!(states > 100, "the exchange sleeps: {states} power cuts");
}
