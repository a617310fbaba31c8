//! How people are told who sent when.

use crate::clock;
use coffre_core::class::LockClass;
use coffre_core::rhythm::{Rhythm, Source, Standing};

/// How it stands, in a word or two.
pub fn standing(rhythm: &Rhythm) -> String {
    match rhythm.standing {
        Standing::NotExpected => "not expected",
        Standing::OnTime => "on time",
        Standing::Unknown => "not known",
        Standing::Never => "NEVER CAME",
        Standing::Late => "LATE",
        Standing::VeryLate => "VERY LATE",
    }
    .to_owned()
}

/// When the last one came, and how long ago.
pub fn last(rhythm: &Rhythm) -> String {
    let Some(last_ms) = rhythm.last_ms else { return "never".into() };
    match clock::now_ms().checked_sub(last_ms).map(|ms| ms / 60_000) {
        None => format!("{} (ahead of the clock)", clock::local(last_ms)),
        Some(minutes @ ..=119) => format!("{} ({minutes} min ago)", clock::local(last_ms)),
        Some(minutes @ ..=2_879) => format!("{} ({} h ago)", clock::local(last_ms), minutes / 60),
        Some(minutes) => format!("{} ({} days ago)", clock::local(last_ms), minutes / 1_440),
    }
}

/// How often one should come; what was learnt is marked.
pub fn every(rhythm: &Rhythm) -> String {
    match (rhythm.every_s, rhythm.source) {
        (Some(seconds), Source::Given) => LockClass(seconds).to_string(),
        (Some(seconds), _) => format!("~{} h", seconds.div_ceil(3_600)),
        (None, Source::Given) => "never".into(),
        (None, _) => "?".into(),
    }
}

/// The same as a sentence.
pub fn expected(rhythm: &Rhythm) -> String {
    match (rhythm.every_s, rhythm.source) {
        (Some(seconds), Source::Given) => {
            let every = LockClass(seconds);
            format!(
                "A backup is expected every {every}: late after one and a half times that, red after three times."
            )
        }
        (None, Source::Given) => "No backup is expected: its silence is not told.".into(),
        (Some(_), _) => format!("How often one should come is learnt: {}.", every(rhythm)),
        (None, _) => "How often one should come is learnt from those that come.".into(),
    }
}
