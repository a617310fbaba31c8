//! Seeds: drawn afresh for every commit, each one replayed at will, and those that ever failed tried in every run.
//!
//! A suite that plays the same seeds every time has found what it will ever find. So each seeded test plays, first, the seeds
//! that once failed (`hw-tests/seeds`, one file for each simulator), then as many new ones as it is told, counted from a
//! number that follows from the commit. It is printed when the test begins; `COFFRE_SEEDS_FROM` gives it by hand, and
//! `COFFRE_REPLAY` plays one seed alone. A failure names its seed and the command that plays it again.
//!
//! For long runs by hand: `COFFRE_SEEDS_GO_ON` counts failures instead of stopping at the first, `COFFRE_SEEDS_THREADS` says
//! on how many threads (two, if it does not).

use crate::rng::splitmix;
use crate::scale;
use std::any::Any;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A seeded test: what it is called, and which seeds it plays.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    /// The file of tests, as cargo calls it.
    pub binary: &'static str,
    /// The test.
    pub test: &'static str,
    /// Seeds that failed once: lines of a test's name, a seed and what it found.
    pub kept: &'static str,
    /// How many new ones.
    pub fresh: u64,
}

/// What a seeded test saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran<S> {
    /// The sum of it.
    pub seen: S,
    /// How many seeds were played.
    pub seeds: u64,
    /// One seed was played alone: it says nothing about how much usually happens.
    pub alone: bool,
}

/// What the threads share.
#[derive(Default)]
struct Sum<S> {
    seen: S,
    failed: Vec<(u64, String)>,
}

impl Seeded {
    /// The seeds to play, in order. Says which on stderr.
    pub fn seeds(&self) -> Vec<u64> {
        if let Some(seed) = number("COFFRE_REPLAY") {
            return vec![seed];
        }
        let (kept, from) = (self.kept_seeds(), first());
        eprintln!(
            "{}::{}: {} seeds that failed once, and {} from {from} on (COFFRE_SEEDS_FROM={from})",
            self.binary,
            self.test,
            kept.len(),
            self.fresh
        );
        kept.into_iter().chain((0..self.fresh).map(|n| from.wrapping_add(n))).collect()
    }

    /// Those of this test that failed once.
    fn kept_seeds(&self) -> Vec<u64> {
        let lines = self.kept.lines().filter(|line| !line.starts_with('#'));
        let fields = lines.filter_map(|line| line.split_once(' '));
        let mine = fields.filter(|(test, _)| *test == self.test);
        mine.filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).collect()
    }

    /// Plays all seeds, on two threads, and adds up what they saw. Panics with what the first said that breaks a promise, or that
    /// panicked, and how it is played again.
    pub fn play<S: Debug + Default + Send>(
        &self,
        run: impl Fn(u64) -> Result<S, String> + Sync,
        add: impl Fn(&mut S, &S) + Sync,
    ) -> Ran<S> {
        let (seeds, next) = (self.seeds(), AtomicUsize::new(0));
        let goes_on = std::env::var_os("COFFRE_SEEDS_GO_ON").is_some();
        let sum = Mutex::new(Sum::default());
        let worker = || {
            while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !goes_on && !held(&sum).failed.is_empty() {
                    return;
                }
                let played = catch_unwind(AssertUnwindSafe(|| run(*seed)));
                match played.unwrap_or_else(|panic| Err(said(&*panic))) {
                    Ok(seen) => add(&mut held(&sum).seen, &seen),
                    Err(why) => {
                        eprintln!("seed {seed}: {why}");
                        held(&sum).failed.push((*seed, why));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..scale("COFFRE_SEEDS_THREADS", 2) {
                scope.spawn(worker);
            }
        });
        let Sum { seen, failed } = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert!(failed.is_empty(), "{}", self.complaint(&failed));
        eprintln!("{}::{}: {} seeds: {seen:?}", self.binary, self.test, seeds.len());
        Ran { seen, seeds: seeds.len() as u64, alone: number("COFFRE_REPLAY").is_some() }
    }

    /// The same for a test that only passes or does not.
    pub fn check(&self, run: impl Fn(u64) -> Result<(), String> + Sync) -> Ran<()> {
        self.play(run, |(), ()| ())
    }

    /// What failed, with the command for each seed. They are to be kept in the file of this simulator.
    fn complaint(&self, failed: &[(u64, String)]) -> String {
        let Self { binary, test, .. } = self;
        let again = |(seed, why): &(u64, String)| {
            format!(
                "seed {seed}: {why}\n  again: COFFRE_REPLAY={seed} COFFRE_TELL=1 \
                 cargo test --release -p coffre-rig --test {binary} -- --exact {test} --nocapture"
            )
        };
        let each: Vec<String> = failed.iter().map(again).collect();
        format!("{} seeds of {binary}::{test} fail\n{}", failed.len(), each.join("\n"))
    }
}

/// For tests that draw in their own way: the number from which they draw, which is said on stderr with the command that draws
/// the same again. A test that fails shows it.
pub fn announce(binary: &str, test: &str) -> u64 {
    let from = first();
    eprintln!(
        "{binary}::{test} draws from {from}; the same again: COFFRE_SEEDS_FROM={from} \
         cargo test --release -p coffre-rig --test {binary} -- --exact {test} --nocapture"
    );
    from
}

/// The first new seed of this run: given by hand, or one that follows from the commit, or where there is none from dice.
pub fn first() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    *FIRST
        .get_or_init(|| number("COFFRE_SEEDS_FROM").unwrap_or_else(|| spread(commit().unwrap_or_else(drawn))))
}

/// A number of thirteen digits, far from those that anybody types.
fn spread(from: u64) -> u64 {
    const LOW: u64 = 1_000_000_000_000;
    LOW + splitmix(from) % (9 * LOW)
}

fn commit() -> Option<u64> {
    let out = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let id = String::from_utf8(out.stdout).ok()?;
    u64::from_str_radix(id.get(..16)?, 16).ok().filter(|_| out.status.success())
}

/// A number that the standard library draws from the system's dice.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a panic: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "# the first word is the test\nmine 12  a wrong byte\nother 5\nmine 7\n";
    const MINE: Seeded = Seeded { binary: "world", test: "mine", kept: KEPT, fresh: 3 };

    #[test]
    fn what_failed_once_comes_first() {
        let from = first();
        assert_eq!(MINE.seeds(), [12, 7, from, from + 1, from + 2]);
        assert!(from > 1_000_000_000_000 || number("COFFRE_SEEDS_FROM").is_some());
    }

    #[test]
    fn a_failure_and_a_panic_name_the_seed_and_the_command() {
        for run in [
            |seed| if seed == 7 { Err("lost".to_owned()) } else { Ok(()) },
            |seed| {
                assert_ne!(seed, 7, "lost");
                Ok(())
            },
        ] {
            let told = catch_unwind(|| MINE.check(run)).expect_err("seed 7 fails");
            let told = said(&*told);
            assert!(told.contains("seed 7: ") && told.contains("lost"), "{told}");
            assert!(
                told.contains("COFFRE_REPLAY=7 ") && told.contains("--test world -- --exact mine"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_is_seen_is_added_up() {
        let ran = MINE.play(Ok::<u64, String>, |sum, seed| *sum ^= seed);
        let from = first();
        assert_eq!(ran.seen, 12 ^ 7 ^ from ^ (from + 1) ^ (from + 2));
        assert_eq!((ran.seeds, ran.alone), (5, false));
    }
}
