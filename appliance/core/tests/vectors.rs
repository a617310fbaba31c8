//! The numbers in `docs/format.md` are those of the code: keys are derived here a second time, by the words of the paper alone, what is
//! sealed under them opens with the code, and the section *Test vectors* says exactly what comes out.

use coffre_core::aead::AeadKey;
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::coord::{Anchor, Spot};
use coffre_core::erasure;
use coffre_core::fact::{Fact, encode_facts};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskId, PackId, RecordHash, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::label::Label;
use coffre_core::names::ClientName;
use coffre_core::record::{self, Found, Header, Kind};
use coffre_core::roster::Roster;
use std::fmt::Write;

const ROOT: [u8; 32] = [0x11; 32];
const VAULT: VaultId = VaultId([0xc0; 16]);
const PACK: PackId = PackId([0xbe; 16]);
const SALT: [u8; 16] = [0x5a; 16];

/// As the paper says: `BLAKE3-keyed(BLAKE3-derive_key(context, root key), vault id | purpose)`.
fn derived(context: &str, purpose: &[u8]) -> [u8; 32] {
    let branch = blake3::derive_key(context, &ROOT);
    *blake3::keyed_hash(&branch, &[&VAULT.0, purpose].concat()).as_bytes()
}

/// Hexadecimal digits, 32 bytes a line.
fn lines(out: &mut String, name: &str, bytes: &[u8]) {
    writeln!(out, "{name}").expect("into memory");
    for line in bytes.chunks(32) {
        writeln!(out, "  {}", hex::encode(line)).expect("into memory");
    }
}

fn facts() -> Vec<Fact> {
    vec![Fact::PackDropped { id: PackId([0xbd; 16]), into: PACK }]
}

fn header() -> Header {
    Header {
        vault: VAULT,
        seq: 2,
        epoch: 9,
        kind: Kind::Facts,
        prev: RecordHash([0x77; 32]),
        salt: SALT,
        durable: [1, 0, 1, 0, 0, 0, 0, 0],
        acked: 1,
        tag: [0; 16],
    }
}

/// Seals under the key of the paper what the code must have sealed.
fn sealed(key: [u8; 32], counter: u64, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    AeadKey::new(&key).seal(counter, aad, plain, &mut out).expect("seals");
    out
}

fn record_lines(out: &mut String, keys: &KeyRing) {
    let plain = encode_facts(&facts());
    let (meta, bytes) = record::seal(keys, header(), &plain).expect("seals");
    let Found::Record(_, body) = record::decode(VAULT, &bytes) else { panic!("it reads") };
    let mut untagged = bytes[..192].to_vec();
    untagged[176..192].fill(0);
    let tag = &derived("coffre 2026 v1 journal content", &[&untagged[..], &plain].concat())[..16];
    assert_eq!(bytes[176..192], *tag, "the tag is the one of the paper");
    let purpose = [&SALT[..], &2u64.to_le_bytes(), &[0x77; 32], tag].concat();
    let key = derived("coffre 2026 v1 journal", &purpose);
    assert_eq!(body, sealed(key, 2, &bytes[..192], &plain), "the key is the one of the paper");
    lines(out, "facts of the record, CBOR", &plain);
    lines(out, "tag of the record", tag);
    lines(out, "key of the record", &key);
    lines(out, "the record, without padding", &bytes[..record::HEADER_LEN + body.len()]);
    assert_eq!(meta.padded_len, BLOCK);
}

fn checkpoint_lines(out: &mut String, keys: &KeyRing) {
    let end = Spot { segment: 0, offset: 8192 };
    let anchor = Anchor { seq: 2, epoch: 9, hash: RecordHash([0x77; 32]), end };
    let file = checkpoint::encode(keys, anchor, SALT, facts()).expect("seals");
    let key = derived("coffre 2026 v1 checkpoint", &SALT);
    let stream = &encode_facts(&facts())[1..];
    let plain = [&0u32.to_le_bytes()[..], stream].concat();
    assert_eq!(file[BLOCK + 32..], sealed(key, 0, &file[..128], &plain), "the key is the one of the paper");
    lines(out, "key of the checkpoint", &key);
    lines(out, "the checkpoint, bytes 0 to 159", &file[..160]);
    lines(out, "the checkpoint, from byte 4096 on", &file[BLOCK..]);
}

