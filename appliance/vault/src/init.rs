//! Making a vault: everything is checked before anything is written.
//!
//! Then labels and key slots on the disks, the state folder, and the first journal record through an ordinary mount.
//!
//! What decides whether the vault exists is one line of `box.json`, `born`: written last, after the first record was
//! acknowledged. Until then what was begun is taken back when something fails, and refused when the power went.

use crate::api::{IdentityKeys, InitOutcome, InitPlan, MakeAuthority};
use crate::beginnings::take_back;
use crate::clock::{SystemClock, SystemEntropy};
use crate::disk::{FsDisk, Holder, is_empty_dir, is_mount_point, same_file_system};
use crate::limits::Limits;
use crate::ports::{Clock, Disk, DiskError, Entropy};
use crate::shell::{House, Opening};
use crate::state::{BoxDisk, BoxFile, IDENTITY_FILE, KEYS_FILE, StateFolder};
use crate::survey::read_label;
use crate::{lane, layout};
use coffre_core::amount::ByteCount;
use coffre_core::fact::{Born, Fact};
use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::{BadGeometry, Geometry, MAX_DISKS};
use coffre_core::ids::{DiskId, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::label::Label;
use coffre_core::roster::Roster;
use coffre_core::slots::{new_identity, seal_root};
use coffre_core::words::RecoveryWords;
use std::fs;
use std::path::{Path, PathBuf};

/// What to do about a disk that somebody else holds.
pub(crate) const HELD_NEXT: &str =
    "one box at a time may have these disks: stop the other coffred, or let it serve them";
/// Longest name of a box, in characters: it stands in certificates.
const MAX_NAME_CHARS: usize = 40;

/// What was checked and will be made.
struct Checked {
    state: PathBuf,
    disks: Vec<PathBuf>,
    /// Has the disks from the first look until the vault is made.
    holder: Holder,
    _held: Vec<FsDisk>,
    geometry: Geometry,
    name: String,
    try_out: bool,
    warnings: Vec<String>,
}

/// See [`crate::init`].
pub(crate) fn init(plan: &InitPlan, make_authority: MakeAuthority<'_>) -> Result<InitOutcome> {
    // What an earlier one began with the same folders, and was cut off.
    take_back(&canonical(&plan.state)?, &plan.disks)?;
    let checked = check(plan)?;
    let state = StateFolder::new(&checked.state);
    let state_made = state.make()?;
    make(&checked, &state, make_authority).inspect_err(|_| undo(&checked, state_made))
}

fn check(plan: &InitPlan) -> Result<Checked> {
    let count = plan.disks.len();
    let chosen = Geometry::for_disks(count).ok_or_else(|| wrong_number(count))?;
    let geometry = plan.geometry.unwrap_or(chosen);
    if geometry.width() != count {
        return Err(Fault::misuse(BadGeometry::Disks { geometry, disks: count }.to_string())
            .next("give as many disks as K + M"));
    }
    let name = check_name(&plan.name)?;
    let state = check_state(&plan.state)?;
    let (holder, mut disks, mut held) = (Holder::default(), Vec::new(), Vec::new());
    for path in &plan.disks {
        let (full, disk) = check_disk(path, &holder)?;
        disks.push(full);
        held.push(disk);
    }
    check_apart(&state, &disks)?;
    let mut warnings = Vec::new();
    check_rooms(&disks, plan.try_out, &mut warnings)?;
    if !plan.try_out {
        check_file_systems(&state, &disks, &mut warnings)?;
    }
    if geometry.m() == 0 {
        let (with, mend) = match count {
            1 => ("one disk".to_owned(), "Add a second disk as soon as you can"),
            _ => (
                format!("the geometry {geometry}"),
                "Choose a geometry with parity, or none at all, for real backups",
            ),
        };
        warnings.push(format!(
            "with {with} no disk may be lost: whatever is on a disk that fails is gone. {mend}"
        ));
    }
    Ok(Checked { state, disks, holder, _held: held, geometry, name, try_out: plan.try_out, warnings })
}

/// Not the number of disks that a vault can have.
pub(crate) fn wrong_number(count: usize) -> Fault {
    let next =
        if count == 0 { "name at least one" } else { "leave some out; larger ones give the same room" };
    Fault::misuse(format!("a vault has 1 to {MAX_DISKS} disks, not {count}")).next(next)
}

fn check_name(name: &str) -> Result<String> {
    let name = name.trim();
    let fits =
        !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control);
    if fits {
        Ok(name.to_owned())
    } else {
        Err(Fault::misuse(format!("a box's name has 1 to {MAX_NAME_CHARS} printable characters")))
    }
}

