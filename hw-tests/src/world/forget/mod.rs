//! A seeded world of forgetting: short locks, changing rules, clocks that lie, streams half-way, and cuts in between.
//!
//! The other world asks whether anything is lost to bad disks; here disks only rot, and everything that may remove
//! something is at work beside the scrub and healing: forgetting step by step, compaction, merging, folding, streams that share chunks and end or are cut off
//! at any moment, walls that jump, boxes that sleep or are off, owners and time sources that answer.
//! The reference model knows true time, which no part of the box can see.
//!
//! What must hold: nothing goes before its lock has ended in true time, nor without its grace; the newest of a data set, its newest
//! complete one and what the rules keep stay; whatever is there reads bit-identical; nobody shares a condemned pack; a plan that needs approval
//! does nothing without; and in the end all that may go is gone, from the disks too.

mod check;
mod days;
mod files;
mod locks;
mod mend;
mod streams;

pub use locks::wrong_clock;

use super::{Broken, Case, Machine, SimHands};
use crate::rng::{Rng, splitmix};
use coffre_core::class::LockClass;
use coffre_core::diskset::DiskSet;
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::{DiskNo, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use coffre_vault::core::Core;
use coffre_vault::engine::Ticket;
use coffre_vault::ports::Clock;
use coffre_vault::put::Put;
use std::collections::BTreeMap;
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const DATASETS: [&str; 3] = ["alpha/docs", "alpha/base", "beta/docs"];
/// The data set of a kind that is checked: half of what it receives is cut off.
const CHECKED: usize = 1;
/// How what is not cut off ends there.
const LAST_LINE: &[u8] = b"\n--\n-- PostgreSQL database dump complete\n--\n\n";
/// The number of what stands behind the data sets: a repository.
const REPO: usize = DATASETS.len();
const REPO_NAME: &str = "alpha/repo";
/// Ballast of a disk: three times the journal between two checkpoints, and a segment.
const BALLAST_LEN: u64 = 384 << 10;
/// Most steps of a world that has come to rest long before.
const MANY: usize = 20_000;

/// The flaws that only forgetting shows.
pub const FORGET_FLAWS: &[Flaw] = &[
    Flaw::ForgetUnderLock,
    Flaw::CountPastLock,
    Flaw::NewestFreed,
    Flaw::CountIncomplete,
    Flaw::TrustWall,
    Flaw::IgnoreDoubt,
    Flaw::LocksInDoubt,
    Flaw::LocksMissLeaps,
    Flaw::NoSecondMark,
    Flaw::NoGrace,
    Flaw::ShareCondemned,
    Flaw::FreeInFlight,
    Flaw::FreeBeforeAck,
    Flaw::IgnoreGuardRail,
    Flaw::FreeByAge,
    Flaw::FreeDeletedEarly,
    Flaw::DeleteAppendOnly,
    Flaw::RestoreAnyConfig,
];

/// What one run simulates.
#[derive(Clone, Copy, Debug)]
pub struct ForgetCase {
    /// Everything random comes from it.
    pub seed: u64,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// Steps of the world.
    pub steps: usize,
    /// Whether clocks are attacked.
    pub clocks: bool,
    /// Whether disks run full.
    pub full: bool,
    /// Whether shards rot, within what their packs tolerate.
    pub rot: bool,
    /// The rule to break.
    pub flaws: Flaws,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgetSeen {
    /// Snapshots acknowledged.
    pub acked: u64,
    /// Snapshots that were handed in cut off, and marked so.
    pub incomplete: u64,
    /// Snapshots that were forgotten.
    pub forgotten: u64,
    /// Packs that were freed.
    pub freed_packs: u64,
    /// Packs compacted.
    pub compacted: u64,
    /// Snapshots read and compared.
    pub read: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Times the wall clock was attacked, or time passed that the box could not see.
    pub attacks: u64,
    /// Runs that asked for approval.
    pub asked: u64,
    /// Snapshots that were refused because a disk was full.
    pub refused_full: u64,
    /// Files of repositories that their client deleted.
    pub deleted: u64,
    /// Files that went in the end.
    pub files_gone: u64,
    /// Files that the owner showed again.
    pub shown: u64,
    /// Shards damaged.
    pub rotten: u64,
    /// Steps of the scrub that had something to do.
    pub scrubbed: u64,
    /// Packs that were taken up to be healed.
    pub healings: u64,
    /// Hash over what happened.
    pub trace: u64,
}

impl ForgetSeen {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.incomplete += other.incomplete;
        self.forgotten += other.forgotten;
        self.freed_packs += other.freed_packs;
        self.compacted += other.compacted;
        self.read += other.read;
        self.cuts += other.cuts;
        self.attacks += other.attacks;
        self.asked += other.asked;
        self.refused_full += other.refused_full;
        self.deleted += other.deleted;
        self.files_gone += other.files_gone;
        self.shown += other.shown;
        self.rotten += other.rotten;
        self.scrubbed += other.scrubbed;
        self.healings += other.healings;
        self.trace ^= other.trace;
    }
}

/// Runs one case. `Err` says which promise broke, with the case to replay it.
pub fn forget(case: ForgetCase) -> Result<ForgetSeen, String> {
    let mut world = World::new(case);
    world.play().map_err(|broken| format!("{broken} in {case:?}"))?;
    world.seen.trace = splitmix(world.seen.trace ^ world.machine.trace());
    Ok(world.seen)
}

/// One snapshot that was handed in.
struct Known {
    id: ObjectId,
    dataset: usize,
    bytes: Arc<Vec<u8>>,
    acked: bool,
    /// Until when it is locked in true time.
    locked_true_ms: u64,
    /// True time of the last look at which it was not condemned yet.
    free_of_blame_ms: u64,
    gone: bool,
    /// Whether it was cut off, and its data set was of a kind that shows it.
    incomplete: bool,
    /// From when on, in true time, a file of a repository may go: its client deleted it.
    may_go_true_ms: Option<u64>,
}

struct Stream {
    put: Put,
    dataset: usize,
    class: LockClass,
    bytes: Vec<u8>,
    written: usize,
}

struct World {
    case: ForgetCase,
    boot: Case,
    rng: Rng,
    machine: Arc<Machine>,
    up: Option<(Arc<Core>, SimHands)>,
    streams: Vec<Stream>,
    pending: Vec<(Ticket, ObjectId)>,
    known: Vec<Known>,
    /// The smallest `last` rule a data set ever had.
    least_last: BTreeMap<usize, u32>,
    /// Snapshots of each data set at the last look.
    before: [Vec<ObjectId>; DATASETS.len()],
    /// Shards that were damaged, and their bytes before.
    rotten: BTreeMap<(PackId, DiskNo), Vec<u8>>,
    pool: Vec<u8>,
    true_ms: u64,
    mono_ms: u64,
    seen: ForgetSeen,
}

impl World {
    fn new(case: ForgetCase) -> Self {
        let mut rng = Rng::new(case.seed ^ 0xF0_26E7);
        let ForgetCase { seed, k, m, steps, flaws, .. } = case;
        let (faults, witness, lies_per_1000, all_losses) = (false, true, 0, false);
        let boot = Case { seed, k, m, steps, faults, witness, lies_per_1000, all_losses, flaws };
        let mut machine = Machine::new(&boot, rng.next_u64());
        machine.limits.ballast_len = if case.full { BALLAST_LEN } else { 0 };
        let machine = Arc::new(machine);
        machine.format();
        let (pool, true_ms) = (rng.bytes(16 << 10), machine.clock.wall_ms());
        Self {
            case,
            boot,
            rng,
            machine,
            up: None,
            streams: Vec::new(),
            pending: Vec::new(),
            known: Vec::new(),
            least_last: BTreeMap::new(),
            before: Default::default(),
            rotten: BTreeMap::new(),
            pool,
            true_ms,
            mono_ms: 0,
            seen: ForgetSeen::default(),
        }
    }

    fn play(&mut self) -> Result<(), Broken> {
        for _ in 0..self.case.steps {
            self.step()?;
        }
        self.finish()
    }

    fn step(&mut self) -> Result<(), Broken> {
        if self.up.is_none() {
            let all = DiskSet::first(self.machine.disks.len());
            let away = DiskNo(self.rng.index(self.machine.disks.len()) as u8);
            let some = if self.case.m > 0 && self.rng.chance(1, 8) { all.without(away) } else { all };
            return self.boot(some, true);
        }
        match self.rng.below(118) {
            0..=13 => self.put_whole()?,
            14..=21 => self.begin(),
            22..=33 => self.write_on(),
            34..=41 => self.end_one()?,
            42..=51 => self.let_go(),
            52..=57 => self.set_policy(),
            58..=75 => self.forget_step()?,
            76..=80 => self.upkeep(),
            81..=88 => self.pass_time(),
            89..=91 if self.case.clocks => self.attack(),
            92..=93 => self.unplug_or_plug(),
            94..=96 => self.fuse(),
            97 if self.case.full => self.fill_or_free(),
            100..=103 if self.case.rot => self.rot(),
            100..=109 => self.scrub_and_heal(),
            110..=117 => self.repository()?,
            _ => self.look()?,
        }
        self.collect();
        if self.machine.power.is_out() {
            self.power_cut();
            return Ok(());
        }
        self.observe()
    }

    fn on(&self) -> (Arc<Core>, SimHands) {
        let (core, hands) = self.up.as_ref().expect("asked only while the box is up");
        (core.clone(), hands.clone())
    }

    fn boot(&mut self, visible: DiskSet, fuse: bool) -> Result<(), Broken> {
        if fuse && self.rng.chance(1, 8) {
            self.machine.power.cut_after(1 + self.rng.below(100));
        }
        let seed = self.rng.next_u64();
        match self.machine.boot(&self.boot, visible, seed) {
            Ok(up) => self.up = Some(up),
            Err(_) if self.machine.power.is_out() => {
                self.power_cut();
                return Ok(());
            }
            Err(fault) => return Err(Broken(format!("the vault does not open: {fault}"))),
        }
        self.settle(400);
        if self.machine.power.is_out() {
            self.power_cut();
            return Ok(());
        }
        self.observe()?;
        self.look()
    }

    fn settle(&self, steps: usize) {
        if let Some((core, hands)) = &self.up {
            for _ in 0..steps {
                if self.machine.power.is_out() || !hands.step(core) {
                    return;
                }
            }
        }
    }

    /// True time goes with the box's counter, and on when the box cannot see it.
    fn keep_time(&mut self) {
        let now = self.machine.clock.mono_ms();
        self.true_ms += now.saturating_sub(self.mono_ms);
        self.mono_ms = now;
    }

    fn let_go(&mut self) {
        let steps = 1 + self.rng.index(40);
        self.settle(steps);
    }
}

fn name_of(dataset: usize) -> DatasetRef {
    DATASETS.get(dataset).unwrap_or(&REPO_NAME).parse().expect("a valid name")
}
