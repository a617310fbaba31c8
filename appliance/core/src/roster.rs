//! The roster: which disks a vault has, in which order, and how it changes without ever being in doubt.
//!
//! Every label carries a roster and its version; of all labels that can be seen the highest version holds. A disk keeps
//! its number for life, and a replacement takes over the number. Three rules make a change safe (R7 to R9):
//!
//! - **R7** a version is written by a mount that acknowledges, and lies above everything seen: it begins with that mount's epoch, so two
//!   different rosters never share one. A mount that finds its disks at different versions writes a new one to all.
//! - **R8** a *newcomer* is a disk that was made ready and has not joined: its own label has version 0. It is written to, and
//!   at a mount it counts as absent. In a changed roster the disk that left is not there any more, whoever shows it.
//! - **R9** a newcomer joins (gets the version into its own label) when the roster is on as many old disks as an acknowledgement asks for
//!   and everything acknowledged satisfies the rule with it. From the first byte of that write until it is durable an
//!   acknowledgement satisfies both rules, then the new one alone.
//!
//! Why that is enough. Any set of disks that may mount under the old roster has one that knows the new roster, once the newcomer has
//! joined (R9, first half). A set without the newcomer misses one disk less of the others, so it shows everything that was
//! acknowledged while the newcomer counted. A set with the newcomer knows from its label whether it had joined.

use crate::geometry::Geometry;
use crate::ids::{DiskId, DiskNo};

/// Version in the label of a disk that has not joined.
pub const NEWCOMER: u64 = 0;
/// Version of the roster that a vault is made with.
pub const FIRST_VERSION: u64 = 1;
/// Bits of a version below the epoch: rosters written in one mount.
const STEP_BITS: u32 = 16;
/// Highest version there is.
pub const MAX_VERSION: u64 = (crate::label::MAX_EPOCH + 1) << STEP_BITS;
/// Highest version that is believed of a file that anybody may have changed. What is built on it stays far below the highest there is.
pub const MAX_REMEMBERED: u64 = MAX_VERSION / 2;

/// The disks of a vault, as a label tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roster {
    /// The higher one holds; [`NEWCOMER`] in the label of a disk that has not joined.
    pub version: u64,
    /// All disks, in order; 1 to 8. A disk's place is its number.
    pub disks: Vec<DiskId>,
    /// The vault's geometry; its width is the number of disks.
    pub geometry: Geometry,
    /// What the newest change of this roster was.
    pub change: Option<Change>,
}

/// What a change did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The disk with this number was replaced.
    Replaced(DiskNo),
    /// A disk was added behind the others; before that the geometry was this.
    Added(Geometry),
}

/// What the labels that can be seen mean for a mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The roster that holds.
    pub roster: Roster,
    /// The geometry whose rule decides the mount: the former one while a disk that is being added is there and has not
    /// joined.
    pub geometry: Geometry,
}

impl Roster {
    /// The roster a vault is made with.
    pub fn first(disks: Vec<DiskId>, geometry: Geometry) -> Self {
        Self { version: FIRST_VERSION, disks, geometry, change: None }
    }

    /// The number of a disk.
    pub fn number(&self, disk: DiskId) -> Option<DiskNo> {
        self.disks.iter().position(|d| *d == disk).map(|i| DiskNo(i as u8))
    }

    /// This roster with `disk` in the place `old`, as a newcomer's label tells it.
    pub fn with_replaced(&self, old: DiskNo, disk: DiskId) -> Self {
        let mut disks = self.disks.clone();
        if let Some(place) = disks.get_mut(old.ix()) {
            *place = disk;
        }
        Self { version: NEWCOMER, disks, geometry: self.geometry, change: Some(Change::Replaced(old)) }
    }

    /// This roster with `disk` behind the others, as a newcomer's label tells it; `None` when it is full.
    pub fn with_added(&self, disk: DiskId) -> Option<Self> {
        let geometry = self.geometry.grown()?;
        let disks = self.disks.iter().copied().chain([disk]).collect();
        Some(Self { version: NEWCOMER, disks, geometry, change: Some(Change::Added(self.geometry)) })
    }
}

/// The version that the mount of `epoch` writes when everything seen is at most `seen` (R7).
pub fn next_version(seen: u64, epoch: u64) -> u64 {
    seen.saturating_add(1).max(epoch.saturating_mul(1 << STEP_BITS))
}

/// Whether a version that a file remembers can be true where the newest promised epoch to be seen is `epoch`. Disks that are away
/// may have been promised later ones, but not a million.
pub fn is_plausible(version: u64, epoch: u64) -> bool {
    version <= MAX_REMEMBERED && version >> STEP_BITS <= epoch.saturating_add(1 << 20)
}

/// What the visible disks' labels mean: `None` when no disk that has joined is among them.
pub fn standing<'a>(shown: impl IntoIterator<Item = (DiskId, &'a Roster)> + Clone) -> Option<Standing> {
    let joined = shown.clone().into_iter().filter(|(_, r)| r.version != NEWCOMER);
    let roster = joined.max_by_key(|(_, r)| r.version)?.1.clone();
    let not_joined = |disk: &DiskId| {
        let own = || shown.clone().into_iter().filter(|(id, _)| id == disk);
        own().count() > 0 && own().all(|(_, r)| r.version == NEWCOMER)
    };
    let geometry = match (roster.change, roster.disks.last()) {
        (Some(Change::Added(before)), Some(last)) if not_joined(last) => before,
        _ => roster.geometry,
    };
    Some(Standing { roster, geometry })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DiskId {
        DiskId([n; 16])
    }

    fn of(n: u8) -> Roster {
        let geometry = Geometry::for_disks(usize::from(n)).expect("1 to 8");
        Roster::first((1..=n).map(id).collect(), geometry)
    }

    #[test]
    fn the_highest_version_holds_and_a_newcomer_claims_nothing() {
        let old = of(3);
        let proposed = old.with_replaced(DiskNo(1), id(9));
        assert_eq!(standing([(id(9), &proposed)]), None);
        let alone = standing([(id(9), &proposed), (id(1), &old)]).expect("one has joined");
        assert_eq!(alone.roster, old);
        let new = Roster { version: next_version(1, 7), ..proposed.clone() };
        assert_eq!(new.version, 7 << STEP_BITS);
        let both = standing([(id(1), &old), (id(3), &new), (id(2), &old)]).expect("joined");
        assert_eq!((both.roster.number(id(9)), both.roster.number(id(2))), (Some(DiskNo(1)), None));
    }

    #[test]
    fn an_added_disk_that_has_not_joined_leaves_the_former_rule() {
        let old = of(4);
        let proposed = old.with_added(id(9)).expect("room");
        assert_eq!(proposed.geometry.to_string(), "3+2");
        let new = Roster { version: 5, ..proposed.clone() };
        let there = standing([(id(1), &new), (id(9), &proposed)]).expect("joined");
        assert_eq!(there.geometry, old.geometry);
        let away = standing([(id(1), &new), (id(2), &old)]).expect("joined");
        assert_eq!(away.geometry, new.geometry, "it may have joined: nobody here can tell");
        let joined = standing([(id(9), &new), (id(2), &old)]).expect("joined");
        assert_eq!(joined.geometry, new.geometry);
        assert_eq!(of(8).with_added(id(9)), None);
    }
}
