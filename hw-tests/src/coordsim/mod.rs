//! The coordinator in a seeded world of model disks: no bytes, only promises, records, checkpoints, and bad days.
//!
//! A disk here is a promise, a list of durable records and checkpoints, and one act under way. A power cut leaves of that
//! act anything that a real disk could leave: nothing, all, or any subset of the records it was writing. The real
//! coordinator runs, not a copy. What is checked is in `check`: nothing acknowledged is missing from a history that
//! this box goes on writing from, no two histories share an epoch, and a box with nothing wrong is never read-only.
//! Disks are also replaced and added, and those that left turn up again: that is in `rosters`; single records rot on
//! several disks in one night: that is in `nights`. A second owner takes the disks of one that runs: that is in `rivals`.

mod check;
mod disk;
mod flaws;
mod nights;
mod outcome;
mod rivals;
mod rosters;

use crate::rng::Rng;
use check::{Ledger, Seats};
use coffre_core::coord::{Act, Anchor, Coordinator, Placed, Plan, Setup, Verdict, plan};
use coffre_core::diskset::DiskSet;
use coffre_core::flaw::Flaws;
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskNo, VaultId};
use coffre_core::record::{self, Kind};
use coffre_core::roster::Roster;
use coffre_core::witness::Witness;
use disk::{Given, ModelDisk};
use rivals::{Elder, Known};

pub use flaws::{COORDINATOR_FLAWS, HOLE_FLAWS, OWNER_FLAWS, PROOF_FLAWS, ROSTER_FLAWS};
pub use outcome::Outcome;

/// What one run simulates.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Everything random comes from it.
    pub seed: u64,
    /// Data shards.
    pub k: usize,
    /// Parity shards.
    pub m: usize,
    /// Steps of the world.
    pub steps: usize,
    /// Whether disks lie, go stale and rot (within the budget of m, unless the dice say beyond).
    pub faults: bool,
    /// Whether single records rot while the box is off, each with a good copy elsewhere.
    pub rot: bool,
    /// Whether there is a witness.
    pub witness: bool,
    /// Whether disks are replaced and added.
    pub changes: bool,
    /// Whether that happens all the time, with power cuts where it hurts.
    pub eager: bool,
    /// Whether a second owner takes the disks while the first one runs.
    pub rivals: bool,
    /// The rule to break.
    pub flaws: Flaws,
}

/// Runs one case. `Err` says which promise broke, with the seed to replay it.
pub fn run(case: Case) -> Result<Outcome, String> {
    let mut world = World::new(case);
    for step in 0..case.steps {
        world.step().map_err(|e| format!("{e} (step {step} of {case:?})"))?;
    }
    world.elder = None;
    world.settle().map_err(|e| format!("{e} (settling {case:?})"))?;
    Ok(world.out)
}

struct World {
    case: Case,
    rng: Rng,
    /// All disks that ever were.
    disks: Vec<ModelDisk>,
    /// The roster of this mount, the version it began with, and the geometry by whose rule it was made.
    roster: Roster,
    roster_version: u64,
    geometry: Geometry,
    /// The changed roster that this mount writes to its disks.
    proposal: Option<Roster>,
    /// What the witness's medium holds.
    witness: Option<Witness>,
    box_: Option<Coordinator>,
    /// The witness write under way.
    saving: Option<Witness>,
    /// A checkpoint under way: the anchor, who has it, who is still to write it.
    checkpoint: Option<(Anchor, DiskSet)>,
    ledger: Ledger,
    /// The mark of this box, what it knows of labels, what it read of journals before its promises, what was noted of it.
    mark: u64,
    known: Known,
    surveyed: Vec<Option<Vec<Placed>>>,
    noted: u64,
    elder: Option<Elder>,
    /// Nothing fails any more: the end of the run.
    calm: bool,
    /// With `COFFRE_TELL` set, each boot is told on stderr: for replaying one seed.
    telling: bool,
    out: Outcome,
}

