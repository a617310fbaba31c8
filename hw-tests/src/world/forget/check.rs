//! What must hold in the world of forgetting, after each step and in the end.

use super::{DATASETS, DAY_MS, HOUR_MS, MANY, REPO, World, name_of};
use crate::world::{Broken, check};
use coffre_core::diskset::DiskSet;
use coffre_core::fact::ObjectFact;
use coffre_core::flaw::Flaws;
use coffre_core::ids::{DiskNo, ObjectId, PackId};
use coffre_core::retention::TimeEvidence;
use coffre_core::wire::DiskState;
use coffre_vault::lane::{Job, execute};
use coffre_vault::limits::Limits;
use std::collections::{BTreeSet, HashSet};

impl World {
    /// After each step: what went, went rightly.
    pub(super) fn observe(&mut self) -> Result<(), Broken> {
        self.keep_time();
        let Some((core, _)) = self.up.as_ref() else { return Ok(()) };
        // Read-only from the start, a box may show an older state; it says so and forgets nothing.
        if core.with(|e| e.never_mounted()) {
            return Ok(());
        }
        let (there, condemned): (Vec<Vec<ObjectId>>, BTreeSet<ObjectId>) = core.with(|e| {
            let catalog = e.catalog();
            let there = (0..DATASETS.len()).map(|d| catalog.snapshots(&name_of(d)).to_vec()).collect();
            (there, catalog.condemned_objects().map(|(id, _)| *id).collect())
        });
        let (files, seen_files) = Self::files_there(core);
        let mut present: BTreeSet<ObjectId> = there.iter().flatten().copied().collect();
        present.extend(files);
        if let Some(one) = self.known.iter().find(|k| {
            k.dataset == REPO
                && k.acked
                && !k.gone
                && k.may_go_true_ms.is_none()
                && !seen_files.contains(&k.id)
        }) {
            self.check_file_gone(one)?;
        }
        for (dataset, there) in there.iter().enumerate() {
            self.check_kept(dataset, there)?;
        }
        let now_ms = self.true_ms;
        let pending: HashSet<ObjectId> = self.pending.iter().map(|(_, id)| *id).collect();
        let mut gone_files = Vec::new();
        for (at, one) in self.known.iter_mut().enumerate() {
            if present.contains(&one.id) {
                if !condemned.contains(&one.id) {
                    one.free_of_blame_ms = now_ms;
                }
            } else if one.acked && !one.gone {
                one.gone = true;
                if one.dataset == REPO {
                    self.seen.files_gone += 1;
                    gone_files.push(at);
                    continue;
                }
                self.seen.forgotten += 1;
                if now_ms < one.locked_true_ms {
                    let early = one.locked_true_ms - now_ms;
                    return Err(Broken(format!(
                        "snapshot {} was forgotten {early} ms before its lock ended",
                        one.id
                    )));
                }
                let grace = now_ms - one.free_of_blame_ms;
                if grace < Limits::TINY.grace_ms {
                    return Err(Broken(format!("snapshot {} had {grace} ms of grace", one.id)));
                }
            } else if !one.acked && !pending.contains(&one.id) {
                one.free_of_blame_ms = now_ms;
            }
        }
        gone_files.into_iter().try_for_each(|at| self.check_file_gone(&self.known[at]))
    }

    /// The newest stays, so does the newest complete one, and as many of the last complete ones as the rules ever asked for at
    /// least.
    pub(super) fn check_kept(&mut self, dataset: usize, there: &[ObjectId]) -> Result<(), Broken> {
        let cut: HashSet<ObjectId> = self.known.iter().filter(|k| k.incomplete).map(|k| k.id).collect();
        let whole = |id: &&ObjectId| !cut.contains(*id);
        let acked = self.known.iter().filter(|k| k.dataset == dataset && k.acked && !k.incomplete).count();
        let least = self.least_last.get(&dataset).map_or(1, |n| (*n).max(1)) as usize;
        let name = DATASETS[dataset];
        let left = there.iter().filter(whole).count();
        if left < least.min(acked) {
            return Err(Broken(format!("{left} complete snapshots of {name} are left, {least} must stay")));
        }
        // In the order of the journal, which is that of receipt.
        let before = std::mem::replace(&mut self.before[dataset], there.to_vec());
        match before.last() {
            Some(newest) if !there.contains(newest) && there.iter().all(|id| before.contains(id)) => {
                return Err(Broken(format!("the newest snapshot of {name} is gone")));
            }
            _ => {}
        }
        match before.iter().rev().find(whole) {
            Some(newest)
                if !there.contains(newest) && there.iter().filter(whole).all(|id| before.contains(id)) =>
            {
                Err(Broken(format!("the newest complete snapshot of {name} is gone")))
            }
            _ => Ok(()),
        }
    }

