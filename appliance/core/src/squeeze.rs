//! Compression of single chunks: zstd, kept only when it pays and only after it has been undone and compared.
//!
//! Compressors have had bugs that produced bytes which do not decompress to the input (restic 0.16.3 stored
//! some). A chunk that fails the comparison here is kept as it is: nothing is lost, it only takes more room.

use crate::fault::{Fault, Result};
use std::fmt;
use zstd::bulk::{Compressor, Decompressor};

/// Largest chunk that is ever stored or read, in bytes: the ceiling for every declared plain length.
pub const MAX_CHUNK_LEN: usize = 8 * 1024 * 1024;
/// Level 1: higher levels halve the speed for no better ratio on dumps.
const LEVEL: i32 = 1;
/// Compression must save at least one part in this many.
const LEAST_SAVING: usize = 16;
/// Of a chunk of at least [`SAMPLED_FROM`] bytes, so many samples of so many bytes are tried first.
const SAMPLES: usize = 4;
const SAMPLE_LEN: usize = 16 * 1024;
const SAMPLED_FROM: usize = SAMPLES * SAMPLE_LEN * 4;

/// A chunk as it will be sealed: compressed or as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Squeezed<'a> {
    /// What to seal: the chunk itself when compression did not pay.
    pub bytes: &'a [u8],
    /// Whether `bytes` is a zstd frame.
    pub compressed: bool,
    /// Length of the chunk, in bytes.
    pub plain_len: u32,
}

/// What squeezing needs again and again: one per thread.
pub struct Squeezer {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    frame: Vec<u8>,
    check: Vec<u8>,
}

impl Squeezer {
    /// A new context; it keeps a few megabytes.
    pub fn new() -> Result<Self> {
        let failed = |e| Fault::permanent(format!("the compressor does not start: {e}"));
        Ok(Self {
            compressor: Compressor::new(LEVEL).map_err(failed)?,
            decompressor: Decompressor::new().map_err(failed)?,
            frame: Vec::new(),
            check: Vec::new(),
        })
    }
}

/// Compresses `plain` when it pays. Never fails: whatever goes wrong, the chunk is kept as it is.
///
/// # Panics
/// When `plain` is longer than [`MAX_CHUNK_LEN`]: chunkers are bounded by construction.
pub fn squeeze<'a>(plain: &'a [u8], squeezer: &'a mut Squeezer) -> Squeezed<'a> {
    assert!(plain.len() <= MAX_CHUNK_LEN, "a chunk of {} bytes", plain.len());
    let plain_len = plain.len() as u32;
    match compress(plain, squeezer) {
        Some(len) => Squeezed { bytes: &squeezer.frame[..len], compressed: true, plain_len },
        None => Squeezed { bytes: plain, compressed: false, plain_len },
    }
}

/// What is known not to get smaller, as it is.
///
/// # Panics
/// As [`squeeze`].
pub fn as_it_is(plain: &[u8]) -> Squeezed<'_> {
    assert!(plain.len() <= MAX_CHUNK_LEN, "a chunk of {} bytes", plain.len());
    Squeezed { bytes: plain, compressed: false, plain_len: plain.len() as u32 }
}

/// The chunk again. [`Class::Corrupt`](crate::fault::Class::Corrupt) when `bytes` does not give exactly
/// `plain_len` bytes; never allocates more than that.
pub fn unsqueeze(bytes: &[u8], compressed: bool, plain_len: u32) -> Result<Vec<u8>> {
    let bad = || Fault::corrupt(format!("{} stored bytes are not a chunk of {plain_len} bytes", bytes.len()));
    let len = plain_len as usize;
    if len > MAX_CHUNK_LEN {
        return Err(bad());
    }
    let plain =
        if compressed { zstd::bulk::decompress(bytes, len).map_err(|_| bad())? } else { bytes.to_vec() };
    if plain.len() == len { Ok(plain) } else { Err(bad()) }
}

/// Length of the squeezer's frame, when it is small enough and decompresses to `plain`.
fn compress(plain: &[u8], squeezer: &mut Squeezer) -> Option<usize> {
    // The room is the ceiling: zstd gives up as soon as a frame would not pay.
    let room = plain.len() - plain.len() / LEAST_SAVING;
    if room == plain.len() {
        return None;
    }
    let Squeezer { compressor, decompressor, frame, check } = squeezer;
    if plain.len() >= SAMPLED_FROM && !any_sample_pays(plain, compressor, frame) {
        return None;
    }
    let len = compressor.compress_to_buffer(plain, room_of(frame, room)).ok()?;
    let check = room_of(check, plain.len());
    let back = decompressor.decompress_to_buffer(&frame[..len], check).ok()?;
    (back == plain.len() && check == plain).then_some(len)
}

