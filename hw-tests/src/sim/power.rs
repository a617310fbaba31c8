//! The power supply of a simulated box: counts the operations of all its disks and goes out at a chosen one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

/// A supply shared by the disks of one box. Clones are the same supply.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<Supply>);

#[derive(Debug, Default)]
struct Supply {
    ops: AtomicU64,
    out: AtomicBool,
    /// Operations left before it goes out.
    fuse: Mutex<Option<u64>>,
}

/// What an operation meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    /// Power is on.
    On,
    /// It goes out during this very operation.
    Fails,
    /// It is out.
    Out,
}

impl Power {
    /// A supply that is on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the power go out during the `n`-th operation from now, on whichever disk that is (0: now).
    pub fn cut_after(&self, n: u64) {
        *self.fuse() = (n > 0).then_some(n);
        self.0.out.store(n == 0, SeqCst);
    }

    /// Switches it on again and forgets a cut that has not come yet. Each disk still needs its own
    /// [`SimDisk::power_cut`](super::SimDisk::power_cut), which decides what survived.
    pub fn restore(&self) {
        *self.fuse() = None;
        self.0.out.store(false, SeqCst);
    }

    /// Whether it is out.
    pub fn is_out(&self) -> bool {
        self.0.out.load(SeqCst)
    }

    /// Operations begun so far with power on: run once to know how many, then again for a cut at each.
    pub fn ops(&self) -> u64 {
        self.0.ops.load(SeqCst)
    }

    /// Counts one operation.
    pub(super) fn draw(&self) -> Current {
        let mut fuse = self.fuse();
        if self.is_out() {
            return Current::Out;
        }
        self.0.ops.fetch_add(1, SeqCst);
        match fuse.as_mut() {
            None => Current::On,
            Some(left) if *left > 1 => {
                *left -= 1;
                Current::On
            }
            Some(_) => {
                *fuse = None;
                self.0.out.store(true, SeqCst);
                Current::Fails
            }
        }
    }

    fn fuse(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.0.fuse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
