//! The promises, held against what happened: nothing acknowledged may be missing, nobody may be stopped for nothing.
//!
//! The ledger remembers every acknowledged record with the disks it rested on. A run stays within its budget while
//! disks that are faulty and disks that are absent are together at most m at every boot (for records acknowledged
//! under the witness alone: while none of the disks they rested on is faulty); beyond it nothing is asserted.

use super::disk::ModelDisk;
use coffre_core::coord::{Coordinator, Plan, Verdict};
use coffre_core::ids::{DiskNo, RecordHash};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(super) struct Ledger {
    /// Acknowledged: number → hash, and the disks (places in the list) it rested on when under the witness.
    acked: BTreeMap<u64, (RecordHash, Option<Vec<usize>>)>,
    /// Every epoch's Mount record: two of them under one epoch are two histories.
    mounts: HashMap<u64, RecordHash>,
    beyond: bool,
}

/// The rule of a mount, and the disks that count for it.
pub(super) struct Seats {
    pub n: usize,
    pub m: usize,
    /// Their places in the list.
    pub visible: Vec<usize>,
}

impl Ledger {
    /// Whether one more disk may be spoilt within the budget.
    pub fn may_spoil(&self, disks: &[ModelDisk], m: usize) -> bool {
        disks.iter().filter(|d| !d.out && (d.faulty || d.dead)).count() < m
    }

    /// Takes in what was acknowledged; `counting`: the disks that count, by their places.
    pub fn note_acks(&mut self, coord: &Coordinator, counting: &[usize]) -> u64 {
        let known = self.acked.last_key_value().map_or(0, |(seq, _)| *seq);
        let mut news = 0;
        for seq in known + 1..=coord.acked() {
            // Records older than the base were noted before the base moved past them, or were adopted with it.
            let Some(point) = coord.point(seq) else { continue };
            let rests = coord.witnessed().then(|| counting.to_vec());
            self.acked.insert(seq, (point.hash, rests));
            news += 1;
        }
        news
    }

    /// Takes in what one of two owners acknowledged after `noted`, and says up to where that is; an error when the other one
    /// acknowledged something else.
    pub fn note_owner(&mut self, coord: &Coordinator, noted: u64) -> Result<u64, String> {
        for seq in noted + 1..=coord.acked() {
            let Some(point) = coord.point(seq) else { continue };
            if self.acked.entry(seq).or_insert((point.hash, None)).0 != point.hash {
                return Err(format!("two owners acknowledged different records {seq}"));
            }
        }
        Ok(coord.acked().max(noted))
    }

    /// The acknowledged record of this number.
    pub fn acked(&self, seq: u64) -> Option<RecordHash> {
        self.acked.get(&seq).map(|(hash, _)| *hash)
    }

    /// What a disk in use is said to have, it has, record by record and in place.
    pub fn check_written(
        coord: &Coordinator,
        disks: &[ModelDisk],
        place: impl Fn(DiskNo) -> Option<usize>,
    ) -> Result<(), String> {
        for no in coord.in_use().iter() {
            let Some(disk) = place(no).and_then(|p| disks.get(p)) else { continue };
            let said = (coord.base().seq + 1..=coord.synced(no)).filter_map(|seq| coord.placed(seq));
            if let Some(r) = said.into_iter().find(|r| !disk.has(r)) {
                return Err(format!("disk {no} counts and lacks record {}", r.meta.header.seq));
            }
        }
        Ok(())
    }

    pub fn check_boot(&mut self, plan: &Plan, seats: &Seats, disks: &[ModelDisk]) -> Result<(), String> {
        let Seats { n, m, visible } = seats;
        let faulty = visible.iter().filter(|p| disks[**p].faulty).count();
        let absent = n - visible.len();
        if faulty > 0 && faulty + absent > *m {
            self.beyond = true;
        }
        let writes = matches!(plan.verdict, Verdict::ReadWrite { .. });
        if self.beyond {
            return Ok(());
        }
        let by_rule = absent <= *m && visible.len() > *m;
        if writes || by_rule {
            self.check_kept(plan, disks)?;
        }
        self.check_epoch(plan, writes)?;
        if !writes && faulty == 0 && by_rule {
            return Err(format!("nothing is wrong and the box is read-only: {:?}", plan.verdict));
        }
        Ok(())
    }

    fn check_kept(&self, plan: &Plan, disks: &[ModelDisk]) -> Result<(), String> {
        let base = plan.adopted.base.seq;
        let chain: HashMap<u64, RecordHash> =
            plan.adopted.chain.iter().map(|r| (r.meta.header.seq, r.meta.hash)).collect();
        for (seq, (hash, rests)) in &self.acked {
            let excused = rests
                .as_ref()
                .is_some_and(|on| on.iter().any(|p| disks[*p].faulty) || on.iter().all(|p| disks[*p].dead));
            if excused {
                continue;
            }
            let kept = if *seq == base {
                plan.adopted.base.hash == *hash
            } else {
                *seq < base || chain.get(seq) == Some(hash)
            };
            if !kept {
                return Err(format!("acknowledged record {seq} is lost (head {:?})", plan.adopted.head()));
            }
        }
        Ok(())
    }

    fn check_epoch(&mut self, plan: &Plan, writes: bool) -> Result<(), String> {
        for r in plan.adopted.chain.iter().filter(|r| r.meta.header.kind != coffre_core::record::Kind::Facts)
        {
            let known = *self.mounts.entry(r.meta.header.epoch).or_insert(r.meta.hash);
            if known != r.meta.hash && writes {
                return Err(format!("two histories under epoch {}", r.meta.header.epoch));
            }
        }
        Ok(())
    }
}
