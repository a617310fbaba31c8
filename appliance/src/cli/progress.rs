//! Bars for long work, on stderr and only when a person watches: pipes and scripts see nothing of them.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};

/// Whether anybody would see a bar.
pub(super) fn watched() -> bool {
    io::stderr().is_terminal()
}

/// A bar of this length in this form; hidden when nobody watches.
pub(super) fn bar(length: u64, form: &str) -> ProgressBar {
    if !watched() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    ProgressStyle::with_template(form).map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}
