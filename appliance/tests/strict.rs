//! HTTP/1.1 to the letter, one line in the audit log for each write, and no secret anywhere.

mod common;

use common::wire::{Wire, authorization, request};
use common::{TestBox, noise};
use std::io::{Read, Write};
use std::net::TcpStream;

fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// Sends bytes over a connection of their own and reads all that comes until the box closes or is quiet.
fn raw(it: &TestBox, bytes: &[u8]) -> String {
    let mut tls = it.tls();
    tls.sock.set_read_timeout(Some(std::time::Duration::from_millis(700))).expect("set");
    let _ = tls.write_all(bytes).and_then(|()| tls.flush());
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers in what came.
fn statuses(answers: &str) -> Vec<u16> {
    let after = answers.split("HTTP/1.").skip(1);
    after.filter_map(|rest| rest.get(2..5)?.parse().ok()).filter(|status| *status != 100).collect()
}

#[test]
fn what_is_not_http_1_1_is_refused_and_what_is_has_one_reading() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let auth = authorization(&pc);
    let get = |rest: &str| format!("GET /v1/datasets HTTP/1.1\r\n{rest}\r\n");
    let own = |rest: &str| get(&format!("Host: box\r\n{auth}{rest}"));
    let put = |rest: &str| format!("PUT /v1/datasets/a HTTP/1.1\r\nHost: box\r\n{auth}{rest}");
    let second = "GET / HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";
    let many: String = (0..70).map(|n| format!("X-{n}: 1\r\n")).collect();
    let table: Vec<(&str, String, &[u16])> = vec![
        ("as it should be", own("Connection: close\r\n"), &[200]),
        ("no host", get(&auth), &[400]),
        ("two hosts", own("Host: box\r\n"), &[400]),
        ("HTTP/1.0", own("").replace("HTTP/1.1", "HTTP/1.0"), &[505]),
        ("HTTP/1.2", own("").replace("HTTP/1.1", "HTTP/1.2"), &[400]),
        ("HTTP/2 in plain words", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[]),
        ("HTTP/0.9", "GET /\r\n".into(), &[400]),
        ("absolute form", own("Connection: close\r\n").replace(" /v1", " https://other/v1"), &[200]),
        (
            "authority form",
            own("Connection: close\r\n").replace("GET /v1/datasets", "CONNECT box:443"),
            &[404],
        ),
        ("asterisk form", own("Connection: close\r\n").replace("GET /v1/datasets", "OPTIONS *"), &[404]),
        ("a method that is none", own("").replace("GET", "G@T("), &[400]),
        ("a method in lower case", own("Connection: close\r\n").replace("GET", "get"), &[405]),
        ("two spaces", own("").replace("GET /", "GET  /"), &[400]),
        ("a tab", own("").replace("GET /", "GET\t/"), &[400]),
        ("NUL in the address", own("").replace("datasets", "data\0sets"), &[400]),
        ("a folded header", own("X-A: 1\r\n folded\r\n"), &[400]),
        ("a space before the colon", own("X-A : 1\r\n"), &[400]),
        ("a header without a colon", own("X-A\r\n"), &[400]),
        ("a header without a name", own(": 1\r\n"), &[400]),
        ("NUL in a header", own("X-A: a\0b\r\n"), &[400]),
        ("CR in a header", own("X-A: a\rb\r\n"), &[400]),
        ("too many headers", own(&many), &[431]),
        ("a header too long", own(&format!("X-A: {}\r\n", "a".repeat(20_000))), &[431]),
        ("headers without end", own(&format!("X-A: {}", "a".repeat(200_000))), &[431]),
        ("an address too long", own("").replace("datasets", &"a".repeat(70_000)), &[431]),
        ("two lengths", put("Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), &[400]),
        ("two lengths in one", put("Content-Length: 1, 2\r\n\r\nxx"), &[400]),
        ("a signed length", put("Content-Length: +1\r\n\r\nx"), &[400]),
        ("a length in hex", put("Content-Length: 0x1\r\n\r\nx"), &[400]),
        ("a coding that is not the last", put("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), &[400]),
        (
            "a coding in two lines",
            put("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            &[501],
        ),
        ("a chunk without a length", put("Transfer-Encoding: chunked\r\n\r\nx\r\n"), &[400]),
        (
            "a chunk longer than it says",
            put("Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n"),
            &[400],
        ),
        ("a length that wraps", put("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"), &[400]),
        (
            "an endless extension",
            put(&format!("Transfer-Encoding: chunked\r\n\r\n1;{}", "a".repeat(100_000))),
            &[400],
        ),
        (
            "endless trailers",
            put(&format!("Transfer-Encoding: chunked\r\n\r\n0\r\nX: {}", "a".repeat(100_000))),
            &[400],
        ),
        // One reading: the chunks count, the length beside them does not, and what follows is not looked at any more.
        (
            "chunked first",
            put(&format!(
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n{second}"
            )),
            &[201],
        ),
        (
            "length first",
            put(&format!(
                "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n{second}"
            )),
            &[201],
        ),
        ("one after the other", format!("{}{second}", own("")), &[200, 200]),
    ];
    for (what, bytes, expected) in &table {
        let answers = raw(&it, bytes.as_bytes());
        assert_eq!(statuses(&answers), *expected, "{what}: {answers}");
    }
    let sizes = it.json(&["snapshots"])["snapshots"].as_array().expect("a list").clone();
    assert!(sizes.len() == 2 && sizes.iter().all(|kept| kept["size"] == 1), "{sizes:?}");
    eprintln!("{} requests", table.len());
    assert!(!it.log().contains("panicked"));
}

#[test]
fn only_http_1_1_is_agreed_on() {
    let it = TestBox::new(1);
    let agreed = |alpn: &[&[u8]]| {
        let mut tls =
            it.tls_over(TcpStream::connect(it.address()).expect("connected"), alpn).expect("configured");
        let done = tls.conn.complete_io(&mut tls.sock).is_ok();
        (done, tls.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&[b"h2", b"http/1.1"]), (true, Some(b"http/1.1".to_vec())));
    assert_eq!(agreed(&[]), (true, None));
    assert!(!agreed(&[b"h2"]).0);
    // Who offers 1.0 only is let in, to be told so with a sentence.
    assert_eq!(agreed(&[b"http/1.0"]), (true, Some(b"http/1.0".to_vec())));
    for args in [&["-0"][..], &["-0", "-I"]] {
        let got = it.curl("", "/", args, b"");
        assert_eq!((got.status, got.curl), (505, 0), "{args:?}");
    }
    let got = it.curl("", "/v1/datasets/x", &["-0", "-T", &common::file(&it.path("x"), b"x")], b"");
    assert_eq!((got.status, got.class().as_str()), (505, "misuse"));
    assert!(got.text().contains("HTTP/1.1 only"), "{}", got.text());
}

#[test]
fn each_write_has_its_line_and_no_secret_is_told() {
    let it = TestBox::new(1);
    let (pc, eve) = (it.client("pc", &[]), it.client("eve", &[]));
    let bytes = noise(100, 1);
    let file = format!("/pc/work/data/{}", name_of(&bytes));
    let lock = format!("/pc/work/locks/{}", name_of(&bytes));
    let wrong = format!("/pc/work/data/{}", "ab".repeat(32));
    let digest = "Repr-Digest: sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:\r\n";
    let some = Some(&bytes[..]);
    /// Verb, address, header, body, status, outcome.
    type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a [u8]>, u16, &'a str);
    let table: [Row<'_>; 17] = [
        ("PUT", "/v1/datasets/a", "", some, 201, "kept"),
        ("PUT", "/v1/datasets/Bad", "", some, 400, "misuse"),
        ("PUT", "/v1/datasets/a", "Content-Encoding: gzip\r\n", some, 415, "misuse"),
        ("PUT", "/v1/datasets/a", digest, some, 400, "misuse"),
        ("POST", "/pc/work/?create=true", "", Some(b""), 200, "done"),
        ("POST", "/pc/work/", "", Some(b""), 400, "misuse"),
        ("POST", "/pc/work/config", "", some, 200, "kept"),
        ("POST", "/pc/work/config", "", some, 200, "done"),
        ("POST", "/pc/work/config", "", Some(b"another"), 403, "refused"),
        ("POST", &file, "", some, 200, "kept"),
        ("POST", &file, "", some, 200, "done"),
        ("POST", &wrong, "", some, 400, "misuse"),
        ("POST", "/pc/none/config", "", some, 404, "absent"),
        ("POST", &lock, "", some, 200, "kept"),
        ("DELETE", &lock, "", None, 200, "done"),
        ("DELETE", &file, "", None, 403, "refused"),
        ("DELETE", "/pc/work/", "", None, 403, "refused"),
    ];
    let mut wire = Wire::new(&it);
    let mut answers = String::new();
    for (method, path, headers, body, status, outcome) in table {
        let said = wire.ask(&pc, method, path, headers, body);
        assert_eq!(said.status, status, "{method} {path}: {}", said.text());
        let id = said.header("x-request-id").expect("an id").to_owned();
        let log = it.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("audit") && line.contains(&id)).collect();
        let [line] = lines[..] else { panic!("{method} {path}: {} lines", lines.len()) };
        for part in
            ["client=pc", &format!("verb=\"{method}\""), &format!("outcome=\"{outcome}\""), "peer=127.0.0.1"]
        {
            assert!(plain(line).contains(part), "{part} in {line}");
        }
        answers += &format!("{}\n{}\n", said.head, said.text());
    }
    // A client that dies in mid-body has its line, too.
    let before = plain(&it.log()).matches("verb=\"PUT\"").count();
    wire.close();
    wire.send(&request(&pc, "PUT", "/v1/datasets/a", "Content-Length: 10\r\n", None));
    wire.send(b"half");
    wire.close();
    let told = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        plain(&it.log()).matches("verb=\"PUT\"").count() > before
    });
    assert!(told, "a line for what was cut off");
    let secrets: Vec<&str> = [&pc, &eve].map(|user| user.split_once(':').expect("a pair").1).to_vec();
    for (user, path) in [
        (format!("pc:{}", secrets[1]), "/v1/datasets"),
        (format!("{}:pc", secrets[0]), "/pc/work/config"),
        (eve.clone(), "/pc/"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let said = wire.ask(&user, method, path, "", Some(b""));
            answers += &format!("{}\n{}\n", said.head, said.text());
        }
    }
    let log = it.log();
    assert!(log.contains("TRACE"), "the log has all there is");
    let encoded =
        [&pc, &eve].map(|user| authorization(user).trim().rsplit(' ').next().unwrap_or_default().to_owned());
    for text in [&log, &answers] {
        let lower = text.to_lowercase();
        assert!(!secrets.iter().any(|secret| lower.contains(secret)), "a secret was told");
        assert!(
            !encoded.iter().any(|header| text.contains(header) || lower.contains(&header.to_lowercase())),
            "a header was told"
        );
        assert!(!lower.contains("authorization: basic"), "a header was told");
    }
}

/// A line of the log without colours.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.split('\u{1b}');
    out += rest.next().unwrap_or_default();
    rest.for_each(|part| out += part.split_once('m').map_or(part, |(_, text)| text));
    out
}
