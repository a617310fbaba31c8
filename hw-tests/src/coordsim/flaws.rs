//! The coordinator's part of the bug bank, by where its flaws are caught.

use coffre_core::flaw::Flaw;

/// Every coordinator flaw that this model can see.
pub const COORDINATOR_FLAWS: &[Flaw] = &[
    Flaw::AckAtM,
    Flaw::MountAny,
    Flaw::NoPromise,
    Flaw::AdoptShortest,
    Flaw::AdoptFirst,
    Flaw::WriteBelow,
    Flaw::AckBeforeMount,
    Flaw::ReuseEpoch,
    Flaw::TrustReturned,
    Flaw::IgnoreWitness,
    Flaw::WitnessLate,
    Flaw::DropAtOneCopy,
    Flaw::CheckpointUnacked,
    Flaw::TruncateMiddle,
];

/// Too narrow for a seeded world: driven to in `proofs.rs`.
pub const PROOF_FLAWS: &[Flaw] = &[Flaw::NewestMountHolds, Flaw::FactsEarly];

/// Those of holes in a journal.
pub const HOLE_FLAWS: &[Flaw] = &[Flaw::HoleConvicts, Flaw::HoleCutsTail, Flaw::HolesCount];

/// Those of changes of the roster.
pub const ROSTER_FLAWS: &[Flaw] = &[
    Flaw::JoinUnknown,
    Flaw::JoinBehind,
    Flaw::JoinOneRule,
    Flaw::CountNewcomer,
    Flaw::SeeNewcomer,
    Flaw::OldRoster,
    Flaw::ReuseVersion,
];

/// Those of two owners.
pub const OWNER_FLAWS: &[Flaw] = &[Flaw::NeverLookAgain, Flaw::TakeUnread];
