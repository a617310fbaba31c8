//! Facts: what journal records say. The whole state of a vault is what its facts, taken in order, make of it.
//!
//! CBOR with numbered fields: a reader skips fields it does not know, and a number is never used again for
//! something else. A checkpoint is the shortest list of facts that makes the same state.

use crate::class::LockClass;
use crate::geometry::Geometry;
use crate::ids::{ContentHash, DiskNo, ObjectId, PackId};
use crate::keep::KeepRules;
use crate::kind::{Checked, Kind};
use crate::names::{ClientName, DatasetRef};
use crate::repo::{FileKind, RepoFact};
use crate::retention::ClockFact;
use crate::shard::PackDigest;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// The beginning of a vault.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Born {
    /// The box's name, for people.
    #[n(0)]
    pub name: String,
    /// When, ms since 1970.
    #[n(1)]
    pub created_ms: u64,
    /// Certificate of the box's authority, DER: kept, so that clients go on trusting it after a recovery.
    #[n(2)]
    pub authority_der: ByteVec,
    /// Locks of seconds and folders of one file system are allowed.
    #[n(3)]
    #[cbor(default)]
    pub try_out: bool,
}

/// A client and the hash of its secret.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ClientFact {
    /// Its name.
    #[n(0)]
    pub name: ClientName,
    /// Keyed hash of its secret; `None` once removed.
    #[n(1)]
    pub secret_hash: Option<ByteVec>,
    /// Most logical bytes it may keep.
    #[n(2)]
    pub quota_bytes: Option<u64>,
    /// When it was made, ms since 1970.
    #[n(3)]
    pub created_ms: u64,
    /// Most logical bytes it may send within 24 hours.
    #[n(4)]
    pub daily_bytes: Option<u64>,
    /// Most snapshots and files it may keep.
    #[n(5)]
    pub max_objects: Option<u64>,
    /// When its secret was made, ms since 1970; `None`: with the client.
    #[n(6)]
    pub secret_ms: Option<u64>,
}

/// A pack that is durable as shards on disks.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PackFact {
    /// Its id.
    #[n(0)]
    pub id: PackId,
    /// Lock class of everything in it.
    #[n(1)]
    pub class: LockClass,
    /// Length of its body in bytes.
    #[n(2)]
    pub pack_len: u64,
    /// Length of the sealed table of contents that ends the body.
    #[n(3)]
    pub toc_sealed_len: u32,
    /// The geometry it was written with.
    #[n(4)]
    pub geometry: Geometry,
    /// Epoch under which its shards were written.
    #[n(5)]
    pub epoch: u64,
    /// Which disk has which shard: shard `i` is on `disks[i]`.
    #[n(6)]
    pub disks: Vec<DiskNo>,
    /// Binds the checksum roots of all shards.
    #[n(7)]
    pub digest: PackDigest,
}

/// Where an object's bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Body {
    /// In the fact itself.
    #[n(0)]
    Inline(#[n(0)] ByteVec),
    /// In the chunks of this encoded manifest.
    #[n(1)]
    Chunks(#[n(0)] ByteVec),
    /// In the chunks of a manifest that itself is in the chunks of this encoded manifest.
    #[n(2)]
    Deep(#[n(0)] ByteVec),
}

/// One immutable version of a data set.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ObjectFact {
    /// Its id.
    #[n(0)]
    pub id: ObjectId,
    /// Whose.
    #[n(1)]
    pub dataset: DatasetRef,
    /// Bytes as received.
    #[n(2)]
    pub size: u64,
    /// Bytes it added to the vault before parity.
    #[n(3)]
    pub stored_bytes: u64,
    /// When the box received it, ms since 1970.
    #[n(4)]
    pub received_ms: u64,
    /// Until when it may not be removed, ms since 1970.
    #[n(5)]
    pub locked_until_ms: u64,
    /// Its class.
    #[n(6)]
    pub class: LockClass,
    /// BLAKE3 of its bytes; for a file of a repository SHA-256, which is its name.
    #[n(7)]
    pub hash: ContentHash,
    /// Where they are.
    #[n(8)]
    pub body: Body,
    /// What it is in a repository; `None` for a snapshot of a data set.
    #[n(9)]
    pub file: Option<FileKind>,
    /// What was found out about a snapshot while it arrived; `None` when nothing was looked for, and for files of repositories.
    #[n(10)]
    pub checked: Option<Checked>,
    /// What its lock rests on when the clocks disagreed as it came; `None`: they agreed.
    #[n(11)]
    pub basis: Option<LockBasis>,
}

impl ObjectFact {
    /// When its lock ends, ms since 1970; never, as long as it is provisional.
    pub fn lock_ends_ms(&self) -> u64 {
        if self.basis == Some(LockBasis::Provisional) { u64::MAX } else { self.locked_until_ms }
    }
}

/// What the lock of something rests on that came while the clocks disagreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum LockBasis {
    /// On clocks that disagree still: it does not end.
    #[n(0)]
    Provisional,
    /// On the time at which they agreed again. Should the retention clock leap later, it lagged then, and the lock is longer by as much.
    #[n(1)]
    Settled,
}

