//! What a house looks at before it mounts: the labels, who holds the disks, the keys, the index.

use super::lookout::{Lookout, Sight};
use crate::disk::Holder;
use crate::engine::SlotState;
use crate::index::{MemIndex, StoredIndex};
use crate::layout;
use crate::ports::{Disk, Index};
use crate::state::{BoxFile, INDEX_DIR, KEYS_FILE, StateFolder};
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::Geometry;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::roster::{Standing, standing};
use coffre_core::slots::{MAX_SLOT_FILE_LEN, open_root};
use std::path::PathBuf;
use std::sync::Arc;

/// How often labels may turn out newer than a moment ago.
const MOST_LOOKS: usize = 4;

/// What shows before a mount.
pub(super) struct Seen {
    pub lookout: Lookout,
    pub sights: Vec<(DiskNo, Sight)>,
    pub standing: Standing,
}

/// Looks at every path the box knows, and lets the labels say which disks the vault has; `box.json` follows them.
pub(super) fn see(state: &StateFolder, of: &mut BoxFile, holder: &Holder) -> Result<Seen> {
    let mut labels = Lookout::new(of, holder).labels();
    for _ in 0..MOST_LOOKS {
        let standing = judge(of, labels.iter().map(|(_, l)| l));
        let seen: Vec<(DiskId, PathBuf)> = labels.iter().map(|(p, l)| (l.disk, p.clone())).collect();
        if of.follow(&standing.roster, &seen) {
            state.write_box(of)?;
        }
        let lookout = Lookout::new(of, holder);
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
    let remembered = of.remembered();
    let nobody = DiskId([0; 16]);
    // Of equal versions a label's holds: it also tells what was changed.
    let mut shown = vec![(nobody, &remembered)];
    shown.extend(labels.map(|l| (l.disk, &l.roster)));
    let geometry = of.geometry;
    let otherwise = || Standing { roster: remembered.clone(), geometry };
    standing(shown).unwrap_or_else(otherwise)
}

/// The vault's keys: from the slots in the state folder, or from those on any disk.
pub(super) fn open_keys(
    state: &StateFolder,
    of: &BoxFile,
    sights: &[(DiskNo, Sight)],
) -> Result<Arc<KeyRing>> {
    let identity = state.read_identity()?;
    let here = state.read(KEYS_FILE)?.map(|file| (state.file(KEYS_FILE).display().to_string(), file));
    let on_disks = sights.iter().filter_map(|(no, sight)| {
        let found = sight.as_ref().ok()?;
        let file = found.disk.read_at(layout::KEYS, 0, MAX_SLOT_FILE_LEN).ok()?;
        Some((format!("{} of disk {no}", layout::KEYS), file))
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
