//! Every key of a vault, derived from one root key; nothing but the root is ever kept.
//!
//! Two steps. First one *branch* per purpose: `blake3::derive_key(CONTEXT, root key)`, where the context strings
//! below are fixed for ever. Then, within a branch, keyed BLAKE3 over the vault id followed by what the key is
//! for: a pack id, a salt, a client's name. Fixed lengths come first and at most one thing of variable length
//! last, so two different purposes never hash the same bytes. A clone of a vault that is given a new id shares
//! no key with the original, even with the same root.
//!
//! Each AEAD key is bound to something random that is never used twice (a pack id, the salt of a mount or of a
//! checkpoint). That is what lets nonces be plain counters: see `aead.rs`. The keys of journal records are bound to what they
//! seal besides: a salt lives as long as a mount, and a machine's memory may be put back to a moment in it.

use crate::aead::AeadKey;
use crate::ids::{ChunkId, PackId, RecordHash, VaultId};
use crate::names::ClientName;
use crate::steps::Steps;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Blobs in packs.
const DATA: &str = "coffre 2026 v1 data";
/// Tables of contents of packs.
const TOC: &str = "coffre 2026 v1 table of contents";
/// The bytes between the last blob and the table of contents, which must look like blobs.
const PADDING: &str = "coffre 2026 v1 pack padding";
/// Bodies of journal records.
const JOURNAL: &str = "coffre 2026 v1 journal";
/// What ties a record's key to its content.
const JOURNAL_CONTENT: &str = "coffre 2026 v1 journal content";
/// Checkpoints of the journal.
const CHECKPOINT: &str = "coffre 2026 v1 checkpoint";
/// The keyed hash in a disk's label.
const LABEL: &str = "coffre 2026 v1 label";
/// Chunk ids.
const CHUNK_ID: &str = "coffre 2026 v1 chunk id";
/// Where streams are cut into chunks.
const GEAR: &str = "coffre 2026 v1 gear";
/// Hashes of clients' secrets.
const CLIENT_SECRET: &str = "coffre 2026 v1 client secret";
/// The private key of the box's certificate authority.
const AUTHORITY: &str = "coffre 2026 v1 authority";
/// The private key of the certificate that serves.
const LEAF: &str = "coffre 2026 v1 leaf";
/// The key that signs receipts.
const RECEIPT: &str = "coffre 2026 v1 receipt";

/// Order of the P-256 group, big-endian (NIST SP 800-186, 3.2.1.3): a private key is between 1 and this minus 1.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The one secret of a vault. 32 bytes from the system's generator; erased from memory when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// The root key made of these bytes, which must come from a generator fit for keys.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the key slots and for nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(hidden)")
    }
}

type Branch = Zeroizing<[u8; 32]>;

/// The branches of one vault's root key. Made once, shared by reference.
pub struct KeyRing {
    vault: VaultId,
    data: Branch,
    toc: Branch,
    padding: Branch,
    journal: Branch,
    journal_content: Branch,
    checkpoint: Branch,
    label: Branch,
    chunk_id: Branch,
    gear: Branch,
    client_secret: Branch,
    authority: Branch,
    leaf: Branch,
    receipt: Branch,
}

/// The key of one client's chunk ids: derive it once per stream.
#[derive(Clone)]
pub struct DomainKey(Zeroizing<[u8; 32]>);

/// What makes one client's chunk boundaries its own: see `chunk.rs`.
#[derive(Clone)]
pub struct GearSeed(pub(crate) Zeroizing<[u8; 32]>);

impl KeyRing {
    /// Derives the branches of `root` for the vault `vault`.
    pub fn new(root: &RootKey, vault: VaultId) -> Self {
        let branch = |context| Zeroizing::new(blake3::derive_key(context, &root.0));
        Self {
            vault,
            data: branch(DATA),
            toc: branch(TOC),
            padding: branch(PADDING),
            journal: branch(JOURNAL),
            journal_content: branch(JOURNAL_CONTENT),
            checkpoint: branch(CHECKPOINT),
            label: branch(LABEL),
            chunk_id: branch(CHUNK_ID),
            gear: branch(GEAR),
            client_secret: branch(CLIENT_SECRET),
            authority: branch(AUTHORITY),
            leaf: branch(LEAF),
            receipt: branch(RECEIPT),
        }
    }

    /// Whose keys these are.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// The key of the blobs of one pack; the nonce counter is the blob's position.
    pub fn pack_key(&self, pack: PackId) -> AeadKey {
        AeadKey::new(&self.derive(&self.data, &pack.0))
    }

    /// The key of the table of contents of one pack; it seals once, with counter 0.
    pub fn toc_key(&self, pack: PackId) -> AeadKey {
        AeadKey::new(&self.derive(&self.toc, &pack.0))
    }

