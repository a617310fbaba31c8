//! Holding a disk: one process at a time has it, whatever state folder or command it came from.
//!
//! The lock is an `flock` on the disk's own folder, not on a file in it: there always is one, also on a disk that is empty yet or
//! mounted for reading only; nobody can remove it, and a copy of the folder does not have it. It is the kernel's, so it ends with
//! the process however that ends, and it holds across mounts of the same file system in other places and containers.
//! Where it does not reach (another machine, a file system without locks), the labels say who owns the disks: `core/coord`, R10.

use super::fs::trouble;
use crate::ports::{DiskError, DiskResult};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{fstat, major, minor};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Weak};

/// Device and inode of a disk's folder.
type Identity = (u64, u64);

/// Whoever holds disks: all that is opened for one vault in one process. Clones are the same holder; two holders in one process
/// keep each other out like two processes.
#[derive(Clone, Debug, Default)]
pub struct Holder(Arc<Mutex<HashMap<Identity, Weak<Hold>>>>);

/// A disk is held until the last clone of this goes.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held, never looked at")] Option<Flock<OwnedFd>>);

impl Holder {
    /// Takes the disk whose folder was opened anew as `folder`; once more when this holder has it already. `Held` when somebody
    /// else has it. A file system that knows no locks is taken without one.
    pub(super) fn take(&self, folder: OwnedFd, shown: &str) -> DiskResult<Arc<Hold>> {
        let there = fstat(&folder).map_err(|e| trouble("hold", shown, e.into()))?;
        let identity = (there.st_dev, there.st_ino);
        let mut held = crate::core::lock(&self.0);
        held.retain(|_, hold| hold.strong_count() > 0);
        if let Some(hold) = held.get(&identity).and_then(Weak::upgrade) {
            return Ok(hold);
        }
        let hold = match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => return Err(DiskError::Held(by_whom(identity))),
            Err((_, e)) => {
                tracing::warn!(
                    "{shown}: its file system has no locks ({e}); only the labels keep others out"
                );
                None
            }
        };
        let hold = Arc::new(Hold(hold));
        held.insert(identity, Arc::downgrade(&hold));
        Ok(hold)
    }
}

/// Who holds a lock, as far as the system says.
fn by_whom(identity: Identity) -> String {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    match holder_in(&locks, identity) {
        Some(pid) => format!("it is held by another running coffred or coffre (pid {pid})"),
        None => "it is held by another running coffred or coffre".into(),
    }
}

/// The process that holds an `flock` on this folder: `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`.
fn holder_in(locks: &str, (device, inode): Identity) -> Option<u32> {
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, _) = (words.next()?, words.next()?, words.next()?);
        let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
        (kind == "FLOCK" && words.next()? == place).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FsDisk;

    #[test]
    fn one_holder_at_a_time_and_as_often_as_it_likes() {
        let dir = tempfile::tempdir().expect("scratch");
        let attach = || FsDisk::attach(dir.path()).expect("a folder");
        let (one, two) = (Holder::default(), Holder::default());
        let (first, again, other) = (attach(), attach(), attach());
        first.hold(&one).expect("free");
        again.hold(&one.clone()).expect("its own");
        let held = other.hold(&two).expect_err("held").to_string();
        assert!(held.contains(&format!("(pid {})", std::process::id())), "{held}");
        drop(first);
        assert!(other.hold(&two).is_err(), "its holder has it still, by another handle");
        drop(again);
        other.hold(&two).expect("free again");
        assert!(attach().hold(&one).is_err());
        // Looking takes nothing.
        attach();
    }

    #[test]
    fn the_process_is_found_in_what_the_system_lists() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fd:01:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fd:01:43 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 9 fd:01:42 0 EOF\n3: -> FLOCK ADVISORY WRITE 10 fd:01:42 0 EOF\nx\n";
        let device = nix::sys::stat::makedev(0xfd, 1);
        assert_eq!(holder_in(locks, (device, 42)), Some(9));
        assert_eq!((holder_in(locks, (device, 44)), holder_in("", (device, 42))), (None, None));
    }
}
