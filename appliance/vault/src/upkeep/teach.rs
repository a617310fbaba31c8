//! The index taught again after it was burned, a bounded number of packs at a time.

use super::Did;
use crate::core::Core;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{ChunkId, PackId};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// Most packs taught to the index in one step: about a segment of it.
const TAUGHT_AT_ONCE: usize = 1_000;
/// No more packs are taken into a step that has this many chunks.
const CHUNKS_AT_ONCE: usize = 1 << 17;

impl Core {
    /// The index comes last: whatever is wrong with it, the rest does not wait.
    pub(super) fn upkeep_of_index(&self) -> Result<Did> {
        if self.index_doubted.swap(false, Ordering::Relaxed) {
            self.index_ready.store(false, Ordering::Relaxed);
            self.index.burn().map_err(|e| Fault::transient(e.to_string()))?;
        }
        match self.teach_index()? {
            0 => Ok(Did::Nothing),
            learnt => Ok(Did::Learnt(learnt)),
        }
    }

    /// Teaches the index the packs it lacks, a bounded number at a time. Returns how many.
    fn teach_index(&self) -> Result<usize> {
        if self.index_ready.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let known: HashSet<PackId> =
            self.index.packs().map_err(|e| Fault::transient(e.to_string()))?.into_iter().collect();
        let mut lacking: Vec<PackId> =
            self.with(|e| e.catalog().packs().map(|p| p.id).filter(|id| !known.contains(id)).collect());
        lacking.sort_unstable();
        self.index_lacking.store(lacking.len() as u64, Ordering::Relaxed);
        let (mut taught, mut chunks) = (Vec::new(), 0);
        for id in lacking {
            if taught.len() == TAUGHT_AT_ONCE || chunks >= CHUNKS_AT_ONCE {
                break;
            }
            let Some(pack) = self.with(|e| e.catalog().pack(&id).cloned()) else { continue };
            // A pack that cannot be read now is taught when it can be.
            if let Ok(entries) = self.toc(&pack) {
                chunks += entries.len();
                taught.push((id, entries.iter().map(|e| e.chunk).collect::<Vec<ChunkId>>()));
            }
        }
        let learnt = taught.len();
        self.index.learn_many(&taught).map_err(|e| Fault::transient(e.to_string()))?;
        if learnt == 0 {
            self.note_all_objects()?;
            self.index_ready.store(true, Ordering::Relaxed);
        }
        Ok(learnt)
    }

    fn note_all_objects(&self) -> Result<()> {
        let all: Vec<_> = self.with(|e| {
            let catalog = e.catalog();
            let of = |d| catalog.snapshots(d).iter().map(move |id| (d, *id));
            let noted = catalog.datasets().flat_map(of);
            noted.map(|(d, id)| (d.clone(), catalog.order(&id).unwrap_or(0), id)).collect()
        });
        for (dataset, order, id) in all {
            self.index.note_object(&dataset, order, id).map_err(|e| Fault::transient(e.to_string()))?;
        }
        Ok(())
    }
}
