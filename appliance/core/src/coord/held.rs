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

#[cfg(test)]
mod tests {
    use super::super::adopt::tests::journal;
    use super::super::{Act, Coordinator, Placed, Setup, View, plan};
    use crate::flaw::Flaws;
    use crate::ids::{DiskNo, VaultId};
    use crate::record::{Kind, encode};

    const FIRST: DiskNo = DiskNo(0);

    fn view(line: &[Placed], gone: u64) -> View {
        let records = line.iter().filter(|r| r.meta.header.seq != gone).copied().collect();
        View { promised: 1, version: 1, records, ..View::default() }
    }

    /// Does what the coordinator wants until it is quiet; the preparations of the first disk are only returned.
    fn drive(coord: &mut Coordinator) -> Vec<Act> {
        let mut first = Vec::new();
        loop {
            let acts = coord.poll();
            if acts.is_empty() {
                return first;
            }
            for act in acts {
                match act {
                    Act::Promise { disk, epoch } => coord.promised(disk, epoch, true),
                    Act::Mount { epoch, active, witnessed } => {
                        let kind = Kind::Mount { active, witnessed };
                        let (meta, _) = encode(coord.next_header(kind, epoch, [4; 16]), &[]);
                        coord.append(meta);
                    }
                    Act::Prepare { disk: FIRST, .. } => first.push(act),
                    Act::Prepare { disk, .. } => coord.prepared(disk, true),
                    Act::Write { disk, to, .. } => coord.wrote(disk, to, true),
                    Act::Mark { .. } | Act::SaveWitness(_) => {}
                }
            }
        }
    }

    fn holes(acts: &[Act]) -> Vec<u64> {
        match acts {
            [Act::Prepare { holes, base: None, claimed: 4, .. }] => holes.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hole_stays_one_until_it_was_mended_without_an_error() {
        let line = journal();
        let views = [Some(view(&line, 3)), Some(view(&line, 0)), Some(view(&line, 0))];
        let plan = plan(3, 1, &views, None, Flaws::NONE);
        let setup = Setup {
            vault: VaultId([1; 16]),
            n: 3,
            m: 1,
            segment_len: 1 << 20,
            version: 1,
            wider: None,
            flaws: Flaws::NONE,
        };
        let mut coord = Coordinator::new(setup, &plan, &views, None);
        assert_eq!(holes(&drive(&mut coord)), [3]);
        assert!(!coord.counting().has(FIRST), "it lacks something");
        // The mending failed, and what it wrote shows: in a cache, for all that is known.
        coord.prepared(FIRST, false);
        coord.back(FIRST, &view(&line, 0), false).expect("it may come");
        assert_eq!(holes(&drive(&mut coord)), [3]);
        coord.prepared(FIRST, true);
        assert_eq!(drive(&mut coord), []);
        assert!(coord.counting().has(FIRST) && coord.synced(FIRST) == 6);
        // From now on it has the record, whatever fails later.
        coord.lost(FIRST);
        coord.back(FIRST, &view(&line, 0), false).expect("it may come");
        assert_eq!(holes(&drive(&mut coord)), [0; 0]);
        // A view that is believed says what is there.
        coord.lost(FIRST);
        coord.back(FIRST, &view(&line, 2), true).expect("it may come");
        assert_eq!(holes(&drive(&mut coord)), [2]);
    }

    #[test]
    fn a_base_that_moves_on_takes_its_holes_along() {
        let line = journal();
        let lacks =
            super::Held::new(FIRST, &view(&line, 2), super::Anchor::GENESIS, line.iter(), Flaws::NONE);
        assert_eq!((lacks.needs_base, &lacks.holes[..]), (false, &[2][..]));
        let at = |n: usize| lacks.clone().rebased(line[n].anchor());
        assert_eq!((at(0).needs_base, at(0).holes), (false, vec![2]));
        assert_eq!((at(1).needs_base, at(1).holes, at(1).upto.seq), (true, vec![], 5));
        let end = line[4].anchor();
        let behind = super::Held { upto: line[2].anchor(), ..lacks.clone() }.rebased(end);
        assert_eq!((behind.needs_base, behind.upto.seq, behind.holes.len()), (true, 5, 0));
    }
}
