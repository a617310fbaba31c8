//! Packs: sealed chunks one after the other, and a sealed table of contents that alone knows where they are.
//!
//! ```text
//! body = blob 0 | blob 1 | … | blob n-1 | padding | sealed table of contents     (a multiple of 4096 bytes)
//! ```
//!
//! Lengths of chunks are a fingerprint of known files, so nothing outside the sealed table shows them: blobs touch
//! each other, and the padding looks like blobs to whoever has no key. Each blob is sealed under the pack's key
//! with its position as nonce counter, and bound to vault, pack, position, chunk id, length and compression: a
//! blob put in another place, or taken from another pack, does not open.

use crate::aead::{AeadKey, TAG_LEN};
use crate::buffer::Buffer;
use crate::class::LockClass;
use crate::fault::{Fault, Result};
use crate::ids::{ChunkId, PackId, VaultId};
use crate::keys::KeyRing;
use crate::squeeze::{MAX_CHUNK_LEN, Squeezed, unsqueeze};
use std::fmt;

/// A pack is sealed when its blobs reach this many bytes.
pub const PACK_TARGET: usize = 16 * 1024 * 1024;
/// No body is ever longer, in bytes.
pub const MAX_PACK_LEN: usize = 64 * 1024 * 1024;
/// Most blobs in one pack.
pub const MAX_PACK_ENTRIES: usize = 65_536;
/// A body is a multiple of this many bytes.
pub const PACK_ALIGN: usize = 4096;

/// Longest sealed table of contents, in bytes: an entry takes at most 52 (array head, 34 for the id, three
/// numbers of at most 5, a boolean) and one more when its id was drawn, the frame around them 8.
pub const MAX_TOC_LEN: usize = MAX_PACK_ENTRIES * 53 + 8 + TAG_LEN;
/// Longest blob, in bytes.
const MAX_BLOB_LEN: usize = MAX_CHUNK_LEN + TAG_LEN;
/// Blobs of a pack take at most this many bytes together.
const MAX_BLOBS_LEN: usize = MAX_PACK_LEN - MAX_TOC_LEN - PACK_ALIGN;
const TOC_VERSION: u8 = 1;

// A pack one byte short of its target still takes a largest chunk.
const _: () = assert!(PACK_TARGET + MAX_BLOB_LEN <= MAX_BLOBS_LEN);
const _: () = assert!(MAX_PACK_LEN <= u32::MAX as usize);

/// Where one chunk lies in the body of its pack. Its position is its index in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub struct TocEntry {
    /// Which chunk.
    #[n(0)]
    pub chunk: ChunkId,
    /// First byte of the blob in the body.
    #[n(1)]
    pub offset: u32,
    /// Length of the blob, tag included.
    #[n(2)]
    pub sealed_len: u32,
    /// Length of the chunk.
    #[n(3)]
    pub plain_len: u32,
    /// Whether the blob holds a zstd frame.
    #[n(4)]
    pub compressed: bool,
    /// Whether `chunk` was drawn and says nothing of the content.
    #[cbor(n(5), with = "said_when_true", has_nil)]
    pub drawn: bool,
}

/// A chunk's id, and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// The hash of its content within its domain: the same content is found again by it.
    Content(ChunkId),
    /// Random: what its client encrypted nobody has twice, and nobody looks for it by its content.
    Drawn(ChunkId),
}

impl Name {
    /// The id alone.
    pub fn id(self) -> ChunkId {
        match self {
            Self::Content(id) | Self::Drawn(id) => id,
        }
    }
}

impl From<ChunkId> for Name {
    fn from(id: ChunkId) -> Self {
        Self::Content(id)
    }
}

