//! The commands `coffre` and `coffred` as a script sees them: exit codes, JSON, what survives a stop.

mod common;

use common::{TestBox, file, noise, wait};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

fn code(out: &Output) -> Option<i32> {
    out.status.code()
}

fn class(out: &Output) -> String {
    let error: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    error["error"]["class"].as_str().expect("a class").to_owned()
}

fn words(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn init_says_everything_once_and_refuses_what_is_not_empty() {
    let it = TestBox::without_daemon(4);
    let init = &it.init;
    assert_eq!(init["geometry"], "3+1");
    assert_eq!(init["vault_id"].as_str().map(str::len), Some(32));
    assert_eq!(it.words.len(), 24);
    assert_eq!(init["certificate_fingerprint"].as_str().map(str::len), Some(95));
    let disk = it.path("disk0").display().to_string();
    let again = it.coffre(&["init", "--try-out", "--disk", &disk, "--json"]);
    assert_eq!(code(&again), Some(5), "{}", words(&again));
    assert!(words(&again).starts_with("coffre: ") && words(&again).lines().count() == 1);
    let error: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(error["error"]["class"], "refused");

    let plain = tempfile::tempdir().expect("scratch folder");
    let (state, disk) = (plain.path().join("s"), plain.path().join("d"));
    fs::create_dir(&disk).expect("writable");
    let out = Command::new(env!("CARGO_BIN_EXE_coffre"))
        .arg("init")
        .arg("--state")
        .arg(&state)
        .arg("--disk")
        .arg(&disk)
        .arg("--try-out")
        .output()
        .expect("ran");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        text.contains("no disk may be lost") && text.contains("  24  ") && text.contains("Warning"),
        "{text}"
    );
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let mut it = TestBox::without_daemon(2);
    let missing =
        Command::new(env!("CARGO_BIN_EXE_coffre")).args(["--state", "/nonexistent/x", "status"]).output();
    assert_eq!(code(&missing.expect("ran")), Some(4));
    let none = Command::new(env!("CARGO_BIN_EXE_coffre")).env_remove("COFFRE_STATE").arg("status").output();
    assert_eq!(code(&none.expect("ran")), Some(2));
    let down = it.coffre(&["status", "--json"]);
    assert_eq!(code(&down), Some(3));
    assert!(words(&down).contains("coffred --state"));
    // The certificate is there all the same.
    let offline = it.json(&["certificate"]);
    assert_eq!(offline["fingerprint"], it.init["certificate_fingerprint"]);

    it.start();
    assert_eq!(it.json(&["certificate"])["pem"], offline["pem"]);
    let with_env =
        Command::new(env!("CARGO_BIN_EXE_coffre")).env("COFFRE_STATE", it.state()).arg("status").output();
    assert_eq!(code(&with_env.expect("ran")), Some(0));
    let refusals = [
        (&["client", "remove", "nobody"][..], 4),
        (&["snapshots", "nobody/nothing"], 4),
        (&["get", "nobody/nothing", "--to", "/nonexistent/f"], 4),
        (&["client", "add", "config"], 2),
        (&["frobnicate"], 2),
    ];
    for (args, expected) in refusals {
        assert_eq!(code(&it.coffre(args)), Some(expected), "{args:?}");
    }
    it.client("pc", &[]);
    assert_eq!(code(&it.coffre(&["client", "add", "pc"])), Some(5));

    let second = it.coffred(&["--listen", "127.0.0.1:0"]).map(|mut child| wait(&mut child));
    assert_eq!(second.expect("ran"), Some(5), "a second daemon");
    assert!(it.log().contains("coffred: another coffred already serves"));
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let it = TestBox::without_daemon(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound").to_string();
    let mut child = it.coffred(&["--listen", "127.0.0.1:0", "--listen", &address]).expect("spawned");
    assert_eq!(wait(&mut child), Some(1));
    let mut said = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(said, "", "nothing is ready unless everything is");
    assert!(it.log().contains(&format!("coffred: cannot listen on {address}")));
    for (state, expected) in [(it.path("missing"), 4), (it.path("empty"), 4), (it.path("disk0"), 4)] {
        if expected == 4 && state.ends_with("empty") {
            fs::create_dir(&state).expect("writable");
        }
        let before = fs::read_dir(&state).map(Iterator::count).unwrap_or(0);
        let out =
            Command::new(env!("CARGO_BIN_EXE_coffred")).arg("--state").arg(&state).output().expect("ran");
        assert_eq!(code(&out), Some(expected), "{}: {}", state.display(), words(&out));
        assert_eq!(fs::read_dir(&state).map(Iterator::count).unwrap_or(0), before, "nothing is left behind");
    }
}

#[test]
fn status_disks_and_clients_in_stable_keys() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &["--quota", "1000000"]);
    assert_eq!(it.put(&pc, "d", b"hello").status, 201);
    let status = it.json(&["status"]);
    assert_eq!((&status["light"], &status["can_lose_disks"]), (&"green".into(), &1.into()), "{status}");
    assert_eq!((&status["objects"], &status["logical_bytes"]), (&1.into(), &5.into()));
    assert!(status["stored_bytes"].is_u64());
    let disks = status["disks"].as_array().expect("a list");
    assert!(
        disks.len() == 3 && disks.iter().all(|disk| disk["state"] == "active" && disk["path"].is_string())
    );
    assert_eq!(it.json(&["disk", "list"])["disks"][0]["id"], disks[0]["id"]);
    let client = &it.json(&["client", "list"])["clients"][0];
    assert_eq!(
        (&client["name"], &client["quota_bytes"], &client["removed"]),
        (&"pc".into(), &1_000_000.into(), &false.into())
    );
    assert_eq!(it.json(&["index", "burn"])["burnt"], true);
    let snapshot = &it.json(&["snapshots"])["snapshots"][0];
    assert_eq!((&snapshot["dataset"], &snapshot["size"]), (&"pc/d".into(), &5.into()));
    assert!(snapshot["received_at"].as_str().is_some_and(|t| t.ends_with('Z')));
    for args in
        [&["status"][..], &["disk", "list"], &["client", "list"], &["snapshots"], &["snapshots", "pc/d"]]
    {
        let out = it.coffre(args);
        assert!(out.status.success() && !out.stdout.is_empty() && out.stderr.is_empty(), "{args:?}");
    }
    let mode = fs::metadata(it.state().join("control.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_name_that_is_added_again_is_said_to_have_a_past() {
    let it = TestBox::new(1);
    let said = |out: Output| String::from_utf8_lossy(&out.stdout).into_owned();
    let first = said(it.coffre(&["client", "add", "dave"]));
    assert!(!first.contains("removed before"), "{first}");
    it.json(&["client", "remove", "dave"]);
    let again = said(it.coffre(&["client", "add", "dave"]));
    assert!(again.contains("removed before") && again.contains("can read"), "{again}");
    it.json(&["client", "remove", "dave"]);
    assert_eq!(it.json(&["client", "add", "dave"])["removed_before"], true);
    assert_eq!(it.json(&["client", "add", "erin"])["removed_before"], false);
}

#[test]
fn a_wrong_command_line_is_said_in_the_form_of_all_errors() {
    let it = TestBox::without_daemon(1);
    for args in [&["frobnicate"][..], &["client"], &["get", "a/b"], &["client", "add", "UP"]] {
        let plain = it.coffre(args);
        assert_eq!(code(&plain), Some(2), "{args:?}");
        assert!(
            words(&plain).starts_with("coffre: ") && plain.stdout.is_empty(),
            "{args:?}: {}",
            words(&plain)
        );
        assert!(!words(&plain).contains("error: "), "{}", words(&plain));
        let json = it.coffre(&[args, &["--json"]].concat());
        assert_eq!((code(&json), class(&json).as_str()), (Some(2), "misuse"), "{args:?}");
        assert!(words(&json).starts_with("coffre: "), "{args:?}");
    }
    let help = it.coffre(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.starts_with("Look after a Coffre backup box"), "{text}");
    let daemon =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_coffred")).args(args).output().expect("ran");
    let text = String::from_utf8_lossy(&daemon(&["--help"]).stdout).into_owned();
    assert!(text.starts_with("Serve a Coffre vault"), "{text}");
    let wrong = daemon(&["--listen", "nowhere"]);
    assert_eq!(code(&wrong), Some(2));
    assert!(words(&wrong).starts_with("coffred: "), "{}", words(&wrong));
}

#[test]
fn get_restores_whole_verified_and_never_over_a_file() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let (old, new) = (noise(4_000_000, 1), noise(10, 2));
    let first = it.put(&pc, "d", &old).json();
    assert_eq!(it.put(&pc, "d", &new).status, 201);
    let target = it.path("restored").display().to_string();
    let said = it.json(&["get", "pc/d", "--to", &target]);
    assert_eq!((fs::read(&target).expect("there"), &said["size"]), (new.clone(), &10.into()));
    let id = first["id"].as_str().expect("an id");
    let again = it.coffre(&["get", "pc/d", "--id", id, "--to", &target]);
    assert_eq!(code(&again), Some(5), "{}", words(&again));
    assert_eq!(fs::read(&target).expect("there"), new);
    it.json(&["get", "pc/d", "--id", id, "--to", &target, "--force"]);
    assert!(fs::read(&target).expect("there") == old);
    let piped = it.coffre(&["get", "pc/d", "--id", id, "--to", "-"]);
    assert!(piped.status.success() && piped.stdout == old);
    assert_eq!(code(&it.coffre(&["get", "pc/d", "--id", &"0".repeat(32), "--to", "-"])), Some(4));
    for missing in ["nowhere/out", "log/out"] {
        let target = it.path(missing).display().to_string();
        let out = it.coffre(&["get", "pc/d", "--to", &target]);
        let said = words(&out);
        assert_eq!((code(&out), said.lines().count()), (Some(1), 1), "{said}");
        let folder = it.path(missing.split_once('/').expect("two parts").0).display().to_string();
        assert!(said.contains(&folder) && said.contains("; ") && !said.contains(".part"), "{said}");
    }
    let beside = fs::read_dir(it.scratch.path()).expect("readable").filter_map(|e| e.ok());
    assert!(beside.into_iter().all(|e| !e.file_name().to_string_lossy().ends_with(".part")));
}

