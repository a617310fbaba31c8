//! New recovery words: key slots sealed anew, replaced whole on each disk, the newest of several copies found.
//!
//! The words are shown before anything changes, and a slot file carries their number. So a crash at any point leaves each
//! copy sealed for words that a person has on paper, the old ones or the new ones, and whoever finds copies that differ
//! may go on with the highest number: that finishes what was cut off, and brings a disk that was away, or a state
//! folder put back from a copy, up to date.
//!
//! The root key stays the same. Old words open nothing that is on the box from then on; with a copy of an old slot file from
//! elsewhere they open everything. Decision 0032 says why.

use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult};
use coffre_core::fault::Result;
use coffre_core::ids::VaultId;
use coffre_core::slots::{SlotIdentity, Slots, open_slots, seal_slots};

/// A slot file and what the box reads in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they hold.
    pub slots: Slots,
}

impl SlotFile {
    /// The file, if `own` opens it and it is of this vault.
    pub fn read(bytes: Vec<u8>, own: &SlotIdentity, vault: VaultId) -> Option<Self> {
        let slots = open_slots(&bytes, own).ok().filter(|slots| slots.vault == vault)?;
        Some(Self { bytes, slots })
    }

    /// The same root key under the next words: for whoever has them, and for the box.
    pub fn renewed(&self, words: &SlotIdentity, own: &SlotIdentity) -> Result<Self> {
        let next = self.slots.words_number.saturating_add(1);
        let slots = Slots { words_number: next, ..self.slots.clone() };
        let bytes = seal_slots(&slots, &[words.recipient(), own.recipient()])?;
        Ok(Self { bytes, slots })
    }
}

/// The copy with the newest words; of several, the first.
pub fn newest(copies: impl IntoIterator<Item = SlotFile>) -> Option<SlotFile> {
    copies.into_iter().reduce(
        |best, next| {
            if next.slots.words_number > best.slots.words_number { next } else { best }
        },
    )
}

/// Puts new key slots under the old name.
///
/// # Durability
/// On `Ok` they are on stable storage. After a crash or an error the old ones or the new ones are there, whole.
pub fn replace_slots(disk: &dyn Disk, slots: &[u8]) -> DiskResult<()> {
    replace_whole(disk, layout::KEYS, slots)
}

/// Puts a small file under its name, in the topmost folder, whatever was there before. Durability as above.
pub(crate) fn replace_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> DiskResult<()> {
    let fresh = format!("{name}.new");
    match disk.create(&fresh) {
        // Left over from an attempt that was cut off.
        Err(DiskError::Exists(_)) => {
            disk.remove(&fresh)?;
            disk.create(&fresh)?;
        }
        other => other?,
    }
    let written = disk.write_at(&fresh, 0, bytes).and_then(|_| disk.sync(&fresh));
    disk.close(&fresh);
    written?;
    disk.rename(&fresh, name)?;
    disk.sync_dir("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::keys::RootKey;
    use coffre_core::slots::{new_identity, seal_root};

    #[test]
    fn the_highest_number_holds_and_old_words_open_older_copies_only() {
        let vault = VaultId([5; 16]);
        let [own, old, new] = [1, 2, 3].map(|n| new_identity([n; 32]));
        let first =
            seal_root(&RootKey::new([7; 32]), vault, &[old.recipient(), own.recipient()]).expect("seals");
        let first = SlotFile::read(first, &own, vault).expect("ours");
        assert_eq!(SlotFile::read(first.bytes.clone(), &own, VaultId([6; 16])), None);
        let second = first.renewed(&new, &own).expect("seals");
        assert_eq!((first.slots.words_number, second.slots.words_number), (1, 2));
        assert_eq!(second.slots.root, first.slots.root);
        let again = newest([first.clone(), second.clone(), first.clone()]).expect("one of them");
        assert_eq!(again, second);
        assert!(open_slots(&second.bytes, &old).is_err() && open_slots(&second.bytes, &new).is_ok());
    }
}
