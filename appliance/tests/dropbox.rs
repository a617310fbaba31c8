//! The drop-box as its clients see it: curl against the real daemon.

mod common;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{TestBox, file, noise};
use std::io::{Read, Write};

const MIB: usize = 1024 * 1024;

#[test]
fn a_file_and_a_pipe_come_back_with_signed_receipts() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let key = it.json(&["certificate"])["receipt_key"].as_str().map(|k| STANDARD.decode(k).expect("base64"));
    let bodies = [noise(5 * MIB + 17, 1), b"a small one".to_vec(), Vec::new(), vec![0; 3 * MIB]];
    for (n, body) in bodies.iter().enumerate() {
        let upload = file(&it.path("upload"), body);
        let got = match n % 2 {
            0 => it.curl(&pc, "/v1/datasets/odoo", &["-T", &upload], b""),
            _ => it.put(&pc, "odoo", body),
        };
        assert_eq!((got.curl, got.status), (0, 201), "{}", got.text());
        let receipt = got.json();
        assert_eq!(receipt["size"], body.len());
        assert_eq!(receipt["hash"], format!("blake3:{}", blake3::hash(body).to_hex()));
        assert_eq!(receipt["dataset"], "pc/odoo");
        assert_eq!(receipt["tolerates"], 1);
        assert!(
            receipt["stored_bytes"].is_u64()
                && receipt["locked_until"].as_str() > receipt["received_at"].as_str()
        );
        let text = receipt["receipt"].as_str().expect("text");
        let signature = STANDARD.decode(receipt["signature"].as_str().expect("text")).expect("base64");
        let key = UnparsedPublicKey::new(&ED25519, key.as_deref().expect("a key"));
        assert!(key.verify(text.as_bytes(), &signature).is_ok());
        let id = receipt["id"].as_str().expect("an id");
        assert!(text.contains(id));
        for which in [id, "latest"] {
            let got = it.get(&pc, &format!("/v1/datasets/odoo/snapshots/{which}"));
            assert_eq!((got.curl, got.status), (0, 200));
            // What is empty or all zeros is kept and comes back by its id; `latest` is the complete one before it, and says so.
            if which == "latest" && body.iter().all(|byte| *byte == 0) {
                assert!(got.body == bodies[1] && !got.headers.contains(&format!("etag: \"{id}\"")));
                assert!(got.headers.contains(&format!("coffre-passed-over: {}", n - 1)), "{}", got.headers);
                continue;
            }
            assert!(got.body == *body, "{which} of body {n}");
            assert!(got.headers.contains(&format!("etag: \"{id}\"")));
        }
    }
    let listed = it.get(&pc, "/v1/datasets/odoo/snapshots").json();
    let sizes: Vec<_> =
        listed["snapshots"].as_array().expect("a list").iter().map(|s| s["size"].clone()).collect();
    assert_eq!(sizes, bodies.iter().map(|b| b.len().into()).collect::<Vec<serde_json::Value>>());
    assert_eq!(it.get(&pc, "/v1/datasets").json()["datasets"][0]["dataset"], "pc/odoo");
    assert_eq!(it.log().matches("snapshot kept").count(), bodies.len(), "one audit line per write");
}

#[test]
fn ranges_and_heads() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let body = noise(3 * MIB + 5, 2);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    let path = "/v1/datasets/d/snapshots/latest";
    let size = body.len();
    let parts = [
        ("0-0", 0, 1),
        ("1-", 1, size),
        ("1000000-2999999", 1_000_000, 3_000_000),
        ("-7", size - 7, size),
        ("3000000-99999999999", 3_000_000, size),
    ];
    for (range, start, end) in parts {
        let got = it.curl(&pc, path, &["-r", range], b"");
        assert_eq!((got.curl, got.status), (0, 206), "{range}");
        assert!(got.body == body[start..end], "{range}");
        assert!(
            got.headers.contains(&format!("content-range: bytes {start}-{}/{size}", end - 1)),
            "{}",
            got.headers
        );
    }
    let beyond = it.curl(&pc, path, &["-r", &format!("{size}-")], b"");
    assert_eq!(beyond.status, 416);
    assert!(beyond.headers.contains(&format!("content-range: bytes */{size}")));
    for odd in ["Range: bytes=0-1,5-6", "Range: lines=1-2", "Range: bytes=9-3"] {
        let got = it.curl(&pc, path, &["-H", odd], b"");
        assert_eq!((got.status, got.body.len()), (200, size), "{odd}");
    }
    let other = it.curl(&pc, path, &["-r", "0-1", "-H", "If-Range: \"other\""], b"");
    assert_eq!((other.status, other.body.len()), (200, size));
    let head = it.curl(&pc, path, &["-I"], b"");
    assert_eq!((head.curl, head.status), (0, 200));
    assert!(
        head.headers.contains(&format!("content-length: {size}\r\n"))
            && head.headers.contains("accept-ranges: bytes")
    );
    assert_eq!(it.curl(&pc, "/v1/datasets", &["-I"], b"").status, 200);
}

