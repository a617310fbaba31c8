//! Who comes in when the roster changes: an empty disk, or one that was replaced and comes back whole.
//!
//! A disk that comes back keeps all that it has. Only its label becomes that of a newcomer, before the roster changes: until it
//! has joined again it claims nothing, and its journal and its shards are brought up to date like those of a disk that was
//! away. A crash in between leaves a newcomer with shards, which nobody empties and which may be named again.

use super::house::House;
use super::lookout::has_shards;
use crate::core::lock;
use crate::disk::{FsDisk, same_file_system};
use crate::init::{at, check_apart, check_disk, check_mounted, undo_disk, write_disk};
use crate::lane::{self, Job};
use crate::ports::{Disk, DiskResult};
use crate::state::KEYS_FILE;
use crate::survey::{read_label, survey};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::roster::Roster;
use std::path::{Path, PathBuf};

/// See the module.
pub(super) enum Comer {
    /// Empty, and nothing else. The disk that comes with it keeps everybody else out.
    Fresh(PathBuf, #[expect(dead_code, reason = "held, never looked at")] FsDisk),
    /// Taken out before, with the label that it has.
    Back(PathBuf, Box<Label>, #[expect(dead_code, reason = "held, never looked at")] FsDisk),
}

impl Comer {
    /// The id that it has already.
    pub fn id(&self) -> Option<DiskId> {
        match self {
            Self::Fresh(..) => None,
            Self::Back(_, label, _) => Some(label.disk),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Fresh(path, _) | Self::Back(path, ..) => path,
        }
    }

    /// Makes it what it was before it was made ready.
    pub fn take_back(&self, keys: &KeyRing) {
        match self {
            Self::Fresh(path, _) => undo_disk(path),
            Self::Back(path, label, _) => {
                let before = Label { generation: label.generation + 2, ..Label::clone(label) };
                if let Err(e) = relabel(path, before, keys) {
                    tracing::warn!("{}: its label could not be taken back: {e}", path.display());
                }
            }
        }
    }
}

fn relabel(path: &Path, label: Label, keys: &KeyRing) -> DiskResult<()> {
    let disk = FsDisk::attach(path)?;
    let written = lane::execute(&disk, &Job::Label(label, None), keys, Flaws::NONE);
    disk.close(crate::layout::LABEL);
    written.map(drop)
}

impl House {
    /// Who shows at a path and may come in. `leaving`: whose place it takes.
    pub(super) fn comer(&self, path: &Path, leaving: Option<DiskNo>) -> Result<Comer> {
        let of = self.of();
        let there = FsDisk::attach(path).ok();
        if let Some(disk) = &there {
            disk.hold(&self.holder).map_err(|e| at(path, &e))?;
        }
        let seen =
            there.and_then(|disk| Some((read_label(&disk, &self.keys).ok()?, has_shards(&disk), disk)));
        let Some((label, holds, disk)) = seen.filter(|(label, ..)| label.vault == of.vault_id) else {
            return self.check_newcomer(path);
        };
        let shown = path.display();
        if of.roster().contains(&label.disk) && (!label.is_newcomer() || holds) {
            return Err(Fault::refused(format!("{shown} is a disk of this vault already"))
                .next("choose another disk"));
        }
        if label.is_newcomer() && !holds {
            // Made ready by a change that was cut off: it never counted for anything.
            undo_disk(path);
            return self.check_newcomer(path);
        }
        match label.number() {
            Some(number) if Some(number) == leaving => self.comes_back(path, label, disk),
            number => {
                let had = number.map_or_else(String::new, |no| format!(" as disk {no}"));
                let number = number.map_or(0, DiskNo::told);
                Err(Fault::refused(format!("{shown} was taken out of this vault{had}, and still has what it had"))
                    .next(format!(
                        "choose another disk, or have it back whole with `coffre disk replace {number} --with PATH`; empty it \
                         only when `coffre disk list` says that it may be taken out"
                    )))
            }
        }
    }

    /// A disk may come back when nobody else has used it meanwhile.
    fn comes_back(&self, path: &Path, label: Label, disk: FsDisk) -> Result<Comer> {
        let full = path.canonicalize().map_err(|e| crate::state::trouble("cannot use the disk", path, &e))?;
        let shown = full.display();
        let found = survey(&disk, &self.keys)
            .map_err(|e| Fault::corrupt(format!("{shown}: {e}")).next("choose another disk"))?;
        let epochs = found.view.records.iter().map(|r| r.meta.header.epoch);
        let newest = epochs.chain(found.view.anchors.iter().map(|a| a.epoch)).max().unwrap_or(0);
        if newest.max(label.promised) > self.core().report().epoch {
            return Err(Fault::refused(format!("{shown} was written elsewhere since it was taken out"))
                .next("choose another disk"));
        }
        Ok(Comer::Back(full, Box::new(label), disk))
    }

    /// The new disk's full path: a folder of its own, empty.
    fn check_newcomer(&self, path: &Path) -> Result<Comer> {
        let of = self.of();
        let (full, newcomer) = check_disk(path, &self.holder)?;
        let disks: Vec<PathBuf> =
            lock(&self.places).iter().filter(|p| !p.as_os_str().is_empty()).cloned().collect();
        let all: Vec<PathBuf> = disks.iter().filter(|p| **p != full).cloned().chain([full.clone()]).collect();
        check_apart(self.state.path(), &all)?;
        if !of.try_out {
            check_mounted(self.state.path(), &full)?;
        }
        let here = disks.iter().filter(|p| p.exists() && **p != full);
        for other in here.filter(|_| !of.try_out) {
            if same_file_system(&full, other).map_err(|e| at(&full, &e))? {
                return Err(Fault::refused(format!(
                    "{} and {} are on one file system: one failure takes both",
                    full.display(),
                    other.display()
                ))
                .next("mount the new disk first, then name its mount point"));
            }
        }
        let space = FsDisk::attach(&full).and_then(|d| d.space()).map_err(|e| at(&full, &e))?;
        let needed = self.needed();
        if space.free < needed {
            return Err(Fault::full(format!(
                "{} has {} MiB free; the other disks hold up to {} MiB each",
                full.display(),
                space.free >> 20,
                needed >> 20
            ))
            .next("use a larger disk"));
        }
        Ok(Comer::Fresh(full, newcomer))
    }

    /// Bytes that a disk of this vault must have room for: its part of the packs, and the reserve.
    fn needed(&self) -> u64 {
        let (packed, width) = self.core().with(|e| (e.catalog().pack_bytes(), e.geometry().width()));
        packed / width.max(1) as u64 + self.limits.reserve
    }

    /// Makes the disk that comes a newcomer of the changed roster and notes where it is, in this order: a folder that is noted and
    /// never used is harmless, a disk that nobody finds is not.
    pub(super) fn make_ready(&self, comer: &Comer, id: DiskId, changed: &Roster) -> Result<()> {
        let mut of = (*self.of()).clone();
        let path = comer.path();
        let written = match comer {
            Comer::Fresh(..) => {
                let slots = self.state.read(KEYS_FILE)?.ok_or_else(|| {
                    Fault::corrupt(format!("{} is missing", self.state.file(KEYS_FILE).display()))
                        .next("make the state folder anew with `coffre adopt` and the recovery words")
                })?;
                let label = Label {
                    vault: of.vault_id,
                    disk: id,
                    roster: changed.clone(),
                    since: 0,
                    try_out: of.try_out,
                    created_ms: of.created_ms,
                    generation: 1,
                    promised: 0,
                    owner: [0; 16],
                };
                write_disk(path, &slots, &label, &self.keys)
            }
            Comer::Back(_, before, _) => relabel(
                path,
                Label {
                    roster: changed.clone(),
                    since: 0,
                    generation: before.generation + 1,
                    ..Label::clone(before)
                },
                &self.keys,
            ),
        };
        written.map_err(|e| at(path, &e)).inspect_err(|_| comer.take_back(&self.keys))?;
        of.look_also(path.to_owned());
        self.keep(of).inspect_err(|_| comer.take_back(&self.keys))
    }
}
