//! Disks replaced and added under an open vault on real folders: what is said, what is refused, what the next start sees.
//!
//! The rules themselves are proved in the coordinator's world and in the whole vault's; here is the walk around them: box.json, labels,
//! threads, words.

use coffre_core::fault::Class;
use coffre_core::names::DatasetRef;
use coffre_core::wire::{Consent, DiskInfo, DiskState, Light};
use coffre_rig::rng::Rng;
use coffre_vault::{IdentityKeys, InitPlan, Replacing, Vault, Which};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the box may take to be whole again.
const WHOLE_CEILING: Duration = Duration::from_secs(40);

struct Bench {
    dir: tempfile::TempDir,
    kept: Vec<(String, Vec<u8>)>,
    rng: Rng,
}

fn authority(
    _: &IdentityKeys,
    _: coffre_core::ids::VaultId,
    _: &str,
    _: u64,
) -> coffre_core::fault::Result<Vec<u8>> {
    Ok(vec![1, 2, 3])
}

impl Bench {
    fn new(n: usize) -> Self {
        let it =
            Self { dir: tempfile::tempdir().expect("scratch"), kept: Vec::new(), rng: Rng::new(n as u64) };
        let disks: Vec<PathBuf> = (0..n).map(|i| it.fresh(&format!("disk{i}"))).collect();
        let plan =
            InitPlan { state: it.path("state"), disks, geometry: None, name: "office".into(), try_out: true };
        coffre_vault::init(&plan, &authority).expect("made");
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn fresh(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).expect("scratch");
        self.path(name)
    }

    fn open(&self) -> Vault {
        Vault::open(&self.path("state")).expect("opens")
    }

    fn put(&mut self, vault: &Vault, len: usize) {
        let name = format!("pc/set{}", self.kept.len());
        let bytes = self.rng.bytes(len);
        let mut stream = vault.put(&dataset(&name), None).expect("begun");
        stream.write(&bytes).expect("taken");
        stream.finish().expect("stored");
        self.kept.push((name, bytes));
    }

    fn check(&self, vault: &Vault) {
        for (name, bytes) in &self.kept {
            let mut reader = vault.read(&dataset(name), Which::Latest).expect("there");
            let mut out = Vec::new();
            while out.len() < bytes.len() {
                out.extend(reader.read_at(out.len() as u64, 1 << 20).expect("readable"));
            }
            assert!(out == *bytes, "{name} reads wrong");
        }
    }

    fn lose(&self, disk: &str) {
        fs::rename(self.path(disk), self.path(&format!("{disk}-away"))).expect("scratch");
    }
}

fn dataset(text: &str) -> DatasetRef {
    text.parse().expect("a data set")
}

/// Has a disk replaced, whatever speaks against it.
fn replace(vault: &Vault, old: &str, with: &Path) -> coffre_core::fault::Result<DiskInfo> {
    match vault.disk_replace(old, with, Consent { sure: true, give_up: false })? {
        Replacing::Done(disk) => Ok(*disk),
        Replacing::Asked(why) => panic!("asked although sure: {why}"),
    }
}

