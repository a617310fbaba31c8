//! Pairing through the real daemon: the life of a code, the page, its files put to use.

mod common;

use common::paired::{claim, downloaded, location, pair, post, said, shell};
use common::{TestBox, file, noise, wait};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The secret on a page that shows one.
fn secret_on(page: &str) -> Option<String> {
    let codes = page.split("<code>").skip(1).filter_map(|part| part.split("</code>").next());
    codes.map(str::to_owned).find(|code| code.len() == 52 && code.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[test]
fn a_code_is_looked_at_at_will_used_once_and_void_after_a_restart() {
    let mut it = TestBox::new(1);
    let made = pair(&it, &["--quota", "5000000"]);
    let words: Vec<&str> =
        made.json["words"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    assert_eq!((words.len(), made.code.len()), (4, 9));
    assert_eq!(it.json(&["certificate"])["words"], made.json["words"]);
    let shown = post(&it, "/pair", &format!("code={}", made.code.to_lowercase().replace('-', "+")));
    assert_eq!(
        location(&shown),
        format!("/pair/{}?lang=fr", made.code).to_lowercase(),
        "headers are lowered here"
    );
    for typed in [made.code.clone(), made.code.to_lowercase(), made.code.replace('-', "").replace('0', "o")] {
        for (language, title) in [("fr", "Jumeler cet ordinateur"), ("en", "Pair this computer")] {
            let page =
                it.curl("", &format!("/pair/{typed}"), &["-H", &format!("Accept-Language: {language}")], b"");
            assert_eq!(page.status, 200, "{typed}");
            let text = page.text();
            assert!(
                text.contains(title) && words.iter().all(|word| text.contains(&format!("<li>{word}</li>")))
            );
            assert!(text.contains("name=\"name\"") && !text.contains("<script"));
        }
        assert_eq!(
            it.curl("", &format!("/pair/{typed}"), &["-I"], b"").status,
            200,
            "link previews look too"
        );
    }
    assert_eq!(it.json(&["client", "list"])["clients"], serde_json::json!([]), "looking makes nobody");
    let at = claim(&it, &made.code, "+PC-Fatima+");
    let first = it.get("", &format!("{at}?lang=en"));
    let secret = secret_on(&first.text()).expect("shown once");
    assert!(secret_on(&it.get("", &at).text()).is_none(), "and not twice");
    assert_eq!(it.get(&format!("pc-fatima:{secret}"), "/v1/datasets").status, 200);
    let clients = it.json(&["client", "list"]);
    assert_eq!(clients["clients"][0]["quota_bytes"], 5_000_000);
    for again in [
        post(&it, &format!("/pair/{}", made.code), "name=other"),
        it.get("", &format!("/pair/{}", made.code)),
    ] {
        assert_eq!(again.status, 410);
    }
    let waiting = pair(&it, &["another"]);
    assert!(it.coffre(&["client", "pairings", "--cancel", &pair(&it, &[]).id.to_string()]).status.success());
    it.stop("TERM");
    it.start();
    assert_eq!(it.get("", &format!("/pair/{}", waiting.code)).status, 404, "a restart voids codes");
    assert_eq!(it.get("", &at).status, 404, "and tokens");
    assert_eq!(it.coffre(&["client", "pairings", "--cancel", "1"]).status.code(), Some(4));
    let log = it.log();
    let token = at.rsplit('/').next().expect("a token");
    for hidden in [secret.as_str(), &made.code, &waiting.code, token] {
        assert!(!log.contains(hidden), "{hidden} stands in the log");
    }
}

#[test]
fn typed_names_take_over_nobody() {
    let it = TestBox::new(1);
    let old = it.client("old", &[]);
    assert_eq!(it.put(&old, "books", b"private").status, 201);
    assert!(it.coffre(&["client", "remove", "old"]).status.success());
    it.client("live", &[]);
    let made = pair(&it, &["--kind", "mac"]);
    let at = format!("/pair/{}", made.code);
    for bad in ["old", "LIVE", "", "v1", "-a", "%3Cscript%3E", "a%2fb", &"x".repeat(33)] {
        let got = post(&it, &at, &format!("name={bad}&lang=en"));
        assert_eq!(got.status, 422, "{bad}: {}", got.text());
        assert!(!got.text().contains("<script"));
    }
    claim(&it, &made.code, "new");
    let out = it.coffre(&["client", "pair", "live"]);
    assert_eq!(out.status.code(), Some(5), "{}", said(&out));
    let again = pair(&it, &["old"]);
    assert_eq!(again.json["removed_before"], true);
    let at = claim(&it, &again.code, "ignored-when-the-owner-chose");
    let secret = secret_on(&it.get("", &at).text()).expect("shown");
    assert_eq!(it.get(&format!("old:{secret}"), "/v1/datasets/books/snapshots/latest").body, b"private");
}

#[test]
fn of_many_who_use_a_code_at_once_one_gets_it() {
    let it = TestBox::new(1);
    let made = pair(&it, &[]);
    let url = format!("{}/pair/{}", it.url(), made.code);
    let claims: Vec<_> = (0..8)
        .map(|n| {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(it.path("ca.pem"));
            curl.args(["--data", &format!("name=pc-{n}"), &url]).stdout(Stdio::piped());
            curl.spawn().expect("curl")
        })
        .collect();
    let mut codes: Vec<String> = claims
        .into_iter()
        .map(|claim| String::from_utf8(claim.wait_with_output().expect("ended").stdout).expect("text"))
        .collect();
    codes.sort();
    assert_eq!(codes[0], "303");
    assert!(codes[1..].iter().all(|code| code == "410"), "{codes:?}");
    assert_eq!(it.json(&["client", "list"])["clients"].as_array().map(Vec::len), Some(1));
}

#[test]
fn who_guesses_is_not_heard_and_voids_no_code() {
    let it = TestBox::new(1);
    let made = pair(&it, &["pc"]);
    let right = format!("/pair/{}", made.code);
    let wrong = if made.code.starts_with('7') { "/pair/8888-8888" } else { "/pair/7777-7777" };
    for _ in 0..5 {
        assert_eq!(it.get("", wrong).status, 404);
    }
    for path in [wrong, &right] {
        let got = it.get("", path);
        assert_eq!((got.status, got.text().contains("Trop de codes faux")), (429, true), "{path}");
    }
    assert_eq!(it.get("", "/pair/no-code").status, 404, "what can be none is not counted");
    assert_eq!(it.curl("", &right, &["--interface", "127.0.0.2"], b"").status, 200, "somebody else");
    let listed = it.json(&["client", "pairings"]);
    assert_eq!(
        (&listed["pairings"][0]["wrong_tries"], &listed["pairings"][0]["code"]),
        (&5.into(), &Value::Null)
    );
    let fresh = pair(&it, &[]);
    assert_eq!(it.get("", &format!("/pair/{}", fresh.code)).status, 200, "heard again");
    for _ in 2..8 {
        pair(&it, &[]);
    }
    assert_eq!(it.coffre(&["client", "pair"]).status.code(), Some(5), "a few at most");
}

/// A person scans the square with a telephone: what the page gives is of use on the computer only.
#[test]
fn a_telephone_hands_the_code_over_and_uses_nothing_up() {
    let it = TestBox::new(1);
    let made = pair(&it, &["pc", "--kind", "linux"]);
    let code = format!("/pair/{}", made.code);
    let host = it.url().trim_start_matches("https://").to_owned();
    for agent in [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
    ] {
        for (language, title) in [("fr", "Continuez sur l’ordinateur"), ("en", "Go on at the computer")] {
            let page = it.curl("", &format!("{code}?lang={language}"), &["-A", agent], b"");
            assert_eq!(page.status, 200);
            let text = page.text();
            assert!(text.contains(title) && text.contains(&made.code), "{text}");
            assert!(text.contains(&format!("https://{host}/pair")) && !text.contains("<form"), "{text}");
            let words = made.json["words"].as_array().expect("words");
            assert!(words.iter().all(|word| text.contains(word.as_str().expect("text"))));
        }
        let posted = it.curl("", &code, &["-A", agent, "--data", "name="], b"");
        assert!(posted.status == 200 && posted.text().contains("l’ordinateur"), "{}", posted.status);
        assert_eq!(it.json(&["client", "list"])["clients"], serde_json::json!([]));
        // Who wants it all the same is asked as on a computer.
        let here = it.curl("", &format!("{code}?lang=fr&here=1"), &["-A", agent], b"").text();
        assert!(here.contains(&format!("action=\"{code}?lang=fr&here=1\"")), "{here}");
    }
    assert!(it.get("", &code).text().contains("<form"), "a computer has the form");
    claim(&it, &made.code, "");
    let second = pair(&it, &["phone"]);
    let taken =
        it.curl("", &format!("/pair/{}?here=1", second.code), &["-A", "iPhone", "--data", "name="], b"");
    assert_eq!(taken.status, 303, "{}", taken.text());
}

#[test]
fn the_front_page_is_for_people() {
    let it = TestBox::new(1);
    for (language, words) in [
        ("fr", ["coffre à sauvegardes", "Ajouter un ordinateur", "docs/operations.md", "get.sh"]),
        ("en-GB,en", ["backup box", "Add a computer", "docs/operations.md", "coffre get CLIENT/SET"]),
    ] {
        let page = it.curl("", "/", &["-H", &format!("Accept-Language: {language}")], b"");
        assert!(page.status == 200 && page.headers.contains("content-type: text/html"), "{}", page.headers);
        assert!(page.headers.contains("content-security-policy: default-src 'none'"), "{}", page.headers);
        let text = page.text();
        for word in words.into_iter().chain(["href=\"/pair?lang=", "test box", "PUT /v1/datasets/NAME"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains("<script"));
    }
    assert_eq!(it.curl("", "/", &["-X", "POST", "--data", "x"], b"").status, 405);
}

#[test]
fn every_answer_is_guarded_and_bounded() {
    let it = TestBox::new(1);
    let made = pair(&it, &["pc"]);
    let code = format!("/pair/{}", made.code);
    let long = format!("name={}", "a".repeat(600));
    let mut answers = vec![
        (it.get("", "/pair"), 200),
        (it.get("", "/pair/"), 200),
        (it.get("", &code), 200),
        (it.get("", "/pair/x/y/z"), 404),
        (it.get("", "/pair/done/xyz"), 404),
        (it.get("", "/pair/done/00000000000000000000000000000000/box.pem"), 404),
        (it.curl("", &code, &["-X", "DELETE"], b""), 405),
        (it.curl("", "/pair/done/x", &["-X", "POST", "-d", ""], b""), 405),
        (post(&it, &code, &long), 413),
        (post(&it, &code, "name=%0a"), 400),
        (it.curl("", &code, &["-H", "Content-Type: application/json", "--data", "{}"], b""), 415),
        (
            it.curl("", &code, &["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"], &noise(5000, 1)),
            413,
        ),
    ];
    let at = claim(&it, &made.code, "");
    answers.push((it.get("", &at), 200));
    answers.push((it.get("", &format!("{at}/box.pem")), 200));
    answers.push((it.get("", &format!("{at}/../state")), 404));
    answers.push((it.get("", &format!("{at}/passwd")), 404));
    for (got, status) in &answers {
        assert_eq!(got.status, *status, "{}", got.text());
        for header in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "content-security-policy: default-src 'none'; style-src 'sha256-",
            "frame-ancestors 'none'",
        ] {
            assert!(got.headers.contains(header), "{header}: {}", got.headers);
        }
        assert!(got.body.len() < 32 * 1024);
    }
    let frame = it.get("", &format!("{at}/state"));
    assert!(
        frame.headers.contains("frame-ancestors 'self'")
            && frame.headers.contains("x-frame-options: sameorigin")
    );
}

#[test]
fn files_are_used_as_they_are_and_the_first_backup_is_seen() {
    let it = TestBox::new(3);
    let mut waiter = Command::new(env!("CARGO_BIN_EXE_coffre"))
        .arg("--state")
        .arg(it.state())
        .args(["client", "pair", "pc", "--kind", "linux", "--wait", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawned");
    let mut lines = BufReader::new(waiter.stdout.take().expect("piped")).lines();
    let mut line =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    let at = claim(&it, line()["code"].as_str().expect("a code"), "");
    let page = it.get("", &at).text();
    for part in ["restic.env", "restic init", "daily.sh documents", "restic restore latest", "rclone copyto"]
    {
        assert!(page.contains(part), "{part}");
    }
    let folder = downloaded(
        &it,
        &at,
        &["box.curl", "box.pem", "restic.env", "backrest.json", "rustic.toml", "push.ps1"],
    );
    assert_eq!(fs::read(folder.join("box.pem")).expect("there"), fs::read(it.path("ca.pem")).expect("there"));
    assert!(
        it.get("", &format!("{at}/state")).text().contains("http-equiv=\"refresh\""),
        "nothing has come yet"
    );

    fs::write(folder.join("books"), noise(300_000, 7)).expect("written");
    let push = format!("curl -sS -K box.curl -T books {}/v1/datasets/books", it.url());
    let out = shell(&folder, &push, &[]);
    assert!(out.status.success(), "{}", said(&out));
    let restore =
        format!("curl -sS -K box.curl {}/v1/datasets/books/snapshots/latest | cmp - books", it.url());
    let out = shell(&folder, &restore, &[]);
    assert!(out.status.success(), "{}", said(&out));
    let state = it.get("", &format!("{at}/state")).text();
    assert!(state.contains("lamp here") && !state.contains("http-equiv"), "green by itself: {state}");
    let arrived = line();
    assert_eq!((&arrived["state"], &arrived["name"]), (&"arrived".into(), &"pc".into()), "{arrived}");
    assert_eq!(wait(&mut waiter), Some(0));

    // Windows and the rest cannot be run here: what they need must stand in them.
    let text = |name: &str| fs::read_to_string(folder.join(name)).expect("there");
    let host = it.url().trim_start_matches("https://").to_owned();
    assert!(
        text("push.ps1").contains(&format!("-K box.curl -T $full \"https://{host}/v1/datasets/$DataSet\""))
    );
    assert!(text("rustic.toml").contains(&format!("@{host}/pc/\"")) && text("backrest.json").contains(&host));
    with_restic(&it, &folder);

    let secret =
        text("box.curl").split("pc:").nth(1).and_then(|t| t.split('"').next()).expect("a secret").to_owned();
    let rotated = it.json(&["client", "rotate", "pc"]);
    assert_eq!(it.get(&format!("pc:{secret}"), "/v1/datasets").status, 401, "void at once");
    let new = format!("pc:{}", rotated["secret"].as_str().expect("a secret"));
    assert_eq!(it.get(&new, "/v1/datasets").json()["datasets"][0]["dataset"], "pc/books");
    assert!(it.coffre(&["client", "remove", "pc"]).status.success());
    assert_eq!(it.get(&new, "/v1/datasets").status, 401);
    assert_eq!(
        it.json(&["snapshots", "pc/books"])["snapshots"].as_array().map(Vec::len),
        Some(1),
        "its data stays"
    );
    assert_eq!(it.coffre(&["client", "rotate", "pc"]).status.code(), Some(4));
}

/// The environment file with the restic of this machine, if it has one.
fn with_restic(it: &TestBox, folder: &std::path::Path) {
    if Command::new("restic").arg("version").output().is_err() {
        return common::left_out("there is no restic on this machine");
    }
    fs::write(folder.join("restic-password"), "a password of one's own").expect("written");
    let script = ". ./restic.env && restic init && restic backup books && restic restore latest --target back && \
        cmp books \"$(find back -name books)\"";
    let folder_text = folder.display().to_string();
    let cache = it.path("restic-cache").display().to_string();
    let out = shell(folder, script, &[("COFFRE_DIR", &folder_text), ("RESTIC_CACHE_DIR", &cache)]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(it.json(&["repo", "list"])["repositories"][0]["snapshots_count"], 1);
}

/// A fake Odoo: what it answers hangs on the name of the database that is asked for.
fn fake_odoo(zip: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !whole(&request) {
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => request.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&request);
            let page =
                b"<html><div class=\"alert alert-danger\" role=\"alert\">Access Denied</div></html>".to_vec();
            let allowed =
                text.starts_with("POST /web/database/backup ") && text.contains("master_pwd=s3cret%26%2B");
            let (status, body) = match allowed {
                true if text.contains("name=good&") || text.contains("name=good%26x_1&") => {
                    ("200 OK", zip.clone())
                }
                true if text.contains("name=half&") => ("200 OK", zip[..zip.len() - 30].to_vec()),
                true if text.contains("name=down&") => ("500 Oops", page),
                _ => ("200 OK", page),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

/// Whether a request with its body is here.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

#[test]
fn the_odoo_script_tells_a_backup_from_a_page() {
    let it = TestBox::new(1);
    let made = pair(&it, &["odoo", "--kind", "odoo"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["odoo-backup.sh", "pg-backup.sh"]);
    let zip = [b"PK\x03\x04".as_slice(), &noise(100_000, 3), b"PK\x05\x06", &[0; 18]].concat();
    let odoo = fake_odoo(zip.clone());
    let master = file(&folder.join("master"), b"s3cret&+\n");
    let run = |database: &str, master: &str| {
        let env = [("ODOO_DB", database), ("ODOO_URL", &odoo), ("ODOO_MASTER_FILE", master)];
        let out = shell(&folder, "sh odoo-backup.sh", &env);
        (out.status.code().expect("a code"), said(&out))
    };
    let wrong = file(&folder.join("wrong"), b"guess");
    for (database, master, code, why) in [
        ("good", wrong.as_str(), 3, "Access Denied"),
        ("half", &master, 3, "cut off"),
        ("down", &master, 3, "HTTP 500"),
        ("good", "/no/such/file", 2, "cannot be read"),
        ("", &master, 2, "ODOO_DB"),
    ] {
        let (ended, told) = run(database, master);
        assert!(ended == code && told.contains(why), "{database}: {ended} {told}");
    }
    assert_eq!(it.json(&["snapshots"])["snapshots"], serde_json::json!([]), "no page is a backup");
    // Each database has a data set of its own, also those whose names are none of a data set.
    for (database, data_set) in [("good", "odoo/odoo-good"), ("good&x_1", "odoo/odoo-good-x-1-")] {
        let (ended, told) = run(database, &master);
        assert!(ended == 0 && told.contains(data_set), "{told}");
    }
    let sets = it.json(&["dataset", "list"]);
    assert_eq!(sets["datasets"].as_array().map(Vec::len), Some(2), "{sets}");
    let kept = it.path("kept.zip");
    assert!(it.coffre(&["get", "odoo/odoo-good", "--to", &kept.display().to_string()]).status.success());
    assert_eq!(fs::read(kept).expect("restored"), zip);
    assert!(it.coffre(&["client", "rotate", "odoo"]).status.success());
    let (ended, told) = run("good", &master);
    assert!(ended == 4 && told.contains("HTTP 401"), "{ended} {told}");
    let left: Vec<_> = fs::read_dir(std::env::temp_dir()).expect("there").flatten().collect();
    assert!(!left.iter().any(|entry| entry.path().join("box.curl").exists()), "no secret is left behind");
}

#[test]
fn the_certificate_is_named_the_same_with_and_without_the_daemon() {
    let mut it = TestBox::new(1);
    let since = Instant::now();
    let with = it.json(&["certificate"]);
    it.stop("TERM");
    let without = it.json(&["certificate"]);
    assert_eq!(with["words"], without["words"]);
    assert_eq!(with["words"].as_array().map(Vec::len), Some(4));
    let text = String::from_utf8(it.coffre(&["certificate"]).stdout).expect("text");
    assert!(text.contains("In four words: ") && since.elapsed() < Duration::from_secs(60));
}
