//! Backups that were refused within 24 hours, by client: counted by the hour, kept in the state folder.
//!
//! Each client has a record of a size that nobody but the box chooses, and only clients that are known have one: who guesses names
//! and secrets costs nothing here. The first refusal of a client in an hour is written at once, everything else within a
//! minute; wrong secrets, which anybody can send, are never the reason for a writing of their own.

use super::house::House;
use super::rhythm::ago;
use crate::core::lock;
use coffre_core::fault::Fault;
use coffre_core::names::ClientName;
use coffre_core::wire::{RefusedInfo, RefusedOf};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Where they are kept, in the state folder.
const FILE: &str = "refusals";
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Most hours that are kept of a client.
const MOST_HOURS: usize = 25;
/// Most clients of which anything is kept.
const MOST_CLIENTS: usize = 256;
/// Most letters of a reason that are kept.
const MOST_LETTERS: usize = 160;
/// How often what changed is written.
const WRITE_EVERY_MS: u64 = 60_000;
/// Most clients that the light speaks of one by one.
const TOLD: usize = 8;

/// What is known of all clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusals {
    /// Since when, ms since 1970.
    since_ms: u64,
    clients: BTreeMap<ClientName, Record>,
    #[serde(skip)]
    changed: bool,
    /// When it was written last, on the clock that never goes back.
    #[serde(skip)]
    written_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    hours: VecDeque<Hour>,
    last_ms: u64,
    why: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    begins_ms: u64,
    refused: u32,
    wrong: u32,
}

impl Refusals {
    /// As the file has them; what cannot be read is not known, from now on it is.
    pub fn read(bytes: Option<&[u8]>, now_ms: u64) -> Self {
        let read = bytes.and_then(|bytes| serde_json::from_slice::<Self>(bytes).ok());
        let mut this = read
            .filter(|this| this.since_ms <= now_ms)
            .unwrap_or(Self { since_ms: now_ms, ..Self::default() });
        this.clients.values_mut().for_each(|record| record.hours.truncate(MOST_HOURS));
        this
    }

    /// One more; `why` of a refused backup, `None` for a wrong secret. Says whether it should be written at once.
    fn note(&mut self, client: &ClientName, why: Option<&Fault>, now_ms: u64) -> bool {
        if !self.clients.contains_key(client) && self.clients.len() >= MOST_CLIENTS {
            let oldest =
                self.clients.iter().min_by_key(|(_, record)| record.last_ms).map(|(name, _)| name.clone());
            oldest.map(|name| self.clients.remove(&name));
        }
        self.changed = true;
        let record = self.clients.entry(client.clone()).or_default();
        let begins_ms = now_ms - now_ms % HOUR_MS;
        if record.hours.back().is_none_or(|hour| hour.begins_ms != begins_ms) {
            record.hours.push_back(Hour { begins_ms, ..Hour::default() });
            if record.hours.len() > MOST_HOURS {
                record.hours.pop_front();
            }
        }
        record.last_ms = now_ms;
        let Some(hour) = record.hours.back_mut() else { return false };
        match why {
            None => {
                hour.wrong = hour.wrong.saturating_add(1);
                false
            }
            Some(fault) => {
                hour.refused = hour.refused.saturating_add(1);
                let plain = fault.what.chars().filter(|c| !c.is_control());
                record.why = Some(plain.take(MOST_LETTERS).collect());
                hour.refused == 1
            }
        }
    }

    /// What happened to a client within the day before `now_ms`.
    fn of(&self, client: &ClientName, now_ms: u64) -> RefusedInfo {
        let Some(record) = self.clients.get(client) else { return RefusedInfo::default() };
        let counts = |hour: &&Hour| {
            now_ms < hour.begins_ms.saturating_add(HOUR_MS + DAY_MS)
                && hour.begins_ms <= now_ms.saturating_add(DAY_MS)
        };
        let (count, wrong_secrets) =
            record.hours.iter().filter(counts).fold((0, 0), |(refused, wrong), hour| {
                (refused + u64::from(hour.refused), wrong + u64::from(hour.wrong))
            });
        if (count, wrong_secrets) == (0, 0) {
            return RefusedInfo::default();
        }
        let why = record.why.clone().filter(|_| count > 0);
        RefusedInfo { count, wrong_secrets, last_ms: Some(record.last_ms), why }
    }
}

impl House {
    /// What the state folder has.
    pub(super) fn recall_refusals(&self) {
        let bytes = self.state.read(FILE).ok().flatten();
        *lock(&self.refusals) = Refusals::read(bytes.as_deref(), self.clock.wall_ms());
    }

    /// A backup of a client was refused. Says whether [`House::write_refusals`] should be called now.
    pub fn note_refusal(&self, client: &ClientName, why: &Fault) -> bool {
        lock(&self.refusals).note(client, Some(why), self.clock.wall_ms())
    }

    /// Somebody came in the name of a client with a wrong secret.
    pub(super) fn note_wrong_secret(&self, client: &ClientName) {
        lock(&self.refusals).note(client, None, self.clock.wall_ms());
    }

