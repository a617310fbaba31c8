//! The catalogue: what the facts say is there. Made from a checkpoint and the records after it, in order.

mod arrivals;
mod census;
mod forgetting;
mod kinds;
mod opening;
mod receipts;
mod repos;

use coffre_core::diskset::DiskSet;
use coffre_core::fact::{
    Body, Born, ClientFact, DatasetFact, Fact, LockBasis, ObjectFact, PackFact, SettledLock,
};
use coffre_core::ids::{DiskNo, ObjectId, PackId};
use coffre_core::names::{ClientName, DatasetName, DatasetRef};
use coffre_core::retention::ClockFact;
use coffre_core::rhythm::Sittings;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use forgetting::{Policy, named_packs};
pub use opening::Lacking;
pub(crate) use receipts::{Amount, Day, OBJECT_BYTES};
pub use repos::{RepoFigures, is_lock_file};

/// Everything a vault keeps, as its facts say.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    born: Option<Born>,
    clients: BTreeMap<ClientName, ClientFact>,
    packs: HashMap<PackId, PackFact>,
    moves: forgetting::Moves,
    condemned: forgetting::Condemned,
    clock: Option<ClockFact>,
    policies: BTreeMap<DatasetRef, DatasetFact>,
    objects: HashMap<ObjectId, Entry>,
    /// Data sets with their snapshots in order of receipt.
    datasets: BTreeMap<DatasetRef, Vec<ObjectId>>,
    /// The newest of each that is not marked as incomplete.
    whole: BTreeMap<DatasetRef, ObjectId>,
    next_order: u64,
    by_order: BTreeMap<u64, ObjectId>,
    inline: BTreeSet<(u64, ObjectId)>,
    inline_bytes: u64,
    kept: BTreeMap<ClientName, Amount>,
    received: BTreeMap<ClientName, Day>,
    pack_bytes: u64,
    census: census::Census,
    repos: repos::Repos,
    arrivals: BTreeMap<DatasetRef, Sittings>,
    /// What has a lock that was given while the clocks disagreed.
    in_doubt: BTreeSet<ObjectId>,
}

#[derive(Clone, Debug)]
struct Entry {
    order: u64,
    fact: ObjectFact,
}

