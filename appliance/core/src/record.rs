//! The journal record: one group commit, as bytes. A header, the sealed facts, padding to whole blocks.
//!
//! Records are mirrored byte for byte at the same position of every disk. Each starts on a 4 KiB block of its
//! own, so that a torn write never touches a record that was acknowledged before; each carries the hash of the
//! one before, so that histories that parted can be told apart; each says what the box then knew to be durable
//! on every disk, so that a disk that lied or came back old is convicted by the others.

use crate::aead::{AeadKey, TAG_LEN};
use crate::bytes::{BLOCK, Fields, blocks, purpose_hash, put};
use crate::diskset::DiskSet;
use crate::fault::Result;
use crate::geometry::MAX_DISKS;
use crate::ids::{RecordHash, VaultId};
use crate::keys::KeyRing;
use crate::label::MAX_EPOCH;

/// Bytes before the sealed body.
pub const HEADER_LEN: usize = 224;
/// Largest sealed body of one record.
pub const MAX_BODY: usize = 2 << 20;

const MAGIC: &[u8; 8] = b"COFJRNL1";
const VERSION: u16 = 1;
const HASHED: usize = 192;
const CONTEXT: &str = "coffre 2026 v1 journal record";

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A new epoch begins, with these disks in use. `witnessed`: they are too few for the plain rule, and every
    /// one of them must have a record before it is acknowledged.
    Mount {
        /// Disks in use when the epoch began.
        active: DiskSet,
        /// Whether acknowledgements rest on the witness.
        witnessed: bool,
    },
    /// Facts.
    Facts,
}

/// A record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The vault it belongs to.
    pub vault: VaultId,
    /// Place in the journal, from 1.
    pub seq: u64,
    /// Epoch of the Mount it lives under.
    pub epoch: u64,
    /// What it is.
    pub kind: Kind,
    /// Hash of the record before; zero for the first.
    pub prev: RecordHash,
    /// Salt of the epoch's journal key, random, chosen at the Mount.
    pub salt: [u8; 16],
    /// For each disk of the roster, the newest record known to be durable on it when this one was made.
    pub durable: [u64; MAX_DISKS],
    /// Newest acknowledged record when this one was made.
    pub acked: u64,
    /// Tag of the content, which its key is derived from; [`seal`] puts it in.
    pub tag: [u8; 16],
}

/// A header with the hash that names the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: RecordHash,
    /// Bytes it takes on a disk, padding included.
    pub padded_len: usize,
}

