//! NEON: two table look-ups of 16 bytes give the products of the low and of the high halves of bytes.
#![allow(unsafe_code, reason = "std::arch; only called where the processor says it has the instructions")]

use super::columns::{self, Vector};
use super::kernel::Job;
use super::tables::HALVES;
use std::arch::aarch64::*;

/// # Safety
/// The processor has NEON; else as [`columns::run`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<const CHECK: bool>(job: &Job<'_>) -> Option<bool> {
    // SAFETY: the caller's promise.
    unsafe { columns::run::<Bytes16, CHECK>(job) }
}

#[derive(Clone, Copy)]
struct Bytes16(uint8x16_t);

// SAFETY of all blocks: the trait's own conditions.
#[rustfmt::skip]
impl Vector for Bytes16 {
    const BYTES: usize = 16;
    type Factor = [uint8x16_t; 2];
    type Ready = [uint8x16_t; 2];

    #[inline(always)]
    unsafe fn factor(coefficient: u8) -> [uint8x16_t; 2] {
        let [low, high] = &HALVES[usize::from(coefficient)];
        unsafe { [vld1q_u8(low.as_ptr()), vld1q_u8(high.as_ptr())] }
    }
    #[inline(always)]
    unsafe fn zero() -> Self { unsafe { Self(vdupq_n_u8(0)) } }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self { unsafe { Self(vld1q_u8(from)) } }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) { unsafe { vst1q_u8(to, self.0) } }
    #[inline(always)]
    unsafe fn ready(self) -> [uint8x16_t; 2] {
        unsafe { [vandq_u8(self.0, vdupq_n_u8(15)), vshrq_n_u8::<4>(self.0)] }
    }
    #[inline(always)]
    unsafe fn times(source: [uint8x16_t; 2], factor: [uint8x16_t; 2]) -> Self {
        unsafe { Self(veorq_u8(vqtbl1q_u8(factor[0], source[0]), vqtbl1q_u8(factor[1], source[1]))) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self { unsafe { Self(veorq_u8(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self { unsafe { Self(vorrq_u8(self.0, other.0)) } }
    #[inline(always)]
    unsafe fn is_zero(self) -> bool { unsafe { vmaxvq_u8(self.0) == 0 } }
}
