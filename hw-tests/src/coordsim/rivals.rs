//! A second owner: another machine takes the same disks while the first one runs, and no lock reaches it.
//!
//! The box that runs becomes the *elder*: it lives on with the lanes that it has, goes on appending, and hears nothing of what comes.
//! A new box comes up from what the disks show at that instant, and both write, one act of a disk at a time, in any order. What is
//! promised (R10): what either of them acknowledged is in every history that is gone on from, and the elder acknowledges
//! nothing after a disk that it needs was promised to somebody else.
//!
//! An act of a disk and the look at its label are one step here. On real hardware they are three (look, write, look): decision
//! 0071 says what remains of the moment between the first two.

use super::World;
use super::disk::{Given, ModelDisk};
use coffre_core::coord::{Act, Coordinator, Placed};
use coffre_core::flaw::Flaw;
use coffre_core::ids::DiskNo;
use coffre_core::record::{self, Kind};
use std::collections::VecDeque;

/// What an owner knows of each disk's label: the promise and the mark of whoever made it.
pub(super) type Known = Vec<(u64, u64)>;

/// The older owner.
pub(super) struct Elder {
    coord: Coordinator,
    /// Its mark, and what it knows of the labels.
    mark: u64,
    known: Known,
    /// Per place: its number in the elder's roster, and what it was given.
    lanes: Vec<(Option<DiskNo>, VecDeque<Given>)>,
    /// What it read of journals before its promises.
    surveyed: Vec<Option<Vec<Placed>>>,
    /// Up to where its acknowledgements were noted.
    noted: u64,
}

impl ModelDisk {
    /// Whether somebody else has promised since.
    fn passed(&self, known: (u64, u64)) -> bool {
        self.promised > known.0 || self.promised == known.0 && self.owner != known.1
    }
}

impl World {
    /// What all labels show now.
    pub(super) fn labels_shown(&self) -> Known {
        self.disks.iter().map(|d| (d.promised, d.owner)).collect()
    }

    /// Before an act of this box on the disk at `place`: `false` when the label shows another owner, or, at the first promise, when
    /// the journal is not the one that was read.
    pub(super) fn may_act(&mut self, place: usize, given: &Given) -> bool {
        if !self.case.rivals {
            return true;
        }
        let look_again = !self.case.flaws.has(Flaw::NeverLookAgain);
        if look_again && self.disks[place].passed(self.known[place]) {
            if let Some(coord) = self.box_.as_mut() {
                coord.taken_over();
            }
            return false;
        }
        if let Act::Promise { epoch, .. } = given.act {
            self.disks[place].owner = self.mark;
            let epoch = epoch.max(self.disks[place].promised);
            self.known[place] = (epoch, self.mark);
            let read: Option<Vec<Placed>> = self.surveyed[place].take();
            let grew = read.is_some_and(|read| read != self.disks[place].records);
            if grew && !self.case.flaws.has(Flaw::TakeUnread) {
                // The promise stands; what was read does not.
                self.disks[place].promised = epoch;
                self.disks[place].attached = false;
                return false;
            }
        }
        true
    }

    /// Another machine comes: the box that runs goes on as the elder, and the next step boots a new one.
    pub(super) fn rival_comes(&mut self) {
        if self.elder.is_some() {
            return;
        }
        let Some(coord) = self.box_.take() else { return };
        let lanes =
            (0..self.disks.len()).map(|p| (self.number(p), std::mem::take(&mut self.disks[p].pending)));
        let lanes = lanes.collect();
        let noted = self.noted;
        let known = std::mem::take(&mut self.known);
        let surveyed = std::mem::take(&mut self.surveyed);
        self.elder = Some(Elder { coord, mark: self.mark, known, lanes, surveyed, noted });
        for d in &mut self.disks {
            d.seen_from_elsewhere();
        }
        self.saving = None;
        self.checkpoint = None;
        self.out.rivals += 1;
        self.trace(8, 0);
    }

    /// The elder does something, without knowing of anybody else.
    pub(super) fn elder_step(&mut self) -> Result<(), String> {
        let Some(mut elder) = self.elder.take() else { return Ok(()) };
        if let Some(header) = elder.coord.facts_header()
            && self.rng.chance(1, 3)
        {
            elder.coord.append(record::encode(header, &[0; 16]).0);
        }
        self.pump_elder(&mut elder);
        let place = self.rng.index(self.disks.len());
        self.complete_elder(&mut elder, place);
        self.pump_elder(&mut elder);
        elder.noted = self.ledger.note_owner(&elder.coord, elder.noted)?;
        if elder.coord.is_taken() {
            self.out.fenced += 1;
        } else {
            self.elder = Some(elder);
        }
        Ok(())
    }

