//! The erasure code: parity out of data, and any shard out of any k others. It repairs, it never detects.
//!
//! The code is the well-known systematic Reed-Solomon over GF(2^8) of Backblaze and klauspost (a Vandermonde
//! matrix made systematic), so shards can be put together again without this program. The
//! `reed-solomon-erasure` crate owns the matrix and is the oracle of the tests; a [`Recipe`] has the coefficients of
//! what is wanted, and a [`Kernel`] does the work on bytes with the best instructions the processor has.
//!
//! Each byte depends only on the bytes at the same offset of other shards: any equal ranges of shards can be
//! encoded or reconstructed alone. Bytes must be verified before they come here, a wrong one spreads.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod columns;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod recipe;
#[cfg(target_arch = "x86_64")]
mod ssse3;
mod tables;

pub use kernel::Kernel;
pub use recipe::Recipe;

use crate::fault::{Fault, Result};
use crate::geometry::{Geometry, MAX_DISKS};

/// The m parity shards of k equally long data shards (or ranges of them).
pub fn encode(geometry: Geometry, data: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let len = data.first().map_or(0, |shard| shard.len());
    let mut parity = vec![vec![0; len]; geometry.m()];
    let mut out: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    encode_into(geometry, data, &mut out)?;
    Ok(parity)
}

/// As [`encode`], into m ranges that are given.
pub fn encode_into(geometry: Geometry, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<()> {
    Recipe::parity(geometry)?.make(data, parity)
}

/// Shard `want` (or a range of it) out of any k `present` ones, given as (shard number, bytes). More than k are
/// allowed. [`Class::Permanent`](crate::fault::Class::Permanent) when there are fewer than k.
pub fn reconstruct_one(geometry: Geometry, present: &[(usize, &[u8])], want: usize) -> Result<Vec<u8>> {
    let mut out = vec![0; present.first().map_or(0, |(_, bytes)| bytes.len())];
    reconstruct_into(geometry, present, want, &mut out)?;
    Ok(out)
}

/// As [`reconstruct_one`], into `out`.
pub fn reconstruct_into(
    geometry: Geometry,
    present: &[(usize, &[u8])],
    want: usize,
    out: &mut [u8],
) -> Result<()> {
    reconstruct_many_into(geometry, present, &[want], &mut [out])
}

/// Several shards (or equal ranges of them) out of the same k `present` ones, in one pass over those. `out` has one
/// place for each of the `wanted`, in their order; what is present itself is copied.
pub fn reconstruct_many_into(
    geometry: Geometry,
    present: &[(usize, &[u8])],
    wanted: &[usize],
    out: &mut [&mut [u8]],
) -> Result<()> {
    let mut by_number: [Option<&[u8]>; MAX_DISKS] = [None; MAX_DISKS];
    let len = present.first().map_or(0, |(_, bytes)| bytes.len());
    for (number, bytes) in present {
        if *number >= geometry.width() || bytes.len() != len || by_number[*number].replace(bytes).is_some() {
            return Err(Fault::misuse(format!(
                "shard {number} does not fit {geometry}, the others or a length"
            )));
        }
    }
    if wanted.len() != out.len() || out.iter().any(|range| range.len() != len) {
        return Err(Fault::misuse("not one place for each wanted shard, or not all of one length"));
    }
    let mut numbers = Vec::with_capacity(wanted.len());
    let mut places = Vec::with_capacity(wanted.len());
    for (want, place) in wanted.iter().zip(out) {
        match by_number.get(*want).copied().flatten() {
            Some(bytes) => place.copy_from_slice(bytes),
            None => {
                numbers.push(*want);
                places.push(&mut **place);
            }
        }
    }
    if numbers.is_empty() {
        return Ok(());
    }
    let (used, sources): (Vec<usize>, Vec<&[u8]>) =
        (0..).zip(by_number).filter_map(|(number, bytes)| Some((number, bytes?))).take(geometry.k()).unzip();
    Recipe::new(geometry, &used, &numbers)?.make(&sources, &mut places)
}

/// Fills in every shard that is `None`. There must be k + m places, and at least k of them filled.
pub fn reconstruct(geometry: Geometry, shards: &mut [Option<Vec<u8>>]) -> Result<()> {
    if shards.len() != geometry.width() {
        return Err(Fault::misuse(format!("{} shards are not {geometry}", shards.len())));
    }
    let missing: Vec<usize> = (0..shards.len()).filter(|n| shards[*n].is_none()).collect();
    let len = shards.iter().flatten().next().map_or(0, Vec::len);
    let mut made = vec![vec![0; len]; missing.len()];
    {
        let present: Vec<(usize, &[u8])> =
            shards.iter().enumerate().filter_map(|(n, shard)| Some((n, shard.as_deref()?))).collect();
        let mut out: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
        reconstruct_many_into(geometry, &present, &missing, &mut out)?;
    }
    for (number, bytes) in missing.into_iter().zip(made) {
        shards[number] = Some(bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
