//! The bug bank: deliberate faults that the simulator must catch, each one.
//!
//! A suite that cannot fail proves nothing. Each flaw below breaks one rule at the place where the rule is kept;
//! the rig switches one on and asserts that its checks notice. The appliance itself only ever uses
//! [`Flaws::NONE`]: nothing outside the rig constructs another value.

/// A rule to break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Flaw {
    /// Acknowledge when a record is on m disks.
    AckAtM,
    /// Mount read-write with any set of disks (R1).
    MountAny,
    /// Do not promise an epoch (R2).
    NoPromise,
    /// Adopt the shortest journal of the newest epoch (R3).
    AdoptShortest,
    /// Adopt the first visible disk's journal (R3).
    AdoptFirst,
    /// Let the highest epoch hold, although something beside its history was acknowledged (R3).
    NewestMountHolds,
    /// Write facts in an epoch before its Mount record is acknowledged: then they prove nothing (R4).
    FactsEarly,
    /// Go on acknowledging with fewer than m + 1 disks and no witness (R1, R5).
    WriteBelow,
    /// Acknowledge before the Mount record is durable (R5).
    AckBeforeMount,
    /// Begin a new mount under the old epoch (R2).
    ReuseEpoch,
    /// Count a disk that came back without comparing its journal (R6).
    TrustReturned,
    /// Mount although the witness knows a newer epoch.
    IgnoreWitness,
    /// Go on with one disk without telling the witness first.
    WitnessLate,
    /// Drop the journal everywhere when one disk has the checkpoint.
    DropAtOneCopy,
    /// Checkpoint records that are not acknowledged yet.
    CheckpointUnacked,
    /// Acknowledge a pack when k of its shards are durable.
    AckAtK,
    /// Leave out the sync of the folder after creating a file.
    SkipDirSync,
    /// After a failed sync, sync again and believe it.
    RetrySync,
    /// Leave out the sync of the journal.
    SkipJournalSync,
    /// Believe the index without looking at the pack.
    TrustIndexHit,
    /// Take what ends where an expected chunk would for that chunk, without comparing ids.
    ExpectedIsKnown,
    /// Hand shards to the decoder unverified.
    SkipShardCheck,
    /// Erase what is behind the first bad record instead of comparing with the other disks.
    TruncateMiddle,
    /// Write the journal record before its packs are durable.
    RecordBeforePack,
    /// Sweep unknown packs although disks are missing.
    SweepBlind,
    /// Make a shard again out of sources that nobody verified, and believe the result.
    HealUnverified,
    /// Count a shard as healed when it was written, without reading it back.
    HealWithoutProof,
    /// Write a healed shard under its own name at once instead of putting it there when it is proved.
    HealOverPlace,
    /// Write the label over its good slot while the other one is bad.
    LabelOverGood,
    /// Leave out the last shard of each pack in the deep scrub.
    ScrubSkipsShard,
    /// Take a shard for whole when its header is, without looking at its blocks.
    ScrubTrustsHeader,
    /// Move the scrub's cursor on by packs that were not looked at.
    ScrubCursorJumps,
    /// Forget at a restart what was found damaged and is not healed.
    ForgetFinds,
    /// Forget what is still locked.
    ForgetUnderLock,
    /// Let `keep last=N` override a lock.
    CountPastLock,
    /// Forget the newest snapshot of a data set.
    NewestFreed,
    /// Let a snapshot that is not complete stand for the newest of its data set, and take a place that a rule keeps.
    CountIncomplete,
    /// Let the retention clock follow the wall clock.
    TrustWall,
    /// Let things expire while the clocks disagree.
    IgnoreDoubt,
    /// Take locks that were given while the clocks disagreed for locks like any.
    LocksInDoubt,
    /// Leave a lock as it was set when the retention clock is found to have lagged then.
    LocksMissLeaps,
    /// Free without looking a second time who refers to a pack.
    NoSecondMark,
    /// Free at once what was condemned.
    NoGrace,
    /// Share chunks of condemned packs.
    ShareCondemned,
    /// Free packs that streams on their way refer to.
    FreeInFlight,
    /// Remove shards before the fact that frees them is acknowledged.
    FreeBeforeAck,
    /// Condemn any share of the vault without asking.
    IgnoreGuardRail,
    /// Forget files of repositories by age.
    FreeByAge,
    /// Forget what a client deleted as soon as its lock has ended.
    FreeDeletedEarly,
    /// Let a client delete in a repository that only takes more.
    DeleteAppendOnly,
    /// Bring back any config of a repository instead of the right one.
    RestoreAnyConfig,
    /// Let a newcomer join before enough disks know the roster (R9).
    JoinUnknown,
    /// Let a newcomer join before everything acknowledged satisfies the rule with it (R9).
    JoinBehind,
    /// Acknowledge by the old rule alone while a newcomer's label is being written (R9).
    JoinOneRule,
    /// Count a newcomer that has not joined for acknowledgements (R8).
    CountNewcomer,
    /// Take a newcomer that has not joined for a disk of the roster at a mount (R8).
    SeeNewcomer,
    /// Believe the lowest version of the roster that is to be seen.
    OldRoster,
    /// Count versions by one, whatever epoch writes them (R7).
    ReuseVersion,
    /// Take a disk with a hole in its journal for one that lost its end.
    HoleConvicts,
    /// Put aside what stands behind a hole of one disk, and write it anew.
    HoleCutsTail,
    /// Count a disk without mending its holes.
    HolesCount,
    /// Acknowledge without looking whether somebody else has promised a higher epoch (R10).
    NeverLookAgain,
    /// Go on from what was read before the promise, whatever was written meanwhile (R10).
    TakeUnread,
    /// Refuse what was written and not confirmed, as if it could not become true any more.
    UnknownIsNo,
    /// Let a disk go when enough others are there, whatever they hold.
    CountDisksNotShards,
}

