//! Time, the upkeep of the vault, and its healing: threads that outlive a mount.

use super::house::House;
use crate::engine::Event;
use crate::state::SCRUB_FILE;
use crate::upkeep::Did;
use coffre_core::fault::{Class, Fault};
use std::collections::HashSet;

/// How often open packs are looked at.
const SEAL_EVERY_MS: u64 = 10;
/// How often the engine is told the time: it finds hung disks by it.
const TICK_EVERY_MS: u64 = 100;
/// A nap that takes so much longer than it should is a pause of the whole process: stopped, swapped out, or on a machine that
/// stood still.
const PAUSE_MS: u64 = 1_000;
/// How often upkeep asks whether something is due,
const KEEP_EVERY_MS: u64 = 1_000;
/// and how long it rests while there is more to do: clients come first.
const REST_MS: u64 = 20;

/// How often a healer asks whether something is to be healed.
const HEAL_EVERY_MS: u64 = 200;
/// The same while enough is on its way to the disks: there may be room for the next one soon.
const HEAL_AGAIN_MS: u64 = 2;
/// How often the scrubber asks whether something is due.
const SCRUB_EVERY_MS: u64 = 500;
/// The same while somebody waits for a round, and a journal is being compared.
const SCRUB_AGAIN_MS: u64 = 5;

/// The ticker: seals packs that were waited for, tells the time.
pub(super) fn tick(house: &House) {
    let mut told_ms = 0;
    let mut faults = Faults::default();
    let mut napping_ms = house.clock.mono_ms();
    while house.ticker_bell.nap(SEAL_EVERY_MS) {
        let core = house.core();
        let paused_ms = house.clock.mono_ms().saturating_sub(napping_ms).saturating_sub(SEAL_EVERY_MS);
        if paused_ms >= PAUSE_MS {
            tracing::warn!(ms = paused_ms, "the box stood still; no disk is held to that time");
            core.event(Event::Paused(paused_ms));
        }
        if let Err(fault) = core.seal_due() {
            faults.log("a pack cannot be sealed", &fault);
        }
        let now_ms = house.clock.mono_ms();
        if now_ms.saturating_sub(told_ms) >= TICK_EVERY_MS {
            told_ms = now_ms;
            core.event(Event::Tick(now_ms));
        }
        napping_ms = house.clock.mono_ms();
    }
}

/// The keeper: folds, merges, encodes again, makes checkpoints, teaches the index; one step at a time.
pub(super) fn keep(house: &House) {
    let started_ms = house.clock.mono_ms();
    let mut merged_ms = started_ms;
    let mut faults = Faults::default();
    let mut rest_ms = 0;
    while house.keeper_bell.nap(rest_ms) {
        let core = house.core();
        rest_ms = REST_MS;
        house.settle_secrets(&core);
        house.write_refusals_if_due();
        if let Err(fault) = house.forget_if_due(&core, started_ms) {
            faults.log("forgetting", &fault);
        }
        match core.upkeep(house.clock.mono_ms().saturating_sub(merged_ms)) {
            Ok(Did::Nothing) => rest_ms = KEEP_EVERY_MS,
            Ok(Did::Merged(_)) => merged_ms = house.clock.mono_ms(),
            Ok(Did::Checkpoint | Did::Learnt(_)) => {}
            Err(fault) => {
                rest_ms = KEEP_EVERY_MS;
                faults.log("upkeep", &fault);
                if core.index.packs().is_err() {
                    // A burn that failed is tried again.
                    core.doubt_index();
                }
            }
        }
    }
}

/// A healer: makes lost shards again, one pack after the other. While streams run it rests as long as it works, unless the
/// next loss would cost data.
pub(super) fn heal(house: &House) {
    let mut rest_ms = 0;
    while house.keeper_bell.nap(rest_ms) {
        let core = house.core();
        let began_ms = house.clock.mono_ms();
        let healed = core.heal_one();
        let spent_ms = house.clock.mono_ms().saturating_sub(began_ms);
        let goes_on = core.with(|e| e.healing_goes_on());
        rest_ms = healers_rest_ms(healed, goes_on, core.busy(), spent_ms);
    }
}

/// `healed`: how many more shards the pack may miss that was just healed, if there was one.
fn healers_rest_ms(healed: Option<i32>, goes_on: bool, busy: bool, spent_ms: u64) -> u64 {
    match healed {
        None if goes_on => HEAL_AGAIN_MS,
        None => HEAL_EVERY_MS,
        Some(tolerance) if tolerance > 0 && busy => spent_ms.max(1),
        Some(_) => 0,
    }
}

/// The scrubber: looks at everything in time, one small step after the other, and notes what it found. While streams run it
/// has a tenth of the time.
pub(super) fn scrub(house: &House) {
    let mut rest_ms = SCRUB_EVERY_MS;
    let mut faults = Faults::default();
    while house.keeper_bell.nap(rest_ms) {
        let core = house.core();
        let began_ms = house.clock.mono_ms();
        let worked = core.scrub_step();
        if let Some(note) = core.scrub_note()
            && let Err(fault) = house.state.write(SCRUB_FILE, &note)
        {
            faults.log("the scrub's note", &fault);
        }
        let spent_ms = house.clock.mono_ms().saturating_sub(began_ms).max(1);
        rest_ms = scrubbers_rest_ms(worked, core.busy(), core.scrub_asked(), spent_ms);
    }
}

fn scrubbers_rest_ms(worked: bool, busy: bool, asked: bool, spent_ms: u64) -> u64 {
    match worked {
        false if asked => SCRUB_AGAIN_MS,
        false => SCRUB_EVERY_MS,
        true if busy => 9 * spent_ms,
        true if asked => 0,
        true => spent_ms,
    }
}

/// Faults of a background thread: each kind is logged once.
#[derive(Default)]
struct Faults(HashSet<Class>);

impl Faults {
    fn log(&mut self, doing: &str, fault: &Fault) {
        if self.0.insert(fault.class) {
            tracing::warn!("{doing}: {fault} (said once)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_first_and_otherwise_nothing_is_waited_for() {
        for spent_ms in [0, 1, 7, 400] {
            // Half of the time while streams run and another loss costs nothing; all of it when it would, or nobody is there.
            assert_eq!(healers_rest_ms(Some(1), true, true, spent_ms), spent_ms.max(1));
            for urgent in [0, -1] {
                assert_eq!(healers_rest_ms(Some(urgent), true, true, spent_ms), 0);
            }
            assert_eq!(healers_rest_ms(Some(2), true, false, spent_ms), 0);
            // A tenth while streams run, whoever asked; half by itself; all of it when asked and alone.
            let worked_ms = spent_ms.max(1);
            for asked in [false, true] {
                let rest_ms = scrubbers_rest_ms(true, true, asked, worked_ms);
                assert_eq!(worked_ms * 10, worked_ms + rest_ms);
            }
            assert_eq!(scrubbers_rest_ms(true, false, false, worked_ms), worked_ms);
            assert_eq!(scrubbers_rest_ms(true, false, true, worked_ms), 0);
        }
        // With nothing to do nobody spins, and what is on its way is not waited for long.
        assert!(healers_rest_ms(None, false, false, 0) >= 100 && healers_rest_ms(None, true, false, 0) > 0);
        assert!(healers_rest_ms(None, true, false, 0) < 10);
        assert!(scrubbers_rest_ms(false, false, true, 1) > 0);
    }
}