/// Whether one of a few samples, evenly spread, gets smaller: trying all of a chunk that does not was a thirteenth of what
/// storing it costs.
fn any_sample_pays(plain: &[u8], compressor: &mut Compressor<'static>, frame: &mut Vec<u8>) -> bool {
    let room = SAMPLE_LEN - SAMPLE_LEN / LEAST_SAVING;
    let part = plain.len() / SAMPLES;
    plain.chunks_exact(part).any(|part| {
        let start = (part.len() - SAMPLE_LEN) / 2;
        let sample = &part[start..start + SAMPLE_LEN];
        compressor.compress_to_buffer(sample, room_of(frame, room)).is_ok()
    })
}

/// The first `len` bytes of a buffer that only ever grows: making the same memory zero each time would cost as much
/// as a copy.
fn room_of(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

impl fmt::Debug for Squeezed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.compressed { "zstd" } else { "raw" };
        write!(f, "Squeezed({how}, {} of {} bytes)", self.bytes.len(), self.plain_len)
    }
}

impl fmt::Debug for Squeezer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Squeezer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn samples_decide_whether_a_large_chunk_is_tried() {
        let mut squeezer = Squeezer::new().expect("starts");
        let noise = noise(1 << 20);
        assert!(!squeeze(&noise, &mut squeezer).compressed);
        // A quarter of it gets smaller, wherever that is.
        for quarter in 0..SAMPLES {
            let mut mixed = noise.clone();
            mixed[quarter << 18..(quarter + 1) << 18].fill(b'-');
            let squeezed = squeeze(&mixed, &mut squeezer);
            assert!(squeezed.compressed, "quarter {quarter}");
            assert_eq!(unsqueeze(squeezed.bytes, true, 1 << 20).expect("opens"), mixed);
        }
        // The same noise twice gets smaller only as a whole; no sample knows. That is what is given up.
        let twice = [&noise[..SAMPLED_FROM / 2], &noise[..SAMPLED_FROM / 2]].concat();
        assert!(!squeeze(&twice, &mut squeezer).compressed);
        assert!(squeeze(&twice[..twice.len() - 1], &mut squeezer).compressed, "below, all is tried");
    }

    #[test]
    fn kept_only_when_it_pays() {
        let mut squeezer = Squeezer::new().expect("starts");
        let text = b"the same words again and again ".repeat(1000);
        let squeezed = squeeze(&text, &mut squeezer);
        assert!(squeezed.compressed && squeezed.bytes.len() < text.len() / 10);
        assert_eq!(unsqueeze(squeezed.bytes, true, text.len() as u32).expect("opens"), text);
        for plain in [noise(100_000), vec![], vec![0], vec![0; 15]] {
            let squeezed = squeeze(&plain, &mut squeezer);
            assert!(!squeezed.compressed);
            assert_eq!(squeezed.bytes, plain);
            assert_eq!(squeezed.bytes.as_ptr(), plain.as_ptr(), "no copy");
        }
        // A frame that saves less than one sixteenth is not kept.
        let mut almost = noise(100_000);
        almost.extend_from_slice(&[0; 4_000]);
        assert!(!squeeze(&almost, &mut squeezer).compressed);
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        let mut squeezer = Squeezer::new().expect("starts");
        let plain = vec![1; 5000];
        let frame = squeeze(&plain, &mut squeezer);
        for len in [0, 4999, 5001, u32::MAX] {
            assert!(unsqueeze(frame.bytes, true, len).is_err(), "{len}");
            assert!(unsqueeze(&plain, false, len).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(plain in proptest::collection::vec(0u8..4, 0..5000)) {
            let mut squeezer = Squeezer::new().expect("starts");
            let squeezed = squeeze(&plain, &mut squeezer);
            let back = unsqueeze(squeezed.bytes, squeezed.compressed, squeezed.plain_len).expect("opens");
            prop_assert_eq!(back, plain);
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, len in 0u32..10_000) {
            let _ = unsqueeze(&bytes, true, len);
        }

        #[test]
        fn a_flipped_bit_gives_the_declared_length_or_an_error(bit in 0usize..200) {
            let mut squeezer = Squeezer::new().expect("starts");
            let plain = b"abcdefgh".repeat(500);
            let mut frame = squeeze(&plain, &mut squeezer).bytes.to_vec();
            let bit = bit % (frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            if let Ok(back) = unsqueeze(&frame, true, 4000) {
                prop_assert_eq!(back.len(), 4000);
            }
        }
    }
}
