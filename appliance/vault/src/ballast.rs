//! Ballast: a file of zeros on each disk that makes room when somebody else has filled the disk to the brim.
//!
//! New data is refused long before a disk is full, but a foreign file, a log or a person can take the rest. Then the journal
//! could not say any more what was forgotten, and a box that cannot forget stays full for ever. So each disk carries a file
//! that holds nothing: when the journal or a checkpoint finds no room, the file is removed and the job done again. Once
//! there is room, it is written anew. Its zeros are written out, not announced, so that the file system has really given
//! the blocks away; on one that compresses or copies on write it weighs less than it says.

use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult};

/// Bytes written at once.
const PIECE_LEN: usize = 1 << 20;
/// It is written only where this many times its length is free: it must never be what fills a disk.
const ROOM_TIMES: u64 = 4;

/// Writes the file when it is not there whole and there is room for it. A disk without room is no trouble here.
///
/// # Durability
/// None is needed: a file that is lost in a power cut is written again at the next start.
pub(crate) fn load(disk: &dyn Disk, len: u64) -> DiskResult<()> {
    if disk.len(layout::BALLAST).is_ok_and(|there| there == len) {
        return Ok(());
    }
    match release(disk) {
        // Something that is no file bears its name: a disk without ballast, and told elsewhere.
        Err(e) if e.is_no_file() => return Ok(()),
        other => other?,
    };
    if len == 0 || disk.space()?.free / ROOM_TIMES < len {
        return Ok(());
    }
    match write(disk, len) {
        Err(DiskError::Full(_)) => release(disk).map(drop),
        other => other,
    }
}

/// Removes the file; says whether there was one.
pub(crate) fn release(disk: &dyn Disk) -> DiskResult<bool> {
    disk.close(layout::BALLAST);
    match disk.remove(layout::BALLAST) {
        Ok(()) => disk.sync_dir("").map(|()| true),
        Err(DiskError::NotFound(_)) => Ok(false),
        Err(e) => Err(e),
    }
}

fn write(disk: &dyn Disk, len: u64) -> DiskResult<()> {
    disk.create(layout::BALLAST)?;
    let zeros = vec![0; PIECE_LEN.min(usize::try_from(len).unwrap_or(PIECE_LEN))];
    let mut at = 0;
    while at < len {
        let piece = zeros.len().min(usize::try_from(len - at).unwrap_or(PIECE_LEN));
        disk.write_at(layout::BALLAST, at, &zeros[..piece])?;
        at += piece as u64;
    }
    let done = disk.sync(layout::BALLAST);
    disk.close(layout::BALLAST);
    done?;
    disk.sync_dir("")
}
