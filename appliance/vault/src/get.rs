//! A snapshot on its way out: its manifest, then chunk by chunk, ranges at will.

use crate::core::Core;
use coffre_core::fact::{Body, ObjectFact};
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::ids::ObjectId;
use coffre_core::manifest::Manifest;
use coffre_core::wire::DiskState;
use std::sync::Arc;

/// See the module. Holds one chunk and the manifest in memory.
pub struct Get {
    core: Arc<Core>,
    object: ObjectFact,
    source: Source,
    /// The chunk read last: its first byte's offset, and its bytes.
    last: Option<(u64, Vec<u8>)>,
}

enum Source {
    Inline(Vec<u8>),
    Chunks(Manifest),
}

impl Get {
    /// Opens a snapshot; `Absent` if there is none of that id.
    pub fn open(core: Arc<Core>, id: &ObjectId) -> Result<Self> {
        let object = core
            .with(|e| e.catalog().object(id).cloned())
            .ok_or_else(|| Fault::absent(format!("there is no snapshot {id}")))?;
        let source = match &object.body {
            Body::Inline(bytes) => Source::Inline(bytes.to_vec()),
            Body::Chunks(bytes) => Source::Chunks(Manifest::decode(bytes)?),
            Body::Deep(bytes) => {
                Source::Chunks(Manifest::decode(&read_all(&core, &Manifest::decode(bytes)?)?)?)
            }
        };
        let size = match &source {
            Source::Inline(bytes) => bytes.len() as u64,
            Source::Chunks(manifest) => manifest.size(),
        };
        if size != object.size {
            return Err(Fault::corrupt(format!(
                "snapshot {id}: its manifest is not as long as its fact says"
            )));
        }
        Ok(Self { core, object, source, last: None })
    }

    /// What is read.
    pub fn object(&self) -> &ObjectFact {
        &self.object
    }

    /// Up to `max` bytes from `offset`; empty at and after the end. Never beyond the end of one chunk.
    pub fn read_at(&mut self, offset: u64, max: usize) -> Result<Vec<u8>> {
        if offset >= self.object.size || max == 0 {
            return Ok(Vec::new());
        }
        let (core, manifest) = match &self.source {
            Source::Inline(bytes) => return Ok(slice(bytes, offset, max)),
            Source::Chunks(manifest) => (&self.core, manifest),
        };
        if let Some((start, bytes)) = &self.last
            && (*start..start + bytes.len() as u64).contains(&offset)
        {
            return Ok(slice(bytes, offset - start, max));
        }
        let lost = || Fault::corrupt(format!("snapshot {}: its manifest has a gap", self.object.id));
        let (index, start) = manifest.chunk_at(offset).ok_or_else(lost)?;
        let chunk = manifest.chunks().get(index).ok_or_else(lost)?;
        core.last_read_ms.store(core.clock.mono_ms().max(1), std::sync::atomic::Ordering::Relaxed);
        let plain = core
            .chunk(&chunk.id, manifest.pack_of(chunk), chunk.position)
            .map_err(|fault| in_words(core, &self.object.id, &fault))?;
        if plain.len() != chunk.len as usize {
            return Err(lost());
        }
        let out = slice(&plain, offset - start, max);
        self.last = Some((start, plain));
        Ok(out)
    }
}

/// What a client may know of a trouble below: whether it may pass, and what somebody can do. The rest is for the log.
fn in_words(core: &Core, id: &ObjectId, fault: &Fault) -> Fault {
    tracing::warn!(snapshot = %id, "cannot be read: {}", fault.what);
    let away = core.report().disks.iter().filter(|d| d.1 != DiskState::Active).count();
    if fault.class == Class::Transient || away > 0 {
        let why = match away {
            0 => "a disk does not answer in time".to_owned(),
            n => format!("{n} of the box's disks are missing"),
        };
        return Fault::transient(format!("snapshot {id} is kept, but cannot be read at this moment: {why}"))
            .next("put missing disks back; the box's status says which");
    }
    Fault::corrupt(format!("snapshot {id} is damaged on more disks than this vault can miss"))
        .next("keep the disks and ask for help; other snapshots are not touched by this")
}

fn slice(bytes: &[u8], offset: u64, max: usize) -> Vec<u8> {
    let from = (offset as usize).min(bytes.len());
    let to = from.saturating_add(max).min(bytes.len());
    bytes[from..to].to_vec()
}

fn read_all(core: &Core, manifest: &Manifest) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for chunk in manifest.chunks() {
        out.extend(core.chunk(&chunk.id, manifest.pack_of(chunk), chunk.position)?);
    }
    Ok(out)
}
