//! The coordinator's journal: the chain, where records go, what is acknowledged, what a checkpoint replaces.

use super::held::Held;
use super::run::{Coordinator, DiskState, Phase, Presence};
use super::{Anchor, Placed, Spot};
use crate::diskset::DiskSet;
use crate::flaw::Flaw;
use crate::geometry::MAX_DISKS;
use crate::ids::DiskNo;
use crate::record::{Header, Kind, Meta};

impl Coordinator {
    /// The header of the next record. Mount headers come from [`Act::Mount`](super::Act::Mount), with a fresh `salt`.
    pub fn next_header(&self, kind: Kind, epoch: u64, salt: [u8; 16]) -> Header {
        let head = self.head();
        let mut durable = [0; MAX_DISKS];
        for (at, (slot, d)) in (0u8..).zip(durable.iter_mut().zip(&self.disks)) {
            // What a newcomer has says nothing about the disk of that number until it has joined.
            let joined = !self.roster.newcomers.has(DiskNo(at));
            *slot = if joined { d.synced.min(head.seq) } else { 0 };
        }
        Header {
            vault: self.setup.vault,
            seq: head.seq + 1,
            epoch,
            kind,
            prev: head.hash,
            salt,
            durable,
            acked: self.acked,
            tag: [0; 16],
        }
    }

    /// The header for a record of facts under the current epoch; `None` while no epoch is open. The Mount record is
    /// acknowledged before that: so every record of facts proves that its history was, see `proofs`.
    pub fn facts_header(&self) -> Option<Header> {
        let early = self.setup.flaws.has(Flaw::FactsEarly)
            && matches!(self.phase, Phase::Mounting | Phase::Confirming);
        (early || self.phase == Phase::Running).then(|| self.next_header(Kind::Facts, self.epoch, self.salt))
    }

    /// Takes a drawn record into the journal and gives its place.
    pub fn append(&mut self, meta: Meta) -> Spot {
        let head = self.head();
        assert_eq!(
            (meta.header.seq, meta.header.prev),
            (head.seq + 1, head.hash),
            "records follow the chain"
        );
        let spot = head.end.place(meta.padded_len, self.setup.segment_len);
        if let Kind::Mount { active, witnessed } = meta.header.kind {
            self.epoch = meta.header.epoch;
            self.mount = meta.header.seq;
            self.salt = meta.header.salt;
            self.roster.joined = self.roster.joined.minus(active);
            self.active = self.active_with_joined(active, witnessed);
            self.witnessed = witnessed;
            self.phase = Phase::Mounting;
        }
        self.chain.push_back(Placed { meta, spot });
        self.settle();
        spot
    }

    /// A checkpoint at `anchor` is durable on `holders`. Returns the disks that may forget their journal before it:
    /// none until the holders are as many as an acknowledgement asks for, then the holders.
    pub fn checkpointed(&mut self, anchor: Anchor, holders: DiskSet) -> DiskSet {
        let careless = self.setup.flaws.has(Flaw::DropAtOneCopy);
        let enough = match self.witnessed {
            _ if careless => !holders.is_empty(),
            true => self.active.minus(holders).is_empty(),
            false => holders.len() > self.setup.m && (!self.joining() || holders.len() > self.joined_m()),
        };
        let may_forget = match (enough, careless) {
            (false, _) => return DiskSet::EMPTY,
            (true, false) => holders,
            (true, true) => self.present(),
        };
        if anchor.seq <= self.base.seq {
            return may_forget;
        }
        self.base = anchor;
        while self.chain.front().is_some_and(|r| r.meta.header.seq <= anchor.seq) {
            self.chain.pop_front();
        }
        for (d, held) in self.disks.iter_mut().zip(&mut self.held) {
            // A disk that lags behind the checkpoint can no longer be fed from memory: it gets the checkpoint.
            if d.presence == Presence::InUse && d.synced < anchor.seq && !d.writing {
                d.presence = Presence::Back;
                *held = Held::nothing(anchor);
            }
        }
        may_forget
    }

    /// The end of the journal.
    pub fn head(&self) -> Anchor {
        self.chain.back().map_or(self.base, Placed::anchor)
    }

    /// The newest checkpoint that the coordinator builds on.
    pub fn base(&self) -> Anchor {
        self.base
    }

    /// The record `seq` as a point of the chain, if it is not older than the base.
    pub fn point(&self, seq: u64) -> Option<Anchor> {
        if seq == self.base.seq {
            return Some(self.base);
        }
        self.placed(seq).map(|p| p.anchor())
    }

    /// Where record `seq` is, if it is after the base.
    pub fn placed(&self, seq: u64) -> Option<Placed> {
        let first = self.base.seq + 1;
        self.chain.get(usize::try_from(seq.checked_sub(first)?).ok()?).copied()
    }

    /// Newest record that a checkpoint may cover.
    pub fn checkpointable(&self) -> u64 {
        if self.setup.flaws.has(Flaw::CheckpointUnacked) { self.head().seq } else { self.acked }
    }

    /// The newest record that may be acknowledged; while a newcomer joins, by both rules.
    pub(super) fn quorum_seq(&self) -> u64 {
        let without = self.quorum_without();
        if self.joining() { without.min(self.level_joined()) } else { without }
    }

    /// The newest record that is on as many counting disks as it must be, or on all of the active ones.
    pub(super) fn quorum_without(&self) -> u64 {
        if self.witnessed && !self.setup.flaws.has(Flaw::WriteBelow) {
            let counting = self.at_floor(true);
            return match self.active.minus(counting).is_empty() {
                true => self.active.iter().map(|d| self.synced(d)).min().unwrap_or(0),
                false => 0,
            };
        }
        let need = match () {
            () if self.setup.flaws.has(Flaw::AckAtM) => self.setup.m.max(1),
            () if self.setup.flaws.has(Flaw::WriteBelow) => {
                (self.setup.m + 1).min(self.counting().len().max(1))
            }
            () => self.setup.m + 1,
        };
        self.level(need, self.setup.flaws.has(Flaw::CountNewcomer))
    }

    /// The newest record that `need` disks have, those that count and on demand the newcomers.
    pub(super) fn level(&self, need: usize, newcomers: bool) -> u64 {
        let mut levels: Vec<u64> = self.at_floor(newcomers).iter().map(|d| self.synced(d)).collect();
        levels.sort_unstable_by(|a, b| b.cmp(a));
        levels.get(need - 1).copied().unwrap_or(0)
    }

    /// Disks whose journal reaches this epoch's Mount record.
    fn at_floor(&self, newcomers: bool) -> DiskSet {
        let floor = if self.setup.flaws.has(Flaw::AckBeforeMount) { 0 } else { self.mount };
        let reaches = |d: &DiskState| d.presence == Presence::InUse && d.synced >= floor;
        let joined = self.who(reaches);
        let others = self.roster.newcomers.iter().filter(|d| newcomers && reaches(&self.disks[d.ix()]));
        others.fold(joined, DiskSet::with)
    }

    pub(super) fn settle(&mut self) {
        let reached = self.quorum_seq();
        if self.phase == Phase::Mounting
            && (reached >= self.mount || self.setup.flaws.has(Flaw::AckBeforeMount))
        {
            self.phase = Phase::Confirming;
        }
        if self.phase == Phase::Running {
            self.acked = self.acked.max(reached);
        }
    }
}
