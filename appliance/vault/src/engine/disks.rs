//! Disks as the engine sees them: what was given to each, what came back, who is suspect.
//!
//! A disk that fails or hangs stops counting at once; nothing that was acknowledged rested on it alone, and what was on
//! its way is encoded again for the others. It is looked at again only when every job it was ever given has come
//! back, so that a write that hung for an hour can never land on a disk that has moved on.

use super::{Engine, JobId};
use crate::lane::{Done, Guard, Job};
use crate::ports::DiskError;
use crate::survey::{Survey, Tip};
use coffre_core::coord::Anchor;
use coffre_core::diskset::DiskSet;
use coffre_core::flaw::Flaw;
use coffre_core::ids::{DiskId, DiskNo, PackId};
use coffre_core::label::Label;
use coffre_core::scrub::Thing;
use std::collections::HashSet;

/// What a disk is to the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// In use or coming into use.
    Attached,
    /// Not there.
    Absent,
    /// Failed or hung.
    Suspect,
    /// Another process has it.
    Held,
    /// Something else stands in its place.
    Foreign,
    /// It was taken out of the roster.
    Retired,
}

/// One place of the roster.
pub(super) struct Slot {
    pub id: DiskId,
    pub state: SlotState,
    pub reason: Option<String>,
    pub label: Option<Label>,
    /// How its journal ended when it was read, until an epoch is promised on it.
    pub tip: Option<Tip>,
    /// Jobs given and not come back, of this attachment and earlier ones.
    pub outstanding: usize,
    /// Per lane (journal, bulk): jobs outstanding, and when the lane last moved.
    pub lanes: [Lane; 2],
    /// Counts attachments: what an earlier one still does no longer matters.
    pub attachment: u64,
    /// No room for packs at the last attempt.
    pub full: bool,
    /// Its ballast was given up.
    pub ballast_spent: bool,
    /// Files on it that are called like checkpoints and are not whole.
    pub not_whole: Vec<u64>,
    /// Something failed on it: what it shows may stand in a cache only until the next power cut.
    pub distrusted: bool,
}

/// How one of a disk's lanes moves. A job that waits behind others is not late; a lane that stands still is.
#[derive(Clone, Copy, Default)]
pub(super) struct Lane {
    outstanding: usize,
    moved_ms: u64,
    /// What the largest job given to it may take beyond the usual, since it last had none.
    allowance_ms: u64,
}

/// Bytes per millisecond that the slowest healthy disk writes.
const SLOWEST_BYTES_PER_MS: u64 = 4_000;

/// A job that was given.
pub(super) struct Given {
    disk: DiskNo,
    lane: usize,
    attachment: u64,
    what: What,
}

/// What to tell whom when a job comes back.
#[derive(Clone, Debug)]
pub(super) enum What {
    Promise(u64),
    Mark(u64),
    /// What it had lost of its journal and gets back.
    Prepare(Vec<Thing>),
    Write(u64),
    Shard(PackId),
    Checkpoint(Anchor),
    List,
    Heal(PackId),
    Audit,
    /// Nobody waits for it.
    Other,
}

/// What of a journal's base and records a disk once had, and lost. What it lacks beyond `claimed` never reached it, as far as
/// anybody knows: a power cut does that.
pub(super) fn lost(base: Option<Anchor>, holes: &[u64], claimed: u64) -> Vec<Thing> {
    let base = base.map(|a| a.seq).filter(|seq| *seq <= claimed).map(Thing::Checkpoint);
    base.into_iter()
        .chain(holes.iter().filter(|seq| **seq <= claimed).map(|seq| Thing::Record(*seq)))
        .collect()
}

impl Slot {
    /// One for each disk of the roster; `joined`: what those that belong to it already show.
    pub fn all(roster: &[DiskId], joined: &[Option<&Survey>]) -> Vec<Self> {
        let slot = |(id, survey): (&DiskId, &Option<&Survey>)| Self {
            id: *id,
            state: if survey.is_some() { SlotState::Attached } else { SlotState::Absent },
            reason: None,
            label: survey.as_ref().map(|s| s.label.clone()),
            tip: survey.as_ref().map(|s| s.tip),
            outstanding: 0,
            lanes: [Lane::default(); 2],
            attachment: 1,
            full: false,
            ballast_spent: false,
            not_whole: survey.as_ref().map(|s| s.not_whole.clone()).unwrap_or_default(),
            distrusted: false,
        };
        roster.iter().zip(joined).map(slot).collect()
    }
}

