//! What must hold: promised snapshots read bit-identical, nothing else ever reads wrong, lights tell the truth.

use super::World;
use coffre_core::coord::Stalled;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::Fault;
use coffre_core::ids::{DiskNo, ObjectId};
use coffre_core::wire::DiskState;
use coffre_vault::core::Core;
use coffre_vault::get::Get;
use std::fmt;
use std::sync::Arc;

/// A promise that broke.
#[derive(Clone, Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a snapshot whole.
pub(in crate::world) fn read(core: &Arc<Core>, id: &ObjectId) -> Result<Vec<u8>, Fault> {
    let mut get = Get::open(core.clone(), id)?;
    let mut out = Vec::new();
    loop {
        let piece = get.read_at(out.len() as u64, 3000)?;
        if piece.is_empty() {
            return Ok(out);
        }
        out.extend(piece);
    }
}

impl World {
    fn n(&self) -> usize {
        self.machine.disks.len()
    }

    fn all(&self) -> DiskSet {
        DiskSet::first(self.n())
    }

    /// Disks that cannot be read now.
    fn unreadable(&self) -> DiskSet {
        let away = |d: &DiskNo| {
            let sim = &self.machine.disks[d.ix()];
            sim.is_hung() || sim.faults(|f| f.gone) || self.machine.blind().has(*d)
        };
        (0..self.n() as u8).map(DiskNo).filter(away).collect()
    }

    /// Snapshots that must be readable while `absent` are absent. None while the box says that its disks show two histories that
    /// were both acknowledged: then it cannot know which, and says so. That takes a disk that was spoilt.
    fn promised(&self, absent: DiskSet) -> Vec<ObjectId> {
        if self.is_torn() && !self.bad.spoilt.is_empty() {
            return Vec::new();
        }
        self.model.promised(absent).map(|(id, _)| *id).collect()
    }

