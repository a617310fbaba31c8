//! Repositories of restic: what their files are called, and what their client may do to them.

use crate::ids::ObjectId;
use crate::names::DatasetRef;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a file of a repository is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum FileKind {
    /// The one file that makes a repository one. It has no name.
    #[n(0)]
    Config,
    /// A pack of restic's.
    #[n(1)]
    Data,
    /// A key of the repository, sealed with a password that the box does not know.
    #[n(2)]
    Keys,
    /// Says that a client is at work. The only kind that goes when its client deletes it.
    #[n(3)]
    Locks,
    /// A snapshot of restic's: the end of a backup.
    #[n(4)]
    Snapshots,
    /// Says what is in which pack.
    #[n(5)]
    Index,
}

impl FileKind {
    /// The kinds that have names, thus folders.
    pub const NAMED: [Self; 5] = [Self::Data, Self::Keys, Self::Locks, Self::Snapshots, Self::Index];

    /// The word for it in paths.
    pub fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Data => "data",
            Self::Keys => "keys",
            Self::Locks => "locks",
            Self::Snapshots => "snapshots",
            Self::Index => "index",
        }
    }

    /// The named kind of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The name of a file: SHA-256 of its bytes, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(pub [u8; 32]);

/// A text is no file's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a file of a repository is called by 64 lower-case hexadecimal digits, the SHA-256 of its bytes")]
pub struct BadFileName;

impl FromStr for FileName {
    type Err = BadFileName;

    fn from_str(text: &str) -> Result<Self, BadFileName> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut name = [0; 32];
        if !lower || hex::decode_to_slice(text, &mut name).is_err() {
            return Err(BadFileName);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({}…)", hex::encode(&self.0[..4]))
    }
}

/// What a repository's client may do to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum RepoMode {
    /// Add, and nothing else.
    #[default]
    #[n(0)]
    AppendOnly,
    /// Add and delete. What it deletes is hidden from it, kept until the end of its lock, and can be shown again.
    #[n(1)]
    Recoverable,
}

impl fmt::Display for RepoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppendOnly => "append-only",
            Self::Recoverable => "recoverable",
        })
    }
}

impl FromStr for RepoMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "append-only" => Ok(Self::AppendOnly),
            "recoverable" => Ok(Self::Recoverable),
            other => Err(format!("{other:?} is no mode of a repository: append-only or recoverable")),
        }
    }
}

/// A repository: the last fact of a name holds.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RepoFact {
    /// Which. A repository and a data set of the drop-box never have the same name.
    #[n(0)]
    pub repo: DatasetRef,
    /// What its client may do.
    #[n(1)]
    pub mode: RepoMode,
    /// When it was made, ms since 1970.
    #[n(2)]
    pub created_ms: u64,
    /// Whether the owner of the box has taken it away from its client: nothing in it is visible.
    #[n(3)]
    pub removed: bool,
    /// One backup is expected in so many seconds, 0: none is; `None`: as those that came show.
    #[n(4)]
    pub every_s: Option<u32>,
    /// What the owner of the box said are its right config and keys; `None`: those that it was begun with.
    #[n(5)]
    pub right: Option<RightFiles>,
}

/// The files without which nobody opens a repository, as the owner of the box saw and confirmed them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct RightFiles {
    /// The config.
    #[n(0)]
    pub config: Option<ObjectId>,
    /// The keys.
    #[n(1)]
    pub keys: Vec<ObjectId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_64_lower_case_digits() {
        let good = "0123456789abcdef".repeat(4);
        let name: FileName = good.parse().expect("valid");
        assert_eq!(name.to_string(), good);
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace('0', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(bad.parse::<FileName>(), Err(BadFileName), "{bad}");
        }
    }

    #[test]
    fn kinds_and_modes_are_said_as_they_are_read() {
        for kind in FileKind::NAMED {
            assert_eq!(FileKind::named(kind.word()), Some(kind));
        }
        assert_eq!(FileKind::named("config"), None, "it has no folder");
        for mode in [RepoMode::AppendOnly, RepoMode::Recoverable] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).expect("a value"), mode.to_string());
        }
    }
}
