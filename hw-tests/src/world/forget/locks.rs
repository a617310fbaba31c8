//! A box whose clock is wrong for a while: what comes then is locked for as long as its class says, no shorter, and not for decades.

use super::{DAY_MS, ForgetCase, HOUR_MS, Known, MANY, World, name_of};
use crate::world::Broken;
use coffre_core::class::LockClass;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{LockBasis, ObjectFact};
use coffre_core::fault::Fault;
use coffre_core::flaw::Flaws;
use coffre_core::ids::ObjectId;
use coffre_core::retention::TimeEvidence;
use coffre_vault::put::Put;
use std::sync::Arc;

/// Longer than the calm after a doubt: a lock that is too short shows then.
const CLASS: LockClass = LockClass(100 * 3_600);

/// Plays the story of such a box. `Err` says which lock was wrong.
pub fn wrong_clock(flaws: Flaws) -> Result<(), String> {
    let (clocks, full, rot) = (false, false, false);
    let case = ForgetCase { seed: 7, k: 2, m: 1, steps: 0, clocks, full, rot, flaws };
    World::new(case).wrong_clock().map_err(|broken| broken.to_string())
}

impl World {
    fn wrong_clock(&mut self) -> Result<(), Broken> {
        let all = DiskSet::first(self.machine.disks.len());
        self.boot(all, false)?;
        let (core, _) = self.on();
        core.set_policy(&name_of(0), Some(CLASS), None, None).map_err(broken)?;
        let clock = self.machine.clock.clone();

        // In 2106, then put right.
        clock.jump_wall_ms(80 * 365 * DAY_MS as i64);
        let ahead = self.store()?;
        self.expect_open(&ahead)?;
        core.settle_locks().map_err(broken)?;
        self.expect_open(&ahead)?;
        clock.set_wall_ms(self.true_ms);
        core.settle_locks().map_err(broken)?;
        self.expect_locked(&ahead, self.true_ms)?;

        // Asleep for forty days: the wall is right, and the retention clock lags.
        let (slept_ms, came_ms) = (40 * DAY_MS, self.true_ms + 40 * DAY_MS);
        self.true_ms = came_ms;
        clock.set_wall_ms(came_ms);
        let late = self.store()?;
        self.expect_open(&late)?;
        // Somebody bends the wall back to where the other one is: they agree, forty days too early.
        clock.set_wall_ms(came_ms - slept_ms);
        core.settle_locks().map_err(broken)?;
        // The power goes, and the owner says what time it is.
        self.power_cut();
        while self.up.is_none() {
            self.boot(all, false)?;
        }
        let (core, _) = self.on();
        clock.set_wall_ms(self.true_ms);
        core.hear_time(&[TimeEvidence::Owner { at_ms: self.true_ms }]).map_err(broken)?;
        self.expect_locked(&late, came_ms)?;
        self.pass_time_by(80 * HOUR_MS);
        self.expect_locked(&late, came_ms)
    }

    fn store(&mut self) -> Result<ObjectId, Broken> {
        let (core, _) = self.on();
        let mut put = Put::begin(core.clone(), name_of(0), CLASS).map_err(broken)?;
        let bytes = self.content();
        put.write(&bytes).map_err(broken)?;
        let submitted = put.submit().map_err(broken)?;
        core.wait(submitted.ticket).map_err(broken)?;
        self.settle(MANY);
        self.keep_time();
        let id = submitted.object.id;
        self.known.push(Known {
            id,
            dataset: 0,
            bytes: Arc::new(bytes),
            acked: true,
            locked_true_ms: self.true_ms + CLASS.millis(),
            free_of_blame_ms: self.true_ms,
            gone: false,
            incomplete: false,
            may_go_true_ms: None,
        });
        Ok(id)
    }

    fn fact(&self, id: &ObjectId) -> Result<ObjectFact, Broken> {
        let (core, _) = self.on();
        let fact = core.with(|e| e.catalog().object(id).cloned());
        fact.ok_or_else(|| Broken(format!("snapshot {id} is gone")))
    }

    /// It has no end yet.
    fn expect_open(&self, id: &ObjectId) -> Result<(), Broken> {
        let fact = self.fact(id)?;
        let open = fact.basis == Some(LockBasis::Provisional) && fact.lock_ends_ms() == u64::MAX;
        if open { Ok(()) } else { Err(Broken(format!("a lock is set while the clocks disagree: {fact:?}"))) }
    }

    /// It is locked for what its class says from `came_ms` on, and not for much more.
    fn expect_locked(&self, id: &ObjectId, came_ms: u64) -> Result<(), Broken> {
        let ends_ms = self.fact(id)?.lock_ends_ms();
        let least_ms = came_ms + CLASS.millis();
        match ends_ms {
            ends_ms if ends_ms < least_ms => {
                Err(Broken(format!("a lock ends {} ms too early", least_ms - ends_ms)))
            }
            ends_ms if ends_ms > least_ms + 2 * DAY_MS => {
                Err(Broken(format!("a lock ends {} ms too late", ends_ms - least_ms)))
            }
            _ => Ok(()),
        }
    }
}

fn broken(fault: Fault) -> Broken {
    Broken(fault.to_string())
}