impl Catalog {
    /// Takes the next fact. Facts that say what is known already change nothing.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Born(born) => self.born = Some(born),
            Fact::Client(client) => {
                self.clients.insert(client.name.clone(), client);
            }
            Fact::PackAdded(pack) => {
                self.drop_pack(&pack.id);
                self.pack_bytes += stored_len(&pack);
                self.census.came(&pack);
                self.packs.insert(pack.id, pack);
            }
            Fact::PackDropped { id, into } => {
                self.drop_pack(&id);
                self.condemned.pack_ended(&id);
                self.moves.ended(id, into);
            }
            Fact::Object(object) => self.add_object(object),
            Fact::Settled { locks } => locks.iter().for_each(|lock| self.settle(lock)),
            Fact::Folded { id, body } => {
                if let Some(entry) = self.objects.get_mut(&id) {
                    if let Body::Inline(bytes) = &entry.fact.body
                        && self.inline.remove(&(entry.order, id))
                    {
                        self.inline_bytes -= bytes.len() as u64;
                    }
                    entry.fact.body = body;
                }
            }
            Fact::Came { dataset, at_ms } => {
                self.arrivals.insert(dataset, Sittings::new(&at_ms));
            }
            fact => {
                if let Some(fact) = self.apply_repo(fact) {
                    self.apply_forgetting(fact);
                }
            }
        }
    }

    fn drop_pack(&mut self, id: &PackId) {
        if let Some(old) = self.packs.remove(id) {
            self.pack_bytes -= stored_len(&old);
            self.census.went(&old);
        }
    }

    fn add_object(&mut self, fact: ObjectFact) {
        if self.objects.contains_key(&fact.id) {
            return;
        }
        let order = self.next_order;
        self.next_order += 1;
        self.by_order.insert(order, fact.id);
        if let Some(bytes) = repos::inline_to_fold(&fact) {
            self.inline.insert((order, fact.id));
            self.inline_bytes += bytes;
        }
        let amount = amount_of(&fact);
        *self.kept.entry(fact.dataset.client.clone()).or_default() += amount;
        self.received.entry(fact.dataset.client.clone()).or_default().add(fact.received_ms, amount);
        let id = fact.id;
        if fact.file.is_none() {
            self.datasets.entry(fact.dataset.clone()).or_default().push(id);
            self.note_whole(&fact);
        }
        self.add_file(&fact);
        self.note_arrival(&fact);
        if fact.basis.is_some() {
            self.in_doubt.insert(id);
        }
        self.objects.insert(id, Entry { order, fact });
    }

    fn settle(&mut self, lock: &SettledLock) {
        if let Some(entry) = self.objects.get_mut(&lock.id) {
            entry.fact.locked_until_ms = lock.until_ms;
            entry.fact.basis = Some(LockBasis::Settled);
            self.in_doubt.insert(lock.id);
        }
    }

    /// Everything with a lock that was given while the clocks disagreed.
    pub fn locked_in_doubt(&self) -> impl Iterator<Item = &ObjectFact> {
        self.in_doubt.iter().filter_map(|id| self.object(id))
    }

    /// The facts that make this state again, in an order that does, each made when it is asked for: all of them at once
    /// would be the catalogue twice.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        let objects = self.by_order.values().filter_map(|id| self.objects.get(id));
        let mut packs: Vec<&PackFact> = self.packs.values().collect();
        packs.sort_by_key(|p| p.id);
        let (before, after) = self.forgetting_facts();
        let (repos, hidden) = self.repo_facts();
        self.born
            .iter()
            .map(|b| Fact::Born(b.clone()))
            .chain(self.clients.values().map(|c| Fact::Client(c.clone())))
            .chain(before)
            .chain(repos)
            .chain(packs.into_iter().map(|p| Fact::PackAdded(p.clone())))
            .chain(self.moves.sorted().into_iter().map(|(id, into)| Fact::PackDropped { id, into }))
            .chain(objects.map(|e| Fact::Object(e.fact.clone())))
            .chain(hidden)
            .chain(self.arrival_facts())
            .chain(after)
    }

    /// How the vault began; `None` in a vault that has no fact yet.
    pub fn born(&self) -> Option<&Born> {
        self.born.as_ref()
    }

    /// A client, removed ones included.
    pub fn client(&self, name: &ClientName) -> Option<&ClientFact> {
        self.clients.get(name)
    }

    /// All clients, by name.
    pub fn clients(&self) -> impl Iterator<Item = &ClientFact> {
        self.clients.values()
    }

    /// Logical bytes a client keeps.
    pub fn logical_bytes_of(&self, client: &ClientName) -> u64 {
        self.kept_by(client).logical
    }

    /// What a client keeps.
    pub(crate) fn kept_by(&self, client: &ClientName) -> Amount {
        self.kept.get(client).copied().unwrap_or_default()
    }

    /// What was received from a client of late, by the time of receipt.
    pub(crate) fn received_from(&self, client: &ClientName) -> Option<&Day> {
        self.received.get(client)
    }

    /// Logical bytes of everybody.
    pub fn logical_bytes(&self) -> u64 {
        self.kept.values().map(|kept| kept.logical).sum()
    }

    /// Bytes that packs take on all disks together.
    pub fn pack_bytes(&self) -> u64 {
        self.pack_bytes
    }

    /// A live pack.
    pub fn pack(&self, id: &PackId) -> Option<&PackFact> {
        self.packs.get(id)
    }

    /// The live pack that now holds what pack `id` held.
    pub fn current_pack(&self, id: &PackId) -> Option<&PackFact> {
        self.packs.get(id).or_else(|| self.packs.get(&self.moves.heir(*id)))
    }

    /// All live packs.
    pub fn packs(&self) -> impl Iterator<Item = &PackFact> {
        self.packs.values()
    }

    /// How many live packs.
    pub fn pack_count(&self) -> usize {
        self.packs.len()
    }

    /// A snapshot.
    pub fn object(&self, id: &ObjectId) -> Option<&ObjectFact> {
        self.objects.get(id).map(|e| &e.fact)
    }

    /// A snapshot's place in the order of receipt.
    pub fn order(&self, id: &ObjectId) -> Option<u64> {
        self.objects.get(id).map(|e| e.order)
    }

    /// How many snapshots.
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Snapshots of a data set in order of receipt; empty when there is none.
    pub fn snapshots(&self, dataset: &DatasetRef) -> &[ObjectId] {
        self.datasets.get(dataset).map_or(&[], Vec::as_slice)
    }

    /// Up to `max` snapshots of a data set that came after a place in the order of receipt, with their places.
    pub fn snapshots_after(
        &self,
        dataset: &DatasetRef,
        after: Option<u64>,
        max: usize,
    ) -> Vec<(u64, &ObjectFact)> {
        let ids = self.snapshots(dataset);
        let before = |id: &ObjectId| self.order(id).zip(after).is_some_and(|(order, after)| order <= after);
        let some = ids[ids.partition_point(before)..].iter().take(max);
        some.filter_map(|id| self.objects.get(id).map(|entry| (entry.order, &entry.fact))).collect()
    }

    /// All data sets.
    pub fn datasets(&self) -> impl Iterator<Item = &DatasetRef> {
        self.datasets.keys()
    }

    /// Names of one client's data sets, sorted.
    pub fn datasets_of(&self, client: &ClientName) -> Vec<DatasetName> {
        self.datasets.keys().filter(|d| d.client == *client).map(|d| d.name.clone()).collect()
    }

    /// Objects that are still inline, oldest first.
    pub fn inline_objects(&self) -> impl Iterator<Item = &ObjectFact> {
        self.inline.iter().filter_map(|(_, id)| self.object(id))
    }

    /// Bytes that are still inline.
    pub fn inline_bytes(&self) -> u64 {
        self.inline_bytes
    }

    /// How many more disks may be lost, any ones, without losing a live pack, when `there` are there and what packs `lack`
    /// is not. `None` when there is no pack.
    pub fn tolerance(&self, there: DiskSet, lack: impl Iterator<Item = (PackId, DiskSet)>) -> Option<i32> {
        self.census.tolerances(&self.packs, there, lack).keys().next().copied()
    }

    /// How many live packs can miss fewer than `floor` more disks (0: cannot be read).
    pub fn packs_below(
        &self,
        floor: i32,
        there: DiskSet,
        lack: impl Iterator<Item = (PackId, DiskSet)>,
    ) -> usize {
        self.census.tolerances(&self.packs, there, lack).range(..floor).map(|(_, count)| count).sum()
    }

    /// How many live packs have a shard on `disk` and cannot be read with those on `left` alone.
    pub fn packs_needing(
        &self,
        disk: DiskNo,
        left: DiskSet,
        lack: impl Iterator<Item = (PackId, DiskSet)>,
    ) -> usize {
        self.census.needing(&self.packs, disk, left, lack)
    }

    /// Whether any live pack has fewer than `m` shards to spare when all are there.
    pub fn any_narrower_than(&self, m: usize) -> bool {
        self.census.any_narrower_than(m)
    }

    /// Grows whenever a live pack comes or goes: who saw nothing to do at this number need not look again.
    pub fn pack_changes(&self) -> u64 {
        self.census.changes()
    }
}

/// What an object counts for.
fn amount_of(fact: &ObjectFact) -> Amount {
    Amount { logical: fact.size, new: fact.stored_bytes, ..Amount::one(fact.file.is_none()) }
}

/// Bytes a pack takes on all its disks: data and parity, headers and checksums aside.
fn stored_len(pack: &PackFact) -> u64 {
    let shard = coffre_core::shard::shard_len(pack.pack_len, pack.geometry.k());
    shard * pack.geometry.width() as u64
}

/// How many more disks a pack can miss, without the shards on `lost`; negative when it cannot be read now.
pub fn pack_tolerance(pack: &PackFact, there: DiskSet, lost: DiskSet) -> i32 {
    let good = pack.disks.iter().filter(|d| there.has(**d) && !lost.has(**d)).count();
    good as i32 - pack.geometry.k() as i32
}
