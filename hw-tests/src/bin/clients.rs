//! Real clients against the restic door: two resticses and rustic, on good days and on bad ones.

use anyhow::Result;
use coffre_rig::rig::show::{self, Page};
use coffre_rig::rig::signals::Stop;
use coffre_rig::rig::{binaries, clients, newer, steps};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    steps::end(run)
}

fn run(page: Page) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    // Names of clients on the command line: only these.
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut programs = Vec::new();
    for name in ["restic-old", "restic-new", "rustic"] {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        let since = Instant::now();
        match clients::have(name) {
            Ok(program) => programs.push(program),
            Err(why) => page.line(format_args!("NOT RUN: {name}: {why}")),
        }
        page.line(format_args!("{name}: found or made in {}", show::time(since.elapsed())));
    }
    if programs.is_empty() {
        return Ok(ExitCode::from(steps::NOT_RUN as u8));
    }
    clients::run(&programs, page, &stop)?;
    if let Some(newest) = programs.iter().find(|program| program.name == "restic-new") {
        let server =
            newer::fetch(&binaries::scratch("peers")?, "restic-rest-server", "usr/bin/restic-rest-server");
        let told = match server {
            Ok(server) => clients::rest_server_and_lost_answers(newest, &server)?,
            Err(why) => format!("not tried: {why}"),
        };
        page.line(format_args!("for comparison, rest-server in append-only mode: {told}"));
    }
    Ok(ExitCode::SUCCESS)
}
