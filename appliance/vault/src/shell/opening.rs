//! What a house looks at before it mounts: the labels, who holds the disks, the keys, the index.

use super::lookout::{Lookout, Sight};
use crate::clock::SystemEntropy;
use crate::disk::{FsDisk, Holder};
use crate::engine::{Engine, Mount, SlotState};
use crate::index::{MemIndex, StoredIndex};
use crate::layout;
use crate::limits::Limits;
use crate::ports::{Disk, Index};
use crate::state::{BoxFile, INDEX_DIR, KEYS_FILE, StateFolder};
use crate::survey::Survey;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::Flaws;
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::roster::{FIRST_VERSION, Standing, is_plausible, standing};
use coffre_core::slots::{MAX_SLOT_FILE_LEN, open_root};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How often labels may turn out newer than a moment ago.
const MOST_LOOKS: usize = 4;
/// How long a disk may take to show its key slots.
const KEYS_CEILING_MS: u64 = 2_000;

/// What shows before a mount.
pub(super) struct Seen {
    pub lookout: Lookout,
    pub sights: Vec<(DiskNo, Sight)>,
    pub standing: Standing,
}

/// Looks at every path the box knows, and lets the labels say which disks the vault has; `box.json` follows them.
pub(super) fn see(
    state: &StateFolder,
    of: &mut BoxFile,
    keys: &Arc<KeyRing>,
    holder: &Holder,
) -> Result<Seen> {
    let mut labels = Lookout::new(of, keys, holder).labels();
    for _ in 0..MOST_LOOKS {
        let standing = judge(of, labels.iter().map(|(_, l)| l));
        let seen: Vec<(DiskId, PathBuf)> = labels.iter().map(|(p, l)| (l.disk, p.clone())).collect();
        if of.follow(&standing.roster, &seen) {
            state.write_box(of)?;
        }
        let lookout = Lookout::new(of, keys, holder);
        let sights = lookout.look(DiskSet::first(of.disks.len()), &[]);
        let found = || sights.iter().filter_map(|(_, s)| s.as_ref().ok());
        // Judged by the labels that were read together with the journals.
        let again = judge(of, found().map(|f| &f.survey.label));
        if again.roster.version <= standing.roster.version {
            let geometry = again.geometry;
            return Ok(Seen { lookout, sights, standing: Standing { geometry, ..standing } });
        }
        labels = found().map(|f| (f.path.clone(), f.survey.label.clone())).collect();
    }
    Err(Fault::transient("the disks' labels change while they are read").next("try again"))
}

/// `Refused` when others hold so many of the disks that nothing could be read from the rest: this is a second opening of a vault
/// that is in use. With more, those that are left serve, and the light says which are held.
pub(super) fn refuse_held(of: &BoxFile, sights: &[(DiskNo, Sight)], geometry: Geometry) -> Result<()> {
    let usable = sights.iter().filter(|(_, sight)| sight.is_ok()).count();
    let held = sights.iter().find_map(|(no, sight)| match sight {
        Err((SlotState::Held, why)) => Some((no, why)),
        _ => None,
    });
    let Some((no, why)) = held.filter(|_| usable < geometry.k()) else { return Ok(()) };
    let path = of.disks.get(no.ix()).map_or_else(String::new, |d| format!(" ({})", d.path.display()));
    Err(Fault::refused(format!("disk {no}{path} is not free: {why}")).next(crate::init::HELD_NEXT))
}

fn judge<'a>(of: &BoxFile, labels: impl Iterator<Item = &'a Label>) -> Standing {
    let labels: Vec<&Label> = labels.collect();
    let mut remembered = of.remembered();
    let promised = labels.iter().map(|l| l.promised).max();
    if promised.is_some_and(|epoch| !is_plausible(remembered.version, epoch)) {
        // A file that was changed: what the labels say holds, whatever it says.
        remembered.version = FIRST_VERSION;
    }
    let nobody = DiskId([0; 16]);
    // Of equal versions a label's holds: it also tells what was changed.
    let mut shown = vec![(nobody, &remembered)];
    shown.extend(labels.iter().map(|l| (l.disk, &l.roster)));
    let geometry = of.geometry;
    standing(shown).unwrap_or_else(|| Standing { roster: remembered.clone(), geometry })
}

/// The vault's keys: from the slots in the state folder, or from those on any disk. Nothing on a disk is believed before.
pub(super) fn open_keys(state: &StateFolder, of: &BoxFile) -> Result<Arc<KeyRing>> {
    let identity = state.read_identity()?;
    let here = state.read(KEYS_FILE)?.map(|file| (state.file(KEYS_FILE).display().to_string(), file));
    let on_disks = of.paths().into_iter().filter_map(|path| {
        let file = slots_at(path.clone())?;
        Some((path.join(layout::KEYS).display().to_string(), file))
    });
    let mut trouble =
        Fault::corrupt(format!("{} is missing, and on every disk as well", state.file(KEYS_FILE).display()));
    for (place, file) in here.into_iter().chain(on_disks) {
        match open_root(&file, &identity) {
            Ok((vault, root)) if vault == of.vault_id => return Ok(Arc::new(KeyRing::new(&root, vault))),
            Ok((vault, _)) => trouble = Fault::corrupt(format!("{place} is of another vault ({vault})")),
            Err(fault) => trouble = Fault::corrupt(format!("{place}: {}", fault.what)),
        }
    }
    Err(trouble.next("make the state folder anew with `coffre adopt` and the recovery words"))
}

/// The slot file of whatever is at a path; a disk that hangs has none.
fn slots_at(path: PathBuf) -> Option<Vec<u8>> {
    let (tell, told) = channel();
    let read = move || FsDisk::attach(&path).ok()?.read_at(layout::KEYS, 0, MAX_SLOT_FILE_LEN).ok();
    // Whoever asked may have stopped waiting.
    let look = move || drop(tell.send(read()));
    std::thread::Builder::new().name("look-keys".into()).spawn(look).ok()?;
    told.recv_timeout(Duration::from_millis(KEYS_CEILING_MS)).ok().flatten()
}

/// Whether the disks show a vault that began, whatever `box.json` says of it. `None`: nothing of it shows, and not all disks are here
/// to tell. Nothing is written.
pub(super) fn was_born(
    keys: &Arc<KeyRing>,
    standing: &Standing,
    sights: &[(DiskNo, Sight)],
) -> Result<Option<bool>> {
    let surveys: Vec<Option<Survey>> =
        sights.iter().map(|(_, sight)| sight.as_ref().ok().map(|found| found.survey.clone())).collect();
    let whole = surveys.iter().all(Option::is_some);
    let engine = Engine::mount(Mount {
        limits: Limits::STANDARD,
        flaws: Flaws::NONE,
        keys: keys.clone(),
        entropy: Arc::new(SystemEntropy),
        standing: standing.clone(),
        surveys,
        witness: None,
        now_ms: 0,
        owner: [0; 16],
    })?;
    let born = engine.catalog().born().is_some();
    Ok((born || whole).then_some(born))
}

/// The index; when its folder cannot be used at all, one in memory: opening the vault never depends on it.
pub(super) fn open_index(state: &StateFolder) -> Arc<dyn Index> {
    match StoredIndex::open(&state.file(INDEX_DIR)) {
        Ok(opened) => Arc::new(opened.index),
        Err(e) => {
            tracing::error!("{e}: going on with an index in memory");
            Arc::new(MemIndex::default())
        }
    }
}
