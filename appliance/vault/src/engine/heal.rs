//! Healing as the engine sees it: which pack is next, what is on its way, what could not be healed now.
//!
//! A shard that is missing or bad on a disk that counts is made again on that very disk, under the same pack id: the bytes
//! follow from its siblings. The packs nearest to their loss come first. One that cannot be healed now goes on the
//! list of exceptions and is tried again later; it keeps none of the others waiting. There is no cursor to lose: what is
//! healed stands under its name on the disk, which is asked for its names whenever it comes.
//!
//! Only what a job has read back and proved leaves the maps of missing and bad shards.

use super::Engine;
use super::disks::What;
use crate::catalog::pack_tolerance;
use crate::inspect::Wanted;
use crate::lane::{Done, Job};
use crate::ports::DiskError;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::PackFact;
use coffre_core::ids::{DiskId, DiskNo, PackId};
use coffre_core::shard::Rebuilt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of shards that may be in memory on their way to be healed; one pack is always allowed.
const MAX_BYTES_UNDER_WAY: u64 = 24 << 20;
/// While there is work in the queue, what came meanwhile is sorted into it at most this often.
const SORT_EVERY_MS: u64 = 1_000;
/// How long the first exception waits; each next failure of the same pack doubles it,
const FIRST_REST_MS: u64 = 30_000;
/// up to this.
const LONGEST_REST_MS: u64 = 3_600_000;
/// Exceptions told by name; there may be more.
const EXCEPTIONS_TOLD: usize = 16;

/// A pack to be healed now.
#[derive(Clone, Debug)]
pub struct Wound {
    /// The pack.
    pub pack: PackFact,
    /// Its shards to make again: number, and the disk to be named in the header.
    pub shards: Vec<(usize, DiskId)>,
    /// How many more shards it may miss; negative when it lacks some itself.
    pub tolerance: i32,
}

/// What healing has to do and does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wounds {
    /// Packs that lack shards on disks that are there.
    pub packs: u64,
    /// Bytes of the shards to be written.
    pub bytes: u64,
    /// Packs that could not be healed at the last attempt, with why; the first of them by name.
    pub exceptions: Vec<(PackId, String)>,
    /// How many such packs.
    pub exceptional: u64,
    /// Shards healed and proved since the box came up.
    pub healed: u64,
    /// Bytes healed per second since this run of healing began.
    pub bytes_per_s: Option<u64>,
}

/// What the engine keeps for it.
#[derive(Default)]
pub(super) struct Healing {
    /// Tolerance left and pack, the worst last.
    queue: Vec<(i32, PackId)>,
    /// Something changed since the queue was sorted.
    stale: bool,
    sorted_ms: u64,
    under_way: BTreeMap<PackId, UnderWay>,
    exceptions: BTreeMap<PackId, Exception>,
    healed: u64,
    /// When the run began, and the bytes healed in it.
    run: Option<(u64, u64)>,
}

struct UnderWay {
    bytes: u64,
    jobs: usize,
    /// Whoever makes the shards has handed in all of them.
    handed_in: bool,
}

struct Exception {
    why: String,
    tries: u32,
    again_ms: u64,
    full: bool,
}

impl Healing {
    /// Shards were found or lost: the queue is sorted again.
    pub fn changed(&mut self) {
        self.stale = true;
    }

    /// A disk came: what could not be healed may be now.
    pub fn try_all_again(&mut self) {
        self.exceptions.clear();
        self.stale = true;
    }

    pub fn dropped(&mut self, pack: &PackId) {
        self.exceptions.remove(pack);
    }

    /// Whether there is any such pack as [`no_room_for`](Self::no_room_for) asks about.
    pub fn anything_without_room(&self) -> bool {
        self.exceptions.values().any(|e| e.full)
    }

    /// Whether a pack cannot be healed because its disk has no room.
    pub fn no_room_for(&self, pack: &PackId) -> bool {
        self.exceptions.get(pack).is_some_and(|e| e.full)
    }
}

