//! The scrub: everything the vault keeps is looked at before somebody needs it.
//!
//! Parity mends what is known to be bad; what rots unseen adds up until it is too much. So every header is looked at each day
//! and every block within a month, without any key; and each day a share of the packs is opened with the keys, chunk by
//! chunk, partly decoded from parity, which proves the whole way back. When what comes next is
//! decided by `coffre_core::scrub`; here the looking is done, in small steps, so that whoever drives it can
//! rest between them while streams run.
//!
//! A find counts at once: the shard is no copy any more, healing knows of it, and the light is not green. What is found and
//! not healed is noted in the state folder, so that a restart forgets nothing that is known to be bad.

mod deep;
mod light;
mod sample;
mod tell;

pub(crate) use tell::healing;

use crate::core::{Core, lock};
use crate::engine::Found;
use coffre_core::fact::PackFact;
use coffre_core::flaw::Flaw;
use coffre_core::ids::PackId;
use coffre_core::scrub::{
    Census, DAY_MS, DEEP_LIMIT_MS, Find, Kind, MAX_BAD, MAX_FINDS, NEIGHBOURS, Next, Note, Round, Scrub,
    Thing,
};
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// Packs of a round that are looked up at once, in order,
const AHEAD: usize = 256;
/// and kept so long: a pack written meanwhile must not be passed over for a whole round.
const AHEAD_MS: u64 = 10 * 60_000;
/// How often the note is written although nothing was found.
const NOTE_EVERY_MS: u64 = 10 * 60_000;

/// Where the scrub stands, behind a lock that is never held over a reading.
#[derive(Debug, Default)]
pub(crate) struct Scrubber(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    plan: Scrub,
    /// The scrub's time and the running time when this mount began.
    origin_ms: (u64, u64),
    /// A look at a pack's blocks that is under way.
    deep: Option<deep::Look>,
    /// Disks whose labels and journals are still to be looked at.
    basics: Option<light::Basics>,
    ahead: BTreeMap<Kind, Ahead>,
    census: Census,
    census_ms: Option<u64>,
    finds: VecDeque<Find>,
    ended_wall_ms: (Option<u64>, Option<u64>),
    noted_version: Option<u64>,
    noted_ms: u64,
    found_since_note: bool,
    /// A round was asked for, and whether a deep one, too. It begins with the next step: one that is under way has
    /// looked at what it looks at already.
    wanted: Option<bool>,
    /// Finds are being taken in, or what lies near one is being looked at.
    near_a_find: bool,
}

/// The next packs of a round.
#[derive(Debug, Default)]
struct Ahead {
    packs: VecDeque<PackId>,
    looked_up_ms: u64,
    /// The packs that follow the last one are not known.
    cut: bool,
}

impl Core {
    /// Goes on where the note of an earlier mount says; what was found before still counts. To be called before anything
    /// else. Anything that is not a note of this vault is none.
    pub fn scrub_recall(&self, file: Option<&[u8]>) {
        let note = file.and_then(|f| Note::decode(self.keys.vault(), f));
        let mono_ms = self.clock.mono_ms();
        let mut scrub = lock(&self.scrubber.0);
        *scrub =
            Inner { plan: Scrub::resumed(note.as_ref(), self.flaws), noted_ms: mono_ms, ..Inner::default() };
        let Some(note) = note else {
            scrub.origin_ms = (0, mono_ms);
            return;
        };
        // While the box was off, time went on; but no clock may make it a lifetime.
        let off_ms = self.clock.wall_ms().saturating_sub(note.wall_ms).min(DEEP_LIMIT_MS);
        scrub.origin_ms = (note.now_ms.saturating_add(off_ms), mono_ms);
        scrub.finds = note.finds.iter().copied().take(MAX_FINDS).collect();
        scrub.ended_wall_ms = note.ended_wall_ms;
        if note.bad_overflow {
            scrub.plan.ask(Kind::Deep);
        }
        drop(scrub);
        if !self.flaws.has(Flaw::ForgetFinds) {
            let bad: Vec<_> = note.bad().collect();
            self.with(|e| e.recall_bad(&bad));
        }
    }

    /// The note to be kept in the place of the one before, when something is new in it or it is old.
    pub fn scrub_note(&self) -> Option<Vec<u8>> {
        let version = self.with(|e| e.finds_version());
        let mono_ms = self.clock.mono_ms();
        let scrub = lock(&self.scrubber.0);
        let aged = mono_ms.saturating_sub(scrub.noted_ms) >= NOTE_EVERY_MS;
        let due = scrub.found_since_note || scrub.noted_version != Some(version) || aged;
        drop(scrub);
        due.then(|| self.scrub_note_now())
    }

