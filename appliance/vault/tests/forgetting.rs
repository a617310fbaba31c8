//! Forgetting through the whole shell: real threads, real files, real seconds.

mod common;

use coffre_core::class::LockClass;
use coffre_core::fault::Class;
use coffre_core::keep::KeepRules;
use coffre_vault::{Vault, Which};
use common::*;
use std::thread::sleep;
use std::time::Duration;

/// A try-out with a client and a data set with short locks.
fn short(disks: usize) -> (Scratch, Vault) {
    let (scratch, _) = Scratch::made(disks);
    let vault = scratch.open();
    vault.client_add(&"pc".parse().expect("a name"), None, None).expect("added");
    let keep = KeepRules::default();
    vault.dataset_set(&dataset("pc/docs"), Some(LockClass(1)), Some(keep), None).expect("set");
    (scratch, vault)
}

#[test]
fn what_may_go_is_planned_approved_and_freed_after_its_grace() {
    let (scratch, vault) = short(3);
    for seed in 0..3 {
        put(&vault, "pc/docs", &noise(300_000, seed));
    }
    put(&vault, "pc/other", &noise(1_000, 9));
    let locked = vault.forget_plan().expect("a plan");
    assert!(locked.snapshots.iter().all(|j| j.keep && !j.reasons.is_empty()), "{locked:#?}");
    sleep(Duration::from_millis(1_200));
    let plan = vault.forget_plan().expect("a plan");
    let goes: Vec<bool> = plan.snapshots.iter().map(|j| !j.keep).collect();
    assert_eq!(goes, [true, true, false, false], "the newest stays, and so does what is locked");
    assert!(plan.needs_approval && plan.packs == 2 && plan.frees_bytes > 600_000, "{plan:#?}");
    assert!(vault.forget_run(None).expect("a run").asks);
    assert_eq!(vault.forget_run(Some("000000000000")).expect_err("another plan").class, Class::Refused);
    until(&vault, "the light says that somebody is asked", |s| {
        s.reasons.iter().any(|r| r.contains(&plan.id))
    });
    let done = vault.forget_run(Some(&plan.id)).expect("approved");
    assert_eq!((done.condemned, done.condemned_packs, done.freed), (2, 2, 0));
    // Still there until the grace is over, also after another start.
    vault.close();
    drop(vault);
    let vault = scratch.open();
    assert_eq!(vault.snapshots(Some(&dataset("pc/docs"))).expect("there").len(), 3);
    let id = plan.snapshots[0].id;
    assert!(vault.read(&dataset("pc/docs"), Which::Id(id)).is_ok());
    until(&vault, "the keeper frees what was condemned", |s| s.objects == 2 && s.packs == 1);
    assert_eq!(get(&vault, "pc/docs"), noise(300_000, 2));
    for _ in 0..500 {
        if files(&scratch.disk(0).join("shards")) == 1 {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    assert_eq!((0..3).map(|n| files(&scratch.disk(n).join("shards"))).max(), Some(1), "shards are gone, too");
    let left = vault.read(&dataset("pc/docs"), Which::Id(id)).map(drop);
    assert_eq!(left.expect_err("forgotten").class, Class::Absent);
}

#[test]
fn an_upload_that_was_cut_off_leaves_nothing_for_ever() {
    let (_scratch, vault) = short(2);
    put(&vault, "pc/docs", &noise(200_000, 1));
    // More than one pack, so that the first of them is sealed although nobody is ever acknowledged on it.
    let mut stream = vault.put(&dataset("pc/docs"), None).expect("begun");
    for seed in 0..40 {
        stream.write(&noise(1 << 20, 100 + seed)).expect("taken");
    }
    until(&vault, "a pack of the upload is in the journal", |s| s.packs >= 2);
    let held = vault.forget_run(None).expect("a run");
    assert_eq!(held.condemned_packs, 0, "the stream is still on its way");
    drop(stream);
    // The keeper does the same every ten seconds; it is not waited for.
    vault.forget_run(None).expect("a run");
    sleep(Duration::from_millis(10_100));
    until(&vault, "what it left is gone", |s| vault.forget_run(None).is_ok() && s.packs == 1);
    assert_eq!(get(&vault, "pc/docs"), noise(200_000, 1));
}

#[test]
fn classes_are_kept_apart_and_no_class_shortens_a_lock() {
    let (_scratch, vault) = short(2);
    let name = dataset("pc/docs");
    let first = put(&vault, "pc/docs", &noise(100_000, 1)).snapshot;
    // The clock is looked at once more after the snapshot is stamped.
    let locked_ms = first.locked_until_ms - first.received_ms;
    assert!(first.class == LockClass(1) && (1_000..1_500).contains(&locked_ms), "{locked_ms}");
    vault.dataset_set(&name, Some("10y".parse().expect("a class")), None, None).expect("set");
    let second = put(&vault, "pc/docs", &noise(100_000, 1)).snapshot;
    assert!(second.stored_bytes > 90_000, "a chunk in a pack of a shorter class is stored again");
    // The index is told of a pack behind the acknowledgement: until then a chunk may be stored once more.
    let other = dataset("pc/other");
    vault.dataset_set(&other, Some("10y".parse().expect("a class")), None, None).expect("set");
    let shared = (0..200).any(|_| {
        sleep(Duration::from_millis(20));
        put(&vault, "pc/other", &noise(100_000, 1)).snapshot.stored_bytes == 0
    });
    assert!(shared, "a chunk in a pack of the same class is shared");
    vault.dataset_set(&name, Some(LockClass(5)), None, None).expect("set");
    let all = vault.snapshots(Some(&name)).expect("there");
    assert_eq!(
        all.iter().map(|s| s.locked_until_ms).collect::<Vec<_>>(),
        [first, second].map(|s| s.locked_until_ms)
    );
    let info = vault.dataset_list().expect("known");
    assert_eq!((info[0].class, info[0].snapshots), (LockClass(5), 2));
    let nobody = vault.dataset_set(&dataset("nobody/docs"), Some(LockClass(5)), None, None);
    assert_eq!(nobody.expect_err("no client").class, Class::Absent);
}

#[test]
fn the_clock_is_shown_and_attested_within_reason() {
    let (_scratch, vault) = short(2);
    let clock = vault.clock_show();
    assert!(clock.doubt.is_none() && clock.wall_ms.abs_diff(clock.retention_ms) < 60_000, "{clock:?}");
    let far = vault.clock_attest(clock.wall_ms + 3 * 86_400_000);
    assert_eq!(far.expect_err("not by the wall").class, Class::Refused);
    let same = vault.clock_attest(clock.wall_ms - 60_000).expect("heard");
    assert_eq!((same.leapt_ms, same.doubt), (0, None));
}
