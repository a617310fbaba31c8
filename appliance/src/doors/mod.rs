//! The doors clients knock on: one HTTPS server, and behind it one room per protocol.
//!
//! ```text
//! socket → tls → http (server loop, ceilings) → auth → dropbox, restic → upload / download → the vault
//!                                             ↘ pair (before auth: whoever comes has a code and no secret yet)
//! ```
//! Every door ends in the same objects, versions and locks, and none has a verb that destroys. A new protocol is
//! a new room beside these two and one line in `http::route`.

mod answer;
mod audit;
mod auth;
mod chatter;
mod dav;
mod digests;
mod download;
mod dropbox;
mod give;
pub mod http;
mod incoming;
pub mod inspect;
pub mod limits;
mod old_curl;
mod pages;
mod pair;
mod places;
mod plain;
mod ranges;
mod receipt;
mod restic;
mod seats;
mod socket;
pub mod tls;
mod upload;
