//! Disks on real mount points that are moved, copied, old, foreign, read-only or away, under the real daemon.

use anyhow::Result;
use coffre_rig::rig::show::{self, Page};
use coffre_rig::rig::signals::Stop;
use coffre_rig::rig::{misplaced, mounts, steps, tools};
use std::process::ExitCode;

fn main() -> ExitCode {
    steps::end(run)
}

fn run(page: Page) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    if let Err(why) = tools::ensure(tools::CURL) {
        page.line(format_args!("NOT RUN: {why}"));
        return Ok(ExitCode::from(steps::NOT_RUN as u8));
    }
    let kinds = mounts::usable("mounts", page);
    if kinds.is_empty() {
        return Ok(ExitCode::from(steps::NOT_RUN as u8));
    }
    let figures = misplaced::run(&kinds, page, &stop)?;
    page.line(format_args!(
        "{} pushes acknowledged, {} read back ({}), all bit-identical; told after {} at most, well again after {} at most",
        figures.tally.acknowledged,
        figures.tally.read_back,
        show::bytes(figures.tally.read_back_bytes),
        show::time(figures.slowest_told),
        show::time(figures.slowest_well),
    ));
    Ok(ExitCode::SUCCESS)
}
