//! What a client may keep, and what it may send within a day. What is being taken counts before it is kept.
//!
//! A ceiling that the owner gave counts bytes as they were sent. Without one, the box's own holds, made from the size of its
//! disks: it counts *new* bytes, those that cost room, so that a machine that sends the same database each hour is not
//! refused for what takes no room, and a flood of garbage is. Each snapshot and each file is charged some bytes beside its own, and there is
//! a ceiling on their number: what is empty costs, too.
//!
//! What was sent and never kept (cut off, refused, of the wrong hash) does not count as sent: a push that was too large must not lock its
//! client out. It lies in packs until it is forgotten, though: so it has an allowance of its own, of which only what was
//! written takes.

use super::house::House;
use crate::catalog::{Amount, Day, OBJECT_BYTES};
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
/// What is written and not kept within a day may be so many times what may be sent: a push that is too large must not keep the next one out.
const LOST_TIMES: u64 = 2;
/// A client may keep as many objects by default as its default quota has pieces of this length, restic's packs being longer,
const OBJECT_PART: u64 = 4 << 20;
/// but these at least, also in a try-out,
const FEWEST_OBJECTS: u64 = 100_000;
/// and no more than these: the catalogue of all of them is in memory.
const MOST_OBJECTS: u64 = 1_000_000;
/// Without a ceiling of its own a client sends at most this many snapshots in a day. Files of repositories are not counted.
const DAILY_SNAPSHOTS: u64 = 10_000;

/// What streams of each client have taken that is not in the catalogue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Takings(Arc<Mutex<HashMap<ClientName, Open>>>);

#[derive(Debug, Default)]
struct Open {
    under_way: Amount,
    /// What was written and not kept, on the clock that never goes back.
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
    /// New bytes that may be written within a day and not kept.
    pub lost_bytes: u64,
    /// Snapshots that may come within a day.
    pub daily_snapshots: u64,
}

/// A client's ceilings and what counts against them.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    client: ClientName,
    quota_bytes: Option<u64>,
    daily_bytes: Option<u64>,
    max_objects: Option<u64>,
    /// `None` for no ceilings.
    pub defaults: Option<Defaults>,
    /// How many objects it may keep when nobody said.
    pub default_max_objects: u64,
    /// What is in the catalogue.
    pub kept: Amount,
    under_way: Amount,
    /// What came within a day, is kept and is not under way: for how many milliseconds each amount still counts.
    counting: Vec<(u64, Amount)>,
    /// The same of what was not kept.
    lost: Vec<(u64, Amount)>,
}

impl Takings {
    pub fn begin(&self, core: &Core, client: &ClientName, snapshot: bool) -> Taking {
        let (all, clock) = (self.clone(), core.clock.clone());
        let one = Amount::one(snapshot);
        lock(&self.0).entry(client.clone()).or_default().under_way += one;
        Taking { client: client.clone(), all, clock, amount: one, ahead: 0, kept: false }
    }
}

