//! Kinds of data sets as clients and the owner of the box see them: what arrives incomplete is kept, marked, told, and passed over.

mod common;

use common::{Got, TestBox, noise};
use serde_json::{Value, json};

const PAGE: &[u8] = b"\n<!DOCTYPE html>\n<html><body>Database manager: Access Denied</body></html>";

/// A zip of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let offset = (out.len() as u32).to_le_bytes();
        let (name_len, len) = ((name.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let common = [&[0; 14][..], &len, &len, &name_len, &[0; 2]].concat();
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset, name.as_bytes()].concat());
    }
    let (offset, len) = ((out.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let count = (members.len() as u16).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &len, &offset, &[0; 2]].concat();
    [out, directory, end].concat()
}

/// A tar of one member.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    [&header[..], bytes, &vec![0; padding + 1_024]].concat()
}

fn odoo(seed: u64) -> Vec<u8> {
    zip(&[
        ("dump.sql", b"CREATE TABLE res_partner;"),
        ("manifest.json", b"{}"),
        ("filestore/ab/abc", &noise(900_000, seed)),
    ])
}

fn dump(rows: &str) -> Vec<u8> {
    format!("--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\n{rows}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k\n\n").into_bytes()
}

/// The receipt of a push, which is acknowledged whatever it is.
fn pushed(it: &TestBox, user: &str, dataset: &str, body: &[u8]) -> Value {
    let got = it.put(user, dataset, body);
    assert_eq!((got.curl, got.status), (0, 201), "{}", got.text());
    let receipt = got.json();
    let signed: Value = serde_json::from_str(receipt["receipt"].as_str().expect("text")).expect("JSON");
    for key in ["kind", "complete", "complete_why"] {
        assert_eq!(signed[key], receipt[key], "{key} is signed");
    }
    receipt
}

fn verdict(receipt: &Value) -> (Value, Value, Value) {
    (receipt["kind"].clone(), receipt["complete"].clone(), receipt["complete_why"]["key"].clone())
}

fn latest(it: &TestBox, user: &str, dataset: &str) -> Got {
    it.get(user, &format!("/v1/datasets/{dataset}/snapshots/latest"))
}

fn light(it: &TestBox) -> (String, String) {
    let status = it.json(&["status"]);
    let reasons = status["reasons"].as_array().expect("a list").iter();
    let reasons: Vec<&str> = reasons.map(|r| r.as_str().expect("text")).collect();
    (status["light"].as_str().expect("text").to_owned(), reasons.join("\n"))
}

#[test]
fn each_kind_whole_and_cut_off() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let text = "INSERT INTO t VALUES (1);\n".repeat(90_000);
    let bodies = [
        ("tar", tar("a.txt", &noise(700_000, 1)), "no-end-blocks"),
        ("zip", zip(&[("a", b"first"), ("b", &noise(500_000, 2))]), "no-directory"),
        ("postgres", dump(&text), "no-last-line"),
        ("odoo", odoo(3), "no-directory"),
    ];
    for (kind, body, lack) in &bodies {
        let set = it.json(&["dataset", "set", &format!("pc/{kind}"), "--kind", kind]);
        assert_eq!((&set["kind"], &set["kind_said"]), (&json!(kind), &json!(true)));
        let receipt = pushed(&it, &pc, kind, body);
        assert_eq!(verdict(&receipt), (json!(kind), json!(true), Value::Null), "{kind}");
        assert_eq!(light(&it), ("green".into(), String::new()), "{kind}");
        for len in [body.len() - 200, body.len() / 2, 600, 0] {
            let receipt = pushed(&it, &pc, kind, &body[..len]);
            let lack = if len == 0 { "empty" } else { lack };
            assert_eq!(verdict(&receipt), (json!(kind), json!(false), json!(lack)), "{kind}, {len} bytes");
            assert!(latest(&it, &pc, kind).body == *body, "the newest complete one");
        }
        let (colour, why) = light(&it);
        assert_eq!(colour, "amber");
        assert!(why.contains(&format!("the newest snapshot of pc/{kind} is not complete")), "{why}");
        let receipt = pushed(&it, &pc, kind, body);
        assert_eq!(receipt["complete"], true);
        assert_eq!(light(&it).0, "green", "a newer complete one has arrived");
    }
    let list = it.json(&["dataset", "list"]);
    let all = list["datasets"].as_array().expect("a list");
    assert!(all.len() == 4 && all.iter().all(|d| d["incomplete_count"] == 4), "{list}");
    let custom = [b"PGDMP\x01\x0f".as_slice(), &noise(3_000, 9)].concat();
    let receipt = pushed(&it, &pc, "postgres", &custom);
    assert_eq!(verdict(&receipt), (json!("postgres"), Value::Null, json!("custom-format")));
    let (colour, why) = light(&it);
    assert_eq!(colour, "amber", "unknown is not good");
    assert!(why.contains("whether the newest snapshot of pc/postgres is complete cannot be told"), "{why}");
    let gzip = [b"\x1f\x8b\x08\0\0\0\0\0\0\0".as_slice(), &noise(3_000, 9)].concat();
    assert_eq!(pushed(&it, &pc, "postgres", &gzip)["complete"], false);
}

