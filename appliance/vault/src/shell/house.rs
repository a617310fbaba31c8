//! The open vault: opened, mounted, mounted anew when disks come back, closed.

use super::crew::{Crew, CrewHands};
use super::foreign::Foreign;
use super::guests::{Rests, tend_guests};
use super::health::Healths;
use super::lookout::{Lookout, Sight};
use super::medium::Medium;
use super::opening::{Seen, open_index, open_keys, refuse_held, see, was_born};
use super::quota::Takings;
use super::shared_index::SharedIndex;
use super::space::Rooms;
use super::stop::Bell;
use super::strange::Strangers;
use super::{keeper, prober};
use crate::api::IdentityKeys;
use crate::clock::{SystemClock, SystemEntropy};
use crate::core::{Core, Parts, lock};
use crate::disk::Holder;
use crate::engine::{Engine, Mount, SlotState};
use crate::init::draw;
use crate::limits::Limits;
use crate::memory;
use crate::ports::{Clock, Entropy, Index};
use crate::state::{BoxFile, SCRUB_FILE, StateFolder};
use crate::survey::Survey;
use coffre_core::buffer::Pool;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::geometry::{Geometry, MAX_DISKS};
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::keys::KeyRing;
use coffre_core::roster::Standing;
use coffre_core::wire::{DiskState, ScrubInfo};
use coffre_core::witness::{EpochNote, Witness};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

/// How long opening waits for the epoch to begin.
const BEGIN_CEILING_MS: u64 = 30_000;
/// How long opening then waits for disks that lag behind.
const CATCH_UP_CEILING_MS: u64 = 5_000;
/// How long new work waits while the disks are exchanged.
const EXCHANGE_CEILING_MS: u64 = 60_000;
/// How long closing waits for what was begun, for a checkpoint, and for threads.
const CLOSE_CEILING_MS: u64 = 10_000;
const JOIN_CEILING_MS: u64 = 5_000;

/// Why the vault is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    /// It was just made and has no fact yet.
    First,
    /// As always.
    Again,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct House {
    pub state: StateFolder,
    /// Whoever holds the disks of this house.
    pub holder: Holder,
    pub keys: Arc<KeyRing>,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub rooms: Rooms,
    pub takings: Takings,
    pub healths: Healths,
    /// What was found on disks that is not the vault's.
    pub(super) strangers: Strangers,
    pub foreign: Foreign,
    /// Names of files of repositories that are about to be handed in.
    pub files_under_way: Mutex<std::collections::HashSet<crate::repos::FilePlace>>,
    /// Held by whoever changes clients.
    pub admin: Mutex<()>,
    pub(super) unsure: Mutex<super::unsure::Unsure>,
    pub(super) refusals: Mutex<super::refusals::Refusals>,
    /// Disks whose key slots are known to be those of the state folder.
    pub(super) slots_current: Mutex<DiskSet>,
    /// Held by whoever changes the disks of the vault.
    pub(super) roster: Mutex<()>,
    /// What the box knows of its vault, as `box.json` has it.
    pub(super) known: Mutex<Arc<BoxFile>>,
    pub(super) lookout: Mutex<Arc<Lookout>>,
    pub(super) medium: Mutex<Medium>,
    /// Where each disk was found last.
    pub(super) places: Mutex<Vec<PathBuf>>,
    pub(super) ticker_bell: Bell,
    pub(super) keeper_bell: Bell,
    pub(super) prober_bell: Bell,
    index: Arc<dyn Index>,
    now: RwLock<Arc<Mounted>>,
    closing: AtomicBool,
    /// The disks are being exchanged under the vault: new work waits.
    pub(super) exchanging: AtomicBool,
    /// The last mount failed half-way: whatever comes, mount anew.
    pub(super) must_mount: AtomicBool,
    /// Threads of earlier mounts that hang at a disk.
    pub(super) stuck: Mutex<Vec<(DiskId, JoinHandle<()>)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// One mount and its threads.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub core: Arc<Core>,
    pub crew: Arc<Crew>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a thread of the house does until its bell rings.
type Work = fn(&House);

/// What a mount needs besides disks.
pub(super) struct Ground<'a> {
    state: &'a StateFolder,
    of: &'a BoxFile,
    standing: &'a Standing,
    keys: &'a Arc<KeyRing>,
    limits: Limits,
    clock: &'a Arc<dyn Clock>,
    entropy: &'a Arc<dyn Entropy>,
    index: &'a Arc<dyn Index>,
}

impl House {
    /// Opens the vault of a state folder and starts its threads; its disks are held for `holder`. See
    /// [`Vault::open`](crate::Vault::open).
    pub fn open(state: StateFolder, opening: Opening, holder: Holder) -> Result<Arc<Self>> {
        Self::open_by(state, opening, holder, Arc::new(SystemClock::default()))
    }

