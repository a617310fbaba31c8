//! The scheduler in seeded worlds of packs and time, without a disk.

use super::*;
use std::collections::BTreeMap;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pack(&mut self) -> PackId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        id[8..].copy_from_slice(&self.next().to_be_bytes());
        PackId(id)
    }
}

struct Pack {
    len: u64,
    light_ms: u64,
    deep_ms: u64,
}

/// A box of packs with a clock: what is written, removed, looked at, and how long ago at most.
struct Box {
    dice: Dice,
    packs: BTreeMap<PackId, Pack>,
    scrub: Scrub,
    now_ms: u64,
    opened: u64,
    worst_light_ms: u64,
    worst_deep_ms: u64,
}

impl Box {
    fn new(seed: u64, packs: u64, flaws: Flaws) -> Self {
        let mut dice = Dice(seed);
        let pack = |dice: &mut Dice| {
            (dice.pack(), Pack { len: 4096 * (1 + dice.below(8192)), light_ms: 0, deep_ms: 0 })
        };
        let packs = (0..packs).map(|_| pack(&mut dice)).collect();
        let scrub = Scrub::resumed(None, flaws);
        Self { dice, packs, scrub, now_ms: 0, opened: 0, worst_light_ms: 0, worst_deep_ms: 0 }
    }

    fn live(&self) -> u64 {
        self.packs.values().map(|p| p.len).sum()
    }

    /// Does what is due until nothing is, each step taking a little time. Returns how many steps.
    fn work(&mut self, step_ms: u64) -> usize {
        let census = Census { packs: self.packs.len() as u64, live_bytes: self.live() };
        for steps in 0..100_000 {
            let packs = &self.packs;
            let after = |_, at: Option<PackId>| match at {
                Some(at) => packs
                    .range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded))
                    .next()
                    .map(|p| *p.0),
                None => packs.keys().next().copied(),
            };
            match self.scrub.next(self.now_ms, census, after) {
                Next::Rest => return steps,
                Next::Basics => self.scrub.basics_done(),
                Next::Suspect(id) => self.look(Kind::Deep, id),
                Next::Pack(kind, id) => {
                    self.look(kind, id);
                    let opened = self.packs.get(&id).map_or(0, |p| p.len);
                    self.scrub.looked_at(kind, id, opened);
                }
            }
            self.now_ms += step_ms;
        }
        panic!("the scrub never rests");
    }

    fn look(&mut self, kind: Kind, id: PackId) {
        let now_ms = self.now_ms;
        let Some(pack) = self.packs.get_mut(&id) else { return };
        match kind {
            Kind::Sample => self.opened += pack.len,
            Kind::Light => pack.light_ms = now_ms,
            Kind::Deep => pack.deep_ms = now_ms,
        }
    }

    /// Oldest looks, of packs that are there.
    fn measure(&mut self) {
        for pack in self.packs.values() {
            self.worst_light_ms = self.worst_light_ms.max(self.now_ms - pack.light_ms);
            self.worst_deep_ms = self.worst_deep_ms.max(self.now_ms - pack.deep_ms);
        }
    }

    /// A restart: what is not noted is gone.
    fn restart(&mut self, flaws: Flaws) {
        let note = Note {
            light: self.scrub.light,
            deep: self.scrub.deep,
            sample: self.scrub.sample,
            ..Note::default()
        };
        self.scrub = Scrub::resumed(Some(&note), flaws);
    }

    fn days(&mut self, days: u64, churn: bool, flaws: Flaws) {
        for _ in 0..days * 24 {
            self.now_ms += DAY_MS / 24;
            if churn {
                for _ in 0..self.dice.below(3) {
                    let (id, len, now_ms) =
                        (self.dice.pack(), 4096 * (1 + self.dice.below(8192)), self.now_ms);
                    self.packs.insert(id, Pack { len, light_ms: now_ms, deep_ms: now_ms });
                }
                if self.dice.below(2) == 0 && self.packs.len() > 1 {
                    let at = self.dice.below(self.packs.len() as u64) as usize;
                    let id = self.packs.keys().nth(at).copied();
                    id.and_then(|id| self.packs.remove(&id));
                }
            }
            if self.dice.below(40) == 0 {
                self.restart(flaws);
            }
            let step_ms = 1 + self.dice.below(500);
            self.work(step_ms);
            self.measure();
        }
    }
}

