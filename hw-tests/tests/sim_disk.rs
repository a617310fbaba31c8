//! The simulated disk's own bad days: that it really drops, tears, lies, fills and forgets.

use coffre_rig::rng::Rng;
use coffre_rig::sim::{Power, Refusal, SimDisk, Strike, Tear};
use coffre_vault::ports::{Disk, DiskError};
use std::collections::BTreeSet;

/// A disk with one durable file of `len` bytes of 1.
fn with_file(seed: u64, len: usize) -> SimDisk {
    let disk = SimDisk::new("d", seed);
    disk.create("f").expect("new disk");
    disk.write_at("f", 0, &vec![1; len]).expect("room");
    disk.sync("f").expect("no fault yet");
    disk.sync_dir("").expect("no fault yet");
    disk
}

fn bytes_of(disk: &SimDisk, path: &str) -> Vec<u8> {
    disk.peek(path).expect("the file is there")
}

fn is_gone<T: std::fmt::Debug>(outcome: Result<T, DiskError>) -> bool {
    matches!(outcome, Err(DiskError::Gone(_)))
}

#[test]
fn unsynced_sectors_meet_every_fate_and_synced_ones_none() {
    let mut fates = BTreeSet::new();
    let mut by_block = BTreeSet::new();
    for seed in 0..300 {
        let disk = with_file(seed, 16384);
        disk.write_at("f", 4096, &[2; 8192]).expect("open");
        assert_eq!(bytes_of(&disk, "f")[4096], 2, "a reader sees what was not synced");
        disk.power_cut(&mut Rng::new(seed));
        let bytes = bytes_of(&disk, "f");
        assert_eq!(bytes.len(), 16384);
        assert!(bytes[..4096].iter().chain(&bytes[12288..]).all(|b| *b == 1), "a neighbour was damaged");
        let all = |sector: &[u8], value: u8| sector.iter().all(|b| *b == value);
        let fate = |s: &[u8]| {
            if all(s, 1) {
                "old"
            } else if all(s, 2) {
                "new"
            } else {
                "garbage"
            }
        };
        let sectors: Vec<_> = bytes[4096..12288].chunks(512).map(fate).collect();
        by_block.insert(sectors.chunks(8).all(|block| block.iter().all(|f| *f == block[0])));
        fates.extend(sectors);
        assert!(disk.write_at("f", 0, b"x").is_err(), "handles do not outlive a power cut");
    }
    assert_eq!(fates, BTreeSet::from(["garbage", "new", "old"]));
    assert_eq!(by_block.len(), 2, "both sector sizes occur");
}

#[test]
fn garbage_may_take_the_rest_of_a_sector_unless_told_not_to() {
    let damaged = |whole_sector| {
        (0..200).any(|seed| {
            let disk = with_file(seed, 100);
            disk.faults(|f| f.tear = Tear { whole_sector, ..Tear::default() });
            disk.write_at("f", 100, &[2; 100]).expect("open");
            disk.power_cut(&mut Rng::new(seed));
            bytes_of(&disk, "f")[..100] != [1; 100]
        })
    };
    assert!(damaged(true));
    assert!(!damaged(false));
}

#[test]
fn an_extended_file_comes_back_with_any_length_between() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let disk = with_file(seed, 1000);
        disk.write_at("f", 1000, &[2; 3000]).expect("open");
        disk.power_cut(&mut Rng::new(seed));
        lengths.insert(bytes_of(&disk, "f").len());
    }
    assert_eq!((lengths.first(), lengths.last()), (Some(&1000), Some(&4000)));
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn names_survive_only_by_luck_until_their_folder_is_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disk = with_file(seed, 10);
        disk.create("new").expect("free");
        disk.write_at("new", 0, b"synced").expect("open");
        disk.sync("new").expect("honest");
        disk.rename("f", "g").expect("there");
        disk.power_cut(&mut Rng::new(seed));
        let names = disk.list("").expect("root");
        assert_eq!(names.iter().filter(|n| *n == "f" || *n == "g").count(), 1, "a rename is never half done");
        if names.contains(&"new".to_owned()) {
            assert_eq!(bytes_of(&disk, "new"), b"synced");
        }
        seen.insert(names);
    }
    assert_eq!(seen.len(), 4, "each of the two changes survives or not: {seen:?}");
}

