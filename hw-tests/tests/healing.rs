//! Healing driven to its narrow places: a source that is bad as well, a write that goes astray, the power that goes in the
//! middle, a restart between the find and the healing. Each has a flaw of the bank that must be noticed there.

use coffre_core::diskset::DiskSet;
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::{DiskNo, PackId};
use coffre_rig::rng::Rng;
use coffre_rig::scale;
use coffre_rig::seeds::Seeded;
use coffre_rig::sim::Strike;
use coffre_rig::world::Bench;
use coffre_vault::layout;

/// A box with one pack, and its shards as they are.
struct It {
    bench: Bench,
    rng: Rng,
    pack: PackId,
    disks: Vec<DiskNo>,
    whole: Vec<Vec<u8>>,
}

impl It {
    fn new(seed: u64, k: u8, m: u8, flaws: Flaws) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(k, m, seed);
        bench.case.flaws = flaws;
        let all = bench.all();
        bench.boot(all).map_err(|e| e.to_string())?;
        bench.rest();
        let len = 500 + rng.index(3_000);
        bench.put(&rng.bytes(len)).map_err(|e| e.to_string())?;
        bench.rest();
        let core = bench.core().ok_or("it is off")?;
        let pack = core.with(|e| e.catalog().packs().next().cloned()).ok_or("there is no pack")?;
        let path = layout::shard(pack.id);
        let whole = pack.disks.iter().map(|d| bench.disk(*d).peek(&path).unwrap_or_default()).collect();
        Ok(Self { bench, rng, pack: pack.id, disks: pack.disks, whole })
    }

    fn path(&self) -> String {
        layout::shard(self.pack)
    }

    /// Flips a bit among the data of a shard.
    fn rot(&mut self, shard: usize) {
        let at = 4096 + self.rng.below(self.whole[shard].len() as u64 - 3 * 4096);
        let byte = self.whole[shard][at as usize] ^ 0x10;
        self.bench.disk(self.disks[shard]).poke(&self.path(), at, &[byte]);
    }

    fn is_whole(&self, shard: usize) -> bool {
        self.bench.disk(self.disks[shard]).peek(&self.path()).as_ref() == Some(&self.whole[shard])
    }

    fn lost(&self) -> DiskSet {
        let core = self.bench.core();
        core.map_or(DiskSet::EMPTY, |core| core.with(|e| e.lost_shards(&self.pack)))
    }

    /// A deep look at everything, without healing.
    fn scrub(&self) {
        if let Some(core) = self.bench.core().cloned() {
            core.scrub_ask(true);
            for _ in 0..5_000 {
                let worked = core.scrub_step();
                self.bench.rest();
                if !worked && !core.scrub_asked() {
                    break;
                }
            }
            self.bench.machine.keep_note(&core);
        }
    }

    /// What counts is whole.
    fn check(&self) -> Result<(), String> {
        let lost = self.lost();
        match (0..self.disks.len()).find(|n| !lost.has(self.disks[*n]) && !self.is_whole(*n)) {
            Some(n) => Err(format!("shard {n} counts, and is not whole")),
            None => Ok(()),
        }
    }

    fn come_up(&mut self) -> Result<(), String> {
        let all = self.bench.all();
        self.bench.boot(all).map_err(|e| format!("it does not come up: {e}"))?;
        self.bench.rest();
        Ok(())
    }
}

/// Two shards of m = 2 are bad and one of them is not known: what is known is healed all the same, at once.
fn with_a_bad_source(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut it = It::new(seed, 2, 2, flaws)?;
    let known = it.rng.index(4);
    it.rot(known);
    it.scrub();
    if it.lost() != DiskSet::EMPTY.with(it.disks[known]) {
        return Err(format!("the scrub found {:?}", it.lost()));
    }
    for other in (0..4).filter(|n| *n != known).take(1) {
        it.rot(other);
    }
    it.bench.heal().map_err(|e| e.to_string())?;
    it.bench.rest();
    if !it.is_whole(known) {
        return Err("it is not healed although enough is good".into());
    }
    it.bench.heal().map_err(|e| e.to_string())?;
    it.check()
}

/// Some of the writes of the healing land elsewhere.
fn with_a_write_astray(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut it = It::new(seed, 2, 1, flaws)?;
    let shard = it.rng.index(3);
    it.rot(shard);
    it.scrub();
    let disk = it.bench.disk(it.disks[shard]).clone();
    let astray = 1 + it.rng.below(4) as u32;
    disk.faults(|f| f.misdirect_writes = Strike::Next(astray));
    it.bench.heal().map_err(|e| e.to_string())?;
    it.bench.rest();
    disk.faults(|f| f.misdirect_writes = Strike::Never);
    it.check()?;
    for _ in 0..6 {
        it.bench.pass_time(3_600_000);
        it.bench.heal().map_err(|e| e.to_string())?;
        it.bench.rest();
    }
    if it.is_whole(shard) { it.check() } else { Err("it is never healed".into()) }
}

