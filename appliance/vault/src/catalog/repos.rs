//! Repositories of restic: which files their clients see, and which are hidden from them.
//!
//! Each file is one object with a lock like any other; what is here is only who sees it. What a client deletes in a
//! recoverable repository is *hidden*: it keeps its lock, stays for its class's period after the deletion, and can be shown
//! again. Nothing is forgotten because of its age.

use super::Catalog;
use coffre_core::fact::{Body, Fact, ObjectFact};
use coffre_core::ids::ObjectId;
use coffre_core::names::{ClientName, DatasetName, DatasetRef};
use coffre_core::repo::{FileKind, FileName, RepoFact, RepoMode};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Where a file stands in its repository. There is one config, whatever its bytes are: its place has no name.
type Place = (FileKind, FileName);

/// What stands for the name of a config.
const NO_NAME: FileName = FileName([0; 32]);

/// Files per name, and what is hidden.
#[derive(Clone, Debug, Default)]
pub(super) struct Repos {
    all: BTreeMap<DatasetRef, Repo>,
    /// Files of each client, hidden ones included.
    counts: BTreeMap<ClientName, u64>,
}

/// One repository.
#[derive(Clone, Debug, Default)]
struct Repo {
    fact: Option<RepoFact>,
    files: BTreeMap<Place, ObjectId>,
    /// When each was hidden, on the retention clock.
    hidden: BTreeMap<ObjectId, u64>,
    /// Of these, the kinds that are few: looked for often.
    hidden_few: BTreeSet<(FileKind, ObjectId)>,
    bytes: u64,
    hidden_bytes: u64,
}

/// A repository in figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepoFigures {
    /// What was said of it.
    pub fact: RepoFact,
    /// Files its client sees.
    pub files: u64,
    /// Bytes in these.
    pub bytes: u64,
    /// Files that are hidden from it.
    pub hidden: u64,
    /// Bytes in these.
    pub hidden_bytes: u64,
    /// Snapshots of restic's that it sees.
    pub snapshots: u64,
    /// When the newest of these was received, ms since 1970.
    pub newest_ms: Option<u64>,
}

fn key(fact: &ObjectFact) -> Option<Place> {
    let name = |kind| if kind == FileKind::Config { NO_NAME } else { FileName(fact.hash.0) };
    fact.file.map(|kind| (kind, name(kind)))
}

impl Catalog {
    /// Takes a fact of this room; says whether it was one.
    pub(super) fn apply_repo(&mut self, fact: Fact) -> Option<Fact> {
        match fact {
            Fact::Repo(fact) => {
                let repo = self.repos.all.entry(fact.repo.clone()).or_default();
                repo.fact = Some(fact);
            }
            Fact::Hidden { at_ms, objects } => objects.iter().for_each(|id| self.hide(id, at_ms)),
            Fact::Shown { objects } => objects.iter().for_each(|id| self.show(id)),
            other => return Some(other),
        }
        None
    }

    pub(super) fn add_file(&mut self, fact: &ObjectFact) {
        let Some(key) = key(fact) else { return };
        *self.repos.counts.entry(fact.dataset.client.clone()).or_default() += 1;
        let repo = self.repos.all.entry(fact.dataset.clone()).or_default();
        repo.bytes += fact.size;
        if let Some(older) = repo.files.insert(key, fact.id) {
            // Two of one name at once are never handed in; should a journal say so, both are kept and one is seen. In a checkpoint
            // the older one comes first, and which is seen is said behind it.
            self.hide(&older, fact.received_ms);
        }
    }

    pub(super) fn drop_file(&mut self, fact: &ObjectFact) {
        let Some(key) = key(fact) else { return };
        if let Some(count) = self.repos.counts.get_mut(&fact.dataset.client) {
            *count = count.saturating_sub(1);
        }
        let Some(repo) = self.repos.all.get_mut(&fact.dataset) else { return };
        repo.hidden_few.remove(&(key.0, fact.id));
        if repo.hidden.remove(&fact.id).is_some() {
            repo.hidden_bytes = repo.hidden_bytes.saturating_sub(fact.size);
        } else {
            repo.bytes = repo.bytes.saturating_sub(fact.size);
        }
        if repo.files.get(&key) == Some(&fact.id) {
            repo.files.remove(&key);
        }
    }

