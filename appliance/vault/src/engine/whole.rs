//! Before a mount: what no disk has whole may be whole on all of them together, pieces of a checkpoint, blocks of a record.
//!
//! Sums on disks need no key, so anybody can write what looks whole: only what opens under the vault's keys is put together.

use super::open_record;
use crate::survey::Survey;
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::coord::{Adopted, Anchor, Placed, Plan, Spot, Stalled, Verdict, View};
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::RecordHash;
use coffre_core::keys::KeyRing;
use coffre_core::record;
use std::collections::HashMap;
use std::sync::Arc;

/// A damaged copy of a checkpoint, and the point of the chain that its header names.
type Copied = (Anchor, Arc<Vec<u8>>);

/// What can be had of the disks beyond what each of them shows whole.
#[derive(Default)]
pub(super) struct Pieced {
    /// Files of checkpoints that were made whole.
    pub checkpoints: HashMap<RecordHash, Arc<Vec<u8>>>,
    /// Records that were made whole, padding included.
    pub records: HashMap<RecordHash, Arc<[u8]>>,
    whole: Vec<Anchor>,
    placed: Vec<Placed>,
    /// Checkpoints of which pieces are lost on all disks, and the file that has the most of it.
    damaged: HashMap<RecordHash, (Anchor, Arc<Vec<u8>>)>,
}

impl Pieced {
    /// What these disks together have.
    pub fn of(keys: &KeyRing, surveys: &[Option<&Survey>]) -> Self {
        let mut this = Self::default();
        this.piece_checkpoints(keys, surveys);
        this.piece_records(keys, surveys);
        this
    }

    fn piece_checkpoints(&mut self, keys: &KeyRing, surveys: &[Option<&Survey>]) {
        let mut copies: HashMap<RecordHash, Vec<Copied>> = HashMap::new();
        for (anchor, image) in surveys.iter().flatten().flat_map(|s| &s.damaged) {
            copies.entry(anchor.hash).or_default().push((*anchor, image.clone()));
        }
        for (hash, of) in copies {
            let files: Vec<&[u8]> = of.iter().map(|(_, image)| image.as_slice()).collect();
            // Copies of one header first; of two that differ each may be the one that can be made whole.
            let whole = (0..files.len()).find_map(|n| {
                let order: Vec<&[u8]> = files[n..].iter().chain(&files[..n]).copied().collect();
                checkpoint::mend(keys, &order)
            });
            match whole {
                Some(file) => {
                    self.whole.push(of[0].0);
                    self.checkpoints.insert(hash, Arc::new(file));
                }
                None => {
                    let bad =
                        |file: &[u8]| checkpoint::lacking(keys, file).map_or(usize::MAX, |bad| bad.len());
                    let best = of.into_iter().min_by_key(|(_, image)| bad(image));
                    self.damaged.extend(best.map(|best| (hash, best)));
                }
            }
        }
    }

    fn piece_records(&mut self, keys: &KeyRing, surveys: &[Option<&Survey>]) {
        let vault = keys.vault();
        for (spot, first) in surveys.iter().flatten().flat_map(|s| &s.stray) {
            let Some(blocks) = record::claimed_blocks(vault, first) else { continue };
            let zeros = vec![0; BLOCK];
            let at = |no: usize| Spot { offset: spot.offset.saturating_add((no * BLOCK) as u32), ..*spot };
            let parts: Vec<&Survey> = surveys
                .iter()
                .flatten()
                .filter(|s| s.stray.range(at(0)..at(blocks)).next().is_some())
                .copied()
                .collect();
            let choices = |no: usize| {
                // Blocks of zeros are not kept.
                let mut there: Vec<&[u8]> = Vec::new();
                for part in &parts {
                    there.push(part.stray.get(&at(no)).map_or(&zeros, |block| block));
                }
                there.sort_unstable();
                there.dedup();
                there
            };
            let rest = (1..blocks).map(choices);
            let choices: Vec<Vec<&[u8]>> = std::iter::once(vec![first.as_slice()]).chain(rest).collect();
            let Some((meta, bytes)) = record::piece_together(vault, &choices) else { continue };
            if open_record(keys, vault, &bytes).is_err() {
                continue;
            }
            if self.records.insert(meta.hash, bytes.into()).is_none() {
                self.placed.push(Placed { meta, spot: *spot });
            }
        }
    }

    /// Lends what was made whole to a view; it changes nothing about what that disk has.
    pub fn lend(&self, views: &mut [Option<View>]) {
        if let Some(view) = views.iter_mut().flatten().next() {
            view.lent.extend(&self.whole);
            view.pieced.extend(&self.placed);
        }
    }

    /// When the disks have a newer history than the one that is rooted, cut off from the beginning by a checkpoint that is not whole:
    /// that one, to be read and not written. The files of what it begins with are in `checkpoints` then.
    pub fn salvage(
        &mut self,
        plan: Plan,
        views: &[Option<View>],
        again: impl FnOnce(&[Option<View>]) -> Plan,
    ) -> Plan {
        let head = |plan: &Plan| (plan.adopted.head().epoch, plan.adopted.head().seq);
        let newer = |a: &Anchor| (a.epoch, a.seq) > head(&plan);
        let mut views = views.to_vec();
        let Some(view) = views.iter_mut().flatten().next() else { return plan };
        let lent: Vec<Anchor> = self.damaged.values().map(|(a, _)| *a).filter(newer).collect();
        if lent.is_empty() {
            return plan;
        }
        view.lent.extend(lent);
        let other = again(&views);
        if head(&other) <= head(&plan) {
            return plan;
        }
        let base = other.adopted.base.hash;
        if let Some((_, image)) = self.damaged.get(&base) {
            self.checkpoints.insert(base, image.clone());
        }
        Plan { verdict: Verdict::ReadOnly(Stalled::CheckpointDamaged { lost: Some(0) }), ..other }
    }
}

/// A plan of which the checkpoint was read, and how much of that is lost.
/// `Corrupt` when this plan is not one for which that is known.
pub(super) fn with_lost(plan: &mut Plan, lost: u64) -> Result<()> {
    match &mut plan.verdict {
        Verdict::ReadOnly(Stalled::CheckpointDamaged { lost: known }) => {
            *known = Some(lost);
            Ok(())
        }
        _ => Err(Fault::corrupt(format!("checkpoint: {lost} of its facts are not readable"))),
    }
}

/// A plan that stands still because something is missing, although a file is there that was a checkpoint of what is missing,
/// stands still because that is damaged.
pub(super) fn name_damage(plan: Plan, surveys: &[Option<&Survey>]) -> Plan {
    let Plan { adopted: Adopted { base, .. }, verdict, .. } = &plan;
    let lacking = matches!(verdict, Verdict::ReadOnly(Stalled::BehindWitness | Stalled::AcknowledgedMissing));
    let damaged = surveys.iter().flatten().any(|s| s.not_whole.iter().any(|seq| *seq > base.seq));
    if lacking && damaged {
        return Plan { verdict: Verdict::ReadOnly(Stalled::CheckpointDamaged { lost: None }), ..plan };
    }
    plan
}
