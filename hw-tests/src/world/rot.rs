//! Rot in virtual time: months of a small vault whose shards, labels and journals rot, while it is cut off, killed, loses a
//! disk in the middle of healing, and meets reads that fail and writes that go astray.
//!
//! A shard that was made again has the very bytes of the lost one, so the check is plain: the files of a vault that
//! nobody writes to are what they were. Each one that rots must be that again within 30 days; what the box knew to be bad it
//! may count as good only when it is; and as long as it knows of something bad, it is not at full strength.

use super::bench::Bench;
use crate::rng::Rng;
use crate::sim::{SimDisk, Strike};
use coffre_core::diskset::DiskSet;
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::{DiskNo, PackId};
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::scrub::DAY_MS;
use coffre_vault::core::Core;
use coffre_vault::layout;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Within this everything that rots is as it was.
const LIMIT_MS: u64 = 30 * DAY_MS;
/// How long a run goes on after its last bad day.
const QUIET_DAYS: u64 = 31;
const HOURS_AT_ONCE: u64 = 6;
/// Most steps of the scrub between two hours of virtual time.
const MANY: usize = 10_000;

/// Flaws of the scrub; each is caught here.
pub const SCRUB_FLAWS: &[Flaw] = &[Flaw::ScrubSkipsShard, Flaw::ScrubTrustsHeader, Flaw::ScrubCursorJumps];

/// Flaws of healing, which need its narrow places: caught in `healing.rs`.
pub const HEALING_FLAWS: &[Flaw] = &[
    Flaw::HealUnverified,
    Flaw::HealWithoutProof,
    Flaw::HealOverPlace,
    Flaw::ForgetFinds,
    Flaw::LabelOverGood,
];

/// What one run simulates.
#[derive(Clone, Copy, Debug)]
pub struct RotCase {
    /// Everything random comes from it.
    pub seed: u64,
    /// Data shards.
    pub k: u8,
    /// Parity shards, at least one.
    pub m: u8,
    /// The rule to break.
    pub flaws: Flaws,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotSeen {
    /// Shards damaged.
    pub rotten: u64,
    /// Of them, whole again at the end.
    pub healed: u64,
    /// Labels, journals and checkpoints damaged.
    pub journals: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Kills of the daemon.
    pub kills: u64,
    /// The longest from rot to whole, in hours.
    pub longest_hours: u64,
}

impl RotSeen {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.rotten += other.rotten;
        self.healed += other.healed;
        self.journals += other.journals;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.longest_hours = self.longest_hours.max(other.longest_hours);
    }
}

/// Runs one case. `Err` says which promise broke, with the case to replay it.
pub fn rot(case: RotCase) -> Result<RotSeen, String> {
    Rotting::new(case).and_then(Rotting::play).map_err(|why| format!("{why} in {case:?}"))
}

/// One shard: its pack and its disk.
type Place = (PackId, DiskNo);

/// Whether each slot of a disk's label is good by itself.
fn both_slots_are_good(disk: &SimDisk, keys: &KeyRing) -> bool {
    let label = disk.peek(layout::LABEL).unwrap_or_default();
    let half = label.len() / 2;
    [0..half, half..label.len()].into_iter().all(|slot| {
        let mut other = label.clone();
        other[slot].fill(0);
        Label::open(keys, &other).is_ok()
    })
}

struct Rotting {
    case: RotCase,
    rng: Rng,
    bench: Bench,
    whole: BTreeMap<Place, Vec<u8>>,
    /// Damaged and not whole again: since when.
    rotten: BTreeMap<Place, u64>,
    /// What the box last said it knows to be lost, noted durably.
    known: BTreeSet<Place>,
    now_ms: u64,
    telling: bool,
    seen: RotSeen,
}

