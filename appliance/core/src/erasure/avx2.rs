//! AVX2: two shuffles of 32 bytes look up the products of the low and of the high halves of bytes.
#![allow(unsafe_code, reason = "std::arch; only called where the processor says it has the instructions")]

use super::columns::{self, Vector};
use super::kernel::Job;
use super::tables::HALVES;
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX2; else as [`columns::run`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run<const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // SAFETY: the caller's promise.
    unsafe { columns::run::<Bytes32, CHECK>(job) }
}

#[derive(Clone, Copy)]
struct Bytes32(__m256i);

// SAFETY of all blocks: the trait's own conditions.
#[rustfmt::skip]
impl Vector for Bytes32 {
    const BYTES: usize = 32;
    type Factor = [__m256i; 2];
    type Ready = [__m256i; 2];

    #[inline(always)]
    unsafe fn factor(coefficient: u8) -> [__m256i; 2] {
        let [low, high] = &HALVES[usize::from(coefficient)];
        // A shuffle looks up within each 16 bytes, so both have the table.
        unsafe {
            [
                _mm256_broadcastsi128_si256(_mm_loadu_si128(low.as_ptr().cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(high.as_ptr().cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn zero() -> Self { unsafe { Self(_mm256_setzero_si256()) } }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self { unsafe { Self(_mm256_loadu_si256(from.cast())) } }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) { unsafe { _mm256_storeu_si256(to.cast(), self.0) } }
    #[inline(always)]
    unsafe fn ready(self) -> [__m256i; 2] {
        unsafe {
            let half = _mm256_set1_epi8(15);
            [_mm256_and_si256(self.0, half), _mm256_and_si256(_mm256_srli_epi64::<4>(self.0), half)]
        }
    }
    #[inline(always)]
    unsafe fn times(source: [__m256i; 2], factor: [__m256i; 2]) -> Self {
        unsafe {
            let low = _mm256_shuffle_epi8(factor[0], source[0]);
            Self(_mm256_xor_si256(low, _mm256_shuffle_epi8(factor[1], source[1])))
        }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self { unsafe { Self(_mm256_xor_si256(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self { unsafe { Self(_mm256_or_si256(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn is_zero(self) -> bool { unsafe { _mm256_testz_si256(self.0, self.0) == 1 } }
}
