//! G13: whatever is attached where, the vault opens or refuses with words, and writes to its own disks only.
//!
//! The real vault on real folders: disks in any order, moved, copied, old, of another vault, folders without a label, and
//! places with nothing at all. What is not a disk of this vault, or is there twice, must be the same bytes afterwards.

use coffre_core::names::DatasetRef;
use coffre_core::wire::Light;
use coffre_rig::rng::Rng;
use coffre_vault::{IdentityKeys, InitPlan, Vault, Which};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What stands at a disk's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    /// The disk with this number.
    Disk(usize),
    /// This disk as it was when the vault was young.
    Stale(usize),
    /// A disk of another vault.
    Foreign,
    /// A folder with nothing in it: an unmounted mount point.
    Empty,
    /// A folder with files of somebody else.
    Files,
    /// Nothing.
    Missing,
}

/// Folders of one vault, kept aside: as it was when it was young, as it is, and a disk of another vault.
struct Masters {
    dir: tempfile::TempDir,
    n: usize,
    m: usize,
    snapshots: Vec<(String, Vec<u8>)>,
}

fn authority(
    _: &IdentityKeys,
    _: coffre_core::ids::VaultId,
    _: &str,
    _: u64,
) -> coffre_core::fault::Result<Vec<u8>> {
    Ok(vec![1, 2, 3])
}

fn dataset(text: &str) -> DatasetRef {
    text.parse().expect("a data set")
}

fn put(vault: &Vault, name: &str, bytes: &[u8]) -> coffre_core::fault::Result<()> {
    let mut stream = vault.put(&dataset(name), Some(bytes.len() as u64))?;
    stream.write(bytes)?;
    stream.finish().map(|_| ())
}

fn get(vault: &Vault, name: &str) -> coffre_core::fault::Result<Vec<u8>> {
    let mut reader = vault.read(&dataset(name), Which::Latest)?;
    let mut out = Vec::new();
    loop {
        let piece = reader.read_at(out.len() as u64, 1 << 20)?;
        if piece.is_empty() {
            return Ok(out);
        }
        out.extend(piece);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("scratch");
    for entry in fs::read_dir(from).expect("scratch") {
        let entry = entry.expect("scratch");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("scratch");
        }
    }
}

/// Every file below `path` with a hash of its bytes; folders count by their names.
fn contents(path: &Path, into: &mut BTreeMap<PathBuf, [u8; 32]>) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries {
        let at = entry.expect("scratch").path();
        if at.is_dir() {
            into.insert(at.clone(), [0; 32]);
            contents(&at, into);
        } else {
            let hash = *blake3::hash(&fs::read(&at).expect("scratch")).as_bytes();
            into.insert(at, hash);
        }
    }
}

fn seen_at(path: &Path) -> Option<BTreeMap<PathBuf, [u8; 32]>> {
    let mut seen = BTreeMap::new();
    path.exists().then(|| contents(path, &mut seen)).map(|()| seen)
}

