//! The audit log of the doors: one line for each attempt to write or to delete, with who, what, the request's id and what came of it.
//!
//! It is written when the outcome is known, where it is known: what was kept is told by the thread that kept it, even if the
//! client is gone by then. No line has a secret in it, or a header as it came.

use super::http::Visit;
use coffre_core::fault::{Class, Fault};
use coffre_core::wire::ReceiptFacts;

/// An attempt to change something. Dropped without an outcome, it says that the client left before there was one.
#[derive(Debug)]
pub struct Attempt {
    visit: Visit,
    verb: &'static str,
    /// The data set, or the repository with the kind and the name of the file.
    what: String,
    told: bool,
}

impl Attempt {
    /// `verb` is the method.
    pub fn new(visit: &Visit, verb: &'static str, what: String) -> Self {
        Self { visit: visit.clone(), verb, what, told: false }
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
        let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &self;
        let outcome = match fault.class {
            Class::Refused => "refused",
            Class::Full => "full",
            Class::Misuse => "misuse",
            Class::Absent => "absent",
            Class::Transient => "not now",
            Class::Permanent | Class::Corrupt => "failed",
        };
        if !self.may_tell() {
            return;
        }
        tracing::warn!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome, %fault, "nothing changed");
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.told && self.may_tell() {
            let Self { visit: Visit { client, peer, request_id, .. }, verb, what, .. } = &*self;
            tracing::warn!(target: "audit", request = %request_id, %peer, %client, verb, what, outcome = "given up",
                "nothing changed");
        }
    }
}
