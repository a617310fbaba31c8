//! Measures whether the time of an answer tells a client or a stranger what the answer itself does not: pairs of requests that are
//! answered alike, interleaved, each pair compared by medians and by ranks.
//!
//! `cargo run --release -p coffre-rig --bin timing [-- COUNT]` (2,000 of each kind unless said) against the real daemon on loopback. The time
//! is curl's, from the connection that is ready to the last byte of the answer, in microseconds. *AUC* is the chance that a
//! drawn answer of the second kind is slower than a drawn one of the first (Mann-Whitney): 0.5 when nothing can be told. It is
//! called a difference beyond four standard errors. Two controls say what this can see: the same request against itself,
//! and two requests that are meant to differ.

#![allow(clippy::print_stdout)] // Figures are what this program is for.

use anyhow::{Context, Result, ensure};
use coffre_rig::rig::binaries::{self, Binaries};
use coffre_rig::rig::client::Curl;
use coffre_rig::rig::daemon::{Coffre, Daemon};
use coffre_rig::rig::process;
use coffre_rig::rng::Rng;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const DISKS: usize = 3;
const LIMIT: Duration = Duration::from_secs(1800);
/// A peer's wrong secrets that are answered at once are five: the fourth is its last here.
const PAIRS_PER_STRANGER: usize = 2;
/// Uploads are few: each is several syncs, and what they differ by would be a whole pack.
const UPLOADS: usize = 150;
/// Standard errors beyond which a difference is one.
const BEYOND: f64 = 4.0;
/// What curl tells of a request.
const TOLD: &str = "write-out = \"%{http_code} %{time_pretransfer} %{time_total}\\n\"\n";
const UPLOAD_BYTES: usize = 1 << 20;

/// One request.
#[derive(Clone)]
struct Ask {
    /// `NAME:SECRET`.
    user: String,
    path: String,
    /// A file to push, each time the same or, where it has `{}`, another one.
    upload: Option<String>,
    status: u16,
}

/// Two requests that are answered alike.
struct Pair {
    what: &'static str,
    one: Ask,
    other: Ask,
    count: usize,
    /// Each few from an address of its own: they are answers to wrong secrets.
    strangers: bool,
}

struct Bench {
    folder: PathBuf,
    url: String,
    pem: PathBuf,
    rng: Rng,
    addresses: u32,
}

fn main() -> Result<()> {
    let count: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2000);
    let binaries = Binaries::ready()?;
    let scratch = tempfile::Builder::new().prefix("timing-").tempdir_in(binaries::scratch("bench")?)?;
    let folder = scratch.path().canonicalize()?;
    let disks: Vec<PathBuf> = (1..=DISKS).map(|n| folder.join(format!("disk{n}"))).collect();
    disks.iter().try_for_each(fs::create_dir)?;
    let (state, pem) = (folder.join("state"), folder.join("ca.pem"));
    let coffre = Coffre::new(&binaries, &state);
    coffre.init(&disks, "timing")?;
    let daemon = Daemon::start(&binaries, &state, &folder.join("log"))?;
    fs::write(&pem, coffre.certificate()?)?;
    let mut bench = Bench { folder, url: daemon.url.clone(), pem, rng: Rng::new(77), addresses: 0 };
    let pairs = bench.pairs(&coffre, count)?;
    println!("{:<66} {:>5} {:>9} {:>9} {:>7} {:>6}", "pair", "each", "median", "median", "AUC", "± 4 s");
    for pair in &pairs {
        let (one, other) = bench.measure(pair)?;
        let (auc, error) = auc(&one, &other);
        let told = if (auc - 0.5).abs() > BEYOND * error { "DIFFERENT" } else { "alike" };
        println!(
            "{:<66} {:>5} {:>6.0} us {:>6.0} us {auc:>7.3} {:>6.3} {told}",
            pair.what,
            one.len(),
            median(&one),
            median(&other),
            BEYOND * error
        );
    }
    daemon.stop().map(drop)
}

