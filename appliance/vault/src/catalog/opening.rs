//! What opens a repository of restic: its config and its keys. Without them nobody reads what is in it, so that their going, or their being
//! exchanged, is never silent.
//!
//! The *right* config is the oldest that is kept, unless the owner of the box said that another one is; and so are the right keys. What a client
//! does later with a stolen secret changes nothing about that.

use super::Catalog;
use coffre_core::fact::ObjectFact;
use coffre_core::ids::ObjectId;
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, FileName, RightFiles};

/// What is wrong with what opens a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacking {
    /// Its client sees no config, and one is hidden.
    NoConfig,
    /// Its client sees another config than the right one, which is hidden.
    OtherConfig,
    /// Its client sees no key, and some are hidden.
    NoKey,
    /// All right keys are hidden, and others were put in their place.
    OtherKeys,
    /// Its client sees no snapshot, and some are hidden.
    NoSnapshot,
}

impl Lacking {
    /// In words, for the light.
    pub fn why(self) -> &'static str {
        match self {
            Self::NoConfig => "its config was deleted: no program opens it",
            Self::OtherConfig => {
                "its config was exchanged: with another one no program opens what was there before"
            }
            Self::NoKey => "all its keys were deleted: no password opens it",
            Self::OtherKeys => "the keys that it had were deleted, and others put in their place",
            Self::NoSnapshot => "all its snapshots were deleted",
        }
    }
}

impl Catalog {
    /// Configs or keys, seen and hidden ones, in order of receipt.
    fn all_of_kind(&self, repo: &DatasetRef, kind: FileKind) -> Vec<&ObjectFact> {
        let seen = self.files(repo, kind, None, usize::MAX).into_iter().map(|(_, fact)| fact);
        let hidden = self.hidden_of_kind(repo, kind).filter_map(|id| self.object(&id));
        let mut all: Vec<&ObjectFact> = seen.chain(hidden).collect();
        all.sort_by_key(|fact| self.order(&fact.id));
        all
    }

    /// A hidden config or key with these bytes.
    pub fn hidden_file(&self, repo: &DatasetRef, kind: FileKind, name: FileName) -> Option<ObjectId> {
        let mut hidden = self.hidden_of_kind(repo, kind).filter_map(|id| self.object(&id));
        hidden.find(|fact| fact.hash.0 == name.0).map(|fact| fact.id)
    }

    /// The right config: as the owner said, as long as that one is kept; else the oldest.
    pub fn right_config(&self, repo: &DatasetRef) -> Option<ObjectId> {
        let said = self.repo(repo)?.right.as_ref().and_then(|right| right.config);
        let all = self.all_of_kind(repo, FileKind::Config);
        let kept = all.iter().map(|fact| fact.id).find(|id| Some(*id) == said);
        kept.or_else(|| all.first().map(|fact| fact.id))
    }

    /// The right keys, in the same way.
    fn right_keys(&self, repo: &DatasetRef) -> Vec<ObjectId> {
        let said = self.repo(repo).and_then(|fact| fact.right.as_ref());
        let all = self.all_of_kind(repo, FileKind::Keys);
        let is_said = |id: &ObjectId| said.is_some_and(|right| right.keys.contains(id));
        let kept: Vec<ObjectId> = all.iter().map(|fact| fact.id).filter(is_said).collect();
        if kept.is_empty() { all.first().map(|fact| fact.id).into_iter().collect() } else { kept }
    }

    /// What its client sees now of what opens a repository.
    pub fn seen_right_files(&self, repo: &DatasetRef) -> RightFiles {
        let keys = self.files(repo, FileKind::Keys, None, usize::MAX);
        RightFiles {
            config: self.repo_config(repo).map(|fact| fact.id),
            keys: keys.into_iter().map(|(_, fact)| fact.id).collect(),
        }
    }

    /// Repositories with something wrong about what opens them, by name.
    pub fn lacking(&self) -> Vec<(DatasetRef, Lacking)> {
        let with_hidden = self.repos_with_hidden().into_iter();
        let live = with_hidden.filter(|repo| self.repo(repo).is_some_and(|fact| !fact.removed));
        live.flat_map(|repo| self.lacking_of(&repo).into_iter().map(move |lack| (repo.clone(), lack)))
            .collect()
    }

    fn lacking_of(&self, repo: &DatasetRef) -> Vec<Lacking> {
        let mut all = Vec::new();
        let RightFiles { config, keys } = self.seen_right_files(repo);
        match (config, self.right_config(repo)) {
            (None, Some(_)) => all.push(Lacking::NoConfig),
            (Some(seen), Some(right)) if seen != right => all.push(Lacking::OtherConfig),
            _ => {}
        }
        let right = self.right_keys(repo);
        if keys.is_empty() && !right.is_empty() {
            all.push(Lacking::NoKey);
        } else if !right.is_empty() && !right.iter().any(|id| keys.contains(id)) {
            all.push(Lacking::OtherKeys);
        }
        let some_hidden = self.hidden_of_kind(repo, FileKind::Snapshots).next().is_some();
        if some_hidden && self.files(repo, FileKind::Snapshots, None, 1).is_empty() {
            all.push(Lacking::NoSnapshot);
        }
        all
    }

    /// Whether a hidden file is kept although its time has come: without it nobody opens what is still there.
    pub fn opens_a_repository(&self, fact: &ObjectFact) -> bool {
        let live = self.repo(&fact.dataset).is_some_and(|repo| !repo.removed);
        match fact.file {
            _ if !live => false,
            Some(FileKind::Config) => self.right_config(&fact.dataset) == Some(fact.id),
            Some(FileKind::Keys) => self.right_keys(&fact.dataset).contains(&fact.id),
            _ => false,
        }
    }
}
