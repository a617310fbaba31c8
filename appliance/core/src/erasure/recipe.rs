//! Recipes: the coefficients of some shards over k others, asked of the crate once and used on many ranges.
//!
//! The `reed-solomon-erasure` crate owns the matrix; here it is asked for nothing but coefficients: every shard is a
//! sum `c0·s0 + c1·s1 + …` over any k others, and the c of one byte are those of all. Asking with unit vectors gives
//! them, the rows of the inverted matrix; they are kept, and all work on real bytes is a kernel's.

use super::kernel::{Kernel, MAX_OUTPUTS, Row};
use crate::fault::{Fault, Result};
use crate::geometry::{Geometry, MAX_DISKS};
use reed_solomon_erasure::galois_8::ReedSolomon;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// How some shards are made of k others, whatever the range.
#[derive(Clone, Debug)]
pub struct Recipe {
    geometry: Geometry,
    rows: Vec<Row>,
    kernel: Kernel,
}

impl Recipe {
    /// All parity shards, in their order, out of all data shards, in theirs.
    pub fn parity(geometry: Geometry) -> Result<Self> {
        let data: Vec<usize> = (0..geometry.k()).collect();
        let parity: Vec<usize> = (geometry.k()..geometry.width()).collect();
        Self::new(geometry, &data, &parity)
    }

    /// The `wanted` shards out of exactly k `present` ones, both by number and in the order in which their bytes will be
    /// given. [`Class::Permanent`](crate::fault::Class::Permanent) when there are fewer than k.
    pub fn new(geometry: Geometry, present: &[usize], wanted: &[usize]) -> Result<Self> {
        if let Some(none) = present.iter().chain(wanted).find(|number| **number >= geometry.width()) {
            return Err(Fault::misuse(format!("there is no shard {none} in {geometry}")));
        }
        let mask = present.iter().fold(0u8, |mask, number| mask | 1 << number);
        if mask.count_ones() as usize != present.len() || present.len() > geometry.k() {
            return Err(Fault::misuse(format!("{present:?} are not {} different shards", geometry.k())));
        }
        if present.len() < geometry.k() {
            let left = present.len();
            let why = format!("{left} shards are not enough to rebuild one of {geometry}");
            return Err(Fault::permanent(why));
        }
        if wanted.len() > MAX_OUTPUTS {
            return Err(Fault::misuse(format!("{} shards at once are too many", wanted.len())));
        }
        let mut rows = vec![[0; MAX_DISKS]; wanted.len()];
        for (ordered, want) in rows.iter_mut().zip(wanted) {
            let row = row(geometry, mask, *want)?;
            for (coefficient, number) in ordered.iter_mut().zip(present) {
                // Coefficients come in ascending order of the shards' numbers.
                *coefficient = row[(mask & ((1 << number) - 1)).count_ones() as usize];
            }
        }
        Ok(Self { geometry, rows, kernel: Kernel::best() })
    }

    /// The same with another kernel: for tests and measurements.
    pub fn with(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Makes the wanted shards (or equal ranges of them), in one pass over the sources.
    pub fn make(&self, sources: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<()> {
        self.fits(sources, outputs.len(), outputs.iter().map(|output| output.len()))?;
        // Without parity there is nothing to make.
        if !outputs.is_empty() {
            self.kernel.multiply(&self.rows, sources, outputs);
        }
        Ok(())
    }

    /// Makes them in registers only, and says whether they are what is `expected`. Memory is read and not written.
    pub fn confirms(&self, sources: &[&[u8]], expected: &[&[u8]]) -> Result<bool> {
        self.fits(sources, expected.len(), expected.iter().map(|range| range.len()))?;
        Ok(expected.is_empty() || self.kernel.matches(&self.rows, sources, expected))
    }

    fn fits(&self, sources: &[&[u8]], outputs: usize, mut lens: impl Iterator<Item = usize>) -> Result<()> {
        let len = sources.first().map_or(0, |source| source.len());
        let numbers_fit = sources.len() == self.geometry.k() && outputs == self.rows.len();
        if numbers_fit && sources.iter().all(|source| source.len() == len) && lens.all(|other| other == len) {
            return Ok(());
        }
        Err(Fault::misuse(format!(
            "{} sources and {outputs} results are not {} and {}, or not of one length",
            sources.len(),
            self.geometry.k(),
            self.rows.len()
        )))
    }
}

/// The coefficients of shard `want` over the k shards in `mask`, in ascending order of their numbers. At most 36
/// geometries × 256 masks × 8 shards are ever kept.
fn row(geometry: Geometry, mask: u8, want: usize) -> Result<Row> {
    type Rows = Mutex<HashMap<(Geometry, u8, usize), Row>>;
    static ROWS: OnceLock<Rows> = OnceLock::new();
    let rows = ROWS.get_or_init(Rows::default);
    let key = (geometry, mask, want);
    // A thread that panicked here left a map that is whole: rows are only ever added.
    if let Some(row) = rows.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(*row);
    }
    let row = solve(geometry, mask, want)?;
    rows.lock().unwrap_or_else(PoisonError::into_inner).insert(key, row);
    Ok(row)
}

/// Asks the crate: when the i-th present shard is the i-th unit vector, the wanted one is its own coefficients.
fn solve(geometry: Geometry, mask: u8, want: usize) -> Result<Row> {
    let k = geometry.k();
    let failed = |e| Fault::permanent(format!("erasure code {geometry}: {e}"));
    let codec = ReedSolomon::new(k, geometry.m()).map_err(failed)?;
    let mut units = (0..k).map(|i| (0..k).map(|j| u8::from(i == j)).collect::<Vec<u8>>());
    let mut shards: Vec<Option<Vec<u8>>> =
        (0..geometry.width()).map(|n| if mask >> n & 1 == 1 { units.next() } else { None }).collect();
    codec.reconstruct(&mut shards).map_err(failed)?;
    let mut row = [0; MAX_DISKS];
    let wanted =
        shards[want].as_ref().ok_or_else(|| Fault::permanent(format!("no shard {want} came back")))?;
    row[..k].copy_from_slice(wanted);
    Ok(row)
}
