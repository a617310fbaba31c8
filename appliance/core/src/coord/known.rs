//! What the coordinator can be asked.

use super::Stalled;
use super::run::{Coordinator, DiskState, Phase, Presence};
use crate::diskset::DiskSet;
use crate::geometry::MAX_DISKS;
use crate::ids::DiskNo;

impl Coordinator {
    /// Newest acknowledged record.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The epoch of the newest Mount record.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether acknowledgements flow, and if not, why.
    pub fn writable(&self) -> Result<(), Option<Stalled>> {
        match self.phase {
            Phase::Running => Ok(()),
            Phase::Stalled(reason) => Err(Some(reason)),
            _ => Err(None),
        }
    }

    /// Whether the box could not be opened for writing at all: only a new mount can change that.
    pub fn never_mounted(&self) -> bool {
        self.mount == 0 && matches!(self.phase, Phase::Stalled(_)) && !self.taken
    }

    /// Whether acknowledgements rest on the witness: then nothing more may be lost.
    pub fn witnessed(&self) -> bool {
        self.witnessed
    }

    /// Disks whose journal holds the Mount record and that are written to.
    pub fn counting(&self) -> DiskSet {
        self.who(|d| d.presence == Presence::InUse && d.synced >= self.mount && self.mount > 0)
    }

    /// Disks that are there, whatever they still lack; newcomers are not.
    pub fn present(&self) -> DiskSet {
        self.who(|d| d.presence != Presence::Away)
    }

    /// Disks that can take journal writes, Mount record or not.
    pub fn in_use(&self) -> DiskSet {
        self.who(|d| d.presence == Presence::InUse)
    }

    /// Newest record known durable on `disk`.
    pub fn synced(&self, disk: DiskNo) -> u64 {
        self.disks[disk.ix()].synced
    }

    /// Disks that the rule in force speaks of; fewer than the roster has while one that is being added has not joined.
    pub fn width(&self) -> usize {
        self.setup.n
    }

    /// Disks that satisfy `test`, newcomers left out: they count for nothing.
    pub(super) fn who(&self, test: impl Fn(&DiskState) -> bool) -> DiskSet {
        let all = DiskSet::first(MAX_DISKS).minus(self.roster.newcomers);
        all.iter().filter(|d| test(&self.disks[d.ix()])).collect()
    }
}
