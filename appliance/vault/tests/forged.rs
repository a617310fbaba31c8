//! Forged without a key, by whoever can write to one disk of three: the box starts, says which disk, serves, and loses nothing.

mod common;

use coffre_core::bytes::BLOCK;
use coffre_core::coord::Anchor;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::Class;
use coffre_core::ids::{RecordHash, VaultId};
use coffre_core::record::{self, Found, Header, Kind};
use coffre_core::wire::{Consent, Light, Status};
use coffre_vault::Vault;
use common::{Scratch, get, green, noise, put, until};
use std::fs;

const LABEL_HASH: &str = "coffre 2026 v1 disk label";

/// A hash that anybody can make: BLAKE3-derive_key of bytes put one after the other.
fn purpose_hash(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    blake3::derive_key(context, &parts.concat())
}

/// A box of three disks with something small and something large in it, closed.
fn filled() -> (Scratch, Vec<u8>) {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let large = noise(600_000, 3);
    put(&vault, "pc/large", &large);
    put(&vault, "pc/small", b"small");
    drop(vault);
    (it, large)
}

/// Open, not red, everything there, and takes more.
fn serves(it: &Scratch, large: &[u8], what: &str) -> (Vault, Status) {
    let vault = Vault::open(&it.state()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let status = vault.status();
    assert!(status.writable, "{what}: {:?}", status.reasons);
    assert!(get(&vault, "pc/large") == large && get(&vault, "pc/small") == b"small", "{what}");
    put(&vault, "pc/more", what.as_bytes());
    (vault, status)
}

/// Not green, and it says which disk. (Without a disk that cannot be used, no other one may be lost: that is red as ever.)
fn names_disk(it: &Scratch, status: &Status, disk: usize, what: &str) {
    let path = it.disk(disk).display().to_string();
    let named = status.reasons.iter().any(|r| r.contains(&path));
    assert!(status.light != Light::Green && named, "{what}: {:?} {:?}", status.light, status.reasons);
}

/// Changes fields of slots of a label, and makes the plain hash right again, as anybody can.
fn forge_label(it: &Scratch, disk: usize, slots: &[usize], fields: &[(usize, &[u8])]) {
    let path = it.disk(disk).join("label");
    let mut file = fs::read(&path).expect("there");
    for slot in slots.iter().map(|s| s * BLOCK) {
        for (at, bytes) in fields {
            file[slot + at..slot + at + bytes.len()].copy_from_slice(bytes);
        }
        let sum = purpose_hash(LABEL_HASH, &[&file[slot..slot + BLOCK - 32]]);
        file[slot + BLOCK - 32..slot + BLOCK].copy_from_slice(&sum);
    }
    fs::write(path, file).expect("written");
}

/// What is written over a label: offsets and bytes.
type Forged<'a> = &'a [(usize, &'a [u8])];

#[test]
fn labels_that_anybody_could_write_decide_nothing() {
    let far = u64::MAX.to_le_bytes();
    let cases: [(&str, Forged<'_>); 6] = [
        ("an epoch that nobody can follow", &[(64, &1_000_000u64.to_le_bytes()), (72, &far)]),
        ("an epoch far away", &[(64, &1_000_000u64.to_le_bytes()), (72, &(1u64 << 39).to_le_bytes())]),
        ("a roster of nobody", &[(64, &far), (88, &(1u64 << 62).to_le_bytes()), (96, &[9; 32])]),
        (
            "a roster with itself alone",
            &[(64, &1_000_000u64.to_le_bytes()), (88, &(1u64 << 50).to_le_bytes()), (96, &[7; 16])],
        ),
        ("try-out or not", &[(59, &[0])]),
        ("another vault", &[(24, &[4; 16])]),
    ];
    for (what, fields) in cases {
        for slots in [&[0][..], &[1], &[0, 1]] {
            let (it, large) = filled();
            forge_label(&it, 1, slots, fields);
            let (vault, status) = serves(&it, &large, what);
            names_disk(&it, &status, 1, what);
            drop(vault);
            if slots.len() == 1 {
                // What was forged is written over; a day later nobody speaks of it.
                let (_vault, status) = serves(&it, &large, what);
                assert!(green(&status), "{what}: {:?}", status.reasons);
            }
        }
    }
}

#[test]
fn one_disk_with_another_ones_label_is_no_disk() {
    let (it, large) = filled();
    fs::copy(it.disk(0).join("label"), it.disk(1).join("label")).expect("copied");
    let (_vault, status) = serves(&it, &large, "another disk's label");
    names_disk(&it, &status, 1, "another disk's label");
}

/// The journal's last record and the offset behind it, in segment 0 of a disk.
fn end_of(vault: VaultId, segment: &[u8]) -> (record::Meta, usize) {
    let (mut at, mut last) = (0, None);
    while let Found::Record(meta, _) = record::decode(vault, &segment[at..]) {
        at += meta.padded_len;
        last = Some(meta);
    }
    (last.expect("a record"), at)
}

fn after(last: &record::Meta, vault: VaultId, kind: Kind, epoch: u64) -> Header {
    Header {
        vault,
        seq: last.header.seq + 1,
        epoch,
        kind,
        prev: last.hash,
        salt: [3; 16],
        durable: [last.header.seq + 1; 8],
        acked: last.header.seq + 1,
        tag: [3; 16],
    }
}

#[test]
fn records_that_do_not_open_are_no_records() {
    for what in ["mount", "empty", "long", "facts", "far"] {
        let (it, made) = Scratch::made(3);
        let vault = it.open();
        let large = noise(600_000, 3);
        put(&vault, "pc/large", &large);
        put(&vault, "pc/small", b"small");
        // As after a power cut: no checkpoint replaces the journal.
        let segments: Vec<Vec<u8>> =
            (0..3).map(|n| fs::read(it.disk(n).join("journal/00000000.seg")).expect("there")).collect();
        drop(vault);
        let newest = it.disk(2).join("journal/00000000.seg");
        let (last, at) = match fs::read(&newest) {
            Ok(now) => end_of(made.vault_id, &now),
            Err(_) => end_of(made.vault_id, &segments[2]),
        };
        let mount = Kind::Mount { active: DiskSet::first(3), witnessed: false };
        let (header, body) = match what {
            "mount" => (after(&last, made.vault_id, mount, last.header.epoch + 1), vec![1; 17]),
            "empty" => (after(&last, made.vault_id, mount, last.header.epoch + 1), Vec::new()),
            "far" => (after(&last, made.vault_id, mount, 1 << 39), vec![1; 17]),
            "long" => (after(&last, made.vault_id, Kind::Facts, last.header.epoch), vec![1; 1 << 20]),
            _ => (after(&last, made.vault_id, Kind::Facts, last.header.epoch), vec![1; 200]),
        };
        let (_, forged) = record::encode(header, &body);
        let mut segment = fs::read(&newest).expect("there");
        segment[at..at + forged.len()].copy_from_slice(&forged);
        fs::write(&newest, segment).expect("written");
        let (vault, status) = serves(&it, &large, what);
        names_disk(&it, &status, 2, what);
        drop(vault);
        let (_vault, status) = serves(&it, &large, what);
        assert!(green(&status), "{what}: {:?}", status.reasons);
    }
}

#[test]
fn a_checkpoint_that_does_not_open_is_none() {
    let (it, large) = filled();
    let (made, newest) = {
        let names = fs::read_dir(it.disk(0).join("checkpoints")).expect("there");
        let path = names.map(|e| e.expect("listed").path()).max();
        (it.open().status().vault_id, path)
    };
    let mut file = match newest {
        Some(path) => fs::read(path).expect("there"),
        None => {
            let keys = coffre_core::keys::KeyRing::new(&coffre_core::keys::RootKey::new([1; 32]), made);
            let none: [coffre_core::fact::Fact; 0] = [];
            coffre_core::checkpoint::encode(&keys, Anchor::GENESIS, [1; 16], none).expect("encodes")
        }
    };
    // A point far beyond, of a high epoch.
    file[32..40].copy_from_slice(&1_000_000u64.to_le_bytes());
    file[40..48].copy_from_slice(&1_000u64.to_le_bytes());
    file[48..80].copy_from_slice(&RecordHash([5; 32]).0);
    let head = purpose_hash("coffre 2026 v1 checkpoint", &[&file[..128]]);
    file[128..160].copy_from_slice(&head);
    for (no, piece) in (0u64..).zip(file[BLOCK..].chunks_mut(coffre_core::checkpoint::PIECE_LEN)) {
        let sum = purpose_hash("coffre 2026 v1 checkpoint piece", &[&head, &no.to_le_bytes(), &piece[32..]]);
        piece[..32].copy_from_slice(&sum);
    }
    fs::write(it.disk(2).join("checkpoints/00000000000f4240.ckp"), &file).expect("written");
    let (_vault, status) = serves(&it, &large, "a checkpoint");
    names_disk(&it, &status, 2, "a checkpoint");
}

#[test]
fn key_slots_of_nobody_are_replaced_and_told() {
    let (it, large) = filled();
    let (other, _) = Scratch::made(1);
    for (n, bytes) in
        [(0, b"garbage".to_vec()), (1, fs::read(other.disk(0).join("keys.age")).expect("there"))]
    {
        let good = fs::read(it.disk(2).join("keys.age")).expect("there");
        fs::write(it.disk(n).join("keys.age"), bytes).expect("written");
        let (vault, _) = serves(&it, &large, "key slots");
        let status = until(&vault, "told", |s| s.light == Light::Amber);
        names_disk(&it, &status, n, "key slots");
        until(&vault, "put right", |_| fs::read(it.disk(n).join("keys.age")).is_ok_and(|now| now == good));
    }
}

#[test]
fn box_json_is_asked_last() {
    let (it, large) = filled();
    let path = it.state().join("box.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    let with = |key: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        bad[key] = value;
        fs::write(&path, serde_json::to_vec(&bad).expect("text")).expect("written");
    };
    with("born", false.into());
    drop(serves(&it, &large, "born"));
    for version in [1u64 << 32, 1 << 40, 1 << 55, 1 << 63, u64::MAX - 1, u64::MAX] {
        with("roster_version", version.into());
        drop(serves(&it, &large, "roster_version"));
        let new = it.path(&format!("new{version}"));
        fs::create_dir(&new).expect("new");
        let vault = it.open();
        vault
            .disk_replace(
                &vault.status().disks[0].id.to_string(),
                &new,
                Consent { sure: true, give_up: false },
            )
            .unwrap_or_else(|e| panic!("{version}: {e}"));
        until(&vault, "joined", green);
        drop(vault);
        fs::rename(&new, it.path("tmp")).expect("moved");
        fs::rename(it.disk(0), it.path(&format!("old{version}"))).expect("moved");
        fs::rename(it.path("tmp"), it.disk(0)).expect("moved");
        let vault = it.open();
        vault.disk_find(&it.disk(0)).expect("found");
        until(&vault, "green", green);
    }
    // With a disk away nobody can tell; with none of it there nothing was stored.
    with("born", false.into());
    it.pull(0);
    drop(serves(&it, &large, "born, and one away"));
    let (empty, _) = Scratch::made(1);
    let path = empty.state().join("box.json");
    let mut of: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    of["born"] = false.into();
    fs::write(&path, serde_json::to_vec(&of).expect("text")).expect("written");
    empty.pull(0);
    let fault = Vault::open(&empty.state()).map(|_| ()).expect_err("nobody can tell");
    assert!(fault.class == Class::Refused && fault.to_string().contains("attach all"), "{fault}");
}

#[test]
fn a_try_out_is_one_because_the_journal_says_so() {
    let (it, large) = filled();
    let path = it.state().join("box.json");
    let text = fs::read_to_string(&path).expect("there");
    assert!(text.contains("\"try_out\": true"));
    fs::write(&path, text.replace("\"try_out\": true", "\"try_out\": false")).expect("written");
    let (_vault, status) = serves(&it, &large, "try_out");
    assert!(status.try_out);
}

#[test]
fn a_disk_with_a_forged_label_is_left_out_when_the_others_are_adopted() {
    let (it, made) = Scratch::made(3);
    let vault = it.open();
    put(&vault, "pc/d", b"kept");
    drop(vault);
    fs::remove_dir_all(it.state()).expect("there");
    forge_label(&it, 0, &[0, 1], &[(72, &u64::MAX.to_le_bytes())]);
    fs::write(it.disk(1).join("keys.age"), b"garbage").expect("written");
    let disks: Vec<_> = (0..3).map(|n| it.disk(n)).collect();
    let adopted = coffre_vault::adopt(&it.state(), &disks, &made.recovery_words).expect("adopted");
    assert!(
        adopted.warnings.iter().any(|w| w.contains("disk0") && w.contains("label")),
        "{:?}",
        adopted.warnings
    );
    let vault = it.open();
    assert_eq!(get(&vault, "pc/d"), b"kept");
    assert!(vault.status().writable);
}
