//! `cargo demo`: a whole backup box at work on real files, in a scratch folder.

use clap::Parser;
use coffre_rig::rig::demo::{self, Options};
use coffre_rig::rig::show::Page;
use coffre_rig::rig::signals::{STOPPED, Stop};
use std::process::ExitCode;

/// Shows a whole backup box at work on real files of this machine.
#[derive(Parser)]
struct Args {
    /// Leave at the end instead of keeping the box up until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// About how many megabytes of real files to push.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    megabytes: u64,
}

fn main() -> ExitCode {
    let args = Args::parse_from(coffre_rig::rig::arguments());
    let page = Page::stdout();
    let options = Options { once: args.once, input_bytes: args.megabytes * 1_000_000 };
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(why) => return failed(page, &why),
    };
    match demo::run(options, page, &stop) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if stop.asked() => {
            page.line("stopped on request; the scratch folder is removed");
            ExitCode::from(STOPPED as u8)
        }
        Err(why) => failed(page, &why),
    }
}

fn failed(page: Page, why: &anyhow::Error) -> ExitCode {
    page.line(format_args!("\nFAILED: {why:#}"));
    ExitCode::FAILURE
}
