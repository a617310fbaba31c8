//! The last leg: how a data set is kept, and what would be forgotten and why, before anything is.

use super::legs;
use super::stage::Stage;
use super::summary::Summary;
use crate::rig::show;
use crate::rig::signals::Stop;
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::{Duration, Instant};

const NOTES: &str = "notes";
/// Locks of seconds are a try-out's privilege.
const CLASS: &str = "2s";
/// Longest wait for it to end. It ends by the retention clock, which lags: what it counted since its last note went
/// with the SIGKILL.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// Sets a data set's rules, pushes two small snapshots, and shows the plan when their lock has ended.
pub fn plan_of_forgetting(stage: &mut Stage, summary: &mut Summary, stop: &Stop) -> Result<()> {
    let page = summary.page();
    page.head("11  What may be forgotten, and why");
    page.line(format_args!("  $ coffre dataset set demo/{NOTES} --class {CLASS} --keep last=1"));
    let set = stage.coffre().json(&[
        "dataset",
        "set",
        &format!("demo/{NOTES}"),
        "--class",
        CLASS,
        "--keep",
        "last=1",
    ])?;
    summary.check(set["class_seconds"] == 2 && set["keep"]["last"] == 1, "the box says the rules back");
    let mut ids = Vec::new();
    for text in ["first thoughts", "second thoughts"] {
        let pushed = stage.curl().push(NOTES, |out| out.write_all(text.as_bytes()))?;
        let (kept, _) = legs::acknowledged(NOTES, &pushed, summary)?.context("a small push was refused")?;
        ids.push(kept.id);
    }
    let since = Instant::now();
    let goes = |one: &Value| one["keep"] == false;
    let plan = loop {
        stop.sleep(Duration::from_millis(500))?;
        let plan = stage.coffre().json(&["forget", "--plan"])?;
        if plan["snapshots"].as_array().is_some_and(|all| all.iter().any(goes))
            || since.elapsed() > LOCK_LIMIT
        {
            break plan;
        }
    };
    page.fact("the lock ended after", show::time(since.elapsed()));
    page.line("  $ coffre forget --plan");
    let judged = plan["snapshots"].as_array().context("a plan without snapshots")?;
    for one in judged {
        page.fact(one["dataset"].as_str().unwrap_or("?"), told(one));
    }
    let fate = |id: &String| judged.iter().find(|one| one["id"] == **id).map(|one| one["keep"] == true);
    summary.check(
        ids.iter().map(fate).collect::<Vec<_>>() == [Some(false), Some(true)],
        "of the notes the older may go, the newest stays",
    );
    let others = || judged.iter().filter(|one| one["dataset"] != format!("demo/{NOTES}"));
    summary.check(
        others().count() > 0 && others().all(|one| one["keep"] == true),
        "what is locked stays, each for a reason that is told",
    );
    let still = stage.coffre().json(&["forget", "--plan"])?;
    summary.check(still["plan"] == plan["plan"], "a plan changes nothing: the next one is the same");
    let goes = judged.iter().filter(|one| goes(one)).count();
    summary.fact("plan of forgetting", format!("{} stay, {goes} may go", judged.len() - goes));
    Ok(())
}

/// A snapshot's fate in one line.
fn told(one: &Value) -> String {
    let reasons = one["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let fate = if one["keep"] == true { "stays" } else { "goes " };
    format!("{fate}  {}", reasons.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fate_has_its_reasons() {
        assert_eq!(
            told(&json!({"keep": true, "reasons": ["locked", "the newest"]})),
            "stays  locked, the newest"
        );
        assert_eq!(told(&json!({"keep": false, "reasons": []})), "goes   ");
    }
}
