//! What a client may keep and send within a day, as the owner says it and as the client hears it.

mod common;

use common::wire::Wire;
use common::{TestBox, file, noise};

/// What restic would call these bytes.
fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

const MB: usize = 1_000_000;

#[test]
fn a_day_has_a_cap_that_counts_both_doors_what_is_hidden_and_what_was_lost() {
    let mut it = TestBox::new(2);
    let pc = it.client("pc", &["--daily", "5000000"]);
    assert_eq!(it.put(&pc, "d", &noise(MB, 1)).status, 201);
    let mut wire = Wire::new(&it);
    let post = |wire: &mut Wire<'_>, bytes: &[u8]| {
        wire.ask(&pc, "POST", &format!("/pc/work/data/{}", name_of(bytes)), "", Some(bytes))
    };
    assert_eq!(wire.ask(&pc, "POST", "/pc/work/?create=true", "", Some(b"")).status, 200);
    let kept = noise(MB, 2);
    assert_eq!(post(&mut wire, &kept).status, 200);
    assert_eq!(post(&mut wire, &kept).status, 200, "again: nothing is received");
    it.json(&["repo", "set", "pc/work", "--mode", "recoverable"]);
    let gone = wire.ask(&pc, "DELETE", &format!("/pc/work/data/{}", name_of(&kept)), "", None);
    assert_eq!(gone.status, 200);
    let lie = wire.ask(&pc, "POST", &format!("/pc/work/data/{}", "ab".repeat(32)), "", Some(&noise(MB, 3)));
    assert_eq!(lie.status, 400, "of another hash: nothing is kept");
    let day = |it: &TestBox| it.json(&["client", "list"])["clients"][0]["day_logical_bytes"].as_u64();
    assert_eq!(day(&it), Some(3 * MB as u64), "kept, hidden and lost");
    for (n, args) in
        [&["-T", "-"][..], &["-T", &file(&it.path("big"), &noise(3 * MB + 1, 4))]].iter().enumerate()
    {
        let got = it.curl(&pc, "/v1/datasets/d", args, &noise(3 * MB, 5));
        assert_eq!((got.status, got.class().as_str()), (507, "full"), "{n}");
        let said = got.text();
        let room = said.contains("room again in") || said.contains("never fits");
        assert!(said.contains("of 5000000 bytes in 24 hours") && room, "{said}");
        if n == 0 {
            it.stop("TERM");
            it.start();
            assert_eq!(day(&it), Some(2 * MB as u64), "what was kept is known after a restart");
        }
    }
    let full = Wire::new(&it).ask(
        &pc,
        "POST",
        &format!("/pc/work/data/{}", "ab".repeat(32)),
        "",
        Some(&noise(3 * MB + 1, 6)),
    );
    assert_eq!(full.status, 507, "the other door has the same cap");
    let set = it.json(&["client", "set", "pc", "--daily", "default", "--quota", "2500000"]);
    assert_eq!((&set["daily_bytes"], &set["quota_bytes"]), (&serde_json::Value::Null, &2_500_000.into()));
    assert_eq!(it.put(&pc, "d", &noise(MB, 7)).status, 507, "hidden files count against the quota, too");
    it.json(&["client", "set", "pc", "--quota", "9000000"]);
    assert_eq!(it.put(&pc, "d", &noise(3 * MB, 8)).status, 201);
    let out = it.coffre(&["client", "set", "nobody", "--quota", "1"]);
    assert_eq!(out.status.code(), Some(4), "no such client");
    let out = it.coffre(&["client", "list"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("9.0 MB") && text.contains("none"), "{text}");
}
