//! GFNI: one instruction multiplies each byte of a vector by a matrix of bits. With AVX-512 or, on smaller chips, AVX2.
#![allow(unsafe_code, reason = "std::arch; only called where the processor says it has the instructions")]

use super::columns::{self, Vector};
use super::kernel::Job;
use super::tables::MATRICES;
use std::arch::x86_64::*;

/// # Safety
/// The processor has GFNI, AVX-512F and AVX-512BW; else as [`columns::run`].
#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) unsafe fn run_512<const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // SAFETY: the caller's promise.
    unsafe { columns::run::<Wide, CHECK>(job) }
}

/// # Safety
/// The processor has GFNI and AVX2; else as [`columns::run`].
#[target_feature(enable = "gfni,avx2")]
pub(super) unsafe fn run_256<const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // SAFETY: the caller's promise.
    unsafe { columns::run::<Half, CHECK>(job) }
}

#[derive(Clone, Copy)]
struct Wide(__m512i);

// SAFETY of all blocks: the trait's own conditions.
#[rustfmt::skip]
impl Vector for Wide {
    const BYTES: usize = 64;
    type Factor = __m512i;
    type Ready = __m512i;

    #[inline(always)]
    unsafe fn factor(coefficient: u8) -> __m512i {
        unsafe { _mm512_set1_epi64(MATRICES[usize::from(coefficient)].cast_signed()) }
    }
    #[inline(always)]
    unsafe fn zero() -> Self { unsafe { Self(_mm512_setzero_si512()) } }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self { unsafe { Self(_mm512_loadu_si512(from.cast())) } }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) { unsafe { _mm512_storeu_si512(to.cast(), self.0) } }
    #[inline(always)]
    unsafe fn ready(self) -> __m512i { self.0 }
    #[inline(always)]
    unsafe fn times(source: __m512i, factor: __m512i) -> Self {
        unsafe { Self(_mm512_gf2p8affine_epi64_epi8::<0>(source, factor)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self { unsafe { Self(_mm512_xor_si512(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self { unsafe { Self(_mm512_or_si512(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn is_zero(self) -> bool { unsafe { _mm512_test_epi64_mask(self.0, self.0) == 0 } }
}

#[derive(Clone, Copy)]
struct Half(__m256i);

#[rustfmt::skip]
impl Vector for Half {
    const BYTES: usize = 32;
    type Factor = __m256i;
    type Ready = __m256i;

    #[inline(always)]
    unsafe fn factor(coefficient: u8) -> __m256i {
        unsafe { _mm256_set1_epi64x(MATRICES[usize::from(coefficient)].cast_signed()) }
    }
    #[inline(always)]
    unsafe fn zero() -> Self { unsafe { Self(_mm256_setzero_si256()) } }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self { unsafe { Self(_mm256_loadu_si256(from.cast())) } }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) { unsafe { _mm256_storeu_si256(to.cast(), self.0) } }
    #[inline(always)]
    unsafe fn ready(self) -> __m256i { self.0 }
    #[inline(always)]
    unsafe fn times(source: __m256i, factor: __m256i) -> Self {
        unsafe { Self(_mm256_gf2p8affine_epi64_epi8::<0>(source, factor)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self { unsafe { Self(_mm256_xor_si256(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self { unsafe { Self(_mm256_or_si256(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn is_zero(self) -> bool { unsafe { _mm256_testz_si256(self.0, self.0) == 1 } }
}
