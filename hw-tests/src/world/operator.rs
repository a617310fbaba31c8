//! A careless operator: disks replaced, the right one and the wrong one, in turn and in debt, added, had back, pulled and put
//! back, with kills and power cuts in between. All disks stay whole, and then nothing acknowledged may be lost.
//!
//! What is only refused costs nothing. A disk is destroyed by the operator when, and only when, the box says of it that it may
//! be taken out.

use super::Bench;
use crate::rng::{Rng, splitmix};
use coffre_core::diskset::DiskSet;
use coffre_core::flaw::Flaws;
use coffre_core::ids::DiskNo;
use coffre_core::roster::Roster;
use coffre_core::wire::DiskState;
use std::collections::BTreeSet;

/// Disks in the drawer.
const SPARES: u8 = 7;
/// Most disks of a roster here.
const WIDEST: usize = 5;
/// How often the world is let go on at the end until it must be whole.
const PATIENCE: usize = 60;

/// What one walk does.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Everything random comes from it.
    pub seed: u64,
    /// Data shards at first.
    pub k: u8,
    /// Parity shards at first.
    pub m: u8,
    /// Steps.
    pub steps: usize,
    /// The rule to break.
    pub flaws: Flaws,
}

/// What a walk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Snapshots acknowledged.
    pub acked: u64,
    /// Disks replaced by empty ones.
    pub replaced: u64,
    /// Disks had back.
    pub undone: u64,
    /// Disks added.
    pub added: u64,
    /// Commands that were refused.
    pub refused: u64,
    /// Disks destroyed when the box said that they may go.
    pub taken_out: u64,
    /// Times that everything was read without the disks that were taken out.
    pub checked: u64,
    /// Boxes that nobody can write any more in the middle of a change, as few as their disks are.
    pub stranded: u64,
}

impl Walked {
    /// Adds another walk's counts.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.replaced += other.replaced;
        self.undone += other.undone;
        self.added += other.added;
        self.refused += other.refused;
        self.taken_out += other.taken_out;
        self.checked += other.checked;
        self.stranded += other.stranded;
    }
}

/// Walks. `Err` says which promise broke, with the walk to replay it.
pub fn walk(case: Walk) -> Result<Walked, String> {
    let mut operator = Operator::new(case);
    operator.walk().map_err(|why| format!("{why} in {case:?}"))?;
    Ok(operator.seen)
}

struct Operator {
    case: Walk,
    rng: Rng,
    bench: Bench,
    fresh: usize,
    /// Disks that are pulled, by their places among all.
    away: BTreeSet<usize>,
    destroyed: BTreeSet<usize>,
    seen: Walked,
}

impl Operator {
    fn new(case: Walk) -> Self {
        let bench = Bench::with_spares(case.k, case.m, splitmix(case.seed), SPARES, case.flaws);
        let (away, destroyed) = (BTreeSet::new(), BTreeSet::new());
        Self { case, rng: Rng::new(case.seed), bench, fresh: 0, away, destroyed, seen: Walked::default() }
    }

    fn walk(&mut self) -> Result<(), String> {
        self.boot();
        self.bench.rest();
        for _ in 0..self.case.steps {
            self.step();
            self.tend();
            if self.rng.chance(1, 3) {
                self.check_without_the_retired()?;
            }
        }
        self.finish()
    }

    fn step(&mut self) {
        match self.rng.below(24) {
            0..=5 => self.put(),
            6..=8 => self.bench.settle(1 + (self.case.seed % 7) as usize * 5),
            9..=10 => drop(self.bench.heal()),
            11 => drop(self.bench.merge()),
            12 => drop(self.bench.fold()),
            13..=15 => self.replace(),
            16..=17 => self.undo(),
            18 => self.add(),
            19 => self.pull(),
            20..=21 => self.put_back(),
            22 => self.cut(),
            _ => self.take_out(),
        }
    }

