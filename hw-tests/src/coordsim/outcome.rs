//! What a run of the coordinator's model saw, for the tests to see that it was not asleep.

/// What a run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records acknowledged.
    pub acked: u64,
    /// Mounts that went read-write.
    pub mounts: u64,
    /// Mounts that were refused.
    pub refused: u64,
    /// Checkpoints that replaced journal.
    pub checkpoints: u64,
    /// Acknowledgements under a witnessed epoch.
    pub witnessed: u64,
    /// Changes of the roster that were begun,
    pub begun: u64,
    /// and disks that are out for good.
    pub changed: u64,
    /// Ends with a change half-way, too few disks for the plain rule, and a witness that cannot vouch for them.
    pub stranded: u64,
    /// Records and checkpoints that rotted,
    pub rotten: u64,
    /// and nights after which more disks had holes than the geometry can miss.
    pub bad_nights: u64,
    /// Second owners that came,
    pub rivals: u64,
    /// and first ones that noticed.
    pub fenced: u64,
    /// Hash over everything that happened.
    pub trace: u64,
}

impl Outcome {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.mounts += other.mounts;
        self.refused += other.refused;
        self.checkpoints += other.checkpoints;
        self.witnessed += other.witnessed;
        self.begun += other.begun;
        self.changed += other.changed;
        self.stranded += other.stranded;
        self.rotten += other.rotten;
        self.bad_nights += other.bad_nights;
        self.rivals += other.rivals;
        self.fenced += other.fenced;
        self.trace ^= other.trace;
    }
}
