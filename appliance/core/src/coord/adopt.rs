//! Which history is true, and may this box write? Decided from what the visible disks show, and from nothing else.
//!
//! All valid records of all disks are put into one graph by their hashes. A record is *rooted* when its chain goes
//! back to a checkpoint or to the beginning without a gap; the rooted record of the highest epoch, then of the
//! highest number, is the head, as long as nothing beside its history is known to have been acknowledged (`proofs`). So a
//! record that rotted on one disk is healed by another disk's copy, and a tail that an abandoned mount left behind loses
//! against any newer Mount record.

use super::held::{self, Held};
use super::proofs::Chosen;
use super::{Anchor, Placed, Spot, Stalled, View};
use crate::diskset::DiskSet;
use crate::flaw::{Flaw, Flaws};
use crate::geometry::MAX_DISKS;
use crate::ids::{DiskNo, RecordHash};
use crate::record::Kind;
use crate::witness::Witness;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The history that holds.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The newest checkpoint of it that some visible disk has.
    pub base: Anchor,
    /// Its records after `base`, without a gap.
    pub chain: Vec<Placed>,
    /// Per disk, how much of this history it holds; nothing for one that is not visible.
    pub have: [Held; MAX_DISKS],
    /// Disks that show an older end than they once confirmed: lied about a sync, or came back from the past.
    pub convicted: DiskSet,
}

impl Adopted {
    /// The end of the history.
    pub fn head(&self) -> Anchor {
        self.chain.last().map_or(self.base, Placed::anchor)
    }
}

/// Whether this box may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes, as epoch `epoch`.
    ReadWrite {
        /// The epoch to promise and begin.
        epoch: u64,
    },
    /// No.
    ReadOnly(Stalled),
}

/// What a mount will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The history that holds.
    pub adopted: Adopted,
    /// Whether this box may write.
    pub verdict: Verdict,
    /// Whether the witness vouches that it has seen everything these disks show: with it, fewer disks suffice.
    pub witness_current: bool,
}

/// Decides a mount. `views[i]` is what disk `i` of the roster of `n` shows, `None` when it is not visible.
pub fn plan(n: usize, m: usize, views: &[Option<View>], witness: Option<&Witness>, flaws: Flaws) -> Plan {
    let graph = Graph::new(views);
    let settled = witness.map_or(0, |w| w.confirmed.epoch);
    let Chosen { head, torn } = graph.head(views, settled, flaws);
    let adopted = graph.adopt(head, views, flaws);
    let visible: DiskSet =
        (0..n as u8).map(DiskNo).filter(|d| views.get(d.ix()).is_some_and(Option::is_some)).collect();
    let top = head.epoch;
    let known = |w: &Witness| top == w.confirmed.epoch || top == w.opening.epoch || builds_on(w, head);
    let witness_current = witness.is_some_and(|w| known(w) || flaws.has(Flaw::IgnoreWitness));
    let refused = match torn {
        true => Some(Stalled::Fork),
        false => refuse(n, m, graph.acked, &adopted, visible, witness, flaws),
    };
    let verdict = match refused {
        Some(reason) if !flaws.has(Flaw::MountAny) || visible.is_empty() => Verdict::ReadOnly(reason),
        _ => Verdict::ReadWrite { epoch: next_epoch(views, graph.seen(top, flaws), witness, flaws) },
    };
    Plan { adopted, verdict, witness_current }
}

/// Above everything promised, seen or told to the witness (R2): an epoch that was opened on a disk that is absent
/// now is known to the witness alone.
fn next_epoch(views: &[Option<View>], top: u64, witness: Option<&Witness>, flaws: Flaws) -> u64 {
    let told = witness.map_or(0, |w| w.opening.epoch.max(w.confirmed.epoch));
    let promised = views.iter().flatten().map(|v| v.promised).max().unwrap_or(0).max(told);
    if flaws.has(Flaw::ReuseEpoch) && top > 0 {
        return top;
    }
    1 + if flaws.has(Flaw::NoPromise) { top } else { top.max(promised) }
}

fn refuse(
    n: usize,
    m: usize,
    acked: u64,
    adopted: &Adopted,
    visible: DiskSet,
    witness: Option<&Witness>,
    flaws: Flaws,
) -> Option<Stalled> {
    let ignore = flaws.has(Flaw::IgnoreWitness);
    let head = adopted.head();
    let absent = n - visible.len();
    if let Some(w) = witness
        && (head.epoch < w.confirmed.epoch || head.seq < w.acked)
        && !ignore
    {
        return Some(Stalled::BehindWitness);
    }
    if acked > head.seq {
        return Some(Stalled::AcknowledgedMissing);
    }
    if absent > m {
        return Some(Stalled::TooManyAbsent { absent });
    }
    if !adopted.convicted.is_empty() && adopted.convicted.len() + absent > m {
        return Some(Stalled::TooManyConvicted { disks: adopted.convicted });
    }
    if visible.len() > m || witness.is_some_and(|w| ignore || vouches(w, head, visible)) {
        return None;
    }
    Some(Stalled::TooFewVisible { visible: visible.len() })
}

