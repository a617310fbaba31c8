//! A model disk: promise, records, checkpoints, one act under way, and what a power cut or a fault leaves of them.

use crate::rng::Rng;
use coffre_core::coord::{Act, Anchor, Placed, Spot, View};
use coffre_core::roster::Roster;
use std::collections::{HashSet, VecDeque};

/// Something that rots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Rotten {
    Record([u8; 32]),
    /// The checkpoint that stands for this record.
    Checkpoint([u8; 32]),
}

#[derive(Clone)]
pub(super) struct ModelDisk {
    pub attached: bool,
    pub dead: bool,
    /// Spoilt at least once: counts against the budget until the end of the run.
    pub faulty: bool,
    /// An act failed on it since the last power cut, and it was not prepared since.
    pub failed: bool,
    /// In no roster that can still hold.
    pub out: bool,
    /// The label: roster, the record since which the journal speaks of this disk, promised epoch.
    pub roster: Roster,
    pub since: u64,
    pub promised: u64,
    /// The mark of whoever promised.
    pub owner: u64,
    pub records: Vec<Placed>,
    pub anchors: Vec<Anchor>,
    /// What acts that failed left in its cache: shown until a power cut, and never durable.
    cached: Vec<Placed>,
    /// What rotted on it and it does not show again yet.
    pub rotten: HashSet<Rotten>,
    /// Acts in order, as a disk's lane has them.
    pub pending: VecDeque<Given>,
    /// Earlier durable states, for disks that come back from the past.
    past: Vec<Past>,
}

/// What was given to a disk: the act, the records it writes, the roster it writes.
#[derive(Clone)]
pub(super) struct Given {
    pub act: Act,
    pub records: Vec<Placed>,
    pub roster: Option<Roster>,
}

#[derive(Clone)]
struct Past {
    roster: Roster,
    since: u64,
    promised: u64,
    records: Vec<Placed>,
    anchors: Vec<Anchor>,
}

impl ModelDisk {
    /// A disk with a label and nothing else.
    pub fn labelled(roster: Roster) -> Self {
        Self {
            attached: false,
            dead: false,
            faulty: false,
            failed: false,
            out: false,
            roster,
            since: 0,
            promised: 0,
            owner: 0,
            records: Vec::new(),
            anchors: Vec::new(),
            cached: Vec::new(),
            rotten: HashSet::new(),
            pending: VecDeque::new(),
            past: Vec::new(),
        }
    }

    pub fn view(&self) -> View {
        let durable = self.records.iter().filter(|r| !self.cached.iter().any(|c| overlaps(c, r)));
        let mut records: Vec<Placed> = durable.chain(&self.cached).copied().collect();
        records.sort_by_key(|r| r.spot);
        let (promised, version, since) = (self.promised, self.roster.version, self.since);
        View { promised, version, since, anchors: self.anchors.clone(), records, ..View::default() }
    }

    pub fn carry_out(&mut self, given: &Given) {
        let Given { act, records, roster } = given;
        match act {
            Act::Mark { since, .. } => {
                if let Some(roster) = roster {
                    self.roster = roster.clone();
                }
                self.since = since.unwrap_or(self.since);
            }
            Act::Promise { epoch, .. } => self.promised = self.promised.max(*epoch),
            Act::Prepare { keep, base, .. } => {
                if let Some(base) = base {
                    self.take_checkpoint(*base);
                }
                for r in records {
                    self.put(*r);
                }
                self.put_aside(*keep);
                self.failed = false;
            }
            Act::Write { .. } => {
                for r in records {
                    self.put(*r);
                }
            }
            _ => {}
        }
    }

    /// Writing over a place replaces what was there.
    fn put(&mut self, r: Placed) {
        self.records.retain(|old| !overlaps(old, &r));
        self.cached.retain(|old| !overlaps(old, &r));
        self.rotten.remove(&Rotten::Record(r.meta.hash.0));
        self.records.push(r);
    }

    fn put_aside(&mut self, from: Spot) {
        self.records.retain(|r| r.spot < from);
        self.cached.retain(|r| r.spot < from);
    }

    pub fn take_checkpoint(&mut self, base: Anchor) {
        self.rotten.remove(&Rotten::Checkpoint(base.hash.0));
        self.anchors.retain(|a| a.hash != base.hash);
        self.anchors.push(base);
    }