impl Bench {
    /// Two clients with things of their own, one that was removed, and what may be asked about them.
    fn pairs(&mut self, coffre: &Coffre, count: usize) -> Result<Vec<Pair>> {
        let secret = coffre.client_add("asker")?;
        let asker = format!("asker:{secret}");
        let other = coffre.client_add("other")?;
        coffre.client_add("gone")?;
        coffre.json(&["client", "remove", "gone"])?;
        let pem = coffre.certificate()?;
        let curl = Curl::new(&self.folder, &self.url, "other", &other, &pem)?;
        let mut theirs = Vec::new();
        for _ in 0..UPLOADS {
            let body = self.rng.bytes(UPLOAD_BYTES);
            let name = format!("theirs-{}", theirs.len());
            fs::write(self.folder.join(&name), &body)?;
            let pushed = curl.push("books", |out| out.write_all(&body))?;
            theirs.push(pushed.receipt()?["id"].as_str().context("a receipt without an id")?.to_owned());
            fs::write(self.folder.join(format!("mine-{}", theirs.len() - 1)), self.rng.bytes(UPLOAD_BYTES))?;
        }
        let own = Curl::new(&self.folder, &self.url, "asker", &secret, &pem)?;
        own.push("notes", |out| out.write_all(b"one of my own"))?.receipt()?;
        let repo = |path: &str| Ask { user: asker.clone(), path: path.into(), upload: None, status: 404 };
        let create = |user: &str, at: &str| -> Result<()> {
            let mut command = Command::new("curl");
            command.args(["-sS", "--fail", "--noproxy", "*", "-X", "POST", "-u", user, "--cacert"]);
            command.arg(&self.pem).arg(format!("{}/{at}/?create=true", self.url));
            process::run_ok(&mut command, LIMIT).map(drop)
        };
        create(&asker, "asker/repo")?;
        create(&format!("other:{other}"), "other/repo")?;
        let ask = |path: &str, status: u16| Ask { status, ..repo(path) };
        let stranger = |name: &str| Ask {
            user: format!("{name}:{}", "a".repeat(secret.len())),
            path: "/v1/datasets".into(),
            upload: None,
            status: 401,
        };
        let unknown = "0".repeat(theirs[0].len());
        let reading = |what, one, other| Pair { what, one, other, count, strangers: false };
        let knocking = |what, one, other| Pair { what, one, other, count, strangers: true };
        let push = |file: &str| Ask {
            user: asker.clone(),
            path: "/v1/datasets/copies".into(),
            upload: Some(file.into()),
            status: 201,
        };
        Ok(vec![
            reading(
                "control: the same request twice",
                ask("/v1/datasets/books/snapshots", 404),
                ask("/v1/datasets/books/snapshots", 404),
            ),
            reading(
                "control: nothing there, and a small list of one's own",
                ask("/v1/datasets/books/snapshots", 404),
                ask("/v1/datasets/notes/snapshots", 200),
            ),
            knocking("wrong secret: a client, nobody", stranger("other"), stranger("nobody-here")),
            knocking(
                "wrong secret: a client that was removed, nobody",
                stranger("gone"),
                stranger("nobody-here"),
            ),
            knocking(
                "wrong secret: a client, what is no name at all",
                stranger("other"),
                stranger("NO_NAME!"),
            ),
            reading(
                "data set: another client's name, nobody's",
                ask("/v1/datasets/books/snapshots/latest", 404),
                ask("/v1/datasets/pages/snapshots/latest", 404),
            ),
            reading(
                "snapshot: another client's id, nobody's",
                ask(&format!("/v1/datasets/notes/snapshots/{}", theirs[0]), 404),
                ask(&format!("/v1/datasets/notes/snapshots/{unknown}"), 404),
            ),
            reading(
                "repository: another client's folder, nobody's",
                ask("/other/repo/config", 403),
                ask("/niemand/repo/config", 403),
            ),
            reading(
                "repository: a name that another client uses, nobody does",
                ask("/asker/books/config", 404),
                ask("/asker/pages/config", 404),
            ),
            Pair {
                what: "push of 1 MiB: what another client has, what nobody has",
                one: push("theirs-{}"),
                other: push("mine-{}"),
                count: UPLOADS,
                strangers: false,
            },
        ])
    }

