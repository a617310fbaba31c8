//! Indexes: the stored one against the one in memory, damaged and burnt; and that the lying one lies.

use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use coffre_rig::rng::Rng;
use coffre_rig::sim::{LyingIndex, MemIndex};
use coffre_vault::index::{Opened, StoredIndex};
use coffre_vault::ports::{ChunkHint, Index};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Packs in a segment, in these tests.
const SMALL: usize = 5;

fn pack(n: u64) -> PackId {
    PackId(u128::from(n + 1).to_be_bytes())
}

fn chunk(n: u64) -> ChunkId {
    let mut id = [0; 32];
    Rng::new(n).fill(&mut id);
    ChunkId(id)
}

/// The 10 chunks of a pack.
fn chunks(n: u64) -> Vec<ChunkId> {
    (0..10).map(|i| chunk(n * 10 + i)).collect()
}

fn dataset(n: u64) -> DatasetRef {
    format!("client/set-{n}").parse().expect("a name")
}

fn object(n: u64) -> ObjectId {
    ObjectId(u128::from(n + 1).to_be_bytes())
}

fn open(dir: &Path) -> Opened {
    StoredIndex::open_with(dir, SMALL).expect("a folder")
}

fn learn(index: &dyn Index, packs: std::ops::Range<u64>) {
    for n in packs {
        index.learn(pack(n), &chunks(n)).expect("healthy");
    }
}

/// Whether the index knows all of these packs, and nothing else of them.
fn knows(index: &dyn Index, packs: std::ops::Range<u64>) -> bool {
    index.packs().expect("healthy") == packs.clone().map(pack).collect::<Vec<_>>()
        && packs.into_iter().all(|n| {
            chunks(n).iter().zip(0..).all(|(id, position)| {
                index.chunk(id).expect("healthy") == Some(ChunkHint { pack: pack(n), position })
            })
        })
}

fn entries(dir: &Path, beginning: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).expect("there").map(|e| e.expect("there").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(beginning))).collect();
    found.sort();
    found
}

#[test]
fn small_segments_become_one_and_forgotten_packs_vanish() {
    let dir = tempfile::tempdir().expect("scratch");
    let index = open(dir.path()).index;
    let (seven, eight) = (7 * SMALL as u64, 8 * SMALL as u64);
    learn(&index, 0..seven);
    assert_eq!(entries(dir.path(), "segment-").len(), 7);
    // A chunk that two segments know is found where it went last; a pack that is known only by name stays known.
    index.learn(pack(seven), &chunks(3)).expect("healthy");
    index.forget(pack(0)).expect("healthy");
    learn(&index, seven + 1..eight);
    assert_eq!(entries(dir.path(), "segment-").len(), 1, "eight became one");
    assert_eq!(index.packs().expect("healthy"), (1..eight).map(pack).collect::<Vec<_>>());
    for (id, position) in chunks(3).iter().zip(0..) {
        assert_eq!(index.chunk(id).expect("healthy"), Some(ChunkHint { pack: pack(seven), position }));
    }
    assert_eq!(index.chunk(&chunk(0)).expect("healthy"), None, "forgotten");
    drop(index);
    let again = open(dir.path());
    assert!(again.lost.is_empty(), "{:?}", again.lost);
    assert_eq!(again.index.packs().expect("healthy"), (1..eight).map(pack).collect::<Vec<_>>());
    assert_eq!(
        again.index.chunk(&chunk(15)).expect("healthy"),
        Some(ChunkHint { pack: pack(1), position: 5 })
    );
}

