//! The pairing page in a real browser, in both languages, with pictures that are kept.

use anyhow::Result;
use coffre_rig::rig::show::Page;
use coffre_rig::rig::{pages, steps, tools};
use std::process::ExitCode;

fn main() -> ExitCode {
    steps::end(run)
}

fn run(page: Page) -> Result<ExitCode> {
    let browser = match pages::TOOLS.map(tools::ensure).into_iter().collect::<Result<Vec<_>, String>>() {
        Ok(tools) => tools[0].clone(),
        Err(why) => {
            page.line(format_args!("NOT RUN: {why}"));
            return Ok(ExitCode::from(steps::NOT_RUN as u8));
        }
    };
    for picture in pages::run(&browser)? {
        page.line(format_args!("{}", picture.display()));
    }
    Ok(ExitCode::SUCCESS)
}
