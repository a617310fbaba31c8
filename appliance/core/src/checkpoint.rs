//! A checkpoint file: all facts up to an acknowledged record, sealed, with the point of the chain it stands for.
//!
//! ```text
//! header (4096) | piece 0 | piece 1 | …                      each 65536 bytes, the last one shorter
//! piece = sum (32) | sealed( where the first fact begins u32 | part of the stream )
//! ```
//!
//! The stream is the facts, one after the other. It is sealed in pieces so that a wrong byte costs the facts of one piece and not
//! all of them, and so that copies with different bad pieces make a whole one together. Each piece can be judged without any
//! key, opened by itself, and says where the first fact begins in it.

use crate::aead::TAG_LEN;
use crate::bytes::{BLOCK, Fields, purpose_hash, put};
use crate::coord::{Anchor, Spot};
use crate::fact::Fact;
use crate::fault::{Fault, Result};
use crate::ids::{RecordHash, VaultId};
use crate::keys::KeyRing;
use std::borrow::Borrow;

const MAGIC: &[u8; 8] = b"COFCKPT1";
const VERSION: u16 = 1;
const HASHED: usize = 128;
const HASH_AT: usize = HASHED;
const HASH_LEN: usize = 32;
const CONTEXT: &str = "coffre 2026 v1 checkpoint";
const PIECE_CONTEXT: &str = "coffre 2026 v1 checkpoint piece";
/// Bytes of a piece in the file; the last one may be shorter.
pub const PIECE_LEN: usize = 64 << 10;
/// Where the first fact begins, in front of a piece's part of the stream.
const FIRST_LEN: usize = 4;
/// No fact begins in this piece.
const NONE: u32 = u32::MAX;
/// Bytes of the stream in one piece.
const PART_LEN: usize = PIECE_LEN - HASH_LEN - TAG_LEN - FIRST_LEN;
/// Largest checkpoint file in bytes.
pub const MAX_CHECKPOINT_LEN: u64 = 4 << 30;

/// What the header of a checkpoint file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The point of the chain that it stands for.
    pub anchor: Anchor,
    /// Bytes of its file.
    pub file_len: u64,
    /// Facts in it.
    pub facts: u64,
}

/// Draws a checkpoint file. `salt` is random and never used again. The facts may come one by one.
pub fn encode(
    keys: &KeyRing,
    anchor: Anchor,
    salt: [u8; 16],
    facts: impl IntoIterator<Item: Borrow<Fact>>,
) -> Result<Vec<u8>> {
    let (mut stream, mut firsts, mut count) = (Vec::new(), Vec::new(), 0u64);
    for fact in facts {
        let (piece, at) = (stream.len() / PART_LEN, (stream.len() % PART_LEN) as u32);
        firsts.resize(firsts.len().max(piece), NONE);
        if firsts.len() == piece {
            firsts.push(at);
        }
        minicbor::Encoder::new(&mut stream)
            .encode(fact.borrow())
            .map_err(|e| Fault::permanent(format!("checkpoint: a fact cannot be written: {e}")))?;
        count += 1;
    }
    let pieces = pieces_of(stream.len() as u64);
    firsts.resize(pieces as usize, NONE);
    // Exactly as long as it will be: it is kept.
    let mut out = Vec::with_capacity(file_len(stream.len() as u64).unwrap_or(0) as usize);
    out.resize(BLOCK, 0);
    put(&mut out, 0, MAGIC);
    put(&mut out, 8, &VERSION.to_le_bytes());
    put(&mut out, 16, &keys.vault().0);
    put(&mut out, 32, &anchor.seq.to_le_bytes());
    put(&mut out, 40, &anchor.epoch.to_le_bytes());
    put(&mut out, 48, &anchor.hash.0);
    put(&mut out, 80, &anchor.end.segment.to_le_bytes());
    put(&mut out, 84, &anchor.end.offset.to_le_bytes());
    put(&mut out, 88, &salt);
    put(&mut out, 104, &(stream.len() as u64).to_le_bytes());
    put(&mut out, 112, &count.to_le_bytes());
    let aad = out[..HASHED].to_vec();
    let hash = purpose_hash(CONTEXT, &[&aad]);
    put(&mut out, HASH_AT, &hash);
    let key = keys.checkpoint_key(&salt);
    let mut plain = Vec::with_capacity(FIRST_LEN + PART_LEN);
    for (no, first) in firsts.iter().enumerate() {
        let part = &stream[no * PART_LEN..stream.len().min((no + 1) * PART_LEN)];
        plain.clear();
        plain.extend_from_slice(&first.to_le_bytes());
        plain.extend_from_slice(part);
        let at = out.len();
        out.resize(at + HASH_LEN, 0);
        key.seal(no as u64, &aad, &plain, &mut out)?;
        let sum = sum(&hash, no as u64, &out[at + HASH_LEN..]);
        put(&mut out, at, &sum);
    }
    Ok(out)
}

