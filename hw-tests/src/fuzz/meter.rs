//! How much memory a parser takes at its highest: an allocator that counts, per thread.
//!
//! A length field that is believed before the bytes are there is a bomb. So each target has a ceiling, and the harness
//! counts what is allocated while an input is read. What C libraries take by themselves is not seen here.
//!
//! The binary that wants figures installs it: `#[global_allocator] static METER: Meter = Meter;`

// An allocator is `unsafe` by its trait: every call is handed to the system's with the very same arguments.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread holds, and otherwise is the system's allocator.
#[derive(Clone, Copy, Debug)]
pub struct Meter;

thread_local! {
    /// Bytes held now. What one thread makes and another drops lets it go below zero.
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Runs `work` and says how many bytes it held at its highest, above what was held before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let out = work();
    (out, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Whether this binary has the meter for its allocator.
pub fn is_installed() -> bool {
    peak_of(|| std::hint::black_box(vec![0_u8; 4096])).1 >= 4096
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

// SAFETY: each method passes its arguments on to `System`, which keeps the contract; counting touches no memory of
// the caller and allocates nothing.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        unsafe { System.realloc(place, layout, size) }
    }
}
