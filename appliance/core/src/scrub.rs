//! The scrub's plan: what is looked at next, and when, so that everything is looked at in time at a steady pace.
//!
//! Three rounds go through the packs in the order of their ids, each at a pace of its own: *light* (headers, presence) in a
//! day, *deep* (every block) in [`DEEP_ROUND_MS`], *sample* (opened with the keys) by a share of the live bytes each
//! day. Pack ids are drawn at random, so an id is a place on a clock face: a pack is due when the round's hand, which
//! goes round once in the round's time, has passed its id. That needs no sums and no forecast: the pace is even
//! however many packs there are, a pack written behind the hand comes in the next round, no later than a round after it was
//! written, and a box that was off finds everything due that the hand has passed meanwhile. To lose the
//! place costs nothing but looking again.
//!
//! Rot is seldom alone. A find puts its pack and the neighbours on a list that goes before everything else, and each of
//! these that is bad brings its own.
//!
//! Time is milliseconds that never go back and that go on, roughly, while the box is off; see [`Scrub::resumed`].

mod note;

pub use note::{Find, MAX_BAD, MAX_FINDS, MAX_NOTE_LEN, Note, Thing};

use crate::flaw::{Flaw, Flaws};
use crate::ids::PackId;
use minicbor::{Decode, Encode};
use std::collections::{BTreeSet, VecDeque};

/// A day.
pub const DAY_MS: u64 = 24 * 3_600_000;
/// In this time the light round goes once through all packs.
pub const LIGHT_ROUND_MS: u64 = 20 * 3_600_000;
/// In this time the deep round does.
pub const DEEP_ROUND_MS: u64 = 20 * DAY_MS;
/// Beyond this age of the last light and deep round the box says so.
pub const LIGHT_LIMIT_MS: u64 = 2 * DAY_MS;
/// See [`LIGHT_LIMIT_MS`].
pub const DEEP_LIMIT_MS: u64 = 30 * DAY_MS;
/// Share of the live bytes that are opened each day: a little more than the promised hundredth.
pub const SAMPLE_PER_MILLE: u64 = 13;
/// The day's sample is opened in this time, so that the day ends with slack.
const SAMPLE_SPREAD_MS: u64 = 20 * 3_600_000;
/// Neighbours on either side that a find makes the scrub look at.
pub const NEIGHBOURS: usize = 4;
/// Most packs on the list of neighbours, and most remembered as looked at in one outbreak.
const MAX_SUSPECTS: usize = 4_096;

const _: () = assert!(LIGHT_ROUND_MS < DAY_MS && DEEP_ROUND_MS + DAY_MS < DEEP_LIMIT_MS);
const _: () = assert!(SAMPLE_PER_MILLE > 10 && SAMPLE_SPREAD_MS < DAY_MS);

/// Which of the rounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Headers, footers, presence.
    Light,
    /// Every block against its checksum.
    Deep,
    /// Opened with the keys, chunk by chunk.
    Sample,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The disks' labels, journals and checkpoints, at the beginning of a light round.
    Basics,
    /// This pack.
    Pack(Kind, PackId),
    /// A pack near a find, deeply.
    Suspect(PackId),
    /// Nothing is due.
    Rest,
}

/// How much there is to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Live packs.
    pub packs: u64,
    /// Bytes of their bodies.
    pub live_bytes: u64,
}

/// One of the two rounds that go by the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Round {
    /// When the hand began at zero.
    #[n(0)]
    pub begun_ms: u64,
    /// The last pack that was looked at in this round.
    #[n(1)]
    pub cursor: Option<PackId>,
    /// When the last whole round ended.
    #[n(2)]
    pub ended_ms: Option<u64>,
    /// Whether it was asked for: then everything is due at once.
    #[n(3)]
    pub asked: bool,
}

/// The sample of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Sample {
    /// When the day began.
    #[n(0)]
    pub begun_ms: u64,
    /// The last pack that was opened: the next day goes on there.
    #[n(1)]
    pub cursor: Option<PackId>,
    /// Bytes opened this day.
    #[n(2)]
    pub bytes: u64,
    /// Packs taken this day, opened or not.
    #[n(3)]
    pub packs: u64,
    /// Bytes opened in the last whole day, and the live bytes at its end.
    #[n(4)]
    pub yesterday: Option<(u64, u64)>,
}

/// Where the scrub stands. A value without time, disks or packs: they are its parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scrub {
    /// The light round.
    pub light: Round,
    /// The deep round.
    pub deep: Round,
    /// The day's sample.
    pub sample: Sample,
    /// Disks' labels and journals were looked at in this light round.
    basics_done: bool,
    suspects: VecDeque<PackId>,
    outbreak: BTreeSet<PackId>,
    flaws: Flaws,
}

impl Round {
    /// When a pack is due in this round, as `period_ms` says how long the hand takes.
    fn due_ms(&self, pack: PackId, period_ms: u64) -> u64 {
        let place = u64::from_be_bytes(pack.0[..8].try_into().unwrap_or_default());
        let offset_ms = (u128::from(period_ms) * u128::from(place)) >> 64;
        self.begun_ms.saturating_add(offset_ms as u64)
    }

    fn is_due(&self, pack: PackId, period_ms: u64, now_ms: u64) -> bool {
        self.asked || self.due_ms(pack, period_ms) <= now_ms
    }

