//! Repositories of restic: what their door and the owner of the box may ask of a vault.
//!
//! A file of a repository is an object like any other, with a lock of its class. Its name is the SHA-256 of its bytes, so
//! handing in the same once more changes nothing.

use crate::api::{Vault, snapshot_info};
use crate::catalog::{Catalog, RepoFigures};
use crate::core::{Core, lock};
use crate::get::Get;
use crate::put::Put;
use crate::shell::{House, partly};
use crate::streams::{PutStream, SnapshotReader};
use aws_lc_rs::digest;
use bytes::Bytes;
use coffre_core::class::LockClass;
use coffre_core::fact::ObjectFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::repo::{FileKind, FileName, RepoFact, RepoMode};
use coffre_core::rhythm::{Every, Standing};
use coffre_core::wire::{FileInfo, ReceiptFacts, RepoInfo};
use std::cmp::Reverse;
use std::sync::Arc;

/// Most repositories of one client.
pub const MAX_REPOS: usize = 64;
/// Longest lock of restic's: they are some hundred bytes, ride in the journal, and are no way around other ceilings.
pub const MAX_LOCK_BYTES: u64 = 8 << 10;
/// Most locks in one repository at once.
pub const MAX_LOCKS: usize = 1_000;
/// Longest config of restic's: they are some hundred bytes.
pub const MAX_CONFIG_BYTES: u64 = 64 << 10;
/// Most configs that are kept of one repository, hidden ones included.
pub const MAX_CONFIGS: usize = 20;
/// The same of its keys.
pub const MAX_KEYS: usize = 1_000;
/// How long one upload waits for another one of the same name.
const SAME_NAME_WAIT_MS: u64 = 60_000;

/// A name that somebody is about to hand in.
pub(crate) type FilePlace = (DatasetRef, FileKind, FileName);

/// A file of a repository on its way in. Dropping it without `finish` leaves nothing visible. Blocking: not for tokio's
/// threads.
pub struct FileStream {
    house: Arc<House>,
    repo: DatasetRef,
    kind: FileKind,
    name: Option<FileName>,
    way: Way,
}

enum Way {
    Store(Box<PutStream>),
    /// It is there already: it is only compared.
    Compare {
        hasher: digest::Context,
        size: u64,
    },
}

/// What became of a file that was handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It is new, and safe.
    New(Box<ReceiptFacts>),
    /// The same was there already, and is safe.
    Known,
    /// There is another config already.
    OtherConfig,
}

/// A place that one upload has; free again when dropped.
struct Place<'a> {
    house: &'a House,
    place: FilePlace,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.house.files_under_way).remove(&self.place);
    }
}

