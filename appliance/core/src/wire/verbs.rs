//! What a request does: whether it changes something that is kept, and where one looks whether it was done.

use super::Request;

impl Request {
    /// Whether it changes what the vault keeps: when nobody knows what came of it, it may have been done.
    pub fn changes(&self) -> bool {
        self.look_with().is_some()
    }

    /// The command that shows whether a change was done; `None` for what changes nothing that is kept.
    pub fn look_with(&self) -> Option<&'static str> {
        Some(match self {
            Self::ClientAdd { .. }
            | Self::ClientSet { .. }
            | Self::ClientRemove { .. }
            | Self::ClientRotate { .. } => "coffre client list",
            Self::DiskReplace { .. } | Self::DiskAdd { .. } | Self::DiskFind { .. } => "coffre disk list",
            Self::DatasetSet { .. } => "coffre dataset list",
            Self::RepoSet { .. } | Self::RepoRemove { .. } | Self::RepoRestore { .. } => "coffre repo list",
            Self::ForgetRun { .. } => "coffre forget --plan",
            Self::ClockAttest { .. } => "coffre clock show",
            Self::RenewWords { .. } => "coffre words check",
            _ => return None,
        })
    }
}
