//! Disks that go and come back: who is still there, who shows again, how much room each has.
//!
//! A disk that is attached is asked for its label through the handle that it is written through: if the path has come to
//! mean something else, the handle says so. A disk that is not attached is looked for by its label on all paths. One
//! that keeps failing soon after it came is left alone for longer each time.

use super::guests::{Rests, tend_guests};
use super::house::{House, Mounted};
use super::lookout::{Found, Sight};
use crate::core::lock;
use crate::engine::{Event, Report};
use crate::layout;
use crate::ports::{Disk, DiskError};
use crate::survey::{NotOurs, read_label};
use coffre_core::diskset::DiskSet;
use coffre_core::geometry::MAX_DISKS;
use coffre_core::ids::DiskNo;
use coffre_core::wire::DiskState;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

const PROBE_EVERY_MS: u64 = 1_000;
/// How often an idle box reads the labels from the medium: whether the disks are still its own (R10), or the label is gone.
const LABEL_EVERY_MS: u64 = 5_000;
/// In a try-out people pull folders and watch.
const TRY_OUT_PROBE_EVERY_MS: u64 = 200;
/// How long an attached disk may take to show its label or its sizes.
const PATIENCE_MS: u64 = 1_000;
/// How often a vault that could not be opened for writing is mounted anew although no disk came back.
const RETRY_MOUNT_MS: u64 = 30_000;
/// A disk lost so soon after it came is flapping,
const FLAPPING_MS: u64 = 60_000;
/// and is left alone at most this long.
const LONGEST_REST_MS: u64 = 60_000;

/// What the prober remembers of a disk.
#[derive(Clone, Default)]
struct Memory {
    came_ms: Option<u64>,
    losses: u32,
    rest_until_ms: u64,
}

/// The prober's thread.
pub(super) fn probe(house: &House) {
    let every_ms = if house.of().try_out { TRY_OUT_PROBE_EVERY_MS } else { PROBE_EVERY_MS };
    let mut memories = vec![Memory::default(); MAX_DISKS];
    let mut mounted_ms = house.clock.mono_ms();
    let mut looked_ms = mounted_ms;
    let mut rests = Rests::new();
    while house.prober_bell.nap(every_ms) {
        if house.mounted().core.with(|e| e.is_taken()) {
            // Whoever has the disks now is not disturbed; restores go on from what was mounted.
            measure(house, &house.mounted());
            continue;
        }
        if house.mounted().core.with(|e| e.change_known()) || house.must_mount.load(Ordering::SeqCst) {
            memories = vec![Memory::default(); MAX_DISKS];
            house.exchange();
        }
        let mounted = house.mounted();
        let now_ms = house.clock.mono_ms();
        let whose = house.of().try_out || now_ms.saturating_sub(looked_ms) >= LABEL_EVERY_MS;
        looked_ms = if whose { now_ms } else { looked_ms };
        check_attached(&mounted, whose);
        let now_ms = house.clock.mono_ms();
        let anew = mounted.core.with(|e| e.never_mounted() && e.idle());
        let came = look_for_lost(house, &mounted, &mut memories, every_ms, anew);
        if anew && (came || now_ms.saturating_sub(mounted_ms) >= RETRY_MOUNT_MS) {
            mounted_ms = now_ms;
            if let Err(fault) = house.mount_anew(&house.hung()) {
                tracing::error!("mounting anew: {fault}");
            }
        }
        tend_guests(house, &house.mounted(), &mut rests);
        measure(house, &house.mounted());
        house.tend_state();
        house.keep_slots_alike(&house.mounted());
        let (now_ms, there) = (house.clock.mono_ms(), attached(&house.mounted()));
        let places = lock(&house.places).clone();
        house.healths.tend(now_ms, there, &places);
        house.foreign.tend(now_ms, house.of().try_out, there, &places);
    }
}

/// Asks every attached disk how much room it has, and notes which ones new data must go to.
pub(super) fn measure(house: &House, mounted: &Mounted) {
    for (no, lanes) in (0u8..).map(DiskNo).zip(&mounted.crew.lanes) {
        let space = lanes.ask(PATIENCE_MS, |disk| disk.space()).ok();
        if space.is_some_and(|s| s.free >= house.limits.reserve) {
            mounted.core.with(|e| e.has_room(no));
        }
        house.rooms.set(no, space);
    }
    let report = mounted.core.report();
    let on_their_way = report.packs_busy as u64 * house.limits.pack_target as u64;
    house.rooms.looked(
        mounted.core.with(|e| e.geometry()),
        in_state(&report, &[DiskState::Active]),
        on_their_way,
    );
}

