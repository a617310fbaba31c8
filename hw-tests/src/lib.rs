//! The rig of Coffre: simulated hardware, seeded worlds, fault injection, and runs with real clients.

pub mod conformance;
pub mod coordsim;
pub mod fuzz;
pub mod rig;
pub mod rng;
pub mod seeds;
pub mod sim;
pub mod world;

/// How many cases a test runs: `name` from the environment for long runs, `every_run` otherwise.
pub fn scale(name: &str, every_run: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(every_run)
}
