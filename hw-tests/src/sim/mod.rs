//! Simulated hardware: a disk that forgets what was not synced, an index that lies, a clock that jumps,
//! dice with a seed.

mod body;
mod clock;
mod disk;
mod faults;
mod index;
mod names;
mod power;
mod state;

pub use clock::{SimClock, SimEntropy};
pub use coffre_vault::index::MemIndex;
pub use disk::{DiskImage, SimDisk};
pub use faults::{Faults, Refusal, Strike, Tear};
pub use index::LyingIndex;
pub use power::Power;