    /// The note as it is now.
    pub fn scrub_note_now(&self) -> Vec<u8> {
        let (version, mut bad) = self.with(|e| (e.finds_version(), e.found_bad()));
        let bad_overflow = bad.len() > MAX_BAD;
        bad.truncate(MAX_BAD);
        let mono_ms = self.clock.mono_ms();
        let mut scrub = lock(&self.scrubber.0);
        let mut plan = scrub.plan.clone();
        ask(&mut plan, scrub.wanted);
        scrub.noted_version = Some(version);
        scrub.noted_ms = mono_ms;
        scrub.found_since_note = false;
        let note = Note {
            now_ms: scrub.now_ms(mono_ms),
            wall_ms: self.clock.wall_ms(),
            light: plan.light,
            deep: plan.deep,
            sample: plan.sample,
            bad: bad.into_iter().map(|(id, disks)| (id, disks.0)).collect(),
            bad_overflow,
            finds: scrub.finds.iter().copied().collect(),
            ended_wall_ms: scrub.ended_wall_ms,
        };
        drop(scrub);
        note.encode(self.keys.vault())
    }

    /// Begins a round now: a light one, or a light and a deep one.
    pub fn scrub_ask(&self, deep: bool) {
        let mut scrub = lock(&self.scrubber.0);
        scrub.wanted = Some(deep || scrub.wanted == Some(true));
    }

    /// One small step of whatever is due: at most a mebibyte of each disk is read, or one pack opened. `false` when
    /// nothing is due, or a step waits for a disk.
    pub fn scrub_step(&self) -> bool {
        self.hear_of_finds();
        let (look, basics) = {
            let mut scrub = lock(&self.scrubber.0);
            scrub.begin_what_is_wanted();
            (scrub.deep.take(), scrub.basics.take())
        };
        if let Some(look) = look {
            self.go_on_looking(look);
            return true;
        }
        if let Some(basics) = basics {
            return self.go_on_with_basics(basics);
        }
        match self.next_task() {
            Next::Rest => return false,
            Next::Basics => return self.go_on_with_basics(light::Basics::default()),
            Next::Suspect(id) => self.begin_looking(None, id),
            Next::Pack(Kind::Deep, id) => self.begin_looking(Some(Kind::Deep), id),
            Next::Pack(Kind::Light, id) => {
                self.look_at_headers(id);
                self.looked_at(Kind::Light, id, 0);
            }
            Next::Pack(Kind::Sample, id) => {
                let opened = self.open_sample(id);
                self.looked_at(Kind::Sample, id, opened);
            }
        }
        true
    }

    /// Whether a round that somebody asked for is under way.
    pub fn scrub_asked(&self) -> bool {
        lock(&self.scrubber.0).asked().is_some()
    }

    fn next_task(&self) -> Next {
        let mono_ms = self.clock.mono_ms();
        let mut guard = lock(&self.scrubber.0);
        let now_ms = guard.now_ms(mono_ms);
        let stale = guard.census_ms.is_none_or(|at| now_ms.saturating_sub(at) >= AHEAD_MS);
        if stale {
            guard.census = self.with(|e| {
                let live_bytes = e.catalog().packs().map(|p| p.pack_len).sum();
                Census { packs: e.catalog().pack_count() as u64, live_bytes }
            });
            guard.census_ms = Some(now_ms);
        }
        let Inner { plan, ahead, census, .. } = &mut *guard;
        let before = (plan.light.ended_ms, plan.deep.ended_ms);
        let next = plan.next(now_ms, *census, |kind, at| {
            ahead.entry(kind).or_default().after(at, now_ms, |from| self.packs_after(from))
        });
        guard.near_a_find = matches!(next, Next::Suspect(_));
        let plan = &guard.plan;
        let wall_ms = self.clock.wall_ms();
        let ended = (plan.light.ended_ms != before.0, plan.deep.ended_ms != before.1);
        if ended.0 {
            guard.ended_wall_ms.0 = Some(wall_ms);
        }
        if ended.1 {
            guard.ended_wall_ms.1 = Some(wall_ms);
        }
        guard.found_since_note |= ended.0 || ended.1;
        next
    }

    /// The next live packs in the order of ids.
    fn packs_after(&self, from: Option<PackId>) -> Vec<PackId> {
        let mut ids: Vec<PackId> = self.with(|e| {
            e.catalog().packs().map(|p| p.id).filter(|id| from.is_none_or(|from| *id > from)).collect()
        });
        first(&mut ids, AHEAD, PackId::cmp);
        ids
    }

    fn live(&self, id: PackId) -> Option<PackFact> {
        self.with(|e| e.catalog().pack(&id).cloned())
    }

    fn looked_at(&self, kind: Kind, id: PackId, opened: u64) {
        lock(&self.scrubber.0).plan.looked_at(kind, id, opened);
    }

    /// Takes what was found, by the scrub or by readers: it is kept to be told, and its neighbours are looked at.
    fn hear_of_finds(&self) {
        if self.with(|e| e.found_waiting()) > 0 {
            lock(&self.scrubber.0).near_a_find = true;
        }
        let found = self.with(|e| e.take_found());
        self.mark_healed();
        for Found { disk, thing, blocks, healed } in found {
            let wall_ms = self.clock.wall_ms();
            let find = Find { wall_ms, disk, thing, blocks, healed_ms: healed.then_some(wall_ms) };
            tracing::warn!("found damaged: {}{}", tell::what(&thing), tell::on_disk(disk));
            let near = if let Thing::Shard(pack) = thing { self.neighbours(pack) } else { Vec::new() };
            let mut scrub = lock(&self.scrubber.0);
            scrub.remember(find);
            scrub.plan.suspect(near);
        }
    }

