//! A box that is short of something, or stood still, does not hold it against its disks.

mod common;

use common::wire::{Wire, request};
use common::{TestBox, noise};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// Sets how many files the daemon may open from now on.
fn may_open(it: &TestBox, files: usize) {
    let pid = it.pid().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status();
    assert!(set.expect("prlimit").success());
}

fn open_files(it: &TestBox) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", it.pid())).expect("a process").count()
}

/// Waits until the light is green; what it said last when it does not become so.
fn green(it: &TestBox, within: Duration) -> Value {
    let end = Instant::now() + within;
    loop {
        let status = it.json(&["status"]);
        if status["light"] == "green" || Instant::now() > end {
            return status;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn nothing_was_found(it: &TestBox, status: &Value) {
    assert_eq!(status["light"], "green", "{status}");
    let scrub = it.json(&["scrub", "--show"]);
    assert_eq!((&scrub["finds"], &scrub["unhealed"]), (&Value::Array(vec![]), &0.into()), "{scrub}");
    let disks = it.json(&["disk", "list"]);
    assert!(
        disks["disks"].as_array().expect("a list").iter().all(|disk| disk["state"] == "active"),
        "{disks}"
    );
}

#[test]
fn a_box_short_of_descriptors_finds_nothing_wrong_with_its_disks() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let bodies: Vec<Vec<u8>> = (0..12).map(|n| noise(700_000, n)).collect();
    let mut wire = Wire::new(&it);
    let put = |wire: &mut Wire<'_>, n: usize| {
        wire.ask(&pc, "PUT", &format!("/v1/datasets/d{n}"), "", Some(&bodies[n])).status
    };
    assert_eq!((0..6).map(|n| put(&mut wire, n)).collect::<Vec<_>>(), [201; 6]);
    let before = it.log().len();
    // Not one more than are open: every file that a lane, a reader or the scrub wants is refused.
    may_open(&it, open_files(&it));
    std::thread::scope(|scope| {
        // Longer than a disk may hang.
        let pushing = scope.spawn(|| {
            let mut said = Vec::new();
            for (n, body) in bodies.iter().enumerate().take(12).skip(6) {
                wire.send(&request(&pc, "PUT", &format!("/v1/datasets/d{n}"), "", Some(body)));
                said.push(wire.hear(false).map(|said| said.status));
            }
            for n in 0..6 {
                wire.send(&request(&pc, "GET", &format!("/v1/datasets/d{n}/snapshots/latest"), "", None));
                said.push(wire.hear(false).map(|said| said.status));
            }
            said
        });
        std::thread::sleep(Duration::from_secs(8));
        may_open(&it, 1_024);
        let said = pushing.join().expect("no panic");
        eprintln!("while no file could be opened: {said:?}");
        assert!(said.iter().flatten().all(|status| matches!(status, 200 | 201 | 503)), "{said:?}");
    });
    let log = it.log()[before..].to_owned();
    assert!(log.contains("the box is short of it"), "the test made no shortage");
    assert!(!log.contains("found damaged") && !log.contains("panicked"), "{log}");
    it.json(&["scrub", "--deep"]);
    nothing_was_found(&it, &green(&it, Duration::from_secs(40)));
    for (n, body) in bodies.iter().enumerate().take(12) {
        let got = it.get(&pc, &format!("/v1/datasets/d{n}/snapshots/latest"));
        assert!(got.status == 404 && n >= 6 || got.status == 200 && got.body == *body, "{n}: {}", got.status);
    }
}

#[test]
fn a_box_that_stood_still_loses_no_disk_and_goes_on() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let signal = |name: &str| {
        let pid = it.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
    };
    let before = it.log().len();
    std::thread::scope(|scope| {
        // Pushes all the while, so that lanes have jobs when everything stops.
        let pushing = scope.spawn(|| {
            let end = Instant::now() + Duration::from_secs(19);
            (0..)
                .take_while(|_| Instant::now() < end)
                .filter(|n| it.put(&pc, "d", &noise(400_000, *n)).status == 201)
                .count()
        });
        std::thread::sleep(Duration::from_secs(1));
        signal("STOP");
        std::thread::sleep(Duration::from_secs(16));
        signal("CONT");
        assert!(pushing.join().expect("no panic") > 2);
    });
    let log = it.log()[before..].to_owned();
    assert!(log.contains("the box stood still"), "{log}");
    assert!(!log.contains("did not answer within") && !log.contains("is back"), "no disk was lost: {log}");
    nothing_was_found(&it, &green(&it, Duration::from_secs(5)));
}

#[test]
fn a_box_that_may_open_few_files_serves_with_fewer_seats() {
    let mut it = TestBox::without_daemon(3);
    it.limit = "ulimit -n 150";
    it.start();
    let pc = it.client("pc", &[]);
    assert!(it.log().contains("fewer connections"), "told at the start");
    // More connections than there can be files.
    let held: Vec<_> = (0..200u8).filter_map(|n| it.from([127, 9, n / 50, n + 1])).collect();
    for n in 0..6 {
        assert_eq!(it.put(&pc, "d", &noise(700_000, n)).status, 201, "{n} beside {} connections", held.len());
    }
    it.json(&["scrub", "--deep"]);
    nothing_was_found(&it, &green(&it, Duration::from_secs(10)));
    assert!(!it.log().contains("the box is short of it"), "its own files were left to it");
    drop(held);
    it.stop("TERM");
    it.limit = "ulimit -n 40";
    let mut refused = it.coffred(&["--listen", "127.0.0.1:0"]).expect("spawned");
    assert_eq!(common::wait(&mut refused), Some(5));
    assert!(it.log().contains("may open 40 files"), "with numbers");
}