/// A truth value of which only `true` is written: `false` is a field that is absent, as before there was one.
mod said_when_true {
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub fn encode<C, W: Write>(
        it: &bool,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bool(*it)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<bool, minicbor::decode::Error> {
        d.bool()
    }

    pub fn nil() -> Option<bool> {
        Some(false)
    }

    pub fn is_nil(it: &bool) -> bool {
        !it
    }
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct Toc {
    #[n(0)]
    version: u8,
    #[n(1)]
    entries: Vec<TocEntry>,
}

/// A pack that is complete, in memory, not yet on any disk.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPack {
    /// Its id.
    pub id: PackId,
    /// The lock class of everything in it.
    pub class: LockClass,
    /// Blobs, padding, sealed table of contents. A multiple of [`PACK_ALIGN`].
    pub body: Buffer,
    /// Length of the sealed table of contents at the end of the body.
    pub toc_sealed_len: u32,
    /// What the table says.
    pub entries: Vec<TocEntry>,
}

/// A pack being filled.
pub struct PackBuilder {
    id: PackId,
    class: LockClass,
    vault: VaultId,
    key: AeadKey,
    toc_key: AeadKey,
    padding: blake3::OutputReader,
    body: Buffer,
    entries: Vec<TocEntry>,
    check: Buffer,
}

impl PackBuilder {
    /// An empty pack. `id` must be random and never used before: the pack's keys are derived from it.
    pub fn new(id: PackId, class: LockClass, keys: &KeyRing) -> Self {
        Self {
            id,
            class,
            vault: keys.vault(),
            key: keys.pack_key(id),
            toc_key: keys.toc_key(id),
            padding: keys.padding(id),
            body: Buffer::new(),
            entries: Vec::new(),
            check: Buffer::new(),
        }
    }

    /// As it is, with its body in `buffer`, which is empty and has the room.
    pub fn in_buffer(mut self, buffer: Buffer) -> Self {
        self.body = buffer;
        self
    }

    /// Seals a chunk into the body, opens it again and compares. Returns its position.
    /// [`Class::Full`](crate::fault::Class::Full) when the pack must be finished first.
    pub fn push(&mut self, name: impl Into<Name>, squeezed: &Squeezed<'_>) -> Result<u32> {
        self.push_bytes(name.into(), squeezed.bytes, squeezed.compressed, squeezed.plain_len)
    }

    /// The pack's id.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// The pack's lock class.
    pub fn class(&self) -> LockClass {
        self.class
    }

