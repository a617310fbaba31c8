//! Streams of xz: headers, chunks of LZMA2 and the index say how long they are, so that the end is known without opening them.

use super::streams::End;
use flate2::Crc;

const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// Length of the header of a stream, and of its footer.
const FRAME_LEN: usize = 12;
/// The last filter of a chain; only what it makes can be followed.
const LZMA2: u64 = 0x21;
/// Numbers have nine bytes at most: where the last of them has its place.
const MOST_BITS: u32 = 56;

/// The walk from chunk to chunk.
#[derive(Debug, Default)]
pub struct Walk {
    state: State,
    /// Bytes that are read next, as far as they are here.
    held: Vec<u8>,
    /// Bytes of contents still to come.
    skip: u64,
    /// Bytes of streams so far: all parts end at a multiple of four.
    at: u64,
    /// The flags of the stream: which check each block has behind it.
    flags: [u8; 2],
    /// Numbers of the index still to come, once its first one was read.
    numbers: Option<u64>,
    /// How many blocks it says there are, as far as that is read, and where its next bits go.
    count: u64,
    place: u32,
    /// Whether there is anything in it.
    filled: bool,
    streams: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// A stream is next, or four zeros, or the end.
    #[default]
    Stream,
    /// The length of a block's header, or the mark of the index.
    Block,
    /// The rest of a block's header.
    BlockHeader(usize),
    /// What the next chunk is.
    Chunk,
    /// The lengths of a chunk.
    ChunkLens(u8),
    Index,
    IndexEnd(usize),
    Footer,
    Over(End),
    /// This is no xz.
    Other,
}

impl Walk {
    /// How it ended; `None` when it is none.
    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Other => None,
            State::Stream if self.streams == 0 => (self.held.len() >= MAGIC.len()).then_some(End::Cut),
            State::Stream if self.held.is_empty() => {
                Some(if self.filled { End::Whole } else { End::Nothing })
            }
            State::Over(end) => Some(end),
            _ => Some(End::Cut),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Over(_) | State::Other) {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                (self.skip, self.at) = (self.skip - now as u64, self.at + now as u64);
                bytes = &bytes[now..];
                continue;
            }
            let wanted = self.wanted();
            let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(now);
            (bytes, self.at) = (rest, self.at + now.len() as u64);
            let known = self.held.len().min(MAGIC.len());
            if self.streams == 0 && self.state == State::Stream && self.held[..known] != MAGIC[..known] {
                self.state = State::Other;
            } else if self.held.len() == wanted {
                let held = std::mem::take(&mut self.held);
                self.state = self.take(&held).unwrap_or(State::Over(End::Damaged));
                if self.state == State::Stream && held.len() == 4 && held != [0; 4] {
                    // The beginning of another stream.
                    self.held = held;
                }
            }
        }
    }

    /// Length of what is read next.
    fn wanted(&self) -> usize {
        match self.state {
            // Between streams zeros come by fours.
            State::Stream if self.streams > 0 && self.held.len() < 4 => 4,
            State::Stream | State::Footer => FRAME_LEN,
            State::BlockHeader(len) | State::IndexEnd(len) => len,
            State::ChunkLens(control) => lens(control),
            State::Block | State::Chunk | State::Index | State::Over(_) | State::Other => 1,
        }
    }

    fn take(&mut self, held: &[u8]) -> Option<State> {
        Some(match self.state {
            State::Stream if held.len() == 4 => match held {
                [0, 0, 0, 0] => State::Stream,
                held if *held == MAGIC[..4] => State::Stream,
                _ => State::Over(End::MoreBehind),
            },
            State::Stream => {
                let (flags, sum) = held.strip_prefix(&MAGIC)?.split_first_chunk::<2>()?;
                self.flags = *flags;
                (has_sum(flags, sum) && flags[0] == 0 && flags[1] < 16).then_some(State::Block)?
            }
            State::Block if held == [0] => {
                (self.numbers, self.count, self.place) = (None, 0, 0);
                State::Index
            }
            State::Block => State::BlockHeader((usize::from(held[0]) + 1) * 4 - 1),
            State::BlockHeader(len) => {
                let size = ((len + 1) / 4 - 1) as u8;
                let (fields, sum) = held.split_at(len - 4);
                if !has_sum(&[&[size], fields].concat(), sum) {
                    return None;
                }
                if ends_in_lzma2(fields)? { State::Chunk } else { State::Over(End::Unknown) }
            }
            State::Chunk if held == [0] => {
                let check =
                    [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64][usize::from(self.flags[1])];
                self.skip = self.padding() + check;
                State::Block
            }
            State::Chunk if held[0] <= 2 || held[0] >= 0x80 => State::ChunkLens(held[0]),
            State::ChunkLens(control) => {
                self.filled = true;
                let packed = &held[held.len() - 2..];
                let len = u64::from(u16::from_be_bytes([packed[0], packed[1]])) + 1;
                self.skip = len + u64::from(control >= 0xc0);
                State::Chunk
            }
            State::Index => self.index(held[0])?,
            State::IndexEnd(_) => State::Footer,
            State::Footer => {
                let (sum, rest) = held.split_at(4);
                let (fields, magic) = rest.split_at(6);
                let fits = has_sum(fields, sum) && fields[4..] == self.flags && magic == FOOTER_MAGIC;
                self.streams += 1;
                fits.then_some(State::Stream)?
            }
            _ => return None,
        })
    }

    /// One byte of the index: seven bits of a number, with the highest bit set while more of it come.
    fn index(&mut self, byte: u8) -> Option<State> {
        if self.place > MOST_BITS {
            return None;
        }
        if self.numbers.is_none() {
            self.count |= u64::from(byte & 0x7f) << self.place;
        }
        self.place += 7;
        if byte & 0x80 != 0 {
            return Some(State::Index);
        }
        // How many blocks there are, then two numbers for each.
        let left = match self.numbers {
            None => self.count.checked_mul(2)?,
            Some(left) => left.checked_sub(1)?,
        };
        (self.numbers, self.place) = (Some(left), 0);
        Some(if left > 0 { State::Index } else { State::IndexEnd(self.padding() as usize + 4) })
    }

    /// Bytes to the next multiple of four.
    fn padding(&self) -> u64 {
        self.at.wrapping_neg() % 4
    }
}

/// Length of what says how long a chunk is: packed or not.
fn lens(control: u8) -> usize {
    if control < 0x80 { 2 } else { 4 }
}

fn has_sum(bytes: &[u8], sum: &[u8]) -> bool {
    let mut crc = Crc::new();
    crc.update(bytes);
    *sum == crc.sum().to_le_bytes()
}

/// Whether the last filter of a block is LZMA2, by the fields of its header behind its length. `None` when they are none.
fn ends_in_lzma2(fields: &[u8]) -> Option<bool> {
    let (flags, mut rest) = fields.split_first()?;
    if flags & 0x3c != 0 {
        return None;
    }
    for _ in 0..(flags >> 6).count_ones() {
        number(&mut rest)?;
    }
    let mut last = 0;
    for _ in 0..=flags & 3 {
        last = number(&mut rest)?;
        let len = usize::try_from(number(&mut rest)?).ok()?;
        rest = rest.get(len..)?;
    }
    Some(last == LZMA2)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut sum = 0;
    for place in (0..=MOST_BITS).step_by(7) {
        let (byte, others) = rest.split_first()?;
        *rest = others;
        sum |= u64::from(byte & 0x7f) << place;
        if byte & 0x80 == 0 {
            return Some(sum);
        }
    }
    None
}