#[test]
fn many_at_once_are_a_segment_and_few_are_not() {
    let dir = tempfile::tempdir().expect("scratch");
    let index = open(dir.path()).index;
    let many = |packs: std::ops::Range<u64>| packs.map(|n| (pack(n), chunks(n))).collect::<Vec<_>>();
    index.learn_many(&[]).expect("healthy");
    assert!(knows(&index, 0..0));
    learn(&index, 0..3);
    index.forget(pack(5)).expect("not known is fine");
    index.learn_many(&many(3..30)).expect("healthy");
    assert_eq!(entries(dir.path(), "segment-").len(), 2, "what was young, and the many");
    assert!(knows(&index, 0..30), "also one that was forgotten before it was learnt");
    // A chunk that moved is found where it went, in whichever way both packs were learnt.
    learn(&index, 30..31);
    index.learn_many(&[(pack(31), chunks(30)), (pack(32), chunks(2))]).expect("healthy");
    index.learn(pack(33), &chunks(31)).expect("healthy");
    index.learn_many(&[(pack(34), chunks(31)), (pack(35), chunks(31))]).expect("healthy");
    for (of, now) in [(30, 31), (2, 32), (31, 35)] {
        let found = index.chunk(&chunks(of)[4]).expect("healthy");
        assert_eq!(found, Some(ChunkHint { pack: pack(now), position: 4 }), "chunks of {of}");
    }
    assert_eq!(index.packs().expect("healthy"), (0..36).map(pack).collect::<Vec<_>>());
    drop(index);
    let again = open(dir.path());
    assert!(again.lost.is_empty(), "{:?}", again.lost);
    assert_eq!(again.index.packs().expect("healthy"), (0..36).map(pack).collect::<Vec<_>>());
    assert_eq!(
        again.index.chunk(&chunks(31)[9]).expect("healthy"),
        Some(ChunkHint { pack: pack(35), position: 9 })
    );
    again.index.burn().expect("burnt");
    assert!(knows(&again.index, 0..0));
}

fn conforms(index: &dyn Index) {
    assert!(knows(index, 0..0));
    assert_eq!(index.chunk(&chunk(1)).expect("healthy"), None);
    learn(index, 0..12);
    learn(index, 3..4);
    assert!(knows(index, 0..12));
    assert_eq!(index.chunk(&chunk(99_999)).expect("healthy"), None);
    index.forget(pack(11)).expect("healthy");
    index.forget(pack(77)).expect("not known is fine");
    assert!(knows(index, 0..11));
    learn(index, 11..12);
    assert!(knows(index, 0..12), "learnt again");
    // A chunk that moved is found where it went, also while the old pack is still known.
    index.learn(pack(12), &chunks(2)).expect("healthy");
    assert_eq!(index.chunk(&chunk(25)).expect("healthy"), Some(ChunkHint { pack: pack(12), position: 5 }));
    for (order, n) in [(9, 2), (300, 3), (1, 0), (2, 1)] {
        index.note_object(&dataset(1), order, object(n)).expect("healthy");
        index.note_object(&dataset(11), order + 1, object(n + 100)).expect("healthy");
    }
    index.note_object(&dataset(1), 9, object(2)).expect("twice is fine");
    let noted = index.objects(&dataset(1)).expect("healthy");
    assert_eq!(noted, (0..4).map(object).collect::<Vec<_>>(), "in journal order, of this data set alone");
    assert_eq!(index.objects(&dataset(2)).expect("healthy"), []);
    index.burn().expect("healthy");
    assert!(knows(index, 0..0));
    assert_eq!(index.chunk(&chunk(25)).expect("healthy"), None);
    assert_eq!(index.objects(&dataset(1)).expect("healthy"), []);
    learn(index, 0..7);
    assert!(knows(index, 0..7));
}

#[test]
fn every_index_conforms() {
    let dir = tempfile::tempdir().expect("scratch");
    conforms(&MemIndex::new());
    conforms(&LyingIndex::new(1, 0));
    conforms(&open(dir.path()).index);
    let dir = tempfile::tempdir().expect("scratch");
    conforms(&StoredIndex::open(dir.path()).expect("a folder").index);
}

