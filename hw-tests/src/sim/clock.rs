//! Virtual time and seeded entropy: the `Clock` and `Entropy` ports for runs that must replay.

use crate::rng::Rng;
use coffre_vault::ports::{Clock, Entropy};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

/// Time that passes only when told to. Clones share it.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    wall_ms: AtomicU64,
    mono_ms: AtomicU64,
}

impl SimClock {
    /// A clock whose wall shows `wall_ms` since 1970 and whose running time starts at 0.
    pub fn new(wall_ms: u64) -> Self {
        Self(Arc::new(Hands { wall_ms: AtomicU64::new(wall_ms), mono_ms: AtomicU64::new(0) }))
    }

    /// Lets `ms` pass on both hands.
    pub fn advance_ms(&self, ms: u64) {
        self.0.wall_ms.fetch_add(ms, SeqCst);
        self.0.mono_ms.fetch_add(ms, SeqCst);
    }

    /// Sets the wall hand alone, as a wrong time source or a person would.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.0.wall_ms.store(wall_ms, SeqCst);
    }

    /// Moves the wall hand alone, forwards or back; it stops at 1970.
    pub fn jump_wall_ms(&self, by_ms: i64) {
        let now = self.0.wall_ms.load(SeqCst);
        self.set_wall_ms(now.saturating_add_signed(by_ms));
    }

    /// Starts running time anew, as a reboot does.
    pub fn reboot(&self) {
        self.0.mono_ms.store(0, SeqCst);
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms.load(SeqCst)
    }
    fn mono_ms(&self) -> u64 {
        self.0.mono_ms.load(SeqCst)
    }
}

/// Random bytes that follow from a seed. Clones share the sequence.
#[derive(Clone, Debug)]
pub struct SimEntropy(Arc<Mutex<Rng>>);

impl SimEntropy {
    /// The entropy of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::new(seed))))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_jumps_and_running_time_does_not() {
        let clock = SimClock::new(1_000_000);
        let other = clock.clone();
        clock.advance_ms(5);
        clock.jump_wall_ms(-2_000_000);
        assert_eq!((other.wall_ms(), other.mono_ms()), (0, 5));
        clock.set_wall_ms(77);
        clock.reboot();
        assert_eq!((other.wall_ms(), other.mono_ms()), (77, 0));
    }

    #[test]
    fn entropy_follows_from_its_seed() {
        let draw = |seed| {
            let mut out = [0; 24];
            SimEntropy::new(seed).fill(&mut out);
            out
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
