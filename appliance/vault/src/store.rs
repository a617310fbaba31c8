//! Chunks on their way into packs: shared when they are there already, else added; and what probably comes next.

use crate::core::Core;
use crate::engine::Hold;
use coffre_core::chunk::{End, Front, Taker};
use coffre_core::class::LockClass;
use coffre_core::fault::Result;
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ChunkId, PackId};
use coffre_core::keys::DomainKey;
use coffre_core::manifest::{ChunkRef, Manifest};
use coffre_core::pack::{Name, TocEntry};
use coffre_core::squeeze::{Squeezer, as_it_is, squeeze};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many entries of a pack behind the last chunk that was known may come next: streams share packs, and chunks change.
const EXPECTED: usize = 16;

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
    /// What lay behind the last chunk that was known.
    expected: Option<Expected>,
    /// Length and id of a chunk at the front of the stream, when it was hashed to be recognised.
    hashed: Option<(usize, ChunkId)>,
}

/// A place in a pack's table of contents. A stream that was kept before comes in the order in which it was kept.
struct Expected {
    entries: Arc<Vec<TocEntry>>,
    next: usize,
}

/// Where a chunk is already.
pub(crate) struct Known {
    pub pack: PackId,
    pub position: u32,
    /// The pack's table of contents, when it has been written.
    entries: Option<Arc<Vec<TocEntry>>>,
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
            expected: None,
            hashed: None,
        })
    }

    /// Bytes that were new so far, once compressed.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// The packs that are named so far.
    pub fn packs(&self) -> &[PackId] {
        &self.packs
    }

    /// Adds a chunk, or names it where it is.
    pub fn add(&mut self, plain: &[u8]) -> Result<()> {
        let id = match self.hashed.take() {
            Some((len, id)) if len == plain.len() => id,
            _ => self.domain.chunk_id(plain),
        };
        if self.share(id, plain.len()) {
            return Ok(());
        }
        let squeezer = match &mut self.squeezer {
            Some(squeezer) => squeezer,
            none => none.insert(Squeezer::new()?),
        };
        let (pack, position, len) =
            self.core.add_blob(self.class, Name::Content(id), &squeeze(plain, squeezer))?;
        self.stored += len;
        self.name(id, plain.len(), pack, position);
        Ok(())
    }

    /// Names a chunk where it is already; `false` when it is nowhere.
    fn share(&mut self, id: ChunkId, len: usize) -> bool {
        let Some(known) = self.core.find_chunk(self.hold, self.class, &id, len, &mut self.looked) else {
            return false;
        };
        self.expected = known.entries.map(|entries| Expected { entries, next: known.position as usize + 1 });
        self.name(id, len, known.pack, known.position);
        true
    }

    /// Adds what its client has encrypted: nobody else has it, so its id is drawn, and no compressor makes it smaller.
    pub fn add_cryptic(&mut self, plain: &[u8]) -> Result<()> {
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
    pub fn take_manifest(&mut self) -> Result<Manifest> {
        Manifest::new(self.packs.clone(), std::mem::take(&mut self.chunks))
    }
}

impl Taker for Store {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        self.add(chunk)
    }

    /// What ends where one of the next chunks in the pack would, and has its id, is that chunk. One whose end says nothing of
    /// its content is expected only right behind the last: hashing it for nothing would cost more than is saved.
    fn recognise(&mut self, front: Front<'_>) -> Result<Option<usize>> {
        self.hashed = None;
        let Some(Expected { entries, next }) = &self.expected else { return Ok(None) };
        let likely = |(ahead, entry): &(usize, &TocEntry)| match front.may_end_at(entry.plain_len as usize) {
            End::ByContent => true,
            End::ByLength => *ahead == 0,
            End::Nowhere => false,
        };
        let mut coming = entries.iter().skip(*next).take(EXPECTED).filter(|entry| !entry.drawn).enumerate();
        let Some((_, entry)) = coming.find(likely) else { return Ok(None) };
        let (expected, len) = (entry.chunk, entry.plain_len as usize);
        let id = self.domain.chunk_id_of(front.pieces(len));
        let is_it = id == expected || self.core.flaws.has(Flaw::ExpectedIsKnown);
        if is_it && self.share(expected, len) {
            return Ok(Some(len));
        }
        self.hashed = Some((len, id));
        Ok(None)
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
    ) -> Option<Known> {
        let in_memory =
            self.chunk_in_open(class, id).or_else(|| self.with(|e| e.share_in_flight(hold, class, id)));
        if let Some((pack, position)) = in_memory {
            return Some(Known { pack, position, entries: None });
        }
        let hint = match self.index.chunk(id) {
            Ok(hint) => hint?,
            Err(_) => {
                self.doubt_index();
                return None;
            }
        };
        if self.flaws.has(Flaw::TrustIndexHit) {
            return Some(Known { pack: hint.pack, position: hint.position, entries: None });
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
                shared.then_some(Known { pack: hint.pack, position: hint.position, entries: Some(entries) })
            }
            _ => {
                self.doubt_index();
                None
            }
        }
    }
}
