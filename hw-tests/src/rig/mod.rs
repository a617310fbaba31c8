//! Acceptance runs with the real binaries: processes, clients, mounts, and what is made of them.
//!
//! ```text
//! process    children with deadlines; whatever happens, none is left behind
//! signals    Ctrl-C once: end tidily; twice: at once
//! binaries   where coffred and coffre are, built when they are not
//! daemon     the real coffred as a child, its ready line, SIGKILL and SIGTERM; the command coffre
//! cross      what building for aarch64 and running it needs
//! client     curl: push from a stream, get to a hash, many gets in one process
//! subject    a real box under test, and what its client was told is safe
//! tools      programs of the system that a run needs, and how to get them
//! bays       disks on loop devices that can be moved, and what lies beneath their mount points
//! mounts     ext4 and XFS on loop devices
//! clients    real clients of the restic door
//! input      real files of this machine as one deterministic tar stream
//! show       what a person sees: pretty on a terminal, plain when piped
//! demo       the demo's legs
//! kills      SIGKILL under load, again and again
//! misplaced  disks that are moved, copied, old, foreign, read-only or away
//! full       disks without a block left
//! pages      the pairing page in headless Chromium
//! steps      named checks with time limits and a tally
//! ```

pub mod bays;
pub mod binaries;
pub mod client;
pub mod clients;
pub mod cross;
pub mod daemon;
pub mod demo;
pub mod full;
pub mod input;
pub mod kills;
pub mod ledger;
pub mod misplaced;
pub mod mounts;
pub mod newer;
pub mod pages;
pub mod process;
pub mod rclone;
pub mod rest_server;
pub mod show;
pub mod shutdown;
pub mod signals;
pub mod steps;
pub mod subject;
pub mod tools;

/// This program's arguments, without a leading `--`: the aliases in `.cargo/config.toml` end with one already, and
/// people type another, as in `cargo demo -- --once`.
pub fn arguments() -> Vec<std::ffi::OsString> {
    without_dashes(std::env::args_os().collect())
}

fn without_dashes(mut arguments: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    if arguments.get(1).is_some_and(|first| first == "--") {
        arguments.remove(1);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_too_many_do_no_harm() {
        let list = |words: &[&str]| -> Vec<std::ffi::OsString> { words.iter().map(Into::into).collect() };
        assert_eq!(without_dashes(list(&["demo", "--", "--once"])), list(&["demo", "--once"]));
        assert_eq!(without_dashes(list(&["demo", "--once", "--"])), list(&["demo", "--once", "--"]));
        assert_eq!(without_dashes(list(&["demo"])), list(&["demo"]));
    }
}
