//! The state folder as the vault uses it: what the box must know before it has seen a disk.
//!
//! ```text
//! STATE/box.json       the vault, its disks and where they were last        0600
//! STATE/box.identity   the box's own X25519 secret, opens keys.age          0600
//! STATE/keys.age       the key slots, the same as on each disk              0600
//! STATE/witness        two slots, written in place                          0600
//! STATE/scrub          where the scrub stands, what is damaged; made again    0600
//! STATE/index/         hints; may be deleted at any time
//! ```
//! Small files are replaced whole (new file, sync, rename, sync of the folder), so that a crash leaves the old or the
//! new one. The witness alone is written in place: its two slots do the same, and it is written often.

use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskId, VaultId};
use coffre_core::roster::{FIRST_VERSION, Roster};
use coffre_core::slots::SlotIdentity;
use coffre_core::witness::{WITNESS_LEN, Witness};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the box knows of its vault.
pub const BOX_FILE: &str = "box.json";
/// The box's own secret.
pub const IDENTITY_FILE: &str = "box.identity";
/// The key slots.
pub const KEYS_FILE: &str = crate::layout::KEYS;
/// Where the scrub stands, and what is known to be damaged.
pub const SCRUB_FILE: &str = "scrub";
/// Folder of the index.
pub const INDEX_DIR: &str = "index";

/// Version of [`BoxFile`] that this program writes and reads.
const BOX_FORMAT: u32 = 1;
/// Most folders that are looked at besides those of the roster.
const MAX_PLACES: usize = 8;
/// Longest small file that is read, whatever a damaged folder says.
const MAX_FILE_LEN: u64 = 1 << 20;

/// A disk of the roster and where it was last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxDisk {
    /// Its id.
    pub id: DiskId,
    /// Where to look for it first; empty when that is not known.
    pub path: PathBuf,
}

/// What the box knows of its vault: `box.json`. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxFile {
    /// Version of this file.
    pub format: u32,
    /// The vault.
    pub vault_id: VaultId,
    /// The box's name.
    pub name: String,
    /// Whether it is a try-out.
    pub try_out: bool,
    /// The vault's geometry.
    pub geometry: Geometry,
    /// When the vault was made, ms since 1970.
    pub created_ms: u64,
    /// Whether its first journal record was acknowledged. While it is not, init was cut off.
    pub born: bool,
    /// Certificate of the box's authority, DER in hexadecimal digits: the doors open even with all disks away.
    pub authority_der: String,
    /// Version of the roster below, as the labels had it when it was written.
    #[serde(default)]
    pub roster_version: u64,
    /// All disks, in roster order.
    pub disks: Vec<BoxDisk>,
    /// Other folders to look at: of a disk that comes in, of disks that were taken out.
    #[serde(default)]
    pub places: Vec<PathBuf>,
}

/// What to do where no state folder is: it may be lost, and then nobody may be sent to make another vault.
pub const STATE_LOST: &str = "name its state folder with --state; if that is lost, make it anew from the disks with `coffre adopt` and the recovery words";

/// A state folder; looks at nothing by itself.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
    /// Small files whose last writing failed, and why.
    unwritten: Arc<Mutex<BTreeMap<String, String>>>,
}

impl BoxFile {
    /// A file of the format that this program writes, for a vault not born yet.
    pub fn new(vault_id: VaultId, name: &str, geometry: Geometry, created_ms: u64) -> Self {
        let (name, disks) = (name.to_owned(), Vec::new());
        let (try_out, born, authority_der) = (false, false, String::new());
        Self {
            format: BOX_FORMAT,
            vault_id,
            name,
            try_out,
            geometry,
            created_ms,
            born,
            authority_der,
            roster_version: FIRST_VERSION,
            disks,
            places: Vec::new(),
        }
    }

    /// The roster as it is remembered. Labels tell more: what the newest change was.
    pub fn remembered(&self) -> Roster {
        Roster { version: self.roster_version, disks: self.roster(), geometry: self.geometry, change: None }
    }

    /// Takes in the roster that holds. `seen`: where disks showed. Says whether anything is different now: then it must be
    /// written.
    pub fn follow(&mut self, roster: &Roster, seen: &[(DiskId, PathBuf)]) -> bool {
        if roster.disks == self.roster() && roster.version == self.roster_version {
            return false;
        }
        let known = |id: &DiskId| self.disks.iter().find(|d| d.id == *id).map(|d| d.path.clone());
        let shown = |id: &DiskId| seen.iter().find(|s| s.0 == *id).map(|s| s.1.clone());
        let disks: Vec<BoxDisk> = roster
            .disks
            .iter()
            .map(|id| BoxDisk { id: *id, path: known(id).or_else(|| shown(id)).unwrap_or_default() })
            .collect();
        let left = self.disks.iter().filter(|d| roster.number(d.id).is_none()).map(|d| d.path.clone());
        let places: Vec<PathBuf> = self.places.iter().cloned().chain(left).collect();
        self.places = Vec::new();
        self.disks = disks;
        places.into_iter().for_each(|path| self.look_also(path));
        self.geometry = roster.geometry;
        self.roster_version = roster.version;
        true
    }

