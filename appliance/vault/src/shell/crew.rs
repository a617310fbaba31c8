//! The hands of a mounted engine: per disk three lanes, a thread for the witness, one for the index, a few that encode.
//!
//! `carry` only puts effects into queues, in the engine's order; the threads take them from there and tell the core what
//! came of it. A crew belongs to one mount: a new mount gets a new crew.

use super::answers::Answers;
use super::disk::DiskLanes;
use super::queue::Queue;
use crate::core::{Core, Hands, Visit, lock};
use crate::disk::FsDisk;
use crate::engine::{Acked, Effect, EncodeOrder, Event, JobId, MAX_GUESTS, Ticket, guest_seat};
use crate::lane::{self, Job};
use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::ids::{ChunkId, DiskNo, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use coffre_core::witness::Witness;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a commit waits for its acknowledgement. While the vault is hopeless the engine answers by itself, so this
/// is only reached when something is wrong with the box.
const ACK_CEILING_MS: u64 = 120_000;
/// How long it rests before something is tried again that the box was short of descriptors or memory for.
const SHORTAGE_REST: Duration = Duration::from_millis(100);
/// How long a shortage is told after it showed last.
const SHORTAGE_TOLD_MS: u64 = 30_000;
/// Threads that read from one disk.
const READERS: usize = 2;
/// Threads that encode packs.
const ENCODERS: usize = 2;

/// What the engine and the threads share.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(super) lanes: Vec<DiskLanes>,
    /// For reading from disks that were taken out.
    pub(super) guests: Vec<DiskLanes>,
    witness: Queue<Witness>,
    encode: Queue<Box<EncodeOrder>>,
    index: Queue<Lesson>,
    answers: Answers,
    /// Why the witness could not be written; from then on this mount has none.
    witness_lost: Mutex<Option<String>>,
    /// What the box was short of last, and when that was told first, running time.
    short: Mutex<Option<(String, Option<u64>)>>,
    hang_ms: u64,
    stopping: AtomicBool,
}

/// Something for the index to know.
#[derive(Debug)]
enum Lesson {
    Learn(PackId, Vec<ChunkId>),
    Forget(PackId),
    Note(DatasetRef, u64, ObjectId),
}

/// What one thread of the crew does until its queue is closed.
type Work = Box<dyn FnOnce(&Crew, &Core) + Send>;

/// The crew as the core sees it.
#[derive(Debug)]
pub(crate) struct CrewHands(pub Arc<Crew>);

