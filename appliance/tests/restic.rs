//! The restic door to the letter: every case of `docs/restic.md`, by curl and by hand against the real daemon.

mod common;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Got, TestBox, noise};
use serde_json::{Value, json};
use std::io::{Read, Write};

const MIB: usize = 1024 * 1024;
const V2: &str = "Accept: application/vnd.x.restic.rest.v2";
const KINDS: [&str; 5] = ["data", "keys", "locks", "snapshots", "index"];

/// A box, a client of it and its repository `/pc/work/`.
struct Repo {
    it: TestBox,
    pc: String,
}

impl Repo {
    fn new(disks: usize) -> Self {
        Self::with_client(disks, &[])
    }

    fn with_client(disks: usize, options: &[&str]) -> Self {
        let it = TestBox::new(disks);
        let pc = it.client("pc", options);
        let made = Self { it, pc };
        assert_eq!(made.create("/pc/work/").status, 200);
        made
    }

    fn create(&self, path: &str) -> Got {
        self.call(&format!("{path}?create=true"), &["-X", "POST", "-H", "Content-Length: 0"], b"")
    }

    fn call(&self, path: &str, args: &[&str], input: &[u8]) -> Got {
        self.it.curl(&self.pc, path, args, input)
    }

    /// A body of a known length.
    fn post(&self, place: &str, body: &[u8]) -> Got {
        self.call(
            &format!("/pc/work/{place}"),
            &["-X", "POST", "-H", "Content-Type: application/octet-stream", "--data-binary", "@-"],
            body,
        )
    }

    /// A body of a length that nobody knows beforehand.
    fn post_chunked(&self, place: &str, body: &[u8]) -> Got {
        self.call(&format!("/pc/work/{place}"), &["-X", "POST", "-T", "-"], body)
    }

    fn get(&self, place: &str) -> Got {
        self.call(&format!("/pc/work/{place}"), &[], b"")
    }

    fn head(&self, place: &str) -> Got {
        self.call(&format!("/pc/work/{place}"), &["-I"], b"")
    }

    fn delete(&self, place: &str) -> Got {
        self.call(&format!("/pc/work/{place}"), &["-X", "DELETE"], b"")
    }

    fn list(&self, kind: &str) -> Vec<(String, u64)> {
        let got = self.call(&format!("/pc/work/{kind}/"), &["-H", V2], b"");
        assert_eq!(got.status, 200, "{}", got.text());
        let entry =
            |e: &Value| (e["name"].as_str().expect("a name").to_owned(), e["size"].as_u64().expect("a size"));
        got.json().as_array().expect("a list").iter().map(entry).collect()
    }

    /// Keeps a file of this kind; gives its place.
    fn keep(&self, kind: &str, body: &[u8]) -> String {
        let place = format!("{kind}/{}", sha256(body));
        let got = self.post(&place, body);
        assert_eq!(got.status, 200, "{}", got.text());
        place
    }

