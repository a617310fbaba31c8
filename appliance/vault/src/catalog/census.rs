//! The census: how many packs lie on which disks, in which geometry. There are few such ways to lie and many packs, so
//! what must be known several times a second is asked of the census, and of those packs alone that lack a shard.

use super::pack_tolerance;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::PackFact;
use coffre_core::ids::{DiskNo, PackId};
use std::collections::{BTreeMap, HashMap};

/// How a pack lies: on which disks, how many of them are needed, how many are to spare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Lie {
    disks: u8,
    k: usize,
    m: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    lies: BTreeMap<Lie, usize>,
    changes: u64,
}

impl Lie {
    fn of(pack: &PackFact) -> Self {
        let disks: DiskSet = pack.disks.iter().copied().collect();
        Self { disks: disks.0, k: pack.geometry.k(), m: pack.geometry.m() }
    }

    fn tolerance(self, there: DiskSet) -> i32 {
        DiskSet(self.disks).and(there).len() as i32 - self.k as i32
    }
}

impl Census {
    pub fn came(&mut self, pack: &PackFact) {
        *self.lies.entry(Lie::of(pack)).or_default() += 1;
        self.changes += 1;
    }

    pub fn went(&mut self, pack: &PackFact) {
        let lie = Lie::of(pack);
        if let Some(count) = self.lies.get_mut(&lie) {
            *count -= 1;
            if *count == 0 {
                self.lies.remove(&lie);
            }
        }
        self.changes += 1;
    }

    /// Grows whenever a pack comes or goes.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether any pack has fewer than `m` shards to spare when all are there.
    pub fn any_narrower_than(&self, m: usize) -> bool {
        self.lies.keys().any(|lie| lie.m < m)
    }

    /// How many packs have each tolerance when these disks are there, and what some `lack` all the same is not. No pack
    /// twice.
    pub fn tolerances(
        &self,
        packs: &HashMap<PackId, PackFact>,
        there: DiskSet,
        lack: impl Iterator<Item = (PackId, DiskSet)>,
    ) -> BTreeMap<i32, usize> {
        let mut whole = self.lies.clone();
        let mut counts = BTreeMap::new();
        for (pack, lost) in lack.filter_map(|(id, lost)| Some((packs.get(&id)?, lost))) {
            if let Some(count) = whole.get_mut(&Lie::of(pack)) {
                *count -= 1;
            }
            *counts.entry(pack_tolerance(pack, there, lost)).or_default() += 1;
        }
        for (lie, count) in whole.into_iter().filter(|(_, count)| *count > 0) {
            *counts.entry(lie.tolerance(there)).or_default() += count;
        }
        counts
    }

    /// How many packs have a shard on `disk`, as far as is known, and too few on `left`.
    pub fn needing(
        &self,
        packs: &HashMap<PackId, PackFact>,
        disk: DiskNo,
        left: DiskSet,
        lack: impl Iterator<Item = (PackId, DiskSet)>,
    ) -> usize {
        let mut whole = self.lies.clone();
        let mut needing = 0;
        for (pack, lost) in lack.filter_map(|(id, lost)| Some((packs.get(&id)?, lost))) {
            if let Some(count) = whole.get_mut(&Lie::of(pack)) {
                *count -= 1;
            }
            let holds = pack.disks.contains(&disk) && !lost.has(disk);
            needing += usize::from(holds && pack_tolerance(pack, left, lost) < 0);
        }
        let needs = |lie: &Lie| DiskSet(lie.disks).has(disk) && lie.tolerance(left) < 0;
        needing + whole.into_iter().filter(|(lie, _)| needs(lie)).map(|(_, count)| count).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::class::LockClass;
    use coffre_core::geometry::Geometry;
    use coffre_core::shard::PackDigest;

    fn pack(n: u8, disks: &[u8], m: u8) -> PackFact {
        PackFact {
            id: PackId([n; 16]),
            class: LockClass::DAYS_30,
            pack_len: 1,
            toc_sealed_len: 1,
            geometry: Geometry::new(disks.len() as u8 - m, m).expect("possible"),
            epoch: 1,
            disks: disks.iter().copied().map(DiskNo).collect(),
            digest: PackDigest([0; 32]),
        }
    }

    #[test]
    fn it_says_what_a_look_at_every_pack_says() {
        let ways: [(&[u8], u8); 5] =
            [(&[0, 1, 2, 3, 4, 5], 2), (&[5, 4, 3, 2, 1, 0], 2), (&[0, 1, 2], 1), (&[3, 4, 5], 1), (&[2], 0)];
        let (mut census, mut packs) = (Census::default(), HashMap::new());
        for n in 0..40u8 {
            let (disks, m) = ways[usize::from(n) % ways.len()];
            let new = pack(n, disks, m);
            census.came(&new);
            packs.insert(new.id, new);
        }
        for n in (0..40).step_by(7) {
            census.went(&packs.remove(&PackId([n; 16])).expect("there"));
        }
        // Some lack shards: also on disks they are not on, and packs that are no more.
        let missing: HashMap<PackId, DiskSet> =
            (0..40u8).step_by(3).map(|n| (PackId([n; 16]), DiskSet(n.wrapping_mul(37)))).collect();
        for there in 0..64 {
            let there = DiskSet(there);
            for missing in [&missing, &HashMap::new()] {
                let lost = |pack: &PackFact| missing.get(&pack.id).copied().unwrap_or_default();
                let lack = || missing.iter().map(|(id, lost)| (*id, *lost));
                let mut each: BTreeMap<i32, usize> = BTreeMap::new();
                for pack in packs.values() {
                    *each.entry(pack_tolerance(pack, there, lost(pack))).or_default() += 1;
                }
                assert_eq!(census.tolerances(&packs, there, lack()), each, "{there:?}");
                for disk in (0..6).map(DiskNo) {
                    let left = there.without(disk);
                    let needs = |p: &&PackFact| {
                        p.disks.contains(&disk) && !lost(p).has(disk) && pack_tolerance(p, left, lost(p)) < 0
                    };
                    let needing = packs.values().filter(needs).count();
                    assert_eq!(census.needing(&packs, disk, left, lack()), needing, "{there:?} {disk}");
                }
            }
        }
        assert!(census.any_narrower_than(1) && !census.any_narrower_than(0) && census.changes() == 46);
        for pack in packs.values() {
            census.went(pack);
        }
        assert!(census.lies.is_empty());
    }
}
