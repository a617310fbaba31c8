//! What crosses the control socket, and the JSON that scripts read: stable names, documented in `docs/cli.md`.
//!
//! One request is one line of JSON; answers are lines of JSON too, `Reply::Data` lines announcing raw bytes
//! that follow. Times are RFC 3339 UTC text made by whoever prints them; on the wire they are milliseconds
//! since 1970 in fields that end in `_ms`. Bytes are integers.

mod health;

pub use health::{FindInfo, HealInfo, ScrubInfo, Unhealed};

mod clients;
mod keeping;
mod pair;
mod place;
mod repos;

use crate::class::LockClass;
use crate::fault::Fault;
use crate::geometry::Geometry;
use crate::ids::{DiskId, ObjectId, VaultId};
use crate::keep::KeepRules;
use crate::kind::{Checked, Kind};
use crate::names::{ClientName, DatasetRef};
use crate::pair::MachineKind;
use crate::repo::RepoMode;
use serde::{Deserialize, Serialize};

pub use clients::{Ceiling, ClientInfo, NewClient};
pub use pair::{Arrivals, PairState, PairingInfo};
pub use place::{SOCKET, spare_folders};
pub use repos::{FileInfo, RepoInfo};

pub use keeping::{ClockInfo, DatasetInfo, ForgotInfo, JudgedInfo, PlanInfo};

/// A request on the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// The state of the box.
    Status,
    /// Make a client; `None` is the box's default.
    ClientAdd {
        /// Its name.
        name: ClientName,
        /// Most logical bytes it may keep.
        quota_bytes: Option<u64>,
        /// Most logical bytes it may send within 24 hours.
        daily_bytes: Option<u64>,
    },
    /// Say what a client may keep and send from now on; `None` leaves that as it is.
    ClientSet {
        /// Its name.
        name: ClientName,
        /// Most logical bytes it may keep.
        quota: Option<Ceiling>,
        /// Most logical bytes it may send within 24 hours.
        daily: Option<Ceiling>,
    },
    /// All clients.
    ClientList,
    /// Void a client's secret. Its data stays.
    ClientRemove {
        /// Its name.
        name: ClientName,
    },
    /// A new secret for a client; the old one is void at once.
    ClientRotate {
        /// Its name.
        name: ClientName,
    },
    /// Make a code with which a machine becomes a client by itself.
    PairBegin {
        /// The client's name; `None`: whoever uses the code types one.
        name: Option<ClientName>,
        /// What sort of machine.
        kind: Option<MachineKind>,
        /// Most logical bytes it may keep.
        quota_bytes: Option<u64>,
    },
    /// How far pairings are, newest first.
    PairList {
        /// Only this one.
        id: Option<u64>,
    },
    /// Take a code back that nobody has used.
    PairCancel {
        /// Which.
        id: u64,
    },
    /// All disks.
    DiskList,
    /// What the scrub knows; with a kind, one is begun first.
    Scrub {
        /// `None`: only tell. `Some(false)`: look at labels, journals and headers now. `Some(true)`: at every block as well.
        deep: Option<bool>,
    },
    /// Replace a disk by an empty one.
    DiskReplace {
        /// Its number, the beginning of its id, or its path.
        old: String,
        /// The new disk's folder, a full path.
        with: String,
    },
    /// Add an empty disk.
    DiskAdd {
        /// Its folder, a full path.
        path: String,
    },
    /// One of the vault's disks is somewhere else now.
    DiskFind {
        /// Its folder, a full path.
        path: String,
    },
    /// Delete the index and build it again while the service stays up.
    IndexBurn,
    /// Snapshots of one data set or of all.
    Snapshots {
        /// Only this one.
        dataset: Option<DatasetRef>,
    },
    /// The bytes of a snapshot: `Reply::Data` lines, then `Reply::Done`.
    Get {
        /// The data set.
        dataset: DatasetRef,
        /// Which snapshot; the newest when `None`.
        id: Option<ObjectId>,
    },
    /// The certificate of the authority that clients pin.
    Certificate,
    /// How a data set is to be kept from now on; what is `None` stays as it is.
    DatasetSet {
        /// Which.
        dataset: DatasetRef,
        /// Lock of what it receives, in seconds.
        class: Option<LockClass>,
        /// What stays after its lock.
        keep: Option<KeepRules>,
        /// What its snapshots are.
        #[serde(default)]
        kind: Option<Kind>,
    },
    /// How data sets are kept.
    DatasetList,
    /// All repositories.
    RepoList,
    /// Every file of a repository, hidden ones too.
    RepoFiles {
        /// Which.
        repo: DatasetRef,
    },
    /// What the client of a repository may do from now on.
    RepoSet {
        /// Which.
        repo: DatasetRef,
        /// What it may.
        mode: RepoMode,
    },
    /// Take a repository away from its client.
    RepoRemove {
        /// Which.
        repo: DatasetRef,
    },
    /// Show its client everything again that is hidden.
    RepoRestore {
        /// Which.
        repo: DatasetRef,
    },
    /// What a run of forgetting would do, and why.
    ForgetPlan,
    /// A run of forgetting now.
    ForgetRun {
        /// A plan that may free more than a fifth.
        approve: Option<String>,
    },
    /// The two clocks.
    ClockShow,
    /// The owner says what time it is.
    ClockAttest {
        /// Ms since 1970.
        at_ms: u64,
    },
    /// Words that would do as new recovery words. Nothing changes yet: they are to be shown first.
    DrawWords,
    /// Make these the recovery words; the old ones are void for what the box has from then on.
    RenewWords {
        /// 24 words.
        words: Vec<String>,
    },
    /// Whether these recovery words open this vault.
    CheckWords {
        /// 24 words.
        words: Vec<String>,
    },
}

