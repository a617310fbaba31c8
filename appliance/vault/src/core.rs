//! What every stream and job shares: the engine behind its lock, the index, the packs that are open.
//!
//! [`Hands`] is the only difference between the appliance and the simulator: who carries effects out, and what waiting
//! means. Everything else in this crate is the same code in both.

use crate::engine::{Acked, Effect, Engine, Event, Report, Ticket};
use crate::limits::Limits;
use crate::open::OpenPacks;
use crate::ports::{Clock, Disk, DiskError, DiskResult, Entropy, Index};
use crate::read::Caches;
use crate::upkeep::{Memory, Retention};
use coffre_core::buffer::Pool;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::Fact;
use coffre_core::fault::Result;
use coffre_core::flaw::Flaws;
use coffre_core::ids::{DiskId, DiskNo, PackId};
use coffre_core::keys::KeyRing;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who carries out effects and what waiting means: threads in the appliance, a seeded scheduler in the simulator.
pub trait Hands: Send + Sync + fmt::Debug {
    /// Takes effects, in order. Called with the engine locked: must not wait and must not call back.
    fn carry(&self, effects: Vec<Effect>);
    /// Waits for the answer to a ticket.
    fn wait(&self, core: &Core, ticket: Ticket) -> Result<Acked>;
    /// Waits a little for something to change: for packs on their way to become fewer.
    fn wait_a_little(&self, core: &Core) -> Result<()>;
    /// Carries out what is asked of several disks, at the same time where they can; an error where a disk did not come
    /// to it within a bounded time.
    fn visit(&self, visits: Vec<Visit>) -> Vec<std::result::Result<(), DiskError>>;
    /// Reads from a disk, within a bounded time.
    fn read(
        &self,
        disk: DiskNo,
        path: &str,
        offset: u64,
        len: usize,
    ) -> std::result::Result<Vec<u8>, DiskError>;
}

/// What is done on a disk's lane for reading.
pub type Work = Box<dyn FnOnce(&dyn Disk) + Send>;

/// Something to be read on one disk.
pub struct Visit {
    /// Which disk.
    pub disk: DiskNo,
    /// What is done there.
    pub work: Work,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    engine: Mutex<Engine>,
    /// The index: hints only.
    pub index: Box<dyn Index>,
    /// Set when the index must be burned and built again.
    pub index_doubted: AtomicBool,
    /// Packs the index has not learnt yet, as far as the last look told; zero when it is whole.
    pub index_lacking: AtomicU64,
    /// Whether no rebuild of the index is under way or due.
    pub index_ready: AtomicBool,
    /// The vault's keys.
    pub keys: Arc<KeyRing>,
    /// All disks, in order.
    pub roster: Vec<DiskId>,
    /// Ceilings and paces.
    pub limits: Limits,
    /// Rules to break; none outside the rig.
    pub flaws: Flaws,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Dice.
    pub entropy: Arc<dyn Entropy>,
    /// Where packs are made.
    pub(crate) buffers: Pool,
    /// How often one had been taken at the last look, and when that was, running time.
    pub(crate) last_loans: Mutex<(u64, u64)>,
    /// Packs that take blobs.
    pub(crate) open: Mutex<OpenPacks>,
    /// Streams that are writing now.
    pub(crate) streams: AtomicUsize,
    /// When a stream last read a chunk, running time; 0 for never.
    pub(crate) last_read_ms: AtomicU64,
    pub(crate) caches: Caches,
    pub(crate) scrubber: crate::scrub::Scrubber,
    pub(crate) retention: Mutex<Retention>,
    pub(crate) forget_memory: Mutex<Memory>,
    /// Held by the one run of forgetting that there may be.
    pub(crate) forgetting: Mutex<()>,
    hands: Box<dyn Hands>,
}

/// What a core is made of.
pub struct Parts {
    /// The mounted engine.
    pub engine: Engine,
    /// The index.
    pub index: Box<dyn Index>,
    /// The vault's keys.
    pub keys: Arc<KeyRing>,
    /// All disks, in order.
    pub roster: Vec<DiskId>,
    /// Ceilings and paces.
    pub limits: Limits,
    /// Rules to break.
    pub flaws: Flaws,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Dice.
    pub entropy: Arc<dyn Entropy>,
    /// Who carries effects out.
    pub hands: Box<dyn Hands>,
    /// Where large buffers come from.
    pub buffers: Pool,
}

