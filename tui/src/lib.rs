//! The console: what the box says of itself, readable by anyone in the office on 80 × 24.
//!
//! ```text
//! event ──▶ state::State::apply ──▶ screen::draw(&State) ──▶ glyphs::fold ──▶ terminal
//!  key, tick, reply: one channel, so there is one order
//! ```
//! The console knows the wire types and the control socket, nothing else of the box, and it has no verb that
//! changes anything. A light is a word, a shape and a colour; a box that does not answer is not green.

pub mod glyphs;
pub mod link;
pub mod screen;
pub mod state;
pub mod text;
