//! Disks that can be moved: file systems on loop devices, and the mount points they go in and out of.
//!
//! A second view of the folder that holds the mount points shows what lies *beneath* them, also while something is mounted
//! there: a bind mount carries no other mounts along. So a write that went where no disk was is seen whenever it happened.

use super::mounts::Fs;
use super::process;
use super::tools;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const LIMIT: Duration = Duration::from_secs(60);

/// A file system on a loop device, mounted in one bay or in none.
#[derive(Debug)]
pub struct Drive {
    image: PathBuf,
    device: String,
    fs: Fs,
}

/// The bays, by number. Everything is undone on drop.
#[derive(Debug)]
pub struct Bays {
    folder: PathBuf,
    drives: Vec<Drive>,
    /// Mount points, each with the drive in it.
    bays: Vec<(PathBuf, Option<usize>)>,
    /// The view beneath, once it is there.
    beneath: Option<PathBuf>,
    /// When the folder beneath each bay was last changed.
    untouched: Vec<SystemTime>,
}

impl Bays {
    /// Empty bays in `folder`, of which the first `count` are watched.
    pub fn new(folder: &Path, count: usize) -> Result<Self> {
        let holder = folder.join("bays");
        let beneath = folder.join("beneath");
        fs::create_dir(&holder)?;
        fs::create_dir(&beneath)?;
        let mut made = Self {
            folder: folder.to_owned(),
            drives: Vec::new(),
            bays: Vec::new(),
            beneath: None,
            untouched: Vec::new(),
        };
        for n in 0..count {
            let bay = holder.join(format!("bay{n}"));
            fs::create_dir(&bay)?;
            made.untouched.push(fs::metadata(&bay)?.modified()?);
            made.bays.push((bay, None));
        }
        process::run_ok(Command::new("mount").arg("--bind").arg(&holder).arg(&beneath), LIMIT)?;
        made.beneath = Some(beneath);
        Ok(made)
    }

    /// A new drive with an empty file system, in no bay. Gives its number.
    pub fn make(&mut self, fs: Fs, bytes: u64) -> Result<usize> {
        let image = self.folder.join(format!("drive{}.img", self.drives.len()));
        File::create(&image)?.set_len(bytes)?;
        fs.make(&image)?;
        self.attach(image, fs)
    }

    /// A copy of a drive as it is now, block by block. The drive must be in no bay.
    pub fn copy(&mut self, drive: usize) -> Result<usize> {
        ensure!(self.bay_of(drive).is_none(), "drive {drive} is mounted: its copy would be no file system");
        let image = self.folder.join(format!("drive{}.img", self.drives.len()));
        let (from, fs) = (self.drives[drive].image.clone(), self.drives[drive].fs);
        process::run_ok(Command::new("cp").arg("--sparse=always").arg(from).arg(&image), LIMIT)?;
        self.attach(image, fs)
    }

    fn attach(&mut self, image: PathBuf, fs: Fs) -> Result<usize> {
        let losetup = tools::find("losetup").context("losetup is missing; it is in the package mount")?;
        let said = process::run_ok(Command::new(losetup).args(["--find", "--show"]).arg(&image), LIMIT)?;
        let device = said.text().trim().to_owned();
        if !device.starts_with("/dev/loop") {
            bail!("losetup told no device: {device:?}");
        }
        self.drives.push(Drive { image, device, fs });
        Ok(self.drives.len() - 1)
    }

    /// Where a bay is.
    pub fn path(&self, bay: usize) -> &Path {
        &self.bays[bay].0
    }

    fn bay_of(&self, drive: usize) -> Option<usize> {
        self.bays.iter().position(|(_, there)| *there == Some(drive))
    }

    /// Puts a drive into an empty bay.
    pub fn plug(&mut self, drive: usize, bay: usize) -> Result<()> {
        ensure!(self.bays[bay].1.is_none(), "something is in bay {bay}");
        let Drive { device, fs, .. } = &self.drives[drive];
        let options = match fs {
            // What Debian's installer sets: a file system that finds itself damaged stops being written to.
            Fs::Ext4 => "rw,errors=remount-ro",
            // It refuses a second file system with the same UUID unless it is told not to look.
            Fs::Xfs => "rw,nouuid",
        };
        let mut mount = Command::new("mount");
        mount.args(["-t", fs.name(), "-o", options, device]).arg(&self.bays[bay].0);
        process::run_ok(&mut mount, LIMIT)?;
        self.bays[bay].1 = Some(drive);
        Ok(())
    }

