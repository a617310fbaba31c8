//! Disks exchanged, added and found again under a running daemon, by the command line alone.

mod common;

use common::{TestBox, noise};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// Longest wait for the box to see or to mend something.
const PATIENCE: Duration = Duration::from_secs(90);

fn code(out: &Output) -> Option<i32> {
    out.status.code()
}

fn error(out: &Output) -> Value {
    serde_json::from_slice::<Value>(&out.stdout).expect("JSON")["error"].clone()
}

/// Asks for the status until it is as wanted.
fn wait_for(it: &TestBox, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let status = it.json(&["status"]);
        if wanted(&status) {
            return status;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_green(status: &Value) -> bool {
    status["light"] == "green" && states(status).iter().all(|state| state == "active")
}

fn states(status: &Value) -> Vec<String> {
    let disks = status["disks"].as_array().expect("disks").iter();
    disks.map(|disk| disk["state"].as_str().expect("a state").to_owned()).collect()
}

fn folder(it: &TestBox, name: &str) -> String {
    fs::create_dir(it.path(name)).expect("writable");
    it.path(name).display().to_string()
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()) {
        match entry.is_dir() {
            true => all.extend(files(&entry)),
            false => drop(all.insert(entry.clone(), fs::read(&entry).expect("readable"))),
        }
    }
    all
}

#[test]
fn a_disk_is_replaced_and_the_old_one_is_retired() {
    let it = TestBox::new(4);
    let pc = it.client("pc", &[]);
    let (before, after) = (noise(3_000_000, 1), noise(2_000_000, 2));
    assert_eq!(it.put(&pc, "d", &before).status, 201);
    let old_id = it.json(&["disk", "list"])["disks"][1]["id"].clone();
    // Long enough for a clock that goes back to its last note to be caught.
    std::thread::sleep(Duration::from_secs(2));
    let clock = it.json(&["clock", "show"])["retention_at"].clone();
    let new = folder(&it, "new");
    let told = it.json(&["disk", "replace", "2", "--with", &new, "--yes"]);
    assert_eq!((&told["joined"], &told["geometry"]), (&true.into(), &"3+1".into()), "{told}");
    let disk = &told["disk"];
    assert_eq!(
        (&disk["number"], &disk["path"], &disk["state"]),
        (&2.into(), &new.clone().into(), &"active".into())
    );
    assert_ne!(disk["id"], old_id);
    let later = it.json(&["clock", "show"])["retention_at"].clone();
    assert!(later.as_str() >= clock.as_str(), "the retention clock goes on: {clock}, {later}");
    assert_eq!(it.put(&pc, "e", &after).status, 201, "backups go on");
    let status = wait_for(&it, "rebuilt", is_green);
    assert_eq!(status["can_lose_disks"], 1);
    assert!(status["heal"]["healed_shards"].as_u64() > Some(0), "{status}");
    let finds = it.json(&["scrub", "--show"])["finds"].clone();
    assert_eq!(finds, serde_json::json!([]), "what a new disk still lacks is no damage");

    // The old one stands where it stood, and is nothing but told.
    let listed = it.json(&["disk", "list"]);
    let retired = &listed["disks"][4];
    assert_eq!((&retired["id"], &retired["state"]), (&old_id, &"retired".into()), "{listed}");
    assert_eq!(it.json(&["status"])["disks"].as_array().map(Vec::len), Some(4));
    let untouched = files(&it.path("disk1"));
    let old = it.path("disk1").display().to_string();
    for args in [&["disk", "add"][..], &["disk", "replace", "1", "--yes", "--with"]] {
        let out = it.coffre(&[args, &[old.as_str(), "--json"]].concat());
        assert_eq!((code(&out), &error(&out)["class"]), (Some(5), &"refused".into()), "{args:?}");
    }
    // Nothing needs it any more, and it is said.
    let found = it.json(&["disk", "find", &old]);
    assert_eq!((&found["disk"]["state"], &found["joined"]), (&"retired".into(), &false.into()), "{found}");
    assert_eq!(found["disk"]["may_be_taken_out"], true, "{found}");
    // Without another disk, three of the four shards are there, the new disk's among them.
    fs::rename(it.path("disk0"), it.path("away")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[0] == "absent");
    assert!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body == before);
    assert!(it.get(&pc, "/v1/datasets/e/snapshots/latest").body == after);
    fs::rename(it.path("away"), it.path("disk0")).expect("renamed");
    wait_for(&it, "back", is_green);
    assert!(files(&it.path("disk1")) == untouched, "nothing of the old disk was touched");
}