/// The state folder's full path; it is missing or empty.
pub(crate) fn check_state(path: &Path) -> Result<PathBuf> {
    let full = canonical(path)?;
    check_text(&full)?;
    if full.exists() {
        if !full.is_dir() {
            return Err(Fault::misuse(format!("{} is not a folder", full.display()))
                .next("name a folder for the state"));
        }
        if full.join(crate::state::BOX_FILE).exists() {
            return Err(Fault::refused(format!("{} is the state folder of a vault already", full.display()))
                .next("choose another state folder; if init was cut off before it showed the words, start coffred and run `coffre words renew`"));
        }
        let empty = is_empty_dir(&full).map_err(|e| at(&full, &e))?;
        if !empty {
            return Err(Fault::refused(format!("the state folder {} is not empty", full.display()))
                .next("empty it yourself if nothing in it is needed, or choose another"));
        }
    }
    Ok(full)
}

/// A disk folder's full path; it exists and is empty, and `holder` has it for as long as what is returned lives.
pub(crate) fn check_disk(path: &Path, holder: &Holder) -> Result<(PathBuf, FsDisk)> {
    let shown = path.display();
    let full = match path.canonicalize() {
        Ok(full) if full.is_dir() => full,
        Ok(_) => return Err(Fault::misuse(format!("{shown} is not a folder")).next("name a folder")),
        Err(e) => {
            return Err(crate::state::trouble("cannot use the disk", path, &e)
                .next("mount the disk, or make the folder"));
        }
    };
    check_text(&full)?;
    let disk = FsDisk::attach(&full).map_err(|e| at(path, &e))?;
    disk.hold(holder).map_err(|e| at(path, &e))?;
    if let Ok(label) = read_label(&disk) {
        return Err(Fault::refused(format!("{shown} already belongs to vault {}", label.vault))
            .next("choose another disk; what is on this one would be lost"));
    }
    if !is_empty_dir(&full).map_err(|e| at(path, &e))? {
        return Err(Fault::refused(format!("{shown} is not empty"))
            .next("empty it yourself if nothing on it is needed, or choose another"));
    }
    Ok((full, disk))
}

/// Paths stand in `box.json`, which is text.
pub(crate) fn check_text(path: &Path) -> Result<()> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(Fault::misuse(format!("{} is not UTF-8", path.display())).next("rename the folder")),
    }
}

/// No two of these folders are the same or one inside the other.
pub(crate) fn check_apart(state: &Path, disks: &[PathBuf]) -> Result<()> {
    for (n, disk) in disks.iter().enumerate() {
        let shown = disk.display();
        if let Some(other) = disks[..n].iter().find(|other| overlap(disk, other)) {
            return Err(if *other == *disk {
                Fault::misuse(format!("the disk {shown} is named twice")).next("name each disk once")
            } else {
                Fault::misuse(format!("of {shown} and {} one is inside the other", other.display()))
                    .next("name folders that are apart")
            });
        }
        if overlap(disk, state) {
            return Err(Fault::misuse(format!(
                "of the disk {shown} and the state folder {} one is inside the other",
                state.display()
            ))
            .next("the state belongs on the system medium, not on a disk of the vault"));
        }
    }
    Ok(())
}

fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn check_file_systems(state: &Path, disks: &[PathBuf], warnings: &mut Vec<String>) -> Result<()> {
    let same = |a: &Path, b: &Path| same_file_system(a, b).map_err(|e| at(a, &e));
    // The state folder may be missing yet: what is above it is on the same file system.
    let home = state.ancestors().find(|p| p.exists()).unwrap_or(state);
    for (n, disk) in disks.iter().enumerate() {
        if disks.len() > 1 {
            check_mounted(home, disk)?;
        } else if on_system_medium(home, disk)? {
            warnings.push(format!(
                "{} is a folder on the medium of the system: if a disk should be mounted there, take this vault away, mount the disk and begin again",
                disk.display()
            ));
            continue;
        }
        for other in &disks[..n] {
            if same(disk, other)? {
                let pair = format!("{} and {}", other.display(), disk.display());
                return Err(Fault::refused(format!("{pair} are on one file system: one failure takes both"))
                    .next("name folders on different disks, mounted; or add --try-out to only try it out"));
            }
        }
        if same(home, disk)? {
            warnings.push(format!(
                "the state folder is on the same file system as the disk {}: keep it on the system medium",
                disk.display()
            ));
        }
    }
    Ok(())
}