    /// Writes what is known, if anything changed.
    pub fn write_refusals(&self) {
        let bytes = {
            let mut refusals = lock(&self.refusals);
            if !std::mem::take(&mut refusals.changed) {
                return;
            }
            refusals.written_ms = self.clock.mono_ms();
            serde_json::to_vec(&*refusals)
        };
        let written =
            bytes.map_err(|e| Fault::permanent(e.to_string())).and_then(|b| self.state.write(FILE, &b));
        if let Err(fault) = written {
            tracing::warn!(%fault, "what was refused is not written");
        }
    }

    /// For the keeper: writes what changed a while ago.
    pub(super) fn write_refusals_if_due(&self) {
        let due = {
            let refusals = lock(&self.refusals);
            refusals.changed && self.clock.mono_ms().saturating_sub(refusals.written_ms) >= WRITE_EVERY_MS
        };
        if due {
            self.write_refusals();
        }
    }

    /// What was refused to a client within 24 hours.
    pub(super) fn refused_to(&self, client: &ClientName) -> RefusedInfo {
        lock(&self.refusals).of(client, self.clock.wall_ms())
    }

    /// What was refused within 24 hours to clients that there are, the last first; and since when that is known.
    pub(super) fn refused(&self, clients: impl Iterator<Item = ClientName>) -> (Vec<RefusedOf>, u64) {
        let (refusals, now_ms) = (lock(&self.refusals), self.clock.wall_ms());
        let of = |client: ClientName| RefusedOf { refused: refusals.of(&client, now_ms), client };
        let mut all: Vec<RefusedOf> = clients.map(of).filter(|one| one.refused.last_ms.is_some()).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.refused.last_ms));
        (all, refusals.since_ms)
    }

    /// The same in words, for the light.
    pub(super) fn refused_reasons(&self, all: &[RefusedOf]) -> Vec<String> {
        let now_ms = self.clock.wall_ms();
        let say = |one: &RefusedOf| {
            let RefusedInfo { count, wrong_secrets, last_ms, why } = &one.refused;
            let (client, ago) = (&one.client, ago(now_ms.saturating_sub(last_ms.unwrap_or(now_ms))));
            match why {
                Some(why) => format!(
                    "{count} backup(s) of {client} were refused in the last 24 hours, the last one {ago} ago: {why}"
                ),
                None => format!(
                    "{client} was turned away with a wrong secret in the last 24 hours ({wrong_secrets} times, the last {ago} ago): \
                     its machine may have an old one, and then nothing of it arrives"
                ),
            }
        };
        let mut told: Vec<String> = all.iter().take(TOLD).map(say).collect();
        if all.len() > TOLD {
            told.push(format!(
                "and {} more clients to whom something was refused: `coffre client list`",
                all.len() - TOLD
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ClientName {
        text.parse().expect("a name")
    }

    #[test]
    fn a_day_of_refusals_is_counted_and_survives() {
        let (start_ms, pc) = (1_790_596_800_000, name("pc"));
        let mut refusals = Refusals::read(None, start_ms);
        let full = Fault::full("the quota\u{1b}[31m of pc is used up").next("x");
        assert!(refusals.note(&pc, Some(&full), start_ms), "the first of an hour is written at once");
        assert!(!refusals.note(&pc, Some(&full), start_ms + 1));
        assert!(!refusals.note(&pc, None, start_ms + 2 * HOUR_MS), "a wrong secret never is");
        let bytes = serde_json::to_vec(&refusals).expect("plain values");
        let again = Refusals::read(Some(&bytes), start_ms + DAY_MS);
        let seen = again.of(&pc, start_ms + DAY_MS);
        assert_eq!((seen.count, seen.wrong_secrets, again.since_ms), (2, 1, start_ms));
        assert_eq!(seen.why.as_deref(), Some("the quota[31m of pc is used up"));
        let later = again.of(&pc, start_ms + DAY_MS + HOUR_MS);
        assert_eq!((later.count, later.wrong_secrets, later.why), (0, 1, None));
        assert_eq!(again.of(&pc, start_ms + 2 * DAY_MS), RefusedInfo::default());
        assert_eq!(again.of(&name("other"), start_ms), RefusedInfo::default());
        assert_eq!(Refusals::read(Some(b"{"), 7), Refusals { since_ms: 7, ..Refusals::default() });
        assert_eq!(Refusals::read(Some(&bytes), 7).since_ms, 7, "what is of the future is not believed");
    }

    #[test]
    fn nobody_makes_it_large() {
        let mut refusals = Refusals::read(None, 0);
        let long = Fault::misuse("ä".repeat(100_000));
        for n in 0..3_000u64 {
            let client = name(&format!("c{}", n % (MOST_CLIENTS as u64 + 300)));
            for hour in 0..40 {
                refusals.note(&client, Some(&long), n * 1_000 + hour * HOUR_MS);
            }
        }
        assert_eq!(refusals.clients.len(), MOST_CLIENTS);
        assert!(refusals.clients.values().all(|record| record.hours.len() <= MOST_HOURS));
        let len = serde_json::to_vec(&refusals).expect("plain values").len();
        assert!(len < 1 << 20, "the state folder reads no more: {len}");
    }
}
