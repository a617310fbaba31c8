//! The process's own limits: its memory is written to no file and shown to nobody, and it may open as many files as it is let.

use coffre_core::fault::{Fault, Result};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;

/// With fewer open files than this a box can serve nobody.
const FEWEST_FILES: u64 = 64;
/// What the box keeps for itself of the files that are not open yet: control connections, the index, small files,
const OWN_FILES: u64 = 64;
/// and for each disk: what its lanes, readers and looks open at once.
const FILES_PER_DISK: u64 = 8;
/// Connections that are served however short of files the box is.
const FEWEST_SEATS: usize = 8;

/// No core file, and no other process of the same user looks into this one: keys and secrets are in its memory. To be called
/// before there is anything to see. Says what the system refused.
pub fn keep_to_itself() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).and(set_dumpable(false))
}

/// Raises the number of files that this process may open to what the system lets it have, and says how many that is. `Refused`
/// when a box cannot run on so few.
pub fn raise_open_files() -> Result<u64> {
    let unknown = |e| Fault::permanent(format!("the limit of open files cannot be read: {e}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(unknown)?;
    // What cannot be raised is used as it is.
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let files = if raised { hard } else { soft };
    if files < FEWEST_FILES {
        return Err(Fault::refused(format!(
            "this process may open {files} files, and a box needs {FEWEST_FILES} at the very least"
        ))
        .next("raise the limit: LimitNOFILE= of its unit, or `ulimit -n`"));
    }
    Ok(files)
}

/// How many connections fit beside what a box with so many disks needs for itself, when it may open `files` files and has
/// some of them open already. `most` when there is room for all.
pub fn seats(files: u64, in_use: u64, disks: usize, most: usize) -> usize {
    let own = OWN_FILES + FILES_PER_DISK * disks as u64;
    let left = files.saturating_sub(in_use).saturating_sub(own);
    usize::try_from(left).unwrap_or(most).clamp(FEWEST_SEATS, most)
}

/// Files that are open now, as far as the system tells.
pub fn files_in_use() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_image_of_this_process_is_written() {
        assert_eq!(keep_to_itself(), Ok(()));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(nix::sys::prctl::get_dumpable(), Ok(false));
    }

    #[test]
    fn connections_leave_the_box_its_own_files() {
        assert_eq!(seats(1 << 20, 40, 3, 768), 768);
        assert_eq!(seats(1_024, 40, 8, 768), 768);
        assert_eq!(seats(256, 40, 3, 768), 256 - 40 - 64 - 24);
        assert_eq!((seats(128, 60, 3, 768), seats(64, 60, 8, 768)), (FEWEST_SEATS, FEWEST_SEATS));
        assert!(files_in_use() > 2);
    }
}
