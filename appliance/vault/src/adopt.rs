//! A new state folder for disks that live on: the board died, or the system medium.
//!
//! The recovery words open the key slots on any disk; a new identity for the box is made, and the slots are sealed again
//! for the words and for it. No witness is made here: what the old one remembered is not known, so the plain rules hold
//! until a mount with all disks begins a new one.

use crate::ballast;
use crate::clock::SystemEntropy;
use crate::disk::{FsDisk, Holder};
use crate::engine::{Engine, Mount};
use crate::init::{at, check_apart, check_state, check_text, draw, undo_state, wrong_number};
use crate::layout;
use crate::limits::Limits;
use crate::ports::{Disk, DiskError, DiskResult};
use crate::renew::{replace_slots, replace_whole};
use crate::state::{BoxDisk, BoxFile, IDENTITY_FILE, KEYS_FILE, StateFolder};
use crate::survey::{Images, NotOurs, Strange, Survey, peek_label, survey_sharing};
use coffre_core::fact::Born;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::geometry::{Geometry, MAX_DISKS};
use coffre_core::ids::{DiskNo, VaultId};
use coffre_core::keys::KeyRing;
use coffre_core::label::BadLabel;
use coffre_core::roster::{Roster, Standing, standing};
use coffre_core::slots::{MAX_SLOT_FILE_LEN, Slots, new_identity, open_slots, seal_slots};
use coffre_core::words::RecoveryWords;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptOutcome {
    /// The vault.
    pub vault_id: VaultId,
    /// The box's name, as the journal says.
    pub name: String,
    /// The vault's geometry.
    pub geometry: Geometry,
    /// Plain warnings for a person: disks that were not given.
    pub warnings: Vec<String>,
}

/// A disk that was given: what it shows, and where.
struct Given {
    disk: FsDisk,
    path: PathBuf,
    survey: Survey,
}

/// Makes a state folder for the vault on `disks`, which `words` must open. `Refused` when the disks are of different
/// vaults or the words are of another one, `Misuse` for words that cannot be, `Absent` for what is not a disk.
///
/// # Durability
/// On `Ok` the state folder and the new key slots on each given disk are durable. On failure the state folder is as it
/// was; a disk has its old key slots or the new ones, and the words open both.
pub fn adopt(state: &Path, disks: &[PathBuf], words: &[String]) -> Result<AdoptOutcome> {
    if disks.is_empty() || disks.len() > MAX_DISKS {
        return Err(wrong_number(disks.len()));
    }
    let recovery = new_identity(*RecoveryWords::parse(words)?.entropy());
    let full = check_state(state)?;
    let attached = attach(disks)?;
    let paths: Vec<PathBuf> = attached.iter().map(|a| a.1.clone()).collect();
    check_apart(&full, &paths)?;
    let opened = newest_slots(&attached, &recovery)?;
    let keys = Arc::new(KeyRing::new(&opened.root, opened.vault));
    let mut left_out = Vec::new();
    let given = read_disks(attached, &keys, &mut left_out)?;
    no_twins(&given)?;
    let standing = holding(&given)?;
    let born = read_birth(&given, &standing, &keys)?;
    let identity = new_identity(draw(&SystemEntropy));
    let slots = seal_slots(&opened, &[recovery.recipient(), identity.recipient()])?;
    let (kept, mut warnings) = box_file(&given, opened.vault, &standing.roster, &born);
    warnings.splice(..0, left_out);
    let folder = StateFolder::new(&full);
    let made = folder.make()?;
    let write = || -> Result<()> {
        folder.write(IDENTITY_FILE, format!("{}\n", identity.to_text().as_str()).as_bytes())?;
        folder.write(KEYS_FILE, &slots)?;
        for one in given.iter().filter(|g| standing.roster.number(g.survey.label.disk).is_some()) {
            give_slots(&one.disk, &slots).map_err(|e| at(&one.path, &e))?;
            explain(&one.disk);
        }
        folder.write_box(&kept)
    };
    write().inspect_err(|_| undo_state(&full, made))?;
    Ok(AdoptOutcome { vault_id: opened.vault, name: born.name, geometry: standing.roster.geometry, warnings })
}

