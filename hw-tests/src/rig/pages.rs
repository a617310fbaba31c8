//! The pairing page as a browser sees it: headless Chromium, a fresh profile each time, the box's own key pinned.
//!
//! The pin is the leaf's public key, not a switch that accepts everything: so the browser proves on the way that it speaks to
//! this box. What the policy of the page forbids would show in the pictures as a page without style, and a picture of that
//! is far smaller.

use super::binaries::{self, Binaries};
use super::daemon::{Coffre, Daemon};
use super::process;
use super::tools::{CURL, Tool};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// What is needed: the browser first.
pub const TOOLS: [Tool; 3] = [
    Tool { program: "chromium", package: "chromium" },
    CURL,
    Tool { program: "openssl", package: "openssl" },
];
/// How a telephone calls itself.
const TELEPHONE: &str = "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
/// A picture with letters and colours in it has more bytes than this; a blank one has fewer.
const PICTURE_AT_LEAST_BYTES: u64 = 15_000;

/// A box with its page, and a browser to look at it.
struct Stage<'a> {
    browser: &'a Path,
    folder: PathBuf,
    url: String,
    pin: String,
}

/// Looks at every page in both languages; gives the pictures.
pub fn run(browser: &Path) -> Result<Vec<PathBuf>> {
    let folder = binaries::scratch("pages")?;
    let box_folder = tempfile::tempdir_in(&folder).context("no scratch folder")?;
    let (state, disk) = (box_folder.path().join("state"), box_folder.path().join("disk"));
    fs::create_dir(&disk)?;
    let binaries = Binaries::ready()?;
    let coffre = Coffre::new(&binaries, &state);
    coffre.init(&[disk], "Cabinet Alaoui")?;
    let daemon = Daemon::start(&binaries, &state, &folder.join("coffred.log"))?;
    let authority = box_folder.path().join("box.pem");
    fs::write(&authority, coffre.certificate()?)?;
    let pin = pin(&daemon.url)?;
    let stage = Stage { browser, folder: folder.clone(), url: daemon.url.clone(), pin };
    let mut pictures = Vec::new();
    for (language, home, asks, pairs, over, done) in [
        (
            "fr",
            "Ceci est un coffre à sauvegardes",
            "Ajouter un ordinateur",
            "Jumeler cet ordinateur",
            "Continuez sur l’ordinateur",
            "est jumelé avec le coffre",
        ),
        (
            "en",
            "This is a backup box",
            "Add a computer",
            "Pair this computer",
            "Go on at the computer",
            "is paired with the box",
        ),
    ] {
        let made = coffre.json(&["client", "pair", &format!("poste-{language}"), "--kind", "linux"])?;
        let code = made["code"].as_str().context("no code")?.to_owned();
        let words = words(&made)?;
        let with = |more: &[&str]| -> Vec<String> {
            words.iter().cloned().chain(more.iter().map(|&text| text.to_owned())).collect()
        };
        let at = |path: &str| format!("{path}?lang={language}");
        pictures.push(stage.look(&at("/"), &format!("home-{language}"), &with(&[home, asks]))?);
        pictures.push(stage.look(&at("/pair"), &format!("ask-{language}"), &with(&[asks]))?);
        let path = format!("/pair/{code}");
        pictures.push(stage.look(&at(&path), &format!("code-{language}"), &with(&[pairs, &code]))?);
        pictures.push(stage.look_as(
            Some(TELEPHONE),
            &at(&path),
            &format!("hand-over-{language}"),
            &with(&[over, &code]),
        )?);
        let claimed = claim(&authority, &format!("{}{}", daemon.url, at(&path)))?;
        let expected = with(&[done, "restic.env", "box.pem", "daily.sh documents", "restic restore latest"]);
        pictures.push(stage.look(&claimed, &format!("done-{language}"), &expected)?);
        let telephone = stage.picture(&[], &claimed, &format!("telephone-{language}"), "390,2600")?;
        pictures.push(telephone);
    }
    daemon.stop()?;
    Ok(pictures)
}

impl Stage<'_> {
    /// A picture of a page, and a look at what the browser made of it.
    fn look(&self, path: &str, name: &str, expected: &[String]) -> Result<PathBuf> {
        self.look_as(None, path, name, expected)
    }

    /// The same by a browser that gives itself out as this one, which then is as narrow as a telephone.
    fn look_as(&self, agent: Option<&str>, path: &str, name: &str, expected: &[String]) -> Result<PathBuf> {
        let also: Vec<String> = agent.map(|agent| format!("--user-agent={agent}")).into_iter().collect();
        let dom = self.browse(&[also.clone(), vec!["--dump-dom".to_owned()]].concat(), path)?;
        for text in expected {
            ensure!(dom.contains(text), "{name}: {text:?} is not on the page that the browser shows");
        }
        ensure!(!dom.contains("<script"), "{name}: the page has a script");
        self.picture(&also, path, name, if agent.is_some() { "390,1500" } else { "900,1900" })
    }

    fn picture(&self, also: &[String], path: &str, name: &str, size: &str) -> Result<PathBuf> {
        let file = self.folder.join(format!("{name}.png"));
        let _ = fs::remove_file(&file);
        let options = [format!("--screenshot={}", file.display()), format!("--window-size={size}")];
        self.browse(&[also, &options].concat(), path)?;
        let bytes = fs::metadata(&file).with_context(|| format!("{name}: no picture"))?.len();
        ensure!(bytes >= PICTURE_AT_LEAST_BYTES, "{name}: a picture of {bytes} bytes shows nothing");
        Ok(file)
    }

    fn browse(&self, options: &[String], path: &str) -> Result<String> {
        let profile = tempfile::tempdir_in(&self.folder).context("no profile")?;
        let mut command = Command::new(self.browser);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]);
        command.arg(format!("--ignore-certificate-errors-spki-list={}", self.pin));
        command.arg(format!("--user-data-dir={}", profile.path().display())).env("HOME", profile.path());
        command.args(options).arg(format!("{}{path}", self.url));
        Ok(process::run_ok(&mut command, LIMIT).context("the browser")?.text())
    }
}

/// Uses the code up as the page's form does; gives the path that follows.
pub(super) fn claim(authority: &Path, url: &str) -> Result<String> {
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        "--data",
        "name=",
        "--cacert",
    ]);
    command.arg(authority).arg(url);
    let said = process::run_ok(&mut command, LIMIT)?.text();
    let Some(("303", to)) = said.trim().split_once(' ') else { bail!("the code was not taken: {said}") };
    let path = to.splitn(4, '/').nth(3).context("no address")?;
    Ok(format!("/{path}"))
}

/// SHA-256 of the public key that the daemon shows, base64: what Chromium pins.
fn pin(url: &str) -> Result<String> {
    let address = url.trim_start_matches("https://");
    let script = "openssl s_client -connect \"$1\" </dev/null 2>/dev/null | openssl x509 -pubkey -noout | \
        openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64 -A";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", address]);
    let pin = process::run_ok(&mut command, LIMIT)?.text().trim().to_owned();
    ensure!(pin.len() == 44, "the box's key cannot be told: {pin:?}");
    Ok(pin)
}

fn words(made: &Value) -> Result<Vec<String>> {
    let words = made["words"].as_array().context("no words")?;
    let words: Vec<String> =
        words.iter().filter_map(|word| Some(format!("<li>{}</li>", word.as_str()?))).collect();
    ensure!(words.len() == 4, "not four words");
    Ok(words)
}
