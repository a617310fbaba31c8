//! Disks as they cross the socket, and what whoever lets one go agrees to.

use crate::ids::DiskId;
use serde::{Deserialize, Serialize};

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
    /// Its place in the roster, from 1.
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
    /// Of a disk that was taken out: whether the one in its place has all of its part, read back, so that it is needed no more.
    #[serde(default)]
    pub may_be_taken_out: Option<bool>,
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

/// What whoever lets a disk go agrees to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// That a disk goes which is in use and well.
    pub sure: bool,
    /// That packs become unreadable which only this disk has, until it shows again.
    pub give_up: bool,
}