    fn hide(&mut self, id: &ObjectId, at_ms: u64) {
        let Some(fact) = self.objects.get(id).map(|e| &e.fact) else { return };
        let Some(key) = key(fact) else { return };
        let Some(repo) = self.repos.all.get_mut(&fact.dataset) else { return };
        if key.0 != FileKind::Data && key.0 != FileKind::Index {
            repo.hidden_few.insert((key.0, *id));
        }
        if repo.hidden.insert(*id, at_ms).is_none() {
            repo.bytes = repo.bytes.saturating_sub(fact.size);
            repo.hidden_bytes += fact.size;
        }
        if repo.files.get(&key) == Some(id) {
            repo.files.remove(&key);
        }
    }

    fn show(&mut self, id: &ObjectId) {
        let Some(fact) = self.objects.get(id).map(|e| &e.fact) else { return };
        let Some(key) = key(fact) else { return };
        let Some(repo) = self.repos.all.get_mut(&fact.dataset) else { return };
        if repo.files.contains_key(&key) || repo.hidden.remove(id).is_none() {
            return;
        }
        repo.hidden_few.remove(&(key.0, *id));
        repo.hidden_bytes = repo.hidden_bytes.saturating_sub(fact.size);
        repo.bytes += fact.size;
        repo.files.insert(key, *id);
        self.condemned.pardon_object(id);
    }

    /// The facts of this room for a checkpoint: those that must come before objects, and those after: what is hidden, and then what is
    /// seen although something hidden has its place.
    pub(super) fn repo_facts(&self) -> (Vec<Fact>, Vec<Fact>) {
        let before = self.repos.all.values().filter_map(|r| r.fact.clone()).map(Fact::Repo).collect();
        let mut by_time: BTreeMap<u64, Vec<ObjectId>> = BTreeMap::new();
        for (id, at_ms) in self.repos.all.values().flat_map(|r| &r.hidden) {
            by_time.entry(*at_ms).or_default().push(*id);
        }
        let hidden = by_time.into_iter().map(|(at_ms, objects)| Fact::Hidden { at_ms, objects });
        let seen: Vec<ObjectId> = self.repos.all.values().flat_map(|r| self.contested(r)).collect();
        let seen = (!seen.is_empty()).then_some(Fact::Shown { objects: seen });
        (before, hidden.chain(seen).collect())
    }

    /// Files that are seen although something hidden has their place.
    fn contested(&self, repo: &Repo) -> Vec<ObjectId> {
        let places = repo.hidden.keys().filter_map(|id| key(self.object(id)?));
        let seen: BTreeSet<ObjectId> = places.filter_map(|place| repo.files.get(&place).copied()).collect();
        seen.into_iter().collect()
    }

    /// What was said of a repository, also of one that was removed.
    pub fn repo(&self, repo: &DatasetRef) -> Option<&RepoFact> {
        self.repos.all.get(repo)?.fact.as_ref()
    }

    /// What its client may do to a repository: as was said, and nothing but adding when nothing was.
    pub fn repo_mode(&self, repo: &DatasetRef) -> RepoMode {
        self.repo(repo).map(|fact| fact.mode).unwrap_or_default()
    }

    /// All repositories with their figures, by name.
    pub fn repos(&self) -> Vec<RepoFigures> {
        self.repos.all.values().filter_map(|repo| self.figures(repo)).collect()
    }

    /// How many of one client's repositories are not removed.
    pub fn repos_of(&self, client: &ClientName) -> usize {
        let live = |(of, repo): &(&DatasetRef, &Repo)| {
            of.client == *client && repo.fact.as_ref().is_some_and(|f| !f.removed)
        };
        self.repos.all.iter().filter(live).count()
    }

    /// How many files a client has, hidden ones included.
    pub fn files_of(&self, client: &ClientName) -> u64 {
        self.repos.counts.get(client).copied().unwrap_or(0)
    }

    /// Snapshots that clients see: those of data sets, and those of restic.
    pub fn snapshot_count(&self) -> u64 {
        let files: u64 = self.repos.counts.values().sum();
        let of_restic = |repo: &Repo| repo.files.range(range_of(FileKind::Snapshots, None)).count() as u64;
        (self.object_count() as u64).saturating_sub(files)
            + self.repos.all.values().map(of_restic).sum::<u64>()
    }

