//! Several histories on the disks: none is put aside that is known to have been acknowledged.
//!
//! As long as every disk keeps what it promised, the newest Mount record stands for everything that was acknowledged. A disk
//! that comes back from the past has forgotten its promise as well; then a mount can begin an epoch that is not above all the
//! others, acknowledge under it, and meet the older attempt of the higher epoch later. So a history is not believed by its epoch
//! alone: records prove what was acknowledged. Each says up to which record that was so when it was written, facts are
//! written only in an epoch whose Mount record is acknowledged, and a checkpoint covers nothing else.

use super::adopt::Graph;
use super::run::Coordinator;
use super::{Anchor, View};
use crate::ids::RecordHash;
use crate::record::Meta;
use std::collections::{HashMap, HashSet};

/// The end of the history that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    pub head: Anchor,
    /// Another history was acknowledged as well: the box must not write.
    pub torn: bool,
}

impl Graph {
    /// Of all ends of histories the newest one without which nothing that is known to be acknowledged goes. `newest`: what
    /// epoch and number alone say. Of epochs before `settled` nothing counts: the witness knows of a later one that was
    /// confirmed.
    pub(super) fn chosen(&self, newest: Anchor, settled: u64) -> Chosen {
        if !self.proved_beside(newest, settled) {
            return Chosen { head: newest, torn: false };
        }
        let followed: HashSet<RecordHash> = self.records.values().map(|r| r.meta.header.prev).collect();
        let mut ends: Vec<Anchor> =
            self.rooted.values().filter(|a| !followed.contains(&a.hash)).copied().collect();
        ends.sort_unstable_by_key(|a| std::cmp::Reverse((a.epoch, a.seq, a.hash.0)));
        match ends.into_iter().find(|end| !self.proved_beside(*end, settled)) {
            Some(head) => Chosen { head, torn: false },
            None => Chosen { head: newest, torn: true },
        }
    }

    /// Whether anything that is not in the history of `head` is known to have been acknowledged. What is older than the oldest
    /// record that is known of that history cannot be compared with it and counts as part of it.
    fn proved_beside(&self, head: Anchor, settled: u64) -> bool {
        let line = self.line(head);
        let from = line.first().map_or(head.seq, |r| r.meta.header.seq - 1);
        let mut on: HashSet<RecordHash> = line.iter().map(|r| r.meta.hash).collect();
        on.insert(line.first().map_or(head.hash, |r| r.meta.header.prev));
        let stands_beside = |a: &&Anchor| a.seq > from && a.epoch >= settled && !on.contains(&a.hash);
        let records = self.records.values().map(|r| &r.meta);
        proved(&on, from, settled, records) || self.anchors.values().any(|a| stands_beside(&a))
    }
}

/// Whether one of these records proves that something after `from` was acknowledged that is not in the history `on`. Those
/// whose place among them is not known prove nothing.
fn proved<'a>(
    on: &HashSet<RecordHash>,
    from: u64,
    settled: u64,
    records: impl Iterator<Item = &'a Meta>,
) -> bool {
    let mut beside: Vec<&Meta> = records.filter(|r| r.header.seq > from && !on.contains(&r.hash)).collect();
    beside.sort_unstable_by_key(|r| r.header.seq);
    // Where the branch of each leaves the history: at the last record that both have.
    let mut leaves: HashMap<RecordHash, u64> = HashMap::new();
    beside.into_iter().any(|r| {
        let (h, known) = (&r.header, leaves.get(&r.header.prev).copied());
        let begins = on.contains(&h.prev) || h.seq == from + 1;
        let Some(at) = known.or_else(|| begins.then(|| h.seq - 1)) else { return false };
        leaves.insert(r.hash, at);
        h.acked > at && h.epoch >= settled
    })
}

impl Coordinator {
    /// Whether a disk that came shows something acknowledged that this history has not: it must not be put aside.
    pub(super) fn contradicted_by(&self, view: &View) -> bool {
        let settled = self.witness.map_or(0, |w| w.confirmed.epoch);
        let on: HashSet<RecordHash> =
            self.chain.iter().map(|r| r.meta.hash).chain([self.base.hash]).collect();
        proved(&on, self.base.seq, settled, view.records.iter().map(|r| &r.meta))
    }
}

#[cfg(test)]
mod tests {
    use super::super::adopt::tests::journal;
    use super::super::{Placed, Stalled, Verdict, View, plan};
    use crate::diskset::DiskSet;
    use crate::flaw::{Flaw, Flaws};
    use crate::record::{Header, Kind, encode};
    use crate::witness::{EpochNote, Witness};

