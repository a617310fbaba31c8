//! The bytes of a stream that are not cut yet: buffers as they came, put side by side only where somebody must see them so.
//!
//! Memory is what is waiting, in the buffers of whoever brought it, and room for two largest chunks once bytes had to be
//! put side by side.

use ::bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;

/// Buffers shorter than this are copied together: each costs as much to keep as some bytes.
const CRUMB: usize = 4096;

/// See the module. First the bytes `flat[head..]`, then those of `frames`, then `crumbs`.
#[derive(Default)]
pub struct Window {
    flat: Vec<u8>,
    head: usize,
    frames: VecDeque<Bytes>,
    /// Shorter than [`CRUMB`].
    crumbs: Vec<u8>,
    len: usize,
}

impl Window {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends.
    pub fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < CRUMB {
            self.crumbs.extend_from_slice(&bytes);
        }
        if !self.crumbs.is_empty() && (bytes.len() >= CRUMB || self.crumbs.len() >= CRUMB) {
            self.frames.push_back(std::mem::take(&mut self.crumbs).into());
        }
        if bytes.len() >= CRUMB {
            self.frames.push_back(bytes);
        }
    }

    /// The first `len` bytes, piece by piece. At most what waits.
    pub fn pieces(&self, len: usize) -> impl Iterator<Item = &[u8]> {
        let mut left = len;
        let frames = self.frames.iter().map(|frame| &frame[..]);
        let all = std::iter::once(&self.flat[self.head..]).chain(frames).chain([&self.crumbs[..]]);
        all.map_while(move |piece| {
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            (left > 0 || !piece.is_empty()).then_some(piece)
        })
    }

    /// Copies what waits from the byte `at` on; says how many bytes of `out` were filled.
    pub fn copy_out(&self, at: usize, out: &mut [u8]) -> usize {
        let (mut skip, mut filled) = (at, 0);
        for piece in self.pieces(at.saturating_add(out.len()).min(self.len)) {
            let from = skip.min(piece.len());
            skip -= from;
            let piece = &piece[from..];
            out[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        filled
    }

    /// The first `len` bytes side by side, where they lie if they came so. At most what waits, and half of `room`, which is the
    /// size of the buffer for those that did not.
    pub fn flatten(&mut self, len: usize, room: usize) -> &[u8] {
        let flat = self.flat.len() - self.head;
        match self.frames.front() {
            Some(frame) if flat == 0 && frame.len() >= len => {}
            _ => {
                self.gather(len, room);
                return &self.flat[self.head..][..len];
            }
        }
        &self.frames[0][..len]
    }

    /// Drops the first `len` bytes. At most what waits.
    pub fn consume(&mut self, mut len: usize) {
        self.len -= len;
        let flat = len.min(self.flat.len() - self.head);
        self.head += flat;
        len -= flat;
        if self.head == self.flat.len() {
            // What is recognised never needs it again.
            self.flat = Vec::new();
            self.head = 0;
        }
        while let Some(frame) = self.frames.front_mut() {
            if frame.len() > len {
                let _ = frame.split_to(len);
                return;
            }
            len -= frame.len();
            self.frames.pop_front();
        }
        self.crumbs.drain(..len);
    }

    /// Copies into `flat` until `len` bytes are there.
    fn gather(&mut self, len: usize, room: usize) {
        while self.flat.len() - self.head < len {
            let next = self.frames.pop_front();
            let Some(mut frame) = next.or_else(|| self.take_crumbs()) else { return };
            let now = frame.split_to(frame.len().min(len - (self.flat.len() - self.head)));
            self.append(&now, room);
            if !frame.is_empty() {
                self.frames.push_front(frame);
            }
        }
    }

    fn take_crumbs(&mut self) -> Option<Bytes> {
        (!self.crumbs.is_empty()).then(|| std::mem::take(&mut self.crumbs).into())
    }

    /// Appends to `flat`. What waits there is moved to the front only when there is no room behind it, that is once per
    /// largest chunk: about every other byte moves. With a larger room fewer would, and nobody could measure it.
    fn append(&mut self, bytes: &[u8], room: usize) {
        if self.flat.len() + bytes.len() > room {
            self.flat.copy_within(self.head.., 0);
            self.flat.truncate(self.flat.len() - self.head);
            self.head = 0;
        }
        // Small streams keep small buffers; large ones get all of it at once.
        if self.flat.capacity() < room && self.flat.len() + bytes.len() > self.flat.capacity() {
            let wanted = ((self.flat.len() + bytes.len()) * 2).min(room);
            self.flat.reserve_exact(wanted.saturating_sub(self.flat.len()));
        }
        self.flat.extend_from_slice(bytes);
    }

    /// Bytes of memory that `flat` takes.
    #[cfg(test)]
    pub fn flat_capacity(&self) -> usize {
        self.flat.capacity()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Push(Vec<u8>),
        Flatten(usize),
        Consume(usize),
        Copy(usize, usize),
        Pieces(usize),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            (any::<u8>(), 0usize..9_000).prop_map(|(fill, len)| {
                Act::Push((0..len).map(|n| fill.wrapping_add((n % 251) as u8)).collect())
            }),
            (0usize..8_192).prop_map(Act::Flatten),
            (0usize..12_000).prop_map(Act::Consume),
            (0usize..20_000, 0usize..100).prop_map(|(at, len)| Act::Copy(at, len)),
            (0usize..20_000).prop_map(Act::Pieces),
        ];
        proptest::collection::vec(act, 0..40)
    }

    proptest! {
        /// Whatever is done to it, it is a queue of bytes.
        #[test]
        fn it_is_a_queue_of_bytes(acts in acts()) {
            const ROOM: usize = 16_384;
            let (mut window, mut plain) = (Window::default(), Vec::new());
            for act in acts {
                match act {
                    Act::Push(bytes) => {
                        plain.extend_from_slice(&bytes);
                        window.push(bytes.into());
                    }
                    Act::Flatten(len) => {
                        let len = len.min(plain.len());
                        prop_assert_eq!(window.flatten(len, ROOM), &plain[..len]);
                    }
                    Act::Consume(len) => {
                        let len = len.min(plain.len());
                        window.consume(len);
                        plain.drain(..len);
                    }
                    Act::Copy(at, len) => {
                        let mut out = vec![0; len];
                        let filled = window.copy_out(at, &mut out);
                        let expected = plain.get(at..).unwrap_or_default();
                        prop_assert_eq!(&out[..filled], &expected[..len.min(expected.len())]);
                    }
                    Act::Pieces(len) => {
                        let len = len.min(plain.len());
                        prop_assert_eq!(window.pieces(len).collect::<Vec<_>>().concat(), &plain[..len]);
                    }
                }
                prop_assert_eq!(window.len(), plain.len());
                prop_assert_eq!(window.is_empty(), plain.is_empty());
                prop_assert!(window.flat_capacity() <= ROOM);
            }
        }
    }

    /// However small the pieces are, what they cost to keep stays small beside them.
    #[test]
    fn crumbs_are_put_together() {
        let mut window = Window::default();
        for n in 0..100_000u32 {
            window.push(Bytes::copy_from_slice(&n.to_le_bytes()));
        }
        assert!(window.frames.len() <= 100, "{} buffers", window.frames.len());
        assert_eq!(window.flatten(8, 20_000), [0, 0, 0, 0, 1, 0, 0, 0]);
    }

    /// What came in one buffer is seen where it lies.
    #[test]
    fn nothing_is_copied_without_need() {
        let bytes = Bytes::from(vec![7; 10_000]);
        let mut window = Window::default();
        window.push(bytes.clone());
        assert_eq!(window.flatten(8_000, 20_000).as_ptr(), bytes.as_ptr());
        window.consume(4_000);
        assert_eq!(window.flatten(6_000, 20_000).as_ptr(), bytes[4_000..].as_ptr());
        assert_eq!(window.flat_capacity(), 0);
    }
}
