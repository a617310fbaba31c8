//! Nights in which single records and checkpoints rot, on several disks at once.
//!
//! What is promised: as long as each record has one good copy on the disks that are there, and no disk lost the end of what it
//! shows, the box comes up writable, nothing is lost, and each disk gets back what it lacks. So a night takes no last copy
//! and no end, and whoever chooses the disks of a boot sees to it that of what rotted somewhere a good copy is among
//! them. Disks that die or turn faulty wait until all is mended: that would be two bad things to one record.

use super::World;
use super::disk::{ModelDisk, Rotten};
use std::collections::BTreeSet;

impl World {
    /// Whether a disk lacks something that rotted.
    pub(super) fn anything_rotten(&self) -> bool {
        self.disks.iter().any(|d| !d.dead && !d.out && !d.rotten.is_empty())
    }

    /// Whether every disk that can still come knows one roster and belongs to it: else which disks a mount will take is
    /// not known, and with it where good copies are.
    fn one_roster(&self) -> bool {
        let mut coming = (0..self.disks.len()).filter(|p| !self.disks[*p].dead && !self.disks[*p].out);
        coming.all(|p| self.number(p).is_some() && self.disks[p].roster == self.roster)
    }

    /// A few records or checkpoints rot on any disks.
    pub(super) fn night_of_rot(&mut self) {
        if !self.one_roster() {
            return;
        }
        for _ in 0..1 + self.rng.below(8) {
            let pick = self.rng.index(self.disks.len());
            let Some((seq, what)) = self.something_of(pick) else { continue };
            let good = (0..self.disks.len()).any(|p| p != pick && self.good_copy(p, what));
            if good && self.shows_later(&self.disks[pick], seq) {
                self.disks[pick].rot(what);
                self.out.rotten += 1;
            }
        }
        let holed = self.disks.iter().filter(|d| !d.rotten.is_empty()).count();
        self.out.bad_nights += u64::from(holed > self.geometry.m());
    }

    fn something_of(&mut self, pick: usize) -> Option<(u64, Rotten)> {
        let d = &self.disks[pick];
        if d.dead || d.faulty {
            return None;
        }
        match self.rng.chance(1, 5) {
            true => self.rng.pick(&d.anchors).map(|a| (a.seq, Rotten::Checkpoint(a.hash.0))),
            false => self.rng.pick(&d.records).map(|r| (r.meta.header.seq, Rotten::Record(r.meta.hash.0))),
        }
    }

    /// Whether a disk shows something acknowledged that comes later.
    fn shows_later(&self, disk: &ModelDisk, than: u64) -> bool {
        let records = disk.records.iter().map(|r| (r.meta.header.seq, r.meta.hash));
        let mut points = records.chain(disk.anchors.iter().map(|a| (a.seq, a.hash)));
        points.any(|(seq, hash)| seq > than && self.ledger.acked(seq) == Some(hash))
    }

    fn good_copy(&self, place: usize, what: Rotten) -> bool {
        let d = &self.disks[place];
        !d.dead && !d.faulty && !d.out && self.number(place).is_some() && d.shows(what)
    }

    /// Adds to the disks of a boot those with good copies of what rotted.
    pub(super) fn keep_a_good_copy(&self, visible: &mut Vec<usize>) {
        let rotten: BTreeSet<Rotten> = self.disks.iter().flat_map(|d| &d.rotten).copied().collect();
        for what in rotten {
            if !visible.iter().any(|p| self.good_copy(*p, what)) {
                visible.extend((0..self.disks.len()).find(|p| self.good_copy(*p, what)));
            }
        }
        visible.sort_unstable();
    }
}