    /// Goes on after `line` with a Mount record of `epoch` and as many facts; each says that the one before it is acknowledged.
    fn go_on(line: &[Placed], epoch: u64, facts: u64) -> Vec<Placed> {
        let mut out = line.to_vec();
        for n in 0..=facts {
            let before = out.last().expect("there is a record").anchor();
            let (kind, acked) = match n {
                0 => (Kind::Mount { active: DiskSet::first(2), witnessed: false }, 0),
                _ => (Kind::Facts, before.seq),
            };
            let header = Header {
                vault: line[0].meta.header.vault,
                seq: before.seq + 1,
                epoch,
                kind,
                prev: before.hash,
                salt: [(16 * epoch + facts) as u8; 16],
                durable: [0; crate::geometry::MAX_DISKS],
                acked,
                tag: [0; 16],
            };
            let (meta, _) = encode(header, &[0; 16]);
            out.push(Placed { meta, spot: before.end });
        }
        out
    }

    fn shows(promised: u64, records: Vec<Placed>) -> Option<View> {
        Some(View { promised, version: 1, records, ..View::default() })
    }

    #[test]
    fn what_was_acknowledged_holds_against_a_higher_epoch_that_only_began() {
        let line = journal();
        let (kept, began) = (go_on(&line, 2, 1), go_on(&line, 3, 0));
        for views in [
            [shows(2, kept.clone()), None, shows(3, began.clone())],
            [shows(3, began.clone()), shows(2, kept.clone()), None],
        ] {
            let good = plan(3, 1, &views, None, Flaws::NONE);
            assert_eq!(good.adopted.head(), kept.last().expect("facts").anchor());
            // Above the one that only began.
            assert_eq!(good.verdict, Verdict::ReadWrite { epoch: 4 });
            let bad = plan(3, 1, &views, None, Flaws::only(Flaw::NewestMountHolds));
            assert_eq!(bad.adopted.head().epoch, 3);
        }
    }

    #[test]
    fn what_only_began_is_put_aside_whatever_epoch_it_has() {
        let line = journal();
        // An attempt that was cut off, then a mount that acknowledged; the same under one epoch.
        for epoch in [2, 3] {
            let views = [shows(2, go_on(&line, 2, 0)), shows(3, go_on(&line, epoch, 2)), None];
            let plan = plan(3, 1, &views, None, Flaws::NONE);
            assert_eq!((plan.adopted.head().epoch, plan.adopted.head().seq), (epoch, 8));
            assert_eq!(plan.verdict, Verdict::ReadWrite { epoch: 4 });
        }
    }

    #[test]
    fn two_histories_that_were_acknowledged_are_told_and_none_is_written_on() {
        let line = journal();
        for epoch in [2, 3] {
            let views = [shows(2, go_on(&line, 2, 1)), shows(3, go_on(&line, epoch, 2)), None];
            let plan = plan(3, 1, &views, None, Flaws::NONE);
            assert_eq!(plan.verdict, Verdict::ReadOnly(Stalled::Fork), "epoch {epoch}");
        }
    }

    #[test]
    fn a_checkpoint_proves_what_it_covers() {
        let line = journal();
        let kept = go_on(&line, 2, 1);
        let anchor = kept.last().expect("facts").anchor();
        let holder = Some(View { promised: 2, version: 1, anchors: vec![anchor], ..View::default() });
        let plan = plan(3, 1, &[holder, None, shows(3, go_on(&line, 3, 0))], None, Flaws::NONE);
        assert_eq!((plan.adopted.base, plan.adopted.head()), (anchor, anchor));
    }

    #[test]
    fn a_witness_that_knows_of_a_confirmed_epoch_settles_what_came_before() {
        let line = journal();
        let views = [shows(2, go_on(&line, 2, 1)), shows(3, go_on(&line, 3, 0)), None];
        let witness = |confirmed| {
            let note = |epoch| EpochNote { epoch, active: DiskSet::first(2), witnessed: false };
            let vault = line[0].meta.header.vault;
            let (confirmed, opening) = (note(confirmed), note(3));
            Witness { vault, generation: 1, confirmed, opening, built_on: (1, 5), acked: 5 }
        };
        let head = |w| plan(3, 1, &views, Some(&w), Flaws::NONE).adopted.head().epoch;
        assert_eq!((head(witness(3)), head(witness(2))), (3, 2));
    }
}
