//! A vault has one owner: a second one finds its disks held, whatever state folder or command it comes from.

mod common;

use coffre_core::fault::Class;
use coffre_core::wire::{DiskState, Light};
use coffre_vault::Vault;
use coffre_vault::disk::{FsDisk, Holder};
use common::{Scratch, get, green, put, until};
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