/// Whether the witness makes `visible` disks enough although they are m or fewer: it must have seen the newest
/// epoch they show, and if that epoch's acknowledgements rested on a few disks, one of those must be here.
fn vouches(w: &Witness, head: Anchor, visible: DiskSet) -> bool {
    let note = if head.epoch == w.opening.epoch {
        w.opening
    } else if head.epoch == w.confirmed.epoch {
        w.confirmed
    } else {
        return !visible.is_empty() && builds_on(w, head);
    };
    !visible.is_empty() && (!note.witnessed || !visible.and(note.active).is_empty())
}

/// Whether the opening epoch builds on this history, or on less of it: an epoch has one history only.
fn builds_on(w: &Witness, head: Anchor) -> bool {
    head.epoch == w.built_on.0 && head.seq >= w.built_on.1
}

/// All records and checkpoints of all visible disks, by hash.
///
/// A record's place follows from the record before it. A disk may have written it elsewhere (over other records,
/// that is), so a place that one disk shows is believed only where it follows.
pub(super) struct Graph {
    pub(super) records: HashMap<RecordHash, Placed>,
    pub(super) anchors: HashMap<RecordHash, Anchor>,
    pub(super) rooted: HashMap<RecordHash, Anchor>,
    /// Highest record that any valid record of the newest epochs says was acknowledged.
    acked: u64,
}

impl Graph {
    fn new(views: &[Option<View>]) -> Self {
        let lent = views.iter().flatten().flat_map(|view| view.lent.iter().copied());
        let pieced = views.iter().flatten().flat_map(|view| view.pieced.iter().copied());
        Self::rooted_in(views.iter().flatten(), lent, pieced)
    }

