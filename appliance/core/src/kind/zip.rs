//! Zip archives: the end says where the directory is, and there it must be, entry by entry.
//!
//! ```text
//! members … │ directory │ (Zip64 record │ Zip64 locator) │ end record │ comment
//!           └─ offset and length as the end record says ─┘             └─ length as it says, then nothing
//! ```
//!
//! A directory is often longer than what is kept of the end, so that it is followed while it passes: wherever an entry stands where the one
//! before it says that the next one is, a *chain* grows. At the end there must be one from where the directory begins to where it ends,
//! with as many entries as the end record says, all of which lie before it.

use super::Finding;
use super::check::Seen;
use super::held::Held;
use super::layer::TAIL_LEN;
use std::collections::BTreeMap;

/// What Odoo calls the dump, which it puts first.
pub const ODOO_DUMP: &[u8] = b"dump.sql";
const ODOO_MANIFEST: &[u8] = b"manifest.json";

const MEMBER: &[u8] = b"PK\x03\x04";
const MEMBER_LEN: u64 = 30;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
/// An entry, and the longest name that is of interest.
const REACH: usize = ENTRY_LEN + ODOO_MANIFEST.len();
const END: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LEN: usize = 20;
const RECORD: &[u8] = b"PK\x06\x06";
const RECORD_LEN: usize = 56;
/// Most chains that are followed at once: a zip with more of them near its end than this is a collection of directories.
const MOST_CHAINS: usize = 4096;

/// Whether it begins like a zip; an empty one begins with its end.
pub fn begins(head: &[u8]) -> bool {
    head.starts_with(MEMBER) || head.starts_with(END)
}

/// The name of the first member, when it is in the head.
pub fn first_name(head: &[u8]) -> Option<&[u8]> {
    let len = usize::from(u16_at(head.strip_prefix(MEMBER)?, 22)?);
    head.get(30..)?.get(..len)
}

/// Entries one behind the other.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    /// Where the first one begins.
    from: u64,
    entries: u64,
    /// Where the first and the last member begin, as far as entries say.
    first: u64,
    reach: u64,
    /// The length of the dump of an Odoo backup, and that of the manifest.
    dump: Option<u32>,
    manifest: Option<u32>,
}

/// What passes by on the way to the end.
#[derive(Debug, Default)]
pub struct Walk {
    held: Held,
    /// By where the next entry would be.
    chains: BTreeMap<u64, Chain>,
    given_up: bool,
}

impl Walk {
    /// Takes the next bytes, which stand at `at`. The first ones may be left out: no entry begins there.
    pub fn push(&mut self, at: u64, bytes: &[u8]) {
        let Self { held, chains, given_up } = self;
        held.push(at, bytes, REACH, |base, piece| {
            for at in memchr::memmem::find_iter(piece, ENTRY) {
                if let Some(entry) = piece.get(at..at + REACH) {
                    *given_up |= !follow(chains, base + at as u64, entry);
                }
            }
        });
    }
}

/// Takes an entry. False when there are too many chains.
fn follow(chains: &mut BTreeMap<u64, Chain>, at: u64, entry: &[u8]) -> bool {
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(entry, at).map_or(0, u64::from));
    let [packed, len, member] = [20, 24, 42].map(|at| u32_at(entry, at).unwrap_or(u32::MAX));
    let mut chain = chains.remove(&at).unwrap_or(Chain { from: at, first: u64::MAX, ..Chain::default() });
    chain.entries += 1;
    let is = |wanted: &[u8]| name == wanted.len() as u64 && entry[ENTRY_LEN..].starts_with(wanted);
    if is(ODOO_DUMP) {
        chain.dump = Some(len);
    } else if is(ODOO_MANIFEST) {
        chain.manifest = Some(len);
    }
    // Members beyond four gigabytes have their place in a field of Zip64.
    if member < u32::MAX {
        let (member, packed) = (u64::from(member), if packed == u32::MAX { 0 } else { u64::from(packed) });
        chain.first = chain.first.min(member);
        chain.reach = chain.reach.max(member + MEMBER_LEN + name + packed);
    }
    let next = at + ENTRY_LEN as u64 + name + extra + comment;
    // Of two that meet, the one that began first has the other in one of its texts.
    if chains.get(&next).is_none_or(|other| other.from > chain.from) {
        chains.insert(next, chain);
    }
    if chains.len() <= MOST_CHAINS {
        return true;
    }
    // What ended before anything that the end record can stand behind.
    *chains = chains.split_off(&at.saturating_sub(TAIL_LEN as u64));
    let few = chains.len() <= MOST_CHAINS;
    if !few {
        chains.pop_first();
    }
    few
}

