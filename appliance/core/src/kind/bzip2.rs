//! Streams of bzip2: blocks begin at any bit, and the end has a mark and a sum over the sums of all blocks.
//!
//! A mark has 48 bits: what is packed looks like one once in 2^48 bits, and then the sum at the end is not right.

use super::streams::End;

const MAGIC: [u8; 3] = *b"BZh";
const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
const MARK_BITS: u32 = 48;
const MARK: u64 = (1 << MARK_BITS) - 1;
/// A header, and the mark that stands behind it.
const BEGIN_LEN: usize = 10;

/// For each value of the byte before the last: at which places in it either mark may have its end, a bit each.
const PLACES: [u8; 256] = places();

/// The walk from mark to mark.
#[derive(Debug, Default)]
pub struct Walk {
    state: State,
    /// The last 64 bits.
    bits: u64,
    /// Bytes since the header began.
    len: u64,
    /// The sum of the blocks so far.
    sum: u32,
    blocks: u64,
    streams: u64,
    /// A mark was there: whether that of the end, at which place, and how many bytes of its sum are still to come.
    marked: Option<(bool, u32, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// A stream is next, or the end.
    #[default]
    Header,
    Blocks,
    /// Something else stands behind the last one.
    Behind,
    /// This is no bzip2.
    Other,
}

impl Walk {
    /// How it ended; `None` when it is none.
    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Other => None,
            // Ten bytes say what it is; fewer could be anybody's.
            State::Header if self.streams == 0 => None,
            State::Header if self.len > 0 => Some(End::Cut),
            State::Header => Some(if self.blocks == 0 { End::Nothing } else { End::Whole }),
            State::Blocks => Some(End::Cut),
            State::Behind => Some(End::MoreBehind),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Behind | State::Other) {
            return;
        }
        for byte in bytes {
            self.bits = self.bits << 8 | u64::from(*byte);
            self.len += 1;
            match self.state {
                State::Header => self.header(*byte),
                State::Blocks => self.look(),
                State::Behind | State::Other => return,
            }
        }
    }

    fn header(&mut self, byte: u8) {
        let at = self.len as usize - 1;
        let fits = match at {
            0..=2 => byte == MAGIC[at],
            3 => (b'1'..=b'9').contains(&byte),
            _ => true,
        };
        let mark = self.bits & MARK;
        if !fits || self.len as usize == BEGIN_LEN && mark != BLOCK && mark != END {
            self.state = if self.streams == 0 { State::Other } else { State::Behind };
        } else if self.len as usize == BEGIN_LEN {
            (self.state, self.sum) = (State::Blocks, 0);
            self.marked = Some((mark == END, 0, 4));
        }
    }

    /// Looks for marks, and takes the sums behind them.
    fn look(&mut self) {
        if let Some((end, place, left)) = &mut self.marked {
            *left -= 1;
            if *left > 0 {
                return;
            }
            let (end, sum) = (*end, (self.bits >> *place) as u32);
            self.marked = None;
            if !end {
                self.sum = self.sum.rotate_left(1) ^ sum;
                self.blocks += 1;
            } else if sum == self.sum {
                (self.state, self.len) = (State::Header, 0);
                self.streams += 1;
            }
            return;
        }
        let mut places = PLACES[(self.bits >> 8 & 0xff) as usize];
        while places > 0 {
            let place = places.trailing_zeros();
            places &= places - 1;
            let mark = self.bits >> place & MARK;
            if mark == BLOCK || mark == END {
                self.marked = Some((mark == END, place, 4));
                return;
            }
        }
    }
}

const fn places() -> [u8; 256] {
    let mut all = [0; 256];
    let mut place = 0;
    while place < 8 {
        // With so many bits behind the mark in the last byte, these are its bits in the byte before.
        all[(BLOCK << place >> 8 & 0xff) as usize] |= 1 << place;
        all[(END << place >> 8 & 0xff) as usize] |= 1 << place;
        place += 1;
    }
    all
}
