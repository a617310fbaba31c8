//! A member's own attributes in a tar (pax): lines of `LENGTH KEY=VALUE`, the length being that of the line. Of any length: only the one
//! that says how long the member is is kept.

const SIZE: &[u8] = b"size";
/// Longest number that is read.
const MOST_DIGITS: u32 = 19;

/// The attributes that are being read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Bytes still to come.
    left: u64,
    at: At,
    size: Option<u64>,
    bad: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum At {
    /// At the beginning of a line.
    #[default]
    Begin,
    /// In its length: the number so far, and its digits.
    Len(u64, u32),
    /// In its key: bytes of the line still to come, and how many of the key fit so far.
    Key(u64, Option<usize>),
    /// In the length of the member: the same, the number so far, and its digits.
    Size(u64, u64, u32),
    /// In another value.
    Other(u64),
}

impl Attributes {
    /// So many bytes of them come next.
    pub fn begin(&mut self, len: u64) {
        *self = Self { left: len, ..Self::default() };
    }

    /// Takes the next bytes of the contents; those behind the attributes are padding.
    pub fn read(&mut self, bytes: &[u8]) {
        let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= now as u64;
        let mut bytes = &bytes[..now];
        while let [first, rest @ ..] = bytes {
            if let At::Other(left) = self.at {
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.at = if left == now as u64 { At::Begin } else { At::Other(left - now as u64) };
                bytes = &bytes[now..];
                continue;
            }
            bytes = rest;
            match self.next(*first) {
                Some(at) => self.at = at,
                None => self.bad = true,
            }
            if self.bad {
                return;
            }
        }
    }

    fn next(&mut self, byte: u8) -> Option<At> {
        let digit = |sum: u64, digits: u32| {
            let fits = byte.is_ascii_digit() && digits < MOST_DIGITS;
            fits.then(|| sum * 10 + u64::from(byte - b'0'))
        };
        Some(match self.at {
            At::Begin => At::Len(digit(0, 0)?, 1),
            At::Len(len, digits) if byte == b' ' => At::Key(len.checked_sub(u64::from(digits) + 1)?, Some(0)),
            At::Len(len, digits) => At::Len(digit(len, digits)?, digits + 1),
            At::Key(left, fits) => {
                let left = left.checked_sub(1).filter(|left| *left > 0)?;
                match byte {
                    b'=' if fits == Some(SIZE.len()) => At::Size(left, 0, 0),
                    b'=' => At::Other(left),
                    _ => At::Key(left, fits.filter(|at| SIZE.get(*at) == Some(&byte)).map(|at| at + 1)),
                }
            }
            At::Size(1, size, digits) if byte == b'\n' && digits > 0 => {
                self.size = Some(size);
                At::Begin
            }
            At::Size(left, size, digits) => At::Size(left.checked_sub(1)?, digit(size, digits)?, digits + 1),
            At::Other(_) => return None,
        })
    }

    /// The length that they said, if they did. `None` when they are none.
    #[allow(clippy::option_option)]
    pub fn take(&mut self) -> Option<Option<u64>> {
        let whole = !self.bad && self.left == 0 && self.at == At::Begin;
        whole.then(|| std::mem::take(self).size)
    }
}
