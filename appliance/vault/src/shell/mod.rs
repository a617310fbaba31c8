//! The shell of the vault: threads, queues and waiting around the engine, and nothing that decides.
//!
//! `House` is the open vault: the current mount (`Core` and its `Crew`), and three threads that outlive a mount: the
//! ticker (time), the keeper (upkeep) and the prober (disks that come and go). Streams and commands go through the core.

mod answers;
mod comers;
mod crew;
mod desk;
mod disk;
mod exchange;
mod foreign;
mod guests;
mod health;
mod house;
mod keeper;
mod keeping;
mod lookout;
mod medium;
mod opening;
mod prober;
mod queue;
mod quota;
mod refusals;
mod rhythm;
mod shared_index;
mod space;
mod status;
mod stop;
mod strange;
mod unsure;
mod words;

pub(crate) use house::{House, Opening};
pub(crate) use keeping::partly;
pub(crate) use quota::Taking;

use coffre_core::fault::Fault;

/// Said to whoever comes or waits while the box stops.
pub(crate) fn stopping() -> Fault {
    Fault::transient("the box is stopping").next("try again when it is up")
}
