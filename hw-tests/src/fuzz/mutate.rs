//! Making bad inputs of good ones: the mutations that break parsers, drawn from the rig's dice.
//!
//! Random bytes never get past a magic number. So every input begins as a real sample, and a few things are done to it
//! that go wrong in practice: a bit flips, a length says something else, a piece is missing, comes twice or comes from
//! another sample, a number has too many digits, a CBOR head announces a gigabyte. Checksums are put right afterwards
//! by the target itself, so that what lies behind them is reached.

use crate::rng::Rng;

/// Values around which lengths and counts go wrong.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    31,
    32,
    127,
    128,
    255,
    256,
    4095,
    4096,
    4097,
    65_535,
    65_536,
    (1 << 20) + 1,
    (2 << 20) + 1,
    (8 << 20) + 1,
    (64 << 20) + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX - 4095,
    u64::MAX - 1,
    u64::MAX,
];

/// CBOR heads: long bytes, text, arrays and maps, endless ones, tags, simple values.
const HEADS: &[&[u8]] = &[
    b"\x5b\x00\x00\x00\x00\x40\x00\x00\x00",
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7b\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\x9b\x00\x00\x00\x00\xff\xff\xff\xff",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9a\x00\xff\xff\xff",
    b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x5f",
    b"\x7f",
    b"\x9f",
    b"\xbf",
    b"\xff",
    b"\xc0",
    b"\xd9\xd9\xf7",
    b"\xf6",
    b"\xf7",
    b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x1c",
    b"\x80",
    b"\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81",
];

/// Digits that overflow, or look like numbers and are none.
const NUMBERS: &[&[u8]] = &[
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999",
    b"4294967296",
    b"-1",
    b"+1",
    b"00000000000000000001",
    b"0x10",
    b"1e9",
    b"\xd9\xa1",
];

/// Longest piece that one mutation inserts or repeats.
const MAX_PIECE: usize = 512;

/// Does one to five things to `input`, which ends with at most `max_len` bytes. `pool` are other samples, `tokens` words
/// that mean something to the parser.
pub fn mutate(rng: &mut Rng, input: &mut Vec<u8>, pool: &[Vec<u8>], tokens: &[&[u8]], max_len: usize) {
    for _ in 0..=rng.below(5) {
        once(rng, input, pool, tokens);
    }
    input.truncate(max_len);
}

fn once(rng: &mut Rng, input: &mut Vec<u8>, pool: &[Vec<u8>], tokens: &[&[u8]]) {
    match rng.below(14) {
        0 | 1 => flip(rng, input),
        2 => set_byte(rng, input),
        3 | 4 => set_number(rng, input),
        5 => nudge_number(rng, input),
        6 => cut_out(rng, input),
        7 => repeat(rng, input),
        8 => splice(rng, input, pool),
        9 => put_in(rng, input, HEADS),
        10 => other_digits(rng, input),
        11 => truncate(rng, input),
        12 => noise(rng, input),
        _ => put_in(rng, input, if tokens.is_empty() { NUMBERS } else { tokens }),
    }
}

