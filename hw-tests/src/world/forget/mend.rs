//! Rot, scrub and healing beside forgetting: shards of packs that may end any moment are damaged, looked at and made again.
//!
//! Two jobs pull at the same files: one makes shards again, the other removes them. Here each runs a few steps at a time
//! with the other's orders still waiting in the lanes. Rot stays within what a pack tolerates, so that nothing may become
//! unreadable; a shard that was made again has the very bytes of the lost one, so that the end is plain to check.

use super::{MANY, World};
use crate::world::Broken;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::PackFact;
use coffre_core::ids::{DiskNo, PackId};
use coffre_core::wire::DiskState;
use coffre_vault::layout;

/// Most steps of the scrub in one step of the world.
const SCRUB_STEPS: u64 = 12;

impl World {
    /// A shard rots, if its pack can miss it: all disks are in use, and fewer than m others are bad.
    pub(super) fn rot(&mut self) {
        let (core, _) = self.on();
        if !self.all_in_use() {
            return;
        }
        let mut packs: Vec<PackFact> = core.with(|e| e.catalog().packs().cloned().collect());
        packs.sort_unstable_by_key(|p| p.id);
        let Some(pack) = self.rng.pick(&packs).cloned() else { return };
        let known = core.with(|e| e.lost_shards(&pack.id));
        let bad: DiskSet = pack.disks.iter().copied().filter(|d| self.is_bad(pack.id, *d, known)).collect();
        let sound: Vec<DiskNo> = pack.disks.iter().copied().filter(|d| !bad.has(*d)).collect();
        if bad.len() >= pack.geometry.m() {
            return;
        }
        let Some(no) = self.rng.pick(&sound).copied() else { return };
        let (disk, path) = (&self.machine.disks[no.ix()], layout::shard(pack.id));
        let Some(whole) = disk.peek(&path) else { return };
        match self.rng.below(6) {
            0 => drop(disk.lose(&path)),
            1 => disk.truncate(&path, self.rng.below(whole.len() as u64)),
            _ => {
                disk.rot(Some(&path), &mut self.rng);
            }
        }
        if disk.peek(&path).as_ref() != Some(&whole) {
            self.rotten.insert((pack.id, no), whole);
            self.seen.rotten += 1;
        }
    }

    /// Some steps of the scrub and of healing; what they order waits in the lanes while other things happen.
    pub(super) fn scrub_and_heal(&mut self) {
        let (core, _) = self.on();
        if self.rng.chance(1, 3) {
            core.scrub_ask(self.rng.chance(2, 3));
        }
        for _ in 0..=self.rng.below(SCRUB_STEPS) {
            if self.machine.power.is_out() {
                return;
            }
            self.seen.scrubbed += u64::from(core.scrub_step());
            let steps = self.rng.index(4);
            self.settle(steps);
            if self.rng.chance(1, 2) {
                self.seen.healings += u64::from(core.heal_one().is_some());
            }
        }
        self.machine.keep_note(&core);
    }

    /// Everything is looked at and healed.
    pub(super) fn mend_all(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        for _ in 0..3 {
            core.scrub_ask(true);
            for _ in 0..MANY {
                let worked = core.scrub_step();
                self.settle(MANY);
                let healed = core.heal_one().is_some();
                self.seen.healings += u64::from(healed);
                self.settle(MANY);
                if !worked && !healed {
                    break;
                }
            }
            self.pass_time_by(60_000);
        }
        if !self.all_in_use() {
            return Ok(());
        }
        let wounds = core.with(|e| e.wounds());
        if wounds.packs > 0 {
            return Err(Broken(format!("all disks are there, and not everything heals: {wounds:?}")));
        }
        for ((pack, no), whole) in std::mem::take(&mut self.rotten) {
            let live = core.with(|e| e.catalog().pack(&pack).is_some());
            let there = self.machine.disks[no.ix()].peek(&layout::shard(pack));
            if live && there.as_ref() != Some(&whole) {
                return Err(Broken(format!("shard {pack} on disk {no} rotted and is not whole again")));
            }
            if !live && there.is_some() {
                return Err(Broken(format!("shard {pack} on disk {no} was freed and is there")));
            }
        }
        Ok(())
    }

    pub(super) fn all_in_use(&self) -> bool {
        let (core, _) = self.on();
        core.report().disks.iter().all(|d| d.1 == DiskState::Active)
            && self.machine.disks.iter().all(|d| !d.faults(|f| f.gone))
    }

    fn is_bad(&self, pack: PackId, no: DiskNo, known: DiskSet) -> bool {
        let there = || self.machine.disks[no.ix()].peek(&layout::shard(pack));
        known.has(no) || self.rotten.get(&(pack, no)).is_some_and(|whole| there().as_ref() != Some(whole))
    }
}
