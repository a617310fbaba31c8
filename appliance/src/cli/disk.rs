//! `coffre disk list`, `replace`, `undo`, `add`, `find`.

use super::{Outcome, Said, init, knock, progress, show};
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Consent, DiskHealth, DiskInfo, DiskState, Reply, Request};
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

/// How often the box is asked how far it is with a new disk,
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// and how often at least.
const FIRST_LOOKS: u32 = 4;

/// Said after a disk was replaced.
const KEEP_IT_IN: &str = "What it must hold is being made again; if the disk that it replaces is still there, leave it in until \
                          `coffre disk list` says that it may be taken out.";
/// More than a yes can be.
const MAX_ANSWER_BYTES: u64 = 256;

/// What whoever lets a disk go agrees to.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Sure {
    /// Replace it although it is in use and healthy: for scripts, which cannot be asked.
    #[arg(long)]
    pub yes: bool,
    /// Replace a dead disk although some of the data can be read only with it: that stays unreadable until it shows again.
    #[arg(long)]
    pub give_up: bool,
}

/// All disks, in roster order.
pub fn list(state: &StateDir) -> Outcome<Said> {
    match knock::ask(state, &Request::DiskList)? {
        Reply::Disks { disks } => Ok(Said {
            human: format!("{}\n\n{}", table(&disks), healths(&disks)),
            json: json!({ "disks": disks }),
        }),
        other => Err(knock::unexpected(&other)),
    }
}

/// What each disk says of itself, one line each.
fn healths(disks: &[DiskInfo]) -> String {
    let line = |disk: &DiskInfo| format!("Disk {}: {}", disk.number, in_words(&disk.health));
    // One that was taken out has the number of the one that came, and nobody asks it.
    let used = disks.iter().filter(|disk| disk.state != DiskState::Retired);
    used.map(line).collect::<Vec<_>>().join("\n")
}

/// A disk's health in words; figures that it does not tell are left out.
fn in_words(health: &DiskHealth) -> String {
    if let Some(why) = &health.unknown_why {
        return format!("health unknown, {why}");
    }
    let verdict = match health.passed {
        Some(true) => "says that it is well",
        Some(false) => "SAYS THAT IT IS FAILING",
        None => "does not say whether it is well",
    };
    let figures = [
        health.temperature_c.map(|c| format!("{c} °C")),
        health.power_on_hours.map(|hours| format!("{} with power", show::count(hours, "hour"))),
        health.reallocated_sectors.map(|n| format!("{} reallocated", show::count(n, "sector"))),
        health.pending_sectors.map(|n| format!("{n} pending")),
        health.media_errors.map(|n| show::count(n, "media error")),
        health.wear_percent.map(|percent| format!("{percent} % of its life used")),
    ];
    let model = health
        .model
        .iter()
        .map(|model| model.chars().filter(|c| !c.is_control()).take(40).collect::<String>());
    let words = model.chain([verdict.to_owned()]).chain(figures.into_iter().flatten());
    words.collect::<Vec<_>>().join(", ")
}

/// A new disk in the place of an old one. What the new one must hold is made again in the background; a person who watches is
/// shown how far that is.
pub fn replace(state: &StateDir, old: String, with: &Path, sure: Sure, json: bool) -> Outcome<Said> {
    let (old, with) = (unless_number(old), init::text(with)?);
    let request = |consent| Request::DiskReplace { old: old.clone(), with: with.clone(), consent };
    exchange(state, request, sure, json)
}

/// A disk that was replaced comes back.
pub fn undo(state: &StateDir, disk: String, sure: Sure, json: bool) -> Outcome<Said> {
    let disk = unless_number(disk);
    exchange(state, |consent| Request::DiskUndo { disk: disk.clone(), consent }, sure, json)
}

fn exchange(state: &StateDir, request: impl Fn(Consent) -> Request, sure: Sure, json: bool) -> Outcome<Said> {
    let mut consent = Consent { sure: sure.yes, give_up: sure.give_up };
    let mut answer = knock::ask(state, &request(consent))?;
    if let Reply::Asked { why } = &answer {
        agree(why, json)?;
        consent.sure = true;
        answer = knock::ask(state, &request(consent))?;
    }
    let mut said = told(answer, KEEP_IT_IN)?;
    if !json && progress::watched() && said.json["joined"] == true {
        // Before the bar: who interrupts it has read that the disk is in use.
        let _ = write!(io::stderr(), "{}", said.human);
        said.human = follow(state)?;
    }
    Ok(said)
}

/// Asks for a typed yes; nobody but a person at a terminal can be asked.
fn agree(why: &str, json: bool) -> Outcome<()> {
    let refused = || Fault::refused(why.to_owned());
    if json || !io::stdin().is_terminal() {
        return Err(refused().next("if this is what you want, give the command again with --yes").into());
    }
    // A prompt that cannot be shown is no reason to fail.
    let _ = writeln!(io::stderr(), "{}\nType yes to replace it all the same:", sentence(why));
    let mut line = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut line);
    match read.is_ok() && line.trim().eq_ignore_ascii_case("yes") {
        true => Ok(()),
        false => Err(refused().next("nothing was changed").into()),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}

