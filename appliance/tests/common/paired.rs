//! A machine that is paired as a browser does it, and the files that it gets.

use super::{Got, TestBox};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A pairing: what the command said of it.
pub struct Paired {
    pub code: String,
    pub id: u64,
    pub json: Value,
}

pub fn pair(it: &TestBox, args: &[&str]) -> Paired {
    let json = it.json(&[&["client", "pair"], args].concat());
    let code = json["code"].as_str().expect("a code").to_owned();
    Paired { id: json["id"].as_u64().expect("a number"), code, json }
}

/// The body of a form.
pub fn post(it: &TestBox, path: &str, form: &str) -> Got {
    it.curl("", path, &["--data", form], b"")
}

pub fn location(got: &Got) -> String {
    let line = got.headers.lines().find_map(|line| line.strip_prefix("location: "));
    line.unwrap_or_else(|| panic!("no location: {} {}", got.status, got.headers)).trim().to_owned()
}

/// Uses a code up; gives the address behind it, without its query.
pub fn claim(it: &TestBox, code: &str, name: &str) -> String {
    let got = post(it, &format!("/pair/{code}"), &format!("name={name}"));
    assert_eq!(got.status, 303, "{}", got.text());
    location(&got).split('?').next().expect("an address").to_owned()
}

/// A folder with these files of a claimed pairing, downloaded.
pub fn downloaded(it: &TestBox, at: &str, files: &[&str]) -> PathBuf {
    let folder = it.path(&format!("downloads-{}", files[0]));
    fs::create_dir(&folder).expect("made");
    for name in files {
        let got = it.get("", &format!("{at}/{name}"));
        assert_eq!(got.status, 200, "{name}");
        assert!(got.headers.contains(&format!("attachment; filename=\"{name}\"")), "{}", got.headers);
        fs::write(folder.join(name), &got.body).expect("written");
    }
    folder
}

pub fn shell(folder: &Path, script: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder).envs(env.iter().copied()).stdin(Stdio::null());
    command.output().expect("a shell")
}

pub fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}
