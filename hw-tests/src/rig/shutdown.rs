//! A power cut for one file system: the shutdown ioctl of ext4 and XFS.
//!
//! The file system stops at once, and its log is not flushed: what was not synced, names and renames included, is gone
//! after the next mount, as if the power had failed. Until then every operation on it fails with EIO. SIGKILL cannot do
//! that: the kernel keeps what a dead process wrote.

// An ioctl is `unsafe` by its nature. This one reads four bytes, which live until it returns.
#![allow(unsafe_code)]

use anyhow::{Context, Result};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `XFS_FSOP_GOING_FLAGS_NOLOGFLUSH`, `EXT4_GOING_FLAGS_NOLOGFLUSH`: neither data nor log are written.
const NO_LOG_FLUSH: u32 = 2;

mod raw {
    //! `XFS_IOC_GOINGDOWN` and `EXT4_IOC_SHUTDOWN` are one number: `_IOR('X', 125, __u32)`. They read all the same.
    nix::ioctl_read! {
        /// Shuts the file system of an open file down.
        going_down, b'X', 125, u32
    }
}

/// Cuts the file system that `mount_point` is on. Needs root.
pub fn cut(mount_point: &Path) -> Result<()> {
    let folder = File::open(mount_point).with_context(|| mount_point.display().to_string())?;
    let mut how = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open and `how` outlives the call, which reads one u32 from it.
    unsafe { raw::going_down(folder.as_raw_fd(), &mut how) }
        .with_context(|| format!("cannot shut the file system at {} down", mount_point.display()))?;
    Ok(())
}
