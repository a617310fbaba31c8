//! The heap's manners: glibc is told to give memory back, as a small board needs it.
//!
//! By default glibc keeps eight arenas a core, of which each hoards what its threads freed, and takes buffers of megabytes
//! from them. Measured with four streams after an evening of pushes and restores: 277 MiB resident, and 186 MiB with the
//! settings here, at the same cost in CPU (`docs/decisions/0036-two-arenas.md`).

/// Two arenas: what the daemon's threads allocate is seldom and large, or short and small.
#[cfg(target_env = "gnu")]
const SETTINGS: [(libc::c_int, libc::c_int); 3] = [
    (libc::M_ARENA_MAX, 2),
    // Set, so that it does not grow: from there on memory is the system's again as soon as it is freed.
    (libc::M_MMAP_THRESHOLD, 4 << 20),
    (libc::M_TRIM_THRESHOLD, 16 << 20),
];

/// Sets them for this process. To be called once, before threads are started. Elsewhere than on glibc it does nothing.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    for (what, value) in SETTINGS {
        // SAFETY: `mallopt` takes two integers and is safe to call at any time; no other thread runs yet.
        #[allow(unsafe_code)]
        let taken = unsafe { libc::mallopt(what, value) };
        if taken == 0 {
            tracing::debug!(what, value, "the heap does not take a setting");
        }
    }
}
