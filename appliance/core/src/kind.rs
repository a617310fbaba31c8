//! Kinds of data sets: what a snapshot must be, and whether what arrived is all of it.
//!
//! A dying `pg_dump | curl` ends as a push that looks well, and Odoo answers "200" with a web page when the password is wrong. So what
//! arrives is looked at while it streams: its first bytes, its last ones, and for formats that say so themselves where it
//! ends. Nothing is ever refused for it: the snapshot is kept, and marked.
//!
//! What can be checked is not the same for each. A plain dump has a last line, a zip a directory that must lie where the end says, a tar two
//! blocks of zeros where the next member would be. Streams of xz, bzip2 and zstd are followed from mark to mark; a stream of gzip is
//! opened, and what is inside is looked at like what came plain. *Whole* is said only of what was followed to its end: where that
//! cannot be, it is not known, and said so. A dump that was cut off *before* it was packed by one of the others makes a whole stream.

mod bzip2;
mod check;
mod dump;
mod gzip;
mod held;
mod layer;
mod pax;
mod streams;
mod tar;
mod xz;
mod zip;
mod zstd;

pub use check::{Checker, Expected};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the snapshots of a data set are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything: never checked.
    #[n(0)]
    File,
    /// A tar archive.
    #[n(1)]
    Tar,
    /// A zip archive.
    #[n(2)]
    Zip,
    /// A dump of `pg_dump` or `pg_dumpall`.
    #[n(3)]
    Postgres,
    /// A backup of Odoo: a zip with `dump.sql` and `manifest.json` in it.
    #[n(4)]
    Odoo,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::File, Self::Tar, Self::Zip, Self::Postgres, Self::Odoo];

    /// The word for it on the command line and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tar => "tar",
            Self::Zip => "zip",
            Self::Postgres => "postgres",
            Self::Odoo => "odoo",
        }
    }

    /// One of them, in words.
    fn one(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Tar => "a tar archive",
            Self::Zip => "a zip",
            Self::Postgres => "a PostgreSQL dump",
            Self::Odoo => "an Odoo backup",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| format!("{text:?} is no kind: file (never checked), tar, zip, postgres or odoo"))
    }
}

/// What was found out about a snapshot while it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Everything that its kind promises is there.
    #[n(0)]
    Whole,
    /// It has a directory that could not be compared with its members.
    #[n(1)]
    LongDirectory,
    /// It is compressed: what is inside was not looked at.
    #[n(2)]
    Compressed,
    /// It begins like `pg_dump`'s custom format, which has no mark at its end.
    #[n(3)]
    CustomFormat,
    /// There is nothing in it.
    #[n(4)]
    Empty,
    /// It is a web page.
    #[n(5)]
    WebPage,
    /// It does not begin like one of its kind.
    #[n(6)]
    OtherKind,
    /// A dump without its last line.
    #[n(7)]
    NoLastLine,
    /// A tar archive without its end.
    #[n(8)]
    NoEndBlocks,
    /// A zip without its directory.
    #[n(9)]
    NoDirectory,
    /// A zip that lacks what every Odoo backup has.
    #[n(10)]
    NoOdooNames,
    /// Its compressed stream ends before its end.
    #[n(11)]
    CutStream,
    /// An Odoo backup whose dump, or manifest, is of no length.
    #[n(12)]
    EmptyDump,
    /// Its parts could not be followed to its end.
    #[n(13)]
    NotFollowed,
    /// It is whole, and something else stands behind its end.
    #[n(14)]
    MoreBehind,
    /// What came is no such compressed stream any more.
    #[n(15)]
    DamagedStream,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Whole,
        Self::LongDirectory,
        Self::Compressed,
        Self::CustomFormat,
        Self::Empty,
        Self::WebPage,
        Self::OtherKind,
        Self::NoLastLine,
        Self::NoEndBlocks,
        Self::NoDirectory,
        Self::NoOdooNames,
        Self::CutStream,
        Self::EmptyDump,
        Self::NotFollowed,
        Self::MoreBehind,
        Self::DamagedStream,
    ];

    /// Whether all of it arrived; `None` when that cannot be told.
    pub fn complete(self) -> Option<bool> {
        match self {
            Self::Whole => Some(true),
            Self::LongDirectory
            | Self::Compressed
            | Self::CustomFormat
            | Self::NotFollowed
            | Self::MoreBehind => None,
            _ => Some(false),
        }
    }

    /// A stable word for scripts.
    pub fn key(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::LongDirectory => "long-directory",
            Self::Compressed => "compressed",
            Self::CustomFormat => "custom-format",
            Self::Empty => "empty",
            Self::WebPage => "web-page",
            Self::OtherKind => "other-kind",
            Self::NoLastLine => "no-last-line",
            Self::NoEndBlocks => "no-end-blocks",
            Self::NoDirectory => "no-directory",
            Self::NoOdooNames => "no-odoo-names",
            Self::CutStream => "cut-stream",
            Self::EmptyDump => "empty-dump",
            Self::NotFollowed => "not-followed",
            Self::MoreBehind => "more-behind",
            Self::DamagedStream => "damaged-stream",
        }
    }
}

