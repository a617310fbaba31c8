//! The mounted coordinator: keeps the disks in step, begins epochs, says what is acknowledged.
//!
//! The owner feeds it completions and asks [`Coordinator::poll`] what to do next; it never waits. A mount and a
//! change of the disks in use are the same walk through [`Phase`]: promise the epoch on every disk concerned, tell the
//! witness that it opens, append the Mount record, see it durable, tell the witness that it is confirmed, run.
//! `journal` has the chain, `epochs` that walk, `known` what can be asked.

use super::held::Held;
use super::{Adopted, Anchor, Placed, Plan, Spot, Stalled, Verdict, View};
use crate::diskset::DiskSet;
use crate::flaw::{Flaw, Flaws};
use crate::geometry::MAX_DISKS;
use crate::ids::{DiskNo, VaultId};
use crate::witness::Witness;
use std::collections::VecDeque;

/// What a coordinator is made for.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The vault.
    pub vault: VaultId,
    /// Disks in the roster.
    pub n: usize,
    /// Disks that may be lost.
    pub m: usize,
    /// Length of a journal segment in bytes.
    pub segment_len: u32,
    /// Version of the roster that holds.
    pub version: u64,
    /// Disks and parities from the moment a disk that is being added has joined; `None` when none is.
    pub wider: Option<(usize, usize)>,
    /// Rules to break; [`Flaws::NONE`] outside the rig.
    pub flaws: Flaws,
}

