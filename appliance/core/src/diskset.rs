//! A set of disks of one roster: eight bits.

use crate::ids::DiskNo;
use std::fmt;

/// A set of disks, by their numbers in the roster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DiskSet(pub u8);

impl DiskSet {
    /// No disk.
    pub const EMPTY: Self = Self(0);

    /// The first `n` disks of a roster (`n` at most 8).
    pub fn first(n: usize) -> Self {
        Self(((1u16 << n) - 1) as u8)
    }

    /// How many disks.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `disk` is in it.
    pub fn has(self, disk: DiskNo) -> bool {
        self.0.checked_shr(u32::from(disk.0)).is_some_and(|bits| bits & 1 == 1)
    }

    /// With `disk`.
    #[must_use]
    pub fn with(self, disk: DiskNo) -> Self {
        Self(self.0 | 1 << disk.0)
    }

    /// Without `disk`.
    #[must_use]
    pub fn without(self, disk: DiskNo) -> Self {
        Self(self.0 & !(1 << disk.0))
    }

    /// In both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In this one and not in `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The disks, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = DiskNo> {
        (0..8).map(DiskNo).filter(move |d| self.has(*d))
    }
}

impl FromIterator<DiskNo> for DiskSet {
    fn from_iter<T: IntoIterator<Item = DiskNo>>(disks: T) -> Self {
        disks.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// As people read it: from 1.
impl fmt::Debug for DiskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(DiskNo::told)).finish()
    }
}
