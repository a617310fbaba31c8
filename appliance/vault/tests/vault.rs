//! The whole vault on real folders: made, filled, read, degraded, healed.

mod common;

use coffre_core::fault::Class;
use coffre_core::names::ClientName;
use coffre_core::wire::{DiskState, Light};
use coffre_vault::{Vault, Which};
use common::{Scratch, authority, dataset, files, get, green, noise, put, try_put, until};
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZES: [usize; 5] = [0, 1, 64 << 10, (64 << 10) + 1, 5 << 20];

#[test]
fn one_to_eight_disks_take_and_give_back() {
    for disks in 1..=8 {
        let (it, made) = Scratch::made(disks);
        assert_eq!(made.recovery_words.len(), 24);
        assert_eq!(made.warnings.len(), usize::from(disks == 1), "{:?}", made.warnings);
        let vault = it.open();
        let status = vault.status();
        let light = if disks == 1 { Light::Amber } else { Light::Green };
        assert_eq!((status.light, status.writable), (light, true), "{disks}: {:?}", status.reasons);
        assert_eq!(status.can_lose_disks as usize, made.geometry.m());
        assert_eq!((vault.name().as_str(), vault.authority_der()), ("office", made.authority_der.clone()));
        assert_eq!(
            authority(&vault.identity(), made.vault_id, "office", 0).expect("made"),
            made.authority_der
        );
        for (n, len) in SIZES.into_iter().enumerate() {
            let facts = put(&vault, &format!("pc/d{n}"), &noise(len, n as u64 + 1));
            assert_eq!((facts.snapshot.size, facts.tolerates as usize), (len as u64, made.geometry.m()));
        }
        vault.close();
        assert_eq!(try_put(&vault, "pc/late", b"x").expect_err("closed").class, Class::Transient);
        drop(vault);
        let vault = it.open();
        for (n, len) in SIZES.into_iter().enumerate() {
            assert!(
                get(&vault, &format!("pc/d{n}")) == noise(len, n as u64 + 1),
                "{disks} disks, {len} bytes"
            );
        }
    }
}

#[test]
fn a_large_snapshot_its_ranges_and_a_second_push_that_stores_nothing() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    let bytes = noise(80 << 20, 7);
    let first = put(&vault, "pc/big", &bytes);
    assert!(first.snapshot.stored_bytes >= bytes.len() as u64);
    assert_eq!(first.snapshot.hash, format!("blake3:{}", blake3::hash(&bytes).to_hex()));
    assert!(get(&vault, "pc/big") == bytes);
    let mut reader = vault.read(&dataset("pc/big"), Which::Id(first.snapshot.id)).expect("there");
    for at in [0, 1, (64 << 10) - 1, 33_554_431, 50_000_000, bytes.len() - 1] {
        let piece = reader.read_at(at as u64, 1000).expect("readable");
        assert!(!piece.is_empty() && bytes[at..].starts_with(&piece), "{at}");
    }
    let again = put(&vault, "pc/again", &bytes);
    assert!(again.snapshot.stored_bytes < bytes.len() as u64 / 100, "{}", again.snapshot.stored_bytes);
    assert!(get(&vault, "pc/again") == bytes);
    let theirs = put(&vault, "other/big", &bytes[..20 << 20]);
    assert!(theirs.snapshot.stored_bytes >= 20 << 20, "nothing is shared between clients");
    assert!(vault.status().stored_bytes > 150 << 20);
}

/// What is known is recognised, and what is not is stored: after an insertion, a change, a cut, and twice in one stream.
#[test]
fn a_changed_stream_stores_what_changed() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let first = noise(40 << 20, 6);
    put(&vault, "pc/a", &first);
    // The packs are written by then: what is in memory only is not recognised.
    until(&vault, "settled", green);
    let mut changed = first.clone();
    changed.splice(10_000_000..10_000_000, *b"inserted");
    changed[25_000_000] ^= 1;
    changed.truncate(39_000_001);
    let mut twice = first[..9_000_000].to_vec();
    twice.extend(&first[..20_000_000]);
    for (bytes, at_most) in [(changed, 10 << 20), (twice, 6 << 20), (first, 0)] {
        let receipt = put(&vault, "pc/a", &bytes);
        assert!(receipt.snapshot.stored_bytes <= at_most, "{:?}", receipt.snapshot);
        assert!(get(&vault, "pc/a") == bytes, "other bytes came back");
    }
}

