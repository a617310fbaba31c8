//! What a simulated disk is made of, and the steps its operations share.

use super::body::Body;
use super::faults::{Faults, Refusal};
use super::names::{Ino, Names};
use super::power::{Current, Power};
use crate::rng::{Rng, splitmix};
use coffre_vault::disk::MAX_OPEN_FILES;
use coffre_vault::ports::{DiskError, DiskResult};
use std::collections::BTreeMap;
use std::io;

/// What the space of a file is counted in.
const BLOCK: u64 = 4096;
/// The size of a disk that was given none.
const ENDLESS: u64 = 1 << 40;
/// Longest file. A longer one is a bug of the caller, not a use of memory.
const MAX_FILE: u64 = 1 << 30;
const EINTR: i32 = 4;
pub(super) const EIO: i32 = 5;
const EBADF: i32 = 9;
pub(super) const EISDIR: i32 = 21;
pub(super) const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
const EFBIG: i32 = 27;

/// Everything that changes.
pub(super) struct State {
    pub(super) names: Names,
    pub(super) bodies: BTreeMap<Ino, Body>,
    pub(super) handles: BTreeMap<String, Ino>,
    pub(super) next_ino: Ino,
    pub(super) used_bytes: u64,
    pub(super) faults: Faults,
    /// Operations left before this disk alone loses power.
    pub(super) fuse: Option<u64>,
    pub(super) dead: bool,
    pub(super) rng: Rng,
    pub(super) trace: u64,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: Names::default(),
            bodies: BTreeMap::new(),
            handles: BTreeMap::new(),
            next_ino: 1,
            used_bytes: 0,
            faults: Faults::default(),
            fuse: None,
            dead: false,
            rng: Rng::new(seed),
            trace: splitmix(seed),
        }
    }

    pub(super) fn draw(&mut self, power: &Power) -> Current {
        if self.dead {
            return Current::Out;
        }
        match (power.draw(), self.fuse.as_mut()) {
            (Current::On, Some(left)) if *left > 1 => {
                *left -= 1;
                Current::On
            }
            (Current::On, Some(_)) => {
                (self.fuse, self.dead) = (None, true);
                Current::Fails
            }
            (current, _) => current,
        }
    }

    /// Whether this operation is the one that fails.
    pub(super) fn refusal(&mut self, needs_room: bool) -> Option<Refusal> {
        let (left, refusal) = self.faults.fail_nth.take()?;
        if left > 1 {
            self.faults.fail_nth = Some((left - 1, refusal));
            return None;
        }
        (needs_room || refusal != Refusal::Full).then_some(refusal)
    }

    /// A sync that fails: what it should have made durable is lost.
    pub(super) fn sync_failed(&mut self, path: &str) {
        let ino = self.handles.get(path).copied();
        if let Some(body) = ino.and_then(|ino| self.bodies.get_mut(&ino)) {
            body.sync_failed();
        }
    }

    pub(super) fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        let ino = self.handle("write", path)?;
        self.may_write("write", path, true)?;
        if offset.saturating_add(bytes.len() as u64) > MAX_FILE {
            return Err(os_error("write", path, EFBIG));
        }
        if self.faults.misdirect_writes.hits(path, &mut self.rng) {
            return self.misdirect(ino, offset, bytes);
        }
        let before = self.bodies.get(&ino).map_or(0, |b| b.visible().len() as u64);
        let room = before.div_ceil(BLOCK) * BLOCK + self.free();
        // A full disk takes what fits before it says so.
        let fits = (room.saturating_sub(offset) as usize).min(bytes.len());
        if fits > 0 {
            self.body_of(ino).write(offset as usize, &bytes[..fits]);
            let after = before.max(offset + fits as u64);
            self.used_bytes += (after.div_ceil(BLOCK) - before.div_ceil(BLOCK)) * BLOCK;
        }
        if fits < bytes.len() { Err(DiskError::Full(path.into())) } else { Ok(()) }
    }

    /// The bytes land on sectors of some other place; at the right one nothing comes but the length.
    pub(super) fn misdirect(&mut self, ino: Ino, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        let before = self.bodies.get(&ino).map_or(0, |b| b.visible().len());
        let end = offset as usize + bytes.len();
        if end > before {
            self.body_of(ino).write(before, &vec![0; end - before]);
        }
        let victims: Vec<Ino> =
            self.bodies.iter().filter(|b| !b.1.visible().is_empty()).map(|b| *b.0).collect();
        if let Some(victim) = self.rng.pick(&victims).copied() {
            let len = self.body_of(victim).visible().len();
            let at = self.rng.index(len.div_ceil(512)) * 512;
            let fits = bytes.len().min(len - at);
            // On the right place it would be no fault: then the bytes are only lost.
            if (victim, at as u64) != (ino, offset) {
                self.body_of(victim).poke(at, &bytes[..fits]);
            }
        }
        self.count_used();
        Ok(())
    }

    pub(super) fn may_read(&mut self, what: &str, path: &str, well_formed: bool) -> DiskResult<()> {
        if !well_formed {
            return Err(os_error(what, path, EINVAL));
        }
        if self.faults.fail_reads.hits(path, &mut self.rng) {
            return Err(os_error(what, path, EIO));
        }
        Ok(())
    }

    pub(super) fn may_write(&mut self, what: &str, path: &str, well_formed: bool) -> DiskResult<()> {
        if !well_formed {
            return Err(os_error(what, path, EINVAL));
        }
        if self.faults.fail_writes.hits(path, &mut self.rng) {
            return Err(os_error(what, path, EIO));
        }
        Ok(())
    }

    pub(super) fn file(&self, what: &str, path: &str) -> DiskResult<Ino> {
        if self.names.now.has_folder(path) {
            return Err(os_error(what, path, EISDIR));
        }
        self.names.now.files.get(path).copied().ok_or_else(|| DiskError::NotFound(path.into()))
    }

    pub(super) fn handle(&self, what: &str, path: &str) -> DiskResult<Ino> {
        self.handles.get(path).copied().ok_or_else(|| os_error(what, path, EBADF))
    }

    pub(super) fn body(&mut self, path: &str) -> Option<&mut Body> {
        let ino = self.names.now.files.get(path)?;
        self.bodies.get_mut(ino)
    }

    pub(super) fn body_of(&mut self, ino: Ino) -> &mut Body {
        self.bodies.entry(ino).or_default()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.faults.capacity_bytes.unwrap_or(ENDLESS)
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity().saturating_sub(self.used_bytes) / BLOCK * BLOCK
    }

    pub(super) fn must_have_room(&self, path: &str) -> DiskResult<()> {
        if self.free() == 0 { Err(DiskError::Full(path.into())) } else { Ok(()) }
    }

    pub(super) fn must_have_handle(&self, what: &str, path: &str) -> DiskResult<()> {
        let leaks = self.handles.len() >= MAX_OPEN_FILES && !self.handles.contains_key(path);
        if leaks { Err(os_error(what, path, EMFILE)) } else { Ok(()) }
    }

    /// The space of a file that lost its name.
    pub(super) fn release(&mut self, ino: Option<Ino>) {
        let len = ino.and_then(|ino| self.bodies.get(&ino)).map_or(0, |b| b.visible().len() as u64);
        self.used_bytes = self.used_bytes.saturating_sub(len.div_ceil(BLOCK) * BLOCK);
    }

    pub(super) fn count_used(&mut self) {
        let len = |ino: &Ino| self.bodies.get(ino).map_or(0, |b| b.visible().len() as u64);
        self.used_bytes = self.names.now.files.values().map(|ino| len(ino).div_ceil(BLOCK) * BLOCK).sum();
    }

    /// Drops the bytes that no name leads to any more.
    pub(super) fn collect(&mut self) {
        let reachable = self.names.reachable();
        self.bodies.retain(|ino, _| reachable.contains(ino));
    }

    /// Goes into the trace. Four lanes, because most of the simulator's time would go here otherwise.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let mut lanes = [0, 1, 2, 3].map(|lane| self.trace ^ (bytes.len() as u64) ^ (lane << 62));
        let mut quads = bytes.chunks_exact(32);
        for quad in &mut quads {
            for (lane, word) in lanes.iter_mut().zip(quad.chunks_exact(8)) {
                *lane = step(*lane, u64::from_le_bytes(word.try_into().unwrap_or_default()));
            }
        }
        for byte in quads.remainder() {
            lanes[0] = step(lanes[0], u64::from(*byte));
        }
        self.trace = lanes.into_iter().fold(0, |hash, lane| splitmix(hash ^ lane));
    }
}

/// What the system says of an operation that it refuses.
pub(super) fn refused(what: &str, path: &str, refusal: Refusal) -> DiskError {
    match refusal {
        Refusal::Eio => os_error(what, path, EIO),
        Refusal::Full => DiskError::Full(path.into()),
        Refusal::Interrupted => os_error(what, path, EINTR),
    }
}

/// What the system would say.
pub(super) fn os_error(what: &str, path: &str, errno: i32) -> DiskError {
    DiskError::Io { what: format!("{what} {path}"), source: io::Error::from_raw_os_error(errno) }
}