impl Vault {
    /// Makes a repository, if it is not there. `Refused` when the client has all it may have, `Misuse` when a data set of the
    /// drop-box has its name.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_create(&self, repo: &DatasetRef) -> Result<()> {
        let house = self.house();
        let core = house.open_for_work()?;
        let _one_at_a_time = lock(&house.admin);
        let (known, taken, count) = core.with(|e| {
            let catalog = e.catalog();
            let taken = !catalog.snapshots(repo).is_empty();
            (catalog.repo(repo).cloned(), taken, catalog.repos_of(&repo.client))
        });
        if known.as_ref().is_some_and(|known| !known.removed) {
            return Ok(());
        }
        if taken {
            return Err(Fault::misuse(format!("{repo} is a data set of the drop-box"))
                .next("choose another name for the repository"));
        }
        if count >= MAX_REPOS {
            return Err(Fault::full(format!(
                "{} has {MAX_REPOS} repositories, and may not have more",
                repo.client
            ))
            .next("use one of them"));
        }
        core.with(|e| e.writable())?;
        let mode = known.as_ref().map(|known| known.mode).unwrap_or_default();
        let created_ms = house.clock.wall_ms();
        core.note_repo(RepoFact {
            repo: repo.clone(),
            mode,
            created_ms,
            removed: false,
            every_s: known.as_ref().and_then(|known| known.every_s),
            right: known.and_then(|known| known.right),
        })
    }

    /// Length of a file that the client sees; `name` is `None` for the config. `Absent` when there is none.
    pub fn repo_file_len(&self, repo: &DatasetRef, kind: FileKind, name: Option<FileName>) -> Result<u64> {
        self.file_fact(repo, kind, name).map(|fact| fact.size)
    }

    /// Up to `max` files of a kind with their lengths, in order of names, those after `after`. `Absent` when there is no such
    /// repository.
    pub fn repo_list(
        &self,
        repo: &DatasetRef,
        kind: FileKind,
        after: Option<FileName>,
        max: usize,
    ) -> Result<Vec<(FileName, u64)>> {
        let core = self.house().core();
        if !core.with(|e| is_there(e.catalog().repo(repo))) {
            return Err(self.house().perhaps_hidden(no_such_repo(repo)));
        }
        let sizes = |(name, fact): (FileName, &ObjectFact)| (name, fact.size);
        let some = core.with(|e| e.catalog().files(repo, kind, after, max).into_iter().map(sizes).collect());
        // After a first page, none is the end of the list, and no statement.
        if after.is_some() { Ok(some) } else { self.house().listed("such files", some) }
    }

    /// Opens a file for reading. `Absent` when there is none.
    pub fn repo_read(
        &self,
        repo: &DatasetRef,
        kind: FileKind,
        name: Option<FileName>,
    ) -> Result<SnapshotReader> {
        let fact = self.file_fact(repo, kind, name)?;
        let house = self.house().clone();
        let core = house.core();
        let get = Get::open(core.clone(), &fact.id)?;
        let info = snapshot_info(get.object());
        Ok(SnapshotReader::of(house, core, get, info, 0))
    }

    /// Begins a file; `name` is `None` for the config. `Absent` when there is no such repository, `Refused` while read-only,
    /// `Full` when there is no room, quota or place in the catalogue.
    pub fn repo_put(
        &self,
        repo: &DatasetRef,
        kind: FileKind,
        name: Option<FileName>,
        size_hint: Option<u64>,
    ) -> Result<FileStream> {
        let house = self.house().clone();
        let core = house.open_for_work()?;
        let (there, known, locks) = core.with(|e| {
            let catalog = e.catalog();
            let known = name.is_some_and(|name| catalog.file(repo, kind, name).is_some());
            let locks =
                if kind == FileKind::Locks { catalog.files(repo, kind, None, MAX_LOCKS).len() } else { 0 };
            (is_there(catalog.repo(repo)), known, locks)
        });
        if !there {
            return Err(house.perhaps_hidden(no_such_repo(repo)));
        }
        let way = if known {
            Way::Compare { hasher: digest::Context::new(&digest::SHA256), size: 0 }
        } else {
            if locks >= MAX_LOCKS {
                return Err(too_many_locks(repo));
            }
            check_len(kind, size_hint.unwrap_or(0))?;
            let make = |core: Arc<Core>, repo: DatasetRef, class: LockClass| {
                Put::begin_file(core, repo, kind, class)
            };
            Way::Store(Box::new(PutStream::begin(&house, core, repo, size_hint, make)?))
        };
        Ok(FileStream { house, repo: repo.clone(), kind, name, way })
    }

    /// The client deletes a file; one that is not there is deleted already. A lock goes at once; in a recoverable repository
    /// everything else is hidden and kept; in one that only takes more it is `Refused`.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_delete(&self, repo: &DatasetRef, kind: FileKind, name: Option<FileName>) -> Result<()> {
        let core = self.house().open_for_work()?;
        let fact = match self.file_fact(repo, kind, name) {
            Ok(fact) => fact,
            Err(fault) if fault.class == coffre_core::fault::Class::Absent => return Ok(()),
            Err(fault) => return Err(fault),
        };
        core.with(|e| e.writable()).map_err(|fault| Fault::transient(fault.what).next("try again later"))?;
        core.delete_file(&fact)
    }

    /// All repositories, removed ones included, by name. `Unseen` instead of none when too few disks are here to know that.
    pub fn repos(&self) -> Result<Vec<RepoInfo>> {
        let core = self.house().core();
        let all = core.with(|e| e.catalog().repos());
        let mut all: Vec<RepoInfo> = all.iter().map(|figures| info(&core, figures)).collect();
        all.sort_by_cached_key(|one| (Reverse(one.rhythm.standing), one.repo.clone()));
        self.house().listed("repositories", all)
    }

    /// Every file of a repository, then those that are hidden from its client. `Absent` when there is no such repository.
    pub fn repo_files(&self, repo: &DatasetRef) -> Result<Vec<FileInfo>> {
        let core = self.house().core();
        self.known_repo(&core, repo)?;
        let info = |fact: &ObjectFact, hidden: bool| FileInfo {
            id: fact.id,
            kind: fact.file.map(|kind| kind.to_string()).unwrap_or_default(),
            name: FileName(fact.hash.0).to_string(),
            size: fact.size,
            received_ms: fact.received_ms,
            locked_until_ms: fact.locked_until_ms,
            hidden,
        };
        Ok(core.with(|e| {
            let catalog = e.catalog();
            let seen = catalog.all_files(repo).into_iter().map(|id| (id, false));
            let hidden = catalog.hidden(repo).into_iter().map(|(id, _)| (id, true));
            seen.chain(hidden).filter_map(|(id, hidden)| Some(info(catalog.object(&id)?, hidden))).collect()
        }))
    }

    /// Says what the client of a repository may do from now on, if that is given; and that the config and the keys that it sees now are
    /// the right ones, when they are `confirmed`. `Absent` when there is none.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_set(&self, repo: &DatasetRef, mode: Option<RepoMode>, confirmed: bool) -> Result<RepoInfo> {
        self.repo_change(repo, mode, confirmed, None)
    }

    /// The same, and how often a backup should come; `None` leaves that as it is.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_change(
        &self,
        repo: &DatasetRef,
        mode: Option<RepoMode>,
        confirmed: bool,
        every: Option<Every>,
    ) -> Result<RepoInfo> {
        let core = self.house().open_for_work()?;
        let _one_at_a_time = lock(&self.house().admin);
        let known = self.known_repo(&core, repo)?;
        let mode = mode.unwrap_or(known.mode);
        let right = match confirmed {
            true => Some(core.with(|e| e.catalog().seen_right_files(repo))),
            false => known.right.clone(),
        };
        let every_s = every.map_or(known.every_s, Every::seconds);
        core.note_repo(RepoFact { mode, right, every_s, ..known })?;
        self.repo_info(&core, repo)
    }

    /// Takes a repository away from its client. Everything in it is hidden, and kept like what a client deletes; it
    /// [comes back](Self::repo_restore) until then. `Absent` when there is none.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_remove(&self, repo: &DatasetRef) -> Result<RepoInfo> {
        let core = self.house().open_for_work()?;
        let _one_at_a_time = lock(&self.house().admin);
        let known = self.known_repo(&core, repo)?;
        core.remove_repo(RepoFact { removed: true, ..known }, core.with(|e| e.catalog().all_files(repo)))?;
        self.repo_info(&core, repo)
    }

    /// Shows a client again what is hidden from it, and brings back its repository if that was removed. Says how many files
    /// came back. `Absent` when there is no such repository.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn repo_restore(&self, repo: &DatasetRef) -> Result<(u64, RepoInfo)> {
        let core = self.house().open_for_work()?;
        let _one_at_a_time = lock(&self.house().admin);
        let known = self.known_repo(&core, repo)?;
        let shown = core.show_files(repo)?;
        core.note_repo(RepoFact { removed: false, ..known }).map_err(|fault| partly(&fault))?;
        Ok((shown, self.repo_info(&core, repo)?))
    }

    /// Names of one client's repositories, sorted.
    pub fn repo_names(&self, client: &ClientName) -> Vec<coffre_core::names::DatasetName> {
        self.house().core().with(|e| e.catalog().repo_names(client))
    }

    fn known_repo(&self, core: &Core, repo: &DatasetRef) -> Result<RepoFact> {
        let known = core.with(|e| e.catalog().repo(repo).cloned());
        known.ok_or_else(|| self.house().perhaps_hidden(no_such_repo(repo)))
    }

    fn repo_info(&self, core: &Core, repo: &DatasetRef) -> Result<RepoInfo> {
        let figures = core.with(|e| e.catalog().repos()).into_iter().find(|f| f.fact.repo == *repo);
        figures.map(|figures| info(core, &figures)).ok_or_else(|| no_such_repo(repo))
    }

    fn file_fact(&self, repo: &DatasetRef, kind: FileKind, name: Option<FileName>) -> Result<ObjectFact> {
        let house = self.house();
        let fact = house.core().with(|e| {
            let catalog = e.catalog();
            let there = is_there(catalog.repo(repo));
            let fact = match name {
                Some(name) => catalog.file(repo, kind, name),
                None => catalog.repo_config(repo),
            };
            fact.filter(|_| there).cloned()
        });
        fact.ok_or_else(|| house.perhaps_hidden(Fault::absent(format!("there is no such file in {repo}"))))
    }
}

