//! A box worked by hand: one machine, a list of what was handed in, and steps that a test puts in any order.
//!
//! Where the seeded world draws what happens, a bench does one thing after the other, so that a test can put a fault
//! at every single place of a known course.

use super::hands::SimHands;
use super::{Case, Machine, check};
use crate::rng::Rng;
use crate::sim::DiskImage;
use coffre_core::class::LockClass;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::ids::{DiskNo, ObjectId};
use coffre_vault::core::Core;
use coffre_vault::engine::Event;
use coffre_vault::put::Put;
use coffre_vault::upkeep::Did;
use std::sync::Arc;

/// Most steps of a world that has come to rest long before.
const MANY: usize = 20_000;

/// One snapshot that was handed in.
#[derive(Clone, Debug)]
pub struct Handed {
    /// Its id.
    pub id: ObjectId,
    /// What it must read as.
    pub bytes: Arc<Vec<u8>>,
    /// Whether it was acknowledged.
    pub acked: bool,
}

/// See the module.
pub struct Bench {
    /// How the machine is built and comes up.
    pub case: Case,
    /// The machine.
    pub machine: Arc<Machine>,
    /// What was handed in, in order.
    pub handed: Vec<Handed>,
    up: Option<(Arc<Core>, SimHands)>,
    rng: Rng,
}

/// What all disks and the state medium hold.
#[derive(Clone, Debug)]
pub struct Images {
    disks: Vec<DiskImage>,
    state: DiskImage,
}

impl Bench {
    /// A box with labelled disks that is switched off, with a witness.
    pub fn new(k: u8, m: u8, seed: u64) -> Self {
        Self::with(k, m, seed, true)
    }

    /// The same, with or without a witness.
    pub fn with(k: u8, m: u8, seed: u64, witness: bool) -> Self {
        let (steps, faults, lies_per_1000, all_losses) = (0, false, 0, false);
        let case = Case { seed, k, m, steps, faults, witness, lies_per_1000, all_losses, flaws: Flaws::NONE };
        let machine = Arc::new(Machine::new(&case, seed));
        machine.format();
        Self { case, machine, handed: Vec::new(), up: None, rng: Rng::new(seed ^ 0xBE7C) }
    }

    /// The same with so many disks in the drawer, and rules to break.
    pub fn with_spares(k: u8, m: u8, seed: u64, spares: u8, flaws: Flaws) -> Self {
        let mut bench = Self::with(k, m, seed, true);
        bench.case.flaws = flaws;
        bench.machine = Arc::new(Machine::with_spares(&bench.case, seed, spares));
        bench.machine.format();
        bench
    }

    /// All disks.
    pub fn all(&self) -> DiskSet {
        DiskSet::first(self.machine.disks.len())
    }

    /// The box while it is up.
    pub fn core(&self) -> Option<&Arc<Core>> {
        self.up.as_ref().map(|(core, _)| core)
    }

    fn on(&self) -> Result<(&Arc<Core>, &SimHands)> {
        self.up.as_ref().map(|(core, hands)| (core, hands)).ok_or_else(|| Fault::transient("it is off"))
    }

    /// Comes up with the disks in `visible`.
    pub fn boot(&mut self, visible: DiskSet) -> Result<()> {
        self.up = None;
        let seed = self.rng.next_u64();
        self.up = Some(self.machine.boot(&self.case, visible, seed)?);
        Ok(())
    }

    /// Switches it off without a power cut: what the lanes have not done yet is not done.
    pub fn off(&mut self) {
        self.up = None;
    }

