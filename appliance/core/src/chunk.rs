//! Cutting a stream where its content says so, so that an insertion moves only the chunks around it.
//!
//! FastCDC (the `fastcdc` crate's 2020 variant): a rolling hash over a table of 256 numbers decides where to cut.
//! With the public table, somebody who sees the lengths of chunks can recognise known files; so each client has a
//! table of its own, drawn from its seed, and the lengths are sealed besides (`pack.rs`).
//!
//! Bytes are pushed in as they come. A cut is looked for only when a whole largest chunk is at hand or the
//! stream has ended, so where it falls depends on the content alone, never on the size of the pushes.
//!
//! Nor does it depend on what is known already: a taker may recognise the chunk at the front ([`Taker::recognise`]), which saves
//! the rolling hash over it and the copy, but the same bytes end where they would have ended, as long as what it knows was cut
//! here too, or is shorter than the smallest chunk.

use crate::fault::{Fault, Result};
use crate::keys::GearSeed;
use crate::squeeze::MAX_CHUNK_LEN;
use crate::window::Window;
use ::bytes::Bytes;
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

    /// Smallest chunk but for the last of a stream, in bytes.
    pub const fn min(self) -> usize {
        self.min
    }

    /// Largest chunk, in bytes.
    pub fn max(self) -> usize {
        self.max
    }
}

const _: () = assert!(ChunkSizes::STANDARD.max <= MAX_CHUNK_LEN);
const _: () = assert!(ChunkSizes::STANDARD.avg <= v2020::AVERAGE_MAX);

/// Who takes the chunks of a stream. Closures take them as they are cut.
pub trait Taker {
    /// The next chunk.
    fn take(&mut self, chunk: &[u8]) -> Result<()>;

    /// Asked before an end is looked for, which costs more than to recognise what is known: whoever expects a certain chunk next
    /// and finds it there takes it and says its length. Where the end is must not change: [`Front::may_end_at`] says no to
    /// nearly all that is not one. After `None`, [`take`](Self::take) is called with the chunk that begins here.
    fn recognise(&mut self, front: Front<'_>) -> Result<Option<usize>> {
        let _ = front;
        Ok(None)
    }
}

impl<F: FnMut(&[u8]) -> Result<()>> Taker for F {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        self(chunk)
    }
}

/// Whether a chunk of a certain length may be at the front of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The content says that it ends there.
    ByContent,
    /// It is as long as one may be, or the stream ends there: that says nothing of the content.
    ByLength,
    /// It does not end there.
    Nowhere,
}

/// What waits to be cut: at least a largest chunk, or all that is left.
pub struct Front<'a> {
    cutter: &'a Cutter,
    window: &'a Window,
}

impl<'a> Front<'a> {
    /// Whether the first chunk may have this length. An earlier end is not looked for: who takes a chunk that was cut out of the
    /// same bytes knows that there is none.
    pub fn may_end_at(&self, len: usize) -> End {
        let ChunkSizes { min, avg, max } = self.cutter.sizes;
        let there = self.window.len().min(max);
        if len == there {
            return End::ByLength;
        }
        // The byte behind the end is the last that decides; bytes are looked at in pairs.
        let stop = (len + 2) & !1;
        if len <= min || stop > there {
            return End::Nowhere;
        }
        // More than 64 bytes before have left the hash.
        let start = len.saturating_sub(CONTEXT).max(min) & !1;
        let mut context = [0; CONTEXT + 4];
        let context = &mut context[..stop - start];
        self.window.copy_out(start, context);
        let sizes = ChunkSizes { min: 0, avg: avg.saturating_sub(start), max: max - start };
        let found = self.cutter.cut_by(sizes, context);
        if start + found == len { End::ByContent } else { End::Nowhere }
    }

    /// The first `len` bytes, piece by piece.
    pub fn pieces(&self, len: usize) -> impl Iterator<Item = &'a [u8]> {
        self.window.pieces(len)
    }
}

/// How many bytes before an end decide it: each shifts the hash of 64 bits by one.
const CONTEXT: usize = 66;

/// A stream being cut. Holds a largest chunk in the buffers that were pushed, or copied into two largest ones where buffers end
/// within a chunk.
pub struct Chunker {
    cutter: Cutter,
    window: Window,
}

/// Where chunks end.
struct Cutter {
    sizes: ChunkSizes,
    masks: (u64, u64),
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
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
        Self { cutter: Cutter { sizes, masks, gear, gear_shifted }, window: Window::default() }
    }

    /// The next bytes of the stream. `taker` is given each chunk that is complete, in order. After an error the stream is lost:
    /// drop the chunker.
    pub fn push(&mut self, bytes: Bytes, taker: &mut dyn Taker) -> Result<()> {
        let max = self.cutter.sizes.max;
        self.window.push(bytes);
        while self.window.len() >= max {
            self.hand_on(taker)?;
        }
        Ok(())
    }

    /// The end of the stream: what is left is given out. An empty stream has no chunk.
    pub fn finish(&mut self, taker: &mut dyn Taker) -> Result<()> {
        while !self.window.is_empty() {
            self.hand_on(taker)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, taker: &mut dyn Taker) -> Result<()> {
        let Self { cutter, window } = self;
        let max = cutter.sizes.max;
        let len = match taker.recognise(Front { cutter, window })? {
            Some(len) => len,
            None => {
                let front = window.flatten(window.len().min(max), max * 2);
                let len = cutter.cut(front);
                taker.take(&front[..len])?;
                len
            }
        };
        window.consume(len);
        Ok(())
    }
}