    /// Takes out what is in a bay, from one moment to the next: `umount -l`. Whoever has files open keeps them. Gives the drive.
    pub fn unplug(&mut self, bay: usize) -> Result<usize> {
        let drive = self.bays[bay].1.take().with_context(|| format!("bay {bay} is empty"))?;
        process::run_ok(Command::new("umount").arg("-l").arg(&self.bays[bay].0), LIMIT)?;
        Ok(drive)
    }

    /// Waits until nobody holds a drive any more that is in no bay: only then are its image's bytes all its own.
    pub fn let_go(&self, drive: usize, limit: Duration) -> Result<()> {
        let name = self.drives[drive].device.trim_start_matches("/dev/").to_owned();
        let fs = self.drives[drive].fs;
        // A file system that lives has a folder of its own there, mounted somewhere or not.
        let living = Path::new("/sys/fs").join(fs.name()).join(&name);
        let since = std::time::Instant::now();
        while living.exists() {
            if since.elapsed() > limit {
                bail!("drive {drive} is still held after {} s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Lets the file system in a bay find an error: it turns read-only from one moment to the next, until it is mounted anew.
    /// `false` where it has no such switch.
    pub fn break_down(&self, bay: usize) -> Result<bool> {
        let drive = self.bays[bay].1.with_context(|| format!("bay {bay} is empty"))?;
        let Drive { device, fs, .. } = &self.drives[drive];
        let switch = Path::new("/sys/fs")
            .join(fs.name())
            .join(device.trim_start_matches("/dev/"))
            .join("trigger_fs_error");
        if !switch.exists() {
            return Ok(false);
        }
        fs::write(&switch, "an error made by a test").with_context(|| switch.display().to_string())?;
        Ok(true)
    }

    /// Mounts what is in a bay anew as read-only, or as writable. Refused while somebody has a file open for writing.
    pub fn remount(&self, bay: usize, read_only: bool) -> Result<()> {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        let mut mount = Command::new("mount");
        process::run_ok(mount.args(["-o", options]).arg(&self.bays[bay].0), LIMIT).map(drop)
    }

    /// An error when anything was ever written where a drive was to be and was not.
    pub fn nothing_beneath(&self) -> Result<()> {
        let beneath = self.beneath.as_ref().context("there is no view beneath")?;
        for (bay, then) in self.untouched.iter().enumerate() {
            let folder = beneath.join(format!("bay{bay}"));
            let first = fs::read_dir(&folder)?.next().transpose()?;
            ensure!(
                first.is_none(),
                "{:?} was written beneath bay {bay}",
                first.map(|entry| entry.file_name())
            );
            ensure!(fs::metadata(&folder)?.modified()? == *then, "something came and went beneath bay {bay}");
        }
        Ok(())
    }
}

impl Drop for Bays {
    fn drop(&mut self) {
        for (path, there) in &self.bays {
            if there.is_some() {
                let _ = process::run_ok(Command::new("umount").arg("-l").arg(path), LIMIT);
            }
        }
        if let Some(beneath) = &self.beneath {
            let _ = process::run_ok(Command::new("umount").arg("-l").arg(beneath), LIMIT);
        }
        let Some(losetup) = tools::find("losetup") else { return };
        for drive in &self.drives {
            let _ = process::run_ok(Command::new(&losetup).args(["-d", &drive.device]), LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::mounts;

    /// What is written beneath shows through, also when it is covered again and when it went.
    #[test]
    fn a_write_beneath_is_seen() {
        if mounts::probe(Fs::Ext4).is_err() {
            return;
        }
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut bays = Bays::new(folder.path(), 2).expect("bays");
        let drive = bays.make(Fs::Ext4, 64 << 20).expect("a drive");
        bays.plug(drive, 0).expect("plugged");
        std::fs::write(bays.path(0).join("on-the-drive"), b"x").expect("writable");
        bays.nothing_beneath().expect("nothing");
        bays.unplug(0).expect("unplugged");
        bays.let_go(drive, LIMIT).expect("nobody holds it");
        let copy = bays.copy(drive).expect("copied");
        bays.plug(copy, 1).expect("plugged");
        assert!(bays.path(1).join("on-the-drive").exists());
        bays.remount(1, true).expect("remounted");
        assert!(std::fs::write(bays.path(1).join("late"), b"x").is_err());
        std::fs::write(bays.path(0).join("astray"), b"x").expect("writable");
        bays.plug(drive, 0).expect("plugged");
        assert!(bays.nothing_beneath().is_err(), "a file");
        bays.unplug(0).expect("unplugged");
        std::fs::remove_file(bays.path(0).join("astray")).expect("removed");
        assert!(bays.nothing_beneath().is_err(), "it was there");
    }
}