#[test]
fn a_long_random_walk_agrees_with_memory_across_openings() {
    let dir = tempfile::tempdir().expect("scratch");
    let (mut rng, memory) = (Rng::new(5), MemIndex::new());
    let mut stored = open(dir.path()).index;
    for step in 0..600 {
        let n = rng.below(60);
        let both: [&dyn Index; 2] = [&memory, &stored];
        match rng.below(8) {
            0..4 => both.iter().for_each(|i| i.learn(pack(n), &chunks(n)).expect("healthy")),
            4 => both.iter().for_each(|i| i.forget(pack(n)).expect("healthy")),
            5 => both.iter().for_each(|i| i.note_object(&dataset(n % 3), step, object(n)).expect("healthy")),
            6 if step % 10 == 0 => {
                drop(stored);
                let opened = open(dir.path());
                assert_eq!(opened.lost, [""; 0]);
                stored = opened.index;
            }
            7 if step % 50 == 0 => both.iter().for_each(|i| i.burn().expect("healthy")),
            _ => {
                assert_eq!(memory.packs().expect("honest"), stored.packs().expect("healthy"));
                for id in chunks(n) {
                    assert_eq!(memory.chunk(&id).expect("honest"), stored.chunk(&id).expect("healthy"));
                }
                let of = |i: &dyn Index| i.objects(&dataset(n % 3)).expect("healthy");
                assert_eq!(of(&memory), of(&stored));
            }
        }
    }
    assert!(!entries(dir.path(), "segment-").is_empty(), "the walk wrote segments");
}

#[test]
fn a_clean_stop_keeps_everything_and_many_unclean_ones_throw_sled_away() {
    let dir = tempfile::tempdir().expect("scratch");
    let index = open(dir.path()).index;
    learn(&index, 0..8);
    drop(index);
    assert!(entries(dir.path(), "openings").is_empty());
    let opened = open(dir.path());
    assert!(opened.lost.is_empty() && knows(&opened.index, 0..8));
    drop(opened);
    fs::write(dir.path().join("openings"), "..").expect("scratch");
    let opened = open(dir.path());
    assert!(opened.lost.is_empty() && knows(&opened.index, 0..8), "twice may happen");
    drop(opened);
    fs::write(dir.path().join("openings"), "...").expect("scratch");
    let opened = open(dir.path());
    assert!(opened.lost.len() == 1 && knows(&opened.index, 0..5), "the segment stays: {:?}", opened.lost);
    learn(&opened.index, 5..8);
    assert!(knows(&opened.index, 0..8));
}

#[test]
fn a_damaged_segment_is_thrown_away_or_answers_with_errors() {
    let dir = tempfile::tempdir().expect("scratch");
    let index = open(dir.path()).index;
    learn(&index, 0..10);
    drop(index);
    let segments = entries(dir.path(), "segment-");
    assert_eq!(segments.len(), 2);
    let mut bytes = fs::read(&segments[0]).expect("there");
    bytes[100] ^= 1;
    fs::write(&segments[0], &bytes).expect("scratch");
    let opened = open(dir.path());
    assert_eq!(opened.lost.len(), 1);
    assert!(knows(&opened.index, 5..10));
    drop(opened);
    let len = fs::metadata(&segments[1]).expect("there").len();
    let mut bytes = fs::read(&segments[1]).expect("there");
    bytes[len as usize - 4000] ^= 1;
    fs::write(&segments[1], &bytes).expect("scratch");
    let index = open(dir.path()).index;
    assert!(chunks(7).iter().all(|id| index.chunk(id).is_err()), "a bad block is seen when it is needed");
    index.burn().expect("whatever state it is in");
    learn(&index, 0..10);
    assert!(knows(&index, 0..10));
}