impl Engine {
    /// The next pack to be healed, taken: whoever asked makes its shards, hands them to [`heal`](Self::heal) or to
    /// [`prove`](Self::prove), and says [`healing_done`](Self::healing_done). `None` when nothing is to be healed now, or
    /// enough is on its way.
    pub fn next_wound(&mut self) -> Option<Wound> {
        if self.coord.writable().is_err() {
            return None;
        }
        self.sort_wounds();
        let busy: u64 = self.healing.under_way.values().map(|u| u.bytes).sum();
        loop {
            let (tolerance, id) = *self.healing.queue.last()?;
            let lost = self.lost_here(&id);
            let Some(pack) = self.catalog.pack(&id).filter(|_| !lost.is_empty()) else {
                self.healing.queue.pop();
                continue;
            };
            let each = Wanted::new(self.keys.vault(), pack, 0).map_or(0, |w| w.file_len());
            if busy > 0 && busy + each > MAX_BYTES_UNDER_WAY {
                return None;
            }
            let at_once = (MAX_BYTES_UNDER_WAY.saturating_sub(busy) / each.max(1)).max(1) as usize;
            let here = pack.disks.iter().enumerate().filter(|(_, d)| lost.has(**d));
            let shards: Vec<(usize, DiskId)> =
                here.map(|(n, d)| (n, self.slots[d.ix()].id)).take(at_once).collect();
            let wound = Wound { pack: pack.clone(), shards, tolerance };
            self.healing.queue.pop();
            let bytes = each * wound.shards.len() as u64;
            self.healing.under_way.insert(id, UnderWay { bytes, jobs: 0, handed_in: false });
            self.healing.run.get_or_insert((self.now_ms, 0));
            return Some(wound);
        }
    }

    /// Gives a shard that was made again to its disk, if the pack still lacks it there.
    pub fn heal(&mut self, pack: PackId, shard: usize, rebuilt: Arc<Rebuilt>) {
        self.give_healing(pack, shard, |wanted| Job::Heal { shard: rebuilt, wanted });
    }

    /// Has a shard that looks whole made durable and read again, if it still counts as lost.
    pub fn prove(&mut self, pack: PackId, shard: usize) {
        self.give_healing(pack, shard, Job::Prove);
    }

    fn give_healing(&mut self, id: PackId, shard: usize, job: impl FnOnce(Arc<Wanted>) -> Job) {
        let fact = self.catalog.pack(&id);
        let Some(wanted) = fact.and_then(|f| Wanted::new(self.keys.vault(), f, shard)) else { return };
        let disk = wanted.disk();
        let Some(under_way) = self.healing.under_way.get_mut(&id) else { return };
        if self.coord.counting().has(disk) && self.missing.get(&id).is_some_and(|m| m.has(disk)) {
            under_way.jobs += 1;
            self.give_as(disk, job(Arc::new(wanted)), What::Heal(id));
        }
    }

    /// Everything of a wound was handed in; with `trouble`, not all of it could be made.
    pub fn healing_done(&mut self, pack: PackId, trouble: Option<String>) {
        if let Some(why) = trouble {
            self.not_healed(pack, why, false);
        }
        if let Some(under_way) = self.healing.under_way.get_mut(&pack) {
            under_way.handed_in = true;
        }
        self.end_healing(pack);
    }

    /// A job of a wound came back, whatever became of its disk meanwhile.
    pub(super) fn healing_job_done(
        &mut self,
        id: PackId,
        disk: DiskNo,
        current: bool,
        result: &Result<Done, DiskError>,
    ) {
        match result {
            Ok(Done { damage: None, .. }) if current => self.proved(id, disk),
            Ok(Done { damage: Some(damage), .. }) => {
                let why = format!("read back from disk {disk}: {damage}");
                self.not_healed(id, why, false);
            }
            Ok(_) => self.not_healed(id, format!("disk {disk} went meanwhile"), false),
            Err(e) => {
                let full = matches!(e, DiskError::Full(_));
                self.not_healed(id, format!("disk {disk}: {e}"), full);
            }
        }
        if let Some(under_way) = self.healing.under_way.get_mut(&id) {
            under_way.jobs -= 1;
        }
        self.end_healing(id);
    }

    fn proved(&mut self, id: PackId, disk: DiskNo) {
        for map in [&mut self.bad, &mut self.missing] {
            if let Some(set) = map.get_mut(&id) {
                *set = set.without(disk);
            }
            map.retain(|_, set| !set.is_empty());
        }
        self.healing.healed += 1;
        let fact = self.catalog.pack(&id);
        let bytes = fact.and_then(|f| Wanted::new(self.keys.vault(), f, 0)).map_or(0, |w| w.file_len());
        if let Some((_, done)) = &mut self.healing.run {
            *done += bytes;
        }
        self.finds_changed();
    }

    fn end_healing(&mut self, id: PackId) {
        if self.healing.under_way.get(&id).is_none_or(|u| u.jobs > 0 || !u.handed_in) {
            return;
        }
        self.healing.under_way.remove(&id);
        if self.lost_here(&id).is_empty() {
            self.healing.exceptions.remove(&id);
        } else {
            self.healing.stale = true;
        }
        if self.healing.under_way.is_empty() && self.healing.queue.is_empty() {
            self.healing.run = None;
        }
    }

    fn not_healed(&mut self, id: PackId, why: String, full: bool) {
        let tries = self.healing.exceptions.get(&id).map_or(0, |e| e.tries) + 1;
        let rest_ms = (FIRST_REST_MS << (tries - 1).min(16)).min(LONGEST_REST_MS);
        let again_ms = self.now_ms.saturating_add(rest_ms);
        self.healing.exceptions.insert(id, Exception { why, tries, again_ms, full });
    }

