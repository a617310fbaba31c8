//! What crosses the control socket about repositories.

use crate::class::LockClass;
use crate::ids::ObjectId;
use crate::names::DatasetRef;
use crate::repo::RepoMode;
use crate::rhythm::Rhythm;
use serde::{Deserialize, Serialize};

/// A repository of restic, in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoInfo {
    /// Which.
    pub repo: DatasetRef,
    /// What its client may do.
    pub mode: RepoMode,
    /// Lock of what it receives from now on, in seconds.
    pub class: LockClass,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// Whether the owner of the box took it away from its client.
    pub removed: bool,
    /// Files its client sees.
    pub files: u64,
    /// Bytes in these.
    pub bytes: u64,
    /// Snapshots of restic's that it sees.
    pub snapshots: u64,
    /// When the box received the newest of these: the end of its last backup.
    pub newest_ms: Option<u64>,
    /// Files that its client deleted, and that are kept.
    pub hidden_files: u64,
    /// Bytes in these.
    pub hidden_bytes: u64,
    /// Until when all of these can be shown again.
    pub hidden_until_ms: Option<u64>,
    /// How it stands with what should come.
    #[serde(default)]
    pub rhythm: Rhythm,
}

/// A file of a repository, as the owner of the box sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its id.
    pub id: ObjectId,
    /// `config`, `data`, `keys`, `locks`, `snapshots` or `index`.
    pub kind: String,
    /// SHA-256 of its bytes: what it is called.
    pub name: String,
    /// Bytes in it.
    pub size: u64,
    /// When the box received it, ms since 1970.
    pub received_ms: u64,
    /// Until when it may not be removed, ms since 1970.
    pub locked_until_ms: u64,
    /// Whether it is hidden from its client.
    pub hidden: bool,
}
