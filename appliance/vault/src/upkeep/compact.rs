//! Compaction: packs with little life left are written anew with what is alive in them, by lock class.
//!
//! A chunk dies when the last snapshot with it is freed, which has had its own grace; its pack lives on with its neighbours.
//! A pack that was found thin stays as it is for a grace of its own, then it is closed: nobody shares its chunks while it is
//! marked a second time and rewritten. If a stream still uses it, it stays. A chunk that was dead at the first look and is
//! used again at the second is alive.

use super::mark::LiveChunks;
use crate::core::{Core, lock};
use coffre_core::class::LockClass;
use coffre_core::fact::PackFact;
use coffre_core::fault::Result;
use coffre_core::ids::PackId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A pack with less than this of its chunks alive is compacted, in hundredths.
const THIN_PERCENT: u64 = 40;
/// Most packs whose life is looked up in their tables of contents in one run.
const TABLES_AT_ONCE: usize = 2_000;
/// Most packs rewritten in one run.
const PACKS_AT_ONCE: usize = 64;

/// Packs found thin, and when on the retention clock; and how many chunks packs hold, which never changes.
#[derive(Debug, Default)]
pub(crate) struct Thin {
    since_ms: HashMap<PackId, u64>,
    chunks: HashMap<PackId, u64>,
}

impl Core {
    /// Looks for thin packs, and compacts some of those that have been thin for a grace. Says how many.
    pub fn compact(&self) -> Result<usize> {
        self.may_forget()?;
        if !self.with(|e| e.whole()) {
            return Ok(0);
        }
        let clock = self.retention();
        let thin = self.thin_packs()?;
        let due: Vec<PackFact> = {
            let mut memory = lock(&self.forget_memory);
            let known = &mut memory.thin.since_ms;
            known.retain(|id, _| thin.iter().any(|p| p.id == *id));
            thin.iter().for_each(|p| {
                known.entry(p.id).or_insert(clock.now_ms());
            });
            let ripe = |p: &&PackFact| {
                known.get(&p.id).is_some_and(|at| clock.has_passed(at.saturating_add(self.limits.grace_ms)))
            };
            thin.iter().filter(ripe).take(PACKS_AT_ONCE).cloned().collect()
        };
        let mut by_class: BTreeMap<LockClass, Vec<PackFact>> = BTreeMap::new();
        due.into_iter().for_each(|p| by_class.entry(p.class).or_default().push(p));
        let mut count = 0;
        for packs in by_class.into_values() {
            count += self.compact_class(&packs)?;
        }
        Ok(count)
    }

    fn compact_class(&self, packs: &[PackFact]) -> Result<usize> {
        let ids: Vec<PackId> = packs.iter().map(|p| p.id).collect();
        let closed = self.with(|e| e.close_packs(&ids))?;
        let done = self.compact_closed(packs, &closed);
        self.with(|e| e.reopen_packs(&closed));
        done
    }

    fn compact_closed(&self, packs: &[PackFact], closed: &[PackId]) -> Result<usize> {
        if closed.is_empty() {
            return Ok(0);
        }
        let live = self.mark_chunks(|p| closed.contains(&p.id))?;
        let mut room = self.limits.pack_target as u64;
        let mut chosen = Vec::new();
        for pack in packs.iter().filter(|p| closed.contains(&p.id) && !live.doubtful.contains(&p.id)) {
            let alive = self.alive_bytes(pack, &live)?;
            // With nothing alive in it a pack is condemned, not compacted.
            if alive > 0 && alive <= room {
                room -= alive;
                chosen.push(pack.clone());
            }
        }
        if chosen.is_empty() {
            return Ok(0);
        }
        let bits: HashMap<PackId, _> = chosen.iter().map(|p| (p.id, live.of(&p.id))).collect();
        self.rewrite_if(&chosen, |pack, at| bits.get(&pack.id).is_some_and(|b| b.has(at)))
    }

    /// Packs with some life, and little of it.
    fn thin_packs(&self) -> Result<Vec<PackFact>> {
        let mut packs: Vec<PackFact> = self.with(|e| {
            let catalog = e.catalog();
            let open = |p: &&PackFact| catalog.pack_condemned_ms(&p.id).is_none();
            catalog.packs().filter(open).cloned().collect()
        });
        packs.sort_unstable_by_key(|p| p.id);
        let ids: HashSet<PackId> = packs.iter().map(|p| p.id).collect();
        let live = self.mark_chunks(|p| ids.contains(&p.id))?;
        let mut known = std::mem::take(&mut lock(&self.forget_memory).thin.chunks);
        known.retain(|id, _| ids.contains(id));
        let mut lookups = 0;
        let mut thin = Vec::new();
        for pack in packs.into_iter().filter(|p| !live.doubtful.contains(&p.id)) {
            let chunks = match known.get(&pack.id) {
                Some(chunks) => *chunks,
                None if lookups == TABLES_AT_ONCE => continue,
                None => {
                    lookups += 1;
                    let chunks = self.toc(&pack)?.len() as u64;
                    known.insert(pack.id, chunks);
                    chunks
                }
            };
            let alive = live.of(&pack.id).count();
            if alive > 0 && alive * 100 < chunks * THIN_PERCENT {
                thin.push(pack);
            }
        }
        lock(&self.forget_memory).thin.chunks = known;
        Ok(thin)
    }

    /// Bytes of a pack's blobs that are alive.
    fn alive_bytes(&self, pack: &PackFact, live: &LiveChunks) -> Result<u64> {
        let bits = live.of(&pack.id);
        let entries = self.toc(pack)?;
        let alive = (0u32..).zip(entries.iter()).filter(|(at, _)| bits.has(*at));
        Ok(alive.map(|(_, e)| e.end() - u64::from(e.offset)).sum())
    }
}
