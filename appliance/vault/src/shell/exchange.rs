//! Disks exchanged under an open vault: `disk replace`, `disk add`, `disk find`.
//!
//! What may be counted when is decided by the coordinator (`core/roster`, R7 to R9); here is the walk around it. The new disk is
//! made ready, its folder is noted in `box.json`, the engine writes the changed roster to the others' labels. As soon
//! as every later mount would know it, the vault is mounted anew under it: new work waits meanwhile, work under way is given time
//! to end, and the threads of the old mount end before anything is read, so that no late write of theirs can land in
//! the new one. The prober then finds the new disk like one that comes back.
//!
//! A crash at any point leaves one of two rosters in the labels, and the next start goes on from there. A disk that was made
//! ready and is in no roster claims nothing: it may be given again.

use super::house::{House, Mounted};
use crate::clock::SystemEntropy;
use crate::core::lock;
use crate::disk::{FsDisk, same_file_system};
use crate::init::{at, check_apart, check_disk, check_mounted, draw, undo_disk, write_disk};
use crate::ports::Disk;
use crate::state::KEYS_FILE;
use crate::survey::read_label;
use coffre_core::amount::ByteCount;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::label::Label;
use coffre_core::roster::Roster;
use coffre_core::wire::{DiskInfo, DiskState};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// How long the disks may take to write the changed roster into their labels.
const KNOWN_CEILING_MS: u64 = 20_000;
/// How long work under way is given to end before the vault is mounted anew.
const DRAIN_CEILING_MS: u64 = 10_000;
/// How long threads of the old mount may take to end.
const LEAVE_CEILING_MS: u64 = 10_000;
/// How long the command waits for the new disk to join.
const JOIN_CEILING_MS: u64 = 15_000;
/// Shortest beginning of an id that names a disk.
const MIN_ID_DIGITS: usize = 6;

impl House {
    /// See [`Vault::disk_replace`](crate::Vault::disk_replace).
    pub fn disk_replace(&self, old: &str, with: &Path) -> Result<DiskInfo> {
        let number = self.disk_named(old)?;
        self.change(with, |roster, id| Some(roster.with_replaced(number, id)))
    }

    /// See [`Vault::disk_add`](crate::Vault::disk_add).
    pub fn disk_add(&self, path: &Path) -> Result<DiskInfo> {
        self.change(path, Roster::with_added)
    }

    /// See [`Vault::disk_find`](crate::Vault::disk_find).
    pub fn disk_find(&self, path: &Path) -> Result<DiskInfo> {
        let _one = self.one_at_a_time()?;
        let full = path.canonicalize().map_err(|e| crate::state::trouble("cannot use the disk", path, &e))?;
        let label = FsDisk::attach(&full)
            .map_err(crate::survey::NotOurs::from)
            .and_then(|disk| read_label(&disk))
            .map_err(|e| Fault::absent(format!("{}: {e}", path.display())).next("mount the disk first"))?;
        let mut of = (*self.of()).clone();
        let number = of.disks.iter().position(|d| d.id == label.disk);
        let Some(number) = number.filter(|_| label.vault == of.vault_id) else {
            return Err(Fault::refused(format!("{} is not one of this vault's disks", path.display()))
                .next("see `coffre disk list`"));
        };
        of.places.retain(|place| *place != full);
        let before = std::mem::replace(&mut of.disks[number].path, full);
        of.look_also(before);
        self.keep(of)?;
        self.prober_bell.nudge();
        self.wait_until(JOIN_CEILING_MS, || self.is_active(label.disk));
        self.info_of(label.disk)
    }

