//! `coffre snapshots [DATASET]`.

use super::{Outcome, Said, knock, show};
use crate::clock;
use crate::state::StateDir;
use crate::views::SnapshotView;
use coffre_core::names::DatasetRef;
use coffre_core::wire::{Reply, Request, SnapshotInfo};
use serde_json::json;

/// Snapshots in order of receipt, of one data set or of all.
pub fn run(state: &StateDir, dataset: Option<DatasetRef>) -> Outcome<Said> {
    match knock::ask(state, &Request::Snapshots { dataset })? {
        Reply::Snapshots { snapshots } => {
            let views: Vec<SnapshotView<'_>> = snapshots.iter().map(Into::into).collect();
            Ok(Said { human: table(&snapshots), json: json!({ "snapshots": views }) })
        }
        other => Err(knock::unexpected(&other)),
    }
}

fn table(snapshots: &[SnapshotInfo]) -> String {
    if snapshots.is_empty() {
        return "No snapshots yet.".to_owned();
    }
    let rows: Vec<[String; 8]> = snapshots
        .iter()
        .map(|snapshot| {
            [
                snapshot.dataset.to_string(),
                snapshot.id.to_string(),
                clock::local(snapshot.received_ms),
                show::bytes(snapshot.size),
                show::bytes(snapshot.stored_bytes),
                snapshot.class.to_string(),
                clock::local(snapshot.locked_until_ms),
                complete(snapshot),
            ]
        })
        .collect();
    show::table(["DATA SET", "ID", "RECEIVED", "SIZE", "NEW", "LOCK", "LOCKED UNTIL", "COMPLETE"], &rows)
}

/// Whether it is complete, and why not.
fn complete(snapshot: &SnapshotInfo) -> String {
    let Some(checked) = snapshot.checked else { return String::new() };
    match (checked.complete(), checked.why()) {
        (Some(true), _) => "yes".into(),
        (Some(false), why) => format!("NO: {}", why.unwrap_or_default()),
        (None, why) => format!("? {}", why.unwrap_or_default()),
    }
}
