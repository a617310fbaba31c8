//! Dumps of PostgreSQL: plain ones end with a line that says so.
//!
//! The line stands between two that are `--`. Since the fixes of August 2025 a plain dump also begins with `\restrict KEY` and ends with
//! `\unrestrict` and the same drawn key, which no row of a table can know. A dump of all databases has the last line of each of
//! them in it: it must end with its own. What stands in the rows of a `COPY` is no last line, whatever it says.

use super::check::Seen;
use super::held::Held;
use super::{Finding, tar, zip};

/// How a dump of `pg_dump` begins, within its first lines, and how it ends.
const ONE: [&[u8]; 2] = [b"-- PostgreSQL database dump", b"-- PostgreSQL database dump complete"];
/// The same of `pg_dumpall`.
const ALL: [&[u8]; 2] =
    [b"-- PostgreSQL database cluster dump", b"-- PostgreSQL database cluster dump complete"];
/// What `pg_dump --format=custom` begins with.
const CUSTOM: &[u8] = b"PGDMP";
/// Rows follow until a line that is [`ROWS_END`].
const ROWS: &[u8] = b" FROM stdin;";
const ROWS_END: &[u8] = b"\n\\.";
const LOCK: &[u8] = b"\n\\restrict ";
const UNLOCK: &[u8] = b"\\unrestrict ";
/// Bytes of a key that are compared, and a little more.
const REACH: usize = 128;
/// Somebody's own lines before a dump of all databases are no more than this.
const OWN_LINES: u64 = 1 << 20;

/// What is looked for all the way.
#[derive(Debug, Default)]
pub struct Walk {
    held: Held,
    at: u64,
    found: Found,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
struct Found {
    /// Where rows last began, and where they last ended.
    rows_begin: u64,
    rows_end: u64,
    /// The key of the last dump that began.
    key: Option<Vec<u8>>,
    /// Whether it is a dump of all databases.
    of_all: bool,
}

impl Walk {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { held, at, found } = self;
        held.push(*at, bytes, REACH, |base, piece| found.look(base, piece, piece.len() - (REACH - 1)));
        *at += bytes.len() as u64;
    }

    /// The same with what was not looked at yet.
    fn ended(&self) -> Found {
        let mut found = self.found.clone();
        let rest = self.held.rest();
        found.look(self.at - rest.len() as u64, rest, rest.len());
        found
    }
}

impl Found {
    /// Looks at the first `places` places of a piece that stands at `base`.
    fn look(&mut self, base: u64, piece: &[u8], places: usize) {
        for at in memchr::memmem::find_iter(piece, ROWS).take_while(|at| *at < places) {
            if matches!(piece.get(at + ROWS.len()), Some(b'\r' | b'\n')) {
                self.rows_begin = base + at as u64;
            }
        }
        for at in memchr::memchr_iter(b'\n', piece).take_while(|at| *at < places) {
            let here = &piece[at..];
            if here.starts_with(ROWS_END) {
                self.rows_end = base + at as u64;
            } else if here.starts_with(LOCK) {
                let line = here[LOCK.len()..].iter().take(REACH - LOCK.len());
                self.key = Some(line.take_while(|b| !b.is_ascii_whitespace()).copied().collect());
            } else if base < OWN_LINES && is_line(&here[1..], ALL[0]) {
                self.of_all = true;
            }
        }
    }

    fn in_rows(&self) -> bool {
        self.rows_begin > self.rows_end
    }
}

fn is_line(bytes: &[u8], line: &[u8]) -> bool {
    bytes.strip_prefix(line).is_some_and(|rest| matches!(rest.first(), None | Some(b'\r' | b'\n')))
}

/// Whether it begins like a plain dump.
pub fn begins(head: &[u8]) -> bool {
    lines(head).any(|line| line == ONE[0] || line == ALL[0])
}

/// Whether it may be a plain dump, perhaps behind lines of somebody's own: it is text.
pub fn may_be(head: &[u8]) -> bool {
    !head.contains(&0)
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
    // Somebody's own lines may stand before the dump: that is no other kind, as long as it is text.
    if zip::begins(seen.head) || seen.head.contains(&0) {
        return Finding::OtherKind;
    }
    match is_whole(seen) {
        true => Finding::Whole,
        false => Finding::NoLastLine,
    }
}

/// Whether its last lines are those of a whole one.
fn is_whole(seen: &Seen<'_>) -> bool {
    let found = seen.dump.ended();
    let (in_rows, of_all, key) = (found.in_rows(), found.of_all, found.key);
    let mut last = lines(seen.tail).rev().filter(|line| !line.is_empty());
    let mut next = last.next().unwrap_or_default();
    let mut locked = false;
    if let Some(said) = next.strip_prefix(UNLOCK) {
        if key.as_deref() != Some(said) {
            return false;
        }
        locked = true;
        next = last.next().unwrap_or_default();
    }
    let marks = [next, last.next().unwrap_or_default(), last.next().unwrap_or_default()];
    match of_all {
        true => !locked && !in_rows && marks == [b"--", ALL[1], b"--"],
        false => marks == [b"--", ONE[1], b"--"] && if key.is_some() { locked } else { !in_rows },
    }
}

/// Lines without their ends, which may be those of Windows.
fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}