fn flip(rng: &mut Rng, input: &mut [u8]) {
    let at = rng.index(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

fn set_byte(rng: &mut Rng, input: &mut [u8]) {
    let at = rng.index(input.len());
    let value = *rng.pick(&[0, 1, 0x20, 0x2f, 0x3a, 0x7f, 0x80, 0xc3, 0xff]).unwrap_or(&0);
    if let Some(byte) = input.get_mut(at) {
        *byte = value;
    }
}

/// A number of 1, 2, 4 or 8 bytes, in either order; mostly where a drawn header would have one.
fn set_number(rng: &mut Rng, input: &mut [u8]) {
    let value = *rng.pick(EDGES).unwrap_or(&0);
    let value = if rng.chance(1, 4) { input.len() as u64 } else { value };
    write_number(rng, input, |_| value);
}

fn nudge_number(rng: &mut Rng, input: &mut [u8]) {
    let by = rng.between(1, 17);
    let down = rng.chance(1, 2);
    write_number(rng, input, |old| if down { old.wrapping_sub(by) } else { old.wrapping_add(by) });
}

fn write_number(rng: &mut Rng, input: &mut [u8], new: impl FnOnce(u64) -> u64) {
    let width = 1 << rng.below(4);
    let Some(last) = input.len().checked_sub(width) else { return };
    let aligned = if rng.chance(3, 4) { width } else { 1 };
    // Headers stand in front: the first 256 bytes get half of it.
    let within = if rng.chance(1, 2) { last.min(256) } else { last };
    let at = rng.index(within + 1) / aligned * aligned;
    let place = &mut input[at..at + width];
    let big = rng.chance(1, 4);
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(place);
    if big {
        bytes[..width].reverse();
    }
    let mut bytes = new(u64::from_le_bytes(bytes)).to_le_bytes();
    if big {
        bytes[..width].reverse();
    }
    place.copy_from_slice(&bytes[..width]);
}

fn some_range(rng: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let start = rng.index(len + 1);
    start..(start + rng.index(MAX_PIECE.min(len - start) + 1)).min(len)
}

fn cut_out(rng: &mut Rng, input: &mut Vec<u8>) {
    let range = some_range(rng, input.len());
    input.drain(range);
}

fn repeat(rng: &mut Rng, input: &mut Vec<u8>) {
    let range = some_range(rng, input.len());
    let piece = input[range].to_vec();
    let times = rng.between(1, 4) as usize;
    insert(rng, input, &piece.repeat(times));
}

fn splice(rng: &mut Rng, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let Some(other) = rng.pick(pool) else { return };
    let from = some_range(rng, other.len());
    let onto = some_range(rng, input.len());
    let piece = other[from].to_vec();
    if rng.chance(1, 4) {
        // The head of this one and the tail of the other.
        let at = rng.index(input.len() + 1);
        input.truncate(at);
        input.extend_from_slice(other.get(at..).unwrap_or(&[]));
    } else {
        input.splice(onto, piece);
    }
}

fn put_in(rng: &mut Rng, input: &mut Vec<u8>, words: &[&[u8]]) {
    let Some(word) = rng.pick(words) else { return };
    if rng.chance(1, 2) {
        insert(rng, input, word);
    } else {
        let at = rng.index(input.len() + 1);
        let end = (at + word.len()).min(input.len());
        input.splice(at..end, word.iter().copied());
    }
}

fn insert(rng: &mut Rng, input: &mut Vec<u8>, piece: &[u8]) {
    let at = rng.index(input.len() + 1);
    input.splice(at..at, piece.iter().copied());
}

/// A run of digits becomes another one.
fn other_digits(rng: &mut Rng, input: &mut Vec<u8>) {
    let from = rng.index(input.len());
    let Some(start) = (from..input.len()).find(|at| input[*at].is_ascii_digit()) else { return };
    let end = (start..input.len()).find(|at| !input[*at].is_ascii_digit()).unwrap_or(input.len());
    let word = rng.pick(NUMBERS).copied().unwrap_or(b"0");
    input.splice(start..end, word.iter().copied());
}

fn truncate(rng: &mut Rng, input: &mut Vec<u8>) {
    let len = rng.index(input.len() + 1);
    input.truncate(len);
}

fn noise(rng: &mut Rng, input: &mut Vec<u8>) {
    let len = rng.between(1, 40) as usize;
    let bytes = rng.bytes(len);
    insert(rng, input, &bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_stays_below_its_ceiling_and_most_differ() {
        let mut rng = Rng::new(1);
        let pool = vec![b"a sample 123".to_vec(), vec![0; 600]];
        let mut different = 0;
        for _ in 0..2_000 {
            for sample in [b"a sample 123".to_vec(), Vec::new(), vec![9]] {
                let mut input = sample.clone();
                mutate(&mut rng, &mut input, &pool, &[b"token"], 900);
                assert!(input.len() <= 900);
                different += u32::from(input != sample);
            }
        }
        assert!(different > 3_000, "{different} of 6000");
    }
}
