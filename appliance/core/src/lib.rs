//! Ground floor of Coffre: values in, values out. Nothing here waits, touches a disk or asks the time.
//!
//! Formats (label, journal record, shard, pack, manifest, witness), the keys that seal them, the erasure
//! code, and the journal coordinator as a pure state machine. Everything that decides lives here or in the
//! vault's engine, and is driven alike by threads and by the simulator.

pub mod aead;
pub mod amount;
pub mod buffer;
pub mod bytes;
pub mod checkpoint;
pub mod chunk;
pub mod class;
pub mod coord;
pub mod diskset;
pub mod erasure;
pub mod fact;
pub mod fault;
pub mod flaw;
pub mod geometry;
pub mod ids;
pub mod keep;
pub mod keys;
pub mod kind;
pub mod label;
pub mod manifest;
pub mod names;
pub mod pack;
pub mod pair;
pub mod record;
pub mod repo;
pub mod retention;
pub mod roster;
pub mod scrub;
pub mod shard;
pub mod slots;
pub mod squeeze;
pub mod steps;
pub mod window;
pub mod wire;
pub mod witness;
pub mod words;
