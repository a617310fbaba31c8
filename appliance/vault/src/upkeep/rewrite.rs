//! Packs written anew: those that owe tolerance, and small ones merged into one.

use crate::core::Core;
use coffre_core::class::LockClass;
use coffre_core::fact::{Fact, PackFact};
use coffre_core::fault::Result;
use coffre_core::ids::{ChunkId, PackId};
use coffre_core::pack::{MAX_PACK_ENTRIES, PackBuilder};
use coffre_core::squeeze::{Squeezer, squeeze};
use std::collections::{BTreeMap, HashSet};

/// Packs with more chunks than this are not merged any further, however short they are.
const MERGE_MAX_CHUNKS: usize = MAX_PACK_ENTRIES / 4;

/// Most packs tried in one step.
const DEBTS_AT_ONCE: usize = 4;

impl Core {
    /// Some packs of too narrow a geometry; which ones differs from call to call.
    pub(super) fn debt(&self) -> Vec<PackFact> {
        let mut debt = self.with(|e| e.narrow());
        if !debt.is_empty() {
            let turn = usize::from(self.random::<1>()[0]) % debt.len();
            debt.rotate_left(turn);
        }
        let pack = |id| self.with(|e| e.catalog().pack(&id).cloned());
        debt.into_iter().take(DEBTS_AT_ONCE).filter_map(pack).collect()
    }

    /// Small packs of one class and about one size, as many as make one pack. By size, so that a chunk moves a few
    /// times in its life and not at each look.
    pub(super) fn mergeable(&self, since_merge_ms: u64) -> Vec<PackFact> {
        let mut small: BTreeMap<(LockClass, u32), Vec<PackFact>> = BTreeMap::new();
        self.with(|e| {
            let dies = |p: &PackFact| e.catalog().pack_condemned_ms(&p.id).is_some();
            for pack in e.catalog().packs().filter(|p| p.pack_len < self.limits.small_pack && !dies(p)) {
                let size = pack.pack_len.max(1).ilog2() / 2;
                small.entry((pack.class, size)).or_default().push(pack.clone());
            }
        });
        let enough = |packs: &Vec<PackFact>| {
            packs.len() >= self.limits.merge_count
                || packs.len() >= self.limits.merge_count.div_ceil(4).max(2)
                    && since_merge_ms >= self.limits.merge_every_ms
        };
        for mut packs in small.into_values().filter(enough) {
            packs.sort_unstable_by_key(|p| (p.pack_len, p.id));
            let mut room = self.limits.pack_target as u64 + self.limits.small_pack;
            let mut chunks = 0;
            packs.retain(|p| {
                let count = self.toc(p).map_or(usize::MAX, |entries| entries.len());
                let fits =
                    p.pack_len <= room && count <= MERGE_MAX_CHUNKS && chunks + count <= MAX_PACK_ENTRIES;
                if fits {
                    room -= p.pack_len;
                    chunks += count;
                }
                fits
            });
            if packs.len() > 1 {
                return packs;
            }
        }
        Vec::new()
    }

    /// Writes what is in `packs` as one new pack, and ends them. Returns how many.
    pub(super) fn rewrite(&self, packs: &[PackFact]) -> Result<usize> {
        self.rewrite_if(packs, |_, _| true)
    }

    /// The same with those chunks only that `alive` says are, by pack and position.
    pub(super) fn rewrite_if(
        &self,
        packs: &[PackFact],
        alive: impl Fn(&PackFact, u32) -> bool,
    ) -> Result<usize> {
        let Some(class) = packs.first().map(|p| p.class) else { return Ok(0) };
        let mut builder = PackBuilder::new(PackId(self.random()), class, &self.keys);
        let mut squeezer = Squeezer::new()?;
        let mut seen: HashSet<ChunkId> = HashSet::new();
        let mut with = Vec::new();
        for pack in packs {
            for (position, entry) in (0u32..).zip(self.toc(pack)?.iter()) {
                if alive(pack, position) && seen.insert(entry.chunk) {
                    let plain = self.chunk(&entry.chunk, Some(pack.id), position)?;
                    builder.push(entry.name(), &squeeze(&plain, &mut squeezer))?;
                }
            }
            with.push(Fact::PackDropped { id: pack.id, into: builder.id() });
        }
        let at_least_m = packs.iter().map(|p| p.geometry.m()).max().unwrap_or(0);
        self.land(builder, with, at_least_m)?;
        Ok(packs.len())
    }
}