/// A file was lost while the box was off; the box goes down in the middle of healing it.
fn cut_off(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut it = It::new(seed, 2, 1, flaws)?;
    let shard = it.rng.index(3);
    it.bench.rest();
    it.bench.power_cut(&mut it.rng);
    it.bench.disk(it.disks[shard]).lose(&it.path());
    it.come_up()?;
    if !it.lost().has(it.disks[shard]) {
        return Err("the lost file is not missed".into());
    }
    it.bench.machine.power.cut_after(1 + it.rng.below(60));
    let _ = it.bench.heal();
    it.bench.rest();
    for _ in 0..2 {
        if it.rng.chance(1, 2) {
            it.bench.kill();
            it.come_up()?;
            it.check()?;
        }
        it.bench.power_cut(&mut it.rng);
        it.come_up()?;
        it.check()?;
    }
    it.bench.heal().map_err(|e| e.to_string())?;
    it.bench.rest();
    if it.is_whole(shard) { it.check() } else { Err("it is never healed".into()) }
}

/// What was found is known after a restart that came before the healing.
fn restarted_before_healing(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut it = It::new(seed, 1, 1, flaws)?;
    let shard = it.rng.index(2);
    it.rot(shard);
    it.scrub();
    if it.rng.chance(1, 2) {
        it.bench.kill();
    } else {
        it.bench.power_cut(&mut it.rng);
    }
    it.come_up()?;
    it.check()?;
    it.bench.heal().map_err(|e| e.to_string())?;
    it.bench.rest();
    if it.is_whole(shard) { it.check() } else { Err("it is never healed".into()) }
}

/// One of the two slots of a label is bad, and the power goes while the scrub writes it right, or in the mount after that. The disk
/// is still one of the vault.
fn with_a_rotten_label(seed: u64, flaws: Flaws) -> Result<(), String> {
    let mut it = It::new(seed, 2, 1, flaws)?;
    // The one that is looked at first.
    let no = DiskNo(0);
    let at = it.rng.below(2) * 4096 + it.rng.below(150);
    let label = it.bench.disk(no).peek(layout::LABEL).ok_or("there is no label")?;
    it.bench.disk(no).poke(layout::LABEL, at, &[label[at as usize] ^ 0x10]);
    it.bench.machine.power.cut_after(1 + it.rng.below(12));
    it.scrub();
    it.bench.power_cut(&mut it.rng);
    it.bench.machine.power.cut_after(1 + it.rng.below(30));
    let all = it.bench.all();
    if it.bench.boot(all).is_ok() {
        it.bench.rest();
    }
    it.bench.power_cut(&mut it.rng);
    it.come_up()?;
    let here = it.bench.core().map_or(DiskSet::EMPTY, |core| core.with(|e| e.present()));
    if here == all { it.check() } else { Err(format!("only {here:?} are there")) }
}

type Attempt = fn(u64, Flaws) -> Result<(), String>;

const COURSES: [(Flaw, Attempt); 5] = [
    (Flaw::HealUnverified, with_a_bad_source),
    (Flaw::HealWithoutProof, with_a_write_astray),
    (Flaw::HealOverPlace, cut_off),
    (Flaw::ForgetFinds, restarted_before_healing),
    (Flaw::LabelOverGood, with_a_rotten_label),
];

/// G10: the narrow places of healing are passed. Each seed goes through all of them.
#[test]
fn healing_passes_its_narrow_places() {
    let (test, kept) = ("healing_passes_its_narrow_places", include_str!("../seeds/healing.txt"));
    let seeded = Seeded { binary: "healing", test, kept, fresh: scale("COFFRE_HEALINGS", 400) };
    seeded.check(|seed| {
        let each = |(flaw, attempt): (Flaw, Attempt)| {
            attempt(seed, Flaws::NONE).map_err(|why| format!("{why}, where {flaw:?} shows"))
        };
        COURSES.into_iter().try_for_each(each)
    });
}

/// G0: each flaw is noticed in its own narrow place.
#[test]
fn the_narrow_places_of_healing() {
    let tries = scale("COFFRE_HEALINGS", 400);
    for (flaw, attempt) in COURSES {
        let caught = (0..tries).find_map(|seed| Some((seed, attempt(seed, Flaws::only(flaw)).err()?)));
        let Some((seed, why)) = caught else { panic!("{flaw:?} is not noticed in {tries} attempts") };
        eprintln!("{flaw:?}, attempt {seed}: {why}");
    }
}

/// A round that is asked for while another one is under way begins at the beginning: what was damaged behind its back, and
/// before somebody asked, is told before it ends.
#[test]
fn an_asked_round_looks_at_everything_anew() {
    for steps in 0..12 {
        let it = It::new(steps, 2, 1, Flaws::NONE).expect("a box with a pack");
        let core = it.bench.core().cloned().expect("it is on");
        for _ in 0..steps {
            core.scrub_step();
            it.bench.rest();
        }
        // The journal of the disk that is compared first, in its second record.
        it.bench.disk(DiskNo(0)).poke(&layout::segment(0), 4096 + 100, &[0x5a; 8]);
        core.scrub_ask(false);
        assert!(core.scrub_info().running.is_some(), "it was asked for");
        while core.scrub_asked() {
            core.scrub_step();
            it.bench.rest();
        }
        let finds = core.scrub_info().finds;
        let told = finds.iter().any(|f| f.disk == Some(0) && f.what == "record 2" && f.healed_ms.is_some());
        assert!(told, "after {steps} steps: {finds:?}");
    }
}
