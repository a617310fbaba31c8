//! The real clock and the real dice: the only place on this floor that asks the system for either.

use crate::ports::{Clock, Entropy};
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The system's clocks. Running time counts from when this was made.
///
/// It is the raw counter (`CLOCK_MONOTONIC_RAW`): no time source bends it, and it stands still while the machine sleeps. The
/// one that counts sleep takes the length of it from the clock of the mainboard, which anybody may have set.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: raw() }
    }
}

/// The raw counter.
fn raw() -> Duration {
    // Linux has had this clock since 2.6.28; asking for it fails only when there is no such clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).expect("the system has a raw monotonic clock").into()
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        // A clock before 1970 is a clock that was never set.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn mono_ms(&self) -> u64 {
        u64::try_from(raw().saturating_sub(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The generator of the cryptographic library, seeded by the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        // Without randomness no key may be made and nothing may go on.
        aws_lc_rs::rand::fill(out).expect("the system's generator of random bytes works");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_time_never_goes_back_and_dice_differ() {
        let clock = SystemClock::default();
        let (a, b) = (clock.mono_ms(), clock.mono_ms());
        assert!(a <= b);
        // 2020-01-01.
        assert!(clock.wall_ms() > 1_577_836_800_000);
        let (mut x, mut y) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut x);
        SystemEntropy.fill(&mut y);
        assert!(x != y && x != [0; 32]);
    }
}
