//! `coffre clock show | attest TIME`: the clock that decides when locks end.

use super::{Outcome, Said, knock};
use crate::clock;
use crate::state::StateDir;
use coffre_core::wire::{ClockInfo, Reply, Request};
use serde_json::json;

/// The two clocks, and whether anything expires.
pub fn show(state: &StateDir) -> Outcome<Said> {
    ask(state, &Request::ClockShow).map(|info| said(&info))
}

/// The owner says what time it is.
pub fn attest(state: &StateDir, at_ms: u64) -> Outcome<Said> {
    let info = ask(state, &Request::ClockAttest { at_ms })?;
    let mut said = said(&info);
    if info.leapt_ms == 0 && info.doubt.is_none() {
        said.human = format!("Nothing was in doubt: the clock was left as it is.\n{}", said.human);
    }
    Ok(said)
}

fn ask(state: &StateDir, request: &Request) -> Outcome<ClockInfo> {
    match knock::ask(state, request)? {
        Reply::Clock(info) => Ok(info),
        other => Err(knock::unexpected(&other)),
    }
}

fn said(info: &ClockInfo) -> Said {
    let mut lines = vec![
        format!("Retention clock  {}", clock::local(info.retention_ms)),
        format!("System's clock   {}", clock::local(info.wall_ms)),
    ];
    if info.leapt_ms > 0 {
        lines.push(format!("The retention clock went forward by {} h.", info.leapt_ms.div_ceil(3_600_000)));
    }
    lines.push(match &info.doubt {
        None => "Locks end by the retention clock.".into(),
        Some(why) => format!("Nothing expires: {why}. The time counts while the box is on."),
    });
    let json = json!({
        "retention_at": clock::utc(info.retention_ms), "wall_at": clock::utc(info.wall_ms), "doubt": info.doubt,
        "calm_seconds": info.calm_ms / 1000, "leapt_seconds": info.leapt_ms / 1000,
    });
    Said { human: lines.join("\n"), json }
}
