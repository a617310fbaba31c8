//! What a person sees: colour and signs on a terminal, plain lines when piped or when `NO_COLOR` is set.
//!
//! Colour never carries meaning alone: each outcome has its word.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A page that is written from top to bottom on standard output.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    fancy: bool,
}

/// How a line is to be felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Wrong.
    Bad,
    /// Worth a look.
    Watch,
    /// In the background.
    Quiet,
    /// A heading.
    Head,
}

impl Page {
    /// A page for this process's standard output.
    pub fn stdout() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { fancy: std::io::stdout().is_terminal() && !plain && !dumb }
    }

    /// Whether a person watches a terminal.
    pub fn is_fancy(self) -> bool {
        self.fancy
    }

    /// A line as it is. A closed pipe is no reason to stop.
    pub fn line(self, text: impl Display) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// A heading with some air above it.
    pub fn head(self, text: &str) {
        self.line(format_args!("\n{}", self.paint(Tone::Head, text)));
    }

    /// A fact: what, and its value.
    pub fn fact(self, what: &str, value: impl Display) {
        self.line(format_args!("  {:<32} {value}", format!("{what}:")));
    }

    /// The outcome of a comparison.
    pub fn check(self, holds: bool, what: &str) {
        let (tone, word) = if holds { (Tone::Good, "ok   ") } else { (Tone::Bad, "WRONG") };
        self.line(format_args!("  {} {what}", self.paint(tone, word)));
    }

    /// A text in its colour, or as it is on a plain page.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "1;34",
            Tone::Bad => "1;7",
            Tone::Watch => "1;33",
            Tone::Quiet => "2",
            Tone::Head => "1",
        };
        if self.fancy { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A progress bar over bytes, on standard error, that is not there when nobody watches.
pub fn bytes_bar(total: u64, what: &'static str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(total);
    let style =
        indicatif::ProgressStyle::with_template("  {msg:<32} {bar:30} {percent:>3} % {bytes_per_sec}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// Bytes for a person, in powers of ten as disks are sold.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A time for a person.
pub fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..=119 => format!("{:.1} s", time.as_secs_f64()),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

/// Bytes per second for a person.
pub fn rate(count: u64, time: Duration) -> String {
    let per_s = count as f64 / time.as_secs_f64().max(1e-6);
    format!("{}/s", bytes(per_s as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        let shown = [0, 999, 1000, 1_234_567, 99_960_000, 12_345_678_901].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "1.23 MB", "100 MB", "12.3 GB"]);
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(time(Duration::from_millis(12)), "12 ms");
        assert_eq!(time(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(time(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(rate(2_000_000, Duration::from_secs(2)), "1.00 MB/s");
    }

    #[test]
    fn a_plain_page_has_no_escapes() {
        assert_eq!(Page { fancy: false }.paint(Tone::Bad, "x"), "x");
        assert!(Page { fancy: true }.paint(Tone::Bad, "x").contains("\x1b["));
    }
}
