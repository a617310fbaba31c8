//! Packs on their way: layout for the disks there are, shards written, durable, in the journal, learnt.
//!
//! A pack that meets a failing disk is sealed again under a new id and encoded for the other disks: shards of the old id
//! may be anywhere, and a pack id is written once. Commits that waited for the old id wait for the new one.

use super::{Commit, Effect, Engine, Event};
use crate::lane::Job;
use coffre_core::class::LockClass;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{Fact, PackFact};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ChunkId, DiskId, DiskNo, PackId};
use coffre_core::keys::KeyRing;
use coffre_core::pack::{SealedPack, reseal};
use coffre_core::shard::{EncodedPack, encode_pack};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Most attempts at one pack.
const MAX_ATTEMPTS: u32 = 8;

/// A pack to be encoded for certain disks.
#[derive(Debug)]
pub struct EncodeOrder {
    /// The pack as it was sealed.
    pub pack: SealedPack,
    /// Seal it again under this id first: its old id was used on disks that failed.
    pub anew: Option<PackId>,
    /// Geometry for the disks there are.
    pub geometry: Geometry,
    /// The epoch to write under.
    pub epoch: u64,
    /// Shard `i` goes to `disks[i]`.
    pub disks: Vec<DiskId>,
}

impl EncodeOrder {
    /// The id the pack will have.
    pub fn id(&self) -> PackId {
        self.anew.unwrap_or(self.pack.id)
    }

    /// Does what was ordered: the only heavy work of the engine, for any thread.
    pub fn carry_out(self, keys: &KeyRing) -> Event {
        let id = self.id();
        let sealed = match self.anew {
            Some(anew) => reseal(&self.pack, anew, keys),
            None => Ok(self.pack),
        };
        let encoded =
            sealed.and_then(|pack| encode_pack(pack, keys.vault(), self.geometry, self.epoch, &self.disks));
        Event::Encoded(id, encoded)
    }
}

#[derive(Default)]
pub(super) struct Flights {
    flights: BTreeMap<PackId, Flight>,
    /// Packs that were sealed again: old id → new id.
    renamed: HashMap<PackId, PackId>,
    failed: HashMap<PackId, Fault>,
    /// Chunks of all these packs.
    chunks: HashMap<ChunkId, (PackId, u32)>,
}

struct Flight {
    class: LockClass,
    chunks: Vec<ChunkId>,
    disks: Vec<DiskNo>,
    geometry: Geometry,
    epoch: u64,
    encoded: Option<Arc<EncodedPack>>,
    written: DiskSet,
    /// Facts that must go into the journal with this pack's.
    with: Vec<Fact>,
    /// Parity shards it must have: what upkeep moves may not end up with less tolerance than it had.
    at_least_m: usize,
    attempts: u32,
    durable: bool,
    /// A disk was lost while it was being encoded.
    stale: bool,
}

impl Flights {
    /// The id under which a pack is known now.
    pub fn newest(&self, mut id: PackId) -> PackId {
        while let Some(next) = self.renamed.get(&id) {
            id = *next;
        }
        id
    }

    pub fn knows(&self, id: &PackId) -> bool {
        self.flights.contains_key(id)
    }

    /// Packs whose shards are still being made or written.
    pub fn busy(&self) -> usize {
        self.flights.values().filter(|f| !f.durable).count()
    }

    /// Whether a pack on its way has a shard on this disk and none to spare.
    pub fn rest_on(&self, disk: DiskNo) -> bool {
        self.flights.values().any(|f| f.geometry.m() == 0 && f.disks.contains(&disk))
    }

    fn insert(&mut self, id: PackId, flight: Flight) {
        self.chunks.extend((0..).zip(&flight.chunks).map(|(at, c)| (*c, (id, at))));
        self.flights.insert(id, flight);
    }

    fn remove(&mut self, id: &PackId) -> Option<Flight> {
        let flight = self.flights.remove(id)?;
        for chunk in &flight.chunks {
            if self.chunks.get(chunk).is_some_and(|(pack, _)| pack == id) {
                self.chunks.remove(chunk);
            }
        }
        Some(flight)
    }
}

