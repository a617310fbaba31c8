//! A scratch box for tests: folders as disks, a state folder, and bytes to push.
#![allow(dead_code)]

use coffre_core::ids::VaultId;
use coffre_core::names::DatasetRef;
use coffre_core::wire::{Light, ReceiptFacts, Status};
use coffre_vault::{IdentityKeys, InitOutcome, InitPlan, Vault, Which};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Folders of one box.
pub struct Scratch {
    dir: tempfile::TempDir,
    pub disks: usize,
}

impl Scratch {
    /// Empty folders for `disks` disks.
    pub fn empty(disks: usize) -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        let it = Self { dir, disks };
        (0..disks).for_each(|n| std::fs::create_dir(it.disk(n)).expect("scratch"));
        it
    }

    /// A try-out vault, and what init said.
    pub fn made(disks: usize) -> (Self, InitOutcome) {
        let it = Self::empty(disks);
        let outcome = coffre_vault::init(&it.plan(), &authority).expect("made");
        (it, outcome)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn disk(&self, n: usize) -> PathBuf {
        self.path(&format!("disk{n}"))
    }

    pub fn plan(&self) -> InitPlan {
        InitPlan {
            state: self.state(),
            disks: (0..self.disks).map(|n| self.disk(n)).collect(),
            geometry: None,
            name: "office".into(),
            try_out: true,
        }
    }

    pub fn open(&self) -> Vault {
        Vault::open(&self.state()).expect("opens")
    }

    /// Takes a disk's folder away, and puts it back.
    pub fn pull(&self, n: usize) {
        std::fs::rename(self.disk(n), self.path(&format!("pulled{n}"))).expect("there");
    }

    pub fn put_back(&self, n: usize) {
        std::fs::rename(self.path(&format!("pulled{n}")), self.disk(n)).expect("there");
    }
}

/// Stands in for the street side's certificate.
pub fn authority(
    keys: &IdentityKeys,
    vault: VaultId,
    name: &str,
    _now_ms: u64,
) -> coffre_core::fault::Result<Vec<u8>> {
    Ok([&keys.authority_scalar[..4], &vault.0, name.as_bytes()].concat())
}

pub fn dataset(text: &str) -> DatasetRef {
    text.parse().expect("a data set")
}

/// Bytes that neither compress nor repeat.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

pub fn put(vault: &Vault, name: &str, bytes: &[u8]) -> ReceiptFacts {
    try_put(vault, name, bytes).expect("stored")
}

pub fn try_put(vault: &Vault, name: &str, bytes: &[u8]) -> coffre_core::fault::Result<ReceiptFacts> {
    let mut stream = vault.put(&dataset(name), Some(bytes.len() as u64))?;
    for piece in bytes.chunks(1 << 20) {
        stream.write(piece)?;
    }
    assert_eq!(stream.progress(), bytes.len() as u64);
    stream.finish()
}

pub fn get(vault: &Vault, name: &str) -> Vec<u8> {
    let mut reader = vault.read(&dataset(name), Which::Latest).expect("there");
    let mut out = Vec::new();
    while (out.len() as u64) < reader.info().size {
        let piece = reader.read_at(out.len() as u64, 1 << 20).expect("readable");
        assert!(!piece.is_empty(), "an end before the end");
        out.extend(piece);
    }
    assert!(reader.read_at(out.len() as u64, 1).expect("the end").is_empty());
    out
}

/// Waits up to 20 s.
pub fn until(vault: &Vault, what: &str, done: impl Fn(&Status) -> bool) -> Status {
    for _ in 0..1_000 {
        let status = vault.status();
        if done(&status) {
            return status;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("{what}: {:#?}", vault.status());
}

/// Nothing is wrong, though a box may be empty, and amber for that.
pub fn green(status: &Status) -> bool {
    let empty = |why: &String| why.starts_with("nothing is backed up yet");
    status.light == Light::Green || status.light == Light::Amber && status.reasons.iter().all(empty)
}

/// Files below a folder.
pub fn files(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let count = |path: PathBuf| if path.is_dir() { files(&path) } else { 1 };
    entries.filter_map(|e| e.ok()).map(|e| count(e.path())).sum()
}