/// An answer on the control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::ClientAdd`] and [`Request::ClientRotate`].
    ClientAdded(NewClient),
    /// To [`Request::PairBegin`], [`Request::PairList`] and [`Request::PairCancel`].
    Pairings {
        /// Newest first; the one that was asked about alone.
        pairings: Vec<PairingInfo>,
    },
    /// To [`Request::ClientList`].
    Clients {
        /// All of them.
        clients: Vec<ClientInfo>,
    },
    /// To [`Request::RepoFiles`].
    Files {
        /// Those that the client sees, then the hidden ones.
        files: Vec<FileInfo>,
    },
    /// To what is asked of repositories.
    Repos {
        /// By name; the one that was asked about alone.
        repos: Vec<RepoInfo>,
        /// Files that came back.
        shown: u64,
    },
    /// To [`Request::DiskList`].
    Disks {
        /// In roster order.
        disks: Vec<DiskInfo>,
    },
    /// To [`Request::Scrub`].
    Scrub(Box<ScrubInfo>),
    /// To [`Request::DiskReplace`], [`Request::DiskAdd`] and [`Request::DiskFind`].
    Disk {
        /// The disk that came.
        disk: DiskInfo,
        /// The vault's geometry now.
        geometry: Geometry,
    },
    /// To [`Request::Snapshots`].
    Snapshots {
        /// In order of receipt.
        snapshots: Vec<SnapshotInfo>,
    },
    /// What [`Request::Get`] is about to send.
    Object(SnapshotInfo),
    /// `bytes` raw bytes follow this line.
    Data {
        /// How many.
        bytes: u64,
    },
    /// To [`Request::DatasetSet`] and [`Request::DatasetList`].
    Datasets {
        /// By name.
        datasets: Vec<DatasetInfo>,
    },
    /// To [`Request::ForgetPlan`].
    Plan(Box<PlanInfo>),
    /// To [`Request::ForgetRun`].
    Forgot(ForgotInfo),
    /// To [`Request::ClockShow`] and [`Request::ClockAttest`].
    Clock(ClockInfo),
    /// To [`Request::Certificate`].
    Certificate(CertificateInfo),
    /// To [`Request::DrawWords`].
    Words {
        /// 24 words.
        words: Vec<String>,
    },
    /// To [`Request::RenewWords`].
    WordsRenewed {
        /// Disks of the roster that were away: their key slots are replaced when they come back.
        disks_without: Vec<u8>,
    },
    /// Done, nothing more to say.
    Done,
    /// It went wrong.
    Failed(Fault),
}

/// One light for the box. Colour never carries meaning alone: `reasons` say it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// Everything at full tolerance and writable.
    Green,
    /// Something is degraded; one more disk may still be lost.
    Amber,
    /// No disk may be lost, or backups are refused.
    Red,
}

/// Something that runs in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// `index-rebuild`, `catch-up`, `merge`, `checkpoint`, `heal`, `re-encode`, `scrub-light`, `scrub-deep`.
    pub kind: String,
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
}