#[test]
fn a_digest_that_does_not_match_keeps_nothing() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let good = "Repr-Digest: sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    let send = |header: &str, body: &[u8]| it.curl(&pc, "/v1/datasets/d", &["-T", "-", "-H", header], body);
    for (header, body) in
        [(good, &b"abd"[..]), ("Repr-Digest: sha-256=abc", b"abc"), ("Content-Digest: sha-256=:AA==:", b"")]
    {
        let got = send(header, body);
        assert_eq!((got.status, got.class().as_str()), (400, "misuse"), "{header}");
    }
    assert_eq!(it.get(&pc, "/v1/datasets/d/snapshots").status, 404);
    assert_eq!(send(good, b"abc").status, 201);
    assert_eq!(send("Repr-Digest: md5=:AAAA:", b"abd").status, 201, "unknown algorithms are ignored");
}

#[test]
fn a_digest_in_a_trailer_is_refused_not_ignored() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let auth = format!("Authorization: Basic {}\r\nHost: box\r\nConnection: close\r\n", STANDARD.encode(&pc));
    let send = |head: &str, rest: &str| {
        let mut stream = it.tls();
        let text =
            format!("PUT /v1/datasets/t HTTP/1.1\r\n{auth}Transfer-Encoding: chunked\r\n{head}\r\n{rest}");
        stream.write_all(text.as_bytes()).expect("sent");
        stream.flush().expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    // Declared: refused although no byte of the body is ever sent.
    for names in ["Repr-Digest", "x-other, CONTENT-digest", "Digest", "X-A\r\nTrailer: Repr-Digest"] {
        let answer = send(&format!("Trailer: {names}\r\n"), "");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("trailer"), "{names}: {answer}");
    }
    // Not declared, and there all the same.
    let body = "5\r\nhello\r\n0\r\n";
    let answer = send("", &format!("{body}Repr-Digest: sha-256=:AAAA:\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("trailer"), "{answer}");
    assert_eq!(it.get(&pc, "/v1/datasets/t/snapshots").status, 404, "nothing was kept");
    let answer = send("Trailer: X-Note\r\n", &format!("{body}X-Note: fine\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 201"), "other trailers say nothing: {answer}");
}

#[test]
fn too_many_disks_away_is_not_now_and_too_much_damage_is_the_box_at_fault() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(3 * MIB, 12);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    let path = "/v1/datasets/d/snapshots/latest";
    let scratch = it.scratch.path().to_owned();
    let carry = |from: &str, to: &str| {
        for n in 0..2 {
            let (from, to) = (scratch.join(format!("{from}{n}")), scratch.join(format!("{to}{n}")));
            std::fs::rename(from, to).expect("carried");
        }
    };
    carry("disk", "away");
    for args in [&[][..], &["-r", "1000000-1000009"], &["-I"]] {
        let got = it.curl(&pc, path, args, b"");
        assert_eq!(got.status, 503, "{args:?}: {}", got.text());
        assert!(got.headers.contains("\r\nretry-after: "), "{args:?}: {}", got.headers);
    }
    let said = it.get(&pc, path);
    assert_eq!(said.class(), "transient");
    assert!(!said.text().contains("pack") && !said.text().contains("shard"), "{}", said.text());
    carry("away", "disk");
    let back = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        it.get(&pc, path).body == body
    });
    assert!(back, "the disks are back");
    // Damage done while it is down: a running box may still have what it has just read.
    assert_eq!(it.stop("TERM"), Some(0));
    for n in 0..2 {
        let shards = files(&it.path(&format!("disk{n}")).join("shards"));
        assert!(!shards.is_empty(), "the body is on all disks");
        for shard in shards {
            let len = std::fs::metadata(&shard).expect("a file").len() as usize;
            std::fs::write(&shard, noise(len, 13)).expect("spoilt");
        }
    }
    it.start();
    for args in [&[][..], &["-I"]] {
        assert_eq!(it.curl(&pc, path, args, b"").status, 500, "{args:?}");
    }
    assert_eq!(it.get(&pc, path).class(), "corrupt");
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let auth = format!("Authorization: Basic {}\r\nHost: box\r\n", STANDARD.encode(&pc));
    let bodies = [
        format!("Content-Length: 1000\r\n\r\n{}", "x".repeat(999)),
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n".to_owned(),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}", 2 * MIB, "y".repeat(2 * MIB - 1)),
    ];
    for (n, body) in bodies.iter().enumerate() {
        let mut stream = it.tls();
        stream.write_all(format!("PUT /v1/datasets/cut HTTP/1.1\r\n{auth}{body}").as_bytes()).expect("sent");
        stream.flush().expect("sent");
        if n % 2 == 0 {
            stream.conn.send_close_notify();
            let _ = stream.flush();
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(!String::from_utf8_lossy(&rest).contains(" 201 "), "body {n}");
        }
        drop(stream);
    }
    // What comes after sees the end of what came before.
    assert_eq!(it.put(&pc, "whole", b"whole").status, 201);
    assert_eq!(it.get(&pc, "/v1/datasets/cut/snapshots").status, 404);
    assert_eq!(it.json(&["status"])["objects"], 1);
    assert!(!it.log().contains("panicked"));
}

