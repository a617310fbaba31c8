//! What every `Disk` must do: one suite for the real adapter and the fake.
//!
//! A fake that is kinder than reality makes tests that prove nothing, and one that is harsher finds faults that
//! are none. So both answer the same questions here; what only one of them can be asked (torn sectors, a
//! folder that moved) is asked in tests of its own.

use crate::rng::Rng;
use coffre_vault::disk::MAX_OPEN_FILES;
use coffre_vault::ports::{Disk, DiskError, DiskResult};
use std::collections::BTreeMap;

/// An empty disk to be examined, and how to crash it.
pub trait Subject {
    /// The disk as it is attached now.
    fn disk(&self) -> &dyn Disk;
    /// Everything that was not made durable may be lost; the disk is attached again.
    fn crash(&mut self);
}

/// One question.
pub type Case = (&'static str, fn(&mut dyn Subject));

/// All questions. Each wants an empty disk and panics at a wrong answer.
pub const CASES: &[Case] = &[
    ("bytes written are read back", bytes_are_read_back),
    ("reads stop at the end of the file", reads_stop_at_the_end),
    ("a gap reads as zeros", a_gap_reads_as_zeros),
    ("create refuses a name in use", create_refuses_a_name_in_use),
    ("what is not there is not found", what_is_not_there_is_not_found),
    ("only open files are written and synced", only_open_files_are_written),
    ("paths are refused that are not ours", foreign_paths_are_refused),
    ("folders are made with those above them", folders_are_made),
    ("folders are not files", folders_are_not_files),
    ("rename replaces and takes the handle along", rename_replaces),
    ("remove forgets the handle", remove_forgets_the_handle),
    ("what was synced survives a crash", synced_survives),
    ("handles do not survive a crash", handles_do_not_survive),
    ("there is a ceiling on open files", open_files_have_a_ceiling),
    ("sizes make sense", sizes_make_sense),
    ("a long random walk agrees with a map", a_random_walk_agrees_with_a_map),
];

fn must<T>(outcome: DiskResult<T>) -> T {
    outcome.unwrap_or_else(|e| panic!("the disk refused: {e}"))
}

fn put(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    must(disk.create(path));
    must(disk.write_at(path, 0, bytes));
}

fn all(disk: &dyn Disk, path: &str) -> Vec<u8> {
    must(disk.read_at(path, 0, 1 << 24))
}

#[track_caller]
fn assert_not_found<T>(outcome: DiskResult<T>) {
    assert!(matches!(outcome, Err(DiskError::NotFound(_))));
}

#[track_caller]
fn assert_exists<T>(outcome: DiskResult<T>) {
    assert!(matches!(outcome, Err(DiskError::Exists(_))));
}

#[track_caller]
fn assert_io<T>(outcome: DiskResult<T>) {
    assert!(matches!(outcome, Err(DiskError::Io { .. })));
}

fn bytes_are_read_back(subject: &mut dyn Subject) {
    let disk = subject.disk();
    let bytes = Rng::new(1).bytes(100_000);
    put(disk, "f", &bytes);
    assert_eq!(all(disk, "f"), bytes);
    must(disk.write_at("f", 500, &[7; 1000]));
    must(disk.write_at("f", 99_999, b"xy"));
    assert_eq!(must(disk.read_at("f", 499, 1002))[1..1001], [7; 1000]);
    assert_eq!(must(disk.read_at("f", 99_998, 100)), [bytes[99_998], b'x', b'y']);
    assert_eq!(must(disk.len("f")), 100_001);
    must(disk.write_at("f", 10, b""));
    assert_eq!(must(disk.len("f")), 100_001);
}

fn reads_stop_at_the_end(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"abc");
    for (offset, len, want) in [(0, 10, "abc"), (1, 1, "b"), (3, 5, ""), (1 << 40, 5, ""), (0, 0, "")] {
        assert_eq!(must(disk.read_at("f", offset, len)), want.as_bytes());
    }
    assert_eq!(must(disk.read_at("f", 1, usize::MAX)), b"bc");
}

fn a_gap_reads_as_zeros(subject: &mut dyn Subject) {
    let disk = subject.disk();
    must(disk.create("f"));
    must(disk.write_at("f", 9000, b"end"));
    let bytes = all(disk, "f");
    assert_eq!(bytes.len(), 9003);
    assert!(bytes[..9000].iter().all(|b| *b == 0));
}

