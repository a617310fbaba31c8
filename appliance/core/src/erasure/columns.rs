//! The loop that all vector kernels share: every output of a column at once, in registers.
//!
//! A column is the bytes at the same offsets of all sources, `C` vectors wide. Each is loaded once, multiplied into `R`
//! sums, and only then anything is stored: memory sees every source byte once, whatever the number of outputs. A proof
//! goes further and stores nothing: the sums are compared with what they should be while they are still in registers.
//!
//! The last column is moved back so that it ends where the ranges end, and covers some bytes a second time; they come out
//! the same. That needs ranges of at least one column: shorter ones belong to a smaller kernel. In the same way the second
//! column is moved back to where the first output is aligned: large buffers mostly are so alike, and a vector that lies in
//! two cache lines costs two of them each time.
#![allow(
    unsafe_code,
    reason = "vector loads and stores go through pointers; the lengths are checked once per job"
)]

use super::kernel::{Job, MAX_OUTPUTS};
use crate::geometry::MAX_DISKS;

/// A vector register of one instruction set.
///
/// # Safety
/// All methods: only where the instruction set is there, and inlined into a function that enables it. `load` reads and
/// `store` writes `BYTES` bytes at any alignment.
pub(super) trait Vector: Copy {
    /// Its width in bytes.
    const BYTES: usize;
    /// What multiplies by one coefficient.
    type Factor: Copy;
    /// What a source vector is made into once, for all its multiplications.
    type Ready: Copy;

    unsafe fn factor(coefficient: u8) -> Self::Factor;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    unsafe fn ready(self) -> Self::Ready;
    unsafe fn times(source: Self::Ready, factor: Self::Factor) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn is_zero(self) -> bool;
}

/// Does the job, or says whether the outputs are already what it would make (`CHECK`; nothing is written then). `None`
/// when the ranges are shorter than a column.
///
/// # Safety
/// As for [`Vector`]. The job's pointers are good for its length, those of the outputs for writing unless `CHECK`.
#[inline(always)]
pub(super) unsafe fn run<V: Vector, const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // Two vectors per column hide the latency of one, as long as the sums fit the registers.
    // SAFETY: what this function asks of its caller.
    unsafe {
        match job.outputs {
            1 => wide_or_narrow::<V, 1, 4, CHECK>(job),
            2 => wide_or_narrow::<V, 2, 2, CHECK>(job),
            3 => wide_or_narrow::<V, 3, 2, CHECK>(job),
            4 => wide_or_narrow::<V, 4, 2, CHECK>(job),
            5 => wide_or_narrow::<V, 5, 1, CHECK>(job),
            6 => wide_or_narrow::<V, 6, 1, CHECK>(job),
            MAX_OUTPUTS => wide_or_narrow::<V, MAX_OUTPUTS, 1, CHECK>(job),
            _ => None,
        }
    }
}

#[inline(always)]
unsafe fn wide_or_narrow<V: Vector, const R: usize, const C: usize, const CHECK: bool>(
    job: &Job<'_>,
) -> Option<bool> {
    // SAFETY: the caller's promise, handed on; each call is made only where a column of its width fits.
    unsafe {
        if job.len >= C * V::BYTES {
            Some(all_columns::<V, R, C, CHECK>(job))
        } else if job.len >= V::BYTES {
            Some(all_columns::<V, R, 1, CHECK>(job))
        } else {
            None
        }
    }
}

#[inline(always)]
unsafe fn all_columns<V: Vector, const R: usize, const C: usize, const CHECK: bool>(job: &Job<'_>) -> bool {
    let width = C * V::BYTES;
    // SAFETY: every offset is at most len - width, and width bytes are used from there.
    unsafe {
        let mut factors = [[V::factor(0); R]; MAX_DISKS];
        for (source, factors) in factors.iter_mut().enumerate().take(job.sources) {
            for (output, factor) in factors.iter_mut().enumerate() {
                *factor = V::factor(job.rows[output][source]);
            }
        }
        let mut at = 0;
        let lead = job.to[0].addr().wrapping_neg() % V::BYTES;
        if lead > 0 {
            if !column::<V, R, C, CHECK>(job, &factors, 0) {
                return false;
            }
            at = lead;
        }
        while at + width <= job.len {
            if !column::<V, R, C, CHECK>(job, &factors, at) {
                return false;
            }
            at += width;
        }
        at == job.len || column::<V, R, C, CHECK>(job, &factors, job.len - width)
    }
}

#[inline(always)]
unsafe fn column<V: Vector, const R: usize, const C: usize, const CHECK: bool>(
    job: &Job<'_>,
    factors: &[[V::Factor; R]; MAX_DISKS],
    at: usize,
) -> bool {
    // SAFETY: the caller keeps `at` and the C vectors behind it within the ranges.
    unsafe {
        let mut sums = [[V::zero(); R]; C];
        for (from, factors) in job.from.iter().zip(factors).take(job.sources) {
            for (c, sums) in sums.iter_mut().enumerate() {
                let source = V::load(from.add(at + c * V::BYTES)).ready();
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = sum.xor(V::times(source, *factor));
                }
            }
        }
        let mut differences = V::zero();
        for (c, sums) in sums.iter().enumerate() {
            for (sum, to) in sums.iter().zip(&job.to) {
                let place = to.add(at + c * V::BYTES);
                if CHECK {
                    differences = differences.or(V::load(place).xor(*sum));
                } else {
                    sum.store(place);
                }
            }
        }
        !CHECK || differences.is_zero()
    }
}