/// Something the owner must do. It answers each with the method named, and gives each disk one at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Write `epoch` into the disk's label, durably → [`Coordinator::promised`].
    Promise {
        /// The disk.
        disk: DiskNo,
        /// The epoch.
        epoch: u64,
    },
    /// Write the label with the roster under `version`, durably → [`Coordinator::marked`].
    Mark {
        /// The disk.
        disk: DiskNo,
        /// The version.
        version: u64,
        /// For a newcomer that joins: the record from which on the journal speaks of it.
        since: Option<u64>,
    },
    /// Make the disk's journal one without holes that ends at `keep`: write the checkpoint `base`, when there is one, and
    /// the records `holes` at their places; when all of that is durable, put aside everything from `keep` on →
    /// [`Coordinator::prepared`].
    Prepare {
        /// The disk.
        disk: DiskNo,
        /// Where what it keeps ends.
        keep: Spot,
        /// The checkpoint it lacks.
        base: Option<Anchor>,
        /// The records before `keep` that it lacks, oldest first.
        holes: Vec<u64>,
        /// The newest record that the history says it once confirmed: what it lacks up to here was lost.
        claimed: u64,
    },
    /// Write the records `from..=to` and sync → [`Coordinator::wrote`].
    Write {
        /// The disk.
        disk: DiskNo,
        /// First record.
        from: u64,
        /// Last record.
        to: u64,
    },
    /// Save the witness, durably → [`Coordinator::witness_saved`].
    SaveWitness(Witness),
    /// Draw a Mount record with a fresh salt and hand it to [`Coordinator::append`] at once.
    Mount {
        /// The epoch.
        epoch: u64,
        /// Disks in use.
        active: DiskSet,
        /// Whether it rests on the witness.
        witnessed: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Not writable.
    Stalled(Stalled),
    /// An epoch is being promised on `active`.
    Promising { epoch: u64, active: DiskSet, witnessed: bool },
    /// The witness is being told that the epoch opens.
    Opening { epoch: u64, active: DiskSet, witnessed: bool },
    /// The Mount record is on its way.
    Mounting,
    /// The witness is being told that the epoch is confirmed.
    Confirming,
    /// Acknowledging.
    Running,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    Away,
    /// Must be prepared before it is written.
    Back,
    /// Being prepared.
    Preparing,
    /// Journal is written to it.
    InUse,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct DiskState {
    pub(super) presence: Presence,
    pub(super) promised: u64,
    pub(super) promising: bool,
    /// Promised in this mount, with its mark: an equal promise that the disk shows may be somebody else's (R10).
    pub(super) ours: bool,
    /// Newest record known durable on it in this attachment, once prepared.
    pub(super) synced: u64,
    /// Newest record it showed after a power cut or confirmed since; not those in its holes.
    pub(super) confirmed: u64,
    pub(super) writing: bool,
    /// Version of the roster in its label.
    pub(super) version: u64,
    pub(super) marking: bool,
}

/// The running half of the coordinator. See the module.
#[derive(Clone, Debug)]
pub struct Coordinator {
    pub(super) setup: Setup,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    /// Number of this epoch's Mount record.
    pub(super) mount: u64,
    pub(super) salt: [u8; 16],
    pub(super) active: DiskSet,
    pub(super) witnessed: bool,
    pub(super) base: Anchor,
    pub(super) chain: VecDeque<Placed>,
    pub(super) disks: [DiskState; MAX_DISKS],
    /// What each held when it came. What it then lacked is not known to be durable before it is prepared.
    pub(super) held: [Held; MAX_DISKS],
    pub(super) acked: u64,
    pub(super) witness: Option<Witness>,
    pub(super) witness_current: bool,
    pub(super) witness_busy: bool,
    pub(super) roster: super::roster::State,
    /// Somebody else has promised a newer epoch (R10).
    pub(super) taken: bool,
}

impl Coordinator {
    /// Begins from a mount plan. `witness` is the one the plan was made with; `None` when there is no place to keep one.
    pub fn new(setup: Setup, plan: &Plan, views: &[Option<View>], witness: Option<Witness>) -> Self {
        let Adopted { base, chain, have, .. } = &plan.adopted;
        let away = DiskState {
            presence: Presence::Away,
            promised: 0,
            promising: false,
            ours: false,
            synced: 0,
            confirmed: 0,
            writing: false,
            version: setup.version,
            marking: false,
        };
        let mut disks = [away; MAX_DISKS];
        for (i, view) in views.iter().enumerate().take(setup.n) {
            if let Some(view) = view {
                disks[i] = DiskState {
                    presence: Presence::Back,
                    promised: view.promised,
                    version: view.version,
                    confirmed: have[i].upto.seq,
                    ..away
                };
            }
        }
        let head = plan.adopted.head();
        let mut this = Self {
            setup,
            phase: Phase::Running,
            epoch: head.epoch,
            mount: 0,
            salt: [0; 16],
            active: DiskSet::EMPTY,
            witnessed: false,
            base: *base,
            chain: chain.iter().copied().collect(),
            disks,
            held: have.clone(),
            acked: 0,
            witness,
            witness_current: plan.witness_current,
            witness_busy: false,
            roster: super::roster::State::new(
                setup.version,
                setup.wider,
                views.iter().flatten().map(|v| v.version),
            ),
            taken: false,
        };
        this.phase = match plan.verdict {
            Verdict::ReadOnly(reason) => Phase::Stalled(reason),
            Verdict::ReadWrite { epoch } => {
                let active = this.present();
                let witnessed = this.needs_witness(active);
                Phase::Promising { epoch, active, witnessed }
            }
        };
        this
    }

    /// What to do next. Each act is returned once; completions make room for more.
    pub fn poll(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.taken {
            return acts;
        }
        self.tend();
        self.step_phase(&mut acts);
        if !matches!(self.phase, Phase::Stalled(_)) || self.mount > 0 {
            self.drive_disks(&mut acts);
            self.drive_roster(&mut acts);
        }
        acts
    }

    /// A disk shows that somebody else has promised a newer epoch (R10): nothing is acknowledged any more, and nothing begun, until a
    /// person has decided who goes on. Only a new start mounts again.
    pub fn taken_over(&mut self) {
        self.taken = true;
        self.phase = Phase::Stalled(Stalled::Taken);
    }

    /// Whether somebody else has taken the disks over.
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// A promise was written (`ok`) or failed; a failure loses the disk.
    pub fn promised(&mut self, disk: DiskNo, epoch: u64, ok: bool) {
        let d = &mut self.disks[disk.ix()];
        d.promising = false;
        if ok {
            d.promised = d.promised.max(epoch);
            d.ours = true;
        } else {
            self.lost(disk);
        }
    }

    /// A disk was prepared (`ok`) or failed.
    pub fn prepared(&mut self, disk: DiskNo, ok: bool) {
        let d = &mut self.disks[disk.ix()];
        if d.presence != Presence::Preparing {
            return;
        }
        if !ok {
            return self.lost(disk);
        }
        d.presence = Presence::InUse;
        let held = &mut self.held[disk.ix()];
        held.needs_base = false;
        held.holes.clear();
        d.synced = held.upto.seq;
        d.confirmed = d.synced;
    }

    /// Records up to `to` were written and synced (`ok`), or the disk failed.
    pub fn wrote(&mut self, disk: DiskNo, to: u64, ok: bool) {
        let d = &mut self.disks[disk.ix()];
        if d.presence != Presence::InUse || !d.writing {
            return;
        }
        d.writing = false;
        if ok {
            d.synced = d.synced.max(to);
            d.confirmed = d.synced;
            self.settle();
        } else {
            self.lost(disk);
        }
    }

    /// The witness was saved (`ok`); a failure means the plain rules from now on.
    pub fn witness_saved(&mut self, saved: Witness, ok: bool) {
        self.witness_busy = false;
        if ok {
            self.witness = Some(saved);
        } else {
            self.witness = None;
            self.witness_current = false;
        }
    }

    /// A disk failed, hung or vanished: it stops counting (R6).
    pub fn lost(&mut self, disk: DiskNo) {
        let d = &mut self.disks[disk.ix()];
        if d.presence == Presence::Away {
            return;
        }
        d.presence = Presence::Away;
        d.promising = false;
        d.writing = false;
        d.marking = false;
        self.left(disk);
        self.reconsider();
    }

    /// A disk came back and shows `view`. `Err` when it has been mounted by someone else meanwhile. `trusted` is false
    /// when something failed on it: what it shows may then stand in a cache only, and no more of it is believed than
    /// it once confirmed.
    pub fn back(&mut self, disk: DiskNo, view: &View, trusted: bool) -> Result<(), Stalled> {
        if self.roster.leaving == Some(disk) {
            return Err(Stalled::Left);
        }
        let newer =
            view.records.iter().map(|r| r.meta.header.epoch).chain(view.anchors.iter().map(|a| a.epoch));
        if newer.max().unwrap_or(0) > self.epoch {
            return Err(Stalled::Fork);
        }
        if self.disks[disk.ix()].presence != Presence::Away {
            return Ok(());
        }
        if self.contradicted_by(view) && !self.setup.flaws.has(Flaw::NewestMountHolds) {
            return Err(Stalled::Fork);
        }
        let mut held = Held::new(disk, view, self.base, self.chain.iter(), self.setup.flaws);
        if !trusted {
            self.doubt(disk, &mut held);
        }
        if view.version == crate::roster::NEWCOMER {
            // What the history claims of this number was said of another disk.
            held.claimed = 0;
        }
        let d = &mut self.disks[disk.ix()];
        d.presence = Presence::Back;
        d.promised = if trusted { view.promised } else { 0 };
        d.ours = false;
        d.synced = 0;
        d.confirmed = held.upto.seq;
        self.held[disk.ix()] = held;
        self.came(disk, view.version);
        let d = &mut self.disks[disk.ix()];
        if self.setup.flaws.has(Flaw::TrustReturned) {
            d.presence = Presence::InUse;
            d.synced = view.records.last().map_or(0, |r| r.meta.header.seq);
        }
        Ok(())
    }

    /// Of what a disk shows after something failed on it, only what it confirmed before is believed: neither a later end nor
    /// that its holes were mended.
    fn doubt(&self, disk: DiskNo, held: &mut Held) {
        let (confirmed, before) = (self.disks[disk.ix()].confirmed, &self.held[disk.ix()]);
        if held.upto.seq > confirmed {
            held.upto = self.point(confirmed).unwrap_or(self.base);
            held.needs_base |= confirmed < self.base.seq;
        }
        held.needs_base |= before.needs_base || before.holes.iter().any(|seq| *seq <= self.base.seq);
        held.holes.extend(&before.holes);
        held.holes.retain(|seq| self.base.seq < *seq && *seq <= held.upto.seq);
        held.holes.sort_unstable();
        held.holes.dedup();
    }

    pub(super) fn drive_disks(&mut self, acts: &mut Vec<Act>) {
        // Nothing of the new epoch may exist before it is promised and the disks' tails may only be put aside by
        // someone who is allowed to write.
        if matches!(self.phase, Phase::Promising { .. } | Phase::Opening { .. }) && self.mount == 0 {
            return;
        }
        let head = self.head().seq;
        for i in 0..MAX_DISKS {
            let disk = DiskNo(i as u8);
            let d = self.disks[i];
            match d.presence {
                // R10: an older owner that has it still must see that, before anything on it is changed.
                Presence::Back if !d.ours && d.promising && !self.flaw_of_promises() => {}
                Presence::Back if !d.ours && !self.flaw_of_promises() => {
                    self.disks[i].promising = true;
                    acts.push(Act::Promise { disk, epoch: self.epoch });
                }
                Presence::Back => {
                    let held = std::mem::take(&mut self.held[i]).rebased(self.base);
                    let base = held.needs_base.then_some(self.base).filter(|base| base.seq > 0);
                    let careless = self.setup.flaws.has(Flaw::HolesCount);
                    let holes = if careless { Vec::new() } else { held.holes.clone() };
                    let (keep, claimed) = (held.upto.end, held.claimed);
                    self.held[i] = held;
                    self.disks[i].presence = Presence::Preparing;
                    acts.push(Act::Prepare { disk, keep, base, holes, claimed });
                }
                Presence::InUse if !d.writing && d.synced < head => {
                    if d.synced < self.base.seq {
                        self.disks[i].presence = Presence::Back;
                        self.held[i] = Held::nothing(self.base);
                        continue;
                    }
                    self.disks[i].writing = true;
                    acts.push(Act::Write { disk, from: d.synced + 1, to: head });
                }
                _ => {}
            }
        }
    }
}
