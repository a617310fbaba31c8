//! The whole vault in a seeded world: the real engine, lanes, streams and upkeep over simulated disks.
//!
//! One run is one seed: snapshots are pushed, read, folded, merged and checkpointed while disks vanish, hang, fail,
//! lie, rot and come back old, and the power goes out at any operation, also while the box is coming up. What must hold is
//! in `check`. A failure prints its case, and the same case plays the same run again.

mod bad_days;
mod bench;
mod check;
mod forget;
mod hands;
mod machine;
mod model;
mod operator;
mod rot;

use crate::rng::{Rng, splitmix};
use coffre_core::diskset::DiskSet;
use coffre_core::fault::Result as VaultResult;
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::{DiskNo, ObjectId};
use coffre_core::names::DatasetRef;
use coffre_core::wire::DiskState;
use coffre_vault::core::Core;
use coffre_vault::engine::Ticket;
use coffre_vault::put::Put;
use std::sync::Arc;

pub use bench::{Bench, Handed, Images};
pub use check::Broken;
pub use forget::{FORGET_FLAWS, ForgetCase, ForgetSeen, forget, wrong_clock};
pub use hands::SimHands;
pub use machine::Machine;
use model::Model;
pub use operator::{Walk, Walked, walk};
pub use rot::{HEALING_FLAWS, RotCase, RotSeen, SCRUB_FLAWS, rot};

/// What one run simulates.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Everything random comes from it.
    pub seed: u64,
    /// Data shards.
    pub k: u8,
    /// Parity shards.
    pub m: u8,
    /// Steps of the world.
    pub steps: usize,
    /// Faults beyond power cuts and absences: death, staleness, lies, rot, misdirection, failing syncs, hangs.
    pub faults: bool,
    /// Whether the box has a witness.
    pub witness: bool,
    /// How often the index lies, per thousand answers.
    pub lies_per_1000: u64,
    /// At the end, every set of at most m disks is taken away in turn, instead of one set.
    pub all_losses: bool,
    /// The rule to break.
    pub flaws: Flaws,
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Snapshots acknowledged.
    pub acked: u64,
    /// Snapshots read and compared.
    pub read: u64,
    /// Times the box came up.
    pub boots: u64,
    /// Power cuts, those while coming up included.
    pub cuts: u64,
    /// Times the daemon died and the machine lived on.
    pub kills: u64,
    /// Times the box came up read-only.
    pub read_only: u64,
    /// Times the box said that its disks show two histories that were both acknowledged.
    pub torn: u64,
    /// Faults injected.
    pub faults: u64,
    /// Worlds with foreign files on their disks.
    pub littered: u64,
    /// Upkeep jobs that did something.
    pub upkeep: u64,
    /// Packs whose shards were made again.
    pub healing: u64,
    /// Snapshots that were condemned under their lock: none.
    pub locked_forgotten: u64,
    /// Hash over everything that happened.
    pub trace: u64,
}

impl Seen {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.read += other.read;
        self.boots += other.boots;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.read_only += other.read_only;
        self.torn += other.torn;
        self.faults += other.faults;
        self.littered += other.littered;
        self.upkeep += other.upkeep;
        self.healing += other.healing;
        self.locked_forgotten += other.locked_forgotten;
        self.trace ^= other.trace;
    }
}

/// Runs one case. `Err` says which promise broke, with the case to replay it.
pub fn run(case: Case) -> Result<Seen, String> {
    let mut world = World::new(case);
    world.play().map_err(|broken| format!("{broken} in {case:?}"))?;
    world.seen.trace = splitmix(world.seen.trace ^ world.machine.trace());
    Ok(world.seen)
}

/// One in so many worlds has foreign files in every folder of its disks.
const LITTERED_ONE_IN: u64 = 9;

struct World {
    case: Case,
    rng: Rng,
    machine: Arc<Machine>,
    model: Model,
    /// The box while it is up.
    up: Option<Up>,
    /// A content pool, so that snapshots share chunks.
    pool: Vec<u8>,
    bad: bad_days::BadDays,
    telling: bool,
    seen: Seen,
}

struct Up {
    core: Arc<Core>,
    hands: SimHands,
    pending: Vec<(Ticket, ObjectId)>,
}

impl World {
    fn new(case: Case) -> Self {
        let mut rng = Rng::new(case.seed);
        let machine = Arc::new(Machine::new(&case, rng.next_u64()));
        let pool = rng.bytes(24 << 10);
        let bad = bad_days::BadDays::draw(&case, &mut rng);
        let telling = std::env::var_os("COFFRE_TELL").is_some();
        Self {
            case,
            rng,
            machine,
            model: Model::default(),
            up: None,
            pool,
            bad,
            telling,
            seen: Seen::default(),
        }
    }

    fn play(&mut self) -> Result<(), Broken> {
        self.machine.format();
        if self.case.seed.is_multiple_of(LITTERED_ONE_IN) {
            self.machine.litter();
            self.seen.littered += 1;
        }
        for _ in 0..self.case.steps {
            self.step()?;
        }
        self.finish()
    }

