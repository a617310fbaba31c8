//! Rot in the journals of more disks than the vault can miss, one record each: the box comes up green, everything reads back, and
//! each journal is whole again.

mod common;

use coffre_core::ids::VaultId;
use coffre_core::record::{Found, decode};
use common::{Scratch, get, green, noise, put, until};
use std::fs;
use std::path::PathBuf;

const BLOCK: usize = 4096;

fn segment(it: &Scratch, disk: usize) -> PathBuf {
    it.disk(disk).join("journal/00000000.seg")
}

/// Where each record begins, in order: the first has number 1.
fn records(vault: VaultId, segment: &[u8]) -> Vec<usize> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(rest) = segment.get(at..) {
        let Found::Record(meta, _) = decode(vault, rest) else { break };
        assert_eq!(meta.header.seq, all.len() as u64 + 1);
        all.push(at);
        at += meta.padded_len;
    }
    all
}

/// Damages the first block of a record.
fn rot(it: &Scratch, disk: usize, at: usize) {
    let path = segment(it, disk);
    let mut bytes = fs::read(&path).expect("a segment");
    bytes[at + 100..at + BLOCK].iter_mut().for_each(|b| *b ^= 0x5a);
    fs::write(path, bytes).expect("writable");
}

/// Snapshots in the journal, rot while the box is off, and what must come of it.
fn comes_up_whole(disks: usize, holes: &[(usize, u64)]) {
    let (it, made) = Scratch::made(disks);
    let vault = it.open();
    let bodies: Vec<Vec<u8>> = (0..16).map(|n| noise(200, n + 1)).collect();
    for (n, body) in bodies.iter().enumerate() {
        put(&vault, &format!("pc/d{n}"), body);
    }
    until(&vault, "green", green);
    drop(vault);
    let places = records(made.vault_id, &fs::read(segment(&it, 0)).expect("a journal"));
    assert!(places.len() >= bodies.len());
    holes.iter().for_each(|(disk, seq)| rot(&it, *disk, places[*seq as usize - 1]));

    let vault = it.open();
    let status = until(&vault, "green again", |s| green(s) && s.scrub.finds.len() >= holes.len());
    for (n, body) in bodies.iter().enumerate() {
        assert_eq!(get(&vault, &format!("pc/d{n}")), *body);
    }
    let mut told: Vec<(Option<u8>, String)> =
        status.scrub.finds.iter().map(|f| (f.disk, f.what.clone())).collect();
    told.sort();
    let lost = |(disk, seq): &(usize, u64)| (Some(*disk as u8), format!("record {seq}"));
    assert_eq!(told, holes.iter().map(lost).collect::<Vec<_>>());
    assert!(status.scrub.finds.iter().all(|f| f.healed_ms.is_some()), "{:?}", status.scrub.finds);
    put(&vault, "pc/after", &noise(300, 99));
    until(&vault, "green after it", green);
    drop(vault);

    // A find that was told stays told, and nothing is found anew.
    let again = it.open();
    let status = until(&again, "green once more", green);
    assert_eq!(status.scrub.finds.len(), holes.len(), "{:?}", status.scrub.finds);
    drop(again);
    let whole = fs::read(segment(&it, disks - 1)).expect("a journal");
    for disk in 0..disks {
        assert!(fs::read(segment(&it, disk)).expect("a journal") == whole, "disk {disk} has every record");
        let aside = fs::read_dir(it.disk(disk).join("quarantine")).expect("a folder").count();
        assert_eq!(aside, 0, "nothing of disk {disk} was put aside");
    }
}

#[test]
fn holes_on_two_disks_of_three() {
    comes_up_whole(3, &[(0, 6), (1, 8)]);
}

#[test]
fn holes_on_four_disks_of_six() {
    comes_up_whole(6, &[(0, 5), (1, 7), (2, 10), (3, 5)]);
}
