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
use crate::api::Replacing;
use crate::clock::SystemEntropy;
use crate::core::lock;
use crate::disk::FsDisk;
use crate::engine::MAX_GUESTS;
use crate::init::draw;
use crate::survey::{NotOurs, read_label};
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::roster::Roster;
use coffre_core::wire::{Consent, DiskInfo, DiskState};
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
/// How long the command waits until what the other disks hold is known,
const SETTLE_CEILING_MS: u64 = 10_000;
/// and until a disk that was taken out is read from.
const GUEST_CEILING_MS: u64 = 5_000;
/// Shortest beginning of an id that names a disk.
const MIN_ID_DIGITS: usize = 6;

impl House {
    /// See [`Vault::disk_replace`](crate::Vault::disk_replace).
    pub fn disk_replace(&self, old: &str, with: &Path, consent: Consent) -> Result<Replacing> {
        let number = self.disk_named(old)?;
        self.change(with, Some(number), consent, |roster, id| Some(roster.with_replaced(number, id)))
    }

    /// See [`Vault::disk_undo`](crate::Vault::disk_undo).
    pub fn disk_undo(&self, disk: &str, consent: Consent) -> Result<Replacing> {
        let number = self.disk_named(disk)?;
        let lookout = lock(&self.lookout).clone();
        let mut had = lookout.retired();
        had.retain(|(_, label)| label.number() == Some(number));
        match &had[..] {
            [(path, _)] => self.disk_replace(&number.to_string(), path, consent),
            [] => Err(Fault::absent(format!("no disk shows that had the number {number} before"))
                .next("mount it and say where with `coffre disk find PATH`, then give the command again")),
            [..] => Err(Fault::misuse(format!("several disks show that had the number {number} before")).next(
                format!("say which: `coffre disk replace {number} --with PATH`, PATH as `coffre disk list` shows it"),
            )),
        }
    }

    /// See [`Vault::disk_add`](crate::Vault::disk_add).
    pub fn disk_add(&self, path: &Path) -> Result<DiskInfo> {
        match self.change(path, None, Consent::default(), Roster::with_added)? {
            Replacing::Done(disk) => Ok(*disk),
            Replacing::Asked(why) => Err(Fault::refused(why)),
        }
    }

