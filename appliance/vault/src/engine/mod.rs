//! The one owner of a vault's state: events in, effects out, nothing waits here.
//!
//! The engine joins the coordinator (who says yes), the catalogue (what is there) and the packs on their way. It is
//! driven by threads in the appliance and by a seeded scheduler in the simulator: the same code, the same
//! order of decisions. Every method changes state at once and leaves [`Effect`]s to be carried out in order.
//!
//! What an acknowledgement waits for, in order: every pack that the commit needs is durable as k' + m' shards; the
//! record with the facts of those packs and of the object is appended; the coordinator says it is acknowledged.

mod audit;
mod checkpoint;
mod disks;
mod forget;
mod guests;
mod heal;
mod mount;
mod packs;
mod report;
mod roster;
mod unconfirmed;
mod whole;

use crate::catalog::Catalog;
use crate::lane::{Done, Job, Prepare};
use crate::limits::Limits;
use crate::ports::{DiskError, Entropy};
use crate::survey::Survey;
use coffre_core::coord::{Act, Coordinator, Spot, Stalled};
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{Fact, encode_facts};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ChunkId, DiskNo, ObjectId, PackId};
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::names::DatasetRef;
use coffre_core::record::{self, Kind};
use coffre_core::roster::Roster;
use coffre_core::scrub::Thing;
use coffre_core::shard::EncodedPack;
use coffre_core::witness::Witness;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

pub use audit::Found;
pub use disks::SlotState;
pub use forget::Hold;
pub use guests::{GuestReport, MAX_GUESTS, guest_no, guest_seat};
pub use heal::{Wound, Wounds};
pub use mount::Mount;
pub(crate) use mount::open_record;
pub use packs::EncodeOrder;
pub use report::Report;
pub(crate) use unconfirmed::unconfirmed;

/// Names one waiting commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names one job given to a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// What an acknowledged commit is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acked {
    /// How many disks may be lost, any ones, without losing it, at this moment.
    pub tolerates: u32,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A job came to its end.
    Job(JobId, std::result::Result<Done, DiskError>),
    /// The witness was saved, or not.
    WitnessSaved(Witness, bool),
    /// A pack was encoded.
    Encoded(PackId, Result<EncodedPack>),
    /// A disk came back.
    Attached(DiskNo, Box<Survey>),
    /// A disk in use was found gone.
    Gone(DiskNo, String),
    /// The label of a disk in use was read.
    Label(DiskNo, Box<Label>),
    /// Time passed: milliseconds of running time.
    Tick(u64),
    /// The whole box stood still for so many milliseconds, this process at least: no disk is late because of them. Comes before the
    /// tick that counts them.
    Paused(u64),
}

/// Something to be carried out.
#[derive(Debug)]
pub enum Effect {
    /// Give the job to the disk's lane; answer with [`Event::Job`].
    Job(JobId, DiskNo, Job),
    /// Save the witness; answer with [`Event::WitnessSaved`].
    SaveWitness(Witness),
    /// Encode the pack, under the id `anew` when there is one; answer with [`Event::Encoded`].
    Encode(Box<EncodeOrder>),
    /// A commit's answer.
    Answer(Ticket, Result<Acked>),
    /// Tell the index of a pack.
    Learn(PackId, Vec<ChunkId>),
    /// Tell the index that a pack is no more.
    Forget(PackId),
    /// Tell the index of a snapshot.
    Note(DatasetRef, u64, ObjectId),
}

/// Facts that wait for their packs, then for a record.
struct Commit {
    ticket: Option<Ticket>,
    facts: Vec<Fact>,
    needs: Vec<PackId>,
    size: usize,
}

