//! What happens to the disks of the box, one act after the other. Each leaves every disk where it belongs.

use super::{CLIENT, DATASET, DISKS, DRIVE_BYTES, SHOWN_LIMIT, TheBox};
use crate::rig::daemon::Coffre;
use crate::rig::demo::prints;
use crate::rig::mounts::Fs;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How often a disk comes and goes in the act of flapping.
const FLAPS: u64 = 6;
/// Pushes go on for so long at least while it does.
const FLAP_MS: u64 = 700;

/// One act of the play.
type Act = fn(&mut TheBox) -> Result<()>;

/// All of them.
pub(super) const ALL: &[(&str, Act)] = &[
    ("unmounted while the box runs", unmounted),
    ("gone at the start, an empty folder in its place", gone_at_the_start),
    ("two exchanged, at the start and while the box runs", exchanged),
    ("a foreign file system in its place", foreign),
    ("a disk of another vault in its place", of_another_vault),
    ("a copy of one disk in the place of another", copy_in_anothers_place),
    ("a copy in its own place, the disk in another's", copy_and_disk_exchanged),
    ("an old copy put back, then only what it caught up must do", old_copy),
    ("read-only at the start", read_only),
    ("read-only from one moment to the next, by an error of its own", broken_down),
    ("coming and going during pushes", flapping),
];

fn unmounted(it: &mut TheBox) -> Result<()> {
    let drive = it.bays.unplug(1)?;
    // At once: the box may still hold the disk, and must not take the folder beneath for it.
    it.push()?;
    it.told_of(1)?;
    it.push()?;
    it.bays.let_go(drive, SHOWN_LIMIT)?;
    it.compare().context("with the disk away")?;
    it.bays.plug(drive, 1)
}

fn gone_at_the_start(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    let drives = [it.bays.unplug(2)?, it.bays.unplug(3)?];
    it.subject.start()?;
    it.told_of(2)?;
    it.told_of(3)?;
    it.push()?;
    it.compare().context("with two disks away")?;
    it.bays.plug(drives[0], 2)?;
    it.bays.plug(drives[1], 3)
}

fn exchanged(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    let (a, b) = (it.bays.unplug(0)?, it.bays.unplug(1)?);
    it.bays.plug(a, 1)?;
    it.bays.plug(b, 0)?;
    it.subject.start()?;
    it.push()?;
    it.all_is_well().context("exchanged at the start")?;
    it.compare().context("exchanged at the start")?;
    // Back while it runs: both go at once, and come to each other's place.
    let (b, a) = (it.bays.unplug(0)?, it.bays.unplug(1)?);
    it.bays.plug(a, 0)?;
    it.bays.plug(b, 1)?;
    it.push()
}

fn foreign(it: &mut TheBox) -> Result<()> {
    for n in 0..it.kinds.len() {
        let stranger = it.bays.make(it.kinds[n], DRIVE_BYTES)?;
        let ours = it.bays.unplug(3)?;
        it.bays.plug(stranger, 3)?;
        let (photos, label) = (it.bays.path(3).join("photos"), it.bays.path(3).join("label"));
        std::fs::create_dir(&photos)?;
        std::fs::write(photos.join("one.jpg"), it.subject.rng.bytes(5000))?;
        // Somebody's file that happens to be called like ours.
        std::fs::write(label, b"Summer 2019")?;
        let before = prints::below(it.bays.path(3))?;
        it.told_of(3)?;
        it.push()?;
        it.compare().context("with something foreign in a disk's place")?;
        ensure!(prints::below(it.bays.path(3))? == before, "the foreign file system was written to");
        it.bays.unplug(3)?;
        it.bays.let_go(ours, SHOWN_LIMIT)?;
        it.bays.plug(ours, 3)?;
        it.all_is_well()?;
    }
    Ok(())
}

fn of_another_vault(it: &mut TheBox) -> Result<()> {
    let theirs = it.bays.make(it.kinds[0], DRIVE_BYTES)?;
    let ours = it.take_out(4)?;
    it.bays.plug(theirs, 4)?;
    let state = it.scratch.path().join("state-of-another");
    Coffre::new(&it.subject.binaries, &state).init(&[it.bays.path(4).to_owned()], "another")?;
    let before = prints::below(it.bays.path(4))?;
    let why = it.told_of(4)?;
    ensure!(why.contains("vault"), "a disk of another vault is called: {why}");
    it.push()?;
    // A start meets it, too.
    it.subject.stop()?;
    it.subject.start()?;
    it.told_of(4)?;
    it.push()?;
    it.compare().context("with a disk of another vault in a disk's place")?;
    ensure!(prints::below(it.bays.path(4))? == before, "the disk of another vault was written to");
    it.bays.unplug(4)?;
    it.bays.plug(ours, 4)
}

fn copy_in_anothers_place(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    let original = it.bays.unplug(4)?;
    it.bays.let_go(original, SHOWN_LIMIT)?;
    let copy = it.bays.copy(original)?;
    it.bays.plug(original, 4)?;
    let other = it.bays.unplug(0)?;
    it.bays.plug(copy, 0)?;
    let before = prints::below(it.bays.path(0))?;
    it.subject.start()?;
    let why = it.told_of(0)?;
    ensure!(why.contains("disk 5"), "a copy of disk 5 in the place of disk 1 is called: {why}");
    it.push()?;
    it.compare().context("with a copy in another's place")?;
    ensure!(prints::below(it.bays.path(0))? == before, "the copy was written to");
    it.bays.unplug(0)?;
    it.bays.plug(other, 0)?;
    it.all_is_well()?;
    // The same while the box runs.
    let other = it.bays.unplug(0)?;
    it.bays.plug(copy, 0)?;
    it.push()?;
    it.told_of(0)?;
    it.push()?;
    ensure!(prints::below(it.bays.path(0))? == before, "the copy was written to");
    it.bays.unplug(0)?;
    it.bays.plug(other, 0)
}

