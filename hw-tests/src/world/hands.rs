//! The simulator's hands: effects wait in queues, and a seeded scheduler carries out one at a time.
//!
//! What waiting means here: let the world go on until the answer is there, the power is out, or nothing moves.

use crate::rng::Rng;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::DiskNo;
use coffre_core::witness::{WITNESS_LEN, Witness};
use coffre_vault::core::{Core, Hands, Visit};
use coffre_vault::engine::{Acked, Effect, EncodeOrder, Event, JobId, Ticket};
use coffre_vault::lane::{Job, execute};
use coffre_vault::layout;
use coffre_vault::ports::{Clock, Disk, DiskError};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Machine;

/// See the module. Clones share everything.
#[derive(Clone)]
pub struct SimHands {
    machine: Arc<Machine>,
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    /// Per disk: the journal's lane and the one for bulk.
    lanes: Vec<[VecDeque<(JobId, Job)>; 2]>,
    witness: VecDeque<Witness>,
    encodes: VecDeque<EncodeOrder>,
    index: VecDeque<Effect>,
    answers: HashMap<Ticket, Result<Acked>>,
    steps: u64,
}

impl fmt::Debug for SimHands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimHands")
    }
}

impl SimHands {
    /// Hands with nothing to do yet.
    pub fn new(machine: Arc<Machine>, seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            lanes: (0..coffre_core::geometry::MAX_DISKS)
                .map(|_| [VecDeque::new(), VecDeque::new()])
                .collect(),
            witness: VecDeque::new(),
            encodes: VecDeque::new(),
            index: VecDeque::new(),
            answers: HashMap::new(),
            steps: 0,
        };
        Self { machine, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a ticket, if it is there.
    pub fn answer(&self, ticket: Ticket) -> Option<Result<Acked>> {
        self.state().answers.remove(&ticket)
    }

    /// Carries out one thing of those that wait, chosen by the dice. `false` when there was nothing.
    pub fn step(&self, core: &Core) -> bool {
        let chosen = self.choose();
        let event = match chosen {
            None => return false,
            Some(Chosen::Job(disk, id, job)) => self.do_job(core, disk, id, &job),
            Some(Chosen::Witness(w)) => Event::WitnessSaved(w, self.save_witness(w).is_ok()),
            Some(Chosen::Encode(order)) => order.carry_out(&core.keys),
            Some(Chosen::Index(effect)) => {
                let told = match &effect {
                    Effect::Learn(pack, chunks) => core.index.learn(*pack, chunks),
                    Effect::Forget(pack) => core.index.forget(*pack),
                    Effect::Note(dataset, order, id) => core.index.note_object(dataset, *order, *id),
                    _ => Ok(()),
                };
                if told.is_err() {
                    core.index_ready.store(false, std::sync::atomic::Ordering::Relaxed);
                    core.index_doubted.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                return true;
            }
        };
        core.event(event);
        true
    }

    fn do_job(&self, core: &Core, disk: DiskNo, id: JobId, job: &Job) -> Event {
        if !core.with(|e| e.still_wanted(id)) {
            return Event::Job(id, Err(DiskError::Gone("no longer wanted".into())));
        }
        Event::Job(id, execute(self.machine.seat(disk), job, &core.keys, core.flaws))
    }

    fn choose(&self) -> Option<Chosen> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.steps += 1;
        let mut ready: Vec<Source> = Vec::new();
        for (i, lanes) in state.lanes.iter().enumerate() {
            if lanes.iter().all(VecDeque::is_empty) || self.machine.seat(DiskNo(i as u8)).is_hung() {
                continue;
            }
            ready.extend((0..2).filter(|l| !lanes[*l].is_empty()).map(|l| Source::Lane(i, l)));
        }
        if !state.witness.is_empty() {
            ready.push(Source::Witness);
        }
        if !state.encodes.is_empty() {
            ready.push(Source::Encode);
        }
        if !state.index.is_empty() {
            ready.push(Source::Index);
        }
        match *state.rng.pick(&ready)? {
            Source::Lane(i, l) => {
                state.lanes[i][l].pop_front().map(|(id, job)| Chosen::Job(DiskNo(i as u8), id, job))
            }
            Source::Witness => state.witness.pop_front().map(Chosen::Witness),
            Source::Encode => state.encodes.pop_front().map(Chosen::Encode),
            Source::Index => state.index.pop_front().map(Chosen::Index),
        }
    }

    fn save_witness(&self, w: Witness) -> std::result::Result<(), DiskError> {
        let disk = &self.machine.state;
        if disk.len(layout::WITNESS).is_err() {
            disk.create(layout::WITNESS)?;
            disk.write_at(layout::WITNESS, 0, &vec![0; WITNESS_LEN])?;
            disk.sync(layout::WITNESS)?;
            disk.sync_dir("")?;
        }
        disk.open_rw(layout::WITNESS)?;
        disk.write_at(layout::WITNESS, w.slot_offset(), &w.encode())?;
        disk.sync(layout::WITNESS)
    }

    /// Lets virtual time pass and tells the engine.
    pub fn pass_time(&self, core: &Core, ms: u64) {
        self.machine.clock.advance_ms(ms);
        core.event(Event::Tick(self.machine.clock.mono_ms()));
        // A pack that fails to seal fails its streams; there is nothing to do here.
        let _ = core.seal_due();
    }
}

#[derive(Clone, Copy)]
enum Source {
    Lane(usize, usize),
    Witness,
    Encode,
    Index,
}

enum Chosen {
    Job(DiskNo, JobId, Job),
    Witness(Witness),
    Encode(EncodeOrder),
    Index(Effect),
}

impl Hands for SimHands {
    fn carry(&self, effects: Vec<Effect>) {
        let mut state = self.state();
        for effect in effects {
            match effect {
                Effect::Job(id, disk, job) => {
                    let lane = usize::from(!job.is_journal());
                    state.lanes[disk.ix()][lane].push_back((id, job));
                }
                Effect::SaveWitness(w) => state.witness.push_back(w),
                Effect::Encode(order) => state.encodes.push_back(*order),
                Effect::Answer(ticket, answer) => {
                    state.answers.insert(ticket, answer);
                }
                index @ (Effect::Learn(..) | Effect::Forget(_) | Effect::Note(..)) => {
                    state.index.push_back(index)
                }
            }
        }
    }

