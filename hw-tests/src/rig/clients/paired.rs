//! The file of the pairing page that is for a client, used as it was downloaded: rustic's profile, Backrest's configuration.
//!
//! Backrest is no program of this rig. What it does with its file is done here: the address, the environment and the flags go to
//! restic as they stand. Its file names paths on a Windows; a folder called `C:` takes their place.

use super::files;
use super::program::{Client, Kind, LIMIT, Program};
use super::stage::Stage;
use crate::rig::{pages, process};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A client's command with these words.
type Run = Box<dyn Fn(&[&str]) -> Command>;

const PASSWORD: &str = "a password that stands in a file\n";

/// Pairs a machine, takes its file, and makes a repository, a backup and a restore with it.
pub fn used_as_it_is(stage: &mut Stage, client: &Client) -> Result<()> {
    let program = &client.program;
    let name = format!("{}-page", program.name);
    let file = match program.kind() {
        Kind::Rustic => "rustic.toml",
        Kind::Restic => "backrest.json",
    };
    let folder = downloaded(stage, &name, &["box.pem", file])?;
    let run: Run = match program.kind() {
        Kind::Rustic => {
            fs::write(folder.join("restic-password"), PASSWORD)?;
            let (program, folder) = (program.clone(), folder.clone());
            Box::new(move |words| {
                let mut command = program.in_folder(&folder);
                command.args(["-P", "rustic"]).args(words);
                command
            })
        }
        Kind::Restic => as_backrest_does(program, &folder)?,
    };
    let ok = |words: &[&str]| -> Result<String> { Ok(process::run_ok(&mut run(words), LIMIT)?.text()) };
    ok(&["init"])?;
    let real = stage.real.clone();
    let from = real.to_str().context("a path that is no text")?;
    ok(&["backup", from])?;
    ok(&["check"])?;
    let to = stage.path("restored")?;
    let target = to.to_str().context("a path that is no text")?;
    match program.kind() {
        Kind::Rustic => ok(&["restore", "latest", target])?,
        Kind::Restic => ok(&["restore", "latest", "--target", target])?,
    };
    files::compare(&real, &to)?;
    fs::remove_dir_all(&to)?;
    // The page's files name no repository: it is the one called default.
    let listed = stage.figure(&format!("{name}/default"), "snapshots_count")?;
    ensure!(listed == 1, "the box lists {listed} backups, not 1");
    Ok(())
}

/// A folder with these files of a machine that was paired as a browser does it.
fn downloaded(stage: &mut Stage, name: &str, wanted: &[&str]) -> Result<PathBuf> {
    let made = stage.coffre.json(&["client", "pair", name])?;
    let code = made["code"].as_str().context("no code")?;
    let folder = stage.path("page")?;
    fs::create_dir(&folder)?;
    let authority = folder.join("authority.pem");
    fs::write(&authority, stage.coffre.certificate()?)?;
    let url = format!("https://{}", stage.address);
    let page = pages::claim(&authority, &format!("{url}/pair/{code}"))?;
    let page = page.split('?').next().unwrap_or_default();
    for file in wanted {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--noproxy", "*", "--cacert"])
            .arg(&authority)
            .arg("-o")
            .arg(folder.join(file));
        process::run_ok(curl.arg(format!("{url}{page}/{file}")), LIMIT)?;
    }
    Ok(folder)
}

/// restic with the first repository of `backrest.json`.
fn as_backrest_does(program: &Program, folder: &Path) -> Result<Run> {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("backrest.json"))?)?;
    let repo = config["repos"][0].clone();
    let drive = folder.join("C:/Coffre");
    fs::create_dir_all(&drive)?;
    fs::copy(folder.join("box.pem"), drive.join("box.pem"))?;
    fs::write(drive.join("restic-password"), PASSWORD)?;
    let texts = |key: &str| -> Result<Vec<String>> {
        let all = repo[key].as_array().with_context(|| format!("backrest.json has no {key}"))?;
        Ok(all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
    };
    let uri = repo["uri"].as_str().context("backrest.json has no uri")?.to_owned();
    let (flags, env) = (texts("flags")?, texts("env")?);
    let (program, folder) = (program.clone(), folder.to_owned());
    Ok(Box::new(move |words| {
        let mut command = program.in_folder(&folder);
        command.env("RESTIC_REPOSITORY", &uri).args(words);
        command.envs(env.iter().filter_map(|pair| pair.split_once('=')));
        command.args(flags.iter().flat_map(|flag| flag.split_whitespace()));
        command
    }))
}
