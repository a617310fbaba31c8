//! Many seeds on two threads, until all have passed or one has not.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs seeds 0 to `count` and adds up what they saw. Panics with what the first seed said that breaks a promise.
pub fn on_two_threads<S: Debug + Default + Send>(
    count: u64,
    run: impl Fn(u64) -> Result<S, String> + Sync,
    add: impl Fn(&mut S, &S) + Sync,
) -> S {
    let next = AtomicU64::new(0);
    let sum = Mutex::new((S::default(), None::<String>));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count || sum.lock().expect("no panic").1.is_some() {
                        return;
                    }
                    match run(seed) {
                        Ok(seen) => add(&mut sum.lock().expect("no panic").0, &seen),
                        Err(why) => sum.lock().expect("no panic").1 = Some(why),
                    }
                }
            });
        }
    });
    let (seen, broken) = sum.into_inner().expect("no panic");
    assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    eprintln!("{count} runs: {seen:?}");
    seen
}
