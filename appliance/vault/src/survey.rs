//! Reading a disk from end to end: its label, checkpoints and journal, as the coordinator wants to see them.
//!
//! Nothing is believed without its checksum, nor unless it was written with the vault's keys: a label by its keyed hash, records and
//! checkpoints because they open. What is whole and does not open is somebody else's, and only counted. Nothing is changed, and a disk that fails half-way is not there. Everything is read from the
//! medium: after a sync that failed, a daemon that starts again would find in the cache what no medium has.
//!
//! Only names of ours are looked at, of plain files, and bounds come after that: whatever else lies in the folders, and
//! however much of it, hides nothing. A length is believed when what stands in front of the file says the same.
//!
//! A checkpoint of a large vault is tens of megabytes, and all disks have the same ones. Those who look at several disks look
//! through one [`Images`]: a file of which an identical one is in memory is compared and not kept. Nobody waits for anybody while
//! reading: a disk may hang.

use crate::engine::open_record;
use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult, EntryKind};
use coffre_core::buffer::Buffer;
use coffre_core::bytes::BLOCK;
use coffre_core::checkpoint::{self, Head, MAX_CHECKPOINT_LEN};
use coffre_core::coord::{Anchor, Placed, Spot, View};
use coffre_core::ids::{RecordHash, VaultId};
use coffre_core::keys::KeyRing;
use coffre_core::label::{BadLabel, LABEL_LEN, Label};
use coffre_core::record::{self, Found, decode};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

/// Bytes read from the medium at once.
const PIECE_LEN: usize = 4 << 20;
/// Longest journal segment that is read, whatever a damaged disk says.
pub(crate) const MAX_SEGMENT_LEN: u64 = 64 << 20;
/// Most checkpoints of one disk that are kept in memory, the newest.
const MAX_IMAGES: usize = 4;
/// Most blocks of no record that are kept of one disk: 16 MiB.
const MAX_STRAY: usize = 4096;
/// Most bytes that are read of files that are called like segments and do not begin with a record.
const MAX_DOUBTFUL_LEN: u64 = 256 << 20;

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
    /// Checkpoints of which a part is not as it was written, and their files.
    pub damaged: Vec<(Anchor, Arc<Vec<u8>>)>,
    /// Blocks in the journal that hold something and begin no whole record, by their place: parts of records that went bad.
    pub stray: BTreeMap<Spot, Vec<u8>>,
    /// The numbers of all files that are called like checkpoints and are not whole ones.
    pub not_whole: Vec<u64>,
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
        damaged: Vec::new(),
        not_whole: Vec::new(),
        stray: BTreeMap::new(),
        strange,
    };
    read_checkpoints(disk, keys, images, &mut out)?;
    read_journal(disk, keys, &mut out)?;
    Ok(out)
}

/// The numbers of the files in a folder whose names `number` knows, in order. A folder or a pipe of such a name is none.
pub(crate) fn numbers<N: Ord>(
    disk: &dyn Disk,
    folder: &str,
    number: impl Fn(&str) -> Option<N>,
) -> DiskResult<Vec<N>> {
    let mut found = Vec::new();
    let looked = disk.each(folder, &mut |name, kind| {
        if matches!(kind, EntryKind::File | EntryKind::Unknown) {
            found.extend(number(name));
        }
    });
    match looked {
        Ok(()) | Err(DiskError::NotFound(_)) => {}
        Err(e) => return Err(e),
    }
    found.sort_unstable();
    Ok(found)
}

/// The file's length; `None` when it is none, or not there any more.
fn length(disk: &dyn Disk, path: &str) -> DiskResult<Option<u64>> {
    match disk.len(path) {
        Err(DiskError::NotFound(_)) => Ok(None),
        Err(e) if e.is_no_file() => Ok(None),
        other => other.map(Some),
    }
}