#[test]
fn every_pack_is_read_within_thirty_days_and_looked_at_daily() {
    for seed in 0..24 {
        let packs = [0, 1, 2, 7, 60, 400][seed as usize % 6];
        let mut it = Box::new(seed, packs, Flaws::NONE);
        it.days(70, seed % 2 == 0, Flaws::NONE);
        assert!(
            it.worst_deep_ms <= DEEP_ROUND_MS + DAY_MS / 4,
            "seed {seed}: {} h",
            it.worst_deep_ms / 3_600_000
        );
        assert!(it.worst_light_ms <= DAY_MS, "seed {seed}: {} h", it.worst_light_ms / 3_600_000);
        assert_eq!(it.scrub.overdue(it.now_ms), (false, false));
    }
}

/// G18: each day at least a hundredth of the live bytes is opened end to end.
#[test]
fn a_hundredth_of_the_live_bytes_is_opened_each_day() {
    for seed in 0..24 {
        let packs = [1, 2, 7, 60, 250, 400][seed as usize % 6];
        let mut it = Box::new(seed + 1_000, packs, Flaws::NONE);
        it.work(1);
        let mut seen = 0;
        for day in 0..40 {
            it.days(1, seed % 2 == 0, Flaws::NONE);
            if let Some((opened, live)) = it.scrub.sample.yesterday {
                assert!(opened * 100 >= live, "seed {seed} day {day}: {opened} of {live}");
                seen += 1;
            }
        }
        assert!(seen >= 37, "seed {seed}: {seen} days");
        assert!(it.opened * 100 >= 38 * it.live().min(it.opened), "it opens something");
    }
}

#[test]
fn a_box_that_was_off_catches_up_and_keeps_to_the_limit() {
    for seed in 0..20 {
        let mut it = Box::new(seed, 50, Flaws::NONE);
        for _ in 0..6 {
            let on = 1 + it.dice.below(30);
            it.days(on, true, Flaws::NONE);
            it.now_ms += it.dice.below(9 * DAY_MS);
            it.restart(Flaws::NONE);
            it.work(100);
            it.measure();
        }
        assert!(it.worst_deep_ms <= DEEP_LIMIT_MS, "seed {seed}: {} h", it.worst_deep_ms / 3_600_000);
    }
}

#[test]
fn the_pace_is_even() {
    let mut it = Box::new(9, 2_000, Flaws::NONE);
    it.work(0);
    let mut most = 0;
    for _ in 0..20 * 24 {
        it.now_ms += DAY_MS / 24;
        most = most.max(it.work(0));
    }
    // 2000 packs in 20 days and again in 20 hours, and the sample: about 106 in an hour.
    assert!(most < 200, "{most} in one hour");
}

#[test]
fn what_is_asked_for_comes_at_once_and_neighbours_before_it() {
    let mut it = Box::new(5, 30, Flaws::NONE);
    it.work(0);
    it.scrub.ask(Kind::Deep);
    assert_eq!(it.scrub.asked(), Some(Kind::Deep));
    let suspects: Vec<PackId> = it.packs.keys().rev().take(3).copied().collect();
    it.scrub.suspect(suspects.iter().chain(&suspects).copied());
    let census = Census { packs: 30, live_bytes: it.live() };
    for suspect in &suspects {
        assert_eq!(it.scrub.next(it.now_ms, census, |_, _| None), Next::Suspect(*suspect));
    }
    it.now_ms += 10;
    it.work(0);
    assert!(it.packs.values().all(|p| p.deep_ms == 10), "all of them, now");
    assert_eq!((it.scrub.asked(), it.scrub.deep.ended_ms), (None, Some(10)));
}

#[test]
fn a_cursor_that_jumps_is_noticed() {
    let flaws = Flaws::only(Flaw::ScrubCursorJumps);
    let mut it = Box::new(3, 60, flaws);
    it.days(40, false, flaws);
    assert!(it.worst_deep_ms > DEEP_LIMIT_MS);
}
