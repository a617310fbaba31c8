//! Full disks under the real daemon, on ext4 and XFS: refused with numbers, readable, forgetting makes room.

use anyhow::Result;
use coffre_rig::rig::show::{self, Page};
use coffre_rig::rig::signals::Stop;
use coffre_rig::rig::{full, mounts, steps, tools};
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
    let kinds = mounts::usable("full", page);
    for fs in &kinds {
        let figures = full::run(*fs, page, &stop)?;
        page.line(format_args!(
            "{}: {} pushes acknowledged, {} refused with 507; {} read back ({}), all bit-identical; room {} after the approval; slowest start {}",
            fs.name(),
            figures.tally.acknowledged,
            figures.refused,
            figures.tally.read_back,
            show::bytes(figures.tally.read_back_bytes),
            show::time(figures.freed_after),
            show::time(figures.slowest_start),
        ));
    }
    Ok(if kinds.is_empty() { ExitCode::from(steps::NOT_RUN as u8) } else { ExitCode::SUCCESS })
}
