//! The legs of the dead disk: it is replaced while a push goes on, the new one is proved, the old one comes back for nothing.

use super::legs::{self, Kept};
use super::noise;
use super::prints;
use super::stage::{Stage, bytes_below};
use super::summary::{Summary, transfer};
use crate::rig::client::Pushed;
use crate::rig::show;
use crate::rig::signals::Stop;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DURING: &str = "during-rebuild";
/// What is pushed during the rebuild.
const PUSH_BYTES: u64 = 64_000_000;
/// The disk that dies.
const DEAD: usize = 2;
/// The two disks that are pulled afterwards: with them gone, every byte needs the new disk.
const PULLED: [usize; 2] = [0, 5];
/// How often the rebuild is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the box is given to touch a disk that it must leave alone: several rounds of its look-out.
const TEMPTATION: Duration = Duration::from_secs(3);

/// The old disk: its id, where it was, where it lies now.
pub struct OldDisk {
    id: Value,
    place: PathBuf,
    lies_at: PathBuf,
}

/// One disk dies for good and is replaced; a push goes on during the rebuild.
pub fn replace_a_dead_disk(stage: &mut Stage, summary: &mut Summary, stop: &Stop) -> Result<(Kept, OldDisk)> {
    let page = summary.page();
    page.head("7  A disk dies for good and is replaced");
    let id = stage.status()?["disks"][DEAD]["id"].clone();
    stage.pull(DEAD)?;
    let seen = stage.wait_for("a dead disk seen", legs::NO_FALSE_GREEN, stop, |status| {
        status["light"] == "amber" && status["can_lose_disks"] == 1 && status["writable"] == true
    });
    stop.check()?;
    match &seen {
        Ok((status, took)) => {
            let why = status["reasons"][0].as_str().unwrap_or("?");
            page.fact("amber", format_args!("{} after it died: {}", show::time(*took), stage.short(why)));
        }
        Err(why) => page.line(format_args!("  {why:#}")),
    }
    summary.check(seen.is_ok(), "within 60 s the light is amber, and one more disk may be lost");
    page.line(format_args!("  $ coffre disk replace {} --with …/disk7", DEAD + 1));
    let since = Instant::now();
    let (told, place) = stage.replace(DEAD)?;
    summary.fact("new disk in use after", show::time(since.elapsed()));
    summary.check(told["joined"] == true, "the new disk is in use when the command returns");
    let rebuild = rebuild_under_a_push(stage, summary, since, stop)?;
    summary.check(rebuild.false_greens == 0, "the light is not green while a shard is left to be made");
    let made = prints::shards_of(&stage.disks()[DEAD])?;
    let bytes = made.iter().map(|shard| shard.0).sum();
    let took = rebuild.took.unwrap_or_default();
    summary.check(rebuild.took.is_some(), "the rebuild ends, and the light is green with all six disks");
    summary.fact(
        "rebuilt, with a push meanwhile",
        format!("{} shards, {} in {}", made.len(), show::bytes(bytes), show::time(took)),
    );
    let kept = legs::acknowledged(DURING, &rebuild.pushed, summary)?;
    let (kept, _) = kept.context("the push during the rebuild was not acknowledged")?;
    Ok((kept, OldDisk { id, place, lies_at: stage.pulled(DEAD) }))
}

/// Pulls two other disks: only the four that are left, the new one among them, can give anything back.
pub fn prove_the_new_disk(stage: &mut Stage, all: &[Kept], summary: &mut Summary, stop: &Stop) -> Result<()> {
    summary.page().head("8  Two other disks pulled: the new one must do");
    for disk in PULLED {
        stage.pull(disk)?;
    }
    let seen = stage.wait_for("two other disks seen as gone", legs::NO_FALSE_GREEN, stop, |status| {
        status["light"] != "green" && status["can_lose_disks"] == 0
    });
    stop.check()?;
    summary.check(seen.is_ok(), "the box says that no further disk may be lost");
    legs::restore_all(stage, all, "by the new disk", summary, stop)?;
    for disk in PULLED {
        stage.put_back(disk)?;
    }
    legs::green_again(stage, "after these are back", summary, stop)
}

