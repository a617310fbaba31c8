//! The desk: clients and their secrets, listings, and whether there is room for what was announced.

use super::house::House;
use crate::api::{no_snapshot_of, snapshot_info};
use crate::catalog::Amount;
use crate::core::{Core, lock};
use crate::ports::Entropy;
use coffre_core::fact::{ClientFact, Fact};
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::ids::ObjectId;
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::rhythm::{Rhythm, Standing};
use coffre_core::wire::{Arrivals, Ceiling, ClientInfo, NewClient, SenderInfo, SnapshotInfo};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// Most clients that were ever made, removed ones included: their names are kept for good.
const MAX_CLIENTS: usize = 1_000;
/// Longest list of one data set that is compared with the index on the way.
const MAX_COMPARED: usize = 10_000;

impl House {
    /// See [`Vault::client_add`](crate::Vault::client_add).
    pub fn client_add(
        &self,
        name: &ClientName,
        quota_bytes: Option<u64>,
        daily_bytes: Option<u64>,
    ) -> Result<NewClient> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let taken =
            core.with(|e| e.catalog().client(name).is_some_and(|client| client.secret_hash.is_some()));
        if taken {
            return Err(Fault::refused(format!("there is a client {name} already"))
                .next("choose another name, or remove that client first"));
        }
        if core.with(|e| e.catalog().client(name).is_none() && e.catalog().clients().count() >= MAX_CLIENTS) {
            return Err(Fault::full(format!("there are {MAX_CLIENTS} clients, removed ones included")).next(
                "give a new machine the name of one that was removed, if it may read what that one pushed",
            ));
        }
        let created_ms = self.clock.wall_ms();
        let client = ClientFact {
            name: name.clone(),
            secret_hash: None,
            quota_bytes,
            created_ms,
            daily_bytes,
            max_objects: None,
            secret_ms: None,
        };
        self.give_secret(&core, client).map(|(made, _)| made)
    }

    /// Makes a secret for a client and hands it in. When nobody knows whether it holds, it is given all the same, and that is
    /// said: else, should it hold, nobody would have it.
    fn give_secret(&self, core: &Core, client: ClientFact) -> Result<(NewClient, Vec<u8>)> {
        let secret = new_secret(&*self.entropy);
        let hash = self.keys.client_secret_hash(&client.name, &secret);
        let ClientFact { name, quota_bytes, daily_bytes, .. } = client.clone();
        let fact = ClientFact {
            secret_hash: Some(hash.to_vec().into()),
            secret_ms: Some(self.clock.wall_ms()),
            ..client
        };
        let unsure = match core.wait(core.submit(vec![Fact::Client(fact)], Vec::new())) {
            Ok(_) => None,
            Err(fault) if fault.class == Class::Unknown => Some(fault),
            Err(fault) => return Err(fault),
        };
        Ok((NewClient { name, secret, quota_bytes, daily_bytes, unsure }, hash.to_vec()))
    }

    /// See [`Vault::client_set`](crate::Vault::client_set).
    pub fn client_set(
        &self,
        name: &ClientName,
        quota: Option<Ceiling>,
        daily: Option<Ceiling>,
        objects: Option<Ceiling>,
    ) -> Result<ClientInfo> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let mut fact = self.present(&core, name)?;
        fact.quota_bytes = quota.map_or(fact.quota_bytes, Ceiling::bytes);
        fact.daily_bytes = daily.map_or(fact.daily_bytes, Ceiling::bytes);
        fact.max_objects = objects.map_or(fact.max_objects, Ceiling::bytes);
        core.wait(core.submit(vec![Fact::Client(fact.clone())], Vec::new()))?;
        Ok(self.client_info(&core, &fact, &self.senders(&core)))
    }

    /// See [`Vault::client_remove`](crate::Vault::client_remove).
    pub fn client_remove(&self, name: &ClientName) -> Result<()> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let fact = ClientFact { secret_hash: None, ..self.present(&core, name)? };
        core.wait(core.submit(vec![Fact::Client(fact)], Vec::new())).map(|_| ())
    }

    /// See [`Vault::client_rotate`](crate::Vault::client_rotate).
    pub fn client_rotate(&self, name: &ClientName) -> Result<NewClient> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let client = self.present(&core, name)?;
        let (made, hash) = self.give_secret(&core, client.clone())?;
        if made.unsure.is_some() {
            self.note_unsure(client, &hash);
        }
        Ok(made)
    }

    /// See [`Vault::arrivals`](crate::Vault::arrivals).
    pub fn arrivals(&self, name: &ClientName) -> Arrivals {
        self.core().with(|e| {
            let catalog = e.catalog();
            let received = |id: &ObjectId| catalog.object(id).map(|fact| fact.received_ms);
            let mut arrivals = Arrivals::default();
            for dataset in catalog.datasets_of(name) {
                let ids = catalog.snapshots(&DatasetRef { client: name.clone(), name: dataset });
                arrivals.snapshots += ids.len() as u64;
                arrivals.newest_ms = arrivals.newest_ms.max(ids.last().and_then(received));
            }
            for repo in catalog.repos().iter().filter(|repo| repo.fact.repo.client == *name) {
                arrivals.snapshots += repo.snapshots;
                arrivals.newest_ms = arrivals.newest_ms.max(repo.newest_ms);
            }
            arrivals
        })
    }

    /// All clients, removed ones included, by name.
    pub fn clients(&self) -> Result<Vec<ClientInfo>> {
        let core = self.core();
        let facts: Vec<ClientFact> = core.with(|e| e.catalog().clients().cloned().collect());
        let senders = self.senders(&core);
        let mut all: Vec<ClientInfo> =
            facts.iter().map(|fact| self.client_info(&core, fact, &senders)).collect();
        let refused = |client: &ClientInfo| client.refused.last_ms.is_some() && !client.removed;
        all.sort_by_cached_key(|one| (Reverse((one.rhythm.standing, refused(one))), one.name.clone()));
        self.listed("clients", all)
    }

    fn client_info(&self, core: &Core, client: &ClientFact, senders: &[SenderInfo]) -> ClientInfo {
        let account = self.account(core, &client.name);
        let day = account.day();
        ClientInfo {
            name: client.name.clone(),
            quota_bytes: client.quota_bytes,
            default_quota_bytes: account.defaults.map(|d| d.quota_bytes),
            daily_bytes: client.daily_bytes,
            default_daily_bytes: account.defaults.map(|d| d.daily_bytes),
            logical_bytes: account.kept.logical,
            new_bytes: account.kept.new,
            day_logical_bytes: day.logical,
            day_new_bytes: day.new,
            day_lost_bytes: account.lost(),
            objects: account.kept.objects,
            max_objects: client.max_objects,
            default_max_objects: account.default_max_objects,
            datasets: core.with(|e| e.catalog().datasets_of(&client.name).len() as u64),
            created_ms: client.created_ms,
            secret_ms: client.secret_ms.unwrap_or(client.created_ms),
            rhythm: match client.secret_hash {
                Some(_) => Self::rhythm_of(senders, &client.name),
                None => Rhythm { standing: Standing::NotExpected, ..Self::rhythm_of(senders, &client.name) },
            },
            refused: self.refused_to(&client.name),
            removed: client.secret_hash.is_none(),
        }
    }

    /// See [`Vault::authenticate`](crate::Vault::authenticate). A name that cannot be, one that is not known and one
    /// that was removed cost one hash and one comparison like any other.
    pub fn authenticate(&self, name: &str, secret: &str) -> Result<Option<ClientName>> {
        let nobody = || "nobody".parse::<ClientName>().expect("a valid name");
        let (name, possible) = match name.parse::<ClientName>() {
            Ok(name) => (name, true),
            Err(_) => (nobody(), false),
        };
        let shown = self.keys.client_secret_hash(&name, secret);
        let known =
            self.core().with(|e| e.catalog().client(&name).and_then(|client| client.secret_hash.clone()));
        let (expected, known) = match known {
            Some(hash) => (hash.to_vec(), true),
            None => (vec![0; shown.len()], false),
        };
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&shown, &expected).is_ok();
        if known && possible && !same {
            self.note_wrong_secret(&name);
        }
        match (same && known && possible).then_some(name) {
            None if self.partial() => Err(Fault::unseen("the disks that are here do not show all clients")
                .next("try again when the disks of the box are back")),
            client => Ok(client),
        }
    }

    /// Whether the box came up with too few disks, or old ones, and may not know all that it keeps.
    pub fn partial(&self) -> bool {
        self.core().with(|e| e.never_mounted())
    }

    /// A box that does not know all it keeps says of nothing that it is not there.
    pub fn perhaps_hidden(&self, absent: Fault) -> Fault {
        if !self.partial() {
            return absent;
        }
        Fault::unseen(format!("{}, as far as the disks that are here show; there may be more", absent.what))
            .next("put the missing disks back; the box's status says which")
    }

    /// A list of what there is of something. An empty one is a statement, and a box that does not know all it keeps makes
    /// none: `Unseen`.
    pub fn listed<T>(&self, what: &str, list: Vec<T>) -> Result<Vec<T>> {
        match list.is_empty() && self.partial() {
            true => Err(self.perhaps_hidden(Fault::absent(format!("there are no {what}")))),
            false => Ok(list),
        }
    }

    /// See [`Vault::snapshots`](crate::Vault::snapshots). The answer is the catalogue's; the index is only checked
    /// against it, when that is cheap, so that a lie is found before it matters.
    /// See [`Vault::snapshots_after`](crate::Vault::snapshots_after). With its first page the list is compared with the index.
    pub fn snapshots_after(
        &self,
        dataset: &DatasetRef,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<(u64, SnapshotInfo)>> {
        let mounted = self.mounted();
        let (some, all_noted) = mounted.core.with(|e| {
            let some = e.catalog().snapshots_after(dataset, after, max).into_iter();
            let some: Vec<_> = some.map(|(place, fact)| (place, snapshot_info(fact))).collect();
            let few = e.catalog().snapshots(dataset).len() <= MAX_COMPARED;
            (some, few && mounted.crew.lessons_pending() == 0)
        });
        if after.is_none() && some.is_empty() {
            return Err(self.perhaps_hidden(no_snapshot_of(dataset)));
        }
        if after.is_none() && all_noted {
            compare_index(&mounted.core, dataset, some.iter().map(|(_, info)| info));
        }
        Ok(some)
    }

    pub fn snapshots(&self, dataset: Option<&DatasetRef>) -> Result<Vec<SnapshotInfo>> {
        let mounted = self.mounted();
        let core = &mounted.core;
        let (infos, all_noted) = core.with(|e| {
            let catalog = e.catalog();
            let mut ids: Vec<ObjectId> = match dataset {
                Some(dataset) => catalog.snapshots(dataset).to_vec(),
                None => catalog.datasets().flat_map(|d| catalog.snapshots(d)).copied().collect(),
            };
            ids.sort_by_key(|id| catalog.order(id));
            let infos: Vec<SnapshotInfo> =
                ids.iter().filter_map(|id| catalog.object(id)).map(snapshot_info).collect();
            (infos, mounted.crew.lessons_pending() == 0)
        });
        match dataset {
            Some(dataset) if infos.is_empty() => Err(self.perhaps_hidden(no_snapshot_of(dataset))),
            Some(dataset) => {
                if all_noted && infos.len() <= MAX_COMPARED {
                    compare_index(core, dataset, infos.iter());
                }
                Ok(infos)
            }
            None => self.listed("snapshots", infos),
        }
    }

    /// What is known of a client that has a secret. `Absent` when there is none.
    fn present(&self, core: &Core, name: &ClientName) -> Result<ClientFact> {
        let known = core.with(|e| e.catalog().client(name).cloned());
        known.filter(|client| client.secret_hash.is_some()).ok_or_else(|| {
            let next =
                "`coffre client list` shows all; one that was removed comes back with `coffre client add`";
            self.perhaps_hidden(Fault::absent(format!("there is no client {name}")).next(next))
        })
    }

    /// `Full` when what was announced can never fit. A client that has kept nothing yet has nothing to share chunks
    /// with: its first snapshot must fit into what is free. Later ones may consist of what is there already, so only
    /// what exceeds the disks themselves is refused before it was seen.
    pub fn expect_room(
        &self,
        core: &Core,
        client: &ClientName,
        snapshot: bool,
        size_hint: Option<u64>,
    ) -> Result<()> {
        self.rooms.check()?;
        if core.with(|e| e.full()) {
            return Err(Fault::full("the disks are full").next("free space or add larger disks"));
        }
        let size = size_hint.unwrap_or(1);
        let account = self.account(core, client);
        let first = account.kept.logical == 0;
        account.check(Amount {
            logical: size,
            new: if first { size } else { size.min(1) },
            ..Amount::one(snapshot)
        })?;
        if size > self.limits.inline_max as u64 {
            account.check_lost(size.min(1))?;
        }
        let capacity = self.rooms.capacity(core.with(|e| e.geometry()), !first);
        if size > capacity {
            return Err(Fault::full(format!(
                "{} MiB are needed, the disks have {} MiB free beside a reserve of {} MiB each",
                size >> 20,
                capacity >> 20,
                self.limits.reserve >> 20
            ))
            .next("free space or add larger disks"));
        }
        Ok(())
    }
}

