//! What status and `coffre scrub` tell of rot and of healing.

use crate::ids::PackId;
use serde::{Deserialize, Serialize};

/// What healing has to do and does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealInfo {
    /// Packs that lack shards on disks that are there.
    pub packs_left: u64,
    /// Bytes of the shards still to be written.
    pub bytes_left: u64,
    /// As measured since this run of healing began; `None` before the first shard is healed.
    pub bytes_per_second: Option<u64>,
    /// `bytes_left` at that rate; `None` while there is none.
    pub seconds_left: Option<u64>,
    /// Shards healed and read back since the box came up.
    pub healed_shards: u64,
    /// Packs that could not be healed at the last attempt and are tried again.
    pub exceptional_packs: u64,
    /// The first of them, with why.
    pub exceptions: Vec<Unhealed>,
}

/// A pack that could not be healed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealed {
    /// Which.
    pub pack: PackId,
    /// Why.
    pub why: String,
}

/// When everything was looked at last, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubInfo {
    /// When the last light round ended: labels, journals, headers and presence of every shard.
    pub last_light_ms: Option<u64>,
    /// When the last deep round ended: every block of every shard.
    pub last_deep_ms: Option<u64>,
    /// The last light or deep round is too long ago.
    pub overdue: bool,
    /// How far the deep round under way has come, in thousandths.
    pub deep_done_per_mille: u64,
    /// Of the live bytes, thousandths that were opened end to end in the last whole day.
    pub sampled_per_mille: Option<u64>,
    /// `light` or `deep` while one that was asked for goes on.
    pub running: Option<String>,
    /// Finds among the last ones that are not healed.
    pub unhealed: u64,
    /// Finds and packs near them that are still to be looked into.
    #[serde(default)]
    pub suspected: u64,
    /// The last finds, newest first.
    pub finds: Vec<FindInfo>,
}

/// Something found damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindInfo {
    /// When.
    pub found_ms: u64,
    /// The disk's number, from 1, when it is on one disk.
    pub disk: Option<u8>,
    /// `shard PACK`, `record N`, `checkpoint N`, `label`, `pack PACK`.
    pub what: String,
    /// Blocks that were wrong; 0 when it is the whole thing.
    pub blocks: u32,
    /// When it was healed.
    pub healed_ms: Option<u64>,
}