impl World {
    fn new(case: Case) -> Self {
        let n = case.k + case.m;
        let vault = VaultId([1; 16]);
        let witness = case.witness.then_some(Witness {
            vault,
            generation: 0,
            confirmed: Default::default(),
            opening: Default::default(),
            built_on: (0, 0),
            acked: 0,
        });
        let geometry = Geometry::new(case.k as u8, case.m as u8).expect("a geometry of the cases");
        let roster = Roster::first((0..n).map(rosters::id).collect(), geometry);
        let disk = ModelDisk::labelled(roster.clone());
        Self {
            case,
            rng: Rng::new(case.seed),
            disks: vec![disk; n],
            roster_version: roster.version,
            roster,
            geometry,
            proposal: None,
            witness,
            box_: None,
            saving: None,
            checkpoint: None,
            ledger: Ledger::default(),
            mark: 0,
            known: Known::new(),
            surveyed: Vec::new(),
            noted: 0,
            elder: None,
            calm: false,
            telling: std::env::var_os("COFFRE_TELL").is_some(),
            out: Outcome::default(),
        }
    }

    fn trace(&mut self, what: u64, more: u64) {
        self.out.trace = crate::rng::splitmix(self.out.trace ^ crate::rng::splitmix(what << 32 ^ more));
    }

    fn step(&mut self) -> Result<(), String> {
        if self.case.rivals {
            self.elder_step()?;
            self.give_up_taken();
            if self.rng.chance(1, 60) {
                self.rival_comes();
            }
        }
        if self.box_.is_none() {
            let visible = self.choose_visible();
            return self.boot(visible);
        }
        if self.case.eager && self.rng.chance(1, 7) {
            match self.rng.below(8) {
                0 | 1 => self.begin_change(),
                2 | 3 => self.remount()?,
                4..=6 => self.bring_back(),
                _ => self.power_cut(),
            }
        }
        if self.box_.is_none() {
            return Ok(());
        }
        match self.rng.below(40) {
            0..=7 => self.append(),
            8..=31 => self.complete_one(),
            32 => self.lose_one(),
            33 | 34 => self.bring_back(),
            35 => self.begin_checkpoint(),
            36 => {
                if let Some(w) = self.box_.as_mut().and_then(Coordinator::refresh_witness) {
                    self.saving = Some(w);
                }
            }
            37 => self.power_cut(),
            38 if self.rng.chance(1, 3) => self.power_cut(),
            39 if self.case.changes && self.rng.chance(1, 2) => self.begin_change(),
            39 => self.remount()?,
            _ => self.complete_one(),
        }
        self.pump();
        self.note_acks()?;
        self.check_written()
    }

    /// What disks are said to have, they have.
    fn check_written(&self) -> Result<(), String> {
        self.box_
            .as_ref()
            .map_or(Ok(()), |coord| Ledger::check_written(coord, &self.disks, |no| self.place(no)))
    }

    fn choose_visible(&mut self) -> Vec<usize> {
        let chance = if self.roster.disks.len() <= 3 { 5 } else { 8 };
        let rng = &mut self.rng;
        let mut visible: Vec<usize> =
            (0..self.disks.len()).filter(|p| !self.disks[*p].dead && !rng.chance(1, chance)).collect();
        self.keep_a_good_copy(&mut visible);
        visible
    }

    fn boot(&mut self, visible: Vec<usize>) -> Result<(), String> {
        self.trace(1, visible.iter().fold(0, |sum, p| sum | 1 << p));
        let Some(standing) = self.standing(&visible) else {
            self.out.refused += 1;
            return Ok(());
        };
        self.geometry = standing.geometry;
        self.roster_version = standing.roster.version;
        self.roster = standing.roster;
        self.proposal = None;
        let views = self.views(&visible);
        let (n, m) = (self.geometry.width(), self.geometry.m());
        let counts = |no: &DiskNo| views[no.ix()].is_some();
        let seats: Vec<usize> =
            (0..views.len() as u8).map(DiskNo).filter(counts).filter_map(|no| self.place(no)).collect();
        for (p, d) in self.disks.iter_mut().enumerate() {
            d.attached = seats.contains(&p);
        }
        let plan: Plan = plan(n, m, &views, self.witness.as_ref(), self.case.flaws);
        if self.telling {
            let versions: Vec<u64> = self.disks.iter().map(|d| d.roster.version).collect();
            let (head, verdict) = (plan.adopted.head(), plan.verdict);
            eprintln!(
                "boot {seats:?} {versions:?} {:?} {head:?} {verdict:?} {:?}",
                self.roster, self.witness
            );
        }
        self.ledger.check_boot(&plan, &Seats { n, m, visible: seats.clone() }, &self.disks)?;
        if let Verdict::ReadOnly(_) = plan.verdict {
            self.out.refused += 1;
            return Ok(());
        }
        self.out.mounts += 1;
        self.read_as_owner(&seats);
        let wide = self.roster.geometry;
        let setup = Setup {
            vault: VaultId([1; 16]),
            n,
            m,
            segment_len: 32 * 4096,
            version: self.roster_version,
            wider: (wide.width() > n).then_some((wide.width(), wide.m())),
            flaws: self.case.flaws,
        };
        let coord = Coordinator::new(setup, &plan, &views, self.witness);
        self.noted = coord.base().seq;
        self.box_ = Some(coord);
        self.pump();
        Ok(())
    }

