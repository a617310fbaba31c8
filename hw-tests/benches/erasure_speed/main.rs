//! How fast the erasure code is beside others: `cargo bench -p coffre-rig --bench erasure_speed [-- ROUNDS]`.
//!
//! One core. Every contender does the same job on the same bytes, in turns: ratios hold on a
//! machine that is busy, figures in GB/s do not. The yardstick is ISA-L (Debian's `libisal2`), with the
//! same coefficients, and its results must be the same bytes; beside it the crate alone, and a plain copy of the sources.
//! Ranges are once such as fit the second cache, as when packs are encoded, and once whole shards of 8 MiB.
#![allow(clippy::print_stdout)]

mod isal;
mod race;

use coffre_core::erasure::{Kernel, Recipe};
use coffre_core::geometry::Geometry;
use coffre_rig::rng::Rng;
use isal::{Isal, Tables};
use race::{CRATE, ISAL, MEMCPY, Race};
use reed_solomon_erasure::galois_8::ReedSolomon;
use std::hint::black_box;

/// Length of a range of each shard, in bytes.
const LENGTHS: &[(&str, usize)] = &[("16 KiB", 16 << 10), ("8 MiB", 8 << 20)];
const GEOMETRIES: &[(u8, u8)] = &[(4, 2), (6, 2), (2, 1)];
const DEFAULT_ROUNDS: usize = 15;

fn main() -> anyhow::Result<()> {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(DEFAULT_ROUNDS);
    let isal = Isal::load();
    if let Err(why) = &isal {
        println!("NOT compared with ISA-L ({why}); install it with: apt-get install libisal2");
    }
    let isal = isal.ok();
    println!(
        "kernels: {:?}; GB/s of sources, medians of {rounds} rounds; × is the first beside that one",
        Kernel::all_here()
    );
    for (k, m) in GEOMETRIES {
        for (size, len) in LENGTHS {
            let shards = Shards::new(Geometry::new(*k, *m)?, *len)?;
            for lost in [0, 1, usize::from(*m)].into_iter().take(1 + usize::from(*m)) {
                shards.race(lost, size, isal.as_ref(), rounds)?;
            }
        }
    }
    Ok(())
}

/// A stripe of all shards, whole.
struct Shards {
    geometry: Geometry,
    all: Vec<Vec<u8>>,
}

impl Shards {
    fn new(geometry: Geometry, len: usize) -> anyhow::Result<Self> {
        let mut rng = Rng::new(len as u64);
        let mut all = vec![vec![0; len]; geometry.k()];
        all.iter_mut().for_each(|shard| rng.fill(shard));
        let data: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let parity = coffre_core::erasure::encode(geometry, &data)?;
        all.extend(parity);
        Ok(Self { geometry, all })
    }

    /// Encoding (`lost` is 0) or reconstructing the first `lost` shards, by everybody in turns.
    fn race(&self, lost: usize, size: &str, isal: Option<&Isal>, rounds: usize) -> anyhow::Result<()> {
        let g = self.geometry;
        let (wanted, present): (Vec<usize>, Vec<usize>) = match lost {
            0 => ((g.k()..g.width()).collect(), (0..g.k()).collect()),
            lost => ((0..lost).collect(), (lost..lost + g.k()).collect()),
        };
        let sources: Vec<&[u8]> = present.iter().map(|n| self.all[*n].as_slice()).collect();
        let expected: Vec<&[u8]> = wanted.iter().map(|n| self.all[*n].as_slice()).collect();
        let recipe = Recipe::new(g, &present, &wanted)?;
        let mut race = Race::new(g.k(), self.all[0].len());
        let with = |kernel| {
            let (recipe, sources, count) = (recipe.clone().with(kernel), &sources, wanted.len());
            move |out: &mut [Vec<u8>]| {
                let mut out: Vec<&mut [u8]> = out.iter_mut().take(count).map(Vec::as_mut_slice).collect();
                recipe.make(black_box(sources), &mut out).is_ok()
            }
        };
        let best = Kernel::best();
        race.enter(&format!("{best:?}"), with(best));
        if let Some(isal) = isal {
            let tables = Tables::new(isal, g.k(), &coefficients(&recipe, g.k(), wanted.len()));
            let (sources, expected) = (&sources, &expected);
            let mut checked = false;
            race.enter(ISAL, move |out| {
                let out = &mut out[..expected.len()];
                tables.make(black_box(sources), out);
                let first = !std::mem::replace(&mut checked, true);
                !first || out == expected
            });
        }
        race.enter(CRATE, self.crate_alone(lost)?);
        race.enter(MEMCPY, |out| {
            out.iter_mut().zip(black_box(&sources)).for_each(|(to, from)| to.copy_from_slice(from));
            true
        });
        race.enter("prove", |_| matches!(recipe.confirms(black_box(&sources), &expected), Ok(true)));
        for kernel in Kernel::all_here().into_iter().filter(|kernel| *kernel != best) {
            race.enter(&format!("{kernel:?}"), with(kernel));
        }
        let job = match lost {
            0 => format!("{g} encode, {size}"),
            lost => format!("{g} reconstruct {lost}, {size}"),
        };
        race.run(&job, rounds)
    }

    /// The crate through its own interface, which wants the shards in vectors of its own when it reconstructs.
    fn crate_alone(&self, lost: usize) -> anyhow::Result<impl FnMut(&mut [Vec<u8>]) -> bool + 'static> {
        let g = self.geometry;
        let codec = ReedSolomon::new(g.k(), g.m()).map_err(|e| anyhow::anyhow!("{e}"))?;
        let mut shards: Vec<(Vec<u8>, bool)> = self.all.iter().map(|shard| (shard.clone(), true)).collect();
        let data: Vec<Vec<u8>> = self.all[..g.k()].to_vec();
        Ok(move |out: &mut [Vec<u8>]| {
            if lost == 0 {
                return codec.encode_sep(black_box(&data), &mut out[..g.m()]).is_ok();
            }
            shards.iter_mut().take(lost).for_each(|(_, present)| *present = false);
            codec.reconstruct_data(black_box(&mut shards)).is_ok()
        })
    }
}

/// The recipe's coefficients, row by row, learnt from unit vectors.
fn coefficients(recipe: &Recipe, k: usize, rows: usize) -> Vec<u8> {
    let units: Vec<Vec<u8>> = (0..k).map(|i| (0..k).map(|j| u8::from(i == j)).collect()).collect();
    let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
    let mut made = vec![0; k * rows];
    recipe.make(&units, &mut made.chunks_exact_mut(k).collect::<Vec<_>>()).expect("unit vectors fit");
    made
}
