//! A vault has one owner: a second one finds its disks held, whatever state folder or command it comes from.

mod common;

use coffre_core::fault::Class;
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::slots::{SlotIdentity, open_root};
use coffre_core::wire::{DiskState, Light};
use coffre_vault::Vault;
use coffre_vault::disk::{FsDisk, Holder};
use common::{Scratch, get, green, put, try_put, until};
use std::path::Path;

fn copy(from: &Path, to: &Path, only: &[&str]) {
    std::fs::create_dir(to).expect("new");
    for entry in std::fs::read_dir(from).expect("there").map(|e| e.expect("listed")) {
        let name = entry.file_name().into_string().expect("text");
        if entry.path().is_file() && (only.is_empty() || only.contains(&name.as_str())) {
            std::fs::copy(entry.path(), to.join(name)).expect("copied");
        }
    }
}

#[test]
fn a_copied_state_folder_opens_nothing_while_its_disks_are_in_use() {
    let (it, made) = Scratch::made(3);
    let vault = it.open();
    put(&vault, "pc/d", b"first");
    for (n, only) in [&[][..], &["box.json", "box.identity", "keys.age"]].into_iter().enumerate() {
        let twin = it.path(&format!("twin{n}"));
        copy(&it.state(), &twin, only);
        let refused = Vault::open(&twin).expect_err("held");
        assert_eq!(refused.class, Class::Refused, "{refused}");
        let pid = format!("(pid {})", std::process::id());
        assert!(refused.what.contains("held by another") && refused.what.contains(&pid), "{refused}");
    }
    let disks: Vec<_> = (0..3).map(|n| it.disk(n)).collect();
    let adopted = it.path("adopted");
    let refused = coffre_vault::adopt(&adopted, &disks, &made.recovery_words).expect_err("held");
    assert!(refused.class == Class::Refused && refused.what.contains("held by another"), "{refused}");
    assert!(!adopted.exists(), "nothing is left behind");
    put(&vault, "pc/d", b"second");
    assert!(green(&vault.status()), "{:?}", vault.status().reasons);
    drop(vault);
    let twin = Vault::open(&it.path("twin1")).expect("free now");
    assert_eq!(get(&twin, "pc/d"), b"second");
}

#[test]
fn what_somebody_else_holds_is_not_used_and_comes_when_it_is_free() {
    let (it, _) = Scratch::made(3);
    let other = Holder::default();
    let take = |n: usize| {
        let disk = FsDisk::attach(&it.disk(n)).expect("there");
        disk.hold(&other).map(|()| disk)
    };
    let held = take(1).expect("free");
    let vault = it.open();
    let status = vault.status();
    assert_eq!((status.light, status.writable), (Light::Amber, true), "{:?}", status.reasons);
    assert_eq!(status.disks[1].state, DiskState::Held);
    let path = it.disk(1).display().to_string();
    assert!(status.reasons.iter().any(|r| r.contains(&path) && r.contains("held by another")));
    put(&vault, "pc/d", b"without it");
    assert!(take(0).is_err(), "the box has this one");
    drop(held);
    until(&vault, "all in use", green);
    assert!(take(1).is_err());
    // A disk that is gone is let go of.
    it.pull(2);
    until(&vault, "one gone", |s| s.disks[2].state == DiskState::Absent);
    let pulled = FsDisk::attach(&it.path("pulled2")).expect("there");
    pulled.hold(&other).expect("free");
}

#[test]
fn a_disk_that_is_held_is_neither_made_one_of_a_vault_nor_put_into_one() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    let (empty, other) = (it.path("empty"), Holder::default());
    std::fs::create_dir(&empty).expect("new");
    let held = FsDisk::attach(&empty).expect("there");
    held.hold(&other).expect("free");
    let refused = vault.disk_add(&empty).expect_err("held");
    assert!(refused.class == Class::Refused && refused.what.contains("held by another"), "{refused}");
    let mut plan = it.plan();
    (plan.state, plan.disks) = (it.path("other"), vec![empty.clone()]);
    let refused = coffre_vault::init(&plan, &common::authority).expect_err("held");
    assert!(refused.class == Class::Refused && refused.what.contains("held by another"), "{refused}");
    assert_eq!(common::files(&empty), 0);
    drop(held);
    vault.disk_add(&empty).expect("free now");
}

