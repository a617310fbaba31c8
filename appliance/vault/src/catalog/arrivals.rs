//! When backups came: what a rhythm is learnt from, and how each data set and each repository stands.
//!
//! What came last is looked up in what is there. What came before may have been forgotten long ago, or deleted by restic: so the
//! beginnings of sittings are remembered apart, in checkpoints.

use super::Catalog;
use coffre_core::fact::{Fact, ObjectFact};
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::repo::FileKind;
use coffre_core::rhythm::{Every, Rhythm, Sittings};
use std::collections::BTreeSet;

impl Catalog {
    /// A snapshot that counts as complete came, or a snapshot of restic's.
    pub(super) fn note_arrival(&mut self, fact: &ObjectFact) {
        let counts = match fact.file {
            None => !self.is_incomplete(fact),
            Some(kind) => kind == FileKind::Snapshots,
        };
        if counts {
            self.arrivals.entry(fact.dataset.clone()).or_default().came(fact.received_ms);
        }
    }

    /// The facts of this room for a checkpoint, which must come after those of objects.
    pub(super) fn arrival_facts(&self) -> impl Iterator<Item = Fact> {
        let fact = |(dataset, sittings): (&DatasetRef, &Sittings)| Fact::Came {
            dataset: dataset.clone(),
            at_ms: sittings.all().collect(),
        };
        self.arrivals.iter().map(fact)
    }

    /// How a data set stands with what should come.
    pub fn rhythm(&self, dataset: &DatasetRef, now_ms: u64) -> Rhythm {
        let last_ms = self.newest_whole(dataset).map(|fact| fact.received_ms);
        self.standing(dataset, self.policy(dataset).every, last_ms, now_ms)
    }

    /// How a repository stands with what should come, when its newest snapshot that its client sees came at `last_ms`.
    pub fn repo_rhythm(&self, repo: &DatasetRef, last_ms: Option<u64>, now_ms: u64) -> Rhythm {
        let every = Every::from_seconds(self.repo(repo).and_then(|fact| fact.every_s));
        self.standing(repo, every, last_ms, now_ms)
    }

    fn standing(&self, of: &DatasetRef, every: Every, last_ms: Option<u64>, now_ms: u64) -> Rhythm {
        let none = Sittings::default();
        Rhythm::of(every, self.arrivals.get(of).unwrap_or(&none), last_ms, now_ms)
    }

    /// Data sets that have a snapshot or of which something was said, without repositories.
    pub fn known_datasets(&self) -> BTreeSet<&DatasetRef> {
        self.datasets().chain(self.policies()).filter(|of| self.repo(of).is_none()).collect()
    }

    /// Whether anything ever came from a client: a snapshot, complete or not, at any door.
    pub fn ever_sent(&self, client: &ClientName) -> bool {
        self.arrivals.keys().any(|of| of.client == *client)
            || self.datasets.keys().any(|of| of.client == *client)
    }
}