    /// The same by a clock that is not the system's.
    pub fn open_by(
        state: StateFolder,
        opening: Opening,
        holder: Holder,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let mut of = state.read_box()?;
        state.tighten();
        let keys = open_keys(&state, &of)?;
        let Seen { lookout, sights, standing } = see(&state, &mut of, &keys, &holder)?;
        refuse_held(&of, &sights, standing.geometry)?;
        if !of.born && opening == Opening::Again {
            let seen = was_born(&keys, &standing, &sights);
            let unborn = |next: &str| {
                Fault::refused(format!("the making of the vault in {} was cut off", state.path().display()))
                    .next(next)
            };
            match seen? {
                Some(true) => {
                    tracing::warn!(
                        "box.json says that the vault was never made, and the disks say that it was"
                    );
                    of.born = true;
                    state.write_box(&of)?;
                }
                Some(false) => {
                    return Err(unborn(
                        "nothing was stored in it yet: empty the state folder and the disks, and run `coffre init` again",
                    ));
                }
                None => {
                    return Err(unborn(
                        "attach all of its disks: without them nobody can tell whether anything was stored",
                    ));
                }
            }
        }
        let strangers = Strangers::default();
        note_strange(&strangers, &sights, clock.mono_ms());
        let limits = Limits::of(of.try_out);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let index = open_index(&state);
        let mut places: Vec<PathBuf> = of.disks.iter().map(|d| d.path.clone()).collect();
        let ground = Ground {
            state: &state,
            of: &of,
            standing: &standing,
            keys: &keys,
            limits,
            clock: &clock,
            entropy: &entropy,
            index: &index,
        };
        let mounted = ground.mount(sights, &mut places)?;
        let born = mounted.core.with(|e| e.catalog().born().map(|b| b.try_out));
        if let Some(try_out) = born.filter(|try_out| *try_out != of.try_out) {
            // What the sealed journal says holds: whoever can write a file makes no real vault a try-out, with locks of seconds.
            tracing::warn!("box.json says that try-out is {}, the journal {try_out}", of.try_out);
            mounted.crew.stop();
            mounted.crew.lanes.iter().for_each(|lanes| lanes.set_disk(None));
            of.try_out = try_out;
            state.write_box(&of)?;
            return Self::open_by(state, opening, holder, clock);
        }
        let disks = of.disks.len();
        let house = Arc::new(Self {
            rooms: Rooms::new(MAX_DISKS, limits.reserve),
            medium: Mutex::new(Medium::of(state.path())),
            state,
            holder,
            known: Mutex::new(Arc::new(of)),
            keys,
            limits,
            clock,
            entropy,
            takings: Takings::default(),
            strangers,
            healths: Healths::new(disks),
            foreign: Foreign::default(),
            files_under_way: Mutex::default(),
            admin: Mutex::default(),
            unsure: Mutex::default(),
            refusals: Mutex::default(),
            slots_current: Mutex::new(DiskSet::EMPTY),
            roster: Mutex::default(),
            lookout: Mutex::new(Arc::new(lookout)),
            places: Mutex::new(places),
            ticker_bell: Bell::default(),
            keeper_bell: Bell::default(),
            prober_bell: Bell::default(),
            index,
            now: RwLock::new(Arc::new(mounted)),
            closing: AtomicBool::new(false),
            exchanging: AtomicBool::new(false),
            must_mount: AtomicBool::new(false),
            stuck: Mutex::default(),
            threads: Mutex::default(),
        });
        house.recall_refusals();
        // What only disks that were taken out still have can be read from the first moment on.
        tend_guests(&house, &house.mounted(), &mut Rests::new());
        house.start().inspect_err(|_| house.close())?;
        house.settle();
        prober::measure(&house, &house.mounted());
        Ok(house)
    }