    fn wait(&self, core: &Core, ticket: Ticket) -> Result<Acked> {
        for _ in 0..4_000 {
            if let Some(answer) = self.answer(ticket) {
                return answer;
            }
            self.wait_a_little(core)?;
        }
        Err(Fault::transient("nothing moves any more"))
    }

    fn wait_a_little(&self, core: &Core) -> Result<()> {
        if self.machine.power.is_out() {
            return Err(Fault::transient("power cut"));
        }
        if !self.step(core) {
            self.pass_time(core, 500);
        }
        Ok(())
    }

    fn visit(&self, visits: Vec<Visit>) -> Vec<std::result::Result<(), DiskError>> {
        let one = |visit: Visit| {
            let sim = self.machine.seat(visit.disk);
            if self.machine.blind().has(visit.disk) || sim.is_hung() {
                return Err(DiskError::Gone("it does not answer".into()));
            }
            (visit.work)(sim);
            Ok(())
        };
        visits.into_iter().map(one).collect()
    }

    fn read(
        &self,
        disk: DiskNo,
        path: &str,
        offset: u64,
        len: usize,
    ) -> std::result::Result<Vec<u8>, DiskError> {
        let blind = self.machine.blind().has(disk);
        let sim = self.machine.seat(disk);
        if blind || sim.is_hung() {
            return Err(DiskError::Gone("it does not answer".into()));
        }
        sim.read_at(path, offset, len)
    }
}
