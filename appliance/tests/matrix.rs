//! Who may do what to whose things: every role with every verb at every address of both doors, against the real daemon.
//!
//! What must come is computed here from a model of five lines of rules, not from the doors' code. Beside the status: nothing
//! of one client is in any answer to another, and "not yours" is the same answer as "not there".

mod common;

use common::wire::{Said, Wire};
use common::{TestBox, noise};
use std::collections::{BTreeMap, BTreeSet};

const VERBS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL", "MOVE"];
/// In everything that ali has, in nothing else.
const PRECIOUS: &str = "PRECIOUS-THINGS-OF-ALI";

/// What the model knows of: data sets with the ids of their snapshots, repositories with their files.
#[derive(Default)]
struct World {
    sets: BTreeMap<(String, String), BTreeSet<String>>,
    repos: BTreeMap<(String, String), BTreeSet<String>>,
}

/// Who knocks: what it sends, and who it is if it is believed.
struct Role {
    what: &'static str,
    user: String,
    is: Option<&'static str>,
}

fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// The body that a request to this address brings.
fn body_for(verb: &str, path: &str, files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let last = path.split(['/', '?']).rfind(|part| files.contains_key(*part));
    match verb {
        "POST" | "PUT" | "PATCH" => {
            Some(last.map_or_else(|| b"anything".to_vec(), |name| files[name].clone()))
        }
        _ => None,
    }
}

impl World {
    /// The rules. `None` where nobody who is believed is asking.
    fn expect(&mut self, is: Option<&str>, verb: &str, path: &str, same_config: bool) -> u16 {
        let path = path.split('?').next().unwrap_or(path);
        let reading = verb == "GET" || verb == "HEAD";
        if path == "/" || path == "/v1/certificate" {
            return if reading { 200 } else { 405 };
        }
        let Some(client) = is else { return 401 };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let of = |name: &str| (client.to_owned(), name.to_owned());
        match parts[..] {
            ["v1", "datasets"] if reading => 200,
            ["v1", "datasets"] => 405,
            ["v1", "datasets", name] => match verb {
                "PUT" if self.repos.contains_key(&of(name)) => 400,
                "PUT" => 201,
                _ => 405,
            },
            ["v1", "datasets", name, "snapshots"] => match self.sets.get(&of(name)) {
                _ if !reading => 405,
                Some(_) => 200,
                None => 404,
            },
            ["v1", "datasets", name, "snapshots", id] => match self.sets.get(&of(name)) {
                _ if !reading => 405,
                Some(ids) if id == "latest" || ids.contains(id) => 200,
                _ => 404,
            },
            ["v1", "dav"] | ["v1", "dav", ""] => match verb {
                "OPTIONS" => 200,
                // It does not say how deep.
                "PROPFIND" => 400,
                _ => 405,
            },
            ["v1", "dav", _, ..] if parts.len() > 3 => match verb {
                "MKCOL" | "PUT" => 403,
                _ => 404,
            },
            ["v1", "dav", name] => match (verb, self.sets.contains_key(&of(name))) {
                ("PUT", _) if self.repos.contains_key(&of(name)) => 400,
                ("PUT", _) => 201,
                ("OPTIONS", _) => 200,
                ("PROPFIND", true) => 207,
                ("GET" | "HEAD", true) => 200,
                ("PROPFIND" | "GET" | "HEAD", false) => 404,
                _ => 405,
            },
            [owner, ..] if owner != client => 403,
            [_, repo, ""] => match verb {
                "POST" if self.sets.contains_key(&of(repo)) => 400,
                "POST" => {
                    self.repos.entry(of(repo)).or_default();
                    200
                }
                "DELETE" => 403,
                _ => 405,
            },
            [_, repo, _, ""] if verb == "GET" && self.repos.contains_key(&of(repo)) => 200,
            [_, _, _, ""] if verb == "GET" => 404,
            [_, _, _, ""] => 405,
            [_, repo, "config"] => self.file(of(repo), verb, "config", "config", same_config),
            [_, repo, kind, name] => self.file(of(repo), verb, kind, name, same_config),
            _ => 404,
        }
    }

    fn file(&mut self, repo: (String, String), verb: &str, kind: &str, name: &str, same_config: bool) -> u16 {
        let files = self.repos.get_mut(&repo);
        let file = format!("{kind}/{name}");
        let there = files.as_ref().is_some_and(|files| files.contains(&file));
        match verb {
            "GET" | "HEAD" if there => 200,
            "GET" | "HEAD" => 404,
            "DELETE" if there && kind != "locks" => 403,
            "DELETE" => {
                files.map(|files| files.remove(&file));
                200
            }
            "POST" => match files {
                None => 404,
                Some(_) if kind == "config" && there && !same_config => 403,
                Some(files) => {
                    files.insert(file);
                    200
                }
            },
            _ => 405,
        }
    }
}

