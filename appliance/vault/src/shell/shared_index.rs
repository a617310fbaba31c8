//! One index for all mounts of a run: opening its files twice is neither possible nor wanted.

use crate::ports::{ChunkHint, Index, IndexError};
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use std::sync::Arc;

/// A share of the index.
#[derive(Debug)]
pub(super) struct SharedIndex(pub Arc<dyn Index>);

type IndexResult<T> = Result<T, IndexError>;

impl Index for SharedIndex {
    fn chunk(&self, id: &ChunkId) -> IndexResult<Option<ChunkHint>> {
        self.0.chunk(id)
    }
    fn learn(&self, pack: PackId, chunks: &[ChunkId]) -> IndexResult<()> {
        self.0.learn(pack, chunks)
    }
    fn learn_many(&self, packs: &[(PackId, Vec<ChunkId>)]) -> IndexResult<()> {
        self.0.learn_many(packs)
    }
    fn forget(&self, pack: PackId) -> IndexResult<()> {
        self.0.forget(pack)
    }
    fn packs(&self) -> IndexResult<Vec<PackId>> {
        self.0.packs()
    }
    fn note_object(&self, dataset: &DatasetRef, order: u64, id: ObjectId) -> IndexResult<()> {
        self.0.note_object(dataset, order, id)
    }
    fn objects(&self, dataset: &DatasetRef) -> IndexResult<Vec<ObjectId>> {
        self.0.objects(dataset)
    }
    fn in_place(&self) -> bool {
        self.0.in_place()
    }
    fn burn(&self) -> IndexResult<()> {
        self.0.burn()
    }
}
