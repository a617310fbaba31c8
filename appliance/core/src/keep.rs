//! Keep rules: which snapshots of a data set stay once their lock has ended, each with the reasons.
//!
//! Rules choose among what is no longer locked; they can never override a lock, and the newest snapshot of a data set stays
//! whatever they say. A snapshot that arrived incomplete takes no place that a rule keeps, and never stands for the newest one
//! that is whole: that one stays as well. Order is the order of receipt and times are the box's own: a flood of forged or garbage snapshots
//! cannot push a good one out while it is locked.
//!
//! A rule such as `daily = 7` keeps the last snapshot of each of the newest 7 days on which there is one. Days, weeks
//! (from Monday), months and years are those of UTC.

use crate::class::LockClass;
use crate::flaw::{Flaw, Flaws};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most that one rule may ask for.
pub const MAX_COUNT: u32 = 100_000;

const DAY_MS: u64 = 86_400_000;

/// How many of each kind stay; all zero: only the newest snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct KeepRules {
    /// The newest ones.
    #[n(0)]
    #[serde(default)]
    pub last: u32,
    /// The last one of each of so many days.
    #[n(1)]
    #[serde(default)]
    pub daily: u32,
    /// Of so many weeks.
    #[n(2)]
    #[serde(default)]
    pub weekly: u32,
    /// Of so many months.
    #[n(3)]
    #[serde(default)]
    pub monthly: u32,
    /// Of so many years.
    #[n(4)]
    #[serde(default)]
    pub yearly: u32,
}

/// What the rules look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// When the box received it, ms since 1970.
    pub received_ms: u64,
    /// Until when it is locked, ms since 1970.
    pub locked_until_ms: u64,
    /// Whether it was found not to be complete when it arrived.
    pub incomplete: bool,
}

/// Why a snapshot stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Its lock has not ended by the retention clock.
    Locked {
        /// Until when, ms since 1970.
        until_ms: u64,
    },
    /// It is the newest of its data set.
    Newest,
    /// It is the newest of its data set that is complete.
    NewestComplete,
    /// It is the n-th of the newest ones (from 1).
    Last(u32),
    /// It is the last of the n-th of these periods (from 1).
    Of(Period, u32),
    /// A file of a repository that its client sees.
    InRepository,
    /// A file that its client deleted: it can be shown again.
    Deleted {
        /// Until when, ms since 1970.
        until_ms: u64,
    },
}

/// Why a snapshot may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// Its lock ended.
    LockEnded {
        /// When, ms since 1970.
        at_ms: u64,
    },
    /// There is a newer one.
    NotNewest,
    /// No keep rule asks for it.
    NoRule,
    /// It arrived incomplete: no rule asks for such a one.
    Incomplete,
    /// Its client deleted it, and its class's period has passed since.
    Deleted {
        /// When, ms since 1970.
        at_ms: u64,
    },
}

/// A stretch of calendar that a rule counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// A day.
    Day,
    /// A week from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// What becomes of a snapshot, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays, for each of these reasons.
    Keep(Vec<Kept>),
    /// It may be forgotten: all of these are true.
    Go(Vec<Gone>),
}

