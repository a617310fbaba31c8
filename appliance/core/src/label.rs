//! The label: what a disk says of itself. Two slots written in turn, so that one is always whole.
//!
//! It names the vault, the disk, the roster with its version and geometry, and carries the promised epoch (rule R2),
//! which must be durable before any record of that epoch exists, and the mark of whoever promised it (R10).
//!
//! A label has two hashes. The plain one says that a slot is whole, to anybody. The keyed one says that it was written by somebody who
//! has the vault's root key: nothing that a label says decides anything without it, or whoever can write to one disk could
//! promise an epoch that nobody can follow, or a roster of disks that never were.

use crate::bytes::{BLOCK, Fields, purpose_hash, put};
use crate::geometry::{Geometry, MAX_DISKS};
use crate::ids::{DiskId, DiskNo, VaultId};
use crate::keys::KeyRing;
use crate::roster::{Change, MAX_VERSION, NEWCOMER, Roster};

/// Length of the label file: two slots of one block each.
pub const LABEL_LEN: usize = 2 * BLOCK;

const MAGIC: &[u8; 8] = b"COFLABL1";
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = BLOCK - 32;
const MAC_AT: usize = CHECKSUM_AT - 32;
/// Highest epoch there is. No box ever comes near it; it leaves room for sums.
pub const MAX_EPOCH: u64 = 1 << 40;
const CONTEXT: &str = "coffre 2026 v1 disk label";

/// A disk's label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// The vault this disk belongs to.
    pub vault: VaultId,
    /// This disk.
    pub disk: DiskId,
    /// All disks of the vault; this one is among them.
    pub roster: Roster,
    /// Number of the journal record from which on the journal speaks of this disk, not of one that had its number before.
    pub since: u64,
    /// Locks of seconds and folders of one file system are allowed.
    pub try_out: bool,
    /// When the vault was made, ms since 1970.
    pub created_ms: u64,
    /// Counts the writes of this label; the slot with the higher one holds.
    pub generation: u64,
    /// Highest epoch promised on this disk.
    pub promised: u64,
    /// Mark of the mount that promised it, drawn for each: two that promise the same epoch tell each other apart.
    pub owner: [u8; 16],
}

/// Why a label cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadLabel {
    /// Neither slot is a label.
    #[error("the label is damaged: neither of its two copies is valid")]
    Damaged,
    /// Whole, and not written with the keys of this vault.
    #[error("the label was not written by a box that has the keys of this vault")]
    Forged,
    /// Written by a newer Coffre with something this one does not know.
    #[error("the label needs a newer Coffre (features {0:#x})")]
    TooNew(u32),
}

impl Label {
    /// This disk's number in its roster.
    pub fn number(&self) -> Option<DiskNo> {
        self.roster.number(self.disk)
    }

    /// Whether the disk was made ready and has not joined its roster.
    pub fn is_newcomer(&self) -> bool {
        self.roster.version == NEWCOMER
    }

    /// Offset of the slot that this generation is written to.
    pub fn slot_offset(&self) -> u64 {
        (self.generation % 2) * BLOCK as u64
    }

