//! The rhythm of backups: how often one should come, as its owner said or as those that came show, and what is late.
//!
//! What came is remembered in *sittings*: pushes within six hours of the first of them are one, so that a burst is no rhythm. Out of at
//! least four sittings the **median** of the intervals between them is learnt, a day at least. Weekends and nights of the week: when two
//! intervals that began within half a day of the same time of the week as the newest one were longer than the median, the
//! shorter of these two is expected now. So a machine that sends from Monday to Friday is not late on Sundays, once two
//! weekends have gone by, and is late on Thursday when Tuesday's was the last.
//!
//! | rhythm | late (amber) after | very late (red) after |
//! |---|---|---|
//! | given | one and a half times | three times |
//! | learnt | what is expected now, and half the median | what is expected now, and twice the median; within two weeks of learning a week at least |
//! | neither | ten days | never |

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const WEEK_MS: u64 = 7 * DAY_MS;
/// Pushes within this time of the first of them are one sitting.
const SITTING_MS: u64 = 6 * HOUR_MS;
/// Most sittings that are remembered.
pub const MOST_SITTINGS: usize = 64;
/// Fewest sittings out of which a rhythm is learnt.
const FEWEST_SITTINGS: usize = 4;
/// The shortest rhythm that is learnt; a shorter one is given.
const SHORTEST_LEARNT_MS: u64 = DAY_MS;
/// How near to the same time of the week an interval must have begun.
const SAME_TIME_MS: u64 = 12 * HOUR_MS;
/// Within this time of learning, nothing is very late before a week.
const YOUNG_MS: u64 = 2 * WEEK_MS;
/// Without any rhythm, this long a silence is late.
const SILENCE_MS: u64 = 10 * DAY_MS;
/// So far ahead of the clock a time of receipt is believed; beyond, the clock was wrong then, or is now.
const AHEAD_MS: u64 = HOUR_MS;
/// The longest rhythm that may be given, in seconds.
const LONGEST_S: u32 = 366 * 86_400;

/// How often a backup should come, as its owner says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// As those that came show.
    #[default]
    Auto,
    /// None is expected.
    Never,
    /// One in so many seconds.
    Seconds(u32),
}

/// Where a rhythm is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The owner of the box said so.
    Given,
    /// Those that came show it.
    Learnt,
    /// There is none.
    #[default]
    None,
}

/// How it stands with what should come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its owner said that none is expected.
    NotExpected,
    /// It came within its rhythm.
    OnTime,
    /// No rhythm is known to hold it against, or the time at which it came is none.
    #[default]
    Unknown,
    /// Nothing has ever come.
    Never,
    /// It is late.
    Late,
    /// It is three times late.
    VeryLate,
}

/// What should come, and what came last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rhythm {
    /// How often, in seconds, when that is known.
    pub every_s: Option<u32>,
    /// Where that is from.
    pub source: Source,
    /// When the last one came, ms since 1970.
    pub last_ms: Option<u64>,
    /// How it stands.
    pub standing: Standing,
}

impl Every {
    /// As facts keep it: `None` for what shows, 0 for never.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Never => Some(0),
            Self::Seconds(seconds) => Some(seconds),
        }
    }

    /// From what facts keep.
    pub fn from_seconds(seconds: Option<u32>) -> Self {
        match seconds {
            None => Self::Auto,
            Some(0) => Self::Never,
            Some(seconds) => Self::Seconds(seconds),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Never => f.write_str("never"),
            Self::Seconds(seconds) => write!(f, "{}", crate::class::LockClass(*seconds)),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    /// `24h`, `7d`, `90min`, `auto`, `never`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            period => match period.parse::<crate::class::LockClass>() {
                Ok(class) if class.0 <= LONGEST_S => Ok(Self::Seconds(class.0)),
                _ => Err(format!(
                    "{text:?} is no rhythm: write 24h, 7d and the like up to 366d, auto or never"
                )),
            },
        }
    }
}

/// When sittings began, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sittings(VecDeque<u64>);

impl Sittings {
    /// As they were remembered.
    pub fn new(at_ms: &[u64]) -> Self {
        let mut this = Self::default();
        at_ms.iter().for_each(|at| this.came(*at));
        this
    }