#[test]
fn the_words_on_paper_are_checked() {
    let it = TestBox::new(2);
    let numbered: String =
        it.words.iter().enumerate().map(|(n, word)| format!("{}. {word}\n", n + 1)).collect();
    assert_eq!(code(&it.coffre_with(&["words", "check"], numbered.as_bytes())), Some(0));
    let mut swapped = it.words.clone();
    let other = swapped.iter().position(|word| *word != swapped[0]).expect("not all words are one");
    swapped.swap(0, other);
    let wrong = it.coffre_with(&["words", "check", "--json"], swapped.join(" ").as_bytes());
    assert_eq!((code(&wrong), class(&wrong).as_str()), (Some(5), "refused"), "{}", words(&wrong));
    let other = TestBox::without_daemon(1).words.join(" ");
    let wrong = it.coffre_with(&["words", "check", "--json"], other.as_bytes());
    assert_eq!((code(&wrong), class(&wrong).as_str()), (Some(5), "refused"), "{}", words(&wrong));
    let garbled = it.coffre_with(&["words", "check", "--json"], b"\xff\xfe\n");
    assert_eq!((code(&garbled), class(&garbled).as_str()), (Some(2), "misuse"));
    let said = words(&garbled);
    assert!(said.contains("UTF-8") && said.contains("; ") && said.lines().count() == 1, "{said}");
    assert_eq!(code(&it.coffre_with(&["words", "check"], b"one two")), Some(2));
    // One word may stand in a log by chance (`image` is French too); two in a row do not.
    let log = it.log();
    let leaked = |pair: &[String]| {
        [" ", "\",\"", "\", \""]
            .iter()
            .any(|between| log.contains(&format!("{}{between}{}", pair[0], pair[1])))
    };
    assert!(!it.words.windows(2).any(leaked), "no words in the log");
}

