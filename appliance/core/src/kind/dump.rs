//! Dumps of PostgreSQL: plain ones end with a line that says so.
//!
//! Since the fixes of August 2025 a plain dump has `\unrestrict KEY` after that line. What is cut off behind the line itself is
//! no loss, so only the line must be there. A dump of all databases has the last line of each of them in it: it must end
//! with its own.

use super::check::Seen;
use super::{Finding, tar, zip};

/// How a dump of `pg_dump` begins, within its first lines, and how it ends.
const ONE: [&[u8]; 2] = [b"-- PostgreSQL database dump", b"-- PostgreSQL database dump complete"];
/// The same of `pg_dumpall`.
const ALL: [&[u8]; 2] =
    [b"-- PostgreSQL database cluster dump", b"-- PostgreSQL database cluster dump complete"];
/// What `pg_dump --format=custom` begins with.
const CUSTOM: &[u8] = b"PGDMP";

/// Whether it begins like a plain dump.
pub fn begins(head: &[u8]) -> bool {
    lines(head).any(|line| line == ONE[0] || line == ALL[0])
}

/// Whether it begins like a dump in the custom format.
pub fn is_custom(head: &[u8]) -> bool {
    head.starts_with(CUSTOM)
}

/// What a dump lacks that is not compressed: a plain one, one in the custom format, or a tar.
pub fn judge(seen: &Seen<'_>) -> Finding {
    if is_custom(seen.head) {
        return Finding::CustomFormat;
    }
    if tar::begins(seen.head) {
        return tar::judge(seen);
    }
    if zip::begins(seen.head) {
        return Finding::OtherKind;
    }
    let of_all = lines(seen.head).any(|line| line == ALL[0]);
    match lines(seen.tail).rev().find(|line| !may_follow(line)) {
        Some(line) if line == ALL[1] || line == ONE[1] && !of_all => Finding::Whole,
        _ if begins(seen.head) || seen.head.starts_with(b"--") => Finding::NoLastLine,
        // Somebody's own lines may stand before the dump: that is no other kind, as long as it is text.
        _ if seen.head.contains(&0) => Finding::OtherKind,
        _ => Finding::NoLastLine,
    }
}

/// Lines without their ends, which may be those of Windows.
fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Whether a line may stand behind the last one.
fn may_follow(line: &[u8]) -> bool {
    line.is_empty() || line == b"--" || line.starts_with(b"\\unrestrict ")
}
