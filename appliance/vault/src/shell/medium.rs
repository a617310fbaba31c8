//! The state folder under an open vault: whether it is still there, and what could not be written to it.
//!
//! The daemon opens its folder once and goes on from memory. A folder that was moved away, a medium that died or is full would
//! show at the next start only, on the bad day; and an index whose files were removed lives on in them, unseen by
//! the next start. So the prober looks each time, writes again what was lost and can be written, and the light says the rest.

use super::house::House;
use super::prober::in_state;
use crate::core::lock;
use crate::state::{BOX_FILE, IDENTITY_FILE, KEYS_FILE, SCRUB_FILE};
use coffre_core::diskset::DiskSet;
use coffre_core::wire::{DiskState, Light};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;

/// How often what could not be written is tried again.
const WRITE_AGAIN_MS: u64 = 5_000;
/// How often at most the vault is mounted anew because its witness was lost.
const MOUNT_AGAIN_MS: u64 = 600_000;

/// What is known of the state folder.
#[derive(Debug)]
pub(super) struct Medium {
    /// Device and inode of the folder that was opened.
    opened: Option<(u64, u64)>,
    /// Why the box could not be started again from it.
    lost: Option<String>,
    wrote_ms: Option<u64>,
    mounted_ms: Option<u64>,
}

impl Medium {
    /// The folder as it is now.
    pub fn of(state: &Path) -> Self {
        Self { opened: identity(state), lost: None, wrote_ms: None, mounted_ms: None }
    }
}

impl House {
    /// Looks at the state folder and brings back what can be brought back; for the prober.
    pub(super) fn tend_state(&self) {
        let lost = self.look_at_state();
        let there = lost.is_none();
        let before = std::mem::replace(&mut lock(&self.medium).lost, lost.clone());
        match lost {
            Some(why) if before.as_ref() != Some(&why) => tracing::error!("{why}"),
            None if before.is_some() => tracing::info!("the state folder is there again"),
            _ => {}
        }
        if there {
            self.write_again();
            self.witness_again();
            self.index_again();
        }
    }

    /// Why the state folder makes the light what it is.
    pub(super) fn state_reasons(&self) -> Vec<(Light, String)> {
        if let Some(why) = &lock(&self.medium).lost {
            return vec![(Light::Red, why.clone())];
        }
        let unwritten = self.state.unwritten().into_iter();
        let mut reasons: Vec<(Light, String)> = unwritten
            .map(|(name, why)| {
                (Light::Amber, format!("{name} in the state folder could not be written: {why}"))
            })
            .collect();
        if let Some(why) = self.mounted().crew.witness_lost() {
            let what = "the witness in the state folder could not be written";
            let so = "with disks away backups may be refused until coffred was started again";
            reasons.push((Light::Amber, format!("{what} ({why}): {so}")));
        }
        reasons
    }

    fn look_at_state(&self) -> Option<String> {
        let (path, opened) = (self.state.path(), lock(&self.medium).opened);
        let without = "without it the box cannot be started again but with its disks, `coffre adopt` and the recovery words";
        let shown = path.display();
        match identity(path) {
            None => {
                return Some(format!(
                    "the state folder {shown} is not there any more: put it back; {without}"
                ));
            }
            here if here != opened => {
                return Some(format!(
                    "another folder is in the place of the state folder {shown}: put the old one back, or start coffred again"
                ));
            }
            _ => {}
        }
        let missing = !self.state.file(IDENTITY_FILE).exists();
        missing.then(|| {
            format!(
                "{IDENTITY_FILE} is missing in the state folder {shown}: put it back from a copy; {without}"
            )
        })
    }

    /// Small files that are missing, or that could not be written when they were due.
    fn write_again(&self) {
        let unwritten = self.state.unwritten();
        let due = |name: &str| unwritten.iter().any(|(n, _)| n == name);
        let box_due = due(BOX_FILE) || !self.state.file(BOX_FILE).exists();
        if !self.state.file(KEYS_FILE).exists() {
            // The prober compares all copies then, and writes the newest here.
            *lock(&self.slots_current) = DiskSet::EMPTY;
        }
        if !(box_due || due(SCRUB_FILE)) {
            return;
        }
        let now_ms = self.clock.mono_ms();
        if lock(&self.medium).wrote_ms.is_some_and(|at| now_ms.saturating_sub(at) < WRITE_AGAIN_MS) {
            return;
        }
        lock(&self.medium).wrote_ms = Some(now_ms);
        // Whoever changes the disks writes it too.
        if let Ok(_one) = self.roster.try_lock()
            && box_due
            && self.state.write_box(&self.of()).is_ok()
        {
            tracing::warn!("{BOX_FILE} was missing or old in the state folder: written again");
        }
        if due(SCRUB_FILE) {
            // What fails again stays among what could not be written.
            let _ = self.state.write(SCRUB_FILE, &self.core().scrub_note_now());
        }
    }

    /// A witness that could not be written is none: a mount with all disks begins a new one.
    fn witness_again(&self) {
        let mounted = self.mounted();
        if mounted.crew.witness_lost().is_none() || !self.state.unwritten().is_empty() {
            return;
        }
        let report = mounted.core.report();
        let whole = in_state(&report, &[DiskState::Active]).len() == report.disks.len();
        let now_ms = self.clock.mono_ms();
        let mut medium = lock(&self.medium);
        let rested = medium.mounted_ms.is_none_or(|at| now_ms.saturating_sub(at) >= MOUNT_AGAIN_MS);
        if whole && rested && !report.changing && report.stalled.is_none() {
            medium.mounted_ms = Some(now_ms);
            tracing::warn!("the witness was lost: mounting anew to begin another");
            self.must_mount.store(true, Ordering::SeqCst);
        }
    }

    /// An index whose files were taken away is built again.
    fn index_again(&self) {
        let core = self.core();
        if core.index_ready.load(Ordering::Relaxed) && !core.index.in_place() {
            tracing::warn!("the files of the index are not where they were: it is built again");
            core.doubt_index();
            self.keeper_bell.nudge();
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}