    fn is_torn(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.core.report().stalled == Some(Some(Stalled::Fork)))
    }

    /// Reads one snapshot and compares. `must`: an error is a broken promise; wrong bytes always are.
    fn compare(&mut self, id: &ObjectId, must: bool) -> Result<(), Broken> {
        let Some(up) = self.up.as_ref() else { return Ok(()) };
        let Some(known) = self.model.get(id) else {
            return Err(Broken(format!("snapshot {id} was never handed in")));
        };
        self.seen.read += 1;
        match read(&up.core, id) {
            Ok(bytes) if bytes == *known.bytes => Ok(()),
            Ok(bytes) => Err(Broken(format!(
                "snapshot {id} reads wrong: {} for {} bytes",
                bytes.len(),
                known.bytes.len()
            ))),
            // The power went out while reading.
            Err(_) if self.machine.power.is_out() => Ok(()),
            Err(fault) if must => Err(Broken(format!(
                "snapshot {id} ({} bytes, receipt {:?}, spoilt {:?}) cannot be read: {fault}",
                known.bytes.len(),
                known.receipt,
                known.spoilt
            ))),
            Err(_) => Ok(()),
        }
    }

    /// After coming up: everything promised is there, everything there is something that was handed in, whole.
    pub(super) fn check_boot(&mut self, visible: DiskSet) -> Result<(), Broken> {
        let Some(up) = self.up.as_ref() else { return Ok(()) };
        let read_only = up.core.with(|e| e.writable().is_err());
        self.seen.read_only += u64::from(read_only);
        self.seen.torn += u64::from(self.is_torn());
        let absent = self.all().minus(visible);
        let none_lost =
            up.core.report().disks.iter().all(|d| d.1 == DiskState::Active || d.1 == DiskState::CatchingUp);
        if read_only && none_lost && absent.is_empty() && self.bad.spoilt.is_empty() {
            return Err(Broken(format!(
                "nothing is wrong and the box is read-only: {:?}",
                up.core.report().stalled
            )));
        }
        let silent = |d: &&(_, DiskState, Option<String>, _)| d.1 == DiskState::CatchingUp && d.2.is_none();
        if let Some(disk) = up.core.report().disks.iter().find(silent) {
            return Err(Broken(format!("disk {} does not count yet, and nobody says why", disk.0)));
        }
        if !read_only {
            self.model.went_on_without(absent);
        }
        self.check_all(self.unreadable())
    }

    fn check_all(&mut self, absent: DiskSet) -> Result<(), Broken> {
        let promised = self.promised(absent);
        let Some(up) = self.up.as_ref() else { return Ok(()) };
        let there: Vec<ObjectId> = up.core.with(|e| {
            let catalog = e.catalog();
            catalog.datasets().flat_map(|d| catalog.snapshots(d).to_vec()).collect()
        });
        if let Some(id) = there.iter().find(|id| self.model.get(id).is_some_and(|known| known.refused)) {
            return Err(Broken(format!("snapshot {id} was refused, and is there")));
        }
        for id in &promised {
            self.compare(id, true)?;
            if self.machine.power.is_out() {
                return Ok(());
            }
        }
        for id in there.iter().filter(|id| !promised.contains(id)) {
            let never_acked = self.model.get(id).is_some_and(|k| k.receipt.is_none());
            self.compare(id, never_acked && absent.is_empty() && self.bad.spoilt.is_empty())?;
        }
        Ok(())
    }

    /// The vault could not be opened at all: allowed only when the disks to blame are more than it can miss.
    pub(super) fn check_refused_boot(&mut self, visible: DiskSet, fault: &Fault) -> Result<(), Broken> {
        let missing = DiskSet(self.all().minus(visible).0 | self.bad.spoilt.0);
        if missing.len() <= usize::from(self.case.m) {
            return Err(Broken(format!("the vault does not open with {visible:?}: {fault}")));
        }
        Ok(())
    }

    /// Reads some snapshots while the box is at work.
    pub(super) fn read_some(&mut self) -> Result<(), Broken> {
        let absent = self.unreadable();
        let promised = self.promised(absent);
        for _ in 0..2 {
            if let Some(id) = self.rng.pick(&promised).copied() {
                self.compare(&id, true)?;
            }
        }
        if let Some(id) = self.rng.pick(&self.model.acked).copied() {
            self.compare(&id, false)?;
        }
        Ok(())
    }

    /// No false green, and "how many disks can be lost now?" is true: take that many away and read everything.
    pub(super) fn look_at_lights(&mut self) -> Result<(), Broken> {
        let Some(up) = self.up.as_ref() else { return Ok(()) };
        let report = up.core.report();
        let active: DiskSet = (0..self.n() as u8)
            .map(DiskNo)
            .filter(|d| report.disks.get(d.ix()).is_some_and(|x| x.1 == DiskState::Active))
            .collect();
        let m = usize::from(self.case.m);
        if report.can_lose as usize > m.min(active.len().saturating_sub(1)) {
            return Err(Broken(format!(
                "{} disks may be lost, it says, with {active:?} active",
                report.can_lose
            )));
        }
        if report.unreadable > 0 && report.can_lose > 0 {
            return Err(Broken(format!(
                "{} packs cannot be read, and it says disks may be lost",
                report.unreadable
            )));
        }
        let doubtful = !self.bad.spoilt.is_empty() || report.unreadable > 0;
        if doubtful || report.stalled.is_some() || !active.and(self.unreadable()).is_empty() {
            return Ok(());
        }
        let mut disks: Vec<DiskNo> = active.iter().collect();
        self.rng.shuffle(&mut disks);
        let taken: DiskSet = disks.into_iter().take(report.can_lose as usize).collect();
        let left = active.minus(taken);
        self.machine.set_blind(self.all().minus(left));
        up.core.forget_tables();
        let acked = self.model.acked.clone();
        let result = acked.iter().try_for_each(|id| self.compare(id, true));
        self.machine.set_blind(DiskSet::EMPTY);
        result.map_err(|b| {
            Broken(format!("it said {} more disks may be lost; without {taken:?}: {b}", report.can_lose))
        })
    }

    /// The end of a run: quiet, power cut, and then up again without each set of disks that may be lost.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        self.settle(30);
        self.collect();
        self.power_cut();
        let images: Vec<_> = self.machine.disks.iter().map(crate::sim::SimDisk::snapshot).collect();
        let state = self.machine.state.snapshot();
        let m = usize::from(self.case.m);
        let mut losses: Vec<DiskSet> = (0..=self.all().0)
            .map(DiskSet)
            .filter(|l| l.len() <= m && l.0 & self.bad.dead.0 == self.bad.dead.0)
            .collect();
        if !self.case.all_losses {
            self.rng.shuffle(&mut losses);
            losses.truncate(1);
            losses.push(self.bad.dead);
        }
        let model = self.model.clone();
        for lost in losses {
            for (disk, image) in self.machine.disks.iter().zip(&images) {
                disk.restore(image);
            }
            self.machine.state.restore(&state);
            self.machine.power.restore();
            self.model = model.clone();
            self.up = None;
            self.boot_calmly(self.all().minus(lost))?;
        }
        Ok(())
    }

    /// Comes up without a power cut on the way, settles, checks everything, and must then be of use.
    fn boot_calmly(&mut self, visible: DiskSet) -> Result<(), Broken> {
        self.seen.boots += 1;
        let seed = self.rng.next_u64();
        match self.machine.boot(&self.case, visible, seed) {
            Ok((core, hands)) => self.up = Some(super::Up { core, hands, pending: Vec::new() }),
            Err(fault) => return self.check_refused_boot(visible, &fault),
        }
        self.tell(|| format!("calm boot with {visible:?}"));
        self.settle(5_000);
        self.tell(|| "settled".into());
        self.check_boot(visible)?;
        self.must_work(visible)
    }

    /// A box with nothing wrong takes a snapshot, and ends green.
    fn must_work(&mut self, visible: DiskSet) -> Result<(), Broken> {
        if visible != self.all() || !self.bad.spoilt.is_empty() {
            return Ok(());
        }
        let before = self.seen.acked;
        for _ in 0..20 {
            self.put();
            self.settle(200);
            if let Some(up) = &self.up {
                up.hands.pass_time(&up.core, 100);
                let _ = up.core.upkeep(60_000);
            }
            self.collect();
            if self.seen.acked > before {
                break;
            }
        }
        if self.seen.acked == before {
            return Err(Broken("nothing is wrong and no snapshot is acknowledged".into()));
        }
        self.pay_debts();
        let Some(up) = &self.up else { return Ok(()) };
        let report = up.core.report();
        if report.can_lose != u32::from(self.case.m) || !report.debt.is_empty() {
            return Err(Broken(format!("nothing is wrong and it never gets whole again: {report:?}")));
        }
        self.check_all(DiskSet::EMPTY)
    }

    /// Upkeep until nothing is owed, or nothing of it goes away any more. Each step of it writes one pack anew, and a run that
    /// went on with few disks has left many.
    fn pay_debts(&mut self) {
        let (mut least, mut idle) = (usize::MAX, 0);
        while idle < 40 {
            self.settle(500);
            let Some(up) = &self.up else { return };
            // What could not be healed is tried again after a while.
            up.hands.pass_time(&up.core, 100);
            while up.core.heal_one().is_some() {}
            let _ = up.core.upkeep(60_000);
            let owed = up.core.report().debt.len();
            idle = if owed < least { 0 } else { idle + 1 };
            least = least.min(owed);
        }
    }
}