    /// One slot, drawn.
    pub fn encode(&self, keys: &KeyRing) -> Vec<u8> {
        let mut out = vec![0; BLOCK];
        put(&mut out, 0, MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        // 12: features that a reader must know, 16: features that a writer must know; none so far.
        put(&mut out, 24, &self.vault.0);
        put(&mut out, 40, &self.disk.0);
        let [k, m] = bytes(self.roster.geometry);
        put(&mut out, 56, &[self.roster.disks.len() as u8, k, m, u8::from(self.try_out)]);
        let change = match self.roster.change {
            None => [0; 4],
            Some(Change::Replaced(disk)) => [1, disk.0, 0, 0],
            Some(Change::Added(before)) => [2, 0, bytes(before)[0], bytes(before)[1]],
        };
        put(&mut out, 60, &change);
        put(&mut out, 64, &self.generation.to_le_bytes());
        put(&mut out, 72, &self.promised.to_le_bytes());
        put(&mut out, 80, &self.created_ms.to_le_bytes());
        put(&mut out, 88, &self.roster.version.to_le_bytes());
        for (i, id) in self.roster.disks.iter().take(MAX_DISKS).enumerate() {
            put(&mut out, 96 + 16 * i, &id.0);
        }
        put(&mut out, 224, &self.since.to_le_bytes());
        put(&mut out, 400, &self.owner);
        let mac = keys.label_mac(&out[..MAC_AT]);
        put(&mut out, MAC_AT, mac.as_bytes());
        let sum = purpose_hash(CONTEXT, &[&out[..CHECKSUM_AT]]);
        put(&mut out, CHECKSUM_AT, &sum);
        out
    }

    /// Reads a label file without any key: the whole slot of the higher generation. Anybody may have written it: for telling what a
    /// folder seems to be, never for a decision about a vault.
    pub fn peek(file: &[u8]) -> Result<Self, BadLabel> {
        Self::newest(file.chunks_exact(BLOCK).take(2).map(decode_slot))
    }

    /// Reads a label file: of the slots that were written with these keys, the one of the higher generation.
    pub fn open(keys: &KeyRing, file: &[u8]) -> Result<Self, BadLabel> {
        Self::newest(file.chunks_exact(BLOCK).take(2).map(|slot| open_slot(keys, slot)))
    }

    /// Whether a slot of this file is whole and was not written with these keys, or says what no box would.
    pub fn any_forged(keys: &KeyRing, file: &[u8]) -> bool {
        let made = |slot| !matches!(open_slot(keys, slot), Err(BadLabel::Damaged | BadLabel::Forged));
        file.chunks_exact(BLOCK).take(2).any(|slot| is_whole(slot) && !made(slot))
    }

    fn newest(slots: impl Iterator<Item = Result<Self, BadLabel>>) -> Result<Self, BadLabel> {
        let mut best: Result<Self, BadLabel> = Err(BadLabel::Damaged);
        for slot in slots {
            best = match (best, slot) {
                (Ok(a), Ok(b)) => Ok(if b.generation > a.generation { b } else { a }),
                (Ok(a), Err(_)) => Ok(a),
                (Err(_), Ok(b)) => Ok(b),
                (Err(BadLabel::Damaged), Err(e)) | (Err(e), Err(_)) => Err(e),
            };
        }
        best
    }
}

fn is_whole(slot: &[u8]) -> bool {
    slot[CHECKSUM_AT..] == purpose_hash(CONTEXT, &[&slot[..CHECKSUM_AT]]) && &slot[..8] == MAGIC
}

fn decode_slot(slot: &[u8]) -> Result<Label, BadLabel> {
    if !is_whole(slot) {
        return Err(BadLabel::Damaged);
    }
    let fields = Fields(slot);
    // A box that may not write a disk has no use for it in a roster: both kinds of features keep it out.
    let must_know = fields.u32(12).unwrap_or(u32::MAX) | fields.u32(16).unwrap_or(u32::MAX);
    if must_know != 0 || fields.u16(8) != Some(VERSION) {
        return Err(BadLabel::TooNew(must_know));
    }
    parse(&fields).ok_or(BadLabel::Damaged)
}

fn open_slot(keys: &KeyRing, slot: &[u8]) -> Result<Label, BadLabel> {
    let label = decode_slot(slot)?;
    let mac: [u8; 32] = Fields(slot).array(MAC_AT).ok_or(BadLabel::Damaged)?;
    // `blake3::Hash` compares in constant time.
    let made = label.vault == keys.vault() && keys.label_mac(&slot[..MAC_AT]) == mac;
    if made { Ok(label) } else { Err(BadLabel::Forged) }
}

fn parse(fields: &Fields<'_>) -> Option<Label> {
    let [count, k, m, try_out] = fields.array(56)?;
    let geometry = Geometry::new(k, m).ok()?;
    let count = usize::from(count);
    if count == 0 || count > MAX_DISKS || count != geometry.width() || try_out > 1 {
        return None;
    }
    let disks: Option<Vec<DiskId>> = (0..count).map(|i| fields.array(96 + 16 * i).map(DiskId)).collect();
    let change = match fields.array(60)? {
        [0, 0, 0, 0] => None,
        [1, disk, 0, 0] if usize::from(disk) < count => Some(Change::Replaced(DiskNo(disk))),
        [2, 0, k, m] => Some(Change::Added(Geometry::new(k, m).ok().filter(|g| g.width() + 1 == count)?)),
        _ => return None,
    };
    let label = Label {
        vault: fields.vault(24)?,
        disk: DiskId(fields.array(40)?),
        roster: Roster { version: fields.u64(88)?, disks: disks?, geometry, change },
        since: fields.u64(224)?,
        try_out: try_out == 1,
        created_ms: fields.u64(80)?,
        generation: fields.u64(64)?,
        promised: fields.u64(72)?,
        owner: fields.array(400)?,
    };
    let sane = label.promised <= MAX_EPOCH && label.roster.version <= MAX_VERSION;
    label.number().filter(|_| sane).map(|_| label)
}

fn bytes(geometry: Geometry) -> [u8; 2] {
    [geometry.k() as u8, geometry.m() as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(generation: u64) -> Label {
        let disks = vec![DiskId([2; 16]), DiskId([3; 16]), DiskId([4; 16])];
        let mut roster = Roster::first(disks, Geometry::new(2, 1).expect("valid"));
        roster.change = match generation % 3 {
            0 => None,
            1 => Some(Change::Replaced(DiskNo(2))),
            _ => Some(Change::Added(Geometry::new(1, 1).expect("valid"))),
        };
        Label {
            vault: VaultId([1; 16]),
            disk: DiskId([3; 16]),
            roster,
            since: 7 * generation,
            try_out: true,
            created_ms: 5,
            generation,
            promised: generation + 1,
            owner: [generation as u8; 16],
        }
    }

    fn keys() -> KeyRing {
        KeyRing::new(&crate::keys::RootKey::new([9; 32]), VaultId([1; 16]))
    }

    #[test]
    fn the_newer_valid_slot_holds() {
        let keys = keys();
        let (old, new) = (sample(4), sample(5));
        let mut file = [old.encode(&keys), new.encode(&keys)].concat();
        assert_eq!(Label::open(&keys, &file), Ok(new.clone()));
        assert_eq!(Label::peek(&file), Ok(new));
        file[BLOCK + 70] ^= 1;
        assert_eq!(Label::open(&keys, &file), Ok(old), "a torn newer slot leaves the older one");
        file[70] ^= 1;
        assert_eq!(Label::open(&keys, &file), Err(BadLabel::Damaged));
        assert_eq!(Label::peek(&file), Err(BadLabel::Damaged));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let keys = keys();
        let slot = sample(4).encode(&keys);
        for bit in 0..BLOCK * 8 {
            let mut bad = slot.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Label::open(&keys, &bad), Err(BadLabel::Damaged), "bit {bit}");
        }
    }

    /// Changes a field and makes the plain hash right again, as anybody can.
    fn forge(slot: &mut [u8], at: usize, bytes: &[u8]) {
        put(slot, at, bytes);
        let sum = purpose_hash(CONTEXT, &[&slot[..CHECKSUM_AT]]);
        put(slot, CHECKSUM_AT, &sum);
    }

    #[test]
    fn what_anybody_could_write_is_no_label() {
        let keys = keys();
        let (old, new) = (sample(4).encode(&keys), sample(5).encode(&keys));
        let fields: [(usize, &[u8]); 6] = [
            (64, &u64::MAX.to_le_bytes()),
            (72, &(1u64 << 30).to_le_bytes()),
            (88, &(1u64 << 50).to_le_bytes()),
            (96, &[9; 16]),
            (224, &[0xff; 8]),
            (400, &[7; 16]),
        ];
        for (at, bytes) in fields {
            let mut forged = new.clone();
            forge(&mut forged, at, bytes);
            let file = [old.clone(), forged].concat();
            assert!(Label::peek(&file).is_ok(), "{at}: whole, for who has no key");
            assert_eq!(Label::open(&keys, &file), Ok(sample(4)), "{at}");
            assert!(Label::any_forged(&keys, &file) && !Label::any_forged(&keys, &old));
            assert_eq!(Label::open(&keys, &file[BLOCK..]), Err(BadLabel::Forged), "{at}");
        }
        let other = KeyRing::new(&crate::keys::RootKey::new([8; 32]), VaultId([1; 16]));
        assert_eq!(Label::open(&other, &old), Err(BadLabel::Forged), "another root key");
    }

    #[test]
    fn absurd_numbers_are_refused_whoever_wrote_them() {
        let keys = keys();
        let far = Label { promised: MAX_EPOCH + 1, ..sample(4) };
        assert_eq!(Label::open(&keys, &far.encode(&keys)), Err(BadLabel::Damaged));
        let mut far = sample(4);
        far.roster.version = MAX_VERSION + 1;
        assert_eq!(Label::open(&keys, &far.encode(&keys)), Err(BadLabel::Damaged));
    }
}