    fn step(&mut self) -> Result<(), Broken> {
        if self.up.is_none() {
            let visible = self.choose_visible();
            return self.boot(visible);
        }
        let dice = self.rng.below(100);
        self.tell(|| format!("step {dice}"));
        match dice {
            0..=21 => self.put(),
            22..=26 => self.put_and_drop(),
            27..=62 => self.let_go(),
            63..=70 => self.read_some()?,
            71..=74 => self.pass_time(),
            75..=80 => self.upkeep(),
            81..=84 => self.unplug_one(),
            85..=89 => self.plug_one(),
            90..=93 => self.bad_day(),
            94..=96 => self.fuse(),
            _ => self.look_at_lights()?,
        }
        self.collect();
        if self.machine.power.is_out() {
            self.power_cut_or_kill();
        }
        Ok(())
    }

    /// With `COFFRE_TELL` set, a run tells its story on stderr: for replaying one seed.
    fn tell(&self, what: impl Fn() -> String) {
        if self.telling {
            let up = self.up.as_ref().map(|up| up.core.report()).map(|r| {
                let disk = |d: &(_, DiskState, Option<String>, u64)| format!("{:?}@{}", d.1, d.3);
                let disks: Vec<String> = r.disks.iter().map(disk).collect();
                format!("e{} {} lose {} {:?}", r.epoch, disks.join(" "), r.can_lose, r.stalled)
            });
            eprintln!("{} | {} | acked {}", what(), up.unwrap_or_default(), self.seen.acked);
        }
    }

    fn choose_visible(&mut self) -> DiskSet {
        let n = self.machine.disks.len() as u8;
        let rng = &mut self.rng;
        (0..n).map(DiskNo).filter(|_| !rng.chance(1, 6)).collect()
    }

    /// Comes up, possibly with the power going out on the way: then it comes up again.
    fn boot(&mut self, visible: DiskSet) -> Result<(), Broken> {
        self.seen.boots += 1;
        if self.rng.chance(1, 5) {
            let ops = 1 + self.rng.below(120);
            self.machine.power.cut_after(ops);
        }
        let seed = self.rng.next_u64();
        let visible = visible.minus(self.bad.dead);
        match self.machine.boot(&self.case, visible, seed) {
            Ok((core, hands)) => self.up = Some(Up { core, hands, pending: Vec::new() }),
            Err(fault) => {
                if self.machine.power.is_out() {
                    self.power_cut();
                    return Ok(());
                }
                return self.check_refused_boot(visible, &fault);
            }
        }
        self.tell(|| format!("boot with {visible:?}"));
        self.settle(60);
        if self.machine.power.is_out() {
            let all = DiskSet::first(self.machine.disks.len());
            self.model.went_on_without(all.minus(visible));
            self.power_cut();
            return Ok(());
        }
        self.tell(|| format!("booted with {visible:?}"));
        self.check_boot(visible)
    }

