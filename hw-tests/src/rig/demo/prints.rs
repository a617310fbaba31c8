//! Fingerprints of files on a disk folder: what was damaged is back byte for byte, what must not be touched was not.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Deeper than this no folder of a disk goes.
const MAX_DEPTH: usize = 8;

/// A file's bytes and when they were last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print {
    /// BLAKE3 of the bytes.
    pub hash: blake3::Hash,
    modified: SystemTime,
}

/// The fingerprint of one file.
pub fn of_file(path: &Path) -> Result<Print> {
    let told = || path.display().to_string();
    let file = std::fs::File::open(path).with_context(told)?;
    let modified = file.metadata().and_then(|meta| meta.modified()).with_context(told)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).with_context(told)?;
    Ok(Print { hash: hasher.finalize(), modified })
}

/// The fingerprints of all files below a folder.
pub fn below(folder: &Path) -> Result<BTreeMap<PathBuf, Print>> {
    let mut prints = BTreeMap::new();
    for path in files_below(folder, MAX_DEPTH)? {
        prints.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), of_file(&path)?);
    }
    Ok(prints)
}

/// Shard files of a disk, the largest first, with their lengths in bytes.
pub fn shards_of(disk: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut shards = Vec::new();
    for path in files_below(&disk.join("shards"), MAX_DEPTH)? {
        if path.extension().is_some_and(|end| end == "shard") {
            shards.push((path.metadata()?.len(), path));
        }
    }
    shards.sort_unstable_by(|a, b| b.cmp(a));
    Ok(shards)
}

fn files_below(folder: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if depth > 0 => files.extend(files_below(&entry.path(), depth - 1)?),
            true => {}
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_new_and_a_missing_file_are_noticed() {
        let disk = tempfile::tempdir().expect("a scratch folder");
        let at = |name: &str| disk.path().join(name);
        std::fs::create_dir_all(at("shards/a")).expect("writable");
        std::fs::write(at("shards/a/1.shard"), b"one").expect("writable");
        std::fs::write(at("shards/a/2.shard"), b"longer").expect("writable");
        std::fs::write(at("label"), b"label").expect("writable");
        let before = below(disk.path()).expect("readable");
        assert_eq!(before.len(), 3);
        assert_eq!(before, below(disk.path()).expect("readable"));
        std::fs::write(at("shards/a/1.shard"), b"One").expect("writable");
        let after = below(disk.path()).expect("readable");
        let one = PathBuf::from("shards/a/1.shard");
        assert_ne!(before[&one].hash, after[&one].hash);
        std::fs::remove_file(at("label")).expect("there");
        assert_eq!(below(disk.path()).expect("readable").len(), 2);
        let shards = shards_of(disk.path()).expect("readable");
        assert_eq!(shards.iter().map(|s| s.0).collect::<Vec<_>>(), [6, 3]);
    }
}