    /// Bytes of all blobs so far.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// What is in it so far.
    pub fn entries(&self) -> &[TocEntry] {
        &self.entries
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it is time to finish it.
    pub fn is_full(&self) -> bool {
        self.body.len() >= PACK_TARGET || self.entries.len() >= MAX_PACK_ENTRIES
    }

    /// Adds the padding and the sealed table of contents.
    pub fn finish(mut self) -> Result<SealedPack> {
        if self.entries.is_empty() {
            return Err(Fault::misuse(format!("pack {} is empty and cannot be sealed", self.id)));
        }
        let toc = Toc { version: TOC_VERSION, entries: self.entries };
        let plain =
            minicbor::to_vec(&toc).map_err(|e| Fault::permanent(format!("table of contents: {e}")))?;
        let toc_len = plain.len() + TAG_LEN;
        let body_len = (self.body.len() + toc_len).next_multiple_of(PACK_ALIGN);
        // Lengths agree by the ceilings of `push`; a body that broke one could not be read again.
        assert!(toc_len <= MAX_TOC_LEN && body_len <= MAX_PACK_LEN);
        let blobs_len = self.body.len();
        self.padding.fill(self.body.lengthen(body_len - toc_len - blobs_len));
        let aad = toc_aad(self.vault, self.id, body_len as u64);
        self.toc_key.seal_into(0, &aad, &plain, self.body.lengthen(toc_len))?;
        if self.toc_key.open(0, &aad, &self.body[body_len - toc_len..])? != plain {
            return Err(unfaithful(self.id));
        }
        Ok(SealedPack {
            id: self.id,
            class: self.class,
            body: self.body,
            toc_sealed_len: toc_len as u32,
            entries: toc.entries,
        })
    }

    fn push_bytes(&mut self, name: Name, bytes: &[u8], compressed: bool, plain_len: u32) -> Result<u32> {
        let offset = self.body.len();
        let sealed_len = bytes.len() + TAG_LEN;
        let position = self.entries.len() as u32;
        let entry = TocEntry {
            chunk: name.id(),
            offset: offset as u32,
            sealed_len: sealed_len as u32,
            plain_len,
            compressed,
            drawn: matches!(name, Name::Drawn(_)),
        };
        if !entry.lengths_agree() {
            return Err(Fault::misuse(format!("{} bytes are not a chunk of {plain_len}", bytes.len())));
        }
        if self.entries.len() >= MAX_PACK_ENTRIES || offset + sealed_len > MAX_BLOBS_LEN {
            return Err(Fault::full(format!("pack {} takes no more chunks", self.id)));
        }
        let aad = blob_aad(self.vault, self.id, position, &entry);
        if let Err(fault) =
            self.key.seal_into(u64::from(position), &aad, bytes, self.body.lengthen(sealed_len))
        {
            self.body.truncate(offset);
            return Err(fault);
        }
        if self.check.room() < bytes.len() {
            self.check = self.body.sibling(bytes.len());
        }
        self.check.truncate(0);
        let check = self.check.lengthen(bytes.len());
        let opened = self.key.open_to(u64::from(position), &aad, &self.body[offset..], check);
        if opened.is_err() || check != bytes {
            self.body.truncate(offset);
            return Err(unfaithful(self.id));
        }
        self.entries.push(entry);
        Ok(position)
    }
}

impl TocEntry {
    /// Whether the three lengths can belong together.
    fn lengths_agree(&self) -> bool {
        let (sealed, plain) = (self.sealed_len as usize, self.plain_len as usize);
        let stored_as_it_came = sealed == plain + TAG_LEN;
        let stored_shorter = sealed > TAG_LEN && sealed < plain + TAG_LEN;
        (1..=MAX_CHUNK_LEN).contains(&plain)
            && if self.compressed { stored_shorter } else { stored_as_it_came }
    }

    /// The chunk's id, and where it comes from.
    pub fn name(&self) -> Name {
        if self.drawn { Name::Drawn(self.chunk) } else { Name::Content(self.chunk) }
    }

