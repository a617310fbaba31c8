//! Forgetting: plan, condemn, wait, look again, free.
//!
//! 1. The *plan* judges every snapshot by its lock and its data set's rules, and says which packs nobody would refer to any more.
//! 2. What may go is *condemned*: nothing is removed, snapshots can still be read, but no stream shares a chunk with a
//!    condemned pack any more.
//! 3. After the *grace*, which only the retention clock measures, each condemned snapshot is judged again: rules may have
//!    changed, or a clock may have been doubted. What may still go is freed.
//! 4. A *second mark* over everything that is left says which condemned packs are really unused; the others are
//!    pardoned. Shards are removed once the journal says so on enough disks.
//!
//! Nothing happens while the clock is in doubt, while a pack that is needed cannot be read, or while a manifest cannot. A plan that
//! would free more than a fifth of what the vault holds waits until somebody approves it.

use super::mark::Named;
use crate::core::{Core, lock};
use coffre_core::fact::{Fact, ObjectFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ObjectId, PackId};
use coffre_core::keep::{Candidate, Verdict, judge};
use coffre_core::names::DatasetRef;
use coffre_core::retention::{Doubt, RetentionClock};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Most ids in one fact: a record holds several such facts.
const IDS_AT_ONCE: usize = 4_096;
/// A run frees at most one part in this many of the vault without being asked to.
const GUARD_SHARE: u64 = 5;

/// One snapshot of a plan.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The snapshot, without its body.
    pub object: ObjectFact,
    /// What becomes of it, and why.
    pub verdict: Verdict,
    /// When it was condemned, on the retention clock.
    pub condemned_ms: Option<u64>,
}

/// What a run of forgetting would do now.
#[derive(Clone, Debug)]
pub struct ForgetPlan {
    /// Names this plan: two plans that forget the same have the same.
    pub id: String,
    /// What the retention clock shows, ms since 1970.
    pub retention_ms: u64,
    /// Why nothing would be done now.
    pub doubt: Option<Doubt>,
    /// Every snapshot, by data set, in order of receipt.
    pub snapshots: Vec<Judged>,
    /// Packs that only these snapshots use.
    pub dying: Vec<PackId>,
    /// Packs that no snapshot uses already: of uploads that were cut off.
    pub stray: Vec<PackId>,
    /// Bytes that `dying` and inline snapshots hold, parity aside.
    pub frees_bytes: u64,
    /// Bytes that `stray` holds.
    pub stray_bytes: u64,
    /// Bytes that all snapshots hold.
    pub live_bytes: u64,
    since: u64,
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forgot {
    /// Snapshots condemned.
    pub condemned: usize,
    /// Packs condemned.
    pub condemned_packs: usize,
    /// Snapshots freed.
    pub freed: usize,
    /// Packs freed.
    pub freed_packs: usize,
    /// Packs compacted.
    pub compacted: usize,
    /// Whether a plan waits for approval.
    pub asks: bool,
}

/// What is remembered between runs; nothing of it is needed for safety.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// When a run last came to its end, on the monotonic clock.
    pub ran_ms: Option<u64>,
    /// A plan that waits for approval: its id, and what it would free of what.
    pub asking: Option<(String, u64, u64)>,
    /// Why the last run stopped.
    pub stopped: Option<Fault>,
    pub thin: super::compact::Thin,
}

impl ForgetPlan {
    /// Snapshots that would be condemned now.
    pub fn forgets(&self) -> impl Iterator<Item = &Judged> {
        self.snapshots.iter().filter(|j| !j.verdict.keeps() && j.condemned_ms.is_none())
    }

    /// Whether it would free so much that somebody must approve it.
    pub fn needs_approval(&self) -> bool {
        self.frees_bytes.saturating_mul(GUARD_SHARE) > self.live_bytes
    }
}

