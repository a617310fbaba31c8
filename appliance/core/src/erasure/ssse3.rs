//! SSSE3: two shuffles of 16 bytes look up the products of the low and of the high halves of bytes.
#![allow(unsafe_code, reason = "std::arch; only called where the processor says it has the instructions")]

use super::columns::{self, Vector};
use super::kernel::Job;
use super::tables::HALVES;
use std::arch::x86_64::*;

/// # Safety
/// The processor has SSSE3; else as [`columns::run`].
#[target_feature(enable = "ssse3")]
pub(super) unsafe fn run<const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // SAFETY: the caller's promise.
    unsafe { columns::run::<Bytes16, CHECK>(job) }
}

#[derive(Clone, Copy)]
struct Bytes16(__m128i);

// SAFETY of all blocks: the trait's own conditions.
#[rustfmt::skip]
impl Vector for Bytes16 {
    const BYTES: usize = 16;
    type Factor = [__m128i; 2];
    type Ready = [__m128i; 2];

    #[inline(always)]
    unsafe fn factor(coefficient: u8) -> [__m128i; 2] {
        let [low, high] = &HALVES[usize::from(coefficient)];
        unsafe { [_mm_loadu_si128(low.as_ptr().cast()), _mm_loadu_si128(high.as_ptr().cast())] }
    }
    #[inline(always)]
    unsafe fn zero() -> Self { unsafe { Self(_mm_setzero_si128()) } }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self { unsafe { Self(_mm_loadu_si128(from.cast())) } }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) { unsafe { _mm_storeu_si128(to.cast(), self.0) } }
    #[inline(always)]
    unsafe fn ready(self) -> [__m128i; 2] {
        unsafe {
            let half = _mm_set1_epi8(15);
            [_mm_and_si128(self.0, half), _mm_and_si128(_mm_srli_epi64::<4>(self.0), half)]
        }
    }
    #[inline(always)]
    unsafe fn times(source: [__m128i; 2], factor: [__m128i; 2]) -> Self {
        unsafe {
            let low = _mm_shuffle_epi8(factor[0], source[0]);
            Self(_mm_xor_si128(low, _mm_shuffle_epi8(factor[1], source[1])))
        }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self { unsafe { Self(_mm_xor_si128(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self { unsafe { Self(_mm_or_si128(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.0, _mm_setzero_si128())) == 0xFFFF }
    }
}
