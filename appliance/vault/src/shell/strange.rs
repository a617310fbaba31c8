//! What was found on disks that nobody with the vault's keys wrote: told for a day, and never believed.
//!
//! What does not open is no label, no record, no checkpoint: the box goes on as if it were not there, and most of it is written over
//! at once. But somebody put it there, and can write to that disk: a person must know.

use crate::core::lock;
use coffre_core::ids::DiskId;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How long it is told after it was seen last.
const TOLD_FOR_MS: u64 = 24 * 3_600_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<BTreeMap<DiskId, (String, u64)>>);

impl Strangers {
    /// Notes what was found on a disk; nothing when it is empty.
    pub fn note(&self, disk: DiskId, what: String, now_ms: u64) {
        if what.is_empty() {
            return;
        }
        tracing::error!("disk {disk} has {what} that nobody with this vault's keys wrote: not believed");
        lock(&self.0).insert(disk, (what, now_ms + TOLD_FOR_MS));
    }

    /// What is to be told of a disk.
    pub fn told(&self, disk: DiskId, now_ms: u64) -> Option<String> {
        let mut all = lock(&self.0);
        all.retain(|_, (_, until_ms)| now_ms < *until_ms);
        all.get(&disk).map(|(what, _)| what.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_for_a_day_after_it_was_seen_last() {
        let (strangers, disk) = (Strangers::default(), DiskId([1; 16]));
        strangers.note(disk, String::new(), 0);
        assert_eq!(strangers.told(disk, 0), None);
        strangers.note(disk, "a journal record".into(), 5);
        strangers.note(disk, "a copy of its label".into(), 10);
        assert_eq!(strangers.told(disk, 9 + TOLD_FOR_MS).as_deref(), Some("a copy of its label"));
        assert_eq!(strangers.told(DiskId([2; 16]), 11), None);
        assert_eq!(strangers.told(disk, 10 + TOLD_FOR_MS), None);
    }
}
