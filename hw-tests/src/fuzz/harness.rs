//! The harness: replays what once broke a promise, tries the samples, then as many broken ones as it was asked.

use super::{Answer, Target, meter, mutate};
use crate::rng::Rng;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Most inputs that are kept to be broken further.
const MAX_POOL: usize = 512;
/// Steps spent on shortening an input that broke something.
const SHORTENING_STEPS: usize = 20_000;
/// Bytes of an input that are shown in the message.
const SHOWN_BYTES: usize = 200;

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Inputs tried, samples and fixtures included.
    pub inputs: u64,
    /// Those that the parser took.
    pub accepted: u64,
    /// Kinds of answers met.
    pub kinds: usize,
}

/// A promise that an input broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Of which target.
    pub target: &'static str,
    /// Which promise, or what the panic said.
    pub why: String,
    /// The input, shortened as far as that went.
    pub input: Vec<u8>,
}

/// Tries `inputs` mutated inputs that follow from `seed` (fewer where the target is slow), after the samples and the
/// fixtures in `folder`. The same arguments give the same run.
pub fn run(target: &Target, inputs: u64, seed: u64, folder: &Path) -> Result<Figures, Box<Broken>> {
    let mut rng = Rng::new(seed);
    let mut seen = Seen::default();
    for mut input in fixtures(folder) {
        seen.take(target, &input)?;
        if let Some(mend) = target.mend {
            mend(&mut input);
            seen.take(target, &input)?;
        }
    }
    let mut pool = (target.samples)(&mut rng);
    for sample in &pool {
        let answer = seen.take(target, sample)?;
        if !answer.accepted {
            let why = "a sample of its own encoder is refused".to_owned();
            return Err(Box::new(Broken { target: target.name, why, input: sample.clone() }));
        }
    }
    let samples = pool.len();
    for _ in 0..inputs / target.one_in {
        let mut input = rng.pick(&pool).cloned().unwrap_or_default();
        mutate(&mut rng, &mut input, &pool, target.tokens, target.max_len);
        if let Some(mend) = target.mend
            && rng.chance(3, 4)
        {
            mend(&mut input);
        }
        let kinds = seen.kinds.len();
        seen.take(target, &input)?;
        if seen.kinds.len() > kinds {
            if pool.len() >= MAX_POOL {
                let out = samples + rng.index(pool.len() - samples);
                pool.swap_remove(out);
            }
            pool.push(input);
        }
    }
    Ok(Figures { kinds: seen.kinds.len(), ..seen.figures })
}

/// Inputs that once broke a promise: the files of `folder`, in order of their names. None when there is no such folder.
pub fn fixtures(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

#[derive(Default)]
struct Seen {
    kinds: HashSet<u64>,
    figures: Figures,
}

impl Seen {
    fn take(&mut self, target: &Target, input: &[u8]) -> Result<Answer, Box<Broken>> {
        self.figures.inputs += 1;
        match judge(target, input) {
            Ok(answer) => {
                self.figures.accepted += u64::from(answer.accepted);
                self.kinds.insert(answer.kind);
                Ok(answer)
            }
            Err(_) => {
                let input = shorten(input, |shorter| judge(target, shorter).is_err());
                let why = judge(target, &input).err().unwrap_or_else(|| "not every time".to_owned());
                Err(Box::new(Broken { target: target.name, why, input }))
            }
        }
    }
}

thread_local! {
    /// A panic of this thread is an answer, not news.
    static JUDGING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that are caught here out of the log: shortening meets thousands of them.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !JUDGING.get() {
                before(info);
            }
        }));
    });
}

/// The check, a panic caught, the memory counted.
fn judge(target: &Target, input: &[u8]) -> Result<Answer, String> {
    hush();
    JUDGING.set(true);
    let (outcome, peak) = meter::peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.check)(input))));
    JUDGING.set(false);
    let answer = outcome.map_err(|panic| {
        let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        format!("panic: {}", said.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    })??;
    let ceiling = (target.memory)(input.len());
    if peak > ceiling {
        return Err(format!("{peak} bytes of memory for {} bytes, more than {ceiling}", input.len()));
    }
    Ok(answer)
}

/// Takes pieces out of an input, larger ones first, for as long as it stays `bad`; then zeros what may be zero.
pub fn shorten(input: &[u8], bad: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut steps = 0;
    let mut piece = best.len().next_power_of_two();
    while piece > 0 && steps < SHORTENING_STEPS {
        let mut at = 0;
        while at < best.len() && steps < SHORTENING_STEPS {
            steps += 1;
            let mut shorter = best.clone();
            shorter.drain(at..(at + piece).min(best.len()));
            if bad(&shorter) { best = shorter } else { at += piece }
        }
        piece /= 2;
    }
    best
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.input[..self.input.len().min(SHOWN_BYTES)];
        let rest = if shown.len() < self.input.len() { "..." } else { "" };
        let name = &blake3::hash(&self.input).to_hex()[..16];
        write!(
            f,
            "{}: {}\n  {} bytes: {}{rest}\n  as text: {:?}\n  keep it as hw-tests/fixtures/fuzz/{}/{name}",
            self.target,
            self.why,
            self.input.len(),
            hex::encode(shown),
            String::from_utf8_lossy(shown),
            self.target,
        )
    }
}
