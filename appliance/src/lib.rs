//! Street side of Coffre: people and machines knock here, and we answer.
//!
//! ```text
//! daemon      opens the vault, starts the doors and the control socket, stops them gracefully
//! doors/      HTTPS: server loop, ceilings, TLS, authentication, the drop-box
//! control     the control socket, for the owner of the box only
//! cli/        the command `coffre`, one file per command
//! identity    the box's authority, its leaves, signed receipts; addresses, hosts: what a leaf must cover
//! pairing     codes with which machines become clients; announce: the box says on the LAN where it is
//! heap        how memory goes back to the system; process: no image of it is written, and how many files it may open
//! state       the state folder: lock, socket, certificate; clock: the time and how it is written
//! ```
//! Doors are async; the vault behind them is threads and blocks, so every call to it goes through
//! `spawn_blocking`, and bytes cross in bounded channels.

pub mod addresses;
pub mod announce;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod doors;
pub mod heap;
pub mod hosts;
pub mod identity;
pub mod pairing;
pub mod process;
pub mod state;
pub mod views;
