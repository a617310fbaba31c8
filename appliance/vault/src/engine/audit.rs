//! What the scrub asks of the engine: audits of labels and journals, and what was found, by whomever.

use super::Engine;
use super::disks::What;
use crate::inspect::Damage;
use crate::lane::{Audit, Done, Job};
use crate::ports::DiskError;
use coffre_core::checkpoint;
use coffre_core::ids::{DiskNo, PackId};
use coffre_core::roster::Change;
use coffre_core::scrub::Thing;
use std::sync::Arc;

/// Bytes of journal compared in one job: acknowledgements wait behind it.
const AUDITED_AT_ONCE: usize = 1 << 20;
/// Most finds that wait to be told.
const MAX_FOUND: usize = 4_096;

/// Something found damaged, to be told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, when it is on one disk.
    pub disk: Option<DiskNo>,
    /// What.
    pub thing: Thing,
    /// How many blocks; 0 for the whole thing.
    pub blocks: u32,
    /// Whether it is right again already.
    pub healed: bool,
}

impl Engine {
    /// Has some of a disk's journal compared, from record `from` on (0: the label and the checkpoint first). Returns where
    /// to go on; `None` when that was the end of it, or the disk does not count.
    pub fn audit(&mut self, disk: DiskNo, from: u64) -> Option<u64> {
        if !self.coord.counting().has(disk) || self.coord.is_taken() {
            return None;
        }
        let mut audit = Audit::default();
        if from == 0 {
            audit.label = self.slots[disk.ix()].label.clone();
            let own = |image: Arc<Vec<u8>>| Some((checkpoint::verify(self.keys.vault(), &image)?, image));
            audit.checkpoint = self.base_image.clone().and_then(own);
        }
        let (mut len, mut next) = (0, None);
        for (seq, bytes) in self.log.range(from..=self.coord.synced(disk)) {
            if len > 0 && len + bytes.len() > AUDITED_AT_ONCE {
                next = Some(*seq);
                break;
            }
            len += bytes.len();
            let placed = self.coord.placed(*seq);
            audit.records.extend(placed.map(|p| (*seq, p.spot, bytes.clone())));
        }
        self.auditing += 1;
        self.give_as(disk, Job::Audit(Arc::new(audit)), What::Audit);
        next
    }

    /// Whether an audit is on its way.
    pub fn auditing(&self) -> bool {
        self.auditing > 0
    }

    pub(super) fn audit_done(&mut self, disk: DiskNo, result: &Result<Done, DiskError>) {
        self.auditing -= 1;
        for (thing, healed) in result.iter().flat_map(|done| &done.audited) {
            self.tell_found(Found { disk: Some(disk), thing: *thing, blocks: 0, healed: *healed });
        }
    }

    /// A disk that came lacked this of its journal, and has it again.
    pub(super) fn journal_mended(&mut self, disk: DiskNo, lost: &[Thing]) {
        for thing in lost {
            self.tell_found(Found { disk: Some(disk), thing: *thing, blocks: 0, healed: true });
        }
    }

    /// A pack's shard was found gone or damaged on a disk that is there: it counts no more until it is healed.
    pub fn shard_damaged(&mut self, pack: PackId, shard: usize, damage: Damage) {
        let awaited = self.is_awaited(pack, shard);
        if let Some(disk) = self.note_bad(pack, shard).filter(|_| !awaited) {
            let thing = Thing::Shard(pack);
            self.tell_found(Found { disk: Some(disk), thing, blocks: damage.blocks, healed: false });
        }
    }

    /// Whether a shard is only still to be made on a disk that came later than the vault: nothing was damaged there, and a disk
    /// full of finds would have all of the others looked into.
    fn is_awaited(&self, pack: PackId, shard: usize) -> bool {
        let Some(disk) = self.catalog.pack(&pack).and_then(|p| p.disks.get(shard).copied()) else {
            return false;
        };
        let replaced = self.roster.change == Some(Change::Replaced(disk));
        let came_later = || self.slots[disk.ix()].label.as_ref().is_some_and(|label| label.since > 0);
        (replaced || came_later()) && (!self.listed.has(disk) || self.absent_shards(&pack).has(disk))
    }

    /// A pack with whole shards does not open.
    pub fn pack_unopenable(&mut self, pack: PackId) {
        self.tell_found(Found { disk: None, thing: Thing::Pack(pack), blocks: 0, healed: false });
    }

    fn tell_found(&mut self, found: Found) {
        if self.found.len() < MAX_FOUND {
            self.found.push(found);
        }
        self.finds_changed();
    }

    /// Finds that were not taken yet.
    pub fn found_waiting(&self) -> usize {
        self.found.len()
    }

    /// What was found since the last call.
    pub fn take_found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }
}