impl Header {
    fn fields(&self, body_len: usize) -> [u8; HASHED] {
        let mut out = [0; HASHED];
        put(&mut out, 0, MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        let (kind, active, witnessed) = match self.kind {
            Kind::Mount { active, witnessed } => (1, active.0, u8::from(witnessed)),
            Kind::Facts => (2, 0, 0),
        };
        put(&mut out, 10, &[kind]);
        put(&mut out, 12, &(body_len as u32).to_le_bytes());
        put(&mut out, 16, &self.vault.0);
        put(&mut out, 32, &self.seq.to_le_bytes());
        put(&mut out, 40, &self.epoch.to_le_bytes());
        put(&mut out, 48, &self.prev.0);
        put(&mut out, 80, &self.salt);
        put(&mut out, 96, &[active, witnessed]);
        for (i, seq) in self.durable.iter().enumerate() {
            put(&mut out, 104 + 8 * i, &seq.to_le_bytes());
        }
        put(&mut out, 168, &self.acked.to_le_bytes());
        put(&mut out, 176, &self.tag);
        out
    }

    fn key(&self, keys: &KeyRing) -> AeadKey {
        keys.record_key(&self.salt, self.seq, &self.prev, &self.tag)
    }

    fn parse(fields: &Fields<'_>) -> Option<Self> {
        let flags = (fields.u8(96)?, fields.u8(97)?);
        let kind = match (fields.u8(10)?, flags) {
            (1, (active, witnessed @ 0..=1)) => {
                Kind::Mount { active: DiskSet(active), witnessed: witnessed == 1 }
            }
            (2, (0, 0)) => Kind::Facts,
            _ => return None,
        };
        let mut durable = [0; MAX_DISKS];
        for (i, seq) in durable.iter_mut().enumerate() {
            *seq = fields.u64(104 + 8 * i)?;
        }
        Some(Self {
            vault: fields.vault(16)?,
            seq: fields.u64(32)?,
            epoch: fields.u64(40)?,
            kind,
            prev: RecordHash(fields.array(48)?),
            salt: fields.array(80)?,
            durable,
            acked: fields.u64(168)?,
            tag: fields.array(176)?,
        })
    }
}

/// Seals facts as a record. The same header and facts always give the same bytes; any others another key.
pub fn seal(keys: &KeyRing, header: Header, plain: &[u8]) -> Result<(Meta, Vec<u8>)> {
    let untagged = Header { tag: [0; 16], ..header };
    let len = plain.len() + TAG_LEN;
    let header = Header { tag: keys.record_tag(&untagged.fields(len), plain), ..header };
    let mut body = Vec::with_capacity(len);
    header.key(keys).seal(header.seq, &header.fields(len), plain, &mut body)?;
    Ok(encode(header, &body))
}

/// Opens a record's body. `Corrupt` when it was not sealed under these keys.
pub fn open(keys: &KeyRing, header: &Header, body: &[u8]) -> Result<Vec<u8>> {
    header.key(keys).open(header.seq, &header.fields(body.len()), body)
}

/// Draws a record: header, sealed `body`, zeros to whole blocks. `body` is at most [`MAX_BODY`] bytes.
pub fn encode(header: Header, body: &[u8]) -> (Meta, Vec<u8>) {
    assert!(body.len() <= MAX_BODY, "a record's body has a ceiling");
    let fields = header.fields(body.len());
    let hash = RecordHash(purpose_hash(CONTEXT, &[&fields, body]));
    let padded_len = blocks(HEADER_LEN + body.len());
    let mut out = Vec::with_capacity(padded_len);
    out.extend_from_slice(&fields);
    out.extend_from_slice(&hash.0);
    out.extend_from_slice(body);
    out.resize(padded_len, 0);
    (Meta { header, hash, padded_len }, out)
}

/// What stands at the beginning of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// A whole and valid record of this vault, with its sealed body.
    Record(Meta, &'a [u8]),
    /// A block of zeros: never written.
    Nothing,
    /// Anything else: torn, rotten, foreign.
    Junk,
}

/// Reads what stands at the start of `bytes`, which begin on a block. Never panics.
pub fn decode(vault: VaultId, bytes: &[u8]) -> Found<'_> {
    let block = &bytes[..bytes.len().min(BLOCK)];
    if block.iter().all(|b| *b == 0) {
        return Found::Nothing;
    }
    match decode_record(vault, bytes) {
        Some((meta, body)) => Found::Record(meta, body),
        None => Found::Junk,
    }
}

/// Most ways in which pages are put together before it is given up.
const MAX_WAYS: usize = 4_096;

/// Blocks that the record takes that begins with this block, by its own word; `None` when it does not begin like one.
pub fn claimed_blocks(vault: VaultId, first: &[u8]) -> Option<usize> {
    let body_len = Fields(first).u32(12)? as usize;
    (begins(vault, first) && body_len <= MAX_BODY).then(|| blocks(HEADER_LEN + body_len) / BLOCK)
}

/// A whole record out of several disks' copies of it, each with some bad blocks: `choices[i]` are the different blocks that
/// stand at block `i`, the first of them block 0. The hash of the record says which are the right ones.
pub fn piece_together(vault: VaultId, choices: &[Vec<&[u8]>]) -> Option<(Meta, Vec<u8>)> {
    let ways = choices.iter().try_fold(1usize, |ways, at| ways.checked_mul(at.len()))?;
    if ways > MAX_WAYS {
        return None;
    }
    (0..ways).find_map(|mut way| {
        let mut bytes = Vec::with_capacity(choices.len() * BLOCK);
        for at in choices {
            bytes.extend_from_slice(at[way % at.len()]);
            way /= at.len();
        }
        match decode(vault, &bytes) {
            Found::Record(meta, _) if meta.padded_len == bytes.len() => Some((meta, bytes)),
            _ => None,
        }
    })
}

/// Whether a block begins like a record of this vault, whole or not.
pub fn begins(vault: VaultId, block: &[u8]) -> bool {
    let fields = Fields(block);
    fields.array(0).as_ref() == Some(MAGIC) && fields.vault(16) == Some(vault)
}

