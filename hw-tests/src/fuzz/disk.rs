//! What lies on disks under a checksum: labels, witnesses, shard headers and tables, journal records, checkpoints.
//!
//! A checksum says nothing about who wrote the bytes: a newer version, a bug of ours, or somebody with a hex editor. So
//! the mutated bytes get their checksum again, and the parser must stand what is behind it. The contexts of the
//! checksums are written here a second time, from `docs/format.md`.

use super::{Target, accepted, hold, in_proportion, refused};
use crate::rng::Rng;
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint;
use coffre_core::coord::{Anchor, Spot};
use coffre_core::diskset::DiskSet;
use coffre_core::geometry::{Geometry, MAX_DISKS};
use coffre_core::ids::{DiskId, DiskNo, PackId, RecordHash, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::label::Label;
use coffre_core::record::{self, Found};
use coffre_core::roster::{Change, Roster};
use coffre_core::shard::{self, HEADER_LEN, MAX_SHARD_FILE_LEN, ShardHeader};
use coffre_core::witness::{EpochNote, Witness};
use coffre_vault::layout;

/// See the module.
pub const TARGETS: &[Target] = &[
    Target {
        name: "label",
        samples: labels,
        check: check_label,
        mend: Some(|file| mend_slots(file, "coffre 2026 v1 disk label")),
        tokens: &[b"COFLABL1"],
        max_len: 3 * BLOCK,
        one_in: 2,
        memory: in_proportion,
    },
    Target {
        name: "witness",
        samples: witnesses,
        check: check_witness,
        mend: Some(|file| mend_slots(file, "coffre 2026 v1 witness")),
        tokens: &[b"COFWITN1"],
        max_len: 3 * BLOCK,
        one_in: 2,
        memory: in_proportion,
    },
    Target {
        name: "shard",
        samples: shards,
        check: check_shard,
        mend: Some(mend_shard),
        tokens: &[b"CoffreSh"],
        max_len: 5 * BLOCK,
        one_in: 2,
        memory: in_proportion,
    },
    Target {
        name: "record",
        samples: records,
        check: check_record,
        mend: Some(mend_record),
        tokens: &[b"COFJRNL1"],
        max_len: 3 * BLOCK,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "checkpoint",
        samples: checkpoints,
        check: check_checkpoint,
        mend: Some(mend_checkpoint),
        tokens: &[b"COFCKPT1"],
        max_len: 3 * BLOCK,
        one_in: 2,
        memory: in_proportion,
    },
    Target {
        name: "layout",
        samples: file_names,
        check: check_file_name,
        mend: None,
        tokens: &[b".seg", b".ckp", b".shard", b"+", b"..", b"/", b"0", b"A"],
        max_len: 300,
        one_in: 1,
        memory: in_proportion,
    },
];

const VAULT: VaultId = VaultId([7; 16]);

/// The keys of the samples' vault.
pub(super) fn keys() -> KeyRing {
    KeyRing::new(&RootKey::new([3; 32]), VAULT)
}

fn derive(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    *hasher.finalize().as_bytes()
}

/// Both slots of a label or a witness.
fn mend_slots(file: &mut [u8], context: &'static str) {
    for slot in file.chunks_exact_mut(BLOCK).take(2) {
        let (body, sum) = slot.split_at_mut(BLOCK - 32);
        sum.copy_from_slice(&derive(context, &[body]));
    }
}

fn labels(rng: &mut Rng) -> Vec<Vec<u8>> {
    let of = |k: u8, m: u8, rng: &mut Rng| {
        let disks: Vec<DiskId> = (0..k + m).map(|n| DiskId([n + 1; 16])).collect();
        let disk = disks[rng.index(disks.len())];
        let geometry = Geometry::new(k, m).expect("a geometry of the samples");
        let change = rng.chance(1, 2).then_some(Change::Replaced(DiskNo(k + m - 1)));
        let mut label = Label {
            vault: VAULT,
            disk,
            roster: Roster { version: 3, disks, geometry, change },
            since: 7,
            try_out: rng.chance(1, 2),
            created_ms: rng.next_u64() >> 20,
            generation: 2,
            promised: 9,
            owner: [5; 16],
        };
        let mut file = label.encode(&keys());
        label.generation += 1;
        file.extend(label.encode(&keys()));
        file
    };
    [(1, 0), (1, 1), (2, 1), (4, 2), (6, 2)].into_iter().map(|(k, m)| of(k, m, rng)).collect()
}

fn check_label(file: &[u8]) -> Result<super::Answer, String> {
    let label = match Label::peek(file) {
        Ok(label) => label,
        Err(why) => return refused(&why.to_string()),
    };
    let opened = Label::open(&keys(), file);
    hold(opened.is_ok() || Label::any_forged(&keys(), file), "what is whole opens, or is forged")?;
    hold(label.number().is_some(), "a label's disk is in its roster")?;
    hold(label.roster.disks.len() == label.roster.geometry.width(), "the roster is as wide as the geometry")?;
    let mut again = vec![0; 2 * BLOCK];
    let at = label.slot_offset() as usize;
    again[at..at + BLOCK].copy_from_slice(&label.encode(&keys()));
    hold(
        label.vault != VAULT || Label::open(&keys(), &again) == Ok(label.clone()),
        "a label written again is the same label",
    )?;
    accepted((label.roster.disks.len(), label.try_out, label.generation > 3))
}

fn witnesses(_: &mut Rng) -> Vec<Vec<u8>> {
    let note = |epoch, witnessed| EpochNote { epoch, active: DiskSet(3), witnessed };
    let of = |generation| Witness {
        vault: VAULT,
        generation,
        confirmed: note(4, false),
        opening: note(5, true),
        built_on: (4, 90),
        acked: 99,
    };
    vec![[of(2).encode(), of(3).encode()].concat(), [of(4).encode(), vec![0; BLOCK]].concat()]
}

fn check_witness(file: &[u8]) -> Result<super::Answer, String> {
    let Some(witness) = Witness::decode(VAULT, file) else { return refused("no witness") };
    let mut again = vec![0; 2 * BLOCK];
    let at = witness.slot_offset() as usize;
    again[at..at + BLOCK].copy_from_slice(&witness.encode());
    hold(Witness::decode(VAULT, &again) == Some(witness), "a witness written again is the same")?;
    accepted((witness.confirmed.witnessed, witness.opening.witnessed, witness.generation > 4))
}

/// A header and the table behind it, which a reader takes from the end of the file.
fn shards(rng: &mut Rng) -> Vec<Vec<u8>> {
    let of = |k: u8, m: u8, pack_len: u64, rng: &mut Rng| {
        let geometry = Geometry::new(k, m).expect("a geometry of the samples");
        let mut header = ShardHeader {
            vault: VAULT,
            pack: PackId([9; 16]),
            disk: DiskId([1; 16]),
            epoch: 4,
            geometry,
            shard: k + m - 1,
            class: coffre_core::class::LockClass::DAYS_30,
            pack_len,
            toc_sealed_len: 300,
            roots: [[0; 32]; MAX_DISKS],
            read_only: false,
        };
        let data = rng.bytes(header.shard_len() as usize);
        let table = shard::BlockTable::compute(VAULT, header.pack, header.shard, &data);
        header.roots[usize::from(header.shard)] = table.root();
        [header.to_bytes(), table.to_bytes()].concat()
    };
    vec![of(1, 0, 4096, rng), of(2, 1, 8192, rng), of(4, 2, 1 << 20, rng), of(1, 1, 300 * 4096, rng)]
}

fn mend_shard(file: &mut [u8]) {
    if let Some(header) = file.get_mut(..HEADER_LEN) {
        let (body, sum) = header.split_at_mut(HEADER_LEN - 32);
        sum.copy_from_slice(&derive("coffre 2026 v1 shard header", &[body]));
    }
}

fn check_shard(file: &[u8]) -> Result<super::Answer, String> {
    let header = match ShardHeader::parse(file) {
        Ok(header) => header,
        Err(why) => return refused(&why.what),
    };
    hold(header.file_len() <= MAX_SHARD_FILE_LEN as u64, "no shard file is longer than the ceiling")?;
    hold(header.shard_len() * header.geometry.k() as u64 >= header.pack_len, "the shards hold the pack")?;
    let whole: u64 = header.pieces(0..header.pack_len).map(|piece| piece.len).sum();
    hold(whole == header.pack_len, "the pieces of a pack are the pack")?;
    let toc = header.toc_in_pack();
    hold(header.pieces(toc).count() <= header.geometry.k(), "a range has one piece per shard at most")?;
    hold(header.locate(header.pack_len - 1).0 < header.geometry.k(), "the last byte is in a data shard")?;
    for block in [0, header.blocks() - 1, header.blocks(), u32::MAX] {
        let range = header.block_in_file(block);
        hold(range.end <= header.table_in_file().start, "a block ends before the table")?;
    }
    if !header.read_only {
        let again = ShardHeader::parse(&header.to_bytes()).map_err(|f| f.what)?;
        hold(again == header, "a header written again is the same")?;
        let sibling = header.sibling(0, header.disk, header.epoch).map_err(|f| f.what)?;
        hold(sibling.digest() == header.digest(), "siblings have one digest")?;
    }
    let table = header.check_table(&file[HEADER_LEN..]);
    if let Ok(table) = &table {
        hold(table.to_bytes() == file[HEADER_LEN..], "a table written again is the same")?;
        hold(!table.check(table.blocks(), b""), "there is no block behind the last")?;
    }
    accepted((header.geometry.width(), header.read_only, table.is_ok()))
}

fn records(rng: &mut Rng) -> Vec<Vec<u8>> {
    let header = |kind| record::Header {
        vault: VAULT,
        seq: 9,
        epoch: 3,
        kind,
        prev: RecordHash([1; 32]),
        salt: [2; 16],
        durable: [8, 7, 9, 0, 0, 0, 0, 0],
        acked: 7,
        tag: [4; 16],
    };
    let mount = record::Kind::Mount { active: DiskSet(0b101), witnessed: true };
    let long = rng.bytes(6000);
    vec![
        record::encode(header(mount), b"").1,
        record::encode(header(record::Kind::Facts), &rng.bytes(60)).1,
        record::encode(header(record::Kind::Facts), &long).1,
    ]
}

fn mend_record(bytes: &mut [u8]) {
    let len = bytes.get(12..16).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let Some(end) = record::HEADER_LEN.checked_add(len).filter(|end| *end <= bytes.len()) else { return };
    let sum = derive("coffre 2026 v1 journal record", &[&bytes[..192], &bytes[record::HEADER_LEN..end]]);
    bytes[192..224].copy_from_slice(&sum);
}

fn check_record(bytes: &[u8]) -> Result<super::Answer, String> {
    match record::decode(VAULT, bytes) {
        Found::Nothing => accepted("nothing"),
        Found::Junk => refused("junk"),
        Found::Record(meta, body) => {
            let (again, drawn) = record::encode(meta.header, body);
            hold(again == meta, "a record written again is the same")?;
            let len = record::HEADER_LEN + body.len();
            hold(drawn.get(..len) == bytes.get(..len), "and so are its bytes")?;
            hold(drawn.len() == meta.padded_len, "and its length")?;
            accepted((matches!(meta.header.kind, record::Kind::Facts), body.len().ilog2_or_zero()))
        }
    }
}

fn checkpoints(_: &mut Rng) -> Vec<Vec<u8>> {
    let anchor =
        Anchor { seq: 5, epoch: 2, hash: RecordHash([8; 32]), end: Spot { segment: 1, offset: 4096 } };
    let facts = super::packs::facts();
    (0..=facts.len().min(3))
        .map(|n| checkpoint::encode(&keys(), anchor, [6; 16], &facts[..n]).expect("the samples are small"))
        .collect()
}

/// The header's hash and the sum of each piece, whatever the pieces hold now.
fn mend_checkpoint(file: &mut [u8]) {
    if file.len() < BLOCK {
        return;
    }
    let header = derive("coffre 2026 v1 checkpoint", &[&file[..128]]);
    file[128..160].copy_from_slice(&header);
    file[160..BLOCK].fill(0);
    for (no, piece) in (0u64..).zip(file[BLOCK..].chunks_mut(checkpoint::PIECE_LEN)) {
        if let Some((sum, sealed)) = piece.split_at_mut_checked(32) {
            sum.copy_from_slice(&derive(
                "coffre 2026 v1 checkpoint piece",
                &[&header, &no.to_le_bytes(), sealed],
            ));
        }
    }
}

fn check_checkpoint(file: &[u8]) -> Result<super::Answer, String> {
    // What is not whole must not harm whoever opens it all the same.
    let mut given = 0u64;
    let salvaged = checkpoint::salvage_each(&keys(), file, |_| given += 1);
    let mended = checkpoint::mend(&keys(), &[file, file]);
    let head = checkpoint::head(VAULT, file).filter(|head| head.file_len == file.len() as u64);
    let (Some(head), Some(bad)) = (head, checkpoint::lacking(&keys(), file)) else {
        hold(mended.is_none(), "what has no header is not mended")?;
        return refused("no header, or another length");
    };
    hold(mended.as_deref() == bad.is_empty().then_some(file), "of two equal copies none mends the other")?;
    if let Ok(lost) = salvaged {
        hold(lost > 0 || given == head.facts, "what is not read is lost")?;
    }
    let Some(anchor) = checkpoint::verify(VAULT, file) else { return refused("not whole") };
    let Ok(facts) = checkpoint::open(&keys(), file) else { return accepted("whole, and not sealed by us") };
    let mut salt = [0; 16];
    salt.copy_from_slice(&file[88..104]);
    let again = checkpoint::encode(&keys(), anchor, salt, &facts).map_err(|f| f.what)?;
    hold(again == file, "what opens is what was sealed, and written again it is the same")?;
    accepted(facts.len())
}

fn file_names(_: &mut Rng) -> Vec<Vec<u8>> {
    let name = |path: String| path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
    let pack = PackId([0xab; 16]);
    vec![
        name(layout::segment(31)),
        name(layout::checkpoint(77)),
        name(layout::shard(pack)),
        name(layout::shard_new(pack)),
        name(layout::segment_aside(3, 1)),
        name(layout::tail_aside(3, 1, 4096)),
        name(layout::checkpoint_aside(3, 77)),
    ]
}

fn check_file_name(bytes: &[u8]) -> Result<super::Answer, String> {
    let Ok(name) = std::str::from_utf8(bytes) else { return refused("not text") };
    let ours = [
        layout::segment_number(name).map(layout::segment),
        layout::checkpoint_seq(name).map(layout::checkpoint),
        layout::shard_pack(name).map(layout::shard),
    ];
    let kind = ours.iter().position(Option::is_some);
    for folder in layout::folders().filter(|f| !f.is_empty()) {
        let path = format!("{folder}/{name}");
        let taken = layout::ours(&folder, name);
        hold(
            taken.is_none() || coffre_vault::disk::is_path(&path),
            "what is ours in a folder is a path of a disk",
        )?;
        let aside = folder == layout::QUARANTINE || folder == layout::SHARDS;
        let known = aside || name.ends_with(".new") || kind.is_some();
        hold(taken.is_none() || known, "what is ours in a folder is a name that we give")?;
    }
    for path in ours.into_iter().flatten() {
        let same = path.rsplit('/').next() == Some(name);
        hold(same, "a name that is taken for one of ours is the name that we give")?;
        hold(coffre_vault::disk::is_path(&path), "our names are paths of a disk")?;
    }
    match kind {
        Some(kind) => accepted(kind),
        None => refused("not one of ours"),
    }
}

/// Lengths by their order of magnitude.
pub(super) trait Magnitude {
    /// The binary logarithm; 0 of 0.
    fn ilog2_or_zero(self) -> u32;
}

impl Magnitude for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}