    fn put(&mut self) {
        let len = [40, 120, 900, 3_000][self.rng.index(4)];
        let bytes = self.rng.bytes(len);
        self.seen.acked += u64::from(self.bench.put(&bytes).is_ok());
    }

    fn boot(&mut self) {
        let n = self.bench.machine.disks.len();
        let visible: DiskSet =
            (0..n).filter(|at| !self.away.contains(at)).map(|at| DiskNo(at as u8)).collect();
        // What does not come up is tried again with what shows then.
        let _ = self.bench.boot(visible);
        self.look();
    }

    fn look(&mut self) {
        if self.bench.core().is_some_and(|core| core.with(|e| e.never_mounted())) {
            return;
        }
        let _ = self.bench.look_out();
        if let Some(core) = self.bench.core().cloned() {
            self.bench.machine.tend_guests(&core);
        }
    }

    /// What the prober of a box does.
    fn tend(&mut self) {
        let Some(core) = self.bench.core().cloned() else { return self.boot() };
        if core.with(|e| e.change_known() || e.never_mounted()) {
            self.bench.rest();
            self.boot();
        } else if self.rng.chance(2, 3) {
            self.look();
        }
    }

    fn begin(&mut self, changed: Roster, ready: impl FnOnce(&mut Self) -> bool) -> bool {
        let Some(core) = self.bench.core().cloned() else { return false };
        if core.with(|e| e.writable().is_err() || e.may_change(&changed, false).is_err()) {
            self.seen.refused += 1;
            return false;
        }
        if !ready(self) || core.with(|e| e.begin_change(changed, false)).is_err() {
            self.seen.refused += 1;
            return false;
        }
        let steps = self.rng.index(400);
        self.bench.settle(steps);
        true
    }

    /// Any disk, whatever anybody needs of it.
    fn replace(&mut self) {
        let roster = self.bench.machine.standing().roster;
        let leaving = DiskNo(self.rng.index(roster.disks.len()) as u8);
        let spare = self.fresh;
        if spare < usize::from(SPARES) {
            let changed = roster.with_replaced(leaving, super::machine::spare_id(spare));
            self.seen.replaced += u64::from(self.begin(changed.clone(), |it| it.ready(spare, &changed)));
        }
    }

    fn add(&mut self) {
        let roster = self.bench.machine.standing().roster;
        let spare = self.fresh;
        if spare < usize::from(SPARES)
            && roster.disks.len() < WIDEST
            && let Some(changed) = roster.with_added(super::machine::spare_id(spare))
        {
            self.seen.added += u64::from(self.begin(changed.clone(), |it| it.ready(spare, &changed)));
        }
    }

    fn ready(&mut self, spare: usize, changed: &Roster) -> bool {
        self.fresh += 1;
        self.bench.machine.make_ready(spare, changed);
        true
    }

    /// The disk that had the number before comes back.
    fn undo(&mut self) {
        let retired = self.bench.machine.retired();
        let Some((at, label)) = self.rng.pick(&retired).cloned() else { return };
        let roster = self.bench.machine.standing().roster;
        // One that was made ready to be added has a number that nobody has yet.
        let there = |no: &DiskNo| no.ix() < roster.disks.len() && !self.destroyed.contains(&at);
        let Some(number) = label.number().filter(there) else { return };
        let changed = roster.with_replaced(number, label.disk);
        let ready = |it: &mut Self| it.bench.machine.make_ready_again(at, &changed).is_ok();
        self.seen.undone += u64::from(self.begin(changed.clone(), ready));
    }

    fn disk(&self, at: usize) -> &crate::sim::SimDisk {
        let n = self.bench.machine.disks.len();
        if at < n { &self.bench.machine.disks[at] } else { &self.bench.machine.spares[at - n] }
    }

    fn pull(&mut self) {
        let at = self.rng.index(self.bench.machine.disks.len() + self.fresh);
        if self.away.insert(at) {
            self.disk(at).unplug();
        }
    }

