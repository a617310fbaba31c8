//! Holes in the journals of several disks, mended by the real lanes while the power goes at any operation: each record keeps as
//! many good copies as it had, so that any one disk may be away at the next start.

use coffre_core::diskset::DiskSet;
use coffre_core::flaw::Flaws;
use coffre_core::ids::DiskNo;
use coffre_core::record::{Found, Header, decode};
use coffre_rig::coordsim::HOLE_FLAWS;
use coffre_rig::rng::Rng;
use coffre_rig::scale;
use coffre_rig::seeds::Seeded;
use coffre_rig::world::{Bench, Images};
use coffre_vault::layout;

/// A 2+1 box that is off, with snapshots in its journal.
struct It {
    bench: Bench,
    images: Images,
    seed: u64,
    /// How many records there are.
    records: usize,
    /// On the first two disks, where a record is that this disk is known to have confirmed, well before the end.
    holes: [u64; 2],
}

impl It {
    fn new(seed: u64, flaws: Flaws) -> Self {
        let mut bench = Bench::new(2, 1, seed);
        bench.case.flaws = flaws;
        bench.boot(bench.all()).expect("a new vault comes up");
        bench.rest();
        for n in 0..8 {
            bench.put(&[n; 40]).expect("stored");
        }
        bench.rest();
        let records = records(&bench, 0);
        let known = |disk: usize, after: u64| {
            let claims = records.iter().map(|r| r.1.durable[disk]).filter(|seq| *seq > after);
            claims.min().expect("it confirmed something")
        };
        let first = known(0, 2);
        let holes = [first, known(1, first)].map(|seq| records[seq as usize - 1].0);
        bench.off();
        Self { images: bench.images(), bench, seed, records: records.len(), holes }
    }

    /// One hole on each of the first two disks, well before the end.
    fn rot(&self) {
        for (disk, at) in (0..).zip(self.holes) {
            self.bench.disk(DiskNo(disk)).poke(&layout::segment(0), at + 100, &[0x5a; 16]);
        }
    }

    fn come_up(&mut self, visible: DiskSet) -> Result<(), String> {
        self.bench.boot(visible).map_err(|e| format!("it does not come up: {e}"))?;
        self.bench.rest();
        let core = self.bench.core().ok_or("it is off")?;
        match core.with(|e| e.report().stalled) {
            Some(reason) if !self.bench.machine.power.is_out() => Err(format!("not writable: {reason:?}")),
            _ => Ok(()),
        }
    }

    /// The power goes at operation `cut` of a start with holes; then the box starts without `away`, then with all.
    fn cut_at(&mut self, cut: u64, away: u8) -> Result<bool, String> {
        self.bench.restore(&self.images);
        self.bench.reseed(cut);
        self.rot();
        self.bench.machine.power.cut_after(cut);
        let first = self.come_up(self.bench.all());
        let was_cut = self.bench.machine.power.is_out();
        if !was_cut {
            first?;
        }
        self.bench.power_cut(&mut Rng::new(self.seed ^ cut));
        self.come_up(self.bench.all().without(DiskNo(away)))?;
        self.bench.check(true)?;
        self.bench.power_cut(&mut Rng::new(self.seed ^ (cut + 1)));
        self.come_up(self.bench.all())?;
        self.bench.check(true)?;
        let counts: Vec<usize> = (0..3).map(|disk| records(&self.bench, disk).len()).collect();
        match counts[0] > self.records && counts.iter().all(|n| *n == counts[0]) {
            true => Ok(was_cut),
            false => Err(format!("journals without a gap have {counts:?} records")),
        }
    }

    fn every_cut(&mut self) -> Result<u64, String> {
        for cut in 1.. {
            for away in 0..3 {
                let went =
                    self.cut_at(cut, away).map_err(|e| format!("cut at {cut}, then without {away}: {e}"))?;
                if !went {
                    return Ok(cut);
                }
            }
        }
        Ok(0)
    }
}

/// The records of a disk's first segment and where they begin, as far as there is no gap.
fn records(bench: &Bench, disk: u8) -> Vec<(u64, Header)> {
    let bytes = bench.disk(DiskNo(disk)).peek(&layout::segment(0)).unwrap_or_default();
    let (mut at, mut all) = (0, Vec::new());
    while let Some(rest) = bytes.get(at..)
        && let Found::Record(meta, _) = decode(bench.machine.vault(), rest)
    {
        all.push((at as u64, meta.header));
        at += meta.padded_len;
    }
    all
}

#[test]
fn holes_are_mended_through_a_power_cut_at_every_operation() {
    let (test, kept) =
        ("holes_are_mended_through_a_power_cut_at_every_operation", include_str!("../seeds/holes.txt"));
    let seeded = Seeded { binary: "holes", test, kept, fresh: scale("COFFRE_HOLE_SEEDS", 2) };
    seeded.check(|seed| match It::new(seed, Flaws::NONE).every_cut()? {
        cuts if cuts > 20 => Ok(()),
        cuts => Err(format!("the power went {cuts} times only")),
    });
}

/// G0: what makes the repair itself a danger is noticed here with the real lanes as well.
#[test]
fn the_flaws_of_holes_are_caught() {
    for flaw in HOLE_FLAWS {
        let why = It::new(20_261_128, Flaws::only(*flaw)).every_cut().expect_err("a flaw");
        eprintln!("{flaw:?}: {why}");
    }
}