#[test]
fn over_quota_is_507_and_the_client_hears_it() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &["--quota", "3000000"]);
    let big = file(&it.path("big"), &noise(40 * MIB, 3));
    // Announced: refused before the body; without Expect, and in a pipe: while it comes.
    let url = "/v1/datasets/d";
    for args in [&["-T", &big][..], &["-T", &big, "-H", "Expect:"], &["-T", "-", "-H", "Expect:"]] {
        let got = it.curl(&pc, url, args, &noise(40 * MIB, 4));
        assert_eq!((got.status, got.class().as_str()), (507, "full"), "{args:?} curl {}", got.curl);
    }
    assert_eq!(it.get(&pc, "/v1/datasets/d/snapshots").status, 404);
    assert_eq!(it.put(&pc, "d", &noise(2 * MIB, 5)).status, 201, "what fits is kept");
    assert_eq!(it.put(&pc, "d", &noise(2 * MIB, 6)).status, 507);
    let other = it.client("other", &[]);
    assert_eq!(it.put(&other, "d", &noise(2 * MIB, 7)).status, 201, "a quota is one client's");
}

#[test]
fn a_client_sees_its_own_and_destroys_nothing() {
    let it = TestBox::new(2);
    let (ali, eve) = (it.client("ali", &[]), it.client("eve", &[]));
    let kept = it.put(&ali, "accounts", b"precious").json();
    let id = kept["id"].as_str().expect("an id");
    for what in ["", "/latest", &format!("/{id}")] {
        let foreign = it.get(&eve, &format!("/v1/datasets/accounts/snapshots{what}"));
        let unknown = it.get(&eve, &format!("/v1/datasets/accountz/snapshots{what}"));
        assert_eq!((foreign.status, unknown.status), (404, 404), "{what}");
        assert_eq!(foreign.text(), unknown.text().replace("accountz", "accounts"), "{what}");
    }
    assert_eq!(it.get(&eve, "/v1/datasets").json()["datasets"], serde_json::json!([]));
    let snapshot = format!("/v1/datasets/accounts/snapshots/{id}");
    for path in ["/v1/datasets", "/v1/datasets/accounts", "/v1/datasets/accounts/snapshots", &snapshot] {
        for method in ["DELETE", "POST", "PATCH", "MOVE", "TRACE", "OPTIONS"] {
            let got = it.curl(&ali, path, &["-X", method], b"");
            assert_eq!(got.status, 405, "{method} {path}");
            assert!(got.headers.contains("\r\nallow: "), "{method} {path}");
        }
    }
    assert_eq!(it.curl(&ali, &snapshot, &["-T", "-"], b"other").status, 405);
    assert_eq!(it.get(&ali, &snapshot).body, b"precious");

    let secret = ali.split_once(':').expect("a pair").1;
    for nobody in ["", "ali:wrong", "nobody:x", &format!("eve:{secret}"), &format!("{secret}:ali")] {
        let got = it.get(nobody, "/v1/datasets");
        assert_eq!(got.status, 401, "{nobody}");
        assert!(got.headers.contains("www-authenticate: basic realm=\"coffre\""));
    }
    let refused = it.curl("ali:wrong", "/v1/datasets/x", &["-T", "-", "-H", "Expect:"], &noise(20 * MIB, 8));
    assert_eq!(refused.status, 401, "also in the face of a long body");
    it.json(&["client", "remove", "ali"]);
    assert_eq!(it.get(&ali, &snapshot).status, 401);
    assert_eq!(it.get("", "/v1/certificate").body, std::fs::read(it.path("ca.pem")).expect("readable"));
    assert!(it.get("", "/").text().contains("PUT /v1/datasets/NAME"));
    let log = it.log();
    assert!(!log.contains(secret) && !log.contains(&STANDARD.encode(&ali)), "no secret in the log");
}

