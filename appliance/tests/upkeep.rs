//! Upkeep by the command line: damage found and healed, forgetting to its end, the clock attested, words renewed with a disk away.

mod common;

use common::{TestBox, noise};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

/// Longest wait for the box to see or to do something.
const PATIENCE: Duration = Duration::from_secs(90);

fn code(out: &Output) -> Option<i32> {
    out.status.code()
}

fn class(out: &Output) -> String {
    let error: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    error["error"]["class"].as_str().expect("a class").to_owned()
}

/// Asks again until the answer is as wanted.
fn wait_for(it: &TestBox, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let told = it.json(args);
        if wanted(&told) {
            return told;
        }
        assert!(since.elapsed() < PATIENCE, "{args:?}: {told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn shards(it: &TestBox, disk: &str) -> Vec<PathBuf> {
    let list = |path: PathBuf| {
        fs::read_dir(path).expect("readable").map(|e| e.expect("readable").path()).collect::<Vec<_>>()
    };
    let mut all: Vec<PathBuf> = list(it.path(disk).join("shards")).into_iter().flat_map(list).collect();
    all.retain(|path| path.extension().is_some_and(|end| end == "shard"));
    all.sort_unstable();
    all
}

#[test]
fn a_scrub_finds_what_is_damaged_and_it_is_healed() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(3_000_000, 1);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    let clean = it.json(&["scrub", "--deep"]);
    assert!(clean["last_deep_at"].is_string() && clean["last_light_at"].is_string(), "{clean}");
    assert_eq!((&clean["running"], &clean["finds"]), (&Value::Null, &serde_json::json!([])));

    let victim = shards(&it, "disk1").first().expect("a shard").clone();
    let pack = victim.file_stem().expect("a name").to_str().expect("hexadecimal").to_owned();
    let whole = fs::read(&victim).expect("readable");
    let middle = whole.len() as u64 / 2;
    let file = File::options().write(true).open(&victim).expect("writable");
    file.write_all_at(&[whole[middle as usize] ^ 1], middle).expect("written");
    drop(file);
    let told = it.json(&["scrub", "--deep"]);
    let find = &told["finds"][0];
    assert_eq!(
        (&find["disk"], &find["what"], &find["blocks"]),
        (&2.into(), &format!("shard {pack}").into(), &1.into()),
        "{told}"
    );
    let healed = wait_for(&it, &["scrub", "--show"], |told| told["unhealed"] == 0 && told["suspected"] == 0);
    assert!(healed["finds"][0]["healed_at"].is_string(), "{healed}");
    assert_eq!(healed["finds"].as_array().map(Vec::len), Some(1), "{healed}");
    assert!(fs::read(&victim).expect("there") == whole, "in its place, byte for byte");

    // A shard that is gone is found by the light look.
    fs::remove_file(&victim).expect("removable");
    it.json(&["scrub"]);
    wait_for(&it, &["scrub", "--show"], |told| {
        told["unhealed"] == 0 && told["finds"].as_array().is_some_and(|finds| finds.len() == 2)
    });
    assert!(fs::read(&victim).expect("there again") == whole);
    let people = it.coffre(&["scrub", "--show"]);
    let text = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(text.contains(&pack) && text.contains("not healed: 0"), "{text}");
    wait_for(&it, &["status"], |status| status["light"] == "green");
    assert_eq!(it.json(&["status"])["scrub"]["finds"], it.json(&["scrub", "--show"])["finds"]);
    assert_eq!(code(&it.coffre(&["scrub", "--deep", "--show"])), Some(2));
}

