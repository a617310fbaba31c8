//! Folders to back up, and the comparison of what came back.

use crate::rig::input::{self, Input};
use crate::rng::Rng;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Random bytes of a backup that something happens to: it must last long enough.
const FRESH_FILES: usize = 12;
const FRESH_FILE_BYTES: usize = 4 << 20;

/// Some of the real files of this machine, copied to `folder`. Gives their bytes.
pub fn real(folder: &Path, limit_bytes: u64) -> Result<u64> {
    let input = Input::gather(&input::sources(), limit_bytes)?;
    let tar = folder.with_extension("tar");
    input.write_tar(&mut File::create(&tar)?)?;
    fs::create_dir(folder)?;
    tar::Archive::new(File::open(&tar)?).unpack(folder).context("unpacking real files")?;
    fs::remove_file(&tar)?;
    Ok(input.bytes())
}

/// A folder of random files that nobody has seen before.
pub fn fresh(folder: &Path, rng: &mut Rng) -> Result<()> {
    fs::create_dir(folder)?;
    for n in 0..FRESH_FILES {
        fs::write(folder.join(format!("{n:02}")), rng.bytes(FRESH_FILE_BYTES))?;
    }
    Ok(())
}

/// A little new in a folder: one small file more, one that grew.
pub fn touch(folder: &Path, rng: &mut Rng) -> Result<()> {
    let name = format!("new-{:016x}", rng.next_u64());
    fs::write(folder.join(name), rng.bytes(100_000))?;
    let mut grown = File::options().create(true).append(true).open(folder.join("grown"))?;
    Ok(grown.write_all(&rng.bytes(10_000))?)
}

/// Compares a folder with what was restored of it below `restored`, byte for byte and name for name.
pub fn compare(folder: &Path, restored: &Path) -> Result<()> {
    let back = restored.join(folder.strip_prefix("/").context("a folder by its full path")?);
    let (names, back_names) = (names(folder)?, names(&back).context("nothing was restored")?);
    ensure!(!names.is_empty(), "{} is empty", folder.display());
    if names != back_names {
        let odd =
            names.iter().chain(&back_names).find(|name| !names.contains(name) || !back_names.contains(name));
        bail!("{} files went in and {} came back; for one: {odd:?}", names.len(), back_names.len());
    }
    for name in &names {
        ensure!(same(&folder.join(name), &back.join(name))?, "{} came back different", name.display());
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path).with_context(|| path.display().to_string())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(read(one)? == read(other)?)
}

/// All files below a folder, relative to it, in order.
fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut names, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => open.push(entry.path()),
                _ => names.push(entry.path().strip_prefix(folder)?.to_path_buf()),
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_a_missing_and_an_additional_file_are_found() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        let back = to.join(from.strip_prefix("/").expect("a full path"));
        for folder in [from.join("a"), back.join("a")] {
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("one"), b"same").expect("written");
        }
        compare(&from, &to).expect("the same");
        fs::write(back.join("a/one"), b"sane").expect("written");
        assert!(compare(&from, &to).is_err(), "a changed byte");
        fs::write(back.join("a/one"), b"same").expect("written");
        fs::write(back.join("two"), b"").expect("written");
        assert!(compare(&from, &to).is_err(), "a file too many");
        fs::remove_file(back.join("two")).expect("removed");
        fs::remove_file(back.join("a/one")).expect("removed");
        assert!(compare(&from, &to).is_err(), "a file that is missing");
    }
}
