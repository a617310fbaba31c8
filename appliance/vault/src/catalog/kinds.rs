//! What the catalogue knows of kinds: what a data set expects, which of its snapshots is the newest complete one, and which
//! data sets ended on one that is not.

use super::Catalog;
use coffre_core::fact::ObjectFact;
use coffre_core::ids::ObjectId;
use coffre_core::kind::{Expected, Finding, Kind};
use coffre_core::names::DatasetRef;

impl Catalog {
    /// What a snapshot of this data set should be: as the owner said, or as the newest complete one was.
    pub fn expected(&self, dataset: &DatasetRef) -> Expected {
        match self.policy(dataset).kind {
            Some(kind) => Expected::Said(kind),
            None => match self.newest_whole(dataset).and_then(|fact| fact.checked) {
                Some(checked) if checked.kind != Kind::File => Expected::Recognised(checked.kind),
                _ => Expected::Unknown,
            },
        }
    }

    /// Whether a snapshot counts as incomplete: it was found so when it came. That its data set is one of plain files by now takes back that
    /// it is of another kind than was due, and nothing else: what is empty, cut off or a web page does not get better by a word.
    pub fn is_incomplete(&self, fact: &ObjectFact) -> bool {
        let Some(checked) = fact.checked.filter(|checked| checked.complete() == Some(false)) else {
            return false;
        };
        let of_files = || self.policies.get(&fact.dataset).and_then(|p| p.kind) == Some(Kind::File);
        checked.finding != Finding::OtherKind || !of_files()
    }

    /// The newest snapshot of a data set that does not count as incomplete.
    pub fn newest_whole(&self, dataset: &DatasetRef) -> Option<&ObjectFact> {
        self.object(self.whole.get(dataset)?)
    }

    /// The snapshot that a client means who does not say which: the newest that does not count as incomplete; when all
    /// do, the newest.
    pub fn latest(&self, dataset: &DatasetRef) -> Option<ObjectId> {
        self.whole.get(dataset).or_else(|| self.snapshots(dataset).last()).copied()
    }

    /// How many snapshots of a data set are newer than this one.
    pub fn newer_than(&self, id: &ObjectId, dataset: &DatasetRef) -> usize {
        self.snapshots(dataset).iter().rev().take_while(|other| *other != id).count()
    }

    /// Data sets whose newest snapshot counts as incomplete, with that one.
    pub fn ending_incomplete(&self) -> impl Iterator<Item = (&DatasetRef, &ObjectFact)> {
        let last = |(dataset, ids): (_, &Vec<ObjectId>)| Some((dataset, self.object(ids.last()?)?));
        self.datasets.iter().filter_map(last).filter(|(_, fact)| self.is_incomplete(fact))
    }

    /// Data sets whose kind was said and of whose newest snapshot it cannot be told whether it is complete, with that one.
    pub fn ending_unsure(&self) -> impl Iterator<Item = (&DatasetRef, &ObjectFact)> {
        let said = |dataset: &DatasetRef| self.policies.get(dataset).and_then(|p| p.kind);
        let unsure = move |(dataset, fact): &(&DatasetRef, &ObjectFact)| {
            said(dataset).is_some_and(|kind| kind != Kind::File)
                && fact.checked.is_none_or(|checked| checked.complete().is_none())
        };
        let last = |(dataset, ids): (_, &Vec<ObjectId>)| Some((dataset, self.object(ids.last()?)?));
        self.datasets.iter().filter_map(last).filter(unsure)
    }

    /// Takes the newest snapshot of a data set.
    pub(super) fn note_whole(&mut self, fact: &ObjectFact) {
        if !self.is_incomplete(fact) {
            self.whole.insert(fact.dataset.clone(), fact.id);
        }
    }

    /// Looks again for the newest complete one: a snapshot went, or what counts has changed.
    pub(super) fn find_whole(&mut self, dataset: &DatasetRef) {
        let newest = self
            .snapshots(dataset)
            .iter()
            .rev()
            .find(|id| self.object(id).is_some_and(|fact| !self.is_incomplete(fact)));
        match newest.copied() {
            Some(id) => self.whole.insert(dataset.clone(), id),
            None => self.whole.remove(dataset),
        };
    }
}
