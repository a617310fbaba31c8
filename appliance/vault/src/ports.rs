//! Doors to the world: disk, index, clock, dice. Each says what holds after a crash; each has one real
//! adapter and one strict fake, under one conformance suite (`hw-tests`).
//!
//! Assumptions about the medium, on which the formats rest:
//! 1. What was written and synced is read back, or the read fails, or a checksum of ours convicts it.
//! 2. A write damages no 4 KiB block that it does not touch.
//! 3. A file's name survives a power cut only after `sync_dir` of its folder.
//!
//! Nothing else is assumed: not that writes land in order, nor whole, nor that an unsynced file exists.

use coffre_core::buffer::Buffer;
use std::fmt;
use std::io;

/// Why a disk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No such file or folder on this disk.
    #[error("{0}: not found")]
    NotFound(String),
    /// A file of that name exists already.
    #[error("{0}: exists already")]
    Exists(String),
    /// The disk is not there (unplugged, unmounted, replaced by another one).
    #[error("disk is gone: {0}")]
    Gone(String),
    /// Another process has the disk.
    #[error("{0}")]
    Held(String),
    /// Somebody else has promised a newer epoch on it.
    #[error("{0}")]
    Taken(String),
    /// No space left.
    #[error("no space left on the disk: {0}")]
    Full(String),
    /// The box itself is short of something that the operation needs (descriptors, memory). It says nothing of the disk, and
    /// nothing of what lies on it: the same may be asked again.
    #[error("{what}: {source}; nothing is wrong with the disk, the box is short of it")]
    Shortage {
        /// Which operation on which file.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else the system said: trouble with this disk.
    #[error("{what}: {source}")]
    Io {
        /// Which operation on which file.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DiskError {
    /// Whether the medium fails under a file that is there. A disk that is gone or does not answer, and a box that is short of
    /// something, say nothing of the file.
    pub fn medium_fails(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::TimedOut)
    }

    /// Whether something that is no file stands where a file was looked for: a folder, a pipe, a link, a device.
    /// It says nothing of the disk's health.
    pub fn is_no_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory)
    }
}

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A pipe, a link, a socket, a device.
    Other,
    /// The disk does not say.
    Unknown,
}

/// Result of a disk operation.
pub type DiskResult<T> = Result<T, DiskError>;

/// Sizes of the file system a disk folder is on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for us.
    pub free: u64,
}

/// One disk: a folder on a file system of its own. Paths are relative, of `[a-z0-9.-]` parts joined by `/`,
/// made by our code and never taken from outside.
///
/// An implementation keeps a file open from `create`/`open_rw` until `close`, so that `sync` speaks of the very
/// handle that was written: after a failed `sync` the same bytes must be written again through a new handle
/// before any later `sync` means something. Every operation that opens or makes something first checks that
/// the disk is still the one that was attached (`Gone` otherwise).
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes the folder `path` (and those above it); fine if it exists.
    ///
    /// # Durability
    /// None until `sync_dir` of the folder above.
    fn make_dir(&self, path: &str) -> DiskResult<()>;

    /// Creates an empty file for writing; `Exists` if there is one.
    ///
    /// # Durability
    /// None: contents after `sync`, the name after `sync_dir` of its folder.
    fn create(&self, path: &str) -> DiskResult<()>;

    /// Opens an existing file for `write_at`. Fine if it is open already.
    fn open_rw(&self, path: &str) -> DiskResult<()>;

    /// Writes `bytes` at `offset` of a file opened by `create` or `open_rw`; writes past the end extend it.
    ///
    /// # Durability
    /// None until `sync`. After a crash each 512-byte sector touched may be old, new or garbage.
    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> DiskResult<()>;

    /// Waits until everything written to the open file `path` is on stable storage.
    ///
    /// # Durability
    /// On success all earlier `write_at` of this file are durable. On failure none of them are, for ever.
    fn sync(&self, path: &str) -> DiskResult<()>;

    /// Forgets the handle of `path`; fine if it is not open.
    fn close(&self, path: &str);

    /// Waits until all names made, moved or removed in the folder `path` (`""` is the root) are durable.
    fn sync_dir(&self, path: &str) -> DiskResult<()>;

    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>>;

    /// As [`read_at`](Self::read_at), from the medium and not from what the system remembers of it, as far as it can be
    /// told to forget: for whoever proves that bytes are there, or reads much and once. What was written and not synced may be
    /// shown. On `Ok`, `into` has the bytes and nothing else; otherwise what it has means nothing.
    fn read_medium(&self, path: &str, offset: u64, len: usize, into: &mut Buffer) -> DiskResult<()>;

    /// Length of the file in bytes.
    fn len(&self, path: &str) -> DiskResult<u64>;

    /// Names in the folder, sorted. `NotFound` if there is no such folder.
    fn list(&self, path: &str) -> DiskResult<Vec<String>>;

    /// Shows the names in the folder one by one, in any order, with what each stands for. Where somebody has put millions of
    /// them, nothing is kept but what `see` keeps. What is no UTF-8 is shown with `\u{fffd}` in it: nobody's name has that.
    fn each(&self, path: &str, see: &mut dyn FnMut(&str, EntryKind)) -> DiskResult<()> {
        self.list(path)?.iter().for_each(|name| see(name, EntryKind::Unknown));
        Ok(())
    }

    /// Moves a file on the same disk, replacing what is there.
    ///
    /// # Durability
    /// None until `sync_dir` of both folders; never half of it.
    fn rename(&self, from: &str, to: &str) -> DiskResult<()>;

    /// Removes a file. `NotFound` if there is none.
    ///
    /// # Durability
    /// None until `sync_dir`.
    fn remove(&self, path: &str) -> DiskResult<()>;

    /// Sizes of its file system.
    fn space(&self) -> DiskResult<Space>;
}

