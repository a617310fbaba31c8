//! What the catalogue knows of forgetting: what is condemned, where ended packs went, how data sets are kept.
//!
//! A pack may end several times over in its life: merged, merged again, compacted. Manifests go on naming the pack
//! that they were written with, so the catalogue remembers where each name leads to now, in one step: when a pack ends, all
//! names that led to it lead to its heir. A name that no manifest uses any more is dropped after a mark.

use super::Catalog;
use coffre_core::class::LockClass;
use coffre_core::fact::{Body, DatasetFact, Fact, ObjectFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{ObjectId, PackId};
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::manifest::Manifest;
use coffre_core::names::DatasetRef;
use coffre_core::retention::ClockFact;
use coffre_core::rhythm::Every;
use std::collections::{BTreeMap, HashMap};

/// Where the names of ended packs lead.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    to: HashMap<PackId, PackId>,
    /// The same seen from the other end.
    from: HashMap<PackId, Vec<PackId>>,
}

/// What is condemned, by the time on the retention clock when it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Condemned {
    objects: BTreeMap<ObjectId, u64>,
    packs: BTreeMap<PackId, u64>,
}

/// How a data set is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Class of what it receives.
    pub class: LockClass,
    /// What stays after its lock.
    pub keep: KeepRules,
    /// When this was said; `None` when nobody has.
    pub set_ms: Option<u64>,
    /// What its snapshots are, if that was said.
    pub kind: Option<Kind>,
    /// How often one should come.
    pub every: Every,
}

impl Moves {
    pub fn ended(&mut self, id: PackId, into: PackId) {
        let heir = self.heir(into);
        if heir == id {
            return;
        }
        let mut names = self.from.remove(&id).unwrap_or_default();
        names.push(id);
        for name in &names {
            if let Some(old) = self.to.insert(*name, heir)
                && old != id
                && let Some(others) = self.from.get_mut(&old)
            {
                others.retain(|other| other != name);
            }
        }
        self.from.entry(heir).or_default().extend(names);
    }

    /// Where a name leads: itself, or where it went.
    pub fn heir(&self, id: PackId) -> PackId {
        self.to.get(&id).copied().unwrap_or(id)
    }

    pub fn forget(&mut self, name: &PackId) {
        if let Some(heir) = self.to.remove(name)
            && let Some(names) = self.from.get_mut(&heir)
        {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.from.remove(&heir);
            }
        }
    }

    /// The pack is no more: nor are the names that led to it.
    pub fn freed(&mut self, id: &PackId) {
        for name in self.from.remove(id).unwrap_or_default() {
            self.to.remove(&name);
        }
    }

    pub fn sorted(&self) -> Vec<(PackId, PackId)> {
        let mut all: Vec<(PackId, PackId)> = self.to.iter().map(|(id, into)| (*id, *into)).collect();
        all.sort_unstable();
        all
    }
}

impl Condemned {
    pub fn pack_ended(&mut self, id: &PackId) {
        self.packs.remove(id);
    }

    pub fn pardon_object(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    fn to_facts(&self) -> impl Iterator<Item = Fact> {
        let mut by_time: BTreeMap<u64, (Vec<ObjectId>, Vec<PackId>)> = BTreeMap::new();
        self.objects.iter().for_each(|(id, at)| by_time.entry(*at).or_default().0.push(*id));
        self.packs.iter().for_each(|(id, at)| by_time.entry(*at).or_default().1.push(*id));
        by_time.into_iter().map(|(at_ms, (objects, packs))| Fact::Condemned { at_ms, objects, packs })
    }
}

impl Catalog {
    /// Takes a fact of this room.
    pub(super) fn apply_forgetting(&mut self, fact: Fact) {
        match fact {
            Fact::Clock(clock) => {
                let older = self.clock.is_some_and(|known| known.retention_ms > clock.retention_ms);
                if !older {
                    self.clock = Some(clock);
                }
            }
            Fact::Dataset(policy) => {
                let dataset = policy.dataset.clone();
                self.policies.insert(dataset.clone(), policy);
                self.find_whole(&dataset);
            }
            Fact::Condemned { at_ms, objects, packs } => {
                let there = objects.into_iter().filter(|id| self.objects.contains_key(id));
                self.condemned.objects.extend(there.map(|id| (id, at_ms)));
                let there = packs.into_iter().filter(|id| self.packs.contains_key(id));
                self.condemned.packs.extend(there.map(|id| (id, at_ms)));
            }
            Fact::Pardoned { objects, packs } => {
                for id in &objects {
                    self.condemned.objects.remove(id);
                }
                for id in &packs {
                    self.condemned.packs.remove(id);
                }
            }
            Fact::Freed { objects, packs, moves } => {
                objects.iter().for_each(|id| self.free_object(id));
                packs.iter().for_each(|id| self.free_pack(id));
                moves.iter().for_each(|name| self.moves.forget(name));
            }
            _ => {}
        }
    }

