//! The checker: the beginning and the end of a stream of any length, and a verdict when it is over.

use super::{Checked, Finding, Kind, dump, tar, zip, zstd};
use crate::window::Window;
use ::bytes::Bytes;

/// Bytes kept of the beginning: the first header of a tar, and room for white space before a web page.
const HEAD_LEN: usize = 1024;
/// Bytes kept of the end: the end of a zip with the longest comment, and what Zip64 puts before it.
const TAIL_LEN: usize = 70 * 1024;

/// What a snapshot should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The owner of the box said so.
    Said(Kind),
    /// The last complete one was this. Should this one be another and complete as that, it is.
    Recognised(Kind),
    /// Nobody knows. What begins like a dump, a zip or a tar is held to that; anything else is nobody's business.
    Unknown,
}

/// See the module. Keeps at most `70 KiB` and a few in memory, and what else is in the buffers where these lie.
#[derive(Debug, Default)]
pub struct Checker {
    len: u64,
    head: Vec<u8>,
    /// The last bytes, in the buffers in which they came.
    tail: Window,
    tar: tar::Walk,
    zstd: zstd::Walk,
}

/// What is known of a stream when it is over.
pub(super) struct Seen<'a> {
    pub len: u64,
    pub head: &'a [u8],
    pub tail: &'a [u8],
    pub tar: &'a tar::Walk,
    pub zstd: &'a zstd::Walk,
}

impl Checker {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        let wanted = bytes.len().min(HEAD_LEN - self.head.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.len += bytes.len() as u64;
        self.tail.push(bytes.slice(bytes.len().saturating_sub(TAIL_LEN)..));
        self.tail.consume(self.tail.len().saturating_sub(TAIL_LEN));
        self.tar.push(bytes);
        self.zstd.push(bytes);
    }

    /// The stream is over. `None` when there is nothing to say: for files, and for what was not recognised.
    pub fn finish(mut self, expected: Expected) -> Option<Checked> {
        let seen = Seen {
            len: self.len,
            head: &self.head,
            tail: self.tail.flatten(self.tail.len(), TAIL_LEN * 2),
            tar: &self.tar,
            zstd: &self.zstd,
        };
        match expected {
            Expected::Said(Kind::File) | Expected::Recognised(Kind::File) => None,
            Expected::Said(kind) => Some(Checked { kind, finding: seen.as_kind(kind) }),
            Expected::Recognised(kind) => {
                let checked = Checked { kind, finding: seen.as_kind(kind) };
                let other = || seen.looks_like().filter(|other| other.complete() != Some(false));
                if checked.complete() == Some(false) { other().or(Some(checked)) } else { Some(checked) }
            }
            Expected::Unknown => seen.looks_like(),
        }
    }
}

impl Seen<'_> {
    /// What its beginning says it is, and whether it is that to its end.
    fn looks_like(&self) -> Option<Checked> {
        let kind = if zip::begins(self.head) {
            match zip::first_name(self.head) == Some(zip::ODOO_DUMP) {
                true => Kind::Odoo,
                false => Kind::Zip,
            }
        } else if tar::begins(self.head) {
            Kind::Tar
        } else if dump::is_custom(self.head) || dump::begins(self.head) {
            Kind::Postgres
        } else {
            return None;
        };
        let mut checked = Checked { kind, finding: self.as_kind(kind) };
        if checked.finding == Finding::NoOdooNames {
            checked = Checked { kind: Kind::Zip, finding: self.as_kind(Kind::Zip) };
        }
        Some(checked)
    }

    fn as_kind(&self, kind: Kind) -> Finding {
        if self.len == 0 {
            return Finding::Empty;
        }
        if is_web_page(self.head) {
            return Finding::WebPage;
        }
        match kind {
            Kind::File => Finding::Whole,
            Kind::Zip => zip::judge(self).map_or_else(|lack| lack, |_| Finding::Whole),
            Kind::Odoo => zip::judge_odoo(self),
            Kind::Tar => self.compressed().unwrap_or_else(|| tar::judge(self)),
            Kind::Postgres => self.compressed().unwrap_or_else(|| dump::judge(self)),
        }
    }

    /// What can be said of a compressed stream, when it is one.
    fn compressed(&self) -> Option<Finding> {
        const OTHERS: [&[u8]; 3] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0"];
        if zstd::begins(self.head) {
            return Some(if self.zstd.is_cut() { Finding::CutStream } else { Finding::Compressed });
        }
        OTHERS.iter().any(|magic| self.head.starts_with(magic)).then_some(Finding::Compressed)
    }
}

/// Whether it begins as web pages do, after a byte order mark and white space.
fn is_web_page(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}
