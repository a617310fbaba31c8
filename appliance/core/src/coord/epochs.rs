//! The coordinator's epochs: promise, tell the witness, mount, confirm; and when a new one must begin.
//!
//! Plain epochs (more than m disks) need no new epoch when a disk drops out or comes back: m + 1 copies are
//! m + 1 copies. Witnessed epochs (m disks or fewer, possible only with a current witness) acknowledge when every active
//! disk has the record, so each change of that set is a new epoch.

use super::Stalled;
use super::run::{Act, Coordinator, Phase};
use crate::diskset::DiskSet;
use crate::flaw::Flaw;
use crate::witness::{EpochNote, Witness};

impl Coordinator {
    pub(super) fn step_phase(&mut self, acts: &mut Vec<Act>) {
        if let Phase::Promising { epoch, active, witnessed } = self.phase
            && self.promise_on(epoch, active, acts)
        {
            self.phase = Phase::Opening { epoch, active, witnessed };
        }
        if let Phase::Opening { epoch, active, witnessed } = self.phase {
            self.open(EpochNote { epoch, active, witnessed }, acts);
        }
        if self.phase == Phase::Confirming {
            self.confirm(acts);
        }
    }

    /// R2: whether every disk of `active` has promised the epoch; asks those that have not.
    fn promise_on(&mut self, epoch: u64, active: DiskSet, acts: &mut Vec<Act>) -> bool {
        if self.flaw_of_promises() {
            return true;
        }
        let mut all = true;
        for disk in active.iter() {
            let d = &mut self.disks[disk.ix()];
            if d.promised < epoch {
                all = false;
                if !d.promising {
                    d.promising = true;
                    acts.push(Act::Promise { disk, epoch });
                }
            }
        }
        all
    }

    pub(super) fn flaw_of_promises(&self) -> bool {
        self.setup.flaws.has(Flaw::NoPromise) || self.setup.flaws.has(Flaw::ReuseEpoch)
    }

    /// The witness learns that the epoch opens, then its Mount record is drawn.
    fn open(&mut self, note: EpochNote, acts: &mut Vec<Act>) {
        let EpochNote { epoch, active, witnessed } = note;
        match self.witness {
            Some(w) if w.opening.epoch < epoch && !self.skip_witness() => {
                let built_on = self.built_on();
                self.save_witness(Witness { opening: note, built_on, ..w }, acts);
            }
            // Lost on the way: without a witness a witnessed epoch cannot begin.
            None if witnessed && !self.setup.flaws.has(Flaw::WriteBelow) => self.stall_for_witness(active),
            _ => acts.push(Act::Mount { epoch, active, witnessed }),
        }
    }

    /// The epoch there is, and its record up to which everything acknowledged is contained: in a mount that has not begun
    /// yet all that was adopted.
    fn built_on(&self) -> (u64, u64) {
        let contained = if self.mount == 0 { self.head().seq } else { self.acked.max(self.mount) };
        (self.epoch, contained)
    }

    /// The witness learns that the epoch's Mount record is durable, then acknowledgements begin.
    fn confirm(&mut self, acts: &mut Vec<Act>) {
        let note = EpochNote { epoch: self.epoch, active: self.active, witnessed: self.witnessed };
        match self.witness {
            Some(w) if w.confirmed.epoch < self.epoch && !self.skip_witness() => {
                self.save_witness(Witness { confirmed: note, ..w }, acts);
            }
            None if self.witnessed && !self.setup.flaws.has(Flaw::WriteBelow) => {
                self.stall_for_witness(self.active);
            }
            _ => {
                self.phase = Phase::Running;
                self.witness_current = self.witness.is_some();
                self.settle();
                self.reconsider();
            }
        }
    }

    fn stall_for_witness(&mut self, active: DiskSet) {
        self.phase = Phase::Stalled(Stalled::TooFewVisible { visible: active.len() });
    }

    pub(super) fn skip_witness(&self) -> bool {
        self.setup.flaws.has(Flaw::WitnessLate)
    }

    pub(super) fn save_witness(&mut self, w: Witness, acts: &mut Vec<Act>) {
        if !self.witness_busy {
            self.witness_busy = true;
            acts.push(Act::SaveWitness(Witness {
                generation: w.generation + 1,
                acked: self.acked.max(w.acked),
                ..w
            }));
        }
    }

