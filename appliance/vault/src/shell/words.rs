//! The recovery words of the open vault: drawn, checked, renewed, and the key slots of all copies kept the same.

use super::house::{House, Mounted};
use super::prober::in_state;
use crate::core::lock;
use crate::layout;
use crate::ports::DiskResult;
use crate::renew::{SlotFile, newest, replace_slots};
use crate::state::KEYS_FILE;
use coffre_core::diskset::DiskSet;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::DiskNo;
use coffre_core::keys::KeyRing;
use coffre_core::slots::{MAX_SLOT_FILE_LEN, SlotIdentity, new_identity, open_slots};
use coffre_core::wire::DiskState;
use coffre_core::words::RecoveryWords;

impl House {
    /// See [`Vault::draw_words`](crate::Vault::draw_words).
    pub fn draw_words(&self) -> Vec<String> {
        let mut entropy = [0; 32];
        self.entropy.fill(&mut entropy);
        RecoveryWords::from_entropy(entropy).words()
    }

    /// See [`Vault::renew_words`](crate::Vault::renew_words). The state folder comes first: what it has is what every disk
    /// is brought to, also those that fail now.
    pub fn renew_words(&self, words: &[String]) -> Result<Vec<u8>> {
        let words = new_identity(*RecoveryWords::parse(words)?.entropy());
        let _one_at_a_time = lock(&self.admin);
        self.open_for_work()?;
        let mounted = self.mounted();
        let own = self.state.read_identity()?;
        let here = self.slots_here(&own);
        let on_disks = attached(&mounted).iter().filter_map(|no| self.slots_on(&mounted, no, &own).ok()?);
        let now = newest(here.into_iter().chain(on_disks))
            .filter(|now| self.is_our_key(now))
            .ok_or_else(|| Fault::corrupt("no key slots can be read, neither here nor on a disk"))?;
        let renewed = now.renewed(&words, &own)?;
        self.state.write(KEYS_FILE, &renewed.bytes)?;
        *lock(&self.slots_current) = DiskSet::EMPTY;
        let taken = self.give(&mounted, attached(&mounted), &renewed);
        if taken.is_empty() {
            return Err(Fault::unknown(
                "the state folder has the key slots for the new words, and no disk took them",
            )
            .next("keep both papers, look at the disks, and renew the words again"));
        }
        let all = (0..self.of().disks.len() as u8).map(DiskNo);
        Ok(all.filter(|no| !taken.has(*no)).map(DiskNo::told).collect())
    }

    /// See [`Vault::check_words`](crate::Vault::check_words).
    pub fn check_words(&self, words: &[String]) -> Result<()> {
        let identity = new_identity(*RecoveryWords::parse(words)?.entropy());
        let mounted = self.mounted();
        let here = self.state.read(KEYS_FILE)?;
        let number = self.state.read_identity().ok().and_then(|own| self.slots_here(&own));
        let number = number.map_or(0, |slots| slots.slots.words_number);
        let on_disks = mounted.crew.lanes.iter().filter_map(|lanes| {
            lanes.ask(self.limits.hang_ms, |disk| disk.read_at(layout::KEYS, 0, MAX_SLOT_FILE_LEN)).ok()
        });
        let mut trouble = Fault::absent("there are no key slots in the state folder nor on any disk");
        for file in here.into_iter().chain(on_disks) {
            match open_slots(&file, &identity) {
                Ok(slots) if slots.words_number < number => {
                    trouble = Fault::refused("these words were renewed: they open an old copy only")
                        .next("take the paper with the newest words");
                }
                Ok(slots) => {
                    let same = slots.vault == self.of().vault_id
                        && self.is_our_key(&SlotFile { bytes: file, slots });
                    let other = || Fault::refused("these words open another vault");
                    return if same { Ok(()) } else { Err(other()) };
                }
                Err(fault) => trouble = fault,
            }
        }
        Err(trouble)
    }