    /// Everything that is there reads as it was handed in.
    pub(super) fn look(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        let mut there: Vec<ObjectId> = core.with(|e| {
            (0..DATASETS.len()).flat_map(|d| e.catalog().snapshots(&name_of(d)).to_vec()).collect()
        });
        there.extend(Self::files_there(&core).0);
        // What was written while a disk was away may be on the others alone: then an error is an answer.
        let all_there = self.all_in_use();
        for id in there {
            let Some(known) = self.known.iter().find(|k| k.id == id) else {
                return Err(Broken(format!("snapshot {id} was never handed in")));
            };
            self.seen.read += 1;
            match check::read(&core, &id) {
                Ok(bytes) if bytes == *known.bytes => {}
                Ok(_) => return Err(Broken(format!("snapshot {id} reads wrong"))),
                Err(_) if self.machine.power.is_out() => return Ok(()),
                Err(_) if !all_there => {}
                Err(fault) => {
                    return Err(Broken(format!("snapshot {id} is there and cannot be read: {fault}")));
                }
            }
        }
        let unreadable = core.report().unreadable;
        // What was healed and not noted before a cut counts as bad until it is proved again: until then a pack whose
        // other shard rots meanwhile counts as unreadable, and is not.
        let sound = all_there && self.rotten.is_empty();
        if unreadable > 0 && sound && core.report().stalled.is_none() {
            return Err(Broken(format!("all disks are there and {unreadable} packs cannot be read")));
        }
        Ok(())
    }

    /// The end: all disks, right clocks, time enough, approval: whatever may go goes, and nothing is left of it.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        self.machine.disks.iter().for_each(|d| d.faults(|f| f.capacity_bytes = None));
        self.settle(MANY);
        self.power_cut();
        let all = DiskSet::first(self.machine.disks.len());
        while self.up.is_none() {
            self.boot(all, false)?;
        }
        for _ in 0..3 {
            self.machine.clock.set_wall_ms(self.true_ms);
            self.settle(MANY);
            let _ = self.on().0.hear_time(&[TimeEvidence::Owner { at_ms: self.true_ms }]);
            self.pass_time_by(80 * HOUR_MS);
        }
        self.mend_all()?;
        for _ in 0..8 {
            let (core, _) = self.on();
            let plan = core.forget_plan().map_err(|f| Broken(f.to_string()))?;
            let done =
                core.forget_run(Some(&plan.id)).map_err(|f| Broken(format!("nothing ails it: {f}")))?;
            self.seen.freed_packs += done.freed_packs as u64;
            self.seen.compacted += done.compacted as u64;
            let _ = core.upkeep(0);
            self.pass_time_by(Limits::TINY.grace_ms * 2);
            self.observe()?;
        }
        self.look()?;
        self.check_clean()
    }

    pub(super) fn pass_time_by(&mut self, ms: u64) {
        self.settle(MANY);
        let (core, hands) = self.on();
        hands.pass_time(&core, ms);
        self.keep_time();
        self.settle(MANY);
    }

    pub(super) fn check_clean(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        let plan = core.forget_plan().map_err(|f| Broken(f.to_string()))?;
        // The clocks agree by now: whatever they showed when it came, nothing is locked for longer than its class.
        let longest = |class_ms: u64| self.true_ms + class_ms + 2 * DAY_MS;
        let long = |o: &ObjectFact| o.lock_ends_ms() > longest(o.class.millis());
        if let Some(left) = plan.snapshots.iter().find(|j| long(&j.object)) {
            return Err(Broken(format!("snapshot {} is locked as a wrong clock had it", left.object.id)));
        }
        if let Some(left) = plan.snapshots.iter().find(|j| !j.verdict.keeps()) {
            return Err(Broken(format!("snapshot {} may go and is still there", left.object.id)));
        }
        if !plan.stray.is_empty() || core.with(|e| e.catalog().condemned_packs().count()) > 0 {
            return Err(Broken(format!("packs that nobody uses are still there: {:?}", plan.stray)));
        }
        let report = core.report();
        if report.disks.iter().any(|d| d.1 != DiskState::Active) {
            return Ok(());
        }
        for (no, disk) in self.machine.disks.iter().enumerate() {
            let expected: BTreeSet<PackId> = core.with(|e| {
                let here = |p: &&coffre_core::fact::PackFact| p.disks.contains(&DiskNo(no as u8));
                e.catalog().packs().filter(here).map(|p| p.id).collect()
            });
            let done = execute(disk, &Job::ListShards, &self.machine.keys, Flaws::NONE);
            let found: BTreeSet<PackId> =
                done.map_err(|e| Broken(e.to_string()))?.shards.into_iter().collect();
            if found != expected {
                let (more, less) = (found.difference(&expected).count(), expected.difference(&found).count());
                return Err(Broken(format!("disk {no} has {more} shards too many and {less} too few")));
            }
        }
        Ok(())
    }
}
