//! Zip archives: the end says where the directory is, and there it must be.
//!
//! ```text
//! members … │ directory │ (Zip64 record │ Zip64 locator) │ end record │ comment
//!           └─ offset and length as the end record says ─┘             └─ length as it says, then nothing
//! ```

use super::Finding;
use super::check::Seen;

/// What Odoo calls the dump, which it puts first.
pub const ODOO_DUMP: &[u8] = b"dump.sql";
const ODOO_MANIFEST: &[u8] = b"manifest.json";

const MEMBER: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LEN: usize = 20;
const RECORD: &[u8] = b"PK\x06\x06";
const RECORD_LEN: usize = 56;

/// Whether it begins like a zip; an empty one begins with its end.
pub fn begins(head: &[u8]) -> bool {
    head.starts_with(MEMBER) || head.starts_with(END)
}

/// The name of the first member, when it is in the head.
pub fn first_name(head: &[u8]) -> Option<&[u8]> {
    let len = usize::from(u16_at(head.strip_prefix(MEMBER)?, 22)?);
    head.get(30..)?.get(..len)
}

/// The directory of a whole zip, when all of it is in the tail; else what is lacking.
pub fn judge<'a>(seen: &'a Seen<'_>) -> Result<Option<&'a [u8]>, Finding> {
    if !begins(seen.head) {
        return Err(Finding::OtherKind);
    }
    let tail = seen.tail;
    // The end of a zip within the comment of another is possible: any that fits will do.
    let mut ends = (0..tail.len().saturating_sub(END_LEN - 1)).rev();
    let found = ends.find_map(|at| directory(seen, at)).ok_or(Finding::NoDirectory)?;
    if found.len == 0 {
        return Err(Finding::Empty);
    }
    // Earlier than the tail: not to be seen, and no reason to doubt.
    let Some(from) = found.offset.checked_sub(seen.len - tail.len() as u64) else { return Ok(None) };
    let bytes =
        usize::try_from(from).ok().and_then(|from| tail.get(from..)?.get(..usize::try_from(found.len).ok()?));
    match bytes {
        Some(bytes) if names(bytes).all(|name| name.is_some()) => Ok(Some(bytes)),
        _ => Err(Finding::NoDirectory),
    }
}

/// The same for a backup of Odoo, with the names that each of these has.
pub fn judge_odoo(seen: &Seen<'_>) -> Finding {
    match judge(seen) {
        Err(lack) => lack,
        Ok(Some(bytes)) => {
            let has = |wanted: &[u8]| names(bytes).flatten().any(|name| name == wanted);
            match has(ODOO_DUMP) && has(ODOO_MANIFEST) {
                true => Finding::Whole,
                false => Finding::NoOdooNames,
            }
        }
        Ok(None) => Finding::LongDirectory,
    }
}

/// Where a directory is: from the beginning of the zip, and how long.
struct Directory {
    offset: u64,
    len: u64,
}

/// The directory that an end record at `at` of the tail speaks of, if both are where they must be.
fn directory(seen: &Seen<'_>, at: usize) -> Option<Directory> {
    let tail = seen.tail;
    let end = tail.get(at..).filter(|end| end.starts_with(END))?;
    if end.len() - END_LEN != usize::from(u16_at(end, 20)?) {
        return None;
    }
    let (mut len, mut offset) = (u64::from(u32_at(end, 12)?), u64::from(u32_at(end, 16)?));
    let start = seen.len - tail.len() as u64;
    let mut ends_at = start + at as u64;
    let locator = at.checked_sub(LOCATOR_LEN).and_then(|before| tail.get(before..at));
    if let Some(locator) = locator.filter(|l| l.starts_with(LOCATOR)) {
        ends_at = u64_at(locator, 8)?;
        let record = tail.get(usize::try_from(ends_at.checked_sub(start)?).ok()?..at - LOCATOR_LEN)?;
        if !record.starts_with(RECORD) || record.len() < RECORD_LEN {
            return None;
        }
        if u64_at(record, 4)? != (record.len() - 12) as u64 {
            return None;
        }
        len = if len == u64::from(u32::MAX) { u64_at(record, 40)? } else { len };
        offset = if offset == u64::from(u32::MAX) { u64_at(record, 48)? } else { offset };
    }
    (offset.checked_add(len)? == ends_at).then_some(Directory { offset, len })
}

/// Names in a directory; `None` where it is no directory, and then no more.
fn names(directory: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(directory);
    std::iter::from_fn(move || {
        let bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        let entry = entry(bytes);
        rest = entry.map(|(_, rest)| rest);
        Some(entry.map(|(name, _)| name))
    })
}

fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.strip_prefix(ENTRY)?;
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(bytes, at).map(usize::from));
    let (name, len) = (name?, 46 + name? + extra? + comment?);
    Some((bytes.get(46..46 + name)?, bytes.get(len..)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
