//! `coffre certificate`: what clients pin. Works without the daemon too: the certificate is public and kept as a file.

use super::{NO_DAEMON, Outcome, Said, knock};
use crate::identity;
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Reply, Request};
use serde_json::json;
use std::fs;

/// The authority's certificate as PEM, its SHA-256 fingerprint, and the receipts' key (known to the daemon only).
pub fn run(state: &StateDir) -> Outcome<Said> {
    let (pem, fingerprint, receipt_key) = match knock::ask(state, &Request::Certificate) {
        Ok(Reply::Certificate(info)) => (info.pem, info.fingerprint, Some(info.receipt_key)),
        Ok(other) => return Err(knock::unexpected(&other)),
        Err(failure) if failure.code == NO_DAEMON => {
            let (pem, fingerprint) = kept(state)?;
            (pem, fingerprint, None)
        }
        Err(failure) => return Err(failure),
    };
    // What stands outside the PEM block is ignored by whoever reads it, so this can be piped into a file as it is.
    let human = format!("{pem}SHA-256 fingerprint: {fingerprint}");
    Ok(Said { human, json: json!({ "pem": pem, "fingerprint": fingerprint, "receipt_key": receipt_key }) })
}

fn kept(state: &StateDir) -> coffre_core::fault::Result<(String, String)> {
    let path = state.authority_pem();
    let pem = fs::read_to_string(&path).map_err(|e| {
        Fault::absent(format!("no daemon answers, and {}: {e}", path.display())).next("start the daemon")
    })?;
    let der = identity::der_of_pem(&pem).ok_or_else(|| {
        Fault::corrupt(format!("{} is no certificate", path.display())).next("start the daemon")
    })?;
    Ok((identity::pem(&der), identity::fingerprint(&der)))
}
