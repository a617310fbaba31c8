//! The desk: clients and their secrets, listings, and whether there is room for what was announced.

use super::house::House;
use crate::api::{no_snapshot_of, snapshot_info};
use crate::catalog::Amount;
use crate::core::{Core, lock};
use crate::ports::Entropy;
use coffre_core::amount::ByteCount;
use coffre_core::fact::{ClientFact, Fact};
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::ObjectId;
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::repo::FileKind;
use coffre_core::wire::{Arrivals, Ceiling, ClientInfo, NewClient, SnapshotInfo};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

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
        let secret = new_secret(&*self.entropy);
        let hash = self.keys.client_secret_hash(name, &secret);
        let fact = ClientFact {
            name: name.clone(),
            secret_hash: Some(hash.to_vec().into()),
            quota_bytes,
            created_ms: self.clock.wall_ms(),
            daily_bytes,
        };
        core.wait(core.submit(vec![Fact::Client(fact)], Vec::new()))?;
        Ok(NewClient { name: name.clone(), secret, quota_bytes, daily_bytes })
    }

    /// See [`Vault::client_set`](crate::Vault::client_set).
    pub fn client_set(
        &self,
        name: &ClientName,
        quota: Option<Ceiling>,
        daily: Option<Ceiling>,
    ) -> Result<ClientInfo> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let mut fact = present(&core, name)?;
        fact.quota_bytes = quota.map_or(fact.quota_bytes, Ceiling::bytes);
        fact.daily_bytes = daily.map_or(fact.daily_bytes, Ceiling::bytes);
        core.wait(core.submit(vec![Fact::Client(fact.clone())], Vec::new()))?;
        Ok(self.client_info(&core, &fact))
    }

    /// See [`Vault::client_remove`](crate::Vault::client_remove).
    pub fn client_remove(&self, name: &ClientName) -> Result<()> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let fact = ClientFact { secret_hash: None, ..present(&core, name)? };
        core.wait(core.submit(vec![Fact::Client(fact)], Vec::new())).map(|_| ())
    }

    /// See [`Vault::client_rotate`](crate::Vault::client_rotate).
    pub fn client_rotate(&self, name: &ClientName) -> Result<NewClient> {
        let _one_at_a_time = lock(&self.admin);
        let core = self.open_for_work()?;
        let client = present(&core, name)?;
        let secret = new_secret(&*self.entropy);
        let hash = self.keys.client_secret_hash(name, &secret);
        let (quota_bytes, daily_bytes) = (client.quota_bytes, client.daily_bytes);
        let fact = ClientFact { secret_hash: Some(hash.to_vec().into()), ..client };
        core.wait(core.submit(vec![Fact::Client(fact)], Vec::new()))?;
        Ok(NewClient { name: name.clone(), secret, quota_bytes, daily_bytes })
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

    /// See [`Vault::first_arrival`](crate::Vault::first_arrival).
    pub fn first_arrival(&self, name: &ClientName, after_ms: Option<u64>) -> Option<u64> {
        self.core().with(|e| {
            let catalog = e.catalog();
            let of = |name: &ClientName, dataset| DatasetRef { client: name.clone(), name: dataset };
            let snapshots = catalog.datasets_of(name).into_iter().flat_map(|dataset| {
                let ids = catalog.snapshots(&of(name, dataset));
                ids.iter().filter_map(|id| Some(catalog.object(id)?.received_ms)).collect::<Vec<u64>>()
            });
            let backups = catalog.repo_names(name).into_iter().flat_map(|repo| {
                let files = catalog.files(&of(name, repo), FileKind::Snapshots, None, usize::MAX);
                files.into_iter().map(|(_, fact)| fact.received_ms).collect::<Vec<u64>>()
            });
            snapshots
                .chain(backups)
                .filter(|received_ms| after_ms.is_none_or(|after| *received_ms > after))
                .min()
        })
    }

    /// All clients, removed ones included, by name.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let core = self.core();
        let facts: Vec<ClientFact> = core.with(|e| e.catalog().clients().cloned().collect());
        facts.iter().map(|fact| self.client_info(&core, fact)).collect()
    }

    fn client_info(&self, core: &Core, client: &ClientFact) -> ClientInfo {
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
            datasets: core.with(|e| e.catalog().datasets_of(&client.name).len() as u64),
            created_ms: client.created_ms,
            removed: client.secret_hash.is_none(),
        }
    }

    /// See [`Vault::authenticate`](crate::Vault::authenticate). A name that cannot be, one that is not known and one
    /// that was removed cost one hash and one comparison like any other.
    pub fn authenticate(&self, name: &str, secret: &str) -> Option<ClientName> {
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
        (same && known && possible).then_some(name)
    }

    /// See [`Vault::snapshots`](crate::Vault::snapshots). The answer is the catalogue's; the index is only checked
    /// against it, when that is cheap, so that a lie is found before it matters.
    /// A box that came up with too few disks does not know all it keeps: "not there" would be a false answer.
    pub fn perhaps_hidden(&self, absent: Fault) -> Fault {
        if !self.core().with(|e| e.never_mounted()) {
            return absent;
        }
        Fault::transient(format!(
            "{}, as far as the disks that are here show; the box knows of more",
            absent.what
        ))
        .next("put the missing disks back; the box's status says which")
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
                    compare_index(core, dataset, &infos);
                }
                Ok(infos)
            }
            None => Ok(infos),
        }
    }

    /// `Full` when what was announced can never fit. A client that has kept nothing yet has nothing to share chunks
    /// with: its first snapshot must fit into what is free. Later ones may consist of what is there already, so only
    /// what exceeds the disks themselves is refused before it was seen.
    pub fn expect_room(&self, core: &Core, client: &ClientName, size_hint: Option<u64>) -> Result<()> {
        self.rooms.check()?;
        if core.with(|e| e.full()) {
            return Err(Fault::full("the disks are full").next("free space or add larger disks"));
        }
        let size = size_hint.unwrap_or(1);
        let account = self.account(core, client);
        let first = account.kept.logical == 0;
        account.check(Amount { logical: size, new: if first { size } else { size.min(1) } })?;
        let capacity = self.rooms.capacity(core.with(|e| e.geometry()), !first);
        if size > capacity {
            return Err(Fault::full(format!(
                "{} are needed, the disks have {} free beside a reserve of {} each",
                ByteCount(size),
                ByteCount(capacity),
                ByteCount(self.limits.reserve)
            ))
            .next("free space or add larger disks"));
        }
        Ok(())
    }
}

/// What is known of a client that has a secret. `Absent` when there is none.
fn present(core: &Core, name: &ClientName) -> Result<ClientFact> {
    let known = core.with(|e| e.catalog().client(name).cloned());
    known.filter(|client| client.secret_hash.is_some()).ok_or_else(|| {
        Fault::absent(format!("there is no client {name}"))
            .next("`coffre client list` shows all; one that was removed comes back with `coffre client add`")
    })
}

/// What the catalogue had of a data set must be in the index.
fn compare_index(core: &Core, dataset: &DatasetRef, infos: &[SnapshotInfo]) {
    let ready = || core.index_ready.load(Ordering::Relaxed);
    if !ready() {
        return;
    }
    // It may know of more: of what came since, and of what was forgotten.
    let agrees = core.index.objects(dataset).is_ok_and(|ids| {
        let known: HashSet<ObjectId> = ids.into_iter().collect();
        infos.iter().all(|info| known.contains(&info.id))
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
