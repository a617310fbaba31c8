//! Real clients of the restic door: what a person with restic or rustic does, on good days and on bad ones.
//!
//! ```text
//! program    restic (the one of Debian stable, the newest one) and rustic, driven by the same words
//! stage      a box of six folders (4+2), its daemon on a port that stays, its command
//! files      folders of real and of random files, and the comparison byte for byte
//! acts       what each client goes through
//! paired     the file of the pairing page that is for it
//! bad_days   kills, pulled disks, two at once, wrong secrets
//! proxy      a wire that loses answers: bytes pass, and when the answer to an upload comes the line is cut
//! lost       a backup over that wire, to us and to restic's own server
//! ```

mod acts;
mod bad_days;
pub(super) mod files;
mod lost;
mod paired;
mod program;
mod proxy;
mod stage;

pub use acts::was_refused;
pub use program::{Client, Kind, Program, have, restic_here};

use super::binaries::Binaries;
use super::daemon::tail;
use super::show::{self, Page};
use super::signals::Stop;
use anyhow::{Context, Result, anyhow};
use stage::Stage;
use std::time::Instant;

/// One act: a client, its box.
type Act = fn(&mut Stage, &Client) -> Result<()>;

/// Plays all acts with each of these programs. An error names the first thing that was wrong.
pub fn run(programs: &[Program], page: Page, stop: &Stop) -> Result<()> {
    let mut stage = Stage::new(Binaries::ready()?)?;
    let played = play(&mut stage, programs, page, stop);
    played.map_err(|why| anyhow!("{why:#}\nthe end of coffred's log:\n{}", tail(stage.log(), 25)))
}

fn play(stage: &mut Stage, programs: &[Program], page: Page, stop: &Stop) -> Result<()> {
    let acts: &[(&str, Act)] = &[
        ("init, and again", acts::init),
        ("two backups, check --read-data, restore", acts::backup_and_restore),
        ("the file of the pairing page that is for it", paired::used_as_it_is),
        ("append-only: forget and prune are refused, nothing is lost", acts::append_only),
        ("recoverable: forget and prune, then all of it comes back", acts::recoverable),
        ("wrong secret, other client's repository", bad_days::refused),
        ("killed in mid-backup, and once more", bad_days::client_killed),
        ("two disks pulled in mid-backup", bad_days::disks_pulled),
        ("the daemon killed in mid-backup and started again", bad_days::daemon_killed),
        ("answers to uploads lost on the way", lost::survives),
    ];
    let since = Instant::now();
    stage.drop_box().context("curl at the drop-box")?;
    page.line(format_args!("curl at the drop-box: {}", show::time(since.elapsed())));
    let mut clients = Vec::new();
    for program in programs {
        let client = stage.client(program)?;
        page.line(format_args!("{}: {}", program.name, program.version));
        for (what, act) in acts {
            stop.check()?;
            let since = Instant::now();
            act(stage, &client).with_context(|| format!("{}: {what}", program.name))?;
            page.line(format_args!("  {what}: {}", show::time(since.elapsed())));
        }
        clients.push(client);
    }
    let since = Instant::now();
    bad_days::all_at_once(stage, &clients).context("all at once")?;
    page.line(format_args!("all at once, and twice in one repository: {}", show::time(since.elapsed())));
    stage.stop()
}

/// The same lost answers with restic's own server in append-only mode. For comparison: tells in a sentence what became of it.
pub fn rest_server_and_lost_answers(program: &Program, server: &std::path::Path) -> Result<String> {
    lost::rest_server(program, server)
}
