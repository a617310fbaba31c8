//! A client's secret in the wrong hands: sequences of requests, drawn from seeds, against both doors of the real daemon.
//!
//! Before it, between its quarters and after it the owner's control socket is asked for the set (object, root, lock). It must
//! not have shrunk, no lock may end earlier, and every byte that was acknowledged must come back. `COFFRE_ATTACKS` says how
//! many sequences (2,000), `COFFRE_ATTACK_SEED` plays the sequence of one seed alone.

mod common;

use common::wire::{Said, Wire, request};
use common::{TestBox, noise};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the owner sees of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    root: String,
    locked_until: String,
}

/// Object ids with their roots and locks.
type Set = BTreeMap<String, Held>;

/// Dice: a small generator (splitmix64) whose whole life follows from its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = *self.pick(&[0, 1, 60, 700, 5_000, 70_000]);
        noise(len, self.next())
    }
}

fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// The set as the owner's control socket tells it. `locks` are no promise: their client may delete them.
fn set_of(it: &TestBox, repos: &[&str], with_locks: bool) -> Set {
    let mut set = Set::new();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    for snapshot in it.json(&["snapshots"])["snapshots"].as_array().expect("a list") {
        let held = Held { root: text(&snapshot["hash"]), locked_until: text(&snapshot["locked_until"]) };
        set.insert(text(&snapshot["id"]), held);
    }
    for repo in repos {
        for file in it.json(&["repo", "files", repo])["files"].as_array().expect("a list") {
            let held = Held { root: text(&file["name"]), locked_until: text(&file["locked_until"]) };
            if with_locks || file["kind"] != "locks" {
                set.insert(text(&file["id"]), held);
            }
        }
    }
    set
}

/// What is wrong with `after`, if it was `before` and nothing may shrink.
fn shrunk(before: &Set, after: &Set) -> Vec<String> {
    let wrong = |(id, was): (&String, &Held)| match after.get(id) {
        None => Some(format!("{id} is gone")),
        Some(is) if is.root != was.root => Some(format!("{id} has another root")),
        // RFC 3339 in UTC, of one length: the order of the text is that of time.
        Some(is) if is.locked_until < was.locked_until => Some(format!("{id} is locked for a shorter time")),
        Some(_) => None,
    };
    before.iter().filter_map(wrong).collect()
}

#[test]
fn the_check_sees_what_it_is_for() {
    let held = |root: &str, until: &str| Held {
        root: root.into(),
        locked_until: format!("2026-12-{until}T00:00:00Z"),
    };
    let before = Set::from([("a".into(), held("1", "10")), ("b".into(), held("2", "10"))]);
    assert_eq!(shrunk(&before, &before), Vec::<String>::new());
    let grown = Set::from([
        ("a".into(), held("1", "11")),
        ("b".into(), held("2", "10")),
        ("c".into(), held("3", "01")),
    ]);
    assert_eq!(shrunk(&before, &grown), Vec::<String>::new());
    for (change, says) in
        [(None, "gone"), (Some(held("9", "10")), "root"), (Some(held("1", "09")), "shorter")]
    {
        let mut after = before.clone();
        match change {
            None => drop(after.remove("a")),
            Some(held) => drop(after.insert("a".into(), held)),
        }
        let said = shrunk(&before, &after);
        assert!(said.len() == 1 && said[0].starts_with("a ") && said[0].contains(says), "{said:?}");
    }
}

/// What was acknowledged: where it is read, and its bytes.
type Acknowledged = Vec<(String, Vec<u8>)>;

/// A sequence under way.
struct Attack<'a> {
    wire: Wire<'a>,
    user: &'a str,
    dice: Dice,
    kept: Acknowledged,
    /// Requests sent.
    sent: u64,
}

const VICTIMS: [&str; 3] = ["eve/home", "ali/home", "eve/box"];

impl<'a> Attack<'a> {
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Said {
        self.sent += 1;
        self.wire.ask(self.user, method, path, headers, body)
    }

