//! A snapshot on its way in: cut into chunks, deduplicated, compressed, sealed into packs, then one fact.
//!
//! A file of a repository comes the same way, but is cryptic already: it is cut into pieces of one length, and neither looked up
//! nor compressed.
//!
//! Memory per stream: one largest chunk in the buffers in which it came, two more where bytes had to be put side by side, the
//! compressed form of a chunk, the table of contents of the pack whose chunks come again, and the list of
//! chunks so far; the packs are shared by all streams. Small objects never leave the first buffer and ride inline.

use crate::core::Core;
use crate::engine::Ticket;
use crate::store::Store;
use aws_lc_rs::digest;
use bytes::Bytes;
use coffre_core::chunk::Chunker;
use coffre_core::class::LockClass;
use coffre_core::fact::{Body, Fact, LockBasis, ObjectFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ContentHash, ObjectId, PackId};
use coffre_core::kind::{Checked, Checker, Expected, Kind};
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, FileName};
use coffre_core::steps::Steps;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// See the module. Dropping it leaves nothing visible.
pub struct Put {
    core: Arc<Core>,
    dataset: DatasetRef,
    class: LockClass,
    form: Form,
    size: u64,
    /// The beginning, until it is too long to ride inline.
    head: Option<Vec<u8>>,
    store: Store,
}

/// What is being received.
enum Form {
    /// A snapshot of a data set. What cuts it is made when it is too long to ride inline.
    Snapshot { hasher: Box<Steps>, chunker: Option<Box<Chunker>>, check: Box<Checker> },
    /// A file of a repository, with the piece that is being filled.
    File { kind: FileKind, hasher: digest::Context, piece: Vec<u8> },
}

/// What a finished snapshot waits for, and what its fact will say.
pub struct Submitted {
    /// Answered when it is safe.
    pub ticket: Ticket,
    /// The fact, without its body.
    pub object: ObjectFact,
}

impl Put {
    /// Begins. Quotas are for whoever hands the bytes in.
    pub fn begin(core: Arc<Core>, dataset: DatasetRef, class: LockClass) -> Result<Self> {
        let check = Box::new(Checker::new(core.with(|e| e.catalog().expected(&dataset))));
        let form = Form::Snapshot { hasher: Box::default(), chunker: None, check };
        Self::begin_as(core, dataset, class, form)
    }

    /// Begins a file of a repository.
    pub fn begin_file(core: Arc<Core>, repo: DatasetRef, kind: FileKind, class: LockClass) -> Result<Self> {
        let form = Form::File { kind, hasher: digest::Context::new(&digest::SHA256), piece: Vec::new() };
        Self::begin_as(core, repo, class, form)
    }