#[test]
fn a_dead_disk_is_replaced_by_its_path_and_a_restart_keeps_it_so() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(1_500_000, 3);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    fs::remove_dir_all(it.path("disk2")).expect("removable");
    let status = wait_for(&it, "dead", |status| states(status)[2] == "absent");
    assert_ne!(status["light"], "green");
    let (dead, new) = (it.path("disk2").display().to_string(), folder(&it, "new"));
    let people = it.coffre(&["disk", "replace", &dead, "--with", &new]);
    let said = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(people.status.success() && said.contains("Disk 3 is") && said.contains("in use"), "{said}");
    wait_for(&it, "rebuilt", is_green);
    assert_eq!(it.stop("KILL"), None);
    it.start();
    let status = wait_for(&it, "green after a kill", is_green);
    assert_eq!(status["disks"][2]["path"].as_str(), Some(new.as_str()));
    fs::remove_dir_all(it.path("disk0")).expect("removable");
    assert!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body == body);
}

#[test]
fn what_cannot_be_meant_or_may_not_be_changes_no_disk() {
    let it = TestBox::new(3);
    let before = it.json(&["disk", "list"]);
    let names = |list: &Value| -> Vec<Value> {
        list["disks"].as_array().expect("disks").iter().map(|d| d["id"].clone()).collect()
    };
    let (empty, full) = (folder(&it, "empty"), folder(&it, "full"));
    fs::write(it.path("full/letter"), b"dear").expect("writable");
    let (missing, disk0) = (it.path("missing").display().to_string(), it.path("disk0").display().to_string());
    let inside = folder(&it, "disk0/inside");
    let cases: [(&[&str], i32, &str); 14] = [
        (&["replace", "1", "--with", &full], 5, "refused"),
        (&["add", &full], 5, "refused"),
        (&["replace", "1", "--with", &disk0], 5, "refused"),
        (&["replace", "1", "--with", &missing], 4, "absent"),
        (&["add", &missing], 4, "absent"),
        (&["find", &missing], 4, "absent"),
        (&["find", &empty], 4, "absent"),
        (&["replace", "7", "--with", &empty], 4, "absent"),
        (&["replace", "0", "--with", &empty], 4, "absent"),
        (&["replace", "abc", "--with", &empty], 4, "absent"),
        (&["add", &inside], 2, "misuse"),
        (&["replace", "1"], 2, "misuse"),
        // Nobody can be asked.
        (&["replace", "1", "--with", &empty], 5, "refused"),
        (&["undo", "1"], 4, "absent"),
    ];
    for (args, expected, class) in cases {
        let out = it.coffre(&[&["disk"], args, &["--json"]].concat());
        assert_eq!((code(&out), error(&out)["class"].as_str()), (Some(expected), Some(class)), "{args:?}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.starts_with("coffre: "), "{args:?}: {said}");
    }
    fs::remove_dir(it.path("disk0/inside")).expect("still empty");
    assert_eq!(fs::read(it.path("full/letter")).expect("there"), b"dear");
    assert!(files(&it.path("empty")).is_empty(), "a refusal leaves nothing");
    let after = it.json(&["disk", "list"]);
    assert_eq!(names(&after), names(&before));
    // The folder that lay on a disk is told until the next look finds it gone.
    wait_for(&it, "empty, and nothing else", |status| {
        let reasons = status["reasons"].as_array().expect("reasons");
        reasons.len() == 1 && reasons[0].as_str().is_some_and(|why| why.contains("nothing is backed up yet"))
    });

    // The only disk cannot leave; the disk of another vault is not found here.
    let one = TestBox::new(1);
    let new = folder(&one, "new");
    let out = one.coffre(&["disk", "replace", "1", "--with", &new, "--yes", "--json"]);
    assert_eq!((code(&out), &error(&out)["class"]), (Some(5), &"refused".into()), "{}", error(&out));
    assert!(files(&one.path("new")).is_empty());
    let foreign = one.path("disk0").display().to_string();
    for verb in ["find", "add"] {
        assert_eq!(code(&it.coffre(&["disk", verb, &foreign])), Some(5), "{verb}");
    }
    let down = TestBox::without_daemon(2);
    assert_eq!(code(&down.coffre(&["disk", "add", &empty])), Some(3));
}

#[test]
fn a_disk_more_widens_the_geometry_and_eight_are_the_most() {
    let it = TestBox::new(2);
    let pc = it.client("pc", &[]);
    let (before, after) = (noise(1_000_000, 4), noise(1_000_000, 5));
    assert_eq!(it.put(&pc, "d", &before).status, 201);
    let new = folder(&it, "new");
    let told = it.json(&["disk", "add", &new]);
    assert_eq!((&told["joined"], &told["geometry"]), (&true.into(), &"2+1".into()), "{told}");
    assert_eq!((&told["disk"]["number"], &told["disk"]["path"]), (&3.into(), &new.into()));
    assert_eq!(it.put(&pc, "e", &after).status, 201);
    wait_for(&it, "green", is_green);
    fs::rename(it.path("disk0"), it.path("away")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[0] == "absent");
    assert!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body == before);
    assert!(it.get(&pc, "/v1/datasets/e/snapshots/latest").body == after);

    let most = TestBox::new(8);
    let ninth = folder(&most, "ninth");
    let out = most.coffre(&["disk", "add", &ninth, "--json"]);
    assert_eq!((code(&out), &error(&out)["class"]), (Some(5), &"refused".into()), "{}", error(&out));
    assert!(files(&most.path("ninth")).is_empty());
}

