//! What the disks say of their own health, asked now and then in the background.
//!
//! A question may take seconds and must hold nobody up: it is asked by a thread of its own, one round at a time, at most
//! once an hour, or when other disks are there than in the last round.

use crate::core::lock;
use crate::disk::health_of;
use coffre_core::diskset::DiskSet;
use coffre_core::ids::DiskNo;
use coffre_core::wire::DiskHealth;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const EVERY_MS: u64 = 3_600_000;
/// A disk that comes and goes is not asked more often.
const LEAST_MS: u64 = 60_000;

/// What is known of each disk.
#[derive(Debug)]
pub(crate) struct Healths {
    known: Arc<Mutex<Vec<DiskHealth>>>,
    busy: Arc<AtomicBool>,
    last: Mutex<Option<(u64, DiskSet)>>,
}

impl Healths {
    pub fn new(disks: usize) -> Self {
        let none = DiskHealth::unknown("it has not been asked yet");
        let known = Arc::new(Mutex::new(vec![none; disks]));
        Self { known, busy: Arc::default(), last: Mutex::default() }
    }

    pub fn get(&self, no: DiskNo) -> DiskHealth {
        lock(&self.known).get(no.ix()).cloned().unwrap_or_default()
    }

    /// Asks the disks in `there`, at these places, if it is time to.
    pub fn tend(&self, now_ms: u64, there: DiskSet, places: &[PathBuf]) {
        let mut last = lock(&self.last);
        let due = last.is_none_or(|(ms, disks)| {
            let since_ms = now_ms.saturating_sub(ms);
            since_ms >= EVERY_MS || since_ms >= LEAST_MS && disks != there
        });
        if !due || self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        *last = Some((now_ms, there));
        let (known, busy) = (self.known.clone(), self.busy.clone());
        let places: Vec<(usize, PathBuf)> =
            there.iter().filter_map(|no| Some((no.ix(), places.get(no.ix())?.clone()))).collect();
        let work = move || {
            for (no, place) in places {
                let health = health_of(&place);
                if let Some(known) = lock(&known).get_mut(no) {
                    *known = health;
                }
            }
            busy.store(false, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("health".into()).spawn(work).is_err() {
            self.busy.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_asked_hourly_and_when_others_are_there() {
        let dir = tempfile::tempdir().expect("scratch");
        let places = [dir.path().join("none"), dir.path().join("none too")];
        let healths = Healths::new(2);
        let round = |now_ms, there| {
            healths.tend(now_ms, there, &places);
            while healths.busy.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            lock(&healths.last).expect("asked").0
        };
        let (one, both) = (DiskSet::first(1), DiskSet::first(2));
        assert_eq!(round(5, one), 5);
        let why = |no| healths.get(DiskNo(no)).unknown_why.expect("no hardware");
        assert!(why(0).contains("not there") && why(1).contains("not been asked"), "{}, {}", why(0), why(1));
        assert_eq!(round(5 + EVERY_MS - 1, one), 5);
        assert_eq!(round(5 + EVERY_MS, one), 5 + EVERY_MS);
        assert_eq!(round(5 + EVERY_MS + LEAST_MS - 1, both), 5 + EVERY_MS);
        assert_eq!(round(5 + EVERY_MS + LEAST_MS, both), 5 + EVERY_MS + LEAST_MS);
        assert!(why(1).contains("not there"));
    }
}
