//! Forgetting, where it changes state: holds of streams, condemning, pardoning, freeing.
//!
//! A snapshot on its way rests on packs long before its fact is in the journal: those it fills, and older ones it shares chunks
//! with. So each stream *holds* what it names, until its fact is handed in; from then on the fact itself is looked
//! at, wherever it waits. What is freed is decided here, in one step with handing the fact in: a pack that anybody holds,
//! or that any fact names which a mark may not have seen, is pardoned. Nobody can begin to hold a condemned pack, so between
//! that step and the acknowledgement nothing changes any more.

use super::{Engine, Ticket};
use crate::catalog::named_packs;
use coffre_core::class::LockClass;
use coffre_core::fact::Fact;
use coffre_core::fault::Result;
use coffre_core::flaw::Flaw;
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use std::collections::{HashMap, HashSet};

/// Names what one stream holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hold(u64);

/// See the module.
#[derive(Default)]
pub(super) struct State {
    holds: HashMap<Hold, HashSet<PackId>>,
    /// Packs that are being compacted: nobody shares their chunks meanwhile.
    closed: HashSet<PackId>,
}

impl Engine {
    /// Begins to hold packs.
    pub fn open_hold(&mut self) -> Hold {
        let hold = Hold(self.fresh());
        self.forget.holds.insert(hold, HashSet::new());
        hold
    }

    /// Holds a pack that is open or on its way.
    pub fn hold(&mut self, hold: Hold, pack: PackId) {
        self.forget.holds.entry(hold).or_default().insert(pack);
    }

    /// Holds nothing any more.
    pub fn let_go(&mut self, hold: Hold) {
        self.forget.holds.remove(&hold);
    }

    /// Holds a pack of the catalogue, unless it is no more, condemned, or being compacted: then nobody may share it.
    pub fn share(&mut self, hold: Hold, pack: &PackId) -> bool {
        let condemned = self.catalog.pack_condemned_ms(pack).is_some() && !self.flaw(Flaw::ShareCondemned);
        let may = self.catalog.pack(pack).is_some() && !condemned && !self.forget.closed.contains(pack);
        if may {
            self.hold(hold, *pack);
        }
        may
    }

    /// Where a chunk is among the packs on their way that are locked at least as long as `class`; the pack is then held.
    pub fn share_in_flight(&mut self, hold: Hold, class: LockClass, id: &ChunkId) -> Option<(PackId, u32)> {
        let found = self.chunk_in_flight(id, class)?;
        self.hold(hold, found.0);
        Some(found)
    }

    /// Hands in that these are condemned as of `at_ms` on the retention clock. Packs are taken only if nobody uses them;
    /// `since` is the place in the order of receipt from which on snapshots were not looked at. Says how many packs.
    pub fn condemn(
        &mut self,
        ticket: Ticket,
        at_ms: u64,
        objects: Vec<ObjectId>,
        packs: Vec<PackId>,
        since: u64,
    ) -> Result<usize> {
        let used = self.in_use(since)?;
        let fresh = |id: &PackId| {
            self.catalog.pack(id).is_some()
                && self.catalog.pack_condemned_ms(id).is_none()
                && !used.contains(id)
                && !self.forget.closed.contains(id)
        };
        let packs: Vec<PackId> = packs.into_iter().filter(fresh).collect();
        let count = packs.len();
        self.submit(ticket, vec![Fact::Condemned { at_ms, objects, packs }], Vec::new());
        Ok(count)
    }