/// 50 damages of real folders: whatever sled makes of them, the index opens, answers or fails, and burns.
#[test]
fn damaged_folders_open_and_serve() {
    let dir = tempfile::tempdir().expect("scratch");
    let good = dir.path().join("good");
    let index = open(&good).index;
    learn(&index, 0..13);
    (0..50).for_each(|n| index.note_object(&dataset(1), n, object(n)).expect("healthy"));
    drop(index);
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    let from = coffre_rig::seeds::announce("index", "damaged_folders_open_and_serve");
    for seed in from..from + 50 {
        let mut rng = Rng::new(seed);
        let bad = dir.path().join(format!("bad-{seed}"));
        let copied = std::process::Command::new("cp").arg("-r").args([&good, &bad]).status();
        assert!(copied.expect("cp is there").success());
        let sled = entries(&bad, "hints-").pop().expect("there is one");
        damage(&sled.join(["db", "db", "conf"][rng.index(3)]), &mut rng);
        let Opened { index, lost } = open(&bad);
        let mut trouble = !lost.is_empty();
        for n in 0..13 {
            trouble |= chunks(n).iter().any(|id| index.chunk(id).is_err())
                | index.learn(pack(n), &chunks(n)).is_err();
        }
        trouble |= index.objects(&dataset(1)).is_err() | index.packs().is_err();
        *outcomes.entry(if trouble { "noticed" } else { "unnoticed" }).or_default() += 1;
        index.burn().expect("whatever state it is in");
        assert!(knows(&index, 0..0));
        learn(&index, 0..7);
        assert!(knows(&index, 0..7), "seed {seed}");
    }
    assert!(outcomes.contains_key("noticed"), "{outcomes:?}");
}

fn damage(path: &Path, rng: &mut Rng) {
    let mut bytes = fs::read(path).expect("there");
    let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |last| last + 1);
    match rng.below(4) {
        0 => bytes.truncate(rng.index(used)),
        1 => (0..20).for_each(|_| bytes[rng.index(used)] ^= rng.between(1, 255) as u8),
        2 => {
            let (at, len) = (rng.index(used), rng.index(4096));
            let end = (at + len).min(bytes.len());
            rng.fill(&mut bytes[at..end]);
        }
        _ => bytes[..used].fill(0),
    }
    fs::write(path, bytes).expect("scratch");
}

#[test]
fn many_threads_call_while_it_burns() {
    let dir = tempfile::tempdir().expect("scratch");
    let index = open(dir.path()).index;
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let index = &index;
            scope.spawn(move || {
                for n in thread * 100..thread * 100 + 40 {
                    index.learn(pack(n), &chunks(n)).expect("healthy");
                    for (id, position) in chunks(n).iter().zip(0..) {
                        let hint = index.chunk(id).expect("healthy");
                        assert!(hint.is_none_or(|h| h == ChunkHint { pack: pack(n), position }));
                    }
                    index.note_object(&dataset(thread), n, object(n)).expect("healthy");
                }
            });
        }
        scope.spawn(|| (0..5).for_each(|_| index.burn().expect("healthy")));
    });
    index.burn().expect("healthy");
    learn(&index, 0..30);
    assert!(knows(&index, 0..30));
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error() {
    assert!(StoredIndex::open(Path::new("/proc/none")).is_err());
}

#[test]
fn the_liar_lies_about_as_often_as_told_and_the_same_for_a_seed() {
    let run = |seed| {
        let index = LyingIndex::new(seed, 500);
        (0..20).for_each(|n| drop(index.learn(pack(n), &chunks(n))));
        let answers: Vec<_> = (0..200).map(|n| index.chunk(&chunk(n)).ok()).collect();
        (answers, index.lies_told())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
    assert!((80..140).contains(&run(3).1));
    let index = LyingIndex::new(1, 0);
    learn(&index, 0..3);
    index.save();
    learn(&index, 3..6);
    index.roll_back();
    assert!(knows(&index, 0..3));
    index.wipe();
    assert!(knows(&index, 0..0));
    index.set_lies_per_1000(1000);
    let answers: Vec<_> = (0..60).map(|n| index.chunk(&chunk(n))).collect();
    assert!(answers.iter().any(Result::is_err) && answers.iter().any(|a| matches!(a, Ok(Some(_)))));
    index.burn().expect("always honest");
    assert_eq!(index.burns(), 1);
}
