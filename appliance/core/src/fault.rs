//! One error type for the whole house: a class that decides the policy, what happened, where, what next.
//!
//! The class is what code may branch on; the words are for people. An error crosses floors unchanged, so a
//! person reads one sentence and not a chain of wrappers.

use std::fmt;

/// What a fault means for whoever meets it. The only thing code may decide on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May go away by itself: try again.
    Transient,
    /// Will not go away by itself.
    Permanent,
    /// Bytes are not what was written.
    Corrupt,
    /// The thing is not there.
    Absent,
    /// No room, or over a quota.
    Full,
    /// Understood and refused: the state of the box or the rules forbid it.
    Refused,
    /// The request itself is wrong.
    Misuse,
    /// Perhaps it is there: too few disks show to say that it is not.
    Unseen,
    /// It is not known whether it happened: it was begun, and nobody saw the end of it.
    Unknown,
}

impl Class {
    /// What a fault of this class leaves behind, for logs.
    pub fn leaves(self) -> &'static str {
        match self {
            Self::Unknown => "it is not known whether this was done",
            _ => "nothing changed",
        }
    }
}

/// A fault with its class, what happened and where, and what to do next.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// What code may decide on.
    pub class: Class,
    /// What happened, and where: one sentence without a final stop.
    pub what: String,
    /// What to do next, when there is something.
    pub next: Option<String>,
}

/// Result of anything that can meet a [`Fault`].
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A fault of `class`, saying what happened and where.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), next: None }
    }

    /// [`Class::Transient`].
    pub fn transient(what: impl Into<String>) -> Self {
        Self::new(Class::Transient, what)
    }
    /// [`Class::Permanent`].
    pub fn permanent(what: impl Into<String>) -> Self {
        Self::new(Class::Permanent, what)
    }
    /// [`Class::Corrupt`].
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(Class::Corrupt, what)
    }
    /// [`Class::Absent`].
    pub fn absent(what: impl Into<String>) -> Self {
        Self::new(Class::Absent, what)
    }
    /// [`Class::Full`].
    pub fn full(what: impl Into<String>) -> Self {
        Self::new(Class::Full, what)
    }
    /// [`Class::Refused`].
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Class::Refused, what)
    }
    /// [`Class::Misuse`].
    pub fn misuse(what: impl Into<String>) -> Self {
        Self::new(Class::Misuse, what)
    }

    /// [`Class::Unseen`].
    pub fn unseen(what: impl Into<String>) -> Self {
        Self::new(Class::Unseen, what)
    }
    /// [`Class::Unknown`]. What happened is in `what`, as far as it is known; that the rest is not, is said here.
    pub fn unknown(what: impl fmt::Display) -> Self {
        Self::new(Class::Unknown, format!("it is not known whether this was done: {what}"))
    }

    /// The same fault with what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same fault, saying where it was met in front of what happened.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.what = format!("{place}: {}", self.what);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