fn create_refuses_a_name_in_use(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"abc");
    assert_exists(disk.create("f"));
    must(disk.make_dir("d"));
    assert_exists(disk.create("d"));
    assert_exists(disk.make_dir("f"));
    assert_eq!(all(disk, "f"), b"abc");
}

fn what_is_not_there_is_not_found(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"abc");
    for path in ["no", "no/x", "f/x"] {
        assert_not_found(disk.open_rw(path));
        assert_not_found(disk.read_at(path, 0, 1));
        assert_not_found(disk.len(path));
        assert_not_found(disk.remove(path));
        assert_not_found(disk.rename(path, "g"));
        assert_not_found(disk.list(path));
        assert_not_found(disk.sync_dir(path));
    }
    assert_not_found(disk.list("f"));
    assert_not_found(disk.create("no/x"));
    assert_not_found(disk.rename("f", "no/x"));
    assert_eq!(must(disk.list("")), ["f"]);
}

fn only_open_files_are_written(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"abc");
    disk.close("f");
    disk.close("f");
    assert_io(disk.write_at("f", 0, b"x"));
    assert_io(disk.sync("f"));
    assert_io(disk.write_at("none", 0, b"x"));
    must(disk.open_rw("f"));
    must(disk.open_rw("f"));
    must(disk.write_at("f", 0, b"x"));
    must(disk.sync("f"));
    assert_eq!(all(disk, "f"), b"xbc");
}

fn foreign_paths_are_refused(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"abc");
    for path in ["/f", "../f", "a/../f", "./f", "F", "f/", "a//b", "a_b", "a b", "\u{e9}", "a\0b"] {
        assert_io(disk.create(path));
        assert_io(disk.make_dir(path));
        assert_io(disk.open_rw(path));
        assert_io(disk.read_at(path, 0, 1));
        assert_io(disk.rename("f", path));
        assert_io(disk.remove(path));
        assert_io(disk.list(path));
        assert_io(disk.sync_dir(path));
    }
    assert_io(disk.create(""));
    assert_eq!(must(disk.list("")), ["f"]);
}

fn folders_are_made(subject: &mut dyn Subject) {
    let disk = subject.disk();
    must(disk.make_dir("a/b/c"));
    must(disk.make_dir("a/b"));
    must(disk.make_dir("a/b/c"));
    put(disk, "a/b/f", b"x");
    put(disk, "a.b", b"x");
    put(disk, "a-b", b"x");
    assert_eq!(must(disk.list("")), ["a", "a-b", "a.b"]);
    assert_eq!(must(disk.list("a")), ["b"]);
    assert_eq!(must(disk.list("a/b")), ["c", "f"]);
    assert_eq!(must(disk.list("a/b/c")), [""; 0]);
    for folder in ["", "a", "a/b", "a/b/c"] {
        must(disk.sync_dir(folder));
    }
}

fn folders_are_not_files(subject: &mut dyn Subject) {
    let disk = subject.disk();
    must(disk.make_dir("d"));
    put(disk, "f", b"x");
    assert_io(disk.open_rw("d"));
    assert_io(disk.read_at("d", 0, 1));
    assert_io(disk.len("d"));
    assert_io(disk.remove("d"));
    assert_io(disk.rename("d", "e"));
    assert_io(disk.rename("f", "d"));
    assert_eq!(must(disk.list("")), ["d", "f"]);
}

fn rename_replaces(subject: &mut dyn Subject) {
    let disk = subject.disk();
    must(disk.make_dir("d"));
    put(disk, "a", b"aaa");
    put(disk, "d/b", b"bb");
    must(disk.rename("a", "d/b"));
    assert_eq!((must(disk.list("")), must(disk.list("d"))), (vec!["d".to_owned()], vec!["b".to_owned()]));
    must(disk.write_at("d/b", 3, b"!"));
    must(disk.sync("d/b"));
    assert_io(disk.write_at("a", 0, b"x"));
    assert_eq!(all(disk, "d/b"), b"aaa!");
    must(disk.rename("d/b", "d/b"));
    must(disk.write_at("d/b", 4, b"?"));
    assert_eq!(all(disk, "d/b"), b"aaa!?");
}

fn remove_forgets_the_handle(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"old");
    must(disk.remove("f"));
    assert_io(disk.write_at("f", 0, b"x"));
    assert_not_found(disk.remove("f"));
    put(disk, "f", b"");
    assert_eq!(must(disk.len("f")), 0);
}

