//! Programs from a newer Debian suite, taken out of their packages and not installed: peers to test and measure against.
//!
//! apt does all of it, with lists and downloads in a folder of ours: it knows the mirror that the system uses, and it
//! checks signatures with the archive's keyring. Nothing of the system is changed, no root is needed.

use super::process;
use super::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The suite: it has the newest of everything.
const SUITE: &str = "sid";

/// `program` (a path inside the package) out of `package`, in a folder below `folder`; fetched when it is not there. Or in one
/// sentence why not.
pub fn fetch(folder: &Path, package: &str, program: &str) -> Result<PathBuf, String> {
    let there = folder.join(package).join(program);
    if there.is_file() {
        return Ok(there);
    }
    let missing = |why: String| format!("{package} of Debian {SUITE} is not to be had: {why}");
    get(folder, package).map_err(missing)?;
    if there.is_file() { Ok(there) } else { Err(missing(format!("{program} is not in it"))) }
}

fn get(folder: &Path, package: &str) -> Result<(), String> {
    if tools::find("apt-get").is_none() || tools::find("dpkg-deb").is_none() {
        return Err("no apt here".into());
    }
    let apt = Apt::new(folder).map_err(|e| e.to_string())?;
    let downloads = folder.join(format!("{package}.part"));
    let _ = fs::remove_dir_all(&downloads);
    fs::create_dir_all(&downloads).map_err(|e| e.to_string())?;
    if apt.run(&["download", package], &downloads).is_err() {
        apt.run(&["update", "-q"], folder)?;
        apt.run(&["download", package], &downloads)?;
    }
    let files = fs::read_dir(&downloads).map_err(|e| e.to_string())?;
    let file = files.filter_map(|f| Some(f.ok()?.path())).find(|f| f.extension().is_some_and(|e| e == "deb"));
    let file = file.ok_or("apt brought no package")?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(&file).arg(folder.join(package));
    process::run_ok(&mut unpack, LIMIT).map_err(|e| format!("{e:#}"))?;
    drop(fs::remove_dir_all(&downloads));
    Ok(())
}

/// apt with everything of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let own = folder.join("apt");
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(own.join(dir))?;
        }
        let list = own.join("sources.list");
        fs::write(&list, format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", mirror()?))?;
        let own = own.canonicalize()?;
        let options = [
            format!("Dir::Etc::sourcelist={}/sources.list", own.display()),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State::lists={}/lists", own.display()),
            format!("Dir::Cache={}/cache", own.display()),
            // As root apt would give downloads to a user that may not write here.
            "APT::Sandbox::User=root".into(),
        ];
        Ok(Self { options: options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect() })
    }

    fn run(&self, args: &[&str], within: &Path) -> Result<(), String> {
        let mut command = Command::new("apt-get");
        command.args(&self.options).args(args).current_dir(within).env("DEBIAN_FRONTEND", "noninteractive");
        let said = process::run_ok(&mut command, LIMIT);
        said.map(drop).map_err(|e| format!("{e:#}").trim().lines().last().unwrap_or("").to_owned())
    }
}

/// The mirror of Debian that this system uses.
fn mirror() -> Result<String, Box<dyn std::error::Error>> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(ORIGIN) $(SITE) $(REPO_URI)", "Identifier: Packages"]);
    let said = process::run_ok(&mut command, LIMIT)?.text();
    let uris = said.lines().filter_map(|line| line.strip_prefix("Debian ")?.split(' ').nth(1));
    let main = uris.map(str::to_owned).find(|uri| !uri.contains("security"));
    Ok(main.ok_or("this system has no mirror of Debian")?)
}