#[test]
fn a_synced_folder_keeps_everything_even_chains_of_renames() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let disk = with_file(seed, 10);
        let names = ["f", "g", "h", "i"];
        for _ in 0..20 {
            let (a, b) = (names[rng.index(4)], names[rng.index(4)]);
            match rng.below(3) {
                0 => drop(disk.create(a)),
                1 => drop(disk.rename(a, b)),
                _ => drop(disk.remove(a)),
            }
        }
        disk.sync_dir("").expect("honest");
        let before = disk.files();
        disk.power_cut(&mut rng);
        assert_eq!(disk.files(), before);
    }
}

#[test]
fn a_file_in_a_folder_that_was_not_synced_goes_with_it() {
    let mut survived = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new("d", seed);
        disk.make_dir("a/b").expect("free");
        disk.create("a/b/x").expect("free");
        disk.sync_dir("a/b").expect("there");
        disk.sync_dir("a").expect("there");
        disk.power_cut(&mut Rng::new(seed));
        survived.insert(disk.list("a/b").ok());
    }
    assert_eq!(survived, BTreeSet::from([None, Some(vec!["x".to_owned()])]));
}

#[test]
fn a_move_between_folders_waits_for_both_and_loses_nothing() {
    let mut places = BTreeSet::new();
    for seed in 0..60 {
        let disk = SimDisk::new("d", seed);
        disk.make_dir("a").expect("free");
        disk.make_dir("b").expect("free");
        disk.create("a/x").expect("free");
        disk.sync_dir("a").expect("there");
        disk.sync_dir("").expect("there");
        disk.rename("a/x", "b/x").expect("there");
        let (one, other) = if seed % 2 == 0 { ("a", "b") } else { ("b", "a") };
        disk.sync_dir(one).expect("there");
        let half = disk.snapshot();
        disk.sync_dir(other).expect("there");
        disk.power_cut(&mut Rng::new(seed));
        assert_eq!(disk.files()[0].0, "b/x");
        disk.restore(&half);
        assert_eq!(disk.files()[0].0, "a/x");
        disk.rename("a/x", "b/x").expect("there");
        disk.sync_dir(one).expect("there");
        disk.power_cut(&mut Rng::new(seed));
        assert_eq!(disk.files().len(), 1);
        places.insert(disk.files()[0].0.clone());
    }
    assert_eq!(places.len(), 2);
}

#[test]
fn a_lying_sync_keeps_nothing_for_certain() {
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let disk = with_file(seed, 512);
        disk.faults(|f| f.sync_lies = true);
        disk.write_at("f", 0, &[2; 512]).expect("open");
        disk.sync("f").expect("a lie");
        disk.sync("f").expect("a lie");
        disk.create("g").expect("free");
        disk.sync_dir("").expect("a lie");
        assert_eq!(disk.snapshot(), with_file(seed, 512).snapshot());
        disk.power_cut(&mut Rng::new(seed));
        kept.insert((bytes_of(&disk, "f")[0] == 2, disk.peek("g").is_some()));
    }
    assert_eq!(kept.len(), 4, "{kept:?}");
}

#[test]
fn after_a_failed_sync_only_writing_again_helps() {
    let lost = |write_again: bool| {
        (0..100).any(|seed| {
            let disk = with_file(seed, 512);
            disk.faults(|f| f.fail_syncs = Strike::Next(1));
            disk.write_at("f", 0, &[2; 512]).expect("open");
            assert!(matches!(disk.sync("f"), Err(DiskError::Io { .. })));
            if write_again {
                disk.write_at("f", 0, &[2; 512]).expect("open");
            }
            disk.sync("f").expect("says Ok");
            assert_eq!(bytes_of(&disk, "f"), [2; 512], "still visible");
            disk.power_cut(&mut Rng::new(seed));
            bytes_of(&disk, "f") != [2; 512]
        })
    };
    assert!(lost(false));
    assert!(!lost(true));
}