impl Masters {
    fn new(n: usize) -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        let mut it = Self { dir, n, m: 0, snapshots: Vec::new() };
        let other = it.init("other-state", "other", n);
        copy(&it.path("other0"), &it.path("foreign"));
        (0..n).for_each(|i| fs::remove_dir_all(it.path(&format!("other{i}"))).expect("scratch"));
        it.m = it.init("state", "disk", n);
        assert_eq!(other, it.m);
        let mut rng = Rng::new(n as u64);
        let mut push = |it: &mut Self, name: &str, len: usize| {
            let vault = Vault::open(&it.path("state")).expect("opens");
            let bytes = rng.bytes(len);
            put(&vault, name, &bytes).expect("stored");
            it.snapshots.push((name.to_owned(), bytes));
            vault.close();
        };
        push(&mut it, "pc/young-small", 3_000);
        push(&mut it, "pc/young-large", 200_000);
        (0..n).for_each(|i| copy(&it.place(i), &it.path(&format!("stale{i}"))));
        push(&mut it, "pc/grown-small", 4_000);
        push(&mut it, "pc/grown-large", 150_000);
        (0..n).for_each(|i| copy(&it.place(i), &it.path(&format!("kept{i}"))));
        copy(&it.path("state"), &it.path("kept-state"));
        it
    }

    fn init(&self, state: &str, disk: &str, n: usize) -> usize {
        let disks: Vec<PathBuf> = (0..n).map(|i| self.path(&format!("{disk}{i}"))).collect();
        disks.iter().for_each(|d| fs::create_dir_all(d).expect("scratch"));
        let plan =
            InitPlan { state: self.path(state), disks, geometry: None, name: "office".into(), try_out: true };
        coffre_vault::init(&plan, &authority).expect("made").geometry.m()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn place(&self, i: usize) -> PathBuf {
        self.path(&format!("disk{i}"))
    }

    /// Puts the guests at their places, and the state folder as it was.
    fn lay_out(&self, guests: &[Guest]) {
        let fresh = |from: PathBuf, to: PathBuf| {
            if to.exists() {
                fs::remove_dir_all(&to).expect("scratch");
            }
            copy(&from, &to);
        };
        fresh(self.path("kept-state"), self.path("state"));
        for (i, guest) in guests.iter().enumerate() {
            self.seat(i, *guest);
        }
    }

    fn seat(&self, i: usize, guest: Guest) {
        let place = self.place(i);
        if place.exists() {
            fs::remove_dir_all(&place).expect("scratch");
        }
        match guest {
            Guest::Disk(d) => copy(&self.path(&format!("kept{d}")), &place),
            Guest::Stale(d) => copy(&self.path(&format!("stale{d}")), &place),
            Guest::Foreign => copy(&self.path("foreign"), &place),
            Guest::Empty => fs::create_dir(&place).expect("scratch"),
            Guest::Files => {
                fs::create_dir_all(place.join("journal")).expect("scratch");
                fs::write(place.join("journal/00000000.seg"), b"somebody else's").expect("scratch");
            }
            Guest::Missing => {}
        }
    }

    /// Opens the vault with these guests and checks everything that this file promises.
    fn try_out(&self, guests: &[Guest]) -> Outcome {
        self.lay_out(guests);
        let id = |g: &Guest| match g {
            Guest::Disk(d) | Guest::Stale(d) => Some(*d),
            _ => None,
        };
        // A disk that shows at two places is used where it belongs, and nowhere when neither is its own place.
        let one = |g: &Guest| guests.iter().filter(|o| id(o) == id(g)).count() == 1;
        let ours = |(i, g): &(usize, &Guest)| id(g).is_some_and(|d| d == *i || one(g));
        let used: Vec<&Guest> = guests.iter().enumerate().filter(ours).map(|(_, g)| g).collect();
        let current = used.iter().filter(|g| matches!(g, Guest::Disk(_))).count();
        let stale = used.len() - current;
        let before: Vec<_> = (0..self.n).map(|i| seen_at(&self.place(i))).collect();
        let outcome = self.use_it(guests, self.n - current <= self.m, current + stale == self.n);
        for (i, guest) in guests.iter().enumerate() {
            if !ours(&(i, guest)) {
                assert!(
                    seen_at(&self.place(i)) == before[i],
                    "{guests:?}: something was written at place {i}"
                );
            }
        }
        if current == self.n {
            assert_eq!(outcome, Outcome::Written, "{guests:?}: all disks are there");
        }
        if stale > self.m || current + stale < self.n - self.m {
            assert_ne!(outcome, Outcome::Written, "{guests:?}: too much of it is old or away");
        }
        outcome
    }

    /// `must_read`: so many disks are there and current that everything must be. `whole`: each disk is there once.
    fn use_it(&self, guests: &[Guest], must_read: bool, whole: bool) -> Outcome {
        let vault = match Vault::open(&self.path("state")) {
            Ok(vault) => vault,
            Err(fault) => {
                assert!(!must_read, "{guests:?}: it does not open: {fault}");
                assert!(!fault.what.is_empty(), "a refusal has words");
                return Outcome::Refused;
            }
        };
        for (name, bytes) in &self.snapshots {
            match get(&vault, name) {
                Ok(read) => assert!(read == *bytes, "{guests:?}: {name} reads wrong"),
                Err(fault) => assert!(!must_read, "{guests:?}: {name} cannot be read: {fault}"),
            }
        }
        let outcome = match put(&vault, "pc/after", b"pushed with these guests") {
            Ok(()) => {
                let read = get(&vault, "pc/after").expect("what was just acknowledged is there");
                assert_eq!(read, b"pushed with these guests");
                Outcome::Written
            }
            Err(fault) => {
                assert!(!fault.what.is_empty(), "a refusal has words");
                Outcome::Read
            }
        };
        if !whole {
            assert_ne!(
                vault.status().light,
                Light::Green,
                "{guests:?}: a disk is away and the light is green"
            );
        }
        vault.close();
        outcome
    }
}

/// What the vault let be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It did not open.
    Refused,
    /// It opened read-only.
    Read,
    /// It took a snapshot.
    Written,
}

fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let rest = |i: usize| -> Vec<usize> { of.iter().copied().filter(|o| *o != of[i]).collect() };
    let with = |i: usize| permutations(&rest(i)).into_iter().map(move |p| [vec![of[i]], p].concat());
    (0..of.len()).flat_map(with).collect()
}

fn disks(order: &[usize]) -> Vec<Guest> {
    order.iter().map(|d| Guest::Disk(*d)).collect()
}

