//! What came in of late, by client: amounts in steps of ten minutes, enough of them to say what a day was.
//!
//! A day is the 24 hours before now, on the clock that the amounts were noted with. What a clock that was wrong put further
//! ahead than a day is not of this day. The steps are kept in the order of receipt, and only so many: a clock that jumps costs nothing.

use std::collections::VecDeque;
use std::ops::AddAssign;

/// The length of a day in milliseconds.
const DAY_MS: u64 = 24 * 3600 * 1000;
/// The length of a step in milliseconds.
const STEP_MS: u64 = 10 * 60 * 1000;
/// Most steps that are kept: three days and a half, if the clock does not jump.
const MOST_STEPS: usize = 512;

const _: () = assert!(MOST_STEPS as u64 * STEP_MS > 2 * DAY_MS);

/// What each snapshot and each file of a repository is charged with beside its bytes: about what one takes in a journal, in memory, in
/// the index and in a checkpoint, measured with snapshots of no bytes (`docs/decisions/0083-what-an-object-costs.md`).
pub(crate) const OBJECT_BYTES: u64 = 4_096;

/// Bytes as their client sent them, how many of them were new to the vault, and in how many objects they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Amount {
    /// Bytes as received.
    pub logical: u64,
    /// Bytes that they added to the vault, before parity.
    pub new: u64,
    /// Snapshots and files.
    pub objects: u64,
    /// Snapshots of data sets among them.
    pub snapshots: u64,
}

/// What came within a day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Day {
    /// The beginning of each step, and what came in it.
    steps: VecDeque<(u64, Amount)>,
}

impl Amount {
    /// As much, all of it new.
    pub fn all_new(bytes: u64) -> Self {
        Self { logical: bytes, new: bytes, ..Self::default() }
    }

    /// Nothing yet, in one object, which may be a snapshot.
    pub fn one(snapshot: bool) -> Self {
        Self { objects: 1, snapshots: u64::from(snapshot), ..Self::default() }
    }

    /// What a ceiling on bytes as sent counts.
    pub fn charged(self) -> u64 {
        self.logical.saturating_add(self.objects.saturating_mul(OBJECT_BYTES))
    }

    /// What a ceiling on new bytes counts.
    pub fn charged_new(self) -> u64 {
        self.new.saturating_add(self.objects.saturating_mul(OBJECT_BYTES))
    }

    /// What is left without `other`.
    pub fn less(self, other: Self) -> Self {
        Self {
            logical: self.logical.saturating_sub(other.logical),
            new: self.new.saturating_sub(other.new),
            objects: self.objects.saturating_sub(other.objects),
            snapshots: self.snapshots.saturating_sub(other.snapshots),
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            logical: self.logical.saturating_add(other.logical),
            new: self.new.saturating_add(other.new),
            objects: self.objects.saturating_add(other.objects),
            snapshots: self.snapshots.saturating_add(other.snapshots),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = self.and(other);
    }
}

impl Day {
    /// Something came at `at_ms`.
    pub fn add(&mut self, at_ms: u64, amount: Amount) {
        let step_ms = at_ms - at_ms % STEP_MS;
        match self.steps.back_mut() {
            Some((last_ms, sum)) if *last_ms == step_ms => *sum += amount,
            _ => self.steps.push_back((step_ms, amount)),
        }
        if self.steps.len() > MOST_STEPS {
            self.steps.pop_front();
        }
    }

    /// What came in the 24 hours before `now_ms`: each amount with how long it still counts, in milliseconds.
    pub fn counting(&self, now_ms: u64) -> impl Iterator<Item = (u64, Amount)> {
        self.steps.iter().filter_map(move |(step_ms, amount)| {
            let ends_ms = step_ms.saturating_add(STEP_MS + DAY_MS);
            let counts = now_ms < ends_ms && *step_ms < now_ms.saturating_add(DAY_MS);
            counts.then(|| (ends_ms - now_ms, *amount))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn sum(day: &Day, now_ms: u64) -> u64 {
        day.counting(now_ms).map(|(_, amount)| amount.logical).sum()
    }

    #[test]
    fn a_day_rolls() {
        let mut day = Day::default();
        let start_ms = 1_000 * DAY_MS;
        for hour in 0..48 {
            day.add(start_ms + hour * HOUR_MS, Amount::all_new(1 << hour.min(40)));
        }
        let whole: u64 = (23..48).map(|hour: u64| 1 << hour.min(40)).sum();
        assert_eq!(sum(&day, start_ms + 47 * HOUR_MS), whole, "and what is of the step that ends now");
        assert_eq!(sum(&day, start_ms + 47 * HOUR_MS + STEP_MS), whole - (1 << 23));
        let (left_ms, first) = day.counting(start_ms + 47 * HOUR_MS).next().expect("one");
        assert_eq!((left_ms, first.logical), (STEP_MS, 1 << 23));
        assert_eq!(sum(&day, start_ms + 80 * HOUR_MS), 0);
    }

    #[test]
    fn a_clock_that_was_years_ahead_is_not_held_against_anybody() {
        let (mut day, now_ms) = (Day::default(), 1_000 * DAY_MS);
        day.add(now_ms + 4_000 * DAY_MS, Amount::all_new(1));
        day.add(now_ms - HOUR_MS, Amount::all_new(2));
        day.add(now_ms + HOUR_MS, Amount::all_new(4));
        assert_eq!(sum(&day, now_ms), 6);
        assert_eq!(sum(&day, u64::MAX), 0);
        for n in 0..10 * MOST_STEPS as u64 {
            day.add(n * STEP_MS, Amount::all_new(1));
        }
        assert_eq!(day.steps.len(), MOST_STEPS);
    }
}