#[test]
fn hostile_requests_get_plain_answers() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let put = |name: &str| it.put(&pc, name, b"x").status;
    for name in ["UP", "a_b", "-a", "%61", "a%2Fb", "..", "v1", "snapshots", &"a".repeat(33), "d.sql", "é"] {
        assert_eq!(put(name), 400, "{name}");
    }
    assert_eq!(it.curl(&pc, "/v1/datasets/a?x=1", &["-T", "-"], b"x").status, 201, "a query says nothing");
    for path in [
        "/v1",
        "/v1/",
        "//v1/datasets",
        "/v1/datasets/",
        "/v1/datasets/a/",
        "/v1/datasets/a/b",
        "/v1/datasets/a/snapshots/latest/x",
        "/v1/datasets/a/snapshots/../../..",
        "/favicon.ico",
        "/v1/datasets/a/snapshots/zz",
        &format!("/{}", "a".repeat(4000)),
    ] {
        let got = it.get(&pc, path);
        assert_eq!((got.status, got.class().as_str()), (404, "absent"), "{path}");
    }
    let elsewhere = it.get(&pc, "/v2/datasets");
    assert_eq!(
        (elsewhere.status, elsewhere.class().as_str()),
        (403, "refused"),
        "v2 could be a client's name"
    );
    let put_with = |header: &str| it.curl(&pc, "/v1/datasets/a", &["-T", "-", "-H", header], b"x").status;
    assert_eq!(put_with("Content-Encoding: gzip"), 415);
    assert_eq!(put_with("Content-Range: bytes 0-0/2"), 400);
    assert_eq!(put_with("Expect: more"), 417);
    assert_eq!(put_with("Transfer-Encoding: gzip, chunked"), 501);
    assert_eq!(it.curl(&pc, "/v1/datasets/a", &["-X", "PUT"], b"").status, 411);
    assert_eq!(it.get(&pc, &format!("/{}", "a".repeat(20_000))).status, 431);
    // What the HTTP layer answers by itself, as docs/cli.md says: a status and nothing else.
    for (status, raw) in [
        (400, &b"nonsense\r\n\r\n"[..]),
        (400, b"GET /v1/datasets/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n"),
        (400, b"PUT /v1/datasets/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        (400, b"PUT /v1/datasets/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"PUT /v1/datasets/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (400, b"\x00\x01\x02\r\n\r\n"),
        (431, b"PUT /v1/datasets/a HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n"),
    ] {
        let mut stream = it.tls();
        stream.write_all(raw).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let (answer, raw) = (String::from_utf8_lossy(&answer), String::from_utf8_lossy(raw));
        let bare = answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n");
        assert!(bare && !answer.contains("x-request-id"), "{raw:?}: {answer}");
    }
    let got = it.get(&pc, "/v1/datasets");
    assert!(got.status == 200 && got.headers.contains("x-request-id: "));
    assert!(!it.log().contains("panicked"));
}
