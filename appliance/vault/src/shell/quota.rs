//! What a client may keep, and what it may send within a day. What is being taken counts before it is kept.
//!
//! A ceiling that the owner gave counts bytes as they were sent. Without one, the box's own holds, made from the size of its
//! disks: it counts *new* bytes, those that cost room, so that a machine that sends the same database each hour is not
//! refused for what takes no room, and a flood of garbage is. What was sent and never kept (cut off, of the wrong hash)
//! counts within its day too: it lies in packs until it is forgotten.

use super::house::House;
use crate::catalog::{Amount, Day};
use crate::core::{Core, lock};
use crate::ports::Clock;
use coffre_core::fault::{Fault, Result};
use coffre_core::names::ClientName;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// How long a client is young: it may send in a day what it may keep, for there is a first backup of everything.
const YOUNG_MS: u64 = 7 * 24 * 3600 * 1000;
/// How far a stream that is longer than this counts ahead.
const AHEAD: u64 = 256 * 1024;
/// By default a client keeps at most this part of what the disks can take,
const QUOTA_PART: u64 = 2;
/// and, once it is not young any more, sends at most this part of it in a day.
const DAILY_PART: u64 = 10;

/// What streams of each client have taken that is not in the catalogue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Takings(Arc<Mutex<HashMap<ClientName, Open>>>);

#[derive(Debug, Default)]
struct Open {
    under_way: Amount,
    /// What came and was not kept, on the clock that never goes back.
    lost: Day,
}

/// One stream's share. Ends when its bytes are in the catalogue, or will never be: in between they count twice, which
/// at worst refuses too much for a moment, and never takes too much.
pub(crate) struct Taking {
    client: ClientName,
    all: Takings,
    clock: Arc<dyn Clock>,
    /// What was taken.
    amount: Amount,
    /// Bytes that count already and were not taken yet.
    ahead: u64,
    kept: bool,
}

/// The box's own ceilings for a client, in new bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Defaults {
    pub quota_bytes: u64,
    pub daily_bytes: u64,
}

/// A client's ceilings and what counts against them.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    client: ClientName,
    quota_bytes: Option<u64>,
    daily_bytes: Option<u64>,
    /// `None` for no ceilings.
    pub defaults: Option<Defaults>,
    /// What is in the catalogue.
    pub kept: Amount,
    under_way: Amount,
    /// What came within a day and is not under way: for how many milliseconds each amount still counts.
    counting: Vec<(u64, Amount)>,
}

impl Takings {
    pub fn begin(&self, core: &Core, client: &ClientName) -> Taking {
        let (all, clock) = (self.clone(), core.clock.clone());
        Taking { client: client.clone(), all, clock, amount: Amount::default(), ahead: 0, kept: false }
    }
}

impl Taking {
    /// Takes `len` more bytes of a stream of which `new` bytes were new so far, or says `Full`.
    pub fn take(&mut self, house: &House, core: &Core, len: u64, new: u64) -> Result<()> {
        let missing = len.saturating_sub(self.ahead);
        if missing > 0 {
            let more_new = new.saturating_sub(self.amount.new);
            self.count(Amount { logical: 0, new: more_new });
            let account = house.account(core, &self.client);
            // A short stream is counted to the byte; a long one asks for some way ahead, not for each piece.
            let far = if self.amount.logical < AHEAD { missing } else { missing.max(AHEAD) };
            let granted = match account.check(Amount::all_new(far)) {
                Ok(()) => far,
                Err(_) => account.check(Amount::all_new(missing)).map(|()| missing)?,
            };
            self.ahead += granted;
            self.count(Amount { logical: granted, new: 0 });
        }
        self.ahead -= len;
        self.amount.logical += len;
        Ok(())
    }

    /// The stream is in the catalogue, which counts it from now on.
    pub fn kept(mut self) {
        self.kept = true;
    }