impl Engine {
    /// How many packs are still being encoded or written.
    pub fn packs_busy(&self) -> usize {
        self.flights.busy()
    }

    /// Where a chunk is among the packs on their way that are locked at least as long as `class`: pack and position.
    pub(super) fn chunk_in_flight(&self, id: &ChunkId, class: LockClass) -> Option<(PackId, u32)> {
        let found = self.flights.chunks.get(id).copied()?;
        let long_enough = self.flights.flights.get(&found.0).is_some_and(|f| f.class.covers(class));
        long_enough.then_some(found)
    }

    /// Whether the disks that must take new packs have failed to find room for the last one.
    pub fn full(&self) -> bool {
        self.usable().len() <= self.geometry.m().min(self.slots.len() - 1)
            && self.slots.iter().any(|s| s.full)
    }

    /// Takes a sealed pack: it is encoded for the disks there are and written. `with` goes into the journal in the
    /// same record as the pack's own fact. With fewer than `at_least_m` parity shards possible it fails.
    pub fn pack_sealed(&mut self, pack: SealedPack, with: Vec<Fact>, at_least_m: usize) {
        self.start_flight(pack, None, with, at_least_m, 0);
        self.pump();
    }

    /// Whether new packs would have the vault's full tolerance now.
    pub fn whole(&self) -> bool {
        let possible = self.geometry.shrink(self.usable().len());
        possible.is_some_and(|g| g.m() == self.geometry.m()) && !self.coord.witnessed()
    }

    /// Disks that can take new shards.
    pub(super) fn usable(&self) -> DiskSet {
        let full: DiskSet =
            (0..self.slots.len() as u8).map(DiskNo).filter(|d| self.slots[d.ix()].full).collect();
        self.coord.counting().minus(full)
    }

    fn start_flight(
        &mut self,
        pack: SealedPack,
        anew: Option<PackId>,
        with: Vec<Fact>,
        at_least_m: usize,
        attempts: u32,
    ) {
        let id = anew.unwrap_or(pack.id);
        let mut disks: Vec<DiskNo> = self.usable().iter().collect();
        let room = self.geometry.shrink(disks.len()).filter(|g| g.m() >= at_least_m);
        let Some(geometry) = room.filter(|_| attempts < MAX_ATTEMPTS && self.writable().is_ok()) else {
            let full = self.slots.iter().any(|s| s.full);
            let fault = match self.writable() {
                Err(fault) => fault,
                Ok(()) if full => Fault::full("the disks are full").next("free space or add larger disks"),
                Ok(()) => Fault::transient("no disk could take the data").next("try again"),
            };
            self.flights.failed.insert(id, fault);
            return;
        };
        // Spread the parity: another disk begins for each pack.
        let turn = usize::from(id.0[15]) % disks.len();
        disks.rotate_left(turn);
        disks.truncate(geometry.width());
        let ids = disks.iter().map(|d| self.slots[d.ix()].id).collect();
        let epoch = self.coord.epoch();
        let flight = Flight {
            class: pack.class,
            chunks: pack.entries.iter().map(|e| e.chunk).collect(),
            disks,
            geometry,
            epoch,
            encoded: None,
            written: DiskSet::EMPTY,
            with,
            at_least_m,
            attempts,
            durable: false,
            stale: false,
        };
        self.flights.insert(id, flight);
        let order = EncodeOrder { pack, anew, geometry, epoch, disks: ids };
        self.effects.push_back(Effect::Encode(Box::new(order)));
    }

    pub(super) fn pack_encoded(&mut self, id: PackId, result: Result<EncodedPack>) {
        let Some(flight) = self.flights.flights.get_mut(&id) else { return };
        match result {
            Err(fault) => {
                self.flights.remove(&id);
                self.flights.failed.insert(id, fault);
            }
            Ok(encoded) if flight.stale => {
                flight.encoded = Some(Arc::new(encoded));
                self.restart(id);
            }
            Ok(encoded) => {
                let encoded = Arc::new(encoded);
                flight.encoded = Some(encoded.clone());
                for (shard, disk) in flight.disks.clone().into_iter().enumerate() {
                    self.give(disk, Job::Shard { pack: encoded.clone(), shard });
                }
            }
        }
    }

