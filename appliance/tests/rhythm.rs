//! Silence and refusals: an empty box, machines that never send, backups that are late, refused or turned away, and who is listed first.

mod common;

use common::{TestBox, noise};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Longer than a client may be there without being told of.
const PATIENCE: Duration = Duration::from_secs(75);

fn status(it: &TestBox) -> (String, String, Value) {
    let json = it.json(&["status"]);
    let reasons = json["reasons"].as_array().expect("reasons").iter();
    let reasons: Vec<&str> = reasons.map(|why| why.as_str().expect("text")).collect();
    (json["light"].as_str().expect("a light").to_owned(), reasons.join("\n"), json.clone())
}

fn wait_for(it: &TestBox, what: &str, wanted: impl Fn(&str, &str) -> bool) {
    let since = Instant::now();
    loop {
        let (light, reasons, _) = status(it);
        if wanted(&light, &reasons) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {light} {reasons}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn named<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().map(|one| one[key].as_str().expect("a name")).collect()
}

#[test]
fn a_box_that_keeps_nothing_and_a_machine_that_never_sends_are_not_green() {
    let it = TestBox::new(3);
    let (light, reasons, _) = status(&it);
    assert!(light == "amber" && reasons.starts_with("nothing is backed up yet"), "{light} {reasons}");
    let pc = it.client("pc", &[]);
    it.client("silent", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    wait_for(&it, "silence is told", |light, reasons| {
        light == "amber"
            && reasons.contains("silent was paired on 2")
            && reasons.contains("has never sent a backup")
    });
    let (_, reasons, json) = status(&it);
    assert!(!reasons.contains("nothing is backed up"), "{reasons}");
    assert_eq!(json["senders"][0]["client"], "silent", "late ones first: {json}");
    assert_eq!(json["senders"][0]["standing"], "never");
    let clients = it.json(&["client", "list"]);
    assert_eq!(named(&clients["clients"], "name"), ["silent", "pc"], "{clients}");
    assert_eq!(
        (&clients["clients"][0]["standing"], &clients["clients"][1]["standing"]),
        (&"never".into(), &"unknown".into())
    );
    it.json(&["client", "remove", "silent"]);
    wait_for(&it, "who was removed is not late", |light, _| light == "green");
}

#[test]
fn a_given_rhythm_is_amber_when_late_and_red_when_three_times_late() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    for name in ["d", "other"] {
        assert_eq!(it.put(&pc, name, b"x").status, 201);
    }
    assert_eq!(status(&it).0, "green");
    let set = it.json(&["dataset", "set", "pc/d", "--every", "6s"]);
    assert_eq!((&set["every_seconds"], &set["every_source"]), (&6.into(), &"given".into()), "{set}");
    wait_for(&it, "late", |light, reasons| light == "amber" && reasons.contains("pc/d is late"));
    wait_for(&it, "very late", |light, reasons| light == "red" && reasons.contains("pc/d is very late"));
    let list = it.json(&["dataset", "list"]);
    assert_eq!(named(&list["datasets"], "dataset"), ["pc/d", "pc/other"], "{list}");
    assert_eq!(list["datasets"][0]["standing"], "very-late");
    assert_eq!(it.json(&["client", "list"])["clients"][0]["standing"], "very-late");
    let human = String::from_utf8_lossy(&it.coffre(&["status"]).stdout).into_owned();
    assert!(human.contains("VERY LATE") && human.contains("WHO SENDS"), "{human}");
    // What is incomplete is no backup that came.
    it.json(&["dataset", "set", "pc/d", "--kind", "zip"]);
    assert_eq!(it.put(&pc, "d", b"<html>").status, 201);
    assert!(status(&it).1.contains("pc/d is very late"), "{}", status(&it).1);
    it.json(&["dataset", "set", "pc/d", "--kind", "file", "--every", "never"]);
    assert_eq!(it.json(&["dataset", "list"])["datasets"][1]["standing"], "not-expected");
    // A data set of which one is expected, and none ever came.
    it.json(&["dataset", "set", "pc/never", "--every", "24h"]);
    assert!(status(&it).1.contains("no complete backup of pc/never has ever come"), "{}", status(&it).1);
    let wrong = it.coffre(&["dataset", "set", "pc/d", "--every", "often"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn repositories_have_a_rhythm_too() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    assert_eq!(it.curl(&pc, "/pc/r/?create=true", &["-X", "POST"], b"").status, 200);
    let set = it.json(&["repo", "set", "pc/r", "--every", "3s"]);
    assert_eq!((&set["every_seconds"], &set["mode"]), (&3.into(), &"append-only".into()), "{set}");
    wait_for(&it, "nothing came", |light, reasons| {
        light == "amber" && reasons.contains("no complete backup of pc/r")
    });
    let body = noise(300, 1);
    let hash: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let args = ["-X", "POST", "--data-binary", "@-"];
    assert_eq!(it.curl(&pc, &format!("/pc/r/snapshots/{hash}"), &args, &body).status, 200);
    wait_for(&it, "very late", |light, reasons| light == "red" && reasons.contains("pc/r is very late"));
    let list = it.json(&["dataset", "list"]);
    assert_eq!(list["repositories"][0]["standing"], "very-late", "{list}");
    assert_eq!(it.coffre(&["dataset", "set", "pc/r", "--every", "24h"]).status.code(), Some(2));
    it.json(&["repo", "remove", "pc/r"]);
    wait_for(&it, "what was taken away is not late", |light, _| light == "green");
}

#[test]
fn what_was_refused_is_amber_for_a_day_and_over_a_kill() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &["--quota", "1M"]);
    let shop = it.client("shop", &[]);
    let tools = it.client("tools", &[]);
    for user in [&pc, &shop, &tools] {
        assert_eq!(it.put(user, "d", b"x").status, 201);
    }
    assert_eq!(status(&it).0, "green");
    assert_eq!(it.put(&pc, "big", &noise(3 << 20, 1)).status, 507);
    assert_eq!(it.put(&shop, "Photos_2026", b"x").status, 400);
    assert_eq!(it.get("tools:wrong", "/v1/datasets").status, 401);
    let told = |it: &TestBox| {
        let (light, reasons, json) = status(it);
        assert_eq!(light, "amber", "{reasons}");
        assert!(reasons.contains("1 backup(s) of pc were refused") && reasons.contains("quota"), "{reasons}");
        assert!(reasons.contains("1 backup(s) of shop were refused"), "{reasons}");
        json
    };
    let json = told(&it);
    assert!(status(&it).1.contains("tools was turned away with a wrong secret"), "{}", status(&it).1);
    assert_eq!(json["refused"].as_array().map(Vec::len), Some(3), "{json}");
    it.stop("KILL");
    it.start();
    told(&it);
    let clients = it.json(&["client", "list"]);
    let of = |name: &str| {
        clients["clients"].as_array().expect("a list").iter().find(|c| c["name"] == name).cloned()
    };
    assert_eq!(of("pc").expect("there")["refused_count"], 1, "{clients}");
    // Who guesses makes one line, and nobody that is not there any.
    for n in 0..20 {
        it.get(&format!("nobody{n}:x"), "/v1/datasets");
    }
    assert!(!status(&it).1.contains("nobody"), "{}", status(&it).1);
    // A body that broke off was not refused, and a client that was removed is not spoken of.
    it.json(&["client", "remove", "pc"]);
    assert!(!status(&it).1.contains("of pc"), "{}", status(&it).1);
}
