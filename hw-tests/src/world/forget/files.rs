//! A repository of restic in the world of forgetting: files come, are deleted by their client and shown again by the owner, and
//! nothing of it goes by age.

use super::{Known, REPO, World, name_of};
use crate::world::Broken;
use coffre_core::fact::ObjectFact;
use coffre_core::fault::Class;
use coffre_core::ids::ObjectId;
use coffre_core::repo::{FileKind, RepoFact, RepoMode};
use coffre_vault::catalog::is_lock_file;
use coffre_vault::core::Core;
use coffre_vault::put::Put;
use std::sync::Arc;

/// Kinds that come.
const KINDS: [FileKind; 5] =
    [FileKind::Data, FileKind::Snapshots, FileKind::Data, FileKind::Locks, FileKind::Config];

impl World {
    /// Some things are done with the repository.
    pub(super) fn repository(&mut self) -> Result<(), Broken> {
        let (core, _) = self.on();
        if core.with(|e| e.catalog().repo(&name_of(REPO)).is_none()) {
            self.set_mode(&core);
        }
        for _ in 0..=self.rng.index(4) {
            match self.rng.below(11) {
                0 => self.set_mode(&core),
                1..=5 => self.put_file(&core),
                6..=9 => self.delete_file(&core)?,
                _ => self.show_all(&core)?,
            }
            self.let_go();
            self.collect();
        }
        Ok(())
    }

    fn set_mode(&mut self, core: &Core) {
        let mode = if self.rng.chance(3, 4) { RepoMode::Recoverable } else { RepoMode::AppendOnly };
        let fact =
            RepoFact { repo: name_of(REPO), mode, created_ms: 1, removed: false, every_s: None, right: None };
        let _ = core.note_repo(fact);
    }

    fn put_file(&mut self, core: &Arc<Core>) {
        let mut kind = KINDS[self.rng.index(KINDS.len())];
        let taken =
            !self.pending.is_empty() || core.with(|e| e.catalog().repo_config(&name_of(REPO)).is_some());
        if kind == FileKind::Config && taken {
            // There is one, or one may be on its way: its door takes them one by one, and no other.
            kind = FileKind::Data;
        }
        let len = match kind {
            FileKind::Locks => 1 + self.rng.index(100),
            _ => 1 + self.rng.index(3_000),
        };
        let bytes = self.rng.bytes(len);
        let class = core.with(|e| e.catalog().policy(&name_of(REPO)).class);
        let Ok(mut put) = Put::begin_file(core.clone(), name_of(REPO), kind, class) else { return };
        let written: coffre_core::fault::Result<()> =
            bytes.chunks(777).try_for_each(|piece| put.write(piece));
        if let Err(fault) = written {
            self.seen.refused_full += u64::from(fault.class == Class::Full);
            return;
        }
        let Ok(submitted) = put.submit() else { return };
        self.keep_time();
        let id = submitted.object.id;
        let lock_ms = if kind == FileKind::Locks { 0 } else { class.millis() };
        self.known.push(Known {
            id,
            dataset: REPO,
            bytes: Arc::new(bytes),
            acked: false,
            locked_true_ms: self.true_ms + lock_ms,
            free_of_blame_ms: self.true_ms,
            gone: false,
            incomplete: false,
            may_go_true_ms: None,
        });
        self.pending.push((submitted.ticket, id));
    }

    /// The client deletes a file that it sees.
    fn delete_file(&mut self, core: &Core) -> Result<(), Broken> {
        let seen = core.with(|e| e.catalog().all_files(&name_of(REPO)));
        if seen.is_empty() {
            return Ok(());
        }
        let id = seen[self.rng.index(seen.len())];
        let Some((file, mode)) =
            core.with(|e| Some((e.catalog().object(&id)?.clone(), e.catalog().repo_mode(&name_of(REPO)))))
        else {
            return Ok(());
        };
        if self.rng.chance(1, 12) {
            let ops = self.rng.below(20);
            self.machine.power.cut_after(ops);
        }
        let done = core.delete_file(&file);
        self.keep_time();
        if mode == RepoMode::AppendOnly && !is_lock_file(&file) {
            return match done {
                Ok(()) => Err(Broken("a client deleted in a repository that only takes more".into())),
                Err(_) => Ok(()),
            };
        }
        // Whether or not the answer came, it may hold from now on.
        let after_ms = if is_lock_file(&file) { 0 } else { file.class.millis() };
        let may_go_ms = self.true_ms + after_ms;
        if let Some(known) = self.known.iter_mut().find(|k| k.id == id) {
            known.may_go_true_ms = Some(may_go_ms);
        }
        self.seen.deleted += u64::from(done.is_ok());
        Ok(())
    }

    /// The owner shows everything again.
    fn show_all(&mut self, core: &Core) -> Result<(), Broken> {
        let seen = |core: &Core| -> (Vec<ObjectId>, Option<ObjectId>) {
            let (all, seen) = Self::files_there(core);
            let hidden = all.into_iter().filter(|id| !seen.contains(id)).collect();
            (hidden, core.with(|e| e.catalog().repo_config(&name_of(REPO)).map(|fact| fact.id)))
        };
        let (hidden, config) = seen(core);
        let done = core.show_files(&name_of(REPO));
        self.keep_time();
        let (left, shown) = seen(core);
        // A config that is seen makes room for the oldest, as if it had been deleted now.
        for known in self.known.iter_mut().filter(|k| hidden.contains(&k.id) || Some(k.id) == config) {
            let class_ms = core.with(|e| e.catalog().object(&known.id).map_or(0, |fact| fact.class.millis()));
            match left.contains(&known.id) || done.is_err() {
                // It may have been deleted long ago already.
                true if known.may_go_true_ms.is_some() => {}
                true => known.may_go_true_ms = Some(self.true_ms + class_ms),
                false => known.may_go_true_ms = None,
            }
        }
        if done.is_err() {
            return Ok(());
        }
        self.seen.shown += hidden.len().saturating_sub(left.len()) as u64;
        let is_config = |id: &&ObjectId| core.with(|e| e.catalog().object(id).is_some_and(is_config));
        let place = |id: &ObjectId| core.with(|e| e.catalog().order(id));
        let oldest = hidden.iter().chain(&config).filter(is_config).min_by_key(|id| place(id));
        if oldest.is_some() && shown != oldest.copied() {
            return Err(Broken(format!("config {shown:?} came back where {oldest:?} was the first")));
        }
        Ok(())
    }

    /// Everything that is there of the repository, and what of it its client sees.
    pub(super) fn files_there(core: &Core) -> (Vec<ObjectId>, Vec<ObjectId>) {
        core.with(|e| {
            let seen = e.catalog().all_files(&name_of(REPO));
            let hidden = e.catalog().hidden(&name_of(REPO)).into_iter().map(|(id, _)| id);
            (seen.iter().copied().chain(hidden).collect(), seen)
        })
    }

    /// Files go for one reason only: their client deleted them long enough ago.
    pub(super) fn check_file_gone(&self, known: &Known) -> Result<(), Broken> {
        match known.may_go_true_ms {
            None => Err(Broken(format!("file {} is gone and nobody deleted it", known.id))),
            Some(at_ms) if self.true_ms < at_ms => {
                let early = at_ms - self.true_ms;
                Err(Broken(format!("file {} went {early} ms before what was deleted may go", known.id)))
            }
            Some(_) => Ok(()),
        }
    }
}

fn is_config(file: &ObjectFact) -> bool {
    file.file == Some(FileKind::Config)
}