    /// One more folder to look at, unless it is looked at anyway.
    pub fn look_also(&mut self, path: PathBuf) {
        let known = self.places.contains(&path) || self.disks.iter().any(|d| d.path == path);
        if !known && !path.as_os_str().is_empty() {
            self.places.push(path);
            let surplus = self.places.len().saturating_sub(MAX_PLACES);
            self.places.drain(..surplus);
        }
    }

    /// All folders to look at: first that of each disk in roster order, then the others.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disks.iter().map(|d| d.path.clone()).chain(self.places.iter().cloned()).collect()
    }

    /// All disks' ids, in roster order.
    pub fn roster(&self) -> Vec<DiskId> {
        self.disks.iter().map(|d| d.id).collect()
    }

    /// The authority's certificate.
    pub fn authority(&self) -> Vec<u8> {
        hex::decode(&self.authority_der).unwrap_or_default()
    }

    fn check(&self) -> std::result::Result<(), String> {
        let roster = self.roster();
        let twice = |(i, id): (usize, &DiskId)| roster[..i].contains(id);
        match () {
            () if self.format != BOX_FORMAT => Err(format!("it has format {}, not 1", self.format)),
            () if roster.len() != self.geometry.width() => {
                Err(format!("it names {} disks for the geometry {}", roster.len(), self.geometry))
            }
            () if roster.iter().enumerate().any(twice) => Err("it names one disk twice".into()),
            () => Ok(()),
        }
    }
}

impl StateFolder {
    /// The state folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), unwritten: Arc::default() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder (0700) and those above it, durably; says whether it was missing.
    pub fn make(&self) -> Result<bool> {
        let missing = !self.path.exists();
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.path);
        made.map_err(|e| trouble("cannot make the state folder", &self.path, &e))?;
        if missing && let Some(above) = self.path.parent() {
            // A parent that cannot be synced (no right to read it) is no reason to fail: the folder is there.
            let _ = File::open(above).and_then(|f| f.sync_all());
        }
        Ok(missing)
    }

    /// Takes from others what they may do with the folder (0700) and the small files in it (0600): a copy put back by hand is
    /// often open to all. What cannot be changed is told in the log.
    pub fn tighten(&self) {
        let small = [BOX_FILE, IDENTITY_FILE, KEYS_FILE, crate::layout::WITNESS, SCRUB_FILE];
        let files = small.iter().map(|name| (self.file(name), 0o600));
        for (path, mode) in std::iter::once((self.path.clone(), 0o700)).chain(files) {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let open = meta.permissions().mode() & 0o7777;
            if meta.is_symlink() || open & 0o077 == 0 {
                continue;
            }
            let shown = path.display();
            match fs::set_permissions(&path, fs::Permissions::from_mode(mode)) {
                Ok(()) => tracing::warn!("{shown} was open to others ({open:04o}): {mode:04o} now"),
                Err(e) => tracing::error!("{shown} is open to others ({open:04o}), and it stays so: {e}"),
            }
        }
    }

    /// Writes a small file.
    ///
    /// # Durability
    /// On `Ok` the new file is on stable storage whole; after a crash the old or the new one is there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (target, fresh) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &target)?;
            File::open(&self.path)?.sync_all()
        };
        let written = write();
        let mut unwritten = crate::core::lock(&self.unwritten);
        match &written {
            Ok(()) => unwritten.remove(name),
            Err(e) => unwritten.insert(name.to_owned(), e.to_string()),
        };
        written.map_err(|e| trouble("cannot write", &target, &e))
    }

    /// Small files whose last writing failed, and why.
    pub fn unwritten(&self) -> Vec<(String, String)> {
        let unwritten = crate::core::lock(&self.unwritten);
        unwritten.iter().map(|(name, why)| (name.clone(), why.clone())).collect()
    }

    /// Writes `box.json`. Durability as in [`write`](Self::write).
    pub fn write_box(&self, of: &BoxFile) -> Result<()> {
        let not_text = |e| {
            Fault::misuse(format!("{BOX_FILE} cannot be written: {e}"))
                .next("give the disks' folders names in UTF-8")
        };
        let mut bytes = serde_json::to_vec_pretty(of).map_err(not_text)?;
        bytes.push(b'\n');
        self.write(BOX_FILE, &bytes)
    }

    /// Reads `box.json`. `Absent` when there is none: no vault was made here.
    pub fn read_box(&self) -> Result<BoxFile> {
        let path = self.file(BOX_FILE);
        let Some(bytes) = self.read(BOX_FILE)? else {
            return Err(
                Fault::absent(format!("there is no vault in {}", self.path.display())).next(STATE_LOST)
            );
        };
        let damaged = |why: String| {
            Fault::corrupt(format!("{} is damaged: {why}", path.display()))
                .next("put it back from a copy, or make it anew with `coffre adopt` and the recovery words")
        };
        let of: BoxFile = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if of.format > BOX_FORMAT {
            return Err(Fault::refused(format!("{} was written by a newer Coffre", path.display()))
                .next("run that version"));
        }
        of.check().map_err(damaged)?;
        Ok(of)
    }

    /// Reads the box's own secret.
    pub fn read_identity(&self) -> Result<SlotIdentity> {
        let path = self.file(IDENTITY_FILE);
        let next = "make the state folder anew with `coffre adopt` and the recovery words";
        let Some(bytes) = self.read(IDENTITY_FILE)? else {
            return Err(Fault::corrupt(format!("{} is missing", path.display())).next(next));
        };
        let damaged =
            |why: &dyn std::fmt::Display| Fault::corrupt(format!("{}: {why}", path.display())).next(next);
        let text = std::str::from_utf8(&bytes).map_err(|e| damaged(&e))?;
        text.parse().map_err(|e: Fault| damaged(&e.what))
    }

    /// What the witness remembers; `None` when there is none, or none that can be read.
    pub fn read_witness(&self, vault: VaultId) -> Option<Witness> {
        let bytes = self.read(crate::layout::WITNESS).ok().flatten()?;
        let found = Witness::decode(vault, &bytes[..bytes.len().min(WITNESS_LEN)]);
        if found.is_none() {
            tracing::warn!("{}: no valid witness of this vault in it", self.file("witness").display());
        }
        found
    }

    /// A small file; `None` when there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.file(name);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(MAX_FILE_LEN).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(trouble("cannot read", &path, &e)),
        }
    }
}