    fn complete_elder(&mut self, elder: &mut Elder, place: usize) {
        let Some((Some(no), lane)) = elder.lanes.get_mut(place) else { return };
        let no = *no;
        let Some(given) = lane.pop_front() else { return };
        let d = &mut self.disks[place];
        if d.dead {
            return elder.coord.lost(no);
        }
        if d.passed(elder.known[place]) && !self.case.flaws.has(Flaw::NeverLookAgain) {
            return elder.coord.taken_over();
        }
        if let Act::Promise { epoch, .. } = given.act {
            let epoch = epoch.max(d.promised);
            d.owner = elder.mark;
            elder.known[place] = (epoch, elder.mark);
            let read = elder.surveyed[place].take();
            if read.is_some_and(|read| read != d.records) && !self.case.flaws.has(Flaw::TakeUnread) {
                d.promised = epoch;
                return elder.coord.promised(no, epoch, false);
            }
        }
        d.carry_out(&given);
        match given.act {
            Act::Promise { epoch, .. } => elder.coord.promised(no, epoch, true),
            Act::Mark { version, .. } => elder.coord.marked(no, version, true),
            Act::Prepare { .. } => elder.coord.prepared(no, true),
            Act::Write { to, .. } => elder.coord.wrote(no, to, true),
            _ => {}
        }
    }

    fn pump_elder(&mut self, elder: &mut Elder) {
        for _ in 0..20 {
            let acts = elder.coord.poll();
            if acts.is_empty() {
                return;
            }
            for act in acts {
                if let Act::Mount { epoch, active, witnessed } = act {
                    let mut salt = [0; 16];
                    self.rng.fill(&mut salt);
                    let header = elder.coord.next_header(Kind::Mount { active, witnessed }, epoch, salt);
                    elder.coord.append(record::encode(header, b"").0);
                    continue;
                }
                let (disk, records) = match &act {
                    Act::Write { disk, from, to } => {
                        (*disk, (*from..=*to).filter_map(|s| elder.coord.placed(s)).collect())
                    }
                    Act::Prepare { disk, holes, .. } => {
                        (*disk, holes.iter().filter_map(|s| elder.coord.placed(*s)).collect())
                    }
                    Act::Promise { disk, .. } => (*disk, Vec::new()),
                    // Rosters do not change here, and there is no witness.
                    _ => continue,
                };
                if let Some((_, lane)) = elder.lanes.iter_mut().find(|(no, _)| *no == Some(disk)) {
                    lane.push_back(Given { act, records, roster: None });
                }
            }
        }
    }
}

impl World {
    /// What a boot reads of the disks it takes, before it promises anything.
    pub(super) fn read_as_owner(&mut self, seats: &[usize]) {
        self.mark += 1;
        self.known = self.labels_shown();
        let read = |p: usize| seats.contains(&p).then(|| self.disks[p].records.clone());
        self.surveyed = (0..self.disks.len()).map(read).collect();
    }

    /// A box that another one has passed, or that could not begin, is started again by somebody, some time.
    pub(super) fn give_up_taken(&mut self) {
        if self.box_.as_ref().is_some_and(|c| c.is_taken() || c.never_mounted()) {
            self.box_ = None;
            self.checkpoint = None;
            for d in &mut self.disks {
                d.pending.clear();
                d.seen_from_elsewhere();
            }
        }
    }

    /// What was under way when the box went down and would not have been let through.
    pub(super) fn drop_passed(&mut self) {
        for (d, known) in self.disks.iter_mut().zip(&self.known) {
            if d.passed(*known) {
                d.pending.clear();
            }
        }
    }

    /// Takes in what this box acknowledged.
    pub(super) fn note_own(&mut self) -> Result<(), String> {
        if let Some(coord) = self.box_.as_ref() {
            let before = self.noted;
            self.noted = self.ledger.note_owner(coord, before)?;
            self.out.acked += self.noted - before;
        }
        Ok(())
    }
}