    /// Sorts what is to be healed, when something changed: the packs that may miss the fewest shards come last, and are
    /// taken first.
    fn sort_wounds(&mut self) {
        let due = self.healing.exceptions.values().any(|e| e.again_ms <= self.now_ms);
        let soon = self.healing.queue.is_empty()
            || self.now_ms.saturating_sub(self.healing.sorted_ms) >= SORT_EVERY_MS;
        if !soon || !(self.healing.stale || due && self.healing.queue.is_empty()) {
            return;
        }
        let rests = |id: &PackId| {
            self.healing.under_way.contains_key(id)
                || self.healing.exceptions.get(id).is_some_and(|e| e.again_ms > self.now_ms)
        };
        let there = self.coord.counting();
        let wounds = self.missing.keys().filter(|id| !rests(id) && !self.lost_here(id).is_empty());
        let worth =
            |id: &PackId| Some((pack_tolerance(self.catalog.pack(id)?, there, self.lost_shards(id)), *id));
        let mut queue: Vec<(i32, PackId)> = wounds.filter_map(worth).collect();
        queue.sort_unstable_by(|a, b| b.cmp(a));
        self.healing.queue = queue;
        self.healing.stale = false;
        self.healing.sorted_ms = self.now_ms;
    }

    /// Disks that count and lack their shard of a live pack.
    pub(super) fn lost_here(&self, id: &PackId) -> DiskSet {
        let lost = self.missing.get(id).copied().unwrap_or_default().and(self.coord.counting());
        let on: DiskSet =
            self.catalog.pack(id).map(|p| p.disks.iter().copied().collect()).unwrap_or_default();
        lost.and(on)
    }

    /// Disks that do not have their shard of a pack, or have it damaged, as far as is known.
    pub fn lost_shards(&self, id: &PackId) -> DiskSet {
        self.missing.get(id).copied().unwrap_or_default()
    }

    /// Of those, the disks that have no such file.
    pub fn absent_shards(&self, id: &PackId) -> DiskSet {
        let bad = self.bad.get(id).copied().unwrap_or_default();
        self.lost_shards(id).iter().filter(|d| !bad.has(*d)).collect()
    }

    /// Whether shards are on their way to be healed: then [`next_wound`](Self::next_wound) may have more soon.
    pub fn healing_goes_on(&self) -> bool {
        !self.healing.under_way.is_empty()
    }

    /// What healing has to do and does.
    pub fn wounds(&self) -> Wounds {
        let mut wounds = Wounds { healed: self.healing.healed, ..Wounds::default() };
        for id in self.missing.keys() {
            let lost = self.lost_here(id).len() as u64;
            if let Some(pack) = self.catalog.pack(id).filter(|_| lost > 0) {
                wounds.packs += 1;
                let each = Wanted::new(self.keys.vault(), pack, 0).map_or(0, |w| w.file_len());
                wounds.bytes += each * lost;
            }
        }
        let told = self.healing.exceptions.iter().take(EXCEPTIONS_TOLD);
        wounds.exceptions = told.map(|(id, e)| (*id, e.why.clone())).collect();
        wounds.exceptional = self.healing.exceptions.len() as u64;
        wounds.bytes_per_s = self.healing.run.and_then(|(since_ms, bytes)| {
            let ms = self.now_ms.saturating_sub(since_ms);
            (ms > 0 && bytes > 0).then(|| bytes.saturating_mul(1_000) / ms)
        });
        wounds
    }

    /// Shards that were found damaged and are not healed, with the disks they are on: what must outlive a restart.
    pub fn found_bad(&self) -> Vec<(PackId, DiskSet)> {
        let mut bad: Vec<(PackId, DiskSet)> = self.bad.iter().map(|(id, set)| (*id, *set)).collect();
        bad.sort_unstable_by_key(|(id, _)| *id);
        bad
    }

    /// Counts how often [`found_bad`](Self::found_bad) changed.
    pub fn finds_version(&self) -> u64 {
        self.finds_version
    }

    pub(super) fn finds_changed(&mut self) {
        self.finds_version += 1;
    }

    /// What was found before a restart still counts, if its pack is live.
    pub fn recall_bad(&mut self, finds: &[(PackId, DiskSet)]) {
        for (id, disks) in finds {
            let shards: Vec<usize> = self
                .catalog
                .pack(id)
                .map_or_else(Vec::new, |p| (0..p.disks.len()).filter(|n| disks.has(p.disks[*n])).collect());
            for shard in shards {
                self.note_bad(*id, shard);
            }
        }
    }
}