/// Headers that differ from answer to answer, and what the client itself had put into the request, made equal.
fn normal(said: &Said, own: &[(&str, &str)]) -> String {
    let kept = |line: &&str| {
        !line.starts_with("date:")
            && !line.starts_with("x-request-id:")
            && !line.starts_with("content-length:")
    };
    let head: Vec<&str> = said.head.lines().filter(kept).collect();
    let mut all = format!("{}\n{}", head.join("\n"), said.text());
    for (from, to) in own {
        all = all.replace(from, to);
    }
    all
}

#[test]
fn every_role_verb_and_owner_at_both_doors() {
    let mut it = TestBox::without_daemon(1);
    it.level = "warn";
    it.start();
    let (ali, eve, mal) = (it.client("ali", &[]), it.client("eve", &[]), it.client("mal", &[]));
    let mut world = World::default();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut ids: BTreeMap<&str, String> = BTreeMap::new();
    let mut wire = Wire::new(&it);
    for (user, name, set) in [(&ali, "ali", "accounts"), (&eve, "eve", "mail"), (&mal, "mal", "gone")] {
        let secret = if name == "ali" { PRECIOUS } else { name };
        let kept = it.put(user, set, format!("{secret} in a snapshot").as_bytes()).json();
        let id = kept["id"].as_str().expect("an id").to_owned();
        world.sets.entry((name.into(), set.into())).or_default().insert(id.clone());
        ids.insert(name, id);
        assert_eq!(wire.ask(user, "POST", &format!("/{name}/home/?create=true"), "", Some(b"")).status, 200);
        let mut of_repo = BTreeSet::from(["config/config".to_owned()]);
        let config = format!("{secret} config");
        assert_eq!(
            wire.ask(user, "POST", &format!("/{name}/home/config"), "", Some(config.as_bytes())).status,
            200
        );
        for kind in ["data", "keys", "locks", "snapshots", "index"] {
            let bytes = format!("{secret} {kind}").into_bytes();
            let file = name_of(&bytes);
            let path = format!("/{name}/home/{kind}/{file}");
            assert_eq!(wire.ask(user, "POST", &path, "", Some(&bytes)).status, 200);
            of_repo.insert(format!("{kind}/{file}"));
            files.insert(file, bytes);
        }
        world.repos.insert((name.into(), "home".into()), of_repo);
    }
    it.json(&["client", "remove", "mal"]);
    let absent = noise(40, 9);
    files.insert(name_of(&absent), absent.clone());
    let paths = addresses(&files, &ids, &name_of(&absent));
    let secret = |user: &str| user.split_once(':').expect("a pair").1.to_owned();
    let roles = [
        Role { what: "nobody", user: String::new(), is: None },
        Role { what: "a wrong secret", user: format!("ali:{}", secret(&eve)), is: None },
        Role { what: "an unknown name", user: format!("nemo:{}", secret(&ali)), is: None },
        Role { what: "a removed client", user: mal, is: None },
        Role { what: "another client", user: eve, is: Some("eve") },
        Role { what: "the owner", user: ali, is: Some("ali") },
    ];
    let mut asked = 0;
    let mut answers: BTreeMap<(&str, String, String), Said> = BTreeMap::new();
    for (r, role) in roles.iter().enumerate() {
        let mut wire = Wire::new(&it);
        for (n, (verb, path)) in
            VERBS.iter().flat_map(|verb| paths.iter().map(move |path| (verb, path))).enumerate()
        {
            if role.is.is_none() && n % 5 == 0 {
                // Who guesses is held back by its address: this is about answers, not about patience.
                wire = Wire::from(&it, [127, 1 + r as u8, (n / 250) as u8, (n % 250) as u8 + 1]);
            }
            let body = body_for(verb, path, &files);
            let said = wire.ask(&role.user, verb, path, "", body.as_deref());
            let expected = world.expect(role.is, verb, path, false);
            assert_eq!(said.status, expected, "{} {verb} {path}: {}", role.what, said.text());
            let quiet =
                role.is == Some("ali") || !(said.text().contains(PRECIOUS) || said.head.contains("precious"));
            assert!(quiet, "{} {verb} {path}: {}", role.what, said.text());
            let shown = role.user.split_once(':').is_some_and(|(_, secret)| said.text().contains(secret));
            assert!(!shown && !said.head.contains("authorization"), "{} {verb} {path}", role.what);
            if expected == 201 {
                let json: serde_json::Value = serde_json::from_slice(&said.body).expect("a receipt");
                let id = json["id"].as_str().expect("an id").to_owned();
                let set = path.rsplit('/').next().unwrap_or_default().to_owned();
                world.sets.entry((role.is.unwrap_or_default().into(), set)).or_default().insert(id);
            }
            answers.insert((role.what, (*verb).to_owned(), path.clone()), said);
            asked += 1;
        }
    }
    not_yours_is_not_there(&answers, &ids);
    for role in roles.iter().filter(|role| role.is.is_some()) {
        let said = wire.ask(&role.user, "PROPFIND", "/v1/dav/", "Depth: 1\r\n", None);
        let text = said.text();
        let listed: BTreeSet<String> = text
            .split("<D:displayname>")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('<')?.0.to_owned()))
            .collect();
        let own: BTreeSet<String> = world
            .sets
            .keys()
            .filter(|(client, _)| Some(client.as_str()) == role.is)
            .map(|set| set.1.clone())
            .collect();
        assert!(said.status == 207 && listed == own && !own.is_empty(), "{}: {text}", role.what);
    }
    eprintln!("{asked} requests: {} roles, {} verbs, {} addresses", roles.len(), VERBS.len(), paths.len());
    assert!(asked > 1_500 && !it.log().contains("panicked"));
}

