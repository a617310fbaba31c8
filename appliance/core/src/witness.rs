//! The witness: what a third place remembers of the journal's epochs, so that a two-disk box can go on with one
//! disk, and so that a rollback by disks that lie is seen. Two slots written in turn, like a label.
//!
//! `opening` is written before the Mount record of an epoch exists, `confirmed` after that record is durable and
//! before the first acknowledgement under it. A mount whose newest epoch is one of the two knows that no later
//! acknowledgement exists anywhere; a power cut between the two leaves both readable. So does a mount whose newest record is what the
//! opening epoch builds on: two mounts in a row that opened and never confirmed shut nobody out.

use crate::bytes::{BLOCK, Fields, purpose_hash, put};
use crate::diskset::DiskSet;
use crate::ids::VaultId;
use crate::label::MAX_EPOCH;

/// Length of the witness file: two slots of one block each.
pub const WITNESS_LEN: usize = 2 * BLOCK;

const MAGIC: &[u8; 8] = b"COFWITN1";
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = BLOCK - 32;
const CONTEXT: &str = "coffre 2026 v1 witness";

/// An epoch and the disks that were in use when it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EpochNote {
    /// The epoch; 0 when there is none.
    pub epoch: u64,
    /// Disks in use when it began.
    pub active: DiskSet,
    /// Whether its acknowledgements need every one of these disks.
    pub witnessed: bool,
}

/// What the witness remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The vault.
    pub vault: VaultId,
    /// Counts the writes; the slot with the higher one holds.
    pub generation: u64,
    /// Newest epoch under which something may have been acknowledged.
    pub confirmed: EpochNote,
    /// Newest epoch whose Mount record may exist.
    pub opening: EpochNote,
    /// What that epoch builds on: an epoch, and a record of it up to which everything acknowledged is contained.
    pub built_on: (u64, u64),
    /// An acknowledged record, refreshed now and then: for detection only.
    pub acked: u64,
}

impl Witness {
    /// Offset of the slot that this generation is written to.
    pub fn slot_offset(&self) -> u64 {
        (self.generation % 2) * BLOCK as u64
    }

    /// One slot, drawn.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; BLOCK];
        put(&mut out, 0, MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        put(&mut out, 16, &self.vault.0);
        put(&mut out, 32, &self.generation.to_le_bytes());
        for (at, note) in [(40, self.confirmed), (56, self.opening)] {
            put(&mut out, at, &note.epoch.to_le_bytes());
            put(&mut out, at + 8, &[note.active.0, u8::from(note.witnessed)]);
        }
        put(&mut out, 72, &self.acked.to_le_bytes());
        put(&mut out, 80, &self.built_on.0.to_le_bytes());
        put(&mut out, 88, &self.built_on.1.to_le_bytes());
        let sum = purpose_hash(CONTEXT, &[&out[..CHECKSUM_AT]]);
        put(&mut out, CHECKSUM_AT, &sum);
        out
    }

    /// Reads a witness file: the valid slot of the higher generation; `None` when there is none of this vault. One that speaks of
    /// epochs that no box has is none.
    pub fn decode(vault: VaultId, file: &[u8]) -> Option<Self> {
        file.chunks_exact(BLOCK)
            .take(2)
            .filter_map(|slot| decode_slot(slot).filter(|w| w.vault == vault))
            .max_by_key(|w| w.generation)
    }
}

fn decode_slot(slot: &[u8]) -> Option<Witness> {
    let fields = Fields(slot);
    let sum = purpose_hash(CONTEXT, &[&slot[..CHECKSUM_AT]]);
    if slot[CHECKSUM_AT..] != sum || &slot[..8] != MAGIC || fields.u16(8)? != VERSION {
        return None;
    }
    let note = |at: usize| -> Option<EpochNote> {
        Some(EpochNote {
            epoch: fields.u64(at)?,
            active: DiskSet(fields.u8(at + 8)?),
            witnessed: fields.u8(at + 9)? == 1,
        })
    };
    let (confirmed, opening) = (note(40)?, note(56)?);
    if confirmed.epoch.max(opening.epoch) > MAX_EPOCH / 2 {
        return None;
    }
    Some(Witness {
        vault: fields.vault(16)?,
        generation: fields.u64(32)?,
        confirmed,
        opening,
        built_on: (fields.u64(80)?, fields.u64(88)?),
        acked: fields.u64(72)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let note = EpochNote { epoch: 4, active: DiskSet(1), witnessed: true };
        let w = Witness {
            vault: VaultId([1; 16]),
            generation: 3,
            confirmed: note,
            opening: note,
            built_on: (3, 8),
            acked: 99,
        };
        let older = Witness { generation: 2, acked: 5, ..w };
        let mut file = [older.encode(), w.encode()].concat();
        assert_eq!(Witness::decode(w.vault, &file), Some(w));
        file[BLOCK + 33] ^= 4;
        assert_eq!(Witness::decode(w.vault, &file), Some(older));
        assert_eq!(Witness::decode(VaultId([2; 16]), &file), None);
        assert_eq!(Witness::decode(w.vault, &[]), None);
    }
}