#[test]
fn power_goes_out_at_the_operation_asked_for_on_all_disks_of_the_supply() {
    let power = Power::new();
    let (a, b) = (SimDisk::on("a", 1, &power), SimDisk::on("b", 2, &power));
    power.cut_after(3);
    a.create("f").expect("first");
    b.create("f").expect("second");
    assert!(is_gone(a.write_at("f", 0, &[7; 1000])), "third");
    assert!(is_gone(b.len("f")) && is_gone(a.list("")) && power.is_out());
    assert_eq!(power.ops(), 3);
    power.restore();
    for disk in [&a, &b] {
        disk.power_cut(&mut Rng::new(3));
        disk.list("").expect("power is back");
    }
}

#[test]
fn the_last_operation_before_the_dark_is_done_in_part_in_whole_or_not_at_all() {
    let mut done = BTreeSet::new();
    for seed in 0..200 {
        let disk = with_file(seed, 0);
        disk.crash_after(1);
        assert!(is_gone(disk.write_at("f", 0, &[7; 1000])));
        assert!(is_gone(disk.sync("f")));
        done.insert(disk.files()[0].1);
        disk.power_cut(&mut Rng::new(seed));
        disk.len("f").expect("alive again");
    }
    assert!(done.contains(&0) && done.contains(&1000) && done.len() > 10, "{done:?}");
}

#[test]
fn a_full_disk_says_so_and_takes_what_fits() {
    let disk = with_file(1, 4096);
    disk.faults(|f| f.capacity_bytes = Some(3 * 4096));
    assert_eq!(disk.space().expect("there").free, 2 * 4096);
    assert!(matches!(disk.write_at("f", 4096, &[2; 10000]), Err(DiskError::Full(_))));
    assert_eq!(disk.len("f").expect("there"), 3 * 4096);
    assert!(matches!(disk.create("g"), Err(DiskError::Full(_))));
    disk.write_at("f", 0, &[3; 4096]).expect("overwriting takes no room");
    disk.remove("f").expect("removing works on a full disk");
    assert_eq!(disk.space().expect("there").free, 3 * 4096);
    disk.create("g").expect("room again");
}

#[test]
fn unplugged_is_gone_and_plugged_back_is_after_a_cut() {
    let disk = with_file(1, 10);
    disk.unplug();
    assert!(is_gone(disk.len("f")) && is_gone(disk.create("g")) && is_gone(disk.sync("f")));
    disk.plug(&mut Rng::new(1));
    assert_eq!(disk.len("f").expect("back"), 10);
    assert!(disk.sync("f").is_err(), "handles are gone");
}

#[test]
fn a_restored_snapshot_is_the_old_disk() {
    let disk = with_file(1, 10);
    disk.write_at("f", 0, &[9; 10]).expect("open");
    let old = disk.snapshot();
    disk.sync("f").expect("honest");
    disk.create("g").expect("free");
    disk.sync_dir("").expect("honest");
    assert_ne!(disk.snapshot(), old);
    disk.restore(&old);
    assert_eq!(disk.files(), [("f".to_owned(), 10)]);
    assert_eq!(bytes_of(&disk, "f"), [1; 10], "what was not durable is not in it");
    disk.create("g").expect("its name is free again");
    let clone = SimDisk::new("clone", 2);
    clone.restore(&disk.snapshot());
    assert_eq!(clone.snapshot(), old);
}

#[test]
fn misdirected_writes_land_elsewhere_for_good() {
    for seed in 0..20 {
        let disk = with_file(seed, 4096);
        disk.create("g").expect("free");
        disk.sync_dir("").expect("honest");
        disk.faults(|f| f.misdirect_writes = Strike::Path("g".into()));
        disk.write_at("g", 0, &[2; 600]).expect("says Ok");
        disk.sync("g").expect("says Ok");
        let strays = bytes_of(&disk, "f").iter().filter(|b| **b == 2).count();
        disk.power_cut(&mut Rng::new(1));
        assert_eq!(bytes_of(&disk, "f").iter().filter(|b| **b == 2).count(), strays, "durably");
        assert!(bytes_of(&disk, "g")[..512].iter().all(|b| *b == 0), "lost at the right place");
        if strays > 0 {
            return;
        }
    }
    panic!("no write ever landed on the other file");
}

