//! What happens to the box of the world of forgetting: its own jobs, time, liars, disks that go, run full and lose power.

use super::{CHECKED, DATASETS, DAY_MS, HOUR_MS, MANY, World, name_of};
use crate::rng::Rng;
use crate::world::Broken;
use coffre_core::class::LockClass;
use coffre_core::ids::DiskNo;
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::retention::TimeEvidence;
use coffre_vault::engine::Event;
use coffre_vault::ports::Disk;

impl World {
    pub(super) fn set_policy(&mut self) {
        let (core, _) = self.on();
        let dataset = self.rng.index(DATASETS.len() + 1);
        let class = LockClass([2, 8, 30, 90][self.rng.index(4)]);
        let keep = KeepRules { last: self.rng.below(4) as u32, ..KeepRules::default() };
        let before = core.with(|e| e.catalog().policy(&name_of(dataset)).keep.last);
        let least = self.least_last.entry(dataset).or_insert(before);
        // Even if the answer does not come, it may hold from now on.
        *least = (*least).min(keep.last);
        let kind = (dataset == CHECKED).then_some(Kind::Postgres);
        let _ = core.set_policy(&name_of(dataset), Some(class), Some(keep), kind);
    }

    /// One step of forgetting, or a whole run. What one step decides must still be right after anything else happened.
    pub(super) fn forget_step(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        let approve = self.rng.chance(2, 3);
        let plan = match core.forget_plan() {
            Ok(plan) => plan,
            Err(_) if self.machine.power.is_out() => return Ok(()),
            // A manifest in a pack with a rotten shard, while a disk is away: it stops, and nothing is forgotten.
            Err(_) if !self.rotten.is_empty() && !self.all_in_use() => return Ok(()),
            Err(fault) => return Err(Broken(format!("no plan can be made: {fault}"))),
        };
        let approved = approve.then_some(plan.id.as_str());
        if self.rng.chance(1, 12) {
            let ops = self.rng.below(30);
            self.machine.power.cut_after(ops);
        }
        let mut condemned = 0;
        match self.rng.below(6) {
            0 => {
                let done = core.forget_run(approved).unwrap_or_default();
                self.seen.freed_packs += done.freed_packs as u64;
                self.seen.compacted += done.compacted as u64;
                self.seen.asked += u64::from(done.asks);
            }
            1 | 2 => {
                let done = core.condemn(approved).unwrap_or_default();
                condemned = done.condemned;
                self.seen.asked += u64::from(done.asks);
            }
            3 => drop(core.free_objects()),
            4 => self.seen.freed_packs += core.free_packs().unwrap_or_default() as u64,
            _ => {
                self.seen.compacted += core.compact().unwrap_or_default() as u64;
                let _ = core.drop_moves();
            }
        }
        // Nothing happens between this plan and the one that condemning alone makes; a whole run waits before it decides.
        if plan.needs_approval() && !approve && condemned > 0 {
            let (frees, live) = (plan.frees_bytes, plan.live_bytes);
            return Err(Broken(format!("{frees} of {live} bytes were condemned and nobody was asked")));
        }
        Ok(())
    }

    pub(super) fn upkeep(&mut self) {
        let (core, _) = self.on();
        if self.rng.chance(1, 2) && core.fold().is_ok() && self.rng.chance(1, 2) {
            core.with(|e| e.want_checkpoint());
        }
        let _ = core.upkeep(60_000);
    }

    pub(super) fn pass_time(&mut self) {
        let ms = match self.rng.below(6) {
            0 => 500,
            1 | 2 => 3_500,
            3 => 10_000,
            4 => 40_000,
            // Doubts end after three days of running.
            _ => 75 * HOUR_MS,
        };
        // A disk that has nothing left to do is not late.
        self.settle(MANY);
        if let Some((core, hands)) = &self.up {
            hands.pass_time(core, ms);
        }
        self.keep_time();
    }

