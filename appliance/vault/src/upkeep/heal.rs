//! Shards made again on the disks that lack them, out of verified blocks of their siblings.
//!
//! One pack at a time per caller, a mebibyte of each source in memory at a time. Sources are read at the same time
//! from their disks, each block verified against its table; where a source fails, another one takes its place for those
//! blocks, and at worst every single block is made from whichever shards have it whole. What comes out must have the
//! root that the siblings know. The job that writes it reads it back; see `lane`.

use crate::core::Core;
use crate::engine::{Wound, guest_seat};
use crate::inspect::{BLOCKS_AT_ONCE, Wanted};
use crate::layout;
use crate::ports::Disk;
use crate::read::Checked;
use coffre_core::buffer::Buffer;
use coffre_core::fact::PackFact;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaw;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::shard::{BLOCK_LEN, Rebuild};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A shard to read from: its number, where it is, and its header and table.
struct Source {
    shard: usize,
    disk: DiskNo,
    checked: Arc<Checked>,
}

/// Ranges of shards that were read and verified.
type Ranges = Vec<(usize, Buffer)>;

impl Core {
    /// Makes the shards of one pack again and hands them to their disks, the packs nearest to their loss first.
    /// `None` when nothing is to be healed now; otherwise how many more shards the pack may miss.
    pub fn heal_one(&self) -> Option<i32> {
        let wound = self.with(|e| e.next_wound())?;
        let made = self.heal_wound(&wound);
        let trouble = made.err().map(|fault| fault.what);
        self.with(|e| e.healing_done(wound.pack.id, trouble));
        Some(wound.tolerance)
    }

    fn heal_wound(&self, wound: &Wound) -> Result<()> {
        let pack = &wound.pack;
        let mut lost = Vec::new();
        for (shard, disk) in &wound.shards {
            // One that was found damaged may be whole: a reading failed once, or a healing was not noted.
            if self.looks_whole(pack, *shard) {
                self.with(|e| e.prove(pack.id, *shard));
            } else {
                lost.push((*shard, *disk));
            }
        }
        if lost.is_empty() { Ok(()) } else { self.make_again(pack, &lost) }
    }

    fn looks_whole(&self, pack: &PackFact, shard: usize) -> bool {
        let Some(wanted) = Wanted::new(self.keys.vault(), pack, shard) else { return false };
        let path = layout::shard(pack.id);
        let asks = [(wanted.disk(), move |disk: &dyn Disk| wanted.inspect(disk, &path))];
        matches!(self.ask_all(asks).pop(), Some(Ok(None)))
    }

    fn make_again(&self, pack: &PackFact, lost: &[(usize, DiskId)]) -> Result<()> {
        let mut sources = self.sources(pack);
        let made = match &sources {
            Ok(sources) => self.make_of(pack, sources, lost),
            Err(fault) => Err(fault.clone()),
        };
        if made.is_ok() || !self.with_guests(pack, &mut sources) {
            return made;
        }
        self.make_of(pack, &sources?, lost)
    }

    /// Shards that guests have besides; says whether there is any.
    fn with_guests(&self, pack: &PackFact, sources: &mut Result<Vec<Source>>) -> bool {
        let mut all =
            std::mem::replace(sources, Ok(Vec::new())).unwrap_or_else(|_| self.sources_there(pack).0);
        for (shard, disk) in self.with(|e| e.lent(pack)) {
            if let Ok(checked) = self.lent_table(pack, shard, disk) {
                all.push(Source { shard, disk, checked });
            }
        }
        let more = all.iter().any(|source| guest_seat(source.disk).is_some());
        *sources = Ok(all);
        more
    }

    fn make_of(&self, pack: &PackFact, sources: &[Source], lost: &[(usize, DiskId)]) -> Result<()> {
        let known = &sources.first().ok_or_else(|| too_few(pack, 0))?.checked.header;
        let begin =
            |(shard, disk): &(usize, DiskId)| Rebuild::begin(known, *shard as u8, *disk, &self.buffers);
        let mut rebuilds = lost.iter().map(begin).collect::<Result<Vec<Rebuild>>>()?;
        for start in (0..known.blocks()).step_by(BLOCKS_AT_ONCE as usize) {
            let blocks = start..(start + BLOCKS_AT_ONCE).min(known.blocks());
            for ranges in self.gather_in_parts(pack, sources, blocks)? {
                let refs: Vec<(usize, &[u8])> = ranges.iter().map(|(n, b)| (*n, &**b)).collect();
                rebuilds.iter_mut().try_for_each(|r| r.push(&refs))?;
            }
        }
        for (rebuild, (shard, _)) in rebuilds.into_iter().zip(lost) {
            let rebuilt = Arc::new(rebuild.finish(self.flaws)?);
            self.with(|e| e.heal(pack.id, *shard, rebuilt));
        }
        Ok(())
    }