    /// A request that may be no request: the answer is what it is, but for one that says that something was kept.
    fn throw(&mut self, raw: &[u8]) -> Option<Said> {
        self.sent += 1;
        let said = self.wire.say(raw, false);
        self.wire.close();
        said
    }

    /// An honest write, which will be attacked.
    fn plant(&mut self) -> (String, Vec<u8>) {
        let bytes = self.dice.bytes();
        if self.dice.below(2) == 0 {
            let set = *self.dice.pick(&["a", "b", "mail"]);
            let said = self.ask("PUT", &format!("/v1/datasets/{set}"), "", Some(&bytes));
            assert_eq!(said.status, 201, "{}", said.text());
            let json: Value = serde_json::from_slice(&said.body).expect("a receipt");
            let id = json["id"].as_str().expect("an id");
            self.kept.push((format!("/v1/datasets/{set}/snapshots/{id}"), bytes));
        } else {
            let kind = *self.dice.pick(&["data", "keys", "snapshots", "index"]);
            let path = format!("/eve/home/{kind}/{}", name_of(&bytes));
            let said = self.ask("POST", &path, "", Some(&bytes));
            assert_eq!(said.status, 200, "{}", said.text());
            self.kept.push((path, bytes));
        }
        self.kept.last().cloned().expect("one")
    }

    fn strike(&mut self, at: &str, bytes: &[u8]) {
        match self.dice.below(9) {
            0 => self.overwrite(at, bytes),
            1 => self.delete(at),
            2 => self.lie(at),
            3 => self.cut(at),
            4 => self.read(at, bytes),
            5 => self.tricks(at),
            6 => self.forge(at),
            7 => self.locks(),
            _ => drop(self.plant()),
        }
    }

    fn overwrite(&mut self, at: &str, bytes: &[u8]) {
        let other = noise(bytes.len() + 1, self.dice.next());
        let config = *self.dice.pick(&["/eve/home/config", "/eve/box/config", "/ali/home/config"]);
        match self.dice.below(4) {
            0 => {
                // One longer than a config ever is hears that it is too long, where its client may write at all.
                let too_long = other.len() > 64 * 1024 && config.starts_with("/eve/");
                let expected = if too_long { 507 } else { 403 };
                assert_eq!(self.ask("POST", config, "", Some(&other)).status, expected, "{config}");
            }
            1 => {
                let said = self.ask("POST", at, "", Some(&other));
                assert!(matches!(said.status, 400 | 405), "{}", said.status);
            }
            2 => assert_eq!(self.ask("PUT", at, "", Some(&other)).status, 405),
            _ => {
                let expected = if at.starts_with("/v1") { 405 } else { 200 };
                assert_eq!(self.ask("POST", at, "", Some(bytes)).status, expected, "the same again");
            }
        }
    }

    fn delete(&mut self, at: &str) {
        let whole = [
            "/eve/home/",
            "/eve/home",
            "/eve/",
            "/ali/home/",
            "/eve/home/config",
            "/v1/datasets/a",
            "/v1/datasets",
            "/v1/dav/a",
            "/v1/dav/",
            "/",
        ];
        let path = if self.dice.below(2) == 0 { at } else { *self.dice.pick(&whole) };
        let verb =
            *self.dice.pick(&["DELETE", "PATCH", "MOVE", "COPY", "PURGE", "LOCK", "PROPPATCH", "MKCOL"]);
        let said = self.ask(verb, path, "Destination: /eve/home/x\r\nOverwrite: T\r\n", None);
        assert!(matches!(said.status, 403..=405), "{verb} {path}: {}", said.status);
    }