/// A disk that is full has its ballast for such a day.
fn give_slots(disk: &FsDisk, slots: &[u8]) -> DiskResult<()> {
    match replace_slots(disk, slots) {
        Err(DiskError::Full(why)) => match ballast::release(disk) {
            Ok(true) => replace_slots(disk, slots),
            _ => Err(DiskError::Full(why)),
        },
        done => done,
    }
}

/// Takes the disks, each for this process alone.
fn attach(paths: &[PathBuf]) -> Result<Vec<(FsDisk, PathBuf)>> {
    let (mut attached, holder) = (Vec::new(), Holder::default());
    for path in paths {
        let full = path.canonicalize().map_err(|e| {
            crate::state::trouble("cannot use the disk", path, &e).next("mount the disk first")
        })?;
        check_text(&full)?;
        let disk = FsDisk::attach(&full).map_err(|e| at(path, &e))?;
        // A box that runs has them: its key slots are not changed under it.
        disk.hold(&holder).map_err(|e| at(path, &e))?;
        if let Err(e @ (NotOurs::Unlabelled | NotOurs::Disk(_))) = peek_label(&disk) {
            return Err(not_ours(path, &e));
        }
        attached.push((disk, full));
    }
    Ok(attached)
}

/// Reads what these disks show to somebody with the vault's keys. One whose label is damaged or forged is left out: what the others
/// say holds.
fn read_disks(
    attached: Vec<(FsDisk, PathBuf)>,
    keys: &KeyRing,
    left_out: &mut Vec<String>,
) -> Result<Vec<Given>> {
    let (mut given, mut trouble, images) = (Vec::new(), None, Images::default());
    for (disk, path) in attached {
        match survey_sharing(&disk, keys, &images) {
            Ok(survey) => {
                if survey.strange != Strange::default() {
                    let (shown, what) = (path.display(), survey.strange);
                    left_out.push(format!(
                        "{shown} has {what} that nobody with this vault's keys wrote: not believed"
                    ));
                }
                given.push(Given { disk, path, survey });
            }
            Err(NotOurs::OtherVault(vault)) => {
                let shown = path.display();
                return Err(Fault::refused(format!(
                    "these are disks of different vaults: the words open vault {}, and {shown} is of vault {vault}",
                    keys.vault()
                ))
                .next("name the disks of one vault"));
            }
            Err(e @ NotOurs::BadLabel(BadLabel::Damaged | BadLabel::Forged)) => {
                left_out.push(format!(
                    "{}: {e}: it is not used. When the box runs, empty it and put it in with `coffre disk replace`",
                    path.display()
                ));
                trouble = trouble.or(Some(not_ours(&path, &e)));
            }
            Err(e) => return Err(not_ours(&path, &e)),
        }
    }
    match trouble {
        Some(fault) if given.is_empty() => Err(fault),
        _ => Ok(given),
    }
}

/// Puts the note for people on a disk that lacks it. A disk that takes the slots and not the note is no trouble.
fn explain(disk: &FsDisk) {
    let text = layout::README_TEXT.as_bytes();
    if disk.len(layout::README).is_err() {
        let _ = replace_whole(disk, layout::README, text);
    }
}

fn not_ours(path: &Path, e: &NotOurs) -> Fault {
    let text = format!("{}: {e}", path.display());
    match e {
        NotOurs::Unlabelled => Fault::absent(text).next("mount the disk, or name its folder"),
        NotOurs::BadLabel(_) => Fault::corrupt(text).next("leave this disk out; the others are enough"),
        NotOurs::OtherVault(_) => Fault::refused(text),
        NotOurs::Disk(e) => at(path, e),
    }
}

