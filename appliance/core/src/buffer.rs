//! Large buffers for packs and parity: aligned to pages, and lent out again instead of given back to the system.
//!
//! A pack of many megabytes is made every few hundred milliseconds. Memory fresh from the system costs a page fault
//! per 4 KiB, more than sealing those bytes; so a buffer goes back to the [`Pool`] it came from. And
//! a disk can take bytes without a copy through the system's cache only from memory that begins on a page.
//!
//! A pool may be told where to get memory in huge pages. A disk is given one address and one length for as much as lies side by
//! side in the machine's memory, and takes only so many of those in one request.

use aligned_vec::{AVec, ConstAlign};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a buffer begins: at a multiple of this many bytes.
pub const PAGE: usize = 4096;
/// Buffers that a pool keeps for later, at most.
const MAX_IDLE: usize = 8;

/// From this length on buffers are made of whole huge pages, where there are some.
const LARGE: usize = 1 << 20;
/// How long a huge page is, nearly everywhere.
pub const HUGE_PAGE: usize = 2 << 20;

/// Memory that begins on a page, all of it zero at first.
pub trait Region: Deref<Target = [u8]> + DerefMut + Send + Sync {}

impl<T: Deref<Target = [u8]> + DerefMut + Send + Sync> Region for T {}

/// Who gives a region of at least so many bytes; `None` where there is none.
pub type MakeRegion = fn(usize) -> Option<Box<dyn Region>>;

/// What a buffer is made of.
enum Pages {
    /// Grows as it is used: what is behind its length was never touched.
    Heap(AVec<u8, ConstAlign<PAGE>>),
    Region(Box<dyn Region>),
}

/// Bytes that begin on a page. Goes back to its pool when dropped.
pub struct Buffer {
    /// Longer than what is in use when it was used before: what is behind `len` is old.
    pages: Pages,
    len: usize,
    home: Option<Arc<Home>>,
}

/// Buffers to use again.
#[derive(Clone, Default)]
pub struct Pool(Arc<Home>);

#[derive(Default)]
struct Home {
    /// The oldest first, each with the number of loans when it came back.
    idle: Mutex<Vec<(Pages, u64)>>,
    make: Option<MakeRegion>,
    loans: AtomicU64,
}

impl Pages {
    fn heap(capacity: usize) -> Self {
        Self::Heap(AVec::with_capacity(PAGE, capacity))
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Heap(pages) => pages.capacity(),
            Self::Region(region) => region.len(),
        }
    }

    /// Makes the first `len` bytes usable.
    fn reach(&mut self, len: usize) {
        match self {
            Self::Heap(pages) if pages.len() < len => pages.resize(len, 0),
            Self::Region(region) if region.len() < len => {
                let mut pages = AVec::with_capacity(PAGE, len);
                pages.extend_from_slice(region);
                pages.resize(len, 0);
                *self = Self::Heap(pages);
            }
            _ => {}
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(pages) => pages,
            Self::Region(region) => region,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(pages) => pages,
            Self::Region(region) => region,
        }
    }
}

impl Pool {
    /// A pool whose large buffers are made of what `make` gives.
    pub fn of_regions(make: MakeRegion) -> Self {
        Self(Arc::new(Home { make: Some(make), ..Home::default() }))
    }

    /// An empty buffer with room for `capacity` bytes. More may be put in it, at the cost of a copy.
    pub fn take(&self, capacity: usize) -> Buffer {
        take(&self.0, capacity)
    }

    /// How often one was taken so far: a clock for [`clear_older`](Self::clear_older).
    pub fn loans(&self) -> u64 {
        self.0.loans.load(Relaxed)
    }

    /// Gives what nobody uses back to the system.
    pub fn clear(&self) {
        self.0.idle().clear();
    }

    /// The same of what came back when there had been so many loans or fewer.
    pub fn clear_older(&self, loans: u64) {
        let old: Vec<_> = self.0.idle().extract_if(.., |(_, back)| *back <= loans).collect();
        // Not under the lock: giving memory back takes its time.
        drop(old);
    }

    /// Bytes that are kept and not in use.
    pub fn idle_bytes(&self) -> usize {
        self.0.idle().iter().map(|(pages, _)| pages.capacity()).sum()
    }
}