#[test]
fn two_of_six_disks_go_and_come_back() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    let (old, new) = (noise(9 << 20, 1), noise(6 << 20, 2));
    assert_eq!(put(&vault, "pc/old", &old).tolerates, 2);
    it.pull(1);
    it.pull(4);
    let status =
        until(&vault, "both gone", |s| s.disks.iter().filter(|d| d.state == DiskState::Absent).count() == 2);
    assert_eq!((status.light, status.writable, status.can_lose_disks), (Light::Red, true, 0));
    assert!(status.reasons.iter().any(|r| r.contains("disk 1")), "{:?}", status.reasons);
    assert!(get(&vault, "pc/old") == old);
    put(&vault, "pc/new", &new);
    let small = put(&vault, "pc/small", b"tiny");
    assert!(get(&vault, "pc/new") == new && small.snapshot.size == 4);
    assert!(!it.disk(1).exists(), "nothing is written where a disk was");
    it.put_back(1);
    it.put_back(4);
    let status = until(&vault, "green again", green);
    assert_eq!(status.can_lose_disks, 2);
    drop(vault);
    let vault = it.open();
    for n in [0, 2] {
        it.pull(n);
    }
    until(&vault, "two others gone", |s| s.can_lose_disks == 0);
    assert!(get(&vault, "pc/old") == old && get(&vault, "pc/new") == new);
    assert_eq!(get(&vault, "pc/small"), b"tiny");
}

#[test]
fn too_few_disks_are_read_only_until_they_come_back() {
    let (it, _) = Scratch::made(4);
    let vault = it.open();
    put(&vault, "pc/a", b"before");
    drop(vault);
    for n in [0, 1, 3] {
        it.pull(n);
    }
    let vault = it.open();
    let status = vault.status();
    assert_eq!((status.light, status.writable), (Light::Red, false), "{:?}", status.reasons);
    assert_eq!(get(&vault, "pc/a"), b"before");
    assert_eq!(try_put(&vault, "pc/b", b"x").expect_err("read-only").class, Class::Refused);
    it.pull(2);
    until(&vault, "all gone", |s| s.disks.iter().all(|d| d.state == DiskState::Absent));
    for n in 0..4 {
        it.put_back(n);
    }
    until(&vault, "green again", green);
    put(&vault, "pc/b", b"after");
    assert_eq!((get(&vault, "pc/a"), get(&vault, "pc/b")), (b"before".to_vec(), b"after".to_vec()));
}

#[test]
fn a_box_of_two_goes_on_with_one_as_long_as_its_witness_knows() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    put(&vault, "pc/a", b"on both");
    it.pull(0);
    until(&vault, "one gone", |s| s.can_lose_disks == 0 && s.writable);
    assert_eq!(put(&vault, "pc/b", b"on one").tolerates, 0);
    drop(vault);
    let vault = it.open();
    put(&vault, "pc/c", b"on one again");
    it.put_back(0);
    until(&vault, "green again", green);
    drop(vault);
    it.pull(1);
    let vault = it.open();
    assert_eq!(get(&vault, "pc/c"), b"on one again");
}

