//! What the street side may ask of a vault.

use crate::catalog::Catalog;
use crate::disk::Holder;
use crate::get::Get;
use crate::put::Put;
use crate::shell::{House, Opening};
use crate::state::StateFolder;
use crate::streams::{PutStream, SnapshotReader};
use coffre_core::class::LockClass;
use coffre_core::fact::ObjectFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ObjectId, VaultId};
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::names::{ClientName, DatasetName, DatasetRef};
use coffre_core::wire::{
    Arrivals, Ceiling, ClientInfo, ClockInfo, DatasetInfo, DiskInfo, ForgotInfo, NewClient, PlanInfo,
    ScrubInfo, SnapshotInfo, Status,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `coffre init` was asked to make.
#[derive(Clone, Debug)]
pub struct InitPlan {
    /// The state folder, on the system medium; made if missing, must be empty.
    pub state: PathBuf,
    /// 1 to 8 disk folders or mount points, each empty (`lost+found` is allowed).
    pub disks: Vec<PathBuf>,
    /// `None`: the box's choice for that number of disks.
    pub geometry: Option<Geometry>,
    /// The box's name, for people and certificates.
    pub name: String,
    /// Allows folders of one file system. Locks may be of seconds, and what is forgotten is freed after 10 seconds of grace.
    pub try_out: bool,
}

/// What `coffre init` made.
#[derive(Clone, Debug)]
pub struct InitOutcome {
    /// The new vault.
    pub vault_id: VaultId,
    /// Its geometry.
    pub geometry: Geometry,
    /// 24 recovery words, to be shown once and kept nowhere.
    pub recovery_words: Vec<String>,
    /// Certificate of the box's authority, DER.
    pub authority_der: Vec<u8>,
    /// Plain warnings for a person (for instance: one disk only).
    pub warnings: Vec<String>,
}

/// The keys of the box's identity: derived from the root key, so that recovery brings them back.
#[derive(Clone)]
pub struct IdentityKeys {
    /// Seed of the authority's P-256 private key: 32 bytes, a valid scalar, big-endian.
    pub authority_scalar: [u8; 32],
    /// Seed of the Ed25519 key that signs receipts.
    pub receipt_seed: [u8; 32],
}

/// Makes the authority's self-signed certificate (DER) for a new vault: (keys, vault id, name, now in ms).
pub type MakeAuthority<'a> = &'a dyn Fn(&IdentityKeys, VaultId, &str, u64) -> Result<Vec<u8>>;

/// Makes a new vault: labels, key slots, first journal record on every disk, then the state folder.
///
/// # Durability
/// On `Ok` everything is durable. On failure nothing that was there before has changed, and what was begun is
/// removed where possible.
pub fn init(plan: &InitPlan, make_authority: MakeAuthority<'_>) -> Result<InitOutcome> {
    crate::init::init(plan, make_authority)
}

/// An open vault. Cheap to clone; all clones speak to one owner. Dropping the last one closes it.
#[derive(Clone, Debug)]
pub struct Vault {
    door: Arc<Door>,
}

/// Closes the house when the last one goes; the house's own threads hold the house alone.
#[derive(Debug)]
struct Door(Arc<House>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Which snapshot of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest one that is not marked as incomplete; when all are, the newest.
    Latest,
    /// This one.
    Id(ObjectId),
}

impl Vault {
    /// Opens the vault of a state folder: mounts what disks there are, by the rules of the coordinator, and
    /// starts its threads. Succeeds read-only when too few disks are there to write. The disks are held until the vault is
    /// closed: `Refused` when another process, or another opening, has so many of them that nothing could be read.
    ///
    /// `Absent` when there is no vault in the folder, `Corrupt` when its files are damaged or the disks show a vault
    /// without a beginning.
    pub fn open(state: &Path) -> Result<Self> {
        House::open(StateFolder::new(state), Opening::Again, Holder::default()).map(Self::of)
    }

    pub(crate) fn of(house: Arc<House>) -> Self {
        Self { door: Arc::new(Door(house)) }
    }

    pub(crate) fn house(&self) -> &Arc<House> {
        &self.door.0
    }

    /// The state of the box, each light derived from verified facts.
    pub fn status(&self) -> Status {
        self.house().status()
    }

    /// Disks in roster order, then those that show and were taken out of the vault.
    pub fn disks(&self) -> Vec<DiskInfo> {
        self.house().disks()
    }

    /// The geometry in force: that of new packs while all disks are there.
    pub fn geometry(&self) -> Geometry {
        self.house().geometry()
    }

    /// Replaces a disk, named by its number, the beginning of its id (6 digits or more) or its path, by the empty folder or mount
    /// point `with`. The old disk, if it is still there, is not used any more. Waits until the new one is in use, or a
    /// little longer than that should take. `Refused` when the vault could not go on without the old disk, or `with` is
    /// not empty or not a disk of its own; `Full` when it is too small; `Absent` when there is no such disk.
    ///
    /// # Durability
    /// On `Ok` every later opening knows the new disk and not the old one. When it fails half-way, the next opening finds
    /// in the labels which of the two holds, and goes on from there.
    pub fn disk_replace(&self, old: &str, with: &Path) -> Result<DiskInfo> {
        self.house().disk_replace(old, with)
    }

    /// Adds the empty folder or mount point `path` as one disk more. Errors and durability as for
    /// [`disk_replace`](Self::disk_replace).
    pub fn disk_add(&self, path: &Path) -> Result<DiskInfo> {
        self.house().disk_add(path)
    }

    /// Tells the box that one of its disks is at `path` now. `Refused` when it is not one of this vault's disks.
    pub fn disk_find(&self, path: &Path) -> Result<DiskInfo> {
        self.house().disk_find(path)
    }

    /// The identity keys, for TLS and receipts.
    pub fn identity(&self) -> IdentityKeys {
        self.house().identity()
    }

    /// The certificate of the box's authority, DER.
    pub fn authority_der(&self) -> Vec<u8> {
        self.house().authority_der()
    }

    /// The box's name.
    pub fn name(&self) -> String {
        self.house().name(&self.house().core())
    }

    /// Makes a client and its secret. `Refused` if the name is taken; a removed client's name may be used again, its
    /// data is then the new one's.
    ///
    /// # Durability
    /// The client is in the journal when this returns.
    pub fn client_add(
        &self,
        name: &ClientName,
        quota_bytes: Option<u64>,
        daily_bytes: Option<u64>,
    ) -> Result<NewClient> {
        self.house().client_add(name, quota_bytes, daily_bytes)
    }

    /// Says what a client may keep, and send within 24 hours, from now on; `None` leaves that as it is. `Absent` if there is
    /// none.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn client_set(
        &self,
        name: &ClientName,
        quota: Option<Ceiling>,
        daily: Option<Ceiling>,
    ) -> Result<ClientInfo> {
        self.house().client_set(name, quota, daily)
    }

    /// Voids a client's secret; its data stays. `Absent` if there is none.
    pub fn client_remove(&self, name: &ClientName) -> Result<()> {
        self.house().client_remove(name)
    }

    /// A new secret for a client; the old one opens nothing from then on. Quota and data stay. `Absent` if there is none.
    ///
    /// # Durability
    /// The new secret is in the journal when this returns.
    pub fn client_rotate(&self, name: &ClientName) -> Result<NewClient> {
        self.house().client_rotate(name)
    }

    /// What has come from a client so far, at all doors: snapshots of the drop-box and of restic. A repository that was only
    /// made is none.
    pub fn arrivals(&self, name: &ClientName) -> Arrivals {
        self.house().arrivals(name)
    }

    /// When the first backup of a client was received, ms since 1970, of those received after `after_ms`; at all doors. `None` when there is
    /// none.
    pub fn first_arrival(&self, name: &ClientName, after_ms: Option<u64>) -> Option<u64> {
        self.house().first_arrival(name, after_ms)
    }

    /// All clients, removed ones included.
    pub fn clients(&self) -> Vec<ClientInfo> {
        self.house().clients()
    }

    /// Whether this secret opens this client's door. Constant time in the secret; same work for unknown names.
    pub fn authenticate(&self, name: &str, secret: &str) -> Option<ClientName> {
        self.house().authenticate(name, secret)
    }

    /// Names of one client's data sets that have a snapshot, sorted.
    pub fn datasets(&self, client: &ClientName) -> Vec<DatasetName> {
        self.house().core().with(|e| e.catalog().datasets_of(client))
    }

    /// Snapshots in order of receipt: of one data set (`Absent` if it has none), or of all.
    pub fn snapshots(&self, dataset: Option<&DatasetRef>) -> Result<Vec<SnapshotInfo>> {
        self.house().snapshots(dataset)
    }

    /// What `latest` is of one data set. `Absent` if it has no snapshot.
    pub fn latest(&self, dataset: &DatasetRef) -> Result<SnapshotInfo> {
        let house = self.house();
        let found = house.core().with(|e| latest(e.catalog(), dataset));
        found.ok_or_else(|| house.perhaps_hidden(no_snapshot_of(dataset)))
    }

    /// The same of each data set of a client, sorted by name.
    pub fn latest_of_each(&self, client: &ClientName) -> Vec<SnapshotInfo> {
        self.house().core().with(|e| {
            let of = |name| latest(e.catalog(), &DatasetRef { client: client.clone(), name });
            e.catalog().datasets_of(client).into_iter().filter_map(of).collect()
        })
    }

    /// Begins a snapshot. `Refused` while read-only, `Full` when there is no room or quota for anything.
    /// `size_hint` is the announced length, when there is one: refused early if it can never fit.
    pub fn put(&self, dataset: &DatasetRef, size_hint: Option<u64>) -> Result<PutStream> {
        let core = self.house().open_for_work()?;
        if core.with(|e| e.catalog().repo(dataset).is_some()) {
            return Err(Fault::misuse(format!("{dataset} is a repository of restic"))
                .next("choose another name for the data set"));
        }
        PutStream::begin(self.house(), core, dataset, size_hint, Put::begin)
    }

    /// Opens a snapshot for reading. `Absent` if there is none.
    pub fn read(&self, dataset: &DatasetRef, which: Which) -> Result<SnapshotReader> {
        let house = self.house().clone();
        let core = house.core();
        let wanted = match which {
            Which::Latest => core.with(|e| e.catalog().latest(dataset)),
            Which::Id(id) => core.with(|e| e.catalog().snapshots(dataset).contains(&id).then_some(id)),
        };
        let missing = || match which {
            Which::Latest => no_snapshot_of(dataset),
            Which::Id(id) => Fault::absent(format!("there is no snapshot {id} of {dataset}")),
        };
        let get = Get::open(core.clone(), &wanted.ok_or_else(|| house.perhaps_hidden(missing()))?)?;
        let info = snapshot_info(get.object());
        let passed_over = match which {
            Which::Latest => core.with(|e| e.catalog().newer_than(&info.id, dataset)),
            Which::Id(_) => 0,
        };
        Ok(SnapshotReader::of(house, core, get, info, passed_over))
    }

    /// When everything was looked at last, and what was found. With `deep`, a round is begun first: of labels, journals and
    /// headers, and when it is true of every block as well. It goes on in the background.
    pub fn scrub(&self, deep: Option<bool>) -> Result<ScrubInfo> {
        self.house().scrub(deep)
    }

    /// Says how a data set is kept: the lock class of what it receives from now on, what stays after its lock, what its
    /// snapshots are. `None` leaves that as it is; no lock that exists gets shorter or longer. `Absent` if there is no such client, `Refused` for
    /// a lock of less than a day outside of a try-out.
    ///
    /// # Durability
    /// On `Ok` it is in the journal.
    pub fn dataset_set(
        &self,
        dataset: &DatasetRef,
        class: Option<LockClass>,
        keep: Option<KeepRules>,
        kind: Option<Kind>,
    ) -> Result<DatasetInfo> {
        self.house().dataset_set(dataset, class, keep, kind)
    }

    /// How data sets are kept, by name.
    pub fn dataset_list(&self) -> Vec<DatasetInfo> {
        self.house().dataset_list()
    }

    /// What a run of forgetting would do now, and why. Changes nothing.
    pub fn forget_plan(&self) -> Result<PlanInfo> {
        self.house().forget_plan()
    }

    /// One run of forgetting: frees what was condemned long enough ago, compacts, condemns what may go now. A plan that
    /// would free more than a fifth of the vault needs its id in `approve`. `Refused` while the clock is in doubt, the vault
    /// read-only, or the plan another one by now.
    ///
    /// # Durability
    /// What the answer counts is in the journal.
    pub fn forget_run(&self, approve: Option<&str>) -> Result<ForgotInfo> {
        self.house().forget_run(approve)
    }

    /// The retention clock beside the system's.
    pub fn clock_show(&self) -> ClockInfo {
        self.house().clock_show()
    }

    /// The owner of the box says what time it is, ms since 1970. The retention clock leaps there, no further than the system's
    /// clock; nothing expires for 72 hours of running time after. `Refused` when the two are more than a day apart.
    ///
    /// # Durability
    /// On `Ok` the leap is in the journal.
    pub fn clock_attest(&self, at_ms: u64) -> Result<ClockInfo> {
        self.house().clock_attest(at_ms)
    }

    /// Deletes the index and builds it again in the background.
    pub fn index_burn(&self) -> Result<()> {
        self.house().burn_index()
    }

    /// Whether these recovery words open this vault. `Misuse` says which word is wrong where that can be told.
    pub fn check_words(&self, words: &[String]) -> Result<()> {
        self.house().check_words(words)
    }

    /// 24 words that would do as new recovery words. Nothing changes: show them to a person first.
    pub fn draw_words(&self) -> Vec<String> {
        self.house().draw_words()
    }

    /// Makes these the recovery words. Says which disks were away: theirs are replaced when they come back. `Misuse` for
    /// words that cannot be. An error means that old and new words may both open some of the disks: try the same again.
    ///
    /// # Durability
    /// The key slots on each disk in use and in the state folder are durable, sealed for these words.
    pub fn renew_words(&self, words: &[String]) -> Result<Vec<u8>> {
        self.house().renew_words(words)
    }

    /// Refuses new work, waits for what was begun (bounded), syncs, stops the threads.
    pub fn close(&self) {
        self.house().close();
    }
}

pub(crate) fn no_snapshot_of(dataset: &DatasetRef) -> Fault {
    Fault::absent(format!("there is no snapshot of {dataset}"))
}

fn latest(catalog: &Catalog, dataset: &DatasetRef) -> Option<SnapshotInfo> {
    catalog.latest(dataset).and_then(|id| catalog.object(&id)).map(snapshot_info)
}

pub(crate) fn snapshot_info(object: &ObjectFact) -> SnapshotInfo {
    SnapshotInfo {
        dataset: object.dataset.clone(),
        id: object.id,
        size: object.size,
        stored_bytes: object.stored_bytes,
        received_ms: object.received_ms,
        locked_until_ms: object.locked_until_ms,
        class: object.class,
        hash: match object.file {
            None => format!("blake3:{}", object.hash),
            Some(_) => format!("sha256:{}", object.hash),
        },
        checked: object.checked,
    }
}
