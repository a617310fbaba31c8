//! Fuzzing of every parser: real samples, broken on purpose, and what must hold whatever comes.
//!
//! What a disk returns and what a stranger sends has no shape that can be relied on. Each parser of the project has a
//! [`Target`]: samples that the encoders make at run time, and a check. The check says whether the input was
//! *accepted* or *refused*, or names the promise that was broken: what was accepted and is written again must read as the
//! same value, offsets that follow from it lie within their bounds, and the memory taken is in proportion to the
//! input. A panic is a broken promise by itself.
//!
//! ```text
//!   samples ──▶ pool ──▶ mutate ──▶ mend the checksum (3 in 4) ──▶ check ──▶ new kind of answer? ──▶ into the pool
//!                ▲                                                   │
//!                └───────────────────────────────────────────────────┘ broken: shortened, kept, told
//! ```
//! The harness here runs on stable Rust within `cargo test`; inputs follow from a seed. It has no view of the branches
//! taken; what it has is the *kind of answer* (the refusal in words, or the shape of what was accepted), and inputs that
//! bring a new kind are kept and broken further. For hours of work by hand, `hw-tests/fuzz` runs the same targets under
//! libFuzzer, which sees branches. An input that broke a promise becomes a file in `hw-tests/fixtures/fuzz/TARGET/` and is
//! replayed first from then on.

pub mod bodies;
pub mod disk;
pub mod doors;
pub mod harness;
pub mod meter;
mod mutate;
pub mod packs;
pub mod text;

pub use harness::{Broken, Figures, fixtures, run, shorten};
pub use mutate::mutate;

use crate::rng::Rng;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a check made of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the parser took it.
    pub accepted: bool,
    /// Which kind of answer it was: inputs of a new kind are worth breaking further.
    pub kind: u64,
}

/// A parser and its promise.
#[derive(Clone, Copy)]
pub struct Target {
    /// A word: the name of its folder of fixtures, and of its libFuzzer target.
    pub name: &'static str,
    /// Real inputs, each of which must be accepted.
    pub samples: fn(&mut Rng) -> Vec<Vec<u8>>,
    /// `Err`: a promise is broken, and which.
    pub check: fn(&[u8]) -> Result<Answer, String>,
    /// Makes checksums right, so that what lies behind them is reached.
    pub mend: Option<fn(&mut [u8])>,
    /// Words that mean something to the parser.
    pub tokens: &'static [&'static [u8]],
    /// Longest input that is tried.
    pub max_len: usize,
    /// It gets one in so many inputs: above 1 for what is slow.
    pub one_in: u64,
    /// Memory that reading `len` bytes may take at its highest.
    pub memory: fn(usize) -> usize,
}

/// All targets.
pub fn targets() -> Vec<Target> {
    [disk::TARGETS, packs::TARGETS, text::TARGETS, doors::TARGETS, bodies::TARGETS].concat()
}

impl Target {
    /// The input as it came, and with its checksums mended: for whoever makes the inputs elsewhere.
    pub fn check_both(&self, input: &[u8]) -> Result<Answer, String> {
        let answer = (self.check)(input)?;
        let Some(mend) = self.mend else { return Ok(answer) };
        let mut mended = input.to_vec();
        mend(&mut mended);
        (self.check)(&mended)
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.name)
    }
}

/// The parser took it; `shape` is what makes one accepted input another kind than the next.
fn accepted(shape: impl Hash) -> Result<Answer, String> {
    Ok(Answer { accepted: true, kind: hash(&(true, shape)) })
}

/// The parser refused it, with these words. Digits in them are no new kind.
fn refused(why: &str) -> Result<Answer, String> {
    let words: String = why.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
    Ok(Answer { accepted: false, kind: hash(&(false, words)) })
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A promise, or which one is broken.
fn hold(holds: bool, promise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(promise.to_owned()) }
}

/// The usual ceiling: some hundred bytes per byte of input for what is made of it, and a base.
fn in_proportion(len: usize) -> usize {
    256 * len + (64 << 10)
}