/// The disk that was given up shows again where it was: it is told as retired, and nothing on it changes.
pub fn the_old_disk_returns(stage: &Stage, old: &OldDisk, summary: &mut Summary, stop: &Stop) -> Result<()> {
    summary.page().head("9  The old disk comes back");
    let before = prints::below(&old.lies_at)?;
    std::fs::rename(&old.lies_at, &old.place).context("putting the old disk back")?;
    let since = Instant::now();
    let shown = loop {
        let listed = stage.coffre().json(&["disk", "list"])?;
        let is_it = |disk: &&Value| disk["id"] == old.id && disk["state"] == "retired";
        if let Some(disk) = listed["disks"].as_array().into_iter().flatten().find(is_it) {
            break Some(disk.clone());
        }
        if since.elapsed() > legs::NO_FALSE_GREEN {
            break None;
        }
        stop.sleep(LOOK_EVERY)?;
    };
    if let Some(disk) = &shown {
        summary
            .page()
            .fact("the old disk", format_args!("retired: {}", disk["reason"].as_str().unwrap_or("?")));
    }
    summary.check(shown.is_some(), "`coffre disk list` shows it as retired");
    stop.sleep(TEMPTATION)?;
    let after = prints::below(&old.place)?;
    summary.fact(
        "old disk, left alone",
        format!("{} files, {}", after.len(), show::bytes(bytes_below(&old.place))),
    );
    summary.check(before == after, "not a byte of it was touched");
    summary.check(legs::at_full_strength(&stage.status()?), "the light stays green");
    Ok(())
}

/// How a rebuild went.
struct Rebuild {
    pushed: Pushed,
    /// From the command on; `None` when it did not end in time.
    took: Option<Duration>,
    /// How often the status was green with shards left to be made.
    false_greens: usize,
}

/// Watches the rebuild until the light is green, while one push goes on beside it.
fn rebuild_under_a_push(
    stage: &Stage,
    summary: &mut Summary,
    since: Instant,
    stop: &Stop,
) -> Result<Rebuild> {
    let curl = stage.curl().clone();
    let (pushed, took, false_greens) = std::thread::scope(|scope| {
        let push = scope.spawn(move || curl.push(DURING, |out| noise::write(DURING, PUSH_BYTES, out)));
        let (mut progress, mut false_greens) = (Progress::default(), 0);
        let took = loop {
            let status = stage.status()?;
            let left = status["heal"]["packs_left"].as_u64().unwrap_or(0);
            if let Some(line) = progress.line(&status["heal"]) {
                let beside = if push.is_finished() { "" } else { "; the push goes on" };
                summary.page().fact("rebuild", format_args!("{line}{beside}"));
            }
            false_greens += usize::from(status["light"] == "green" && left > 0);
            if push.is_finished() && legs::at_full_strength(&status) {
                break Some(since.elapsed());
            }
            if since.elapsed() > legs::GREEN_LIMIT {
                summary.page().line(format_args!("  the status is {status}"));
                break None;
            }
            stop.sleep(LOOK_EVERY)?;
        };
        let pushed = push.join().map_err(|_| anyhow!("the push panicked"))??;
        anyhow::Ok((pushed, took, false_greens))
    })?;
    if pushed.status != 201 {
        bail!("the push during the rebuild was answered with {}: {}", pushed.status, pushed.text());
    }
    summary.fact("push during the rebuild", transfer(pushed.sent_bytes, pushed.took, None, None));
    Ok(Rebuild { pushed, took, false_greens })
}

/// Tells how far the rebuild is: at its beginning and whenever another quarter is done.
#[derive(Default)]
struct Progress {
    most: u64,
    told: Option<u64>,
}

impl Progress {
    fn line(&mut self, heal: &Value) -> Option<String> {
        let left = heal["packs_left"].as_u64()?;
        if left > self.most {
            (self.most, self.told) = (left, None);
        }
        if self.most == 0 {
            return None;
        }
        let quarters = (left * 4).div_ceil(self.most);
        if self.told.is_some_and(|told| told <= quarters) {
            return None;
        }
        self.told = Some(quarters);
        let bytes = heal["bytes_left"].as_u64().unwrap_or(0);
        let eta = heal["seconds_left"].as_u64().filter(|_| left > 0);
        let eta = eta.map_or_else(String::new, |s| format!(", about {s} s"));
        Some(format!("{left} of {} packs left, {}{eta}", self.most, show::bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_told_by_quarters_and_begins_again_when_more_is_found() {
        let mut progress = Progress::default();
        let mut told = |left: u64| {
            let heal = json!({"packs_left": left, "bytes_left": left * 1000, "seconds_left": null});
            progress.line(&heal)
        };
        assert_eq!(told(0), None);
        assert_eq!(told(8).as_deref(), Some("8 of 8 packs left, 8.00 kB"));
        assert_eq!(told(7), None);
        assert_eq!(told(6).as_deref(), Some("6 of 8 packs left, 6.00 kB"));
        assert_eq!(told(12).as_deref(), Some("12 of 12 packs left, 12.0 kB"));
        assert_eq!(told(2).as_deref(), Some("2 of 12 packs left, 2.00 kB"));
        assert_eq!(told(0).as_deref(), Some("0 of 12 packs left, 0 B"));
        assert_eq!(told(0), None);
    }
}
