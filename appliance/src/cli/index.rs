//! `coffre index burn`.

use super::{Outcome, Said, knock};
use crate::state::StateDir;
use coffre_core::wire::{Reply, Request};
use serde_json::json;

/// Deletes the index; the daemon builds it again while it serves.
pub fn burn(state: &StateDir) -> Outcome<Said> {
    match knock::ask(state, &Request::IndexBurn)? {
        Reply::Done => Ok(Said {
            human: "The index is deleted and is being built again; backups and restores go on.".into(),
            json: json!({ "burnt": true }),
        }),
        other => Err(knock::unexpected(&other)),
    }
}
