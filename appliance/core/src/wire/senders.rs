//! Who sent when, and what was refused.

use crate::names::{ClientName, DatasetName};
use crate::rhythm::Rhythm;
use serde::{Deserialize, Serialize};

/// A data set, a repository, or a client of which nothing ever came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderInfo {
    /// Whose.
    pub client: ClientName,
    /// Of the data set or repository; `None` for a client of which nothing ever came.
    pub name: Option<DatasetName>,
    /// Whether it is a repository.
    pub repository: bool,
    /// When the client or the repository was made, or something was said of the data set, ms since 1970.
    pub since_ms: u64,
    /// How it stands.
    pub rhythm: Rhythm,
}

impl SenderInfo {
    /// `CLIENT/NAME`, or `CLIENT`.
    pub fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("{}/{name}", self.client),
            None => self.client.to_string(),
        }
    }
}

/// Backups of a client that were refused within 24 hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedInfo {
    /// How many.
    pub count: u64,
    /// How often somebody came in its name with a wrong secret.
    pub wrong_secrets: u64,
    /// When the last of all these was, ms since 1970.
    pub last_ms: Option<u64>,
    /// Why the last backup was refused.
    pub why: Option<String>,
}

/// The refusals of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedOf {
    /// Whose.
    pub client: ClientName,
    /// Which.
    pub refused: RefusedInfo,
}
