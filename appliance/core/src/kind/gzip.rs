//! Streams of gzip (RFC 1952). Where one ends is known only to who opens it, so it is opened, and what is inside is looked at as well.
//!
//! Opening has a ceiling: what grows far beyond what such streams grow to is a trap or full of zeros, and not followed.

use super::layer::Layer;
use super::streams::End;
use ::bytes::Bytes;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::fmt;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_LEN: usize = 10;
const TRAILER_LEN: usize = 8;
/// Bytes that come out in one step.
const STEP: usize = 32 << 10;
/// So much comes out of any stream, and then so much of each byte that goes in.
const FREE: u64 = 16 << 20;
const GROWTH: u64 = 64;

// Flags of a header: a checksum of it, more fields, a name, a comment; no others.
const HEADER_SUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// The walk from member to member.
#[derive(Debug, Default)]
pub struct Walk {
    state: State,
    /// Bytes of a header or trailer that are here.
    held: Vec<u8>,
    /// What is left to read of a header, by its flags.
    flags: u8,
    /// Bytes of a header to pass over.
    skip: usize,
    opened: Option<Box<Opened>>,
    taken: u64,
    members: u64,
}

/// What is needed to open a stream.
struct Opened {
    inflate: Decompress,
    sum: Crc,
    step: Vec<u8>,
    inside: Layer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// A member is next, or the end.
    #[default]
    Header,
    /// Fields of the header, as its flags say.
    Fields,
    /// The length of more fields.
    ExtraLen,
    /// A text that ends with a zero.
    Text,
    /// The compressed bytes.
    Data,
    Trailer,
    /// Zeros behind the last member, as tapes have them.
    Padding,
    Over(End),
    /// This is no gzip.
    Other,
}

impl Walk {
    /// How it ended; `None` when it is none.
    pub fn end(&self) -> Option<End> {
        let nothing = self.opened.as_ref().is_none_or(|opened| opened.inside.is_blank());
        match self.state {
            State::Other => None,
            State::Header if self.members == 0 => (self.held.len() >= MAGIC.len()).then_some(End::Cut),
            // A part of a header, or something else that is short.
            State::Header if !self.held.is_empty() => Some(End::MoreBehind),
            State::Header | State::Padding => Some(if nothing { End::Nothing } else { End::Whole }),
            State::Over(end) => Some(end),
            _ => Some(End::Cut),
        }
    }

    /// What is inside, as far as it was opened.
    pub fn inside(&mut self) -> Option<&mut Layer> {
        self.opened.as_mut().map(|opened| &mut opened.inside)
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if matches!(self.state, State::Over(_) | State::Other) {
            return;
        }
        self.taken += bytes.len() as u64;
        while !bytes.is_empty() && !matches!(self.state, State::Over(_) | State::Other) {
            if self.skip > 0 {
                let now = self.skip.min(bytes.len());
                self.skip -= now;
                bytes = &bytes[now..];
                continue;
            }
            bytes = match self.state {
                State::Data => self.open(bytes),
                State::Text => self.text(bytes),
                State::Padding => {
                    let zeros = bytes.iter().take_while(|b| **b == 0).count();
                    if zeros < bytes.len() {
                        self.state = State::Over(End::MoreBehind);
                    }
                    &bytes[zeros..]
                }
                _ => self.gather(bytes),
            };
            while self.state == State::Fields {
                self.next_field();
            }
        }
    }

    /// Gathers a header, a length or a trailer.
    fn gather<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let wanted = match self.state {
            State::ExtraLen => 2,
            State::Trailer => TRAILER_LEN,
            _ => HEADER_LEN,
        };
        if self.state == State::Header && self.held.is_empty() && self.members > 0 && bytes[0] == 0 {
            self.state = State::Padding;
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
        self.held.extend_from_slice(now);
        let magic = self.held.len().min(MAGIC.len());
        if self.state == State::Header && self.held[..magic] != MAGIC[..magic] {
            self.state = if self.members == 0 { State::Other } else { State::Over(End::MoreBehind) };
        } else if self.held.len() == wanted {
            self.gathered();
            self.held.clear();
        }
        rest
    }

    fn gathered(&mut self) {
        self.state = match self.state {
            State::ExtraLen => {
                self.skip = usize::from(u16::from_le_bytes([self.held[0], self.held[1]]));
                State::Fields
            }
            State::Trailer => {
                self.members += 1;
                match self.opened.as_ref().is_some_and(|opened| opened.fits(&self.held)) {
                    true => State::Header,
                    false => State::Over(End::Damaged),
                }
            }
            _ if self.held[3] & RESERVED != 0 && self.members == 0 => State::Other,
            _ => {
                self.flags = self.held[3];
                self.begin();
                State::Fields
            }
        };
    }

    /// What comes next in a header; its fields stand in the order of these lines.
    fn next_field(&mut self) {
        let mut take = |flag: u8| {
            let there = self.flags & flag != 0;
            self.flags &= !flag;
            there
        };
        self.state = if take(EXTRA) {
            State::ExtraLen
        } else if take(NAME) || take(COMMENT) {
            State::Text
        } else {
            self.skip += if take(HEADER_SUM) { 2 } else { 0 };
            State::Data
        };
    }

    fn text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match memchr::memchr(0, bytes) {
            Some(at) => {
                self.state = State::Fields;
                &bytes[at + 1..]
            }
            None => &[],
        }
    }

    fn begin(&mut self) {
        let opened = self.opened.get_or_insert_with(|| {
            let (sum, inside) = (Crc::new(), Layer::default());
            Box::new(Opened { inflate: Decompress::new(false), sum, step: vec![0; STEP], inside })
        });
        opened.inflate.reset(false);
        opened.sum.reset();
    }

    /// Opens as much as is here.
    fn open<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        let ceiling = FREE.saturating_add(self.taken.saturating_mul(GROWTH));
        let Some(opened) = &mut self.opened else { return &[] };
        loop {
            let (ended, made) = match opened.step(&mut bytes) {
                Some(did) => did,
                None => {
                    self.state = State::Over(End::Damaged);
                    return bytes;
                }
            };
            if ended {
                self.state = State::Trailer;
                return bytes;
            }
            if opened.inside.len() > ceiling {
                self.state = State::Over(End::Unknown);
                return bytes;
            }
            // A step that was not filled had nothing left to give.
            if bytes.is_empty() && made < STEP {
                return bytes;
            }
        }
    }
}

impl Opened {
    /// One step: whether the compressed bytes are over, and how many came out. `None` when they are none.
    fn step(&mut self, bytes: &mut &[u8]) -> Option<(bool, usize)> {
        let (went_in, came_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(bytes, &mut self.step, FlushDecompress::None).ok()?;
        let taken = usize::try_from(self.inflate.total_in() - went_in).ok()?;
        let made = usize::try_from(self.inflate.total_out() - came_out).ok()?;
        *bytes = bytes.get(taken..)?;
        let out = self.step.get(..made)?;
        self.sum.update(out);
        if made > 0 {
            self.inside.push(&Bytes::copy_from_slice(out));
        }
        let stuck = taken == 0 && made == 0 && !bytes.is_empty() && status != Status::StreamEnd;
        (!stuck).then_some((status == Status::StreamEnd, made))
    }

    /// Whether a trailer is that of what came out.
    fn fits(&self, trailer: &[u8]) -> bool {
        let is = [self.sum.sum().to_le_bytes(), self.sum.amount().to_le_bytes()].concat();
        trailer == is
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("inside", &self.inside).finish_non_exhaustive()
    }
}
