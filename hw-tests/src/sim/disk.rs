//! A simulated disk: the `Disk` port in memory, deterministic from a seed, with a crash button.
//!
//! It is a strict citizen: it refuses what a real disk refuses, and it forgets at a power cut whatever the port
//! does not promise to keep. Clones are handles of one disk: the vault holds one, the test keeps another as
//! the controller. Methods of the port count as operations; those of the controller do not.

use super::body::{Body, Mood};
use super::faults::Faults;
use super::names::{Change, Ino, Names, Tree};
use super::power::{Current, Power};
use super::state::{EINVAL, EIO, EISDIR, State, os_error, refused};
use crate::rng::Rng;
use coffre_core::buffer::Buffer;
use coffre_vault::disk::{is_folder, is_path, parent};
use coffre_vault::ports::{Disk, DiskError, DiskResult, Space};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

// Numbers of the operations, for the trace.
const MAKE_DIR: u8 = 1;
const CREATE: u8 = 2;
const OPEN: u8 = 3;
const WRITE: u8 = 4;
const SYNC: u8 = 5;
const SYNC_DIR: u8 = 6;
const READ: u8 = 7;
const LEN: u8 = 8;
const LIST: u8 = 9;
const RENAME: u8 = 10;
const REMOVE: u8 = 11;
const SPACE: u8 = 12;

/// One simulated disk. Clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    name: Arc<str>,
    power: Power,
    state: Arc<Mutex<State>>,
}

/// What was durable on a disk at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskImage {
    tree: Tree,
    bodies: BTreeMap<Ino, Vec<u8>>,
}

impl SimDisk {
    /// An empty disk with a power supply of its own. `name` is for messages.
    pub fn new(name: &str, seed: u64) -> Self {
        Self::on(name, seed, &Power::new())
    }