    fn lie(&mut self, at: &str) {
        let bytes = self.dice.bytes();
        let digest = "Repr-Digest: sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:\r\n";
        let wrong = format!("/eve/home/data/{}", name_of(&[&bytes[..], b"x"].concat()));
        let said = match self.dice.below(4) {
            0 => self.ask("POST", &wrong, "", Some(&bytes)),
            1 => self.ask("PUT", "/v1/datasets/a", digest, Some(&bytes)),
            2 => self.ask("PUT", "/v1/datasets/a", "Content-Range: bytes 0-1/2\r\n", Some(&bytes)),
            _ => self.ask("PUT", &at.replace("/snapshots/", "/"), "Content-Encoding: gzip\r\n", Some(&bytes)),
        };
        assert!(matches!(said.status, 400 | 403..=405 | 415), "{}", said.status);
    }

    fn cut(&mut self, at: &str) {
        let path = *self.dice.pick(&["/v1/datasets/a", "/eve/home/config", "/eve/home/data/xx", at]);
        let method = if path.starts_with("/v1") { "PUT" } else { "POST" };
        let head = String::from_utf8(request(self.user, method, path, "@", None)).expect("text");
        let framing = match self.dice.below(6) {
            0 => "Content-Length: 1000\r\n",
            1 => "Transfer-Encoding: chunked\r\n",
            2 => "Content-Length: 18446744073709551615\r\n",
            3 => "Content-Length: 5\r\nContent-Length: 6\r\n",
            4 => "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            _ => "Content-Length: 99999999999999999\r\n",
        };
        let tail = *self.dice.pick(&[
            "",
            "abc",
            "5\r\nhello\r\n",
            "5\r\nhel",
            "FFFFFFFFFFFFFFFFF\r\n",
            "-1\r\n",
            "0\r\nX: y\r\n",
            "zz\r\n",
        ]);
        let raw = format!("{}{tail}", head.replace('@', framing));
        self.sent += 1;
        self.wire.close();
        self.wire.send(raw.as_bytes());
        self.wire.hang_up();
        let said = self.wire.hear(false);
        self.wire.close();
        let kept = said.as_ref().is_some_and(|said| said.status / 100 == 2);
        assert!(!kept, "{raw}: {said:?}");
    }

    fn read(&mut self, at: &str, bytes: &[u8]) {
        let ranges = [
            "bytes=0-",
            "bytes=-1",
            "bytes=5-2",
            "bytes=99999999999-",
            "bytes=0-0,1-1",
            "bytes=-99999999999999999999",
            "x",
        ];
        let range = format!("Range: {}\r\n", self.dice.pick(&ranges));
        let said = self.ask("GET", at, &range, None);
        match said.status {
            200 => assert!(said.body == bytes),
            206 => {
                let span = said
                    .header("content-range")
                    .and_then(|text| text.strip_prefix("bytes "))
                    .expect("a range");
                let (first, _) = span.split_once('-').expect("a range");
                let first: usize = first.parse().expect("a number");
                assert!(said.body == bytes[first..first + said.body.len()]);
            }
            status => assert_eq!(status, 416),
        }
    }

    fn tricks(&mut self, at: &str) {
        let paths = [
            "/eve/../ali/home/config",
            "/eve/%2e%2e/ali/home/config",
            "//ali/home/config",
            "/ali/home/config",
            "/ali%2fhome/config",
            "/eve/home/..%2f..%2fali%2fhome/config",
            "/v1/datasets/../../ali/home/data/",
            "/v1/dav/../../ali/home/config",
            "/v1/dav/a/../b",
            "/v1/datasets/%61li/snapshots",
            "/v1/datasets/a%00b/snapshots/latest",
            "/eve/home/data/%00",
            "/\u{e9}v\u{e9}/home/config",
            "/eve/home/data//",
            "/./eve/./home/./config/.",
            "/v1/datasets/a/snapshots/latest;x",
            "/EVE/home/config",
            "/eve/home/snapshots/../config",
            "/v1//datasets",
            "/eve\\..\\ali\\home\\config",
        ];
        let long = format!("/eve/home/data/{}", "a".repeat(300 + self.dice.below(9_000)));
        let path = if self.dice.below(6) == 0 { long.as_str() } else { *self.dice.pick(&paths) };
        let verb = *self.dice.pick(&["GET", "DELETE", "POST", "PUT"]);
        let body: Option<&[u8]> = matches!(verb, "POST" | "PUT").then_some(b"overwritten");
        self.wire.close();
        let said = self.throw(&request(self.user, verb, path, "", body));
        let refused = said.as_ref().is_none_or(|said| said.status >= 400);
        assert!(refused, "{verb} {path} beside {at}: {said:?}");
    }