impl FileStream {
    /// Takes the next bytes. `Full` when a quota or the disks are full, or a lock is too long; the stream is then over.
    pub fn take(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.way {
            Way::Store(stream) => {
                check_len(self.kind, stream.progress() + bytes.len() as u64)?;
                stream.take(bytes)
            }
            Way::Compare { hasher, size } => {
                hasher.update(&bytes);
                *size += bytes.len() as u64;
                Ok(())
            }
        }
    }

    /// Ends the file and waits until it is safe. `Misuse` when the bytes are not those of its name: nothing is kept.
    ///
    /// # Durability
    /// On `Ok(Kept::New)` and `Ok(Kept::Known)` it is `local-durable`, as [`PutStream::finish`] has it.
    pub fn finish(self) -> Result<Kept> {
        let Self { house, repo, kind, name, way } = self;
        let stream = match way {
            Way::Store(stream) => stream,
            Way::Compare { hasher, .. } => {
                let is: Option<FileName> = hasher.finish().as_ref().try_into().ok().map(FileName);
                return if is == name { Ok(Kept::Known) } else { Err(other_name(is)) };
            }
        };
        let is = stream.file_name();
        if name.is_some() && is != name {
            return Err(other_name(is));
        }
        let core = house.open_for_work()?;
        let _place = claim(&house, (repo.clone(), kind, name.unwrap_or(FileName([0; 32]))))?;
        let (there, known, config, hidden) = core.with(|e| {
            let catalog = e.catalog();
            let known = name.is_some_and(|name| catalog.file(&repo, kind, name).is_some());
            let config = catalog.repo_config(&repo).map(|fact| FileName(fact.hash.0));
            let opens = matches!(kind, FileKind::Config | FileKind::Keys);
            let hidden = is.filter(|_| opens).and_then(|is| catalog.hidden_file(&repo, kind, is));
            (is_there(catalog.repo(&repo)), known, config, hidden)
        });
        match (name, config) {
            _ if !there => Err(house.perhaps_hidden(no_such_repo(&repo))),
            (Some(_), _) if known => Ok(Kept::Known),
            (None, Some(config)) => Ok(if Some(config) == is { Kept::Known } else { Kept::OtherConfig }),
            _ => match hidden {
                // The same was there before: it is shown again, and no second one kept.
                Some(id) => core.show_file(&repo, kind, id).map(|()| Kept::Known),
                None => {
                    core.with(|e| room_to_open(e.catalog(), &repo, kind))?;
                    stream.finish().map(|facts| Kept::New(Box::new(facts)))
                }
            },
        }
    }
}