    fn one_at_a_time(&self) -> Result<std::sync::MutexGuard<'_, ()>> {
        match self.roster.try_lock() {
            Ok(guard) => Ok(guard),
            Err(std::sync::TryLockError::Poisoned(e)) => Ok(PoisonError::into_inner(e)),
            Err(std::sync::TryLockError::WouldBlock) => {
                Err(Fault::refused("the disks are being changed by another command")
                    .next("wait until that one has ended"))
            }
        }
    }

    fn change(&self, path: &Path, how: impl Fn(&Roster, DiskId) -> Option<Roster>) -> Result<DiskInfo> {
        let _one = self.one_at_a_time()?;
        let core = self.open_for_work()?;
        core.with(|e| e.writable())?;
        if core.with(|e| e.changing()) {
            return Err(Fault::refused("a disk that was put in before has not joined the vault yet")
                .next("wait until `coffre disk list` shows it active, or put it back if it was taken away"));
        }
        let (full, _held) = self.check_newcomer(path)?;
        let id = DiskId(draw(&SystemEntropy));
        let roster = core.with(|e| e.roster().clone());
        let changed = how(&roster, id).ok_or_else(|| {
            Fault::refused("this vault has eight disks already: it cannot have more")
                .next("replace a disk by a larger one instead")
        })?;
        self.make_ready(&full, id, &changed)?;
        let begun = core.with(|e| e.begin_change(changed));
        begun.inspect_err(|_| undo_disk(&full))?;
        self.wait_until(KNOWN_CEILING_MS, || {
            self.prober_bell.nudge();
            self.of().roster().contains(&id)
        });
        if !self.of().roster().contains(&id) {
            return Err(Fault::transient("the disks of the vault do not take their new labels")
                .next("see `coffre status`; the change goes on by itself when they do"));
        }
        self.wait_until(JOIN_CEILING_MS, || self.is_active(id));
        self.info_of(id)
    }

    /// The new disk's full path: a folder of its own, empty or left over from a change that was cut off. Nobody else can take it
    /// while the disk that comes with it lives.
    fn check_newcomer(&self, path: &Path) -> Result<(PathBuf, FsDisk)> {
        let of = self.of();
        let there = FsDisk::attach(path).ok();
        if let Some(disk) = &there {
            disk.hold(&self.holder).map_err(|e| at(path, &e))?;
        }
        let label = there.and_then(|disk| read_label(&disk).ok());
        if let Some(label) = label.filter(|l| l.vault == of.vault_id) {
            if !label.is_newcomer() {
                let known = of.roster().contains(&label.disk);
                let what =
                    if known { "is a disk of this vault already" } else { "was taken out of this vault" };
                return Err(Fault::refused(format!("{} {what}", path.display()))
                    .next("choose another disk, or empty this one yourself"));
            }
            // Made ready by a change that was cut off: it never counted for anything.
            undo_disk(path);
        }
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
                "{} has {} free; the other disks hold up to {} each",
                full.display(),
                ByteCount(space.free),
                ByteCount(needed)
            ))
            .next("use a larger disk"));
        }
        Ok((full, newcomer))
    }

    /// Bytes that a disk of this vault must have room for: its part of the packs, and the reserve.
    fn needed(&self) -> u64 {
        let (packed, width) = self.core().with(|e| (e.catalog().pack_bytes(), e.geometry().width()));
        packed / width.max(1) as u64 + self.limits.reserve
    }

    /// Formats the new disk as a newcomer and notes where it is, in this order: a folder that is noted and never used is
    /// harmless, a disk that nobody finds is not.
    fn make_ready(&self, path: &Path, id: DiskId, changed: &Roster) -> Result<()> {
        let mut of = (*self.of()).clone();
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
        };
        write_disk(path, &slots, &label).map_err(|e| at(path, &e)).inspect_err(|_| undo_disk(path))?;
        of.look_also(path.to_owned());
        self.keep(of).inspect_err(|_| undo_disk(path))
    }

    /// Writes `box.json` and looks where it says from now on.
    fn keep(&self, of: crate::state::BoxFile) -> Result<()> {
        self.state.write_box(&of)?;
        *lock(&self.lookout) = std::sync::Arc::new(super::lookout::Lookout::new(&of, &self.holder));
        *lock(&self.known) = std::sync::Arc::new(of);
        Ok(())
    }

    /// Mounts anew under the changed roster. Work under way is given time to end; what does not end is told to try again.
    pub(super) fn exchange(&self) {
        self.exchanging.store(true, Ordering::SeqCst);
        let old = self.mounted();
        // The next mount goes on from what was noted: without this the retention clock would lose up to an hour.
        old.core.note_clock(true);
        let idle = || old.core.with(|e| e.writable().is_err() || e.idle() && e.packs_busy() == 0);
        let streams = || old.core.streams.load(Ordering::SeqCst);
        self.wait_until(DRAIN_CEILING_MS, || streams() == 0 && idle());
        old.crew.stop();
        self.leave(&old);
        let mounted = self.mount_anew(&self.hung());
        self.must_mount.store(mounted.is_err(), Ordering::SeqCst);
        self.exchanging.store(false, Ordering::SeqCst);
        match mounted {
            Ok(()) => tracing::info!("mounted anew under a changed roster"),
            Err(fault) => tracing::error!("mounting under the changed roster: {fault}"),
        }
    }

    /// Waits for the threads of the old mount. Those that hang at a disk are remembered: that disk is left alone until
    /// they have ended.
    fn leave(&self, old: &Mounted) {
        let threads = std::mem::take(&mut *lock(&old.threads));
        self.wait_until(LEAVE_CEILING_MS, || threads.iter().all(|t| t.is_finished()));
        let roster = &old.core.roster;
        for thread in threads.into_iter().filter(|t| !t.is_finished()) {
            let number =
                thread.thread().name().and_then(|name| name.rsplit('-').next()?.parse::<usize>().ok());
            let disk = number.and_then(|n| roster.get(n).copied());
            lock(&self.stuck).extend(disk.map(|disk| (disk, thread)));
        }
        old.crew.lanes.iter().for_each(|lanes| lanes.set_disk(None));
    }

    /// Disks at which a thread of an earlier mount still hangs.
    pub(super) fn hung(&self) -> Vec<DiskId> {
        let mut stuck = lock(&self.stuck);
        stuck.retain(|(_, thread)| !thread.is_finished());
        stuck.iter().map(|(disk, _)| *disk).collect()
    }

    fn is_active(&self, id: DiskId) -> bool {
        let report = self.core().report();
        report.disks.iter().any(|d| d.0 == id && d.1 == DiskState::Active)
    }

    fn info_of(&self, id: DiskId) -> Result<DiskInfo> {
        let found = self.disks().into_iter().find(|d| d.id == id);
        found
            .ok_or_else(|| Fault::transient("the vault is being mounted anew").next("see `coffre disk list`"))
    }

    /// The disk that a person names: by its number, the beginning of its id, or its path.
    fn disk_named(&self, text: &str) -> Result<DiskNo> {
        let disks = self.disks();
        let disks = || disks.iter().filter(|d| d.state != DiskState::Retired);
        let hex = text.len() >= MIN_ID_DIGITS && text.chars().all(|c| c.is_ascii_hexdigit());
        let full = Path::new(text).canonicalize().ok();
        let by_number = |d: &DiskInfo| text.parse() == Ok(d.number);
        let by_id = |d: &DiskInfo| hex && d.id.to_string().starts_with(&text.to_ascii_lowercase());
        let by_path = |d: &DiskInfo| d.path == text || full.as_deref() == Some(Path::new(&d.path));
        let found: Vec<DiskNo> =
            disks().filter(|d| by_number(d) || by_id(d) || by_path(d)).map(|d| DiskNo(d.number)).collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(Fault::absent(format!("there is no disk {text} in this vault")).next(
                "name it as `coffre disk list` shows it: its number, the first digits of its id, or its path",
            )),
            _ => Err(Fault::misuse(format!("{text} names several disks")).next("give more digits of the id")),
        }
    }
}