impl Crew {
    /// A crew for `disks` disks, nobody at work yet.
    pub fn new(disks: usize, hang_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            lanes: (0..disks).map(|_| DiskLanes::default()).collect(),
            guests: (0..MAX_GUESTS).map(|_| DiskLanes::default()).collect(),
            witness: Queue::default(),
            encode: Queue::default(),
            index: Queue::default(),
            answers: Answers::default(),
            witness_lost: Mutex::default(),
            short: Mutex::default(),
            hang_ms,
            stopping: AtomicBool::new(false),
        })
    }

    /// Starts the threads. `state` is the folder the witness is kept in.
    pub fn start(self: &Arc<Self>, core: &Arc<Core>, state: &Path) -> Result<Vec<JoinHandle<()>>> {
        let mut threads = Vec::new();
        let mut spawn = |name: String, work: Work| {
            let (crew, core) = (self.clone(), core.clone());
            let spawned = Builder::new().name(name).spawn(move || work(&crew, &core));
            spawned
                .map(|thread| threads.push(thread))
                .map_err(|e| Fault::permanent(format!("cannot start a thread: {e}")))
        };
        for disk in (0..self.lanes.len() as u8).map(DiskNo) {
            spawn(
                format!("journal-{}", disk.0),
                Box::new(move |crew, core| crew.serve_jobs(core, disk, true)),
            )?;
            spawn(
                format!("bulk-{}", disk.0),
                Box::new(move |crew, core| crew.serve_jobs(core, disk, false)),
            )?;
            for _ in 0..READERS {
                spawn(
                    format!("read-{}", disk.0),
                    Box::new(move |crew, _| crew.lanes[disk.ix()].serve_asks()),
                )?;
            }
        }
        for (seat, name) in ["a", "b", "c", "d"].into_iter().enumerate().take(MAX_GUESTS) {
            spawn(format!("guest-{name}"), Box::new(move |crew, _| crew.guests[seat].serve_asks()))?;
        }
        for n in 0..ENCODERS {
            spawn(format!("encode-{n}"), Box::new(|crew, core| crew.encode.serve(|o| encode(core, *o))))?;
        }
        spawn("index".into(), Box::new(|crew, core| crew.index.serve(|lesson| teach(core, lesson))))?;
        let state: PathBuf = state.to_owned();
        spawn("witness".into(), Box::new(move |crew, core| crew.serve_witness(core, &state)))?;
        Ok(threads)
    }

    /// Why the witness could not be written, if so.
    pub fn witness_lost(&self) -> Option<String> {
        lock(&self.witness_lost).clone()
    }

    /// What the box was short of a moment ago.
    pub fn shortage(&self, now_ms: u64) -> Option<String> {
        let mut short = lock(&self.short);
        let since_ms = *short.as_mut()?.1.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) >= SHORTAGE_TOLD_MS {
            *short = None;
        }
        short.as_ref().map(|(what, _)| what.clone())
    }

    fn note_shortage(&self, error: &DiskError) {
        if let DiskError::Shortage { .. } = error
            && lock(&self.short).replace((error.to_string(), None)).is_none()
        {
            tracing::error!("{error}: tried again");
        }
    }

    /// Does something again and again while the box is short of what it needs; `on`: whether it still matters. Streams that wait for
    /// it do so for a bounded time of their own.
    fn patiently<T>(&self, on: impl Fn() -> bool, mut work: impl FnMut() -> DiskResult<T>) -> DiskResult<T> {
        loop {
            let done = work();
            let Err(error @ DiskError::Shortage { .. }) = &done else { return done };
            self.note_shortage(error);
            if self.stopping.load(Ordering::Relaxed) || !on() {
                return done;
            }
            std::thread::sleep(SHORTAGE_REST);
        }
    }

    /// Lessons that the index has not taken in yet.
    pub fn lessons_pending(&self) -> usize {
        self.index.pending()
    }

    /// Sends everybody home. What waits is dropped; whoever waits for an answer hears that the box stops.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.lanes.iter().chain(&self.guests).for_each(DiskLanes::close);
        self.witness.close();
        self.encode.close();
        self.index.close();
        self.answers.close();
    }

    /// The lanes of a disk of the roster, or of a guest.
    fn lanes_of(&self, disk: DiskNo) -> DiskResult<&DiskLanes> {
        let lanes = match guest_seat(disk) {
            Some(seat) => self.guests.get(seat),
            None => self.lanes.get(disk.ix()),
        };
        lanes.ok_or_else(|| DiskError::Gone("there is no such disk".into()))
    }

    fn serve_jobs(&self, core: &Core, disk: DiskNo, journal: bool) {
        let lanes = &self.lanes[disk.ix()];
        let queue = if journal { &lanes.journal } else { &lanes.bulk };
        queue.serve(|(id, job): (JobId, Job)| {
            let result = match lanes.disk() {
                Some(disk) if core.with(|e| e.still_wanted(id)) => {
                    // Each job may be done twice.
                    let again = || core.with(|e| e.bear_with(id));
                    self.patiently(again, || lane::execute(&*disk, &job, &core.keys, Flaws::NONE))
                }
                _ => Err(DiskError::Gone("it was lost before this was done".into())),
            };
            drop(job);
            core.event(Event::Job(id, result));
        });
    }

    fn serve_witness(&self, core: &Core, state: &Path) {
        let mut disk = None;
        self.witness.serve(|w| {
            let saved = self.patiently(|| true, || save_witness(&mut disk, state, &w));
            if let Err(e) = &saved {
                tracing::error!("the witness in {} cannot be written: {e}", state.display());
                *lock(&self.witness_lost) = Some(e.to_string());
                disk = None;
            }
            core.event(Event::WitnessSaved(w, saved.is_ok()));
        });
    }
}