/// Of what opens a repository only so much is kept: who may add and delete cannot bury the right one under others.
fn room_to_open(catalog: &Catalog, repo: &DatasetRef, kind: FileKind) -> Result<()> {
    let most = match kind {
        FileKind::Config => MAX_CONFIGS,
        FileKind::Keys => MAX_KEYS,
        _ => return Ok(()),
    };
    let count = catalog.files(repo, kind, None, most).len() + catalog.hidden_of_kind(repo, kind).count();
    if count < most {
        return Ok(());
    }
    Err(Fault::full(format!("{repo} has had {most} files of the kind {kind}, and takes no more"))
        .next("whoever looks after the box brings back the right one: coffre repo restore"))
}

/// One upload at a time is handed in under a name.
fn claim(house: &House, place: FilePlace) -> Result<Place<'_>> {
    let free = house.wait_until(SAME_NAME_WAIT_MS, || lock(&house.files_under_way).insert(place.clone()));
    if !free {
        return Err(Fault::transient("the same file is being received already").next("try again in a moment"));
    }
    Ok(Place { house, place })
}

fn info(core: &Core, figures: &RepoFigures) -> RepoInfo {
    let RepoFigures { fact, files, bytes, hidden, hidden_bytes, snapshots, newest_ms } = figures.clone();
    let (class, hidden_until_ms) = core.with(|e| {
        let catalog = e.catalog();
        let until = |(id, at_ms): (_, u64)| {
            let file = catalog.object(&id)?;
            Some(file.locked_until_ms.max(at_ms.saturating_add(file.class.millis())))
        };
        let first = catalog.hidden(&fact.repo).into_iter().filter_map(until).min();
        (catalog.policy(&fact.repo).class, first)
    });
    let RepoFact { repo, mode, created_ms, removed, .. } = fact;
    let mut rhythm = core.with(|e| e.catalog().repo_rhythm(&repo, newest_ms, core.clock.wall_ms()));
    if removed {
        rhythm.standing = Standing::NotExpected;
    }
    RepoInfo {
        repo,
        mode,
        class,
        created_ms,
        removed,
        files,
        bytes,
        snapshots,
        newest_ms,
        hidden_files: hidden,
        hidden_bytes,
        hidden_until_ms,
        rhythm,
    }
}

fn is_there(repo: Option<&RepoFact>) -> bool {
    repo.is_some_and(|fact| !fact.removed)
}

fn no_such_repo(repo: &DatasetRef) -> Fault {
    Fault::absent(format!("there is no repository {repo}")).next("make it with restic init")
}

fn too_many_locks(repo: &DatasetRef) -> Fault {
    Fault::full(format!("there are {MAX_LOCKS} locks in {repo} already"))
        .next("remove those that are stale with restic unlock")
}

fn check_len(kind: FileKind, len: u64) -> Result<()> {
    match kind {
        FileKind::Config if len > MAX_CONFIG_BYTES => {
            Err(Fault::full(format!("a config of more than {MAX_CONFIG_BYTES} bytes is not taken")))
        }
        FileKind::Locks if len > MAX_LOCK_BYTES => {
            Err(Fault::full(format!("a lock of more than {MAX_LOCK_BYTES} bytes is not taken")))
        }
        _ => Ok(()),
    }
}

fn other_name(is: Option<FileName>) -> Fault {
    let is = is.map_or_else(|| "something else".into(), |name| name.to_string());
    Fault::misuse(format!("the SHA-256 of what came is {is}, which is not its name"))
        .next("nothing was kept; send it again")
}
