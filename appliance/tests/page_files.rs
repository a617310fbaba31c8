//! Files of the pairing page put to use with the programs that they are for: a real PostgreSQL, restic as Backrest calls it.

mod common;

use common::TestBox;
use common::paired::{claim, downloaded, pair, said, shell};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// PostgreSQL refuses to run as root; this user is on every system.
const NOBODY: u32 = 65534;
/// What is in the database: text with everything that a dump must quote, numbers, bytes.
const ROWS: &str = "create table books (id int primary key, title text, price numeric(9,2), cover bytea); \
    insert into books select n, 'L''été, tome ' || n || E'\\t\\\\ \\n;', n * 1.25, decode(md5(n::text), 'hex') \
    from generate_series(1, 20000) n; create view cheap as select * from books where price < 100;";
const SUM: &str = "select count(*) || ' ' || md5(string_agg(b::text, '|' order by id)) from books b";

/// A PostgreSQL of its own: in a scratch folder, on a socket in it. It dies with the test.
struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// The newest one of this machine, as Debian lays it.
    fn start() -> Option<Self> {
        let mut all: Vec<PathBuf> =
            fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|e| e.path()).collect();
        all.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
        let programs =
            all.into_iter().rev().map(|path| path.join("bin")).find(|bin| bin.join("initdb").exists())?;
        // A short path: it must fit into the address of a socket.
        let folder = tempfile::Builder::new().prefix("pg-").tempdir().expect("a scratch folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let it = Self { programs, folder };
        it.run("initdb", &["-D", &it.at("data"), "-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        let options = format!("-c listen_addresses= -k {} -F", it.folder.path().display());
        it.run("pg_ctl", &["-D", &it.at("data"), "-l", &it.at("log"), "-w", "-o", &options, "start"]);
        Some(it)
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("PGHOST", self.folder.path()).env("PGUSER", "owner").current_dir(self.folder.path());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = self.command(program);
        // The server must not hold a pipe of this test.
        let log = fs::File::create(self.folder.path().join(format!("{program}.out"))).expect("made");
        let err = log.try_clone().expect("cloned");
        let status = command.args(args).stdout(log).stderr(err).status().expect("spawned");
        let told = fs::read_to_string(self.folder.path().join(format!("{program}.out"))).expect("text");
        assert!(status.success(), "{program}: {told}");
        told
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        self.run("psql", &["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let args = ["-D", &self.at("data"), "-m", "immediate", "stop"];
        let _ = self.command("pg_ctl").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// The snapshots of the data set, the newest last.
fn snapshots(it: &TestBox) -> Vec<Value> {
    let listed = it.json(&["snapshots", "server/postgres-shop"]);
    listed["snapshots"].as_array().cloned().unwrap_or_default()
}

#[test]
fn the_postgresql_script_brings_whole_dumps_and_fails_with_pg_dump() {
    let Some(server) = Postgres::start() else {
        return common::left_out("there is no PostgreSQL below /usr/lib/postgresql");
    };
    server.sql("postgres", "create database shop");
    server.sql("shop", ROWS);
    let sum = server.sql("shop", SUM);
    assert!(sum.starts_with("20000 "), "{sum}");

    let it = TestBox::new(1);
    let made = pair(&it, &["server"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["pg-backup.sh", "get.sh", "box.curl", "box.pem"]);
    let path = format!("{}:{}", server.programs.display(), std::env::var("PATH").expect("a path"));
    let host = server.folder.path().display().to_string();
    let run = |script: &str, path: &str| -> Output {
        shell(Path::new("/"), script, &[("PATH", path), ("PGHOST", &host), ("PGUSER", "owner")])
    };
    let script = folder.join("pg-backup.sh").display().to_string();

    // A database that is not there, before there is any snapshot: nothing at all arrives.
    let out = run(&format!("bash {script} nothing-of-this-name"), &path);
    let told = said(&out);
    assert!(
        !out.status.success() && told.contains("does not exist") && told.contains("nothing was pushed"),
        "{told}"
    );
    let out = run(&format!("bash {script}"), &path);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert_eq!(it.json(&["snapshots"])["snapshots"], serde_json::json!([]), "no dump is a backup");

    let out = run(&format!("bash {script} shop"), &path);
    assert!(out.status.success(), "{}", said(&out));
    let all = snapshots(&it);
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["kind"], &all[0]["complete"]), (&"postgres".into(), &true.into()), "{}", all[0]);

    // It comes back and makes the same database out of an empty one.
    let restored = folder.join("restored.sql");
    let out = shell(&folder, "sh get.sh postgres-shop restored.sql", &[]);
    assert!(out.status.success(), "{}", said(&out));
    let into = server.folder.path().join("restored.sql");
    fs::copy(&restored, &into).expect("copied");
    fs::set_permissions(&into, fs::Permissions::from_mode(0o644)).expect("readable");
    server.sql("postgres", "create database again");
    server.run(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "again", "-f", &into.display().to_string()],
    );
    assert_eq!(server.sql("again", SUM), sum);
    assert_eq!(
        server.sql("again", "select count(*) from cheap"),
        server.sql("shop", "select count(*) from cheap")
    );

    // pg_dump dies in the middle: the script fails, what came is marked, and `latest` stays the whole one.
    let liars = folder.join("liars");
    fs::create_dir(&liars).expect("made");
    let liar = "#!/bin/bash\nset -o pipefail\nPATH=${PATH#*:}\npg_dump \"$@\" | head -c 300000\nexit 1\n";
    fs::write(liars.join("pg_dump"), liar).expect("written");
    fs::set_permissions(liars.join("pg_dump"), fs::Permissions::from_mode(0o755)).expect("made executable");
    let out = run(&format!("bash {script} shop"), &format!("{}:{path}", liars.display()));
    assert!(!out.status.success(), "a dead pg_dump went unnoticed: {}", said(&out));
    let all = snapshots(&it);
    let whole: Vec<&Value> = all.iter().filter(|one| one["complete"] == true).collect();
    assert_eq!((all.len(), whole.len()), (2, 1), "{all:?}");
    let latest = it.get(&credentials(&folder, "server"), "/v1/datasets/postgres-shop/snapshots/latest");
    assert_eq!(latest.body, fs::read(&restored).expect("there"), "latest is the whole one");

    // pg_dump's own format goes the same way, and comes back to pg_restore.
    let out = run(&format!("COFFRE_DATASET=custom bash {script} shop -Fc"), &path);
    assert!(out.status.success(), "{}", said(&out));
    let got = it.get(&credentials(&folder, "server"), "/v1/datasets/custom/snapshots/latest");
    let archive = server.folder.path().join("archive");
    fs::write(&archive, &got.body).expect("written");
    server.sql("postgres", "create database third");
    server.run("pg_restore", &["-d", "third", &archive.display().to_string()]);
    assert_eq!(server.sql("third", SUM), sum);

    // Other databases of this host go elsewhere, each by itself.
    for database in ["Shop_2", "shop-2"] {
        server.sql("postgres", &format!("create database \"{database}\""));
        let out = run(&format!("bash {script} {database}"), &path);
        assert!(out.status.success(), "{}", said(&out));
    }
    let sets = it.json(&["dataset", "list"]);
    let names: Vec<&str> = sets["datasets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|set| set["dataset"].as_str())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&"server/postgres-shop-2"), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("server/postgres-shop-2-")), "{names:?}");
    assert_eq!(snapshots(&it).len(), 2, "the first one's are its own");

    // Over its quota the reason is read, and where nothing is taken it ends with 4.
    assert!(it.coffre(&["client", "set", "server", "--quota", "1"]).status.success());
    let out = run(&format!("bash {script} shop"), &path);
    assert!(out.status.code() == Some(4) && said(&out).contains("quota"), "{}", said(&out));
    assert!(it.coffre(&["client", "set", "server", "--quota", "default"]).status.success());

    // Who is no client any more is told so.
    assert!(it.coffre(&["client", "remove", "server"]).status.success());
    let out = run(&format!("bash {script} shop"), &path);
    assert!(!out.status.success() && said(&out).contains("401"), "{}", said(&out));
}

/// `NAME:SECRET` out of the options of curl.
fn credentials(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join("box.curl")).expect("there");
    let line = text.lines().find_map(|line| line.strip_prefix("user = \"")).expect("a user");
    let user = line.trim_end_matches('"').to_owned();
    assert!(user.starts_with(&format!("{name}:")));
    user
}

/// What Backrest does with its file (its `internal/orchestrator/repo`): the address, the environment and the flags go to
/// restic as they stand, the flags split as a shell splits words.
#[test]
fn restic_works_with_what_stands_in_backrest_json() {
    if Command::new("restic").arg("version").output().is_err() {
        return common::left_out("there is no restic on this machine");
    }
    let it = TestBox::new(1);
    let made = pair(&it, &["poste", "--kind", "windows"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["backrest.json", "box.pem"]);
    let config: Value =
        serde_json::from_slice(&fs::read(folder.join("backrest.json")).expect("there")).expect("JSON");
    let repo = &config["repos"][0];
    let texts = |key: &str| -> Vec<String> {
        repo[key]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one.as_str().expect("text").to_owned())
            .collect()
    };
    // C:/Coffre is a folder like another here, below the one that restic runs in.
    let drive = folder.join("C:/Coffre");
    fs::create_dir_all(&drive).expect("made");
    fs::copy(folder.join("box.pem"), drive.join("box.pem")).expect("copied");
    fs::write(folder.join("books"), common::noise(2_000_000, 5)).expect("written");
    let restic = |words: &[&str]| -> Output {
        let mut command = Command::new("restic");
        command.args(words);
        for flag in texts("flags") {
            assert!(!flag.contains(['\\', '"', '\'', '$']), "it would be split otherwise: {flag}");
            command.args(flag.split_whitespace());
        }
        for pair in texts("env") {
            let (name, value) = pair.split_once('=').expect("NAME=VALUE");
            command.env(name, value);
        }
        command.env("RESTIC_REPOSITORY", repo["uri"].as_str().expect("an address"));
        command.env("RESTIC_CACHE_DIR", it.path("restic-cache")).current_dir(&folder).stdin(Stdio::null());
        command.output().expect("restic")
    };
    let out = restic(&["init", "--json"]);
    assert!(!out.status.success(), "a repository was made without a password of its owner's");
    fs::write(drive.join("restic-password"), "a password of one's own\n").expect("written");
    for words in [
        &["init"][..],
        &["backup", "books", "--json"],
        &["check", "--read-data"],
        &["restore", "latest", "--target", "back"],
    ] {
        let out = restic(words);
        assert!(out.status.success(), "{words:?}: {}", said(&out));
    }
    let out = shell(&folder, "cmp books \"$(find back -name books)\"", &[]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(it.json(&["repo", "list"])["repositories"][0]["snapshots_count"], 1);
}

/// rclone with nothing but the file's environment: copies in and out, a list, and what is refused.
#[test]
fn rclone_copies_with_what_stands_in_rclone_env() {
    if Command::new("rclone").arg("version").output().is_err() {
        return common::left_out("there is no rclone on this machine");
    }
    let it = TestBox::new(1);
    let made = pair(&it, &["nas", "--kind", "nas"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["rclone.env", "box.pem"]);
    let here = folder.display().to_string();
    let rclone = |words: &str| {
        let line = format!(". ./rclone.env && rclone --config '' --retries 1 --low-level-retries 1 {words}");
        shell(&folder, &line, &[("COFFRE_DIR", here.as_str())])
    };
    let done = |words: &str| {
        let out = rclone(words);
        assert!(out.status.success(), "{words}: {}", said(&out));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(done("lsf coffre:"), "");
    fs::write(folder.join("shop.sql"), common::noise(3_000_000, 5)).expect("written");
    done("copyto shop.sql coffre:shop");
    done("copyto coffre:shop back.sql");
    assert_eq!(fs::read(folder.join("back.sql")).expect("there"), common::noise(3_000_000, 5));
    // As long as before and other bytes: a new snapshot, and the old one stays.
    fs::write(folder.join("shop.sql"), common::noise(3_000_000, 6)).expect("written");
    done("copyto shop.sql coffre:shop");
    done("copyto coffre:shop back.sql");
    assert_eq!(fs::read(folder.join("back.sql")).expect("there"), common::noise(3_000_000, 6));
    let out = shell(
        &folder,
        ". ./rclone.env && printf 'from a pipe' | rclone --config '' rcat coffre:notes",
        &[("COFFRE_DIR", here.as_str())],
    );
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(done("cat coffre:notes"), "from a pipe");
    assert_eq!(done("lsf --format ps coffre:"), "notes;11\nshop;3000000\n");
    for words in [
        "deletefile coffre:shop",
        "purge coffre:",
        "moveto coffre:shop coffre:other",
        "mkdir coffre:folder",
        "copyto shop.sql coffre:folder/shop",
        "copyto shop.sql coffre:SHOP",
    ] {
        assert!(!rclone(words).status.success(), "{words}");
    }
    let out = rclone("copyto shop.sql coffre:SHOP");
    assert!(said(&out).contains("like shop"), "why not is read: {}", said(&out));
    // Another remote of the same shell works as ever, with the times that it minds and without our certificate.
    fs::create_dir(folder.join("other")).expect("made");
    let other = ". ./rclone.env && export RCLONE_CONFIG_OTHER_TYPE=local && \
        rclone --config '' copyto \"other:$PWD/shop.sql\" \"other:$PWD/other/shop.sql\" && cmp shop.sql other/shop.sql && \
        [ -z \"${RCLONE_CA_CERT:-}${RCLONE_IGNORE_TIMES:-}\" ]";
    let out = shell(&folder, other, &[("COFFRE_DIR", here.as_str())]);
    assert!(out.status.success(), "{}", said(&out));
    let again = ". ./rclone.env && RCLONE_CONFIG_COFFRE_HEADERS=other && . ./rclone.env";
    assert!(said(&shell(&folder, again, &[])).contains("from now on coffre: is nas"));
    assert_eq!(done("lsf coffre:"), "notes\nshop\n");
    let kept = it.json(&["snapshots", "nas/shop"]);
    assert_eq!(kept["snapshots"].as_array().map(Vec::len), Some(2), "{kept}");
}

/// The scripts for any machine with curl: what cannot be pushed or given back says why, and files that are there stay.
#[test]
fn push_and_get_say_why_and_replace_nothing() {
    let it = TestBox::new(1);
    let made = pair(&it, &["nas", "--kind", "nas"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["push.sh", "get.sh", "box.curl", "box.pem"]);
    let elsewhere = it.path("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let run = |line: &str| {
        let out = shell(&elsewhere, &line.replace("@", &folder.display().to_string()), &[]);
        (out.status.code().expect("a code"), said(&out))
    };
    // Names that curl would take for several files.
    for (file, set) in
        [("backup[1].sql", "one"), ("{a,b}.sql", "two"), ("with a blank", "three"), ("-T", "four")]
    {
        fs::write(elsewhere.join(file), format!("wanted {file}")).expect("written");
        let (ended, told) = run(&format!("sh @/push.sh './{file}' {set}"));
        assert!(ended == 0 && told.contains(&format!("nas/{set}")), "{file}: {told}");
        let (ended, told) = run(&format!("sh @/get.sh {set} back-{set}"));
        assert!(ended == 0, "{told}");
        assert_eq!(
            fs::read_to_string(elsewhere.join(format!("back-{set}"))).expect("back"),
            format!("wanted {file}")
        );
    }
    fs::write(elsewhere.join("a.sql"), "other").expect("written");
    let url = it.url();
    let by_hand =
        format!("curl -sS -K box.curl -T '{}/{{a,b}}.sql' {url}/v1/datasets/hand", elsewhere.display());
    assert!(shell(&folder, &by_hand, &[]).status.success(), "the options alone do as well");
    assert_eq!(
        it.get(&credentials(&folder, "nas"), "/v1/datasets/hand/snapshots/latest").text(),
        "wanted {a,b}.sql"
    );
    let (ended, told) =
        run("printf 'from a pipe' | sh @/push.sh - pipe && sh @/get.sh pipe piped && cat piped");
    assert!(ended == 0 && told.contains("from a pipe"), "{told}");
    let (ended, told) =
        run("printf '' | sh @/push.sh - empty && sh @/get.sh empty nothing && wc -c <nothing");
    assert!(ended == 0 && told.ends_with("0\n"), "{told}");

    // What is there stays; what does not come makes no file.
    let (ended, told) = run("echo mine >kept; sh @/get.sh one kept; code=$?; cat kept; exit $code");
    assert!(ended == 2 && told.contains("is there already") && told.starts_with("mine\n"), "{told}");
    let before = fs::read_dir(&elsewhere).expect("there").count();
    for (line, code, why) in [
        ("sh @/get.sh nothing-of-it fresh", 4, "HTTP 404"),
        ("sh @/get.sh one no/such/folder/fresh", 2, "cannot be written"),
        ("sh @/push.sh a.sql Photos_2026", 4, "like photos-2026"),
        ("sh @/push.sh . documents", 2, "is a folder"),
        ("sh @/push.sh missing documents", 2, "cannot be read"),
        ("sh @/push.sh a.sql", 2, "which data set"),
    ] {
        let (ended, told) = run(line);
        assert!(ended == code && told.contains(why), "{line}: {ended} {told}");
    }
    assert_eq!(
        fs::read_dir(&elsewhere).expect("there").count(),
        before,
        "no file of a refusal, no part of one"
    );

    // Over the quota: by the script, by curl with the file's options, and by a curl that does not know them all.
    assert!(it.coffre(&["client", "set", "nas", "--quota", "1"]).status.success());
    let (ended, told) = run("sh @/push.sh a.sql documents");
    assert!(ended == 4 && told.contains("quota"), "{ended} {told}");
    let out = shell(&folder, &format!("curl -s -K box.curl -T box.pem {url}/v1/datasets/x"), &[]);
    assert!(out.status.code() == Some(22) && said(&out).contains("quota"), "{:?} {}", out.status, said(&out));
    let old = "sed -i.all '/^fail-with-body/d' box.curl && curl -sS -A curl/7.74.0 -K box.curl";
    for push in ["-T box.pem", "-T - <box.pem"] {
        let out = shell(&folder, &format!("{old} {push} {url}/v1/datasets/x"), &[]);
        assert!(
            out.status.code() == Some(18) && said(&out).contains("quota"),
            "{:?} {}",
            out.status,
            said(&out)
        );
    }
    let out = shell(&folder, &format!("{old} {url}/v1/datasets/one/snapshots/latest"), &[]);
    assert!(
        out.status.success() && said(&out) == "wanted backup[1].sql",
        "what is no refusal is whole: {}",
        said(&out)
    );
}

/// restic through its script: two at once make one repository, and another repository of the same shell is left alone.
#[test]
fn restic_backup_makes_one_repository_however_often_it_runs() {
    if Command::new("restic").arg("version").output().is_err() {
        return common::left_out("there is no restic on this machine");
    }
    let it = TestBox::new(1);
    let made = pair(&it, &["pc", "--kind", "linux"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["restic-backup.sh", "restic.env", "box.pem"]);
    let cache = it.path("restic-cache").display().to_string();
    let here = folder.display().to_string();
    let run = |script: &str| {
        shell(&folder, script, &[("RESTIC_CACHE_DIR", cache.as_str()), ("COFFRE_DIR", here.as_str())])
    };
    fs::write(folder.join("books"), common::noise(300_000, 5)).expect("written");
    let out = run("sh restic-backup.sh books");
    assert!(out.status.code() == Some(2) && said(&out).contains("restic-password"), "{}", said(&out));
    // The line of the page, twice: the password that is on paper by now stays.
    let draw = "(umask 077; set -C; head -c 18 /dev/urandom | base64 > ./restic-password)";
    assert!(run(draw).status.success());
    let drawn = fs::read(folder.join("restic-password")).expect("there");
    assert!(!run(draw).status.success() && fs::read(folder.join("restic-password")).expect("there") == drawn);
    let twice =
        run("sh restic-backup.sh books & one=$!; sh restic-backup.sh books; two=$?; wait $one && exit $two");
    assert!(twice.status.success(), "{}", said(&twice));
    let listed = it.json(&["repo", "list"]);
    assert_eq!(listed["repositories"][0]["snapshots_count"], 2, "{listed}");
    let keys = it.json(&["repo", "files", "pc/default"]);
    let keys = keys["files"].as_array().expect("a list").iter().filter(|file| file["kind"] == "keys").count();
    assert_eq!(keys, 1, "one key");
    let out = run(
        ". ./restic.env && restic restore latest --target back && cmp books \"$(find back -name books)\" && \
         export RESTIC_PASSWORD=x && restic -r ./local init && restic -r ./local backup books && restic snapshots && \
         [ -z \"${RESTIC_REPOSITORY:-}${RESTIC_CACERT:-}${RESTIC_PASSWORD_FILE:-}\" ]",
    );
    assert!(out.status.success() && said(&out).contains("2 snapshots"), "{}", said(&out));
}

/// A folder with programs that only write down how they were called.
fn stubs(folder: &Path, bodies: &[(&str, &str)]) -> String {
    let bin = folder.join("stubs");
    fs::create_dir_all(&bin).expect("made");
    for (name, body) in bodies {
        let text = format!("#!/bin/sh\necho {name} \"$@\" >>'{}/calls'\n{body}\n", folder.display());
        fs::write(bin.join(name), text).expect("written");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("made executable");
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"))
}

/// `daily.sh` where there is systemd, launchd, or cron only. Those three are stand-ins here; what is written for systemd is
/// given to the real `systemd-analyze` where there is one.
#[test]
fn the_schedule_is_written_once_and_says_what_was_meant() {
    let it = TestBox::new(1);
    let made = pair(&it, &["pc", "--kind", "linux"]);
    let at = claim(&it, &made.code, "");
    let folder = downloaded(&it, &at, &["daily.sh"]);
    let home = folder.display().to_string();
    let words = r#"/bin/sh -c 'echo "$1" 100% \\ >"$2"' sh "it's <one> & all" out"#;
    let run = |stubs: &str, words: &str| {
        shell(&folder, words, &[("PATH", stubs), ("HOME", home.as_str()), ("XDG_CONFIG_HOME", "")])
    };
    let set = format!("sh daily.sh documents {words}");

    let user = stubs(
        &folder,
        &[
            ("systemctl", "exit 0"),
            ("loginctl", "exit 0"),
            ("id", "case $1 in -u) echo 1000;; *) echo me;; esac"),
        ],
    );
    for _ in 0..2 {
        let out = run(&user, &set);
        assert!(out.status.success(), "{}", said(&out));
    }
    let units = folder.join(".config/systemd/user");
    let service = fs::read_to_string(units.join("coffre-documents.service")).expect("there");
    let timer = fs::read_to_string(units.join("coffre-documents.timer")).expect("there");
    assert!(service.contains("ExecStart=\"/bin/sh\" \"-c\" \"echo \\\"$$1\\\" 100%% "), "{service}");
    assert!(timer.contains("OnCalendar=*-*-* 01:30:00") && timer.contains("Persistent=true"), "{timer}");
    let calls = fs::read_to_string(folder.join("calls")).expect("there");
    assert!(calls.contains("systemctl --user enable --now coffre-documents.timer"), "{calls}");
    let other = run(&user, "sh daily.sh documents /bin/true");
    assert!(other.status.code() == Some(2) && said(&other).contains("stays as it is"), "{}", said(&other));
    assert_eq!(fs::read_to_string(units.join("coffre-documents.service")).expect("there"), service);
    if let Ok(out) = Command::new("systemd-analyze")
        .args(["verify", "--user"])
        .args(["coffre-documents.service", "coffre-documents.timer"].map(|unit| units.join(unit)))
        .env("XDG_RUNTIME_DIR", it.path("run"))
        .output()
    {
        let told = said(&out);
        assert!(!told.contains("coffre-documents"), "{told}");
    }

    let mac = stubs(&folder, &[("uname", "echo Darwin"), ("launchctl", "exit 0")]);
    for _ in 0..2 {
        let out = run(&mac, &format!("COFFRE_AT=09:05 {set}"));
        assert!(out.status.success(), "{}", said(&out));
    }
    let agent =
        fs::read_to_string(folder.join("Library/LaunchAgents/net.coffre-documents.plist")).expect("there");
    assert!(agent.contains("<string>it's &lt;one&gt; &amp; all</string>"), "{agent}");
    assert!(
        agent.contains("<key>Hour</key><integer>9</integer><key>Minute</key><integer>5</integer>"),
        "{agent}"
    );

    // Cron: the line is run here by the shell as cron would, a `%` unescaped first as cron does.
    let table = "if [ \"$1\" = -l ]; then cat \"$HOME/table\"; else cat >\"$HOME/table.new\" && mv \"$HOME/table.new\" \"$HOME/table\"; fi";
    let cron = stubs(&folder, &[("uname", "echo Linux"), ("systemctl", "exit 1"), ("crontab", table)]);
    fs::write(folder.join("table"), "5 4 * * * somebody else's\n").expect("written");
    for _ in 0..2 {
        let out = run(&cron, &set);
        assert!(out.status.success(), "{}", said(&out));
    }
    let other = run(&cron, "sh daily.sh documents /bin/true");
    assert_eq!(other.status.code(), Some(2), "{}", said(&other));
    let table = fs::read_to_string(folder.join("table")).expect("there");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "5 4 * * * somebody else's", "{table}");
    let command = lines[1].strip_prefix("30 01 * * * ").expect("a time").replace("\\%", "%");
    let out = shell(&folder, &command, &[]);
    assert!(out.status.success(), "{}", said(&out));
    let written = fs::read_to_string(folder.join("out")).expect("there");
    assert!(written.starts_with("it's <one> & all 100% "), "{written}");
    for bad in [
        "sh daily.sh",
        "sh daily.sh a",
        "sh daily.sh A /bin/true",
        "sh daily.sh a bin/true",
        "COFFRE_AT=25:00 sh daily.sh a /bin/true",
        "sh daily.sh a /etc/passwd",
    ] {
        assert_eq!(run(&cron, bad).status.code(), Some(2), "{bad}");
    }
}