    fn start(self: &Arc<Self>) -> Result<()> {
        // Two healers: while one waits for a disk the other computes.
        let work: [(&str, Work); 6] = [
            ("ticker", keeper::tick),
            ("keeper", keeper::keep),
            ("prober", prober::probe),
            ("healer-0", keeper::heal),
            ("healer-1", keeper::heal),
            ("scrubber", keeper::scrub),
        ];
        for (name, work) in work {
            let house = self.clone();
            let spawned = std::thread::Builder::new().name(name.into()).spawn(move || work(&house));
            let thread = spawned.map_err(|e| Fault::permanent(format!("cannot start a thread: {e}")))?;
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// Waits until the epoch has begun or cannot, then a little for disks that lag behind.
    fn settle(&self) {
        let core = self.core();
        self.wait_until(BEGIN_CEILING_MS, || core.report().stalled != Some(None));
        self.wait_until(CATCH_UP_CEILING_MS, || {
            let report = core.report();
            report.stalled.is_some() || report.disks.iter().all(|d| d.1 != DiskState::CatchingUp)
        });
    }

    pub fn mounted(&self) -> Arc<Mounted> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn core(&self) -> Arc<Core> {
        self.mounted().core.clone()
    }

    /// What the box knows of its vault.
    pub fn of(&self) -> Arc<BoxFile> {
        lock(&self.known).clone()
    }

    /// The geometry in force.
    pub fn geometry(&self) -> Geometry {
        self.core().with(|e| e.geometry())
    }

    /// Refuses new work while the box stops; while its disks are exchanged, new work waits.
    pub fn open_for_work(&self) -> Result<Arc<Core>> {
        self.wait_until(EXCHANGE_CEILING_MS, || !self.exchanging.load(Ordering::SeqCst));
        if self.closing.load(Ordering::SeqCst) { Err(super::stopping()) } else { Ok(self.core()) }
    }

    pub fn identity(&self) -> IdentityKeys {
        IdentityKeys {
            authority_scalar: self.keys.authority_scalar(),
            leaf_scalar: self.keys.leaf_scalar(),
            receipt_seed: self.keys.receipt_seed(),
        }
    }

    /// What the scrub knows; with `deep`, a round is begun first.
    pub fn scrub(&self, deep: Option<bool>) -> Result<ScrubInfo> {
        let core = self.open_for_work()?;
        if let Some(deep) = deep {
            core.scrub_ask(deep);
            self.keeper_bell.nudge();
        }
        Ok(core.scrub_info())
    }

    /// Has the index burnt by the keeper, who alone teaches it, and waits a little until that is done.
    pub fn burn_index(&self) -> Result<()> {
        let core = self.open_for_work()?;
        core.doubt_index();
        self.keeper_bell.nudge();
        self.wait_until(CATCH_UP_CEILING_MS, || !core.index_doubted.load(Ordering::Relaxed));
        Ok(())
    }

    /// Mounts anew, with the disks and the roster that show now. Nothing may be written under the mount before any more.
    pub(super) fn mount_anew(&self, hung: &[DiskId]) -> Result<()> {
        self.note_scrub();
        let mut of = BoxFile::clone(&self.of());
        let Seen { lookout, mut sights, standing } = see(&self.state, &mut of, &self.keys, &self.holder)?;
        note_strange(&self.strangers, &sights, self.clock.mono_ms());
        for (no, sight) in &mut sights {
            if standing.roster.disks.get(no.ix()).is_some_and(|id| hung.contains(id)) {
                *sight = Err((SlotState::Suspect, "it does not answer".into()));
            }
        }
        let mut places: Vec<PathBuf> = of.disks.iter().map(|d| d.path.clone()).collect();
        let ground = Ground {
            state: &self.state,
            of: &of,
            standing: &standing,
            keys: &self.keys,
            limits: self.limits,
            clock: &self.clock,
            entropy: &self.entropy,
            index: &self.index,
        };
        let mounted = Arc::new(ground.mount(sights, &mut places)?);
        *lock(&self.known) = Arc::new(of);
        *lock(&self.lookout) = Arc::new(lookout);
        *lock(&self.places) = places;
        // Another disk may stand in a place now.
        *lock(&self.slots_current) = DiskSet::EMPTY;
        let old = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), mounted);
        old.crew.stop();
        Ok(())
    }

    /// Writes where the scrub stands. Without it the next mount looks again at what this one has seen.
    fn note_scrub(&self) {
        if let Err(fault) = self.state.write(SCRUB_FILE, &self.core().scrub_note_now()) {
            tracing::warn!("the scrub's note: {fault}");
        }
    }

    /// Refuses new work, waits for what was begun (bounded), stops the threads. Again: nothing.
    pub fn close(&self) {
        if self.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        let mounted = self.mounted();
        let core = &mounted.core;
        core.note_clock(true);
        let idle = || core.with(|e| e.writable().is_err() || e.idle() && e.packs_busy() == 0);
        self.wait_until(CLOSE_CEILING_MS, idle);
        if core.with(|e| e.writable().is_ok() && e.checkpoint_due()) {
            core.with(|e| e.want_checkpoint());
            self.wait_until(CLOSE_CEILING_MS, || core.with(|e| !e.checkpointing()));
        }
        [&self.ticker_bell, &self.keeper_bell, &self.prober_bell].iter().for_each(|bell| bell.ring());
        self.join(std::mem::take(&mut *lock(&self.threads)));
        self.write_refusals();
        self.note_scrub();
        // Only now: the prober may have mounted anew in between.
        let mounted = self.mounted();
        mounted.crew.stop();
        self.join(std::mem::take(&mut *lock(&mounted.threads)));
        mounted.crew.lanes.iter().chain(&mounted.crew.guests).for_each(|lanes| lanes.set_disk(None));
    }