/// What the system said of a path of the state, as a fault.
pub(crate) fn trouble(what: &str, path: &Path, e: &io::Error) -> Fault {
    let text = format!("{what} {}: {e}", path.display());
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            Fault::refused(text).next("run this as the owner of the box, or as root")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Fault::full(text).next("free space on the system medium")
        }
        io::ErrorKind::NotFound => Fault::absent(text),
        _ => Fault::permanent(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    fn sample() -> BoxFile {
        let geometry = Geometry::for_disks(2).expect("two");
        let mut of = BoxFile::new(VaultId([1; 16]), "office", geometry, 5);
        of.disks = (0..2).map(|n| BoxDisk { id: DiskId([n; 16]), path: format!("/d{n}").into() }).collect();
        of
    }

    #[test]
    fn written_whole_and_for_the_owner_alone() {
        let scratch = tempfile::tempdir().expect("scratch");
        let state = StateFolder::new(scratch.path().join("a/state"));
        assert!(state.make().expect("made") && !state.make().expect("there"));
        state.write_box(&sample()).expect("written");
        assert_eq!(state.read_box().expect("read"), sample());
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(state.path()), mode(&state.file(BOX_FILE))), (0o700, 0o600));
        assert!(!state.file("box.json.new").exists());
    }

    #[test]
    fn it_follows_the_roster_of_the_labels_and_goes_on_looking_where_a_disk_left() {
        let mut of = sample();
        assert!(!of.follow(&of.remembered(), &[]));
        let new = DiskId([9; 16]);
        let changed = of.remembered().with_replaced(coffre_core::ids::DiskNo(0), new);
        of.look_also("/new".into());
        assert!(of.follow(&Roster { version: 7, ..changed.clone() }, &[(new, "/new".into())]));
        assert_eq!((of.roster(), of.roster_version), (changed.disks, 7));
        assert_eq!(of.paths(), ["/new", "/d1", "/d0"].map(PathBuf::from));
        (0..20).for_each(|n| of.look_also(format!("/more{n}").into()));
        assert_eq!(of.places.len(), MAX_PLACES);
        assert_eq!(of.check(), Ok(()));
    }

    #[test]
    fn what_is_missing_or_damaged_says_which_file() {
        let scratch = tempfile::tempdir().expect("scratch");
        let state = StateFolder::new(scratch.path());
        assert_eq!(state.read_box().expect_err("none").class, Class::Absent);
        let identity = state.read_identity().expect_err("none");
        assert!(identity.class == Class::Corrupt && identity.what.contains(IDENTITY_FILE), "{identity}");
        let mut one_short = sample();
        one_short.disks.pop();
        let mut twice = sample();
        twice.disks[1] = twice.disks[0].clone();
        let text = |of: &BoxFile| serde_json::to_string(of).expect("text");
        for bad in ["{", "[]", &text(&one_short), &text(&twice)] {
            state.write(BOX_FILE, bad.as_bytes()).expect("written");
            let fault = state.read_box().expect_err("damaged");
            assert!(fault.class == Class::Corrupt && fault.what.contains(BOX_FILE), "{fault}");
        }
        let newer = BoxFile { format: 2, ..sample() };
        state.write(BOX_FILE, text(&newer).as_bytes()).expect("written");
        assert_eq!(state.read_box().expect_err("newer").class, Class::Refused);
        state.write(IDENTITY_FILE, b"AGE-SECRET-KEY-nothing").expect("written");
        assert_eq!(state.read_identity().expect_err("damaged").class, Class::Corrupt);
        assert_eq!(state.read_witness(VaultId([1; 16])), None);
    }
}
