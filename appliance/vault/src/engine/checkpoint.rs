//! Checkpoints: when the journal has grown long, the catalogue is written whole and the journal before the last one forgotten.
//!
//! The checkpoint before it stays, with the journal from it on: a checkpoint that goes bad on its disk costs nothing then, also where
//! there is one disk only.

use super::Engine;
use crate::lane::Job;
use coffre_core::checkpoint as format;
use coffre_core::coord::Anchor;
use coffre_core::diskset::DiskSet;
use coffre_core::ids::DiskNo;
use std::sync::Arc;

/// The checkpoint under way, if any.
#[derive(Default)]
pub(super) struct State {
    wanted: bool,
    writing: Option<Writing>,
}

struct Writing {
    anchor: Anchor,
    /// The one before. It and the journal from it on stay: if this one goes bad, nothing is lost.
    before: Anchor,
    image: Arc<Vec<u8>>,
    waiting: DiskSet,
    holders: DiskSet,
    forgot: DiskSet,
}

impl Engine {
    /// Whether the journal is long enough for a checkpoint and none is under way.
    pub fn checkpoint_due(&self) -> bool {
        self.log_bytes > self.limits.checkpoint_after && self.checkpoint.writing.is_none()
    }

    /// Begins a checkpoint as soon as it can be made.
    pub fn want_checkpoint(&mut self) {
        self.checkpoint.wanted = true;
        self.pump();
    }

    /// Whether a checkpoint is being written.
    pub fn checkpointing(&self) -> bool {
        self.checkpoint.writing.is_some()
    }

    pub(super) fn drive_checkpoint(&mut self) {
        if !self.checkpoint.wanted || self.checkpoint.writing.is_some() || self.coord.writable().is_err() {
            return;
        }
        let seq = self.coord.checkpointable();
        let Some(anchor) = self.coord.point(seq).filter(|a| a.seq > self.coord.base().seq) else { return };
        let mut catalog = std::borrow::Cow::Borrowed(&self.catalog);
        if self.applied < seq {
            // Reached only by the flaw that checkpoints what is not acknowledged.
            for fact in self.unacked.range(..=seq).flat_map(|(_, facts)| facts.clone()) {
                catalog.to_mut().apply(fact);
            }
        }
        let Ok(image) = format::encode(&self.keys, anchor, self.random(), catalog.facts()) else {
            return;
        };
        let image = Arc::new(image);
        let waiting: DiskSet =
            self.coord.counting().iter().filter(|d| self.coord.synced(*d) >= anchor.seq).collect();
        self.checkpoint.wanted = false;
        self.checkpoint.writing = Some(Writing {
            anchor,
            before: self.coord.base(),
            image: image.clone(),
            waiting,
            holders: DiskSet::EMPTY,
            forgot: DiskSet::EMPTY,
        });
        for disk in waiting.iter() {
            self.give(disk, Job::Checkpoint { anchor, image: image.clone() });
        }
    }

    pub(super) fn checkpoint_written(&mut self, disk: DiskNo, anchor: Anchor) {
        let Some(writing) = self.checkpoint.writing.as_mut().filter(|w| w.anchor == anchor) else { return };
        writing.waiting = writing.waiting.without(disk);
        writing.holders = writing.holders.with(disk);
        let may_forget = self.coord.checkpointed(anchor, writing.holders);
        let forget = may_forget.minus(writing.forgot);
        writing.forgot = may_forget;
        if !may_forget.is_empty() {
            self.base_image = Some(writing.image.clone());
            self.log = self.log.split_off(&(anchor.seq + 1));
            self.log_bytes = self.log.values().map(|b| b.len() as u64).sum();
        }
        let before = writing.before;
        for disk in forget.iter() {
            if let Some(guard) = self.guard(disk) {
                self.give(disk, Job::Forget { anchor: before, guard });
            }
        }
        self.finish_checkpoint();
    }

    pub(super) fn checkpoint_lost(&mut self, disk: DiskNo) {
        if let Some(writing) = self.checkpoint.writing.as_mut() {
            writing.waiting = writing.waiting.without(disk);
        }
        self.finish_checkpoint();
    }

    fn finish_checkpoint(&mut self) {
        if self.checkpoint.writing.as_ref().is_some_and(|w| w.waiting.is_empty()) {
            self.checkpoint.writing = None;
        }
    }
}