    fn count(&mut self, more: Amount) {
        self.amount.new += more.new;
        lock(&self.all.0).entry(self.client.clone()).or_default().under_way += more;
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        if let Some(open) = all.get_mut(&self.client) {
            let counted = Amount { logical: self.amount.logical + self.ahead, new: self.amount.new };
            open.under_way = open.under_way.less(counted);
            if !self.kept && self.amount.logical > 0 {
                open.lost.add(self.clock.mono_ms(), self.amount);
            }
        }
    }
}

impl fmt::Debug for Taking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").field("client", &self.client).field("amount", &self.amount).finish()
    }
}

impl House {
    /// How a client stands now.
    pub fn account(&self, core: &Core, client: &ClientName) -> Account {
        let (wall_ms, mono_ms) = (core.clock.wall_ms(), core.clock.mono_ms());
        let (fact, kept, geometry, mut counting) = core.with(|e| {
            let catalog = e.catalog();
            let day = catalog.received_from(client).map(|day| day.counting(wall_ms).collect());
            (
                catalog.client(client).cloned(),
                catalog.kept_by(client),
                e.geometry(),
                day.unwrap_or_else(Vec::new),
            )
        });
        let mut under_way = Amount::default();
        if let Some(open) = lock(&self.takings.0).get(client) {
            under_way = open.under_way;
            counting.extend(open.lost.counting(mono_ms));
        }
        let age_ms = fact.as_ref().map_or(0, |fact| wall_ms.saturating_sub(fact.created_ms));
        let usable = self.rooms.usable(geometry).filter(|_| self.limits.default_ceilings);
        Account {
            client: client.clone(),
            quota_bytes: fact.as_ref().and_then(|fact| fact.quota_bytes),
            daily_bytes: fact.as_ref().and_then(|fact| fact.daily_bytes),
            defaults: usable.map(|usable| defaults(usable, age_ms)),
            kept,
            under_way,
            counting,
        }
    }
}

/// The box's own ceilings for a client of that age, when the disks can take `usable` bytes.
fn defaults(usable: u64, age_ms: u64) -> Defaults {
    let quota_bytes = usable / QUOTA_PART;
    let daily_bytes = if age_ms < YOUNG_MS { quota_bytes } else { usable / DAILY_PART };
    Defaults { quota_bytes, daily_bytes }
}

impl Account {
    /// What came within a day, streams under way included.
    pub fn day(&self) -> Amount {
        self.counting.iter().fold(self.under_way, |sum, (_, amount)| sum.and(*amount))
    }

    /// `Full` when `more` is too much.
    pub fn check(&self, more: Amount) -> Result<()> {
        let held = self.kept.and(self.under_way);
        let over = |max: u64, is: u64, more: u64| is.saturating_add(more).saturating_sub(max);
        match (self.quota_bytes, self.defaults) {
            (Some(max), _) if over(max, held.logical, more.logical) > 0 => {
                return Err(self.quota_used_up(max, held.logical, "bytes"));
            }
            (None, Some(Defaults { quota_bytes: max, .. })) if over(max, held.new, more.new) > 0 => {
                return Err(self.quota_used_up(max, held.new, "new bytes"));
            }
            _ => {}
        }
        let day = self.day();
        match (self.daily_bytes, self.defaults) {
            (Some(max), _) => match over(max, day.logical, more.logical) {
                0 => Ok(()),
                over => Err(self.day_used_up(max, day.logical, "bytes", self.wait_ms(over, |a| a.logical))),
            },
            (None, Some(Defaults { daily_bytes: max, .. })) => match over(max, day.new, more.new) {
                0 => Ok(()),
                over => Err(self.day_used_up(max, day.new, "new bytes", self.wait_ms(over, |a| a.new))),
            },
            (None, None) => Ok(()),
        }
    }

