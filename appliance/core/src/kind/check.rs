//! The checker: the beginning and the end of a stream of any length, and a verdict when it is over.

use super::layer::Layer;
use super::streams::{End, Streams};
use super::{Checked, Finding, Kind, dump, tar, zip};
use ::bytes::Bytes;

/// A data set of plain files is looked at no further than this: for what has nothing in it.
const SHORT: u64 = 4096;

/// What a snapshot should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The owner of the box said so.
    Said(Kind),
    /// The last complete one was this. Should this one be another and complete as that, it is.
    Recognised(Kind),
    /// Nobody knows. What begins like a dump, a zip or a tar is held to that; anything else is nobody's business, unless it is
    /// nothing at all or a compressed stream that is cut.
    Unknown,
}

/// See the module. Keeps some 70 KiB in memory, and what else is in the buffers where these lie; as much again and the
/// 100 KiB of an opened stream for what is compressed.
#[derive(Debug)]
pub struct Checker {
    expected: Expected,
    outside: Layer,
    streams: Streams,
    over: bool,
}

/// What is known of bytes when they are over.
pub(super) struct Seen<'a> {
    pub len: u64,
    pub head: &'a [u8],
    pub tail: &'a [u8],
    /// Whether there is nothing but zeros and white space.
    pub blank: bool,
    pub tar: &'a tar::Walks,
    pub zip: &'a zip::Walk,
    pub dump: &'a dump::Walk,
}

impl Checker {
    /// For a snapshot of which this is expected.
    pub fn new(expected: Expected) -> Self {
        Self { expected, outside: Layer::default(), streams: Streams::default(), over: false }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        if self.over {
            return;
        }
        self.over = self.is_of_files() && self.outside.len() + bytes.len() as u64 > SHORT;
        if !self.over {
            self.outside.push(bytes);
            self.streams.push(bytes);
        }
    }

    fn is_of_files(&self) -> bool {
        self.expected == Expected::Said(Kind::File)
    }

    /// The stream is over. `None` when there is nothing to say: for files, and for what was not recognised.
    pub fn finish(mut self) -> Option<Checked> {
        if self.over {
            return None;
        }
        let nothing = self.outside.is_blank() || self.streams.end() == Some(End::Nothing);
        match self.expected {
            Expected::Said(kind) if nothing => Some(Checked { kind, finding: Finding::Empty }),
            Expected::Said(Kind::File) => None,
            Expected::Said(kind) => Some(self.as_kind(kind)),
            Expected::Recognised(Kind::File) | Expected::Unknown if nothing => {
                Some(Checked { kind: Kind::File, finding: Finding::Empty })
            }
            Expected::Recognised(Kind::File) | Expected::Unknown => self.looks_like(),
            Expected::Recognised(kind) if nothing => Some(Checked { kind, finding: Finding::Empty }),
            Expected::Recognised(kind) => {
                let checked = self.as_kind(kind);
                let is_other = |other: &Checked| other.complete() != Some(false) && other.kind != Kind::File;
                if checked.complete() != Some(false) {
                    return Some(checked);
                }
                self.looks_like().filter(is_other).or(Some(checked))
            }
        }
    }

    /// Whether it is one of that kind to its end.
    fn as_kind(&mut self, kind: Kind) -> Checked {
        let opens = matches!(kind, Kind::Tar | Kind::Postgres);
        let finding = match self.streams.end().filter(|_| opens) {
            None => self.outside.seen().as_kind(kind),
            Some(end) => match of_stream(end) {
                Err(finding) => finding,
                Ok(rest) => match self.streams.inside() {
                    Some(inside) => rest_of(inside.seen().as_kind(kind), rest),
                    None => rest.unwrap_or(Finding::Compressed),
                },
            },
        };
        Checked { kind, finding }
    }

    /// What its beginning says it is, and whether it is that to its end.
    fn looks_like(&mut self) -> Option<Checked> {
        let Some(end) = self.streams.end() else { return self.outside.seen().looks_like() };
        let of_files = |finding| Some(Checked { kind: Kind::File, finding });
        match of_stream(end) {
            Err(finding) => of_files(finding),
            Ok(rest) => match self.streams.inside().and_then(|inside| inside.seen().looks_like()) {
                Some(Checked { kind, finding }) => Some(Checked { kind, finding: rest_of(finding, rest) }),
                None => of_files(rest.unwrap_or(Finding::Compressed)),
            },
        }
    }
}

/// What the end of a stream says of it: what it lacks, or what cannot be told of what is inside.
fn of_stream(end: End) -> Result<Option<Finding>, Finding> {
    match end {
        End::Nothing => Err(Finding::Empty),
        End::Cut => Err(Finding::CutStream),
        End::Damaged => Err(Finding::DamagedStream),
        End::Whole => Ok(None),
        End::Unknown => Ok(Some(Finding::Compressed)),
        End::MoreBehind => Ok(Some(Finding::MoreBehind)),
    }
}

/// What is inside may lack something because its stream was not followed to its end.
fn rest_of(inside: Finding, rest: Option<Finding>) -> Finding {
    match rest {
        None => inside,
        Some(rest) if inside == Finding::Whole || rest == Finding::Compressed => rest,
        Some(_) => inside,
    }
}

impl Seen<'_> {
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
        if self.blank {
            return Finding::Empty;
        }
        if is_web_page(self.head) {
            return Finding::WebPage;
        }
        match kind {
            Kind::File => Finding::Whole,
            Kind::Zip => zip::judge(self),
            Kind::Odoo => zip::judge_odoo(self),
            Kind::Tar => tar::judge(self),
            Kind::Postgres => dump::judge(self),
        }
    }
}

/// Whether it begins as web pages do, after a byte order mark and white space.
fn is_web_page(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}
