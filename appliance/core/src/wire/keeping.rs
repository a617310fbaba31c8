//! What crosses the control socket about keeping and forgetting.

use crate::class::LockClass;
use crate::ids::ObjectId;
use crate::keep::KeepRules;
use crate::kind::Kind;
use crate::names::DatasetRef;
use crate::rhythm::{Every, Rhythm};
use serde::{Deserialize, Serialize};

/// What is to be different about a data set; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetChange {
    /// Lock of what it receives, in seconds.
    pub class: Option<LockClass>,
    /// What stays after its lock.
    pub keep: Option<KeepRules>,
    /// What its snapshots are.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// How often one should come.
    #[serde(default)]
    pub every: Option<Every>,
}

/// How a data set is kept, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Which.
    pub dataset: DatasetRef,
    /// Lock of what it receives from now on, in seconds.
    pub class: LockClass,
    /// What stays after its lock.
    pub keep: KeepRules,
    /// When that was said; `None`: nobody has, the box's own rule holds.
    pub set_ms: Option<u64>,
    /// Snapshots in it.
    pub snapshots: u64,
    /// How many of them are locked by the retention clock.
    pub locked: u64,
    /// Sum of their sizes as received.
    pub logical_bytes: u64,
    /// When the newest one was received.
    pub newest_ms: Option<u64>,
    /// What its snapshots are, as was said or recognised; `None`: neither.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Whether the owner of the box said so.
    #[serde(default)]
    pub kind_said: bool,
    /// How many of its snapshots are marked as not complete.
    #[serde(default)]
    pub incomplete: u64,
    /// When the newest one was received that is not.
    #[serde(default)]
    pub newest_complete_ms: Option<u64>,
    /// How it stands with what should come.
    #[serde(default)]
    pub rhythm: Rhythm,
}

/// What a run of forgetting would do, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInfo {
    /// Names the plan, for approving it.
    pub id: String,
    /// What the retention clock shows.
    pub retention_ms: u64,
    /// Why nothing is done now, in words.
    pub stopped: Option<String>,
    /// Whether it frees more than a fifth of what the vault holds: then it waits for approval.
    pub needs_approval: bool,
    /// Every snapshot, by data set, in order of receipt.
    pub snapshots: Vec<JudgedInfo>,
    /// Packs that die with those that are forgotten.
    pub packs: u64,
    /// Bytes that this frees, parity aside.
    pub frees_bytes: u64,
    /// Packs that no snapshot uses: of uploads that were cut off.
    pub stray_packs: u64,
    /// Bytes in these.
    pub stray_bytes: u64,
    /// Bytes that all snapshots hold, parity aside.
    pub live_bytes: u64,
    /// How long what is condemned stays readable, on the retention clock.
    pub grace_ms: u64,
}

/// One snapshot of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedInfo {
    /// Its data set.
    pub dataset: DatasetRef,
    /// Its id.
    pub id: ObjectId,
    /// Bytes as received.
    pub size: u64,
    /// When the box received it.
    pub received_ms: u64,
    /// Until when it cannot be removed.
    pub locked_until_ms: u64,
    /// Whether it is complete; `None` when that was not checked or cannot be told.
    #[serde(default)]
    pub complete: Option<bool>,
    /// Whether it stays.
    pub keep: bool,
    /// Why, each in words.
    pub reasons: Vec<String>,
    /// When it was condemned, on the retention clock.
    pub condemned_ms: Option<u64>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgotInfo {
    /// Snapshots condemned.
    pub condemned: u64,
    /// Packs condemned.
    pub condemned_packs: u64,
    /// Snapshots freed.
    pub freed: u64,
    /// Packs freed.
    pub freed_packs: u64,
    /// Packs written anew with what is alive in them.
    pub compacted: u64,
    /// Whether a plan waits for approval.
    pub asks: bool,
}

/// The two clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// What the retention clock shows.
    pub retention_ms: u64,
    /// What the system's clock shows.
    pub wall_ms: u64,
    /// Why nothing expires now, in words; `None` when the clock is believed.
    pub doubt: Option<String>,
    /// Running time that must pass before anything expires.
    pub calm_ms: u64,
    /// How far the retention clock was moved just now.
    pub leapt_ms: u64,
}