    /// What these disks together show, without what they are lent.
    pub(super) fn of<'a>(views: impl Iterator<Item = &'a View>) -> Self {
        Self::rooted_in(views, std::iter::empty(), std::iter::empty())
    }

    fn rooted_in<'a>(
        views: impl Iterator<Item = &'a View>,
        lent: impl Iterator<Item = Anchor>,
        pieced: impl Iterator<Item = Placed>,
    ) -> Self {
        let mut shown: BTreeMap<u64, Vec<Placed>> = BTreeMap::new();
        pieced.for_each(|r| shown.entry(r.meta.header.seq).or_default().push(r));
        let mut anchors = HashMap::from([(RecordHash::ZERO, Anchor::GENESIS)]);
        anchors.extend(lent.map(|a| (a.hash, a)));
        let mut acked = 0;
        for view in views {
            for a in &view.anchors {
                anchors.insert(a.hash, *a);
            }
            for r in &view.records {
                shown.entry(r.meta.header.seq).or_default().push(*r);
                acked = acked.max(r.meta.header.acked);
            }
        }
        let mut graph = Self { records: HashMap::new(), rooted: anchors.clone(), anchors, acked };
        graph.root(shown.values().flatten());
        graph
    }

    /// Takes in every record whose chain reaches an anchor without a gap, at the place where it belongs.
    fn root<'a>(&mut self, in_order: impl Iterator<Item = &'a Placed>) {
        for r in in_order {
            let h = &r.meta.header;
            let fits = self.rooted.get(&h.prev).is_some_and(|p| {
                let next_segment = Spot { segment: p.end.segment.saturating_add(1), offset: 0 };
                p.seq.checked_add(1) == Some(h.seq)
                    && (r.spot == p.end || r.spot == next_segment)
                    && match h.kind {
                        Kind::Mount { .. } => h.epoch > p.epoch,
                        Kind::Facts => h.epoch == p.epoch,
                    }
            });
            // A disk's own copy at the beginning of the next segment is the stray one when another fits behind its
            // predecessor.
            let nearer =
                |known: &Placed| (r.spot.segment, r.spot.offset) < (known.spot.segment, known.spot.offset);
            if fits && self.records.get(&r.meta.hash).is_none_or(nearer) {
                self.records.insert(r.meta.hash, *r);
                self.rooted.insert(r.meta.hash, r.anchor());
            }
        }
    }

    /// The highest epoch that any record has: that of `top`, the head, but for records beside its history.
    fn seen(&self, top: u64, flaws: Flaws) -> u64 {
        let careless = flaws.has(Flaw::NoPromise) || flaws.has(Flaw::ReuseEpoch);
        if careless { top } else { self.rooted.values().map(|a| a.epoch).max().unwrap_or(top) }
    }

    fn head(&self, views: &[Option<View>], settled: u64, flaws: Flaws) -> Chosen {
        let newest = self.newest(views, flaws);
        let by_epoch = [Flaw::AdoptFirst, Flaw::AdoptShortest, Flaw::TruncateMiddle, Flaw::NewestMountHolds];
        match by_epoch.into_iter().any(|flaw| flaws.has(flaw)) {
            true => Chosen { head: newest, torn: false },
            false => self.chosen(newest, settled),
        }
    }

    /// What epoch and number alone say.
    fn newest(&self, views: &[Option<View>], flaws: Flaws) -> Anchor {
        let newest = |points: &mut dyn Iterator<Item = Anchor>| {
            points.max_by_key(|a| (a.epoch, a.seq, a.hash.0)).unwrap_or(Anchor::GENESIS)
        };
        let own = |view: &View| newest(&mut self.rooted_of(view).into_iter());
        if flaws.has(Flaw::AdoptFirst) {
            return views.iter().flatten().next().map_or(Anchor::GENESIS, own);
        }
        let head = newest(&mut self.rooted.values().copied());
        if flaws.has(Flaw::TruncateMiddle) {
            let line = self.line(head);
            let start = line.first().map_or(head.hash, |r| r.meta.header.prev);
            let holed = views.iter().flatten().filter_map(|v| {
                let own = held::prefix(v, start, &line)?;
                let beyond = v.records.iter().any(|r| r.meta.header.seq > own.seq + 1);
                (beyond && own.seq < head.seq).then_some(own)
            });
            return holed.min_by_key(|a| a.seq).unwrap_or(head);
        }
        if flaws.has(Flaw::AdoptShortest) {
            let tips = views.iter().flatten().map(own).filter(|a| a.epoch == head.epoch);
            return tips.min_by_key(|a| a.seq).unwrap_or(head);
        }
        head
    }

    fn rooted_of(&self, view: &View) -> Vec<Anchor> {
        let hashes = view.records.iter().map(|r| r.meta.hash).chain(view.anchors.iter().map(|a| a.hash));
        hashes.filter_map(|h| self.rooted.get(&h).copied()).collect()
    }

    /// The whole known chain that ends in `head`, oldest first.
    pub(super) fn line(&self, head: Anchor) -> Vec<Placed> {
        let mut line = Vec::new();
        let mut at = head.hash;
        while let Some(r) = self.records.get(&at) {
            if !self.rooted.contains_key(&r.meta.hash) {
                break;
            }
            line.push(*r);
            at = r.meta.header.prev;
            if !self.rooted.contains_key(&at) {
                break;
            }
        }
        line.reverse();
        line
    }

    fn adopt(&self, head: Anchor, views: &[Option<View>], flaws: Flaws) -> Adopted {
        let line = self.line(head);
        let start = line.first().map_or(head.hash, |r| r.meta.header.prev);
        let points = std::iter::once(start).chain(line.iter().map(|r| r.meta.hash));
        let base = points
            .filter_map(|h| self.anchors.get(&h).copied())
            .max_by_key(|a| a.seq)
            .unwrap_or(Anchor::GENESIS);
        let chain: Vec<Placed> = line.iter().filter(|r| r.meta.header.seq > base.seq).copied().collect();
        let mut have: [Held; MAX_DISKS] = Default::default();
        let mut convicted = DiskSet::EMPTY;
        for (i, view) in views.iter().enumerate().take(MAX_DISKS) {
            let Some(view) = view else { continue };
            let disk = DiskNo(i as u8);
            have[i] = Held::new(disk, view, base, chain.iter(), flaws);
            if contradicts(disk, view, &line, flaws) {
                convicted = convicted.with(disk);
            }
        }
        Adopted { base, chain, have, convicted }
    }
}