fn read_checkpoints(disk: &dyn Disk, keys: &KeyRing, images: &Images, out: &mut Survey) -> DiskResult<()> {
    let newest_first = numbers(disk, layout::CHECKPOINTS, layout::checkpoint_seq)?.into_iter().rev();
    for seq in newest_first {
        if out.checkpoints.len() + out.damaged.len() == MAX_IMAGES {
            break;
        }
        let Some((head, bytes)) = read_checkpoint(disk, keys.vault(), seq)? else {
            out.not_whole.push(seq);
            continue;
        };
        let anchor = head.anchor;
        // One that is the same as one that opened opens.
        if images.has(anchor.hash, &bytes)
            || checkpoint::lacking(keys, &bytes).is_some_and(|bad| bad.is_empty())
        {
            out.view.anchors.push(anchor);
            out.checkpoints.insert(anchor.hash, images.share(anchor.hash, bytes));
            continue;
        }
        // All sums are right, and they need no key: somebody made them so.
        out.strange.checkpoints += usize::from(checkpoint::verify(keys.vault(), &bytes).is_some());
        out.not_whole.push(seq);
        if checkpoint::is_ours(keys, &bytes) {
            out.damaged.push((anchor, Arc::new(bytes)));
        }
    }
    Ok(())
}

/// A checkpoint's header and file. First the header is read: what follows is as long as that says.
fn read_checkpoint(disk: &dyn Disk, vault: VaultId, seq: u64) -> DiskResult<Option<(Head, Vec<u8>)>> {
    let path = layout::checkpoint(seq);
    let Some(len) = length(disk, &path)?.filter(|len| *len <= MAX_CHECKPOINT_LEN) else { return Ok(None) };
    // A checkpoint that cannot be read is one this disk does not have; the others do.
    let head = checkpoint::head(vault, &read_through(disk, &path, BLOCK.min(len as usize))?);
    let Some(head) = head.filter(|head| head.anchor.seq == seq && head.file_len == len) else {
        return Ok(None);
    };
    Ok(Some((head, read_through(disk, &path, len as usize)?)))
}

/// First what begins with a record, all of it; then the rest, what is nearest to those first: a segment whose first block went
/// bad lies among its siblings. Records say themselves what follows what, so nothing here decides by a file's number.
fn read_journal(disk: &dyn Disk, keys: &KeyRing, out: &mut Survey) -> DiskResult<()> {
    let (mut ours, mut doubtful) = (Vec::new(), Vec::new());
    for segment in numbers(disk, layout::JOURNAL, layout::segment_number)? {
        let path = layout::segment(segment);
        let len = length(disk, &path)?.unwrap_or(0).min(MAX_SEGMENT_LEN);
        if len < BLOCK as u64 {
            continue;
        }
        // A record of facts may be as long as a megabyte and more: its first block is enough to see what this is.
        let first = read_through(disk, &path, BLOCK)?;
        if record::begins(keys.vault(), &first) {
            let bytes = read_through(disk, &path, len as usize)?;
            scan(keys, segment, &bytes, out);
            out.tip = Tip(Some((segment, *blake3::hash(&bytes).as_bytes())));
            ours.push(segment);
        } else {
            doubtful.push((segment, len));
        }
    }
    let away = |n: u32| ours.iter().map(|o| o.abs_diff(n)).min().unwrap_or(n);
    doubtful.sort_by_cached_key(|(n, _)| away(*n));
    let mut left = MAX_DOUBTFUL_LEN;
    for (segment, len) in doubtful {
        let Some(rest) = left.checked_sub(len) else { break };
        left = rest;
        let bytes = read_through(disk, &layout::segment(segment), len as usize)?;
        scan(keys, segment, &bytes, out);
    }
    Ok(())
}

/// How the journal of a disk of this vault ends now: its last segment that begins with a record.
pub fn journal_tip(disk: &dyn Disk, vault: VaultId) -> DiskResult<Tip> {
    for segment in numbers(disk, layout::JOURNAL, layout::segment_number)?.into_iter().rev() {
        let path = layout::segment(segment);
        let len = length(disk, &path)?.unwrap_or(0).min(MAX_SEGMENT_LEN);
        if len >= BLOCK as u64 && record::begins(vault, &read_through(disk, &path, BLOCK)?) {
            let bytes = read_through(disk, &path, len as usize)?;
            return Ok(Tip(Some((segment, *blake3::hash(&bytes).as_bytes()))));
        }
    }
    Ok(Tip::default())
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
            Found::Nothing => at += BLOCK,
            Found::Record(meta, _) if at + meta.padded_len <= bytes.len() => {
                let spot = Spot { segment, offset: at as u32 };
                out.view.records.push(Placed { meta, spot });
                out.records.insert(meta.hash, bytes[at..at + meta.padded_len].into());
                at += meta.padded_len;
            }
            _ => {
                let spot = Spot { segment, offset: at as u32 };
                if out.stray.len() < MAX_STRAY {
                    out.stray.insert(spot, bytes[at..at + BLOCK].to_vec());
                }
                at += BLOCK;
            }
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