/// See the module.
pub struct Engine {
    limits: Limits,
    flaws: Flaws,
    keys: Arc<KeyRing>,
    /// Mark of this mount in the labels.
    owner: [u8; 16],
    entropy: Arc<dyn Entropy>,
    geometry: Geometry,
    roster: Roster,
    /// What the roster is being changed into.
    changed: Option<Roster>,
    coord: Coordinator,
    catalog: Catalog,
    /// Up to which record the catalogue was made.
    applied: u64,
    /// Facts of records that are appended and not yet acknowledged.
    unacked: BTreeMap<u64, Vec<Fact>>,
    answers: BTreeMap<u64, Vec<(Ticket, Vec<PackId>)>>,
    /// Bytes of the records after the coordinator's base.
    log: BTreeMap<u64, Arc<[u8]>>,
    log_bytes: u64,
    base_image: Option<Arc<Vec<u8>>>,
    queue: VecDeque<Commit>,
    waiting: Vec<Commit>,
    flights: packs::Flights,
    forget: forget::State,
    slots: Vec<disks::Slot>,
    jobs: HashMap<JobId, disks::Given>,
    /// Shards that are not where the facts say, on disks that are there.
    missing: HashMap<PackId, DiskSet>,
    /// Those of them that readers found damaged.
    bad: HashMap<PackId, DiskSet>,
    finds_version: u64,
    /// Finds to be told to the scrub, and audits on their way.
    found: Vec<Found>,
    auditing: usize,
    healing: heal::Healing,
    guests: guests::Guests,
    checkpoint: checkpoint::State,
    swept: bool,
    /// Disks whose shards were listed since they came.
    listed: DiskSet,
    next_id: u64,
    now_ms: u64,
    last_refresh_ms: u64,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// Takes what happened.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Job(id, result) => self.job_done(id, result),
            Event::WitnessSaved(w, ok) => self.coord.witness_saved(w, ok),
            Event::Encoded(id, result) => self.pack_encoded(id, result),
            Event::Attached(disk, survey) => self.disk_attached(disk, *survey),
            Event::Gone(disk, why) => self.lose(disk, SlotState::Absent, why),
            Event::Label(disk, label) => self.label_shown(disk, &label),
            Event::Tick(now_ms) => self.tick(now_ms),
            Event::Paused(ms) => self.was_paused(ms),
        }
        self.pump();
    }

    /// What is to be carried out, in order. Empty when there is nothing.
    pub fn take_effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// A number never used before in this run, for tickets and the like.
    pub fn fresh_ticket(&mut self) -> Ticket {
        Ticket(self.fresh())
    }

    /// Hands in facts to be made durable once the packs in `needs` are. The answer comes as [`Effect::Answer`].
    pub fn submit(&mut self, ticket: Ticket, facts: Vec<Fact>, needs: Vec<PackId>) {
        let size = facts.iter().map(fact_size).sum();
        match self.writable() {
            Ok(()) => self.waiting.push(Commit { ticket: Some(ticket), facts, needs, size }),
            Err(fault) => self.effects.push_back(Effect::Answer(ticket, Err(fault))),
        }
        self.pump();
    }

    /// Hands in facts that nobody waits for.
    pub fn note(&mut self, facts: Vec<Fact>) {
        let size = facts.iter().map(fact_size).sum();
        if self.writable().is_ok() {
            self.waiting.push(Commit { ticket: None, facts, needs: Vec::new(), size });
        }
        self.pump();
    }

    /// Whether new data can be taken, and if not, why.
    pub fn writable(&self) -> Result<()> {
        match self.coord.writable() {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(Stalled::Taken)) => Err(Fault::refused(format!(
                "the vault is read-only: {}",
                Stalled::Taken
            ))
            .next(
                "decide which of the two goes on, stop the other one, and start the one that goes on again",
            )),
            Err(Some(reason)) => Err(Fault::refused(format!("the vault is read-only: {reason}"))
                .next("try again when the light of the box, in `coffre status`, is not red any more")),
        }
    }

    /// What the facts say is there.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The vault's geometry.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Whether the box could not be opened for writing: a new mount may succeed when disks come back.
    pub fn never_mounted(&self) -> bool {
        self.coord.never_mounted()
    }

    /// Whether somebody else has taken the disks over (R10).
    pub fn is_taken(&self) -> bool {
        self.coord.is_taken()
    }

    /// Whether nothing is under way: no job, no commit, no pack.
    pub fn idle(&self) -> bool {
        self.jobs.is_empty() && self.waiting.is_empty() && self.queue.is_empty() && self.answers.is_empty()
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.entropy.fill(&mut out);
        out
    }

    /// Moves everything as far as it goes without waiting.
    fn pump(&mut self) {
        for _ in 0..64 {
            let acts = self.coord.poll();
            let quiet = acts.is_empty();
            for act in acts {
                self.carry(act);
            }
            self.follow_rule();
            self.settle_acks();
            self.release_commits();
            if !self.write_records() && quiet {
                break;
            }
        }
        if self.writable().is_err() {
            self.fail_waiting();
        }
        if !self.is_taken() {
            self.drive_checkpoint();
            self.sweep_once();
        }
    }

    fn carry(&mut self, act: Act) {
        match act {
            Act::Mount { epoch, active, witnessed } => {
                let salt = self.random();
                let header = self.coord.next_header(Kind::Mount { active, witnessed }, epoch, salt);
                self.append(header, Vec::new());
            }
            Act::SaveWitness(w) => self.effects.push_back(Effect::SaveWitness(w)),
            Act::Promise { disk, epoch } => self.promise(disk, epoch),
            Act::Mark { disk, version, since } => self.mark(disk, version, since),
            Act::Prepare { disk, keep, base, holes, claimed } => {
                let mut lost = disks::lost(base, &holes, claimed);
                let base = base.and_then(|a| self.base_image.clone().map(|image| (a, image)));
                let not_whole = self.slots[disk.ix()].not_whole.clone();
                lost.extend(
                    not_whole.iter().filter(|seq| self.may_be_ours(**seq)).map(|s| Thing::Checkpoint(*s)),
                );
                let holes = self.pieces(holes);
                let (segment_len, tag) = (self.limits.segment_len, self.coord.epoch());
                let Some(guard) = self.guard(disk) else { return };
                let prepare = Arc::new(Prepare { base, not_whole, holes, keep, segment_len, guard, tag });
                self.give_as(disk, Job::Prepare(prepare), disks::What::Prepare(lost));
            }
            Act::Write { disk, from, to } => {
                let pieces = self.pieces(from..=to);
                let segment_len = self.limits.segment_len;
                let Some(guard) = self.guard(disk) else { return };
                self.give_write(disk, to, Job::Journal { pieces, segment_len, guard });
            }
        }
    }

    /// Seals facts into a record and takes it into the journal.
    fn append(&mut self, header: record::Header, facts: Vec<Fact>) {
        // Sealing fails only for lengths beyond what a record can have, which `write_records` respects.
        let (meta, bytes) = record::seal(&self.keys, header, &encode_facts(&facts))
            .expect("a record's facts are within the sealing limits");
        self.coord.append(meta);
        self.log_bytes += bytes.len() as u64;
        self.log.insert(header.seq, bytes.into());
        self.unacked.insert(header.seq, facts);
    }

    /// Runs of adjoining records of one segment.
    fn pieces(&self, records: impl IntoIterator<Item = u64>) -> Vec<(Spot, Vec<u8>)> {
        let mut pieces: Vec<(Spot, Vec<u8>)> = Vec::new();
        for seq in records {
            let (Some(placed), Some(bytes)) = (self.coord.placed(seq), self.log.get(&seq)) else { continue };
            match pieces.last_mut() {
                Some((spot, run)) if spot.after(run.len()) == placed.spot => run.extend_from_slice(bytes),
                _ => pieces.push((placed.spot, bytes.to_vec())),
            }
        }
        pieces
    }

    /// Commits whose packs are durable go to the queue, in order of arrival.
    fn release_commits(&mut self) {
        let mut still = Vec::new();
        for commit in std::mem::take(&mut self.waiting) {
            match self.needs_met(&commit.needs) {
                Ok(true) => self.queue.push_back(commit),
                Ok(false) => still.push(commit),
                Err(fault) => self.answer(commit.ticket, Err(fault)),
            }
        }
        self.waiting = still;
    }

    /// Group commit: while few records are on their way, everything that waits goes into the next one.
    fn write_records(&mut self) -> bool {
        let mut wrote = false;
        while !self.queue.is_empty() && (self.unacked.len() as u64) < self.record_ceiling() {
            let Some(header) = self.coord.facts_header() else { break };
            let (mut facts, mut tickets, mut size) = (Vec::new(), Vec::new(), 0);
            while let Some(commit) = self.queue.front() {
                if !facts.is_empty() && size + commit.size > self.limits.record_target {
                    break;
                }
                size += commit.size;
                if let Some(commit) = self.queue.pop_front() {
                    facts.extend(commit.facts);
                    tickets.extend(commit.ticket.map(|t| (t, commit.needs)));
                }
            }
            self.append(header, facts);
            self.answers.entry(header.seq).or_default().extend(tickets);
            wrote = true;
        }
        wrote
    }

    /// A Mount record on its way may be one more than the window; with no window it is waited for.
    fn record_ceiling(&self) -> u64 {
        self.limits.record_window + 1
    }

    /// What the coordinator acknowledged becomes visible and is answered.
    fn settle_acks(&mut self) {
        let acked = self.coord.acked();
        while let Some(entry) = self.unacked.first_entry() {
            let seq = *entry.key();
            if seq > acked {
                break;
            }
            for fact in entry.remove() {
                self.learn(&fact);
                self.catalog.apply(fact);
            }
            self.applied = self.applied.max(seq);
            for (ticket, needs) in self.answers.remove(&seq).unwrap_or_default() {
                let tolerates = self.tolerates(&needs);
                self.answer(Some(ticket), Ok(Acked { tolerates }));
            }
        }
    }

    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::PackAdded(pack) => self.pack_journaled(pack.id),
            Fact::PackDropped { id, .. } => self.pack_dropped(*id),
            Fact::Freed { packs, .. } => packs.iter().for_each(|id| self.pack_dropped(*id)),
            Fact::Object(object) => {
                let order = self.catalog.next_order();
                self.effects.push_back(Effect::Note(object.dataset.clone(), order, object.id));
            }
            _ => {}
        }
    }

    fn answer(&mut self, ticket: Option<Ticket>, outcome: Result<Acked>) {
        if let Some(ticket) = ticket {
            self.effects.push_back(Effect::Answer(ticket, outcome));
        }
    }

    fn tolerates(&self, needs: &[PackId]) -> u32 {
        if self.coord.witnessed() {
            return 0;
        }
        let there = self.coord.counting();
        let packs = needs.iter().filter_map(|id| self.catalog.current_pack(&self.flights.newest(*id)));
        let worst = packs.map(|p| crate::catalog::pack_tolerance(p, there, self.lost_shards(&p.id))).min();
        worst.unwrap_or(i32::MAX).clamp(0, self.geometry.m() as i32) as u32
    }

    fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.suspect_hung();
        if now_ms.saturating_sub(self.last_refresh_ms) >= 1_000 {
            self.last_refresh_ms = now_ms;
            if let Some(w) = self.coord.refresh_witness() {
                self.effects.push_back(Effect::SaveWitness(w));
            }
        }
    }

    fn flaw(&self, flaw: Flaw) -> bool {
        self.flaws.has(flaw)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine(epoch {}, {} jobs)", self.coord.epoch(), self.jobs.len())
    }
}

/// An id in a list of them.
const ID_SIZE: usize = 17;

fn fact_size(fact: &Fact) -> usize {
    use coffre_core::fact::Body;
    let body = |b: &Body| match b {
        Body::Inline(bytes) | Body::Chunks(bytes) | Body::Deep(bytes) => bytes.len(),
    };
    200 + match fact {
        Fact::Born(b) => b.authority_der.len(),
        Fact::Object(o) => body(&o.body),
        Fact::Folded { body: b, .. } => body(b),
        Fact::Condemned { objects, packs, .. } | Fact::Pardoned { objects, packs } => {
            ID_SIZE * (objects.len() + packs.len())
        }
        Fact::Freed { objects, packs, moves } => ID_SIZE * (objects.len() + packs.len() + moves.len()),
        _ => 0,
    }
}
