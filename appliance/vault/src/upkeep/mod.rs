//! Jobs that keep the vault in shape: small payloads folded into packs, small packs merged, packs of little tolerance
//! encoded again, the journal checkpointed, the index built again; and, asked for apart, old data forgotten.
//!
//! Each is a plain blocking walk in small steps; a power cut in any of them leaves what was there before, because
//! the new pack and the end of the old ones stand in one journal record. Here is the order in which they come; each has a
//! room of its own.

mod clock;
mod compact;
mod files;
mod fold;
mod forget;
mod heal;
mod mark;
mod policy;
mod rewrite;
mod teach;

pub(crate) use clock::Retention;
pub(crate) use forget::Memory;
pub use forget::{ForgetPlan, Forgot, Judged};

use crate::core::{Core, lock};
use coffre_core::fact::Fact;
use coffre_core::fault::Result;
use coffre_core::pack::PackBuilder;
use std::sync::atomic::Ordering;

/// Readers that asked for nothing for this long are taken to be done.
const READERS_REST_MS: u64 = 10_000;
/// Buffers that nobody took for this long, or up to twice as long, go back to the system.
const BUFFERS_REST_MS: u64 = 10_000;

/// Most folds before a checkpoint is begun with what is still inline.
const FOLDS_PER_CHECKPOINT: usize = 8;

/// What [`Core::upkeep`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Did {
    /// Nothing was due.
    Nothing,
    /// Packs were merged or encoded again.
    Merged(usize),
    /// A checkpoint was begun.
    Checkpoint,
    /// The index learnt this many packs.
    Learnt(usize),
}

impl Core {
    /// One step of whatever is due. `since_merge_ms`: how long ago packs were last merged.
    pub fn upkeep(&self, since_merge_ms: u64) -> Result<Did> {
        let packs = self.upkeep_of_packs(since_merge_ms);
        match packs {
            Ok(Did::Nothing) => {
                self.give_back_memory();
                self.upkeep_of_index()
            }
            // What ails the packs is told, and keeps the index from nothing.
            Err(fault) => self.upkeep_of_index().and(Err(fault)),
            did => did,
        }
    }

    /// What packs were made in is kept between packs and pushes, not between evenings: memory that is fresh from the system is
    /// made zero first, which was a tenth of what storing new data costs.
    fn give_back_memory(&self) {
        let now_ms = self.clock.mono_ms();
        let mut last = lock(&self.last_loans);
        if now_ms.saturating_sub(last.1) > BUFFERS_REST_MS {
            self.buffers.clear_older(last.0);
            *last = (self.buffers.loans(), now_ms);
        }
        drop(last);
        let read_ms = self.last_read_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(read_ms) > READERS_REST_MS {
            self.forget_sources();
        }
    }

    fn upkeep_of_packs(&self, since_merge_ms: u64) -> Result<Did> {
        if self.with(|e| e.writable()).is_err() {
            return Ok(Did::Nothing);
        }
        self.note_clock(false);
        self.settle_locks()?;
        // What is moved must not end up with less tolerance than it had: with disks missing it stays where it is.
        let whole = self.with(|e| e.whole());
        if self.with(|e| e.checkpoint_due()) {
            // What arrives meanwhile, and what cannot be folded now, rides inline in the checkpoint.
            let mut left = if whole { FOLDS_PER_CHECKPOINT } else { 0 };
            while left > 0 && self.fold().is_ok_and(|count| count > 0) {
                left -= 1;
            }
            self.with(|e| e.want_checkpoint());
            return Ok(Did::Checkpoint);
        }
        // One that cannot be encoded again now keeps neither the others nor the merging waiting.
        for pack in self.debt() {
            if let Ok(count) = self.rewrite(std::slice::from_ref(&pack)) {
                return Ok(Did::Merged(count));
            }
        }
        match self.mergeable(since_merge_ms) {
            packs if packs.len() > 1 && whole => self.rewrite(&packs).map(Did::Merged),
            _ => Ok(Did::Nothing),
        }
    }

    /// Writes a pack made here and waits until it and `with` are acknowledged.
    fn land(&self, builder: PackBuilder, with: Vec<Fact>, at_least_m: usize) -> Result<()> {
        self.wait_for_room()?;
        let id = builder.id();
        let sealed = builder.finish()?;
        self.with(|e| e.pack_sealed(sealed, with, at_least_m));
        let ticket = self.submit(Vec::new(), vec![id]);
        self.wait(ticket).map(|_| ())
    }
}