/// The state of the box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The box's name.
    pub name: String,
    /// The vault.
    pub vault_id: VaultId,
    /// One light.
    pub light: Light,
    /// Why it is not green, in words; empty when it is.
    pub reasons: Vec<String>,
    /// Whether new backups are accepted.
    pub writable: bool,
    /// How many more disks may be lost, any ones, without losing anything acknowledged.
    pub can_lose_disks: u32,
    /// The vault's geometry.
    pub geometry: Geometry,
    /// The epoch of this mount.
    pub epoch: u64,
    /// Disks in roster order.
    pub disks: Vec<DiskInfo>,
    /// Snapshots kept.
    pub objects: u64,
    /// Backups that clients see: snapshots of data sets, and those of restic in its repositories.
    pub snapshots: u64,
    /// Sum of their sizes as received.
    pub logical_bytes: u64,
    /// Bytes used on all disks together, parity included.
    pub stored_bytes: u64,
    /// Live packs.
    pub packs: u64,
    /// Packs with less than full tolerance although their disks are there, to be healed or encoded again.
    pub debt_packs: u64,
    /// What healing has to do and does.
    #[serde(default)]
    pub heal: HealInfo,
    /// When everything was looked at last, and what was found.
    #[serde(default)]
    pub scrub: ScrubInfo,
    /// Whether the index is whole; while it is not, duplicates may be stored twice.
    pub index_ready: bool,
    /// What runs in the background.
    pub jobs: Vec<JobInfo>,
    /// Whether this is a try-out vault, on folders of one file system perhaps.
    pub try_out: bool,
}

/// What a disk is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// In use.
    Active,
    /// Back, and being brought up to date.
    CatchingUp,
    /// Failed or was too slow: not used until it proves itself.
    Suspect,
    /// Not there.
    Absent,
    /// Another running process has it: not used.
    Held,
    /// Something else is mounted in its place.
    Foreign,
    /// It was taken out of the vault: shown, never written, never counted.
    Retired,
}

/// One disk of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInfo {
    /// Its id.
    pub id: DiskId,
    /// Position in the roster.
    pub number: u8,
    /// Where it is expected.
    pub path: String,
    /// What it is doing.
    pub state: DiskState,
    /// Why, when it is not active.
    pub reason: Option<String>,
    /// Size of its file system, when known.
    pub total_bytes: Option<u64>,
    /// Free on its file system, when known.
    pub free_bytes: Option<u64>,
    /// Newest journal record known to be durable on it.
    pub durable_seq: u64,
    /// What it says of its own health; the box decides nothing on it.
    #[serde(default)]
    pub health: DiskHealth,
}

/// What a real disk says of itself (SMART, NVMe). Each figure that it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskHealth {
    /// Why nothing is known, when nothing is.
    pub unknown_why: Option<String>,
    /// Its model, as it calls itself.
    pub model: Option<String>,
    /// Whether it thinks that it is well.
    pub passed: Option<bool>,
    /// Temperature in degrees Celsius.
    pub temperature_c: Option<i64>,
    /// Hours with power on.
    pub power_on_hours: Option<u64>,
    /// Sectors that it has replaced by spare ones.
    pub reallocated_sectors: Option<u64>,
    /// Sectors that it could not read and has not given up.
    pub pending_sectors: Option<u64>,
    /// NVMe: reads and writes that failed for good.
    pub media_errors: Option<u64>,
    /// NVMe: how much of its rated life is used, in percent; may go beyond 100.
    pub wear_percent: Option<u64>,
}

impl DiskHealth {
    /// Nothing is known, and why.
    pub fn unknown(why: &str) -> Self {
        Self { unknown_why: Some(why.to_owned()), ..Self::default() }
    }
}

/// One snapshot of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its data set.
    pub dataset: DatasetRef,
    /// Its id.
    pub id: ObjectId,
    /// Bytes as received.
    pub size: u64,
    /// Bytes this snapshot added to the vault before parity, at receipt.
    pub stored_bytes: u64,
    /// When the box received it.
    pub received_ms: u64,
    /// Until when it cannot be removed.
    pub locked_until_ms: u64,
    /// Its lock class, in seconds.
    pub class: LockClass,
    /// `blake3:HEX` of its bytes.
    pub hash: String,
    /// What was found out about it while it arrived; `None` when nothing was looked for.
    #[serde(default)]
    pub checked: Option<Checked>,
}

/// What the box signs for the client: the text in `receipt` is exactly what `signature` covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// How many disks may be lost, any ones, without losing this snapshot, at the moment of the receipt.
    pub tolerates: u32,
}

/// The authority that clients pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateInfo {
    /// PEM.
    pub pem: String,
    /// SHA-256 of the DER, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// Ed25519 public key that signs receipts, base64.
    pub receipt_key: String,
    /// Four words that name it.
    #[serde(default)]
    pub words: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_plain_line() {
        let line = serde_json::to_string(&Request::Get { dataset: "a/b".parse().expect("valid"), id: None })
            .expect("serialises");
        assert_eq!(line, r#"{"do":"get","dataset":"a/b","id":null}"#);
        assert!(serde_json::from_str::<Request>(r#"{"do":"get","dataset":"A/b"}"#).is_err());
    }
}
