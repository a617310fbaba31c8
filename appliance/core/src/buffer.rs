//! Large buffers for packs and parity: aligned to pages, and lent out again instead of given back to the system.
//!
//! A pack of many megabytes is made every few hundred milliseconds. Memory fresh from the system costs a page fault
//! per 4 KiB, more than sealing those bytes; so a buffer goes back to the [`Pool`] it came from. And
//! a disk can take bytes without a copy through the system's cache only from memory that begins on a page.

use aligned_vec::{AVec, ConstAlign};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a buffer begins: at a multiple of this many bytes.
pub const PAGE: usize = 4096;
/// Buffers that a pool keeps for later, at most.
const MAX_IDLE: usize = 8;

type Pages = AVec<u8, ConstAlign<PAGE>>;
type Shelf = Mutex<Vec<Pages>>;

/// Bytes that begin on a page. Goes back to its pool when dropped.
pub struct Buffer {
    /// Longer than what is in use when it was used before: what is behind `len` is old.
    pages: Pages,
    len: usize,
    home: Option<Arc<Shelf>>,
}

/// Buffers to use again.
#[derive(Clone, Default)]
pub struct Pool(Arc<Shelf>);

impl Pool {
    /// An empty buffer with room for `capacity` bytes. More may be put in it, at the cost of a copy.
    pub fn take(&self, capacity: usize) -> Buffer {
        take(&self.0, capacity)
    }

    /// Gives what nobody uses back to the system.
    pub fn clear(&self) {
        shelf(&self.0).clear();
    }

    /// Bytes that are kept and not in use.
    pub fn idle_bytes(&self) -> usize {
        shelf(&self.0).iter().map(Pages::capacity).sum()
    }
}

fn shelf(shelf: &Shelf) -> std::sync::MutexGuard<'_, Vec<Pages>> {
    // Whoever panicked here left whole buffers: they are pushed and taken, nothing else.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest idle buffer that is large enough, unless it is far too large: one for a pack's body that is lent for its parity
/// is missed by the next body. A little more room than asked for is made, so that needs that differ a little find what
/// another one left.
fn take(home: &Arc<Shelf>, capacity: usize) -> Buffer {
    let step = (capacity.next_power_of_two() / 8).max(1);
    let capacity = capacity.next_multiple_of(step);
    let mut idle = shelf(home);
    let most = capacity.saturating_add(capacity / 2);
    let fits = |pages: &Pages| (capacity..=most).contains(&pages.capacity());
    let best = (0..idle.len()).filter(|n| fits(&idle[*n])).min_by_key(|n| idle[*n].capacity());
    let pages = best.map(|n| idle.swap_remove(n));
    drop(idle);
    let pages = pages.unwrap_or_else(|| Pages::with_capacity(PAGE, capacity));
    Buffer { pages, len: 0, home: Some(Arc::clone(home)) }
}

impl Buffer {
    /// An empty buffer of no pool.
    pub fn new() -> Self {
        Self { pages: Pages::new(PAGE), len: 0, home: None }
    }

    /// Another empty buffer, from the same pool when this one has one.
    pub fn sibling(&self, capacity: usize) -> Self {
        match &self.home {
            Some(home) => take(home, capacity),
            None => Self { pages: Pages::with_capacity(PAGE, capacity), len: 0, home: None },
        }
    }

    /// Makes it `count` bytes longer and lends those out to be written: **what is in them is left over from an earlier
    /// use**, and must be overwritten, all of it.
    pub fn lengthen(&mut self, count: usize) -> &mut [u8] {
        let start = self.len;
        self.len += count;
        if self.len > self.pages.len() {
            self.pages.resize(self.len, 0);
        }
        &mut self.pages[start..self.len]
    }

    /// Bytes it takes without a copy of what is in it, those included.
    pub fn room(&self) -> usize {
        self.pages.capacity()
    }

    /// Appends a copy of these bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.lengthen(bytes.len()).copy_from_slice(bytes);
    }

    /// Makes it `len` bytes long; what is new is zero.
    pub fn resize(&mut self, len: usize) {
        if len > self.len {
            let count = len - self.len;
            self.lengthen(count).fill(0);
        }
        self.len = len;
    }

    /// Forgets what is behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let pages = std::mem::replace(&mut self.pages, Pages::new(PAGE));
            let mut idle = shelf(&home);
            if pages.capacity() > 0 && idle.len() < MAX_IDLE {
                idle.push(pages);
            }
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages[..self.len]
    }
}

/// A copy belongs to the same pool.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = self.sibling(self.len);
        copy.extend_from_slice(self);
        copy
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} bytes idle)", self.idle_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_on_a_page_and_is_used_again() {
        let pool = Pool::default();
        let mut first = pool.take(10_000);
        first.extend_from_slice(&[7; 9_000]);
        let place = first.as_ptr();
        assert_eq!(place.addr() % PAGE, 0);
        drop(first);
        assert!(pool.idle_bytes() >= 10_000);
        let mut again = pool.take(8_000);
        again.resize(8_000);
        assert_eq!(again.as_ptr(), place, "the same memory");
        assert!(again.iter().all(|b| *b == 0), "and nothing of what was in it");
        assert_eq!(pool.idle_bytes(), 0);
        drop(again);
        pool.clear();
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn a_small_need_does_not_take_a_large_buffer() {
        let pool = Pool::default();
        drop(pool.take(1 << 20));
        let small = pool.take(1_000);
        assert!(small.pages.capacity() < 1 << 20);
        assert!(pool.idle_bytes() >= 1 << 20);
    }

    #[test]
    fn grows_and_shrinks_like_any_vector() {
        let mut it = Buffer::new();
        for n in 0..100u8 {
            it.extend_from_slice(&[n; 100]);
        }
        let expected: Vec<u8> = (0..100u8).flat_map(|n| [n; 100]).collect();
        assert_eq!(*it, expected[..]);
        let copy = it.clone();
        it.truncate(150);
        it.resize(250);
        assert_eq!(it[..150], expected[..150]);
        assert_eq!(it[150..], [0; 100]);
        assert_eq!(*copy, expected[..]);
    }

    #[test]
    fn a_pool_keeps_a_bounded_number() {
        let pool = Pool::default();
        let many: Vec<Buffer> = (0..20).map(|_| pool.take(PAGE)).collect();
        drop(many);
        assert!(shelf(&pool.0).len() <= MAX_IDLE);
    }
}