impl Cutter {
    /// Length of the first chunk of `front`, which is not empty and is a largest chunk or the end of the stream.
    fn cut(&self, front: &[u8]) -> usize {
        self.cut_by(self.sizes, front)
    }

    fn cut_by(&self, ChunkSizes { min, avg, max }: ChunkSizes, front: &[u8]) -> usize {
        let (mask_s, mask_l) = self.masks;
        let (_, len) = v2020::cut_gear(
            front,
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
        write!(f, "Chunker({:?}, {} bytes waiting)", self.cutter.sizes, self.window.len())
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
        let mut emit = |chunk: &[u8]| -> Result<()> {
            out.push(chunk.len());
            seen.extend_from_slice(chunk);
            Ok(())
        };
        let mut chunker = Chunker::new(sizes, seed);
        let (mut rest, mut sizes) = (data, push.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*sizes.next().expect("cycles")));
            chunker.push(Bytes::copy_from_slice(now), &mut emit).expect("emits");
            assert!(chunker.window.flat_capacity() <= chunker.cutter.sizes.max * 2);
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
        let mut no_room = |_: &[u8]| -> Result<()> { Err(Fault::full("no room")) };
        let fault = chunker.push(noise(4, 5000).into(), &mut no_room).expect_err("stops");
        assert_eq!(fault.what, "no room");
    }

    /// Takes what begins like a chunk that it has seen, and counts how often.
    struct Knowing {
        known: Vec<Vec<u8>>,
        recognised: usize,
        lens: Vec<usize>,
    }

    impl Taker for Knowing {
        fn take(&mut self, chunk: &[u8]) -> Result<()> {
            self.lens.push(chunk.len());
            Ok(())
        }

        fn recognise(&mut self, front: Front<'_>) -> Result<Option<usize>> {
            let is_there = |chunk: &&Vec<u8>| {
                front.may_end_at(chunk.len()) != End::Nowhere
                    && front.pieces(chunk.len()).collect::<Vec<_>>().concat() == **chunk
            };
            let len = self.known.iter().find(is_there).map(Vec::len);
            self.recognised += usize::from(len.is_some());
            self.lens.extend(len);
            Ok(len)
        }
    }

    /// Cuts `data` by a taker that knows the chunks of `before`.
    fn lens_knowing(sizes: ChunkSizes, before: &[u8], data: &[u8], push: &[usize]) -> (Vec<usize>, usize) {
        let mut known = Vec::new();
        let mut keep = |chunk: &[u8]| -> Result<()> {
            known.push(chunk.to_vec());
            Ok(())
        };
        let mut chunker = Chunker::new(sizes, None);
        chunker.push(Bytes::copy_from_slice(before), &mut keep).expect("takes");
        chunker.finish(&mut keep).expect("takes");
        let mut taker = Knowing { known, recognised: 0, lens: Vec::new() };
        let mut chunker = Chunker::new(sizes, None);
        let (mut rest, mut sizes) = (data, push.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*sizes.next().expect("cycles")));
            chunker.push(Bytes::copy_from_slice(now), &mut taker).expect("takes");
            rest = later;
        }
        chunker.finish(&mut taker).expect("takes");
        (taker.lens, taker.recognised)
    }

    #[test]
    fn what_is_known_is_recognised() {
        let push = [70_000, 5_000, 30];
        let data = noise(5, 20_000_000);
        let (cut, recognised) = lens_knowing(ChunkSizes::STANDARD, &data, &data, &push);
        assert_eq!(recognised, cut.len());
        // Where ends are frequent, the hash of the bytes before one often meets another that is none.
        let (cut, recognised) = lens_knowing(ChunkSizes::TINY, &data[..200_000], &data[..200_000], &push);
        assert!(recognised * 4 > cut.len() * 3, "{recognised} of {}", cut.len());
    }

    proptest! {
        /// Whoever knows chunks cuts like one who does not: after an insertion, a removal, a change, or at another end.
        #[test]
        fn cuts_do_not_depend_on_what_is_known(
            seed: u8,
            len in 0usize..20_000,
            zeros in 0usize..3_000,
            at in 0usize..20_000,
            removed in 0usize..2_000,
            inserted in proptest::collection::vec(any::<u8>(), 0..300),
            shorter in 0usize..2_000,
            push in proptest::collection::vec(1usize..9_000, 1..8),
        ) {
            let mut before = noise(seed, len);
            before.resize(len + zeros, 0);
            let mut data = before.clone();
            let at = at.min(data.len());
            data.splice(at..(at + removed).min(data.len()), inserted);
            data.truncate(data.len().saturating_sub(shorter));
            let (cut, _) = lens_knowing(ChunkSizes::TINY, &before, &data, &push);
            prop_assert_eq!(cut, lens(ChunkSizes::TINY, None, &data, &push));
        }

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