#[test]
fn new_words_are_shown_before_they_hold_and_the_old_ones_are_void() {
    let it = TestBox::new(3);
    let unasked = it.coffre_with(&["words", "renew", "--json"], b"");
    assert_eq!((code(&unasked), class(&unasked).as_str()), (Some(2), "misuse"), "nobody could be asked");
    assert_eq!(code(&it.coffre_with(&["words", "check"], it.words.join(" ").as_bytes())), Some(0));
    let renewed = it.coffre(&["words", "renew", "--yes", "--json"]);
    assert_eq!(code(&renewed), Some(0), "{}", words(&renewed));
    let text = String::from_utf8(renewed.stdout).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[1]["renewed"], &lines[1]["disks_without"]),
        (&Value::from(true), &serde_json::json!([]))
    );
    let new: Vec<String> = serde_json::from_value(lines[0]["recovery_words"].clone()).expect("words");
    assert_eq!(code(&it.coffre_with(&["words", "check"], new.join(" ").as_bytes())), Some(0));
    let old = it.coffre_with(&["words", "check", "--json"], it.words.join(" ").as_bytes());
    assert_eq!((code(&old), class(&old).as_str()), (Some(5), "refused"));
    assert!(!it.log().contains(&new[..2].join("\",\"")), "no words in the log");
    assert!(it.log().contains("recovery words to be renewed"), "but that it was asked");
}

