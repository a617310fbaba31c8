//! What a path on a disk may look like. Our own code makes all of them; this is the second lock on that door.

/// Longest path, in bytes: well under what any file system takes.
pub const MAX_PATH_LEN: usize = 200;

/// Deepest path, in parts.
pub const MAX_PATH_PARTS: usize = 8;

/// Whether `path` names a file or folder: 1 to 8 parts of `[a-z0-9.-]`, none of them `.` or `..`, joined by `/`; or it is
/// the one name that people shall see first.
pub fn is_path(path: &str) -> bool {
    path.strip_suffix(".new").unwrap_or(path) == crate::layout::README || is_lower_path(path)
}

fn is_lower_path(path: &str) -> bool {
    path.len() <= MAX_PATH_LEN
        && path.split('/').count() <= MAX_PATH_PARTS
        && path.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
        })
}

/// Whether `path` names a folder: like [`is_path`], or `""` for the root.
pub fn is_folder(path: &str) -> bool {
    path.is_empty() || is_path(path)
}

/// The folder a path is in; `""` is the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_kind_of_path() {
        for good in ["a", "packs/00/ab.shard", "j-1.log", ".x", "LISEZ-MOI.txt", "LISEZ-MOI.txt.new"] {
            assert!(is_path(good), "{good}");
        }
        let (long, deep) = ("a".repeat(201), "a/".repeat(8) + "a");
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "LISEZ-MOI",
            "a/LISEZ-MOI.txt",
            "a//b",
            ".",
            "..",
            "a/../b",
            "A",
            "a_b",
            "é",
            "a\0",
            "a b",
            &long,
            &deep,
        ] {
            assert!(!is_path(bad), "{bad}");
        }
        assert!(is_folder("") && is_folder("a/b") && !is_folder("a/"));
        assert_eq!((parent("a"), parent("a/b/c")), ("", "a/b"));
    }
}
