//! BLAKE3 of bytes that come in pieces of any length, handed to it in steps that fill the widest vectors.
//!
//! It hashes sixteen of its blocks of 1024 bytes side by side, if they are at hand and begin at a multiple of so many. What comes in
//! pieces of 16 KiB that begin anywhere took twice as long.

use blake3::Hasher;

/// What is hashed at once with the widest vectors, in bytes.
const STEP: usize = 16 * 1024;

/// See the module.
pub struct Steps {
    hasher: Hasher,
    /// The beginning of a step.
    seam: Box<[u8; STEP]>,
    filled: usize,
}

impl Steps {
    /// Hashes on with `hasher`, which has seen nothing yet.
    pub fn new(hasher: Hasher) -> Self {
        Self { hasher, seam: Box::new([0; STEP]), filled: 0 }
    }

    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) -> &mut Self {
        if self.filled > 0 {
            let (now, rest) = bytes.split_at(bytes.len().min(STEP - self.filled));
            self.keep(now);
            bytes = rest;
            if self.filled < STEP {
                return self;
            }
            self.hasher.update(&self.seam[..]);
            self.filled = 0;
        }
        let (whole, rest) = bytes.split_at(bytes.len() / STEP * STEP);
        self.hasher.update(whole);
        self.keep(rest);
        self
    }

    /// The hash of all bytes so far.
    pub fn finalize(&self) -> blake3::Hash {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.seam[..self.filled]).finalize()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.seam[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }
}

impl Default for Steps {
    /// The plain hash, without a key.
    fn default() -> Self {
        Self::new(Hasher::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_hash_does_not_depend_on_the_pieces(
            len in 0usize..200_000,
            pieces in proptest::collection::vec(0usize..40_000, 1..8),
        ) {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let mut steps = Steps::default();
            let (mut rest, mut pieces) = (&bytes[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*pieces.next().expect("cycles") + 1));
                steps.update(now);
                rest = later;
            }
            prop_assert_eq!(steps.finalize(), blake3::hash(&bytes));
        }
    }
}
