//! A careless operator at the real daemon: disks replaced without asking, had back, added, pulled, put back, destroyed when the
//! box says so, with kills in between. All other disks stay whole, and nothing acknowledged may be lost.
//!
//! Drawn anew in each run and bounded in time. `COFFRE_OPERATOR_SEED` plays the same dice again (what they meet may differ: the
//! daemon is not simulated), `COFFRE_OPERATOR_MS` says how long.

mod common;

use common::{TestBox, noise};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the operator is at it, unless said otherwise.
const AT_IT_MS: u64 = 15_000;
/// Longest wait until the box is whole at the end.
const PATIENCE: Duration = Duration::from_secs(120);

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}

struct Operator {
    it: TestBox,
    pc: String,
    dice: Dice,
    kept: Vec<(String, Vec<u8>)>,
    /// Folders of new disks so far.
    fresh: u64,
    /// Folders that are pulled.
    away: Vec<String>,
    said: Vec<String>,
}

impl Operator {
    fn disks(&self) -> Vec<Value> {
        let out = self.it.coffre(&["disk", "list", "--json"]);
        let listed: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        listed["disks"].as_array().cloned().unwrap_or_default()
    }

    fn run(&mut self, args: &[&str]) {
        let out = self.it.coffre(&[&["disk"], args, &["--json"]].concat());
        let code = out.status.code();
        // Refused, absent, wrongly said, not now: never a crash.
        assert!(code.is_some_and(|code| code <= 5), "{args:?}: {code:?}");
        self.said.push(format!("{} {code:?}", args.join(" ")));
    }

    fn new_folder(&mut self) -> String {
        self.fresh += 1;
        let path = self.it.path(&format!("new{}", self.fresh));
        fs::create_dir(&path).expect("writable");
        path.display().to_string()
    }

    fn step(&mut self) {
        let disks = self.disks();
        let count = |state: &str| disks.iter().filter(|d| d["state"] == state).count() as u64;
        let number = (1 + self.dice.below(count("active") + count("absent"))).to_string();
        match self.dice.below(16) {
            0..=4 => self.push(),
            5..=7 => {
                let new = self.new_folder();
                self.run(&["replace", &number, "--with", &new, "--yes"]);
            }
            8..=9 => self.run(&["undo", &number, "--yes"]),
            10 if disks.len() < 6 => {
                let new = self.new_folder();
                self.run(&["add", &new]);
            }
            11 if self.away.is_empty() => self.pull(&disks),
            12 => self.put_back(),
            13 => {
                self.it.stop("KILL");
                self.it.start();
            }
            14 => self.destroy(&disks),
            _ => std::thread::sleep(Duration::from_millis(self.dice.below(600))),
        }
    }

    fn push(&mut self) {
        let len = [300, 40_000, 900_000, 3_000_000][self.dice.below(4) as usize];
        let (name, body) = (format!("d{}", self.kept.len()), noise(len, self.dice.below(1 << 40)));
        if self.it.put(&self.pc, &name, &body).status == 201 {
            self.kept.push((name, body));
        }
    }

    fn pull(&mut self, disks: &[Value]) {
        let pick = self.dice.below(disks.len() as u64) as usize;
        let path = disks.get(pick).and_then(|d| d["path"].as_str()).unwrap_or_default().to_owned();
        if fs::rename(&path, format!("{path}-away")).is_ok() {
            self.said.push(format!("pulled {path}"));
            self.away.push(path);
        }
    }

    fn put_back(&mut self) {
        for path in std::mem::take(&mut self.away) {
            fs::rename(format!("{path}-away"), &path).expect("nobody made a folder in its place");
        }
    }

    fn destroy(&mut self, disks: &[Value]) {
        for disk in disks.iter().filter(|d| d["may_be_taken_out"] == true) {
            let path = disk["path"].as_str().expect("a path");
            self.said.push(format!("destroyed {path}"));
            fs::remove_dir_all(path).expect("removable");
        }
    }

    fn read_all(&self) -> Result<(), String> {
        for (name, body) in &self.kept {
            let got = self.it.get(&self.pc, &format!("/v1/datasets/{name}/snapshots/latest"));
            if got.body != *body {
                return Err(format!(
                    "{name}: {} {}",
                    got.status,
                    String::from_utf8_lossy(&got.body[..got.body.len().min(300)])
                ));
            }
        }
        Ok(())
    }

    fn wait_green(&self) -> Result<(), String> {
        let since = Instant::now();
        loop {
            let status = self.it.json(&["status"]);
            if status["light"] == "green" {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("never whole again: {}", status["reasons"]));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// G1, G13 with the real daemon: whatever an operator does, everything acknowledged reads back when all whole disks are there, and
/// then once more without those that left.
#[test]
fn no_operator_loses_anything_at_the_real_daemon() {
    let drawn = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    let seed = from_env("COFFRE_OPERATOR_SEED").unwrap_or(drawn);
    eprintln!("COFFRE_OPERATOR_SEED={seed}");
    let it = TestBox::new(3);
    let pc = it.client("pc", &[]);
    let (kept, away, said) = (Vec::new(), Vec::new(), Vec::new());
    let mut operator = Operator { it, pc, dice: Dice(seed), kept, fresh: 0, away, said };
    let since = Instant::now();
    let at_it = Duration::from_millis(from_env("COFFRE_OPERATOR_MS").unwrap_or(AT_IT_MS));
    while since.elapsed() < at_it {
        operator.step();
    }
    operator.put_back();
    let whole = operator.wait_green().and_then(|()| operator.read_all());
    let left = whole.and_then(|()| {
        operator.destroy(&operator.disks());
        operator.read_all()
    });
    let told =
        format!("COFFRE_OPERATOR_SEED={seed}: {} kept; {}", operator.kept.len(), operator.said.join("; "));
    if let Err(why) = left {
        panic!("{why}\n{told}\n{}", operator.it.log());
    }
    eprintln!("{told}");
}
