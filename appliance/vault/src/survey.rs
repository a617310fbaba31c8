//! Reading a disk from end to end: its label, checkpoints and journal, as the coordinator wants to see them.
//!
//! Nothing is believed without its checksum, nor unless it was written with the vault's keys: a label by its keyed hash, records and
//! checkpoints because they open. What is whole and does not open is somebody else's, and only counted. Nothing is changed, and a disk that fails half-way is not there. Everything is read from the
//! medium: after a sync that failed, a daemon that starts again would find in the cache what no medium has.
//!
//! A checkpoint of a large vault is tens of megabytes, and all disks have the same ones. Those who look at several disks look
//! through one [`Images`]: a file of which an identical one is in memory is compared and not kept. Nobody waits for anybody while
//! reading: a disk may hang.

use crate::engine::open_record;
use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult};
use coffre_core::buffer::Buffer;
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint::{self, MAX_CHECKPOINT_LEN};
use coffre_core::coord::{Placed, Spot, View};
use coffre_core::ids::{RecordHash, VaultId};
use coffre_core::keys::KeyRing;
use coffre_core::label::{BadLabel, LABEL_LEN, Label};
use coffre_core::record::{Found, decode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

/// Bytes read from the medium at once.
const PIECE_LEN: usize = 4 << 20;
/// Longest journal segment that is read, whatever a damaged disk says.
const MAX_SEGMENT_LEN: u64 = 64 << 20;
/// Most segment or checkpoint files that are looked at.
const MAX_FILES: usize = 4096;

/// What a disk shows.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its label.
    pub label: Label,
    /// Checkpoints and records.
    pub view: View,
    /// The records' bytes, padding included.
    pub records: HashMap<RecordHash, Arc<[u8]>>,
    /// The checkpoints' files.
    pub checkpoints: HashMap<RecordHash, Arc<Vec<u8>>>,
    /// How its journal ended.
    pub tip: Tip,
    /// What looks like the vault's and was not written with its keys.
    pub strange: Strange,
}

/// The end of a journal: the last segment's number and a hash of its bytes. Who appends changes one or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tip(Option<(u32, [u8; 32])>);

/// Things on a disk that are whole and that nobody with the vault's keys wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Strange {
    /// A copy of its label.
    pub label: bool,
    /// So many records.
    pub records: usize,
    /// So many checkpoints.
    pub checkpoints: usize,
}

/// Checkpoint files that are in memory, by the hash of the record they stand for: identical ones are kept once.
#[derive(Clone, Debug, Default)]
pub struct Images(Arc<Mutex<HashMap<RecordHash, Weak<Vec<u8>>>>>);

impl Images {
    fn has(&self, of: RecordHash, bytes: &[u8]) -> bool {
        let kept = crate::core::lock(&self.0).get(&of).and_then(Weak::upgrade);
        kept.is_some_and(|kept| **kept == *bytes)
    }

