//! What the engine knows, as plain values for status and jobs.

use super::{Engine, SlotState};
use coffre_core::coord::Stalled;
use coffre_core::ids::{DiskId, DiskNo, PackId};
use coffre_core::wire::DiskState;

/// The engine's state in values.
#[derive(Clone, Debug)]
pub struct Report {
    /// Per disk: id, state, why, newest durable record.
    pub disks: Vec<(DiskId, DiskState, Option<String>, u64)>,
    /// Why nothing is acknowledged; `None` when it is, `Some(None)` while an epoch begins.
    pub stalled: Option<Option<Stalled>>,
    /// How many more disks may be lost without losing anything acknowledged.
    pub can_lose: u32,
    /// Live packs that cannot be read with the disks there are now.
    pub unreadable: usize,
    /// Live packs that can be read only with the help of guests.
    pub leaning: usize,
    /// Disks that were taken out and are read from.
    pub guests: Vec<super::GuestReport>,
    /// The epoch.
    pub epoch: u64,
    /// Packs below full tolerance although their disks are there, to be healed or encoded again.
    pub debt: Vec<PackId>,
    /// What healing has to do and does.
    pub wounds: super::Wounds,
    /// Whether acknowledgements rest on the witness.
    pub witnessed: bool,
    /// Whether a checkpoint is being written.
    pub checkpointing: bool,
    /// Packs on their way.
    pub packs_busy: usize,
    /// Whether the roster is being changed, or a disk has not joined yet.
    pub changing: bool,
    /// Disks without room.
    pub full: Vec<DiskNo>,
}

impl Engine {
    /// The state in values.
    pub fn report(&self) -> Report {
        let counting = self.coord.counting();
        let numbers = (0..self.slots.len() as u8).map(DiskNo);
        let newest = numbers.map(|no| self.coord.synced(no)).max().unwrap_or(0);
        let disk = |(i, slot): (usize, &super::disks::Slot)| {
            let no = DiskNo(i as u8);
            let state = match slot.state {
                SlotState::Attached if counting.has(no) => DiskState::Active,
                // Read-only from the start: it is there and read, and nothing is written to it.
                SlotState::Attached if self.coord.never_mounted() => DiskState::Active,
                SlotState::Attached => DiskState::CatchingUp,
                SlotState::Absent => DiskState::Absent,
                SlotState::Suspect => DiskState::Suspect,
                SlotState::Held => DiskState::Held,
                SlotState::Foreign => DiskState::Foreign,
                SlotState::Retired => DiskState::Retired,
            };
            let synced = self.coord.synced(no);
            let lags = || (state == DiskState::CatchingUp).then(|| lag(newest - synced));
            (slot.id, state, slot.reason.clone().or_else(lags), synced)
        };
        let unreadable = self.catalog.packs_below(0, counting, self.lack_with_guests());
        Report {
            disks: self.slots.iter().enumerate().map(disk).collect(),
            stalled: self.coord.writable().err(),
            can_lose: self.can_lose(),
            unreadable,
            leaning: self.catalog.packs_below(0, counting, self.lack()).saturating_sub(unreadable),
            epoch: self.coord.epoch(),
            debt: self.debt(),
            wounds: self.wounds(),
            witnessed: self.coord.witnessed(),
            checkpointing: self.checkpointing(),
            packs_busy: self.packs_busy(),
            changing: self.changing(),
            guests: self.guest_reports(),
            full: (0..self.slots.len() as u8).map(DiskNo).filter(|d| self.slots[d.ix()].full).collect(),
        }
    }

    fn can_lose(&self) -> u32 {
        let counting = self.coord.counting();
        if self.coord.witnessed() || counting.is_empty() {
            return 0;
        }
        let journal = counting.len() as i32 - 1;
        let packs = self.packs_tolerate().unwrap_or(i32::MAX);
        journal.min(packs).clamp(0, self.geometry.m() as i32) as u32
    }

    /// Packs below full tolerance although their disks are there: too narrow, or lacking shards.
    pub fn debt(&self) -> Vec<PackId> {
        let mut debt = self.narrow();
        debt.extend(self.missing.keys().filter(|id| !self.lost_here(id).is_empty()));
        debt.sort_unstable();
        debt.dedup();
        debt
    }

    /// Packs to be encoded again: they have less tolerance than the disks there are allow, or a disk has no room to heal
    /// their shard while the others have room for a new pack.
    pub fn narrow(&self) -> Vec<PackId> {
        let possible = self.geometry.shrink(self.usable().len()).map_or(0, |g| g.m());
        if !self.catalog.any_narrower_than(possible) && !self.healing.anything_without_room() {
            return Vec::new();
        }
        let owes = |p: &&coffre_core::fact::PackFact| {
            p.geometry.m() < possible || p.geometry.m() <= possible && self.healing.no_room_for(&p.id)
        };
        let mut narrow: Vec<PackId> = self.catalog.packs().filter(owes).map(|p| p.id).collect();
        narrow.sort_unstable();
        narrow
    }
}

/// Why a disk that is there does not count yet.
fn lag(records: u64) -> String {
    match records {
        0 => "it has the whole journal and counts again in a moment".into(),
        n => format!("it lacks the last {n} records of the journal"),
    }
}