impl Core {
    /// Puts the parts together and carries out what the mount asked for.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { engine, index, keys, roster, limits, flaws, clock, entropy, hands, buffers } = parts;
        let retention = Retention::new(engine.catalog(), clock.wall_ms(), clock.mono_ms(), flaws);
        let core = Arc::new(Self {
            engine: Mutex::new(engine),
            index,
            index_doubted: AtomicBool::new(false),
            index_lacking: AtomicU64::new(0),
            index_ready: AtomicBool::new(true),
            keys,
            roster,
            limits,
            flaws,
            clock,
            entropy,
            buffers,
            last_loans: Mutex::default(),
            open: Mutex::new(OpenPacks::default()),
            streams: AtomicUsize::new(0),
            last_read_ms: AtomicU64::new(0),
            caches: Caches::default(),
            scrubber: crate::scrub::Scrubber::default(),
            retention: Mutex::new(retention),
            forget_memory: Mutex::default(),
            forgetting: Mutex::new(()),
            hands,
        });
        core.with(|_| ());
        core
    }

    /// Changes the engine, then hands its effects on, in order, before anyone else can.
    pub fn with<T>(&self, change: impl FnOnce(&mut Engine) -> T) -> T {
        let mut engine = lock(&self.engine);
        let out = change(&mut engine);
        let effects: Vec<Effect> = engine.take_effects().collect();
        if !effects.is_empty() {
            self.hands.carry(effects);
        }
        out
    }

    /// Tells the engine what happened.
    pub fn event(&self, event: Event) {
        self.with(|e| e.apply(event));
    }

    /// Hands in facts and returns the ticket to wait on.
    pub fn submit(&self, facts: Vec<Fact>, needs: Vec<PackId>) -> Ticket {
        self.with(|e| {
            let ticket = e.fresh_ticket();
            e.submit(ticket, facts, needs);
            ticket
        })
    }

    /// Waits for a ticket's answer.
    pub fn wait(&self, ticket: Ticket) -> Result<Acked> {
        self.hands.wait(self, ticket)
    }

    /// Waits until another pack may be sent on its way.
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        while self.with(|e| e.packs_busy()) >= self.limits.packs_in_flight {
            self.hands.wait_a_little(self)?;
        }
        Ok(())
    }

    pub(crate) fn read(
        &self,
        disk: DiskNo,
        path: &str,
        offset: u64,
        len: usize,
    ) -> std::result::Result<Vec<u8>, DiskError> {
        self.hands.read(disk, path, offset, len)
    }

    /// Asks several disks, each its own question, and waits for all answers, in order.
    pub(crate) fn ask_all<T: Send + 'static>(
        &self,
        asks: impl IntoIterator<Item = (DiskNo, impl FnOnce(&dyn Disk) -> DiskResult<T> + Send + 'static)>,
    ) -> Vec<DiskResult<T>> {
        let (mut visits, mut places) = (Vec::new(), Vec::new());
        for (disk, ask) in asks {
            let place = Arc::new(Mutex::new(None));
            let answer = place.clone();
            let work = Box::new(move |disk: &dyn Disk| *lock(&answer) = Some(ask(disk)));
            visits.push(Visit { disk, work });
            places.push(place);
        }
        let nothing = || Err(DiskError::Gone("it gave no answer".into()));
        let came = self.hands.visit(visits).into_iter().zip(places);
        came.map(|(went, place)| went.and_then(|()| lock(&place).take().unwrap_or_else(nothing))).collect()
    }

    /// The engine's state in values.
    pub fn report(&self) -> Report {
        self.with(|e| e.report())
    }

    /// Disks worth a look.
    pub fn wants_probe(&self) -> DiskSet {
        self.with(|e| e.wants_probe())
    }

    /// Whether streams are writing now, or somebody read within the last second: then background work yields.
    pub fn busy(&self) -> bool {
        self.being_read() || self.streams.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody read within the last second.
    pub fn being_read(&self) -> bool {
        let read_ms = self.last_read_ms.load(Ordering::Relaxed);
        read_ms > 0 && self.clock.mono_ms().saturating_sub(read_ms) < 1_000
    }

    /// The index gave a wrong answer or an error: it is burned and built again, and until then duplicates may be
    /// stored twice.
    pub(crate) fn doubt_index(&self) {
        self.index_ready.store(false, Ordering::Relaxed);
        self.index_doubted.store(true, Ordering::Relaxed);
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.entropy.fill(&mut out);
        out
    }
}

/// A lock that a panicking thread left behind is taken all the same: what it guards is changed in whole steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