    /// Something came at `at_ms`. What is said to have come later than that came by a clock that was wrong.
    pub fn came(&mut self, at_ms: u64) {
        while self.0.back().is_some_and(|last| *last > at_ms) {
            self.0.pop_back();
        }
        if self.0.back().is_none_or(|last| at_ms - last >= SITTING_MS) {
            self.0.push_back(at_ms);
        }
        if self.0.len() > MOST_SITTINGS {
            self.0.pop_front();
        }
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// What they show.
    fn learnt(&self) -> Option<Learnt> {
        if self.0.len() < FEWEST_SITTINGS {
            return None;
        }
        let began = || self.0.iter().zip(self.0.iter().skip(1));
        let mut intervals: Vec<u64> = began().map(|(from, to)| to - from).collect();
        intervals.sort_unstable();
        let median_ms = intervals[intervals.len() / 2].max(SHORTEST_LEARNT_MS);
        let (first, last) = (self.0.front()?, self.0.back()?);
        let mut alike: Vec<u64> = began()
            .filter(|(from, _)| same_time_of_the_week(**from, *last))
            .map(|(from, to)| to - from)
            .collect();
        alike.sort_unstable();
        let usual_ms = alike.len().checked_sub(2).map_or(0, |second| alike[second]);
        Some(Learnt { median_ms, expected_ms: median_ms.max(usual_ms), young: last - first < YOUNG_MS })
    }
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    median_ms: u64,
    /// The interval that is expected now.
    expected_ms: u64,
    young: bool,
}

fn same_time_of_the_week(a_ms: u64, b_ms: u64) -> bool {
    let apart = a_ms.abs_diff(b_ms) % WEEK_MS;
    apart.min(WEEK_MS - apart) <= SAME_TIME_MS
}

impl Rhythm {
    /// How it stands at `now_ms` with something that should come as was said, and came in these sittings, last at `last_ms`.
    pub fn of(every: Every, sittings: &Sittings, last_ms: Option<u64>, now_ms: u64) -> Self {
        let learnt = sittings.learnt();
        let (every_s, source) = match (every, learnt) {
            (Every::Seconds(seconds), _) => (Some(seconds), Source::Given),
            (Every::Never, _) => (None, Source::Given),
            (Every::Auto, Some(learnt)) => (u32::try_from(learnt.median_ms / 1000).ok(), Source::Learnt),
            (Every::Auto, None) => (None, Source::None),
        };
        let standing = match last_ms {
            _ if every == Every::Never => Standing::NotExpected,
            None => Standing::Never,
            Some(last_ms) if last_ms > now_ms.saturating_add(AHEAD_MS) => Standing::Unknown,
            Some(last_ms) => judge(every, learnt, now_ms.saturating_sub(last_ms)),
        };
        Self { every_s, source, last_ms, standing }
    }
}

fn judge(every: Every, learnt: Option<Learnt>, age_ms: u64) -> Standing {
    let (late_ms, very_ms, known) = match (every, learnt) {
        (Every::Seconds(seconds), _) => {
            let every_ms = u64::from(seconds) * 1000;
            (every_ms + every_ms / 2, every_ms * 3, true)
        }
        (_, Some(Learnt { median_ms, expected_ms, young })) => {
            let very_ms =
                expected_ms.saturating_add(median_ms.saturating_mul(2)).max(if young { WEEK_MS } else { 0 });
            (expected_ms.saturating_add(median_ms / 2), very_ms, true)
        }
        (_, None) => (SILENCE_MS, u64::MAX, false),
    };
    match age_ms {
        age if age > very_ms => Standing::VeryLate,
        age if age > late_ms => Standing::Late,
        _ if known => Standing::OnTime,
        _ => Standing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday at noon, UTC.
    const MONDAY_MS: u64 = 1_790_596_800_000;

    fn at(days: u64, hours: u64) -> u64 {
        MONDAY_MS + days * DAY_MS + hours * HOUR_MS
    }

    fn standing(every: &str, came: &[u64], now_ms: u64) -> Standing {
        let sittings = Sittings::new(came);
        Rhythm::of(every.parse().expect("a rhythm"), &sittings, came.last().copied(), now_ms).standing
    }

    #[test]
    fn read_as_it_is_shown_and_as_people_type() {
        for text in ["auto", "never", "24 h", "7 d", "90 min", "5 s"] {
            let every: Every = text.parse().expect("a rhythm");
            assert_eq!(Every::from_seconds(every.seconds()), every);
            assert_eq!(every.to_string().parse(), Ok(every));
        }
        for text in ["", "0s", "24", "often", "367d", "2y", "-1h", "4294967296s"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_given_rhythm_is_late_after_one_and_a_half_and_red_after_three() {
        let came = [at(0, 0)];
        let seen: Vec<Standing> =
            [0, 36, 37, 72, 73].iter().map(|h| standing("24h", &came, at(0, *h))).collect();
        use Standing::{Late, OnTime, VeryLate};
        assert_eq!(seen, [OnTime, OnTime, Late, Late, VeryLate]);
        assert_eq!(standing("never", &came, at(4_000, 0)), Standing::NotExpected);
        assert_eq!(standing("24h", &[], at(0, 0)), Standing::Never);
        assert_eq!(standing("10s", &came, MONDAY_MS + 14_000), OnTime);
        assert_eq!(standing("10s", &came, MONDAY_MS + 16_000), Late);
        assert_eq!(standing("10s", &came, MONDAY_MS + 31_000), VeryLate);
    }

    #[test]
    fn a_day_is_learnt_from_four_sittings_on() {
        let daily: Vec<u64> = (0..30).map(|day| at(day, u64::from(day % 3 == 1))).collect();
        assert_eq!(standing("auto", &daily[..3], at(4, 0)), Standing::Unknown, "three show no rhythm");
        assert_eq!(
            standing("auto", &daily[..3], at(13, 0)),
            Standing::Late,
            "and ten days are long all the same"
        );
        let rhythm = Rhythm::of(Every::Auto, &Sittings::new(&daily), daily.last().copied(), at(30, 0));
        assert_eq!(
            (rhythm.every_s, rhythm.source, rhythm.standing),
            (Some(86_400), Source::Learnt, Standing::OnTime)
        );
        assert_eq!(standing("auto", &daily, at(31, 0)), Standing::Late);
        assert_eq!(standing("auto", &daily, at(33, 0)), Standing::VeryLate);
        assert_eq!(standing("auto", &daily[..5], at(9, 0)), Standing::Late, "young: no red within a week");
        assert_eq!(standing("auto", &daily[..5], at(12, 0)), Standing::VeryLate);
    }

    #[test]
    fn a_burst_is_no_rhythm_and_a_short_one_is_a_day() {
        let burst: Vec<u64> = (0..200).map(|n| at(0, 0) + n * 60_000).collect();
        assert_eq!(standing("auto", &burst, at(2, 0)), Standing::Unknown);
        assert_eq!(standing("auto", &burst, at(9, 0)), Standing::Unknown);
        let hourly: Vec<u64> = (0..30 * 24).map(|hour| at(0, hour)).collect();
        let last = 30 * 24 - 1;
        let seen = |hours: u64| standing("auto", &hourly, at(0, last + hours));
        assert_eq!((seen(30), seen(37), seen(73)), (Standing::OnTime, Standing::Late, Standing::VeryLate));
        // In the middle of a rhythm a burst changes nothing.
        let mut mixed: Vec<u64> = (0..20).map(|day| at(day, 0)).collect();
        mixed.extend((1..200).map(|n| at(19, 0) + n * 60_000));
        assert_eq!(standing("auto", &mixed, at(20, 12)), Standing::OnTime);
        assert_eq!(standing("auto", &mixed, at(21, 0)), Standing::Late);
    }

    #[test]
    fn weekends_are_learnt_and_hide_no_weekday() {
        let all: Vec<u64> = (0..26).filter(|day| day % 7 < 5).map(|day| at(day, 10)).collect();
        let friday = *all.last().expect("some");
        assert_eq!((friday - MONDAY_MS) / DAY_MS % 7, 4, "a Friday");
        let late = |came: &[u64]| {
            let hours = (0..400)
                .find(|h| standing("auto", came, came[came.len() - 1] + h * HOUR_MS) > Standing::Never);
            hours.expect("late at last")
        };
        assert_eq!(late(&all), 72 + 12 + 1, "Friday's is followed by Monday's");
        assert_eq!(late(&all[..all.len() - 3]), 24 + 12 + 1, "Tuesday's by Wednesday's");
        assert_eq!(late(&all[..5]), 24 + 12 + 1, "the first weekend is not known yet");
    }

    #[test]
    fn a_wrong_clock_makes_nothing_punctual_for_ever() {
        let future = MONDAY_MS + 80 * 365 * DAY_MS;
        assert_eq!(standing("24h", &[future], at(0, 0)), Standing::Unknown);
        let mut sittings = Sittings::new(&[at(0, 0), at(1, 0), future]);
        sittings.came(at(2, 0));
        sittings.came(at(3, 0));
        assert_eq!(sittings.all().collect::<Vec<_>>(), [at(0, 0), at(1, 0), at(2, 0), at(3, 0)]);
        sittings.came(0);
        for n in 0..1_000 {
            sittings.came(n * DAY_MS);
        }
        assert_eq!(sittings.all().count(), MOST_SITTINGS);
        assert_eq!(standing("auto", &[u64::MAX], u64::MAX), Standing::Unknown);
    }
}