    /// Asks the witness to learn the newest acknowledged record (for detection; call about once a second).
    pub fn refresh_witness(&mut self) -> Option<Witness> {
        let w = self
            .witness
            .filter(|w| self.phase == Phase::Running && !self.witness_busy && w.acked < self.acked)?;
        self.witness_busy = true;
        Some(Witness { generation: w.generation + 1, acked: self.acked, ..w })
    }

    /// The highest epoch that any disk or the witness was ever told.
    pub(super) fn told_epoch(&self) -> u64 {
        let promised = self.disks.iter().map(|d| d.promised).max().unwrap_or(0);
        let witness = self.witness.map_or(0, |w| w.opening.epoch.max(w.confirmed.epoch));
        promised.max(witness).max(self.epoch)
    }

    pub(super) fn needs_witness(&self, active: DiskSet) -> bool {
        active.len() <= self.setup.m
    }

    /// After a disk dropped out or came in: can the epoch go on, must a new one begin, or do we stop?
    pub(super) fn reconsider(&mut self) {
        if self.taken {
            return;
        }
        let (n, m) = (self.setup.n, self.setup.m);
        let present = self.present();
        match self.phase {
            Phase::Promising { epoch, active, .. } | Phase::Opening { epoch, active, .. } => {
                // The witness may have been told of the epoch with the larger set already: take the next one.
                let epoch = epoch + u64::from(matches!(self.phase, Phase::Opening { .. }));
                let active = active.and(present);
                let witnessed = self.needs_witness(active);
                self.phase = match self.allowed(active) {
                    Ok(()) => Phase::Promising { epoch, active, witnessed },
                    Err(reason) => Phase::Stalled(reason),
                };
            }
            Phase::Mounting | Phase::Confirming | Phase::Running => {
                let candidates = self.counting_or_coming();
                if self.witnessed && self.active != candidates && !self.active.minus(present).is_empty()
                    || !self.witnessed && candidates.len() <= m
                {
                    self.begin_epoch(candidates);
                }
            }
            Phase::Stalled(_) if self.mount > 0 => {
                let absent = n - present.len();
                if absent > m {
                    self.phase = Phase::Stalled(Stalled::TooManyAbsent { absent });
                }
            }
            Phase::Stalled(_) => {}
        }
    }

    pub(super) fn counting_or_coming(&self) -> DiskSet {
        match self.phase {
            Phase::Mounting => self.present(),
            _ => self.counting(),
        }
    }

    pub(super) fn allowed(&self, active: DiskSet) -> Result<(), Stalled> {
        let absent = self.setup.n - active.len();
        if self.setup.flaws.has(Flaw::WriteBelow) && !active.is_empty()
            || self.setup.flaws.has(Flaw::MountAny)
        {
            return if active.is_empty() { Err(Stalled::TooManyAbsent { absent }) } else { Ok(()) };
        }
        if absent > self.setup.m {
            return Err(Stalled::TooManyAbsent { absent });
        }
        if self.needs_witness(active)
            && !(self.witness.is_some() && self.witness_current && !active.is_empty())
        {
            return Err(Stalled::TooFewVisible { visible: active.len() });
        }
        Ok(())
    }

    pub(super) fn begin_epoch(&mut self, active: DiskSet) {
        let witnessed = self.needs_witness(active);
        if self.setup.flaws.has(Flaw::WriteBelow) && !active.is_empty() {
            return;
        }
        self.phase = match self.allowed(active) {
            Ok(()) => Phase::Promising { epoch: self.told_epoch() + 1, active, witnessed },
            Err(reason) => Phase::Stalled(reason),
        };
    }

    /// Lets disks that caught up change the epoch or end a standstill.
    pub(super) fn tend(&mut self) {
        let counting = self.counting();
        match self.phase {
            Phase::Running
                if self.witnessed && !counting.minus(self.active.minus(self.roster.joined)).is_empty() =>
            {
                self.begin_epoch(counting);
            }
            // A plain epoch goes on where it stopped; anything else begins a new one.
            Phase::Stalled(_) if self.mount > 0 && self.allowed(counting).is_ok() => {
                if !self.witnessed && counting.len() > self.setup.m {
                    self.phase = Phase::Mounting;
                    self.settle();
                } else {
                    self.begin_epoch(counting);
                }
            }
            Phase::Running if !self.witnessed && counting.len() <= self.setup.m => self.reconsider(),
            _ => {}
        }
    }
}
