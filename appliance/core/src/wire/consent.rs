//! What somebody agreed to, as it crosses the socket.

use serde::{Deserialize, Serialize};

/// What whoever lets a disk go agrees to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// That a disk goes which is in use and well.
    pub sure: bool,
    /// That packs become unreadable which only this disk has, until it shows again.
    pub give_up: bool,
}