/// As what a snapshot was checked, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Checked {
    /// What it should be, or was recognised as.
    #[n(0)]
    pub kind: Kind,
    /// What it is.
    #[n(1)]
    pub finding: Finding,
}

impl Checked {
    /// Whether all of it arrived; `None` when that cannot be told.
    pub fn complete(&self) -> Option<bool> {
        self.finding.complete()
    }

    /// Why it is not complete, or what could not be looked at; `None` when there is nothing to say.
    pub fn why(&self) -> Option<String> {
        let due = self.kind.one();
        Some(match self.finding {
            Finding::Whole => return None,
            Finding::LongDirectory => "its directory could not be compared with its members".into(),
            Finding::Compressed => "it is compressed: what is inside was not looked at".into(),
            Finding::CustomFormat => {
                "pg_dump's custom format has no mark at its end: only its beginning was looked at".into()
            }
            Finding::Empty => "there is nothing in it".into(),
            Finding::WebPage if self.kind == Kind::Odoo => {
                "it is a web page where an Odoo backup was due: the Odoo master password is probably wrong"
                    .into()
            }
            Finding::WebPage => format!(
                "it is a web page where {due} was due: if Odoo made it, the Odoo master password is probably wrong"
            ),
            Finding::OtherKind => format!("it does not begin like {due}"),
            Finding::NoLastLine => "the dump has no last line: what made it was cut off".into(),
            Finding::NoEndBlocks => "the tar archive has no end: what made it was cut off".into(),
            Finding::NoDirectory => "the zip has no directory at its end: what made it was cut off".into(),
            Finding::NoOdooNames => "the zip has no dump.sql or no manifest.json in it".into(),
            Finding::CutStream => "its compressed stream has no end: what made it was cut off".into(),
            Finding::EmptyDump => "the dump or the manifest in the Odoo backup has nothing in it".into(),
            Finding::NotFollowed => "its parts could not be followed to its end".into(),
            Finding::MoreBehind => "something else stands behind its end, which was not looked at".into(),
            Finding::DamagedStream => {
                "its compressed stream is damaged: bytes of it were lost or changed".into()
            }
        })
    }

    /// What to do about one that is not complete, or of which that cannot be told.
    pub fn next(&self) -> &'static str {
        match self.finding {
            Finding::WebPage => "put the password right where the backup is made, and push again",
            Finding::OtherKind | Finding::NoOdooNames | Finding::EmptyDump => {
                "look at what makes it, and push again"
            }
            Finding::DamagedStream => "look at what makes it and at the machine's memory, and push again",
            Finding::Compressed => {
                "push it as it is: the box compresses by itself, and can look at it then (also into gzip)"
            }
            Finding::CustomFormat => {
                "push a plain dump: the box compresses by itself, and can look at it then"
            }
            Finding::MoreBehind => "push one archive at a time",
            Finding::LongDirectory | Finding::NotFollowed => {
                "try it out: bring it back with `coffre get`, and open it with the program that it is for"
            }
            _ => "look at the log of what makes it, begin its script with `set -o pipefail`, and push again",
        }
    }
}

#[cfg(test)]
mod tests;