/// Whether the adopted history says that this disk once confirmed more than the end of what it shows of it, although no
/// later mount attempt can have put that aside (its promise would be higher). One that shows a later record has its
/// end: what it lacks before that is a hole, to be mended, and says nothing of what else it may have lost.
fn contradicts(disk: DiskNo, view: &View, line: &[Placed], flaws: Flaws) -> bool {
    let records: HashSet<RecordHash> = view.records.iter().map(|r| r.meta.hash).collect();
    let newest_anchor = view.anchors.iter().map(|a| a.seq).max().unwrap_or(0);
    let by_seq: HashMap<u64, RecordHash> = line.iter().map(|r| (r.meta.header.seq, r.meta.hash)).collect();
    let shown = line.iter().rev().find(|r| records.contains(&r.meta.hash)).map_or(0, |r| r.meta.header.seq);
    line.iter().any(|r| {
        let h = &r.meta.header;
        let confirmed = h.durable[disk.ix()];
        let lost = by_seq.get(&confirmed).is_some_and(|hash| !records.contains(hash));
        let end = if flaws.has(Flaw::HoleConvicts) { newest_anchor } else { newest_anchor.max(shown) };
        h.seq > view.since && view.promised <= h.epoch && confirmed > end && lost
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::VaultId;
    use crate::record::{Header, encode};

    /// A Mount and four records after it, one block each, as every healthy disk shows them.
    pub fn journal() -> Vec<Placed> {
        let mut line: Vec<Placed> = Vec::new();
        for seq in 1..=5 {
            let before = line.last().map_or(Anchor::GENESIS, Placed::anchor);
            let kind = match seq {
                1 => Kind::Mount { active: DiskSet::first(3), witnessed: false },
                _ => Kind::Facts,
            };
            let header = Header {
                vault: VaultId([1; 16]),
                seq,
                epoch: 1,
                kind,
                prev: before.hash,
                salt: [3; 16],
                // Disks 0 to 2 confirm each record before the next one is made.
                durable: std::array::from_fn(|d| if d < 3 { seq - 1 } else { 0 }),
                acked: seq - 1,
                tag: [0; 16],
            };
            let (meta, _) = encode(header, &[0; 16]);
            line.push(Placed { meta, spot: before.end });
        }
        line
    }

    #[test]
    fn a_record_that_a_disk_wrote_elsewhere_is_believed_and_its_place_is_not() {
        let line = journal();
        let mut stray = line.clone();
        // The fifth record went over the second one.
        stray[4].spot = line[1].spot;
        stray.remove(1);
        let whole = || Some(View { promised: 1, records: line.clone(), ..View::default() });
        let bad = || Some(View { promised: 1, records: stray.clone(), ..View::default() });
        for views in [[whole(), whole(), bad()], [bad(), whole(), whole()], [whole(), bad(), whole()]] {
            let plan = plan(3, 1, &views, None, Flaws::NONE);
            assert_eq!(plan.adopted.chain, line, "places included");
            assert!(matches!(plan.verdict, Verdict::ReadWrite { .. }), "{:?}", plan.verdict);
            let at = views.iter().position(|v| v.as_ref().is_some_and(|v| v.records.len() == 4));
            let has = &plan.adopted.have[at.expect("one is bad")];
            assert_eq!((has.upto.seq, &has.holes[..], has.needs_base), (4, &[2][..], false));
        }
    }

    fn view(records: Vec<Placed>) -> Option<View> {
        Some(View { promised: 1, records, ..View::default() })
    }

    fn without(line: &[Placed], gone: &[u64]) -> Option<View> {
        view(line.iter().filter(|r| !gone.contains(&r.meta.header.seq)).copied().collect())
    }

    #[test]
    fn holes_convict_nobody_and_are_named() {
        let line = journal();
        let views = [without(&line, &[2]), without(&line, &[4]), without(&line, &[1, 3])];
        let plan = plan(3, 1, &views, None, Flaws::NONE);
        assert!(matches!(plan.verdict, Verdict::ReadWrite { .. }), "{:?}", plan.verdict);
        assert_eq!(plan.adopted.chain, line);
        let have = plan.adopted.have.each_ref().map(|h| (h.upto.seq, h.holes.clone()));
        assert_eq!(have[..3], [(5, vec![2]), (5, vec![4]), (5, vec![1, 3])]);
    }

    #[test]
    fn ends_that_are_gone_convict() {
        let line = journal();
        // The last record says that each of them had the fourth.
        let views = [without(&line, &[4, 5]), without(&line, &[3, 4, 5]), view(line.clone())];
        let plan = plan(3, 1, &views, None, Flaws::NONE);
        let disks = DiskSet::first(2);
        assert_eq!(plan.verdict, Verdict::ReadOnly(Stalled::TooManyConvicted { disks }));
        assert_eq!(plan.adopted.have[1].upto.seq, 2);
    }

    #[test]
    fn a_record_without_any_copy_is_missed() {
        let line = journal();
        let views = [without(&line, &[3]), without(&line, &[3]), without(&line, &[3])];
        let plan = plan(3, 1, &views, None, Flaws::NONE);
        assert_eq!(plan.verdict, Verdict::ReadOnly(Stalled::AcknowledgedMissing));
    }

    #[test]
    fn a_checkpoint_that_is_gone_is_needed_and_what_follows_it_is_kept() {
        let line = journal();
        let anchor = line[1].anchor();
        let after = || line[2..].to_vec();
        let whole = || Some(View { promised: 1, anchors: vec![anchor], records: after(), ..View::default() });
        let plan = plan(3, 1, &[whole(), view(after()), view(line.clone())], None, Flaws::NONE);
        assert_eq!(plan.adopted.base, anchor);
        let have = plan.adopted.have.each_ref().map(|h| (h.upto.seq, h.needs_base, h.holes.len()));
        // The third disk has the journal from its beginning.
        assert_eq!(have[..3], [(5, false, 0), (5, true, 0), (5, false, 0)]);
    }
}
