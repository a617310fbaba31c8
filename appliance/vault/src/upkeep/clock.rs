//! The retention clock of an open vault: looked at by whoever needs it, noted in the journal every hour.
//!
//! What is not noted is lost at a power cut, and the clock lags by as much: that only makes locks last longer. A new doubt
//! is noted at once, so that switching the box off and on does not end it.

use crate::core::{Core, lock};
use coffre_core::fact::{Fact, LockBasis, ObjectFact, SettledLock};
use coffre_core::fault::Result;
use coffre_core::flaw::Flaw;
use coffre_core::ids::ObjectId;
use coffre_core::retention::{ClockFact, RetentionClock, TimeEvidence};
use std::collections::BTreeMap;

/// Most locks in one fact.
const LOCKS_AT_ONCE: usize = 4_096;
/// Most facts that go in with a leap of the clock.
const FACTS_AT_ONCE: usize = 64;

/// The clock, and when it was noted.
#[derive(Debug)]
pub(crate) struct Retention {
    clock: RetentionClock,
    noted_ms: Option<u64>,
    doubt_noted: bool,
}

impl Retention {
    /// Goes on from the journal; in a vault that is just being made the clock begins.
    pub fn new(
        catalog: &crate::catalog::Catalog,
        wall_ms: u64,
        counter_ms: u64,
        flaws: coffre_core::flaw::Flaws,
    ) -> Self {
        let born = catalog.born().map(|born| born.created_ms);
        let kept = catalog.clock().copied();
        let from_birth = born.map(|at_ms| ClockFact { retention_ms: at_ms, calm_ms: 0, wall_ms: at_ms });
        let clock = match kept.or(from_birth) {
            Some(kept) => RetentionClock::resume(&kept, wall_ms, counter_ms, flaws),
            None => RetentionClock::begin(wall_ms, counter_ms, flaws),
        };
        let doubt_noted = kept.is_some_and(|k| k.calm_ms > 0);
        Self { clock, noted_ms: kept.map(|_| counter_ms), doubt_noted }
    }
}

impl Core {
    /// The retention clock as of now.
    pub fn retention(&self) -> RetentionClock {
        let (wall_ms, counter_ms) = (self.clock.wall_ms(), self.clock.mono_ms());
        let mut retention = lock(&self.retention);
        retention.clock.look(wall_ms, counter_ms);
        retention.clock.clone()
    }

    /// Hands the clock in for the journal when that is due, or now if `anyway`. Nobody waits for it: one that gets lost is
    /// followed by the next.
    pub fn note_clock(&self, anyway: bool) {
        let clock = self.retention();
        let fresh_doubt = {
            let mut retention = lock(&self.retention);
            let doubt = clock.doubt().is_some();
            let fresh = doubt && !retention.doubt_noted;
            retention.doubt_noted = doubt;
            let now_ms = self.clock.mono_ms();
            let due =
                retention.noted_ms.is_none_or(|at| now_ms.saturating_sub(at) >= self.limits.note_clock_ms);
            if !(anyway || fresh || due) || self.with(|e| e.writable()).is_err() {
                retention.doubt_noted &= !fresh;
                return;
            }
            retention.noted_ms = Some(now_ms);
            fresh
        };
        if fresh_doubt {
            tracing::warn!("the clocks disagree: nothing expires until they have agreed for three days");
        }
        self.with(|e| e.note(vec![Fact::Clock(clock.to_fact())]));
    }

    /// Hears what somebody says of the time; see [`RetentionClock::hear`]. Says how far the clock leapt, in ms.
    ///
    /// # Durability
    /// On `Ok` the leap and the time of calm after it are in the journal.
    pub fn hear_time(&self, evidence: &[TimeEvidence]) -> Result<u64> {
        self.with(|e| e.writable())?;
        let mut heard = self.retention();
        let leap_ms = heard.hear(evidence)?;
        // What is longer by it goes in with the leap, or before: should the power go in between, locks are longer than they need be.
        let mut facts = self.lengthened(leap_ms);
        while facts.len() > FACTS_AT_ONCE {
            self.hand_in(facts.remove(0))?;
        }
        facts.push(Fact::Clock(heard.to_fact()));
        self.wait(self.submit(facts, Vec::new()))?;
        lock(&self.retention).clock.hear(evidence)?;
        self.settle_locks()?;
        Ok(leap_ms)
    }

    /// The retention clock lagged by so much: what was set by what it showed holds for as much longer. Those are the locks of what came
    /// while the clocks disagreed, and the periods of what clients deleted.
    fn lengthened(&self, leap_ms: u64) -> Vec<Fact> {
        if leap_ms == 0 || self.flaws.has(Flaw::LocksMissLeaps) {
            return Vec::new();
        }
        let (locks, hidden) = self.with(|e| {
            let catalog = e.catalog();
            let settled = catalog.locked_in_doubt().filter(|fact| fact.basis == Some(LockBasis::Settled));
            let longer = |fact: &ObjectFact| SettledLock {
                id: fact.id,
                until_ms: fact.locked_until_ms.saturating_add(leap_ms),
            };
            let locks: Vec<SettledLock> = settled.map(longer).collect();
            let mut hidden: BTreeMap<u64, Vec<ObjectId>> = BTreeMap::new();
            for repo in catalog.repos_with_hidden() {
                catalog.hidden(&repo).into_iter().for_each(|(id, at)| hidden.entry(at).or_default().push(id));
            }
            (locks, hidden)
        });
        let locks = locks.chunks(LOCKS_AT_ONCE).map(|some| Fact::Settled { locks: some.to_vec() });
        let hidden = hidden.iter().flat_map(|(at_ms, ids)| {
            let at_ms = at_ms.saturating_add(leap_ms);
            ids.chunks(LOCKS_AT_ONCE).map(move |some| Fact::Hidden { at_ms, objects: some.to_vec() })
        });
        locks.chain(hidden).collect()
    }

    /// While the clocks disagree locks are provisional, and do not end. Once they agree each is set, as if what it locks had come now: it
    /// came earlier, so that no lock is shorter than its class says.
    ///
    /// # Durability
    /// On `Ok` they are in the journal.
    pub fn settle_locks(&self) -> Result<()> {
        let clock = self.retention();
        if clock.is_apart() {
            return Ok(());
        }
        let locks: Vec<SettledLock> = self.with(|e| {
            let all = e.catalog().locked_in_doubt();
            let open = all.filter(|fact| fact.basis == Some(LockBasis::Provisional));
            open.map(|fact| SettledLock { id: fact.id, until_ms: clock.locked_until_ms(fact.class) })
                .collect()
        });
        if !locks.is_empty() {
            tracing::info!(target: "audit", count = locks.len(), "the clocks agree: provisional locks are set");
        }
        self.set_locks(&locks)
    }

    fn set_locks(&self, locks: &[SettledLock]) -> Result<()> {
        locks.chunks(LOCKS_AT_ONCE).try_for_each(|some| self.hand_in(Fact::Settled { locks: some.to_vec() }))
    }
}
