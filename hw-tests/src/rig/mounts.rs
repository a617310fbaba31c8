//! Real file systems of their own on loop devices: ext4 and XFS, for as long as the value lives.
//!
//! The image is sparse, so its size costs nothing until it is filled. Everything is undone on drop, in reverse order.

use super::process;
use super::show::Page;
use super::tools::{self, MKFS_EXT4, MKFS_XFS, Tool};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Smallest image that mkfs.xfs takes is 300 MB; this is what a probe makes.
const PROBE_BYTES: u64 = 320 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fs {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl Fs {
    /// Its name for `mount -t` and for people.
    pub fn name(self) -> &'static str {
        match self {
            Fs::Ext4 => "ext4",
            Fs::Xfs => "xfs",
        }
    }

    fn mkfs(self) -> Tool {
        match self {
            Fs::Ext4 => MKFS_EXT4,
            Fs::Xfs => MKFS_XFS,
        }
    }

    /// Makes an empty file system in an image.
    pub fn make(self, image: &Path) -> Result<()> {
        let mkfs = tools::find(self.mkfs().program).context("mkfs is missing")?;
        process::run_ok(Command::new(mkfs).args(self.mkfs_args()).arg(image), LIMIT).map(drop)
    }

    /// Quiet, and without zeroing in the background what is a hole already.
    fn mkfs_args(self) -> &'static [&'static str] {
        match self {
            Fs::Ext4 => &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            Fs::Xfs => &["-q", "-f"],
        }
    }
}

/// A mounted file system of its own.
#[derive(Debug)]
pub struct LoopMount {
    image: PathBuf,
    fs: Fs,
    device: Option<String>,
    mounted: bool,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// Whether file systems of this kind can be had here: makes one, mounts it, and takes it away again. The error is
/// one plain sentence.
pub fn probe(fs: Fs) -> Result<(), String> {
    if !tools::is_root() {
        return Err(format!("{} on a loop device needs root", fs.name()));
    }
    tools::ensure(fs.mkfs())?;
    let scratch = tempfile::tempdir().map_err(|why| format!("no scratch folder: {why}"))?;
    LoopMount::new(scratch.path(), "probe", fs, PROBE_BYTES).map(drop).map_err(|why| format!("{why:#}"))
}

/// The kinds that can be had here. Of each that cannot, the page says that `check` was not run on it, and why.
pub fn usable(check: &str, page: Page) -> Vec<Fs> {
    let mut kinds = Vec::new();
    for fs in [Fs::Ext4, Fs::Xfs] {
        match probe(fs) {
            Ok(()) => kinds.push(fs),
            Err(why) => page.line(format_args!("NOT RUN: {check}-{}: {why}", fs.name())),
        }
    }
    kinds
}

impl LoopMount {
    /// Makes `folder/NAME.img` with a file system of `bytes` and mounts it at `folder/NAME`.
    pub fn new(folder: &Path, name: &str, fs: Fs, bytes: u64) -> Result<Self> {
        let mut made = Self {
            image: folder.join(format!("{name}.img")),
            fs,
            device: None,
            mounted: false,
            path: folder.join(name),
        };
        // From here on a failure drops `made`, which undoes what was done.
        made.attach(bytes).with_context(|| format!("{} on a loop device", fs.name()))?;
        Ok(made)
    }

    /// Cuts its power: see [`shutdown`](super::shutdown).
    pub fn cut(&self) -> Result<()> {
        super::shutdown::cut(&self.path)
    }

