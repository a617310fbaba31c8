//! Changes of the roster in the coordinator's world: disks that are bought, replaced, put back, and mounts that sort it out.
//!
//! Every disk that ever was has a place in the world's list and an id of its own; a mount sees some of them, asks the
//! real rule which roster holds, and gives the coordinator those that belong to it by their numbers.

use super::World;
use super::disk::ModelDisk;
use coffre_core::coord::{Act, View};
use coffre_core::flaw::Flaw;
use coffre_core::geometry::MAX_DISKS;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::roster::{NEWCOMER, Roster, Standing, standing};

/// Most disks in the list of a run.
const MOST_EVER: usize = 14;

/// The id of the disk at this place of the list.
pub(super) fn id(place: usize) -> DiskId {
    DiskId([place as u8 + 1; 16])
}

impl World {
    /// What these disks mean for a mount.
    pub(super) fn standing(&self, visible: &[usize]) -> Option<Standing> {
        let mut shown: Vec<(DiskId, &Roster)> =
            visible.iter().map(|p| (id(*p), &self.disks[*p].roster)).collect();
        if self.case.flaws.has(Flaw::OldRoster) {
            let lowest = shown.iter().map(|(_, r)| r.version).filter(|v| *v != NEWCOMER).min()?;
            shown.retain(|(_, r)| r.version <= lowest);
        }
        let mut found = standing(shown)?;
        if self.case.flaws.has(Flaw::SeeNewcomer) {
            found.geometry = found.roster.geometry;
        }
        Some(found)
    }

    /// The place in the list of the disk with this number.
    pub(super) fn place(&self, disk: DiskNo) -> Option<usize> {
        let wanted = self.roster.disks.get(disk.ix())?;
        (0..self.disks.len()).find(|p| id(*p) == *wanted)
    }

    /// The number of a disk of the list in the mounted roster.
    pub(super) fn number(&self, place: usize) -> Option<DiskNo> {
        self.roster.number(id(place))
    }

    /// What each number of the mounted roster shows; who has not joined shows nothing.
    pub(super) fn views(&self, visible: &[usize]) -> Vec<Option<View>> {
        let joined =
            |p: usize| self.disks[p].roster.version != NEWCOMER || self.case.flaws.has(Flaw::SeeNewcomer);
        let numbers = (0..self.roster.disks.len() as u8).map(DiskNo);
        let seen = |no| self.place(no).filter(|p| visible.contains(p) && joined(*p));
        numbers.map(|no| seen(no).map(|p| self.disks[p].view())).collect()
    }

    /// Somebody buys a disk and has it take a place, or stand behind the others.
    pub(super) fn begin_change(&mut self) {
        let Some(coord) = self.box_.as_mut() else { return };
        if self.disks.len() >= MOST_EVER || self.proposal.is_some() {
            return;
        }
        let fresh = id(self.disks.len());
        let leaving = DiskNo(self.rng.index(self.roster.disks.len()) as u8);
        let add = self.rng.chance(1, 3) && self.roster.disks.len() < MAX_DISKS.min(6);
        let (proposal, leaving) = match self.roster.with_added(fresh).filter(|_| add) {
            Some(wider) => (wider, None),
            None => (self.roster.with_replaced(leaving, fresh), Some(leaving)),
        };
        if coord.begin_change(leaving).is_err() {
            return;
        }
        self.disks.push(ModelDisk::labelled(proposal.clone()));
        self.proposal = Some(proposal);
        self.out.begun += 1;
        if let Some(place) = leaving.and_then(|no| self.place(no)) {
            self.disks[place].attached = false;
            self.disks[place].pending.clear();
        }
        self.trace(7, u64::from(add));
    }

    /// The label that an act writes: the roster it carries goes with it.
    pub(super) fn labelled(&self, act: &Act) -> Option<Roster> {
        let Act::Mark { version, .. } = act else { return None };
        let of = self.proposal.as_ref().unwrap_or(&self.roster);
        Some(Roster { version: *version, ..of.clone() })
    }

    /// The box knows that the change is known: it mounts anew, in good order, without the power going out.
    pub(super) fn remount(&mut self) -> Result<(), String> {
        if !self.box_.as_ref().is_some_and(|b| b.change_known()) {
            return Ok(());
        }
        self.put_down(false);
        let visible = self.choose_visible();
        self.boot(visible)
    }

    /// Whoever is in no roster that can still hold takes nothing from the budget any more.
    pub(super) fn note_changes(&mut self) {
        let Some(coord) = self.box_.as_ref() else { return };
        if coord.changing() || self.proposal.is_some() || coord.writable().is_err() {
            return;
        }
        let m = self.geometry.m();
        let at_version = |d: &ModelDisk| d.roster.version >= self.roster_version;
        let counting = coord.counting();
        let known = (0..self.disks.len())
            .filter(|p| self.number(*p).is_some_and(|no| counting.has(no)) && at_version(&self.disks[*p]));
        if known.count() <= m {
            return;
        }
        for place in 0..self.disks.len() {
            if self.number(place).is_none() && !self.disks[place].out {
                self.disks[place].out = true;
                self.out.changed += 1;
            }
        }
    }

    /// Boots with every healthy disk present and nothing failing until all is quiet: everything acknowledged must be
    /// there, the box must be writable again and its roster one, unless the run went beyond its budget.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.power_cut();
        self.calm = true;
        let healthy: Vec<usize> = (0..self.disks.len()).filter(|p| !self.disks[*p].dead).collect();
        self.boot(healthy)?;
        for _ in 0..60 * self.disks.len() + 300 {
            self.bring_back();
            self.complete_one();
            self.pump();
        }
        self.note_acks()?;
        self.check_written()?;
        let of_roster: Vec<&ModelDisk> = (0..self.roster.disks.len() as u8)
            .filter_map(|no| self.place(DiskNo(no)))
            .map(|p| &self.disks[p])
            .collect();
        if self.disks.iter().any(|d| d.faulty) || of_roster.iter().any(|d| d.dead) {
            return Ok(());
        }
        let Some(coord) = self.box_.as_ref() else {
            // As many disks as the witness must vouch for, and it cannot: see `docs/decisions/0026`.
            let few = of_roster.iter().filter(|d| d.roster.version != NEWCOMER).count() <= self.geometry.m();
            self.out.stranded += u64::from(few);
            return if few { Ok(()) } else { Err("nothing is wrong and the box does not come up".into()) };
        };
        if coord.writable().is_err() {
            return Err("nothing is wrong and the box is not writable".into());
        }
        let version = of_roster[0].roster.version;
        let one = of_roster.iter().all(|d| d.roster.version == version && version != NEWCOMER);
        if coord.witnessed() && of_roster.len() > self.geometry.m() {
            return Err("all disks are there and the epoch rests on the witness".into());
        }
        if coord.changing() || !one || coord.counting().len() != of_roster.len() {
            return Err(format!("nothing is wrong and the roster is never one: {:?}", self.roster));
        }
        Ok(())
    }
}
