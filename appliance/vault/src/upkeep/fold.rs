//! Small payloads leave the journal: they are folded into a pack of their class.

use crate::core::Core;
use coffre_core::fact::{Body, Fact, ObjectFact};
use coffre_core::fault::Result;
use coffre_core::ids::PackId;
use coffre_core::manifest::{ChunkRef, Manifest};
use coffre_core::pack::PackBuilder;
use coffre_core::squeeze::{Squeezer, squeeze};

/// Most inline objects folded in one step: their facts share one record.
const FOLD_AT_ONCE: usize = 4096;

impl Core {
    /// Moves inline payloads into a pack of their class; facts and pack stand in one record. Returns how many.
    pub fn fold(&self) -> Result<usize> {
        let objects: Vec<ObjectFact> =
            self.with(|e| e.catalog().inline_objects().take(FOLD_AT_ONCE).cloned().collect());
        let Some(class) = objects.first().map(|o| o.class) else { return Ok(0) };
        let mut builder = PackBuilder::new(PackId(self.random()), class, &self.keys);
        let mut squeezer = Squeezer::new()?;
        let mut facts = Vec::new();
        for object in objects.iter().filter(|o| o.class == class) {
            let Body::Inline(bytes) = &object.body else { continue };
            if builder.body_len() >= self.limits.pack_target {
                break;
            }
            let chunk = self.keys.chunk_id(&object.dataset.client, bytes);
            let position = builder.push(chunk, &squeeze(bytes, &mut squeezer))?;
            let chunk = ChunkRef { id: chunk, len: bytes.len() as u32, pack: 0, position };
            let manifest = Manifest::new(vec![builder.id()], vec![chunk])?;
            facts.push(Fact::Folded { id: object.id, body: Body::Chunks(manifest.encode().into()) });
        }
        let count = facts.len();
        self.land(builder, facts, self.with(|e| e.geometry().m()))?;
        Ok(count)
    }
}
