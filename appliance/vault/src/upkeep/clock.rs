//! The retention clock of an open vault: looked at by whoever needs it, noted in the journal every hour.
//!
//! What is not noted is lost at a power cut, and the clock lags by as much: that only makes locks last longer. A new doubt
//! is noted at once, so that switching the box off and on does not end it.

use crate::core::{Core, lock};
use coffre_core::class::LockClass;
use coffre_core::fact::Fact;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::retention::{ClockFact, RetentionClock, TimeEvidence};

/// The clock, and when it was noted.
#[derive(Debug)]
pub(crate) struct Retention {
    clock: RetentionClock,
    noted_ms: Option<u64>,
    doubt_noted: bool,
}

impl Retention {
    /// Goes on from the journal; in a vault that is just being made the clock begins.
    pub fn new(
        catalog: &crate::catalog::Catalog,
        wall_ms: u64,
        counter_ms: u64,
        flaws: coffre_core::flaw::Flaws,
    ) -> Self {
        let born = catalog.born().map(|born| born.created_ms);
        let kept = catalog.clock().copied();
        let from_birth = born.map(|at_ms| ClockFact { retention_ms: at_ms, calm_ms: 0, wall_ms: at_ms });
        let clock = match kept.or(from_birth) {
            Some(kept) => RetentionClock::resume(&kept, wall_ms, counter_ms, flaws),
            None => RetentionClock::begin(wall_ms, counter_ms, flaws),
        };
        let doubt_noted = kept.is_some_and(|k| k.calm_ms > 0);
        Self { clock, noted_ms: kept.map(|_| counter_ms), doubt_noted }
    }
}

impl Core {
    /// The retention clock as of now.
    pub fn retention(&self) -> RetentionClock {
        let (wall_ms, counter_ms) = (self.clock.wall_ms(), self.clock.mono_ms());
        let mut retention = lock(&self.retention);
        retention.clock.look(wall_ms, counter_ms);
        retention.clock.clone()
    }

    /// Until when something received now is locked in this class, ms since 1970.
    pub fn locked_until_ms(&self, class: LockClass) -> u64 {
        self.retention().locked_until_ms(class)
    }

    /// Hands the clock in for the journal when that is due, or now if `anyway`. Nobody waits for it: one that gets lost is
    /// followed by the next.
    pub fn note_clock(&self, anyway: bool) {
        let clock = self.retention();
        let fresh_doubt = {
            let mut retention = lock(&self.retention);
            let doubt = clock.doubt().is_some();
            let fresh = doubt && !retention.doubt_noted;
            retention.doubt_noted = doubt;
            let now_ms = self.clock.mono_ms();
            let due =
                retention.noted_ms.is_none_or(|at| now_ms.saturating_sub(at) >= self.limits.note_clock_ms);
            if !(anyway || fresh || due) || self.with(|e| e.writable()).is_err() {
                retention.doubt_noted &= !fresh;
                return;
            }
            retention.noted_ms = Some(now_ms);
            fresh
        };
        if fresh_doubt {
            tracing::warn!("the clocks disagree: nothing expires until they have agreed for three days");
        }
        self.with(|e| e.note(vec![Fact::Clock(clock.to_fact())]));
    }

    /// Hears what somebody says of the time; see [`RetentionClock::hear`]. Says how far the clock leapt, in ms.
    ///
    /// # Durability
    /// On `Ok` the leap and the time of calm after it are in the journal.
    pub fn hear_time(&self, evidence: &[TimeEvidence]) -> Result<u64> {
        self.with(|e| e.writable())?;
        self.retention();
        let (fact, leap_ms) = {
            let mut retention = lock(&self.retention);
            let leap_ms = retention.clock.hear(evidence)?;
            (retention.clock.to_fact(), leap_ms)
        };
        // It went there: what is not known is whether it still will be there after a start.
        self.hand_in(Fact::Clock(fact)).map_err(|fault| match fault.class {
            Class::Unknown => fault,
            _ => Fault::unknown(format!("the clock leapt, and the journal did not take it ({})", fault.what)),
        })?;
        Ok(leap_ms)
    }
}
