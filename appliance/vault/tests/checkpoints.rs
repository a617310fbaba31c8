//! A checkpoint that goes bad on its disk, on a box with one disk: nothing is lost while the one before it, or the journal, is there;
//! and where nothing is left, the box says that it is damaged and reads the rest.

mod common;

use coffre_core::wire::Light;
use coffre_vault::Which;
use common::{Scratch, dataset, get, noise, put, until};
use std::fs;
use std::path::PathBuf;

const BODIES: u64 = 300;
/// Small ones, so that the checkpoint has several pieces.
const SMALL: u64 = 600;

/// A box with one disk, enough in it for a checkpoint, and the checkpoint's file.
fn with_a_checkpoint() -> (Scratch, PathBuf) {
    let (it, _) = Scratch::made(1);
    let vault = it.open();
    let newest = || {
        fs::read_dir(it.disk(0).join("checkpoints")).expect("there").next().map(|e| e.expect("there").path())
    };
    (0..SMALL).for_each(|n| drop(put(&vault, &format!("pc/s{n}"), &noise(100, n + 1))));
    (0..BODIES).for_each(|n| drop(put(&vault, &format!("pc/d{n}"), &noise(60_000, n + 1))));
    until(&vault, "a checkpoint", |s| newest().is_some() && s.jobs.iter().all(|j| j.kind != "checkpoint"));
    put(&vault, "pc/after", &noise(60_000, 999));
    drop(vault);
    let path = newest().expect("there");
    (it, path)
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).expect("there");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_wrong_byte_in_the_only_checkpoint_costs_nothing() {
    let (it, path) = with_a_checkpoint();
    // In the header of one, in the sealed part of the other: each time the file cannot be used.
    let len = fs::metadata(&path).expect("there").len() as usize;
    for at in [40, len / 2] {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        flip(&path, at);
        let vault = it.open();
        let status = until(&vault, "told", |s| {
            s.writable && s.scrub.finds.iter().any(|f| f.what.starts_with("checkpoint"))
        });
        assert!(status.scrub.finds.iter().all(|f| f.healed_ms.is_some()), "{:?}", status.scrub.finds);
        (0..BODIES).for_each(|n| assert_eq!(get(&vault, &format!("pc/d{n}")), noise(60_000, n + 1)));
        assert_eq!(get(&vault, "pc/after"), noise(60_000, 999));
        drop(vault);
        let aside = fs::read_dir(it.disk(0).join("quarantine")).expect("there");
        let aside: Vec<PathBuf> = aside.map(|e| e.expect("there").path()).collect();
        let aside =
            aside.iter().find(|p| p.to_string_lossy().ends_with(&name)).expect("put aside, not removed");
        // Put back for the next turn, as it was.
        fs::rename(aside, &path).expect("scratch");
        flip(&path, at);
    }
}

#[test]
fn damage_beyond_the_one_before_is_called_damage_and_the_rest_is_read() {
    let (it, path) = with_a_checkpoint();
    let len = fs::metadata(&path).expect("there").len() as usize;
    flip(&path, len - 40);
    fs::remove_file(it.disk(0).join("journal/00000000.seg")).expect("there");
    let vault = it.open();
    let status = vault.status();
    assert_eq!((status.light, status.writable), (Light::Red, false), "{:?}", status.reasons);
    let says = |text: &str| status.reasons.iter().any(|why| why.contains(text));
    assert!(says("the checkpoint on the disks is damaged") && !says("stale"), "{:?}", status.reasons);
    assert!(!says("0 of its entries"), "{:?}", status.reasons);
    let there = |name: String| vault.read(&dataset(&name), Which::Latest).is_ok();
    let small = (0..SMALL).filter(|n| there(format!("pc/s{n}"))).count() as u64;
    let large = (0..BODIES).filter(|n| there(format!("pc/d{n}"))).count() as u64;
    assert!(small > 0 && small + large < SMALL + BODIES, "{small} and {large} are there");
    // What is named is read, byte by byte.
    let named = (0..SMALL).find(|n| there(format!("pc/s{n}"))).expect("one of them");
    assert_eq!(get(&vault, &format!("pc/s{named}")), noise(100, named + 1));
    drop(vault);
    // A header that is bad as well leaves nothing to read, and it is damage all the same.
    flip(&path, 40);
    let vault = it.open();
    let status = vault.status();
    let says = |text: &str| status.reasons.iter().any(|why| why.contains(text));
    assert!(says("damaged") && !says("stale") && !status.writable, "{:?}", status.reasons);
}
