//! The retention clock: it may lag true time, never lead it, and alone decides that a lock has ended.
//!
//! The wall clock of a box is whatever the last time source, firmware battery or visitor said. If it decided, one jump to
//! 2040 would end every lock. So the retention clock starts at the wall time of the box's making and from then on runs on
//! the raw monotonic counter alone: a counter that no time source can set or bend, and that stands still while the
//! machine sleeps or is off. A crystal may run fast; the clock runs slower than its counter by a five-thousandth, more
//! than any crystal in service is fast. Whatever it lags behind only makes locks last longer.
//!
//! It goes forward in a leap on evidence only: several authenticated sources that answer for one another, of
//! which the *earliest* counts, so that a single honest one is enough; or the owner, who says what day it is
//! at the box itself, and is believed no further than the wall clock. A leap, like a disagreement of more than a day between
//! the two clocks, is followed by 72 hours of running time in which nothing expires: time to notice.

use crate::class::LockClass;
use crate::fault::{Fault, Result};
use crate::flaw::{Flaw, Flaws};
use minicbor::{Decode, Encode};
use std::fmt;

/// How far the two clocks may be apart before nothing expires.
pub const MAX_APART_MS: u64 = 24 * 3_600_000;
/// Running time without disagreement and without leaps before anything expires again.
pub const CALM_MS: u64 = 72 * 3_600_000;
/// Fewest authenticated sources that move the clock.
pub const MIN_SOURCES: usize = 3;
/// The clock runs slower than its counter by one part in this many: 200 millionths.
const SLOWER_BY: u64 = 5_000;

/// What the journal keeps of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ClockFact {
    /// What it showed, ms since 1970.
    #[n(0)]
    pub retention_ms: u64,
    /// Running time that must still pass before anything expires.
    #[n(1)]
    pub calm_ms: u64,
    /// What the wall clock showed, ms since 1970: for people.
    #[n(2)]
    pub wall_ms: u64,
}

/// What somebody says of the time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TimeEvidence {
    /// An authenticated source: it answered with this time, which was over at the latest when the answer came.
    Source {
        /// Who answers for it: two sources of one authority count as one.
        authority: String,
        /// Not later than this moment, ms since 1970.
        at_ms: u64,
    },
    /// The owner, at the box.
    Owner {
        /// The time now, ms since 1970.
        at_ms: u64,
    },
}