    fn figures(&self, repo: &Repo) -> Option<RepoFigures> {
        let snapshots = repo.files.range(range_of(FileKind::Snapshots, None));
        let received = snapshots.clone().filter_map(|(_, id)| Some(self.object(id)?.received_ms));
        Some(RepoFigures {
            fact: repo.fact.clone()?,
            files: repo.files.len() as u64,
            bytes: repo.bytes,
            hidden: repo.hidden.len() as u64,
            hidden_bytes: repo.hidden_bytes,
            newest_ms: received.max(),
            snapshots: snapshots.count() as u64,
        })
    }

    /// The file of that kind and name that the client sees.
    pub fn file(&self, repo: &DatasetRef, kind: FileKind, name: FileName) -> Option<&ObjectFact> {
        self.object(self.repos.all.get(repo)?.files.get(&(kind, name))?)
    }

    /// The config of a repository.
    pub fn repo_config(&self, repo: &DatasetRef) -> Option<&ObjectFact> {
        self.file(repo, FileKind::Config, NO_NAME)
    }

    /// Up to `max` files of a kind that the client sees, in order of their names, those after `after`.
    pub fn files(
        &self,
        repo: &DatasetRef,
        kind: FileKind,
        after: Option<FileName>,
        max: usize,
    ) -> Vec<(FileName, &ObjectFact)> {
        let Some(repo) = self.repos.all.get(repo) else { return Vec::new() };
        let some = repo.files.range(range_of(kind, after)).take(max);
        some.filter_map(|(_, id)| self.object(id).map(|fact| (FileName(fact.hash.0), fact))).collect()
    }

    /// Every file of a repository that its client sees.
    pub fn all_files(&self, repo: &DatasetRef) -> Vec<ObjectId> {
        self.repos.all.get(repo).map_or_else(Vec::new, |r| r.files.values().copied().collect())
    }

    /// Files that are hidden, with the time on the retention clock when they were.
    pub fn hidden(&self, repo: &DatasetRef) -> Vec<(ObjectId, u64)> {
        self.repos
            .all
            .get(repo)
            .map_or_else(Vec::new, |r| r.hidden.iter().map(|(id, at)| (*id, *at)).collect())
    }

    /// Hidden files of one kind, neither data nor index.
    pub fn hidden_of_kind(&self, repo: &DatasetRef, kind: FileKind) -> impl Iterator<Item = ObjectId> {
        let all = self.repos.all.get(repo).map(|r| &r.hidden_few);
        let (first, last) = ((kind, ObjectId([0; 16])), (kind, ObjectId([0xff; 16])));
        all.into_iter().flat_map(move |few| few.range(first..=last).map(|(_, id)| *id))
    }

    /// Repositories in which something is hidden.
    pub fn repos_with_hidden(&self) -> Vec<DatasetRef> {
        self.repos.all.iter().filter(|(_, r)| !r.hidden.is_empty()).map(|(of, _)| of.clone()).collect()
    }

    /// Names of one client's repositories that are not removed, sorted.
    pub fn repo_names(&self, client: &ClientName) -> Vec<DatasetName> {
        let live = |r: &Repo| r.fact.as_ref().is_some_and(|f| !f.removed);
        self.repos
            .all
            .iter()
            .filter(|(of, r)| of.client == *client && live(r))
            .map(|(of, _)| of.name.clone())
            .collect()
    }
}

/// The places of one kind after a name.
fn range_of(kind: FileKind, after: Option<FileName>) -> (Bound<Place>, Bound<Place>) {
    let first = (kind, FileName([0; 32]));
    let from = after.map_or(Bound::Included(first), |name| Bound::Excluded((kind, name)));
    (from, Bound::Included((kind, FileName([0xff; 32]))))
}

/// A lock of restic's: it goes when its client says so, and it never leaves the journal for a pack.
pub fn is_lock_file(fact: &ObjectFact) -> bool {
    fact.file == Some(FileKind::Locks)
}

/// Bytes that are still in the journal and are to leave it.
pub(super) fn inline_to_fold(fact: &ObjectFact) -> Option<u64> {
    match &fact.body {
        Body::Inline(bytes) if !bytes.is_empty() && !is_lock_file(fact) => Some(bytes.len() as u64),
        _ => None,
    }
}