    /// A pack, and those next to it in the order of ids: their shards lie in the same folders.
    fn neighbours(&self, pack: PackId) -> Vec<PackId> {
        let (mut before, mut behind): (Vec<PackId>, Vec<PackId>) = self
            .with(|e| e.catalog().packs().map(|p| p.id).filter(|id| *id != pack).partition(|id| *id < pack));
        first(&mut behind, NEIGHBOURS, PackId::cmp);
        first(&mut before, NEIGHBOURS, |a, b| b.cmp(a));
        std::iter::once(pack).chain(behind).chain(before).collect()
    }

    fn mark_healed(&self) {
        let wall_ms = self.clock.wall_ms();
        let mut scrub = lock(&self.scrubber.0);
        for find in scrub.finds.iter_mut().filter(|f| f.healed_ms.is_none()) {
            let healed = match (find.thing, find.disk) {
                (Thing::Shard(pack), Some(disk)) => {
                    self.with(|e| e.catalog().pack(&pack).is_none() || !e.lost_shards(&pack).has(disk))
                }
                (Thing::Pack(pack), _) => self.with(|e| e.catalog().pack(&pack).is_none()),
                _ => false,
            };
            find.healed_ms = healed.then_some(wall_ms);
        }
    }
}

/// Leaves the first `most` of them, in order. Of hundreds of thousands only those are sorted.
fn first(ids: &mut Vec<PackId>, most: usize, order: impl Fn(&PackId, &PackId) -> Ordering) {
    if ids.len() > most {
        ids.select_nth_unstable_by(most, &order);
        ids.truncate(most);
    }
    ids.sort_unstable_by(order);
}

/// Has rounds begin in a plan, as somebody wants them.
fn ask(plan: &mut Scrub, wanted: Option<bool>) {
    if let Some(deep) = wanted {
        plan.ask(Kind::Light);
        if deep {
            plan.ask(Kind::Deep);
        }
    }
}

impl Inner {
    /// Begins the rounds that were asked for. What earlier ones had half looked at is looked at anew in its turn.
    fn begin_what_is_wanted(&mut self) {
        let Some(deep) = self.wanted.take() else { return };
        ask(&mut self.plan, Some(deep));
        self.basics = None;
        if deep && self.deep.as_ref().is_some_and(deep::Look::of_a_round) {
            self.deep = None;
        }
    }

    /// Which rounds were asked for and are not over.
    fn asked(&self) -> Option<Kind> {
        let wanted = self.wanted.map(|deep| if deep { Kind::Deep } else { Kind::Light });
        self.plan.asked().max(wanted)
    }

    fn now_ms(&self, mono_ms: u64) -> u64 {
        self.origin_ms.0.saturating_add(mono_ms.saturating_sub(self.origin_ms.1))
    }

    /// The newest find comes first. What was found again replaces what was told of it before; when there are too many, those that are
    /// healed go first.
    fn remember(&mut self, find: Find) {
        self.finds.retain(|f| f.healed_ms.is_some() || (f.thing, f.disk) != (find.thing, find.disk));
        self.finds.push_front(find);
        self.found_since_note = true;
        if self.finds.len() > MAX_FINDS {
            let oldest_healed = self.finds.iter().rposition(|f| f.healed_ms.is_some());
            self.finds.remove(oldest_healed.unwrap_or(MAX_FINDS));
        }
    }

    /// How far a round has come, in thousandths.
    fn done_per_mille(round: &Round) -> u64 {
        let place = round.cursor.map_or(0, |id| u64::from(u16::from_be_bytes([id.0[0], id.0[1]])));
        place * 1_000 / 0x1_0000
    }
}

impl Ahead {
    /// The first pack behind `at`.
    fn after(
        &mut self,
        at: Option<PackId>,
        now_ms: u64,
        look_up: impl FnOnce(Option<PackId>) -> Vec<PackId>,
    ) -> Option<PackId> {
        while self.packs.front().is_some_and(|id| at.is_some_and(|at| *id <= at)) {
            self.packs.pop_front();
        }
        let old = now_ms.saturating_sub(self.looked_up_ms) >= AHEAD_MS;
        if at.is_none() || old || self.packs.is_empty() && self.cut || self.looked_up_ms == 0 {
            let packs = look_up(at);
            self.cut = packs.len() == AHEAD;
            self.packs = packs.into();
            self.looked_up_ms = now_ms.max(1);
        }
        self.packs.front().copied()
    }
}

const _: () = assert!(NOTE_EVERY_MS < DAY_MS && AHEAD_MS < DAY_MS);