fn wait_green(vault: &Vault) {
    let begun = Instant::now();
    loop {
        let status = vault.status();
        if status.light == Light::Green {
            return;
        }
        assert!(begun.elapsed() < WHOLE_CEILING, "never whole again: {:?}", status.reasons);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// G13: a dead disk is replaced while the box is up; its data is made again, the old one is nobody when it comes back, alone or
/// not, and after any start.
#[test]
fn a_dead_disk_is_replaced_and_stays_out() {
    for n in [2, 3, 4] {
        let mut bench = Bench::new(n);
        let vault = bench.open();
        bench.put(&vault, 3_000);
        bench.put(&vault, 300_000);
        bench.lose("disk1");
        bench.put(&vault, 200_000);
        let came = replace(&vault, "2", &bench.fresh("new")).expect("replaced");
        assert_eq!((came.number, came.state), (2, DiskState::Active), "{n} disks");
        bench.put(&vault, 250_000);
        wait_green(&vault);
        bench.check(&vault);
        // The old disk shows again, while the box is up and at the next start.
        fs::rename(bench.path("disk1-away"), bench.path("disk1")).expect("scratch");
        let retired = vault.disks().into_iter().find(|d| d.state == DiskState::Retired);
        assert_eq!(retired.map(|d| d.path), Some(bench.path("disk1").display().to_string()));
        wait_green(&vault);
        vault.close();
        drop(vault);
        let before = fs::read(bench.path("disk1/label")).expect("there");
        let vault = bench.open();
        wait_green(&vault);
        bench.check(&vault);
        // Any other disk but the new one may go now.
        bench.lose("disk0");
        bench.put(&vault, 100_000);
        bench.check(&vault);
        assert!(fs::read(bench.path("disk1/label")).expect("there") == before, "a retired disk was written");
        vault.close();
        drop(vault);
        // Alone with the state folder it is nobody.
        (0..n).filter(|i| *i > 1).for_each(|i| bench.lose(&format!("disk{i}")));
        bench.lose("new");
        let vault = bench.open();
        assert!(!vault.status().writable && vault.disks().iter().all(|d| d.state != DiskState::Active));
        vault.close();
    }
}

/// A healthy disk is replaced at its own mount point's neighbour, and the box grows from one disk to five.
#[test]
fn a_vault_grows_by_its_table() {
    let mut bench = Bench::new(1);
    let vault = bench.open();
    bench.put(&vault, 150_000);
    for (n, geometry) in [(2, "1+1"), (3, "2+1"), (4, "3+1"), (5, "3+2")] {
        let came = vault.disk_add(&bench.fresh(&format!("more{n}"))).expect("added");
        assert_eq!((came.number, came.state), (n, DiskState::Active));
        assert_eq!(vault.geometry().to_string(), geometry);
        bench.put(&vault, 150_000);
        wait_green(&vault);
        bench.check(&vault);
    }
    let came = replace(&vault, "1", &bench.fresh("instead")).expect("replaced");
    assert_eq!((came.number, came.state), (1, DiskState::Active));
    wait_green(&vault);
    assert_eq!(vault.status().can_lose_disks, 2);
    vault.close();
    drop(vault);
    bench.lose("more2");
    bench.lose("more3");
    let vault = bench.open();
    bench.put(&vault, 50_000);
    bench.check(&vault);
    vault.close();
}

/// Each refusal says what and why, and leaves the new folder as it was.
#[test]
fn what_cannot_be_is_refused_in_words() {
    let mut bench = Bench::new(3);
    let vault = bench.open();
    bench.put(&vault, 100_000);
    let full = bench.fresh("full");
    fs::write(full.join("letter.txt"), b"mine").expect("scratch");
    let refused = |old: &str, path: PathBuf, class: Class| {
        let fault = replace(&vault, old, &path).expect_err("refused");
        assert_eq!(fault.class, class, "{fault}");
        assert!(fault.next.is_some(), "{fault}");
    };
    refused("1", full.clone(), Class::Refused);
    refused("1", bench.path("disk2"), Class::Refused);
    refused("1", bench.path("nowhere"), Class::Absent);
    refused("9", bench.fresh("ok"), Class::Absent);
    refused("0", bench.fresh("ok"), Class::Absent);
    refused("ab", bench.fresh("ok"), Class::Absent);
    refused("1", bench.fresh("disk0/inside"), Class::Misuse);
    fs::remove_dir(bench.path("disk0/inside")).expect("scratch");
    assert_eq!(fs::read(full.join("letter.txt")).expect("there"), b"mine");
    // With a disk away, another one cannot be spared.
    bench.lose("disk2");
    let begun = Instant::now();
    while vault.disks()[2].state == DiskState::Active && begun.elapsed() < WHOLE_CEILING {
        std::thread::sleep(Duration::from_millis(50));
    }
    refused("1", bench.fresh("ok"), Class::Refused);
    assert!(fs::read_dir(bench.path("ok")).expect("there").next().is_none(), "what was begun is taken back");
    // The one that is away can be replaced by the same folder, and named by its id.
    let id = vault.disks()[2].id.to_string();
    let came = replace(&vault, &id[..8], &bench.path("ok")).expect("replaced");
    assert_eq!(came.number, 3);
    wait_green(&vault);
    bench.check(&vault);
    vault.close();
}

/// A disk that was moved to another mount point is found when the box is told where.
#[test]
fn a_moved_disk_is_found() {
    let mut bench = Bench::new(3);
    let vault = bench.open();
    bench.put(&vault, 100_000);
    fs::rename(bench.path("disk1"), bench.path("elsewhere")).expect("scratch");
    let found = vault.disk_find(&bench.path("elsewhere")).expect("found");
    assert_eq!((found.number, found.state), (2, DiskState::Active));
    assert!(vault.disk_find(&bench.fresh("empty")).is_err());
    wait_green(&vault);
    vault.close();
    drop(vault);
    let vault = bench.open();
    wait_green(&vault);
    bench.check(&vault);
    vault.close();
}
