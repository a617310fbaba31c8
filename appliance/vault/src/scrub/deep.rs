//! The deep look: every block of every shard of a pack against its checksum, all its disks at the same time.

use crate::core::{Core, lock};
use crate::inspect::{BLOCKS_AT_ONCE, Damage, Wanted};
use crate::ports::Disk;
use coffre_core::buffer::Buffer;
use coffre_core::flaw::Flaw;
use coffre_core::ids::PackId;
use coffre_core::scrub::Kind;
use coffre_core::shard::{BLOCK_LEN, BlockTable};
use std::sync::Arc;

/// Blocks of each shard in one step while nobody else is there, a mebibyte after the other: a whole shard of a full pack, nearly
/// always. While streams run, a step is one mebibyte.
const IDLE_STEP: u32 = 8 * BLOCKS_AT_ONCE;

/// A look under way.
#[derive(Debug)]
pub(super) struct Look {
    pack: PackId,
    /// The round it belongs to; none for a neighbour of a find.
    round: Option<Kind>,
    shards: Vec<Shard>,
    next: u32,
    /// A disk did not answer: it is looked at once more.
    again: bool,
}

#[derive(Debug)]
struct Shard {
    wanted: Wanted,
    table: Arc<BlockTable>,
    wrong: u32,
    /// Where its blocks are read to.
    room: Buffer,
}

impl Look {
    /// Whether it belongs to a round: else it is a neighbour of a find.
    pub(super) fn of_a_round(&self) -> bool {
        self.round.is_some()
    }
}

impl Core {
    /// Looks at headers and tables, and begins with the blocks.
    pub(super) fn begin_looking(&self, round: Option<Kind>, id: PackId) {
        let mut wanted = self.shards_to_look_at(id);
        if self.flaws.has(Flaw::ScrubSkipsShard) {
            wanted.pop();
        }
        let asks = wanted.iter().cloned().map(|w| (w.disk(), move |disk: &dyn Disk| w.open(disk)));
        let answers = self.ask_all(asks);
        let mut look = Look { pack: id, round, shards: Vec::new(), next: 0, again: false };
        for (wanted, answer) in wanted.into_iter().zip(answers) {
            match answer {
                Ok(Ok((_, table))) => {
                    let room = self.buffers.take(BLOCKS_AT_ONCE as usize * BLOCK_LEN);
                    look.shards.push(Shard { wanted, table: Arc::new(table), wrong: 0, room });
                }
                Ok(Err(damage)) => self.with(|e| e.shard_damaged(id, wanted.shard(), damage)),
                Err(_) => look.again = true,
            }
        }
        if self.flaws.has(Flaw::ScrubTrustsHeader) {
            look.shards.clear();
        }
        lock(&self.scrubber.0).deep = Some(look);
    }

    /// Looks at the next blocks of all shards.
    pub(super) fn go_on_looking(&self, mut look: Look) {
        let blocks = look.shards.iter().map(|s| s.table.blocks()).max().unwrap_or(0);
        let step = if self.busy() { BLOCKS_AT_ONCE } else { IDLE_STEP };
        let range = look.next..(look.next + step).min(blocks);
        if range.is_empty() {
            return self.end_looking(look);
        }
        let asks = look.shards.iter_mut().map(|s| {
            let (wanted, table, range) = (s.wanted.clone(), s.table.clone(), range.clone());
            let mut room = std::mem::take(&mut s.room);
            let ask = move |disk: &dyn Disk| {
                let wrong = wanted.wrong_blocks(disk, &table, range, &mut room)?;
                Ok((wrong, room))
            };
            (s.wanted.disk(), ask)
        });
        let answers = self.ask_all(asks);
        look.next = range.end;
        let mut still = Vec::new();
        for (mut shard, answer) in look.shards.into_iter().zip(answers) {
            match answer {
                Ok((wrong, room)) => {
                    shard.wrong += wrong;
                    shard.room = room;
                    still.push(shard);
                }
                Err(_) => look.again = true,
            }
        }
        look.shards = still;
        lock(&self.scrubber.0).deep = Some(look);
    }

    fn end_looking(&self, look: Look) {
        for shard in look.shards.iter().filter(|s| s.wrong > 0) {
            let damage = Damage { blocks: shard.wrong, ..Damage::default() };
            self.with(|e| e.shard_damaged(look.pack, shard.wanted.shard(), damage));
        }
        let mut scrub = lock(&self.scrubber.0);
        if let Some(round) = look.round {
            scrub.plan.looked_at(round, look.pack, 0);
            if look.again {
                scrub.plan.suspect([look.pack]);
            }
        }
    }
}
