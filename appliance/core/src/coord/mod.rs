//! The journal coordinator: who says yes, and when. Pure: views and completions in, actions out.
//!
//! The journal is one hash-chained list of records, mirrored on every disk. Two halves:
//!
//! - `adopt` looks at what each visible disk shows and decides which history is the true one and whether this box may
//!   write (rules R1 and R3, the witness);
//! - `run` keeps the disks in step, begins epochs (R2, R4), decides what is acknowledged (R5), and takes in disks
//!   that come back (R6).
//!
//! The rules, with n disks and m parities:
//!
//! - **R1** read-write only if at most m disks are absent and at least m + 1 are visible (or a current witness
//!   vouches for fewer);
//! - **R2** a new epoch is above every epoch promised or seen, and is promised durably on all visible disks before
//!   any record of it exists;
//! - **R3** the journal of the highest epoch of a Mount *record* holds, the longest valid one of those; but none holds beside
//!   which something is known to have been acknowledged (`proofs`): when there is no other, the box is read-only;
//! - **R4** append `Mount{e}`, then bring every visible disk up to it; facts only when it is acknowledged;
//! - **R5** acknowledged means: Mount and record are durable on m + 1 disks (witnessed: on every active one);
//! - **R6** a disk that drops out stops counting; one that comes back counts after its holes were mended, its divergent
//!   tail was put aside and it has caught up past the Mount record;
//! - **R10** one owner: a journal write counts on a disk only when the label there, read again after it, shows no promise but the
//!   owner's own; and who mounts reads again, after its promise, that the journal did not grow since it was read. So of two that take
//!   the same disks the older one stops before its next acknowledgement, and the newer one misses nothing that the older one
//!   acknowledged: on each disk one of the two sees the other.
//!
//! `roster` changes the disks themselves (R7 to R9, explained in `core/roster`).
//!
//! A **checkpoint** replaces the journal up to an acknowledged record. It is an *anchor* of the chain: the
//! number, epoch and hash of that record, and where the journal goes on. Once it is durable on as many disks as an
//! acknowledgement asks for, those that have it forget the journal before it; no other disk does.

mod adopt;
mod epochs;
mod held;
mod journal;
mod known;
mod proofs;
mod roster;
mod run;

use crate::diskset::DiskSet;
use crate::ids::RecordHash;
use crate::record::Meta;

pub use adopt::{Adopted, Plan, Verdict, plan};
pub use held::Held;
pub use run::{Act, Coordinator, Setup};

/// Where in the journal's files: a segment and a byte offset in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Spot {
    /// Number of the segment file, from 0.
    pub segment: u32,
    /// Offset in bytes, a whole number of blocks.
    pub offset: u32,
}

impl Spot {
    /// Where a record of `padded_len` bytes goes when the journal so far ends here: records never span segments.
    pub fn place(self, padded_len: usize, segment_len: u32) -> Self {
        if self.offset as usize + padded_len > segment_len as usize {
            Self { segment: self.segment + 1, offset: 0 }
        } else {
            self
        }
    }

    /// The spot `padded_len` bytes further on.
    pub fn after(self, padded_len: usize) -> Self {
        Self { segment: self.segment, offset: self.offset + padded_len as u32 }
    }
}

/// A point of the chain that a checkpoint stands for: everything up to and including record `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Number of the record; 0 for the beginning of all journals.
    pub seq: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its hash.
    pub hash: RecordHash,
    /// Where the journal goes on after it.
    pub end: Spot,
}

impl Anchor {
    /// The beginning: no record yet.
    pub const GENESIS: Self =
        Self { seq: 0, epoch: 0, hash: RecordHash::ZERO, end: Spot { segment: 0, offset: 0 } };
}

/// A record and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The record.
    pub meta: Meta,
    /// Its place, the same on every disk.
    pub spot: Spot,
}

