//! The light look: label, journal and checkpoint of each disk, then header and footer of every shard.

use crate::core::{Core, lock};
use crate::inspect::Wanted;
use crate::ports::Disk;
use coffre_core::ids::{DiskNo, PackId};

/// Which disk's journal is being compared, and from which record on.
#[derive(Debug, Default)]
pub(super) struct Basics {
    disk: u8,
    from: u64,
}

impl Core {
    /// Has the next part of a journal compared. One part of one disk at a time: acknowledgements wait behind it.
    pub(super) fn go_on_with_basics(&self, mut basics: Basics) -> bool {
        if self.with(|e| e.auditing()) {
            lock(&self.scrubber.0).basics = Some(basics);
            return false;
        }
        if usize::from(basics.disk) >= self.roster.len() {
            lock(&self.scrubber.0).plan.basics_done();
            return true;
        }
        match self.with(|e| e.audit(DiskNo(basics.disk), basics.from)) {
            Some(next) => basics.from = next,
            None => basics = Basics { disk: basics.disk + 1, from: 0 },
        }
        lock(&self.scrubber.0).basics = Some(basics);
        true
    }

    /// Looks at header and footer of a pack's shards on all disks that are there.
    pub(super) fn look_at_headers(&self, id: PackId) {
        let wanted = self.shards_to_look_at(id);
        let asks = wanted.iter().cloned().map(|w| (w.disk(), move |disk: &dyn Disk| w.look_at_ends(disk)));
        let answers = self.ask_all(asks);
        for (wanted, answer) in wanted.iter().zip(answers) {
            // A disk that does not answer says nothing about its shards.
            if let Ok(Err(damage)) = answer {
                self.with(|e| e.shard_damaged(id, wanted.shard(), damage));
            }
        }
    }

    /// The shards of a pack on disks that are there, without those that are known to be lost.
    pub(super) fn shards_to_look_at(&self, id: PackId) -> Vec<Wanted> {
        let Some(pack) = self.live(id) else { return Vec::new() };
        let (here, lost) = self.with(|e| (e.present(), e.lost_shards(&id)));
        let all = (0..pack.geometry.width()).filter_map(|n| Wanted::new(self.keys.vault(), &pack, n));
        all.filter(|w| here.has(w.disk()) && !lost.has(w.disk())).collect()
    }
}