    /// The key of one journal record: by the random salt in its Mount record, its number, the hash of the record before it, and
    /// its content's tag. A box whose memory was put back to an earlier moment, and that goes on differently from there, seals
    /// under other keys.
    pub fn record_key(&self, salt: &[u8; 16], seq: u64, prev: &RecordHash, tag: &[u8; 16]) -> AeadKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.journal);
        hasher.update(&self.vault.0).update(salt).update(&seq.to_le_bytes()).update(&prev.0).update(tag);
        AeadKey::new(&Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// The tag of a record's content: a keyed hash of its header, without the tag, and of its facts.
    pub fn record_tag(&self, header: &[u8], plain: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.journal_content);
        let hash = hasher.update(&self.vault.0).update(header).update(plain).finalize();
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    /// The key of one checkpoint, by its random salt.
    pub fn checkpoint_key(&self, salt: &[u8; 16]) -> AeadKey {
        AeadKey::new(&self.derive(&self.checkpoint, salt))
    }

    /// The keyed hash of a label's bytes: nobody makes a label without the root key. Compare in constant time.
    pub(crate) fn label_mac(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.derive(&self.label, &[]), bytes)
    }

    /// The key of a client's chunk ids. Deduplication stays within one client: with one key for all, a client
    /// could learn from the size that a push adds whether somebody else already keeps the same bytes.
    pub fn domain(&self, client: &ClientName) -> DomainKey {
        DomainKey(self.derive(&self.chunk_id, client.as_str().as_bytes()))
    }

    /// The id of one chunk in the domain of `client`. For many chunks, take [`domain`](Self::domain) once.
    pub fn chunk_id(&self, client: &ClientName, plain: &[u8]) -> ChunkId {
        self.domain(client).chunk_id(plain)
    }

    /// The seed of a client's chunk boundaries, so that the lengths of its chunks tell nothing about known files.
    pub fn gear_seed(&self, client: &ClientName) -> GearSeed {
        GearSeed(self.derive(&self.gear, client.as_str().as_bytes()))
    }

    /// What is kept of a client's secret. Compare in constant time.
    ///
    /// A fast hash is right here: the box makes the secrets itself with at least 160 random bits, so there is
    /// nothing to guess and a slow hash would only let strangers burn the processor at the door. The hash is
    /// keyed, so the journal alone does not even allow a test of a stolen secret.
    pub fn client_secret_hash(&self, client: &ClientName, secret: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.client_secret);
        hasher.update(&self.vault.0);
        // A name has at most 32 bytes; its length in front keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(&[client.as_str().len() as u8]);
        hasher.update(client.as_str().as_bytes());
        hasher.update(secret.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The private key of the box's certificate authority: a P-256 scalar, big-endian, 1 to order - 1.
    pub fn authority_scalar(&self) -> [u8; 32] {
        self.scalar(&self.authority)
    }

    /// The private key of the leaves under it, of the same form. One for all of them: clients that pin the key of what
    /// serves find it again, whatever names and days its certificate has.
    pub fn leaf_scalar(&self) -> [u8; 32] {
        self.scalar(&self.leaf)
    }

    fn scalar(&self, branch: &Branch) -> [u8; 32] {
        // One candidate in 2^32 is out of range, so the loop all but never turns twice; the counter makes it
        // the same scalar on every start.
        (0u32..)
            .map(|counter| *self.derive(branch, &counter.to_le_bytes()))
            .find(|scalar| *scalar != [0; 32] && *scalar < P256_ORDER)
            .expect("one of 2^32 candidates is in range")
    }

    /// The Ed25519 seed of the key that signs receipts.
    pub fn receipt_seed(&self) -> [u8; 32] {
        *self.derive(&self.receipt, &[])
    }

    /// A stream of bytes that nobody without the key can tell from sealed blobs, for one pack.
    pub(crate) fn padding(&self, pack: PackId) -> blake3::OutputReader {
        let mut hasher = blake3::Hasher::new_keyed(&self.padding);
        hasher.update(&self.vault.0).update(&pack.0).finalize_xof()
    }

    fn derive(&self, branch: &Branch, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_keyed(branch);
        hasher.update(&self.vault.0).update(purpose);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl DomainKey {
    /// The id of a chunk in this domain: keyed BLAKE3 of its plain bytes.
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.0, plain).as_bytes())
    }

    /// The same of bytes that lie in pieces.
    pub fn chunk_id_of<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> ChunkId {
        let mut steps = Steps::new(blake3::Hasher::new_keyed(&self.0));
        for piece in pieces {
            steps.update(piece);
        }
        ChunkId(*steps.finalize().as_bytes())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({:?}, hidden)", self.vault)
    }
}

impl fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainKey(hidden)")
    }
}

