//! What an init that was cut off left behind: recognised, and taken back.
//!
//! A cut-off init has shown no words, so nobody can have stored anything: the same command may simply begin again. But a folder is only
//! taken for such a beginning when nothing else can be in it. On a disk that means: names that init makes and no others, no shard, no
//! checkpoint, nothing put aside; and in the journal at most what init itself writes, and that only where the state folder
//! says that this very vault was not born yet. A disk that belongs to another vault, or a state folder of a vault that was born, ends the
//! search: then init refuses as ever.

use crate::disk::{FsDisk, Holder};
use crate::init::{HELD_NEXT, at, undo_disk, undo_state};
use crate::layout;
use crate::ports::DiskError;
use crate::state::{BOX_FILE, IDENTITY_FILE, INDEX_DIR, KEYS_FILE, StateFolder};
use crate::survey::{NotOurs, read_label, survey};
use coffre_core::fault::Result;
use coffre_core::ids::VaultId;
use std::fs;
use std::path::{Path, PathBuf};

/// Records that an init has written when it is cut off at its very end: the Mount and the fact that the vault began.
const OWN_RECORDS: usize = 2;
/// What init may have put beside the data, or a file system has by itself.
const BESIDE_DATA: [&str; 3] = [layout::BALLAST, "LISEZ-MOI.txt", LOST_AND_FOUND];
/// What each fresh file system has.
const LOST_AND_FOUND: &str = "lost+found";
/// The lock of a daemon that was started on a beginning and refused it.
const LOCK: &str = "lock";
/// Names on one level that are looked at: more are not ours.
const MAX_NAMES: usize = 64;

/// What a folder turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// Nothing is there.
    Nothing,
    /// The beginning of a vault that holds nothing.
    Beginning,
    /// Something else, which stays.
    Other,
}

/// Takes back what an earlier init of the same folders began. True when there was something; then the folders are empty again.
/// Touches nothing unless each of the folders is empty or such a beginning. `Refused` when another process has one of the disks.
pub(crate) fn take_back(state: &Path, disks: &[PathBuf]) -> Result<bool> {
    let folder = StateFolder::new(state);
    let begun = match folder.read_box() {
        Ok(of) if of.born => return Ok(false),
        Ok(of) => Some(of.vault_id),
        Err(_) if folder.file(BOX_FILE).exists() => return Ok(false),
        Err(_) => None,
    };
    let (holder, mut held, mut found) = (Holder::default(), Vec::new(), Vec::new());
    for path in disks {
        let Ok(disk) = FsDisk::attach(path) else { return Ok(false) };
        match disk.hold(&holder) {
            Err(e @ DiskError::Held(_)) => return Err(at(path, &e).next(HELD_NEXT)),
            Err(_) => return Ok(false),
            Ok(()) => {}
        }
        found.push(on_disk(&disk, path, begun));
        held.push(disk);
    }
    if found.contains(&Left::Other) || !found.contains(&Left::Beginning) {
        return Ok(false);
    }
    if in_state(&folder, disks, begun) == Left::Other || !nobody_serves(&folder.file(LOCK)) {
        return Ok(false);
    }
    tracing::warn!(
        "an init of these folders was cut off before its words were shown: what it had begun is taken back"
    );
    disks.iter().for_each(|disk| undo_disk(disk));
    undo_state(state, false);
    Ok(true)
}

fn on_disk(disk: &FsDisk, path: &Path, begun: Option<VaultId>) -> Left {
    match only_what_init_makes(path) {
        Some(false) => {}
        Some(true) => return Left::Nothing,
        None => return Left::Other,
    }
    let records = match read_label(disk) {
        Ok(label) if begun.is_none_or(|vault| vault == label.vault) => {
            survey(disk, label.vault).map(|seen| (seen.view.records.len(), seen.view.anchors.len()))
        }
        Ok(_) => return Left::Other,
        // The label is written last: before that there is no journal.
        Err(NotOurs::Unlabelled | NotOurs::BadLabel(_)) if is_empty(&path.join(layout::JOURNAL)) => {
            Ok((0, 0))
        }
        Err(_) => return Left::Other,
    };
    let most = if begun.is_some() { OWN_RECORDS } else { 0 };
    match records {
        Ok((records, 0)) if records <= most => Left::Beginning,
        _ => Left::Other,
    }
}

/// Whether the disk is empty (`true`) or has nothing but what init makes before anything is stored (`false`); else `None`.
fn only_what_init_makes(path: &Path) -> Option<bool> {
    let top = names(path)?;
    let known = [
        layout::LABEL,
        layout::KEYS,
        layout::JOURNAL,
        layout::CHECKPOINTS,
        layout::SHARDS,
        layout::QUARANTINE,
    ];
    let ours = |name: &String| known.contains(&name.as_str()) || BESIDE_DATA.contains(&name.as_str());
    let still_empty = |name: &str| !path.join(name).exists() || is_empty(&path.join(name));
    let segments = match path.join(layout::JOURNAL) {
        journal if journal.exists() => names(&journal)?,
        _ => Vec::new(),
    };
    let fine = top.iter().all(ours)
        && segments.iter().all(|name| layout::segment_number(name).is_some())
        && layout::shard_dirs().all(|dir| still_empty(&dir))
        && still_empty(layout::CHECKPOINTS)
        && still_empty(layout::QUARANTINE);
    fine.then_some(top.iter().all(|name| name == LOST_AND_FOUND))
}

/// What the state folder is, beside disks of which one at least is a beginning.
fn in_state(folder: &StateFolder, disks: &[PathBuf], begun: Option<VaultId>) -> Left {
    if !folder.path().exists() {
        return Left::Nothing;
    }
    let Some(there) = names(folder.path()) else { return Left::Other };
    let ours = |name: &String| {
        let plain = name.strip_suffix(".new").unwrap_or(name);
        [BOX_FILE, IDENTITY_FILE, KEYS_FILE, INDEX_DIR, layout::WITNESS, LOCK].contains(&plain)
    };
    // Without box.json the key slots are the only sign that the disks' beginnings and these files belong together.
    let same_keys = || match fs::read(folder.file(KEYS_FILE)) {
        Ok(keys) => {
            disks.iter().any(|disk| fs::read(disk.join(layout::KEYS)).is_ok_and(|there| there == keys))
        }
        Err(_) => !there.iter().any(|name| name == layout::WITNESS || name == INDEX_DIR),
    };
    match there.iter().all(ours) && (begun.is_some() || same_keys()) {
        true if there.is_empty() => Left::Nothing,
        true => Left::Beginning,
        false => Left::Other,
    }
}

/// Whether no daemon has this lock; then it is removed.
fn nobody_serves(lock: &Path) -> bool {
    match fs::File::open(lock) {
        Ok(file) => file.try_lock().is_ok() && fs::remove_file(lock).is_ok(),
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Names in a folder; `None` when it cannot be read or has more of them than init makes.
fn names(path: &Path) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(path).ok()?.take(MAX_NAMES + 1) {
        out.push(entry.ok()?.file_name().into_string().ok()?);
    }
    (out.len() <= MAX_NAMES).then_some(out)
}

fn is_empty(path: &Path) -> bool {
    names(path).is_some_and(|names| names.is_empty()) || !path.exists()
}
