//! What may be wrong with a simulated disk: one switch per bad day, all off at first.

use crate::rng::Rng;

/// Which operations a fault strikes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strike {
    /// None.
    #[default]
    Never,
    /// The next so many, then none.
    Next(u32),
    /// One in so many, by the disk's own dice.
    OneIn(u32),
    /// Those on this path, or on paths below this folder.
    Path(String),
    /// All.
    Always,
}

impl Strike {
    pub(super) fn hits(&mut self, path: &str, rng: &mut Rng) -> bool {
        match self {
            Self::Never | Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
            Self::OneIn(n) => rng.chance(1, u64::from(*n)),
            Self::Path(at) => {
                path.strip_prefix(at.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Always => true,
        }
    }
}

/// How a power cut treats a sector that was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tear {
    /// Sector size in bytes; `None`: 512 or 4096, chosen at each cut.
    pub sector_bytes: Option<usize>,
    /// Whether a sector may come out as garbage, besides old and new.
    pub garbage: bool,
    /// Whether garbage also takes the bytes of that sector that the write did not touch, synced long ago. The
    /// contract of the port allows it: formats must not put new bytes into a sector of acknowledged ones.
    pub whole_sector: bool,
}

impl Default for Tear {
    fn default() -> Self {
        Self { sector_bytes: None, garbage: true, whole_sector: true }
    }
}

/// What the system says when one operation fails and the next ones do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EIO.
    Eio,
    /// No space left: only operations that need some fail so.
    Full,
    /// EINTR, from a layer that should have tried again.
    Interrupted,
}

/// The switches of one disk.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// `sync` and `sync_dir` say Ok and make nothing durable.
    pub sync_lies: bool,
    /// `sync` and `sync_dir` fail with EIO. As on Linux, what they should have made durable stays visible,
    /// and a later sync says Ok without making it durable: only writing the same bytes again helps.
    pub fail_syncs: Strike,
    /// Reads (of contents, lengths and names) fail with EIO.
    pub fail_reads: Strike,
    /// Writes, creations, renames and removals fail with EIO.
    pub fail_writes: Strike,
    /// The n-th operation from now fails, once (1: the next one). A write leaves a part of itself behind, and what a
    /// sync should have made durable is lost as with `fail_syncs`.
    pub fail_nth: Option<(u64, Refusal)>,
    /// A write lands in another place of the disk, at once and durably, and is lost at the right one.
    pub misdirect_writes: Strike,
    /// Size of the disk; `None`: 1 TiB, never full.
    pub capacity_bytes: Option<u64>,
    /// Every operation says `Gone`. See [`SimDisk::unplug`](super::SimDisk::unplug).
    pub gone: bool,
    /// Operations should not come back. The disk cannot wait; the scheduler reads this and holds them.
    pub hung: bool,
    /// How a power cut tears.
    pub tear: Tear,
}