#[test]
fn a_disk_that_moved_is_found() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let body = noise(800_000, 6);
    assert_eq!(it.put(&pc, "d", &body).status, 201);
    fs::create_dir(it.path("elsewhere")).expect("writable");
    fs::rename(it.path("disk1"), it.path("elsewhere/disk")).expect("renamed");
    wait_for(&it, "away", |status| states(status)[1] == "absent");
    let at = it.path("elsewhere/disk").display().to_string();
    let told = it.json(&["disk", "find", &at]);
    assert_eq!((&told["disk"]["number"], &told["disk"]["path"]), (&2.into(), &at.clone().into()), "{told}");
    assert_eq!((&told["joined"], &told["geometry"]), (&true.into(), &"2+1".into()));
    wait_for(&it, "green", is_green);
    assert_eq!(code(&it.coffre(&["disk", "find", &at])), Some(0), "saying it again changes nothing");
    assert!(!it.path("disk1").exists());
    fs::rename(it.path("disk0"), it.path("away")).expect("renamed");
    wait_for(&it, "another away", |status| states(status)[0] == "absent");
    assert!(it.get(&pc, "/v1/datasets/d/snapshots/latest").body == body);
}

fn latest(it: &TestBox, pc: &str, name: &str) -> Vec<u8> {
    it.get(pc, &format!("/v1/datasets/{name}/snapshots/latest")).body
}

/// Everything that was acknowledged reads back.
fn all_read_back(it: &TestBox, pc: &str, kept: &[(String, Vec<u8>)]) {
    for (name, body) in kept {
        assert!(latest(it, pc, name) == *body, "{name} does not read back");
    }
}