impl Rotting {
    fn new(case: RotCase) -> Result<Self, String> {
        let mut rng = Rng::new(case.seed ^ 0x0707);
        let mut bench = Bench::new(case.k, case.m, case.seed);
        bench.case.flaws = case.flaws;
        let all = bench.all();
        bench.boot(all).map_err(|e| e.to_string())?;
        bench.rest();
        for len in [900, 2_000, 3_500, 5_000, 6_500] {
            let bytes = rng.bytes(len);
            bench.put(&bytes).map_err(|e| e.to_string())?;
        }
        bench.put(&rng.bytes(60)).map_err(|e| e.to_string())?;
        if rng.chance(1, 2) {
            bench.checkpoint().map_err(|e| e.to_string())?;
        }
        bench.rest();
        let mut whole = BTreeMap::new();
        for (no, disk) in (0u8..).map(DiskNo).zip(&bench.machine.disks) {
            for (path, _) in disk.files() {
                let pack = path.rsplit('/').next().and_then(layout::shard_pack);
                if let Some((pack, bytes)) = pack.zip(disk.peek(&path)) {
                    whole.insert((pack, no), bytes);
                }
            }
        }
        let (rotten, known) = (BTreeMap::new(), BTreeSet::new());
        let telling = std::env::var_os("COFFRE_TELL").is_some();
        Ok(Self { case, rng, bench, whole, rotten, known, now_ms: 0, telling, seen: RotSeen::default() })
    }

    fn play(mut self) -> Result<RotSeen, String> {
        let bad_days = 4 + self.rng.below(20);
        for hour in (0..(bad_days + QUIET_DAYS) * 24).step_by(HOURS_AT_ONCE as usize) {
            if hour < bad_days * 24 && self.rng.chance(1, 8) {
                self.bad_hour()?;
            }
            self.look_after()?;
            self.check()?;
            self.tell(|| "checked".into());
            self.pass_time();
        }
        if let Some((place, since)) = self.rotten.first_key_value() {
            return Err(format!("{place:?} is not whole, since hour {}", since / 3_600_000));
        }
        self.bench.check(true)?;
        Ok(self.seen)
    }

    fn core(&self) -> Result<Arc<Core>, String> {
        self.bench.core().cloned().ok_or_else(|| "the box is off".into())
    }

    fn pass_time(&mut self) {
        let ms = HOURS_AT_ONCE * 3_600_000;
        self.now_ms += ms;
        self.bench.rest();
        self.bench.pass_time(ms);
    }

