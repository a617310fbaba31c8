//! The first legs of the demo, in order: init, push twice, kill in mid-push, pull two disks, put them back.

use super::stage::{DISKS, Stage};
use super::summary::{Summary, transfer};
use crate::rig::binaries::Binaries;
use crate::rig::client::Pushed;
use crate::rig::input::Input;
use crate::rig::ledger;
use crate::rig::show;
use crate::rig::signals::Stop;
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{self, Write};
use std::time::Duration;

const SOURCES: &str = "sources";
const TOOLCHAIN: &str = "toolchain";
const DEGRADED: &str = "while-degraded";
/// The two disks that are pulled; a third would be one too many for 4+2.
const PULLED: [usize; 2] = [1, 4];
/// Any degraded fact is on the status within this time (G17).
pub(super) const NO_FALSE_GREEN: Duration = Duration::from_secs(60);
/// Longest wait for the light to be green again.
pub(super) const GREEN_LIMIT: Duration = Duration::from_secs(300);

/// A snapshot that was acknowledged, as the client remembers it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub(super) dataset: &'static str,
    pub(super) id: String,
    hash: blake3::Hash,
    bytes: u64,
}

/// Makes the box, starts it, shows what a person would write down.
pub fn init(binaries: &Binaries, summary: &mut Summary) -> Result<Stage> {
    let page = summary.page();
    page.head("1  A new box on six disks");
    let (mut stage, told) = Stage::init(binaries)?;
    page.fact("vault", told["vault_id"].as_str().unwrap_or("?"));
    let words: Vec<&str> =
        told["recovery_words"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let [first, second, .., last] = words[..] {
        page.fact("recovery words", format_args!("{first} {second} … {last}, to be written on paper"));
    }
    summary.check(words.len() == 24, "init gives 24 recovery words");
    let took = stage.start()?;
    page.fact("serves at", stage.url());
    page.fact("ready after", show::time(took));
    let status = stage.status()?;
    page.fact("geometry", status["geometry"].as_str().unwrap_or("?"));
    summary.check(status["light"] == "green", "the light of a new box is green");
    summary.check(status["can_lose_disks"] == 2, "it says that two disks may be lost");
    Ok(stage)
}

/// Pushes the same real files twice.
pub fn push_twice(stage: &mut Stage, input: &Input, summary: &mut Summary, stop: &Stop) -> Result<Kept> {
    summary.page().head("2  The same files, pushed twice over HTTPS");
    let first = push(stage, SOURCES, input, "first push", summary)?;
    stop.check()?;
    let second = push(stage, SOURCES, input, "second push", summary)?;
    stop.check()?;
    let (size, stored) =
        (first.1["size"].as_u64().unwrap_or(0), first.1["stored_bytes"].as_u64().unwrap_or(0));
    let again = second.1["stored_bytes"].as_u64().unwrap_or(u64::MAX);
    summary.fact("first push stored", format!("{} for {}", show::bytes(stored), show::bytes(size)));
    summary.fact("second push stored", format!("{}: the rest was known", show::bytes(again)));
    summary.check(again < size / 20, "the second push stores less than a twentieth");
    summary.check(first.0.hash == second.0.hash, "both pushes were the same bytes");
    Ok(first.0)
}

/// Kills the daemon in the middle of a push, and goes on.
pub fn kill_in_mid_push(
    stage: &mut Stage,
    input: &Input,
    kept: &Kept,
    summary: &mut Summary,
    stop: &Stop,
) -> Result<Kept> {
    summary.page().head("3  SIGKILL in the middle of a push");
    let half = input.bytes() / 2;
    let (curl, daemon) = stage.curl_and_daemon();
    let mut killed = Ok(());
    let cut = curl.push(TOOLCHAIN, |out| {
        let mut trap = Trap { out, left: half, spring: Some(|| killed = daemon.kill()) };
        input.write_tar(&mut trap)
    })?;
    killed.context("killing the daemon")?;
    summary.page().fact("killed after", format_args!("{} of the push", show::bytes(cut.sent_bytes)));
    summary.check(cut.status != 201, "a push that was cut is not acknowledged");
    let took = stage.start()?;
    summary.fact("ready again after SIGKILL", show::time(took));
    let there = list(stage, SOURCES)?;
    let whole = there.iter().filter(|s| s.hash == ledger::label(kept.hash) && s.size == kept.bytes).count();
    summary.check(there.len() == 2 && whole == 2, "both acknowledged snapshots are listed after the kill");
    summary.check(list(stage, TOOLCHAIN)?.is_empty(), "nothing of the cut push is visible");
    stop.check()?;
    let (second, _) = push(stage, TOOLCHAIN, input, "pushed again", summary)?;
    Ok(second)
}

/// Pulls two disks, restores everything, and goes on accepting backups.
pub fn pull_two_disks(stage: &mut Stage, all: &[Kept], summary: &mut Summary, stop: &Stop) -> Result<Kept> {
    summary.page().head("4  Two disks pulled");
    for disk in PULLED {
        stage.pull(disk)?;
        summary.page().fact("pulled", stage.disks()[disk].display());
    }
    let seen = stage.wait_for("two disks seen as gone", NO_FALSE_GREEN, stop, |status| {
        status["light"] != "green" && status["can_lose_disks"] == 0
    });
    match &seen {
        Ok((status, took)) => {
            let light = status["light"].as_str().unwrap_or("?");
            summary.fact("light, two disks gone", format!("{light}, {} after the pull", show::time(*took)));
        }
        Err(why) => summary.page().line(format_args!("  {why:#}")),
    }
    summary.check(seen.is_ok(), "within 60 s the status says that no further disk may be lost");
    restore_all(stage, all, "two disks gone", summary, stop)?;
    let body: Vec<u8> = (0..200_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let pushed = stage.curl().push(DEGRADED, |out| out.write_all(&body))?;
    let degraded = acknowledged(DEGRADED, &pushed, summary)?;
    if let Some((kept, receipt)) = &degraded {
        summary.fact("pushed while degraded", format!("tolerates {} lost disks", receipt["tolerates"]));
        restore_all(stage, std::slice::from_ref(kept), "pushed while degraded", summary, stop)?;
    }
    degraded.map(|(kept, _)| kept).context("the box took no backup with two disks gone")
}

/// Puts the disks back and waits for the green light.
pub fn put_the_disks_back(stage: &mut Stage, all: &[Kept], summary: &mut Summary, stop: &Stop) -> Result<()> {
    summary.page().head("5  The disks are back");
    for disk in PULLED {
        stage.put_back(disk)?;
    }
    green_again(stage, "after the disks are back", summary, stop)?;
    restore_all(stage, all, "all disks back", summary, stop)?;
    Ok(())
}

/// Waits until everything is at full strength again, and notes how long that took.
pub(super) fn green_again(stage: &Stage, when: &str, summary: &mut Summary, stop: &Stop) -> Result<()> {
    let green = stage.wait_for("a green light", GREEN_LIMIT, stop, at_full_strength);
    stop.check()?;
    match &green {
        Ok((_, took)) => summary.fact(&format!("green {when}"), show::time(*took)),
        Err(why) => summary.page().line(format_args!("  {why:#}")),
    }
    summary.check(green.is_ok(), format!("{when} the light is green again, all six disks active"));
    Ok(())
}

/// A green light, every disk in use, two may be lost.
pub(super) fn at_full_strength(status: &Value) -> bool {
    let active = |disk: &Value| disk["state"] == "active";
    let disks = status["disks"].as_array();
    status["light"] == "green"
        && status["can_lose_disks"] == 2
        && disks.is_some_and(|disks| disks.len() == DISKS && disks.iter().all(active))
}

/// Pushes an input as one stream; an error when it was not acknowledged.
fn push(
    stage: &mut Stage,
    dataset: &'static str,
    input: &Input,
    what: &'static str,
    summary: &mut Summary,
) -> Result<(Kept, Value)> {
    let before = stage.usage();
    let bar = show::bytes_bar(input.bytes(), what);
    let pushed = stage.curl().push(dataset, |out| input.write_tar(&mut bar.wrap_write(out)))?;
    bar.finish_and_clear();
    let line = transfer(pushed.sent_bytes, pushed.took, before, stage.usage());
    summary.fact(what, line);
    acknowledged(dataset, &pushed, summary)?.with_context(|| {
        format!("the push was answered with {}: {} {}", pushed.status, pushed.text(), pushed.trouble)
    })
}

/// The snapshot of a push that was acknowledged, its receipt compared with what was sent.
pub(super) fn acknowledged(
    dataset: &'static str,
    pushed: &Pushed,
    summary: &mut Summary,
) -> Result<Option<(Kept, Value)>> {
    if pushed.status != 201 {
        summary.check(false, format!("{dataset} is acknowledged ({}: {})", pushed.status, pushed.text()));
        return Ok(None);
    }
    let receipt = pushed.receipt()?;
    let matches = receipt["hash"] == ledger::label(pushed.hash) && receipt["size"] == pushed.sent_bytes;
    summary.check(matches, format!("the receipt of {dataset} names the hash and size of what was sent"));
    let id = receipt["id"].as_str().context("a receipt without an id")?.to_owned();
    Ok(Some((Kept { dataset, id, hash: pushed.hash, bytes: pushed.sent_bytes }, receipt)))
}

/// Restores snapshots one after the other, compares each with what was sent, and notes what all took together.
pub(super) fn restore_all(
    stage: &mut Stage,
    all: &[Kept],
    when: &str,
    summary: &mut Summary,
    stop: &Stop,
) -> Result<()> {
    let before = stage.usage();
    let (mut bytes, mut took) = (0, Duration::ZERO);
    for kept in all {
        let got = stage.curl().get(&format!("/v1/datasets/{}/snapshots/{}", kept.dataset, kept.id))?;
        let same = got.status == 200 && got.whole && got.bytes == kept.bytes && got.hash == kept.hash;
        let line = format!("{} comes back bit-identical, {when}{}", kept.dataset, trouble(&got.trouble));
        summary.check(same, line);
        bytes += got.bytes;
        took += got.took;
        stop.check()?;
    }
    summary.fact(&format!("restored, {when}"), transfer(bytes, took, before, stage.usage()));
    Ok(())
}

fn trouble(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

fn list(stage: &Stage, dataset: &str) -> Result<Vec<ledger::Listed>> {
    ledger::listed(dataset, stage.curl().get_json(&format!("/v1/datasets/{dataset}/snapshots"))?.as_ref())
}

/// Springs once, when enough bytes have passed.
struct Trap<'a, F> {
    out: &'a mut dyn Write,
    left: u64,
    spring: Option<F>,
}

impl<F: FnOnce()> Write for Trap<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.left = self.left.saturating_sub(taken as u64);
        if self.left == 0
            && let Some(spring) = self.spring.take()
        {
            spring();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trap_springs_once_in_the_middle() {
        let (mut out, mut sprung) = (Vec::new(), 0);
        let mut trap = Trap { out: &mut out, left: 4, spring: Some(|| sprung += 1) };
        for _ in 0..4 {
            trap.write_all(b"abc").expect("a vector takes everything");
        }
        assert_eq!((out.len(), sprung), (12, 1));
    }
}
