//! How fast the stored index is: `cargo bench -p coffre-rig --bench index_speed [-- PACKS]`.
#![allow(clippy::print_stdout)]

use coffre_core::ids::{ChunkId, PackId};
use coffre_rig::rng::Rng;
use coffre_vault::index::StoredIndex;
use coffre_vault::ports::Index;
use std::path::Path;
use std::time::Instant;

/// About a full pack of 1 MiB chunks that compress a little.
const CHUNKS_PER_PACK: u64 = 80;
const LOOKUPS: u64 = 200_000;

fn main() -> anyhow::Result<()> {
    let packs: u64 = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_500);
    let total = packs * CHUNKS_PER_PACK;
    let dir = tempfile::tempdir()?;
    let index = StoredIndex::open(dir.path())?.index;
    timed("chunks learnt", total, || {
        for n in 0..packs {
            let chunks: Vec<_> = (n * CHUNKS_PER_PACK..(n + 1) * CHUNKS_PER_PACK).map(chunk).collect();
            index.learn(PackId(u128::from(n + 1).to_be_bytes()), &chunks)?;
        }
        Ok(())
    })?;
    let mut rng = Rng::new(1);
    timed("lookups of known chunks", LOOKUPS, || {
        let found =
            (0..LOOKUPS).map(|_| index.chunk(&chunk(rng.below(total)))).filter(|h| matches!(h, Ok(Some(_))));
        anyhow::ensure!(found.count() as u64 == LOOKUPS, "a chunk was not found");
        Ok(())
    })?;
    timed("lookups of unknown chunks", LOOKUPS, || {
        let found =
            (total..total + LOOKUPS).map(|n| index.chunk(&chunk(n))).filter(|h| !matches!(h, Ok(None)));
        anyhow::ensure!(found.count() == 0, "a chunk was found that never was");
        Ok(())
    })?;
    println!("{packs} packs, {total} chunks, {} bytes on the medium", bytes_in(dir.path())?);
    Ok(())
}

fn chunk(n: u64) -> ChunkId {
    let mut id = [0; 32];
    Rng::new(n).fill(&mut id);
    ChunkId(id)
}

fn timed(what: &str, count: u64, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = Instant::now();
    work()?;
    println!("{what}: {:.0} per second", count as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn bytes_in(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let inside = entry.file_type()?.is_dir();
        bytes += if inside { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
