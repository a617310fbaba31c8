//! The JSON that scripts read: wire types with their times written out. Documented in `docs/cli.md`; stable.

use crate::clock;
use coffre_core::fault::Fault;
use coffre_core::ids::{ObjectId, VaultId};
use coffre_core::kind::Kind;
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::rhythm::{Source, Standing};
use coffre_core::wire::{ClientInfo, ReceiptFacts, SnapshotInfo};
use serde::Serialize;

/// A snapshot: bytes as integers, times as RFC 3339 UTC.
#[derive(Debug, Serialize)]
pub struct SnapshotView<'a> {
    dataset: &'a DatasetRef,
    id: ObjectId,
    size: u64,
    stored_bytes: u64,
    received_at: String,
    locked_until: String,
    lock_provisional: bool,
    class_seconds: u32,
    hash: &'a str,
    kind: Option<Kind>,
    complete: Option<bool>,
    complete_why: Option<WhyView>,
}

/// Why a snapshot is not complete, or what could not be looked at.
#[derive(Debug, Serialize)]
pub struct WhyView {
    key: &'static str,
    text: String,
}

/// A client: bytes as integers, times as RFC 3339 UTC.
#[derive(Debug, Serialize)]
pub struct ClientView<'a> {
    name: &'a ClientName,
    quota_bytes: Option<u64>,
    default_quota_bytes: Option<u64>,
    daily_bytes: Option<u64>,
    default_daily_bytes: Option<u64>,
    logical_bytes: u64,
    new_bytes: u64,
    day_logical_bytes: u64,
    day_new_bytes: u64,
    day_lost_bytes: u64,
    objects: u64,
    max_objects: Option<u64>,
    default_max_objects: u64,
    datasets: u64,
    created_at: String,
    secret_at: String,
    removed: bool,
    newest_complete_at: Option<String>,
    every_seconds: Option<u32>,
    every_source: Source,
    standing: Standing,
    refused_count: u64,
    wrong_secrets_count: u64,
    last_refused_at: Option<String>,
    refused_why: Option<&'a str>,
}

/// What the box promises about one snapshot: the text that it signs is this, as compact JSON.
#[derive(Debug, Serialize)]
pub struct ReceiptView<'a> {
    receipt_version: u32,
    vault_id: VaultId,
    #[serde(flatten)]
    snapshot: SnapshotView<'a>,
    tolerates: u32,
}

/// What went wrong.
#[derive(Debug, Serialize)]
pub struct ErrorView<'a> {
    error: &'a Fault,
}

impl<'a> From<&'a SnapshotInfo> for SnapshotView<'a> {
    fn from(info: &'a SnapshotInfo) -> Self {
        Self {
            dataset: &info.dataset,
            id: info.id,
            size: info.size,
            stored_bytes: info.stored_bytes,
            received_at: clock::utc(info.received_ms),
            locked_until: clock::utc(info.locked_until_ms),
            lock_provisional: info.lock_provisional,
            class_seconds: info.class.seconds(),
            hash: &info.hash,
            kind: info.checked.map(|checked| checked.kind),
            complete: info.checked.and_then(|checked| checked.complete()),
            complete_why: info
                .checked
                .and_then(|checked| Some(WhyView { key: checked.finding.key(), text: checked.why()? })),
        }
    }
}

impl<'a> From<&'a ClientInfo> for ClientView<'a> {
    fn from(info: &'a ClientInfo) -> Self {
        Self {
            name: &info.name,
            quota_bytes: info.quota_bytes,
            default_quota_bytes: info.default_quota_bytes,
            daily_bytes: info.daily_bytes,
            default_daily_bytes: info.default_daily_bytes,
            logical_bytes: info.logical_bytes,
            new_bytes: info.new_bytes,
            day_logical_bytes: info.day_logical_bytes,
            day_new_bytes: info.day_new_bytes,
            day_lost_bytes: info.day_lost_bytes,
            objects: info.objects,
            max_objects: info.max_objects,
            default_max_objects: info.default_max_objects,
            datasets: info.datasets,
            created_at: clock::utc(info.created_ms),
            secret_at: clock::utc(info.secret_ms),
            removed: info.removed,
            newest_complete_at: info.rhythm.last_ms.map(clock::utc),
            every_seconds: info.rhythm.every_s,
            every_source: info.rhythm.source,
            standing: info.rhythm.standing,
            refused_count: info.refused.count,
            wrong_secrets_count: info.refused.wrong_secrets,
            last_refused_at: info.refused.last_ms.map(clock::utc),
            refused_why: info.refused.why.as_deref(),
        }
    }
}

impl<'a> ReceiptView<'a> {
    /// The receipt of a snapshot of this vault.
    pub fn new(vault_id: VaultId, facts: &'a ReceiptFacts) -> Self {
        Self { receipt_version: 1, vault_id, snapshot: (&facts.snapshot).into(), tolerates: facts.tolerates }
    }
}

impl<'a> From<&'a Fault> for ErrorView<'a> {
    fn from(error: &'a Fault) -> Self {
        Self { error }
    }
}
