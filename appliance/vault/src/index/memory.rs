//! An index in memory: for runs that last seconds, and for a box whose system medium takes no more files.

use crate::ports::{ChunkHint, Index, IndexError};
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An honest index without a memory beyond the process. About 60 bytes per chunk.
#[derive(Debug, Default)]
pub struct MemIndex(RwLock<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    chunks: HashMap<ChunkId, ChunkHint>,
    packs: BTreeSet<PackId>,
    objects: BTreeMap<DatasetRef, BTreeMap<u64, ObjectId>>,
}

impl MemIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another index that knows the same.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(RwLock::new(self.read().clone()))
    }

    /// Knows from now on what `other` knows.
    pub fn become_copy_of(&self, other: &Self) {
        let known = other.read().clone();
        *self.write() = known;
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemIndex {
    fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkHint>, IndexError> {
        let known = self.read();
        Ok(known.chunks.get(id).copied().filter(|hint| known.packs.contains(&hint.pack)))
    }

    fn learn(&self, pack: PackId, chunks: &[ChunkId]) -> Result<(), IndexError> {
        let known = &mut *self.write();
        known.chunks.extend(chunks.iter().zip(0..).map(|(id, position)| (*id, ChunkHint { pack, position })));
        known.packs.insert(pack);
        Ok(())
    }

    fn forget(&self, pack: PackId) -> Result<(), IndexError> {
        let known = &mut *self.write();
        if known.packs.remove(&pack) {
            known.chunks.retain(|_, hint| hint.pack != pack);
        }
        Ok(())
    }

    fn packs(&self) -> Result<Vec<PackId>, IndexError> {
        Ok(self.read().packs.iter().copied().collect())
    }

    fn note_object(&self, dataset: &DatasetRef, order: u64, id: ObjectId) -> Result<(), IndexError> {
        self.write().objects.entry(dataset.clone()).or_default().insert(order, id);
        Ok(())
    }

    fn objects(&self, dataset: &DatasetRef) -> Result<Vec<ObjectId>, IndexError> {
        Ok(self.read().objects.get(dataset).map(|o| o.values().copied().collect()).unwrap_or_default())
    }

    fn burn(&self) -> Result<(), IndexError> {
        *self.write() = Known::default();
        Ok(())
    }
}
