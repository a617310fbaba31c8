//! Marking: which packs the snapshots refer to, and which chunks in them.
//!
//! A manifest names all packs that its chunks, and the chunks of a deep manifest, are in. So whether a *pack* is needed is told
//! by the journal alone, without reading a disk. Which *chunks* of a pack are needed takes the deep manifests and some
//! tables of contents; only compaction asks that. Memory: 16 bytes for each name of a pack, and one bit for each chunk.
//!
//! Snapshots come and go meanwhile. A mark says from which place in the order of receipt on it has seen nothing; the step that
//! acts on it looks at those itself, under the engine's lock.

use crate::catalog::named_packs;
use crate::core::Core;
use coffre_core::fact::{Body, ObjectFact, PackFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::manifest::{ChunkRef, Manifest};
use std::collections::{HashMap, HashSet};

/// Snapshots looked at in one go, while the engine is held.
const AT_ONCE: usize = 64;

/// Names of packs that snapshots use.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// By those that stay.
    pub staying: HashSet<PackId>,
    /// By those that go.
    pub going: HashSet<PackId>,
    /// Places from here on were not looked at.
    pub since: u64,
}

/// Chunks of some packs that snapshots use.
#[derive(Debug, Default)]
pub(crate) struct LiveChunks {
    packs: HashMap<PackId, Bits>,
    /// Packs that lack a chunk that a manifest says is in them: nothing is decided about these.
    pub doubtful: HashSet<PackId>,
    tables: HashMap<PackId, HashMap<ChunkId, u32>>,
}

/// One bit for each position in a table of contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, at: u32) {
        let word = at as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (at % 64);
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether this position is set.
    pub fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

impl LiveChunks {
    /// The positions of a pack that are needed; none when it was not looked at or nothing in it is needed.
    pub fn of(&self, pack: &PackId) -> Bits {
        self.packs.get(pack).cloned().unwrap_or_default()
    }
}

impl Core {
    /// Marks packs by name; `goes` says of a snapshot whether it is to be counted as going, `None` leaves it out.
    /// `Corrupt` when a manifest cannot be read: then nothing may be freed.
    pub(crate) fn mark_names(&self, goes: impl Fn(&ObjectId) -> Option<bool>) -> Result<Named> {
        let mut named = Named::default();
        named.since = self.each_object(|object| {
            let set = match goes(&object.id) {
                Some(true) => &mut named.going,
                Some(false) => &mut named.staying,
                None => return Ok(()),
            };
            set.extend(named_packs(&object.body)?);
            Ok(())
        })?;
        Ok(named)
    }

    /// Marks the chunks of those packs that `wanted` takes. Reads deep manifests, and tables of contents of packs that were
    /// merged since.
    pub(crate) fn mark_chunks(&self, wanted: impl Fn(&PackFact) -> bool) -> Result<LiveChunks> {
        let mut live = LiveChunks::default();
        self.each_object(|object| {
            let manifest = match &object.body {
                Body::Inline(_) => return Ok(()),
                Body::Chunks(bytes) => Manifest::decode(bytes)?,
                Body::Deep(bytes) => {
                    let outer = Manifest::decode(bytes)?;
                    self.mark_manifest(&mut live, &outer, &wanted);
                    let mut inner = Vec::new();
                    for chunk in outer.chunks() {
                        inner.extend(self.chunk(&chunk.id, outer.pack_of(chunk), chunk.position)?);
                    }
                    Manifest::decode(&inner)?
                }
            };
            self.mark_manifest(&mut live, &manifest, &wanted);
            Ok(())
        })?;
        live.tables.clear();
        Ok(live)
    }

    fn mark_manifest(&self, live: &mut LiveChunks, manifest: &Manifest, wanted: &impl Fn(&PackFact) -> bool) {
        let now: Vec<Option<PackFact>> =
            self.with(|e| manifest.packs().iter().map(|id| e.catalog().current_pack(id).cloned()).collect());
        for chunk in manifest.chunks() {
            let name = manifest.pack_of(chunk);
            let Some(pack) = now.get(chunk.pack as usize).and_then(Option::as_ref).filter(|p| wanted(p))
            else {
                continue;
            };
            match self.position_in(live, pack, name == Some(pack.id), chunk) {
                Some(at) => live.packs.entry(pack.id).or_default().set(at),
                None => {
                    live.doubtful.insert(pack.id);
                }
            }
        }
    }

    /// Where a chunk is in the pack it is in now: as the manifest says, if that is the pack it was written to; else as that
    /// pack's table says.
    fn position_in(
        &self,
        live: &mut LiveChunks,
        pack: &PackFact,
        as_written: bool,
        chunk: &ChunkRef,
    ) -> Option<u32> {
        if as_written {
            return Some(chunk.position);
        }
        if !live.tables.contains_key(&pack.id) {
            // One snapshot's chunks lie together: a few tables are enough.
            if live.tables.len() >= 8 {
                live.tables.clear();
            }
            let entries = self.toc(pack).ok()?;
            let table = entries.iter().zip(0..).map(|(e, at)| (e.chunk, at)).collect();
            live.tables.insert(pack.id, table);
        }
        live.tables.get(&pack.id)?.get(&chunk.id).copied()
    }

    /// Goes through all snapshots in order of receipt; says from which place on it has seen none.
    fn each_object(&self, mut look: impl FnMut(&ObjectFact) -> Result<()>) -> Result<u64> {
        let end = self.with(|e| e.catalog().next_order());
        let mut from = 0;
        loop {
            let some = self.with(|e| e.catalog().objects_from(from, AT_ONCE));
            for (_, object) in some.iter().take_while(|(order, _)| *order < end) {
                look(object).map_err(|fault: Fault| fault.at(format_args!("snapshot {}", object.id)))?;
            }
            match some.last() {
                Some((last, _)) if last + 1 < end => from = last + 1,
                _ => return Ok(end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_grow_and_know_their_own() {
        let mut bits = Bits::default();
        for at in [0, 63, 64, 1_000] {
            assert!(!bits.has(at));
            bits.set(at);
            assert!(bits.has(at) && !bits.has(at + 1));
        }
    }
}
