//! Clients on the wire: what they are called, what they may keep and send, and what they do.

use crate::fault::Fault;
use crate::names::ClientName;
use crate::rhythm::Rhythm;
use crate::wire::RefusedInfo;
use serde::{Deserialize, Serialize};

/// A ceiling as its owner says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// What the box makes of its disks.
    Default,
    /// This many logical bytes, or objects.
    Bytes(u64),
}

impl Ceiling {
    /// As facts keep it: `None` is the default.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// A client just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// Its name.
    pub name: ClientName,
    /// Its secret, shown this once.
    pub secret: String,
    /// Its quota in logical bytes; `None` is the default.
    pub quota_bytes: Option<u64>,
    /// Its daily cap in logical bytes; `None` is the default.
    pub daily_bytes: Option<u64>,
    /// Why it is not known whether this secret holds; `None` when it does.
    #[serde(default)]
    pub unsure: Option<Fault>,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its name.
    pub name: ClientName,
    /// The quota it was given, in logical bytes; `None` is the default.
    pub quota_bytes: Option<u64>,
    /// What holds without one: new bytes that what it keeps has added to the vault; `None` for no ceiling.
    pub default_quota_bytes: Option<u64>,
    /// The daily cap it was given, in logical bytes; `None` is the default.
    pub daily_bytes: Option<u64>,
    /// What holds without one: new bytes within 24 hours; `None` for no ceiling.
    pub default_daily_bytes: Option<u64>,
    /// Logical bytes it keeps.
    pub logical_bytes: u64,
    /// New bytes that these have added to the vault.
    pub new_bytes: u64,
    /// Logical bytes it sent in the last 24 hours, streams under way and lost ones included.
    pub day_logical_bytes: u64,
    /// New bytes of these.
    pub day_new_bytes: u64,
    /// Bytes that it sent in the last 24 hours, that were written, and that were not kept: cut off, refused, of another name.
    pub day_lost_bytes: u64,
    /// Snapshots and files it keeps, hidden ones included.
    pub objects: u64,
    /// How many of them it may keep, as the owner said; `None` is the default.
    pub max_objects: Option<u64>,
    /// What holds without that.
    pub default_max_objects: u64,
    /// Data sets it has.
    pub datasets: u64,
    /// When it was made.
    pub created_ms: u64,
    /// When the secret that holds was made.
    #[serde(default)]
    pub secret_ms: u64,
    /// Its newest complete backup, and how it stands: as that of its data sets and repositories that stands worst.
    #[serde(default)]
    pub rhythm: Rhythm,
    /// What was refused to it of late.
    #[serde(default)]
    pub refused: RefusedInfo,
    /// Whether its secret was voided; its data stays.
    pub removed: bool,
}