fn check_attached(mounted: &Mounted, whose: bool) {
    for no in attached(mounted).iter() {
        if !whose {
            // A disk that does not answer, or answers with an error, shows that when it is written to.
            if let Err(e @ DiskError::Gone(_)) =
                mounted.crew.lanes[no.ix()].ask(PATIENCE_MS, |disk| disk.len(layout::LABEL))
            {
                mounted.core.event(Event::Gone(no, e.to_string()));
            }
            continue;
        }
        let keys = mounted.core.keys.clone();
        let look = move |disk: &dyn Disk| Ok(read_label(disk, &keys));
        match mounted.crew.lanes[no.ix()].ask(PATIENCE_MS, look).unwrap_or_else(|e| Err(e.into())) {
            Ok(label) => mounted.core.event(Event::Label(no, Box::new(label))),
            Err(NotOurs::Disk(e @ DiskError::Gone(_))) => mounted.core.event(Event::Gone(no, e.to_string())),
            Err(NotOurs::Unlabelled) => {
                mounted.core.event(Event::Gone(no, "its label is not there any more".into()));
            }
            // A disk that does not answer, or answers with an error, shows that when it is written to.
            Err(_) => {}
        }
    }
}

/// Disks that are written to.
fn attached(mounted: &Mounted) -> DiskSet {
    in_state(&mounted.core.report(), &[DiskState::Active, DiskState::CatchingUp])
}

/// Disks in one of these states.
pub(super) fn in_state(report: &Report, states: &[DiskState]) -> DiskSet {
    let there = |(n, d): (u8, &(_, DiskState, _, _))| states.contains(&d.1).then_some(DiskNo(n));
    (0u8..).zip(&report.disks).filter_map(there).collect()
}

/// Looks for disks that are not attached; attaches what it finds, unless the vault is to be mounted `anew`.
/// Says whether anything was found.
fn look_for_lost(
    house: &House,
    mounted: &Mounted,
    memories: &mut [Memory],
    every_ms: u64,
    anew: bool,
) -> bool {
    let now_ms = house.clock.mono_ms();
    let lost = mounted.core.wants_probe();
    for no in lost.iter() {
        // Whatever happens next, a disk that is not in use is not held: its file system can be unmounted.
        mounted.crew.lanes[no.ix()].set_disk(None);
        memories[no.ix()].lost(now_ms, every_ms);
    }
    let wanted: DiskSet = lost.iter().filter(|no| memories[no.ix()].rest_until_ms <= now_ms).collect();
    if wanted.is_empty() {
        return false;
    }
    let in_use: Vec<PathBuf> =
        attached(mounted).iter().filter_map(|no| lock(&house.places).get(no.ix()).cloned()).collect();
    let mut came = false;
    let lookout = lock(&house.lookout).clone();
    let hung = house.hung();
    for (no, sight) in lookout.look(wanted, &in_use) {
        if sight.as_ref().is_ok_and(|found| hung.contains(&found.survey.label.disk)) {
            continue;
        }
        came |= sight.is_ok();
        if !(anew && sight.is_ok()) {
            take(house, mounted, no, sight, &mut memories[no.ix()]);
        }
    }
    came
}

fn take(house: &House, mounted: &Mounted, no: DiskNo, sight: Sight, memory: &mut Memory) {
    let found = match sight {
        Ok(found) => found,
        Err((state, why)) => return mounted.core.with(|e| e.probe_failed(no, state, why)),
    };
    let Found { disk, path, survey } = found;
    let now_ms = house.clock.mono_ms();
    house.strangers.note(survey.label.disk, survey.strange.to_string(), now_ms);
    let lanes = &mounted.crew.lanes[no.ix()];
    lanes.set_disk(Some(disk));
    lock(&house.places)[no.ix()] = path;
    mounted.core.event(Event::Attached(no, Box::new(survey)));
    mounted.core.forget_tables();
    if attached(mounted).has(no) {
        tracing::info!("disk {no} is back");
        memory.came_ms = Some(now_ms);
    } else {
        lanes.set_disk(None);
        memory.rest_until_ms = now_ms + LONGEST_REST_MS / 2;
    }
}

impl Memory {
    /// The disk is not attached. The first time after it was, that is a loss.
    fn lost(&mut self, now_ms: u64, every_ms: u64) {
        let Some(came_ms) = self.came_ms.take() else { return };
        self.losses = if now_ms.saturating_sub(came_ms) < FLAPPING_MS { self.losses + 1 } else { 0 };
        let rest_ms = every_ms.saturating_mul(1 << self.losses.min(16)).min(LONGEST_REST_MS);
        self.rest_until_ms = if self.losses > 1 { now_ms + rest_ms } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_disk_rests_longer_each_time_and_a_steady_one_is_forgiven() {
        let mut memory = Memory::default();
        memory.lost(5, 1_000);
        assert_eq!((memory.losses, memory.rest_until_ms), (0, 0), "lost without having come: no flapping");
        let mut rests = Vec::new();
        for _ in 0..8 {
            memory.came_ms = Some(100);
            memory.lost(200, 1_000);
            rests.push(memory.rest_until_ms.saturating_sub(200));
        }
        assert_eq!(rests, [0, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        memory.came_ms = Some(100);
        memory.lost(100 + FLAPPING_MS, 1_000);
        assert_eq!((memory.losses, memory.rest_until_ms), (0, 0));
    }
}