/// A bar until everything that can be healed is. Interrupted, the box goes on.
fn follow(state: &StateDir) -> Outcome<String> {
    let heal = || match knock::ask(state, &Request::Status)? {
        Reply::Status(status) => Ok(status.heal),
        other => Err(knock::unexpected(&other)),
    };
    let bar =
        progress::bar(0, "{bar:30} {pos} of {len} packs made again, {eta} left; Ctrl-C leaves it to the box");
    let (mut most, mut looks) = (0, 0);
    loop {
        let now = heal()?;
        most = most.max(now.packs_left);
        looks += 1;
        // At first the box has not counted yet.
        if looks > FIRST_LOOKS && now.packs_left <= now.exceptional_packs {
            bar.finish_and_clear();
            return Ok(match now.packs_left {
                0 => "All of its part of the data is made again, read back and proved.\n".into(),
                left => format!(
                    "Not all could be made again yet: {}; see `coffre status`.\n",
                    show::count(left, "pack")
                ),
            });
        }
        bar.set_length(most);
        bar.set_position(most - now.packs_left);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One disk more.
pub fn add(state: &StateDir, path: &Path) -> Outcome<Said> {
    came(state, &Request::DiskAdd { path: init::text(path)? }, "New data uses it from now on.")
}

/// A disk that is somewhere else now.
pub fn find(state: &StateDir, path: &Path) -> Outcome<Said> {
    came(state, &Request::DiskFind { path: init::text(path)? }, "")
}

fn came(state: &StateDir, request: &Request, more: &str) -> Outcome<Said> {
    told(knock::ask(state, request)?, more)
}

fn told(answer: Reply, more: &str) -> Outcome<Said> {
    match answer {
        Reply::Disk { disk, .. } if disk.state == DiskState::Retired => {
            let (path, why) = (&disk.path, disk.reason.as_deref().unwrap_or("it was taken out"));
            let human = format!("{path} is no disk of this vault any more: {why}.\n");
            Ok(Said { human, json: json!({ "disk": disk, "joined": false }) })
        }
        Reply::Disk { disk, geometry } => {
            let joined = disk.state == DiskState::Active;
            let (number, path) = (disk.number, &disk.path);
            let mut human = match joined {
                true => format!("Disk {number} is {path} now and in use; the geometry is {geometry}. {more}"),
                false => format!(
                    "Disk {number} is {path} now; it is not in use yet, that goes on by itself: see `coffre disk list`."
                ),
            };
            human.truncate(human.trim_end().len());
            human.push('\n');
            Ok(Said { human, json: json!({ "disk": disk, "geometry": geometry, "joined": joined }) })
        }
        other => Err(knock::unexpected(&other)),
    }
}

/// A path is taken from here, a number or an id as it is.
fn unless_number(old: String) -> String {
    let path = Path::new(&old);
    let full = (old.contains('/') || path.exists()).then(|| init::full(path).ok()).flatten();
    match full.as_deref().and_then(Path::to_str) {
        Some(full) if old.parse::<u8>().is_err() => full.to_owned(),
        _ => old,
    }
}

/// Disks as people read them.
pub fn table(disks: &[DiskInfo]) -> String {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), show::bytes);
    let rows: Vec<[String; 6]> = disks
        .iter()
        .map(|disk| {
            let state = match disk.state {
                DiskState::Active => "active",
                DiskState::CatchingUp => "catching up",
                DiskState::Suspect => "suspect",
                DiskState::Absent => "absent",
                DiskState::Held => "held",
                DiskState::Foreign => "foreign",
                DiskState::Retired => "retired",
            };
            let id = disk.id.to_string();
            [
                disk.number.to_string(),
                id.get(..8).unwrap_or(&id).to_owned(),
                state.to_owned(),
                size(disk.free_bytes),
                size(disk.total_bytes),
                disk.reason
                    .as_ref()
                    .map_or_else(|| disk.path.clone(), |why| format!("{} ({why})", disk.path)),
            ]
        })
        .collect();
    show::table(["DISK", "ID", "STATE", "FREE", "SIZE", "PATH"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_told_in_words() {
        let ata = DiskHealth {
            model: Some("WD\x1b Red".into()),
            passed: Some(true),
            temperature_c: Some(31),
            power_on_hours: Some(1),
            reallocated_sectors: Some(8),
            pending_sectors: Some(0),
            ..DiskHealth::default()
        };
        assert_eq!(
            in_words(&ata),
            "WD Red, says that it is well, 31 °C, 1 hour with power, 8 sectors reallocated, 0 pending"
        );
        let failing = DiskHealth { passed: Some(false), wear_percent: Some(104), ..DiskHealth::default() };
        assert_eq!(in_words(&failing), "SAYS THAT IT IS FAILING, 104 % of its life used");
        assert_eq!(in_words(&DiskHealth::unknown("nobody asked")), "health unknown, nobody asked");
    }
}
