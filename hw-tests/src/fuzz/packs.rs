//! What lies on disks under a seal: facts, tables of contents, manifests, compressed chunks.
//!
//! Who has no key cannot make these; our own bugs can, and a version to come. So the mutated bytes are the plain ones, sealed
//! again here where the reader opens a seal.

use super::disk::{Magnitude, keys};
use super::{Answer, Target, accepted, hold, in_proportion, refused};
use crate::rng::Rng;
use coffre_core::class::LockClass;
use coffre_core::fact::{Body, Born, ClientFact, Fact, ObjectFact, PackFact, decode_facts, encode_facts};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{ChunkId, ContentHash, DiskNo, ObjectId, PackId};
use coffre_core::kind::{Checked, Finding, Kind};
use coffre_core::manifest::{ChunkRef, Manifest};
use coffre_core::pack::{PACK_ALIGN, PackBuilder, open_toc};
use coffre_core::repo::{FileKind, RepoFact, RepoMode};
use coffre_core::shard::PackDigest;
use coffre_core::squeeze::{MAX_CHUNK_LEN, Squeezer, squeeze, unsqueeze};

/// See the module.
pub const TARGETS: &[Target] = &[
    Target {
        name: "facts",
        samples: fact_lists,
        check: check_facts,
        mend: None,
        tokens: &[],
        max_len: 4096,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "toc",
        samples: tocs,
        check: check_toc,
        mend: None,
        tokens: &[b"\x01", b"\x1a\x00\x7f\xff\xff"],
        max_len: 4096,
        one_in: 2,
        memory: in_proportion,
    },
    Target {
        name: "manifest",
        samples: manifests,
        check: check_manifest,
        mend: None,
        tokens: &[b"\x85\x01", b"\x18\x00", b"\x19\x00\x01"],
        max_len: 4096,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "squeeze",
        samples: frames,
        check: check_frame,
        mend: None,
        tokens: &[b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"],
        max_len: 8192,
        one_in: 4,
        // The plain length is the ceiling, whatever the frame says of itself.
        memory: |_| MAX_CHUNK_LEN + (256 << 10),
    },
];

const PACK: PackId = PackId([9; 16]);

/// One fact of each kind.
pub(super) fn facts() -> Vec<Fact> {
    let inline = Body::Inline(b"payload".to_vec().into());
    let object = ObjectFact {
        id: ObjectId([1; 16]),
        dataset: "pc-fatima/home".parse().expect("a name of the samples"),
        size: 7,
        stored_bytes: 7,
        received_ms: 1_700_000_000_000,
        locked_until_ms: 1_702_592_000_000,
        class: LockClass::DAYS_30,
        hash: ContentHash([9; 32]),
        body: inline.clone(),
        file: Some(FileKind::Snapshots),
        checked: Some(Checked { kind: Kind::Odoo, finding: Finding::WebPage }),
        basis: None,
    };
    let pack = PackFact {
        id: PACK,
        class: LockClass::DAYS_30,
        pack_len: 8192,
        toc_sealed_len: 90,
        geometry: Geometry::new(2, 1).expect("a geometry of the samples"),
        epoch: 4,
        disks: vec![DiskNo(2), DiskNo(0), DiskNo(1)],
        digest: PackDigest([5; 32]),
    };
    let client = ClientFact {
        name: "pc-fatima".parse().expect("a name of the samples"),
        secret_hash: Some(vec![4; 32].into()),
        quota_bytes: Some(1 << 40),
        created_ms: 5,
        daily_bytes: Some(1 << 30),
        max_objects: Some(1 << 20),
        secret_ms: Some(6),
    };
    vec![
        Fact::Born(Born {
            name: "office".into(),
            created_ms: 5,
            authority_der: vec![0x30; 90].into(),
            try_out: false,
        }),
        Fact::Client(client),
        Fact::PackAdded(pack),
        Fact::PackDropped { id: PackId([4; 16]), into: PACK },
        Fact::Object(object),
        Fact::Folded { id: ObjectId([1; 16]), body: inline },
        Fact::Repo(RepoFact {
            repo: "pc-fatima/work".parse().expect("valid"),
            mode: RepoMode::Recoverable,
            created_ms: 6,
            right: None,
            removed: true,
            every_s: Some(86_400),
        }),
        Fact::Hidden { at_ms: 7, objects: vec![ObjectId([1; 16])] },
        Fact::Shown { objects: vec![ObjectId([1; 16]), ObjectId([2; 16])] },
        Fact::Folded { id: ObjectId([2; 16]), body: Body::Deep(vec![7; 30].into()) },
    ]
}

fn fact_lists(_: &mut Rng) -> Vec<Vec<u8>> {
    let all = facts();
    let mut lists: Vec<Vec<u8>> = all.iter().map(|fact| encode_facts(std::slice::from_ref(fact))).collect();
    lists.push(encode_facts(&all));
    lists.push(encode_facts(&[]));
    lists
}

fn check_facts(bytes: &[u8]) -> Result<Answer, String> {
    let Some(facts) = decode_facts(bytes) else { return refused("not facts") };
    let again = decode_facts(&encode_facts(&facts));
    hold(again.as_ref() == Some(&facts), "facts written again are the same facts")?;
    let kinds: Vec<_> = facts.iter().take(8).map(std::mem::discriminant).collect();
    accepted((kinds, facts.len().ilog2_or_zero()))
}

/// Four bytes with the number of blocks that the pack takes, then the plain table.
fn tocs(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut squeezer = Squeezer::new().expect("the compressor starts");
    [1_u32, 2, 20]
        .into_iter()
        .map(|count| {
            let keys = keys();
            let mut builder = PackBuilder::new(PACK, LockClass::DAYS_30, &keys);
            for n in 0..count {
                let plain = if n % 2 == 0 { vec![n as u8; 900] } else { rng.bytes(700) };
                let squeezed = squeeze(&plain, &mut squeezer);
                builder.push(ChunkId([n as u8; 32]), &squeezed).expect("a small chunk");
            }
            let sealed = builder.finish().expect("a small pack");
            let toc = &sealed.body[sealed.body.len() - sealed.toc_sealed_len as usize..];
            let len = sealed.body.len() as u64;
            let plain = keys.toc_key(PACK).open(0, &toc_aad(len), toc).expect("just sealed");
            let blocks = (len / PACK_ALIGN as u64) as u32;
            [&blocks.to_le_bytes()[..], &plain].concat()
        })
        .collect()
}

/// As drawn in `docs/format.md`: vault, pack, length of the body.
fn toc_aad(pack_len: u64) -> Vec<u8> {
    [keys().vault().as_ref(), PACK.as_ref(), &pack_len.to_le_bytes()].concat()
}

fn check_toc(bytes: &[u8]) -> Result<Answer, String> {
    let Some((blocks, plain)) = bytes.split_first_chunk::<4>() else { return refused("cut short") };
    let pack_len = u64::from(u32::from_le_bytes(*blocks)).saturating_mul(PACK_ALIGN as u64);
    let mut sealed = Vec::new();
    let keys = keys();
    keys.toc_key(PACK).seal(0, &toc_aad(pack_len), plain, &mut sealed).map_err(|f| f.what)?;
    let entries = match open_toc(&keys, PACK, pack_len, &sealed) {
        Ok(entries) => entries,
        Err(why) => return refused(&why.what),
    };
    let mut end = 0;
    for entry in &entries {
        hold(u64::from(entry.offset) == end, "blobs touch each other")?;
        hold((1..=MAX_CHUNK_LEN).contains(&(entry.plain_len as usize)), "a chunk has a possible length")?;
        end = entry.end();
    }
    hold(end + sealed.len() as u64 <= pack_len, "blobs end before the table")?;
    accepted(entries.len().ilog2_or_zero())
}

fn manifests(rng: &mut Rng) -> Vec<Vec<u8>> {
    [0_u32, 1, 2, 30, 80]
        .into_iter()
        .map(|count| {
            let chunk = |n: u32| {
                let len = 1 + rng.below(MAX_CHUNK_LEN as u64) as u32;
                ChunkRef { id: ChunkId([n as u8; 32]), len, pack: n % 3, position: n * 17 }
            };
            let chunks = (0..count).map(chunk).collect();
            let packs = (0..3).map(|n| PackId([n; 16])).collect();
            Manifest::new(packs, chunks).expect("within the ceilings").encode()
        })
        .collect()
}

fn check_manifest(bytes: &[u8]) -> Result<Answer, String> {
    let manifest = match Manifest::decode(bytes) {
        Ok(manifest) => manifest,
        Err(why) => return refused(&why.what),
    };
    hold(manifest.encode() == bytes, "a manifest has one encoding")?;
    let size = manifest.size();
    hold(manifest.chunk_at(size).is_none(), "there is no chunk at the end")?;
    if let Some(last) = size.checked_sub(1) {
        let found = manifest.chunk_at(last).ok_or("the last byte is in a chunk")?;
        hold(found.0 + 1 == manifest.chunks().len(), "the last byte is in the last chunk")?;
    }
    for chunk in manifest.chunks() {
        hold(manifest.pack_of(chunk).is_some(), "a chunk's pack is named")?;
    }
    accepted((manifest.chunks().len().ilog2_or_zero(), manifest.packs().len().ilog2_or_zero()))
}

/// Three bytes of plain length, then the frame.
fn frames(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut squeezer = Squeezer::new().expect("the compressor starts");
    let texts = [vec![b'a'; 5000], b"INSERT INTO sale VALUES (1, 'draft');\n".repeat(200), {
        let mut mixed = rng.bytes(2000);
        mixed.extend(vec![0; 60_000]);
        mixed
    }];
    texts
        .iter()
        .map(|plain| {
            let squeezed = squeeze(plain, &mut squeezer);
            let len = squeezed.plain_len.to_le_bytes();
            [&len[..3], squeezed.bytes].concat()
        })
        .collect()
}

fn check_frame(bytes: &[u8]) -> Result<Answer, String> {
    let Some((len, frame)) = bytes.split_first_chunk::<3>() else { return refused("cut short") };
    let len = u32::from_le_bytes([len[0], len[1], len[2], 0]);
    match unsqueeze(frame, true, len) {
        Err(why) => refused(&why.what),
        Ok(plain) => {
            hold(plain.len() == len as usize, "a chunk has the length that was said")?;
            accepted(plain.len().ilog2_or_zero())
        }
    }
}
