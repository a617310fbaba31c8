//! What those hear who wait when too few disks are left: "no" for what was not written, and "nobody knows" for what was.

use super::{Effect, Engine, Ticket};
use coffre_core::fault::Fault;
use coffre_core::flaw::Flaw;

impl Engine {
    /// Whether acknowledgements flow and everything that was written before is acknowledged.
    pub fn settled(&self) -> bool {
        self.coord.writable().is_ok() && self.unacked.is_empty()
    }

    /// Read-only: what waits cannot be acknowledged now. What is in no record yet never will be, and is refused. What is in
    /// one becomes true when the disks that have it come back, or never: nobody knows, and nobody is told "no".
    pub(super) fn fail_waiting(&mut self) {
        let Err(fault) = self.writable() else { return };
        let mut refused: Vec<Ticket> = Vec::new();
        refused.extend(std::mem::take(&mut self.waiting).into_iter().filter_map(|c| c.ticket));
        // Facts of packs that are durable stay in the queue: later commits may rest on those packs.
        refused.extend(self.queue.iter().filter_map(|c| c.ticket));
        self.queue.retain(|c| c.ticket.is_none());
        let written = std::mem::take(&mut self.answers).into_values().flatten().map(|(ticket, _)| ticket);
        let unknown = match self.flaw(Flaw::UnknownIsNo) {
            true => fault.clone(),
            false => unconfirmed(&fault.what),
        };
        let answers = refused.into_iter().map(|ticket| (ticket, fault.clone()));
        for (ticket, fault) in answers.chain(written.map(|ticket| (ticket, unknown.clone()))) {
            self.effects.push_back(Effect::Answer(ticket, Err(fault)));
        }
    }
}

/// It was handed to the disks, and nobody saw enough of them confirm it.
pub(crate) fn unconfirmed(why: &str) -> Fault {
    Fault::unknown(format!("the disks had it and did not confirm it ({why})"))
        .next("put the disks back, then look whether it is there")
}
