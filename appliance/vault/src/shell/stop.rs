//! A bell that ends the waiting of background threads.

use crate::core::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung once; a nudge only ends the current nap.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    nudges: u64,
}

impl Bell {
    /// Waits `ms`, or less when nudged; `false` once the bell has rung.
    pub fn nap(&self, ms: u64) -> bool {
        let state = lock(&self.state);
        let (rung, nudges) = (state.rung, state.nudges);
        if rung {
            return false;
        }
        let sleeping = |s: &mut State| !s.rung && s.nudges == nudges;
        let woken = self.changed.wait_timeout_while(state, Duration::from_millis(ms), sleeping);
        !woken.unwrap_or_else(PoisonError::into_inner).0.rung
    }

    pub fn nudge(&self) {
        lock(&self.state).nudges += 1;
        self.changed.notify_all();
    }

    pub fn ring(&self) {
        lock(&self.state).rung = true;
        self.changed.notify_all();
    }
}
