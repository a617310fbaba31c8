//! Shards that vanish or rot under a running box: nothing new rests on them, status says so, what can be mended is.

mod common;

use coffre_core::fault::Class;
use coffre_core::shard::ShardHeader;
use coffre_core::wire::Light;
use common::{Scratch, get, green, noise, put, until};
use std::fs;
use std::path::{Path, PathBuf};

/// All shard files of a disk.
fn shards(disk: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(disk.join("shards")).expect("a disk of a vault");
    let files = dirs.flat_map(|d| fs::read_dir(d.expect("readable").path()).expect("a folder"));
    files.map(|f| f.expect("readable").path()).collect()
}

fn is_data(file: &Path) -> bool {
    let header = ShardHeader::parse(&fs::read(file).expect("a shard")).expect("a header");
    usize::from(header.shard) < header.geometry.k()
}

fn rot(file: &Path) {
    let mut bytes = fs::read(file).expect("a shard");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(file, bytes).expect("writable");
}

#[test]
fn what_cannot_be_read_is_no_copy_and_is_stored_again() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    let body = noise(12_000_000, 1);
    put(&vault, "pc/first", &body);
    until(&vault, "green", green);
    for disk in 0..3 {
        for file in shards(&it.disk(disk)) {
            fs::remove_file(file).expect("removable");
        }
    }
    let receipt = put(&vault, "pc/again", &body);
    assert!(receipt.snapshot.stored_bytes > 11_000_000, "it was stored again, not shared: {receipt:?}");
    assert_eq!(receipt.tolerates, 2);
    assert_eq!(get(&vault, "pc/again"), body);
    assert_eq!(get(&vault, "pc/first"), body, "the same chunks, found where they are now");
}

#[test]
fn rot_that_a_reader_meets_is_counted_and_mended() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    let body = noise(6_000_000, 2);
    put(&vault, "pc/d", &body);
    until(&vault, "green", green);
    // A reader meets data shards only; which disks have those differs from pack to pack.
    let all: Vec<PathBuf> = (0..6).flat_map(|disk| shards(&it.disk(disk))).collect();
    let data: Vec<&PathBuf> = all.iter().filter(|file| is_data(file)).take(2).collect();
    assert_eq!((all.len(), data.len()), (6, 2), "one pack");
    data.into_iter().for_each(|file| rot(file));
    assert_eq!(get(&vault, "pc/d"), body);
    // Counted, encoded again from what is good, and only then green.
    let status = until(&vault, "mended", |s| green(s) && s.debt_packs == 0);
    assert_eq!(status.can_lose_disks, 2);
    it.pull(4);
    it.pull(5);
    assert_eq!(get(&vault, "pc/d"), body, "with two other disks gone as well");
}

#[test]
fn rot_that_nobody_reads_is_found_by_a_scrub_told_and_healed_in_place() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    put(&vault, "pc/d", &noise(6_000_000, 4));
    until(&vault, "green", green);
    // Packs are small here and merged within minutes: what is compared is what is there now.
    let whole: Vec<(PathBuf, Vec<u8>)> = (0..2)
        .flat_map(|disk| shards(&it.disk(disk)))
        .map(|file| (file.clone(), fs::read(file).expect("a shard")))
        .collect();
    whole.iter().for_each(|(file, _)| rot(file));
    vault.scrub(Some(true)).expect("begun");
    let found = until(&vault, "found", |s| !s.scrub.finds.is_empty());
    let first = found.scrub.finds.first().expect("just seen");
    assert!(first.what.starts_with("shard ") && first.disk.is_some_and(|d| d < 2), "{first:?}");
    let status = until(&vault, "healed", |s| green(s) && s.scrub.running.is_none() && s.scrub.unhealed == 0);
    assert_eq!(status.scrub.finds.len(), whole.len(), "each one is told: {:?}", status.scrub);
    assert!(status.scrub.finds.iter().all(|f| f.healed_ms.is_some()));
    assert!(status.scrub.last_deep_ms.is_some() && status.scrub.last_light_ms.is_some());
    assert_eq!(status.heal.healed_shards, whole.len() as u64);
    for (file, bytes) in &whole {
        assert_eq!(fs::read(file).expect("a shard"), *bytes, "the very bytes that were lost");
    }
    drop(vault);
    let again = it.open().scrub(None).expect("told");
    assert_eq!((again.finds, again.last_deep_ms), (status.scrub.finds, status.scrub.last_deep_ms));
}

#[test]
fn a_damaged_label_is_written_right() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    put(&vault, "pc/d", &noise(10_000, 5));
    let label = it.disk(1).join("label");
    let whole = fs::read(&label).expect("a label");
    for at in [70, 4096 + 70] {
        let mut bytes = fs::read(&label).expect("a label");
        bytes[at] ^= 1;
        fs::write(&label, bytes).expect("writable");
    }
    vault.scrub(Some(false)).expect("begun");
    let status = until(&vault, "seen", |s| s.scrub.finds.iter().any(|f| f.what == "label"));
    let find = status.scrub.finds.iter().find(|f| f.what == "label").expect("just seen");
    assert!(find.disk == Some(1) && find.healed_ms.is_some(), "{find:?}");
    let now = fs::read(&label).expect("a label");
    let newer = if u64::from_le_bytes(whole[64..72].try_into().expect("eight bytes")) % 2 == 0
        && whole[64] > whole[4096 + 64]
    {
        0
    } else {
        4096
    };
    assert_eq!(now[newer..newer + 4096], whole[newer..newer + 4096], "the slot that holds");
    drop(vault);
    until(&it.open(), "all three disks", green);
}

#[test]
fn a_disk_without_a_whole_label_says_what_to_type() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let body = noise(2_000_000, 6);
    put(&vault, "pc/d", &body);
    until(&vault, "green", green);
    drop(vault);
    let label = it.disk(1).join("label");
    let mut bytes = fs::read(&label).expect("a label");
    for slot in [0, 4096] {
        bytes[slot + 70] ^= 1;
    }
    fs::write(&label, bytes).expect("writable");
    let vault = it.open();
    let status = vault.status();
    let why = status.disks[1].reason.clone().unwrap_or_default();
    for part in ["label are damaged", "nothing is lost", "coffre disk replace 1 --with PATH"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    assert_eq!(get(&vault, "pc/d"), body);
    put(&vault, "pc/e", &body);
}

#[test]
fn a_snapshot_out_of_reach_is_not_called_absent() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    put(&vault, "pc/d", &noise(3_000_000, 3));
    for disk in 0..3 {
        it.pull(disk);
    }
    until(&vault, "three gone", |s| {
        s.light == Light::Red && s.disks.iter().filter(|d| d.reason.is_some()).count() == 3
    });
    let mut reader = vault.read(&common::dataset("pc/d"), coffre_vault::Which::Latest).expect("it is known");
    let fault = reader.read_at(0, 100).expect_err("three of 4+2 are gone");
    assert_eq!(fault.class, Class::Transient, "{fault}");
    assert!(!fault.what.contains("shard"), "nothing about the inside: {fault}");
    assert!(
        vault.status().reasons.iter().any(|r| r.contains("cannot be read")),
        "{:?}",
        vault.status().reasons
    );
}
