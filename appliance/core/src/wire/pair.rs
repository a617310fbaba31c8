//! What crosses the control socket about pairing.

use crate::names::ClientName;
use crate::pair::MachineKind;
use serde::{Deserialize, Serialize};

/// How far a pairing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Its code may be used.
    Waiting,
    /// Its code was used: the client is there, and nothing of it has come yet.
    Claimed,
    /// The client's first backup is here.
    Arrived,
    /// Its time was over before anybody used it.
    Expired,
    /// The owner took it back.
    Cancelled,
    /// Too many wrong codes were tried while it lived.
    Void,
}

/// A pairing, from its code to the first backup. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingInfo {
    /// Its number, until the daemon ends.
    pub id: u64,
    /// How far it is.
    pub state: PairState,
    /// `XXXX-XXXX`; only in the answer to who began it.
    pub code: Option<String>,
    /// The client's name: the owner's choice, or what was typed on the page.
    pub client: Option<ClientName>,
    /// What sort of machine.
    pub kind: Option<MachineKind>,
    /// Quota of the client in logical bytes.
    pub quota_bytes: Option<u64>,
    /// Whether a client of this name was removed before: the new one reads its data.
    pub removed_before: bool,
    /// How long the code, or what was claimed with it, may still be used.
    pub left_seconds: u64,
    /// Pages on which the code may be typed, the best first; in the answer to who began it the code is in them.
    pub urls: Vec<String>,
    /// Four words that name the box's authority.
    pub words: Vec<String>,
    /// SHA-256 of the authority, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// When the first backup was seen, ms since 1970.
    pub first_backup_ms: Option<u64>,
    /// Wrong codes that were tried while it waited.
    pub wrong_tries: u32,
}

/// What has come from a client so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Snapshots, of the drop-box and of restic.
    pub snapshots: u64,
    /// When the newest was received, ms since 1970.
    pub newest_ms: Option<u64>,
}