#[test]
fn the_health_of_a_folder_is_plainly_unknown() {
    let it = TestBox::new(2);
    for disk in it.json(&["disk", "list"])["disks"].as_array().expect("disks") {
        let health = &disk["health"];
        assert!(health["passed"].is_null() || health["passed"].is_boolean(), "{health}");
        let known = ["passed", "temperature_c", "power_on_hours", "media_errors", "reallocated_sectors"];
        let told = known.iter().any(|key| !health[key].is_null());
        assert_ne!(told, health["unknown_why"].is_string(), "either figures or why there are none: {health}");
    }
    let out = String::from_utf8(it.coffre(&["disk", "list"]).stdout).expect("text");
    assert!(out.contains("Disk 1: ") && out.contains("Disk 2: ") && !out.contains("Disk 0"), "{out}");
}

#[test]
fn the_words_bring_the_box_back_without_its_state_folder() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(2_000_000, 11);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    assert_eq!(it.stop("KILL"), None);
    fs::remove_dir_all(it.state()).expect("removable");
    // The disks may have been put back in any order.
    let disks: Vec<String> =
        [2, 0, 1].iter().map(|n| it.path(&format!("disk{n}")).display().to_string()).collect();
    let mut args = vec!["adopt", "--json"];
    args.extend(disks.iter().flat_map(|disk| ["--disk", disk.as_str()]));
    let mut wrong = it.words.clone();
    wrong.reverse();
    let refused = it.coffre_with(&args, wrong.join(" ").as_bytes());
    assert_eq!((code(&refused), class(&refused).as_str()), (Some(5), "refused"), "{}", words(&refused));
    let many: Vec<&str> = ["adopt"].into_iter().chain((0..9).flat_map(|_| ["--disk", &disks[0]])).collect();
    let many = it.coffre_with(&many, it.words.join(" ").as_bytes());
    assert_eq!(code(&many), Some(2), "right words, wrong use: {}", words(&many));
    assert!(!it.state().exists(), "a refusal leaves nothing");
    let adopted = it.coffre_with(&args, it.words.join("\n").as_bytes());
    assert_eq!(code(&adopted), Some(0), "{}", words(&adopted));
    let adopted: Value = serde_json::from_slice(&adopted.stdout).expect("JSON");
    assert_eq!(adopted["vault_id"], it.init["vault_id"]);
    it.start();
    let back = it.get(&pc, "/v1/datasets/d/snapshots/latest");
    assert!(back.status == 200 && back.body == body, "the old pin, the old secret, the old bytes");
    assert_eq!(it.put(&pc, "e", b"and on").status, 201);
}

#[test]
fn a_stop_is_graceful_and_a_kill_loses_nothing() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(3_000_000, 9);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    assert_eq!(it.stop("TERM"), Some(0));
    assert!(!it.state().join("control.sock").exists());
    it.start();
    assert!(
        it.get(&pc, "/v1/datasets/d/snapshots/latest").body == body,
        "with the certificate pinned at first"
    );
    assert_eq!(it.put(&pc, "e", b"after").status, 201);
    assert_eq!(it.stop("KILL"), None);
    assert!(it.state().join("control.sock").exists(), "a stale socket");
    assert_eq!(code(&it.coffre(&["status"])), Some(3));
    it.start();
    assert_eq!(it.get(&pc, "/v1/datasets/e/snapshots/latest").body, b"after");
    assert_eq!(it.json(&["status"])["objects"], 2);
    // A transfer under way at a graceful stop is finished.
    let slow = file(&it.path("slow"), &noise(1_500_000, 10));
    let curl = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--limit-rate", "1M", "--cacert"])
        .arg(it.path("ca.pem"))
        .args(["-u", &pc, "-T", &slow])
        .arg(format!("{}/v1/datasets/slow", it.url()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(it.stop("TERM"), Some(0));
    let out = curl.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "201");
}