    /// Lets the world go on until it is quiet, at most `steps` steps.
    fn settle(&mut self, steps: usize) {
        if let Some(up) = &self.up {
            for _ in 0..steps {
                if self.machine.power.is_out() {
                    return;
                }
                if !up.hands.step(&up.core) {
                    break;
                }
            }
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let len = match self.rng.below(10) {
            0 => 0,
            1..=4 => 1 + self.rng.index(120),
            5..=7 => 129 + self.rng.index(1500),
            8 => 2000 + self.rng.index(6000),
            _ => 9000 + self.rng.index(9000),
        };
        let at = self.rng.index(self.pool.len());
        let mut bytes: Vec<u8> = self.pool.iter().cycle().skip(at).take(len).copied().collect();
        if self.rng.chance(1, 2) && !bytes.is_empty() {
            let fresh = self.rng.bytes(bytes.len().min(64));
            let from = self.rng.index(bytes.len() - fresh.len() + 1);
            bytes[from..from + fresh.len()].copy_from_slice(&fresh);
        }
        bytes
    }

    fn dataset(&mut self) -> DatasetRef {
        let names = ["alpha/docs", "alpha/base", "beta/docs"];
        names[self.rng.index(names.len())].parse().expect("valid names")
    }

    fn begin(&mut self, bytes: &[u8]) -> VaultResult<Put> {
        let dataset = self.dataset();
        let up = self.up.as_ref().expect("puts happen while the box is up");
        let mut put = Put::begin(up.core.clone(), dataset, coffre_core::class::LockClass::DAYS_30)?;
        for piece in bytes.chunks(1 + self.rng.index(4000)) {
            put.write(piece)?;
        }
        Ok(put)
    }

    fn put(&mut self) {
        let bytes = self.content();
        let Ok(put) = self.begin(&bytes) else { return };
        let Ok(submitted) = put.submit() else { return };
        let id = submitted.object.id;
        self.model.submitted(id, Arc::new(bytes));
        let wait = self.rng.chance(1, 4);
        let up = self.up.as_mut().expect("still up");
        if wait {
            let answer = up.core.wait(submitted.ticket);
            self.seen.acked += u64::from(answer.is_ok());
            self.model.answered(id, answer);
        } else {
            up.pending.push((submitted.ticket, id));
        }
    }

    fn put_and_drop(&mut self) {
        let bytes = self.content();
        drop(self.begin(&bytes));
    }

    fn let_go(&mut self) {
        let steps = 1 + self.rng.index(12);
        self.settle(steps);
    }

    fn pass_time(&mut self) {
        let ms = [20, 200, 1_000, 6_000][self.rng.index(4)];
        // Long waits find everything done that a healthy disk can do: only a hung one is late.
        if ms > 1_000 {
            self.settle(400);
        }
        if let Some(up) = &self.up {
            up.hands.pass_time(&up.core, ms);
        }
    }

    fn upkeep(&mut self) {
        let since = self.rng.below(10_000);
        let forced = self.rng.chance(1, 3);
        if let Some(up) = &self.up {
            let fold_first = forced && up.core.fold().is_ok();
            if fold_first {
                up.core.with(|e| e.want_checkpoint());
            }
            self.seen.healing += u64::from(up.core.heal_one().is_some());
            // Locks outlast every run here: what is forgotten is what uploads that were cut off left behind.
            if forced && up.core.forget_run(None).is_ok_and(|forgot| forgot.condemned > 0) {
                self.seen.locked_forgotten += 1;
            }
            if let Ok(did) = up.core.upkeep(since) {
                self.seen.upkeep += u64::from(did != coffre_vault::upkeep::Did::Nothing);
            }
        }
    }

    /// Answers that came meanwhile.
    fn collect(&mut self) {
        let Some(up) = self.up.as_mut() else { return };
        let hands = up.hands.clone();
        let model = &mut self.model;
        let mut acked = 0;
        up.pending.retain(|(ticket, id)| match hands.answer(*ticket) {
            None => true,
            Some(answer) => {
                acked += u64::from(answer.is_ok());
                model.answered(*id, answer);
                false
            }
        });
        self.seen.acked += acked;
    }

    /// Lets the power go out some operations from now.
    fn fuse(&mut self) {
        let ops = self.rng.below(40);
        self.machine.power.cut_after(ops);
        self.settle(60);
    }

    /// What ended the box in the middle of an operation was the power, or only the daemon: then the machine lives on with
    /// its caches, for a later power cut to decide about.
    fn power_cut_or_kill(&mut self) {
        if !self.rng.chance(1, 3) {
            return self.power_cut();
        }
        self.collect();
        self.tell(|| "killed".into());
        self.seen.kills += 1;
        self.up = None;
        self.machine.process_died();
    }

    fn power_cut(&mut self) {
        self.collect();
        self.tell(|| "power cut".into());
        self.seen.cuts += 1;
        self.up = None;
        let n = self.seen.cuts;
        self.seen.trace = splitmix(self.seen.trace ^ self.machine.trace() ^ n);
        self.machine.power_cut(&mut self.rng);
        self.bad.after_cut(&self.case, &self.machine, &mut self.model, &mut self.rng, &mut self.seen);
    }

    fn unplug_one(&mut self) {
        let pick = self.rng.index(self.machine.disks.len());
        self.machine.disks[pick].unplug();
    }

    fn plug_one(&mut self) {
        let pick = DiskNo(self.rng.index(self.machine.disks.len()) as u8);
        self.plug(pick);
    }

    /// A disk comes back, if it may and the engine has finished with what it once gave it.
    fn plug(&mut self, disk: DiskNo) {
        let Some(up) = self.up.as_ref() else { return };
        if self.bad.dead.has(disk) || !up.core.wants_probe().has(disk) {
            return;
        }
        self.machine.plug(disk, &mut self.rng);
        if up.core.with(|e| e.never_mounted()) {
            // What was read-only from the start is mounted anew when disks come back.
            self.up = None;
            return;
        }
        if let Some(survey) = self.machine.survey(disk) {
            up.core.forget_tables();
            up.core.event(coffre_vault::engine::Event::Attached(disk, Box::new(survey)));
        }
    }

    fn bad_day(&mut self) {
        if self.case.faults {
            self.bad.strike(&self.machine, &mut self.model, &mut self.rng, &mut self.seen);
        }
    }
}

/// The flaws that only the whole vault shows; the coordinator's own are caught in its own world, and sweeping blindly
/// in `sweep.rs`.
pub const VAULT_FLAWS: &[Flaw] = &[
    Flaw::AckAtM,
    Flaw::WriteBelow,
    Flaw::AckAtK,
    Flaw::SkipDirSync,
    Flaw::RetrySync,
    Flaw::SkipJournalSync,
    Flaw::TrustIndexHit,
    Flaw::ExpectedIsKnown,
    Flaw::SkipShardCheck,
    Flaw::RecordBeforePack,
    Flaw::UnknownIsNo,
];