    /// Shards that can be read on disks of the roster, those not known to be damaged first. A damaged one may have the very block that others
    /// lack; one that is not there is not asked for: that would be a find again, with neighbours to be looked at.
    fn sources(&self, pack: &PackFact) -> Result<Vec<Source>> {
        match self.sources_there(pack) {
            (sources, Some(fault)) if sources.len() < pack.geometry.k() => Err(fault),
            (sources, _) => Ok(sources),
        }
    }

    fn sources_there(&self, pack: &PackFact) -> (Vec<Source>, Option<Fault>) {
        let (here, lost, absent) =
            self.with(|e| (e.present(), e.lost_shards(&pack.id), e.absent_shards(&pack.id)));
        let all = (0..pack.geometry.width()).filter_map(|n| Wanted::new(self.keys.vault(), pack, n));
        let mut order: Vec<Wanted> = all.filter(|w| here.has(w.disk()) && !absent.has(w.disk())).collect();
        order.sort_by_key(|w| lost.has(w.disk()));
        let asks = order.iter().cloned().map(|w| (w.disk(), move |disk: &dyn Disk| w.open(disk)));
        let answers = self.ask_all(asks);
        let mut trouble = None;
        let mut sources = Vec::new();
        for (wanted, answer) in order.iter().zip(answers) {
            let shard = wanted.shard();
            let checked = match answer {
                Ok(Ok((header, table))) => Ok(Arc::new(Checked { header, table })),
                // With a little more patience: a header may be wrong and its copy right.
                _ => self.checked(pack, shard),
            };
            match checked {
                Ok(checked) => sources.push(Source { shard, disk: wanted.disk(), checked }),
                Err(fault) => trouble = Some(fault),
            }
        }
        (sources, trouble)
    }

    /// The same blocks of k shards; when no k shards have all of them whole, block by block.
    fn gather_in_parts(
        &self,
        pack: &PackFact,
        sources: &[Source],
        blocks: Range<u32>,
    ) -> Result<Vec<Ranges>> {
        match self.gather(pack, sources, blocks.clone()) {
            Ok(ranges) => Ok(vec![ranges]),
            Err(_) if blocks.len() > 1 => {
                blocks.map(|no| self.gather(pack, sources, no..no + 1)).collect::<Result<Vec<_>>>()
            }
            Err(fault) => Err(fault),
        }
    }

    /// The same blocks of k shards, verified: first of k at once, then of the others one by one.
    fn gather(&self, pack: &PackFact, sources: &[Source], blocks: Range<u32>) -> Result<Ranges> {
        let k = pack.geometry.k();
        let mut ranges = Ranges::new();
        let mut queue: VecDeque<&Source> = sources.iter().collect();
        while ranges.len() < k {
            let (mut some, mut later) = (Vec::<&Source>::new(), VecDeque::new());
            while some.len() < k - ranges.len()
                && let Some(source) = queue.pop_front()
            {
                // A guest may have a shard that a disk of the roster has as well: the second is for when the first fails.
                match some.iter().any(|other| other.shard == source.shard) {
                    true => later.push_back(source),
                    false if ranges.iter().all(|(n, _)| *n != source.shard) => some.push(source),
                    false => {}
                }
            }
            if some.is_empty() {
                return Err(too_few(pack, ranges.len()));
            }
            later.append(&mut queue);
            queue = later;
            ranges.extend(self.read_sources(pack, &some, blocks.clone()));
        }
        Ok(ranges)
    }

    fn read_sources(&self, pack: &PackFact, sources: &[&Source], blocks: Range<u32>) -> Ranges {
        let believed = self.flaws.has(Flaw::HealUnverified);
        let ask = |source: &&Source| {
            let (checked, blocks, path) = (source.checked.clone(), blocks.clone(), layout::shard(pack.id));
            let start = checked.header.block_in_file(blocks.start).start;
            let end = checked.header.block_in_file(blocks.end - 1).end;
            let mut bytes = self.buffers.take((end - start) as usize);
            let ask = move |disk: &dyn Disk| {
                disk.read_medium(&path, start, (end - start) as usize, &mut bytes)?;
                let whole = bytes.len() as u64 == end - start;
                let good = || bytes.chunks(BLOCK_LEN).zip(blocks).all(|(b, no)| checked.table.check(no, b));
                Ok((whole && (believed || good())).then_some(bytes))
            };
            (source.disk, ask)
        };
        let answers = self.ask_all(sources.iter().map(ask));
        let mut ranges = Ranges::new();
        for (source, answer) in sources.iter().zip(answers) {
            match answer {
                Ok(Some(bytes)) => ranges.push((source.shard, bytes)),
                Ok(None) | Err(_) if guest_seat(source.disk).is_some() => {
                    self.guest_lacks(source.disk, &pack.id)
                }
                Ok(None) => drop(self.damaged(pack, source.shard, "a block does not match")),
                Err(e) => drop(self.trouble(pack, source.shard, &e)),
            }
        }
        ranges
    }
}

fn too_few(pack: &PackFact, good: usize) -> Fault {
    let k = pack.geometry.k();
    Fault::transient(format!("pack {}: only {good} of {k} needed shards are good", pack.id))
}
