//! What is looked at of bytes as they are: of what came, or of what was inside a compressed stream.

use super::check::Seen;
use super::{dump, tar, zip};
use crate::window::Window;
use ::bytes::Bytes;

/// Bytes kept of the beginning: the first header of a tar, and room for white space before a web page.
pub(super) const HEAD_LEN: usize = 1024;
/// Bytes kept of the end: the end of a zip with the longest comment, and what Zip64 puts before it.
pub(super) const TAIL_LEN: usize = 70 * 1024;

/// See the module. Keeps at most 70 KiB and a few in memory, and what else is in the buffers where these lie.
#[derive(Debug, Default)]
pub struct Layer {
    len: u64,
    head: Vec<u8>,
    /// The last bytes, in the buffers in which they came.
    tail: Window,
    /// Whether anything came but zeros and white space.
    filled: bool,
    tar: tar::Walks,
    zip: zip::Walk,
    dump: dump::Walk,
}

impl Layer {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        let wanted = bytes.len().min(HEAD_LEN - self.head.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.filled = self.filled || !bytes.iter().all(|b| *b == 0 || b.is_ascii_whitespace());
        self.tail.push(bytes.slice(bytes.len().saturating_sub(TAIL_LEN)..));
        self.tail.consume(self.tail.len().saturating_sub(TAIL_LEN));
        self.tar.push(bytes);
        if zip::begins(&self.head) {
            self.zip.push(self.len, bytes);
        }
        if self.head.len() == HEAD_LEN && dump::may_be(&self.head) {
            if wanted > 0 {
                self.dump.push(&self.head);
            }
            self.dump.push(&bytes[wanted..]);
        }
        self.len += bytes.len() as u64;
    }

    /// How many bytes came.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing came, or nothing but zeros and white space.
    pub fn is_blank(&self) -> bool {
        !self.filled
    }

    /// The stream is over.
    pub(super) fn seen(&mut self) -> Seen<'_> {
        if self.head.len() < HEAD_LEN {
            self.dump.push(&self.head);
        }
        Seen {
            len: self.len,
            head: &self.head,
            tail: self.tail.flatten(self.tail.len(), TAIL_LEN * 2),
            blank: !self.filled,
            tar: &self.tar,
            zip: &self.zip,
            dump: &self.dump,
        }
    }
}
