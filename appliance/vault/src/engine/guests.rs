//! Guests: disks that were taken out of the roster and show. They are read from and never written, until nothing needs them.
//!
//! A disk keeps its number for life, so a guest holds the shards that packs have on its number, as its successor must. Until
//! the successor has all of them, made again and proved, the guest is a source like any other: each block is verified
//! against what the journal says of the pack, so that nothing has to be believed of the disk itself.

use super::Engine;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::PackFact;
use coffre_core::geometry::MAX_DISKS;
use coffre_core::ids::{DiskId, DiskNo, PackId};
use std::collections::HashSet;

/// Most guests at a time.
pub const MAX_GUESTS: usize = 4;

/// The number under which the guest in a seat is read: behind those of any roster.
pub fn guest_no(seat: usize) -> DiskNo {
    DiskNo((MAX_DISKS + seat) as u8)
}

/// The seat of a guest that is read under this number; `None` for a disk of the roster.
pub fn guest_seat(no: DiskNo) -> Option<usize> {
    no.ix().checked_sub(MAX_DISKS).filter(|seat| *seat < MAX_GUESTS)
}

/// A guest, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestReport {
    /// Which disk.
    pub id: DiskId,
    /// Packs whose shard its successor lacks and it has.
    pub lends: usize,
}

struct Guest {
    id: DiskId,
    stood_as: DiskNo,
    holds: HashSet<PackId>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Guests([Option<Guest>; MAX_GUESTS]);

impl Guests {
    fn seated(&self) -> impl Iterator<Item = (usize, &Guest)> {
        self.0.iter().enumerate().filter_map(|(seat, guest)| Some((seat, guest.as_ref()?)))
    }

    /// Numbers whose shard of a pack some guest has.
    fn cover(&self, pack: &PackId) -> DiskSet {
        self.seated().filter(|(_, g)| g.holds.contains(pack)).map(|(_, g)| g.stood_as).collect()
    }
}

impl Engine {
    /// A disk that was taken out shows, and holds these shards; as a disk of the roster it had the number `stood_as`.
    pub fn guest_came(&mut self, seat: usize, id: DiskId, stood_as: DiskNo, found: Vec<PackId>) {
        let ours = |id: &PackId| self.catalog.pack(id).is_some_and(|p| p.disks.contains(&stood_as));
        let holds = found.into_iter().filter(ours).collect();
        if let Some(place) = self.guests.0.get_mut(seat) {
            *place = Some(Guest { id, stood_as, holds });
            self.healing.try_all_again();
        }
    }

    /// Nobody is in this seat any more.
    pub fn guest_left(&mut self, seat: usize) {
        if let Some(place) = self.guests.0.get_mut(seat) {
            *place = None;
        }
    }

    /// A guest's shard is gone or wrong: it does not count on that guest any more.
    pub fn guest_lacks(&mut self, seat: usize, pack: &PackId) {
        if let Some(guest) = self.guests.0.get_mut(seat).and_then(Option::as_mut) {
            guest.holds.remove(pack);
        }
    }

    /// The disk in a seat, and the number that it had.
    pub fn guest(&self, seat: usize) -> Option<(DiskId, DiskNo)> {
        self.guests.0.get(seat)?.as_ref().map(|guest| (guest.id, guest.stood_as))
    }

    /// Numbers of which a disk that had them before may be of use: the one that has it now is not in use, was not looked
    /// at yet, or lacks something that it must have, made again and proved.
    pub fn guests_of_use(&self) -> DiskSet {
        let all = DiskSet::first(self.slots.len());
        if self.changing() {
            return all;
        }
        let live = self.missing.iter().filter(|(id, _)| self.catalog.pack(id).is_some());
        let lacking = live.fold(0, |all, (_, lost)| all | lost.0);
        all.minus(self.coord.counting().and(self.listed).minus(DiskSet(lacking)))
    }

    /// Where shards of a pack are on guests: shard number and the number to read under.
    pub fn lent(&self, pack: &PackFact) -> Vec<(usize, DiskNo)> {
        let place = |(seat, guest): (usize, &Guest)| {
            let shard = pack.disks.iter().position(|d| *d == guest.stood_as)?;
            guest.holds.contains(&pack.id).then_some((shard, guest_no(seat)))
        };
        self.guests.seated().filter_map(place).collect()
    }

    /// What packs lack on disks of the roster.
    pub(super) fn lack(&self) -> impl Iterator<Item = (PackId, DiskSet)> {
        self.missing.iter().map(|(id, lost)| (*id, *lost))
    }

    /// The same, less what guests have.
    pub(super) fn lack_with_guests(&self) -> impl Iterator<Item = (PackId, DiskSet)> {
        self.lack().map(|(id, lost)| (id, lost.minus(self.guests.cover(&id))))
    }

    pub(super) fn is_guest(&self, id: DiskId) -> bool {
        self.guests.seated().any(|(_, g)| g.id == id)
    }

    /// Whether the guest `id` has its shard of a pack.
    pub(super) fn guest_holds(&self, id: DiskId, pack: &PackId) -> bool {
        self.guests.seated().any(|(_, g)| g.id == id && g.holds.contains(pack))
    }

    pub(super) fn guest_reports(&self) -> Vec<GuestReport> {
        let lends = |guest: &Guest| {
            let needed =
                |(id, lost): &(&PackId, &DiskSet)| lost.has(guest.stood_as) && guest.holds.contains(*id);
            self.missing.iter().filter(needed).count()
        };
        self.guests.seated().map(|(_, g)| GuestReport { id: g.id, lends: lends(g) }).collect()
    }
}
