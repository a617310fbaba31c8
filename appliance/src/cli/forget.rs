//! `coffre forget --plan | --run | --approve PLAN`: what would be forgotten and why, before anything is.

use super::{Outcome, Said, knock, show};
use crate::clock;
use crate::state::StateDir;
use coffre_core::wire::{JudgedInfo, PlanInfo, Reply, Request};
use serde_json::{Value, json};

/// What to do; the plan when nothing is said.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Show what would be forgotten now and why each snapshot stays or goes; changes nothing.
    #[arg(long, conflicts_with_all = ["run", "approve"])]
    plan: bool,
    /// Do a run now, as the box does once a day.
    #[arg(long, conflicts_with = "approve")]
    run: bool,
    /// Do a run now, and let this plan free more than a fifth of the vault.
    #[arg(long, value_name = "PLAN")]
    approve: Option<String>,
}

/// Runs the command.
pub fn run(state: &StateDir, options: Options) -> Outcome<Said> {
    if options.run || options.approve.is_some() {
        return forget(state, options.approve);
    }
    let plan = ask(state)?;
    let json = json!({
        "plan": plan.id, "retention_at": clock::utc(plan.retention_ms), "stopped": plan.stopped,
        "needs_approval": plan.needs_approval,
        "snapshots": plan.snapshots.iter().map(view).collect::<Vec<Value>>(),
        "packs": plan.packs, "frees_bytes": plan.frees_bytes, "stray_packs": plan.stray_packs,
        "stray_bytes": plan.stray_bytes, "live_bytes": plan.live_bytes, "grace_seconds": plan.grace_ms / 1000,
    });
    Ok(Said { human: for_people(&plan), json })
}

fn forget(state: &StateDir, approve: Option<String>) -> Outcome<Said> {
    let done = match knock::ask(state, &Request::ForgetRun { approve })? {
        Reply::Forgot(done) => done,
        other => return Err(knock::unexpected(&other)),
    };
    let mut human = format!(
        "Condemned: {} and {}.\nFreed after their grace: {} and {}. Compacted: {}.",
        show::count(done.condemned, "snapshot"),
        show::count(done.condemned_packs, "pack"),
        show::count(done.freed, "snapshot"),
        show::count(done.freed_packs, "pack"),
        show::count(done.compacted, "pack"),
    );
    if done.asks {
        human.push_str(
            "\nWhat may go is more than a fifth of the vault: nothing of that was condemned.\n\
             Look at `coffre forget --plan`, then name it with `coffre forget --approve PLAN`.",
        );
    }
    let json = json!({
        "condemned": done.condemned, "condemned_packs": done.condemned_packs, "freed": done.freed,
        "freed_packs": done.freed_packs, "compacted": done.compacted, "needs_approval": done.asks,
    });
    Ok(Said { human, json })
}

/// The plan of this moment.
pub(super) fn ask(state: &StateDir) -> Outcome<PlanInfo> {
    match knock::ask(state, &Request::ForgetPlan)? {
        Reply::Plan(plan) => Ok(*plan),
        other => Err(knock::unexpected(&other)),
    }
}

fn for_people(plan: &PlanInfo) -> String {
    let all: Vec<&JudgedInfo> = plan.snapshots.iter().collect();
    let goes = plan.snapshots.iter().filter(|j| !j.keep && j.condemned_ms.is_none()).count() as u64;
    let mut lines = vec![
        table(&all),
        String::new(),
        format!(
            "Plan {}: {} go, with {} and {} of {}; freed after {} of grace.",
            plan.id,
            show::count(goes, "snapshot"),
            show::count(plan.packs, "pack"),
            show::bytes(plan.frees_bytes),
            show::bytes(plan.live_bytes),
            seconds(plan.grace_ms / 1000),
        ),
    ];
    if plan.stray_packs > 0 {
        let packs = show::count(plan.stray_packs, "pack");
        lines.push(format!(
            "No snapshot uses {packs} ({}): left by uploads that were cut off.",
            show::bytes(plan.stray_bytes)
        ));
    }
    if plan.needs_approval {
        lines.push(format!("That is more than a fifth: it waits for `coffre forget --approve {}`.", plan.id));
    }
    lines.extend(lag(plan.retention_ms));
    lines.extend(plan.stopped.as_ref().map(|why| format!("Not now: {why}.")));
    lines.join("\n")
}

/// Locks end by the retention clock: said when it shows another time than the clock on the wall.
pub(super) fn lag(retention_ms: u64) -> Option<String> {
    let lag_ms = clock::now_ms().saturating_sub(retention_ms);
    let shown = clock::local(retention_ms);
    let behind = match lag_ms / 60_000 {
        0 => return None,
        minutes @ 1..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    };
    Some(format!(
        "Locks end by the retention clock, which shows {shown}, {behind} behind: it stands still while the box is off."
    ))
}

/// Snapshots with what becomes of them and why.
pub(super) fn table(judged: &[&JudgedInfo]) -> String {
    let row = |one: &&JudgedInfo| {
        let fate = match (one.keep, one.condemned_ms) {
            (true, None) => "stays".to_owned(),
            (true, Some(_)) => "stays after all".to_owned(),
            (false, None) => "goes".to_owned(),
            (false, Some(at_ms)) => format!("condemned {}", clock::local(at_ms)),
        };
        let why = one.reasons.join(", ");
        [
            one.dataset.to_string(),
            one.id.to_string(),
            clock::local(one.received_ms),
            clock::local(one.locked_until_ms),
            fate,
            why,
        ]
    };
    let rows: Vec<_> = judged.iter().map(row).collect();
    show::table(["DATA SET", "ID", "RECEIVED", "LOCKED UNTIL", "", "WHY"], &rows)
}

/// A snapshot of a plan, for scripts.
pub(super) fn view(one: &JudgedInfo) -> Value {
    json!({
        "dataset": one.dataset, "id": one.id, "size": one.size, "received_at": clock::utc(one.received_ms),
        "locked_until": clock::utc(one.locked_until_ms), "complete": one.complete, "keep": one.keep, "reasons": one.reasons,
        "condemned_at": one.condemned_ms.map(clock::utc),
    })
}

fn seconds(count: u64) -> String {
    coffre_core::class::LockClass(u32::try_from(count).unwrap_or(u32::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_lags_is_told_and_one_that_does_not_is_not() {
        let now_ms = clock::now_ms();
        assert_eq!(lag(now_ms - 30_000), None);
        assert_eq!(lag(now_ms + 5_000), None);
        assert!(lag(now_ms - 600_000).is_some_and(|said| said.contains("10 min behind")));
        assert!(lag(now_ms - 10 * 3_600_000).is_some_and(|said| said.contains("10 h behind")));
    }
}