impl Core {
    /// What a run would do now, and why. Changes nothing.
    pub fn forget_plan(&self) -> Result<ForgetPlan> {
        let clock = self.retention();
        let mut snapshots = Vec::new();
        for dataset in self.with(|e| e.catalog().datasets().cloned().collect::<Vec<DatasetRef>>()) {
            snapshots.extend(self.judged(&dataset, &clock));
        }
        for repo in self.repos_to_judge() {
            snapshots.extend(self.judged_files(&repo, &clock));
        }
        let mut going: HashMap<ObjectId, Option<bool>> = HashMap::new();
        for one in &snapshots {
            let goes = if one.condemned_ms.is_some() { None } else { Some(!one.verdict.keeps()) };
            going.insert(one.object.id, goes);
        }
        // Packs that are written from here on are nobody's to judge.
        let packs: HashSet<PackId> = self.with(|e| e.catalog().packs().map(|p| p.id).collect());
        // What came since it was judged stays.
        let named = self.mark_names(|id| going.get(id).copied().unwrap_or(Some(false)))?;
        let mut plan = self.weigh(&packs, &named, &snapshots);
        plan.doubt = clock.doubt();
        plan.retention_ms = clock.now_ms();
        plan.id = plan_id(&snapshots);
        plan.snapshots = snapshots;
        Ok(plan)
    }

    /// How the snapshots of one data set are judged now.
    pub fn judged(&self, dataset: &DatasetRef, clock: &RetentionClock) -> Vec<Judged> {
        let mut candidates = Vec::new();
        let mut objects: Vec<(ObjectFact, Option<u64>)> = Vec::new();
        let policy = self.with(|e| {
            let catalog = e.catalog();
            for id in catalog.snapshots(dataset) {
                let Some(fact) = catalog.object(id) else { continue };
                candidates.push(Candidate {
                    received_ms: fact.received_ms,
                    locked_until_ms: fact.lock_ends_ms(),
                    incomplete: catalog.is_incomplete(fact),
                });
                // Bodies are large and not judged.
                objects.push((light(fact), catalog.object_condemned_ms(id)));
            }
            catalog.policy(dataset)
        });
        // While the clock is in doubt every lock holds.
        let now_ms = if clock.doubt().is_some() { 0 } else { clock.now_ms() };
        let verdicts = judge(&policy.keep, &candidates, now_ms, self.flaws);
        let judged = objects.into_iter().zip(verdicts);
        judged.map(|((object, condemned_ms), verdict)| Judged { object, verdict, condemned_ms }).collect()
    }

    /// Which packs would be needed no more, and how much that is.
    fn weigh(&self, packs: &HashSet<PackId>, named: &Named, snapshots: &[Judged]) -> ForgetPlan {
        let (mut dying, mut stray) = (Vec::new(), Vec::new());
        let (mut frees_bytes, mut stray_bytes, mut live_bytes) = (0, 0, 0);
        self.with(|e| {
            let catalog = e.catalog();
            let resolve = |names: &HashSet<PackId>| names.iter().map(|n| catalog.heir(n)).collect();
            let (staying, going): (HashSet<PackId>, HashSet<PackId>) =
                (resolve(&named.staying), resolve(&named.going));
            for pack in catalog.packs().filter(|p| packs.contains(&p.id)) {
                match (staying.contains(&pack.id), going.contains(&pack.id)) {
                    (true, _) => live_bytes += pack.pack_len,
                    (false, true) => {
                        live_bytes += pack.pack_len;
                        frees_bytes += pack.pack_len;
                        dying.push(pack.id);
                    }
                    (false, false) if catalog.pack_condemned_ms(&pack.id).is_none() => {
                        stray_bytes += pack.pack_len;
                        stray.push(pack.id);
                    }
                    (false, false) => {}
                }
            }
            let going: HashSet<ObjectId> = snapshots
                .iter()
                .filter(|j| !j.verdict.keeps() && j.condemned_ms.is_none())
                .map(|j| j.object.id)
                .collect();
            for object in catalog.inline_objects() {
                live_bytes += object.size;
                frees_bytes += if going.contains(&object.id) { object.size } else { 0 };
            }
        });
        dying.sort_unstable();
        stray.sort_unstable();
        ForgetPlan {
            id: String::new(),
            retention_ms: 0,
            doubt: None,
            snapshots: Vec::new(),
            dying,
            stray,
            frees_bytes,
            stray_bytes,
            live_bytes,
            since: named.since,
        }
    }

    /// One run: frees what was condemned long enough ago, condemns what may go now, compacts. `approved` is the id of a
    /// plan that may free more than a fifth. `Refused` while the clock is in doubt or the vault is read-only; `Transient` or
    /// `Corrupt` while something that is needed cannot be read. A run that is cut off anywhere leaves nothing half done.
    ///
    /// # Durability
    /// Whatever the answer counts is in the journal.
    pub fn forget_run(&self, approved: Option<&str>) -> Result<Forgot> {
        let _one_at_a_time = lock(&self.forgetting);
        let done = self.forget_steps(approved);
        let mut memory = lock(&self.forget_memory);
        memory.ran_ms = Some(self.clock.mono_ms());
        memory.stopped = done.as_ref().err().cloned();
        done
    }

