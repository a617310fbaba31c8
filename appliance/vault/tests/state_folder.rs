//! The state folder under an open vault: what is taken away, damaged or cannot be written shows, and comes back.

mod common;

use coffre_core::wire::{Light, Status};
use common::{Scratch, get, green, noise, put, until};
use std::fs;

fn says(status: &Status, light: Light, part: &str) -> bool {
    status.light == light && status.reasons.iter().any(|why| why.contains(part))
}

/// G17. Pushes go on: they do not need it.
#[test]
fn a_state_folder_that_is_taken_away_is_a_red_light_until_it_is_back() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    until(&vault, "green", green);
    fs::rename(it.state(), it.path("aside")).expect("there");
    let gone = until(&vault, "gone", |s| says(s, Light::Red, "is not there any more"));
    assert!(gone.reasons.iter().any(|why| why.contains("coffre adopt")), "{:?}", gone.reasons);
    put(&vault, "pc/a", &noise(100_000, 1));
    // What must be written meanwhile is not written into a folder that was made anew.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(!it.state().exists());
    fs::create_dir(it.state()).expect("scratch");
    until(&vault, "another", |s| says(s, Light::Red, "another folder is in the place"));
    fs::remove_dir_all(it.state()).expect("removable");
    fs::rename(it.path("aside"), it.state()).expect("there");
    until(&vault, "back, with a witness again", green);
    put(&vault, "pc/b", b"goes on");
    assert_eq!(get(&vault, "pc/a"), noise(100_000, 1));
    drop(vault);
    until(&it.open(), "green after a start", green);
}

/// Two disks need the witness when one of them goes.
#[test]
fn a_witness_that_cannot_be_written_is_told_and_begun_anew() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    until(&vault, "green", green);
    // A folder of that name cannot be written, whoever tries.
    fs::rename(it.state().join("witness"), it.path("witness")).expect("there");
    fs::create_dir(it.state().join("witness")).expect("scratch");
    put(&vault, "pc/a", b"something to remember");
    until(&vault, "told", |s| says(s, Light::Amber, "the witness in the state folder"));
    fs::remove_dir(it.state().join("witness")).expect("empty");
    drop(vault);
    let vault = it.open();
    until(&vault, "green", green);
    it.pull(1);
    until(&vault, "goes on with one", |s| s.writable && s.light == Light::Red);
    put(&vault, "pc/b", b"on one disk");
}

#[test]
fn small_files_come_back_by_themselves_and_the_identity_is_missed() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    until(&vault, "green", green);
    for name in ["box.json", "keys.age"] {
        fs::remove_file(it.state().join(name)).expect("there");
    }
    for name in ["box.json", "keys.age"] {
        until(&vault, name, |_| it.state().join(name).exists());
    }
    fs::rename(it.state().join("box.identity"), it.path("aside")).expect("there");
    until(&vault, "missed", |s| says(s, Light::Red, "box.identity is missing"));
    fs::rename(it.path("aside"), it.state().join("box.identity")).expect("there");
    until(&vault, "green again", green);
    drop(vault);
    until(&it.open(), "opens from what was written again", green);
}

#[test]
fn an_index_whose_files_are_removed_is_built_again() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let body = noise(3_000_000, 7);
    put(&vault, "pc/a", &body);
    let index = it.state().join("index");
    for what in ["the folder", "what is in it"] {
        until(&vault, "whole", |s| s.index_ready);
        match what {
            "the folder" => fs::remove_dir_all(&index).expect("there"),
            _ => fs::read_dir(&index).expect("there").for_each(|entry| {
                let path = entry.expect("readable").path();
                // The count of openings is a file, sled's part a folder.
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }),
        }
        let db = || {
            fs::read_dir(&index).is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.path().join("db").exists())))
        };
        until(&vault, what, |s| s.index_ready && db());
    }
    let again = put(&vault, "pc/b", &body);
    assert!(again.snapshot.stored_bytes < 1_000_000, "shared by the new index: {again:?}");
}