/// All flaws, for the rig to go through.
pub const ALL_FLAWS: &[Flaw] = &[
    Flaw::AckAtM,
    Flaw::MountAny,
    Flaw::NoPromise,
    Flaw::AdoptShortest,
    Flaw::AdoptFirst,
    Flaw::NewestMountHolds,
    Flaw::FactsEarly,
    Flaw::WriteBelow,
    Flaw::AckBeforeMount,
    Flaw::ReuseEpoch,
    Flaw::TrustReturned,
    Flaw::IgnoreWitness,
    Flaw::WitnessLate,
    Flaw::DropAtOneCopy,
    Flaw::CheckpointUnacked,
    Flaw::AckAtK,
    Flaw::SkipDirSync,
    Flaw::RetrySync,
    Flaw::SkipJournalSync,
    Flaw::TrustIndexHit,
    Flaw::ExpectedIsKnown,
    Flaw::SkipShardCheck,
    Flaw::TruncateMiddle,
    Flaw::RecordBeforePack,
    Flaw::SweepBlind,
    Flaw::HealUnverified,
    Flaw::HealWithoutProof,
    Flaw::HealOverPlace,
    Flaw::LabelOverGood,
    Flaw::ScrubSkipsShard,
    Flaw::ScrubTrustsHeader,
    Flaw::ScrubCursorJumps,
    Flaw::ForgetFinds,
    Flaw::ForgetUnderLock,
    Flaw::CountPastLock,
    Flaw::NewestFreed,
    Flaw::CountIncomplete,
    Flaw::TrustWall,
    Flaw::IgnoreDoubt,
    Flaw::LocksInDoubt,
    Flaw::LocksMissLeaps,
    Flaw::NoSecondMark,
    Flaw::NoGrace,
    Flaw::ShareCondemned,
    Flaw::FreeInFlight,
    Flaw::FreeBeforeAck,
    Flaw::IgnoreGuardRail,
    Flaw::FreeByAge,
    Flaw::FreeDeletedEarly,
    Flaw::DeleteAppendOnly,
    Flaw::RestoreAnyConfig,
    Flaw::JoinUnknown,
    Flaw::JoinBehind,
    Flaw::JoinOneRule,
    Flaw::CountNewcomer,
    Flaw::SeeNewcomer,
    Flaw::OldRoster,
    Flaw::ReuseVersion,
    Flaw::HoleConvicts,
    Flaw::HoleCutsTail,
    Flaw::HolesCount,
    Flaw::NeverLookAgain,
    Flaw::TakeUnread,
    Flaw::UnknownIsNo,
    Flaw::CountDisksNotShards,
];

/// A set of flaws; empty in any appliance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flaws(u128);

impl Flaws {
    /// None: how the appliance runs.
    pub const NONE: Self = Self(0);

    /// Exactly one, for the rig.
    pub fn only(flaw: Flaw) -> Self {
        Self(1 << flaw as u8)
    }

    /// Whether `flaw` is switched on.
    pub fn has(self, flaw: Flaw) -> bool {
        self.0 >> flaw as u8 & 1 == 1
    }
}