/// Addresses of both doors: what ali has, what eve has, what nobody has.
fn addresses(files: &BTreeMap<String, Vec<u8>>, ids: &BTreeMap<&str, String>, absent: &str) -> Vec<String> {
    let mut paths: Vec<String> =
        ["/", "/v1/certificate", "/v1/datasets", "/v1/dav", "/v1/dav/"].map(str::to_owned).into();
    for set in ["accounts", "mail", "gone", "nothing"] {
        paths.push(format!("/v1/datasets/{set}/snapshots"));
        for id in ids.values().map(String::as_str).chain(["latest", &"0".repeat(32)]) {
            paths.push(format!("/v1/datasets/{set}/snapshots/{id}"));
        }
    }
    for owner in ["ali", "eve", "mal", "nemo"] {
        for repo in ["home", "other"] {
            paths.push(format!("/{owner}/{repo}/config"));
            for kind in ["data", "keys", "locks", "snapshots", "index"] {
                paths.push(format!("/{owner}/{repo}/{kind}/"));
                paths.push(format!("/{owner}/{repo}/{kind}/{absent}"));
                let of_kind =
                    files.iter().filter(|(_, bytes)| bytes.ends_with(format!(" {kind}").as_bytes()));
                paths.extend(of_kind.map(|(file, _)| format!("/{owner}/{repo}/{kind}/{file}")));
            }
        }
        // What makes something comes last.
        paths.push(format!("/{owner}/home/?create=true"));
    }
    paths.push("/v1/dav/nothing/".into());
    paths.extend(["accounts", "mail", "home"].map(|set| format!("/v1/datasets/{set}")));
    paths.extend(["accounts", "mail", "home"].map(|set| format!("/v1/dav/{set}")));
    paths
}

/// What eve hears at ali's things is what she hears where nothing is.
fn not_yours_is_not_there(answers: &BTreeMap<(&str, String, String), Said>, ids: &BTreeMap<&str, String>) {
    let zeros = "0".repeat(32);
    let of = |verb: &str, path: &str| {
        let key = ("another client", verb.to_owned(), path.to_owned());
        let own = [(ids["ali"].as_str(), zeros.as_str()), ("accounts", "nothing"), ("ali", "nemo")];
        normal(answers.get(&key).unwrap_or_else(|| panic!("{verb} {path} was asked")), &own)
    };
    let mut compared = 0;
    for verb in VERBS {
        for id in ["", "/latest", &format!("/{}", ids["ali"])] {
            let absent = id.replace(&ids["ali"], &zeros);
            let (theirs, nothing) = (
                format!("/v1/datasets/accounts/snapshots{id}"),
                format!("/v1/datasets/nothing/snapshots{absent}"),
            );
            assert_eq!(of(verb, &theirs), of(verb, &nothing), "{verb} {theirs}");
            compared += 1;
        }
        let keys = answers
            .keys()
            .filter(|(who, of, path)| *who == "another client" && of == verb && path.starts_with("/ali/"));
        for (_, _, path) in keys {
            assert_eq!(of(verb, path), of(verb, &path.replacen("/ali/", "/nemo/", 1)), "{verb} {path}");
            compared += 1;
        }
    }
    eprintln!("{compared} pairs of \"not yours\" and \"not there\" are the same answer");
}