    /// Both requests of a pair, `count` times each, in an order drawn for each pair. Times in microseconds.
    fn measure(&mut self, pair: &Pair) -> Result<(Vec<f64>, Vec<f64>)> {
        let welcome = Ask { path: "/".into(), ..pair.one.clone() };
        let mut order = Vec::new();
        let mut text = String::new();
        for n in 0..pair.count {
            if pair.strangers && n % PAIRS_PER_STRANGER == 0 {
                self.addresses += 1;
                // What a new connection costs is not what is asked here.
                text.push_str(&self.block(&welcome, n, true).replace(TOLD, ""));
            }
            let first = self.rng.next_u64().is_multiple_of(2);
            for is_one in [first, !first] {
                let ask = if is_one { &pair.one } else { &pair.other };
                text.push_str(&self.block(ask, n, pair.strangers));
                order.push(is_one);
            }
        }
        let list = self.folder.join("list.curl");
        fs::write(&list, text)?;
        let said = process::run(Command::new("curl").arg("-K").arg(&list), LIMIT)?;
        let told = said.text();
        let lines: Vec<&str> = told.lines().collect();
        ensure!(
            lines.len() == order.len(),
            "{}: {} answers to {} requests: {}",
            pair.what,
            lines.len(),
            order.len(),
            said.err
        );
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for (line, is_one) in lines.iter().zip(order) {
            let figures: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            let [status, sent, came] = figures[..] else { anyhow::bail!("curl said {line:?}") };
            let expected = if is_one { pair.one.status } else { pair.other.status };
            ensure!(status == f64::from(expected), "{}: answered with {status}, not {expected}", pair.what);
            (if is_one { &mut one } else { &mut other }).push((came - sent) * 1e6);
        }
        Ok((one, other))
    }

    /// A request as curl's configuration has it.
    fn block(&self, ask: &Ask, n: usize, stranger: bool) -> String {
        let mut text = format!(
            "url = \"{}{}\"\nuser = \"{}\"\ncacert = \"{}\"\nnoproxy = \"*\"\nsilent\nshow-error\noutput = \"/dev/null\"\n{TOLD}",
            self.url,
            ask.path,
            ask.user,
            self.pem.display()
        );
        if let Some(file) = &ask.upload {
            let file = self.folder.join(file.replace("{}", &n.to_string()));
            text.push_str(&format!("upload-file = \"{}\"\nheader = \"Expect:\"\n", file.display()));
        }
        if stranger {
            let [_, b, c, d] = self.addresses.to_be_bytes();
            text.push_str(&format!("interface = \"127.{}.{c}.{d}\"\n", b + 1));
        }
        text + "next\n"
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The chance that one of `other` is greater than one of `one`, equal ones by half, and its standard error where both are alike.
fn auc(one: &[f64], other: &[f64]) -> (f64, f64) {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|&t| (t, false)).chain(other.iter().map(|&t| (t, true))).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut at) = (0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(t, _)| *t == all[at].0).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        rank_sum += rank * all[at..at + same].iter().filter(|(_, is_other)| *is_other).count() as f64;
        at += same;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = rank_sum - m * (m + 1.0) / 2.0;
    (u / (n * m), ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_tell_who_is_slower() {
        assert_eq!(auc(&[1.0, 2.0], &[3.0, 4.0]).0, 1.0);
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]).0, 0.0);
        assert_eq!(auc(&[1.0, 1.0], &[1.0, 1.0]).0, 0.5);
        assert_eq!(auc(&[1.0, 3.0], &[2.0, 3.0]).0, 0.625);
        assert!((auc(&[0.0; 2000], &[0.0; 2000]).1 - 0.009_13).abs() < 1e-4);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