#[test]
fn disks_are_known_by_label_not_by_place_and_a_copy_of_one_is_not_used() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let bytes = noise(1 << 20, 3);
    put(&vault, "pc/a", &bytes);
    drop(vault);
    std::fs::rename(it.disk(0), it.path("x")).expect("there");
    std::fs::rename(it.disk(1), it.disk(0)).expect("there");
    std::fs::rename(it.path("x"), it.disk(1)).expect("there");
    let vault = it.open();
    let status = vault.status();
    assert_eq!(status.light, Light::Green, "{:?}", status.reasons);
    assert!(status.disks[0].path.ends_with("disk1") && status.disks[1].path.ends_with("disk0"));
    assert!(get(&vault, "pc/a") == bytes);
    drop(vault);
    // Disk 2's folder becomes a copy of another disk.
    it.pull(2);
    let copied = std::process::Command::new("cp").arg("-r").arg(it.disk(0)).arg(it.disk(2)).status();
    assert!(copied.expect("cp").success());
    let vault = it.open();
    let status = vault.status();
    let said = status.disks.iter().filter(|d| d.state == DiskState::Foreign).count();
    assert!(said == 1 && !status.writable, "{status:#?}");
    assert!(status.disks.iter().filter_map(|d| d.reason.as_ref()).any(|r| r.contains("copy")));
}

#[test]
fn an_empty_folder_where_a_disk_was_stays_empty() {
    let (it, _) = Scratch::made(3);
    let (other, _) = Scratch::made(1);
    it.pull(1);
    std::fs::create_dir(it.disk(1)).expect("scratch");
    let vault = it.open();
    let status = vault.status();
    assert!(status.disks[1].state == DiskState::Absent && status.writable);
    assert!(status.disks[1].reason.as_ref().is_some_and(|r| r.contains("no label")), "{status:?}");
    put(&vault, "pc/a", &noise(100_000, 1));
    assert_eq!(files(&it.disk(1)), 0);
    std::fs::remove_dir(it.disk(1)).expect("empty");
    std::fs::rename(other.disk(0), it.disk(1)).expect("there");
    let before = files(&it.disk(1));
    let status = until(&vault, "a foreign disk", |s| s.disks[1].state == DiskState::Foreign);
    assert!(status.disks[1].reason.as_ref().is_some_and(|r| r.contains("another vault")), "{status:?}");
    assert_eq!(files(&it.disk(1)), before);
}

#[test]
fn the_index_may_be_burnt_at_any_time() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let bytes = noise(3 << 20, 4);
    put(&vault, "pc/a", &bytes);
    until(&vault, "whole", |s| s.index_ready);
    vault.index_burn().expect("burnt");
    assert!(get(&vault, "pc/a") == bytes);
    let status = until(&vault, "built again", |s| s.index_ready);
    assert_eq!(status.light, Light::Green);
    let again = put(&vault, "pc/a", &bytes);
    assert!(again.snapshot.stored_bytes < 100_000, "{}", again.snapshot.stored_bytes);
    assert_eq!(vault.snapshots(Some(&dataset("pc/a"))).expect("two").len(), 2);
    drop(vault);
    std::fs::remove_dir_all(it.state().join("index")).expect("there");
    let vault = it.open();
    assert!(get(&vault, "pc/a") == bytes);
    until(&vault, "built again", |s| s.index_ready);
    assert_eq!(vault.snapshots(Some(&dataset("pc/a"))).expect("two").len(), 2);
    until(&vault, "still whole", |s| s.index_ready);
}

#[test]
fn ten_thousand_small_objects_make_few_files() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 10_000 {
                        break;
                    }
                    put(&vault, &format!("pc/s{}", n % 100), &noise(200, n as u64 + 1));
                }
            });
        }
    });
    assert_eq!(vault.status().objects, 10_000);
    for n in 0..2 {
        assert!(files(&it.disk(n)) < 200, "{} files", files(&it.disk(n)));
    }
    drop(vault);
    let vault = it.open();
    assert_eq!(vault.status().objects, 10_000);
    assert_eq!(vault.snapshots(None).expect("all").len(), 10_000);
    assert_eq!(get(&vault, "pc/s7").len(), 200);
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    for len in [10, 3 << 20] {
        let mut stream = vault.put(&dataset("pc/a"), None).expect("begun");
        stream.write(&noise(len, 9)).expect("taken");
        drop(stream);
    }
    assert_eq!((vault.status().objects, vault.status().logical_bytes), (0, 0));
    assert_eq!(vault.snapshots(Some(&dataset("pc/a"))).expect_err("none").class, Class::Absent);
    assert!(vault.read(&dataset("pc/a"), Which::Latest).is_err());
    put(&vault, "pc/a", b"now");
    assert_eq!(vault.datasets(&"pc".parse().expect("a name")).len(), 1);
}

