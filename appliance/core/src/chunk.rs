//! Cutting a stream where its content says so, so that an insertion moves only the chunks around it.
//!
//! FastCDC (the `fastcdc` crate's 2020 variant): a rolling hash over a table of 256 numbers decides where to cut.
//! With the public table, somebody who sees the lengths of chunks can recognise known files; so each client has a
//! table of its own, drawn from its seed, and the lengths are sealed besides (`pack.rs`).
//!
//! Bytes are pushed in as they come. A cut is looked for only when a whole largest chunk is at hand or the
//! stream has ended, so where it falls depends on the content alone, never on the size of the pushes.

use crate::fault::{Fault, Result};
use crate::keys::GearSeed;
use crate::squeeze::MAX_CHUNK_LEN;
use fastcdc::v2020::{self, Normalization};
use std::fmt;

/// Smallest, average and largest chunk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkSizes {
    min: usize,
    avg: usize,
    max: usize,
}

impl ChunkSizes {
    /// What a vault uses: 512 KiB, 1 MiB, 2 MiB.
    pub const STANDARD: Self = Self { min: 512 * 1024, avg: 1024 * 1024, max: 2 * 1024 * 1024 };
    /// For simulations: many chunks out of little data.
    pub const TINY: Self = Self { min: 64, avg: 256, max: 1024 };

    /// Even numbers, 64 ≤ `min` ≤ `avg` ≤ `max` ≤ [`MAX_CHUNK_LEN`], `avg` from 256 to 4 MiB.
    pub fn new(min: usize, avg: usize, max: usize) -> Result<Self> {
        let even = [min, avg, max].iter().all(|n| n.is_multiple_of(2));
        let ordered = min <= avg && avg <= max;
        let bounded = min >= v2020::MINIMUM_MIN
            && (v2020::AVERAGE_MIN..=v2020::AVERAGE_MAX).contains(&avg)
            && max <= MAX_CHUNK_LEN;
        if even && ordered && bounded {
            Ok(Self { min, avg, max })
        } else {
            Err(Fault::misuse(format!("chunks of {min}, {avg} and {max} bytes are not possible")))
        }
    }

    /// Largest chunk, in bytes.
    pub fn max(self) -> usize {
        self.max
    }
}

const _: () = assert!(ChunkSizes::STANDARD.max <= MAX_CHUNK_LEN);
const _: () = assert!(ChunkSizes::STANDARD.avg <= v2020::AVERAGE_MAX);

/// A stream being cut. Keeps at most two largest chunks in memory.
pub struct Chunker {
    sizes: ChunkSizes,
    masks: (u64, u64),
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
    /// What was pushed and not yet emitted: `pending[head..]`.
    pending: Vec<u8>,
    head: usize,
}

impl Chunker {
    /// A new stream. Without a seed, the public table of fastcdc is used.
    pub fn new(sizes: ChunkSizes, seed: Option<&GearSeed>) -> Self {
        let gear = match seed {
            Some(seed) => own_gear(seed),
            None => {
                let (table, _) = v2020::get_gear_with_seed(0);
                let mut gear = Box::new([0; 256]);
                gear.copy_from_slice(&table);
                gear
            }
        };
        let gear_shifted = Box::new(gear.map(|n| n << 1));
        let masks = v2020::select_masks(sizes.avg, Normalization::Level1);
        Self { sizes, masks, gear, gear_shifted, pending: Vec::new(), head: 0 }
    }

    /// The next bytes of the stream. `emit` is called with each chunk that is complete, in order. After an
    /// error the stream is lost: drop the chunker.
    pub fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let max = self.sizes.max;
        while !bytes.is_empty() {
            if self.waiting() == 0 && bytes.len() >= max {
                // A whole window is at hand: cut it where it lies, without a copy.
                let (chunk, rest) = bytes.split_at(self.cut(bytes));
                emit(chunk)?;
                bytes = rest;
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(max - self.waiting()));
            self.keep(now);
            bytes = rest;
            if self.waiting() == max {
                self.emit_one(emit)?;
            }
        }
        Ok(())
    }

    /// The end of the stream: emits what is left. An empty stream has no chunk.
    pub fn finish(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.waiting() > 0 {
            self.emit_one(emit)?;
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.pending.len() - self.head
    }

    /// Appends to `pending`. What waits is moved to the front only when there is no room behind it, that is once per
    /// largest chunk emitted: about every other byte moves. With a larger room fewer would, and nobody could measure it.
    fn keep(&mut self, bytes: &[u8]) {
        let room = self.sizes.max * 2;
        if self.pending.len() + bytes.len() > room {
            self.pending.copy_within(self.head.., 0);
            self.pending.truncate(self.pending.len() - self.head);
            self.head = 0;
        }
        // Small streams keep small buffers; large ones get all of it at once.
        if self.pending.capacity() < room && self.pending.len() + bytes.len() > self.pending.capacity() {
            let wanted = ((self.pending.len() + bytes.len()) * 2).min(room);
            self.pending.reserve_exact(wanted - self.pending.len());
        }
        self.pending.extend_from_slice(bytes);
    }

    fn emit_one(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let window = &self.pending[self.head..];
        let len = self.cut(window);
        emit(&window[..len])?;
        self.head += len;
        if self.waiting() == 0 {
            self.pending.clear();
            self.head = 0;
        }
        Ok(())
    }

    /// Length of the first chunk of `window`, which is not empty and is a largest chunk or the end of the stream.
    fn cut(&self, window: &[u8]) -> usize {
        let ChunkSizes { min, avg, max } = self.sizes;
        let (mask_s, mask_l) = self.masks;
        let (_, len) = v2020::cut_gear(
            window,
            min,
            avg,
            max,
            mask_s,
            mask_l,
            mask_s << 1,
            mask_l << 1,
            &self.gear[..],
            &self.gear_shifted[..],
        );
        len
    }
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunker({:?}, {} bytes waiting)", self.sizes, self.waiting())
    }
}

