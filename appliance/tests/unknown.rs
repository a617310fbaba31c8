//! What is not known is not "no": changes whose disks went in the middle of them, and a box that was started before its disks were there.

mod common;

use common::paired::{claim, pair, post};
use common::{Got, TestBox, noise};
use serde_json::Value;
use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

/// Longest wait for the box to see its disks again.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often disks are taken away in the middle of something: now and then the box sees it first, and refuses.
const TRIES: usize = 4;

/// Two of three disks.
const GONE: [usize; 2] = [1, 2];

fn away(it: &TestBox, disks: &[usize]) {
    for n in disks {
        fs::rename(it.path(&format!("disk{n}")), it.path(&format!("away{n}"))).expect("there");
    }
}

fn back(it: &TestBox, disks: &[usize]) {
    // Until the box has seen that they went.
    wait_for(it, "they are missed", |status| status["writable"] == false);
    for n in disks {
        fs::rename(it.path(&format!("away{n}")), it.path(&format!("disk{n}"))).expect("there");
    }
    wait_for(it, "they are back", |status| {
        let settled = !status["reasons"].to_string().contains("it is not known yet");
        status["writable"] == true && status["can_lose_disks"] == 1 && settled
    });
}

fn wait_for(it: &TestBox, what: &str, wanted: impl Fn(&Value) -> bool) {
    let since = Instant::now();
    while !wanted(&it.json(&["status"])) {
        assert!(since.elapsed() < PATIENCE, "{what}: {}", it.json(&["status"]));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn said(out: &Output) -> (Option<i32>, Value, String) {
    let json = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (out.status.code(), json, String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Does it with the disks going; gives whether nobody knew what came of it, and what it said. Refused means: `done` is not so.
fn in_the_middle(it: &TestBox, args: &[&str], done: impl Fn() -> bool) -> (bool, Value) {
    away(it, &GONE);
    let (code, json, err) = said(&it.coffre(&[args, &["--json"]].concat()));
    back(it, &GONE);
    match code {
        Some(6) => {
            assert_eq!(json["error"]["class"], "unknown", "{json}");
            assert!(
                err.contains("it is not known whether this was done") && err.contains("look with `coffre"),
                "{err}"
            );
            (true, json)
        }
        Some(5) => {
            assert!(!done(), "{args:?} was refused, and is done: {err}");
            (false, json)
        }
        _ => panic!("{args:?}: {code:?} {json} {err}"),
    }
}

#[test]
fn a_change_that_may_become_true_is_not_refused() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    it.client("other", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    assert_eq!(it.curl(&pc, "/pc/r/?create=true", &["-X", "POST"], b"").status, 200);
    let opens = |user: &str| it.get(user, "/v1/datasets").status == 200;
    let mut unknown = 0;
    for _ in 0..TRIES {
        let (unsure, json) = in_the_middle(&it, &["client", "rotate", "pc"], || !opens(&pc));
        if !unsure {
            continue;
        }
        unknown += 1;
        let new = format!("pc:{}", json["secret"].as_str().expect("shown all the same"));
        assert!(opens(&pc) && !opens(&new), "the one before holds again");
    }
    assert!(unknown > 0, "in {TRIES} tries the box saw it first");
    let named = |list: Value, of: &str| list[of].as_array().expect("a list").clone();
    let client =
        |name: &str| named(it.json(&["client", "list"]), "clients").into_iter().find(|c| c["name"] == name);
    let dataset = || it.json(&["dataset", "show", "pc/d"]);
    let repo = || named(it.json(&["repo", "list"]), "repositories")[0].clone();
    let mut seen = Vec::new();
    let mut step = |args: &[&str], done: &dyn Fn() -> bool| seen.push(in_the_middle(&it, args, done).0);
    step(&["client", "add", "third"], &|| client("third").is_some());
    step(&["client", "set", "pc", "--quota", "7G"], &|| {
        client("pc").expect("there")["quota_bytes"] == 7u64 << 30
    });
    step(&["client", "remove", "other"], &|| client("other").expect("there")["removed"] == true);
    step(&["dataset", "set", "pc/d", "--class", "7s"], &|| dataset()["class_seconds"] == 7);
    step(&["repo", "set", "pc/r", "--mode", "recoverable"], &|| repo()["mode"] == "recoverable");
    step(&["repo", "remove", "pc/r"], &|| repo()["removed"] == true);
    // Nothing to be seen by: it may not have been removed.
    step(&["repo", "restore", "pc/r"], &|| false);
    assert!(seen.contains(&true), "{seen:?}");
    let log = it.log();
    assert!(log.contains("it is not known whether this was done"), "the audit log says so");
}

#[test]
fn a_push_that_may_become_true_is_not_refused() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    assert_eq!(it.curl(&pc, "/pc/r/?create=true", &["-X", "POST"], b"").status, 200);
    let mut unknown = 0;
    for n in 0..TRIES as u64 {
        let body = noise(40, n);
        let name = format!("/pc/r/keys/{}", hex(&body));
        away(&it, &GONE);
        let (push, file) =
            (it.put(&pc, "d", &body), it.curl(&pc, &name, &["-X", "POST", "--data-binary", "@-"], &body));
        for got in [&push, &file] {
            assert_eq!(got.status, 503, "{}", got.text());
            assert!(got.headers.contains("\r\nretry-after: "), "{}", got.headers);
            unknown += u32::from(got.class() == "unknown");
        }
        back(&it, &GONE);
        let kept = |got: &Got| got.status == 200 && got.body == body;
        let refused = |got: &Got| got.class() != "unknown";
        let there = [it.get(&pc, "/v1/datasets/d/snapshots/latest"), it.get(&pc, &name)];
        assert!(!(refused(&push) && kept(&there[0])), "refused and kept: {}", push.text());
        assert!(!(refused(&file) && kept(&there[1])), "refused and kept: {}", file.text());
    }
    assert!(unknown > 0, "in {TRIES} tries the box saw it first");
}

fn hex(body: &[u8]) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[test]
fn a_code_whose_client_may_have_been_made_makes_one_in_the_end() {
    let it = TestBox::new(3);
    let mut unknown = 0;
    for n in 0..TRIES {
        let (name, code) = (format!("pc{n}"), pair(&it, &[]).code);
        away(&it, &GONE);
        let got = post(&it, &format!("/pair/{code}"), &format!("name={name}"));
        assert_eq!(got.status, 503, "{}", got.text());
        assert!(got.headers.contains("retry-after: ") && got.text().contains("code"), "{}", got.text());
        back(&it, &GONE);
        let listed = it.json(&["client", "list"]).to_string().contains(&format!("\"{name}\""));
        unknown += u32::from(listed);
        let at = claim(&it, &code, &name);
        let curl = it.get("", &format!("{at}/box.curl")).text();
        let secret =
            curl.split(&format!("{name}:")).nth(1).and_then(|rest| rest.split('"').next()).expect("a secret");
        assert_eq!(
            it.get(&format!("{name}:{secret}"), "/v1/datasets").status,
            200,
            "the secret of the files holds"
        );
    }
    assert!(unknown > 0, "in {TRIES} tries no client was made before its disks went");
}

#[test]
fn started_before_its_disks_are_there_it_says_of_nothing_that_it_is_not() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    assert_eq!(it.curl(&pc, "/pc/r/?create=true", &["-X", "POST"], b"").status, 200);
    it.stop("TERM");
    away(&it, &[0, 1, 2]);
    it.start();
    let requests: &[(&str, &[&str])] = &[
        ("/v1/datasets", &[]),
        ("/v1/datasets/d/snapshots", &[]),
        ("/v1/datasets/d/snapshots/latest", &[]),
        ("/v1/datasets/d", &["-T", "-"]),
        ("/v1/dav/", &["-X", "PROPFIND", "-H", "Depth: 1"]),
        ("/v1/dav/d", &["-I"]),
        ("/pc/r/config", &["-I"]),
        ("/pc/r/keys/", &[]),
        ("/pc/r/?create=true", &["-X", "POST"]),
    ];
    for user in [pc.as_str(), "pc:wrong", "nobody:x"] {
        for (path, args) in requests {
            let got = it.curl(user, path, args, b"x");
            assert_eq!(got.status, 503, "{user} {path}: {}", got.text());
            assert!(got.headers.contains("\r\nretry-after: "), "{path}: {}", got.headers);
        }
    }
    assert_eq!(it.get("", "/v1/datasets").status, 401, "who says nothing is nobody");
    let to = it.path("x").display().to_string();
    let commands: &[&[&str]] = &[
        &["snapshots"],
        &["snapshots", "pc/d"],
        &["get", "pc/d", "--to", &to],
        &["client", "list"],
        &["client", "add", "new"],
        &["client", "set", "pc", "--quota", "1G"],
        &["client", "rotate", "pc"],
        &["client", "remove", "pc"],
        &["client", "pair", "pc"],
        &["dataset", "list"],
        &["dataset", "show", "pc/d"],
        &["dataset", "set", "pc/d", "--class", "9s"],
        &["repo", "list"],
        &["repo", "files", "pc/r"],
        &["repo", "set", "pc/r", "--mode", "recoverable"],
        &["repo", "remove", "pc/r"],
        &["repo", "restore", "pc/r"],
        &["forget", "--plan"],
        &["forget", "--run"],
    ];
    for args in commands {
        let (code, json, err) = said(&it.coffre(&[args, &["--json"][..]].concat()));
        assert_eq!(code, Some(5), "{args:?}: {json} {err}");
        assert!(json["error"]["next"].is_string(), "{args:?}: {json}");
    }
    let status = it.json(&["status"]);
    assert_eq!(status["light"], "red", "{status}");
    for n in 0..3 {
        fs::rename(it.path(&format!("away{n}")), it.path(&format!("disk{n}"))).expect("there");
    }
    wait_for(&it, "they are back", |status| status["writable"] == true);
    assert_eq!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body, b"x");
    assert_eq!(it.get("pc:wrong", "/v1/datasets").status, 401);
    assert_eq!(it.coffre(&["snapshots", "pc/none"]).status.code(), Some(4));
}

#[test]
fn what_too_few_disks_show_is_given_and_called_a_part() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"x").status, 201);
    it.stop("TERM");
    away(&it, &GONE);
    it.start();
    assert_eq!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body, b"x");
    let listed = it.get(&pc, "/v1/datasets");
    assert!(listed.status == 200 && listed.headers.contains("coffre-partial: true"), "{}", listed.headers);
    assert_eq!(it.get(&pc, "/v1/datasets/other/snapshots/latest").status, 503);
    assert_eq!(it.get("pc:wrong", "/v1/datasets").status, 503);
    for (list, of) in [("client", "clients"), ("dataset", "datasets")] {
        let json = it.json(&[list, "list"]);
        assert!(json["partial"] == true && json[of].as_array().is_some_and(|all| !all.is_empty()), "{json}");
    }
    let human = it.coffre(&["snapshots"]);
    assert!(String::from_utf8_lossy(&human.stdout).contains("there may be more"), "{human:?}");
    assert_eq!(it.coffre(&["snapshots", "pc/none"]).status.code(), Some(5));
}
