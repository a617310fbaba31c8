//! Looking for marks in a stream of any pieces: each place is looked at once, with enough bytes behind it.

/// What was not looked at yet, because too little stands behind it.
#[derive(Debug, Default)]
pub struct Held(Vec<u8>);

/// Pieces shorter than this are put side by side with what is held.
const SHORT: usize = 4096;

impl Held {
    /// Takes bytes that stand at `at` of the stream. `scan` gets where a piece begins, and the piece: it answers for every place in it
    /// with `reach` bytes from there on, and for no other.
    pub fn push(&mut self, at: u64, bytes: &[u8], reach: usize, mut scan: impl FnMut(u64, &[u8])) {
        let base = at - self.0.len() as u64;
        let first = if bytes.len() < SHORT { bytes.len() } else { reach - 1 };
        self.0.extend_from_slice(&bytes[..first]);
        if self.0.len() >= reach {
            scan(base, &self.0);
        }
        if first < bytes.len() {
            scan(at, bytes);
            self.0.clear();
            self.0.extend_from_slice(&bytes[bytes.len() - (reach - 1)..]);
        } else if self.0.len() >= reach {
            self.0.drain(..self.0.len() - (reach - 1));
        }
    }

    /// The last ones, shorter than the reach.
    pub fn rest(&self) -> &[u8] {
        &self.0
    }
}
