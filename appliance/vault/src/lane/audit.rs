//! The light scrub of a disk's label, journal and checkpoint: compared with what they must be, and written right.
//!
//! It goes through the journal's lane, so that nothing is compared while it is being written. A record found wrong is
//! written over its own blocks from the copy in memory: it was no good before, so a torn write takes nothing from what
//! rests on the other disks.

use super::{Guard, Hand};
use crate::lane::Done;
use crate::layout;
use crate::ports::{DiskError, DiskResult};
use coffre_core::buffer::Buffer;
use coffre_core::coord::{Anchor, Spot};
use coffre_core::flaw::Flaw;
use coffre_core::label::{LABEL_LEN, Label};
use coffre_core::scrub::Thing;
use std::sync::Arc;

/// What a disk must have.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Its label.
    pub label: Option<Label>,
    /// Records that it has confirmed: number, place, bytes with their padding.
    pub records: Vec<(u64, Spot, Arc<[u8]>)>,
    /// The newest checkpoint, if this disk has it.
    pub checkpoint: Option<(Anchor, Arc<Vec<u8>>)>,
}

impl Audit {
    pub(super) fn bytes(&self) -> u64 {
        let image = self.checkpoint.as_ref().map_or(0, |(_, image)| image.len());
        (self.records.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>() + image) as u64
    }
}

impl Hand<'_> {
    pub(super) fn audit(&self, audit: &Audit) -> DiskResult<Done> {
        let mut audited = Vec::new();
        if let Some(label) = &audit.label
            && !self.label_is_right(label)?
        {
            self.still_ours(&Guard::of(label))?;
            self.write_label_anew(label)?;
            audited.push((Thing::Label, self.label_is_right(label)?));
        }
        // What counts is what the next mount would find, the way it looks.
        let found = self.segments()?;
        for (seq, spot, bytes) in &audit.records {
            let path = layout::segment(spot.segment);
            let shown = found.binary_search(&spot.segment).is_ok();
            if !shown || !self.shows(&path, u64::from(spot.offset), bytes)? {
                self.disk.open_rw(&path)?;
                self.disk.write_at(&path, u64::from(spot.offset), bytes)?;
                self.sync(&path)?;
                let right = shown && self.shows(&path, u64::from(spot.offset), bytes)?;
                audited.push((Thing::Record(*seq), right));
            }
        }
        if let Some((anchor, image)) = &audit.checkpoint {
            let path = layout::checkpoint(anchor.seq);
            match self.disk.len(&path) {
                // Not every disk has every checkpoint.
                Err(DiskError::NotFound(_)) => {}
                Ok(len) if len == image.len() as u64 && self.shows(&path, 0, image)? => {}
                Err(e) if !e.medium_fails() => return Err(e),
                _ => {
                    self.checkpoint(*anchor, image)?;
                    audited.push((Thing::Checkpoint(anchor.seq), self.shows(&path, 0, image)?));
                }
            }
        }
        if audited.iter().any(|(_, right)| !right)
            && let Err(DiskError::NotFound(_)) = self.disk.len(layout::LABEL)
        {
            // Whoever took the disk's folder away took what was looked for: that is no damage.
            return Err(DiskError::Gone("its label is not there any more".into()));
        }
        Ok(Done { audited, ..Done::default() })
    }

    /// Whether a file has these bytes there. A medium that fails has not.
    pub(super) fn shows(&self, path: &str, offset: u64, bytes: &[u8]) -> DiskResult<bool> {
        let mut there = Buffer::new();
        match self.disk.read_medium(path, offset, bytes.len(), &mut there) {
            Ok(()) => Ok(*there == *bytes),
            Err(DiskError::NotFound(_)) => Ok(false),
            Err(e) if e.medium_fails() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The slot of this generation has this label, and the other one some label.
    fn label_is_right(&self, label: &Label) -> DiskResult<bool> {
        Ok(self.own_slot_is_right(label)? && self.other_slot_is_good(label)?)
    }

    fn own_slot_is_right(&self, label: &Label) -> DiskResult<bool> {
        self.shows(layout::LABEL, label.slot_offset(), &label.encode(self.keys))
    }

    /// Whether the slot that `label` does not go to has a label by itself. A medium that fails there has none.
    pub(super) fn other_slot_is_good(&self, label: &Label) -> DiskResult<bool> {
        let (at, len) = (label.slot_offset() as usize, label.encode(self.keys).len());
        let mut file = vec![0; LABEL_LEN];
        let mut there = Buffer::new();
        let other = if at == 0 { len } else { 0 };
        match self.disk.read_medium(layout::LABEL, other as u64, len, &mut there) {
            Ok(()) if there.len() == len => file[other..other + len].copy_from_slice(&there),
            Ok(()) | Err(DiskError::NotFound(_)) => {}
            Err(e) if e.medium_fails() => {}
            Err(e) => return Err(e),
        }
        Ok(Label::open(self.keys, &file).is_ok_and(|other| other.disk == label.disk))
    }

    /// What is bad is written and nothing else: a slot that is right may be the only one.
    fn write_label_anew(&self, label: &Label) -> DiskResult<()> {
        let older = Label { generation: label.generation.saturating_sub(1), ..label.clone() };
        if self.flaws.has(Flaw::LabelOverGood) {
            self.label(label)?;
            return self.label(&older);
        }
        if self.own_slot_is_right(label)? { self.label_slot(&older) } else { self.label(label) }
    }
}