/// The directory of a whole zip; else what is lacking.
fn judge_directory(seen: &Seen<'_>) -> Result<Chain, Finding> {
    if !begins(seen.head) {
        return Err(Finding::OtherKind);
    }
    let tail = seen.tail;
    // The end of a zip within the comment of another is possible: any that fits will do.
    let mut ends = memchr::memmem::rfind_iter(tail, END);
    let found = ends.find_map(|at| directory(seen, at)).ok_or(Finding::NoDirectory)?;
    if found.entries == 0 {
        return Err(Finding::Empty);
    }
    let chain = seen.zip.chains.get(&(found.offset + found.len));
    match chain.filter(|chain| chain.from == found.offset && found.counts(chain.entries)) {
        Some(chain) if chain.reach > found.offset => Err(Finding::NoDirectory),
        // Something stands before the first member that no entry speaks of.
        Some(chain) if chain.first != 0 => Err(Finding::LongDirectory),
        Some(chain) => Ok(*chain),
        None if seen.zip.given_up => Err(Finding::LongDirectory),
        None => Err(Finding::NoDirectory),
    }
}

/// What a zip lacks.
pub fn judge(seen: &Seen<'_>) -> Finding {
    judge_directory(seen).map_or_else(|lack| lack, |_| Finding::Whole)
}

/// The same for a backup of Odoo, with the names that each of these has.
pub fn judge_odoo(seen: &Seen<'_>) -> Finding {
    match judge_directory(seen) {
        Err(lack) => lack,
        Ok(Chain { dump: Some(0), .. } | Chain { manifest: Some(0), .. }) => Finding::EmptyDump,
        Ok(Chain { dump: Some(_), manifest: Some(_), .. }) => Finding::Whole,
        Ok(_) => Finding::NoOdooNames,
    }
}

/// Where a directory is: from the beginning of the zip, how long, and of how many entries.
struct Directory {
    offset: u64,
    len: u64,
    entries: u64,
    /// Whether the number of entries has all its bits.
    wide: bool,
}

impl Directory {
    fn counts(&self, entries: u64) -> bool {
        // Some write more than 65,535 entries without Zip64, and the number runs over.
        if self.wide { entries == self.entries } else { entries & 0xffff == self.entries }
    }
}

/// The directory that an end record at `at` of the tail speaks of, if both are where they must be.
fn directory(seen: &Seen<'_>, at: usize) -> Option<Directory> {
    let tail = seen.tail;
    let end = tail.get(at..)?;
    if end.len().checked_sub(END_LEN)? != usize::from(u16_at(end, 20)?) {
        return None;
    }
    let (mut entries, mut wide) = (u64::from(u16_at(end, 10)?), false);
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
        if entries == u64::from(u16::MAX) {
            (entries, wide) = (u64_at(record, 32)?, true);
        }
        len = if len == u64::from(u32::MAX) { u64_at(record, 40)? } else { len };
        offset = if offset == u64::from(u32::MAX) { u64_at(record, 48)? } else { offset };
    }
    let empty = entries == 0 && len == 0;
    let fits = offset.checked_add(len)? == ends_at && (empty || len >= ENTRY_LEN as u64);
    fits.then_some(Directory { offset, len, entries, wide })
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