/// Why nothing expires now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// The two clocks are too far apart.
    Apart {
        /// What the retention clock shows.
        retention_ms: u64,
        /// What the wall clock shows.
        wall_ms: u64,
    },
    /// They agree again, or the clock was moved: it must run quietly for this long first.
    Calming {
        /// Running time left.
        left_ms: u64,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RetentionClock {
    shown_ms: u64,
    /// Running time that was not counted yet because it is less than a whole step of the slowing.
    owed_ms: u64,
    counter_ms: u64,
    wall_ms: u64,
    calm_ms: u64,
    flaws: Flaws,
}

impl RetentionClock {
    /// The clock of a vault made now. `counter_ms` is the raw monotonic counter, from any start.
    pub fn begin(wall_ms: u64, counter_ms: u64, flaws: Flaws) -> Self {
        Self { shown_ms: wall_ms, owed_ms: 0, counter_ms, wall_ms, calm_ms: 0, flaws }
    }

    /// Goes on from what the journal kept: the time in between did not pass for it.
    pub fn resume(kept: &ClockFact, wall_ms: u64, counter_ms: u64, flaws: Flaws) -> Self {
        let clock = Self::begin(kept.retention_ms, counter_ms, flaws);
        let mut clock = Self { calm_ms: kept.calm_ms.min(CALM_MS), ..clock };
        clock.look(wall_ms, counter_ms);
        clock
    }

    /// Looks at both sources of time. Call often: disagreement is seen only when it is looked for.
    pub fn look(&mut self, wall_ms: u64, counter_ms: u64) {
        let passed_ms = counter_ms.saturating_sub(self.counter_ms);
        self.counter_ms = self.counter_ms.max(counter_ms);
        self.wall_ms = wall_ms;
        let owed_ms = self.owed_ms + passed_ms;
        let steps = owed_ms / SLOWER_BY;
        self.owed_ms = owed_ms % SLOWER_BY;
        // Of each step one millisecond is lost; what is not a whole step yet passes one to one but for its last one.
        self.shown_ms = self.shown_ms.saturating_add(steps * (SLOWER_BY - 1));
        if self.flaws.has(Flaw::TrustWall) {
            self.shown_ms = self.shown_ms.max(wall_ms);
        }
        self.calm_ms = if self.is_apart() { CALM_MS } else { self.calm_ms.saturating_sub(passed_ms) };
    }

    /// What it shows, ms since 1970, as of the last look.
    pub fn now_ms(&self) -> u64 {
        self.shown_ms.saturating_add(self.owed_ms.saturating_sub(1))
    }

    /// Until when something received now is locked in this class.
    pub fn locked_until_ms(&self, class: LockClass) -> u64 {
        self.wall_ms.max(self.now_ms()).saturating_add(class.millis())
    }

    /// Whether this moment is over: false while there is doubt.
    pub fn has_passed(&self, moment_ms: u64) -> bool {
        self.doubt().is_none() && self.now_ms() >= moment_ms
    }

    /// Why nothing expires now; `None` when the clock is believed.
    pub fn doubt(&self) -> Option<Doubt> {
        if self.flaws.has(Flaw::IgnoreDoubt) {
            None
        } else if self.is_apart() {
            Some(Doubt::Apart { retention_ms: self.now_ms(), wall_ms: self.wall_ms })
        } else {
            (self.calm_ms > 0).then_some(Doubt::Calming { left_ms: self.calm_ms })
        }
    }

    /// What the journal keeps.
    pub fn to_fact(&self) -> ClockFact {
        ClockFact { retention_ms: self.now_ms(), calm_ms: self.calm_ms, wall_ms: self.wall_ms }
    }

    /// Leaps forward as far as the evidence carries, never back; afterwards nothing expires for [`CALM_MS`] of running
    /// time. `Refused` when the evidence is not enough or does not fit the wall clock. Says how far it leapt, in ms.
    pub fn hear(&mut self, evidence: &[TimeEvidence]) -> Result<u64> {
        let to_ms = self.carries(evidence)?;
        let leap_ms = to_ms.saturating_sub(self.now_ms());
        if leap_ms > 0 {
            (self.shown_ms, self.owed_ms) = (to_ms, 0);
            self.calm_ms = CALM_MS;
        }
        Ok(leap_ms)
    }

    fn carries(&self, evidence: &[TimeEvidence]) -> Result<u64> {
        let owner = evidence.iter().find_map(|e| match e {
            TimeEvidence::Owner { at_ms } => Some(*at_ms),
            TimeEvidence::Source { .. } => None,
        });
        if let Some(at_ms) = owner {
            if at_ms.abs_diff(self.wall_ms) > MAX_APART_MS {
                return Err(Fault::refused("the system's clock is more than a day away from that time")
                    .next("set the clock of the system first, then say the time again"));
            }
            return Ok(at_ms.min(self.wall_ms));
        }
        let mut earliest: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for one in evidence {
            if let TimeEvidence::Source { authority, at_ms } = one {
                let known = earliest.entry(authority).or_insert(*at_ms);
                *known = (*known).min(*at_ms);
            }
        }
        let first = earliest.values().min().copied();
        first.filter(|_| earliest.len() >= MIN_SOURCES).ok_or_else(|| {
            Fault::refused(format!(
                "{} authorities answered for the time, {MIN_SOURCES} are needed",
                earliest.len()
            ))
        })
    }

    /// Whether the two clocks are too far apart for either to be believed.
    pub fn is_apart(&self) -> bool {
        self.wall_ms.abs_diff(self.now_ms()) > MAX_APART_MS
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR_MS: u64 = 3_600_000;
        match self {
            Self::Apart { retention_ms, wall_ms } => {
                let hours = wall_ms.abs_diff(*retention_ms) / HOUR_MS;
                let side = if wall_ms > retention_ms { "ahead of" } else { "behind" };
                write!(f, "the system's clock is {hours} h {side} the retention clock")
            }
            Self::Calming { left_ms } => {
                write!(f, "the clock was in doubt and must run for {} h more", left_ms.div_ceil(HOUR_MS))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const START: u64 = 1_790_000_000_000;

    fn begun() -> RetentionClock {
        RetentionClock::begin(START, 7, Flaws::NONE)
    }

    #[test]
    fn it_runs_on_the_counter_and_a_little_slower() {
        let mut clock = begun();
        clock.look(START + DAY, 7 + DAY);
        let lag_ms = START + DAY - clock.now_ms();
        assert!((DAY / 6_000..DAY / 4_000).contains(&lag_ms), "{lag_ms}");
        assert!(!clock.has_passed(START + DAY) && clock.has_passed(START + DAY - lag_ms));
        // Many small looks make the same clock.
        let mut often = begun();
        for at in (0..=DAY).step_by(1_700_003) {
            often.look(START + at, 7 + at);
        }
        often.look(START + DAY, 7 + DAY);
        assert_eq!(often.now_ms(), clock.now_ms());
        // A counter that goes back or stands still moves nothing.
        often.look(START + DAY, 3);
        assert_eq!(often.now_ms(), clock.now_ms());
    }

    /// G5, directed: whatever the wall does, the clock does not follow, and a lock is no shorter.
    #[test]
    fn no_jump_of_the_wall_moves_it() {
        let years = |n: i64| n * 365 * DAY as i64;
        let jumps = [HOUR as i64, -(HOUR as i64), DAY as i64 * 2, years(1), years(10), -years(1), -years(10)];
        let absolute = [0, 1, 2_145_916_800_000, u64::MAX];
        let walls = jumps.iter().map(|by| START.saturating_add_signed(*by)).chain(absolute);
        for wall_ms in walls {
            let mut clock = begun();
            clock.look(wall_ms, 7);
            assert!(clock.now_ms() <= START, "a wall at {wall_ms}");
            assert!(clock.locked_until_ms(LockClass::DAYS_30) >= START + 30 * DAY);
            assert_eq!(clock.doubt().is_some(), wall_ms.abs_diff(START) > DAY);
            // Also while the box was off.
            let kept = begun().to_fact();
            let clock = RetentionClock::resume(&kept, wall_ms, 1, Flaws::NONE);
            assert!(clock.now_ms() <= START && clock.now_ms() >= kept.retention_ms);
        }
    }

    #[test]
    fn after_a_disagreement_nothing_expires_for_72_hours_of_running_time() {
        let mut clock = begun();
        clock.look(START + 3 * DAY, 7);
        assert!(matches!(clock.doubt(), Some(Doubt::Apart { .. })));
        let kept = clock.to_fact();
        // The wall is right again at once, also across a restart: the time must pass all the same.
        let mut clock = RetentionClock::resume(&kept, START, 1, Flaws::NONE);
        assert_eq!(clock.doubt(), Some(Doubt::Calming { left_ms: CALM_MS }));
        assert!(!clock.has_passed(0));
        clock.look(START + CALM_MS - 1, 1 + CALM_MS - 1);
        assert_eq!(clock.doubt(), Some(Doubt::Calming { left_ms: 1 }));
        clock.look(START + CALM_MS, 1 + CALM_MS);
        assert!(clock.doubt().is_none() && clock.has_passed(START));
    }

    #[test]
    fn the_owner_is_believed_no_further_than_the_wall() {
        let mut clock = begun();
        // Off for five days: the wall went on, the clock did not.
        clock.look(START + 5 * DAY, 7);
        let far = TimeEvidence::Owner { at_ms: START + 900 * DAY };
        assert!(clock.hear(&[far]).is_err());
        let leap = clock.hear(&[TimeEvidence::Owner { at_ms: START + 5 * DAY + HOUR }]).expect("heard");
        assert_eq!((leap, clock.now_ms()), (5 * DAY, START + 5 * DAY));
        assert_eq!(clock.doubt(), Some(Doubt::Calming { left_ms: CALM_MS }), "and nothing expires yet");
        assert_eq!(clock.hear(&[TimeEvidence::Owner { at_ms: START + 5 * DAY - HOUR }]).expect("heard"), 0);
        assert_eq!(clock.now_ms(), START + 5 * DAY, "it never goes back");
    }

    #[test]
    fn of_several_sources_the_earliest_counts_and_one_authority_is_one_source() {
        let mut clock = begun();
        clock.look(START + 5 * DAY, 7);
        let of = |authority: &str, days: u64| TimeEvidence::Source {
            authority: authority.into(),
            at_ms: START + days * DAY,
        };
        assert!(clock.hear(&[of("a", 5), of("a", 5), of("a", 5), of("b", 5)]).is_err());
        assert_eq!(clock.now_ms(), START);
        // Two of three lie by years: the honest one holds the clock back.
        assert_eq!(clock.hear(&[of("a", 4000), of("b", 9000), of("c", 5)]).expect("heard"), 5 * DAY);
        assert_eq!(clock.now_ms(), START + 5 * DAY);
    }

    proptest! {
        /// G5: over any walk of jumps, sleeps, restarts, drift up to 150 millionths and looks at odd moments, the clock
        /// never leads true time, and never goes back.
        #[test]
        fn it_never_leads_true_time(walk in proptest::collection::vec((0u64..20 * DAY, 0u8..6, any::<i64>()), 1..60)) {
            let (mut true_ms, mut counter, mut wall) = (START, 0u64, START);
            let mut clock = RetentionClock::begin(wall, counter, Flaws::NONE);
            for (ms, kind, by) in walk {
                let before = clock.now_ms();
                true_ms += ms;
                wall = wall.saturating_add(ms);
                match kind {
                    // Off: the counter begins anew.
                    0 => {
                        counter = 0;
                        clock = RetentionClock::resume(&clock.to_fact(), wall, counter, Flaws::NONE);
                    }
                    // Asleep, or frozen.
                    1 => {}
                    2 => wall = wall.saturating_add_signed(by),
                    3 => wall = true_ms,
                    // A fast crystal.
                    _ => counter += ms + ms * 150 / 1_000_000,
                }
                clock.look(wall, counter);
                prop_assert!(clock.now_ms() <= true_ms && clock.now_ms() >= before);
            }
        }
    }
}