    fn put_back(&mut self) {
        let away: Vec<usize> = self.away.difference(&self.destroyed).copied().collect();
        if let Some(at) = self.rng.pick(&away).copied() {
            self.away.remove(&at);
            let mut rng = Rng::new(self.rng.next_u64());
            self.disk(at).plug(&mut rng);
        }
    }

    fn cut(&mut self) {
        if self.rng.chance(1, 2) {
            self.bench.kill();
        } else {
            let mut rng = Rng::new(self.rng.next_u64());
            self.bench.power_cut(&mut rng);
        }
        self.boot();
    }

    /// The box says that a disk may be taken out, and the operator destroys it.
    fn take_out(&mut self) {
        let Some(core) = self.bench.core().cloned() else { return };
        let (of_use, up) = core.with(|e| (e.guests_of_use(), e.writable().is_ok()));
        for (at, label) in self.bench.machine.retired() {
            if up && !label.is_newcomer() && label.number().is_some_and(|no| !of_use.has(no)) {
                self.disk(at).unplug();
                self.away.insert(at);
                self.seen.taken_out += u64::from(self.destroyed.insert(at));
            }
        }
    }

    /// While all disks of the roster are in use nothing may need those that left it: they may be gone at once.
    fn check_without_the_retired(&mut self) -> Result<(), String> {
        let Some(core) = self.bench.core().cloned() else { return Ok(()) };
        let report = core.report();
        let there = |no: u8| !self.bench.machine.seat(DiskNo(no)).faults(|f| f.gone);
        let whole =
            report.disks.iter().all(|d| d.1 == DiskState::Active) && (0..report.disks.len() as u8).all(there);
        if !whole || core.with(|e| e.changing() || e.writable().is_err()) {
            return Ok(());
        }
        let retired: Vec<usize> = self.bench.machine.retired().into_iter().map(|(at, _)| at).collect();
        retired.iter().for_each(|at| self.disk(*at).faults(|f| f.gone = true));
        let seats: Vec<_> = (0..coffre_vault::engine::MAX_GUESTS).collect();
        seats.iter().for_each(|seat| core.with(|e| e.guest_left(*seat)));
        core.forget_tables();
        let checked = self.bench.check(true).map_err(|why| format!("without those that left: {why}"));
        retired.iter().for_each(|at| self.disk(*at).faults(|f| f.gone = false));
        self.seen.checked += 1;
        checked.map(drop)
    }

    /// Everything is put back that was not destroyed: then all is there, and the box gets whole by itself.
    fn finish(&mut self) -> Result<(), String> {
        let mut rng = Rng::new(self.rng.next_u64());
        for at in std::mem::take(&mut self.away).into_iter().filter(|at| !self.destroyed.contains(at)) {
            self.disk(at).plug(&mut rng);
        }
        self.away = self.destroyed.clone();
        self.bench.power_cut(&mut rng);
        self.boot();
        for _ in 0..PATIENCE {
            self.bench.rest();
            self.tend();
            // Only what hangs is late.
            self.bench.rest();
            self.bench.pass_time(40_000);
            let _ = self.bench.merge();
        }
        self.bench.check(true)?;
        let core = self.bench.core().cloned().ok_or("nothing is wrong and the box does not come up")?;
        let roster = self.bench.machine.standing().roster;
        let shown = (0..roster.disks.len() as u8).filter_map(|no| self.bench.machine.survey(DiskNo(no)));
        let few = shown.filter(|survey| !survey.label.is_newcomer()).count() <= roster.geometry.m();
        if few && core.with(|e| e.writable().is_err()) {
            // As many disks as the witness must vouch for, and it cannot: see `docs/decisions/0026`. Everything could be read.
            self.seen.stranded += 1;
            return Ok(());
        }
        let report = core.report();
        let m = roster.geometry.m();
        if report.can_lose as usize != m || !report.debt.is_empty() || report.changing {
            return Err(format!("nothing is wrong and it never gets whole again: {report:?}"));
        }
        self.check_without_the_retired()
    }
}