/// A lock that was set anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SettledLock {
    /// Of what.
    #[n(0)]
    pub id: ObjectId,
    /// Until when it holds, ms since 1970.
    #[n(1)]
    pub until_ms: u64,
}

/// How a data set is kept: the last one of a name holds, for what is received from then on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DatasetFact {
    /// Which.
    #[n(0)]
    pub dataset: DatasetRef,
    /// Class of what it receives. What is there already keeps the lock it has.
    #[n(1)]
    pub class: LockClass,
    /// What stays after its lock.
    #[n(2)]
    pub keep: KeepRules,
    /// When this was said, ms since 1970.
    #[n(3)]
    pub set_ms: u64,
    /// What its snapshots are; `None`: recognised from what arrives.
    #[n(4)]
    pub kind: Option<Kind>,
    /// One is expected in so many seconds, 0: none is; `None`: as those that came show.
    #[n(5)]
    pub every_s: Option<u32>,
}

/// One fact.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Fact {
    /// The vault began.
    #[n(0)]
    Born(#[n(0)] Born),
    /// A client was made, changed or removed: the last one of a name holds.
    #[n(1)]
    Client(#[n(0)] ClientFact),
    /// A pack is durable.
    #[n(2)]
    PackAdded(#[n(0)] PackFact),
    /// A pack is no longer needed: everything alive in it is in the pack `into`. Manifests that name the old one are
    /// read through this.
    #[n(3)]
    PackDropped {
        /// The old pack.
        #[n(0)]
        id: PackId,
        /// The new one.
        #[n(1)]
        into: PackId,
    },
    /// A snapshot was received.
    #[n(4)]
    Object(#[n(0)] ObjectFact),
    /// An inline object's bytes were moved into a pack.
    #[n(5)]
    Folded {
        /// Which object.
        #[n(0)]
        id: ObjectId,
        /// Where its bytes are now.
        #[n(1)]
        body: Body,
    },
    /// The retention clock showed this. It never goes back: of several the latest time holds.
    #[n(6)]
    Clock(#[n(0)] ClockFact),
    /// How a data set is kept.
    #[n(7)]
    Dataset(#[n(0)] DatasetFact),
    /// These are to be forgotten after a time of grace; nobody may share chunks of these packs any more.
    #[n(8)]
    Condemned {
        /// What the retention clock showed, ms since 1970.
        #[n(0)]
        at_ms: u64,
        /// Snapshots.
        #[n(1)]
        objects: Vec<ObjectId>,
        /// Packs that nothing refers to any more.
        #[n(2)]
        packs: Vec<PackId>,
    },
    /// These were condemned and stay after all.
    #[n(9)]
    Pardoned {
        /// Snapshots.
        #[n(0)]
        objects: Vec<ObjectId>,
        /// Packs.
        #[n(1)]
        packs: Vec<PackId>,
    },
    /// These are no more. Once this is acknowledged, the shards go.
    #[n(10)]
    Freed {
        /// Snapshots.
        #[n(0)]
        objects: Vec<ObjectId>,
        /// Packs.
        #[n(1)]
        packs: Vec<PackId>,
        /// Ended packs whose name no manifest uses any more: where they went need not be remembered.
        #[n(2)]
        moves: Vec<PackId>,
    },
    /// A repository was made or changed.
    #[n(11)]
    Repo(#[n(0)] RepoFact),
    /// These files of repositories are hidden from their clients.
    #[n(12)]
    Hidden {
        /// What the retention clock showed, ms since 1970.
        #[n(0)]
        at_ms: u64,
        /// Files.
        #[n(1)]
        objects: Vec<ObjectId>,
    },
    /// When backups came to a data set or a repository, as far as that is remembered: what a rhythm is learnt from. In checkpoints, for
    /// what came may be forgotten.
    #[n(20)]
    Came {
        /// Which.
        #[n(0)]
        dataset: DatasetRef,
        /// The beginning of each sitting, ms since 1970, oldest first.
        #[n(1)]
        at_ms: Vec<u64>,
    },
    /// These are shown again, unless another one has their name by now.
    #[n(13)]
    Shown {
        /// Files.
        #[n(0)]
        objects: Vec<ObjectId>,
    },
    /// The clocks agree again: locks of what came while they did not are set, or made longer.
    #[n(21)]
    Settled {
        /// Which.
        #[n(0)]
        locks: Vec<SettledLock>,
    },
}

/// Encodes facts as the plain body of a record or checkpoint.
pub fn encode_facts(facts: &[Fact]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut out);
    // Writing to memory cannot fail.
    encoder.encode(facts).expect("encoding into memory");
    out
}

/// Reads facts back; `None` when the bytes are not exactly a list of facts. Never panics.
pub fn decode_facts(bytes: &[u8]) -> Option<Vec<Fact>> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let facts = decoder.decode().ok()?;
    (decoder.position() == bytes.len()).then_some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Fact> {
        let body = Body::Inline(b"payload".to_vec().into());
        vec![
            Fact::PackDropped { id: PackId([4; 16]), into: PackId([5; 16]) },
            Fact::Folded { id: ObjectId([1; 16]), body: body.clone() },
            Fact::Clock(ClockFact { retention_ms: 1, calm_ms: 2, wall_ms: 3 }),
            Fact::Dataset(DatasetFact {
                dataset: "a/b".parse().expect("valid"),
                class: LockClass(5),
                keep: KeepRules { last: 3, ..KeepRules::default() },
                set_ms: 4,
                kind: Some(Kind::Odoo),
                every_s: Some(86_400),
            }),
            Fact::Came { dataset: "a/b".parse().expect("valid"), at_ms: vec![5, 1 << 40] },
            Fact::Condemned { at_ms: 5, objects: vec![ObjectId([1; 16])], packs: vec![PackId([2; 16])] },
            Fact::Pardoned { objects: vec![], packs: vec![PackId([2; 16])] },
            Fact::Freed { objects: vec![ObjectId([1; 16])], packs: vec![], moves: vec![PackId([7; 16])] },
            Fact::Object(ObjectFact {
                id: ObjectId([1; 16]),
                dataset: "a/b".parse().expect("valid"),
                size: 7,
                stored_bytes: 7,
                received_ms: 1,
                locked_until_ms: 2,
                class: LockClass::DAYS_30,
                hash: ContentHash([9; 32]),
                body,
                file: Some(FileKind::Data),
                checked: Some(Checked { kind: Kind::Zip, finding: crate::kind::Finding::NoDirectory }),
                basis: Some(LockBasis::Provisional),
            }),
            Fact::Settled { locks: vec![SettledLock { id: ObjectId([1; 16]), until_ms: 3 }] },
            Fact::Repo(RepoFact {
                repo: "a/b".parse().expect("valid"),
                mode: crate::repo::RepoMode::Recoverable,
                created_ms: 8,
                removed: false,
                every_s: Some(0),
                right: Some(crate::repo::RightFiles {
                    config: Some(ObjectId([3; 16])),
                    keys: vec![ObjectId([4; 16])],
                }),
            }),
            Fact::Hidden { at_ms: 9, objects: vec![ObjectId([1; 16])] },
            Fact::Shown { objects: vec![ObjectId([1; 16])] },
        ]
    }

    #[test]
    fn round_trip_and_flips() {
        let bytes = encode_facts(&sample());
        assert_eq!(decode_facts(&bytes), Some(sample()));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Facts are sealed: a flip never gets here. It must not panic all the same.
            let _ = decode_facts(&bad);
        }
        assert_eq!(decode_facts(&bytes[..bytes.len() - 1]), None);
    }
}