impl Hands for CrewHands {
    fn carry(&self, effects: Vec<Effect>) {
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Job(id, disk, job) => {
                    let lanes = &self.0.lanes[disk.ix()];
                    if job.is_journal() { &lanes.journal } else { &lanes.bulk }.push((id, job));
                }
                Effect::SaveWitness(w) => self.0.witness.push(w),
                Effect::Encode(order) => self.0.encode.push(order),
                Effect::Answer(ticket, answer) => answers.push((ticket, answer)),
                Effect::Learn(pack, chunks) => self.0.index.push(Lesson::Learn(pack, chunks)),
                Effect::Forget(pack) => self.0.index.push(Lesson::Forget(pack)),
                Effect::Note(dataset, order, id) => self.0.index.push(Lesson::Note(dataset, order, id)),
            }
        }
        self.0.answers.post(answers);
    }

    fn wait(&self, core: &Core, ticket: Ticket) -> Result<Acked> {
        self.0.answers.wait(ticket, &*core.clock, ACK_CEILING_MS)
    }

    fn wait_a_little(&self, core: &Core) -> Result<()> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err(super::stopping());
        }
        core.with(|e| e.writable())?;
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    }

    fn visit(&self, visits: Vec<Visit>) -> Vec<DiskResult<()>> {
        let lanes = |disk: DiskNo| self.0.lanes_of(disk);
        let put = |visit: Visit| {
            let Visit { disk, work } = visit;
            let question = move |disk: &dyn Disk| {
                work(disk);
                Ok(())
            };
            (disk, lanes(disk).and_then(|lanes| lanes.put(question)))
        };
        let asked: Vec<_> = visits.into_iter().map(put).collect();
        asked.into_iter().map(|(disk, asked)| lanes(disk)?.hear(asked?, self.0.hang_ms)).collect()
    }

    fn read(&self, disk: DiskNo, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
        let path = path.to_owned();
        let read = self.0.lanes_of(disk)?.ask(self.0.hang_ms, move |disk| disk.read_at(&path, offset, len));
        read.inspect_err(|e| self.0.note_shortage(e))
    }
}

fn encode(core: &Core, order: EncodeOrder) {
    core.event(order.carry_out(&core.keys));
}

fn teach(core: &Core, lesson: Lesson) {
    let taken = match &lesson {
        Lesson::Learn(pack, chunks) => core.index.learn(*pack, chunks),
        Lesson::Forget(pack) => core.index.forget(*pack),
        Lesson::Note(dataset, order, id) => core.index.note_object(dataset, *order, *id),
    };
    if let Err(e) = taken {
        tracing::warn!("{e}: it will be built again");
        core.doubt_index();
    }
}

/// Writes one slot of the witness, durably. The state folder is opened once and kept.
fn save_witness(disk: &mut Option<FsDisk>, state: &Path, w: &Witness) -> DiskResult<()> {
    let disk = match disk {
        Some(disk) => disk,
        None => disk.insert(FsDisk::attach(state)?),
    };
    match disk.open_rw(layout::WITNESS) {
        Err(DiskError::NotFound(_)) => {
            disk.create(layout::WITNESS)?;
            disk.sync_dir("")?;
        }
        other => other?,
    }
    let written = disk.write_at(layout::WITNESS, w.slot_offset(), &w.encode());
    let synced = written.and_then(|()| disk.sync(layout::WITNESS));
    // Opened by its name each time: a file that was taken away would be written to for ever, and seen by nobody.
    disk.close(layout::WITNESS);
    synced
}
