//! Real files of this machine as one tar stream: the project, the Cargo registry, the toolchain.
//!
//! The stream is deterministic: files in sorted order, times and owners left out, so that pushing it twice is
//! pushing the same bytes twice. A file that changes in between would change them, so only folders that rest
//! while the demo runs are taken.

use super::binaries;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders deeper than this are not looked into, and no file larger than this is taken.
const MAX_DEPTH: usize = 24;
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A folder with real files, and what it is called in the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For a person.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// Files to be streamed.
#[derive(Debug, Default)]
pub struct Input {
    files: Vec<(PathBuf, String, u64)>,
    /// Where they are from, how many, and their bytes.
    pub from: Vec<(&'static str, u64, u64)>,
}

/// The project's own tree and the sources of its dependencies.
pub fn sources() -> Vec<Place> {
    let project = Place { name: "this project", path: binaries::checkout().to_path_buf() };
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let registry = home.map(|home| Place { name: "the Cargo registry", path: home.join("registry/src") });
    [Some(project), registry].into_iter().flatten().collect()
}

/// The toolchain's libraries and documentation.
pub fn toolchain() -> Vec<Place> {
    let said = super::process::run_ok(
        Command::new("rustc").args(["--print", "sysroot"]),
        std::time::Duration::from_secs(60),
    );
    let Ok(said) = said else { return Vec::new() };
    let root = PathBuf::from(said.text().trim());
    vec![
        Place { name: "the toolchain's documentation", path: root.join("share/doc") },
        Place { name: "the toolchain's libraries", path: root.join("lib/rustlib") },
    ]
}

impl Input {
    /// Takes files of the places in order until `limit_bytes` are together.
    pub fn gather(places: &[Place], limit_bytes: u64) -> Result<Self> {
        let mut input = Self::default();
        for place in places {
            let (files, bytes) = (input.files.len() as u64, input.bytes());
            let prefix = place.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            input.walk(&place.path, &prefix, 0, limit_bytes);
            let taken = (input.files.len() as u64 - files, input.bytes() - bytes);
            if taken.0 > 0 {
                input.from.push((place.name, taken.0, taken.1));
            }
        }
        input.from.first().context("this machine has no readable files to push")?;
        Ok(input)
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, _, len)| len).sum()
    }

    /// How many files.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize, limit_bytes: u64) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(|entry| entry.file_name());
        let mut total = self.bytes();
        for entry in entries {
            if total >= limit_bytes - limit_bytes / 100 {
                return;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            if kind.is_dir() && depth < MAX_DEPTH && name != "target" && name != ".git" {
                self.walk(&entry.path(), &format!("{prefix}/{name}"), depth + 1, limit_bytes);
                total = self.bytes();
            }
            let Some(len) = kind.is_file().then(|| entry.metadata().ok()).flatten().map(|m| m.len()) else {
                continue;
            };
            if len <= MAX_FILE_BYTES && total + len <= limit_bytes && File::open(entry.path()).is_ok() {
                self.files.push((entry.path(), format!("{prefix}/{name}"), len));
                total += len;
            }
        }
    }

    /// Writes the tar stream: the same bytes at each call, or an error when a file is no longer what it was.
    pub fn write_tar(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, out));
        for (path, name, len) in &self.files {
            let file = File::open(path)?;
            if file.metadata()?.len() != *len {
                return Err(io::Error::other(format!("{} changed while it was pushed", path.display())));
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(*len);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, name, file.take(*len))?;
        }
        tar.into_inner()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_files() -> (tempfile::TempDir, Input) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir_all(folder.path().join("b/target")).expect("made");
        for (name, len) in [("b/one", 10), ("a", 20), ("b/target/never", 5), ("large", 1000)] {
            std::fs::write(folder.path().join(name), vec![7; len]).expect("written");
        }
        let place = Place { name: "here", path: folder.path().to_path_buf() };
        let input = Input::gather(&[place], 100).expect("files");
        (folder, input)
    }

    #[test]
    fn files_are_taken_in_order_and_within_the_limit() {
        let (_folder, input) = some_files();
        assert_eq!((input.count(), input.bytes()), (2, 30));
        assert_eq!(input.from, [("here", 2, 30)]);
        assert!(Input::gather(&[], 100).is_err());
    }

    #[test]
    fn the_stream_is_the_same_twice_and_a_changed_file_is_told() {
        let (folder, input) = some_files();
        let stream = || {
            let mut bytes = Vec::new();
            input.write_tar(&mut bytes).map(|()| bytes)
        };
        let first = stream().expect("streams");
        assert_eq!(first, stream().expect("streams"));
        let mut archive = tar::Archive::new(&first[..]);
        assert_eq!(archive.entries().expect("a tar").count(), 2);
        std::fs::write(folder.path().join("a"), b"shorter").expect("written");
        assert!(stream().is_err());
    }
}
