//! The demo's last page: every comparison, and the figures that were measured on the way.

use super::stage::{Stage, bytes_below};
use crate::rig::daemon::Usage;
use crate::rig::show::{self, Page, Tone};
use std::time::Duration;

/// Comparisons and figures as they come.
pub struct Summary {
    page: Page,
    checks: usize,
    wrong: Vec<String>,
    facts: Vec<(String, String)>,
}

impl Summary {
    /// An empty summary for a page.
    pub fn new(page: Page) -> Self {
        Self { page, checks: 0, wrong: Vec::new(), facts: Vec::new() }
    }

    /// The page.
    pub fn page(&self) -> Page {
        self.page
    }

    /// Notes and shows a comparison.
    pub fn check(&mut self, holds: bool, what: impl Into<String>) {
        let what = what.into();
        self.page.check(holds, &what);
        self.checks += 1;
        if !holds {
            self.wrong.push(what);
        }
    }

    /// Notes and shows a figure.
    pub fn fact(&mut self, what: &str, value: impl Into<String>) {
        let value = value.into();
        self.page.fact(what, &value);
        self.facts.push((what.to_owned(), value));
    }

    /// The page with everything on it.
    pub fn print(&self, stage: &Stage) {
        self.page.head("Summary");
        for (what, value) in &self.facts {
            self.page.fact(what, value);
        }
        let on_disks: u64 = stage.disks().iter().map(|disk| bytes_below(disk)).sum();
        self.page.fact("on all six disks", format_args!("{}, parity included", show::bytes(on_disks)));
        if stage.peak_bytes() > 0 {
            self.page.fact("daemon's peak memory", show::bytes(stage.peak_bytes()));
        }
        if !self.wrong.is_empty() {
            self.page.head("The end of the daemon's log");
            self.page.line(stage.log_tail());
        }
    }

    /// Says on the last line whether every comparison held, and gives it.
    pub fn verdict(&self) -> bool {
        let good = self.wrong.is_empty();
        for what in &self.wrong {
            self.page.line(self.page.paint(Tone::Bad, &format!("WRONG: {what}")));
        }
        let held = self.checks - self.wrong.len();
        self.page.line(format_args!("\n{held} of {} comparisons hold", self.checks));
        good
    }
}

/// Bytes, time, rate and CPU cost of a transfer, in one line.
pub fn transfer(bytes: u64, took: Duration, before: Option<Usage>, after: Option<Usage>) -> String {
    let cost = match (before, after) {
        (Some(before), Some(after)) if bytes > 0 => {
            let cpu_s = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            format!(", {:.1} CPU s/GB", cpu_s * 1e9 / bytes as f64)
        }
        _ => String::new(),
    };
    format!("{} in {}, {}{cost}", show::bytes(bytes), show::time(took), show::rate(bytes, took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_in_one_line() {
        let used = |ms| Some(Usage { cpu: Duration::from_millis(ms), peak_bytes: 0 });
        let line = transfer(2_000_000_000, Duration::from_secs(4), used(1000), used(5000));
        assert_eq!(line, "2.00 GB in 4.0 s, 500 MB/s, 2.0 CPU s/GB");
        assert_eq!(transfer(0, Duration::from_secs(1), used(0), used(1)), "0 B in 1.0 s, 0 B/s");
    }

    #[test]
    fn one_wrong_comparison_spoils_the_verdict() {
        let mut summary = Summary::new(Page::stdout());
        summary.check(true, "a");
        assert!(summary.verdict());
        summary.check(false, "b");
        assert!(!summary.verdict());
    }
}