/// `Refused` when a disk is a mere folder on the medium of the system: what is left when a mount was forgotten. That medium is
/// the one of `/`, and that of the state folder or of what is there of its path.
pub(crate) fn check_mounted(state: &Path, disk: &Path) -> Result<()> {
    if on_system_medium(state, disk)? {
        let shown = disk.display();
        return Err(Fault::refused(format!(
            "no disk is mounted at {shown}: it is a folder on the medium of the system"
        ))
        .next(
            "mount the disk there first; a part of the system's disk can serve as a partition of its own",
        ));
    }
    Ok(())
}

fn on_system_medium(state: &Path, disk: &Path) -> Result<bool> {
    let home = state.ancestors().find(|p| p.exists()).unwrap_or(state);
    let whole = |e: DiskError| at(disk, &e);
    if is_mount_point(disk).map_err(whole)? {
        return Ok(false);
    }
    let shares = |with: &Path| same_file_system(disk, with).map_err(whole);
    Ok(shares(Path::new("/"))? || shares(home)?)
}

/// Each disk has room for what the vault keeps for itself: without it the light would be red from the first day.
fn check_rooms(disks: &[PathBuf], try_out: bool, warnings: &mut Vec<String>) -> Result<()> {
    let limits = Limits::of(try_out);
    for disk in disks {
        let whole = |e: DiskError| at(disk, &e);
        let free = FsDisk::attach(disk).and_then(|d| d.space()).map_err(whole)?.free;
        let mut sharing = 0;
        for other in disks {
            sharing += u64::from(same_file_system(disk, other).map_err(whole)?);
        }
        let needed = limits.reserve + sharing * (limits.own_room() - limits.reserve);
        if free >= needed {
            continue;
        }
        let what = format!(
            "{} has {} free, and a vault keeps {} there for itself before it takes a backup",
            disk.display(),
            ByteCount(free),
            ByteCount(needed)
        );
        if !try_out {
            return Err(Fault::full(what).next("use a larger disk, or make room on it"));
        }
        warnings.push(format!("{what}. Backups will be refused"));
    }
    Ok(())
}

fn make(of: &Checked, state: &StateFolder, make_authority: MakeAuthority<'_>) -> Result<InitOutcome> {
    let (entropy, clock) = (SystemEntropy, SystemClock::default());
    let root = RootKey::new(draw(&entropy));
    let vault_id = VaultId(draw(&entropy));
    let roster: Vec<DiskId> = of.disks.iter().map(|_| DiskId(draw(&entropy))).collect();
    let words = RecoveryWords::from_entropy(draw(&entropy));
    let identity = new_identity(draw(&entropy));
    let keys = KeyRing::new(&root, vault_id);
    let created_ms = clock.wall_ms();
    let identity_keys =
        IdentityKeys { authority_scalar: keys.authority_scalar(), receipt_seed: keys.receipt_seed() };
    let authority_der = make_authority(&identity_keys, vault_id, &of.name, created_ms)?;
    let recipients = [new_identity(*words.entropy()).recipient(), identity.recipient()];
    let slots = seal_root(&root, vault_id, &recipients)?;
    for (disk, path) in roster.iter().zip(&of.disks) {
        let label = Label {
            vault: vault_id,
            disk: *disk,
            roster: Roster::first(roster.clone(), of.geometry),
            since: 0,
            try_out: of.try_out,
            created_ms,
            generation: 1,
            promised: 0,
        };
        write_disk(path, &slots, &label).map_err(|e| at(path, &e))?;
    }
    let places = roster.iter().zip(&of.disks).map(|(id, path)| BoxDisk { id: *id, path: path.clone() });
    let mut kept = BoxFile::new(vault_id, &of.name, of.geometry, created_ms);
    kept.try_out = of.try_out;
    kept.authority_der = hex::encode(&authority_der);
    kept.disks = places.collect();
    state.write(IDENTITY_FILE, format!("{}\n", identity.to_text().as_str()).as_bytes())?;
    state.write(KEYS_FILE, &slots)?;
    state.write_box(&kept)?;
    let born = Born { name: of.name.clone(), created_ms, authority_der: authority_der.clone().into() };
    be_born(state, born, of.holder.clone())?;
    kept.born = true;
    state.write_box(&kept)?;
    Ok(InitOutcome {
        vault_id,
        geometry: of.geometry,
        recovery_words: words.words(),
        authority_der,
        warnings: of.warnings.clone(),
    })
}