/// 256 numbers drawn from the seed: keyed BLAKE3 of nothing, read on as little-endian u64.
fn own_gear(seed: &GearSeed) -> Box<[u64; 256]> {
    let mut gear = Box::new([0; 256]);
    let mut reader = blake3::Hasher::new_keyed(&seed.0).finalize_xof();
    for number in gear.iter_mut() {
        let mut bytes = [0; 8];
        reader.fill(&mut bytes);
        *number = u64::from_le_bytes(bytes);
    }
    gear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VaultId;
    use crate::keys::{KeyRing, RootKey};
    use proptest::prelude::*;

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
        out
    }

    fn lens(sizes: ChunkSizes, seed: Option<&GearSeed>, data: &[u8], push: &[usize]) -> Vec<usize> {
        let (mut out, mut seen) = (Vec::new(), Vec::new());
        let mut emit = |chunk: &[u8]| {
            out.push(chunk.len());
            seen.extend_from_slice(chunk);
            Ok(())
        };
        let mut chunker = Chunker::new(sizes, seed);
        let (mut rest, mut sizes) = (data, push.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*sizes.next().expect("cycles")));
            chunker.push(now, &mut emit).expect("emits");
            assert!(chunker.pending.capacity() <= chunker.sizes.max * 2);
            rest = later;
        }
        chunker.finish(&mut emit).expect("emits");
        assert_eq!(seen, data);
        out
    }

    #[test]
    fn cuts_are_those_of_fastcdc() {
        let data = noise(1, 20_000_000);
        let s = ChunkSizes::STANDARD;
        let expected: Vec<usize> =
            v2020::FastCDC::new(&data, s.min, s.avg, s.max).map(|chunk| chunk.length).collect();
        assert!(expected.len() > 5);
        assert_eq!(lens(s, None, &data, &[65_536]), expected);
        assert_eq!(lens(s, None, &data, &[data.len()]), expected);
    }

    #[test]
    fn each_client_cuts_elsewhere() {
        let keys = KeyRing::new(&RootKey::new([1; 32]), VaultId([1; 16]));
        let data = noise(2, 100_000);
        let cuts = |name: &str| {
            let seed = keys.gear_seed(&name.parse().expect("valid"));
            lens(ChunkSizes::TINY, Some(&seed), &data, &[1000])
        };
        assert_eq!(cuts("a"), cuts("a"));
        assert_ne!(cuts("a"), cuts("b"));
        assert_ne!(cuts("a"), lens(ChunkSizes::TINY, None, &data, &[1000]));
        let average = data.len() / cuts("a").len();
        assert!((150..600).contains(&average), "{average}");
    }

    #[test]
    fn an_insertion_moves_only_what_is_near() {
        let data = noise(3, 200_000);
        let mut longer = data.clone();
        longer.splice(100_000..100_000, *b"inserted");
        let before = lens(ChunkSizes::TINY, None, &data, &[4096]);
        let after = lens(ChunkSizes::TINY, None, &longer, &[4096]);
        let same_end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(same_end > before.len() / 3, "{same_end} of {}", before.len());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (min, avg, max) in
            [(0, 256, 1024), (64, 128, 256), (64, 256, 255), (65, 256, 1024), (64, 256, 1 << 30)]
        {
            assert!(ChunkSizes::new(min, avg, max).is_err(), "{min} {avg} {max}");
        }
        assert_eq!(ChunkSizes::new(64, 256, 1024).expect("possible"), ChunkSizes::TINY);
    }

    #[test]
    fn an_error_of_the_taker_stops_the_stream() {
        let mut chunker = Chunker::new(ChunkSizes::TINY, None);
        let fault = chunker.push(&noise(4, 5000), &mut |_| Err(Fault::full("no room"))).expect_err("stops");
        assert_eq!(fault.what, "no room");
    }

    proptest! {
        #[test]
        fn cuts_do_not_depend_on_the_pushes(
            seed: u8,
            len in 0usize..20_000,
            zeros in 0usize..5_000,
            push in proptest::collection::vec(1usize..3000, 1..8),
        ) {
            let mut data = noise(seed, len);
            data.resize(len + zeros, 0);
            let expected: Vec<usize> =
                v2020::FastCDC::new(&data, 64, 256, 1024).map(|chunk| chunk.length).collect();
            prop_assert_eq!(lens(ChunkSizes::TINY, None, &data, &push), expected);
        }
    }
}
