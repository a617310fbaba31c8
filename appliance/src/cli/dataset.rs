//! `coffre dataset set | list | show`.

use super::{Outcome, Said, ask, knock, show};
use crate::clock;
use crate::state::StateDir;
use coffre_core::class::LockClass;
use coffre_core::fault::Fault;
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::names::DatasetRef;
use coffre_core::wire::{DatasetInfo, JudgedInfo, Reply, Request};
use serde_json::{Value, json};

/// From here on a lock is worth a second thought: a year, by whichever count.
const LONG: LockClass = LockClass(365 * 86_400);

/// Asks before a lock of a year or more: nobody can shorten it, and what it holds fills the disks until then.
pub fn confirm(dataset: &DatasetRef, class: Option<LockClass>, yes: bool) -> Outcome<()> {
    let Some(class) = class.filter(|class| *class >= LONG) else { return Ok(()) };
    let what = format!(
        "what arrives in {dataset} from now on is locked for {class}, and nobody can shorten that, the owner of the box included"
    );
    Ok(ask::confirm(&what, yes)?)
}

/// Says how a data set is kept from now on.
pub fn set(
    state: &StateDir,
    dataset: DatasetRef,
    class: Option<LockClass>,
    keep: Option<KeepRules>,
    kind: Option<Kind>,
) -> Outcome<Said> {
    if class.is_none() && keep.is_none() && kind.is_none() {
        return Err(Fault::misuse("nothing was said about the data set")
            .next("give --class, --keep, --kind or several of them")
            .into());
    }
    let set = datasets(state, &Request::DatasetSet { dataset, class, keep, kind })?;
    let Some(info) = set.first() else { return Err(Fault::permanent("the daemon gave no answer").into()) };
    let mut human = format!(
        "{}: what arrives from now on is locked for {}; after that {}.\nWhat is there already keeps the lock it has.",
        info.dataset,
        info.class,
        after(&info.keep)
    );
    if kind.is_some() {
        human.push_str(&format!("\n{}", what(info)));
    }
    if class.is_some_and(|class| class >= LONG) {
        human.push_str("\nA lock cannot be shortened by anybody, the owner of the box included.");
    }
    Ok(Said { human, json: view(info) })
}

/// How data sets are kept.
pub fn list(state: &StateDir) -> Outcome<Said> {
    let all = datasets(state, &Request::DatasetList)?;
    let json = json!({ "datasets": all.iter().map(view).collect::<Vec<Value>>() });
    if all.is_empty() {
        return Ok(Said { human: "No data sets yet.".into(), json });
    }
    let row = |info: &DatasetInfo| {
        [
            info.dataset.to_string(),
            info.class.to_string(),
            info.keep.to_string(),
            info.kind.map_or_else(|| "?".into(), |kind| kind.to_string()),
            info.snapshots.to_string(),
            info.incomplete.to_string(),
            info.locked.to_string(),
            show::bytes(info.logical_bytes),
            info.newest_ms.map_or_else(String::new, clock::local),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let head =
        ["DATA SET", "LOCK", "THEN KEEP", "KIND", "SNAPSHOTS", "INCOMPLETE", "LOCKED", "SIZE", "NEWEST"];
    Ok(Said { human: show::table(head, &rows), json })
}

/// One data set, and why each of its snapshots stays or goes.
pub fn show(state: &StateDir, dataset: &DatasetRef) -> Outcome<Said> {
    let all = datasets(state, &Request::DatasetList)?;
    let Some(info) = all.iter().find(|info| info.dataset == *dataset) else {
        return Err(Fault::absent(format!("there is no data set {dataset}"))
            .next("see `coffre dataset list`")
            .into());
    };
    let plan = super::forget::ask(state)?;
    let judged: Vec<&JudgedInfo> = plan.snapshots.iter().filter(|j| j.dataset == *dataset).collect();
    let mut human = format!(
        "{dataset}: locked for {}, after that {}\n{}\n\n{}",
        info.class,
        after(&info.keep),
        what(info),
        super::forget::table(&judged)
    );
    if let Some(lag) = super::forget::lag(plan.retention_ms) {
        human.push_str(&format!("\n\n{lag}"));
    }
    let mut json = view(info);
    json["judged"] = judged.iter().map(|j| super::forget::view(j)).collect();
    Ok(Said { human, json })
}

fn after(keep: &KeepRules) -> String {
    match *keep == KeepRules::default() {
        true => "only the newest one is kept".into(),
        false => format!("the newest one and {keep} are kept"),
    }
}

/// What its snapshots are, in words.
fn what(info: &DatasetInfo) -> String {
    match (info.kind, info.kind_said) {
        (None, _) => {
            "Of which kind it is nobody said and nothing showed: what arrives is not checked.".into()
        }
        (Some(Kind::File), _) => "Its snapshots are files of any kind: what arrives is not checked.".into(),
        (Some(kind), true) => format!("What arrives is checked as {kind}, as was said."),
        (Some(kind), false) => format!("What arrives is checked as {kind}, which the last complete one was."),
    }
}

fn datasets(state: &StateDir, request: &Request) -> Outcome<Vec<DatasetInfo>> {
    match knock::ask(state, request)? {
        Reply::Datasets { datasets } => Ok(datasets),
        other => Err(knock::unexpected(&other)),
    }
}

fn view(info: &DatasetInfo) -> Value {
    json!({
        "dataset": info.dataset, "class_seconds": info.class, "keep": info.keep,
        "set_at": info.set_ms.map(clock::utc), "snapshots_count": info.snapshots, "locked_count": info.locked,
        "logical_bytes": info.logical_bytes, "newest_at": info.newest_ms.map(clock::utc),
        "kind": info.kind, "kind_said": info.kind_said, "incomplete_count": info.incomplete,
        "newest_complete_at": info.newest_complete_ms.map(clock::utc),
    })
}
