//! The portable kernel: the crate's own loops, one coefficient after the other. For other processors and for short ends.

use super::kernel::Row;
use reed_solomon_erasure::galois_8;

/// Bytes worked on at once, so that a range of the result stays in the nearest cache.
pub(super) const STRIDE: usize = 16 * 1024;
/// Bytes compared at once.
const COMPARED: usize = 1024;

/// As [`Kernel::multiply`](super::kernel::Kernel::multiply).
pub(super) fn multiply(rows: &[Row], sources: &[&[u8]], outputs: &mut [&mut [u8]]) {
    for (row, output) in rows.iter().zip(outputs) {
        for (number, output) in output.chunks_mut(STRIDE).enumerate() {
            combine(row, sources, number * STRIDE, output);
        }
    }
}

/// As [`Kernel::matches`](super::kernel::Kernel::matches).
pub(super) fn matches(rows: &[Row], sources: &[&[u8]], expected: &[&[u8]]) -> bool {
    let mut made = [0; COMPARED];
    rows.iter().zip(expected).all(|(row, expected)| {
        expected.chunks(COMPARED).enumerate().all(|(number, expected)| {
            let made = &mut made[..expected.len()];
            combine(row, sources, number * COMPARED, made);
            made == expected
        })
    })
}

/// `out` = the sum of `row[i]` times the i-th source, from byte `start` of each.
fn combine(row: &Row, sources: &[&[u8]], start: usize, out: &mut [u8]) {
    let mut first = true;
    for (coefficient, source) in row.iter().zip(sources) {
        let source = &source[start..start + out.len()];
        match (*coefficient, first) {
            (0, _) => continue,
            (1, true) => out.copy_from_slice(source),
            (1, false) => out.iter_mut().zip(source).for_each(|(o, s)| *o ^= s),
            (c, true) => galois_8::mul_slice(c, source, out),
            (c, false) => galois_8::mul_slice_xor(c, source, out),
        }
        first = false;
    }
    if first {
        out.fill(0);
    }
}
