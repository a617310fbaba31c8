//! The reference model: what was acknowledged, what may exist, and which disks each object can no longer count on.
//!
//! An object is promised while the disks spoilt since its acknowledgement and those absent now are together no more
//! than its receipt's `tolerates`. A disk is spoilt for an object when, at or after its acknowledgement, it died, came back
//! from the past, lied about a sync, rotted or misdirected a write; mending is not counted in its favour.

use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Class, Result};
use coffre_core::ids::{DiskNo, ObjectId};
use coffre_vault::engine::Acked;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One snapshot that was handed in.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it must read as.
    pub bytes: Arc<Vec<u8>>,
    /// `tolerates` of its receipt; `None` when there was none.
    pub receipt: Option<u32>,
    /// Disks spoilt since.
    pub spoilt: DiskSet,
    /// A box came up writable while more than its receipt tolerates was bad: nothing is promised any more.
    pub beyond: bool,
    /// Its client was told "no": it must never be there.
    pub refused: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Model {
    objects: BTreeMap<ObjectId, Known>,
    /// Order of acknowledgement.
    pub acked: Vec<ObjectId>,
    /// Disks that lie at this moment: whatever is acknowledged now cannot count on them.
    pub liars: DiskSet,
    /// Disks that may misdirect a write at any time from now on.
    pub crooked: DiskSet,
    /// Disks that were spoilt and are still there: a later snapshot may share chunks with what is bad on them, and
    /// its record stands behind theirs in the journal.
    rotten: DiskSet,
}

impl Model {
    /// A snapshot was handed in; its outcome is not known yet.
    pub fn submitted(&mut self, id: ObjectId, bytes: Arc<Vec<u8>>) {
        self.objects
            .insert(id, Known { bytes, receipt: None, spoilt: self.rotten, beyond: false, refused: false });
    }

    /// Its answer came.
    pub fn answered(&mut self, id: ObjectId, answer: Result<Acked>) {
        match answer {
            Ok(acked) => self.acked(id, acked.tolerates),
            Err(fault) if fault.class == Class::Refused => {
                self.objects.entry(id).and_modify(|known| known.refused = true);
            }
            Err(_) => {}
        }
    }

    /// Its receipt came.
    pub fn acked(&mut self, id: ObjectId, tolerates: u32) {
        if let Some(known) = self.objects.get_mut(&id) {
            known.receipt = Some(tolerates);
            known.spoilt = known.spoilt.with_all(self.liars).with_all(self.crooked);
            self.acked.push(id);
        }
    }

    /// A disk was spoilt now.
    pub fn spoil(&mut self, disk: DiskNo) {
        self.rotten = self.rotten.with(disk);
        for known in self.objects.values_mut() {
            known.spoilt = known.spoilt.with(disk);
        }
    }

    /// The box came up writable without `absent`: what could hide on bad and absent disks together is no longer
    /// promised. Absence alone excuses nothing: then the box must not write.
    pub fn went_on_without(&mut self, absent: DiskSet) {
        for known in self.objects.values_mut() {
            let bad = known.spoilt.with_all(absent).len();
            known.beyond |= !known.spoilt.is_empty() && known.receipt.is_none_or(|t| bad > t as usize);
        }
    }

    /// What is known of a snapshot.
    pub fn get(&self, id: &ObjectId) -> Option<&Known> {
        self.objects.get(id)
    }

    /// Acknowledged snapshots that must be readable while `absent` are absent.
    pub fn promised(&self, absent: DiskSet) -> impl Iterator<Item = (&ObjectId, &Known)> {
        self.objects.iter().filter(move |(_, k)| {
            !k.beyond && k.receipt.is_some_and(|t| k.spoilt.with_all(absent).len() <= t as usize)
        })
    }
}

trait WithAll {
    fn with_all(self, other: DiskSet) -> DiskSet;
}

impl WithAll for DiskSet {
    fn with_all(self, other: DiskSet) -> DiskSet {
        DiskSet(self.0 | other.0)
    }
}
