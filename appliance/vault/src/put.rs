//! A snapshot on its way in: cut into chunks, deduplicated, compressed, sealed into packs, then one fact.
//!
//! A file of a repository comes the same way, but is cryptic already: it is cut into pieces of one length, and neither looked up
//! nor compressed.
//!
//! Memory per stream: one chunk being cut (twice the largest chunk at most), its compressed form, and the list of
//! chunks so far; the packs are shared by all streams. Small objects never leave the first buffer and ride inline.

use crate::core::Core;
use crate::engine::{Hold, Ticket};
use aws_lc_rs::digest;
use coffre_core::chunk::Chunker;
use coffre_core::class::LockClass;
use coffre_core::fact::{Body, Fact, ObjectFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ChunkId, ContentHash, ObjectId, PackId};
use coffre_core::keys::DomainKey;
use coffre_core::kind::{Checked, Checker, Expected, Kind};
use coffre_core::manifest::{ChunkRef, Manifest};
use coffre_core::names::DatasetRef;
use coffre_core::pack::Name;
use coffre_core::repo::{FileKind, FileName};
use coffre_core::squeeze::{Squeezer, as_it_is, squeeze};
use std::collections::{HashMap, HashSet};
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
    Snapshot {
        hasher: Box<blake3::Hasher>,
        chunker: Option<Box<Chunker>>,
        check: Option<Box<(Checker, Expected)>>,
    },
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
        let expected = core.with(|e| e.catalog().expected(&dataset));
        let check =
            (expected != Expected::Said(Kind::File)).then(|| Box::new((Checker::default(), expected)));
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

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        if self.core.with(|e| e.full()) {
            return Err(Fault::full("the disks are full").next("free space or add larger disks"));
        }
        self.size += len;
        match &mut self.form {
            Form::Snapshot { hasher, check, .. } => {
                hasher.update(bytes);
                if let Some(check) = check {
                    check.0.push(bytes);
                }
            }
            Form::File { hasher, .. } => hasher.update(bytes),
        }
        match self.head.take() {
            Some(mut head) if head.len() + bytes.len() <= self.core.limits.inline_max => {
                head.extend_from_slice(bytes);
                self.head = Some(head);
                Ok(())
            }
            Some(head) => {
                self.cut(&head)?;
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
        self.store.stored
    }

    /// The SHA-256 of what came so far, of a file of a repository.
    pub fn file_name(&self) -> Option<FileName> {
        let Form::File { hasher, .. } = &self.form else { return None };
        hasher.clone().finish().as_ref().try_into().ok().map(FileName)
    }

    /// Ends the snapshot: what is left is cut and sealed, and its fact handed in.
    pub fn submit(mut self) -> Result<Submitted> {
        let body = match self.head.take() {
            Some(head) => {
                self.store.stored = head.len() as u64;
                Body::Inline(head.into())
            }
            None => self.body_in_packs()?,
        };
        let wall_ms = self.core.clock.wall_ms();
        let (file, hash) = self.file_and_hash()?;
        let checked = self.checked();
        let lock = file != Some(FileKind::Locks);
        let object = ObjectFact {
            id: ObjectId(self.core.random()),
            dataset: self.dataset.clone(),
            size: self.size,
            stored_bytes: self.store.stored,
            received_ms: wall_ms,
            locked_until_ms: if lock { self.core.locked_until_ms(self.class) } else { wall_ms },
            class: self.class,
            hash,
            body,
            file,
            checked,
        };
        let needs: Vec<PackId> = self.store.packs.clone();
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
        let (checker, expected) = *check.take()?;
        checker.finish(expected)
    }

    fn cut(&mut self, mut bytes: &[u8]) -> Result<()> {
        let store = &mut self.store;
        match &mut self.form {
            Form::Snapshot { chunker, .. } => chunker
                .get_or_insert_with(|| chunker_of(&self.core, &self.dataset))
                .push(bytes, &mut |chunk| store.add(chunk)),
            Form::File { piece, .. } => {
                let len = self.core.limits.chunks.max();
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
            Form::Snapshot { chunker: Some(chunker), .. } => chunker.finish(&mut |chunk| store.add(chunk))?,
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

/// Puts chunks where they belong and remembers where that is.
pub(crate) struct Store {
    core: Arc<Core>,
    class: LockClass,
    /// Keeps what it names from being forgotten until its fact is handed in.
    hold: Hold,
    domain: DomainKey,
    /// Made when something is to be compressed.
    squeezer: Option<Squeezer>,
    packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
    chunks: Vec<ChunkRef>,
    /// Older packs that this stream shares chunks with, looked at once.
    looked: HashSet<PackId>,
    /// Bytes that were new.
    stored: u64,
}

impl Store {
    pub fn new(core: Arc<Core>, class: LockClass, domain: DomainKey) -> Result<Self> {
        Ok(Self {
            hold: core.with(|e| e.open_hold()),
            core,
            class,
            domain,
            squeezer: None,
            packs: Vec::new(),
            numbers: HashMap::new(),
            chunks: Vec::new(),
            looked: HashSet::new(),
            stored: 0,
        })
    }

    fn add(&mut self, plain: &[u8]) -> Result<()> {
        let id = self.domain.chunk_id(plain);
        let known = self.core.find_chunk(self.hold, self.class, &id, plain.len(), &mut self.looked);
        let (pack, position) = match known {
            Some(known) => known,
            None => {
                let squeezer = match &mut self.squeezer {
                    Some(squeezer) => squeezer,
                    none => none.insert(Squeezer::new()?),
                };
                let (pack, position, len) =
                    self.core.add_blob(self.class, Name::Content(id), &squeeze(plain, squeezer))?;
                self.stored += len;
                (pack, position)
            }
        };
        self.name(id, plain.len(), pack, position);
        Ok(())
    }

    /// Adds what its client has encrypted: nobody else has it, so its id is drawn, and no compressor makes it smaller.
    fn add_cryptic(&mut self, plain: &[u8]) -> Result<()> {
        let id = ChunkId(self.core.random());
        let (pack, position, len) = self.core.add_blob(self.class, Name::Drawn(id), &as_it_is(plain))?;
        self.stored += len;
        self.name(id, plain.len(), pack, position);
        Ok(())
    }

    fn name(&mut self, id: ChunkId, len: usize, pack: PackId, position: u32) {
        let next = self.packs.len() as u32;
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.core.with(|e| e.hold(self.hold, pack));
            self.packs.push(pack);
        }
        self.chunks.push(ChunkRef { id, len: len as u32, pack: number, position });
    }

    /// The list of the chunks since the last call. The packs stay: all of them are needed.
    fn take_manifest(&mut self) -> Result<Manifest> {
        Manifest::new(self.packs.clone(), std::mem::take(&mut self.chunks))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.core.with(|e| e.let_go(self.hold));
    }
}

impl Core {
    /// Where a chunk of this id and length already is, in a pack that is locked at least as long as `class`: in the open
    /// pack, in a pack on its way, or where the index hints and the pack's own table of contents confirms. The shards of such
    /// a pack are looked at once per stream (`looked`): an acknowledgement rests on them as on new ones. The pack is then
    /// held; one that is condemned is no answer.
    pub(crate) fn find_chunk(
        &self,
        hold: Hold,
        class: LockClass,
        id: &ChunkId,
        len: usize,
        looked: &mut HashSet<PackId>,
    ) -> Option<(PackId, u32)> {
        if let Some(found) = self.chunk_in_open(class, id) {
            return Some(found);
        }
        if let Some(found) = self.with(|e| e.share_in_flight(hold, class, id)) {
            return Some(found);
        }
        let hint = match self.index.chunk(id) {
            Ok(hint) => hint?,
            Err(_) => {
                self.doubt_index();
                return None;
            }
        };
        if self.flaws.has(Flaw::TrustIndexHit) {
            return Some((hint.pack, hint.position));
        }
        // A hint to a pack that is no more is old, not a lie.
        let pack = self.with(|e| e.catalog().pack(&hint.pack).cloned())?;
        if looked.insert(pack.id) {
            self.look_at(&pack);
        }
        // What cannot be read now is no copy: this may be the moment when the data can be saved.
        if !pack.class.covers(class) || !self.with(|e| e.readable(&pack)) {
            return None;
        }
        let entries = self.toc(&pack).ok()?;
        match entries.get(hint.position as usize) {
            Some(e) if e.chunk == *id && e.plain_len as usize == len => {
                let shared = self.with(|e| e.share(hold, &hint.pack));
                shared.then_some((hint.pack, hint.position))
            }
            _ => {
                self.doubt_index();
                None
            }
        }
    }
}
