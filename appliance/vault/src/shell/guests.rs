//! Disks that were taken out and show: found, listed, lent to readers and healers, and let go when nothing needs them.
//!
//! The engine says whether such a disk can be of use (`engine/guests`). While it can, its folder is held open for
//! reading; as soon as the disk in its place has everything, nothing is held, and it can be unmounted.

use super::house::{House, Mounted};
use crate::core::lock;
use crate::disk::FsDisk;
use crate::engine::MAX_GUESTS;
use crate::lane::{self, Job};
use crate::layout;
use crate::ports::{Disk, DiskError};
use coffre_core::flaw::Flaws;
use coffre_core::ids::DiskId;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a guest may take to show its label,
const PATIENCE_MS: u64 = 1_000;
/// and to list its shards.
const LIST_CEILING_MS: u64 = 10_000;
/// How long one that did not is left alone.
const REST_MS: u64 = 60_000;

/// Disks that failed as guests, and until when they are left alone.
pub(super) type Rests = HashMap<DiskId, u64>;

/// Lets guests go that are gone or needed no more, and seats those that show and are of use.
pub(super) fn tend_guests(house: &House, mounted: &Mounted, rests: &mut Rests) {
    let (core, seats) = (&mounted.core, &mounted.crew.guests);
    let (of_use, seated) =
        core.with(|e| (e.guests_of_use(), (0..MAX_GUESTS).map(|s| e.guest(s)).collect::<Vec<_>>()));
    for ((seat, lanes), guest) in seats.iter().enumerate().zip(&seated) {
        let Some((_, stood_as)) = guest else { continue };
        let label = lanes.ask(PATIENCE_MS, |disk| disk.len(layout::LABEL));
        if !of_use.has(*stood_as) || matches!(label, Err(DiskError::Gone(_) | DiskError::NotFound(_))) {
            core.with(|e| e.guest_left(seat));
            lanes.set_disk(None);
        }
    }
    if of_use.is_empty() {
        return;
    }
    let now_ms = house.clock.mono_ms();
    rests.retain(|_, until| *until > now_ms);
    let lookout = lock(&house.lookout).clone();
    for (path, label) in lookout.retired() {
        let Some(stood_as) = label.number().filter(|no| of_use.has(*no)) else { continue };
        let known = |guest: &Option<(DiskId, _)>| guest.is_some_and(|(id, _)| id == label.disk);
        let free = (0..MAX_GUESTS).find(|seat| core.with(|e| e.guest(*seat)).is_none());
        let Some(seat) = free.filter(|_| !seated.iter().any(known) && !rests.contains_key(&label.disk))
        else {
            continue;
        };
        let Ok(disk) = FsDisk::attach(&path) else { continue };
        let lanes = &seats[seat];
        lanes.set_disk(Some(Arc::new(disk)));
        let keys = house.keys.clone();
        let list = move |disk: &dyn Disk| lane::execute(disk, &Job::ListShards, &keys, Flaws::NONE);
        match lanes.ask(LIST_CEILING_MS, list) {
            Ok(done) => {
                core.with(|e| e.guest_came(seat, label.disk, stood_as, done.shards));
                let shown = path.display();
                tracing::info!(
                    "{shown}, taken out as disk {stood_as}, is read from until the one in its place has everything"
                );
            }
            Err(e) => {
                tracing::warn!("{} was taken out and cannot be read from: {e}", path.display());
                lanes.set_disk(None);
                rests.insert(label.disk, now_ms + REST_MS);
            }
        }
    }
}
