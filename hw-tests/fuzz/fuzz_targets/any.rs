//! Any target of `coffre_rig::fuzz` under libFuzzer: `COFFRE_FUZZ_TARGET` says which.

#![no_main]

use coffre_rig::fuzz::{Target, targets};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// The target that was asked for.
fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("COFFRE_FUZZ_TARGET").unwrap_or_default();
        targets().into_iter().find(|target| target.name == name).unwrap_or_else(|| {
            let names: Vec<_> = targets().iter().map(|target| target.name).collect();
            panic!("COFFRE_FUZZ_TARGET is one of: {}", names.join(" "))
        })
    })
}

fuzz_target!(|input: &[u8]| {
    if let Err(promise) = target().check_both(input) {
        panic!("{}: {promise}", target().name);
    }
});