#[test]
fn what_is_forgotten_is_gone_after_its_grace_and_the_newest_stays() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    it.json(&["dataset", "set", "pc/d", "--class", "1s", "--keep", "last=1"]);
    let (old, new, other) = (noise(300_000, 1), noise(300_000, 2), noise(3_000_000, 3));
    let first = it.put(&pc, "d", &old).json();
    let id = first["id"].as_str().expect("an id").to_owned();
    assert_eq!(it.put(&pc, "d", &new).status, 201);
    // Enough beside it that the old one is less than a fifth.
    assert_eq!(it.put(&pc, "other", &other).status, 201);
    let goes =
        |plan: &Value| plan["snapshots"].as_array().expect("a list").iter().any(|s| s["keep"] == false);
    let plan = wait_for(&it, &["forget", "--plan"], goes);
    assert_eq!((&plan["needs_approval"], &plan["grace_seconds"]), (&false.into(), &10.into()), "{plan}");
    let others = plan["snapshots"].as_array().expect("a list").iter().filter(|s| s["id"] != *id);
    assert!(others.clone().count() == 2 && others.clone().all(|s| s["keep"] == true), "{plan}");
    let done = it.json(&["forget", "--run"]);
    assert_eq!((&done["condemned"], &done["freed"]), (&1.into(), &0.into()), "{done}");
    let target = it.path("back").display().to_string();
    it.json(&["get", "pc/d", "--id", &id, "--to", &target]);
    assert!(fs::read(&target).expect("restored") == old, "what is condemned can still be read");
    let freed = wait_for(&it, &["forget", "--run"], |done| done["freed"] == 1);
    assert_eq!(freed["condemned"], 0, "{freed}");
    assert_eq!(code(&it.coffre(&["get", "pc/d", "--id", &id, "--to", &target, "--force"])), Some(4));
    assert_eq!(it.get(&pc, &format!("/v1/datasets/d/snapshots/{id}")).status, 404);
    assert!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body == new);
    assert!(it.get(&pc, "/v1/datasets/other/snapshots/latest").body == other);
    assert_eq!(it.json(&["dataset", "show", "pc/d"])["snapshots_count"], 1);
    assert_eq!(code(&it.coffre(&["forget", "--plan", "--run"])), Some(2));
    assert_eq!(code(&it.coffre(&["forget", "--run", "--approve", "x"])), Some(2));
}

#[test]
fn rules_that_cannot_be_meant_are_refused_and_change_nothing() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"something").status, 201);
    let before = it.json(&["dataset", "list"]);
    for wrong in [
        &["--class", "0d"][..],
        &["--class", "101y"],
        &["--class", "soon"],
        &["--class", "-1d"],
        &["--keep", "last"],
        &["--keep", "last=x"],
        &["--keep", "hourly=3"],
        &["--class", "30d", "--keep", ""],
    ] {
        let out = it.coffre(&[&["dataset", "set", "pc/d"], wrong, &["--json"]].concat());
        assert_eq!((code(&out), class(&out).as_str()), (Some(2), "misuse"), "{wrong:?}");
    }
    assert_eq!(code(&it.coffre(&["dataset", "set", "pc", "--class", "30d"])), Some(2), "no data set");
    assert_eq!(code(&it.coffre(&["dataset", "show", "pc/nothing"])), Some(4));
    assert_eq!(code(&it.coffre(&["dataset", "show", "nobody/d"])), Some(4));
    assert_eq!(it.json(&["dataset", "list"]), before);
    // A class that holds is not undone by one that is refused.
    it.json(&["dataset", "set", "pc/d", "--class", "90d"]);
    assert_eq!(code(&it.coffre(&["dataset", "set", "pc/d", "--class", "200y"])), Some(2));
    assert_eq!(it.json(&["dataset", "show", "pc/d"])["class_seconds"], 90 * 86_400);
    // What is there keeps its lock.
    assert_eq!(it.json(&["snapshots"])["snapshots"][0]["class_seconds"], 30 * 86_400);
}

#[test]
fn an_attested_time_changes_nothing_while_nothing_is_in_doubt() {
    let it = TestBox::new(2);
    let before = it.json(&["clock", "show"]);
    assert!(before["doubt"].is_null() && before["calm_seconds"] == 0, "{before}");
    for wrong in ["yesterday", "2026-03-01", "2026-03-01T09:30"] {
        let out = it.coffre(&["clock", "attest", wrong, "--json"]);
        assert_eq!((code(&out), class(&out).as_str()), (Some(2), "misuse"), "{wrong}");
    }
    for far in ["1999-01-01T00:00Z", "2199-01-01T00:00Z"] {
        let out = it.coffre(&["clock", "attest", far, "--json"]);
        assert_eq!((code(&out), class(&out).as_str()), (Some(5), "refused"), "{far}");
    }
    assert_eq!(it.json(&["clock", "show"])["calm_seconds"], 0, "a refusal changes nothing");
    let now = it.json(&["clock", "show"])["wall_at"].as_str().expect("a time").to_owned();
    // Hours ahead, and nothing is in doubt: no leap, and no three days in which nothing expires.
    let told = it.json(&["clock", "attest", &now.replace('Z', "-06:00")]);
    assert_eq!((&told["calm_seconds"], &told["leapt_seconds"]), (&0.into(), &0.into()), "{told}");
    assert!(told["doubt"].is_null() && told["retention_at"].as_str() <= told["wall_at"].as_str(), "{told}");
    assert!(it.json(&["forget", "--plan"])["stopped"].is_null());
}

