//! The audit log of the doors: one line for each attempt to write or to delete, with who, what, the request's id and what came of it.
//!
//! It is written when the outcome is known, where it is known: what was kept is told by the thread that kept it, even if the
//! client is gone by then. No line has a secret in it, or a header as it came.

use super::http::Visit;
use super::upload;
use coffre_core::fault::{Class, Fault};
use coffre_core::wire::ReceiptFacts;
use coffre_vault::Vault;

/// An attempt to change something. Dropped without an outcome, it says that the client left before there was one: what was begun may
/// have been done all the same.
#[derive(Debug)]
pub struct Attempt {
    visit: Visit,
    verb: &'static str,
    /// The data set, or the repository with the kind and the name of the file.
    what: String,
    /// Where it is told when a backup is refused.
    vault: Option<Vault>,
    told: bool,
}

impl Attempt {
    /// `verb` is the method.
    pub fn new(visit: &Visit, verb: &'static str, what: String) -> Self {
        Self { visit: visit.clone(), verb, what, vault: None, told: false }
    }

    /// The same of a backup that should arrive: when it is refused, its client is remembered for a day.
    pub fn of_backup(vault: &Vault, visit: &Visit, verb: &'static str, what: String) -> Self {
        let mut attempt = Self::new(visit, verb, what);
        attempt.vault = Some(vault.clone());
        attempt
    }

    /// Something new is kept, and safe.
    pub fn kept(mut self, message: &'static str, facts: &ReceiptFacts) {
        self.told = true;
        let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &self;
        let (kept, tolerates) = (&facts.snapshot, facts.tolerates);
        let finding = kept.checked.map_or("not checked", |checked| checked.finding.key());
        tracing::info!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome = "kept", id = %kept.id,
            size = kept.size, stored_bytes = kept.stored_bytes, tolerates, hash = %kept.hash, finding, "{message}");
    }

    /// It was done, or nothing had to be.
    pub fn done(mut self, message: &'static str) {
        self.told = true;
        let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &self;
        tracing::info!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome = "done", "{message}");
    }

    /// What changed nothing may be tried without end: of such lines a client has a ration.
    fn may_tell(&self) -> bool {
        self.visit.log.of_client(&self.visit.client, self.visit.watch.ms())
    }

    /// It was not done, and this is why.
    pub fn failed(mut self, fault: &Fault) {
        self.told = true;
        self.remember(fault);
        let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &self;
        let outcome = match fault.class {
            Class::Refused => "refused",
            Class::Full => "full",
            Class::Misuse => "misuse",
            Class::Absent => "absent",
            Class::Transient | Class::Unseen => "not now",
            Class::Permanent | Class::Corrupt => "failed",
            Class::Unknown => "unknown",
        };
        if !self.may_tell() {
            return;
        }
        let message = fault.class.leaves();
        tracing::warn!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome, %fault, "{message}");
    }
}

impl Attempt {
    /// What its client cannot mend by sending it once more counts. A box that is read-only says so itself, by its light.
    fn remember(&self, fault: &Fault) {
        let counts = match fault.class {
            Class::Full | Class::Permanent | Class::Corrupt => true,
            Class::Misuse => !upload::was_cut_off(fault),
            Class::Absent | Class::Refused | Class::Transient | Class::Unseen | Class::Unknown => false,
        };
        let Some(vault) = self.vault.as_ref().filter(|_| counts) else { return };
        if vault.note_refusal(&self.visit.client, fault) {
            let vault = vault.clone();
            tokio::task::spawn_blocking(move || vault.write_refusals());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.told && self.may_tell() {
            let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &*self;
            tracing::warn!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome = "given up",
                "the client left before there was an answer: it is not known whether this was done");
        }
    }
}