impl Engine {
    /// Disks that are not attached and have nothing outstanding: worth a look.
    pub fn wants_probe(&self) -> DiskSet {
        let away = |s: &Slot| !matches!(s.state, SlotState::Attached | SlotState::Retired);
        let open = |s: &Slot| away(s) && s.outstanding == 0;
        self.slots.iter().enumerate().filter(|(_, s)| open(s)).map(|(i, _)| DiskNo(i as u8)).collect()
    }

    /// Notes why a disk could not be attached.
    pub fn probe_failed(&mut self, disk: DiskNo, state: SlotState, reason: String) {
        let slot = &mut self.slots[disk.ix()];
        if !matches!(slot.state, SlotState::Attached | SlotState::Retired) {
            slot.state = state;
            slot.reason = Some(reason);
        }
    }

    /// Counts a shard as bad; says on which disk, unless that was known.
    pub(super) fn note_bad(&mut self, pack: PackId, shard: usize) -> Option<DiskNo> {
        let disk = self.catalog.pack(&pack).and_then(|p| p.disks.get(shard).copied())?;
        if self.bad.get(&pack).is_some_and(|set| set.has(disk)) {
            return None;
        }
        for map in [&mut self.bad, &mut self.missing] {
            let set = map.entry(pack).or_default();
            *set = set.with(disk);
        }
        self.healing.changed();
        self.finds_changed();
        Some(disk)
    }

    /// Disks that are there.
    pub fn present(&self) -> DiskSet {
        self.coord.in_use()
    }

    /// Whether a pack can be read with the disks there are and the shards that are not known to be bad.
    pub fn readable(&self, pack: &coffre_core::fact::PackFact) -> bool {
        crate::catalog::pack_tolerance(pack, self.coord.in_use(), self.lost_shards(&pack.id)) >= 0
    }

    /// A disk was seen to have room: it takes packs again.
    pub fn has_room(&mut self, disk: DiskNo) {
        if let Some(slot) = self.slots.get_mut(disk.ix()) {
            slot.full = false;
            if std::mem::take(&mut slot.ballast_spent) && slot.state == SlotState::Attached {
                self.give(disk, Job::Ballast(self.limits.ballast_len));
            }
        }
    }