#[test]
fn with_a_disk_held_elsewhere_the_witness_vouches_for_nothing() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    put(&vault, "pc/d", b"both");
    drop(vault);
    let held = FsDisk::attach(&it.disk(0)).expect("there");
    held.hold(&Holder::default()).expect("free");
    // Whoever has the other disk may have this witness too.
    let vault = it.open();
    assert!(!vault.status().writable, "{:?}", vault.status().reasons);
    assert_eq!(get(&vault, "pc/d"), b"both");
    drop(held);
    until(&vault, "both in use", green);
    put(&vault, "pc/d", b"again");
}

/// The keys of a box, as another machine with its words has them.
fn keys(it: &Scratch) -> KeyRing {
    let read = |name: &str| std::fs::read(it.state().join(name)).expect("there");
    let own: SlotIdentity =
        String::from_utf8(read("box.identity")).expect("text").parse().expect("an identity");
    let (vault, root) = open_root(&read("keys.age"), &own).expect("opens");
    KeyRing::new(&root, vault)
}

/// What another machine writes first when it mounts the vault: a promise on a disk.
fn promise_elsewhere(it: &Scratch, disk: usize, change: impl Fn(&mut Label)) {
    let (keys, path) = (keys(it), it.disk(disk).join("label"));
    let mut file = std::fs::read(&path).expect("there");
    let mut label = Label::open(&keys, &file).expect("a label");
    label.generation += 1;
    change(&mut label);
    let at = label.slot_offset() as usize;
    let slot = label.encode(&keys);
    file[at..at + slot.len()].copy_from_slice(&slot);
    std::fs::write(path, file).expect("written");
}

#[test]
fn who_was_passed_acknowledges_nothing_more_and_does_not_come_back_by_itself() {
    for case in ["pushed", "idle", "tied"] {
        let (it, _) = Scratch::made(3);
        let vault = it.open();
        put(&vault, "pc/d", b"before");
        promise_elsewhere(&it, 1, |label| {
            label.owner = [7; 16];
            label.promised += u64::from(case != "tied");
        });
        if case != "idle" {
            let refused = try_put(&vault, "pc/d", b"after").expect_err("another box has it");
            assert!(refused.what.contains("has taken these disks over"), "{refused}");
        }
        let status = until(&vault, "red", |s| s.light == Light::Red && !s.writable);
        assert!(
            status.reasons.iter().any(|r| r.contains("has taken these disks over")),
            "{:?}",
            status.reasons
        );
        assert_eq!(get(&vault, "pc/d"), b"before", "restores go on");
        std::thread::sleep(std::time::Duration::from_millis(900));
        assert!(!vault.status().writable, "it does not take them back");
        drop(vault);
        // A person has decided: this one goes on.
        let vault = it.open();
        // What was refused may have reached disks all the same: nobody was told that it had not.
        let latest = get(&vault, "pc/d");
        assert!([&b"before"[..], b"after"].contains(&latest.as_slice()), "{latest:?}");
        put(&vault, "pc/d", b"again");
        until(&vault, "green", green);
    }
}

#[test]
fn a_promise_that_nobody_with_the_keys_made_stops_nobody() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    promise_elsewhere(&it, 1, |label| label.promised += 9);
    let mut bad = std::fs::read(it.disk(1).join("label")).expect("there");
    for slot in bad.chunks_exact_mut(4096) {
        slot[4032] ^= 1;
        let sum = blake3::derive_key("coffre 2026 v1 disk label", &slot[..4064]);
        slot[4064..].copy_from_slice(&sum);
    }
    std::fs::write(it.disk(1).join("label"), bad).expect("written");
    put(&vault, "pc/d", b"goes on");
    assert!(vault.status().writable);
}