    fn forget_steps(&self, approved: Option<&str>) -> Result<Forgot> {
        self.may_forget()?;
        let (freed, freed_packs) = (self.free_objects()?, self.free_packs()?);
        let mut done = self.condemn(approved)?;
        self.drop_moves()?;
        // Last, because it needs room where all the rest makes some.
        let compacted = if self.with(|e| e.full()) { 0 } else { self.compact()? };
        (done.freed, done.freed_packs, done.compacted) = (freed, freed_packs, compacted);
        Ok(done)
    }

    /// Whether anything may be forgotten now.
    pub fn may_forget(&self) -> Result<()> {
        self.with(|e| e.writable())?;
        if let Some(doubt) = self.retention().doubt() {
            return Err(Fault::refused(format!("nothing is forgotten: {doubt}")));
        }
        match self.report().unreadable {
            0 => Ok(()),
            n => Err(Fault::transient(format!("nothing is forgotten while {n} pack(s) cannot be read"))
                .next("put missing disks back")),
        }
    }

    /// Condemns what may go now. Asks first when that is much.
    pub fn condemn(&self, approved: Option<&str>) -> Result<Forgot> {
        self.may_forget()?;
        let plan = self.forget_plan()?;
        let much = plan.needs_approval() && approved != Some(plan.id.as_str());
        if much && !self.flaws.has(Flaw::IgnoreGuardRail) {
            let asking = (plan.id.clone(), plan.frees_bytes, plan.live_bytes);
            lock(&self.forget_memory).asking = Some(asking);
            // Leftovers of uploads that were cut off are nobody's: they go all the same.
            let condemned_packs = self.condemn_all(&plan, Vec::new(), plan.stray.clone())?;
            return Ok(Forgot { asks: true, condemned_packs, ..Forgot::default() });
        }
        lock(&self.forget_memory).asking = None;
        let objects: Vec<ObjectId> = plan.forgets().map(|j| j.object.id).collect();
        let condemned = objects.len();
        let packs = plan.dying.iter().chain(&plan.stray).copied().collect();
        let condemned_packs = self.condemn_all(&plan, objects, packs)?;
        Ok(Forgot { condemned, condemned_packs, ..Forgot::default() })
    }

    fn condemn_all(&self, plan: &ForgetPlan, objects: Vec<ObjectId>, packs: Vec<PackId>) -> Result<usize> {
        for some in objects.chunks(IDS_AT_ONCE) {
            self.step(|e, ticket| {
                e.condemn(ticket, plan.retention_ms, some.to_vec(), Vec::new(), plan.since)
            })?;
        }
        let mut count = 0;
        for some in packs.chunks(IDS_AT_ONCE) {
            let taken = self.step(|e, ticket| {
                e.condemn(ticket, plan.retention_ms, Vec::new(), some.to_vec(), plan.since)
            })?;
            count += taken;
        }
        Ok(count)
    }

    /// Frees condemned snapshots whose grace is over and that may still go; pardons those that may not.
    pub fn free_objects(&self) -> Result<usize> {
        self.may_forget()?;
        let clock = self.retention();
        let due = self.due(&clock, |e| e.catalog().condemned_objects().map(|(id, at)| (*id, at)).collect());
        let datasets: HashSet<DatasetRef> = self.with(|e| {
            due.iter().filter_map(|id| e.catalog().object(id)).map(|o| o.dataset.clone()).collect()
        });
        let due: HashSet<ObjectId> = due.into_iter().collect();
        let (mut freed, mut pardoned) = (Vec::new(), Vec::new());
        for dataset in datasets {
            let judged = match self.with(|e| e.catalog().repo(&dataset).is_some()) {
                true => self.judged_files(&dataset, &clock),
                false => self.judged(&dataset, &clock),
            };
            for one in judged.into_iter().filter(|j| due.contains(&j.object.id)) {
                let over =
                    clock.has_passed(one.object.lock_ends_ms()) || self.flaws.has(Flaw::ForgetUnderLock);
                let goes = !one.verdict.keeps() && (over || self.flaws.has(Flaw::CountPastLock));
                if goes { &mut freed } else { &mut pardoned }.push(one.object.id);
            }
        }
        for list in [&mut freed, &mut pardoned] {
            list.sort_unstable();
        }
        for some in pardoned.chunks(IDS_AT_ONCE) {
            self.hand_in(Fact::Pardoned { objects: some.to_vec(), packs: Vec::new() })?;
        }
        for some in freed.chunks(IDS_AT_ONCE) {
            self.hand_in(Fact::Freed { objects: some.to_vec(), packs: Vec::new(), moves: Vec::new() })?;
        }
        Ok(freed.len())
    }