    /// The byte after the blob.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.sealed_len)
    }
}

/// Opens a table of contents: `sealed` is the last `toc_sealed_len` bytes of a body of `pack_len` bytes. Every
/// bound is checked: the blobs follow each other without gaps and end before the padding.
pub fn open_toc(keys: &KeyRing, pack: PackId, pack_len: u64, sealed: &[u8]) -> Result<Vec<TocEntry>> {
    let bad = |why: &str| Fault::corrupt(format!("table of contents of pack {pack}: {why}"));
    if pack_len > MAX_PACK_LEN as u64 || sealed.len() > MAX_TOC_LEN || sealed.len() as u64 > pack_len {
        return Err(bad("impossible length"));
    }
    let aad = toc_aad(keys.vault(), pack, pack_len);
    let plain = keys.toc_key(pack).open(0, &aad, sealed).map_err(|_| bad("does not open"))?;
    let mut decoder = minicbor::Decoder::new(&plain);
    let toc: Toc = decoder.decode().map_err(|_| bad("not readable"))?;
    if decoder.position() != plain.len() || toc.version != TOC_VERSION {
        return Err(bad("unknown form"));
    }
    if toc.entries.is_empty() || toc.entries.len() > MAX_PACK_ENTRIES {
        return Err(bad("impossible number of entries"));
    }
    let mut end = 0;
    for entry in &toc.entries {
        if !entry.lengths_agree() || u64::from(entry.offset) != end {
            return Err(bad("entries do not fit together"));
        }
        end = entry.end();
    }
    let used = end + sealed.len() as u64;
    if used.next_multiple_of(PACK_ALIGN as u64) != pack_len {
        return Err(bad("entries do not fill the pack"));
    }
    Ok(toc.entries)
}

/// Opens one blob: `sealed` is its `sealed_len` bytes, `position` its index in the table. Returns the plain,
/// decompressed chunk.
pub fn open_blob(
    keys: &KeyRing,
    pack: PackId,
    position: u32,
    entry: &TocEntry,
    sealed: &[u8],
) -> Result<Vec<u8>> {
    let bad = |why: &dyn fmt::Display| Fault::corrupt(format!("chunk {position} of pack {pack}: {why}"));
    if sealed.len() != entry.sealed_len as usize || !entry.lengths_agree() {
        return Err(bad(&"impossible length"));
    }
    let aad = blob_aad(keys.vault(), pack, position, entry);
    let stored =
        keys.pack_key(pack).open(u64::from(position), &aad, sealed).map_err(|_| bad(&"does not open"))?;
    if entry.compressed {
        unsqueeze(&stored, true, entry.plain_len).map_err(|e| bad(&e.what))
    } else {
        Ok(stored)
    }
}

/// The same chunks in the same order under another, never used, pack id: for when a disk failed under a pack
/// that is still in memory.
pub fn reseal(sealed: &SealedPack, new_id: PackId, keys: &KeyRing) -> Result<SealedPack> {
    let key = keys.pack_key(sealed.id);
    let room = sealed.body.sibling(sealed.body.len());
    let mut builder = PackBuilder::new(new_id, sealed.class, keys).in_buffer(room);
    let mut stored = Vec::new();
    for (position, entry) in (0u32..).zip(&sealed.entries) {
        let bad = || Fault::corrupt(format!("chunk {position} of pack {} does not open", sealed.id));
        let blob = sealed.body.get(entry.offset as usize..entry.end() as usize).ok_or_else(bad)?;
        let aad = blob_aad(keys.vault(), sealed.id, position, entry);
        key.open_into(u64::from(position), &aad, blob, &mut stored).map_err(|_| bad())?;
        builder.push_bytes(entry.name(), &stored, entry.compressed, entry.plain_len)?;
    }
    builder.finish()
}

fn unfaithful(pack: PackId) -> Fault {
    Fault::corrupt(format!(
        "what was just sealed into pack {pack} does not open: memory or processor at fault"
    ))
    .next("test the memory of this machine")
}

/// Vault (16) | pack (16) | position u32 | chunk id (32) | plain length u32 | compressed u8; little-endian.
fn blob_aad(vault: VaultId, pack: PackId, position: u32, entry: &TocEntry) -> [u8; 73] {
    let mut aad = [0; 73];
    aad[..16].copy_from_slice(&vault.0);
    aad[16..32].copy_from_slice(&pack.0);
    aad[32..36].copy_from_slice(&position.to_le_bytes());
    aad[36..68].copy_from_slice(&entry.chunk.0);
    aad[68..72].copy_from_slice(&entry.plain_len.to_le_bytes());
    aad[72] = u8::from(entry.compressed);
    aad
}

/// Vault (16) | pack (16) | length of the body u64; little-endian.
fn toc_aad(vault: VaultId, pack: PackId, pack_len: u64) -> [u8; 40] {
    let mut aad = [0; 40];
    aad[..16].copy_from_slice(&vault.0);
    aad[16..32].copy_from_slice(&pack.0);
    aad[32..].copy_from_slice(&pack_len.to_le_bytes());
    aad
}

impl fmt::Debug for SealedPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SealedPack({}, {}, {} chunks, {} bytes)",
            self.id,
            self.class,
            self.entries.len(),
            self.body.len()
        )
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackBuilder({}, {}, {} chunks)", self.id, self.class, self.entries.len())
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
