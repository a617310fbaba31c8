//! Room on the disks: asked again and again, kept here, and new data refused before a disk runs full. What was taken in
//! since the last look counts as if it were on the disks already.
//!
//! The reserve is what the journal needs to go on saying what was removed: a full disk must still be able to forget.

use crate::core::lock;
use crate::ports::Space;
use coffre_core::amount::ByteCount;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::Geometry;
use coffre_core::ids::DiskNo;
use std::sync::Mutex;

/// What each disk said of its room last.
#[derive(Debug)]
pub(crate) struct Rooms {
    now: Mutex<Now>,
    reserve: u64,
}

#[derive(Debug)]
struct Now {
    known: Vec<Option<Space>>,
    /// Disks that new data must go to, as of the last look.
    counting: DiskSet,
    /// Bytes per disk that were taken in and cannot show in `known` yet.
    owed: u64,
}

impl Rooms {
    pub fn new(disks: usize, reserve: u64) -> Self {
        Self { now: Mutex::new(Now { known: vec![None; disks], counting: DiskSet::EMPTY, owed: 0 }), reserve }
    }

    pub fn set(&self, disk: DiskNo, space: Option<Space>) {
        if let Some(slot) = lock(&self.now).known.get_mut(disk.ix()) {
            *slot = space;
        }
    }

    /// After a look at all disks: who counts, and how many bytes of packs were still on their way.
    pub fn looked(&self, geometry: Geometry, counting: DiskSet, on_their_way: u64) {
        let mut now = lock(&self.now);
        now.counting = counting;
        now.owed = on_their_way / now.shared_by(geometry);
    }

    /// New data was taken in.
    pub fn took(&self, geometry: Geometry, len: u64) {
        let mut now = lock(&self.now);
        now.owed += len / now.shared_by(geometry);
    }

    pub fn get(&self, disk: DiskNo) -> Option<Space> {
        lock(&self.now).known.get(disk.ix()).copied().flatten()
    }

    /// A counting disk that has less than the reserve, and how much it has.
    pub fn low(&self) -> Option<(DiskNo, u64)> {
        let now = lock(&self.now);
        now.spaces().find(|(_, s)| s.free < self.reserve).map(|(d, s)| (d, s.free))
    }

    /// `Full` when a counting disk has no room left for new data.
    pub fn check(&self) -> Result<()> {
        match self.low() {
            None => Ok(()),
            Some((disk, free)) => Err(Fault::full(format!(
                "disk {disk} has {} free, and {} are kept in reserve",
                ByteCount(free),
                ByteCount(self.reserve)
            ))
            .next("free space or add larger disks")),
        }
    }

    /// Most new bytes, before parity, that the counting disks could take: now (`empty` false), or if they held
    /// nothing. `u64::MAX` while their sizes are not known.
    pub fn capacity(&self, geometry: Geometry, empty: bool) -> u64 {
        let now = lock(&self.now);
        let of = |s: Space| if empty { s.total } else { s.free }.saturating_sub(self.reserve);
        let smallest = now.spaces().map(|(_, s)| of(s)).min();
        smallest.map_or(u64::MAX, |each| each.saturating_mul(now.shared_by(geometry)))
    }

    /// Most new bytes, before parity, that the vault's disks could take if they held nothing and all were there; `None`
    /// while no disk has said its size.
    pub fn usable(&self, geometry: Geometry) -> Option<u64> {
        let now = lock(&self.now);
        let smallest = now.known.iter().flatten().map(|space| space.total.saturating_sub(self.reserve)).min();
        smallest.map(|each| each.saturating_mul(geometry.k() as u64))
    }
}

impl Now {
    fn spaces(&self) -> impl Iterator<Item = (DiskNo, Space)> {
        let known =
            self.counting.iter().filter_map(|d| Some((d, self.known.get(d.ix()).copied().flatten()?)));
        known.map(|(d, s)| (d, Space { free: s.free.saturating_sub(self.owed), ..s }))
    }

    /// Over how many disks new data is spread, parity aside.
    fn shared_by(&self, geometry: Geometry) -> u64 {
        geometry.shrink(self.counting.len()).map_or(1, |g| g.k() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    #[test]
    fn the_smallest_counting_disk_decides() {
        let rooms = Rooms::new(3, 100);
        let g = Geometry::new(2, 1).expect("valid");
        rooms.looked(g, DiskSet::first(3), 0);
        assert_eq!(rooms.capacity(g, false), u64::MAX);
        for (n, free) in [(0, 1000), (1, 300), (2, 50)] {
            rooms.set(DiskNo(n), Some(Space { total: 2000, free }));
        }
        assert_eq!(rooms.low(), Some((DiskNo(2), 50)));
        assert_eq!(rooms.check().expect_err("low").class, Class::Full);
        rooms.looked(g, DiskSet::first(2), 0);
        rooms.check().expect("the low one does not count");
        assert_eq!(rooms.capacity(g, false), 200);
        rooms.set(DiskNo(2), None);
        rooms.looked(g, DiskSet::first(3), 0);
        assert_eq!((rooms.capacity(g, false), rooms.capacity(g, true)), (400, 3800));
        rooms.took(g, 300);
        assert_eq!((rooms.capacity(g, false), rooms.low()), (100, None));
        rooms.took(g, 102);
        assert_eq!(rooms.low(), Some((DiskNo(1), 99)));
        rooms.looked(g, DiskSet::first(3), 0);
        assert_eq!(rooms.low(), None);
    }
}