    /// Frees condemned packs whose grace is over and that a second mark finds unused; pardons the others.
    pub fn free_packs(&self) -> Result<usize> {
        self.may_forget()?;
        let clock = self.retention();
        let due = self.due(&clock, |e| e.catalog().condemned_packs().map(|(id, at)| (*id, at)).collect());
        if due.is_empty() {
            return Ok(0);
        }
        let blind = self.flaws.has(Flaw::NoSecondMark);
        let named = if blind {
            Named { since: self.with(|e| e.catalog().next_order()), ..Named::default() }
        } else {
            self.mark_names(|_| Some(false))?
        };
        let mut count = 0;
        for some in due.chunks(IDS_AT_ONCE) {
            count +=
                self.step(|e, ticket| e.free_packs(ticket, some.to_vec(), &named.staying, named.since))?;
        }
        Ok(count)
    }

    /// Names of ended packs that no manifest uses are not remembered.
    pub fn drop_moves(&self) -> Result<usize> {
        if self.with(|e| e.catalog().moved_count()) == 0 {
            return Ok(0);
        }
        let named = self.mark_names(|_| Some(false))?;
        self.step(|e, ticket| e.drop_moves(ticket, &named.staying, named.since, IDS_AT_ONCE))
    }

    /// What was condemned and whose grace is over, in order of id.
    fn due<T: Copy + Ord>(
        &self,
        clock: &RetentionClock,
        condemned: impl FnOnce(&crate::engine::Engine) -> Vec<(T, u64)>,
    ) -> Vec<T> {
        let all = self.with(|e| condemned(e));
        let no_grace = self.flaws.has(Flaw::NoGrace);
        let over = |at_ms: u64| clock.has_passed(at_ms.saturating_add(self.limits.grace_ms)) || no_grace;
        let mut due: Vec<T> = all.into_iter().filter(|(_, at)| over(*at)).map(|(id, _)| id).collect();
        due.sort_unstable();
        due
    }

    pub(super) fn hand_in(&self, fact: Fact) -> Result<()> {
        self.wait(self.submit(vec![fact], Vec::new())).map(|_| ())
    }

    /// Does something with the engine that is answered, and waits for the answer.
    fn step<T>(
        &self,
        act: impl FnOnce(&mut crate::engine::Engine, crate::engine::Ticket) -> Result<T>,
    ) -> Result<T> {
        let (ticket, out) = self.with(|e| {
            let ticket = e.fresh_ticket();
            (ticket, act(e, ticket))
        });
        let out = out?;
        self.wait(ticket)?;
        Ok(out)
    }
}

/// A fact without its body, which may be long.
pub(super) fn light(fact: &ObjectFact) -> ObjectFact {
    ObjectFact {
        id: fact.id,
        dataset: fact.dataset.clone(),
        size: fact.size,
        stored_bytes: fact.stored_bytes,
        received_ms: fact.received_ms,
        locked_until_ms: fact.locked_until_ms,
        class: fact.class,
        hash: fact.hash,
        file: fact.file,
        checked: fact.checked,
        basis: fact.basis,
        body: coffre_core::fact::Body::Inline(Vec::new().into()),
    }
}

/// Follows from what is forgotten, and from nothing else.
fn plan_id(snapshots: &[Judged]) -> String {
    let going = snapshots.iter().filter(|j| !j.verdict.keeps() && j.condemned_ms.is_none());
    let ordered: BTreeMap<ObjectId, ()> = going.map(|j| (j.object.id, ())).collect();
    let mut hasher = blake3::Hasher::new();
    ordered.keys().for_each(|id| {
        hasher.update(&id.0);
    });
    hasher.finalize().to_hex()[..12].to_owned()
}
