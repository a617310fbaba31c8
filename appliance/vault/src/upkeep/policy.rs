//! How data sets are kept: said by the owner, noted in the journal, in force for what is received from then on.

use crate::core::Core;
use coffre_core::class::LockClass;
use coffre_core::fact::{DatasetFact, Fact};
use coffre_core::fault::Result;
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::names::DatasetRef;
use coffre_core::wire::DatasetChange;

impl Core {
    /// Sets the class of what a data set receives from now on, what stays after its lock, of which kind it is, or some of these. What
    /// is there already keeps the lock it has: no class shortens one.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn set_policy(
        &self,
        dataset: &DatasetRef,
        class: Option<LockClass>,
        keep: Option<KeepRules>,
        kind: Option<Kind>,
    ) -> Result<()> {
        self.set_dataset(dataset, &DatasetChange { class, keep, kind, every: None })
    }

    /// The same, and how often a backup should come.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn set_dataset(&self, dataset: &DatasetRef, change: &DatasetChange) -> Result<()> {
        let DatasetChange { class, keep, kind, every } = *change;
        let now = self.with(|e| e.catalog().policy(dataset));
        let fact = DatasetFact {
            dataset: dataset.clone(),
            class: class.unwrap_or(now.class),
            keep: keep.unwrap_or(now.keep),
            set_ms: self.clock.wall_ms(),
            kind: kind.or(now.kind),
            every_s: every.unwrap_or(now.every).seconds(),
        };
        self.wait(self.submit(vec![Fact::Dataset(fact)], Vec::new())).map(|_| ())
    }
}
