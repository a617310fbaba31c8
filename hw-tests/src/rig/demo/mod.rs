//! `cargo demo`: a whole box at work on real files, from init over pulled disks, rot and a dead disk to what may be forgotten.
//!
//! Each leg is a function that acts, compares, and leaves its figures in the summary. A comparison that fails is shown
//! where it happens and again at the end, and makes the demo leave with 1; the later legs still run, because they often tell why.

mod exchange;
mod keeping;
mod legs;
mod noise;
pub(super) mod prints;
mod restic;
mod rot;
mod stage;
mod summary;

use super::binaries::Binaries;
use super::input::{self, Input};
use super::show::{self, Page};
use super::signals::Stop;
use super::tools;
use anyhow::{Context, Result, anyhow};
use stage::Stage;
use summary::Summary;

/// What the demo was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Leave at the end instead of keeping the box up.
    pub once: bool,
    /// About how many bytes of real files to push.
    pub input_bytes: u64,
}

/// Runs the demo. `Ok(false)` when a comparison failed.
pub fn run(options: Options, page: Page, stop: &Stop) -> Result<bool> {
    page.head("Coffre: a backup box in a scratch folder");
    tools::ensure(tools::CURL).map_err(|why| anyhow!("{why}\n(curl is the client of this demo)"))?;
    if page.is_fancy() {
        page.line("  building coffred and coffre, if they are not yet …");
    }
    let binaries = Binaries::ready()?;
    let sources = Input::gather(&input::sources(), options.input_bytes)?;
    let toolchain = Input::gather(&input::toolchain(), options.input_bytes / 2)
        .context("the second stream is made of the toolchain's files")?;
    for (place, files, bytes) in sources.from.iter().chain(&toolchain.from) {
        page.fact(place, format_args!("{files} files, {}", show::bytes(*bytes)));
    }

    let mut summary = Summary::new(page);
    let mut stage = legs::init(&binaries, &mut summary)?;
    let kept = legs::push_twice(&mut stage, &sources, &mut summary, stop)?;
    let second = legs::kill_in_mid_push(&mut stage, &toolchain, &kept, &mut summary, stop)?;
    let mut all = vec![kept, second];
    let degraded = legs::pull_two_disks(&mut stage, &all, &mut summary, stop)?;
    all.push(degraded);
    legs::put_the_disks_back(&mut stage, &all, &mut summary, stop)?;
    all.push(rot::more_to_keep(&mut stage, &mut summary, stop)?);
    rot::damage_and_heal(&mut stage, &all, &mut summary, stop)?;
    let (during, old) = exchange::replace_a_dead_disk(&mut stage, &mut summary, stop)?;
    all.push(during);
    exchange::prove_the_new_disk(&mut stage, &all, &mut summary, stop)?;
    exchange::the_old_disk_returns(&stage, &old, &mut summary, stop)?;
    restic::backup_and_compare(&mut stage, options.input_bytes, &mut summary, stop)?;
    keeping::plan_of_forgetting(&mut stage, &mut summary, stop)?;
    summary.print(&stage);
    if !options.once {
        keep_up(&stage, page, stop);
    }
    leave(stage, &mut summary)?;
    Ok(summary.verdict())
}

/// Keeps the box up, with lines to copy, until Ctrl-C.
fn keep_up(stage: &Stage, page: Page, stop: &Stop) {
    let (config, url) = (stage.curl().config().display().to_string(), stage.url());
    page.head("The box stays up. In another terminal:");
    page.line(format_args!("  curl -K {config} -T README.md {url}/v1/datasets/mine"));
    page.line(format_args!("  tar c docs | curl -K {config} -T - {url}/v1/datasets/docs"));
    page.line(format_args!("  curl -K {config} {url}/v1/datasets"));
    page.line(format_args!("  curl -K {config} {url}/v1/datasets/mine/snapshots/latest"));
    page.line(format_args!("  {}", stage.status_line()));
    page.line(format_args!(
        "  mv {} /tmp/     (pulls a disk: look at the status again)",
        stage.disks()[0].display()
    ));
    page.line("\n  Ctrl-C ends the box and removes its scratch folder.");
    while stop.sleep(std::time::Duration::from_secs(1)).is_ok() {}
}

/// A graceful stop is a promise too.
fn leave(stage: Stage, summary: &mut Summary) -> Result<()> {
    let stopped = stage.end();
    summary.check(stopped.is_ok(), "the daemon stops gracefully when asked");
    stopped.map(drop)
}