/// A box that was off for ten days, by its owner's commands. That the 72 hours really pass, and what goes then, is tried with a clock
/// that can be moved, in the vault.
#[test]
fn a_clock_in_doubt_is_told_attested_and_calm_and_restores_go_on() {
    let Some(mut it) = TestBox::made_ago(2, "10d") else {
        return common::left_out("there is no libfaketime on this machine");
    };
    it.start();
    let pc = it.client("pc", &[]);
    it.json(&["dataset", "set", "pc/d", "--class", "1s", "--keep", "last=1"]);
    let bodies = [noise(300_000, 1), noise(300_000, 2)];
    let ids: Vec<String> = bodies
        .iter()
        .map(|body| it.put(&pc, "d", body).json()["id"].as_str().expect("an id").to_owned())
        .collect();
    let restored = |it: &TestBox| {
        for (id, body) in ids.iter().zip(&bodies) {
            assert!(it.get(&pc, &format!("/v1/datasets/d/snapshots/{id}")).body == *body, "{id}");
            let target = it.path("back").display().to_string();
            it.json(&["get", "pc/d", "--id", id, "--to", &target, "--force"]);
            assert!(fs::read(&target).expect("restored") == *body);
        }
    };
    let nothing_goes = |it: &TestBox| {
        assert!(it.json(&["forget", "--plan"])["stopped"].is_string());
        let out = it.coffre(&["forget", "--run", "--json"]);
        assert_eq!((code(&out), class(&out).as_str()), (Some(5), "refused"));
        restored(it);
    };
    let shown = it.json(&["clock", "show"]);
    assert!(shown["doubt"].is_string() && shown["calm_seconds"] == 72 * 3600, "{shown}");
    let status = wait_for(&it, &["status"], |status| status["light"] == "amber");
    assert!(status["reasons"].to_string().contains("coffre clock attest"), "{status}");
    nothing_goes(&it);
    let then = shown["retention_at"].as_str().expect("a time");
    let out = it.coffre(&["clock", "attest", then, "--json"]);
    assert_eq!((code(&out), class(&out).as_str()), (Some(5), "refused"), "ten days from the system's clock");

    let now = it.json(&["clock", "show"])["wall_at"].as_str().expect("a time").to_owned();
    let told = it.json(&["clock", "attest", &now]);
    let leapt = told["leapt_seconds"].as_u64().expect("a number");
    assert!((10 * 86_400 - 3600..=10 * 86_400).contains(&leapt), "{told}");
    let calm = |told: &Value| told["calm_seconds"].as_u64().expect("a number");
    assert!(told["doubt"].is_string() && (72 * 3600 - 60..=72 * 3600).contains(&calm(&told)), "{told}");
    nothing_goes(&it);
    it.stop("KILL");
    it.start();
    let after = it.json(&["clock", "show"]);
    assert!(after["doubt"].is_string() && calm(&after) > 71 * 3600, "a restart is no way around it: {after}");
    assert!(after["retention_at"].as_str() > Some(then), "{after}");
    nothing_goes(&it);
}

#[test]
fn new_words_reach_a_disk_that_was_away() {
    let it = TestBox::new(3);
    fs::rename(it.path("disk2"), it.path("away")).expect("renamed");
    wait_for(&it, &["status"], |status| status["disks"][2]["state"] == "absent");
    let old_slots = fs::read(it.path("away/keys.age")).expect("slots");
    let renewed = it.coffre(&["words", "renew", "--yes", "--json"]);
    assert_eq!(code(&renewed), Some(0));
    let text = String::from_utf8(renewed.stdout).expect("text");
    let last: Value = serde_json::from_str(text.lines().last().expect("lines")).expect("JSON");
    assert_eq!((&last["renewed"], &last["disks_without"]), (&true.into(), &serde_json::json!([3])), "{last}");
    let new_slots = fs::read(it.path("disk0/keys.age")).expect("slots");
    assert!(new_slots != old_slots);
    fs::rename(it.path("away"), it.path("disk2")).expect("renamed");
    let since = Instant::now();
    while fs::read(it.path("disk2/keys.age")).expect("slots") != new_slots {
        assert!(since.elapsed() < PATIENCE, "the disk that came back gets the new slots");
        std::thread::sleep(Duration::from_millis(50));
    }
}