    /// The image that is kept already when it is the same, byte by byte; `bytes` otherwise.
    fn share(&self, of: RecordHash, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        let mut known = crate::core::lock(&self.0);
        known.retain(|_, image| image.strong_count() > 0);
        match known.get(&of).and_then(Weak::upgrade) {
            Some(kept) if *kept == bytes => kept,
            _ => {
                let image = Arc::new(bytes);
                known.insert(of, Arc::downgrade(&image));
                image
            }
        }
    }
}

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// No label: not a disk of any vault, or an empty mount point.
    #[error("no label here: an empty mount point, or not a disk of a vault")]
    Unlabelled,
    /// The label is damaged or too new.
    #[error(transparent)]
    BadLabel(#[from] BadLabel),
    /// Labelled for another vault.
    #[error("this disk belongs to another vault ({0})")]
    OtherVault(VaultId),
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Up to `len` bytes from the medium, a piece at a time.
fn from_medium(disk: &dyn Disk, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
    let (mut out, mut piece) = (Vec::new(), Buffer::new());
    while out.len() < len {
        let wanted = (len - out.len()).min(PIECE_LEN);
        disk.read_medium(path, offset + out.len() as u64, wanted, &mut piece)?;
        out.extend_from_slice(&piece);
        if piece.len() < wanted {
            break;
        }
    }
    Ok(out)
}

/// What a disk's label seems to say, to somebody without keys: anybody may have written it.
pub fn peek_label(disk: &dyn Disk) -> Result<Label, NotOurs> {
    Ok(Label::peek(&label_file(disk)?)?)
}

/// Reads a disk's label: one that was written with these keys.
pub fn read_label(disk: &dyn Disk, keys: &KeyRing) -> Result<Label, NotOurs> {
    open_label(keys, &label_file(disk)?)
}

fn open_label(keys: &KeyRing, file: &[u8]) -> Result<Label, NotOurs> {
    match Label::open(keys, file) {
        Err(BadLabel::Forged) => match Label::peek(file)? {
            other if other.vault != keys.vault() => Err(NotOurs::OtherVault(other.vault)),
            _ => Err(BadLabel::Forged.into()),
        },
        found => Ok(found?),
    }
}

fn label_file(disk: &dyn Disk) -> Result<Vec<u8>, NotOurs> {
    match from_medium(disk, layout::LABEL, 0, LABEL_LEN) {
        Ok(bytes) => Ok(bytes),
        Err(DiskError::NotFound(_)) => Err(NotOurs::Unlabelled),
        Err(e) => Err(e.into()),
    }
}

/// Reads everything the coordinator needs from a disk of the vault of these keys.
pub fn survey(disk: &dyn Disk, keys: &KeyRing) -> Result<Survey, NotOurs> {
    survey_sharing(disk, keys, &Images::default())
}

/// The same; checkpoint files that are in `images` already are not kept twice.
pub fn survey_sharing(disk: &dyn Disk, keys: &KeyRing, images: &Images) -> Result<Survey, NotOurs> {
    let file = label_file(disk)?;
    let label = open_label(keys, &file)?;
    let strange = Strange { label: Label::any_forged(keys, &file), ..Strange::default() };
    let mut out = Survey {
        view: View {
            promised: label.promised,
            version: label.roster.version,
            since: label.since,
            ..View::default()
        },
        label,
        records: HashMap::new(),
        checkpoints: HashMap::new(),
        tip: Tip::default(),
        strange,
    };
    read_checkpoints(disk, keys, images, &mut out)?;
    read_journal(disk, keys, &mut out)?;
    Ok(out)
}

fn names(disk: &dyn Disk, dir: &str) -> DiskResult<Vec<String>> {
    match disk.list(dir) {
        Ok(names) => Ok(names.into_iter().take(MAX_FILES).collect()),
        Err(DiskError::NotFound(_)) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn read_checkpoints(disk: &dyn Disk, keys: &KeyRing, images: &Images, out: &mut Survey) -> DiskResult<()> {
    for seq in names(disk, layout::CHECKPOINTS)?.iter().filter_map(|n| layout::checkpoint_seq(n)) {
        let path = layout::checkpoint(seq);
        let len = disk.len(&path)?;
        if len > MAX_CHECKPOINT_LEN {
            continue;
        }
        // A checkpoint that cannot be read is one this disk does not have; the others do.
        let bytes = match from_medium(disk, &path, 0, len as usize) {
            Ok(bytes) => bytes,
            Err(e) if e.medium_fails() || matches!(e, DiskError::NotFound(_)) => continue,
            Err(e) => return Err(e),
        };
        if let Some(anchor) = checkpoint::verify(keys.vault(), &bytes).filter(|a| a.seq == seq) {
            // One that is the same as one that opened opens.
            if !images.has(anchor.hash, &bytes) && checkpoint::open_each(keys, &bytes, drop).is_err() {
                out.strange.checkpoints += 1;
                continue;
            }
            out.view.anchors.push(anchor);
            out.checkpoints.insert(anchor.hash, images.share(anchor.hash, bytes));
        }
    }
    Ok(())
}

fn read_journal(disk: &dyn Disk, keys: &KeyRing, out: &mut Survey) -> DiskResult<()> {
    for segment in names(disk, layout::JOURNAL)?.iter().filter_map(|n| layout::segment_number(n)) {
        let path = layout::segment(segment);
        let len = disk.len(&path)?.min(MAX_SEGMENT_LEN);
        let bytes = read_through(disk, &path, len as usize)?;
        scan(keys, segment, &bytes, out);
        if out.tip.0.is_none_or(|(last, _)| last < segment) {
            out.tip = Tip(Some((segment, *blake3::hash(&bytes).as_bytes())));
        }
    }
    Ok(())
}

/// How a disk's journal ends now.
pub fn journal_tip(disk: &dyn Disk) -> DiskResult<Tip> {
    let last = names(disk, layout::JOURNAL)?.iter().filter_map(|n| layout::segment_number(n)).max();
    let Some(segment) = last else { return Ok(Tip::default()) };
    let path = layout::segment(segment);
    let len = disk.len(&path)?.min(MAX_SEGMENT_LEN);
    let bytes = read_through(disk, &path, len as usize)?;
    Ok(Tip(Some((segment, *blake3::hash(&bytes).as_bytes()))))
}

/// The whole file; blocks that cannot be read are zeros, so that one bad sector costs its records and no more. A disk that
/// is gone, and a box that is short of descriptors, do not show zeros where there are records.
fn read_through(disk: &dyn Disk, path: &str, len: usize) -> DiskResult<Vec<u8>> {
    match from_medium(disk, path, 0, len) {
        Err(e) if e.medium_fails() => {}
        whole => return whole,
    }
    let mut bytes = vec![0; len];
    for at in (0..len).step_by(BLOCK) {
        match from_medium(disk, path, at as u64, BLOCK.min(len - at)) {
            Ok(block) => bytes[at..at + block.len()].copy_from_slice(&block),
            Err(e) if e.medium_fails() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bytes)
}

fn scan(keys: &KeyRing, segment: u32, bytes: &[u8], out: &mut Survey) {
    let mut at = 0;
    while at + BLOCK <= bytes.len() {
        match decode(keys.vault(), &bytes[at..]) {
            // Nothing of what it says is believed, its length neither: what stands behind its first block is looked at.
            Found::Record(..) if open_record(keys, keys.vault(), &bytes[at..]).is_err() => {
                out.strange.records += 1;
                at += BLOCK;
            }
            Found::Record(meta, _) if at + meta.padded_len <= bytes.len() => {
                let spot = Spot { segment, offset: at as u32 };
                out.view.records.push(Placed { meta, spot });
                out.records.insert(meta.hash, bytes[at..at + meta.padded_len].into());
                at += meta.padded_len;
            }
            _ => at += BLOCK,
        }
    }
}

impl std::fmt::Display for Strange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |n: usize, one: &str| match n {
            0 => None,
            1 => Some(format!("a {one}")),
            n => Some(format!("{n} {one}s")),
        };
        let label = self.label.then(|| "a copy of its label".to_owned());
        let things = [label, count(self.records, "journal record"), count(self.checkpoints, "checkpoint")];
        f.write_str(&things.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_images_are_kept_once_and_others_apart() {
        let (images, of) = (Images::default(), RecordHash([1; 32]));
        let first = images.share(of, vec![7; 100]);
        assert!(Arc::ptr_eq(&first, &images.share(of, vec![7; 100])));
        // The same point, sealed by another hand: both are valid, and each is its disk's own.
        let other = images.share(of, vec![8; 100]);
        assert_eq!((first[0], other[0]), (7, 8));
        drop((first, other));
        assert_eq!(*images.share(of, vec![7; 100]), vec![7; 100]);
        assert_eq!(lock_len(&images), 1);
    }

    fn lock_len(images: &Images) -> usize {
        crate::core::lock(&images.0).len()
    }
}
