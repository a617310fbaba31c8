//! What a client may keep and send within a day, as the owner says it and as the client hears it.

mod common;

use common::wire::Wire;
use common::{TestBox, file, noise};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// What restic would call these bytes.
fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

const MB: usize = 1_000_000;

#[test]
fn a_day_has_a_cap_that_counts_both_doors_and_what_is_hidden() {
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
    assert_eq!(day(&it), Some(2 * MB as u64), "kept and hidden, but not what was refused");
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
    assert!(text.contains("8.6 MiB") && text.contains("none"), "{text}");
}

#[test]
fn a_push_that_was_too_large_locks_nobody_out_and_garbage_has_an_end() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &["--daily", "5000000"]);
    let lost = |it: &TestBox| it.json(&["client", "list"])["clients"][0]["day_lost_bytes"].as_u64();
    let too_large = |seed| it.put(&pc, "d", &noise(9 * MB, seed));
    assert_eq!(too_large(1).status, 507);
    assert!(lost(&it).is_some_and(|bytes| bytes > MB as u64), "{:?}", lost(&it));
    assert_eq!(it.put(&pc, "d", &noise(2 * MB, 2)).status, 201, "the next one that fits is kept");
    // Again and again, with other bytes each time: no more is written than twice what a day may bring.
    let refused = (3..20).map(too_large).find(|got| got.text().contains("cut off or refused"));
    let said = refused.expect("an end").text();
    assert!(said.contains("10000000 are borne") && said.contains("room again in"), "{said}");
    // What is found to be too much was written by then: a chunk more, and then nothing.
    let mut before = None;
    let held = (20..30).find_map(|seed| {
        assert_eq!(too_large(seed).status, 507);
        let now = lost(&it);
        (std::mem::replace(&mut before, now) == now).then_some(now)
    });
    let held = held.expect("nothing more is written");
    assert!(held.is_some_and(|bytes| bytes <= 13 * MB as u64), "{held:?}");
    assert_eq!(it.put(&pc, "d", &noise(MB, 30)).status, 507);
    assert_eq!(lost(&it), held, "refused before a byte of it was written");
    assert_eq!(
        it.put(&pc, "d", &noise(9_000, 31)).status,
        201,
        "what is small is written with its record, or not at all"
    );
    let other = it.client("other", &[]);
    assert_eq!(it.put(&other, "d", &noise(MB, 32)).status, 201);
}

#[test]
fn what_is_empty_is_counted_and_charged_at_both_doors() {
    let it = TestBox::new(1);
    let eve = it.client("eve", &["--quota", "1"]);
    let got = it.put(&eve, "d", b"");
    assert_eq!((got.status, got.class().as_str()), (507, "full"), "no snapshot fits into one byte");
    it.json(&["client", "set", "eve", "--quota", "default", "--objects", "3"]);
    let mut wire = Wire::new(&it);
    assert_eq!(wire.ask(&eve, "POST", "/eve/work/?create=true", "", Some(b"")).status, 200);
    let lock = format!("/eve/work/locks/{}", name_of(b"lock"));
    assert_eq!(wire.ask(&eve, "POST", &lock, "", Some(b"lock")).status, 200);
    assert_eq!((it.put(&eve, "d", b"").status, it.put(&eve, "e", b"").status), (201, 201));
    let said = it.put(&eve, "d", b"");
    assert_eq!((said.status, said.class().as_str()), (507, "full"));
    assert!(said.text().contains("may not keep more than 3"), "{}", said.text());
    let other = format!("/eve/work/locks/{}", name_of(b"other"));
    assert_eq!(wire.ask(&eve, "POST", &other, "", Some(b"other")).status, 507, "a lock costs, too");
    assert_eq!(wire.ask(&eve, "DELETE", &lock, "", None).status, 200);
    assert_eq!(wire.ask(&eve, "POST", &other, "", Some(b"other")).status, 200, "and comes back");
    let told = &it.json(&["client", "list"])["clients"][0];
    assert_eq!((&told["objects"], &told["max_objects"]), (&3.into(), &3.into()), "{told}");
    assert!(told["default_max_objects"].as_u64().is_some_and(|n| n >= 100_000));
    let out = it.coffre(&["client", "list"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("3 of 3"), "{out:?}");
}

#[test]
fn a_client_has_so_many_data_sets() {
    let it = TestBox::new(1);
    let eve = it.client("eve", &[]);
    let mut wire = Wire::new(&it);
    for n in 0..coffre_vault::MAX_DATASETS {
        assert_eq!(wire.ask(&eve, "PUT", &format!("/v1/datasets/d{n}"), "", Some(b"x")).status, 201, "{n}");
    }
    let more = wire.ask(&eve, "PUT", "/v1/datasets/more", "", Some(b"x"));
    assert_eq!(more.status, 507, "{}", more.text());
    assert_eq!(wire.ask(&eve, "PUT", "/v1/datasets/d0", "", Some(b"y")).status, 201, "one that is there");
}

#[test]
fn a_client_has_so_many_repositories() {
    let it = TestBox::new(1);
    let eve = it.client("eve", &[]);
    let mut wire = Wire::new(&it);
    let mut make =
        |n: usize| wire.ask(&eve, "POST", &format!("/eve/r{n}/?create=true"), "", Some(b"")).status;
    assert!((0..64).all(|n| make(n) == 200));
    assert_eq!((make(64), make(0)), (507, 200));
}

#[test]
fn there_are_so_many_clients() {
    let it = TestBox::new(1);
    let mut socket = UnixStream::connect(it.state().join("control.sock")).expect("connected");
    let mut answers = BufReader::new(socket.try_clone().expect("a socket"));
    let mut ask = |line: String| {
        socket.write_all(line.as_bytes()).expect("taken");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        answer
    };
    let mut add = |n: usize| {
        ask(format!(
            "{{\"do\":\"client_add\",\"name\":\"c{n}\",\"quota_bytes\":null,\"daily_bytes\":null}}\n"
        ))
    };
    for n in 0..1_000 {
        let said = add(n);
        assert!(said.contains("\"client_added\""), "{n}: {said}");
    }
    let said = add(1_000);
    assert!(said.contains("\"full\"") && said.contains("1000 clients"), "{said}");
    let removed = it.coffre(&["client", "remove", "c7"]);
    assert!(removed.status.success());
    assert!(add(1_000).contains("\"full\""), "the names of removed ones are kept");
    assert!(add(7).contains("\"client_added\""), "and may be used again");
}