/// What the catalogue had of a data set must be in the index.
fn compare_index<'a>(core: &Core, dataset: &DatasetRef, mut infos: impl Iterator<Item = &'a SnapshotInfo>) {
    let ready = || core.index_ready.load(Ordering::Relaxed);
    if !ready() {
        return;
    }
    // It may know of more: of what came since, and of what was forgotten.
    let agrees = core.index.objects(dataset).is_ok_and(|ids| {
        let known: HashSet<ObjectId> = ids.into_iter().collect();
        infos.all(|info| known.contains(&info.id))
    });
    if !agrees && ready() {
        tracing::warn!("the index has other snapshots of {dataset} than the journal: it will be built again");
        core.doubt_index();
    }
}

/// 256 random bits in letters that survive being read aloud: lower-case base 32 (RFC 4648 without padding).
fn new_secret(entropy: &dyn Entropy) -> String {
    let mut bits = [0; 32];
    entropy.fill(&mut bits);
    base32(&bits)
}

fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut count) = (0u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(LETTERS[(held >> count & 31) as usize]));
        }
    }
    if count > 0 {
        text.push(char::from(LETTERS[(held << (5 - count) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_base32_of_256_bits() {
        // RFC 4648, section 10, in lower case and without padding.
        let known = [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")];
        for (plain, text) in known {
            assert_eq!(base32(plain.as_bytes()), text);
        }
        let secrets = [(); 2].map(|()| new_secret(&crate::clock::SystemEntropy));
        assert!(secrets[0].len() == 52 && secrets[0] != secrets[1]);
    }
}
