//! Full disks on real file systems: a polite refusal with numbers, everything readable, forgetting makes room, and the same
//! with foreign files that leave no block at all, also across SIGKILL and a new start.
//!
//! One vault of 2+1 on small file systems of its own. What is kept for long is read back after each act; what has locks
//! of seconds fills the disks and is forgotten again. The box in the simulator meets the same in `world/forget`; here the file
//! system decides what "no space left" means.

mod acts;

use super::binaries;
use super::client::Pushed;
use super::mounts::{Fs, LoopMount};
use super::show::Page;
use super::signals::Stop;
use super::subject::{Subject, Tally, wait_until};
use anyhow::{Result, anyhow, bail};
use std::path::PathBuf;
use std::time::Duration;

/// Disks of the vault: 2+1.
const DISKS: u32 = 3;
/// Size of each file system: as small as mkfs.xfs makes one.
const DISK_BYTES: u64 = 320 << 20;
const CLIENT: &str = "pusher";
/// Kept for long.
const KEPT: &str = "kept";
/// Locked for half a minute: longer than filling takes, so that room does not come back meanwhile.
const BULK: &str = "bulk";

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// What was acknowledged and read back.
    pub tally: Tally,
    /// Pushes that were refused with 507.
    pub refused: u64,
    /// From the first approval until pushes went again.
    pub freed_after: Duration,
    /// The slowest start on full disks.
    pub slowest_start: Duration,
}

/// Plays all acts on one kind of file system. An error names the first thing that was wrong.
pub fn run(fs: Fs, page: Page, stop: &Stop) -> Result<Figures> {
    let mut vault = Vault::new(fs)?;
    vault.play(page, stop).map_err(|why| {
        anyhow!("{why:#}\n(on {})\nthe end of coffred's log:\n{}", fs.name(), vault.subject.end_of_log(15))
    })?;
    Ok(Figures { tally: vault.subject.tally, ..vault.figures })
}

/// Fields are dropped in order: the daemon before the mounts, these before the folder they are in.
struct Vault {
    subject: Subject,
    figures: Figures,
    mounts: Vec<LoopMount>,
    scratch: tempfile::TempDir,
}

impl Vault {
    fn new(fs: Fs) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("full-").tempdir_in(binaries::scratch("rig")?)?;
        let mounts: Vec<LoopMount> = (1..=DISKS)
            .map(|n| LoopMount::new(scratch.path(), &format!("disk{n}"), fs, DISK_BYTES))
            .collect::<Result<_>>()?;
        let disks: Vec<PathBuf> = mounts.iter().map(|m| m.path.clone()).collect();
        let subject = Subject::new(scratch.path(), &disks, CLIENT, 12)?;
        subject.coffre.json(&["dataset", "set", &format!("{CLIENT}/{BULK}"), "--class", "30s"])?;
        Ok(Self { subject, figures: Figures::default(), mounts, scratch })
    }

    /// Pushes bytes that nobody has seen; 201 is noted, 507 counted, anything else is an error.
    fn push(&mut self, dataset: &'static str, len: usize) -> Result<Pushed> {
        let pushed = self.subject.push(dataset, len)?;
        match pushed.status {
            201 => {}
            507 => self.figures.refused += 1,
            status => bail!("a push was answered with {status}: {} {}", pushed.text(), pushed.trouble),
        }
        Ok(pushed)
    }

    /// What is acknowledged reads bit-identical. Of the data that has locks of seconds only the newest must be there.
    fn compare(&mut self) -> Result<()> {
        let newest_bulk = self.subject.acknowledged().iter().rposition(|s| s.dataset == BULK);
        self.subject.compare(|n, snapshot| snapshot.dataset == BULK && Some(n) != newest_bulk)
    }

    /// SIGKILL, and a new start.
    fn restart(&mut self) -> Result<()> {
        self.subject.kill()?;
        self.figures.slowest_start = self.figures.slowest_start.max(self.subject.start()?);
        Ok(())
    }
}
