//! A queue between the one owner of the state and a thread that carries things out.
//!
//! It has no ceiling of its own, because whoever pushes holds the engine's lock and must not wait: what is on its way
//! at once is bounded by the engine (packs in flight, one journal write per disk, the record window) and by the number of
//! streams.

use crate::core::lock;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// See the module.
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    ready: Condvar,
}

struct Inner<T> {
    items: VecDeque<T>,
    /// Taken and not finished.
    at_work: usize,
    open: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let inner = Inner { items: VecDeque::new(), at_work: 0, open: true };
        Self { inner: Mutex::new(inner), ready: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// Adds an item; a closed queue drops it.
    pub fn push(&self, item: T) {
        let mut inner = lock(&self.inner);
        if inner.open {
            inner.items.push_back(item);
            self.ready.notify_one();
        }
    }

    /// Hands items to `work`, one after the other, until the queue is closed. Several threads may do so.
    pub fn serve(&self, mut work: impl FnMut(T)) {
        let mut inner = lock(&self.inner);
        while inner.open {
            if let Some(item) = inner.items.pop_front() {
                inner.at_work += 1;
                drop(inner);
                work(item);
                inner = lock(&self.inner);
                inner.at_work -= 1;
            } else {
                inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Takes back items that nobody began.
    pub fn take_back(&self, unwanted: impl Fn(&T) -> bool) {
        lock(&self.inner).items.retain(|item| !unwanted(item));
    }

    /// Items waiting or being worked on.
    pub fn pending(&self) -> usize {
        let inner = lock(&self.inner);
        inner.items.len() + inner.at_work
    }

    /// Drops what waits and sends the threads home.
    pub fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.open = false;
        inner.items.clear();
        self.ready.notify_all();
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} pending)", self.pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn in_order_until_closed() {
        let queue = Queue::default();
        (0..10).for_each(|n| queue.push(n));
        queue.take_back(|n| *n == 4);
        let seen = Mutex::new(Vec::new());
        let count = AtomicUsize::new(0);
        queue.serve(|n| {
            lock(&seen).push(n);
            if count.fetch_add(1, Ordering::Relaxed) == 7 {
                queue.close();
            }
        });
        assert_eq!(*lock(&seen), [0, 1, 2, 3, 5, 6, 7, 8]);
        queue.push(11);
        assert_eq!(queue.pending(), 0);
    }
}
