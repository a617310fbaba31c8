//! Compressed streams: which of them it is, and whether its own end is there.

use super::layer::Layer;
use super::{bzip2, gzip, xz, zstd};

/// How a compressed stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At its end.
    Whole,
    /// The same, and there is nothing in it.
    Nothing,
    /// Before its end.
    Cut,
    /// What came is no such stream any more: bytes of it were lost or changed.
    Damaged,
    /// It could not be followed so far.
    Unknown,
    /// Something else stands behind its end.
    MoreBehind,
}

/// One walk for each format; all but one of them stop at the first bytes.
#[derive(Debug, Default)]
pub struct Streams {
    gzip: gzip::Walk,
    bzip2: bzip2::Walk,
    xz: xz::Walk,
    zstd: zstd::Walk,
}

impl Streams {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.gzip.push(bytes);
        self.bzip2.push(bytes);
        self.xz.push(bytes);
        self.zstd.push(bytes);
    }

    /// How it ended; `None` when it is no compressed stream.
    pub fn end(&self) -> Option<End> {
        let ends = [self.gzip.end(), self.bzip2.end(), self.xz.end(), self.zstd.end()];
        ends.into_iter().flatten().next()
    }

    /// What is inside, as far as it was opened.
    pub fn inside(&mut self) -> Option<&mut Layer> {
        self.gzip.inside()
    }
}
