//! Things that nobody of ours put there, in every folder of the disks: they hide nothing, stop nothing, hold nobody up, and the
//! light says them.

mod common;

use coffre_core::wire::{Light, Status};
use common::{Scratch, get, green, noise, put, until};
use nix::sys::stat::Mode;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn told(status: &Status, disk: usize) -> bool {
    let on = format!("on disk {disk} ");
    status.light == Light::Amber
        && status.reasons.iter().any(|why| why.starts_with(&on) && why.contains("did not write"))
}

#[test]
fn thousands_of_foreign_names_hide_no_journal() {
    let (it, _) = Scratch::made(2);
    let vault = it.open();
    put(&vault, "pc/before", &noise(50_000, 1));
    drop(vault);
    // They sort before our own.
    (0..5_000).for_each(|n| {
        fs::write(it.disk(0).join(format!("journal/#{n:06}")), b"").expect("scratch");
        fs::write(it.disk(0).join(format!("checkpoints/#{n:06}")), b"").expect("scratch");
    });
    let vault = it.open();
    let status = until(&vault, "told", |s| told(s, 0));
    assert_eq!(status.can_lose_disks, 1);
    (0..20).for_each(|n| assert_eq!(put(&vault, &format!("pc/d{n}"), &noise(50_000, 2 + n)).tolerates, 1));
    drop(vault);
    it.pull(1);
    let vault = it.open();
    assert_eq!(get(&vault, "pc/before"), noise(50_000, 1));
    (0..20).for_each(|n| assert_eq!(get(&vault, &format!("pc/d{n}")), noise(50_000, 2 + n)));
}

/// What a person, another system or an enemy may leave in the folders of a disk.
fn litter(disk: &Path) {
    let path = |name: &str| disk.join(name);
    let pipe = |name: &str| nix::unistd::mkfifo(&path(name), Mode::S_IRUSR | Mode::S_IWUSR).expect("scratch");
    let link = |name: &str| std::os::unix::fs::symlink("/dev/zero", path(name)).expect("scratch");
    let sparse =
        |name: &str, len: u64| fs::File::create(path(name)).and_then(|f| f.set_len(len)).expect("scratch");
    // Names of ours: pipes, folders, links, sockets, empty and endless files.
    pipe("journal/0000fff0.seg");
    fs::create_dir(path("journal/0000fff1.seg")).expect("scratch");
    link("journal/0000fff2.seg");
    fs::write(path("journal/0000fff3.seg"), b"").expect("scratch");
    drop(std::os::unix::net::UnixListener::bind(path("journal/0000fff4.seg")).expect("scratch"));
    sparse("journal/ffffffff.seg", 1 << 40);
    (0..40).for_each(|n| sparse(&format!("journal/{:08x}.seg", 0x1000 + n), 2 << 30));
    fs::create_dir(path("checkpoints/00000000ffffff00.ckp")).expect("scratch");
    pipe("checkpoints/00000000ffffff01.ckp");
    sparse("checkpoints/ffffffffffffffff.ckp", 2 << 30);
    fs::write(path("checkpoints/00000000ffffff02.ckp"), noise(9_000, 5)).expect("scratch");
    let pack = "ab".repeat(16);
    fs::create_dir(path(&format!("shards/a/{pack}.shard"))).expect("scratch");
    pipe(&format!("shards/a/{pack}.new"));
    (0..2_000).for_each(|n| fs::write(path(&format!("shards/b/b{n:031x}.new")), b"x").expect("scratch"));
    // Names that are not.
    fs::write(path("journal/0000000A.SEG"), b"x").expect("scratch");
    fs::write(path("checkpoints/x"), b"x").expect("scratch");
    fs::write(path("quarantine/x"), b"x").expect("scratch");
    fs::write(path("shards/.DS_Store"), b"x").expect("scratch");
    fs::write(path("shards/x"), b"x").expect("scratch");
    fs::create_dir(path("shards/0/.Trash")).expect("scratch");
    fs::write(path(&format!("shards/0/{pack}.shard")), b"in another folder").expect("scratch");
    fs::create_dir(path("shards/10")).expect("scratch");
    fs::create_dir(path("photos")).expect("scratch");
    fs::create_dir(path("lost+found")).expect("scratch");
    fs::remove_file(path("ballast")).expect("scratch");
    pipe("ballast");
}

#[test]
fn foreign_things_in_every_folder_hide_nothing_and_stop_nothing() {
    for disks in [1, 3] {
        let (it, _) = Scratch::made(disks);
        let vault = it.open();
        let bodies: Vec<Vec<u8>> = (0..8).map(|n| noise(100_000, n + 1)).collect();
        bodies.iter().enumerate().for_each(|(n, body)| drop(put(&vault, &format!("pc/d{n}"), body)));
        drop(vault);
        (0..disks).for_each(|n| litter(&it.disk(n)));

        let began = Instant::now();
        let vault = it.open();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let status = until(&vault, "told", |s| (0..disks).all(|n| told(s, n)));
        assert!(status.writable, "{:?}", status.reasons);
        assert_eq!(status.can_lose_disks as usize, disks.min(2) - 1, "{:?}", status.reasons);
        bodies.iter().enumerate().for_each(|(n, body)| assert_eq!(get(&vault, &format!("pc/d{n}")), *body));
        put(&vault, "pc/after", &noise(100_000, 99));
        vault.scrub(Some(true)).expect("begins");
        until(&vault, "looked at", |s| s.scrub.running.is_none());
        assert!(vault.status().scrub.finds.is_empty(), "{:?}", vault.status().scrub.finds);
        drop(vault);
        // What is nobody's is touched by nobody.
        for n in 0..disks {
            for name in ["photos", "shards/x", "journal/0000fff1.seg", "journal/0000fff0.seg", "ballast"] {
                assert!(fs::symlink_metadata(it.disk(n).join(name)).is_ok(), "{name}");
            }
            for name in ["photos", "shards/10", "shards/0/.Trash", "journal/0000fff1.seg"] {
                fs::remove_dir(it.disk(n).join(name)).expect("empty");
            }
            fs::remove_dir(it.disk(n).join("checkpoints/00000000ffffff00.ckp")).expect("empty");
            let pack = "ab".repeat(16);
            fs::remove_dir(it.disk(n).join(format!("shards/a/{pack}.shard"))).expect("empty");
            let others = [
                "journal/0000fff0.seg",
                "journal/0000fff2.seg",
                "journal/0000fff4.seg",
                "journal/0000000A.SEG",
                "checkpoints/00000000ffffff01.ckp",
                "checkpoints/x",
                "quarantine/x",
                "shards/.DS_Store",
                "shards/x",
                "ballast",
            ];
            others.iter().for_each(|name| fs::remove_file(it.disk(n).join(name)).expect("there"));
            fs::remove_file(it.disk(n).join(format!("shards/a/{pack}.new"))).expect("there");
            fs::remove_file(it.disk(n).join(format!("shards/0/{pack}.shard"))).expect("there");
        }
        let vault = it.open();
        let ended = |s: &Status| if disks > 1 { green(s) } else { s.reasons.len() == 1 };
        until(&vault, "as before", ended);
        bodies.iter().enumerate().for_each(|(n, body)| assert_eq!(get(&vault, &format!("pc/d{n}")), *body));
        assert_eq!(get(&vault, "pc/after"), noise(100_000, 99));
    }
}