impl Verdict {
    /// Whether it stays.
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

/// Judges the snapshots of one data set, given in order of receipt. `retention_ms` is what the retention clock shows.
/// The answers are in the same order.
pub fn judge(rules: &KeepRules, snapshots: &[Candidate], retention_ms: u64, flaws: Flaws) -> Vec<Verdict> {
    let mut kept: Vec<Vec<Kept>> = snapshots.iter().map(|s| locked(s, retention_ms, flaws)).collect();
    let count = snapshots.len();
    // Places in the list of those that are complete, the newest first.
    let whole = |at: &usize| !snapshots[*at].incomplete || flaws.has(Flaw::CountIncomplete);
    let complete: Vec<usize> = (0..count).rev().filter(whole).collect();
    if !flaws.has(Flaw::NewestFreed) {
        let newest = count.checked_sub(1);
        newest.iter().for_each(|at| kept[*at].push(Kept::Newest));
        let other = complete.first().filter(|at| Some(**at) != newest);
        other.iter().for_each(|at| kept[**at].push(Kept::NewestComplete));
    }
    for (at, n) in complete.iter().zip(1..=rules.last) {
        kept[*at].push(Kept::Last(n));
    }
    let asked = [
        (Period::Day, rules.daily),
        (Period::Week, rules.weekly),
        (Period::Month, rules.monthly),
        (Period::Year, rules.yearly),
    ];
    for (period, wanted) in asked {
        let mut seen: Vec<i64> = Vec::new();
        for at in complete.iter().copied() {
            let key = period.number(snapshots[at].received_ms);
            // The last of a period in order of receipt, so one that a jumping clock stamped is not counted twice.
            if seen.len() < wanted as usize && !seen.contains(&key) {
                seen.push(key);
                kept[at].push(Kept::Of(period, seen.len() as u32));
            }
        }
    }
    if flaws.has(Flaw::CountPastLock) && rules.last > 0 {
        let beyond = count.saturating_sub(rules.last as usize);
        kept[..beyond].iter_mut().for_each(Vec::clear);
    }
    let verdict = |(kept, s): (Vec<Kept>, &Candidate)| {
        if kept.is_empty() {
            let rule = if s.incomplete { Gone::Incomplete } else { Gone::NoRule };
            Verdict::Go(vec![Gone::LockEnded { at_ms: s.locked_until_ms }, Gone::NotNewest, rule])
        } else {
            Verdict::Keep(kept)
        }
    };
    kept.into_iter().zip(snapshots).map(verdict).collect()
}

/// Judges a file of a repository. Only what its client deleted, `hidden_ms` on the retention clock, ever goes: when its lock has
/// ended and the period of its class has passed since it was deleted. Age alone is no reason.
pub fn judge_file(
    file: &Candidate,
    hidden_ms: Option<u64>,
    class: LockClass,
    retention_ms: u64,
    flaws: Flaws,
) -> Verdict {
    let mut kept = locked(file, retention_ms, flaws);
    match hidden_ms {
        None if flaws.has(Flaw::FreeByAge) => {}
        None => kept.push(Kept::InRepository),
        Some(hidden_ms) => {
            let until_ms = hidden_ms.saturating_add(class.millis());
            if retention_ms < until_ms && !flaws.has(Flaw::FreeDeletedEarly) {
                kept.push(Kept::Deleted { until_ms });
            }
        }
    }
    if kept.is_empty() {
        let ended = Gone::LockEnded { at_ms: file.locked_until_ms };
        Verdict::Go(vec![ended, Gone::Deleted { at_ms: hidden_ms.unwrap_or(0) }])
    } else {
        Verdict::Keep(kept)
    }
}

fn locked(snapshot: &Candidate, retention_ms: u64, flaws: Flaws) -> Vec<Kept> {
    let until_ms = snapshot.locked_until_ms;
    if retention_ms < until_ms && !flaws.has(Flaw::ForgetUnderLock) {
        vec![Kept::Locked { until_ms }]
    } else {
        Vec::new()
    }
}

impl Period {
    /// A number that is the same for all moments of one period and grows.
    fn number(self, at_ms: u64) -> i64 {
        let day = (at_ms / DAY_MS) as i64;
        let (year, month) = year_and_month(day);
        match self {
            Self::Day => day,
            // 1970-01-01 was a Thursday.
            Self::Week => (day + 3).div_euclid(7),
            Self::Month => year * 12 + month,
            Self::Year => year,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

/// The Gregorian year and month (0 to 11) of a day counted from 1970-01-01.
fn year_and_month(day: i64) -> (i64, i64) {
    // Days from 0000-03-01, in eras of 400 years; a year that begins in March has its leap day at the end.
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let in_era = z.rem_euclid(146_097);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let month = (from_march + 2) % 12;
    (era * 400 + year_of_era + i64::from(month < 2), month)
}

impl fmt::Display for Kept {
    /// In words, without dates: whoever prints knows how to write a time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { .. } => f.write_str("locked"),
            Self::Newest => f.write_str("newest of its data set"),
            Self::NewestComplete => f.write_str("newest complete one of its data set"),
            Self::Last(n) => write!(f, "number {n} of the last ones"),
            Self::Of(period, n) => write!(f, "last of {} {n}", period.name()),
            Self::InRepository => f.write_str("in use by its client"),
            Self::Deleted { .. } => f.write_str("deleted by its client, and kept for a while"),
        }
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockEnded { .. } => "its lock has ended",
            Self::NotNewest => "there is a newer one",
            Self::NoRule => "no keep rule asks for it",
            Self::Incomplete => "it is not complete",
            Self::Deleted { .. } => "its client deleted it",
        })
    }
}

impl fmt::Display for KeepRules {
    /// As it is typed: `last=3,daily=7`; `newest` when there is no rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("last", self.last),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ];
        let said: Vec<String> =
            all.iter().filter(|a| a.1 > 0).map(|(name, n)| format!("{name}={n}")).collect();
        f.write_str(if said.is_empty() { "newest" } else { "" })?;
        f.write_str(&said.join(","))
    }
}