    /// Hands the coordinator's acts to the disks.
    fn pump(&mut self) {
        for _ in 0..20 {
            let Some(coord) = self.box_.as_mut() else { return };
            let acts = coord.poll();
            if acts.is_empty() {
                return;
            }
            for act in acts {
                let roster = self.labelled(&act);
                let Some(coord) = self.box_.as_mut() else { return };
                match act {
                    Act::Mount { epoch, active, witnessed } => {
                        let mut salt = [0; 16];
                        self.rng.fill(&mut salt);
                        let header = coord.next_header(Kind::Mount { active, witnessed }, epoch, salt);
                        coord.append(record::encode(header, b"").0);
                    }
                    Act::SaveWitness(w) => self.saving = Some(w),
                    Act::Promise { disk, .. }
                    | Act::Mark { disk, .. }
                    | Act::Prepare { disk, .. }
                    | Act::Write { disk, .. } => {
                        let records = match &act {
                            Act::Write { from, to, .. } => {
                                (*from..=*to).filter_map(|s| coord.placed(s)).collect()
                            }
                            Act::Prepare { holes, .. } => {
                                holes.iter().filter_map(|s| coord.placed(*s)).collect()
                            }
                            _ => Vec::new(),
                        };
                        if let Some(place) = self.place(disk) {
                            self.disks[place].pending.push_back(Given { act, records, roster });
                        }
                    }
                }
            }
        }
    }

    fn append(&mut self) {
        let Some(coord) = self.box_.as_mut() else { return };
        for _ in 0..1 + self.rng.below(3) {
            if let Some(header) = coord.facts_header() {
                let body = vec![0; 16 + 4096 * self.rng.index(3)];
                let (meta, _) = record::encode(header, &body);
                coord.append(meta);
            }
        }
    }

    /// Completes one act that is under way somewhere.
    fn complete_one(&mut self) {
        let Some(coord) = self.box_.as_mut() else { return };
        let pick = self.rng.index(self.disks.len() + 2);
        if pick == self.disks.len() {
            if let Some(w) = self.saving.take() {
                let ok = self.calm || !(self.case.faults && self.rng.chance(1, 400));
                if ok {
                    self.witness = Some(w);
                }
                coord.witness_saved(w, ok);
            }
            return;
        }
        if pick == self.disks.len() + 1 {
            return self.advance_checkpoint();
        }
        let fails = !self.calm && self.rng.chance(1, 300);
        let Some(disk) = self.number(pick) else { return };
        let d = &mut self.disks[pick];
        let Some(given) = d.pending.pop_front() else { return };
        let ok = d.attached && !d.dead && !fails && self.may_act(pick, &given);
        let d = &mut self.disks[pick];
        if ok {
            d.carry_out(&given);
        } else if fails {
            d.fail(&given, &mut self.rng);
        }
        let labelled = matches!(given.act, Act::Mark { .. });
        let Some(coord) = self.box_.as_mut() else { return };
        match given.act {
            Act::Promise { epoch, .. } => coord.promised(disk, epoch, ok),
            Act::Mark { version, .. } => coord.marked(disk, version, ok),
            Act::Prepare { .. } => coord.prepared(disk, ok),
            Act::Write { to, .. } => coord.wrote(disk, to, ok),
            _ => {}
        }
        self.trace(2, pick as u64);
        // The instant after a label: what others do not know yet.
        if self.case.eager && !self.calm && labelled && self.rng.chance(1, 6) {
            self.power_cut();
        }
    }

    fn lose_one(&mut self) {
        let pick = self.rng.index(self.disks.len());
        let may_die = self.ledger.may_spoil(&self.disks, self.geometry.m()) && !self.anything_rotten();
        let number = self.number(pick);
        let d = &mut self.disks[pick];
        if !d.attached {
            return;
        }
        d.attached = false;
        if may_die && self.rng.chance(1, 12) {
            d.dead = true;
        }
        d.pending.clear();
        self.trace(3, pick as u64);
        if let (Some(coord), Some(disk)) = (self.box_.as_mut(), number) {
            coord.lost(disk);
        }
    }