/// No two of the disks are the same.
fn no_twins(given: &[Given]) -> Result<()> {
    for (n, one) in given.iter().enumerate() {
        if let Some(twin) = given[..n].iter().find(|g| g.survey.label.disk == one.survey.label.disk) {
            return Err(Fault::refused(format!(
                "{} and {} are the same disk: one is a copy",
                twin.path.display(),
                one.path.display()
            ))
            .next("name the one that was used last"));
        }
    }
    Ok(())
}

/// The roster that holds by the labels of these disks.
fn holding(given: &[Given]) -> Result<Standing> {
    standing(given.iter().map(|g| (g.survey.label.disk, &g.survey.label.roster))).ok_or_else(|| {
        Fault::refused("none of these disks has joined the vault yet: nothing is on them")
            .next("name the disks that were in use")
    })
}

/// The key slots that these words open; of several, those of the newest words.
fn newest_slots(
    attached: &[(FsDisk, PathBuf)],
    recovery: &coffre_core::slots::SlotIdentity,
) -> Result<Slots> {
    let mut trouble = Fault::absent("there are no key slots on any of these disks");
    let mut newest: Option<Slots> = None;
    for (disk, path) in attached {
        let file = disk.read_at(layout::KEYS, 0, MAX_SLOT_FILE_LEN).map_err(|e| at(path, &e));
        match file.and_then(|file| open_slots(&file, recovery)) {
            Ok(slots) if newest.as_ref().is_some_and(|n| n.vault != slots.vault) => {
                return Err(Fault::refused(
                    "these words open several vaults, and these are disks of different vaults",
                )
                .next("name the disks of one vault"));
            }
            Ok(slots) => {
                newest = newest.filter(|n| n.words_number >= slots.words_number).or(Some(slots));
            }
            Err(fault) => trouble = fault,
        }
    }
    newest.ok_or(trouble)
}

/// The first fact of the vault, from what these disks show. Nothing is mounted: the engine's orders are not carried out.
fn read_birth(given: &[Given], standing: &Standing, keys: &Arc<KeyRing>) -> Result<Born> {
    let of = |id| given.iter().find(|g| g.survey.label.disk == id).map(|g| g.survey.clone());
    let engine = Engine::mount(Mount {
        limits: Limits::STANDARD,
        flaws: Flaws::NONE,
        keys: keys.clone(),
        entropy: Arc::new(SystemEntropy),
        standing: standing.clone(),
        surveys: standing.roster.disks.iter().map(|id| of(*id)).collect(),
        witness: None,
        now_ms: 0,
        owner: [0; 16],
    })?;
    engine.catalog().born().cloned().ok_or_else(|| {
        Fault::corrupt("the journal on these disks does not tell how the vault began")
            .next("name more disks of this vault")
    })
}

fn box_file(given: &[Given], vault: VaultId, roster: &Roster, born: &Born) -> (BoxFile, Vec<String>) {
    let mut kept = BoxFile::new(vault, &born.name, roster.geometry, born.created_ms);
    kept.try_out = born.try_out;
    kept.born = true;
    kept.authority_der = hex::encode(&*born.authority_der);
    kept.roster_version = roster.version;
    let mut warnings = Vec::new();
    for (no, id) in (0u8..).map(DiskNo).zip(&roster.disks) {
        let path = given.iter().find(|g| g.survey.label.disk == *id).map(|g| g.path.clone());
        if path.is_none() {
            warnings.push(format!("disk {no} of this vault ({id}) was not given: when it is there, say where with `coffre disk find PATH`"));
        }
        kept.disks.push(BoxDisk { id: *id, path: path.unwrap_or_default() });
    }
    for left in given.iter().filter(|g| roster.number(g.survey.label.disk).is_none()) {
        let path = left.path.display();
        warnings.push(format!(
            "{path} was taken out of this vault: it is never written, and read from while something needs it"
        ));
        kept.look_also(left.path.clone());
    }
    (kept, warnings)
}
