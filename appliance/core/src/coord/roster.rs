//! The roster in the running coordinator: versions brought to all disks, a disk that leaves, a newcomer that joins.
//!
//! A change takes two mounts. The one before it is told to begin: the disk that leaves stops counting, and the changed roster is
//! written to the labels of the others. The vault is then mounted under the new roster, where the newcomer is written to
//! without counting until it may join (R9 in `core/roster`). Whoever mounts after a crash, at whatever point, sees from
//! the labels which of the two it is and goes on from there; nothing is remembered anywhere else.

use super::Stalled;
use super::run::{Act, Coordinator, Phase, Presence};
use crate::diskset::DiskSet;
use crate::flaw::Flaw;
use crate::ids::DiskNo;
use crate::roster::{NEWCOMER, next_version};

/// What the coordinator knows of rosters.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The version that every label should have.
    pub version: u64,
    /// Some label had another version: what all labels get lies above all of them.
    renew: bool,
    /// Disks that are written to and have not joined.
    pub newcomers: DiskSet,
    /// The newcomer whose label is being written, and the number of the newest record then.
    joining: Option<(DiskNo, u64)>,
    /// Disks that joined in this mount, or began to, and that no Mount record names yet.
    pub joined: DiskSet,
    /// Disks and parities from the moment the newcomer has joined, when they become more.
    wider: Option<(usize, usize)>,
    /// The disk that leaves in this mount.
    pub leaving: Option<DiskNo>,
    changing: bool,
}

impl State {
    pub fn new(version: u64, wider: Option<(usize, usize)>, shown: impl Iterator<Item = u64>) -> Self {
        let renew = shown.into_iter().any(|v| v != version);
        let (newcomers, joined) = (DiskSet::EMPTY, DiskSet::EMPTY);
        Self { version, renew, newcomers, joining: None, joined, wider, leaving: None, changing: false }
    }
}

impl Coordinator {
    /// Begins a change of the roster: `leaving` stops counting, for good in this mount, and every other disk gets a label of a new
    /// version ([`Act::Mark`]); the owner knows what is in it. `Err` when the vault could not go on without that disk, or
    /// something else is under way.
    pub fn begin_change(&mut self, leaving: Option<DiskNo>) -> Result<(), Stalled> {
        self.may_change(leaving)?;
        if let Some(disk) = leaving {
            self.lost(disk);
            self.roster.leaving = Some(disk);
        }
        self.roster.changing = true;
        self.roster.renew = true;
        Ok(())
    }

    /// Whether [`begin_change`](Self::begin_change) would begin.
    pub fn may_change(&self, leaving: Option<DiskNo>) -> Result<(), Stalled> {
        if self.phase != Phase::Running || self.changing() || self.roster.renew {
            return Err(Stalled::Changing);
        }
        leaving.map_or(Ok(()), |disk| self.allowed(self.counting().without(disk)))
    }

    /// Whether everything acknowledged is on as many of the other disks as an acknowledgement asks for, or on all of them
    /// where they are fewer.
    pub fn backed_without(&self, disk: DiskNo) -> bool {
        let left = self.counting().without(disk);
        let have = left.iter().filter(|d| self.synced(*d) >= self.acked).count();
        have > 0 && have >= left.len().min(self.setup.m + 1)
    }

    /// Whether a change was begun in this mount, or a newcomer is being written to.
    pub fn changing(&self) -> bool {
        self.roster.changing || !self.roster.newcomers.is_empty() || self.roster.wider.is_some()
    }

    /// Whether the roster begun with [`begin_change`](Self::begin_change) is on as many disks as an acknowledgement asks for: from
    /// here on every mount knows it.
    pub fn change_known(&self) -> bool {
        self.roster.changing && !self.roster.renew && self.known_by_enough()
    }

    /// Disks that are written to and have not joined.
    pub fn newcomers(&self) -> DiskSet {
        self.roster.newcomers
    }

    /// A label with `version` was written (`ok`) or failed; a failure loses the disk.
    pub fn marked(&mut self, disk: DiskNo, version: u64, ok: bool) {
        let d = &mut self.disks[disk.ix()];
        d.marking = false;
        if !ok {
            return self.lost(disk);
        }
        if d.presence == Presence::Away {
            return;
        }
        d.version = version;
        if self.roster.joining.is_some_and(|(joining, _)| joining == disk) {
            self.roster.newcomers = self.roster.newcomers.without(disk);
            self.end_joining();
            self.settle();
        }
    }

