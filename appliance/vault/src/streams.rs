//! A snapshot on its way in or out, as the street sees it: with its quota, and over mounts that come and go.

use crate::api::snapshot_info;
use crate::core::Core;
use crate::get::Get;
use crate::put::{Put, Submitted};
use crate::shell::{House, Taking};
use bytes::Bytes;
use coffre_core::class::LockClass;
use coffre_core::fault::{Class, Result};
use coffre_core::names::DatasetRef;
use coffre_core::repo::FileName;
use coffre_core::wire::{ReceiptFacts, SnapshotInfo};
use std::sync::Arc;

/// A snapshot on its way in. Dropping it without `finish` leaves nothing visible. Blocking: not for tokio's threads.
pub struct PutStream {
    house: Arc<House>,
    core: Arc<Core>,
    put: Put,
    taking: Taking,
}

/// A snapshot on its way out: ranges at will. Blocking: not for tokio's threads.
pub struct SnapshotReader {
    house: Arc<House>,
    core: Arc<Core>,
    get: Get,
    info: SnapshotInfo,
    passed_over: usize,
}

impl PutStream {
    /// Begins a stream of that data set or repository, made by `make` of the core, its name and its class.
    pub(crate) fn begin(
        house: &Arc<House>,
        core: Arc<Core>,
        dataset: &DatasetRef,
        size_hint: Option<u64>,
        make: impl FnOnce(Arc<Core>, DatasetRef, LockClass) -> Result<Put>,
    ) -> Result<Self> {
        core.with(|e| e.writable())?;
        let snapshot = core.with(|e| e.catalog().repo(dataset).is_none());
        house.expect_room(&core, &dataset.client, snapshot, size_hint)?;
        let taking = house.takings.begin(&core, &dataset.client, snapshot);
        let class = core.with(|e| e.catalog().policy(dataset).class);
        let put = make(core.clone(), dataset.clone(), class)?;
        Ok(Self { house: house.clone(), core, put, taking })
    }

    /// The SHA-256 of what came so far, of a file of a repository.
    pub(crate) fn file_name(&self) -> Option<FileName> {
        self.put.file_name()
    }

    /// Takes the next bytes, which are copied. [`take`](Self::take) copies less.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.take(Bytes::copy_from_slice(bytes))
    }

    /// Takes the next bytes. `Full` when a quota or the disks are full; the stream is then over.
    pub fn take(&mut self, bytes: Bytes) -> Result<()> {
        self.taking.take(&self.house, &self.core, bytes.len() as u64, self.put.new_bytes())?;
        self.house.rooms.check()?;
        self.house.rooms.took(self.core.with(|e| e.geometry()), bytes.len() as u64);
        self.put.take(bytes)
    }

    /// How many bytes were written so far; ends nothing.
    pub fn progress(&self) -> u64 {
        self.put.size()
    }

    /// Ends the snapshot and waits until it is safe.
    ///
    /// # Durability
    /// On `Ok` the snapshot is `local-durable`: every pack is fsynced as k' + m' shards and the journal record is
    /// on the disks that the coordinator's rules ask for.
    pub fn finish(self) -> Result<ReceiptFacts> {
        let Self { core, put, taking, .. } = self;
        let Submitted { ticket, object } = put.submit()?;
        let acked = core.wait(ticket).map_err(|fault| match fault.class {
            Class::Unknown => fault.next("send it again: what is there already is not stored twice"),
            _ => fault,
        })?;
        taking.kept();
        Ok(ReceiptFacts { snapshot: snapshot_info(&object), tolerates: acked.tolerates })
    }
}

impl SnapshotReader {
    pub(crate) fn of(
        house: Arc<House>,
        core: Arc<Core>,
        get: Get,
        info: SnapshotInfo,
        passed_over: usize,
    ) -> Self {
        Self { house, core, get, info, passed_over }
    }

    /// How many newer snapshots were passed over because they are not complete, when the latest was asked for.
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// What is read.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// Up to `max` bytes from `offset`; empty at and after the end. Every byte was verified. `Corrupt` or
    /// `Absent` when too few good shards are left.
    pub fn read_at(&mut self, offset: u64, max: usize) -> Result<Vec<u8>> {
        match self.get.read_at(offset, max) {
            Err(fault) => {
                // The vault may have been mounted anew under this reader, because disks came back.
                let now = self.house.core();
                if Arc::ptr_eq(&now, &self.core) {
                    return Err(fault);
                }
                self.get = Get::open(now.clone(), &self.info.id)?;
                self.core = now;
                self.get.read_at(offset, max)
            }
            good => good,
        }
    }
}
