//! The roster as the engine sees it: a change that is begun, labels that are marked, a newcomer that joins.
//!
//! The coordinator decides when (`core/coord/roster`), the engine knows what is in a label. A change that was begun ends with
//! the next mount: whoever holds the engine mounts anew as soon as [`Engine::change_known`] says so.

use super::disks::What;
use super::{Engine, SlotState};
use crate::catalog::pack_tolerance;
use crate::lane::Job;
use coffre_core::coord::Stalled;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::PackFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::roster::{Change, Roster};

impl Engine {
    /// Begins to change the roster into `changed`, made with [`Roster::with_replaced`] or [`Roster::with_added`]. A disk that
    /// leaves is not used from here on in this mount. `Refused` with the reason when the vault could not go on, or when it could not
    /// read everything without that disk, unless that is to be given up.
    ///
    /// # Durability
    /// Nothing yet. When [`Engine::change_known`] says so, every later mount knows the changed roster.
    pub fn begin_change(&mut self, changed: Roster, give_up: bool) -> Result<()> {
        let leaving = self.may_change(&changed, give_up)?;
        self.coord.begin_change(leaving).map_err(|why| refused(why, leaving))?;
        if let Some(disk) = leaving {
            self.lose(disk, SlotState::Retired, "it is being replaced".into());
            self.slots[disk.ix()].state = SlotState::Retired;
        }
        self.changed = Some(changed);
        self.pump();
        Ok(())
    }

    /// Whether [`begin_change`](Self::begin_change) would begin; the disk that would leave.
    pub fn may_change(&self, changed: &Roster, give_up: bool) -> Result<Option<DiskNo>> {
        let leaving = match changed.change {
            Some(Change::Replaced(disk)) if disk.ix() < self.slots.len() => Some(disk),
            Some(Change::Added(_)) => None,
            _ => return Err(Fault::misuse("this roster replaces no disk of the vault and adds none")),
        };
        self.coord.may_change(leaving).map_err(|why| refused(why, leaving))?;
        if let Some(disk) = leaving.filter(|_| !self.flaw(Flaw::CountDisksNotShards)) {
            self.may_go(disk, changed.disks.get(disk.ix()).copied(), give_up)?;
        }
        Ok(leaving)
    }

    /// Whether what the others hold is known: their shards were listed, what is acknowledged is on enough of them, and
    /// nothing is on its way that only `leaving` would complete.
    pub fn settled_without(&self, leaving: DiskNo) -> bool {
        let unseen = self.coord.counting().without(leaving).minus(self.listed);
        (unseen.is_empty() || self.catalog.pack_count() == 0)
            && self.coord.backed_without(leaving)
            && !self.flights.rest_on(leaving)
    }

    /// Decisions count shards, not disks: whether each pack can be read without `disk`, with `coming` in its place when that
    /// one has shards already. To be given up: all that only a disk has which is not in use, and what cannot be read anyway.
    fn may_go(&self, disk: DiskNo, coming: Option<DiskId>, give_up: bool) -> Result<()> {
        let in_use = self.coord.counting().has(disk);
        if give_up && !in_use {
            return Ok(());
        }
        if !self.settled_without(disk) {
            return Err(Fault::refused("it is not known yet what the other disks hold")
                .next("wait a moment and give the command again"));
        }
        let left = self.coord.counting().and(self.listed).without(disk);
        let needing = match coming.filter(|id| self.is_guest(*id)) {
            None if !give_up => self.catalog.packs_needing(disk, left, self.lack()),
            back => {
                let needs = |p: &&PackFact| {
                    let lost = self.lost_shards(&p.id);
                    let comes = back.is_some_and(|id| self.guest_holds(id, &p.id));
                    let spare = pack_tolerance(p, left, lost) + i32::from(comes);
                    let anyway = give_up && pack_tolerance(p, left.with(disk), lost) < 0;
                    p.disks.contains(&disk) && !lost.has(disk) && spare < 0 && !anyway
                };
                self.catalog.packs().filter(needs).count()
            }
        };
        if needing == 0 { Ok(()) } else { Err(self.needed(disk, needing)) }
    }

    /// Why a disk may not go, and what to wait for.
    fn needed(&self, disk: DiskNo, packs: usize) -> Fault {
        let mut what =
            format!("without disk {disk}, {packs} of {} packs could not be read", self.catalog.pack_count());
        let wounds = self.wounds();
        if wounds.packs > 0 {
            let (lack, mib) = (wounds.packs, wounds.bytes.div_ceil(1 << 20));
            what.push_str(&format!(
                "; {lack} still lack a part on another disk, {mib} MiB in all, which is being made again"
            ));
        }
        let narrow = self.narrow().len();
        if narrow > 0 {
            what.push_str(&format!(
                "; {narrow} were written while disks were missing and are being encoded again"
            ));
        }
        let away: Vec<String> = (0..self.slots.len() as u8)
            .map(DiskNo)
            .filter(|d| *d != disk && !self.coord.counting().has(*d))
            .map(|d| format!("disk {d}"))
            .collect();
        let fault = Fault::refused(what);
        match (self.coord.counting().has(disk), away.is_empty()) {
            (true, true) => fault.next("wait until `coffre status` shows a green light, then give the command again"),
            (true, false) => fault.next(format!(
                "first put back or replace what is missing ({}), wait for a green light, then give the command again",
                away.join(", ")
            )),
            (false, _) => fault.next(format!(
                "put disk {disk} back, or say where it is with `coffre disk find PATH`; only if it is dead for good, give the \
                 command again with --give-up: what can be read only with it stays unreadable until it shows"
            )),
        }
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
        self.catalog.tolerance(self.spoken_for(), self.lack_with_guests())
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
