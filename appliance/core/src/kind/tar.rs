//! Tar archives: from header to header, until two blocks of zeros stand where the next one would.
//!
//! Zeros at the end of what came prove nothing by themselves: a file in the archive may be full of them. So the members are followed by
//! their lengths. An archive whose headers are not understood is judged by its end alone.

use super::Finding;
use super::check::Seen;

const BLOCK: usize = 512;
/// Longest list of a member's own attributes that is read.
const MAX_ATTRIBUTES: usize = 64 * 1024;

/// Whether it begins with the header of a member, and says that it is a tar. The oldest ones do not.
pub fn begins(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar") && begins_silent(head)
}

/// Whether it begins with the header of a member, whether it says so or not.
fn begins_silent(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|block| block.iter().any(|b| *b != 0) && has_sum(block))
}

/// What an archive lacks.
pub fn judge(seen: &Seen<'_>) -> Finding {
    let zeros = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    if !begins_silent(seen.head) {
        // An archive of nothing is two blocks of zeros and no header.
        let nothing = seen.len >= 2 * BLOCK as u64 && zeros(seen.head) && zeros(seen.tail);
        return if nothing { Finding::Empty } else { Finding::OtherKind };
    }
    let end = seen.tail.get(seen.tail.len().saturating_sub(2 * BLOCK)..).unwrap_or(&[]);
    let ended = match seen.tar.state {
        State::Ended => true,
        State::Lost => end.len() == 2 * BLOCK && zeros(end),
        _ => false,
    };
    match ended && seen.len.is_multiple_of(BLOCK as u64) {
        true => Finding::Whole,
        false => Finding::NoEndBlocks,
    }
}

/// The walk from header to header.
#[derive(Debug, Default)]
pub struct Walk {
    state: State,
    block: Vec<u8>,
    /// Bytes of contents and padding still to come.
    skip: u64,
    /// Attributes of the next member that are being read, and how many bytes of them are still to come.
    attributes: Vec<u8>,
    reading: u64,
    /// Length of the next member by its attributes.
    len: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// A header is next.
    #[default]
    Header,
    /// One block of zeros was there.
    OneZero,
    /// More of a header of a sparse file, then so many bytes.
    Sparse(u64),
    /// The end was there.
    Ended,
    /// This is no tar, or not one that is understood.
    Lost,
}

impl Walk {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Ended | State::Lost) {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.read(&bytes[..now]);
                self.skip -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = rest;
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.state = self.take(&block).unwrap_or(State::Lost);
                self.block = block;
                self.block.clear();
            }
        }
    }

    /// Bytes of contents: kept when they are attributes.
    fn read(&mut self, bytes: &[u8]) {
        if self.reading == 0 {
            return;
        }
        let now = usize::try_from(self.reading).unwrap_or(usize::MAX).min(bytes.len());
        self.attributes.extend_from_slice(&bytes[..now]);
        self.reading -= now as u64;
        if self.reading == 0 {
            self.len = len_of(&self.attributes);
            self.attributes = Vec::new();
        }
    }

    fn take(&mut self, block: &[u8]) -> Option<State> {
        if let State::Sparse(len) = self.state {
            return Some(if *block.get(504)? != 0 { State::Sparse(len) } else { self.pass(len) });
        }
        if block.iter().all(|b| *b == 0) {
            return Some(if self.state == State::OneZero { State::Ended } else { State::OneZero });
        }
        if !has_sum(block.first_chunk()?) {
            return None;
        }
        let said = number(block.get(124..136)?)?;
        Some(match block.get(156)? {
            // Attributes of the next member, and long names.
            b'x' => {
                self.reading = if said <= MAX_ATTRIBUTES as u64 { said } else { return None };
                self.pass(said)
            }
            b'g' | b'L' | b'K' | b'X' => self.pass(said),
            // Links, devices and folders have no contents, whatever is written there.
            b'1'..=b'6' => {
                self.len = None;
                State::Header
            }
            b'S' if *block.get(482)? != 0 => State::Sparse(said),
            _ => {
                let len = self.len.take().unwrap_or(said);
                self.pass(len)
            }
        })
    }

    /// Passes over contents of this length, and their padding.
    fn pass(&mut self, len: u64) -> State {
        match len.checked_next_multiple_of(BLOCK as u64) {
            Some(skip) => {
                self.skip = skip;
                State::Header
            }
            None => State::Lost,
        }
    }
}

/// Whether the sum in a header is that of its bytes, its own place counted as blanks.
fn has_sum(block: &[u8; BLOCK]) -> bool {
    let rest: u64 = block[..148].iter().chain(&block[156..]).map(|b| u64::from(*b)).sum();
    number(&block[148..156]) == Some(rest + 8 * u64::from(b' '))
}

/// A number as headers have it: octal digits between blanks and zeros, or binary with the first bit set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        let (high, low) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
        return high.iter().all(|b| *b == 0).then(|| u64::from_be_bytes(low.try_into().unwrap_or([0; 8])));
    }
    let digits = field.split(|b| matches!(b, b' ' | 0)).find(|part| !part.is_empty()).unwrap_or(b"0");
    digits.iter().try_fold(0u64, |sum, b| match b {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// The length in attributes, which are lines of `LENGTH KEY=VALUE`, the length being that of the line.
fn len_of(attributes: &[u8]) -> Option<u64> {
    let (mut rest, mut found) = (attributes, None);
    while !rest.is_empty() {
        let blank = rest.iter().position(|b| *b == b' ')?;
        let len: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
        let line = rest.get(blank + 1..len)?;
        if let Some(value) = line.strip_prefix(b"size=") {
            found = std::str::from_utf8(value.strip_suffix(b"\n")?).ok()?.parse().ok();
        }
        rest = rest.get(len..)?;
    }
    found
}