    pub(super) fn shard_written(&mut self, id: PackId, disk: DiskNo) {
        let ack_at_k = self.flaw(Flaw::AckAtK);
        let Some(flight) = self.flights.flights.get_mut(&id) else { return };
        flight.written = flight.written.with(disk);
        let need = if ack_at_k { flight.geometry.k() } else { flight.geometry.width() };
        if flight.written.len() < need || flight.durable {
            return;
        }
        let Some(encoded) = flight.encoded.take() else { return };
        flight.durable = true;
        let header = encoded.header(0);
        let fact = PackFact {
            id,
            class: encoded.class(),
            pack_len: header.pack_len,
            toc_sealed_len: header.toc_sealed_len,
            geometry: flight.geometry,
            epoch: flight.epoch,
            disks: flight.disks.clone(),
            digest: encoded.digest(),
        };
        let mut facts = vec![Fact::PackAdded(fact)];
        facts.append(&mut flight.with);
        self.queue.push_back(Commit { ticket: None, facts, needs: Vec::new(), size: 600 });
    }

    pub(super) fn shard_failed(&mut self, id: PackId, _why: Option<String>) {
        self.restart(id);
    }

    /// A disk was lost: packs that still needed it begin again without it.
    pub(super) fn flights_lost(&mut self, disk: DiskNo) {
        let hit = |f: &Flight| !f.durable && f.disks.contains(&disk) && !f.written.has(disk);
        let hit: Vec<PackId> =
            self.flights.flights.iter().filter(|(_, f)| hit(f)).map(|(id, _)| *id).collect();
        for id in hit {
            match self.flights.flights.get_mut(&id) {
                Some(f) if f.encoded.is_none() => f.stale = true,
                _ => self.restart(id),
            }
        }
    }

    fn restart(&mut self, id: PackId) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        let Some(encoded) = flight.encoded.take() else { return };
        let here = self.coord.in_use();
        for disk in flight.disks.iter().filter(|d| here.has(**d)) {
            self.give(*disk, Job::RemoveShard(id));
        }
        let anew = PackId(self.random());
        self.flights.renamed.insert(id, anew);
        flight.with.push(Fact::PackDropped { id, into: anew });
        let pack = encoded.to_sealed();
        self.start_flight(pack, Some(anew), flight.with, flight.at_least_m, flight.attempts + 1);
    }

    /// The pack's fact is acknowledged: it is in the catalogue from now on, and the index may know.
    pub(super) fn pack_journaled(&mut self, id: PackId) {
        if let Some(flight) = self.flights.remove(&id) {
            self.effects.push_back(Effect::Learn(id, flight.chunks));
        }
    }

    /// A pack is needed no more: its shards go.
    pub(super) fn pack_dropped(&mut self, id: PackId) {
        self.remove_shards(&id);
        self.missing.remove(&id);
        self.healing.dropped(&id);
        if self.bad.remove(&id).is_some() {
            self.finds_changed();
        }
        self.effects.push_back(Effect::Forget(id));
    }

    /// Has a pack's shards removed from the disks that are there; one that comes back later is swept.
    pub(super) fn remove_shards(&mut self, id: &PackId) {
        let here = self.coord.in_use();
        let disks = self.catalog.pack(id).map(|pack| pack.disks.clone()).unwrap_or_default();
        for disk in disks.into_iter().filter(|d| here.has(*d)) {
            self.give(disk, Job::RemoveShard(*id));
        }
    }

    /// Whether all of these packs are durable; `Err` when one never will be.
    pub(super) fn needs_met(&self, needs: &[PackId]) -> Result<bool> {
        for id in needs {
            let id = self.flights.newest(*id);
            if let Some(fault) = self.flights.failed.get(&id) {
                return Err(fault.clone());
            }
            let flight = self.flights.flights.get(&id);
            let met = flight.is_some_and(|f| f.durable) || self.catalog.current_pack(&id).is_some();
            let early = self.flaw(Flaw::RecordBeforePack) && flight.is_some();
            if !met && !early {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