fn copy_and_disk_exchanged(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    let original = it.bays.unplug(2)?;
    it.bays.let_go(original, SHOWN_LIMIT)?;
    let copy = it.bays.copy(original)?;
    let other = it.bays.unplug(1)?;
    it.bays.plug(original, 1)?;
    it.bays.plug(copy, 2)?;
    // The one in its own place is used; nobody can tell which came first.
    let before = prints::below(it.bays.path(1))?;
    it.subject.start()?;
    it.told_of(1)?;
    it.push()?;
    it.compare().context("with a disk and its copy")?;
    ensure!(prints::below(it.bays.path(1))? == before, "both a disk and its copy were written to");
    it.subject.stop()?;
    // From now on the disk is the old one of the two: it comes back to its own place and is brought up to date.
    it.bays.unplug(1)?;
    it.bays.unplug(2)?;
    it.bays.plug(other, 1)?;
    it.bays.plug(original, 2)?;
    it.subject.start().map(drop)
}

fn old_copy(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    let drives = [it.bays.unplug(3)?, it.bays.unplug(4)?];
    let mut copies = [0; 2];
    for (copy, drive) in copies.iter_mut().zip(drives) {
        it.bays.let_go(drive, SHOWN_LIMIT)?;
        *copy = it.bays.copy(drive)?;
    }
    it.bays.plug(drives[0], 3)?;
    it.bays.plug(drives[1], 4)?;
    it.subject.start()?;
    for _ in 0..3 {
        it.push()?;
    }
    it.subject.stop()?;
    // Two disks, as many as may be lost, come from the past; one is met by the start, one by the running box.
    it.bays.unplug(3)?;
    it.bays.unplug(4)?;
    it.bays.plug(copies[0], 3)?;
    it.subject.start()?;
    it.told_of(4)?;
    it.push()?;
    it.compare().context("with an old copy")?;
    it.bays.plug(copies[1], 4)?;
    it.push()?;
    it.all_is_well().context("with two old copies")?;
    it.compare().context("with two old copies")?;
    // What they lacked is on them now: two others go, and every byte needs them.
    let away = [it.bays.unplug(0)?, it.bays.unplug(1)?];
    it.told_of(0)?;
    it.told_of(1)?;
    it.compare().context("by what old copies caught up")?;
    it.bays.plug(away[0], 0)?;
    it.bays.plug(away[1], 1)
}

/// One of each kind is read-only at the start and becomes writable while the box runs.
fn read_only(it: &mut TheBox) -> Result<()> {
    it.subject.stop()?;
    it.bays.remount(0, true)?;
    it.bays.remount(1, true)?;
    it.subject.start()?;
    it.told_of(0)?;
    it.told_of(1)?;
    it.push()?;
    it.compare().context("with two disks that are read-only")?;
    it.bays.remount(0, false)?;
    it.bays.remount(1, false)
}

/// A file system finds an error while the box writes to it. It comes back when it is mounted anew.
fn broken_down(it: &mut TheBox) -> Result<()> {
    for bay in 0..DISKS {
        if !it.bays.break_down(bay)? {
            continue;
        }
        it.push()?;
        it.told_of(bay)?;
        it.push()?;
        it.compare().context("with a file system that broke down")?;
        let drive = it.bays.unplug(bay)?;
        it.bays.let_go(drive, SHOWN_LIMIT)?;
        it.bays.plug(drive, bay)?;
        return Ok(());
    }
    ensure!(!it.kinds.contains(&Fs::Ext4), "no file system can be broken down");
    Ok(())
}

fn flapping(it: &mut TheBox) -> Result<()> {
    let curl = it.subject.curl.clone();
    let mut rng = it.subject.rng.fork();
    let bodies: Vec<Vec<u8>> =
        (0..40).map(|n| rng.bytes(if n % 4 == 0 { 3 << 20 } else { 4000 + n })).collect();
    let mut dice = it.subject.rng.fork();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (over, bodies) = (&over, &bodies);
    let acknowledged = std::thread::scope(|scope| {
        let pushes = scope.spawn(move || {
            let mut answers = Vec::new();
            for body in bodies {
                if over.load(std::sync::atomic::Ordering::SeqCst) && answers.len() > 8 {
                    break;
                }
                answers.push(curl.push(DATASET, |out| out.write_all(body))?.receipt()?);
            }
            anyhow::Ok(answers)
        });
        let flaps = (0..FLAPS).try_for_each(|n| {
            let bay = (n % 2) as usize * (DISKS - 1);
            let drive = it.bays.unplug(bay)?;
            std::thread::sleep(Duration::from_millis(dice.below(FLAP_MS)));
            it.bays.plug(drive, bay)?;
            std::thread::sleep(Duration::from_millis(dice.below(FLAP_MS)));
            anyhow::Ok(())
        });
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        let answers = pushes.join().map_err(|_| anyhow::anyhow!("the pushes panicked"))?;
        flaps.and(answers)
    })?;
    ensure!(acknowledged.len() > 8, "only {} pushes went on meanwhile", acknowledged.len());
    for (receipt, body) in acknowledged.iter().zip(bodies) {
        it.subject.note(DATASET, receipt, body)?;
    }
    // What the box lists is what was acknowledged, and nothing else.
    let listed = it.subject.coffre.json(&["snapshots", &format!("{CLIENT}/{DATASET}")])?;
    let count = listed["snapshots"].as_array().map_or(0, Vec::len);
    ensure!(
        count == it.subject.acknowledged().len(),
        "{count} snapshots are listed, {} were acknowledged",
        it.subject.acknowledged().len()
    );
    Ok(())
}