/// Key slots, folders, then the label: a disk that has a label has everything.
pub(crate) fn write_disk(path: &Path, slots: &[u8], label: &Label) -> std::result::Result<(), DiskError> {
    let disk = FsDisk::attach(path)?;
    disk.create(layout::KEYS)?;
    disk.write_at(layout::KEYS, 0, slots)?;
    disk.sync(layout::KEYS)?;
    disk.close(layout::KEYS);
    lane::format(&disk, label)?;
    disk.close(layout::LABEL);
    Ok(())
}

/// The first mount and the first record.
fn be_born(state: &StateFolder, born: Born, holder: Holder) -> Result<()> {
    let house = House::open(state.clone(), Opening::First, holder)?;
    let core = house.core();
    let away = house.disks().into_iter().find_map(|disk| disk.reason.map(|why| (disk.path, why)));
    let acked = match away {
        Some((path, why)) => {
            Err(Fault::transient(format!("{path}: {why}")).next("check that disk, then try again"))
        }
        None => core.wait(core.submit(vec![Fact::Born(born)], Vec::new())),
    };
    house.close();
    acked.map(|_| ())
}

/// Takes back what was begun.
fn undo(of: &Checked, state_made: bool) {
    of.disks.iter().for_each(|disk| undo_disk(disk));
    undo_state(&of.state, state_made);
}

/// Takes back what was begun on a disk. The folder was empty before, so everything of ours in it may go; the label first.
pub(crate) fn undo_disk(disk: &Path) {
    let remove = |path: PathBuf| {
        // What is not there, or cannot be removed, stays for a person to see.
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    };
    let names = [
        layout::LABEL,
        layout::KEYS,
        layout::JOURNAL,
        layout::CHECKPOINTS,
        layout::SHARDS,
        layout::QUARANTINE,
    ];
    names.iter().for_each(|name| remove(disk.join(name)));
}

/// Takes back what was begun in a state folder that was empty or missing before.
pub(crate) fn undo_state(state: &Path, made: bool) {
    use crate::state::{BOX_FILE, INDEX_DIR};
    for name in [BOX_FILE, IDENTITY_FILE, KEYS_FILE, layout::WITNESS] {
        let _ = fs::remove_file(state.join(name));
        let _ = fs::remove_file(state.join(format!("{name}.new")));
    }
    let _ = fs::remove_dir_all(state.join(INDEX_DIR));
    if made {
        let _ = fs::remove_dir(state);
    }
}

/// The full path, links resolved, of something that may not be there yet.
fn canonical(path: &Path) -> Result<PathBuf> {
    let whole = |e| crate::state::trouble("cannot use", path, &e);
    let path = std::path::absolute(path).map_err(whole)?;
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(&path);
    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
    let full = there.canonicalize().map_err(whole)?;
    Ok(if rest.as_os_str().is_empty() { full } else { full.join(rest) })
}

/// What a disk said, as a fault about its path.
pub(crate) fn at(path: &Path, e: &DiskError) -> Fault {
    let text = format!("{}: {e}", path.display());
    match e {
        DiskError::NotFound(_) | DiskError::Gone(_) => Fault::absent(text),
        DiskError::Exists(_) => Fault::refused(text),
        DiskError::Held(_) => Fault::refused(text).next(HELD_NEXT),
        DiskError::Full(_) => Fault::full(text),
        DiskError::Io { .. } => Fault::permanent(text),
    }
}

/// Random bytes for keys and ids.
pub(crate) fn draw<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}