    /// How long until `over` bytes of the day do not count any more; `None` when waiting does not help.
    fn wait_ms(&self, over: u64, of: impl Fn(&Amount) -> u64) -> Option<u64> {
        let mut counting: Vec<&(u64, Amount)> = self.counting.iter().collect();
        counting.sort_by_key(|(left_ms, _)| *left_ms);
        let mut gone = 0u64;
        counting.into_iter().find_map(|(left_ms, amount)| {
            gone = gone.saturating_add(of(amount));
            (gone >= over).then_some(*left_ms)
        })
    }

    fn quota_used_up(&self, max: u64, held: u64, of: &str) -> Fault {
        let client = &self.client;
        Fault::full(format!("the quota of {client} is used up: it has {held} of {max} {of}"))
            .next("ask whoever looks after the box for a larger quota; waiting does not help")
    }

    fn day_used_up(&self, max: u64, sent: u64, of: &str, wait_ms: Option<u64>) -> Fault {
        let client = &self.client;
        let next = match wait_ms.map(|ms| ms.div_ceil(60_000)) {
            Some(minutes) => {
                format!(
                    "there is room again in {} h {:02} min, or ask for a larger cap",
                    minutes / 60,
                    minutes % 60
                )
            }
            None => "this never fits into a day: ask whoever looks after the box for a larger cap".to_owned(),
        };
        Fault::full(format!("the daily cap of {client} is used up: it sent {sent} of {max} {of} in 24 hours"))
            .next(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    const HOUR_MS: u64 = 3_600_000;

    fn account() -> Account {
        Account {
            client: "pc".parse().expect("a name"),
            quota_bytes: None,
            daily_bytes: None,
            defaults: None,
            kept: Amount { logical: 900, new: 90 },
            under_way: Amount { logical: 50, new: 5 },
            counting: vec![
                (20 * HOUR_MS, Amount { logical: 200, new: 20 }),
                (2 * HOUR_MS, Amount { logical: 100, new: 10 }),
            ],
        }
    }

    fn says(account: &Account, logical: u64, new: u64) -> String {
        match account.check(Amount { logical, new }) {
            Ok(()) => "room".into(),
            Err(fault) => {
                assert_eq!(fault.class, Class::Full);
                fault.to_string()
            }
        }
    }

    #[test]
    fn a_ceiling_that_was_given_counts_bytes_as_sent() {
        let quota = Account { quota_bytes: Some(1_000), ..account() };
        assert_eq!(says(&quota, 50, 50), "room");
        assert!(says(&quota, 51, 0).contains("it has 950 of 1000 bytes"), "{}", says(&quota, 51, 0));
        let daily = Account { daily_bytes: Some(400), ..account() };
        assert_eq!(daily.day(), Amount { logical: 350, new: 35 });
        assert_eq!(says(&daily, 50, 5_000), "room");
        let said = says(&daily, 51, 0);
        assert!(said.contains("350 of 400 bytes") && said.contains("in 2 h 00 min"), "{said}");
        assert!(says(&daily, 200, 0).contains("in 20 h 00 min"));
        assert!(says(&daily, 351, 0).contains("never fits"), "what is under way does not end by waiting");
    }

    #[test]
    fn without_one_the_disks_decide_and_only_new_bytes_count() {
        let young = Account { defaults: Some(defaults(1_000, 0)), ..account() };
        assert_eq!(says(&young, 1 << 40, 405), "room", "the same again costs nothing");
        assert!(says(&young, 1, 406).contains("it has 95 of 500 new bytes"));
        let grown = Account { defaults: Some(defaults(1_000, YOUNG_MS)), ..account() };
        assert_eq!(says(&grown, 1 << 40, 65), "room");
        let said = says(&grown, 1, 66);
        assert!(said.contains("35 of 100 new bytes") && said.contains("in 2 h 00 min"), "{said}");
        let given = Account { quota_bytes: Some(u64::MAX), daily_bytes: Some(u64::MAX), ..grown };
        assert_eq!(says(&given, 1 << 40, 1 << 40), "room", "what the owner says holds");
        assert_eq!(says(&account(), 1 << 40, 1 << 40), "room", "a try-out has no ceilings of its own");
    }
}