impl FromStr for KeepRules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rules = Self::default();
        if text == "newest" {
            return Ok(rules);
        }
        for part in text.split(',') {
            let bad =
                || format!("{part:?} is no keep rule: write last=N, daily=N, weekly=N, monthly=N, yearly=N");
            let (name, count) = part.trim().split_once('=').ok_or_else(bad)?;
            let count = count.parse().ok().filter(|n| *n <= MAX_COUNT).ok_or_else(bad)?;
            let slot = match name {
                "last" => &mut rules.last,
                "daily" => &mut rules.daily,
                "weekly" => &mut rules.weekly,
                "monthly" => &mut rules.monthly,
                "yearly" => &mut rules.yearly,
                _ => return Err(bad()),
            };
            *slot = count;
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Snapshots received at these hours, locked for `lock` hours.
    fn at(hours: &[u64], lock: u64) -> Vec<Candidate> {
        let one = |h: &u64| Candidate {
            received_ms: h * 3_600_000,
            locked_until_ms: (h + lock) * 3_600_000,
            incomplete: false,
        };
        hours.iter().map(one).collect()
    }

    fn kept(rules: &str, snapshots: &[Candidate], now_h: u64) -> Vec<bool> {
        let rules = rules.parse().expect("rules");
        judge(&rules, snapshots, now_h * 3_600_000, Flaws::NONE).iter().map(Verdict::keeps).collect()
    }

    #[test]
    fn the_newest_stays_and_the_others_go_when_no_rule_asks_for_them() {
        let all = at(&[0, 1, 2], 10);
        assert_eq!(kept("newest", &all, 9), [true; 3]);
        assert_eq!(kept("newest", &all, 10), [false, true, true], "a lock ends at its moment, not before");
        assert_eq!(kept("newest", &all, 1_000), [false, false, true]);
        assert_eq!(kept("last=2", &all, 1_000), [false, true, true]);
        assert!(kept("last=2", &[], 0).is_empty());
    }

    #[test]
    fn what_is_not_complete_takes_no_place_and_pushes_nothing_out() {
        let mut all = at(&[0, 1, 2, 3, 4], 10);
        [2, 4].iter().for_each(|n| all[*n as usize].incomplete = true);
        assert_eq!(kept("newest", &all, 1_000), [false, false, false, true, true]);
        assert_eq!(kept("last=2", &all, 1_000), [false, true, false, true, true]);
        assert_eq!(kept("daily=3", &all, 1_000), [false, false, false, true, true]);
        assert_eq!(
            kept("last=2", &all, 11),
            [false, true, true, true, true],
            "a lock holds for it as for any"
        );
        all.iter_mut().for_each(|s| s.incomplete = true);
        assert_eq!(kept("last=2", &all, 1_000), [false, false, false, false, true]);
    }

    #[test]
    fn periods_keep_their_last_one() {
        let all = at(&[1, 5, 25, 26, 50, 24 * 40], 0);
        assert_eq!(kept("daily=2", &all, 100_000), [false, false, false, false, true, true]);
        assert_eq!(kept("daily=3", &all, 100_000), [false, false, false, true, true, true]);
        assert_eq!(kept("monthly=2", &all, 100_000), [false, false, false, false, true, true]);
        assert_eq!(kept("yearly=5", &all, 100_000), [false, false, false, false, false, true]);
    }

    #[test]
    fn calendars_are_gregorian() {
        let days = |text: &str| text.parse::<i64>().expect("a number");
        let known = [
            ("0", (1970, 0)),
            ("59", (1970, 2)),
            ("11016", (2000, 1)),
            ("11017", (2000, 2)),
            ("24855", (2038, 0)),
        ];
        for (day, month) in known {
            assert_eq!(year_and_month(days(day)), month, "day {day}");
        }
        assert_eq!(
            Period::Week.number(4 * DAY_MS) - Period::Week.number(3 * DAY_MS),
            1,
            "Monday begins a week"
        );
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["newest", "last=3", "last=1,daily=7,weekly=4,monthly=12,yearly=10"] {
            assert_eq!(text.parse::<KeepRules>().expect("rules").to_string(), text);
        }
        for text in ["", "last", "last=", "last=-1", "hourly=3", "last=100001", "last=1;daily=2"] {
            assert!(text.parse::<KeepRules>().is_err(), "{text}");
        }
    }

    proptest! {
        /// G4, G9: whatever the rules, the times and the order, nothing locked goes, and neither does the newest nor the newest
        /// complete one.
        #[test]
        fn rules_never_override_a_lock(
            snapshots in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..40),
            counts in any::<[u8; 5]>(),
            now_ms: u64,
        ) {
            let [last, daily, weekly, monthly, yearly] = counts.map(u32::from);
            let rules = KeepRules { last, daily, weekly, monthly, yearly };
            let candidate = |(received_ms, locked_until_ms, incomplete): &(u64, u64, bool)| Candidate {
                received_ms: *received_ms,
                locked_until_ms: *locked_until_ms,
                incomplete: *incomplete,
            };
            let all: Vec<Candidate> = snapshots.iter().map(candidate).collect();
            let verdicts = judge(&rules, &all, now_ms, Flaws::NONE);
            prop_assert_eq!(verdicts.len(), all.len());
            for (at, (verdict, s)) in verdicts.iter().zip(&all).enumerate() {
                let newer = all[at + 1..].iter().filter(|other| !other.incomplete).count();
                let among_last = !s.incomplete && newer < (rules.last as usize).max(1);
                let must = s.locked_until_ms > now_ms || at + 1 == all.len() || among_last;
                prop_assert!(verdict.keeps() || !must);
            }
        }
    }
}
