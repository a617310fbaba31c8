//! New key slots on a disk: after a power cut at any operation the old file or the new one is there, whole.

use coffre_rig::rng::Rng;
use coffre_rig::seeds::announce;
use coffre_rig::sim::SimDisk;
use coffre_vault::layout::KEYS;
use coffre_vault::ports::{Disk, DiskResult};
use coffre_vault::renew::replace_slots;

const OLD: [u8; 500] = [1; 500];
const NEW: [u8; 700] = [2; 700];
const SEEDS: u64 = 100;
/// More operations than a replacement has.
const MAX_OPS: u64 = 40;

fn with_old_slots(seed: u64, left_over: bool) -> SimDisk {
    let disk = SimDisk::new("d", seed);
    let write = |name: &str, bytes: &[u8]| -> DiskResult<()> {
        disk.create(name)?;
        disk.write_at(name, 0, bytes)?;
        disk.sync(name)?;
        disk.close(name);
        disk.sync_dir("")
    };
    write(KEYS, &OLD).expect("a new disk");
    if left_over {
        write("keys.age.new", b"half").expect("a new disk");
    }
    disk
}

/// Cuts the power at every operation of `replace`; says what stood there afterwards that was neither old nor new, or was
/// old although the replacement was done.
fn complaints(replace: fn(&dyn Disk, &[u8]) -> DiskResult<()>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut finished = 0;
    let from = announce("renew", "a_power_cut_leaves_old_slots_or_new_ones");
    for (seed, left_over) in (from..from + SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        for cut_at in 1..MAX_OPS {
            let disk = with_old_slots(seed, left_over);
            disk.crash_after(cut_at);
            let done = replace(&disk, &NEW).is_ok();
            disk.power_cut(&mut Rng::new(seed ^ cut_at << 32));
            let there = disk.peek(KEYS);
            let right = there.as_deref() == Some(&NEW) || !done && there.as_deref() == Some(&OLD);
            if !right {
                complaints.push(format!("seed {seed}, cut at operation {cut_at}"));
            }
            finished += u64::from(done);
            if done {
                break;
            }
        }
    }
    assert_eq!(finished, 2 * SEEDS, "each replacement got through once");
    complaints
}

#[test]
fn a_power_cut_leaves_old_slots_or_new_ones() {
    assert_eq!(complaints(replace_slots), Vec::<String>::new());
}

/// The flaws that this test is there for are caught.
#[test]
fn writing_in_place_and_renaming_too_early_are_caught() {
    let in_place = |disk: &dyn Disk, slots: &[u8]| -> DiskResult<()> {
        disk.open_rw(KEYS)?;
        disk.write_at(KEYS, 0, slots)?;
        disk.sync(KEYS)?;
        disk.close(KEYS);
        Ok(())
    };
    assert!(!complaints(in_place).is_empty());
    let without_sync = |disk: &dyn Disk, slots: &[u8]| -> DiskResult<()> {
        disk.remove("keys.age.new").or_else(|e| match e {
            coffre_vault::ports::DiskError::NotFound(_) => Ok(()),
            other => Err(other),
        })?;
        disk.create("keys.age.new")?;
        disk.write_at("keys.age.new", 0, slots)?;
        disk.close("keys.age.new");
        disk.rename("keys.age.new", KEYS)?;
        disk.sync_dir("")
    };
    assert!(!complaints(without_sync).is_empty());
}
