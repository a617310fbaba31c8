//! What the box notes of its scrub: where it stands, and what was found damaged and is not healed.
//!
//! A small file in the state folder, drawn in `docs/format.md`. It is no truth: without it the rounds begin anew, and what
//! was found is found again. With it a restart forgets nothing that is known to be bad.

use super::{Round, Sample};
use crate::diskset::DiskSet;
use crate::ids::{DiskNo, PackId, VaultId};
use minicbor::{Decode, Encode};

const MAGIC: &[u8; 8] = b"COFSCRB1";
/// Context of the checksum.
const CONTEXT: &str = "coffre 2026 v1 scrub note";
const HEADER_LEN: usize = 24;
const SUM_LEN: usize = 32;
/// Longest note that is read, in bytes.
pub const MAX_NOTE_LEN: usize = 1 << 20;
/// Most damaged packs noted; beyond that the deep round begins anew at the next start and finds the others.
pub const MAX_BAD: usize = 32_768;
/// Most finds kept to be told.
pub const MAX_FINDS: usize = 64;

/// What was found damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Thing {
    /// A pack's shard.
    #[n(0)]
    Shard(#[n(0)] PackId),
    /// A record of the journal.
    #[n(1)]
    Record(#[n(0)] u64),
    /// A checkpoint.
    #[n(2)]
    Checkpoint(#[n(0)] u64),
    /// The label.
    #[n(3)]
    Label,
    /// A pack whose shards are whole and that does not open with the keys.
    #[n(4)]
    Pack(#[n(0)] PackId),
}

/// One find.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Find {
    /// When, wall clock, ms since 1970.
    #[n(0)]
    pub wall_ms: u64,
    /// On which disk, when it is on one.
    #[n(1)]
    pub disk: Option<DiskNo>,
    /// What.
    #[n(2)]
    pub thing: Thing,
    /// How many blocks were wrong, when they were counted; 0: the whole thing.
    #[n(3)]
    pub blocks: u32,
    /// When it was known to be healed, wall clock.
    #[n(4)]
    pub healed_ms: Option<u64>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Note {
    /// The scrub's time when this was written.
    #[n(0)]
    pub now_ms: u64,
    /// The wall clock then.
    #[n(1)]
    pub wall_ms: u64,
    /// The light round.
    #[n(2)]
    pub light: Round,
    /// The deep round.
    #[n(3)]
    pub deep: Round,
    /// The day's sample.
    #[n(4)]
    pub sample: Sample,
    /// Shards that were found damaged and are not healed: pack, and the disks as a set of bits.
    #[n(5)]
    pub bad: Vec<(PackId, u8)>,
    /// More was damaged than is noted.
    #[n(6)]
    pub bad_overflow: bool,
    /// The last finds.
    #[n(7)]
    pub finds: Vec<Find>,
    /// Wall clock at the end of the last light and deep round.
    #[n(8)]
    pub ended_wall_ms: (Option<u64>, Option<u64>),
}

impl Note {
    /// Damaged shards as sets of disks.
    pub fn bad(&self) -> impl Iterator<Item = (PackId, DiskSet)> {
        self.bad.iter().map(|(id, bits)| (*id, DiskSet(*bits)))
    }

    /// The file.
    pub fn encode(&self, vault: VaultId) -> Vec<u8> {
        let mut out = [&MAGIC[..], &vault.0].concat();
        // A vector grows as needed: writing to it does not fail.
        if let Ok(body) = minicbor::to_vec(self) {
            out.extend(body);
        }
        let sum = blake3::derive_key(CONTEXT, &out);
        out.extend(sum);
        out
    }

    /// Reads a note of this vault; `None` when it is damaged, of another one or of another version.
    pub fn decode(vault: VaultId, file: &[u8]) -> Option<Self> {
        let end = file.len().checked_sub(SUM_LEN).filter(|end| *end >= HEADER_LEN)?;
        let own = file.starts_with(MAGIC) && file[8..HEADER_LEN] == vault.0;
        if !own || file.len() > MAX_NOTE_LEN || file[end..] != blake3::derive_key(CONTEXT, &file[..end]) {
            return None;
        }
        minicbor::decode(&file[HEADER_LEN..end]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let vault = VaultId([4; 16]);
        let find =
            Find { wall_ms: 5, disk: Some(DiskNo(1)), thing: Thing::Label, blocks: 0, healed_ms: Some(9) };
        let shard = Find { thing: Thing::Shard(PackId([8; 16])), blocks: 3, healed_ms: None, ..find };
        let note = Note {
            now_ms: 77,
            deep: Round { begun_ms: 1, cursor: Some(PackId([3; 16])), ended_ms: None, asked: true },
            sample: Sample { yesterday: Some((4, 5)), ..Sample::default() },
            bad: vec![(PackId([1; 16]), 5)],
            finds: vec![find, shard],
            ended_wall_ms: (Some(3), None),
            ..Note::default()
        };
        let file = note.encode(vault);
        assert_eq!(Note::decode(vault, &file), Some(note));
        assert_eq!(Note::decode(VaultId([5; 16]), &file), None);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(Note::decode(vault, &bad), None, "byte {at}");
            assert_eq!(Note::decode(vault, &file[..at]), None, "cut at {at}");
        }
        let full = Note { bad: vec![(PackId([0xff; 16]), 255); MAX_BAD], ..Note::default() };
        assert!(full.encode(vault).len() < MAX_NOTE_LEN);
    }
}