    /// Unmounts it, which may take as long as somebody holds it, and mounts it again: its log is replayed.
    pub fn mount_again(&mut self, limit: Duration) -> Result<()> {
        let since = Instant::now();
        while let Err(why) = process::run_ok(Command::new("umount").arg(&self.path), LIMIT) {
            if since.elapsed() > limit {
                return Err(why.context(format!("{} is still held after {limit:?}", self.path.display())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.mounted = false;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        let device = self.device.as_ref().context("it has no device")?;
        process::run_ok(Command::new("mount").args(["-t", self.fs.name(), device]).arg(&self.path), LIMIT)?;
        self.mounted = true;
        Ok(())
    }

    fn attach(&mut self, bytes: u64) -> Result<()> {
        File::create(&self.image)?.set_len(bytes)?;
        self.fs.make(&self.image)?;
        let losetup = tools::find("losetup").context("losetup is missing; it is in the package mount")?;
        let said = process::run_ok(Command::new(losetup).args(["--find", "--show"]).arg(&self.image), LIMIT)?;
        let device = said.text().trim().to_owned();
        if !device.starts_with("/dev/loop") {
            bail!("losetup told no device: {device:?}");
        }
        self.device = Some(device);
        std::fs::create_dir_all(&self.path)?;
        self.mount()
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if self.mounted && process::run_ok(Command::new("umount").arg(&self.path), LIMIT).is_err() {
            // Somebody still has a file open: detached now, gone when the last file is closed.
            let _ = process::run_ok(Command::new("umount").arg("-l").arg(&self.path), LIMIT);
        }
        if let (Some(device), Some(losetup)) = (self.device.take(), tools::find("losetup")) {
            let _ = process::run_ok(Command::new(losetup).args(["-d", &device]), LIMIT);
        }
        let _ = std::fs::remove_file(&self.image);
        let _ = std::fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was synced is there after a cut, what was not is gone, and in between nothing works.
    #[test]
    fn a_cut_takes_what_was_not_synced() {
        for fs in [Fs::Ext4, Fs::Xfs] {
            if tools::find(fs.mkfs().program).is_none() || probe(fs).is_err() {
                continue;
            }
            let folder = tempfile::tempdir().expect("a scratch folder");
            let mut mount = LoopMount::new(folder.path(), "a", fs, PROBE_BYTES).expect("mounts");
            let kept = File::create(mount.path.join("kept")).expect("made");
            std::fs::write(mount.path.join("kept"), b"kept").expect("written");
            kept.sync_all().expect("synced");
            File::open(&mount.path).and_then(|f| f.sync_all()).expect("synced");
            drop(kept);
            std::fs::write(mount.path.join("lost"), vec![7; 9000]).expect("written");
            mount.cut().expect("cut");
            assert!(std::fs::write(mount.path.join("late"), b"x").is_err(), "{fs:?}");
            mount.mount_again(LIMIT).expect("mounts again");
            assert_eq!(std::fs::read(mount.path.join("kept")).expect("there"), b"kept", "{fs:?}");
            let lost = std::fs::read(mount.path.join("lost")).unwrap_or_default();
            assert_ne!(lost, vec![7; 9000], "{fs:?}: nothing was cut");
        }
    }

    /// Says why where the machine does not allow it: `cargo verify` has the same probe as a step of its own.
    #[test]
    fn a_mount_is_a_file_system_of_its_own_and_leaves_nothing() {
        use std::os::unix::fs::MetadataExt;
        if tools::find(MKFS_EXT4.program).is_none() {
            return;
        }
        if let Err(why) = probe(Fs::Ext4) {
            assert!(why.contains("ext4"), "{why}");
            return;
        }
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mount = LoopMount::new(folder.path(), "a", Fs::Ext4, 64 << 20).expect("mounts");
        let device_of = |path: &Path| std::fs::metadata(path).expect("there").dev();
        assert_ne!(device_of(&mount.path), device_of(folder.path()));
        std::fs::write(mount.path.join("x"), b"x").expect("writable");
        let device = mount.device.clone().expect("attached");
        drop(mount);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
        let backing = format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
        let image = folder.path().join("a.img");
        assert!(
            std::fs::read_to_string(backing).map_or(true, |file| !file.contains(&*image.to_string_lossy()))
        );
    }
}
