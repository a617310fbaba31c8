//! `coffre scrub [--deep]`: looks for damage now, waits for the end of it, and tells what is known.

use super::{Outcome, Said, knock, progress, show};
use crate::clock;
use crate::state::StateDir;
use coffre_core::wire::{HealInfo, Reply, Request, ScrubInfo};
use serde_json::{Value, json};
use std::time::Duration;

/// How often the daemon is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// What is looked at.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Also every block of every shard: reads everything once.
    #[arg(long)]
    deep: bool,
    /// Begin nothing: only tell what is known.
    #[arg(long, conflicts_with = "deep")]
    show: bool,
}

/// Begins a round and waits for its end. Interrupted, it goes on in the daemon.
pub fn run(state: &StateDir, options: Options) -> Outcome<Said> {
    let ask = |deep| match knock::ask(state, &Request::Scrub { deep })? {
        Reply::Scrub(info) => Ok(*info),
        other => Err(knock::unexpected(&other)),
    };
    let mut info = ask((!options.show).then_some(options.deep))?;
    let form = "{bar:30} {percent} % looked at, {elapsed} so far; Ctrl-C leaves it running in the box";
    let bar = progress::bar(1_000, if options.deep { form } else { "{spinner} looking, {elapsed} so far" });
    while !options.show && info.running.is_some() {
        bar.set_position(info.deep_done_per_mille);
        std::thread::sleep(ASK_EVERY);
        info = ask(None)?;
    }
    bar.finish_and_clear();
    Ok(Said { human: for_people(&info), json: json(&info) })
}

/// As scripts read it: times as RFC 3339 UTC.
pub fn json(info: &ScrubInfo) -> Value {
    let time = |ms: Option<u64>| ms.map(clock::utc);
    let finds: Vec<Value> = info
        .finds
        .iter()
        .map(|f| {
            json!({
                "found_at": clock::utc(f.found_ms), "disk": f.disk, "what": f.what, "blocks": f.blocks,
                "healed_at": time(f.healed_ms),
            })
        })
        .collect();
    json!({
        "last_light_at": time(info.last_light_ms),
        "last_deep_at": time(info.last_deep_ms),
        "overdue": info.overdue,
        "deep_done_per_mille": info.deep_done_per_mille,
        "sampled_per_mille": info.sampled_per_mille,
        "running": info.running,
        "unhealed": info.unhealed,
        "suspected": info.suspected,
        "finds": finds,
    })
}

fn for_people(info: &ScrubInfo) -> String {
    let mut lines = vec![last_rounds(info)];
    if let Some(share) = info.sampled_per_mille {
        lines.push(format!("Opened end to end in the last whole day: {}.{} %", share / 10, share % 10));
    }
    if info.finds.is_empty() {
        lines.push("Nothing was ever found damaged.".to_owned());
        return lines.join("\n");
    }
    lines.push(format!("Damaged and not healed: {}", info.unhealed));
    lines.push(String::new());
    let rows: Vec<[String; 5]> = info
        .finds
        .iter()
        .map(|f| {
            [
                clock::local(f.found_ms),
                f.disk.map_or_else(|| "-".to_owned(), |d| d.to_string()),
                f.what.clone(),
                if f.blocks == 0 { "-".to_owned() } else { f.blocks.to_string() },
                f.healed_ms.map_or_else(|| "not yet".to_owned(), clock::local),
            ]
        })
        .collect();
    lines.push(show::table(["FOUND", "DISK", "WHAT", "BLOCKS", "HEALED"], &rows));
    lines.join("\n")
}

/// One line: when everything was looked at last.
pub fn last_rounds(info: &ScrubInfo) -> String {
    let when = |ms: Option<u64>| ms.map_or_else(|| "not yet".to_owned(), clock::local);
    format!("Looked at everything: lightly {}, deeply {}", when(info.last_light_ms), when(info.last_deep_ms))
}

/// What healing has to do, with the time it takes at the rate that was measured.
pub fn healing(heal: &HealInfo) -> Vec<String> {
    let mut lines = Vec::new();
    if heal.packs_left > 0 {
        let left = show::bytes(heal.bytes_left);
        let packs = show::count(heal.packs_left, "pack");
        let pace = match (heal.bytes_per_second, heal.seconds_left) {
            (Some(rate), Some(seconds)) => {
                format!(", about {} at {}/s", duration(seconds), show::bytes(rate))
            }
            _ => String::new(),
        };
        lines.push(format!("To be healed: {packs}, {left}{pace}"));
    }
    if heal.exceptional_packs > 0 {
        let packs = show::count(heal.exceptional_packs, "pack");
        lines.push(format!("Not healed at the last attempt, to be tried again: {packs}"));
        lines.extend(heal.exceptions.iter().map(|e| format!("  - {}: {}", e.pack, e.why)));
    }
    lines
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::wire::FindInfo;

    #[test]
    fn finds_say_where_and_whether_they_are_healed() {
        let find = |healed_ms| FindInfo {
            found_ms: 1_772_357_400_000,
            disk: Some(3),
            what: "shard 00ff".into(),
            blocks: 2,
            healed_ms,
        };
        let info = ScrubInfo {
            unhealed: 1,
            finds: vec![find(None), find(Some(1_772_357_500_000))],
            ..ScrubInfo::default()
        };
        let text = for_people(&info);
        for part in ["deeply not yet", "not healed: 1", "shard 00ff", "not yet"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = json(&info);
        assert_eq!(json["finds"][0]["healed_at"], Value::Null);
        assert_eq!(json["finds"][1]["found_at"], "2026-03-01T09:30:00.000Z");
    }

    #[test]
    fn the_time_left_is_that_of_the_measured_rate() {
        let heal = HealInfo {
            packs_left: 3,
            bytes_left: 5 << 20,
            bytes_per_second: Some(1 << 20),
            seconds_left: Some(500),
            ..HealInfo::default()
        };
        assert_eq!(healing(&heal), ["To be healed: 3 packs, 5.2 MB, about 9 min at 1.0 MB/s"]);
        assert!(healing(&HealInfo::default()).is_empty());
    }
}
