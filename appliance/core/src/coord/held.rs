//! How much of a history one disk holds: its end, and the holes before it.
//!
//! A record that rotted, or that one write of several did not reach, leaves a *hole*: later records of the same history
//! stand behind it. What stands there is as good as ever, so it stays, and the hole alone is written again, in place,
//! from another disk's copy. Until then the disk does not count.

use super::adopt::Graph;
use super::{Anchor, Placed, Spot, View};
use crate::flaw::{Flaw, Flaws};
use crate::ids::{DiskNo, RecordHash};
use std::collections::HashSet;

/// How much of a history a disk holds, from the base on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The newest record of it that the disk shows at its place; the base when it shows none after that.
    pub upto: Anchor,
    /// It does not reach the base by itself: it needs the checkpoint.
    pub needs_base: bool,
    /// Numbers of the records after the base and before `upto` that it does not show at their places, oldest first.
    pub holes: Vec<u64>,
    /// The newest record that the history says this disk once confirmed. What it lacks up to here was lost; what it lacks
    /// beyond may never have reached it.
    pub claimed: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self::nothing(Anchor::GENESIS)
    }
}

impl Held {
    /// Nothing but what the checkpoint will bring.
    pub(super) fn nothing(base: Anchor) -> Self {
        Self { upto: base, needs_base: true, holes: Vec::new(), claimed: 0 }
    }

    /// What `view` holds of the history that goes on after `base` with `chain`.
    pub(super) fn new<'a>(
        disk: DiskNo,
        view: &View,
        base: Anchor,
        chain: impl Iterator<Item = &'a Placed> + Clone,
        flaws: Flaws,
    ) -> Self {
        let anchors: HashSet<RecordHash> = view.anchors.iter().map(|a| a.hash).collect();
        let records: HashSet<(RecordHash, Spot)> =
            view.records.iter().map(|r| (r.meta.hash, r.spot)).collect();
        let mut held = Self { needs_base: !reaches(view, base), ..Self::nothing(base) };
        let (mut gap, mut whole) = (Vec::new(), base);
        for r in chain {
            let h = &r.meta.header;
            if h.seq > view.since {
                held.claimed = held.claimed.max(h.durable[disk.ix()]);
            }
            let here = records.contains(&(r.meta.hash, r.spot));
            if !here {
                gap.push(h.seq);
            }
            // A checkpoint of its own says that it had everything up to there.
            if here || anchors.contains(&r.meta.hash) {
                held.upto = r.anchor();
                held.holes.append(&mut gap);
            }
            if held.holes.is_empty() && !held.needs_base {
                whole = held.upto;
            }
        }
        if flaws.has(Flaw::HoleCutsTail) {
            (held.upto, held.holes) = (whole, Vec::new());
        }
        held
    }

    /// The same for a later base of the same history.
    pub(super) fn rebased(mut self, base: Anchor) -> Self {
        if self.upto.seq < base.seq {
            return Self { claimed: self.claimed, ..Self::nothing(base) };
        }
        self.needs_base |= self.holes.first().is_some_and(|first| *first <= base.seq);
        self.holes.retain(|seq| *seq > base.seq);
        self
    }
}

/// Whether a disk holds everything up to `base` by itself: as a checkpoint, or as its journal since one before.
fn reaches(view: &View, base: Anchor) -> bool {
    base.seq == 0
        || view.anchors.iter().any(|a| a.hash == base.hash)
        || Graph::of(std::iter::once(view)).rooted.contains_key(&base.hash)
}

/// How far one disk by itself holds a history that begins after `start`, without a gap. Nothing but flaws of the bank
/// goes by that.
pub(super) fn prefix(view: &View, start: RecordHash, line: &[Placed]) -> Option<Anchor> {
    let at_start = match start {
        RecordHash::ZERO => Some(Anchor::GENESIS),
        _ => view.anchors.iter().find(|a| a.hash == start).copied(),
    };
    let anchors: HashSet<RecordHash> = view.anchors.iter().map(|a| a.hash).collect();
    let records: HashSet<(RecordHash, Spot)> = view.records.iter().map(|r| (r.meta.hash, r.spot)).collect();
    line.iter().fold(at_start, |have, r| {
        let here = records.contains(&(r.meta.hash, r.spot));
        let follows = here && have.is_some_and(|h| h.hash == r.meta.header.prev);
        if follows || anchors.contains(&r.meta.hash) { Some(r.anchor()) } else { have }
    })
}