    fn bring_back(&mut self) {
        let pick = self.rng.index(self.disks.len());
        let Some(disk) = self.number(pick) else { return };
        let d = &mut self.disks[pick];
        if d.attached || d.dead {
            return;
        }
        d.attached = true;
        let view = d.view();
        let trusted = !d.failed;
        if self.case.rivals {
            self.known[pick] = (self.disks[pick].promised, self.disks[pick].owner);
            self.surveyed[pick] = None;
        }
        let d = &mut self.disks[pick];
        if let Some(coord) = self.box_.as_mut() {
            // A disk that someone else mounted meanwhile stays out, and so does one that was replaced.
            if coord.back(disk, &view, trusted).is_err() {
                d.attached = false;
            }
        }
        self.trace(4, pick as u64);
    }

    fn begin_checkpoint(&mut self) {
        let Some(coord) = self.box_.as_ref() else { return };
        if self.checkpoint.is_none()
            && let Some(anchor) = coord.point(coord.checkpointable())
            && anchor.seq > coord.base().seq
        {
            self.checkpoint = Some((anchor, DiskSet::EMPTY));
        }
    }

    /// One more disk has the checkpoint; when enough have it, those forget the journal before it.
    fn advance_checkpoint(&mut self) {
        let (Some(coord), Some((anchor, holders))) = (self.box_.as_mut(), self.checkpoint) else { return };
        let disk = DiskNo(self.rng.index(self.roster.disks.len()) as u8);
        let Some(place) = self.roster.disks.get(disk.ix()).map(|id| usize::from(id.0[0]) - 1) else { return };
        let d = &mut self.disks[place];
        // Only a disk that holds the journal up to there: an anchor must not stand alone beyond its own records.
        if d.attached && coord.in_use().has(disk) && coord.synced(disk) >= anchor.seq {
            d.take_checkpoint(anchor);
            let holders = holders.with(disk);
            self.checkpoint = Some((anchor, holders));
            let may_forget = coord.checkpointed(anchor, holders);
            if !may_forget.is_empty() {
                let holders = may_forget.iter().filter_map(|h| self.place(h)).collect::<Vec<_>>();
                holders.into_iter().for_each(|p| self.disks[p].forget_before(anchor));
                self.out.checkpoints += 1;
                self.checkpoint = None;
            }
        }
    }

    fn power_cut(&mut self) {
        self.put_down(true);
    }

    /// The box goes down, with whatever was under way; by a power cut, or in good order to come up at once.
    fn put_down(&mut self, cut: bool) {
        if self.box_.take().is_none() {
            return;
        }
        if let Some(w) = self.saving.take()
            && self.rng.chance(1, 2)
        {
            self.witness = Some(w);
        }
        self.checkpoint = None;
        if self.case.rivals {
            self.drop_passed();
        }
        for d in &mut self.disks {
            d.cut(&mut self.rng);
        }
        if cut && self.case.faults && self.rng.chance(1, 3) {
            let pick = self.rng.index(self.disks.len());
            let m = self.geometry.m();
            let allowed = self.disks[pick].faulty || self.ledger.may_spoil(&self.disks, m);
            let allowed = allowed && !self.anything_rotten();
            if allowed && !self.disks[pick].dead {
                self.disks[pick].spoil(&mut self.rng);
            }
        }
        for d in &mut self.disks {
            d.remember();
        }
        if cut && self.case.rot && !self.calm && self.rng.chance(1, 2) {
            self.night_of_rot();
        }
        self.trace(5, 0);
    }

    fn note_acks(&mut self) -> Result<(), String> {
        if self.case.rivals {
            return self.note_own();
        }
        let Some(coord) = self.box_.as_ref() else { return Ok(()) };
        let counting: Vec<usize> = coord.counting().iter().filter_map(|no| self.place(no)).collect();
        let news = self.ledger.note_acks(coord, &counting);
        self.out.acked += news;
        if coord.witnessed() {
            self.out.witnessed += news;
        }
        let acked = coord.acked();
        self.note_changes();
        self.trace(6, acked);
        Ok(())
    }
}