fn label_lines(out: &mut String, keys: &KeyRing) {
    let disks = [1, 2, 3].map(|n| DiskId([n; 16])).to_vec();
    let label = Label {
        vault: VAULT,
        disk: DiskId([1; 16]),
        roster: Roster::first(disks, Geometry::new(2, 1).expect("possible")),
        since: 0,
        try_out: false,
        created_ms: 1_790_000_000_000,
        generation: 1,
        promised: 9,
        owner: [0x66; 16],
    };
    let slot = label.encode(keys);
    let key = derived("coffre 2026 v1 label", b"");
    let keyed = blake3::keyed_hash(&key, &slot[..BLOCK - 64]);
    assert_eq!(slot[BLOCK - 64..BLOCK - 32], *keyed.as_bytes(), "the keyed hash is the one of the paper");
    lines(out, "key of labels", &key);
    lines(out, "a slot of a label, bytes 0 to 415", &slot[..416]);
    assert!(slot[416..BLOCK - 64].iter().all(|b| *b == 0));
    lines(out, "the same, bytes 4032 to 4095", &slot[BLOCK - 64..]);
}

fn vectors() -> String {
    let keys = KeyRing::new(&RootKey::new(ROOT), VAULT);
    let client: ClientName = "pc-fatima".parse().expect("valid");
    let mut out = String::new();
    lines(&mut out, "root key", &ROOT);
    lines(&mut out, "vault id", &VAULT.0);
    for (name, context) in
        [("data", "coffre 2026 v1 data"), ("table of contents", "coffre 2026 v1 table of contents")]
    {
        lines(&mut out, &format!("branch: {name}"), &blake3::derive_key(context, &ROOT));
        lines(&mut out, &format!("key: {name}, pack bebe…be"), &derived(context, &PACK.0));
    }
    let seal = |key: AeadKey| {
        let mut sealed = Vec::new();
        key.seal(0, b"aad", b"plain", &mut sealed).expect("seals");
        sealed
    };
    let by_paper = |context| sealed(derived(context, &PACK.0), 0, b"aad", b"plain");
    assert_eq!(seal(keys.pack_key(PACK)), by_paper("coffre 2026 v1 data"));
    assert_eq!(seal(keys.toc_key(PACK)), by_paper("coffre 2026 v1 table of contents"));
    let domain = derived("coffre 2026 v1 chunk id", b"pc-fatima");
    let id = *blake3::keyed_hash(&domain, b"chunk").as_bytes();
    assert_eq!(keys.chunk_id(&client, b"chunk").0, id);
    lines(&mut out, "key of pc-fatima's chunk ids", &domain);
    lines(&mut out, "id of its chunk \"chunk\"", &id);
    let gear = derived("coffre 2026 v1 gear", b"pc-fatima");
    lines(&mut out, "seed of its chunk boundaries", &gear);
    let secret = derived("coffre 2026 v1 client secret", b"\x09pc-fatimasecret");
    assert_eq!(keys.client_secret_hash(&client, "secret"), secret);
    lines(&mut out, "hash of its secret \"secret\"", &secret);
    let authority = derived("coffre 2026 v1 authority", &0u32.to_le_bytes());
    assert_eq!(keys.authority_scalar(), authority, "the first one is in range");
    lines(&mut out, "private key of the authority", &authority);
    let receipt = derived("coffre 2026 v1 receipt", b"");
    assert_eq!(keys.receipt_seed(), receipt);
    lines(&mut out, "seed of the key that signs receipts", &receipt);
    record_lines(&mut out, &keys);
    checkpoint_lines(&mut out, &keys);
    label_lines(&mut out, &keys);
    out
}

#[test]
fn the_matrix_of_the_paper_is_the_one_of_the_code() {
    let rows = |k: u8, m: u8| -> Vec<Vec<u8>> {
        let unit = |one: u8| (0..k).map(|i| [u8::from(i == one)]).collect::<Vec<_>>();
        let column = |i: u8| {
            let data = unit(i);
            let data: Vec<&[u8]> = data.iter().map(|d| &d[..]).collect();
            erasure::encode(Geometry::new(k, m).expect("possible"), &data).expect("encodes")
        };
        let columns: Vec<Vec<Vec<u8>>> = (0..k).map(column).collect();
        (0..usize::from(m)).map(|j| columns.iter().map(|c| c[j][0]).collect()).collect()
    };
    assert_eq!(rows(4, 2), [[0x1b, 0x1c, 0x12, 0x14], [0x1c, 0x1b, 0x14, 0x12]]);
    assert_eq!(rows(2, 1), [[3, 2]]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md");
    let paper = std::fs::read_to_string(path).expect("the paper is there");
    assert!(paper.contains("`1b 1c 12 14` and `1c 1b 14 12`; for 2+1 row 2 is `03 02`"));
}

#[test]
fn the_paper_has_the_numbers_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md");
    let paper = std::fs::read_to_string(path).expect("the paper is there");
    let section = paper.split("## Test vectors").nth(1).expect("its section");
    let told = section.split("```").nth(1).expect("a block").trim_start_matches("text\n");
    let vectors = vectors();
    assert!(told == vectors, "docs/format.md must say:\n{vectors}");
}
