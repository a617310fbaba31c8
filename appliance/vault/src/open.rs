//! Open packs: one per lock class, shared by the streams of that class until it is full or somebody waits for it.
//!
//! Nobody is acknowledged on an open pack. The first stream that ends with a blob in it starts a short wait for
//! company; when no other stream is writing there is nobody to wait for and it seals at once.

use crate::core::{Core, lock};
use coffre_core::class::LockClass;
use coffre_core::fault::Result;
use coffre_core::ids::{ChunkId, PackId};
use coffre_core::pack::{Name, PackBuilder, SealedPack};
use coffre_core::squeeze::Squeezed;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

/// The packs that take blobs.
#[derive(Debug, Default)]
pub struct OpenPacks {
    packs: BTreeMap<LockClass, OpenPack>,
}

struct OpenPack {
    builder: PackBuilder,
    chunks: HashMap<ChunkId, u32>,
    /// When the first stream began to wait for it.
    wanted_ms: Option<u64>,
}

impl std::fmt::Debug for OpenPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenPack({} blobs)", self.chunks.len())
    }
}

impl Core {
    /// Where a chunk is in the open pack of `class`.
    pub(crate) fn chunk_in_open(&self, class: LockClass, id: &ChunkId) -> Option<(PackId, u32)> {
        let open = lock(&self.open);
        let pack = open.packs.get(&class)?;
        pack.chunks.get(id).map(|at| (pack.builder.id(), *at))
    }

    /// Adds a chunk to the open pack of `class` and says where it is and how many bytes it took.
    pub(crate) fn add_blob(
        &self,
        class: LockClass,
        name: Name,
        squeezed: &Squeezed<'_>,
    ) -> Result<(PackId, u32, u64)> {
        let id = name.id();
        loop {
            let mut open = lock(&self.open);
            if !open.packs.contains_key(&class) {
                if self.with(|e| e.packs_busy()) >= self.limits.packs_in_flight {
                    drop(open);
                    self.wait_for_room()?;
                    continue;
                }
                let builder = PackBuilder::new(PackId(self.random()), class, &self.keys)
                    .in_buffer(self.buffers.take(self.limits.pack_room()));
                let pack = OpenPack { builder, chunks: HashMap::new(), wanted_ms: None };
                open.packs.insert(class, pack);
            }
            let Some(pack) = open.packs.get_mut(&class) else { continue };
            if let Some(at) = pack.chunks.get(&id) {
                return Ok((pack.builder.id(), *at, 0));
            }
            let before = pack.builder.body_len();
            let at = pack.builder.push(name, squeezed)?;
            pack.chunks.insert(id, at);
            let (pack_id, len) = (pack.builder.id(), pack.builder.body_len());
            let full = len >= self.limits.pack_target || pack.builder.is_full();
            let sealed = if full { open.take(class)? } else { None };
            // The engine must know the pack before anybody can look for it in vain.
            if let Some(sealed) = sealed {
                self.with(|e| e.pack_sealed(sealed, Vec::new(), 0));
            }
            return Ok((pack_id, at, (len - before) as u64));
        }
    }

    /// A stream ended: the open pack that `needs` names is sealed now, or shortly.
    pub(crate) fn want_sealed(&self, class: LockClass, needs: &[PackId]) -> Result<()> {
        let mut open = lock(&self.open);
        let Some(pack) = open.packs.get_mut(&class).filter(|p| needs.contains(&p.builder.id())) else {
            return Ok(());
        };
        pack.wanted_ms.get_or_insert(self.clock.mono_ms());
        if self.streams.load(Ordering::Relaxed) <= 1
            && let Some(sealed) = open.take(class)?
        {
            self.with(|e| e.pack_sealed(sealed, Vec::new(), 0));
        }
        Ok(())
    }

    /// Seals open packs that were waited for long enough. Call every few milliseconds.
    pub fn seal_due(&self) -> Result<()> {
        let now = self.clock.mono_ms();
        let mut open = lock(&self.open);
        let ripe =
            |p: &OpenPack| p.wanted_ms.is_some_and(|t| now.saturating_sub(t) >= self.limits.seal_wait_ms);
        let due: Vec<LockClass> = open.packs.iter().filter(|(_, p)| ripe(p)).map(|(c, _)| *c).collect();
        for class in due {
            if let Some(sealed) = open.take(class)? {
                self.with(|e| e.pack_sealed(sealed, Vec::new(), 0));
            }
        }
        Ok(())
    }
}

impl OpenPacks {
    fn take(&mut self, class: LockClass) -> Result<Option<SealedPack>> {
        match self.packs.remove(&class) {
            Some(pack) => pack.builder.finish().map(Some),
            None => Ok(None),
        }
    }
}
