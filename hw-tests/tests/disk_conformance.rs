//! The conformance suite of disks on the real adapter and the simulated one, and what only the real one can meet.

use coffre_rig::conformance::{CASES, Subject};
use coffre_rig::rng::Rng;
use coffre_rig::sim::SimDisk;
use coffre_vault::disk::{FsDisk, is_mount_point, same_file_system};
use coffre_vault::ports::{Disk, DiskError};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

struct Real {
    dir: tempfile::TempDir,
    disk: FsDisk,
}

impl Real {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        let disk = FsDisk::attach(dir.path()).expect("a folder");
        Self { dir, disk }
    }
}

impl Subject for Real {
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }
    /// The death of the process: what it wrote stays in the system's cache.
    fn crash(&mut self) {
        self.disk = FsDisk::attach(self.dir.path()).expect("a folder");
    }
}

struct Sim {
    disk: SimDisk,
    rng: Rng,
}

impl Subject for Sim {
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }
    fn crash(&mut self) {
        self.disk.power_cut(&mut self.rng);
    }
}

#[test]
fn the_real_disk_conforms() {
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&mut Real::new());
    }
}

#[test]
fn the_simulated_disk_conforms() {
    for seed in 0..20 {
        for (name, case) in CASES {
            eprintln!("{name}, seed {seed}");
            case(&mut Sim { disk: SimDisk::new("sim", seed), rng: Rng::new(seed) });
        }
    }
}

/// A disk at `dir/disk` with an open, synced file `f`.
fn attached() -> (tempfile::TempDir, FsDisk) {
    let dir = tempfile::tempdir().expect("scratch");
    fs::create_dir(dir.path().join("disk")).expect("scratch");
    let disk = FsDisk::attach(&dir.path().join("disk")).expect("a folder");
    disk.create("f").expect("free");
    disk.write_at("f", 0, b"old").expect("open");
    disk.sync("f").expect("a healthy disk");
    (dir, disk)
}

/// Every operation says `Gone`; `f` is open.
fn assert_gone(disk: &FsDisk) {
    let outcomes = [
        disk.make_dir("d"),
        disk.create("g"),
        disk.open_rw("f"),
        disk.write_at("f", 0, b"new"),
        disk.sync("f"),
        disk.sync_dir(""),
        disk.read_at("f", 0, 1).map(drop),
        disk.len("f").map(drop),
        disk.list("").map(drop),
        disk.rename("f", "g"),
        disk.remove("f"),
        disk.space().map(drop),
    ];
    for (i, outcome) in outcomes.iter().enumerate() {
        assert!(matches!(outcome, Err(DiskError::Gone(_))), "operation {i}: {outcome:?}");
    }
}

fn names(path: &Path) -> Vec<String> {
    let name = |e: std::io::Result<fs::DirEntry>| e.expect("there").file_name().into_string().expect("ASCII");
    fs::read_dir(path).expect("there").map(name).collect()
}

#[test]
fn a_folder_that_was_moved_away_is_gone_and_untouched() {
    let (dir, disk) = attached();
    fs::rename(dir.path().join("disk"), dir.path().join("elsewhere")).expect("scratch");
    assert_gone(&disk);
    assert_eq!(names(dir.path()), ["elsewhere"]);
    assert_eq!(fs::read(dir.path().join("elsewhere/f")).expect("there"), b"old");
    assert_eq!(names(&dir.path().join("elsewhere")), ["f"]);
    assert!(matches!(FsDisk::attach(&dir.path().join("disk")), Err(DiskError::Gone(_))));
}

#[test]
fn a_folder_that_took_its_place_is_not_it() {
    let (dir, disk) = attached();
    fs::rename(dir.path().join("disk"), dir.path().join("elsewhere")).expect("scratch");
    fs::create_dir(dir.path().join("disk")).expect("scratch");
    assert_gone(&disk);
    assert_eq!(names(&dir.path().join("disk")), [""; 0]);
    fs::remove_dir(dir.path().join("disk")).expect("scratch");
    symlink("elsewhere", dir.path().join("disk")).expect("scratch");
    assert_eq!(disk.len("f").expect("the same folder by another way"), 3);
    fs::remove_file(dir.path().join("disk")).expect("scratch");
    fs::rename(dir.path().join("elsewhere"), dir.path().join("disk")).expect("scratch");
    disk.close("f");
    disk.open_rw("f").expect("it is back");
}

#[test]
fn what_lies_on_the_disk_leads_nowhere_else() {
    let (dir, disk) = attached();
    let path = |name: &str| dir.path().join("disk").join(name);
    fs::create_dir(dir.path().join("out")).expect("scratch");
    fs::write(dir.path().join("out/secret"), b"secret").expect("scratch");
    symlink("../out/secret", path("link")).expect("scratch");
    symlink("../out", path("away")).expect("scratch");
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("scratch");
    for name in ["link", "away/secret", "pipe"] {
        assert!(disk.open_rw(name).is_err() && disk.read_at(name, 0, 9).is_err(), "{name}");
    }
    for attempt in [disk.create("away/new"), disk.make_dir("away/new"), disk.rename("f", "away/f")] {
        assert!(attempt.is_err());
    }
    assert!(disk.remove("away/secret").is_err() && disk.list("away").is_err());
    assert!(disk.create("link").is_err());
    assert_eq!(names(&dir.path().join("out")), ["secret"]);
}

#[test]
fn files_are_for_us_alone() {
    let (dir, disk) = attached();
    disk.make_dir("d").expect("free");
    let mode = |name| fs::metadata(dir.path().join("disk").join(name)).expect("there").permissions().mode();
    assert_eq!((mode("f") & 0o777, mode("d") & 0o777), (0o600, 0o700));
}

/// A small file system of its own at `at`, until dropped; `None` where the system does not let us mount.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(at: &'a Path) -> Option<Self> {
        fs::create_dir(at).expect("scratch");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "coffre-test"]).arg(at).output();
        let mounted = mount.is_ok_and(|o| o.status.success());
        if !mounted {
            eprintln!("NOT RUN: mounting needs root");
        }
        mounted.then_some(Self(at))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: the disk under test may still hold it. It may be unmounted already.
        drop(Command::new("umount").arg("-l").arg(self.0).output());
    }
}

#[test]
fn a_full_file_system_is_full_and_an_unmounted_one_is_gone() {
    let dir = tempfile::tempdir().expect("scratch");
    let at = dir.path().join("disk");
    let Some(mount) = Mount::new(&at) else { return };
    assert!(is_mount_point(&at).expect("there") && !same_file_system(&at, dir.path()).expect("there"));
    let disk = FsDisk::attach(&at).expect("mounted");
    disk.create("f").expect("room");
    let outcome = disk.write_at("f", 0, &vec![1; 2 << 20]);
    assert!(matches!(outcome, Err(DiskError::Full(_))), "{outcome:?}");
    assert_eq!(disk.space().expect("there").free, 0);
    drop(mount);
    assert_gone(&disk);
    assert_eq!(names(&at), [""; 0], "nothing is written to the mount point");
    let Some(_other) = fs::remove_dir(&at).ok().and_then(|()| Mount::new(&at)) else {
        panic!("mounted before")
    };
    assert_gone(&disk);
    assert_eq!(names(&at), [""; 0], "nothing is written to another disk in its place");
}

#[test]
fn a_folder_mounted_within_is_refused() {
    let (dir, disk) = attached();
    let inner = dir.path().join("disk/inner");
    let Some(_mount) = Mount::new(&inner) else { return };
    assert!(disk.create("inner/x").is_err() && disk.list("inner").is_err());
    assert_eq!(names(&inner), [""; 0]);
}