    /// What the daemon's threads do: look, heal, note, until nothing is due. With the power on a fuse it may go out in the
    /// middle of any of it.
    fn look_after(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let core = self.core()?;
            for _ in 0..MANY {
                let worked = core.scrub_step();
                self.bench.settle(MANY);
                self.bench.machine.keep_note(&core);
                let healed = self.bench.heal().unwrap_or(0);
                if self.bench.machine.power.is_out() || !worked && healed == 0 {
                    break;
                }
            }
            // What failed once rests before it is tried again.
            if self.bench.machine.power.is_out() {
                drop(core);
                self.come_up_again()?;
            }
            self.bench.rest();
            self.bench.pass_time(60_000);
            self.bench.look_out().map_err(|e| e.to_string())?;
            self.bench.rest();
        }
        Ok(())
    }

    /// With `COFFRE_TELL` set, a run tells its story on stderr: for replaying one seed.
    fn tell(&self, what: impl Fn() -> String) {
        if self.telling {
            let up = self.bench.core().map(|core| core.report()).map(|r| {
                let disks: Vec<_> = r.disks.iter().map(|d| (d.1, d.3)).collect();
                format!("{disks:?} owes {:?}, not now {:?}", r.debt, r.wounds.exceptions)
            });
            let (hour, up) = (self.now_ms / 3_600_000, up.unwrap_or_default());
            eprintln!("hour {hour} {} | rotten {:?} known {:?} | {up}", what(), self.rotten, self.known);
        }
    }

    fn come_up_again(&mut self) -> Result<(), String> {
        self.tell(|| "going down".into());
        if self.rng.chance(1, 3) {
            self.seen.kills += 1;
            self.bench.kill();
        } else {
            self.seen.cuts += 1;
            self.bench.power_cut(&mut self.rng);
            self.recount();
        }
        if self.rng.chance(1, 3) {
            self.lose_a_file();
        }
        let all = self.bench.all();
        self.bench.boot(all).map_err(|e| format!("it does not come up: {e}"))?;
        self.bench.rest();
        self.tell(|| "up again".into());
        self.still_knows()
    }

    /// What it knew before it went down it knows now, or the shard is whole.
    fn still_knows(&mut self) -> Result<(), String> {
        let core = self.core()?;
        for (pack, disk) in self.known.clone() {
            let knows = core.with(|e| e.lost_shards(&pack).has(disk));
            if !knows && !self.is_whole((pack, disk)) {
                return Err(format!("shard {pack} on disk {disk} was known to be lost, and is forgotten"));
            }
        }
        Ok(())
    }

    fn bad_hour(&mut self) -> Result<(), String> {
        let dice = self.rng.below(10);
        self.tell(|| format!("bad hour {dice}"));
        match dice {
            0..=4 => {
                self.rot_a_shard();
            }
            5 => self.lose_a_file(),
            6 => self.rot_a_journal(),
            7 => {
                self.rot_a_shard();
                let disk = self.any_disk();
                disk.faults(|f| f.fail_reads = Strike::Next(1));
            }
            8 => {
                // A write of the healing goes astray and spoils another file of its disk: only while nothing else is bad,
                // so that no pack lacks more than it may.
                if !self.rotten.is_empty() {
                    return Ok(());
                }
                if let Some((_, disk)) = self.rot_a_shard() {
                    self.astray(disk);
                    // It may have hit both slots of the label: the box that is up writes them anew, one that was cut off
                    // before would have lost the disk.
                    self.core()?.scrub_ask(false);
                    return self.look_after();
                }
            }
            _ => self.lose_a_disk_for_a_while()?,
        }
        if self.rng.chance(1, 3) {
            self.rot_a_shard();
            self.bench.machine.power.cut_after(1 + self.rng.below(200));
        }
        Ok(())
    }

    /// The healing's write of a shard that is known to be bad lands on another file, of the same disk.
    fn astray(&mut self, disk: DiskNo) {
        let sim = self.bench.disk(disk).clone();
        if let Some(core) = self.bench.core().cloned() {
            core.scrub_ask(true);
            for _ in 0..MANY {
                if !core.scrub_step() {
                    break;
                }
                self.bench.settle(MANY);
            }
            self.bench.machine.keep_note(&core);
            // What was not noted any more before the power went may be forgotten.
            if !self.bench.machine.power.is_out() {
                self.note_known(&core);
            }
            sim.faults(|f| f.misdirect_writes = Strike::Next(2));
            let _ = self.bench.heal();
            self.bench.rest();
            sim.faults(|f| f.misdirect_writes = Strike::Never);
            self.recount();
        }
    }

    fn any_disk(&mut self) -> &crate::sim::SimDisk {
        let n = self.rng.index(self.bench.machine.disks.len());
        &self.bench.machine.disks[n]
    }

    /// A shard that may rot: its pack misses fewer than m others.
    fn choose(&mut self) -> Option<Place> {
        let bad: BTreeSet<Place> = self.rotten.keys().copied().collect();
        let may = |(pack, disk): &Place| {
            let others = bad.iter().filter(|(p, d)| p == pack && d != disk).count();
            others < usize::from(self.case.m)
        };
        let may: Vec<Place> = self.whole.keys().filter(|p| may(p)).copied().collect();
        self.rng.pick(&may).copied()
    }

    fn rot_a_shard(&mut self) -> Option<Place> {
        let place = self.choose()?;
        let path = layout::shard(place.0);
        let disk = self.bench.disk(place.1).clone();
        if self.rng.chance(1, 12) {
            let len = self.rng.below(self.whole.get(&place)?.len() as u64);
            disk.truncate(&path, len);
        } else {
            disk.rot(Some(&path), &mut self.rng);
        }
        self.hit(place);
        Some(place)
    }

    /// A file system check threw one away: its content is cut to nothing, and its name goes.
    fn lose_a_file(&mut self) {
        if let Some(place) = self.choose() {
            let disk = self.bench.disk(place.1).clone();
            let path = layout::shard(place.0);
            if disk.lose(&path) {
                self.hit(place);
            }
        }
    }

    /// Rot in what the light round compares, on one disk: the others have it.
    fn rot_a_journal(&mut self) {
        let no = DiskNo(self.rng.index(self.bench.machine.disks.len()) as u8);
        let disk = self.bench.disk(no).clone();
        let files: Vec<String> = disk.files().into_iter().map(|f| f.0).collect();
        let kept = |p: &&String| {
            p.starts_with(layout::JOURNAL) || p.starts_with(layout::CHECKPOINTS) || *p == layout::LABEL
        };
        let files: Vec<&String> = files.iter().filter(kept).collect();
        let picked = self.rng.pick(&files).copied();
        let keys = &self.bench.machine.keys;
        // A disk whose label is gone in both slots is a disk that is lost, until its owner comes: none of the bad days here.
        if let Some(path) = picked.filter(|path| *path != layout::LABEL || both_slots_are_good(&disk, keys)) {
            disk.rot(Some(path), &mut self.rng);
            self.seen.journals += 1;
        }
    }

    fn lose_a_disk_for_a_while(&mut self) -> Result<(), String> {
        self.rot_a_shard();
        let no = DiskNo(self.rng.index(self.bench.machine.disks.len()) as u8);
        let core = self.core()?;
        core.scrub_ask(true);
        for _ in 0..self.rng.below(40) {
            core.scrub_step();
            self.bench.settle(3);
            core.heal_one();
        }
        self.bench.disk(no).unplug();
        core.event(coffre_vault::engine::Event::Gone(no, "pulled".into()));
        self.bench.rest();
        let disk = self.bench.disk(no).clone();
        disk.plug(&mut self.rng);
        self.recount();
        Ok(())
    }

    fn is_whole(&self, place: Place) -> bool {
        let there = self.bench.disk(place.1).peek(&layout::shard(place.0));
        there.as_ref() == self.whole.get(&place)
    }

    /// After something that may damage any file: which ones differ now.
    fn recount(&mut self) {
        let places: Vec<Place> = self.whole.keys().copied().collect();
        places.into_iter().for_each(|place| self.hit(place));
    }

    /// A shard may have been damaged just now. One that the box has healed since it was last asked is damaged anew, and the
    /// box need not know of that.
    fn hit(&mut self, place: Place) {
        if self.is_whole(place) {
            return;
        }
        let counts = |core: &Arc<Core>| core.with(|e| !e.lost_shards(&place.0).has(place.1));
        if self.bench.core().is_some_and(counts) && self.known.remove(&place) {
            self.rotten.remove(&place);
        }
        if self.rotten.insert(place, self.now_ms).is_none() {
            self.seen.rotten += 1;
        }
    }

    fn note_known(&mut self, core: &Core) {
        let knows = |(pack, disk): &&Place| core.with(|e| e.lost_shards(pack).has(*disk));
        self.known = self.whole.keys().filter(knows).copied().collect();
    }

    fn check(&mut self) -> Result<(), String> {
        let core = self.core()?;
        let report = core.report();
        let counting: DiskSet = self.bench.all();
        let before = self.known.clone();
        self.note_known(&core);
        for place in before.iter().filter(|p| !self.known.contains(p)) {
            if !self.is_whole(*place) {
                return Err(format!("shard {} on disk {} counts as healed, and is not", place.0, place.1));
            }
        }
        let here = |p: &Place| counting.has(p.1);
        if self.known.iter().any(here) && report.debt.is_empty() && report.stalled.is_none() {
            return Err(format!("{:?} are known to be bad, and it is at full strength", self.known));
        }
        let (now_ms, mut longest_ms) = (self.now_ms, 0);
        let rotten = std::mem::take(&mut self.rotten);
        for (place, since_ms) in rotten {
            if self.is_whole(place) {
                self.seen.healed += 1;
                longest_ms = longest_ms.max(now_ms - since_ms);
            } else if now_ms - since_ms > LIMIT_MS {
                let (hours, known) = ((now_ms - since_ms) / 3_600_000, self.known.contains(&place));
                return Err(format!(
                    "shard {place:?} is rotten since {hours} hours (known: {known}): {report:?}"
                ));
            } else {
                self.rotten.insert(place, since_ms);
            }
        }
        self.seen.longest_hours = self.seen.longest_hours.max(longest_ms / 3_600_000);
        Ok(())
    }
}
