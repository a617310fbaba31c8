//! New secrets of which nobody knows whether they hold: when the disks are back, the one before holds again.
//!
//! Disks that go in the middle of `client rotate` leave a record on some of them that may become true when they return. A machine
//! goes on with the secret it has; so, should the new one have come to hold, the one before is put back, and whoever wanted a new
//! one asks again. Until that is settled the light is not green. A box that is started anew in between does not know of it: the new
//! secret was shown, and `client list` says since when it holds.

use super::house::House;
use crate::core::{Core, lock};
use coffre_core::fact::{ClientFact, Fact};
use coffre_core::names::ClientName;
use std::collections::BTreeMap;

/// By client: what holds again, and the hashes of the secrets that do not.
pub(crate) type Unsure = BTreeMap<ClientName, (ClientFact, Vec<Vec<u8>>)>;

impl House {
    /// Nobody knows whether this secret took the place of that of `before`.
    pub(super) fn note_unsure(&self, before: ClientFact, hash: &[u8]) {
        let mut unsure = lock(&self.unsure);
        unsure.entry(before.name.clone()).or_insert((before, Vec::new())).1.push(hash.to_vec());
    }

    /// For the keeper: once everything that was written is confirmed or gone, secrets that nobody was sure of are void.
    pub(super) fn settle_secrets(&self, core: &Core) {
        if lock(&self.unsure).is_empty() || !core.with(|e| e.settled()) {
            return;
        }
        let _one_at_a_time = lock(&self.admin);
        // Not in the head of the loop, where the lock would be held to its end.
        let pending = lock(&self.unsure).clone();
        for (name, (before, hashes)) in pending {
            let now = core.with(|e| e.catalog().client(&name).cloned());
            let holds =
                |fact: &ClientFact| fact.secret_hash.as_ref().is_some_and(|hash| hashes.contains(hash));
            if let Some(fact) = now.filter(holds) {
                let again =
                    ClientFact { secret_hash: before.secret_hash, secret_ms: before.secret_ms, ..fact };
                if let Err(fault) = core.wait(core.submit(vec![Fact::Client(again)], Vec::new())) {
                    return tracing::warn!(client = %name, %fault, "its secret is not known yet");
                }
                tracing::info!(target: "audit", client = %name, "a new secret that nobody was sure of is void: the one before holds");
            }
            lock(&self.unsure).remove(&name);
        }
    }

    /// Whose secret is not known yet, in words.
    pub(super) fn unsure_reasons(&self) -> Vec<String> {
        let say = |name| {
            format!("it is not known yet which secret of {name} holds; it shows when the disks are in step")
        };
        lock(&self.unsure).keys().map(say).collect()
    }
}
