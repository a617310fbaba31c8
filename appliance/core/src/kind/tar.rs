//! Tar archives: from header to header, until two blocks of zeros stand where the next one would.
//!
//! Zeros at the end of what came prove nothing by themselves: a file in the archive may be full of them. So the members are followed by
//! their lengths, and an archive that cannot be followed to its end is not called whole. A hard link may have contents or not, and its
//! header does not say which: both ways are gone until one of them turns out to lead nowhere.

use super::check::Seen;
use super::{Finding, pax::Attributes};

const BLOCK: usize = 512;
/// Most ways that are gone at once.
const MOST_WAYS: usize = 8;

/// Whether it begins with the header of a member. The oldest ones do not say that they are tars, but their sums are right.
pub fn begins(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|block| block[0] != 0 && has_sum(block))
}

/// What an archive lacks.
pub fn judge(seen: &Seen<'_>) -> Finding {
    if !begins(seen.head) {
        return Finding::OtherKind;
    }
    let mut found = seen.tar.ways.iter().map(Walk::finding);
    let first = found.next().unwrap_or(Finding::NotFollowed);
    let agree = found.all(|other| other == first);
    if agree && !seen.tar.given_up { first } else { Finding::NotFollowed }
}

/// All ways that an archive can be followed.
#[derive(Debug)]
pub struct Walks {
    ways: Vec<Walk>,
    given_up: bool,
}

impl Default for Walks {
    fn default() -> Self {
        Self { ways: vec![Walk::default()], given_up: false }
    }
}

impl Walks {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if let [way] = &mut self.ways[..] {
            // Nearly always.
            let Some(rest) = way.push(bytes) else { return };
            let other = way.with_contents();
            let all = self.ways.drain(..).chain([other]).map(|way| (way, rest)).collect();
            self.go(all);
        } else {
            let all = self.ways.drain(..).map(|way| (way, bytes)).collect();
            self.go(all);
        }
    }

    fn go(&mut self, mut todo: Vec<(Walk, &[u8])>) {
        while let Some((mut way, bytes)) = todo.pop() {
            match way.push(bytes) {
                None if self.ways.contains(&way) => {}
                None => self.ways.push(way),
                Some(rest) => {
                    if todo.len() + self.ways.len() + 2 > MOST_WAYS {
                        self.given_up = true;
                    } else {
                        todo.push((way.with_contents(), rest));
                    }
                    todo.push((way, rest));
                }
            }
        }
        if self.ways.iter().any(|way| way.state != State::Lost) {
            self.ways.retain(|way| way.state != State::Lost);
        }
    }
}

/// One way from header to header.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Walk {
    state: State,
    block: Vec<u8>,
    /// Bytes of contents and padding still to come.
    skip: u64,
    /// Attributes of the next member, as far as they were read.
    attributes: Attributes,
    /// Length of the next member by its attributes.
    len: Option<u64>,
    /// What the contents of the last member may be, if it is a link.
    link: Option<u64>,
    /// Whether it begins in the middle of a member: it is not the first of several volumes.
    volume: bool,
    /// Whether what came last speaks of a member that must come next.
    announced: bool,
    members: u64,
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
    /// Something else stands behind the end.
    Behind,
    /// This is no tar, or not one that is understood.
    Lost,
}

impl Walk {
    /// The other way, behind a link: its contents come next.
    fn with_contents(&mut self) -> Self {
        let mut other = self.clone();
        other.state = other.pass(self.link.take().unwrap_or(0));
        other.link = None;
        other
    }

    fn finding(&self) -> Finding {
        let parted = self.block.iter().any(|b| *b != 0);
        match self.state {
            State::Ended if self.block.is_empty() && self.volume => Finding::NotFollowed,
            State::Ended if self.block.is_empty() => Finding::Whole,
            State::Ended if parted => Finding::MoreBehind,
            State::Behind => Finding::MoreBehind,
            State::Lost => Finding::NotFollowed,
            _ => Finding::NoEndBlocks,
        }
    }

    /// Takes the next bytes. When a link comes that may have contents, it answers with those behind its header: two ways lead on.
    fn push<'a>(&mut self, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        while !bytes.is_empty() && !matches!(self.state, State::Behind | State::Lost) {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.attributes.read(&bytes[..now]);
                self.skip -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            bytes = rest;
            if self.block.is_empty() && now.len() == BLOCK {
                self.state = self.take(now).unwrap_or(State::Lost);
            } else {
                self.block.extend_from_slice(now);
                if self.block.len() == BLOCK {
                    let block = std::mem::take(&mut self.block);
                    self.state = self.take(&block).unwrap_or(State::Lost);
                    self.block = block;
                    self.block.clear();
                }
            }
            if self.link.is_some() {
                return Some(bytes);
            }
        }
        None
    }

    fn take(&mut self, block: &[u8]) -> Option<State> {
        if let State::Sparse(len) = self.state {
            return Some(if *block.get(504)? != 0 { State::Sparse(len) } else { self.pass(len) });
        }
        let ended = self.state == State::Ended;
        if block.iter().all(|b| *b == 0) {
            if self.announced {
                return None;
            }
            return Some(if ended || self.state == State::OneZero { State::Ended } else { State::OneZero });
        }
        if !has_sum(block.first_chunk()?) {
            return ended.then_some(State::Behind);
        }
        let said = number(block.get(124..136)?)?;
        self.members += 1;
        if let Some(len) = self.attributes.take()? {
            self.len = Some(len);
        }
        self.announced = matches!(block.get(156)?, b'x' | b'X' | b'L' | b'K');
        Some(match block.get(156)? {
            // Attributes of the next member, and long names.
            b'x' | b'X' => {
                self.attributes.begin(said);
                self.pass(said)
            }
            b'g' | b'L' | b'K' => self.pass(said),
            b'1' => {
                let len = self.len.take().unwrap_or(said);
                self.link = (len > 0).then_some(len);
                State::Header
            }
            // Links by name, devices and folders have no contents, whatever is written there.
            b'2'..=b'6' => {
                self.len = None;
                State::Header
            }
            b'S' if *block.get(482)? != 0 => State::Sparse(said),
            kind => {
                self.volume |= *kind == b'M' && self.members == 1;
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