    /// An empty disk on a supply shared with others.
    pub fn on(name: &str, seed: u64, power: &Power) -> Self {
        let state = State::new(seed);
        Self { name: name.into(), power: power.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Turns switches: `disk.faults(|f| f.sync_lies = true)`. Also reads them.
    pub fn faults<T>(&self, with: impl FnOnce(&mut Faults) -> T) -> T {
        with(&mut self.state().faults)
    }

    /// Whether operations should not come back: for the scheduler.
    pub fn is_hung(&self) -> bool {
        self.state().faults.hung
    }

    /// Lets this disk alone lose power during its `n`-th operation from now (0: now), until
    /// [`power_cut`](Self::power_cut). That operation may have been done, in part or in whole.
    pub fn crash_after(&self, n: u64) {
        let mut state = self.state();
        state.fuse = (n > 0).then_some(n);
        state.dead = n == 0;
    }

    /// Power went and came back: decides what survived, closes all handles. Afterwards everything visible is
    /// durable. A supply shared with other disks stays as it is ([`Power::restore`]).
    pub fn power_cut(&self, rng: &mut Rng) {
        let mut state = self.state();
        state.fuse = None;
        state.dead = false;
        state.handles.clear();
        let (mood, tear) = (Mood::draw(rng), state.faults.tear);
        let sector = tear.sector_bytes.unwrap_or(if rng.chance(1, 2) { 512 } else { 4096 });
        state.names.cut(|| mood.keeps(rng));
        state.collect();
        for body in state.bodies.values_mut() {
            body.cut(tear, sector, mood, rng);
        }
        state.count_used();
    }

    /// The process that used it died and the machine lives on: handles are gone, and what was written stays in the caches,
    /// visible, for a later power cut to decide about.
    pub fn process_died(&self) {
        let mut state = self.state();
        state.fuse = None;
        state.dead = false;
        state.handles.clear();
    }

    /// Pulls the disk out: every operation says `Gone`.
    pub fn unplug(&self) {
        self.faults(|f| f.gone = true);
    }

    /// Puts it back. What was not synced when it was pulled is as after a power cut.
    pub fn plug(&self, rng: &mut Rng) {
        self.faults(|f| f.gone = false);
        self.power_cut(rng);
    }

    /// What is durable now: a power cut that keeps nothing else.
    pub fn snapshot(&self) -> DiskImage {
        let state = self.state();
        let tree = state.names.durable();
        let bodies =
            (tree.files.values()).filter_map(|ino| Some((*ino, state.bodies.get(ino)?.durable()))).collect();
        DiskImage { tree, bodies }
    }

    /// Makes it the disk it was when `image` was taken (or a clone of the disk the image is of), with all
    /// handles closed.
    pub fn restore(&self, image: &DiskImage) {
        let mut state = self.state();
        state.names = Names::new(image.tree.clone());
        state.bodies = image.bodies.iter().map(|(ino, bytes)| (*ino, Body::new(bytes.clone()))).collect();
        state.next_ino = state.next_ino.max(1 + image.bodies.keys().max().copied().unwrap_or(0));
        state.handles.clear();
        state.count_used();
    }

    /// Flips 1 to 8 bits of one byte of `path`, or of a random file. Says where; `None` if there is no byte.
    pub fn rot(&self, path: Option<&str>, rng: &mut Rng) -> Option<(String, u64)> {
        let files: Vec<_> = self.files().into_iter().filter(|f| f.1 > 0).collect();
        let (path, len) = match path {
            Some(path) => files.iter().find(|f| f.0 == path)?,
            None => rng.pick(&files)?,
        };
        let offset = rng.below(*len);
        let byte = self.peek(path)?.get(offset as usize)? ^ rng.between(1, 255) as u8;
        self.poke(path, offset, &[byte]);
        Some((path.clone(), offset))
    }

    /// Files with their lengths in bytes, sorted.
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let len = |ino: &Ino| state.bodies.get(ino).map_or(0, |b| b.visible().len() as u64);
        state.names.now.files.iter().map(|(path, ino)| (path.clone(), len(ino))).collect()
    }

    /// The visible bytes of a file.
    pub fn peek(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let ino = state.names.now.files.get(path)?;
        Some(state.bodies.get(ino)?.visible().to_vec())
    }

    /// Overwrites bytes of a file, durably, behind everybody's back. Nothing if there is no such file.
    pub fn poke(&self, path: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        if let Some(body) = state.body(path) {
            body.poke(offset as usize, bytes);
        }
        state.count_used();
    }

    /// Cuts a file to `len` bytes, durably, behind everybody's back.
    pub fn truncate(&self, path: &str, len: u64) {
        let mut state = self.state();
        if let Some(body) = state.body(path) {
            body.truncate(len as usize);
        }
        state.count_used();
    }

    /// Puts a file there, durably, behind everybody's back, whatever its name; nothing where there is no such folder.
    pub fn plant(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state();
        if !state.names.now.has_folder(parent(path)) || state.names.now.files.contains_key(path) {
            return;
        }
        let ino = state.next_ino;
        state.next_ino += 1;
        state.bodies.insert(ino, Body::new(bytes.to_vec()));
        state.names.change(Change::Link { path: path.into(), ino });
        state.names.sync(parent(path));
        state.count_used();
    }

    /// Takes a file away, durably, behind everybody's back; says whether there was one.
    pub fn lose(&self, path: &str) -> bool {
        let mut state = self.state();
        let Some(ino) = state.names.now.files.get(path).copied() else { return false };
        state.names.change(Change::Unlink { path: path.into(), ino });
        state.names.sync(parent(path));
        state.handles.remove(path);
        state.count_used();
        true
    }

    /// A running hash of all operations with their bytes and outcomes: the same seed gives the same trace.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation of the port: counts it, lets the power fail in it, keeps the trace.
    /// `work` gets the share of its work to do, in 256ths: less than all of it when the power fails midway.
    fn operate<T>(
        &self,
        code: u8,
        path: &str,
        work: impl FnOnce(&mut State, u64) -> DiskResult<T>,
    ) -> DiskResult<T> {
        let mut state = self.state();
        let outcome = match state.draw(&self.power) {
            Current::On if state.faults.gone => Err(DiskError::Gone(format!("{} was pulled", self.name))),
            Current::On => {
                match state.refusal(matches!(code, MAKE_DIR | CREATE | WRITE | SYNC | SYNC_DIR | RENAME)) {
                    None => work(&mut state, 256),
                    Some(refusal) => {
                        match code {
                            WRITE => {
                                let share = state.rng.below(256);
                                drop(work(&mut state, share));
                            }
                            SYNC => state.sync_failed(path),
                            SYNC_DIR => state.names.sync_failed(path),
                            _ => {}
                        }
                        Err(refused("operation on", path, refusal))
                    }
                }
            }
            Current::Fails => {
                let share = state.rng.below(512).min(256);
                if share > 0 && !state.faults.gone {
                    // What came of it nobody will know: the power is out.
                    drop(work(&mut state, share));
                }
                Err(DiskError::Gone("power cut".into()))
            }
            Current::Out => Err(DiskError::Gone("power cut".into())),
        };
        let class = match &outcome {
            Ok(_) => 0,
            Err(DiskError::NotFound(_)) => 1,
            Err(DiskError::Exists(_)) => 2,
            Err(DiskError::Gone(_)) => 3,
            Err(DiskError::Full(_)) => 4,
            Err(DiskError::Io { .. }) => 5,
            Err(DiskError::Held(_)) => 6,
            Err(DiskError::Shortage { .. }) => 7,
            Err(DiskError::Taken(_)) => 8,
        };
        state.note(&[code, class]);
        state.note(path.as_bytes());
        outcome
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({})", self.name)
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, path: &str) -> DiskResult<()> {
        self.operate(MAKE_DIR, path, |s, _| {
            s.may_write("make folder", path, is_path(path))?;
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            for part in ends.map(|end| &path[..end]) {
                if s.names.now.files.contains_key(part) {
                    return Err(DiskError::Exists(part.into()));
                }
                if !s.names.now.has_folder(part) {
                    s.must_have_room(path)?;
                    s.names.change(Change::Folder { path: part.into() });
                }
            }
            Ok(())
        })
    }

    fn create(&self, path: &str) -> DiskResult<()> {
        self.operate(CREATE, path, |s, _| {
            s.may_write("create", path, is_path(path))?;
            if s.names.now.files.contains_key(path) || s.names.now.has_folder(path) {
                return Err(DiskError::Exists(path.into()));
            }
            if !s.names.now.has_folder(parent(path)) {
                return Err(DiskError::NotFound(path.into()));
            }
            s.must_have_room(path)?;
            s.must_have_handle("create", path)?;
            let ino = s.next_ino;
            s.next_ino += 1;
            s.bodies.insert(ino, Body::default());
            s.names.change(Change::Link { path: path.into(), ino });
            s.handles.insert(path.into(), ino);
            Ok(())
        })
    }

    fn open_rw(&self, path: &str) -> DiskResult<()> {
        self.operate(OPEN, path, |s, _| {
            s.may_read("open", path, is_path(path))?;
            let ino = s.file("open", path)?;
            s.must_have_handle("open", path)?;
            s.handles.insert(path.into(), ino);
            Ok(())
        })
    }

    fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> DiskResult<()> {
        self.operate(WRITE, path, |s, share| {
            s.note(&offset.to_le_bytes());
            s.note(bytes);
            s.write(path, offset, &bytes[..(bytes.len() as u64 * share / 256) as usize])
        })
    }

    fn sync(&self, path: &str) -> DiskResult<()> {
        self.operate(SYNC, path, |s, _| {
            let ino = s.handle("sync", path)?;
            if s.faults.fail_syncs.hits(path, &mut s.rng) {
                s.sync_failed(path);
                return Err(os_error("sync", path, EIO));
            }
            let lies = s.faults.sync_lies;
            if let Some(body) = s.bodies.get_mut(&ino).filter(|_| !lies) {
                body.sync();
            }
            Ok(())
        })
    }

    fn close(&self, path: &str) {
        self.state().handles.remove(path);
    }

    fn sync_dir(&self, path: &str) -> DiskResult<()> {
        self.operate(SYNC_DIR, path, |s, _| {
            if !is_folder(path) {
                return Err(os_error("sync folder", path, EINVAL));
            }
            if !s.names.now.has_folder(path) {
                return Err(DiskError::NotFound(path.into()));
            }
            if s.faults.fail_syncs.hits(path, &mut s.rng) {
                s.names.sync_failed(path);
                return Err(os_error("sync folder", path, EIO));
            }
            if !s.faults.sync_lies {
                s.names.sync(path);
                if s.bodies.len() > 2 * s.names.now.files.len() + 64 {
                    s.collect();
                }
            }
            Ok(())
        })
    }

    fn read_at(&self, path: &str, offset: u64, len: usize) -> DiskResult<Vec<u8>> {
        self.operate(READ, path, |s, _| {
            s.may_read("read", path, is_path(path))?;
            let ino = s.file("read", path)?;
            let bytes = s.bodies.get(&ino).map_or(&[][..], Body::visible);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Ok(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
        })
    }

    fn read_medium(&self, path: &str, offset: u64, len: usize, into: &mut Buffer) -> DiskResult<()> {
        self.operate(READ, path, |s, _| {
            s.may_read("read", path, is_path(path))?;
            let ino = s.file("read", path)?;
            // What waits for its sync cannot be dropped from memory; what a failed sync left clean can.
            let bytes = s.bodies.get(&ino).map_or_else(Vec::new, Body::on_medium);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            into.truncate(0);
            into.extend_from_slice(&bytes[start..start.saturating_add(len).min(bytes.len())]);
            Ok(())
        })
    }

    fn len(&self, path: &str) -> DiskResult<u64> {
        self.operate(LEN, path, |s, _| {
            s.may_read("length of", path, is_path(path))?;
            let ino = s.file("length of", path)?;
            Ok(s.bodies.get(&ino).map_or(0, |b| b.visible().len() as u64))
        })
    }

    fn list(&self, path: &str) -> DiskResult<Vec<String>> {
        self.operate(LIST, path, |s, _| {
            s.may_read("list", path, is_folder(path))?;
            if !s.names.now.has_folder(path) {
                return Err(DiskError::NotFound(path.into()));
            }
            Ok(s.names.now.list(path))
        })
    }

    fn rename(&self, from: &str, to: &str) -> DiskResult<()> {
        self.operate(RENAME, from, |s, _| {
            s.note(to.as_bytes());
            s.may_write("rename", from, is_path(from) && is_path(to))?;
            let ino = s.file("rename", from)?;
            if s.names.now.has_folder(to) {
                return Err(os_error("rename to", to, EISDIR));
            }
            if !s.names.now.has_folder(parent(to)) {
                return Err(DiskError::NotFound(to.into()));
            }
            if from == to {
                return Ok(());
            }
            let replaced = s.names.now.files.get(to).copied();
            s.names.change(Change::Move { from: from.into(), to: to.into(), ino });
            s.handles.remove(to);
            if let Some(handle) = s.handles.remove(from) {
                s.handles.insert(to.into(), handle);
            }
            s.release(replaced);
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> DiskResult<()> {
        self.operate(REMOVE, path, |s, _| {
            s.may_write("remove", path, is_path(path))?;
            let ino = s.file("remove", path)?;
            s.names.change(Change::Unlink { path: path.into(), ino });
            s.handles.remove(path);
            s.release(Some(ino));
            Ok(())
        })
    }

    fn space(&self) -> DiskResult<Space> {
        self.operate(SPACE, "", |s, _| Ok(Space { total: s.capacity(), free: s.free() }))
    }
}