    /// The hand has come round. The next round keeps the beat if it can.
    fn end(&mut self, period_ms: u64, now_ms: u64) {
        let on_beat = self.begun_ms.saturating_add(period_ms);
        let begun_ms = if self.asked { now_ms } else { on_beat.max(now_ms) };
        *self = Self { begun_ms, cursor: None, ended_ms: Some(now_ms), asked: false };
    }

    /// Whether the last whole round is too long ago, or none ended in a box that is older.
    fn overdue(&self, limit_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.ended_ms.unwrap_or(0)) > limit_ms
    }
}

impl Scrub {
    /// A scrub that goes on where `note` says; from the beginning at time 0 without one.
    pub fn resumed(note: Option<&Note>, flaws: Flaws) -> Self {
        let blank = Self { flaws, ..Self::default() };
        note.map_or(blank.clone(), |n| Self { light: n.light, deep: n.deep, sample: n.sample, ..blank })
    }

    /// What is to be done now. `after` gives the first live pack behind a place in the order of ids, for each round; only
    /// asked for when it may matter.
    pub fn next(
        &mut self,
        now_ms: u64,
        census: Census,
        mut after: impl FnMut(Kind, Option<PackId>) -> Option<PackId>,
    ) -> Next {
        if let Some(pack) = self.suspects.pop_front() {
            return Next::Suspect(pack);
        }
        self.outbreak.clear();
        if !self.basics_done && (self.light.asked || self.light.begun_ms <= now_ms) {
            return Next::Basics;
        }
        for (kind, period_ms) in [(Kind::Light, LIGHT_ROUND_MS), (Kind::Deep, DEEP_ROUND_MS)] {
            let round = self.round(kind);
            if !round.asked && round.begun_ms > now_ms {
                continue;
            }
            match after(kind, round.cursor) {
                Some(pack) if round.is_due(pack, period_ms, now_ms) => return Next::Pack(kind, pack),
                Some(_) => {}
                // The hand is not round yet: a pack may still be written before it.
                None if !round.asked && now_ms < round.begun_ms.saturating_add(period_ms) => {}
                None => {
                    round.end(period_ms, now_ms);
                    if kind == Kind::Light {
                        self.basics_done = false;
                    }
                }
            }
        }
        if self.sample_due(now_ms, census) {
            let from = self.sample.cursor;
            let next = after(Kind::Sample, from).or_else(|| after(Kind::Sample, None));
            return next.map_or(Next::Rest, |pack| Next::Pack(Kind::Sample, pack));
        }
        Next::Rest
    }

    /// Labels and journals were looked at.
    pub fn basics_done(&mut self) {
        self.basics_done = true;
    }

    /// A pack was looked at in one of the rounds; of a sample, how many bytes of it were opened.
    pub fn looked_at(&mut self, kind: Kind, pack: PackId, opened_bytes: u64) {
        let mut place = pack;
        if self.flaws.has(Flaw::ScrubCursorJumps) {
            place.0[0] |= 0x3f;
            place.0[1..].fill(0xff);
        }
        match kind {
            Kind::Sample => {
                self.sample.cursor = Some(pack);
                self.sample.bytes += opened_bytes;
                self.sample.packs += 1;
            }
            _ => self.round(kind).cursor = Some(place),
        }
    }

    /// Something was found: these packs, itself and its neighbours, are looked at first, each once in an outbreak.
    pub fn suspect(&mut self, packs: impl IntoIterator<Item = PackId>) {
        for pack in packs {
            if self.outbreak.len() < MAX_SUSPECTS && self.outbreak.insert(pack) {
                self.suspects.push_back(pack);
            }
        }
    }

    /// Packs near a find that are still to be looked at.
    pub fn suspects(&self) -> usize {
        self.suspects.len()
    }

    /// A round is wanted now, at once. One that is under way begins anew.
    pub fn ask(&mut self, kind: Kind) {
        if kind != Kind::Sample {
            let round = self.round(kind);
            (round.asked, round.cursor) = (true, None);
            if kind == Kind::Light {
                self.basics_done = false;
            }
        }
    }

    /// Which rounds were asked for and are not over.
    pub fn asked(&self) -> Option<Kind> {
        match () {
            () if self.deep.asked => Some(Kind::Deep),
            () if self.light.asked => Some(Kind::Light),
            () => None,
        }
    }

    /// Whether the light and the deep round are overdue.
    pub fn overdue(&self, now_ms: u64) -> (bool, bool) {
        (self.light.overdue(LIGHT_LIMIT_MS, now_ms), self.deep.overdue(DEEP_LIMIT_MS, now_ms))
    }

    fn round(&mut self, kind: Kind) -> &mut Round {
        if kind == Kind::Light { &mut self.light } else { &mut self.deep }
    }

    /// Whether the day's sample lags behind the clock. Each day takes every pack at most once.
    fn sample_due(&mut self, now_ms: u64, census: Census) -> bool {
        let day = &mut self.sample;
        let age_ms = now_ms.saturating_sub(day.begun_ms);
        if age_ms >= DAY_MS {
            let yesterday = Some((day.bytes, census.live_bytes));
            *day = Sample { begun_ms: now_ms, cursor: day.cursor, yesterday, ..Sample::default() };
        }
        let goal = (u128::from(census.live_bytes) * u128::from(SAMPLE_PER_MILLE)).div_ceil(1_000);
        let age_ms = now_ms.saturating_sub(day.begun_ms).min(SAMPLE_SPREAD_MS);
        let so_far = (goal * u128::from(age_ms)).div_ceil(u128::from(SAMPLE_SPREAD_MS));
        day.packs < census.packs && u128::from(day.bytes) < so_far
    }
}

#[cfg(test)]
mod tests;