impl fmt::Debug for GearSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GearSeed(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ring(root: u8, vault: u8) -> KeyRing {
        KeyRing::new(&RootKey::new([root; 32]), VaultId([vault; 16]))
    }

    /// One value out of every method, so that no two of them can ever be the same.
    fn all(keys: &KeyRing) -> Vec<Vec<u8>> {
        let client: ClientName = "pc".parse().expect("valid");
        let seal = |key: AeadKey| {
            let mut out = Vec::new();
            key.seal(0, &[], &[0; 32], &mut out).expect("seals");
            out
        };
        let mut padding = [0; 32];
        keys.padding(PackId([1; 16])).fill(&mut padding);
        vec![
            seal(keys.pack_key(PackId([1; 16]))),
            seal(keys.pack_key(PackId([2; 16]))),
            seal(keys.toc_key(PackId([1; 16]))),
            seal(keys.record_key(&[1; 16], 1, &RecordHash([1; 32]), &[1; 16])),
            seal(keys.record_key(&[1; 16], 2, &RecordHash([1; 32]), &[1; 16])),
            seal(keys.record_key(&[1; 16], 1, &RecordHash([2; 32]), &[1; 16])),
            seal(keys.record_key(&[1; 16], 1, &RecordHash([1; 32]), &[2; 16])),
            keys.record_tag(b"header", b"plain").to_vec(),
            seal(keys.checkpoint_key(&[1; 16])),
            keys.chunk_id(&client, b"x").0.to_vec(),
            keys.chunk_id(&"pd".parse().expect("valid"), b"x").0.to_vec(),
            keys.gear_seed(&client).0.to_vec(),
            keys.client_secret_hash(&client, "x").to_vec(),
            keys.authority_scalar().to_vec(),
            keys.leaf_scalar().to_vec(),
            keys.receipt_seed().to_vec(),
            padding.to_vec(),
        ]
    }

    #[test]
    fn an_id_does_not_depend_on_the_pieces() {
        let domain = ring(1, 2).domain(&"pc".parse().expect("valid"));
        let plain: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        for len in [0, 1, 16_384, plain.len()] {
            for piece in [1, 1000, 16_384, 50_000] {
                let pieces = plain[..len].chunks(piece);
                assert_eq!(domain.chunk_id_of(pieces), domain.chunk_id(&plain[..len]), "{len} by {piece}");
            }
        }
    }

    #[test]
    fn no_two_purposes_share_a_key() {
        let mut seen = HashSet::new();
        for keys in [ring(1, 1), ring(1, 2), ring(2, 1)] {
            for value in all(&keys) {
                assert!(seen.insert(value));
            }
        }
        assert_eq!(all(&ring(1, 1)), all(&ring(1, 1)));
    }

    #[test]
    fn derivations_never_change() {
        let keys = ring(1, 2);
        let client: ClientName = "pc-fatima".parse().expect("valid");
        assert_eq!(
            [
                hex::encode(keys.chunk_id(&client, b"chunk").0),
                hex::encode(keys.client_secret_hash(&client, "secret")),
                hex::encode(keys.authority_scalar()),
                hex::encode(keys.leaf_scalar()),
                hex::encode(keys.receipt_seed()),
            ],
            [
                "e53a80ec3891ce3261c310e2a458c1e4241ae7090892dba2647fd215bc88ab1c",
                "1d9489cfec0f66a8f42c2d3f200085b233951ee45e9f6b3004e975d6769f445a",
                "57fa59830b01aa8be6fa4c810ede38cb059ce1226b2d366f03ef1d30c773f29e",
                "5c256d43452961e8deccf3dc2aedb7a686f1dfe7d889ab6975a96362fec3b7fe",
                "caa3a74472f16968ae7cb71a1664d2e751a50651e3c79ccc350a399308a14a1f"
            ]
        );
    }

    #[test]
    fn names_and_secrets_do_not_run_into_each_other() {
        let keys = ring(1, 1);
        let (ab, a) = ("ab".parse().expect("valid"), "a".parse().expect("valid"));
        assert_ne!(keys.client_secret_hash(&ab, "c"), keys.client_secret_hash(&a, "bc"));
    }

    #[test]
    fn the_order_of_p256_is_the_right_number() {
        use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
        // The scalar order - 1 is the negative of 1: a valid key, with the generator's x coordinate.
        let mut last = P256_ORDER;
        last[31] -= 1;
        let x = |scalar: &[u8; 32]| {
            let key = PrivateKey::from_private_key(&ECDH_P256, scalar);
            key.map(|key| key.compute_public_key().expect("computes").as_ref()[1..33].to_vec())
        };
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(x(&last).expect("in range"), x(&one).expect("in range"));
        assert!(x(&P256_ORDER).is_err());
        let keys = ring(1, 1);
        assert!(x(&keys.authority_scalar()).is_ok() && x(&keys.leaf_scalar()).is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?} {:?}", RootKey::new([0xab; 32]), ring(0xab, 1));
        assert!(!text.contains("abab") && !text.contains("171"), "{text}");
    }
}