    fn free_object(&mut self, id: &ObjectId) {
        self.condemned.objects.remove(id);
        let Some(entry) = self.objects.remove(id) else { return };
        self.by_order.remove(&entry.order);
        self.in_doubt.remove(id);
        if let Body::Inline(bytes) = &entry.fact.body
            && self.inline.remove(&(entry.order, *id))
        {
            self.inline_bytes -= bytes.len() as u64;
        }
        if let Some(kept) = self.kept.get_mut(&entry.fact.dataset.client) {
            *kept = kept.less(super::amount_of(&entry.fact));
        }
        self.drop_file(&entry.fact);
        if let Some(ids) = self.datasets.get_mut(&entry.fact.dataset) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.datasets.remove(&entry.fact.dataset);
            }
            if self.whole.get(&entry.fact.dataset) == Some(id) {
                self.find_whole(&entry.fact.dataset);
            }
        }
    }

    fn free_pack(&mut self, id: &PackId) {
        self.condemned.packs.remove(id);
        self.moves.freed(id);
        self.drop_pack(id);
    }

    /// The facts of this room, for a checkpoint: those that must come before objects and packs, and those after.
    pub(super) fn forgetting_facts(&self) -> (Vec<Fact>, Vec<Fact>) {
        let clock = self.clock.iter().map(|c| Fact::Clock(*c));
        let policies = self.policies.values().map(|p| Fact::Dataset(p.clone()));
        (clock.chain(policies).collect(), self.condemned.to_facts().collect())
    }

    /// What the journal kept of the retention clock last.
    pub fn clock(&self) -> Option<&ClockFact> {
        self.clock.as_ref()
    }

    /// How a data set is kept: as was said, or 30 days and then the newest.
    pub fn policy(&self, dataset: &DatasetRef) -> Policy {
        match self.policies.get(dataset) {
            Some(DatasetFact { class, keep, set_ms, kind, every_s, .. }) => Policy {
                class: *class,
                keep: *keep,
                set_ms: Some(*set_ms),
                kind: *kind,
                every: Every::from_seconds(*every_s),
            },
            None => Policy {
                class: LockClass::DAYS_30,
                keep: KeepRules::default(),
                set_ms: None,
                kind: None,
                every: Every::Auto,
            },
        }
    }

    /// Data sets that something was said of, with or without a snapshot.
    pub fn policies(&self) -> impl Iterator<Item = &DatasetRef> {
        self.policies.keys()
    }

    /// When a snapshot was condemned, on the retention clock; `None` when it is not.
    pub fn object_condemned_ms(&self, id: &ObjectId) -> Option<u64> {
        self.condemned.objects.get(id).copied()
    }

    /// When a pack was condemned, on the retention clock; `None` when it is not.
    pub fn pack_condemned_ms(&self, id: &PackId) -> Option<u64> {
        self.condemned.packs.get(id).copied()
    }

    /// Everything condemned, with the time on the retention clock.
    pub fn condemned_objects(&self) -> impl Iterator<Item = (&ObjectId, u64)> {
        self.condemned.objects.iter().map(|(id, at)| (id, *at))
    }

    /// Everything condemned, with the time on the retention clock.
    pub fn condemned_packs(&self) -> impl Iterator<Item = (&PackId, u64)> {
        self.condemned.packs.iter().map(|(id, at)| (id, *at))
    }

    /// The id of the pack that a name leads to, whether that one is known or not.
    pub fn heir(&self, name: &PackId) -> PackId {
        self.moves.heir(*name)
    }

    /// Names of ended packs that are still remembered.
    pub fn moved_names(&self) -> impl Iterator<Item = &PackId> {
        self.moves.to.keys()
    }

    /// How many of them.
    pub fn moved_count(&self) -> usize {
        self.moves.to.len()
    }

    /// The place that the next snapshot will have in the order of receipt: all that come later have this or a higher one.
    pub fn next_order(&self) -> u64 {
        self.next_order
    }

    /// Up to `max` snapshots from a place in the order of receipt on, with their places.
    pub fn objects_from(&self, order: u64, max: usize) -> Vec<(u64, ObjectFact)> {
        let some = self.by_order.range(order..).take(max);
        some.filter_map(|(order, id)| Some((*order, self.object(id)?.clone()))).collect()
    }
}

/// The packs that a snapshot's bytes are in, by the names they had when it was written: all of them, those of the
/// manifest of a deep one included. `Corrupt` when its manifest cannot be read.
pub fn named_packs(body: &Body) -> Result<Vec<PackId>> {
    match body {
        Body::Inline(_) => Ok(Vec::new()),
        Body::Chunks(bytes) | Body::Deep(bytes) => match Manifest::decode(bytes) {
            Ok(manifest) => Ok(manifest.packs().to_vec()),
            Err(fault) => Err(Fault::corrupt(format!("a manifest in the journal: {}", fault.what))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PackId {
        PackId([n; 16])
    }

    #[test]
    fn names_lead_to_the_heir_in_one_step_in_any_order() {
        let mut moves = Moves::default();
        moves.ended(id(1), id(2));
        moves.ended(id(2), id(3));
        moves.ended(id(9), id(3));
        moves.ended(id(3), id(4));
        for name in [1, 2, 3, 9] {
            assert_eq!(moves.heir(id(name)), id(4), "{name}");
        }
        // Said late: where 4 went is known already when 5 says that it ended in 4.
        moves.ended(id(4), id(6));
        moves.ended(id(5), id(4));
        assert_eq!((moves.heir(id(5)), moves.heir(id(1)), moves.heir(id(7))), (id(6), id(6), id(7)));
        moves.forget(&id(1));
        assert_eq!((moves.heir(id(1)), moves.sorted().len()), (id(1), 5));
        moves.freed(&id(6));
        assert!(moves.sorted().is_empty() && moves.from.is_empty());
        // A circle is no way.
        moves.ended(id(1), id(2));
        moves.ended(id(2), id(1));
        assert!(moves.heir(id(1)) == id(2) && moves.heir(id(2)) == id(2));
    }
}