    /// The wall jumps, stands still or goes back; time passes that the box does not see; people and sources say what time it is.
    pub(super) fn attack(&mut self) {
        self.seen.attacks += 1;
        let years = |n: i64| n * 365 * DAY_MS as i64;
        let jumps = [
            HOUR_MS as i64,
            -(HOUR_MS as i64),
            20 * HOUR_MS as i64,
            years(1),
            -years(1),
            years(10),
            -years(10),
        ];
        let clock = self.machine.clock.clone();
        match self.rng.below(8) {
            0 | 1 => clock.jump_wall_ms(jumps[self.rng.index(jumps.len())]),
            2 => clock.set_wall_ms([0, 2_145_916_800_000][self.rng.index(2)]),
            // Somebody puts it right.
            3 | 4 => clock.set_wall_ms(self.true_ms),
            // Asleep: the wall goes on, the counter does not.
            5 => {
                let ms = self.rng.below(40 * HOUR_MS);
                self.true_ms += ms;
                clock.jump_wall_ms(ms as i64);
            }
            // The owner says what time it is, and is right, or a little wrong on the safe side.
            6 => {
                self.keep_time();
                let at_ms = self.true_ms - self.rng.below(HOUR_MS);
                let _ = self.on().0.hear_time(&[TimeEvidence::Owner { at_ms }]);
            }
            // Sources of which one at least is honest.
            _ => {
                self.keep_time();
                let lie = |rng: &mut Rng, true_ms: u64| match rng.below(3) {
                    0 => true_ms + 3_650 * DAY_MS,
                    1 => true_ms - rng.below(DAY_MS),
                    _ => true_ms + rng.below(DAY_MS),
                };
                let mut said = vec![self.true_ms];
                said.extend([lie(&mut self.rng, self.true_ms), lie(&mut self.rng, self.true_ms)]);
                self.rng.shuffle(&mut said);
                let of = |(n, at_ms): (usize, &u64)| TimeEvidence::Source {
                    authority: format!("source {n}"),
                    at_ms: *at_ms,
                };
                let said: Vec<TimeEvidence> = said.iter().enumerate().map(of).collect();
                let _ = self.on().0.hear_time(&said);
            }
        }
    }

    pub(super) fn unplug_or_plug(&mut self) {
        let (core, _) = self.on();
        let disk = DiskNo(self.rng.index(self.machine.disks.len()) as u8);
        if self.case.m > 0 && core.wants_probe().is_empty() && self.rng.chance(1, 3) {
            self.machine.disks[disk.ix()].unplug();
            return;
        }
        self.plug_all();
    }

    pub(super) fn plug_all(&mut self) {
        let (core, _) = self.on();
        for disk in core.wants_probe().iter() {
            self.machine.plug(disk, &mut self.rng);
            if core.with(|e| e.never_mounted()) {
                self.up = None;
                self.streams.clear();
                return;
            }
            if let Some(survey) = self.machine.survey(disk) {
                core.forget_tables();
                core.event(Event::Attached(disk, Box::new(survey)));
            }
        }
    }

    /// A foreign file fills a disk to the brim, or goes away.
    pub(super) fn fill_or_free(&mut self) {
        let disk = &self.machine.disks[self.rng.index(self.machine.disks.len())];
        let used = disk.space().map_or(0, |s| s.total - s.free);
        let room = self.rng.below(40) * 4_096;
        disk.faults(|f| {
            f.capacity_bytes = if f.capacity_bytes.is_some() { None } else { Some(used + room) };
        });
        let (core, _) = self.on();
        for disk in 0..self.machine.disks.len() as u8 {
            core.with(|e| e.has_room(DiskNo(disk)));
        }
    }

    pub(super) fn fuse(&mut self) {
        let ops = self.rng.below(60);
        self.machine.power.cut_after(ops);
        self.settle(80);
    }

    pub(super) fn power_cut(&mut self) {
        self.collect();
        self.keep_time();
        self.seen.cuts += 1;
        self.streams.clear();
        self.pending.clear();
        self.up = None;
        self.machine.power_cut(&mut self.rng);
        self.mono_ms = 0;
        // Off for a while: the wall goes on, if its battery lives.
        let off_ms = if self.rng.chance(1, 2) { self.rng.below(30_000) } else { 0 };
        self.true_ms += off_ms;
        if self.rng.chance(3, 4) {
            self.machine.clock.jump_wall_ms(off_ms as i64);
        }
    }
}