#[test]
fn a_web_page_where_an_odoo_backup_was_due() {
    let mut it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let (first, second) = (odoo(1), odoo(2));
    // Nobody said anything: the first complete one shows what it is.
    assert_eq!(verdict(&pushed(&it, &pc, "shop", PAGE)), (Value::Null, Value::Null, Value::Null));
    assert_eq!(verdict(&pushed(&it, &pc, "shop", &first)), (json!("odoo"), json!(true), Value::Null));
    let id = first_id(&it, &pc, 2);
    let receipt = pushed(&it, &pc, "shop", PAGE);
    assert_eq!(verdict(&receipt), (json!("odoo"), json!(false), json!("web-page")));
    let text = receipt["complete_why"]["text"].as_str().expect("a sentence");
    assert!(text.contains("the Odoo master password is probably wrong"), "{text}");

    let (colour, why) = light(&it);
    assert_eq!(colour, "amber");
    for part in ["pc/shop", "web page", "master password", "push again", "the last complete one stays"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    // It is kept all the same, as it came; latest is the one before it, and says so.
    let page = receipt["id"].as_str().expect("an id");
    let got = it.get(&pc, &format!("/v1/datasets/shop/snapshots/{page}"));
    assert!(got.body == PAGE && got.headers.contains("coffre-complete: false"), "{}", got.headers);
    let got = latest(&it, &pc, "shop");
    assert!(got.body == first && got.headers.contains(&format!("etag: \"{id}\"")));
    assert!(got.headers.contains("coffre-complete: true") && got.headers.contains("coffre-passed-over: 1"));
    let target = it.path("back").display().to_string();
    let back = it.json(&["get", "pc/shop", "--to", &target]);
    assert_eq!((&back["id"], &back["complete"]), (&json!(id), &json!(true)));
    let people = it.coffre(&["get", "pc/shop", "--id", page, "--to", &target, "--force"]);
    assert!(String::from_utf8_lossy(&people.stdout).contains("not complete: it is a web page"));

    // Everywhere the same, also after a restart.
    it.stop("TERM");
    it.start();
    assert_eq!(light(&it).0, "amber");
    let listed = it.get(&pc, "/v1/datasets/shop/snapshots").json();
    let complete: Vec<&Value> =
        listed["snapshots"].as_array().expect("a list").iter().map(|s| &s["complete"]).collect();
    assert_eq!(complete, [&Value::Null, &json!(true), &json!(false)]);
    assert_eq!(it.json(&["snapshots", "pc/shop"])["snapshots"], listed["snapshots"]);
    let shown = it.json(&["dataset", "show", "pc/shop"]);
    assert_eq!((&shown["kind"], &shown["kind_said"]), (&json!("odoo"), &json!(false)));
    assert_eq!(shown["incomplete_count"], 1);
    assert_eq!(shown["judged"][1]["reasons"], json!(["locked", "newest complete one of its data set"]));
    let table = it.coffre(&["snapshots", "pc/shop"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("NO: it is a web page where an Odoo backup"));

    assert_eq!(pushed(&it, &pc, "shop", &second)["complete"], true);
    assert_eq!(light(&it).0, "green");
    assert!(latest(&it, &pc, "shop").body == second);
    assert!(it.log().contains("web-page"), "the audit line says what was found");
}

/// The id of the n-th snapshot (from 1).
fn first_id(it: &TestBox, user: &str, n: usize) -> String {
    let listed = it.get(user, "/v1/datasets/shop/snapshots").json();
    listed["snapshots"][n - 1]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn kinds_are_recognised_changed_and_taken_back() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let bodies =
        [("zip", zip(&[("a", b"b")])), ("tar", tar("a", b"b")), ("postgres", dump("")), ("odoo", odoo(1))];
    // What was recognised gives way to another kind that is complete: nobody said that it must not.
    for (kind, body) in &bodies {
        assert_eq!(verdict(&pushed(&it, &pc, "d", body)), (json!(kind), json!(true), Value::Null));
        assert_eq!(it.json(&["dataset", "show", "pc/d"])["kind"], *kind);
    }
    let other = pushed(&it, &pc, "d", b"just a note");
    assert_eq!(verdict(&other), (json!("odoo"), json!(false), json!("other-kind")));
    assert!(!light(&it).1.contains("--kind"), "what only hides it is no way out: {:?}", light(&it));
    // The owner says that it is a data set of files.
    let set = it.json(&["dataset", "set", "pc/d", "--kind", "file"]);
    assert_eq!((&set["kind"], &set["incomplete_count"]), (&json!("file"), &json!(0)));
    assert!(!light(&it).1.contains("pc/d"), "{:?}", light(&it));
    assert!(latest(&it, &pc, "d").body == b"just a note");
    assert_eq!(verdict(&pushed(&it, &pc, "d", PAGE)), (Value::Null, Value::Null, Value::Null));
    // Files of no kind are never judged, and a class alone says nothing of kinds.
    let set = it.json(&["dataset", "set", "pc/e", "--class", "5s"]);
    assert_eq!((&set["kind"], &set["kind_said"]), (&Value::Null, &json!(false)));
    for body in [PAGE, b"anything"] {
        assert_eq!(verdict(&pushed(&it, &pc, "e", body)), (Value::Null, Value::Null, Value::Null));
    }
    let cut = pushed(&it, &pc, "e", b"\x1f\x8b\x08\0cut");
    assert_eq!(verdict(&cut), (json!("file"), json!(false), json!("cut-stream")));
    // The very first push of a data set, cut off in mid-way: nobody said what it is, but it says so itself.
    for (kind, body, lack) in
        [("postgres", dump(""), "no-last-line"), ("tar", tar("a", &noise(9_000, 4)), "no-end-blocks")]
    {
        let name = format!("first-{kind}");
        let cut = pushed(&it, &pc, &name, &body[..body.len() - 1_100.min(body.len() / 2)]);
        assert_eq!(verdict(&cut), (json!(kind), json!(false), json!(lack)));
        assert!(light(&it).1.contains(&format!("pc/{name}")), "{:?}", light(&it));
        assert_eq!(verdict(&pushed(&it, &pc, &name, &body)), (json!(kind), json!(true), Value::Null));
        assert!(!light(&it).1.contains(&format!("pc/{name}")), "{:?}", light(&it));
    }
    // A zip of one's own where an Odoo backup was said to be due.
    it.json(&["dataset", "set", "pc/f", "--kind", "odoo"]);
    let receipt = pushed(&it, &pc, "f", &bodies[0].1);
    assert_eq!(verdict(&receipt), (json!("odoo"), json!(false), json!("no-odoo-names")));
    assert!(light(&it).1.contains("there is no complete one"));
    assert!(latest(&it, &pc, "f").body == bodies[0].1, "better than nothing");

    let wrong = it.coffre(&["dataset", "set", "pc/f", "--kind", "sql", "--json"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("tar, zip, postgres or odoo"), "{said}");
    assert_eq!(it.coffre(&["dataset", "set", "pc/f"]).status.code(), Some(2));
    assert_eq!(it.coffre(&["dataset", "set", "nobody/f", "--kind", "zip"]).status.code(), Some(4));
}

/// `false | curl -T -`, plain or through gzip, the first time or after a good one, whatever the kind.
#[test]
fn a_backup_of_nothing_is_none() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let gzip_of_nothing = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    it.json(&["dataset", "set", "pc/files", "--kind", "file"]);
    for (name, good) in [("db", noise(300_000, 1)), ("small", b"a note".to_vec()), ("files", noise(9_000, 2))]
    {
        for nothing in [&b""[..], b"\n", gzip_of_nothing] {
            let first = format!("{name}-{}", nothing.len());
            for data_set in [&first, name] {
                pushed(&it, &pc, data_set, if data_set == name { &good } else { nothing });
                let receipt = pushed(&it, &pc, data_set, nothing);
                assert_eq!(verdict(&receipt), (json!("file"), json!(false), json!("empty")), "{data_set}");
                assert!(light(&it).1.contains(&format!("pc/{data_set} is not complete")), "{:?}", light(&it));
            }
            assert!(latest(&it, &pc, name).body == good);
        }
        assert_eq!(light(&it).0, "amber");
    }
}

/// A web page instead of a backup stays one, whatever is said of the data set later.
#[test]
fn no_word_makes_a_web_page_a_backup() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    pushed(&it, &pc, "shop", &odoo(1));
    pushed(&it, &pc, "shop", PAGE);
    for kind in ["file", "zip", "odoo"] {
        it.json(&["dataset", "set", "pc/shop", "--kind", kind]);
        let (colour, why) = light(&it);
        assert!(colour == "amber" && why.contains("web page") && !why.contains("--kind"), "{kind}: {why}");
        assert!(latest(&it, &pc, "shop").body == odoo(1));
    }
    pushed(&it, &pc, "shop", &odoo(2));
    assert_eq!(light(&it), ("green".into(), String::new()));
}

#[test]
fn what_is_not_complete_pushes_nothing_out() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    it.json(&["dataset", "set", "pc/shop", "--kind", "odoo", "--class", "1s", "--keep", "last=1"]);
    let whole = odoo(1);
    let kept = pushed(&it, &pc, "shop", &whole)["id"].clone();
    for _ in 0..3 {
        assert_eq!(pushed(&it, &pc, "shop", PAGE)["complete"], false);
    }
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let plan = it.json(&["forget", "--plan"]);
    let judged = plan["snapshots"].as_array().expect("a list");
    let keeps: Vec<&Value> = judged.iter().map(|s| &s["keep"]).collect();
    assert_eq!(keeps, [true, false, false, true], "{plan}");
    assert_eq!((&judged[0]["id"], &judged[0]["complete"]), (&kept, &json!(true)));
    let reasons = judged[0]["reasons"].as_array().expect("a list");
    assert!(reasons.contains(&json!("newest complete one of its data set")), "{plan}");
    assert!(
        judged[1]["reasons"].as_array().expect("a list").contains(&json!("it is not complete")),
        "{plan}"
    );
}