    fn figures(&self) -> Value {
        self.it.json(&["repo", "list"])["repositories"][0].clone()
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[test]
fn a_repository_is_made_once_and_again() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let repo = Repo { it, pc };
    for kind in KINDS {
        assert_eq!(repo.call(&format!("/pc/work/{kind}/"), &[], b"").status, 404, "{kind} before it is made");
    }
    assert_eq!(repo.post("config", b"c").status, 404);
    for query in ["", "?create=false", "?created=true", "?create"] {
        let got = repo.call(&format!("/pc/work/{query}"), &["-X", "POST", "-H", "Content-Length: 0"], b"");
        assert_eq!((got.status, got.class().as_str()), (400, "misuse"), "{query}");
    }
    // As restic 0.14 asks, and as restic 0.19 does: chunked, with no bytes.
    assert_eq!(repo.create("/pc/work/").status, 200);
    for path in ["/pc/work/", "/pc/work", "/pc/other/", "/pc/"] {
        let got = repo.call(&format!("{path}?create=true"), &["-X", "POST", "-T", "-"], b"");
        assert_eq!((got.status, got.body.len()), (200, 0), "{path}: {}", got.text());
    }
    let made = repo.it.json(&["repo", "list"])["repositories"].as_array().map(|all| {
        all.iter().map(|r| r["repository"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(made, Some(vec!["pc/default".into(), "pc/other".into(), "pc/work".into()]));
    for kind in KINDS {
        let got = repo.get(&format!("{kind}/"));
        assert_eq!((got.status, got.text().as_str()), (200, "[]"));
    }
}

#[test]
fn there_is_one_config() {
    let repo = Repo::new(2);
    assert_eq!((repo.head("config").status, repo.get("config").status), (404, 404));
    assert_eq!(repo.post("config", b"the config").status, 200);
    assert_eq!(repo.post("config", b"the config").status, 200, "the same again");
    let other = repo.post("config", b"another one");
    assert_eq!((other.status, other.class().as_str()), (403, "refused"));
    let head = repo.head("config");
    assert!(head.status == 200 && head.headers.contains("content-length: 10\r\n"), "{}", head.headers);
    let got = repo.call("/pc/work/config", &["-H", "Range: bytes=0-"], b"");
    assert!(matches!(got.status, 200 | 206) && got.body == b"the config");
    assert_eq!(repo.get("config").body, b"the config");
    assert_eq!((repo.delete("config").status, repo.get("config/").status), (403, 404));
}

#[test]
fn files_come_back_whole_and_in_ranges() {
    let repo = Repo::new(3);
    let bodies = [noise(5 * MIB + 3, 1), noise(100, 2), Vec::new(), noise(70_000, 3)];
    for (n, body) in bodies.iter().enumerate() {
        let place = format!("{}/{}", KINDS[n], sha256(body));
        let got = if n % 2 == 0 { repo.post(&place, body) } else { repo.post_chunked(&place, body) };
        assert_eq!((got.curl, got.status, got.body.len()), (0, 200, 0), "{}", got.text());
        let head = repo.head(&place);
        assert!(head.headers.contains(&format!("content-length: {}\r\n", body.len())), "{}", head.headers);
        let got = repo.get(&place);
        assert!(got.status == 200 && got.body == *body && got.headers.contains("accept-ranges: bytes"));
    }
    let (body, size) = (&bodies[0], bodies[0].len());
    let place = format!("/pc/work/data/{}", sha256(body));
    let parts =
        [("0-0", 0, 1), ("7-", 7, size), ("-9", size - 9, size), ("2000000-99999999999", 2_000_000, size)];
    for (range, start, end) in parts {
        let got = repo.call(&place, &["-r", range], b"");
        assert!(got.status == 206 && got.body == body[start..end], "{range}");
        assert!(got.headers.contains(&format!("content-range: bytes {start}-{}/{size}\r\n", end - 1)));
    }
    let beyond = repo.call(&place, &["-r", &format!("{size}-")], b"");
    assert!(beyond.status == 416 && beyond.headers.contains(&format!("content-range: bytes */{size}\r\n")));
    assert_eq!(repo.get(&format!("data/{}", "0".repeat(64))).status, 404);
    assert_eq!(repo.head(&format!("keys/{}", sha256(body))).status, 404, "another kind");
}

#[test]
fn lists_have_names_and_in_version_2_lengths() {
    let repo = Repo::new(1);
    let mut expected: Vec<(String, u64)> = (0..7)
        .map(|n| {
            let body = noise(1 + 10 * n, n as u64);
            repo.keep("index", &body);
            (sha256(&body), body.len() as u64)
        })
        .collect();
    expected.sort();
    assert_eq!(repo.list("index"), expected);
    let v2 = repo.call("/pc/work/index/", &["-H", V2], b"");
    assert!(v2.headers.contains("content-type: application/vnd.x.restic.rest.v2\r\n"), "{}", v2.headers);
    let v1 = repo.get("index/");
    assert!(v1.headers.contains("content-type: application/vnd.x.restic.rest.v1\r\n"), "{}", v1.headers);
    let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(v1.json(), json!(names));
    assert_eq!(repo.list("snapshots"), []);
    for absent in ["index", "packs/", "index/sub/", "config/"] {
        assert_eq!(repo.get(absent).status, 404, "{absent}");
    }
}

#[test]
fn the_same_again_is_drained_and_changes_nothing() {
    let repo = Repo::new(2);
    let body = noise(3 * MIB, 4);
    let place = repo.keep("data", &body);
    let before = repo.figures();
    for _ in 0..2 {
        let again = repo.post(&place, &body);
        assert_eq!((again.curl, again.status), (0, 200), "{}", again.text());
        assert_eq!(repo.post_chunked(&place, &body).status, 200);
    }
    // The name is there; other bytes under it are still told.
    let other = repo.post(&place, &noise(3 * MIB, 5));
    assert_eq!((other.status, other.class().as_str()), (400, "misuse"));
    assert_eq!(repo.figures(), before);
    assert!(repo.get(&place).body == body);
}

#[test]
fn what_is_not_what_its_name_says_is_not_kept() {
    let repo = Repo::new(2);
    let (body, name) = (noise(100_000, 6), sha256(&noise(99_999, 6)));
    for kind in KINDS {
        let small = if kind == "locks" { &body[..500] } else { &body[..] };
        let got = repo.post(&format!("{kind}/{name}"), small);
        assert_eq!((got.status, got.class().as_str()), (400, "misuse"), "{kind}");
        assert!(got.text().contains("SHA-256"), "{}", got.text());
        assert_eq!(repo.get(&format!("{kind}/{name}")).status, 404);
        assert_eq!(repo.list(kind), []);
    }
    let odd_names = ["data/abc", "data/..", "keys/%2e%2e", "locks/0", "snapshots/x/y", "data/é"];
    for odd in odd_names.map(str::to_owned).into_iter().chain([format!("data/{}", name.to_uppercase())]) {
        let got = repo.post(&odd, b"x");
        assert!(matches!(got.status, 400 | 404), "{odd}: {}", got.status);
    }
    assert_eq!(repo.figures()["files_count"], 0);
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let repo = Repo::new(1);
    let name = sha256(b"half");
    let head = |lengths: &str| {
        format!(
            "POST /pc/work/data/{name} HTTP/1.1\r\nHost: box\r\nAuthorization: Basic {}\r\n{lengths}\r\n\r\n",
            STANDARD.encode(&repo.pc)
        )
    };
    // The first four bytes are the very ones of the name: only the end is missing.
    for (lengths, body) in [
        ("Content-Length: 1000", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ("Content-Length: 5", "half"),
    ] {
        let mut tls = repo.it.tls();
        tls.write_all(head(lengths).as_bytes()).expect("sent");
        tls.write_all(body.as_bytes()).expect("sent");
        tls.conn.send_close_notify();
        tls.flush().expect("sent");
        tls.sock.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{lengths}");
    }
    assert_eq!((repo.list("data"), repo.get(&format!("data/{name}")).status), (vec![], 404));
    assert_eq!(repo.keep("data", b"half"), format!("data/{name}"));
}

#[test]
fn a_quota_ends_the_stream_with_507() {
    let repo = Repo::with_client(1, &["--quota", "2000000"]);
    let body = noise(3_000_000, 7);
    for got in [
        repo.post(&format!("data/{}", sha256(&body)), &body),
        repo.post_chunked(&format!("data/{}", sha256(&body)), &body),
    ] {
        assert_eq!((got.status, got.class().as_str()), (507, "full"), "{}", got.text());
    }
    assert_eq!(repo.list("data"), []);
    repo.keep("data", &body[..1_000_000]);
    // What is there may be sent again when nothing else fits.
    repo.keep("data", &body[..980_000]);
    assert_eq!(repo.post(&format!("data/{}", sha256(&body[..980_000])), &body[..980_000]).status, 200);
    // Each file is charged 4 KiB beside its bytes.
    let more = &body[..8_000];
    assert_eq!(repo.post(&format!("data/{}", sha256(more)), more).status, 507);
}

#[test]
fn locks_really_go_and_nothing_else_does() {
    let repo = Repo::new(2);
    let places = KINDS.map(|kind| repo.keep(kind, kind.as_bytes()));
    repo.post("config", b"c");
    for place in &places {
        let deleted = repo.delete(place);
        if place.starts_with("locks/") {
            assert_eq!((deleted.status, repo.get(place).status), (200, 404));
            assert_eq!(repo.delete(place).status, 200, "deleted already");
        } else {
            assert_eq!((deleted.status, deleted.class().as_str()), (403, "refused"), "{place}");
            assert_eq!(repo.get(place).status, 200);
        }
    }
    for place in ["", "config"] {
        assert_eq!(repo.delete(place).status, 403, "{place:?}");
    }
    assert_eq!(repo.delete(&format!("data/{}", "1".repeat(64))).status, 200, "not there is deleted");
    assert_eq!(repo.figures()["deleted_files_count"], 0);
    let long = noise(9_000, 8);
    let got = repo.post(&format!("locks/{}", sha256(&long)), &long);
    assert_eq!((got.status, got.class().as_str()), (507, "full"), "a lock is no way around a quota");
}

#[test]
fn a_recoverable_repository_hides_and_brings_back() {
    let mut repo = Repo::new(2);
    let set = repo.it.json(&["repo", "set", "pc/work", "--mode", "recoverable"]);
    assert_eq!(set["mode"], "recoverable");
    let (one, two) = (noise(200_000, 9), noise(300, 10));
    let (data, key) = (repo.keep("data", &one), repo.keep("keys", &two));
    for place in [&data, &key] {
        assert_eq!((repo.delete(place).status, repo.get(place).status), (200, 404));
        assert_eq!(repo.delete(place).status, 200);
    }
    assert_eq!((repo.list("data"), repo.list("keys")), (vec![], vec![]));
    let figures = repo.figures();
    assert_eq!((&figures["deleted_files_count"], &figures["deleted_bytes"]), (&json!(2), &json!(200_300)));
    assert!(figures["deleted_kept_until"].as_str() > figures["created_at"].as_str());
    // One of them comes again by itself; the journal knows all of it after a kill.
    assert_eq!(repo.keep("keys", &two), key);
    repo.it.stop("KILL");
    repo.it.start();
    let back = repo.it.json(&["repo", "restore", "pc/work"]);
    assert_eq!((&back["restored_files"], &back["deleted_files_count"]), (&json!(1), &json!(0)));
    assert!(repo.get(&data).body == one && repo.get(&key).body == two);
    repo.it.json(&["repo", "set", "pc/work", "--mode", "append-only"]);
    assert_eq!(repo.delete(&data).status, 403);
}

/// Whoever has a client's secret, and not the password of the repository, deletes its config and puts others in its place, again and again.
#[test]
fn an_exchanged_config_is_told_and_the_first_comes_back() {
    let mut repo = Repo::new(2);
    repo.post("config", b"the true one");
    let key = repo.keep("keys", b"the true key");
    repo.keep("snapshots", b"a snapshot");
    repo.it.json(&["repo", "set", "pc/work", "--mode", "recoverable"]);
    let light = |repo: &Repo| {
        let status = repo.it.json(&["status"]);
        (status["light"].as_str().expect("text").to_owned(), status["reasons"].to_string())
    };
    assert_eq!(light(&repo), ("green".into(), "[]".into()));
    assert_eq!(repo.delete("config").status, 200);
    assert!(light(&repo).1.contains("its config was deleted"), "{:?}", light(&repo));
    let mut refused = 0;
    for n in 0..40 {
        let said = repo.post("config", format!("junk {n}").as_bytes()).status;
        assert!(matches!(said, 200 | 507), "{said}");
        refused += u32::from(said == 507);
        if said == 200 && n < 18 {
            assert_eq!(repo.delete("config").status, 200);
        }
        if said == 507 || n < 18 {
            continue;
        }
        let (colour, why) = light(&repo);
        assert_eq!(colour, "amber");
        assert!(
            why.contains("its config was exchanged") && why.contains("coffre repo restore pc/work"),
            "{why}"
        );
        // Also when the journal is read again.
        repo.it.stop("KILL");
        repo.it.start();
        assert_eq!(light(&repo).0, "amber");
        assert!(repo.get("config").body.starts_with(b"junk"));
        assert_eq!(repo.it.json(&["repo", "restore", "pc/work"])["restored_files"], 1);
        assert_eq!(repo.get("config").body, b"the true one");
        assert_eq!(light(&repo).0, "green");
        assert_eq!(repo.delete("config").status, 200);
    }
    assert!(refused > 15, "junk has a ceiling");
    // What was refused is told for a day, and is no word about the config.
    let nothing_exchanged = |repo: &Repo| {
        let why = light(repo).1;
        assert!(why.contains("were refused in the last 24 hours"), "{why}");
        assert!(!why.contains("its config was") && !why.contains("all its keys were"), "{why}");
        assert_eq!(repo.it.json(&["status"])["reasons"].as_array().map(Vec::len), Some(1), "{why}");
    };
    repo.it.json(&["repo", "restore", "pc/work"]);
    assert_eq!(repo.get("config").body, b"the true one");
    // The true one comes from its client.
    repo.delete("config");
    assert_eq!(repo.post("config", b"the true one").status, 200, "it is no other one");
    nothing_exchanged(&repo);
    // All keys deleted; then another one in their place; then the true one again.
    assert_eq!(repo.delete(&key).status, 200);
    assert!(light(&repo).1.contains("all its keys were deleted"), "{:?}", light(&repo));
    repo.keep("keys", b"a key of somebody else");
    assert!(light(&repo).1.contains("others put in their place"), "{:?}", light(&repo));
    repo.it.json(&["repo", "restore", "pc/work"]);
    nothing_exchanged(&repo);
    assert_eq!(repo.get(&key).body, b"the true key");
}

/// `restic migrate` exchanges the config, and a new password the key: who looks after the box says that this is right.
#[test]
fn another_config_and_other_keys_are_confirmed() {
    let mut repo = Repo::new(1);
    repo.post("config", b"version 1");
    let key = repo.keep("keys", b"the first key");
    repo.it.json(&["repo", "set", "pc/work", "--mode", "recoverable"]);
    for place in ["config", &key] {
        assert_eq!(repo.delete(place).status, 200);
    }
    repo.post("config", b"version 2");
    let new_key = repo.keep("keys", b"the second key");
    let reasons = |repo: &Repo| repo.it.json(&["status"])["reasons"].to_string();
    assert!(reasons(&repo).contains("pc/work"), "{}", reasons(&repo));
    assert_eq!(repo.it.json(&["repo", "set", "pc/work", "--confirm"])["mode"], "recoverable");
    assert!(!reasons(&repo).contains("pc/work"), "{}", reasons(&repo));
    // From now on these are the right ones, also for who exchanges them later.
    for place in ["config", &new_key] {
        assert_eq!(repo.delete(place).status, 200);
    }
    repo.post("config", b"junk");
    repo.it.stop("KILL");
    repo.it.start();
    assert!(reasons(&repo).contains("its config was exchanged"), "{}", reasons(&repo));
    repo.it.json(&["repo", "restore", "pc/work"]);
    assert!(repo.get("config").body == b"version 2" && repo.get(&new_key).body == b"the second key");
    assert!(!reasons(&repo).contains("pc/work"), "{}", reasons(&repo));
    assert_eq!(repo.it.coffre(&["repo", "set", "pc/work"]).status.code(), Some(2));
}

#[test]
fn a_removed_repository_is_not_there_and_can_come_back() {
    let repo = Repo::new(1);
    let body = noise(70_000, 11);
    repo.post("config", b"the config");
    let data = repo.keep("data", &body);
    let gone = repo.it.json(&["repo", "remove", "pc/work"]);
    assert_eq!((&gone["removed"], &gone["deleted_files_count"]), (&json!(true), &json!(2)));
    for place in ["config", "data/", &data] {
        assert_eq!(repo.get(place).status, 404, "{place}");
    }
    assert_eq!(repo.post(&data, &body).status, 404);
    assert_eq!(repo.it.json(&["repo", "restore", "pc/work"])["restored_files"], 2);
    assert!(repo.get(&data).body == body && repo.get("config").body == b"the config");
    for command in [vec!["repo", "remove", "pc/none"], vec!["repo", "restore", "pc/none"]] {
        assert_eq!(repo.it.coffre(&command).status.code(), Some(4), "{command:?}");
    }
    assert_eq!(repo.it.coffre(&["repo", "set", "pc/work", "--mode", "anything"]).status.code(), Some(2));
}

#[test]
fn a_client_is_kept_to_its_own_folder() {
    let repo = Repo::new(1);
    let data = repo.keep("data", b"of pc");
    let mac = repo.it.client("mac", &[]);
    let as_mac = |path: &str, args: &[&str]| repo.it.curl(&mac, path, args, b"");
    // What is somebody else's and what is nobody's look the same.
    for path in
        [format!("/pc/work/{data}"), "/pc/work/config".into(), "/nobody/work/config".into(), "/pc/".into()]
    {
        let (there, text) = (as_mac(&path, &[]), as_mac("/nobody/work/config", &[]).text());
        assert_eq!((there.status, there.text()), (403, text), "{path}");
        assert_eq!(as_mac(&path, &["-X", "DELETE"]).status, 403);
        assert_eq!(
            as_mac(&format!("{path}?create=true"), &["-X", "POST", "-H", "Content-Length: 0"]).status,
            403
        );
    }
    let nobody = repo.it.curl("", &format!("/pc/work/{data}"), &[], b"");
    assert!(
        nobody.status == 401 && nobody.headers.contains("www-authenticate: basic realm="),
        "{}",
        nobody.headers
    );
    let wrong = repo.it.curl("pc:wrong-secret", &format!("/pc/work/{data}"), &[], b"");
    assert_eq!(wrong.status, 401);
    for got in [&nobody, &wrong] {
        let all = format!("{}{}", got.headers, got.text());
        assert!(!all.contains("wrong-secret") && !all.contains("authorization"), "{all}");
    }
    let secret = repo.pc.split_once(':').expect("a secret").1;
    let log = repo.it.log();
    assert!(!log.contains(secret) && !log.contains(&STANDARD.encode(&repo.pc)), "a secret in the log");
}

#[test]
fn other_methods_are_told_which_there_are() {
    let repo = Repo::new(1);
    let data = repo.keep("data", b"x");
    for (place, method, allow) in [
        ("", "GET", "post"),
        ("data/", "POST", "get"),
        ("data/", "DELETE", "get"),
        ("config", "PUT", "get, head, post, delete"),
        (&data, "PATCH", "get, head, post, delete"),
    ] {
        let got = repo.call(&format!("/pc/work/{place}"), &["-X", method, "-H", "Content-Length: 0"], b"");
        assert_eq!(got.status, 405, "{method} {place}");
        assert!(got.headers.contains(&format!("allow: {allow}\r\n")), "{}", got.headers);
    }
}

#[test]
fn a_name_is_a_repository_or_a_data_set() {
    let repo = Repo::new(1);
    let as_data_set = repo.it.put(&repo.pc, "work", b"x");
    assert_eq!((as_data_set.status, as_data_set.class().as_str()), (400, "misuse"));
    assert_eq!(repo.it.put(&repo.pc, "docs", b"x").status, 201);
    let as_repo = repo.create("/pc/docs/");
    assert_eq!((as_repo.status, as_repo.class().as_str()), (400, "misuse"));
    for path in ["/pc/v1/", "/pc/Work/", "/pc/-/", "/pc/a.b/", &format!("/pc/{}/", "a".repeat(33))] {
        assert!(matches!(repo.create(path).status, 400 | 404), "{path}");
    }
}

/// With the restic of this machine: it shows of an answer its status line only.
#[test]
fn who_gives_a_repository_a_bad_name_reads_why() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let address = it.url().trim_start_matches("https://");
    let far = format!("/pc/{}/config", "A".repeat(80));
    for (path, why) in [
        (
            "/pc/PC-FATIMA/config",
            "lower-case letters, digits and hyphens, starting with a letter or digit, like pc-fatima",
        ),
        ("/pc/work/2026/config", "like work-2026"),
        ("/pc/Caf%C3%A9/config", "like caf-c3-a9"),
        (&far, "is not a valid name"),
    ] {
        let got = it.curl(&pc, path, &["-I"], b"");
        let line = got.headers.lines().next().expect("a status line");
        assert!(line.starts_with("http/1.1 400 bad request: ") && line.contains(why), "{line}");
        assert!(line.len() < 430, "{line}");
    }
    let log = it.log();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("answered") && line.contains("like pc-fatima")).collect();
    assert_eq!(told.len(), 1, "the log says why, once for each request");
    if std::process::Command::new("restic").arg("version").output().is_err() {
        return common::left_out("there is no restic on this machine");
    }
    let restic = |repository: &str, what: &str| {
        let mut command = std::process::Command::new("restic");
        command.args(["--no-cache", "--cacert"]).arg(it.path("ca.pem")).args([
            "-r",
            &format!("rest:https://{pc}@{address}{repository}"),
            what,
        ]);
        command.env("RESTIC_PASSWORD", "x").stdin(std::process::Stdio::null());
        let out = command.output().expect("restic");
        (out.status.success(), common::paired::said(&out))
    };
    for (repository, why) in [
        ("/pc/PC-FATIMA", "like pc-fatima"),
        ("/pc/srv01.example.com/", "like srv01-example-com"),
        ("/pc/my_repo", "like my-repo"),
        ("/pc/work/2026", "like work-2026"),
        ("/pc/Work/2026/", "like work"),
        ("/other/work", "the client's own name"),
        ("/Work", "begins with the name of its client"),
        ("", "begins with the name of its client"),
    ] {
        let (made, said) = restic(repository, "init");
        assert!(!made && said.contains(why), "{repository}: {said}");
    }
    let (opened, said) = restic("/pc/PC-FATIMA", "snapshots");
    assert!(!opened && said.contains("like pc-fatima"), "{said}");
    assert_eq!(it.json(&["repo", "list"])["repositories"], json!([]));
    for good in ["/pc", "/pc/", "/pc/pc-fatima"] {
        assert!(restic(good, if good == "/pc/" { "check" } else { "init" }).0, "{good}");
    }
}

/// `docs/restic.md`, the table of commands: what the restic of this machine does within seconds.
#[test]
fn the_commands_of_restic_do_what_the_paper_says() {
    if std::process::Command::new("restic").arg("version").output().is_err() {
        return common::left_out("there is no restic on this machine");
    }
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let cache = it.path("cache");
    let restic = |repo: &str, password: &str, words: &[&str]| {
        let mut command = std::process::Command::new("restic");
        let url = format!("rest:https://{pc}@{}/pc/{repo}", it.url().trim_start_matches("https://"));
        command.args(["-r", &url, "--cacert"]).arg(it.path("ca.pem")).args(words);
        command
            .env("RESTIC_PASSWORD", password)
            .env("RESTIC_CACHE_DIR", &cache)
            .stdin(std::process::Stdio::null());
        let out = command.output().expect("restic");
        (out.status.success(), common::paired::said(&out))
    };
    let done = |repo: &str, words: &[&str]| {
        let (ended, said) = restic(repo, "old", words);
        assert!(ended, "{repo} {words:?}: {said}");
        said
    };
    let books = common::file(&it.path("books"), &noise(100_000, 1));
    let new_password = common::file(&it.path("new"), b"new");
    for repo in ["one", "two"] {
        done(repo, &["init"]);
        done(repo, &["backup", &books]);
        done(repo, &["unlock", "--remove-all"]);
        done(repo, &["check"]);
    }
    done("one", &["prune"]);
    done("one", &["key", "add", "--new-password-file", &new_password]);
    assert!(restic("one", "new", &["snapshots"]).0 && restic("one", "old", &["snapshots"]).0);

    it.json(&["repo", "set", "pc/two", "--mode", "recoverable"]);
    done("two", &["tag", "--add", "office", "latest"]);
    let said = done("two", &["snapshots"]);
    assert!(said.contains("office") && said.contains("1 snapshots"), "{said}");
    done("two", &["key", "passwd", "--new-password-file", &new_password]);
    assert!(restic("two", "new", &["check"]).0 && !restic("two", "old", &["snapshots"]).0);
    it.json(&["repo", "restore", "pc/two"]);
    assert!(restic("two", "old", &["snapshots"]).0, "a key that was brought back opens again");

    // Two init at once: one config and two keys, made here one after the other.
    done("three", &["init"]);
    done("other", &["init"]);
    let key = |repo: &str| {
        let listed = it.curl(&pc, &format!("/pc/{repo}/keys/"), &["-H", V2], b"").json();
        listed[0]["name"].as_str().expect("a key").to_owned()
    };
    let (right, wrong) = (key("three"), key("other"));
    let bytes = it.get(&pc, &format!("/pc/other/keys/{wrong}")).body;
    let config = it.get(&pc, "/pc/other/config").body;
    for (place, body, status) in [(format!("keys/{wrong}"), bytes, 200), ("config".to_owned(), config, 403)] {
        let got = it.curl(&pc, &format!("/pc/three/{place}"), &["-X", "POST", "--data-binary", "@-"], &body);
        assert_eq!(got.status, status, "{}", got.text());
    }
    let (ended, said) = restic("three", "old", &["--key-hint", &wrong, "snapshots"]);
    assert!(!ended && said.contains("damaged"), "{said}");
    done("three", &["--key-hint", &right, "backup", &books]);
    it.json(&["repo", "set", "pc/three", "--mode", "recoverable"]);
    done("three", &["--key-hint", &right, "key", "remove", &wrong]);
    done("three", &["check"]);
}

#[test]
fn disks_go_and_the_daemon_is_killed_and_all_is_there() {
    let mut repo = Repo::new(6);
    let bodies: Vec<Vec<u8>> = (0..6).map(|n| noise(400_000 + n * 300_000, 20 + n as u64)).collect();
    let places: Vec<String> = bodies.iter().map(|body| repo.keep("data", body)).collect();
    repo.it.stop("KILL");
    for n in [1, 4] {
        std::fs::rename(repo.it.path(&format!("disk{n}")), repo.it.path(&format!("away{n}"))).expect("moved");
    }
    repo.it.start();
    for (place, body) in places.iter().zip(&bodies) {
        assert!(repo.get(place).body == *body, "{place}");
    }
    let more = noise(2 * MIB, 30);
    let place = repo.keep("data", &more);
    assert!(repo.get(&place).body == more);
    assert_eq!(repo.list("data").len(), 7);
}