    /// Brings the key slots of disks that came, or that missed a renewal, to the newest words; the state folder too, when
    /// a disk has newer ones. Costs nothing while all are known to be the same.
    pub(super) fn keep_slots_alike(&self, mounted: &Mounted) {
        let there = attached(mounted);
        // Whoever renews the words right now has the lock; there is another probe soon.
        let Ok(_one_at_a_time) = self.admin.try_lock() else { return };
        let unknown: DiskSet = {
            let mut current = lock(&self.slots_current);
            *current = current.iter().filter(|no| there.has(*no)).collect();
            there.iter().filter(|no| !current.has(*no)).collect()
        };
        if unknown.is_empty() {
            return;
        }
        let Ok(own) = self.state.read_identity() else { return };
        let here = self.slots_here(&own);
        let on_disks: Vec<(DiskNo, Option<SlotFile>)> =
            unknown.iter().filter_map(|no| Some((no, self.slots_on(mounted, no, &own).ok()?))).collect();
        for (no, _) in on_disks.iter().filter(|(_, file)| file.is_none()) {
            if let Some(id) = mounted.core.roster.get(no.ix()) {
                let what = "key slots (keys.age) that are damaged or".to_owned();
                self.strangers.note(*id, what, self.clock.mono_ms());
            }
        }
        let copies = here.iter().cloned().chain(on_disks.iter().filter_map(|(_, file)| file.clone()));
        let Some(best) = newest(copies).filter(|best| self.is_our_key(best)) else { return };
        if here.as_ref() != Some(&best) {
            tracing::warn!("the state folder had older key slots than a disk: replaced");
            if self.state.write(KEYS_FILE, &best.bytes).is_err() {
                return;
            }
            *lock(&self.slots_current) = DiskSet::EMPTY;
        }
        let (alike, others): (Vec<_>, Vec<_>) =
            on_disks.into_iter().partition(|(_, file)| file.as_ref() == Some(&best));
        let alike: DiskSet = alike.into_iter().map(|(no, _)| no).collect();
        let given = self.give(mounted, others.into_iter().map(|(no, _)| no).collect(), &best);
        given.iter().for_each(|no| tracing::info!("disk {no} has the newest key slots now"));
        let mut current = lock(&self.slots_current);
        *current = current.iter().chain(alike.iter()).collect();
    }

    /// Writes the slots on these disks; says which have them now.
    fn give(&self, mounted: &Mounted, disks: DiskSet, slots: &SlotFile) -> DiskSet {
        let give = |no: &DiskNo| {
            let bytes = slots.bytes.clone();
            let given =
                mounted.crew.lanes[no.ix()].ask(self.limits.hang_ms, move |disk| replace_slots(disk, &bytes));
            if let Err(e) = &given {
                tracing::warn!("disk {no} did not take the key slots: {e}");
            }
            given.is_ok()
        };
        let given: DiskSet = disks.iter().filter(give).collect();
        let mut current = lock(&self.slots_current);
        *current = current.iter().chain(given.iter()).collect();
        given
    }

    fn slots_here(&self, own: &SlotIdentity) -> Option<SlotFile> {
        SlotFile::read(self.state.read(KEYS_FILE).ok()??, own, self.of().vault_id)
    }

    /// `Ok(None)`: the disk has none that we can open, or none at all.
    fn slots_on(&self, mounted: &Mounted, no: DiskNo, own: &SlotIdentity) -> DiskResult<Option<SlotFile>> {
        let read = mounted.crew.lanes[no.ix()].ask(self.limits.hang_ms, |disk| {
            match disk.read_at(layout::KEYS, 0, MAX_SLOT_FILE_LEN) {
                Err(crate::ports::DiskError::NotFound(_)) => Ok(None),
                other => other.map(Some),
            }
        });
        Ok(read?.and_then(|bytes| SlotFile::read(bytes, own, self.of().vault_id)))
    }

    /// Whether this is the root key that the vault runs with: nothing else is ever spread.
    fn is_our_key(&self, file: &SlotFile) -> bool {
        KeyRing::new(&file.slots.root, self.of().vault_id).receipt_seed() == self.keys.receipt_seed()
    }
}

fn attached(mounted: &Mounted) -> DiskSet {
    in_state(&mounted.core.report(), &[DiskState::Active, DiskState::CatchingUp])
}
