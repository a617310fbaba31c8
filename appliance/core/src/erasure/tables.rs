//! Multiplication tables of GF(2^8) in the shapes that vector instructions want, made by the compiler.
//!
//! The field is that of the code: polynomial x^8 + x^4 + x^3 + x^2 + 1, 0x11D. Multiplying by a constant is linear over
//! bits, so c·x is an 8 × 8 matrix of bits times x (what GFNI computes), and it is also c·(low half of x) ^ c·(high
//! half of x), two tables of 16 bytes each (what byte shuffles look up).

/// For each c: c·0, c·1 … c·15, and then c·0x00, c·0x10 … c·0xF0.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) static HALVES: [[[u8; 16]; 2]; 256] = halves();

/// For each c: the matrix of bits in the order of `GF2P8AFFINEQB`. Its highest byte makes bit 0 of the result.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) static MATRICES: [u64; 256] = matrices();

/// a·b, bit by bit.
const fn product(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut sum) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            sum ^= a;
        }
        let carry = a >> 7;
        a = (a << 1) ^ (carry * 0x1D);
        b >>= 1;
    }
    sum
}

const fn halves() -> [[[u8; 16]; 2]; 256] {
    let mut tables = [[[0; 16]; 2]; 256];
    let mut at = 0;
    while at < 256 * 16 {
        let (c, x) = (at / 16, at % 16);
        tables[c][0][x] = product(c as u8, x as u8);
        tables[c][1][x] = product(c as u8, (x as u8) << 4);
        at += 1;
    }
    tables
}

const fn matrices() -> [u64; 256] {
    let mut tables = [0; 256];
    let mut at = 0;
    while at < 256 * 64 {
        let (c, out, bit) = (at / 64, at / 8 % 8, at % 8);
        // Bit `bit` of x contributes c·2^bit; row `out` says whether that has bit `out`.
        let has = (product(c as u8, 1 << bit) >> out & 1) as u64;
        tables[c] |= has << (8 * (7 - out) + bit);
        at += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use reed_solomon_erasure::galois_8::mul;

    #[test]
    fn all_products_are_those_of_the_crate() {
        for (c, x) in (0..=255u8).flat_map(|c| (0..=255u8).map(move |x| (c, x))) {
            let expected = mul(c, x);
            assert_eq!(product(c, x), expected);
            let [low, high] = HALVES[usize::from(c)];
            assert_eq!(low[usize::from(x & 15)] ^ high[usize::from(x >> 4)], expected);
            let rows = MATRICES[usize::from(c)].to_be_bytes();
            let by_bits = (0..8).fold(0, |sum, bit| sum | ((rows[bit] & x).count_ones() as u8 & 1) << bit);
            assert_eq!(by_bits, expected);
        }
    }
}
