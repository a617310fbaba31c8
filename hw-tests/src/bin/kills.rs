//! SIGKILL of the real daemon under load, or power cuts of its file systems; everything acknowledged is read back after
//! each start.

use anyhow::Result;
use clap::Parser;
use coffre_rig::rig::kills::{self, Blow, Ground, Plan};
use coffre_rig::rig::show::{self, Page};
use coffre_rig::rig::signals::Stop;
use coffre_rig::rig::{mounts, steps, tools};
use std::process::ExitCode;
use std::time::Duration;

/// Kills the real daemon under load, or cuts its file systems, again and again, and reads everything back.
#[derive(Parser)]
struct Args {
    /// How many kills.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Power cuts of the file systems instead, so many.
    #[arg(long, conflicts_with_all = ["kills", "folders"])]
    cuts: Option<u32>,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 1800)]
    limit_s: u64,
    /// Use folders even where loop mounts are to be had.
    #[arg(long)]
    folders: bool,
    /// Where the moments and the bodies come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    steps::end(|page| run(&Args::parse(), page))
}

fn run(args: &Args, page: Page) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    if let Err(why) = tools::ensure(tools::CURL) {
        page.line(format_args!("NOT RUN: {why}"));
        return Ok(ExitCode::from(steps::NOT_RUN as u8));
    }
    let (grounds, lacking) =
        if args.folders { (vec![Ground::Folders], Vec::new()) } else { kills::grounds(mounts::probe) };
    let (blow, name, count) = match args.cuts {
        Some(cuts) => (Blow::Cut, "cuts", cuts),
        None => (Blow::Kill, "kills", args.kills),
    };
    for why in lacking {
        page.line(format_args!("NOT RUN: {name}-{why}"));
    }
    if blow == Blow::Cut && grounds.contains(&Ground::Folders) {
        return Ok(ExitCode::from(steps::NOT_RUN as u8));
    }
    let limit = Duration::from_secs(args.limit_s);
    let plan = Plan { blow, kills: count, grounds, limit, seed: args.seed };
    let figures = kills::run(&plan, page, &stop)?;
    let how = match blow {
        Blow::Kill => format!("{} of them while starting", figures.while_starting),
        Blow::Cut => {
            format!(
                "{} of one disk with the daemon alive, {} file systems in all",
                figures.living, figures.file_systems_cut
            )
        }
    };
    page.line(format_args!(
        "{} {name}, {how}; {} pushes acknowledged, {} unanswered; {} read back ({}), all bit-identical; slowest start {}",
        figures.kills,
        figures.acknowledged,
        figures.unanswered,
        figures.read_back,
        show::bytes(figures.read_back_bytes),
        show::time(figures.slowest_start),
    ));
    Ok(ExitCode::SUCCESS)
}
