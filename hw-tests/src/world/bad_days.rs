//! Bad days: which disks are bad in a run, what befalls them, and what that takes from the promises.
//!
//! At most m disks of a run are ever bad, chosen at its start. Everything else that happens (power cuts, absences,
//! hangs, syncs that fail once) may happen to any disk at any time and takes nothing from any promise.

use super::machine::Machine;
use super::model::Model;
use super::{Case, Seen};
use crate::rng::Rng;
use crate::sim::{DiskImage, Strike};
use coffre_core::diskset::DiskSet;
use coffre_core::ids::DiskNo;
use coffre_vault::layout;

/// See the module.
pub struct BadDays {
    /// Disks that may go bad.
    candidates: DiskSet,
    /// Disks that died.
    pub dead: DiskSet,
    /// Disks that went bad in any way.
    pub spoilt: DiskSet,
    /// An earlier durable state of a candidate, to come back with.
    past: Vec<(DiskNo, DiskImage)>,
}

impl BadDays {
    /// Chooses the bad disks of a run.
    pub fn draw(case: &Case, rng: &mut Rng) -> Self {
        let mut disks: Vec<DiskNo> = (0..case.k + case.m).map(DiskNo).collect();
        rng.shuffle(&mut disks);
        let many = if case.faults { rng.index(usize::from(case.m) + 1) } else { 0 };
        Self {
            candidates: disks.into_iter().take(many).collect(),
            dead: DiskSet::EMPTY,
            spoilt: DiskSet::EMPTY,
            past: Vec::new(),
        }
    }

    fn spoil(&mut self, disk: DiskNo, model: &mut Model) {
        self.spoilt = self.spoilt.with(disk);
        model.spoil(disk);
    }

    /// One bad thing while the box is up.
    pub fn strike(&mut self, machine: &Machine, model: &mut Model, rng: &mut Rng, seen: &mut Seen) {
        seen.faults += 1;
        let any = DiskNo(rng.index(machine.disks.len()) as u8);
        let bad: Vec<DiskNo> = self.candidates.iter().collect();
        let sim = |d: DiskNo| &machine.disks[d.ix()];
        match rng.below(8) {
            // On any disk: the vault must live with these at no cost.
            0 | 1 => sim(any).faults(|f| f.fail_syncs = Strike::Next(1)),
            2 => {
                let hung = !sim(any).is_hung();
                sim(any).faults(|f| f.hung = hung);
            }
            3 => sim(any).faults(|f| f.fail_writes = Strike::Next(1)),
            _ => {
                let Some(disk) = rng.pick(&bad).copied() else { return };
                match rng.below(5) {
                    0 => {
                        self.spoil(disk, model);
                        sim(disk).rot(None, rng);
                    }
                    1 => {
                        self.spoil(disk, model);
                        sim(disk).rot(Some(layout::SHARDS), rng);
                    }
                    2 => {
                        self.spoil(disk, model);
                        model.crooked = model.crooked.with(disk);
                        sim(disk).faults(|f| f.misdirect_writes = Strike::Next(1));
                    }
                    3 => {
                        self.spoil(disk, model);
                        model.liars = model.liars.with(disk);
                        sim(disk).faults(|f| f.sync_lies = true);
                    }
                    _ => self.past.push((disk, sim(disk).snapshot())),
                }
            }
        }
    }

    /// Bad things that show when the power comes back: a disk died, or comes back as it was long ago.
    pub fn after_cut(
        &mut self,
        case: &Case,
        machine: &Machine,
        model: &mut Model,
        rng: &mut Rng,
        seen: &mut Seen,
    ) {
        if !case.faults {
            return;
        }
        for disk in (0..machine.disks.len()).map(|i| DiskNo(i as u8)) {
            machine.disks[disk.ix()].faults(|f| {
                f.fail_syncs = Strike::Never;
                f.fail_writes = Strike::Never;
            });
        }
        // A liar that lost what it had confirmed is spoilt for everything it ever confirmed while lying; that was
        // counted when it began. It may stop lying now.
        let liars = model.liars;
        for disk in liars.iter() {
            if rng.chance(1, 2) {
                machine.disks[disk.ix()].faults(|f| f.sync_lies = false);
                model.liars = model.liars.without(disk);
            }
            model.spoil(disk);
        }
        let bad: Vec<DiskNo> = self.candidates.iter().collect();
        let Some(disk) = rng.pick(&bad).copied() else { return };
        match rng.below(6) {
            0 => {
                seen.faults += 1;
                self.dead = self.dead.with(disk);
                self.spoil(disk, model);
            }
            1 => {
                let old: Vec<DiskImage> =
                    self.past.iter().filter(|(d, _)| *d == disk).map(|(_, image)| image.clone()).collect();
                if let Some(image) = rng.pick(&old) {
                    seen.faults += 1;
                    machine.disks[disk.ix()].restore(image);
                    self.spoil(disk, model);
                }
            }
            _ => {}
        }
    }
}