    /// From here on the rule with the newcomer holds, whether its label is known to be written or only may be.
    pub(super) fn end_joining(&mut self) {
        self.roster.joining = None;
        if let Some((n, m)) = self.roster.wider.take() {
            (self.setup.n, self.setup.m) = (n, m);
        }
    }

    pub(super) fn left(&mut self, disk: DiskNo) {
        self.roster.newcomers = self.roster.newcomers.without(disk);
        if self.roster.joining.is_some_and(|(joining, _)| joining == disk) {
            self.end_joining();
        }
    }

    /// Takes in what a disk that came shows of rosters.
    pub(super) fn came(&mut self, disk: DiskNo, version: u64) {
        self.disks[disk.ix()].version = version;
        self.disks[disk.ix()].marking = false;
        if version == NEWCOMER {
            self.roster.newcomers = self.roster.newcomers.with(disk);
        } else if version > self.roster.version {
            self.roster.version = version;
            self.roster.renew = true;
        }
    }

    /// Labels that lag get the version; a newcomer that may join gets it last.
    pub(super) fn drive_roster(&mut self, acts: &mut Vec<Act>) {
        if self.phase != Phase::Running {
            return;
        }
        if self.roster.renew {
            let careless = self.setup.flaws.has(Flaw::ReuseVersion);
            let step = u64::from(self.roster.changing);
            let seen = self.roster.version;
            self.roster.version = if careless { seen + step } else { next_version(seen, self.epoch) };
            self.roster.renew = false;
        }
        let version = self.roster.version;
        for disk in self.in_use().iter() {
            let d = &mut self.disks[disk.ix()];
            if d.version != version && !d.marking {
                d.marking = true;
                acts.push(Act::Mark { disk, version, since: None });
            }
        }
        if self.roster.joining.is_none()
            && let Some(disk) = self.roster.newcomers.iter().find(|d| self.may_join(*d))
        {
            let since = self.head().seq;
            self.roster.joining = Some((disk, since));
            self.roster.joined = self.roster.joined.with(disk);
            self.active = self.active_with_joined(self.active, self.witnessed);
            self.disks[disk.ix()].marking = true;
            acts.push(Act::Mark { disk, version, since: Some(since) });
        }
    }

    /// What a witnessed epoch rests on while disks join: on them, too. A roster that becomes larger has sets of disks that may mount
    /// by the plain rule and have none of those that the epoch began with.
    pub(super) fn active_with_joined(&self, active: DiskSet, witnessed: bool) -> DiskSet {
        let here = |d: &DiskNo| witnessed && self.disks[d.ix()].presence != Presence::Away;
        self.roster.joined.iter().filter(here).fold(active, DiskSet::with)
    }

    /// R9: the roster is known to enough, and everything acknowledged satisfies the rule with the newcomer.
    fn may_join(&self, disk: DiskNo) -> bool {
        let d = self.disks[disk.ix()];
        let flaws = self.setup.flaws;
        let caught_up = d.synced >= self.mount && d.synced >= self.acked && self.level_joined() >= self.acked;
        d.presence == Presence::InUse
            && (self.known_by_enough() || flaws.has(Flaw::JoinUnknown))
            && (caught_up || flaws.has(Flaw::JoinBehind))
    }

    /// Whether the disks with the roster's version are as many as an acknowledgement asks for.
    fn known_by_enough(&self) -> bool {
        let knows = self.who(|d| d.presence == Presence::InUse && d.version == self.roster.version);
        match self.witnessed {
            true => self.active.minus(knows).is_empty(),
            false => knows.len() > self.setup.m,
        }
    }

    /// The newest record that satisfies the rule with the newcomers. In a witnessed epoch the one that joins is among
    /// the disks in use.
    pub(super) fn level_joined(&self) -> u64 {
        if self.witnessed {
            return self.quorum_without();
        }
        self.level(self.joined_m() + 1, true)
    }

    /// Parities from the moment the newcomer has joined.
    pub(super) fn joined_m(&self) -> usize {
        self.roster.wider.map_or(self.setup.m, |(_, m)| m)
    }

    /// Whether acknowledgements satisfy both rules: the newcomer's label may or may not be durable.
    pub(super) fn joining(&self) -> bool {
        self.roster.joining.is_some() && !self.setup.flaws.has(Flaw::JoinOneRule)
    }
}