    fn begin_as(core: Arc<Core>, dataset: DatasetRef, class: LockClass, form: Form) -> Result<Self> {
        core.with(|e| e.writable())?;
        let domain = core.keys.domain(&dataset.client);
        let store = Store::new(core.clone(), class, domain)?;
        if !core.being_read() {
            // What was kept for readers is better used by streams.
            core.forget_sources();
        }
        core.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Self { core, dataset, class, form, size: 0, head: Some(Vec::new()), store })
    }

    /// Takes the next bytes, which are copied. [`take`](Self::take) copies less.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.take(Bytes::copy_from_slice(bytes))
    }

    /// Takes the next bytes. They stay in memory until a largest chunk behind them has come.
    pub fn take(&mut self, bytes: Bytes) -> Result<()> {
        let len = bytes.len() as u64;
        if self.core.with(|e| e.full()) {
            return Err(Fault::full("the disks are full").next("free space or add larger disks"));
        }
        self.size += len;
        match &mut self.form {
            Form::Snapshot { hasher, check, .. } => {
                hasher.update(&bytes);
                check.push(&bytes);
            }
            Form::File { hasher, .. } => hasher.update(&bytes),
        }
        match self.head.take() {
            Some(mut head) if head.len() + bytes.len() <= self.core.limits.inline_max => {
                head.extend_from_slice(&bytes);
                self.head = Some(head);
                Ok(())
            }
            Some(head) => {
                self.cut(head.into())?;
                self.cut(bytes)
            }
            None => self.cut(bytes),
        }
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that were new so far, once compressed; what is still being cut does not count yet.
    pub fn new_bytes(&self) -> u64 {
        self.store.stored()
    }

    /// The SHA-256 of what came so far, of a file of a repository.
    pub fn file_name(&self) -> Option<FileName> {
        let Form::File { hasher, .. } = &self.form else { return None };
        hasher.clone().finish().as_ref().try_into().ok().map(FileName)
    }

    /// Ends the snapshot: what is left is cut and sealed, and its fact handed in.
    pub fn submit(mut self) -> Result<Submitted> {
        let (stored_bytes, body) = match self.head.take() {
            Some(head) => (head.len() as u64, Body::Inline(head.into())),
            None => {
                let body = self.body_in_packs()?;
                (self.store.stored(), body)
            }
        };
        let wall_ms = self.core.clock.wall_ms();
        let (file, hash) = self.file_and_hash()?;
        let checked = self.checked();
        let lock = file != Some(FileKind::Locks);
        let clock = self.core.retention();
        let doubted = lock && clock.is_apart() && !self.core.flaws.has(Flaw::LocksInDoubt);
        let object = ObjectFact {
            id: ObjectId(self.core.random()),
            dataset: self.dataset.clone(),
            size: self.size,
            stored_bytes,
            received_ms: wall_ms,
            locked_until_ms: if lock { clock.locked_until_ms(self.class) } else { wall_ms },
            class: self.class,
            hash,
            body,
            file,
            checked,
            basis: doubted.then_some(LockBasis::Provisional),
        };
        let needs: Vec<PackId> = self.store.packs().to_vec();
        self.core.want_sealed(self.class, &needs)?;
        let ticket = self.core.submit(vec![Fact::Object(object.clone())], needs);
        Ok(Submitted { ticket, object })
    }

    fn file_and_hash(&self) -> Result<(Option<FileKind>, ContentHash)> {
        match &self.form {
            Form::Snapshot { hasher, .. } => Ok((None, ContentHash(*hasher.finalize().as_bytes()))),
            Form::File { kind, .. } => {
                let name = self.file_name().ok_or_else(|| Fault::permanent("a file without a hash"))?;
                Ok((Some(*kind), ContentHash(name.0)))
            }
        }
    }

    /// What was found out about a snapshot while it came.
    fn checked(&mut self) -> Option<Checked> {
        let Form::Snapshot { check, .. } = &mut self.form else { return None };
        let spent = Checker::new(Expected::Said(Kind::File));
        std::mem::replace(&mut **check, spent).finish()
    }

    fn cut(&mut self, bytes: Bytes) -> Result<()> {
        let store = &mut self.store;
        match &mut self.form {
            Form::Snapshot { chunker, .. } => {
                chunker.get_or_insert_with(|| chunker_of(&self.core, &self.dataset)).push(bytes, store)
            }
            Form::File { piece, .. } => {
                let (len, mut bytes) = (self.core.limits.chunks.max(), &bytes[..]);
                while !bytes.is_empty() {
                    if piece.is_empty() && bytes.len() >= len {
                        let (whole, rest) = bytes.split_at(len);
                        store.add_cryptic(whole)?;
                        bytes = rest;
                        continue;
                    }
                    let (now, rest) = bytes.split_at(bytes.len().min(len - piece.len()));
                    // All at once: growing by doubling would copy what is there again and again.
                    piece.reserve_exact(len - piece.len());
                    piece.extend_from_slice(now);
                    bytes = rest;
                    if piece.len() == len {
                        store.add_cryptic(piece)?;
                        piece.clear();
                    }
                }
                Ok(())
            }
        }
    }

    fn body_in_packs(&mut self) -> Result<Body> {
        let store = &mut self.store;
        match &mut self.form {
            Form::Snapshot { chunker: Some(chunker), .. } => chunker.finish(store)?,
            Form::Snapshot { chunker: None, .. } => {}
            Form::File { piece, .. } if !piece.is_empty() => store.add_cryptic(piece)?,
            Form::File { .. } => {}
        }
        let manifest = self.store.take_manifest()?.encode();
        if manifest.len() <= self.core.limits.manifest_inline {
            return Ok(Body::Chunks(manifest.into()));
        }
        for piece in manifest.chunks(self.core.limits.chunks.max()) {
            self.store.add(piece)?;
        }
        Ok(Body::Deep(self.store.take_manifest()?.encode().into()))
    }
}

/// What cuts this client's streams.
fn chunker_of(core: &Core, dataset: &DatasetRef) -> Box<Chunker> {
    Box::new(Chunker::new(core.limits.chunks, Some(&core.keys.gear_seed(&dataset.client))))
}

impl Drop for Put {
    fn drop(&mut self) {
        self.core.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