/// Wall time and running time. Never asked from the ground floor.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970-01-01 UTC by the system's clock: may jump.
    fn wall_ms(&self) -> u64;
    /// Milliseconds that never go back, from an arbitrary start.
    fn mono_ms(&self) -> u64;
}

/// The source of random bytes: ids, salts, keys.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `out` with bytes nobody can guess.
    fn fill(&self, out: &mut [u8]);
}

/// Where a chunk may be: a hint, to be confirmed against the pack's own table of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHint {
    /// The pack.
    pub pack: coffre_core::ids::PackId,
    /// Its position in the pack's table of contents.
    pub position: u32,
}

/// Why the index could not answer. Whatever it is, the answer is to burn it and build it again.
#[derive(Debug, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub String);

/// The index: a projection that may be late, wrong or gone at any moment, and is never the truth.
/// Callers confirm every answer; an error or a wrong answer means [`Index::burn`] and a rebuild.
///
/// # Durability
/// None is promised by any method.
pub trait Index: Send + Sync + fmt::Debug {
    /// Where the chunk may be.
    fn chunk(&self, id: &coffre_core::ids::ChunkId) -> Result<Option<ChunkHint>, IndexError>;

    /// Learns a pack's table of contents: `chunks[i]` is the id at position `i`.
    fn learn(
        &self,
        pack: coffre_core::ids::PackId,
        chunks: &[coffre_core::ids::ChunkId],
    ) -> Result<(), IndexError>;

    /// Learns many packs at once: the same, and for an index that is built again much quicker.
    fn learn_many(
        &self,
        packs: &[(coffre_core::ids::PackId, Vec<coffre_core::ids::ChunkId>)],
    ) -> Result<(), IndexError> {
        packs.iter().try_for_each(|(pack, chunks)| self.learn(*pack, chunks))
    }

    /// Forgets a pack that was dropped. Hints to it may linger; callers confirm.
    fn forget(&self, pack: coffre_core::ids::PackId) -> Result<(), IndexError>;

    /// The packs it has learnt and not forgotten: what a rebuild may skip.
    fn packs(&self) -> Result<Vec<coffre_core::ids::PackId>, IndexError>;

    /// Notes a snapshot in the catalogue's projection. `order` is its place in the journal.
    fn note_object(
        &self,
        dataset: &coffre_core::names::DatasetRef,
        order: u64,
        id: coffre_core::ids::ObjectId,
    ) -> Result<(), IndexError>;

    /// Ids of a data set's snapshots in journal order, as far as the projection knows.
    fn objects(
        &self,
        dataset: &coffre_core::names::DatasetRef,
    ) -> Result<Vec<coffre_core::ids::ObjectId>, IndexError>;

    /// Whether its files are still where they were opened; those of one that has none always are.
    fn in_place(&self) -> bool {
        true
    }

    /// Empties it, whatever state it is in.
    fn burn(&self) -> Result<(), IndexError>;
}
