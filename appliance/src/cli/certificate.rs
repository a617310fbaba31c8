//! `coffre certificate`: what clients pin. Works without the daemon too: the certificate is public and kept as a file.

use super::{NO_DAEMON, Outcome, Said, knock};
use crate::identity;
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Reply, Request};
use coffre_core::words::naming_words;
use serde_json::json;
use std::fs;

/// The authority's certificate as PEM, its SHA-256 fingerprint, the four words that name it, and the receipts' key (known to the daemon only).
pub fn run(state: &StateDir) -> Outcome<Said> {
    let (pem, fingerprint, words, receipt_key) = match knock::ask(state, &Request::Certificate) {
        Ok(Reply::Certificate(info)) => (info.pem, info.fingerprint, info.words, Some(info.receipt_key)),
        Ok(other) => return Err(knock::unexpected(&other)),
        Err(failure) if failure.code == NO_DAEMON => {
            let (pem, fingerprint, words) = kept(state)?;
            (pem, fingerprint, words, None)
        }
        Err(failure) => return Err(failure),
    };
    // What stands outside the PEM block is ignored by whoever reads it, so this can be piped into a file as it is.
    let human = format!("{pem}SHA-256 fingerprint: {fingerprint}\nIn four words: {}", words.join(" "));
    let json = json!({ "pem": pem, "fingerprint": fingerprint, "words": words, "receipt_key": receipt_key });
    Ok(Said { human, json })
}

fn kept(state: &StateDir) -> coffre_core::fault::Result<(String, String, Vec<String>)> {
    let path = state.authority_pem();
    let pem = fs::read_to_string(&path).map_err(|e| {
        Fault::absent(format!("no daemon answers, and {}: {e}", path.display())).next("start the daemon")
    })?;
    let der = identity::der_of_pem(&pem).ok_or_else(|| {
        Fault::corrupt(format!("{} is no certificate", path.display())).next("start the daemon")
    })?;
    Ok((identity::pem(&der), identity::fingerprint(&der), naming_words(&der).to_vec()))
}