    /// See [`Vault::disk_find`](crate::Vault::disk_find).
    pub fn disk_find(&self, path: &Path) -> Result<DiskInfo> {
        let _one = self.one_at_a_time()?;
        let full = path.canonicalize().map_err(|e| crate::state::trouble("cannot use the disk", path, &e))?;
        let label = FsDisk::attach(&full)
            .map_err(NotOurs::from)
            .and_then(|disk| read_label(&disk, &self.keys))
            .map_err(|e| match e {
                NotOurs::OtherVault(_) | NotOurs::BadLabel(_) => {
                    Fault::refused(format!("{}: {e}", path.display())).next("see `coffre disk list`")
                }
                _ => Fault::absent(format!("{}: {e}", path.display())).next("mount the disk first"),
            })?;
        let mut of = (*self.of()).clone();
        let number = of.disks.iter().position(|d| d.id == label.disk);
        if number.is_none() && label.vault == of.vault_id && !label.is_newcomer() {
            return self.guest_found(full, label.disk, of);
        }
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

    /// A disk that was taken out is somewhere: it is read from while something needs it.
    fn guest_found(&self, full: PathBuf, id: DiskId, mut of: crate::state::BoxFile) -> Result<DiskInfo> {
        of.look_also(full);
        self.keep(of)?;
        self.prober_bell.nudge();
        let seated =
            |e: &mut crate::engine::Engine| (0..MAX_GUESTS).any(|s| e.guest(s).is_some_and(|g| g.0 == id));
        self.wait_until(GUEST_CEILING_MS, || self.core().with(|e| e.guests_of_use().is_empty() || seated(e)));
        self.info_of(id)
    }

    fn change(
        &self,
        path: &Path,
        leaving: Option<DiskNo>,
        consent: Consent,
        how: impl Fn(&Roster, DiskId) -> Option<Roster>,
    ) -> Result<Replacing> {
        let _one = self.one_at_a_time()?;
        let core = self.open_for_work()?;
        core.with(|e| e.writable())?;
        if core.with(|e| e.changing()) {
            return Err(Fault::refused("a disk that was put in before has not joined the vault yet")
                .next("wait until `coffre disk list` shows it active, or put it back if it was taken away"));
        }
        let comer = self.comer(path, leaving)?;
        if let Some(leaving) = leaving {
            if let Some(why) = self.speaks_against(leaving).filter(|_| !consent.sure) {
                return Ok(Replacing::Asked(why));
            }
            self.wait_until(SETTLE_CEILING_MS, || core.with(|e| e.settled_without(leaving)));
        }
        let id = comer.id().unwrap_or_else(|| DiskId(draw(&SystemEntropy)));
        let roster = core.with(|e| e.roster().clone());
        let changed = how(&roster, id).ok_or_else(|| {
            Fault::refused("this vault has eight disks already: it cannot have more")
                .next("replace a disk by a larger one instead")
        })?;
        core.with(|e| e.may_change(&changed, consent.give_up))?;
        self.make_ready(&comer, id, &changed)?;
        let begun = core.with(|e| e.begin_change(changed, consent.give_up));
        begun.inspect_err(|_| comer.take_back(&self.keys))?;
        self.wait_until(KNOWN_CEILING_MS, || {
            self.prober_bell.nudge();
            self.of().roster().contains(&id)
        });
        if !self.of().roster().contains(&id) {
            return Err(Fault::unknown(
                "it was begun, and the disks of the vault do not take their new labels",
            )
            .next("see `coffre status`; the change goes on by itself when they do"));
        }
        self.wait_until(JOIN_CEILING_MS, || self.is_active(id));
        self.info_of(id).map(|info| Replacing::Done(Box::new(info)))
    }

    /// What a person should know before a disk goes that is in use and well; `None` when it is not.
    fn speaks_against(&self, leaving: DiskNo) -> Option<String> {
        let disks = self.status().disks;
        let well = |d: &&DiskInfo| {
            matches!(d.state, DiskState::Active | DiskState::CatchingUp) && d.health.passed != Some(false)
        };
        let this = disks.iter().find(|d| d.number == leaving.told()).filter(well)?;
        let mut why = format!("disk {leaving} ({}) is in use and healthy", this.path);
        for other in disks.iter().filter(|d| !well(d)) {
            let (no, at) = (other.number, &other.path);
            let what = match other.state {
                DiskState::Absent => "is missing",
                DiskState::Foreign => "is not the disk it should be",
                DiskState::Held => "is held by another process",
                DiskState::Active | DiskState::CatchingUp => "says of itself that it fails",
                DiskState::Suspect | DiskState::Retired => "has failed",
            };
            why.push_str(&format!("; disk {no} ({at}) is the one that {what}: did you mean {no}?"));
        }
        Some(why)
    }

    /// Writes `box.json` and looks where it says from now on.
    pub(super) fn keep(&self, of: crate::state::BoxFile) -> Result<()> {
        self.state.write_box(&of)?;
        *lock(&self.lookout) =
            std::sync::Arc::new(super::lookout::Lookout::new(&of, &self.keys, &self.holder));
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
        old.crew.lanes.iter().chain(&old.crew.guests).for_each(|lanes| lanes.set_disk(None));
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
        found.ok_or_else(|| Fault::unknown("the vault is being mounted anew").next("see `coffre disk list`"))
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
        let found: Vec<DiskNo> = disks()
            .filter(|d| by_number(d) || by_id(d) || by_path(d))
            .filter_map(|d| DiskNo::from_told(d.number))
            .collect();
        match found[..] {
            [one] => Ok(one),
            [] if text.parse() == Ok(0) => Err(Fault::absent("there is no disk 0: disks are counted from 1")
                .next("name it as `coffre disk list` shows it")),
            [] => Err(Fault::absent(format!("there is no disk {text} in this vault")).next(
                "name it as `coffre disk list` shows it: its number, the first digits of its id, or its path",
            )),
            _ => Err(Fault::misuse(format!("{text} names several disks")).next("give more digits of the id")),
        }
    }
}