fn tally(name: &str, outcomes: &[Outcome]) {
    let count = |o: Outcome| outcomes.iter().filter(|x| **x == o).count();
    let (written, read, refused) = (count(Outcome::Written), count(Outcome::Read), count(Outcome::Refused));
    eprintln!(
        "{name}: {} arrangements, {written} written, {read} read-only, {refused} refused",
        outcomes.len()
    );
}

/// G13: disks are known by their labels: every order of two, three and four is as good as the first.
#[test]
fn disks_in_any_order_are_the_vault() {
    let mut outcomes = Vec::new();
    for n in [2, 3, 4] {
        let masters = Masters::new(n);
        for order in permutations(&(0..n).collect::<Vec<_>>()) {
            outcomes.push(masters.try_out(&disks(&order)));
        }
    }
    tally("orders of 2, 3 and 4", &outcomes);
}

/// G13: six disks in drawn orders, with drawn guests in up to three places.
#[test]
fn six_disks_in_drawn_arrangements() {
    let masters = Masters::new(6);
    let mut rng = Rng::new(coffre_rig::seeds::announce("identity", "six_disks_in_drawn_arrangements"));
    let mut outcomes = Vec::new();
    for _ in 0..coffre_rig::scale("COFFRE_IDENTITY", 30) {
        let mut order: Vec<usize> = (0..6).collect();
        rng.shuffle(&mut order);
        let mut guests = disks(&order);
        for _ in 0..rng.index(4) {
            let at = rng.index(6);
            guests[at] = match rng.below(6) {
                0 => Guest::Disk(rng.index(6)),
                1 => Guest::Stale(rng.index(6)),
                2 => Guest::Foreign,
                3 => Guest::Empty,
                4 => Guest::Files,
                _ => Guest::Missing,
            };
        }
        outcomes.push(masters.try_out(&guests));
    }
    tally("six disks", &outcomes);
}

/// Every guest in every place, and every pair of guests in the first two places.
fn matrix(n: usize) {
    let masters = Masters::new(n);
    let usual: Vec<usize> = (0..n).collect();
    let kinds = |at: usize| {
        let other = (at + 1) % n;
        [
            Guest::Disk(other),
            Guest::Stale(at),
            Guest::Stale(other),
            Guest::Foreign,
            Guest::Empty,
            Guest::Files,
            Guest::Missing,
        ]
    };
    let mut outcomes = Vec::new();
    for at in 0..n {
        for guest in kinds(at) {
            let mut guests = disks(&usual);
            guests[at] = guest;
            outcomes.push(masters.try_out(&guests));
        }
    }
    for first in kinds(0) {
        for second in kinds(1) {
            let mut guests = disks(&usual);
            (guests[0], guests[1]) = (first, second);
            outcomes.push(masters.try_out(&guests));
        }
    }
    outcomes.push(masters.try_out(&(0..n).map(Guest::Stale).collect::<Vec<_>>()));
    tally(&format!("guests among {n}"), &outcomes);
    assert!(outcomes.contains(&Outcome::Written) && outcomes.iter().any(|o| *o != Outcome::Written));
}

/// G13: copies, old, foreign and unlabelled folders among two disks.
#[test]
fn guests_among_two_disks() {
    matrix(2);
}

/// G13: the same among three.
#[test]
fn guests_among_three_disks() {
    matrix(3);
}

/// G13: the same among four.
#[test]
fn guests_among_four_disks() {
    matrix(4);
}

/// G13: a disk is exchanged for something else while the box is up.
#[test]
fn guests_that_come_while_the_box_is_up() {
    let masters = Masters::new(3);
    for guest in [Guest::Foreign, Guest::Empty, Guest::Files, Guest::Missing, Guest::Disk(0), Guest::Stale(2)]
    {
        masters.lay_out(&disks(&[0, 1, 2]));
        let vault = Vault::open(&masters.path("state")).expect("opens");
        put(&vault, "pc/before", &[1; 90_000]).expect("stored");
        fs::rename(masters.place(2), masters.path("pulled")).expect("scratch");
        masters.seat(2, guest);
        let before = seen_at(&masters.place(2));
        // Whatever the vault noticed so far, what it acknowledges is there.
        for round in 0..4u8 {
            put(&vault, "pc/during", &[round; 90_000]).expect("two of three disks go on");
            assert_eq!(get(&vault, "pc/during").expect("there"), [round; 90_000]);
            std::thread::sleep(Duration::from_millis(300));
        }
        for (name, bytes) in &masters.snapshots {
            assert!(get(&vault, name).expect("there") == *bytes, "{guest:?}: {name} reads wrong");
        }
        // An old state of the disk itself may be brought up to date; anything else is not ours to write to.
        if guest != Guest::Stale(2) {
            assert!(seen_at(&masters.place(2)) == before, "{guest:?}: something was written to it");
            assert_ne!(vault.status().light, Light::Green, "{guest:?}: a disk is away");
        }
        vault.close();
        fs::remove_dir_all(masters.path("pulled")).expect("scratch");
    }
}
