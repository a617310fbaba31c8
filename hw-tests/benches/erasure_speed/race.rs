//! Contenders that take turns at one job, and the line that compares them.
//!
//! Time is that of this thread on its core, so that what else runs here only counts by what it does to caches and memory. A
//! ratio is the median of the ratios of each round: two turns that were neighbours had the same machine.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Whom the first contender is compared with.
pub const ISAL: &str = "ISA-L";
/// The crate alone.
pub const CRATE: &str = "crate";
/// A plain copy.
pub const MEMCPY: &str = "memcpy";

/// A turn is at least so long, and the job is done at least so often: what the one before left in the caches must not count.
const TURN: Duration = Duration::from_millis(10);
const MIN_TIMES: u32 = 3;

/// Does the job once, into the ranges that all contenders share; false when it could not.
type Contender<'a> = Box<dyn FnMut(&mut [Vec<u8>]) -> bool + 'a>;

/// One job and all who do it.
pub struct Race<'a> {
    contenders: Vec<(String, Contender<'a>)>,
    out: Vec<Vec<u8>>,
    source_bytes: usize,
}

impl<'a> Race<'a> {
    /// For `k` sources of `len` bytes.
    pub fn new(k: usize, len: usize) -> Self {
        // Written once, so that the system has really given the memory.
        Self { contenders: Vec::new(), out: vec![vec![1; len]; k], source_bytes: k * len }
    }

    /// Adds a contender; the first one is compared with the others.
    pub fn enter(&mut self, name: &str, contender: impl FnMut(&mut [Vec<u8>]) -> bool + 'a) {
        self.contenders.push((name.to_owned(), Box::new(contender)));
    }

    /// Lets everybody work in turns, another one beginning each round, and prints one line.
    pub fn run(mut self, job: &str, rounds: usize) -> anyhow::Result<()> {
        let count = self.contenders.len();
        let mut speeds = vec![Vec::with_capacity(rounds); count];
        for turn in (0..rounds).flat_map(|round| (0..count).map(move |n| (round + n) % count)) {
            let (name, contender) = &mut self.contenders[turn];
            anyhow::ensure!(contender(&mut self.out), "{name} cannot do {job}");
            let (since, mut times, mut spent) = (own_time()?, 0, Duration::ZERO);
            while spent < TURN || times < MIN_TIMES {
                contender(&mut self.out);
                times += 1;
                spent = own_time()? - since;
            }
            let bytes = f64::from(times) * self.source_bytes as f64;
            speeds[turn].push(bytes / spent.as_secs_f64() / 1e9);
        }
        self.report(job, speeds);
        Ok(())
    }

    fn report(&self, job: &str, speeds: Vec<Vec<f64>>) {
        print!("{job:<26}");
        for ((name, _), others) in self.contenders.iter().zip(&speeds) {
            print!("  {name} {:.1}", median(others.clone()));
            if [ISAL, CRATE, MEMCPY].contains(&name.as_str()) {
                let ratios = speeds[0].iter().zip(others).map(|(first, other)| first / other);
                print!(" (× {:.2})", median(ratios.collect()));
            }
        }
        println!();
    }
}

/// CPU time of this thread so far.
fn own_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
