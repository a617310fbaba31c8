//! Making a disk's journal fit to be written on: what it lacks is mended, then what does not belong is put aside.
//!
//! In this order, and each durable before the next: a power cut in the middle takes away nothing that the disk had. The
//! holes are written in place, over blocks that were no good before, and their neighbours stay untouched; so a half of it is done
//! again at the next mount, from wherever the records are then.

use super::{Guard, Hand};
use crate::layout;
use crate::ports::{DiskError, DiskResult};
use crate::survey::MAX_SEGMENT_LEN;
use coffre_core::bytes::BLOCK;
use coffre_core::coord::{Anchor, Spot};
use std::io;
use std::sync::Arc;

/// Most files that are put aside at once: a journal is never that long, and the disk must answer in time.
const MOST_ASIDE: usize = 10_000;

/// What a disk's journal must become.
#[derive(Clone, Debug)]
pub struct Prepare {
    /// The checkpoint that it lacks; what is in segments before it is not needed any more.
    pub base: Option<(Anchor, Arc<Vec<u8>>)>,
    /// Files called like checkpoints of these numbers are not whole: they are put aside.
    pub not_whole: Vec<u64>,
    /// The records that it lacks before `keep`: runs of adjoining bytes.
    pub holes: Vec<(Spot, Vec<u8>)>,
    /// End of what it keeps.
    pub keep: Spot,
    /// Length of a segment file.
    pub segment_len: u32,
    /// Whose disk it must still be.
    pub guard: Guard,
    /// Number for the names of what is put aside.
    pub tag: u64,
}

impl Prepare {
    pub(super) fn bytes(&self) -> u64 {
        let image = self.base.as_ref().map_or(0, |(_, image)| image.len());
        // Written and read back.
        (image + 2 * self.holes.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()) as u64
    }
}

impl Hand<'_> {
    pub(super) fn prepare(&self, to: &Prepare) -> DiskResult<()> {
        let mut first = 0;
        if let Some((anchor, image)) = &to.base {
            self.checkpoint(*anchor, image)?;
            first = anchor.end.segment;
        }
        self.journal(&to.holes, to.segment_len)?;
        self.prove_mended(&to.holes)?;
        let (aside, kept): (Vec<u32>, Vec<u32>) =
            self.segments()?.into_iter().partition(|n| *n < first || *n > to.keep.segment);
        let segments = aside.iter().map(|n| (layout::segment(*n), layout::segment_aside(to.tag, *n)));
        self.put_aside(&segments.collect::<Vec<_>>(), layout::JOURNAL)?;
        let written = to.base.as_ref().map(|(anchor, _)| anchor.seq);
        let not_whole = to.not_whole.iter().filter(|seq| written != Some(**seq));
        let not_whole = not_whole.map(|n| (layout::checkpoint(*n), layout::checkpoint_aside(to.tag, *n)));
        self.put_aside(&not_whole.collect::<Vec<_>>(), layout::CHECKPOINTS)?;
        if kept.last() == Some(&to.keep.segment) {
            self.put_tail_aside(to.keep.segment, to.keep.offset, to.tag)?;
        }
        self.settle_kept(&kept)
    }

    /// A place that went bad once is read again before anything rests on it.
    fn prove_mended(&self, holes: &[(Spot, Vec<u8>)]) -> DiskResult<()> {
        for (spot, bytes) in holes {
            let path = layout::segment(spot.segment);
            if !self.shows(&path, u64::from(spot.offset), bytes)? {
                let source = io::Error::other("what was written there does not read back");
                return Err(DiskError::Io { what: format!("mend {path} at {}", spot.offset), source });
            }
        }
        Ok(())
    }

    /// What is kept may have been read from a cache: a daemon that was killed leaves records written and not synced.
    /// From here on they count, so they are made durable first.
    fn settle_kept(&self, kept: &[u32]) -> DiskResult<()> {
        let kept = kept.iter().map(|n| layout::segment(*n));
        for path in kept.chain(self.checkpoints()?.into_iter().map(layout::checkpoint)) {
            match self.disk.open_rw(&path) {
                // Somebody's folder under a name of ours. A segment that is missed comes up when it is written.
                Err(e) if e.is_no_file() => continue,
                other => other?,
            }
            self.sync(&path)?;
            self.disk.close(&path);
        }
        self.sync_dir(layout::JOURNAL)?;
        self.sync_dir(layout::CHECKPOINTS)
    }

    /// Moves files from `folder` into the quarantine.
    fn put_aside(&self, moves: &[(String, String)], folder: &str) -> DiskResult<()> {
        if moves.len() > MOST_ASIDE {
            let source =
                io::Error::other("more than Coffre ever writes, so they are somebody's: move them away");
            return Err(DiskError::Io { what: format!("{} files in {folder}", moves.len()), source });
        }
        for (from, to) in moves {
            self.disk.close(from);
            match self.disk.rename(from, to) {
                Err(e) if e.is_no_file() => {}
                other => other?,
            }
        }
        if !moves.is_empty() {
            self.sync_dir(layout::QUARANTINE)?;
            self.sync_dir(folder)?;
        }
        Ok(())
    }

    /// Copies what stands behind `offset` into the quarantine, then makes it zeros.
    fn put_tail_aside(&self, n: u32, offset: u32, tag: u64) -> DiskResult<()> {
        let path = layout::segment(n);
        // Nobody reads on behind that, so what stands there is in nobody's way.
        let len = self.disk.len(&path)?.min(MAX_SEGMENT_LEN);
        let rest = len.saturating_sub(u64::from(offset)) as usize;
        let tail = self.whatever_is_there(&path, u64::from(offset), rest)?;
        let used = tail.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        if used == 0 {
            return Ok(());
        }
        let aside = layout::tail_aside(tag, n, offset);
        self.new_file(layout::QUARANTINE, &aside, &[&tail[..used]])?;
        self.disk.close(&path);
        self.disk.open_rw(&path)?;
        self.disk.write_at(&path, u64::from(offset), &vec![0; coffre_core::bytes::blocks(used).min(rest)])?;
        self.sync(&path)
    }

    /// Bytes of a file; blocks that cannot be read are zeros: a bad sector in what is put aside must not keep the disk
    /// from coming into use.
    fn whatever_is_there(&self, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
        match self.disk.read_at(path, offset, len) {
            Err(e) if e.medium_fails() => {}
            other => return other,
        }
        let mut bytes = vec![0; len];
        for at in (0..len).step_by(BLOCK) {
            match self.disk.read_at(path, offset + at as u64, BLOCK.min(len - at)) {
                Ok(block) => bytes[at..at + block.len()].copy_from_slice(&block),
                Err(e) if e.medium_fails() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    }
}
