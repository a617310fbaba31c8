//! The command when something is wrong around it: paths that are no text, an output that takes nothing.

mod common;

use common::{TestBox, wait};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn coffre() -> Command {
    Command::new(env!("CARGO_BIN_EXE_coffre"))
}

fn words(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A path whose last name is no UTF-8.
fn no_text(it: &TestBox, name: &str) -> PathBuf {
    let name = [name.as_bytes(), b"\xff"].concat();
    it.scratch.path().join(OsString::from_vec(name))
}

/// Runs a line of shell with `$coffre` as the command on this box's state.
fn shell(it: &TestBox, line: &str) -> Output {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(line).current_dir(it.scratch.path());
    sh.env("coffre", env!("CARGO_BIN_EXE_coffre")).env("COFFRE_STATE", it.state());
    sh.output().expect("a shell")
}

fn refused(out: &Output, code: i32, part: &str) {
    let said = words(out);
    assert_eq!(out.status.code(), Some(code), "{said}");
    assert!(said.starts_with("coffre: ") && said.lines().count() == 1 && said.contains("; "), "{said}");
    assert!(said.contains(part), "{said}");
}

#[test]
fn a_path_that_is_no_text_is_refused_before_anything_is_made() {
    let mut it = TestBox::without_daemon(1);
    let (state, disk) = (no_text(&it, "state"), it.path("empty"));
    fs::create_dir(&disk).expect("writable");
    for json in [false, true] {
        let mut init = coffre();
        init.arg("--state").arg(&state).arg("init").arg("--try-out").arg("--disk").arg(&disk);
        init.args(json.then_some("--json"));
        refused(&init.output().expect("ran"), 2, "UTF-8");
    }
    let mut adopt = coffre();
    adopt.arg("--state").arg(&state).arg("adopt").arg("--disk").arg(it.path("disk0"));
    adopt.stdin(Stdio::null());
    refused(&adopt.output().expect("ran"), 2, "UTF-8");
    assert!(!state.exists() && fs::read_dir(&disk).expect("readable").count() == 0, "nothing was made");

    it.start();
    let pc = it.client("pc", &[]);
    assert_eq!(it.put(&pc, "d", b"hello").status, 201);
    let to = no_text(&it, "out");
    for json in [None, Some("--json")] {
        let mut get = coffre();
        get.arg("--state").arg(it.state()).args(["get", "pc/d", "--force", "--to"]).arg(&to).args(json);
        let out = get.output().expect("ran");
        assert!(out.status.success() && !out.stdout.is_empty(), "{}", words(&out));
        assert_eq!(fs::read(&to).expect("there"), b"hello");
    }
}

#[test]
fn words_that_nobody_would_see_are_not_made() {
    let it = TestBox::without_daemon(1);
    for (n, to) in [">/dev/full", ">&-", ">/dev/null"].iter().enumerate() {
        for json in ["", "--json"] {
            let line = format!("mkdir -p d{n}; $coffre --state s{n} init --try-out --disk d{n} {json} {to}");
            refused(&shell(&it, &line), 1, "output");
            let left = fs::read_dir(it.path(&format!("d{n}"))).expect("readable").count();
            assert!(left == 0 && !it.path(&format!("s{n}")).exists(), "{line}");
        }
    }
    let (read, write) = std::io::pipe().expect("a pipe");
    drop(read);
    let mut init = coffre();
    init.current_dir(it.scratch.path()).args(["--state", "s0", "init", "--try-out", "--disk", "d0"]);
    refused(&init.stdout(write).output().expect("ran"), 1, "output");
    assert!(!it.path("s0").exists());
    // What cannot be is still said as ever, and with --json there is one whole object.
    let out = shell(&it, "$coffre --state s0 init --try-out --disk nowhere --json");
    let error: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one object");
    assert_eq!(error["error"]["class"], "absent");
}

#[test]
fn secrets_that_nobody_would_see_are_not_made() {
    let it = TestBox::new(1);
    for (to, json) in [(">/dev/full", ""), (">&-", ""), (">/dev/null", "--json"), (">/dev/full", "--json")] {
        refused(&shell(&it, &format!("$coffre client add pc {json} {to}")), 1, "output");
    }
    assert_eq!(it.json(&["client", "list"])["clients"], serde_json::json!([]));
    it.client("pc", &[]);
    let again = it.coffre(&["client", "add", "pc", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&again.stdout).expect("one object");
    assert_eq!((again.status.code(), error["error"]["class"].as_str()), (Some(5), Some("refused")));

    // Nor new words, which would void the old ones.
    for to in [">&-", ">/dev/null", ">/dev/full"] {
        let out = shell(&it, &format!("$coffre words renew --yes {to}"));
        assert_eq!(out.status.code(), Some(1), "{to}: {}", words(&out));
    }
    let old = it.coffre_with(&["words", "check"], it.words.join(" ").as_bytes());
    assert!(old.status.success(), "the old words hold: {}", words(&old));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_with_words() {
    let it = TestBox::new(1);
    refused(&shell(&it, "$coffre status >/dev/full"), 1, "output");
    // Whoever stops reading a listing has seen enough.
    let (read, write) = std::io::pipe().expect("a pipe");
    drop(read);
    let mut status = coffre();
    status.arg("--state").arg(it.state()).arg("status").stdout(write).stderr(Stdio::piped());
    let mut child = status.spawn().expect("spawned");
    assert_eq!(wait(&mut child), Some(0));
}