    /// Hands in that of these condemned packs those are freed that nothing refers to: neither `names`, what the manifests
    /// of all snapshots before the place `since` name, nor anybody since, nor any stream. The others are pardoned. Says how
    /// many are freed.
    pub fn free_packs(
        &mut self,
        ticket: Ticket,
        packs: Vec<PackId>,
        names: &HashSet<PackId>,
        since: u64,
    ) -> Result<usize> {
        let mut used = self.in_use(since)?;
        used.extend(names.iter().map(|name| self.catalog.heir(name)));
        let condemned = |id: &PackId| self.catalog.pack_condemned_ms(id).is_some();
        let (spared, freed): (Vec<PackId>, Vec<PackId>) =
            packs.into_iter().filter(condemned).partition(|id| used.contains(id));
        if self.flaw(Flaw::FreeBeforeAck) {
            freed.iter().for_each(|id| self.remove_shards(id));
        }
        let count = freed.len();
        let mut facts = Vec::new();
        if !spared.is_empty() {
            facts.push(Fact::Pardoned { objects: Vec::new(), packs: spared });
        }
        if !freed.is_empty() {
            facts.push(Fact::Freed { objects: Vec::new(), packs: freed, moves: Vec::new() });
        }
        self.submit(ticket, facts, Vec::new());
        Ok(count)
    }

    /// Hands in that the names of ended packs that nobody uses are no longer remembered: at most `max` of them, none that
    /// `names` has or that was named since. Says how many.
    pub fn drop_moves(
        &mut self,
        ticket: Ticket,
        names: &HashSet<PackId>,
        since: u64,
        max: usize,
    ) -> Result<usize> {
        let used = self.in_use(since)?;
        let idle = |name: &&PackId| !names.contains(*name) && !used.contains(*name);
        let mut moves: Vec<PackId> = self.catalog.moved_names().filter(idle).copied().collect();
        moves.sort_unstable();
        moves.truncate(max);
        let count = moves.len();
        let facts = if moves.is_empty() {
            Vec::new()
        } else {
            vec![Fact::Freed { objects: Vec::new(), packs: Vec::new(), moves }]
        };
        self.submit(ticket, facts, Vec::new());
        Ok(count)
    }

    /// Closes those of these packs that nobody uses: until they are opened again nobody shares their chunks. `since` is the
    /// place from which on snapshots will not be looked at.
    pub fn close_packs(&mut self, packs: &[PackId]) -> Result<Vec<PackId>> {
        let used = self.in_use(self.catalog.next_order())?;
        let idle = |id: &&PackId| {
            self.catalog.pack(id).is_some()
                && self.catalog.pack_condemned_ms(id).is_none()
                && !used.contains(*id)
        };
        let closed: Vec<PackId> = packs.iter().filter(idle).copied().collect();
        self.forget.closed.extend(&closed);
        Ok(closed)
    }

    /// Opens packs that were closed.
    pub fn reopen_packs(&mut self, packs: &[PackId]) {
        packs.iter().for_each(|id| {
            self.forget.closed.remove(id);
        });
    }

    /// Packs that streams hold, that facts name which are on their way, and that snapshots name which came at or after
    /// the place `since`: by the names they were given, and by those they have now.
    fn in_use(&self, since: u64) -> Result<HashSet<PackId>> {
        if self.flaw(Flaw::FreeInFlight) {
            return Ok(HashSet::new());
        }
        let mut names: HashSet<PackId> = self.forget.holds.values().flatten().copied().collect();
        let waiting = self.waiting.iter().chain(&self.queue);
        names.extend(waiting.clone().flat_map(|commit| &commit.needs));
        for fact in waiting.flat_map(|commit| &commit.facts).chain(self.unacked.values().flatten()) {
            match fact {
                Fact::Object(object) => names.extend(named_packs(&object.body)?),
                Fact::Folded { body, .. } => names.extend(named_packs(body)?),
                _ => {}
            }
        }
        for (_, object) in self.catalog.objects_from(since, usize::MAX) {
            names.extend(named_packs(&object.body)?);
        }
        let now: Vec<PackId> = names
            .iter()
            .flat_map(|name| {
                let newest = self.flights.newest(*name);
                [newest, self.catalog.heir(name), self.catalog.heir(&newest)]
            })
            .collect();
        names.extend(now);
        Ok(names)
    }
}
