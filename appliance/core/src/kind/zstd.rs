//! Streams of zstd: their frames and blocks say how long they are, so that the end is known without opening them (RFC 8878).

use super::streams::End;

const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The walk from block to block.
#[derive(Debug, Default)]
pub struct Walk {
    state: State,
    /// Bytes of a header that are here.
    held: Vec<u8>,
    /// Bytes of contents still to come.
    skip: u64,
    /// Whether the frame ends with a checksum.
    sum: bool,
    frames: u64,
    /// Whether there is anything in it.
    filled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// A frame is next, or the end.
    #[default]
    Frame,
    /// The length of a frame that is to be skipped.
    Skippable,
    /// The first byte of a frame's header.
    Descriptor,
    /// The header of a block.
    Block,
    /// This is no zstd, or none any more.
    Lost(End),
    /// It never was.
    Other,
}

impl Walk {
    /// How it ended; `None` when it is none.
    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Other => None,
            State::Lost(end) => Some(end),
            // What begins with something to skip may be of other formats as well.
            _ if self.frames == 0 => None,
            State::Frame if self.skip == 0 && self.held.is_empty() => {
                Some(if self.filled { End::Whole } else { End::Nothing })
            }
            _ => Some(End::Cut),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Lost(_) | State::Other) {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            let (first, rest) = bytes.split_at(bytes.len().min(self.wanted() - self.held.len()));
            self.held.extend_from_slice(first);
            bytes = rest;
            if self.held.len() == self.wanted() {
                self.state = self.take().unwrap_or_else(|| self.lost());
                self.held.clear();
            }
        }
    }

    /// What it is when what comes is no zstd.
    fn lost(&self) -> State {
        match self.state {
            _ if self.frames == 0 => State::Other,
            State::Frame => State::Lost(End::MoreBehind),
            _ => State::Lost(End::Damaged),
        }
    }

    /// Length of what is read next.
    fn wanted(&self) -> usize {
        match self.state {
            State::Frame | State::Skippable => 4,
            State::Descriptor | State::Lost(_) | State::Other => 1,
            State::Block => 3,
        }
    }

    fn take(&mut self) -> Option<State> {
        match self.state {
            State::Frame if self.held == FRAME => {
                self.frames += 1;
                Some(State::Descriptor)
            }
            State::Frame => (u32::from_le_bytes(*self.held.first_chunk()?) & !0xf == 0x184d_2a50)
                .then_some(State::Skippable),
            State::Skippable => {
                self.skip = u64::from(u32::from_le_bytes(*self.held.first_chunk()?));
                Some(State::Frame)
            }
            State::Descriptor => self.descriptor(*self.held.first()?),
            State::Block => self.block(*self.held.first_chunk()?),
            State::Lost(_) | State::Other => None,
        }
    }

    fn descriptor(&mut self, byte: u8) -> Option<State> {
        if byte & 8 != 0 {
            return None;
        }
        self.sum = byte & 4 != 0;
        let single = byte & 32 != 0;
        let dictionary = [0, 1, 2, 4][usize::from(byte & 3)];
        let content = [u64::from(single), 2, 4, 8][usize::from(byte >> 6)];
        self.skip = u64::from(!single) + dictionary + content;
        Some(State::Block)
    }

    fn block(&mut self, [a, b, c]: [u8; 3]) -> Option<State> {
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (last, size) = (header & 1 == 1, u64::from(header >> 3));
        self.filled |= size > 0;
        self.skip = match header >> 1 & 3 {
            // As it is, or compressed.
            0 | 2 => size,
            // One byte, many times.
            1 => 1,
            _ => return None,
        };
        self.skip += if last && self.sum { 4 } else { 0 };
        Some(if last { State::Frame } else { State::Block })
    }
}