impl Placed {
    /// As a point of the chain.
    pub fn anchor(&self) -> Anchor {
        Anchor {
            seq: self.meta.header.seq,
            epoch: self.meta.header.epoch,
            hash: self.meta.hash,
            end: self.spot.after(self.meta.padded_len),
        }
    }
}

/// What one visible disk shows when it is read from end to end.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Highest epoch promised in its label.
    pub promised: u64,
    /// Version of the roster in its label.
    pub version: u64,
    /// From this record on the journal's headers speak of this disk, not of one that had its number before.
    pub since: u64,
    /// Its valid checkpoints.
    pub anchors: Vec<Anchor>,
    /// Its valid records, in order of position, whatever their history.
    pub records: Vec<Placed>,
    /// Checkpoints that this disk does not have whole, and that can be had all the same: histories may begin there, but nothing
    /// of them is on this disk.
    pub lent: Vec<Anchor>,
    /// Records that no disk shows whole, made whole from the pages of several.
    pub pieced: Vec<Placed>,
}

/// Why the vault is not writable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stalled {
    /// More disks are absent than the geometry can miss.
    TooManyAbsent {
        /// How many.
        absent: usize,
    },
    /// Too few disks for the plain rule and no current witness.
    TooFewVisible {
        /// How many are visible.
        visible: usize,
    },
    /// The witness has seen a newer journal than any visible disk shows.
    BehindWitness,
    /// Something acknowledged is missing from every visible disk.
    AcknowledgedMissing,
    /// Disks contradict what they once confirmed, more of them than the geometry can miss.
    TooManyConvicted {
        /// These.
        disks: DiskSet,
    },
    /// Two histories, and of both something is known to have been acknowledged.
    Fork,
    /// No disk has a whole checkpoint from which the journal goes on without a gap.
    CheckpointDamaged {
        /// Of the newest: how many facts in it are lost; `None` when nothing of it can be read.
        lost: Option<u64>,
    },
    /// A change of the roster is under way, or its labels are being brought up to date.
    Changing,
    /// This disk was taken out of the roster.
    Left,
    /// Somebody else has promised a newer epoch on these disks (R10).
    Taken,
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyAbsent { absent: 1 } => {
                f.write_str("1 disk is missing, and this vault can miss none: put it back")
            }
            Self::TooManyAbsent { absent } => {
                write!(f, "{absent} disks are missing, more than this vault can miss: put them back")
            }
            Self::TooFewVisible { visible: 0 } => f.write_str("no disk is visible: put them back"),
            Self::TooFewVisible { visible } => {
                let disks = if *visible == 1 { "disk is" } else { "disks are" };
                write!(f, "only {visible} {disks} visible, too few to be sure that nothing is lost: put the others back")
            }
            Self::BehindWitness => f.write_str(
                "the disks show an older state than the box remembers: possibly stale, put back those that were used last",
            ),
            Self::AcknowledgedMissing => {
                f.write_str("journal records that were acknowledged are missing from every visible disk")
            }
            Self::TooManyConvicted { disks } => {
                write!(f, "disks {disks:?} lost what they had confirmed as stored: possibly stale")
            }
            Self::Fork => f.write_str("the disks show two histories that were both acknowledged: nothing is written, so that none of them is lost"),
            Self::CheckpointDamaged { lost: None } => f.write_str(
                "the checkpoint on the disks is damaged, and the one before it too: what was stored before cannot be named; \
                 put back a disk that has it whole",
            ),
            Self::CheckpointDamaged { lost: Some(lost) } => write!(
                f,
                "the checkpoint on the disks is damaged, and the one before it too: {lost} of its entries cannot be \
                 read, and the backups in them cannot be named; put back a disk that has it whole"
            ),
            Self::Changing => f.write_str("the disks of the vault are being changed or brought into step"),
            Self::Left => f.write_str("it was taken out of the vault"),
            Self::Taken => f.write_str("another box, or another coffred, has taken these disks over"),
        }
    }
}