    /// The power goes out, if it is not out, and comes back.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        self.up = None;
        self.machine.power_cut(rng);
    }

    /// The daemon is killed, in the middle of something perhaps; the machine lives on.
    pub fn kill(&mut self) {
        self.up = None;
        self.machine.process_died();
    }

    /// Lets the world go on, at most `steps` steps, until it is quiet or the power is out.
    pub fn settle(&self, steps: usize) {
        if let Ok((core, hands)) = self.on() {
            for _ in 0..steps {
                if self.machine.power.is_out() || !hands.step(core) {
                    return;
                }
            }
        }
    }

    /// Lets the world go on until it is quiet.
    pub fn rest(&self) {
        self.settle(MANY);
    }

    /// Hands in a snapshot and waits for its answer.
    pub fn put(&mut self, bytes: &[u8]) -> Result<ObjectId> {
        let (core, _) = self.on()?;
        let core = core.clone();
        let dataset = "alpha/docs".parse().map_err(|_| Fault::misuse("the data set's name"))?;
        let mut put = Put::begin(core.clone(), dataset, LockClass::DAYS_30)?;
        for piece in bytes.chunks(777) {
            put.write(piece)?;
        }
        let submitted = put.submit()?;
        let id = submitted.object.id;
        self.handed.push(Handed { id, bytes: Arc::new(bytes.to_vec()), acked: false });
        core.wait(submitted.ticket)?;
        if let Some(last) = self.handed.last_mut() {
            last.acked = true;
        }
        Ok(id)
    }

    /// Folds what rides in the journal.
    pub fn fold(&self) -> Result<usize> {
        self.on()?.0.fold()
    }

    /// Merges and encodes again until nothing is due.
    pub fn merge(&self) -> Result<usize> {
        self.heal()?;
        let mut merged = 0;
        for _ in 0..16 {
            match self.on()?.0.upkeep(60_000)? {
                Did::Nothing => break,
                Did::Merged(packs) => merged += packs,
                _ => {}
            }
            self.settle(MANY);
        }
        Ok(merged)
    }

    /// Heals what can be healed now, and waits until nothing moves. Says how many packs were taken up.
    pub fn heal(&self) -> Result<usize> {
        let core = self.on()?.0.clone();
        let mut packs = 0;
        // Nothing heals twice without time passing: a pack that fails rests.
        while packs < MANY && !self.machine.power.is_out() && core.heal_one().is_some() {
            packs += 1;
            self.settle(MANY);
        }
        Ok(packs)
    }

    /// Writes a checkpoint, and waits until nothing moves.
    pub fn checkpoint(&self) -> Result<()> {
        self.on()?.0.with(|e| e.want_checkpoint());
        self.rest();
        Ok(())
    }

    /// What the lookout of a box does: every disk that is not in use and shows itself is attached again.
    pub fn look_out(&mut self) -> Result<()> {
        let (core, _) = self.on()?;
        if core.with(|e| e.never_mounted()) {
            let all = self.all();
            return self.boot(all);
        }
        for disk in core.wants_probe().iter() {
            if let Some(survey) = self.machine.survey(disk) {
                core.forget_tables();
                core.event(Event::Attached(disk, Box::new(survey)));
            }
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn pass_time(&self, ms: u64) {
        if let Ok((core, hands)) = self.on() {
            hands.pass_time(core, ms);
        }
    }

    /// Snapshots of every kind: empty, inline, folded, chunked, with a deep manifest, in merged packs, before and
    /// after a checkpoint. Goes on after an error, as clients and upkeep do.
    pub fn work(&mut self) {
        self.work_and(|_| {});
    }

    /// The same, with something else to do after each step.
    pub fn work_and(&mut self, mut after: impl FnMut(&mut Self)) {
        let pool = Rng::new(7).bytes(40_000);
        let part = |from: usize, len: usize| pool[from..from + len].to_vec();
        for bytes in [Vec::new(), part(0, 90), part(100, 128)] {
            let _ = self.put(&bytes);
            after(self);
        }
        let _ = self.fold();
        after(self);
        for (from, len) in [(1_000, 1_500), (1_400, 1_700), (9_000, 700), (20_000, 14_000), (300, 60)] {
            let _ = self.put(&part(from, len));
            after(self);
        }
        let _ = self.merge();
        after(self);
        let _ = self.checkpoint();
        after(self);
        let text = b"the same line of a text that compresses well. ".repeat(60);
        for bytes in [part(400, 77), text, part(21_000, 3_000), part(500, 20)] {
            let _ = self.put(&bytes);
            after(self);
        }
        let _ = self.merge();
        let _ = self.check(false);
    }

    /// Reads everything that was handed in and everything that is there. Bytes that differ are always wrong, and so is a
    /// snapshot that nobody handed in; with `must`, so is an acknowledged one that cannot be read. Says how many were
    /// read whole.
    pub fn check(&self, must: bool) -> std::result::Result<usize, String> {
        let Ok((core, _)) = self.on() else { return Err("the box is off".into()) };
        let there: Vec<ObjectId> = core.with(|e| {
            let catalog = e.catalog();
            catalog.datasets().flat_map(|d| catalog.snapshots(d).to_vec()).collect()
        });
        if let Some(id) = there.iter().find(|id| !self.handed.iter().any(|h| h.id == **id)) {
            return Err(format!("there is a snapshot {id} that nobody handed in"));
        }
        let mut whole = 0;
        for handed in &self.handed {
            match check::read(core, &handed.id) {
                Ok(bytes) if bytes == *handed.bytes => whole += 1,
                Ok(bytes) => {
                    let (got, had) = (bytes.len(), handed.bytes.len());
                    return Err(format!("snapshot {} reads wrong: {got} for {had} bytes", handed.id));
                }
                Err(fault) if must && handed.acked && !self.machine.power.is_out() => {
                    return Err(format!("snapshot {} cannot be read: {fault}", handed.id));
                }
                Err(_) => {}
            }
        }
        Ok(whole)
    }

    /// What is durable now.
    pub fn images(&self) -> Images {
        let disks = self.every_disk().map(|d| d.snapshot()).collect();
        Images { disks, state: self.machine.state.snapshot() }
    }

    /// Draws anew: what follows depends on `seed` and not on what was done before.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }

    /// Switches the box off and makes its disks what they were.
    pub fn restore(&mut self, images: &Images) {
        self.up = None;
        for (disk, image) in self.every_disk().zip(&images.disks) {
            disk.restore(image);
        }
        self.machine.state.restore(&images.state);
        self.machine.power.restore();
        self.machine.clock.reboot();
    }

    /// Forgets faults that have not struck.
    pub fn calm(&self) {
        for disk in self.every_disk() {
            disk.faults(|f| *f = crate::sim::Faults { gone: f.gone, ..Default::default() });
        }
    }

    /// All disks, those in the drawer last.
    pub fn every_disk(&self) -> impl Iterator<Item = &crate::sim::SimDisk> {
        self.machine.disks.iter().chain(&self.machine.spares)
    }

    /// Puts a spare disk in the place of `old`, or behind the others, and lets the box take it in: the change is begun, the
    /// box comes up anew, the new disk is attached. Goes as far as the power allows; `visible` as for [`boot`](Self::boot).
    pub fn change(&mut self, old: Option<DiskNo>, spare: usize, visible: DiskSet) -> Result<()> {
        let core = self.on()?.0.clone();
        let roster = core.with(|e| e.roster().clone());
        let changed = match old {
            Some(old) => Some(roster.with_replaced(old, super::machine::spare_id(spare))),
            None => roster.with_added(super::machine::spare_id(spare)),
        };
        let changed = changed.ok_or_else(|| Fault::refused("there are eight disks"))?;
        self.machine.make_ready(spare, &changed);
        core.with(|e| e.begin_change(changed, false))?;
        self.rest();
        if core.with(|e| e.change_known()) && !self.machine.power.is_out() {
            self.boot(visible)?;
            self.take_in();
        }
        Ok(())
    }

    /// Attaches what shows and is not in use, and lets the world go on until it is quiet.
    pub fn take_in(&mut self) {
        self.rest();
        let _ = self.look_out();
        self.rest();
    }

    /// The disk with this number.
    pub fn disk(&self, disk: DiskNo) -> &crate::sim::SimDisk {
        &self.machine.disks[disk.ix()]
    }
}