fn synced_survives(subject: &mut dyn Subject) {
    let bytes = Rng::new(2).bytes(30_000);
    let disk = subject.disk();
    must(disk.make_dir("d/e"));
    put(disk, "d/e/f", &bytes);
    put(disk, "d/e/g", b"temporary");
    must(disk.sync("d/e/f"));
    must(disk.sync("d/e/g"));
    must(disk.rename("d/e/g", "d/e/h"));
    for folder in ["d/e", "d", ""] {
        must(disk.sync_dir(folder));
    }
    subject.crash();
    let disk = subject.disk();
    assert_eq!(all(disk, "d/e/f"), bytes);
    assert_eq!(all(disk, "d/e/h"), b"temporary");
    assert_eq!(must(disk.list("d/e")), ["f", "h"]);
    must(disk.remove("d/e/h"));
    must(disk.open_rw("d/e/f"));
    must(disk.write_at("d/e/f", 8192, &[9; 4096]));
    must(disk.sync("d/e/f"));
    must(disk.sync_dir("d/e"));
    subject.crash();
    let disk = subject.disk();
    assert_eq!(must(disk.list("d/e")), ["f"]);
    assert_eq!(must(disk.read_at("d/e/f", 8191, 4097))[1..], [9; 4096]);
}

fn handles_do_not_survive(subject: &mut dyn Subject) {
    let disk = subject.disk();
    put(disk, "f", b"x");
    must(disk.sync("f"));
    must(disk.sync_dir(""));
    subject.crash();
    assert_io(subject.disk().write_at("f", 0, b"y"));
}

fn open_files_have_a_ceiling(subject: &mut dyn Subject) {
    let disk = subject.disk();
    (0..MAX_OPEN_FILES).for_each(|i| must(disk.create(&format!("f{i}"))));
    assert_io(disk.create("one-more"));
    must(disk.open_rw("f0"));
    disk.close("f0");
    must(disk.create("one-more"));
    assert_io(disk.open_rw("f0"));
    must(disk.read_at("f0", 0, 1));
}

fn sizes_make_sense(subject: &mut dyn Subject) {
    let space = must(subject.disk().space());
    assert!(space.free <= space.total && space.total > 0, "{space:?}");
}

fn a_random_walk_agrees_with_a_map(subject: &mut dyn Subject) {
    let mut rng = Rng::new(3);
    let mut map: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for folder in ["a", "b"] {
        must(subject.disk().make_dir(folder));
    }
    for _ in 0..1500 {
        let disk = subject.disk();
        let name = |rng: &mut Rng| format!("{}/f{}", ["a", "b"][rng.index(2)], rng.below(5));
        let (path, other) = (name(&mut rng), name(&mut rng));
        match rng.below(6) {
            0 => match disk.create(&path) {
                Ok(()) => assert!(map.insert(path, Vec::new()).is_none()),
                Err(e) => assert!(matches!(e, DiskError::Exists(_)) && map.contains_key(&path)),
            },
            1 => assert_eq!(disk.remove(&path).is_ok(), map.remove(&path).is_some()),
            2 => {
                let moved = map.remove(&path);
                assert_eq!(disk.rename(&path, &other).is_ok(), moved.is_some());
                moved.and_then(|bytes| map.insert(other, bytes));
            }
            3 => {
                let (len, offset) = (rng.index(6000), rng.index(9000));
                let bytes = rng.bytes(len);
                let open = disk.open_rw(&path).is_ok();
                assert_eq!(open, map.contains_key(&path));
                if let Some(file) = map.get_mut(&path) {
                    must(disk.write_at(&path, offset as u64, &bytes));
                    // No bytes, no change: not even of the length.
                    if len > 0 {
                        file.resize(file.len().max(offset + len), 0);
                        file[offset..offset + len].copy_from_slice(&bytes);
                    }
                }
            }
            4 => disk.close(&path),
            _ => match map.get(&path) {
                Some(file) => assert_eq!(&all(disk, &path), file),
                None => assert_not_found(disk.len(&path)),
            },
        }
    }
    let disk = subject.disk();
    for (path, bytes) in &map {
        must(disk.open_rw(path));
        must(disk.sync(path));
        assert_eq!(&all(disk, path), bytes);
    }
    for folder in ["a", "b", ""] {
        must(disk.sync_dir(folder));
    }
    subject.crash();
    for (path, bytes) in &map {
        assert_eq!(&all(subject.disk(), path), bytes);
    }
}