    /// Whether a job still matters: its disk was not lost since it was given.
    pub fn still_wanted(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|g| self.slots[g.disk.ix()].attachment == g.attachment)
    }

    pub(super) fn give(&mut self, disk: DiskNo, job: Job) {
        let what = match &job {
            Job::Label(label, _) => What::Promise(label.promised),
            Job::Prepare(_) => What::Prepare(Vec::new()),
            Job::Shard { pack, .. } => What::Shard(pack.id()),
            Job::Checkpoint { anchor, .. } => What::Checkpoint(*anchor),
            Job::ListShards => What::List,
            Job::Heal { wanted, .. } | Job::Prove(wanted) => What::Heal(wanted.pack()),
            Job::Audit(_) => What::Audit,
            Job::Journal { .. } | Job::RemoveShard(_) | Job::Forget { .. } | Job::Ballast(_) => What::Other,
        };
        self.give_as(disk, job, what);
    }

    pub(super) fn give_write(&mut self, disk: DiskNo, to: u64, job: Job) {
        self.give_as(disk, job, What::Write(to));
    }

    pub(super) fn give_as(&mut self, disk: DiskNo, job: Job, what: What) {
        // R10: who was passed writes nothing any more, on no disk.
        if self.coord.is_taken() && !matches!(job, Job::ListShards) {
            return;
        }
        let id = JobId(self.fresh());
        let lane = usize::from(!job.is_journal());
        let slot = &mut self.slots[disk.ix()];
        slot.outstanding += 1;
        if slot.lanes[lane].outstanding == 0 {
            slot.lanes[lane] = Lane { moved_ms: self.now_ms, ..Lane::default() };
        }
        slot.lanes[lane].outstanding += 1;
        let allowance_ms = job.bytes() / SLOWEST_BYTES_PER_MS;
        slot.lanes[lane].allowance_ms = slot.lanes[lane].allowance_ms.max(allowance_ms);
        self.jobs.insert(id, Given { disk, lane, attachment: slot.attachment, what });
        self.effects.push_back(super::Effect::Job(id, disk, job));
    }

    pub(super) fn promise(&mut self, disk: DiskNo, epoch: u64) {
        let Some(label) = self.slots[disk.ix()].label.as_mut() else {
            return self.lose(disk, SlotState::Suspect, "it has no label".into());
        };
        label.generation += 1;
        label.promised = label.promised.max(epoch);
        label.owner = self.owner;
        let label = label.clone();
        // Later epochs of this mount go on from what it wrote itself.
        let tip = self.slots[disk.ix()].tip.take();
        self.give(disk, Job::Label(label, tip));
    }

    pub(super) fn job_done(&mut self, id: JobId, result: Result<Done, DiskError>) {
        let Some(given) = self.jobs.remove(&id) else { return };
        let disk = given.disk;
        let slot = &mut self.slots[disk.ix()];
        slot.outstanding -= 1;
        slot.lanes[given.lane].outstanding -= 1;
        slot.lanes[given.lane].moved_ms = self.now_ms;
        // Whatever went wrong, and be it only that the folder was moved away: what was written may stand in a cache. A box that
        // is short of descriptors has not even asked the disk.
        slot.distrusted |= result.as_ref().is_err_and(|e| !matches!(e, DiskError::Shortage { .. }));
        if result.as_ref().is_ok_and(|done| done.ballast_spent) {
            // The room that this made is the journal's, not that of new packs.
            slot.ballast_spent = true;
            slot.full = true;
        }
        let current = slot.attachment == given.attachment;
        if let What::Heal(pack) = given.what {
            self.healing_job_done(pack, disk, current, &result);
        }
        if matches!(given.what, What::Audit) {
            self.audit_done(disk, &result);
        }
        if !current {
            return;
        }
        match (given.what, result) {
            (What::Shard(pack), Err(DiskError::Full(why))) => {
                self.slots[disk.ix()].full = true;
                self.shard_failed(pack, Some(why));
            }
            (What::Checkpoint(_), Err(DiskError::Full(_))) => self.slots[disk.ix()].full = true,
            // Neither no room for one more shard nor a foreign thing in its place says anything about the rest.
            (What::Heal(_), Err(DiskError::Full(_))) => {}
            (_, Err(DiskError::Taken(why))) => self.taken(disk, why),
            (What::Heal(_), Err(e)) if e.is_no_file() => {}
            (What::Checkpoint(_), Err(e)) if e.is_no_file() => self.checkpoint_lost(disk),
            (_, Err(e)) => {
                let gone = matches!(e, DiskError::Gone(_));
                let state = if gone { SlotState::Absent } else { SlotState::Suspect };
                self.lose(disk, state, e.to_string());
            }
            (What::Promise(epoch), Ok(_)) => self.coord.promised(disk, epoch, true),
            (What::Mark(version), Ok(_)) => self.coord.marked(disk, version, true),
            (What::Prepare(lost), Ok(_)) => self.disk_prepared(disk, &lost),
            (What::Write(to), Ok(_)) => self.coord.wrote(disk, to, true),
            (What::Shard(pack), Ok(_)) => self.shard_written(pack, disk),
            (What::Checkpoint(anchor), Ok(_)) => self.checkpoint_written(disk, anchor),
            (What::List, Ok(done)) => self.shards_listed(disk, &done.shards),
            (What::Heal(_) | What::Audit | What::Other, Ok(_)) => {}
        }
    }

    /// R10: somebody else has the disks. Nothing is acknowledged from here on.
    fn taken(&mut self, disk: DiskNo, why: String) {
        self.coord.taken_over();
        self.lose(disk, SlotState::Foreign, why);
    }

    /// Takes what a disk's label shows now. What was read before this mount's own newest promise is older than that, and says nothing.
    pub(super) fn label_shown(&mut self, disk: DiskNo, there: &Label) {
        let known = self.slots[disk.ix()].label.as_ref().map(Guard::of);
        if known.is_some_and(|guard| guard.is_passed_by(there)) && !self.flaw(Flaw::NeverLookAgain) {
            self.taken(
                disk,
                format!(
                    "another box, or another coffred, has taken it over (it promised epoch {})",
                    there.promised
                ),
            );
        }
    }

    /// Whose disk it must be for a write of this mount to count; `None` without a label.
    pub(super) fn guard(&self, disk: DiskNo) -> Option<Guard> {
        self.slots[disk.ix()].label.as_ref().map(Guard::of)
    }

    /// Whether a checkpoint of this number can ever have been written: anything else is somebody's file, not damage.
    pub(super) fn may_be_ours(&self, seq: u64) -> bool {
        seq <= self.coord.head().seq
    }

    fn disk_prepared(&mut self, disk: DiskNo, lost: &[Thing]) {
        self.coord.prepared(disk, true);
        self.journal_mended(disk, lost);
        self.slots[disk.ix()].full = false;
        self.slots[disk.ix()].distrusted = false;
        self.healing.try_all_again();
        self.give(disk, Job::ListShards);
        if self.limits.ballast_len > 0 {
            self.give(disk, Job::Ballast(self.limits.ballast_len));
        }
    }

    pub(super) fn lose(&mut self, disk: DiskNo, state: SlotState, reason: String) {
        let slot = &mut self.slots[disk.ix()];
        if slot.state != SlotState::Attached {
            return;
        }
        slot.state = state;
        slot.reason = Some(reason);
        slot.attachment += 1;
        self.swept = false;
        self.healing.changed();
        self.listed = self.listed.without(disk);
        self.coord.lost(disk);
        self.flights_lost(disk);
        self.checkpoint_lost(disk);
    }

    /// Whoever does this job waits for something that the box is short of, and will go on: its disk is not late. `false` when the
    /// job does not matter any more.
    pub fn bear_with(&mut self, job: JobId) -> bool {
        if !self.still_wanted(job) {
            return false;
        }
        if let Some(given) = self.jobs.get(&job) {
            self.slots[given.disk.ix()].lanes[given.lane].moved_ms = self.now_ms;
        }
        true
    }

    pub(super) fn was_paused(&mut self, ms: u64) {
        for lane in self.slots.iter_mut().flat_map(|slot| &mut slot.lanes) {
            lane.moved_ms = lane.moved_ms.saturating_add(ms);
        }
    }

    pub(super) fn suspect_hung(&mut self) {
        let stands =
            |l: &Lane| l.outstanding > 0 && self.now_ms.saturating_sub(l.moved_ms) > self.limits.hang_ms;
        let hung = |s: &Slot| s.state == SlotState::Attached && s.lanes.iter().any(stands);
        let hung: Vec<DiskNo> =
            (0..self.slots.len() as u8).map(DiskNo).filter(|d| hung(&self.slots[d.ix()])).collect();
        for disk in hung {
            let ms = self.limits.hang_ms;
            self.lose(disk, SlotState::Suspect, format!("it did not answer within {ms} ms"));
        }
    }

    pub(super) fn disk_attached(&mut self, disk: DiskNo, survey: Survey) {
        let slot = &mut self.slots[disk.ix()];
        let taken = matches!(slot.state, SlotState::Attached | SlotState::Retired);
        if taken || slot.outstanding > 0 || self.coord.never_mounted() {
            return;
        }
        let trusted = !slot.distrusted;
        match self.coord.back(disk, &survey.view, trusted) {
            Ok(()) => {
                slot.state = SlotState::Attached;
                slot.reason = None;
                slot.label = Some(survey.label);
                slot.tip = None;
                slot.not_whole = survey.not_whole;
            }
            Err(reason) => {
                slot.state = SlotState::Foreign;
                slot.reason = Some(format!("it was written elsewhere meanwhile: {reason}"));
            }
        }
    }

    /// Which shards a disk really has: what the facts expect and is not there counts as lost; what no fact knows
    /// is swept, when nothing can be hidden on an absent disk.
    fn shards_listed(&mut self, disk: DiskNo, found: &[PackId]) {
        self.listed = self.listed.with(disk);
        let found: HashSet<PackId> = found.iter().copied().collect();
        let expected = self.catalog.packs().filter(|p| p.disks.contains(&disk));
        let lacking: Vec<PackId> = expected.map(|p| p.id).filter(|id| !found.contains(id)).collect();
        for set in self.missing.values_mut() {
            *set = set.without(disk);
        }
        for id in lacking {
            let set = self.missing.entry(id).or_default();
            *set = set.with(disk);
        }
        // What was read and found bad is no better for being listed.
        for (id, _) in self.bad.iter().filter(|(_, set)| set.has(disk)) {
            let lost = self.missing.entry(*id).or_default();
            *lost = lost.with(disk);
        }
        self.missing.retain(|_, set| !set.is_empty());
        self.healing.changed();
        if self.may_sweep() {
            let unknown = |id: &&PackId| self.catalog.pack(id).is_none() && !self.flights.knows(id);
            let mut unknown: Vec<PackId> = found.iter().filter(unknown).copied().collect();
            unknown.sort_unstable();
            for id in unknown {
                self.give(disk, Job::RemoveShard(id));
            }
        }
    }

    /// Once all disks are in step: a look at what each really has.
    pub(super) fn sweep_once(&mut self) {
        if !self.swept && self.may_sweep() && self.coord.writable().is_ok() {
            self.swept = true;
            for disk in self.coord.in_use().iter() {
                self.give(disk, Job::ListShards);
            }
        }
    }

    /// Only when every disk of the roster is in step can no fact about an unknown pack be hidden anywhere.
    fn may_sweep(&self) -> bool {
        let whole = self.coord.in_use().len() == self.slots.len() && self.coord.writable().is_ok();
        whole || self.flaw(Flaw::SweepBlind)
    }
}
