//! First floor of Coffre: where bytes are kept. Disks, journal, packs and index; threads, no tokio.
//!
//! The engine decides, lanes carry out, `put` and `get` are the streams, `upkeep` keeps the house. `Core` joins them;
//! its `Hands` are threads in the appliance and a seeded scheduler in the simulator. The street side sees [`Vault`].

mod adopt;
mod api;
mod ballast;
mod beginnings;
pub mod catalog;
pub mod clock;
pub mod core;
pub mod disk;
pub mod engine;
pub mod get;
pub mod index;
mod init;
pub mod inspect;
pub mod lane;
pub mod layout;
pub mod limits;
mod memory;
pub mod open;
pub mod ports;
pub mod put;
mod read;
pub mod renew;
pub mod repos;
mod scrub;
mod shell;
mod state;
mod store;
mod streams;
pub mod survey;
pub mod upkeep;

pub use adopt::{AdoptOutcome, adopt};
pub use api::*;
pub use repos::{FileStream, Kept};
pub use state::STATE_LOST;
pub use streams::{PutStream, SnapshotReader};
