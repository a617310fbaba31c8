//! The kernels: sums of products in GF(2^8) over whole ranges, by the best instructions that this processor has.
//!
//! All of them compute the same bytes. Which one is used is found out once, at run time: the program is built for the
//! plainest processor of its family, and a box may be any of them. On x86-64 that is GFNI with 512 or 256 bits, AVX2, or
//! SSSE3; on aarch64 NEON; elsewhere, and for ranges shorter than a vector, the portable loops of the crate.
//!
//! Only this file and those of the instruction sets have `unsafe`: processors are asked before their instructions are
//! used, and lengths are checked here, before slices become pointers.
#![allow(
    unsafe_code,
    reason = "calls into std::arch code, after asking the processor and checking all lengths"
)]

use super::portable;
use crate::geometry::MAX_DISKS;
use std::fmt;
use std::sync::OnceLock;

/// Most outputs of one job: a shard more needs no code.
pub(super) const MAX_OUTPUTS: usize = MAX_DISKS - 1;

/// Coefficients of one output over the sources, in their order.
pub(super) type Row = [u8; MAX_DISKS];

/// One way to compute, named by its instructions. A value of this type exists only where they do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Gfni512,
    #[cfg(target_arch = "x86_64")]
    Gfni256,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kernel {
    /// The one that everything uses unless told otherwise: the first of [`Kernel::all_here`].
    pub fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::all_here().first().copied().unwrap_or(Self(Set::Portable)))
    }

    /// All that this processor can run, the fastest first. The portable one is always there.
    pub fn all_here() -> Vec<Self> {
        let known = [
            #[cfg(target_arch = "x86_64")]
            (Set::Gfni512, has!("gfni", "avx512f", "avx512bw")),
            #[cfg(target_arch = "x86_64")]
            (Set::Gfni256, has!("gfni", "avx2")),
            #[cfg(target_arch = "x86_64")]
            (Set::Avx2, has!("avx2")),
            #[cfg(target_arch = "x86_64")]
            (Set::Ssse3, has!("ssse3")),
            #[cfg(target_arch = "aarch64")]
            (Set::Neon, has!("neon")),
            (Set::Portable, true),
        ];
        known.into_iter().filter(|(_, here)| *here).map(|(set, _)| Self(set)).collect()
    }

    /// Makes each output the sum of its row's coefficients times the sources, in one pass over the sources.
    ///
    /// # Panics
    /// When there are more sources or outputs than a vault has disks, not one row per output, or the lengths differ.
    pub(super) fn multiply(self, rows: &[Row], sources: &[&[u8]], outputs: &mut [&mut [u8]]) {
        let len = outputs.first().map_or(0, |output| output.len());
        assert!(outputs.iter().all(|output| output.len() == len), "outputs differ in length");
        let mut job = Job::new(rows, sources, len);
        assert!(outputs.len() == rows.len(), "not one row per output");
        job.to.iter_mut().zip(outputs.iter_mut()).for_each(|(to, output)| *to = output.as_mut_ptr());
        // SAFETY: the pointers are those of slices of `len` bytes, the outputs' of exclusive ones.
        if unsafe { self.run::<false>(&job) }.is_none() {
            portable::multiply(rows, sources, outputs);
        }
    }

    /// Whether each of `expected` is what [`multiply`](Self::multiply) would make. Nothing is written.
    ///
    /// # Panics
    /// As there.
    pub(super) fn matches(self, rows: &[Row], sources: &[&[u8]], expected: &[&[u8]]) -> bool {
        let len = expected.first().map_or(0, |range| range.len());
        assert!(expected.iter().all(|range| range.len() == len), "ranges differ in length");
        let mut job = Job::new(rows, sources, len);
        assert!(expected.len() == rows.len(), "not one row per range");
        job.to.iter_mut().zip(expected).for_each(|(to, range)| *to = range.as_ptr().cast_mut());
        // SAFETY: the pointers are those of slices of `len` bytes, and a check writes nothing.
        let answer = unsafe { self.run::<true>(&job) };
        answer.unwrap_or_else(|| portable::matches(rows, sources, expected))
    }

    /// `None` when the job is not for vectors.
    ///
    /// # Safety
    /// The job's pointers are good for its length, those of the outputs for writing unless `CHECK`.
    unsafe fn run<const CHECK: bool>(self, job: &Job<'_>) -> Option<bool> {
        // SAFETY: the caller's promise; `all_here`, the only maker of these values, asked the processor.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Set::Gfni512 => super::gfni::run_512::<CHECK>(job),
                #[cfg(target_arch = "x86_64")]
                Set::Gfni256 => super::gfni::run_256::<CHECK>(job),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => super::avx2::run::<CHECK>(job),
                #[cfg(target_arch = "x86_64")]
                Set::Ssse3 => super::ssse3::run::<CHECK>(job),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => super::neon::run::<CHECK>(job),
                Set::Portable => None,
            }
        }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether the processor has all of these features.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
}
/// Whether the processor has all of these features.
#[cfg(target_arch = "aarch64")]
macro_rules! has {
    ($($feature:tt),+) => { $(std::arch::is_aarch64_feature_detected!($feature))&&+ };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use has;

/// What a vector kernel is given: lengths are checked, slices are pointers.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) struct Job<'a> {
    pub(super) rows: &'a [Row],
    pub(super) sources: usize,
    pub(super) outputs: usize,
    /// Length of every range, in bytes.
    pub(super) len: usize,
    pub(super) from: [*const u8; MAX_DISKS],
    pub(super) to: [*mut u8; MAX_OUTPUTS],
}

impl<'a> Job<'a> {
    fn new(rows: &'a [Row], sources: &[&[u8]], len: usize) -> Self {
        assert!(sources.len() <= MAX_DISKS && rows.len() <= MAX_OUTPUTS, "more than a vault has disks");
        assert!(sources.iter().all(|source| source.len() == len), "sources differ in length");
        let mut from = [std::ptr::null(); MAX_DISKS];
        from.iter_mut().zip(sources).for_each(|(from, source)| *from = source.as_ptr());
        let to = [std::ptr::null_mut(); MAX_OUTPUTS];
        Self { rows, sources: sources.len(), outputs: rows.len(), len, from, to }
    }
}