    fn forge(&mut self, at: &str) {
        let headers = *self.dice.pick(&[
            "X-HTTP-Method-Override: DELETE\r\n", "X-HTTP-Method: DELETE\r\n", "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: ali\r\n",
            "Date: Fri, 01 Jan 1990 00:00:00 GMT\r\n", "X-OC-Mtime: 1\r\nLast-Modified: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
            "X-Amz-Object-Lock-Retain-Until-Date: 1990-01-01T00:00:00Z\r\nX-Amz-Bypass-Governance-Retention: true\r\n",
            "X-Original-URL: /ali/home/config\r\n", "Expires: 0\r\nIf-Unmodified-Since: Fri, 01 Jan 1990 00:00:00 GMT\r\n",
        ]);
        let bytes = self.dice.bytes();
        if self.dice.below(2) == 0 {
            let said = self.ask("PUT", "/v1/datasets/b", headers, Some(&bytes));
            let json: Value = serde_json::from_slice(&said.body).expect("a receipt");
            let (received, until) = (json["received_at"].as_str(), json["locked_until"].as_str());
            assert!(said.status == 201 && received < until && received > Some("2026"), "{}", said.text());
            let id = json["id"].as_str().expect("an id");
            self.kept.push((format!("/v1/datasets/b/snapshots/{id}"), bytes));
        } else {
            let said = self.ask("GET", at, headers, None);
            assert_eq!(said.status, 200, "it is still read");
        }
    }

    fn locks(&mut self) {
        let bytes = noise(100, self.dice.next());
        let path = format!("/eve/home/locks/{}", name_of(&bytes));
        assert_eq!(self.ask("POST", &path, "", Some(&bytes)).status, 200);
        assert_eq!(self.ask("DELETE", &path, "", None).status, 200);
        assert_eq!(self.ask("GET", &path, "", None).status, 404);
        let create = *self.dice.pick(&["/eve/home/?create=true", "/eve/box/?create=true"]);
        assert_eq!(self.ask("POST", create, "", Some(b"")).status, 200, "nothing happens to what is there");
    }
}

/// Plays the sequence of a seed; gives what was acknowledged in it, and how many requests it took.
fn play(it: &TestBox, user: &str, seed: u64) -> (Acknowledged, u64) {
    let mut attack = Attack { wire: Wire::new(it), user, dice: Dice(seed), kept: Vec::new(), sent: 0 };
    let (at, bytes) = attack.plant();
    for _ in 0..2 + attack.dice.below(4) {
        attack.strike(&at, &bytes);
    }
    (attack.kept, attack.sent)
}

/// Everything reads back as it was acknowledged.
fn reads_back(it: &TestBox, user: &str, kept: &Acknowledged) {
    let mut wire = Wire::new(it);
    for (path, bytes) in kept {
        let said = wire.ask(user, "GET", path, "", None);
        assert!(said.status == 200 && said.body == *bytes, "{path} does not come back: {}", said.status);
    }
}