/// What the first block of a file says, when it is the header of a checkpoint of this vault. Needs no key: that the header is
/// ours shows when a piece opens.
pub fn head(vault: VaultId, block: &[u8]) -> Option<Head> {
    let fields = Fields(block);
    let hashed = block.get(..HASHED)?;
    if &fields.array::<8>(0)? != MAGIC
        || fields.u16(8)? != VERSION
        || fields.vault(16)? != vault
        || hashed[10..16].iter().chain(&hashed[120..]).any(|b| *b != 0)
        || fields.array::<HASH_LEN>(HASH_AT)? != purpose_hash(CONTEXT, &[hashed])
        || block.get(HASH_AT + HASH_LEN..BLOCK)?.iter().any(|b| *b != 0)
    {
        return None;
    }
    let end = Spot { segment: fields.u32(80)?, offset: fields.u32(84)? };
    let anchor =
        Anchor { seq: fields.u64(32)?, epoch: fields.u64(40)?, hash: RecordHash(fields.array(48)?), end };
    Some(Head { anchor, file_len: file_len(fields.u64(104)?)?, facts: fields.u64(112)? })
}

/// The numbers of the pieces that do not open, of a file that is as long as its header says; `None` for any other.
pub fn lacking(keys: &KeyRing, file: &[u8]) -> Option<Vec<u64>> {
    head(keys.vault(), file).filter(|head| head.file_len == file.len() as u64)?;
    let all = 0..pieces(file).count() as u64;
    Some(all.filter(|no| open_piece(keys, file, *no).is_none()).collect())
}

/// The point a checkpoint file stands for, when the file is of this vault and all its sums are right. Needs no key, so anybody can
/// make such a file.
pub fn verify(vault: VaultId, file: &[u8]) -> Option<Anchor> {
    let head = head(vault, file).filter(|head| head.file_len == file.len() as u64)?;
    let hash = Fields(file).array(HASH_AT)?;
    (0u64..).zip(pieces(file)).all(|(no, piece)| is_whole(&hash, no, piece)).then_some(head.anchor)
}

/// Whether a file was sealed under these keys: one of its pieces opens, and with it the header.
pub fn is_ours(keys: &KeyRing, file: &[u8]) -> bool {
    let pieces = pieces(file).count() as u64;
    (0..pieces).any(|no| open_piece(keys, file, no).is_some())
}

/// One whole file out of several that have the same header, each piece from one in which it opens; `None` when a piece opens in
/// none of them.
pub fn mend(keys: &KeyRing, copies: &[&[u8]]) -> Option<Vec<u8>> {
    let first = *copies.first()?;
    let mut whole = first.to_vec();
    for no in lacking(keys, first)? {
        let same = |c: &&&[u8]| c.len() == first.len() && c.get(..BLOCK) == first.get(..BLOCK);
        let good = copies.iter().filter(same).find(|c| open_piece(keys, c, no).is_some())?;
        whole[place(no, first.len())].copy_from_slice(&good[place(no, good.len())]);
    }
    Some(whole)
}

