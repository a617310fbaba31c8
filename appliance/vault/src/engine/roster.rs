//! The roster as the engine sees it: a change that is begun, labels that are marked, a newcomer that joins.
//!
//! The coordinator decides when (`core/coord/roster`), the engine knows what is in a label. A change that was begun ends with
//! the next mount: whoever holds the engine mounts anew as soon as [`Engine::change_known`] says so.

use super::disks::What;
use super::{Engine, SlotState};
use crate::lane::Job;
use coffre_core::coord::Stalled;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::DiskNo;
use coffre_core::roster::{Change, Roster};

impl Engine {
    /// Begins to change the roster into `changed`, made with [`Roster::with_replaced`] or [`Roster::with_added`]. A disk that
    /// leaves is not used from here on in this mount. `Refused` with the reason when the vault could not go on.
    ///
    /// # Durability
    /// Nothing yet. When [`Engine::change_known`] says so, every later mount knows the changed roster.
    pub fn begin_change(&mut self, changed: Roster) -> Result<()> {
        let leaving = match changed.change {
            Some(Change::Replaced(disk)) => Some(disk),
            Some(Change::Added(_)) => None,
            None => return Err(Fault::misuse("this roster changes nothing")),
        };
        self.coord.begin_change(leaving).map_err(|why| refused(why, leaving))?;
        if let Some(disk) = leaving {
            self.lose(disk, SlotState::Retired, "it is being replaced".into());
            self.slots[disk.ix()].state = SlotState::Retired;
        }
        self.changed = Some(changed);
        self.pump();
        Ok(())
    }

    /// Whether the change that was begun is known to every later mount: time to mount anew.
    pub fn change_known(&self) -> bool {
        self.coord.change_known()
    }

    /// Whether a change was begun, or a disk has not joined yet.
    pub fn changing(&self) -> bool {
        self.coord.changing()
    }

    /// The roster of this mount.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Writes the label that the coordinator asks for.
    pub(super) fn mark(&mut self, disk: DiskNo, version: u64, since: Option<u64>) {
        let roster = Roster { version, ..self.changed.as_ref().unwrap_or(&self.roster).clone() };
        let Some(label) = self.slots[disk.ix()].label.as_mut() else {
            return self.lose(disk, SlotState::Suspect, "it has no label".into());
        };
        label.generation += 1;
        label.roster = roster;
        label.since = since.unwrap_or(label.since);
        let label = label.clone();
        self.give_as(disk, Job::Label(label, None), What::Mark(version));
    }

    /// The geometry in force: the former one until a disk that is being added has joined.
    pub(super) fn follow_rule(&mut self) {
        if self.coord.width() == self.roster.disks.len() {
            self.geometry = self.roster.geometry;
        }
    }

    /// Disks whose shards can be spoken of: a disk that took another's place has none of its shards until it was looked at.
    pub(super) fn spoken_for(&self) -> DiskSet {
        match self.roster.change {
            Some(Change::Replaced(disk)) if !self.listed.has(disk) => self.coord.counting().without(disk),
            _ => self.coord.counting(),
        }
    }

    /// How many more disks may be lost, any ones, as far as packs go; `None` when there is no pack.
    pub(super) fn packs_tolerate(&self) -> Option<i32> {
        self.catalog.tolerance(self.spoken_for(), &self.missing)
    }
}

fn refused(why: Stalled, leaving: Option<DiskNo>) -> Fault {
    match (why, leaving) {
        (Stalled::TooManyAbsent { absent }, Some(disk)) => Fault::refused(format!(
            "without disk {disk} too many disks would be missing ({absent}): the vault could not be written any more"
        ))
        .next("replace or put back the disks that are missing first; a vault without parity needs `coffre disk add`"),
        (Stalled::TooFewVisible { visible }, Some(disk)) => Fault::refused(format!(
            "without disk {disk} only {visible} would be left, too few to be sure that nothing is lost"
        ))
        .next("put the other disks back first"),
        (why, _) => Fault::refused(format!("the disks cannot be changed now: {why}"))
            .next("wait until `coffre disk list` shows all of them active, then try again"),
    }
}