/// Larger disks for all of them, one command after the other, as anybody does: a disk does not go before the others have what
/// only it has, and when all have gone everything is there.
#[test]
fn every_disk_is_replaced_in_turn_and_nothing_is_lost() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let mut kept = Vec::new();
    for n in 0..3 {
        let (name, body) = (format!("e{n}"), noise(24_000_000, n));
        assert_eq!(it.put(&pc, &name, &body).status, 201);
        kept.push((name, body));
    }
    wait_for(&it, "green", is_green);
    let mut refused = 0;
    for n in 0..3 {
        let (old, new) =
            (it.path(&format!("disk{n}")).display().to_string(), folder(&it, &format!("new{n}")));
        let since = Instant::now();
        loop {
            let out = it.coffre(&["disk", "replace", &old, "--with", &new, "--yes", "--json"]);
            if out.status.success() {
                break;
            }
            let (class, what) = (error(&out)["class"].clone(), error(&out)["what"].to_string());
            assert_eq!((code(&out), &class), (Some(5), &"refused".into()), "{what}");
            assert!(
                error(&out)["next"].is_string() && files(&it.path(&format!("new{n}"))).is_empty(),
                "{what}"
            );
            refused += 1;
            assert!(since.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
        all_read_back(&it, &pc, &kept);
    }
    eprintln!("refused {refused} times");
    wait_for(&it, "rebuilt", is_green);
    let listed = it.json(&["disk", "list"]);
    let may_go = listed["disks"].as_array().expect("disks").iter().filter(|d| d["may_be_taken_out"] == true);
    assert_eq!(may_go.count(), 3, "{listed}");
    for n in 0..3 {
        fs::remove_dir_all(it.path(&format!("disk{n}"))).expect("removable");
    }
    fs::rename(it.path("new1"), it.path("away")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[1] == "absent");
    all_read_back(&it, &pc, &kept);
}

/// A healthy disk was replaced by mistake: it comes back whole, and what was written meanwhile is brought onto it.
#[test]
fn a_disk_that_was_replaced_by_mistake_comes_back_whole() {
    let mut it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let mut kept = vec![("a".to_owned(), noise(5_000_000, 1))];
    assert_eq!(it.put(&pc, "a", &kept[0].1).status, 201);
    let old_id = it.json(&["disk", "list"])["disks"][2]["id"].clone();
    let new = folder(&it, "new");
    let asked = it.coffre(&["disk", "replace", "3", "--with", &new, "--json"]);
    assert_eq!((code(&asked), &error(&asked)["class"]), (Some(5), &"refused".into()));
    assert!(
        error(&asked)["what"].as_str().is_some_and(|why| why.contains("disk 3") && why.contains("healthy"))
    );
    assert!(
        error(&asked)["next"].as_str().is_some_and(|next| next.contains("--yes"))
            && files(&it.path("new")).is_empty()
    );
    it.json(&["disk", "replace", "3", "--with", &new, "--yes"]);
    kept.push(("b".to_owned(), noise(4_000_000, 2)));
    assert_eq!(it.put(&pc, "b", &kept[1].1).status, 201);
    wait_for(&it, "rebuilt", is_green);
    kept.push(("c".to_owned(), noise(100_000, 3)));
    assert_eq!(it.put(&pc, "c", &kept[2].1).status, 201);
    let back = it.json(&["disk", "undo", "3", "--yes"]);
    assert_eq!(
        (&back["joined"], &back["disk"]["id"], &back["disk"]["number"]),
        (&true.into(), &old_id, &3.into())
    );
    wait_for(&it, "whole again", is_green);
    assert_eq!(it.json(&["scrub", "--deep"])["finds"], serde_json::json!([]), "what it lacked is no damage");
    fs::remove_dir_all(it.path("new")).expect("removable");
    fs::rename(it.path("disk0"), it.path("away")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[0] == "absent");
    all_read_back(&it, &pc, &kept);
    fs::rename(it.path("away"), it.path("disk0")).expect("renamed");
    assert_eq!(it.stop("KILL"), None);
    it.start();
    wait_for(&it, "green after a kill", is_green);
    all_read_back(&it, &pc, &kept);
}

/// Somebody gave up a disk that was still needed, and it shows: what only it has is taken from it, and the light says so.
#[test]
fn what_only_a_retired_disk_has_is_taken_from_it() {
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    // With one disk away the pack lies on the two that are there.
    fs::rename(it.path("disk0"), it.path("away0")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[0] == "absent");
    let kept = vec![("a".to_owned(), noise(6_000_000, 1))];
    assert_eq!(it.put(&pc, "a", &kept[0].1).status, 201);
    fs::rename(it.path("away0"), it.path("disk0")).expect("renamed");
    wait_for(&it, "all there", is_green);
    // One of the two loses its shards: with the other away nothing can be read, and that one may not go.
    fs::rename(it.path("disk2"), it.path("away2")).expect("renamed");
    wait_for(&it, "one away", |status| states(status)[2] == "absent");
    let shards: Vec<PathBuf> = files(&it.path("disk1/shards")).into_keys().collect();
    assert!(!shards.is_empty());
    shards.iter().for_each(|shard| fs::remove_file(shard).expect("removable"));
    it.coffre(&["scrub"]);
    let red = wait_for(&it, "unreadable", |status| status["light"] == "red");
    assert!(red["reasons"].to_string().contains("cannot be read"), "{red}");
    let new = folder(&it, "new");
    let out = it.coffre(&["disk", "replace", "3", "--with", &new, "--json"]);
    assert_eq!((code(&out), &error(&out)["class"]), (Some(5), &"refused".into()), "{}", error(&out));
    assert!(error(&out)["next"].as_str().is_some_and(|next| next.contains("--give-up")), "{}", error(&out));
    let told = it.json(&["disk", "replace", "3", "--with", &new, "--give-up"]);
    assert_eq!(told["joined"], true, "{told}");
    assert_ne!(it.get(&pc, "/v1/datasets/a/snapshots/latest").status, 200);
    // It shows somewhere else, and the box is told.
    let found = it.json(&["disk", "find", &it.path("away2").display().to_string()]);
    assert_eq!(found["disk"]["state"], "retired", "{found}");
    all_read_back(&it, &pc, &kept);
    wait_for(&it, "made again from it", is_green);
    fs::remove_dir_all(it.path("away2")).expect("removable");
    fs::rename(it.path("disk0"), it.path("away0")).expect("renamed");
    wait_for(&it, "another away", |status| states(status)[0] == "absent");
    all_read_back(&it, &pc, &kept);
}