impl Home {
    fn idle(&self) -> MutexGuard<'_, Vec<(Pages, u64)>> {
        // Whoever panicked here left whole buffers: they are pushed and taken, nothing else.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The smallest idle buffer that is large enough, unless it is far too large: one for a pack's body that is lent for its parity
/// is missed by the next body. A little more room than asked for is made, so that needs that differ a little find what
/// another one left.
fn take(home: &Arc<Home>, capacity: usize) -> Buffer {
    home.loans.fetch_add(1, Relaxed);
    let huge = home.make.filter(|_| capacity >= LARGE);
    let step = (capacity.next_power_of_two() / 8).max(if huge.is_some() { HUGE_PAGE } else { 1 });
    let capacity = capacity.next_multiple_of(step);
    let mut idle = home.idle();
    let most = capacity.saturating_add(capacity / 2);
    let fits = |pages: &Pages| (capacity..=most).contains(&pages.capacity());
    let best = (0..idle.len()).filter(|n| fits(&idle[*n].0)).min_by_key(|n| idle[*n].0.capacity());
    let pages = best.map(|n| idle.remove(n).0);
    drop(idle);
    let fresh = || huge.and_then(|make| make(capacity)).map_or_else(|| Pages::heap(capacity), Pages::Region);
    Buffer { pages: pages.unwrap_or_else(fresh), len: 0, home: Some(Arc::clone(home)) }
}

impl Buffer {
    /// An empty buffer of no pool.
    pub fn new() -> Self {
        Self { pages: Pages::heap(0), len: 0, home: None }
    }

    /// Another empty buffer, from the same pool when this one has one.
    pub fn sibling(&self, capacity: usize) -> Self {
        match &self.home {
            Some(home) => take(home, capacity),
            None => Self { pages: Pages::heap(capacity), len: 0, home: None },
        }
    }

    /// Makes it `count` bytes longer and lends those out to be written: **what is in them is left over from an earlier
    /// use**, and must be overwritten, all of it.
    pub fn lengthen(&mut self, count: usize) -> &mut [u8] {
        let start = self.len;
        self.len += count;
        self.pages.reach(self.len);
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
            let pages = std::mem::replace(&mut self.pages, Pages::heap(0));
            if pages.capacity() == 0 {
                return;
            }
            let mut idle = home.idle();
            idle.push((pages, home.loans.load(Relaxed)));
            // What was not asked for the longest goes: kinds of work follow each other.
            let oldest = (idle.len() > MAX_IDLE).then(|| idle.remove(0));
            drop(idle);
            drop(oldest);
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
    fn what_lies_long_goes_and_the_rest_stays() {
        let pool = Pool::default();
        let (old, new) = (pool.take(100_000), pool.take(300_000));
        drop(old);
        let mark = pool.loans();
        drop(pool.take(20_000));
        drop(new);
        pool.clear_older(mark);
        assert!((300_000..400_000).contains(&pool.idle_bytes()), "{} bytes", pool.idle_bytes());
        // Of more than it keeps, those go that lie the longest.
        let many: Vec<Buffer> = (0..MAX_IDLE).map(|_| pool.take(PAGE)).collect();
        drop(many);
        assert!(pool.idle_bytes() < 100_000);
    }

    #[test]
    fn large_buffers_are_made_of_regions() {
        let pool = Pool::of_regions(|len| Some(Box::new(vec![0; len].into_boxed_slice())));
        assert!(matches!(pool.take(LARGE - 1).pages, Pages::Heap(_)));
        let mut large = pool.take(LARGE);
        assert!(matches!(large.pages, Pages::Region(_)));
        assert_eq!(large.room(), HUGE_PAGE);
        large.extend_from_slice(&[7; LARGE]);
        let place = large.as_ptr();
        drop(large);
        let mut again = pool.take(HUGE_PAGE);
        assert_eq!(again.as_ptr(), place, "the same memory");
        // More than there is room for: it is copied, and nothing is lost.
        again.extend_from_slice(&[8; HUGE_PAGE]);
        again.extend_from_slice(&[9; 10]);
        assert_eq!(again[..HUGE_PAGE], [8; HUGE_PAGE]);
        assert_eq!(again[HUGE_PAGE..], [9; 10]);
        let none = Pool::of_regions(|_| None);
        assert!(matches!(none.take(LARGE).pages, Pages::Heap(_)), "what there is");
    }

    #[test]
    fn a_pool_keeps_a_bounded_number() {
        let pool = Pool::default();
        let many: Vec<Buffer> = (0..20).map(|_| pool.take(PAGE)).collect();
        drop(many);
        assert!(pool.0.idle().len() <= MAX_IDLE);
    }
}