/// Opens a whole checkpoint file and gives its facts one by one. On an error some may have been given already.
pub fn open_each(keys: &KeyRing, file: &[u8], take: impl FnMut(Fact)) -> Result<()> {
    match salvage_each(keys, file, take)? {
        0 => Ok(()),
        lost => Err(Fault::corrupt(format!("checkpoint: {lost} of its facts are not readable"))),
    }
}

/// Opens what can be opened of a checkpoint file and gives its facts one by one, in order. Returns how many are lost.
/// `Corrupt` when nothing of it can be believed.
pub fn salvage_each(keys: &KeyRing, file: &[u8], mut take: impl FnMut(Fact)) -> Result<u64> {
    let head =
        head(keys.vault(), file).ok_or_else(|| Fault::corrupt("checkpoint: no header of this vault"))?;
    if !is_ours(keys, file) {
        return Err(Fault::corrupt("checkpoint: it does not open with this vault's keys"));
    }
    let mut given = 0u64;
    // What of the stream has no gap and is not read yet; nothing while the beginning of a fact is looked for.
    let mut run: Option<Vec<u8>> = Some(Vec::new());
    for no in 0..pieces(file).count() as u64 {
        let Some(plain) = open_piece(keys, file, no) else {
            run = None;
            continue;
        };
        let (first, part) = plain.split_at_checked(FIRST_LEN).unwrap_or((&[], &[]));
        let at = first.try_into().map_or(NONE, u32::from_le_bytes) as usize;
        run = match run {
            Some(mut run) => {
                run.extend_from_slice(part);
                Some(run)
            }
            None => part.get(at..).map(<[u8]>::to_vec),
        };
        if let Some(run) = &mut run {
            let mut decoder = minicbor::Decoder::new(run);
            let mut read = 0;
            // The last one may go on in the next piece.
            while let Ok(fact) = decoder.decode() {
                take(fact);
                given += 1;
                read = decoder.position();
            }
            run.drain(..read);
        }
    }
    let left = run.is_some_and(|run| !run.is_empty());
    Ok(head.facts.saturating_sub(given).max(u64::from(left)))
}

/// Opens a whole checkpoint file.
pub fn open(keys: &KeyRing, file: &[u8]) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    open_each(keys, file, |fact| facts.push(fact))?;
    Ok(facts)
}

/// There is one piece at least: it proves the header.
fn pieces_of(stream_len: u64) -> u64 {
    stream_len.div_ceil(PART_LEN as u64).max(1)
}

fn file_len(stream_len: u64) -> Option<u64> {
    let frames = pieces_of(stream_len).checked_mul((PIECE_LEN - PART_LEN) as u64)?;
    stream_len.checked_add(frames)?.checked_add(BLOCK as u64).filter(|len| *len <= MAX_CHECKPOINT_LEN)
}

fn pieces(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.get(BLOCK..).unwrap_or_default().chunks(PIECE_LEN)
}

fn place(no: u64, file_len: usize) -> std::ops::Range<usize> {
    let start = BLOCK + no as usize * PIECE_LEN;
    start..file_len.min(start + PIECE_LEN)
}

fn sum(header: &[u8; HASH_LEN], no: u64, sealed: &[u8]) -> [u8; HASH_LEN] {
    purpose_hash(PIECE_CONTEXT, &[header, &no.to_le_bytes(), sealed])
}

fn is_whole(header: &[u8; HASH_LEN], no: u64, piece: &[u8]) -> bool {
    piece.split_at_checked(HASH_LEN).is_some_and(|(s, sealed)| s == sum(header, no, sealed))
}