#[test]
fn rot_and_pokes_outlive_a_cut() {
    let mut rng = Rng::new(4);
    let disk = with_file(1, 100);
    disk.write_at("f", 0, &[2; 100]).expect("open");
    let (path, at) = disk.rot(None, &mut rng).expect("there is a byte");
    let rotten = bytes_of(&disk, "f")[at as usize];
    assert!(path == "f" && rotten != 2);
    disk.faults(|f| f.tear.garbage = false);
    disk.power_cut(&mut rng);
    assert_eq!(bytes_of(&disk, "f")[at as usize], rotten);
    assert!(disk.rot(Some("none"), &mut rng).is_none());
    disk.truncate("f", 40);
    disk.poke("f", 0, b"poke");
    disk.power_cut(&mut rng);
    assert_eq!(bytes_of(&disk, "f")[..4], *b"poke");
    assert_eq!(disk.files()[0].1, 40);
}

#[test]
fn errors_strike_where_they_are_told_to() {
    let disk = with_file(1, 10);
    disk.make_dir("a").expect("free");
    disk.create("a/x").expect("free");
    disk.faults(|f| {
        f.fail_reads = Strike::Path("f".into());
        f.fail_writes = Strike::Path("a".into());
    });
    assert!(matches!(disk.read_at("f", 0, 1), Err(DiskError::Io { .. })));
    disk.write_at("f", 0, b"x").expect("writes of f are fine");
    disk.read_at("a/x", 0, 1).expect("reads of a are fine");
    assert!(disk.write_at("a/x", 0, b"x").is_err() && disk.create("a/y").is_err());
    disk.faults(|f| f.fail_reads = Strike::OneIn(2));
    let failed = (0..100).filter(|_| disk.read_at("f", 0, 1).is_err()).count();
    assert!((20..80).contains(&failed), "{failed}");
}

#[test]
fn the_same_seed_gives_the_same_trace_and_the_same_disk() {
    let run = |seed| {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new("d", seed);
        disk.faults(|f| (f.fail_syncs, f.fail_writes) = (Strike::OneIn(5), Strike::OneIn(9)));
        for i in 0..300 {
            let path = format!("f{}", rng.below(6));
            let bytes = rng.bytes(700);
            match rng.below(7) {
                0 => drop(disk.create(&path)),
                1 | 2 => drop(disk.write_at(&path, rng.below(3000), &bytes)),
                3 => drop(disk.sync(&path)),
                4 => drop(disk.sync_dir("")),
                5 => drop(disk.rename(&path, &format!("f{}", rng.below(6)))),
                _ => drop(disk.remove(&path)),
            }
            if i % 100 == 99 {
                disk.power_cut(&mut rng);
                disk.files().iter().for_each(|f| drop(disk.open_rw(&f.0)));
            }
        }
        (disk.trace(), disk.snapshot())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn the_nth_operation_fails_once() {
    let disk = with_file(1, 4096);
    disk.faults(|f| f.fail_nth = Some((2, Refusal::Eio)));
    disk.write_at("f", 0, &[2; 512]).expect("the first one does not fail");
    assert!(matches!(disk.sync("f"), Err(DiskError::Io { .. })));
    disk.sync("f").expect("only one fails");
    let mut cut = disk.snapshot();
    disk.restore(&cut);
    assert_eq!(bytes_of(&disk, "f")[0], 1, "what the failed sync should have kept is lost");
    disk.open_rw("f").expect("it is there");
    disk.faults(|f| f.fail_nth = Some((1, Refusal::Full)));
    disk.read_at("f", 0, 1).expect("reading needs no room");
    disk.write_at("f", 0, &[3]).expect("it was the read's turn");
    disk.faults(|f| f.fail_nth = Some((1, Refusal::Full)));
    assert!(matches!(disk.create("g"), Err(DiskError::Full(_))));
    disk.create("g").expect("only one fails");
    disk.faults(|f| f.fail_nth = Some((1, Refusal::Interrupted)));
    assert!(matches!(disk.sync_dir(""), Err(DiskError::Io { .. })));
    cut = disk.snapshot();
    disk.restore(&cut);
    assert!(disk.peek("g").is_none(), "the name was lost with the failed sync");
}
