//! Looking again whose disk it is, where locks do not reach (R10): on another machine, through another kernel.
//!
//! Before a lane writes to label or journal it reads the label, and after it has synced the journal it reads the label once more: a
//! promise that is not this mount's own, made with the vault's keys, means that another owner has the disk. Nothing that
//! was written counts then. Who mounts looks from the other side: it promises first, then reads whether the journal grew.

use super::Hand;
use crate::layout;
use crate::ports::{DiskError, DiskResult};
use crate::survey::{NotOurs, Tip, journal_tip, read_label};
use coffre_core::flaw::Flaw;
use coffre_core::ids::DiskId;
use coffre_core::label::Label;
use std::io;

/// What the label of a disk says of its owner, as this mount knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The disk.
    pub disk: DiskId,
    /// The highest epoch promised on it.
    pub promised: u64,
    /// The mark of whoever promised it.
    pub owner: [u8; 16],
}

impl Guard {
    /// What is known of this label.
    pub fn of(label: &Label) -> Self {
        Self { disk: label.disk, promised: label.promised, owner: label.owner }
    }

    /// Whether a label of the same disk was written by somebody else since. An older one was not: a slot that rotted shows the one
    /// before.
    pub fn is_passed_by(&self, there: &Label) -> bool {
        let newer = there.promised > self.promised;
        let tied = there.promised == self.promised && there.owner != self.owner;
        there.disk == self.disk && (newer || tied)
    }
}

impl Hand<'_> {
    /// `Taken` when the label shows another owner. A label that cannot be read, or was not written with the vault's keys, shows
    /// nothing: whoever can write to one disk stops nobody.
    pub(super) fn still_ours(&self, guard: &Guard) -> DiskResult<()> {
        if self.flaws.has(Flaw::NeverLookAgain) {
            return Ok(());
        }
        match read_label(self.disk, self.keys) {
            Ok(there) if guard.is_passed_by(&there) => Err(DiskError::Taken(format!(
                "another box, or another coffred, has taken it over (it promised epoch {})",
                there.promised
            ))),
            // Gone, or the box is short of something: not looked is not ours.
            Err(NotOurs::Disk(e)) if !e.medium_fails() => Err(e),
            _ => Ok(()),
        }
    }

    /// After the promise: an error when the journal is not what it was when it was read. Somebody wrote to it in between, and what
    /// that was must be read before anything is decided.
    pub(super) fn has_not_grown(&self, tip: &Tip) -> DiskResult<()> {
        if self.flaws.has(Flaw::TakeUnread) || journal_tip(self.disk, self.keys.vault())? == *tip {
            return Ok(());
        }
        let source = io::Error::other("somebody else wrote to it while it was being taken; it is read again");
        Err(DiskError::Io { what: format!("promise on {}", layout::LABEL), source })
    }
}