/// A body of unknown length that is cut off by a stop looks like any other cut, never like an end.
#[test]
fn a_body_that_outlasts_a_stop_is_not_kept() {
    let mut it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let curl = |to: &str| {
        let mut curl = Command::new("curl")
            .args(["-sS", "-T", "-", "-o", "/dev/null", "-w", "%{http_code}", "-u", &pc, "--cacert"])
            .arg(it.path("ca.pem"))
            .arg(format!("{}/v1/datasets/{to}", it.url()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("curl");
        let mut body = curl.stdin.take().expect("a pipe");
        body.write_all(&noise(1_500_000, 3)).expect("taken");
        // More is to come: the pipe stays open.
        (curl, body)
    };
    let under_way = [curl("one"), curl("two"), curl("three")];
    std::thread::sleep(std::time::Duration::from_millis(500));
    it.stop("TERM");
    for (mut curl, body) in under_way {
        let _ = curl.kill();
        drop(body);
        let out = curl.wait_with_output().expect("ended");
        assert_ne!(String::from_utf8_lossy(&out.stdout), "201");
    }
    it.start();
    assert_eq!(it.json(&["status"])["objects"], 0);
}

#[test]
fn the_service_manager_is_told() {
    let it = TestBox::without_daemon(1);
    let heard = std::os::unix::net::UnixDatagram::bind(it.path("notify")).expect("bound");
    heard.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    let hear = || {
        let mut buf = [0; 256];
        let len = heard.recv(&mut buf).expect("told in time");
        String::from_utf8_lossy(&buf[..len]).trim().to_owned()
    };
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_coffred"))
        .args(["--listen", "127.0.0.1:0", "--state"])
        .arg(it.state())
        .env("NOTIFY_SOCKET", it.path("notify"))
        .env("WATCHDOG_USEC", "900000")
        .env_remove("WATCHDOG_PID")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("spawned");
    let first: Vec<String> = (0..3).map(|_| hear()).collect();
    assert!(first.contains(&"READY=1".to_owned()) && first.contains(&"WATCHDOG=1".to_owned()), "{first:?}");
    let sent = Command::new("kill").args(["-s", "INT", &daemon.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    while hear() != "STOPPING=1" {}
    assert_eq!(wait(&mut daemon), Some(0));
}

#[test]
fn keeping_is_said_planned_and_shown() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let set = it.json(&["dataset", "set", "pc/d", "--class", "2s", "--keep", "last=1"]);
    assert_eq!((&set["class_seconds"], &set["keep"]["last"]), (&2.into(), &1.into()));
    assert_eq!(code(&it.coffre(&["dataset", "set", "nobody/d", "--class", "2s"])), Some(4));
    assert_eq!(code(&it.coffre(&["dataset", "set", "pc/d"])), Some(2));
    for seed in 0..2 {
        assert_eq!(it.put(&pc, "d", &noise(200_000, seed)).status, 201);
    }
    assert_eq!(it.json(&["snapshots"])["snapshots"][0]["class_seconds"], 2);
    let locked = it.json(&["forget", "--plan"]);
    assert!(locked["stopped"].is_null() && locked["snapshots"][1]["reasons"][0] == "locked", "{locked}");
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    let plan = it.json(&["forget"]);
    let fates = [0, 1].map(|n| plan["snapshots"][n]["keep"].as_bool());
    assert_eq!((fates, plan["needs_approval"].as_bool()), ([Some(false), Some(true)], Some(true)), "{plan}");
    assert_eq!(it.json(&["forget", "--run"])["needs_approval"], true);
    assert_eq!(code(&it.coffre(&["forget", "--approve", "no-such-plan"])), Some(5));
    let done = it.json(&["forget", "--approve", plan["plan"].as_str().expect("an id")]);
    assert_eq!((&done["condemned"], &done["needs_approval"]), (&1.into(), &false.into()), "{done}");
    let shown = it.json(&["dataset", "show", "pc/d"]);
    assert!(shown["judged"][0]["condemned_at"].is_string() && shown["snapshots_count"] == 2, "{shown}");
    assert_eq!(it.json(&["dataset", "list"])["datasets"][0]["dataset"], "pc/d");
    let clock = it.json(&["clock", "show"]);
    assert!(clock["doubt"].is_null() && clock["retention_at"].is_string(), "{clock}");
    assert_eq!(code(&it.coffre(&["clock", "attest", "2001-01-01T00:00Z"])), Some(5));
    // Nothing is in doubt: the time is taken note of, and nothing is held up for three days.
    let now = clock["wall_at"].as_str().expect("a time");
    let attested = it.json(&["clock", "attest", now]);
    assert!(attested["doubt"].is_null() && attested["leapt_seconds"] == 0, "{attested}");
    let people = it.coffre(&["clock", "attest", now]);
    assert!(String::from_utf8_lossy(&people.stdout).starts_with("Nothing was in doubt"), "{people:?}");
    let people = it.coffre(&["forget"]);
    let text = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(text.contains("condemned") && text.contains("number 1 of the last ones"), "{text}");
}