#[test]
fn quotas_and_announced_lengths() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    let pc: ClientName = "pc".parse().expect("a name");
    vault.client_add(&pc, Some(1_000), None).expect("made");
    put(&vault, "pc/a", &[1; 600]);
    let full = |name: &str, hint: Option<u64>| vault.put(&dataset(name), hint).err().map(|e| e.class);
    assert_eq!(full("pc/a", Some(401)), Some(Class::Full));
    assert_eq!(full("pc/a", Some(400)), None);
    assert_eq!(full("free/a", Some(1 << 60)), Some(Class::Full));
    let mut one = vault.put(&dataset("pc/a"), None).expect("begun");
    let mut two = vault.put(&dataset("pc/b"), None).expect("begun");
    one.write(&[2; 300]).expect("taken");
    assert_eq!(two.write(&[3; 200]).expect_err("together too much").class, Class::Full);
    drop(one);
    two.write(&[3; 200]).expect("taken now");
    two.finish().expect("stored");
    assert_eq!(vault.clients()[0].logical_bytes, 800);
}

#[test]
fn clients_come_and_go() {
    let (it, made) = Scratch::made(2);
    let vault = it.open();
    let pc: ClientName = "pc".parse().expect("a name");
    let first = vault.client_add(&pc, None, None).expect("made");
    assert_eq!(vault.client_add(&pc, None, None).expect_err("taken").class, Class::Refused);
    assert_eq!(vault.authenticate("pc", &first.secret), Some(pc.clone()));
    for (name, secret) in [("pc", "no"), ("pd", &first.secret), ("P C", &first.secret), ("nobody", "")] {
        assert_eq!(vault.authenticate(name, secret), None, "{name}");
    }
    assert_eq!(vault.arrivals(&pc), Default::default());
    put(&vault, "pc/a", b"stays");
    let arrived = vault.arrivals(&pc);
    assert!(arrived.snapshots == 1 && arrived.newest_ms.is_some());
    std::thread::sleep(std::time::Duration::from_millis(20));
    put(&vault, "pc/a", b"and more");
    put(&vault, "pc/b", b"and more elsewhere");
    assert!(vault.arrivals(&pc).newest_ms > arrived.newest_ms);
    assert_eq!(vault.first_arrival(&pc, None), arrived.newest_ms, "the first, not the newest");
    assert!(vault.first_arrival(&pc, arrived.newest_ms) > arrived.newest_ms);
    assert_eq!(vault.first_arrival(&pc, vault.arrivals(&pc).newest_ms), None);
    let old = first;
    let first = vault.client_rotate(&pc).expect("a new secret");
    assert_eq!(vault.authenticate("pc", &old.secret), None, "void at once");
    assert_eq!(vault.authenticate("pc", &first.secret), Some(pc.clone()));
    assert!(vault.clients()[0].datasets == 2 && !vault.clients()[0].removed, "the rest stays");
    vault.client_remove(&pc).expect("removed");
    assert_eq!(vault.client_remove(&pc).expect_err("gone").class, Class::Absent);
    assert_eq!(vault.client_rotate(&pc).expect_err("gone").class, Class::Absent);
    assert_eq!(vault.authenticate("pc", &first.secret), None);
    assert!(vault.clients()[0].removed && vault.clients()[0].datasets == 2);
    drop(vault);
    let vault: Vault = it.open();
    assert_eq!(vault.authenticate("pc", &first.secret), None);
    let second = vault.client_add(&pc, Some(5), None).expect("again");
    assert!(second.secret != first.secret && vault.authenticate("pc", &second.secret).is_some());
    vault.check_words(&made.recovery_words).expect("they open it");
    let (_, other) = Scratch::made(1);
    assert_eq!(vault.check_words(&other.recovery_words).expect_err("others").class, Class::Refused);
    assert_eq!(vault.check_words(&["ab".into()]).expect_err("too few").class, Class::Misuse);
}
