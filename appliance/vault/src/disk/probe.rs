//! What init asks of a folder before it becomes a disk.

use super::fs::trouble;
use crate::ports::DiskResult;
use nix::sys::stat::{FileStat, stat};
use std::path::Path;

/// Whether two folders are on the same file system. (Parts of one pool, as in btrfs or ZFS, may look different
/// and still share their disks: this cannot tell.)
pub fn same_file_system(a: &Path, b: &Path) -> DiskResult<bool> {
    Ok(look(a)?.st_dev == look(b)?.st_dev)
}

/// Whether a folder is empty; the `lost+found` of a fresh file system does not count.
pub fn is_empty_dir(path: &Path) -> DiskResult<bool> {
    let whole = |e| trouble("list", &path.to_string_lossy(), e);
    for entry in std::fs::read_dir(path).map_err(whole)? {
        if entry.map_err(whole)?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file system of its own is mounted at `path`. (A folder bound to another place of the same file
/// system does not count.)
pub fn is_mount_point(path: &Path) -> DiskResult<bool> {
    let (here, above) = (look(path)?, look(&path.join(".."))?);
    Ok(here.st_dev != above.st_dev || here.st_ino == above.st_ino)
}

fn look(path: &Path) -> DiskResult<FileStat> {
    stat(path).map_err(|e| trouble("look at", &path.to_string_lossy(), e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_apart() {
        let dir = tempfile::tempdir().expect("scratch");
        let sub = dir.path().join("sub");
        std::fs::create_dir_all(sub.join("lost+found")).expect("scratch");
        assert!(same_file_system(dir.path(), &sub).expect("both there"));
        assert!(is_empty_dir(&sub).expect("there"));
        assert!(!is_empty_dir(dir.path()).expect("there"));
        assert!(!is_mount_point(&sub).expect("there"));
        for mount in ["/", "/proc"] {
            assert!(is_mount_point(Path::new(mount)).expect("there"), "{mount}");
        }
        assert!(!same_file_system(Path::new("/proc"), &sub).expect("both there"));
        assert!(is_empty_dir(&dir.path().join("none")).is_err());
    }
}