    /// Waits for threads to end. One that hangs at a disk is left where it is: the process ends without it.
    fn join(&self, threads: Vec<JoinHandle<()>>) {
        self.wait_until(JOIN_CEILING_MS, || threads.iter().all(JoinHandle::is_finished));
    }

    pub fn wait_until(&self, ceiling_ms: u64, done: impl Fn() -> bool) -> bool {
        let deadline_ms = self.clock.mono_ms() + ceiling_ms;
        loop {
            if done() {
                return true;
            }
            if self.clock.mono_ms() >= deadline_ms {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Notes what disks show that is not the vault's.
fn note_strange(strangers: &Strangers, sights: &[(DiskNo, Sight)], now_ms: u64) {
    for found in sights.iter().filter_map(|(_, sight)| sight.as_ref().ok()) {
        strangers.note(found.survey.label.disk, found.survey.strange.to_string(), now_ms);
    }
}

impl Ground<'_> {
    fn mount(&self, sights: Vec<(DiskNo, Sight)>, places: &mut [PathBuf]) -> Result<Mounted> {
        let crew = Crew::new(self.of.disks.len(), self.limits.hang_ms);
        let mut away = Vec::new();
        let mut surveys = Vec::new();
        let held = sights.iter().any(|(_, sight)| matches!(sight, Err((SlotState::Held, _))));
        for (no, sight) in sights {
            match sight {
                // It takes no part in the mount; the prober finds it.
                Ok(found) if found.survey.label.is_newcomer() => {
                    away.push((no, SlotState::Absent, "it has not joined yet".to_owned()));
                    surveys.push(None);
                }
                Ok(found) => {
                    crew.lanes[no.ix()].set_disk(Some(found.disk));
                    places[no.ix()] = found.path;
                    surveys.push(Some(found.survey));
                }
                Err((state, why)) => {
                    away.push((no, state, why));
                    surveys.push(None);
                }
            }
        }
        let joined = |s: &Option<Survey>| s.as_ref().is_some_and(|s| !s.label.is_newcomer());
        let whole = surveys.iter().all(joined);
        // Whoever holds the others may have the same witness, copied with the state folder: it vouches for nothing then.
        let few = surveys.iter().filter(|s| joined(s)).count() <= self.standing.geometry.m();
        let witness = if held && few { None } else { self.witness(whole) };
        let mut engine = Engine::mount(Mount {
            limits: self.limits,
            flaws: Flaws::NONE,
            keys: self.keys.clone(),
            entropy: self.entropy.clone(),
            standing: self.standing.clone(),
            surveys,
            witness,
            now_ms: self.clock.mono_ms(),
            owner: draw(&**self.entropy),
        })?;
        if self.of.born && engine.writable().is_ok() && engine.catalog().born().is_none() {
            return Err(Fault::corrupt("the journal on the disks has lost its beginning: the vault is empty, and the box knows that it was not")
                .next("take these disks out and put back those that were used last"));
        }
        away.into_iter().for_each(|(no, state, why)| engine.probe_failed(no, state, why));
        let core = Core::new(Parts {
            engine,
            index: Box::new(SharedIndex(self.index.clone())),
            keys: self.keys.clone(),
            roster: self.standing.roster.disks.clone(),
            limits: self.limits,
            flaws: Flaws::NONE,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            hands: Box::new(CrewHands(crew.clone())),
            buffers: Pool::of_regions(memory::huge),
        });
        core.scrub_recall(self.state.read(SCRUB_FILE).ok().flatten().as_deref());
        // Until the keeper has compared it with the catalogue, the index is not whole.
        core.index_ready.store(false, Ordering::Relaxed);
        let threads = crew.start(&core, self.state.path())?;
        Ok(Mounted { core, crew, threads: Mutex::new(threads) })
    }

    /// What the witness remembers. A new one begins only when all disks are there: then there is nothing it could have
    /// known that they do not show.
    fn witness(&self, whole: bool) -> Option<Witness> {
        let vault = self.of.vault_id;
        let none = EpochNote { epoch: 0, active: DiskSet::EMPTY, witnessed: false };
        let fresh =
            Witness { vault, generation: 0, confirmed: none, opening: none, built_on: (0, 0), acked: 0 };
        self.state.read_witness(vault).or(whole.then_some(fresh))
    }
}