    /// An act failed: some of what it was writing may show, and be gone with the next power cut.
    pub fn fail(&mut self, given: &Given, rng: &mut Rng) {
        self.failed = true;
        for r in given.records.iter().filter(|_| rng.chance(1, 2)) {
            self.cached.retain(|old| !overlaps(old, r));
            self.cached.push(*r);
        }
    }

    /// Another machine looks: what stood in a cache of the first one only is not there.
    pub fn seen_from_elsewhere(&mut self) {
        self.attached = false;
        self.failed = false;
        self.cached.clear();
    }

    /// Whether it has this, durably and in its place.
    pub fn has(&self, r: &Placed) -> bool {
        self.records.contains(r)
    }

    /// Whether it shows a good copy.
    pub fn shows(&self, what: Rotten) -> bool {
        let anchored = |hash| self.anchors.iter().any(|a| a.hash.0 == hash);
        match what {
            Rotten::Record(hash) => anchored(hash) || self.records.iter().any(|r| r.meta.hash.0 == hash),
            Rotten::Checkpoint(hash) => anchored(hash),
        }
    }

    pub fn rot(&mut self, what: Rotten) {
        match what {
            Rotten::Record(hash) => self.records.retain(|r| r.meta.hash.0 != hash),
            Rotten::Checkpoint(hash) => self.anchors.retain(|a| a.hash.0 != hash),
        }
        self.rotten.insert(what);
    }

    pub fn forget_before(&mut self, anchor: Anchor) {
        // Whole segments go, so some records before the anchor may stay.
        self.records.retain(|r| r.spot.segment >= anchor.end.segment);
        self.anchors.retain(|a| a.seq >= anchor.seq);
        // It has the anchor, and every record after it: it counts.
        self.rotten.clear();
    }

    /// A power cut: of what was under way, anything may have happened.
    pub fn cut(&mut self, rng: &mut Rng) {
        let first = self.pending.pop_front();
        self.pending.clear();
        if let Some(given) = first
            && self.attached
        {
            let Given { act, records, .. } = &given;
            match act {
                Act::Write { .. } => self.put_some(records, rng),
                // The checkpoint is made durable, then the holes are mended, then the tail is put aside.
                Act::Prepare { base, keep, .. } => {
                    let came_to = rng.below(4);
                    if came_to > 0
                        && let Some(base) = base
                    {
                        self.take_checkpoint(*base);
                    }
                    match came_to {
                        2 => self.put_some(records, rng),
                        3 => {
                            records.iter().for_each(|r| self.put(*r));
                            if rng.chance(1, 2) {
                                self.put_aside(*keep);
                            }
                        }
                        _ => {}
                    }
                }
                _ => {
                    if rng.chance(1, 2) {
                        self.carry_out(&given);
                    }
                }
            }
        }
        self.attached = false;
        self.failed = false;
        self.cached.clear();
    }

    /// Of records that were being written, each may be there, or torn, or not begun.
    fn put_some(&mut self, records: &[Placed], rng: &mut Rng) {
        for r in records {
            match rng.below(3) {
                0 => self.put(*r),
                // Torn: what stood there is gone, and the record is not there.
                1 => self.records.retain(|old| !overlaps(old, r)),
                _ => {}
            }
        }
    }

    /// One bad thing: a sync that lied, a return from the past, a rotten record, a lost checkpoint.
    pub fn spoil(&mut self, rng: &mut Rng) {
        self.faulty = true;
        match rng.below(4) {
            0 => {
                let keep = self.records.len() - rng.index(self.records.len().min(6) + 1);
                self.records.truncate(keep);
            }
            1 => {
                if let Some(past) = rng.pick(&self.past).cloned() {
                    (self.roster, self.since, self.promised) = (past.roster, past.since, past.promised);
                    (self.records, self.anchors) = (past.records, past.anchors);
                }
            }
            2 => {
                if !self.records.is_empty() {
                    let at = rng.index(self.records.len());
                    self.records.remove(at);
                }
            }
            _ => self.anchors.clear(),
        }
    }

    pub fn remember(&mut self) {
        if self.past.len() < 4 {
            self.past.push(Past {
                roster: self.roster.clone(),
                since: self.since,
                promised: self.promised,
                records: self.records.clone(),
                anchors: self.anchors.clone(),
            });
        }
    }
}

fn overlaps(a: &Placed, b: &Placed) -> bool {
    a.spot.segment == b.spot.segment
        && a.spot.offset < b.spot.after(b.meta.padded_len).offset
        && b.spot.offset < a.spot.after(a.meta.padded_len).offset
}
