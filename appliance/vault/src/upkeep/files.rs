//! Files of repositories: hidden when their client deletes them, shown again when the owner says so, judged when they may go.

use super::forget::{Judged, light};
use crate::catalog::is_lock_file;
use crate::core::Core;
use crate::shell::partly;
use coffre_core::fact::{Fact, ObjectFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::ObjectId;
use coffre_core::keep::{Candidate, judge_file};
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, RepoFact, RepoMode};
use coffre_core::retention::RetentionClock;
use std::collections::BTreeSet;

/// Most ids in one fact.
const IDS_AT_ONCE: usize = 4_096;

impl Core {
    /// Notes a repository, or what changed about it.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn note_repo(&self, fact: RepoFact) -> Result<()> {
        self.hand_in(Fact::Repo(fact))
    }

    /// A client deletes one of the files it sees. A lock goes at once. In a recoverable repository everything else is hidden from
    /// the client and keeps its lock; in one that only takes more it is `Refused`.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn delete_file(&self, file: &ObjectFact) -> Result<()> {
        if is_lock_file(file) {
            return self.hand_in(Fact::Freed {
                objects: vec![file.id],
                packs: Vec::new(),
                moves: Vec::new(),
            });
        }
        let mode = self.with(|e| e.catalog().repo_mode(&file.dataset));
        if mode == RepoMode::AppendOnly && !self.flaws.has(Flaw::DeleteAppendOnly) {
            return Err(Fault::refused(format!(
                "the repository {} only takes more: nothing in it is deleted",
                file.dataset
            ))
            .next("whoever looks after the box can make it recoverable: coffre repo set"));
        }
        self.hide_files(vec![file.id])
    }

    /// Hides files from their client.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn hide_files(&self, objects: Vec<ObjectId>) -> Result<()> {
        let at_ms = self.retention().now_ms();
        self.hand_in_all(
            objects.chunks(IDS_AT_ONCE).map(|some| Fact::Hidden { at_ms, objects: some.to_vec() }),
        )
    }

    /// Takes a repository away from its client: notes that, and hides its files.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn remove_repo(&self, fact: RepoFact, objects: Vec<ObjectId>) -> Result<()> {
        let at_ms = self.retention().now_ms();
        let hidden = objects.chunks(IDS_AT_ONCE).map(|some| Fact::Hidden { at_ms, objects: some.to_vec() });
        self.hand_in_all(std::iter::once(Fact::Repo(fact)).chain(hidden))
    }

    /// One after the other. Once the first one is in the journal, a later one that fails leaves something half done.
    fn hand_in_all(&self, facts: impl IntoIterator<Item = Fact>) -> Result<()> {
        facts.into_iter().enumerate().try_for_each(|(at, fact)| {
            self.hand_in(fact).map_err(|fault| if at > 0 { partly(&fault) } else { fault })
        })
    }

    /// Shows the client of a repository everything again that is hidden from it; what has another of its name is left
    /// hidden. Of several configs the right one is shown, and a wrong one that is seen is hidden for it. Says how many files came back.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn show_files(&self, repo: &DatasetRef) -> Result<u64> {
        let (hidden, right, wrong) = self.with(|e| {
            let catalog = e.catalog();
            let right = catalog.right_config(repo);
            let seen = catalog.repo_config(repo).map(|fact| fact.id);
            (catalog.hidden(repo), right, seen.filter(|seen| Some(*seen) != right))
        });
        let first = right.filter(|right| hidden.iter().any(|(id, _)| id == right));
        if let Some(right) = first.filter(|_| !self.flaws.has(Flaw::RestoreAnyConfig)) {
            let at_ms = self.retention().now_ms();
            let hide = wrong.map(|wrong| Fact::Hidden { at_ms, objects: vec![wrong] });
            let facts = hide.into_iter().chain([Fact::Shown { objects: vec![right] }]).collect();
            self.wait(self.submit(facts, Vec::new()))?;
        }
        let objects: Vec<ObjectId> = hidden.iter().map(|(id, _)| *id).collect();
        let shown = objects.chunks(IDS_AT_ONCE).map(|some| Fact::Shown { objects: some.to_vec() });
        self.hand_in_all(shown).map_err(|fault| if first.is_some() { partly(&fault) } else { fault })?;
        let still: BTreeSet<ObjectId> =
            self.with(|e| e.catalog().hidden(repo)).into_iter().map(|(id, _)| id).collect();
        Ok(objects.iter().filter(|id| !still.contains(id)).count() as u64)
    }

    /// Shows one file again that its client hands in once more. `Transient` when it went in the meantime.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn show_file(&self, repo: &DatasetRef, kind: FileKind, id: ObjectId) -> Result<()> {
        self.hand_in(Fact::Shown { objects: vec![id] })?;
        let seen =
            self.with(|e| e.catalog().files(repo, kind, None, usize::MAX).iter().any(|f| f.1.id == id));
        if seen {
            return Ok(());
        }
        Err(Fault::transient("the file was being forgotten when it came again").next("send it again"))
    }

    /// Repositories with something that may be judged.
    pub(super) fn repos_to_judge(&self) -> Vec<DatasetRef> {
        self.with(|e| match self.flaws.has(Flaw::FreeByAge) {
            true => e.catalog().repos().into_iter().map(|r| r.fact.repo).collect(),
            false => e.catalog().repos_with_hidden(),
        })
    }

    /// How the files of a repository are judged now that are hidden from its client. Those that it sees stay, unasked.
    pub(super) fn judged_files(&self, repo: &DatasetRef, clock: &RetentionClock) -> Vec<Judged> {
        let by_age = self.flaws.has(Flaw::FreeByAge);
        let all: Vec<(ObjectFact, Option<u64>, Option<u64>)> = self.with(|e| {
            let catalog = e.catalog();
            let hidden = catalog.hidden(repo).into_iter().map(|(id, at_ms)| (id, Some(at_ms)));
            let seen = catalog.all_files(repo).into_iter().map(|id| (id, None));
            // What opens a repository stays as long as the repository does, whatever became of it.
            let fact = |(id, hidden_ms): (ObjectId, Option<u64>)| {
                let fact = catalog.object(&id)?;
                let hidden_ms = hidden_ms.filter(|_| by_age || !catalog.opens_a_repository(fact));
                Some((light(fact), hidden_ms, catalog.object_condemned_ms(&id)))
            };
            hidden.chain(seen.filter(|_| by_age)).filter_map(fact).collect()
        });
        // While the clock is in doubt every lock holds.
        let now_ms = if clock.doubt().is_some() { 0 } else { clock.now_ms() };
        let judged = |(object, hidden_ms, condemned_ms): (ObjectFact, Option<u64>, Option<u64>)| {
            let file = Candidate {
                received_ms: object.received_ms,
                locked_until_ms: object.lock_ends_ms(),
                incomplete: false,
            };
            let verdict = judge_file(&file, hidden_ms, object.class, now_ms, self.flaws);
            Judged { object, verdict, condemned_ms }
        };
        all.into_iter().map(judged).collect()
    }
}
