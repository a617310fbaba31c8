//! A checkpoint file: all facts up to an acknowledged record, sealed, with the point of the chain it stands for.

use crate::bytes::{BLOCK, Fields, purpose_hash, put};
use crate::coord::{Anchor, Spot};
use crate::fact::{Fact, decode_each, encode_each};
use crate::fault::{Fault, Result};
use crate::ids::{RecordHash, VaultId};
use crate::keys::KeyRing;
use std::borrow::Borrow;

const MAGIC: &[u8; 8] = b"COFCKPT1";
const VERSION: u16 = 1;
const HASHED: usize = 128;
const HASH_AT: usize = HASHED;
const CONTEXT: &str = "coffre 2026 v1 checkpoint";
/// Largest checkpoint file in bytes.
pub const MAX_CHECKPOINT_LEN: u64 = 4 << 30;

/// Draws a checkpoint file. `salt` is random and never used again. The facts may come one by one.
pub fn encode(
    keys: &KeyRing,
    anchor: Anchor,
    salt: [u8; 16],
    facts: impl IntoIterator<Item: Borrow<Fact>>,
) -> Result<Vec<u8>> {
    let (buffer, start) = encode_each(facts);
    let plain = &buffer[start..];
    // Exactly as long as it will be: it is kept.
    let mut out = Vec::with_capacity(BLOCK + plain.len() + crate::aead::TAG_LEN);
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
    put(&mut out, 104, &(plain.len() as u64 + crate::aead::TAG_LEN as u64).to_le_bytes());
    let aad = out[..HASHED].to_vec();
    keys.checkpoint_key(&salt).seal(0, &aad, plain, &mut out)?;
    let hash = purpose_hash(CONTEXT, &[&aad, &out[BLOCK..]]);
    put(&mut out, HASH_AT, &hash);
    Ok(out)
}

/// The point a checkpoint file stands for, when the file is whole and of this vault. Needs no key.
pub fn verify(vault: VaultId, file: &[u8]) -> Option<Anchor> {
    let fields = Fields(file);
    let body_len = usize::try_from(fields.u64(104)?).ok()?;
    let body = file.get(BLOCK..)?;
    if &fields.array::<8>(0)? != MAGIC
        || fields.u16(8)? != VERSION
        || fields.vault(16)? != vault
        || body.len() != body_len
        || fields.array::<32>(HASH_AT)? != purpose_hash(CONTEXT, &[&file[..HASHED], body])
        || file[HASH_AT + 32..BLOCK].iter().any(|b| *b != 0)
    {
        return None;
    }
    let end = Spot { segment: fields.u32(80)?, offset: fields.u32(84)? };
    Some(Anchor { seq: fields.u64(32)?, epoch: fields.u64(40)?, hash: RecordHash(fields.array(48)?), end })
}

/// Opens a verified checkpoint file and gives its facts one by one. On an error some may have been given already.
pub fn open_each(keys: &KeyRing, file: &[u8], take: impl FnMut(Fact)) -> Result<()> {
    let bad = |why: &str| Fault::corrupt(format!("checkpoint: {why}"));
    let salt = Fields(file).array(88).ok_or_else(|| bad("cut short"))?;
    let (head, body) = file.split_at_checked(BLOCK).ok_or_else(|| bad("cut short"))?;
    let plain = keys.checkpoint_key(&salt).open(0, &head[..HASHED], body)?;
    decode_each(&plain, take).ok_or_else(|| bad("its facts are not readable"))
}

/// Opens a verified checkpoint file.
pub fn open(keys: &KeyRing, file: &[u8]) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    open_each(keys, file, |fact| facts.push(fact))?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PackId;
    use crate::keys::RootKey;

    #[test]
    fn round_trip_and_flips() {
        let keys = KeyRing::new(&RootKey::new([3; 32]), VaultId([1; 16]));
        let anchor =
            Anchor { seq: 5, epoch: 2, hash: RecordHash([8; 32]), end: Spot { segment: 1, offset: 4096 } };
        let facts = vec![Fact::PackDropped { id: PackId([1; 16]), into: PackId([2; 16]) }];
        let file = encode(&keys, anchor, [6; 16], &facts).expect("encodes");
        assert_eq!(verify(keys.vault(), &file), Some(anchor));
        assert_eq!(open(&keys, &file).expect("opens"), facts);
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(keys.vault(), &bad), None, "bit {bit}");
        }
        assert_eq!(verify(VaultId([2; 16]), &file), None);
    }
}
