//! Disks on real mount points that are not where they should be: unmounted, gone at the start, exchanged, foreign, copied, old,
//! read-only, coming and going. Never a write where no disk was, never one to a disk that is not ours, nothing acknowledged lost,
//! and the status says it.
//!
//! One box of 3+2, ext4 and XFS in turns, so any two disks may be away. After each act everything that was ever acknowledged is read
//! back, what lies beneath the mount points must be untouched, and all disks must be in use again. The simulator meets the same
//! with seeded disks; here the kernel decides what a path means.

mod acts;

use super::bays::Bays;
use super::binaries;
use super::mounts::Fs;
use super::show::{self, Page};
use super::signals::Stop;
use super::subject::{Subject, Tally, wait_until};
use anyhow::{Context, Result, anyhow, ensure};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Disks of the vault: 3+2.
const DISKS: usize = 5;
/// Size of each file system: as small as mkfs.xfs makes one.
const DRIVE_BYTES: u64 = 320 << 20;
const CLIENT: &str = "pusher";
const DATASET: &str = "kept";
/// A file that rides in the journal, one that is in a pack with others, one that is several packs.
const BODIES: [usize; 3] = [200, 300_000, 6 << 20];
/// What is wrong must show by then: G17.
const SHOWN_LIMIT: Duration = Duration::from_secs(60);
/// All disks in use again, nothing left to heal.
const WELL_LIMIT: Duration = Duration::from_secs(60);

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// What was acknowledged and read back.
    pub tally: Tally,
    /// The longest time until the status said what was wrong.
    pub slowest_told: Duration,
    /// The longest time until all was well again.
    pub slowest_well: Duration,
}

/// Plays all acts on disks of these kinds, taken in turns. An error names the first thing that was wrong.
pub fn run(kinds: &[Fs], page: Page, stop: &Stop) -> Result<Figures> {
    let mut it = Box::new(TheBox::new(kinds)?);
    it.play(page, stop)
        .map_err(|why| anyhow!("{why:#}\nthe end of coffred's log:\n{}", it.subject.end_of_log(20)))?;
    Ok(Figures { tally: it.subject.tally, ..it.figures })
}

/// Fields are dropped in order: the daemon before the bays, these before the folder they are in.
struct TheBox {
    subject: Subject,
    figures: Figures,
    kinds: Vec<Fs>,
    bays: Bays,
    scratch: tempfile::TempDir,
}

impl TheBox {
    fn new(kinds: &[Fs]) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("mounts-").tempdir_in(binaries::scratch("rig")?)?;
        let folder = scratch.path().canonicalize()?;
        let mut bays = Bays::new(&folder, DISKS)?;
        for n in 0..DISKS {
            let drive = bays.make(kinds[n % kinds.len()], DRIVE_BYTES)?;
            bays.plug(drive, n)?;
        }
        let disks: Vec<PathBuf> = (0..DISKS).map(|n| bays.path(n).to_owned()).collect();
        let subject = Subject::new(&folder, &disks, CLIENT, 13)?;
        Ok(Self { subject, figures: Figures::default(), kinds: kinds.to_owned(), bays, scratch })
    }

    fn play(&mut self, page: Page, stop: &Stop) -> Result<()> {
        self.push()?;
        for (what, act) in acts::ALL {
            stop.check()?;
            let since = Instant::now();
            act(self).context(*what)?;
            self.all_is_well().context(*what)?;
            self.compare().context(*what)?;
            self.bays.nothing_beneath().context(*what)?;
            page.line(format_args!("  {what}: {}", show::time(since.elapsed())));
        }
        self.subject.stop()
    }

    /// Pushes one body of each length that nobody has seen. All must be acknowledged.
    fn push(&mut self) -> Result<()> {
        for len in BODIES {
            self.subject.push(DATASET, len)?.receipt()?;
        }
        Ok(())
    }

    /// Everything that was ever acknowledged reads bit-identical.
    fn compare(&mut self) -> Result<()> {
        self.subject.compare(|_, _| false)
    }

    /// Waits until the status says that this disk is not in use and why. Gives the reason. A disk that is tried again is *catching up*
    /// in between, for a reason of its own.
    fn told_of(&mut self, disk: usize) -> Result<String> {
        let since = Instant::now();
        let status = wait_until("told", SHOWN_LIMIT, || {
            let status = self.subject.status()?;
            let told = &status["disks"][disk];
            let why = told["reason"].as_str().is_some_and(|why| !why.is_empty());
            let away = told["state"] != "active" && told["state"] != "catching_up";
            Ok(if away && why && status["light"] != "green" { Ok(status) } else { Err(status.to_string()) })
        })?;
        self.figures.slowest_told = self.figures.slowest_told.max(since.elapsed());
        ensure!(status["writable"] == true, "no backup is taken with a disk away: {status}");
        Ok(status["disks"][disk]["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until all disks are in use, nothing is left to be healed, and the light is green.
    fn all_is_well(&mut self) -> Result<()> {
        let since = Instant::now();
        wait_until("well", WELL_LIMIT, || {
            let status = self.subject.status()?;
            let disks = status["disks"].as_array().map_or(&[][..], Vec::as_slice);
            let active = disks.len() == DISKS && disks.iter().all(|disk| disk["state"] == "active");
            let well = active && status["can_lose_disks"] == 2 && status["light"] == "green";
            Ok(well.then_some(()).ok_or_else(|| status.to_string()))
        })?;
        self.figures.slowest_well = self.figures.slowest_well.max(since.elapsed());
        Ok(())
    }

    /// Takes a drive out of its bay while the daemon runs, and waits until the box says so and holds nothing of it.
    fn take_out(&mut self, bay: usize) -> Result<usize> {
        let drive = self.bays.unplug(bay)?;
        self.told_of(bay)?;
        self.bays.let_go(drive, SHOWN_LIMIT)?;
        Ok(drive)
    }
}