impl Taking {
    /// Takes `len` more bytes of a stream of which `new` bytes were new so far, or says `Full`.
    pub fn take(&mut self, house: &House, core: &Core, len: u64, new: u64) -> Result<()> {
        let missing = len.saturating_sub(self.ahead);
        if missing > 0 {
            let more_new = new.saturating_sub(self.amount.new);
            self.count(Amount { new: more_new, ..Amount::default() });
            let account = house.account(core, &self.client);
            if self.amount.logical + len > house.limits.inline_max as u64 {
                account.check_lost(missing)?;
            }
            // A short stream is counted to the byte; a long one asks for some way ahead, not for each piece.
            let far = if self.amount.logical < AHEAD { missing } else { missing.max(AHEAD) };
            let granted = match account.check(Amount::all_new(far)) {
                Ok(()) => far,
                Err(_) => account.check(Amount::all_new(missing)).map(|()| missing)?,
            };
            self.ahead += granted;
            self.count(Amount { logical: granted, ..Amount::default() });
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
            let counted = Amount { logical: self.amount.logical + self.ahead, ..self.amount };
            open.under_way = open.under_way.less(counted);
            if !self.kept && self.amount.new > 0 {
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
        let (fact, kept, geometry, counting) = core.with(|e| {
            let catalog = e.catalog();
            let day = catalog.received_from(client).map(|day| day.counting(wall_ms).collect());
            (
                catalog.client(client).cloned(),
                catalog.kept_by(client),
                e.geometry(),
                day.unwrap_or_else(Vec::new),
            )
        });
        let (mut under_way, mut lost) = (Amount::default(), Vec::new());
        if let Some(open) = lock(&self.takings.0).get(client) {
            under_way = open.under_way;
            lost.extend(open.lost.counting(mono_ms));
        }
        let age_ms = fact.as_ref().map_or(0, |fact| wall_ms.saturating_sub(fact.created_ms));
        let usable = self.rooms.usable(geometry).filter(|_| self.limits.default_ceilings);
        Account {
            client: client.clone(),
            quota_bytes: fact.as_ref().and_then(|fact| fact.quota_bytes),
            daily_bytes: fact.as_ref().and_then(|fact| fact.daily_bytes),
            max_objects: fact.as_ref().and_then(|fact| fact.max_objects),
            defaults: usable.map(|usable| defaults(usable, age_ms)),
            default_max_objects: default_objects(usable),
            kept,
            under_way,
            counting,
            lost,
        }
    }
}

/// The box's own ceilings for a client of that age, when the disks can take `usable` bytes.
fn defaults(usable: u64, age_ms: u64) -> Defaults {
    let quota_bytes = usable / QUOTA_PART;
    let grown_bytes = usable / DAILY_PART;
    let daily_bytes = if age_ms < YOUNG_MS { quota_bytes } else { grown_bytes };
    // A young client may send half of the disks; that it may lose as well, and no more.
    let lost_bytes = quota_bytes.min(daily_bytes.saturating_mul(LOST_TIMES));
    Defaults { quota_bytes, daily_bytes, lost_bytes, daily_snapshots: DAILY_SNAPSHOTS }
}

/// How many objects a client may keep when nobody said, on disks that can take so much.
fn default_objects(usable: Option<u64>) -> u64 {
    let pieces = usable.unwrap_or(0) / QUOTA_PART / OBJECT_PART;
    pieces.clamp(FEWEST_OBJECTS, MOST_OBJECTS)
}

impl Account {
    /// What came within a day, streams under way included.
    pub fn day(&self) -> Amount {
        self.counting.iter().fold(self.under_way, |sum, (_, amount)| sum.and(*amount))
    }

    /// Bytes that were written within a day and not kept.
    pub fn lost(&self) -> u64 {
        self.lost.iter().fold(0, |sum, (_, amount)| sum.saturating_add(amount.new))
    }

    /// `Full` when `more` is too much.
    pub fn check(&self, more: Amount) -> Result<()> {
        let held = self.kept.and(self.under_way);
        let max = self.max_objects.unwrap_or(self.default_max_objects);
        if over(max, held.objects, more.objects) > 0 {
            return Err(self.objects_used_up(max, held.objects));
        }
        match (self.quota_bytes, self.defaults) {
            (Some(max), _) if over(max, held.charged(), more.charged()) > 0 => {
                return Err(self.quota_used_up(max, held, held.charged(), "bytes"));
            }
            (None, Some(Defaults { quota_bytes: max, .. }))
                if over(max, held.charged_new(), more.charged_new()) > 0 =>
            {
                return Err(self.quota_used_up(max, held, held.charged_new(), "new bytes"));
            }
            _ => {}
        }
        self.check_day(more)
    }

    fn check_day(&self, more: Amount) -> Result<()> {
        let day = self.day();
        if let (None, Some(Defaults { daily_snapshots: max, .. })) = (self.max_objects, self.defaults)
            && more.snapshots > 0
            && let over @ 1.. = over(max, day.snapshots, more.snapshots)
        {
            return Err(self.day_used_up(
                max,
                day.snapshots,
                "snapshots",
                self.wait_ms(over, |a| a.snapshots),
            ));
        }
        match (self.daily_bytes, self.defaults) {
            (Some(max), _) => match over(max, day.charged(), more.charged()) {
                0 => Ok(()),
                over => {
                    Err(self.day_used_up(max, day.charged(), "bytes", self.wait_ms(over, |a| a.charged())))
                }
            },
            (None, Some(Defaults { daily_bytes: max, .. })) => {
                match over(max, day.charged_new(), more.charged_new()) {
                    0 => Ok(()),
                    over => {
                        let wait_ms = self.wait_ms(over, |a| a.charged_new());
                        Err(self.day_used_up(max, day.charged_new(), "new bytes", wait_ms))
                    }
                }
            }
            (None, None) => Ok(()),
        }
    }

    /// `Full` when so much was written and not kept within a day that nothing that may be lost as well is taken: not `new` more
    /// bytes. What is under way may be lost, all of it.
    pub fn check_lost(&self, new: u64) -> Result<()> {
        let given = self.daily_bytes.map(|daily| daily.saturating_mul(LOST_TIMES));
        let Some(max) = given.or(self.defaults.map(|d| d.lost_bytes)) else { return Ok(()) };
        let lost = self.lost();
        let over = over(max, lost.saturating_add(self.under_way.new), new);
        if lost == 0 || over == 0 {
            return Ok(());
        }
        let client = &self.client;
        let next = match wait_ms(&self.lost, over, |a| a.new) {
            Some(ms) => format!("there is room again in {}; pushes of a few kilobytes are taken", hours(ms)),
            None => "wait until what is under way is kept; pushes of a few kilobytes are taken".to_owned(),
        };
        Err(Fault::full(format!(
            "too much of {client} was cut off or refused: {lost} bytes were written in 24 hours and not kept, {max} are borne"
        ))
        .next(next))
    }

    fn wait_ms(&self, over: u64, of: impl Fn(&Amount) -> u64) -> Option<u64> {
        wait_ms(&self.counting, over, of)
    }

    fn objects_used_up(&self, max: u64, held: u64) -> Fault {
        let client = &self.client;
        Fault::full(format!("{client} keeps {held} snapshots and files, and may not keep more than {max}")).next(
            "ask whoever looks after the box for more (`coffre client set --objects`); larger packs (restic --pack-size) need fewer",
        )
    }

    fn quota_used_up(&self, max: u64, held: Amount, charged: u64, of: &str) -> Fault {
        let client = &self.client;
        let each = match held.objects {
            0 => String::new(),
            n => format!(", {OBJECT_BYTES} of them for each of {n} snapshots and files"),
        };
        Fault::full(format!("the quota of {client} is used up: it has {charged} of {max} {of}{each}"))
            .next("ask whoever looks after the box for a larger quota; waiting does not help")
    }

    fn day_used_up(&self, max: u64, sent: u64, of: &str, wait_ms: Option<u64>) -> Fault {
        let client = &self.client;
        let next = match wait_ms {
            Some(ms) => format!("there is room again in {}, or ask for a larger cap", hours(ms)),
            None => "this never fits into a day: ask whoever looks after the box for a larger cap".to_owned(),
        };
        Fault::full(format!("the daily cap of {client} is used up: it sent {sent} of {max} {of} in 24 hours"))
            .next(next)
    }
}

/// By how much `more` is too much.
fn over(max: u64, is: u64, more: u64) -> u64 {
    is.saturating_add(more).saturating_sub(max)
}

/// How long until `over` of these do not count any more; `None` when waiting does not help.
fn wait_ms(counting: &[(u64, Amount)], over: u64, of: impl Fn(&Amount) -> u64) -> Option<u64> {
    let mut counting: Vec<&(u64, Amount)> = counting.iter().collect();
    counting.sort_by_key(|(left_ms, _)| *left_ms);
    let mut gone = 0u64;
    counting.into_iter().find_map(|(left_ms, amount)| {
        gone = gone.saturating_add(of(amount));
        (gone >= over).then_some(*left_ms)
    })
}

fn hours(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    const HOUR_MS: u64 = 3_600_000;

    fn bytes(logical: u64, new: u64) -> Amount {
        Amount { logical, new, ..Amount::default() }
    }

    fn account() -> Account {
        Account {
            client: "pc".parse().expect("a name"),
            quota_bytes: None,
            daily_bytes: None,
            max_objects: None,
            defaults: None,
            default_max_objects: FEWEST_OBJECTS,
            kept: bytes(900, 90),
            under_way: bytes(50, 5),
            counting: vec![(20 * HOUR_MS, bytes(200, 20)), (2 * HOUR_MS, bytes(100, 10))],
            lost: Vec::new(),
        }
    }

    fn says(account: &Account, logical: u64, new: u64) -> String {
        match account.check(bytes(logical, new)) {
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
        assert_eq!(daily.day(), bytes(350, 35));
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

    #[test]
    fn what_is_empty_is_charged_and_counted() {
        let one = Amount::one(false);
        let tiny = Account {
            quota_bytes: Some(1),
            kept: Amount::default(),
            under_way: Amount::default(),
            ..account()
        };
        assert!(tiny.check(one).is_err(), "an object of no bytes does not fit into one byte");
        let quota = Account { quota_bytes: Some(2_000 + 3 * OBJECT_BYTES), ..account() };
        let quota = |objects| Account { kept: Amount { objects, ..quota.kept }, ..quota.clone() };
        assert!(quota(2).check(one).is_ok() && quota(3).check(one).is_err());
        let said = quota(3).check(one).expect_err("full").to_string();
        assert!(
            said.contains(&format!("{} of {} bytes", 950 + 3 * OBJECT_BYTES, 2_000 + 3 * OBJECT_BYTES)),
            "{said}"
        );
        assert!(said.contains("3 snapshots and files"), "{said}");
        // A try-out has no ceilings on bytes, and one on objects.
        let many = |objects, max_objects| Account {
            kept: Amount { objects, ..Amount::default() },
            max_objects,
            ..account()
        };
        assert!(many(FEWEST_OBJECTS - 1, None).check(one).is_ok());
        let said = many(FEWEST_OBJECTS, None).check(one).expect_err("full").to_string();
        assert!(said.contains("100000 snapshots and files"), "{said}");
        assert!(many(FEWEST_OBJECTS, Some(1 << 40)).check(one).is_ok(), "what the owner says holds");
        assert!(many(5, Some(5)).check(one).is_err() && many(4, Some(5)).check(one).is_ok());
        assert_eq!(
            (default_objects(None), default_objects(Some(4 << 40)), default_objects(Some(1 << 60))),
            (FEWEST_OBJECTS, 524_288, MOST_OBJECTS)
        );
    }

    #[test]
    fn a_day_has_so_many_snapshots_unless_the_owner_said_how_many_there_may_be() {
        let counting = vec![(3 * HOUR_MS, Amount { snapshots: DAILY_SNAPSHOTS, ..Amount::default() })];
        let grown = Account { defaults: Some(defaults(1 << 50, YOUNG_MS)), counting, ..account() };
        let said = grown.check(Amount::one(true)).expect_err("full").to_string();
        assert!(said.contains("10000 of 10000 snapshots") && said.contains("in 3 h 00 min"), "{said}");
        assert!(grown.check(bytes(1, 1)).is_ok(), "one that has begun goes on");
        assert!(grown.check(Amount::one(false)).is_ok(), "files of repositories are not counted by the day");
        let given = Account { max_objects: Some(1 << 20), ..grown };
        assert!(given.check(Amount::one(true)).is_ok());
    }

    #[test]
    fn what_was_not_kept_counts_against_its_own_allowance_and_locks_nobody_out_at_once() {
        let grown = Account {
            defaults: Some(defaults(1_000_000, YOUNG_MS)),
            under_way: Amount::default(),
            ..account()
        };
        assert_eq!(grown.defaults.map(|d| (d.daily_bytes, d.lost_bytes)), Some((100_000, 200_000)));
        // A push that was too large took all that a day has, and the next one is taken as if nothing had been.
        let after = |lost| Account { lost: vec![(5 * HOUR_MS, bytes(lost, lost))], ..grown.clone() };
        let after_one = after(100_000);
        assert!(after_one.check(bytes(90_000, 90_000)).is_ok() && after_one.check_lost(90_000).is_ok());
        assert_eq!((after_one.day(), after_one.lost()), (bytes(300, 30), 100_000));
        assert!(after(200_000).check_lost(0).is_ok());
        let said = after(200_000).check_lost(1).expect_err("too much").to_string();
        assert!(said.contains("200000 bytes were written") && said.contains("in 5 h 00 min"), "{said}");
        let busy = Account { under_way: bytes(150_000, 150_000), ..after(60_000) };
        assert!(busy.check_lost(1).is_err(), "what is under way may be lost as well");
        assert!(
            Account { under_way: bytes(150_000, 150_000), ..grown.clone() }.check_lost(1 << 40).is_ok(),
            "nothing was lost"
        );
        let given = Account { daily_bytes: Some(10), ..after(19) };
        assert!(given.check_lost(1).is_ok() && given.check_lost(2).is_err());
        assert!(
            Account { defaults: None, ..after(1 << 60) }.check_lost(1).is_ok(),
            "a try-out has no ceilings"
        );
    }
}