/// What is there before the attack: ali's things and eve's.
fn furnish(it: &TestBox, user: &str, name: &str, repos: &[&str]) -> Acknowledged {
    let mut wire = Wire::new(it);
    let mut kept = Acknowledged::new();
    for n in 0..6 {
        let bytes = noise(50_000 * n, n as u64);
        let said = wire.ask(user, "PUT", "/v1/datasets/mail", "", Some(&bytes));
        let json: Value = serde_json::from_slice(&said.body).expect("a receipt");
        kept.push((format!("/v1/datasets/mail/snapshots/{}", json["id"].as_str().expect("an id")), bytes));
    }
    for repo in repos {
        assert_eq!(
            wire.ask(user, "POST", &format!("/{name}/{repo}/?create=true"), "", Some(b"")).status,
            200
        );
        let mut files = vec![("config".to_owned(), format!("config of {name}/{repo}").into_bytes())];
        for (n, kind) in ["data", "data", "keys", "snapshots", "index"].into_iter().enumerate() {
            let bytes = noise(40_000 * n + 10, 100 + n as u64);
            files.push((format!("{kind}/{}", name_of(&bytes)), bytes));
        }
        for (file, bytes) in files {
            let path = format!("/{name}/{repo}/{file}");
            assert_eq!(wire.ask(user, "POST", &path, "", Some(&bytes)).status, 200);
            kept.push((path, bytes));
        }
    }
    kept
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn a_stolen_secret_shrinks_nothing() {
    let mut it = TestBox::without_daemon(1);
    it.level = "warn";
    it.start();
    let (ali, eve) = (it.client("ali", &[]), it.client("eve", &[]));
    let mut of_ali = furnish(&it, &ali, "ali", &["home"]);
    of_ali.sort();
    let mut of_eve = furnish(&it, &eve, "eve", &["home", "box"]);
    let seeds: Vec<u64> = match number("COFFRE_ATTACK_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("COFFRE_ATTACKS").unwrap_or(2_000)).collect(),
    };
    let requests = AtomicU64::new(0);
    let mut before = set_of(&it, &VICTIMS, false);
    let locks_too = set_of(&it, &VICTIMS, true);
    let first = before.clone();
    for quarter in seeds.chunks(seeds.len().div_ceil(4)) {
        let (next, kept) = (AtomicU64::new(0), Mutex::new(Acknowledged::new()));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(seed) = quarter.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let played =
                            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&it, &eve, *seed)));
                        let (acknowledged, sent) =
                            played.unwrap_or_else(|_| panic!("COFFRE_ATTACK_SEED={seed}"));
                        requests.fetch_add(sent, Ordering::Relaxed);
                        kept.lock().expect("no panic").extend(acknowledged);
                    }
                });
            }
        });
        let after = set_of(&it, &VICTIMS, false);
        let wrong = shrunk(&before, &after);
        assert!(wrong.is_empty(), "seeds {:?} to {:?}: {wrong:?}", quarter.first(), quarter.last());
        before = after;
        of_eve.extend(kept.into_inner().expect("no panic"));
    }
    assert_eq!(shrunk(&first, &before), Vec::<String>::new());
    reads_back(&it, &ali, &of_ali);
    reads_back(&it, &eve, &of_eve);
    the_check_sees_a_real_loss(&it, &eve, &locks_too);
    eprintln!(
        "{} sequences, {} requests, {} objects at the end, {} read back",
        seeds.len(),
        requests.into_inner(),
        before.len(),
        of_eve.len() + of_ali.len()
    );
    assert!(!it.log().contains("panicked"));
}

/// A lock of restic's is the one thing that its client may remove: if the check took it for a promise, it would tell.
fn the_check_sees_a_real_loss(it: &TestBox, eve: &str, before: &Set) {
    let mut wire = Wire::new(it);
    let bytes = noise(100, 77);
    let path = format!("/eve/home/locks/{}", name_of(&bytes));
    assert_eq!(wire.ask(eve, "POST", &path, "", Some(&bytes)).status, 200);
    let with = set_of(it, &VICTIMS, true);
    assert_eq!((shrunk(before, &with).len(), shrunk(&with, &with).len()), (0, 0));
    assert_eq!(wire.ask(eve, "DELETE", &path, "", None).status, 200);
    let said = shrunk(&with, &set_of(it, &VICTIMS, true));
    assert!(said.len() == 1 && said[0].ends_with(" is gone"), "{said:?}");
}