fn open_piece(keys: &KeyRing, file: &[u8], no: u64) -> Option<Vec<u8>> {
    let fields = Fields(file);
    let (hash, salt) = (fields.array(HASH_AT)?, fields.array(88)?);
    let piece = file.get(place(no, file.len()))?;
    let sealed = piece.get(HASH_LEN..).filter(|_| is_whole(&hash, no, piece))?;
    keys.checkpoint_key(&salt).open(no, &file[..HASHED], sealed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PackId;
    use crate::keys::RootKey;

    fn keys() -> KeyRing {
        KeyRing::new(&RootKey::new([3; 32]), VaultId([1; 16]))
    }

    fn anchor() -> Anchor {
        Anchor { seq: 5, epoch: 2, hash: RecordHash([8; 32]), end: Spot { segment: 1, offset: 4096 } }
    }

    fn facts(count: u32) -> Vec<Fact> {
        let id = |n: u32, tail: u8| {
            PackId(std::array::from_fn(|i| n.to_le_bytes().get(i).copied().unwrap_or(tail)))
        };
        (0..count).map(|n| Fact::PackDropped { id: id(n, 1), into: id(n, 2) }).collect()
    }

    #[test]
    fn round_trip_and_flips() {
        let keys = keys();
        for count in [0, 1] {
            let facts = facts(count);
            let file = encode(&keys, anchor(), [6; 16], &facts).expect("encodes");
            assert_eq!(verify(keys.vault(), &file), Some(anchor()));
            assert_eq!(open(&keys, &file).expect("opens"), facts);
            assert!(is_ours(&keys, &file));
            for bit in 0..file.len() * 8 {
                let mut bad = file.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(verify(keys.vault(), &bad), None, "bit {bit}");
            }
            assert_eq!(verify(VaultId([2; 16]), &file), None);
            assert_eq!(verify(keys.vault(), &file[..file.len() - 1]), None);
            assert_eq!(verify(keys.vault(), &[&file[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn a_wrong_byte_costs_the_facts_of_its_piece_and_copies_make_a_whole_one() {
        let keys = keys();
        let facts = facts(8_000);
        let file = encode(&keys, anchor(), [6; 16], &facts).expect("encodes");
        let pieces = (file.len() - BLOCK).div_ceil(PIECE_LEN) as u64;
        assert!(pieces >= 4, "{pieces}");
        for no in 0..pieces {
            let mut bad = file.clone();
            let range = place(no, file.len());
            bad[(range.start + range.end) / 2] ^= 1;
            assert_eq!(lacking(&keys, &bad), Some(vec![no]));
            assert_eq!(verify(keys.vault(), &bad), None);
            let mut left = Vec::new();
            let lost = salvage_each(&keys, &bad, |fact| left.push(fact)).expect("most of it");
            assert_eq!(left.len() as u64 + lost, facts.len() as u64, "piece {no}");
            let most = PART_LEN as u64 / 36 + 2;
            assert!(lost <= most && lost > 0, "{lost} facts of {most} in a piece");
            let at = facts.iter().zip(&left).take_while(|(a, b)| a == b).count();
            assert_eq!(left[at..], facts[at + lost as usize..], "the rest is there, in order");
            assert!(open(&keys, &bad).is_err());
            let mut other = file.clone();
            other[place((no + 1) % pieces, file.len()).start] ^= 1;
            assert_eq!(mend(&keys, &[&bad, &other]).as_ref(), Some(&file));
            assert_eq!(mend(&keys, &[&bad, &bad]), None);
        }
    }

    #[test]
    fn what_is_sealed_under_other_keys_is_not_ours() {
        let keys = keys();
        let other = KeyRing::new(&RootKey::new([4; 32]), VaultId([1; 16]));
        let forged = encode(&other, anchor(), [6; 16], facts(3)).expect("encodes");
        assert_eq!(verify(keys.vault(), &forged), Some(anchor()), "its sums need no key");
        assert!(!is_ours(&keys, &forged) && salvage_each(&keys, &forged, |_| {}).is_err());
    }
}
