//! Sealing: AES-256-GCM with nonces that count, and the Ed25519 signature of receipts.
//!
//! A nonce that repeats under one key breaks GCM altogether, and drawing 96 random bits for each of billions of
//! blobs comes too close to repeating one. So nothing is drawn: every pack, and every mount's journal, has a key
//! of its own (`keys.rs`), and within that key the nonce is a position that is used once.
//!
//! ```text
//! nonce (12 bytes) = 00 00 00 00 | counter, u64 big-endian
//! sealed           = ciphertext (as long as the plaintext) | tag (16 bytes)
//! ```

use crate::fault::{Fault, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// An AES-256-GCM key. Whoever holds it counts: the same counter never seals twice.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// The key made of these 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(unbound))
    }

    /// Appends `plain` sealed under `counter` to `out`: ciphertext, then the tag. `aad` must be the same to
    /// open it. The counter must never have sealed anything else under this key.
    pub fn seal(&self, counter: u64, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + plain.len() + TAG_LEN, 0);
        self.seal_into(counter, aad, plain, &mut out[start..])
    }

    /// As [`seal`](Self::seal), into `out`, which is [`TAG_LEN`] bytes longer than `plain`; all of it is written.
    pub fn seal_into(&self, counter: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) -> Result<()> {
        if out.len() != plain.len() + TAG_LEN {
            return Err(Fault::misuse(format!("{} bytes do not seal into {}", plain.len(), out.len())));
        }
        let (cipher, tag) = out.split_at_mut(plain.len());
        self.0
            .seal_out_of_place_scatter(nonce(counter), Aad::from(aad), plain, cipher, &[], tag)
            .map_err(|_| Fault::permanent(format!("the cipher refused to seal {} bytes", plain.len())))
    }

    /// Opens `sealed` (ciphertext and tag). [`Class::Corrupt`](crate::fault::Class::Corrupt) when it is not what
    /// was sealed under this key, counter and `aad`.
    pub fn open(&self, counter: u64, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.open_into(counter, aad, sealed, &mut out)?;
        Ok(out)
    }

    /// As [`open`](Self::open), into `out`, whose content is replaced; it is empty after an error.
    pub fn open_into(&self, counter: u64, aad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<()> {
        // What was in it is overwritten: only what is new needs to be made zero.
        out.resize(sealed.len().saturating_sub(TAG_LEN), 0);
        self.open_to(counter, aad, sealed, out).inspect_err(|_| out.clear())
    }

    /// As [`open`](Self::open), to `out`, which is [`TAG_LEN`] bytes shorter than `sealed`. What is in it after an error
    /// means nothing.
    pub fn open_to(&self, counter: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<()> {
        let bad = || Fault::corrupt("sealed bytes do not open: damaged, or not the ones expected here");
        let (cipher, tag) =
            sealed.split_at_checked(out.len()).filter(|(_, t)| t.len() == TAG_LEN).ok_or_else(bad)?;
        self.0.open_separate_gather(nonce(counter), Aad::from(aad), cipher, tag, out).map_err(|_| bad())
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(hidden)")
    }
}

/// The Ed25519 signature of `message` by the key of this seed.
pub fn sign_receipt(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(receipt_key(seed).sign(message).as_ref());
    out
}

/// The public key that [`sign_receipt`] with this seed can be verified with.
pub fn receipt_public_key(seed: &[u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(receipt_key(seed).public_key().as_ref());
    out
}

fn receipt_key(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed")
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Class;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn seals_as_aes_256_gcm_does_elsewhere() {
        // GCM specification (McGrew and Viega), test case 14: zero key, zero nonce, one zero block.
        let mut out = vec![9];
        AeadKey::new(&[0; 32]).seal(0, &[], &[0; 16], &mut out).expect("seals");
        assert_eq!(hex::encode(&out), "09cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn opens_only_the_same_key_counter_aad_and_bytes() {
        let key = AeadKey::new(&[7; 32]);
        let mut sealed = Vec::new();
        key.seal(5, b"where", b"what", &mut sealed).expect("seals");
        assert_eq!(key.open(5, b"where", &sealed).expect("opens"), b"what");
        assert_eq!(key.open(6, b"where", &sealed).expect_err("counter").class, Class::Corrupt);
        assert!(key.open(5, b"there", &sealed).is_err());
        assert!(AeadKey::new(&[8; 32]).open(5, b"where", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(5, b"where", &sealed).is_err(), "bit {bit}");
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..sealed.len() {
            assert!(key.open(5, b"where", &sealed[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn receipts_verify_with_the_public_key_alone() {
        let seed = [3; 32];
        let signature = sign_receipt(&seed, b"receipt");
        let public = receipt_public_key(&seed);
        let key = UnparsedPublicKey::new(&ED25519, public);
        assert!(key.verify(b"receipt", &signature).is_ok());
        assert!(key.verify(b"Receipt", &signature).is_err());
    }
}