fn decode_record(vault: VaultId, bytes: &[u8]) -> Option<(Meta, &[u8])> {
    let fields = Fields(bytes);
    if &fields.array::<8>(0)? != MAGIC || fields.u16(8)? != VERSION {
        return None;
    }
    let body_len = fields.u32(12)? as usize;
    if body_len > MAX_BODY {
        return None;
    }
    let header = Header::parse(&fields).filter(|h| h.epoch <= MAX_EPOCH)?;
    let hash = RecordHash(fields.array(HASHED)?);
    let body = bytes.get(HEADER_LEN..HEADER_LEN + body_len)?;
    let hashed = bytes.get(..HASHED)?;
    // Reserved bytes are hashed as they stand and compared with what we would draw: nothing hides in them.
    if header.vault != vault
        || hashed != header.fields(body_len)
        || purpose_hash(CONTEXT, &[hashed, body]) != hash.0
    {
        return None;
    }
    let padded_len = blocks(HEADER_LEN + body_len);
    Some((Meta { header, hash, padded_len }, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            vault: VaultId([7; 16]),
            seq: 9,
            epoch: 3,
            kind: Kind::Mount { active: DiskSet(0b101), witnessed: false },
            prev: RecordHash([1; 32]),
            salt: [2; 16],
            durable: [8, 7, 0, 0, 0, 0, 0, 0],
            acked: 7,
            tag: [3; 16],
        }
    }

    #[test]
    fn a_key_never_seals_two_contents() {
        let keys = KeyRing::new(&crate::keys::RootKey::new([3; 32]), VaultId([7; 16]));
        let sealed = |header: Header, plain: &[u8]| seal(&keys, header, plain).expect("seals");
        let (meta, bytes) = sealed(sample(), b"facts");
        assert_eq!(sealed(sample(), b"facts"), (meta, bytes.clone()), "the same is the same");
        let Found::Record(found, body) = decode(VaultId([7; 16]), &bytes) else { panic!("it reads") };
        assert_eq!((found, open(&keys, &found.header, body).expect("opens")), (meta, b"facts".to_vec()));
        // The machine's memory was put back, and it goes on differently: by other facts, or by what it knows of the disks.
        let others = [
            sealed(sample(), b"other"),
            sealed(Header { acked: 8, ..sample() }, b"facts"),
            sealed(Header { prev: RecordHash([2; 32]), ..sample() }, b"facts"),
            sealed(Header { seq: 10, ..sample() }, b"facts"),
        ];
        for (other, _) in others {
            let tag = other.header.tag;
            assert!(tag != meta.header.tag);
            let wrong = Header { tag, ..found.header };
            assert!(open(&keys, &wrong, body).is_err(), "another key");
        }
    }

    #[test]
    fn round_trip() {
        let (meta, bytes) = encode(sample(), b"sealed facts");
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(decode(VaultId([7; 16]), &bytes), Found::Record(meta, b"sealed facts"));
        assert_eq!(decode(VaultId([8; 16]), &bytes), Found::Junk, "another vault's record is junk");
        assert_eq!(decode(VaultId([7; 16]), &[0; BLOCK]), Found::Nothing);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (_, bytes) = encode(sample(), b"sealed facts");
        for bit in 0..(HEADER_LEN + 12) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(VaultId([7; 16]), &bad), Found::Junk, "bit {bit}");
        }
    }

    #[test]
    fn two_copies_with_different_bad_blocks_make_a_whole_record() {
        let vault = VaultId([7; 16]);
        let (meta, bytes) = encode(sample(), &(0..30_000u32).map(|n| n as u8).collect::<Vec<u8>>());
        let broken = |blocks: &[usize]| {
            let mut bad = bytes.clone();
            blocks.iter().for_each(|no| bad[no * BLOCK + 300] ^= 1);
            bad
        };
        let whole = |a: &[usize], b: &[usize]| {
            let (a, b) = (broken(a), broken(b));
            assert_eq!(claimed_blocks(vault, &a), Some(8));
            let choices = a.chunks(BLOCK).zip(b.chunks(BLOCK));
            let choices: Vec<Vec<&[u8]>> =
                choices.map(|(a, b)| if a == b { vec![a] } else { vec![a, b] }).collect();
            piece_together(vault, &choices)
        };
        assert_eq!(whole(&[1], &[5]), Some((meta, bytes.clone())));
        assert_eq!(whole(&[0, 2, 4], &[1, 3, 7]), Some((meta, bytes.clone())));
        assert_eq!(whole(&[3], &[3]), None, "the same block is bad on both");
        let many: Vec<&[u8]> = vec![&bytes[..BLOCK]; 9];
        assert_eq!(piece_together(vault, &vec![many; 8]), None, "too many ways");
    }

    #[test]
    fn cut_short_is_junk() {
        let (_, bytes) = encode(sample(), &[5; 9000]);
        for len in [1, 100, HEADER_LEN, BLOCK, 2 * BLOCK, HEADER_LEN + 8999] {
            assert_eq!(decode(VaultId([7; 16]), &bytes[..len]), Found::Junk, "{len}");
        }
    }
}
