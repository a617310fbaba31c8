//! What a disk's lanes do: one job after the other, each a short walk of disk operations with its own durability.
//!
//! Two of a disk's lanes have jobs: the journal's and the one for bulk. Reading goes through a third one, without jobs. The
//! same code runs on a thread per lane and in the simulator, where a power cut may strike at any operation.

mod audit;
mod guard;
mod prepare;

pub use audit::Audit;
pub use guard::Guard;
pub use prepare::Prepare;

use crate::ballast;
use crate::inspect::{Damage, Wanted};
use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult, EntryKind};
use crate::survey::{Tip, numbers};
use coffre_core::bytes::BLOCK;
use coffre_core::coord::{Anchor, Spot};
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::PackId;
use coffre_core::keys::KeyRing;
use coffre_core::label::Label;
use coffre_core::scrub::Thing;
use coffre_core::shard::{EncodedPack, Rebuilt};
use std::sync::Arc;

/// Most shards made again and not proved that are removed from a folder at once: the disk must answer in time.
const MOST_UNPROVED: usize = 10_000;

/// Something for a disk to do. Durable when it returns `Ok`, each of them.
#[derive(Clone, Debug)]
pub enum Job {
    /// Write the label into its slot; with what the journal ended with when it was read, only if it still does.
    Label(Label, Option<Tip>),
    /// Make the journal one without holes that ends where it must.
    Prepare(Arc<Prepare>),
    /// Write journal records at their places.
    Journal {
        /// Runs of adjoining bytes.
        pieces: Vec<(Spot, Vec<u8>)>,
        /// Length of a segment file.
        segment_len: u32,
        /// Whose disk it must still be.
        guard: Guard,
    },
    /// Write a shard.
    Shard {
        /// The pack.
        pack: Arc<EncodedPack>,
        /// Which of its shards.
        shard: usize,
    },
    /// Write a shard that was made again, prove it by reading it back, and only then put it in its place.
    Heal {
        /// The shard.
        shard: Arc<Rebuilt>,
        /// What it must be.
        wanted: Arc<Wanted>,
    },
    /// Make durable what a shard's file shows, and read it from end to end.
    Prove(Arc<Wanted>),
    /// Remove a pack's shard; fine if there is none.
    RemoveShard(PackId),
    /// Write a checkpoint.
    Checkpoint {
        /// What it stands for.
        anchor: Anchor,
        /// Its file.
        image: Arc<Vec<u8>>,
    },
    /// Forget journal segments and checkpoints before an anchor whose checkpoint this disk has.
    Forget {
        /// The anchor.
        anchor: Anchor,
        /// Whose disk it must still be.
        guard: Guard,
    },
    /// List the shards there are.
    ListShards,
    /// Compare label, journal and checkpoint with what they must be, and write right what is wrong.
    Audit(Arc<Audit>),
    /// Have ballast of this length, if there is room for it.
    Ballast(u64),
}

/// Makes an empty disk one of a vault: its folders, so that none is ever made later, then its label.
///
/// # Durability
/// Everything is durable on `Ok`.
pub fn format(disk: &dyn Disk, label: &Label, keys: &KeyRing) -> DiskResult<()> {
    for dir in [layout::JOURNAL, layout::CHECKPOINTS, layout::QUARANTINE, layout::SHARDS] {
        disk.make_dir(dir)?;
    }
    for dir in layout::shard_dirs() {
        disk.make_dir(&dir)?;
    }
    disk.sync_dir(layout::SHARDS)?;
    disk.create(layout::LABEL)?;
    let older = Label { generation: label.generation.saturating_sub(1), ..label.clone() };
    for slot in [older, label.clone()] {
        disk.write_at(layout::LABEL, slot.slot_offset(), &slot.encode(keys))?;
    }
    disk.sync(layout::LABEL)?;
    disk.sync_dir("")
}

/// What a job gives back.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// To [`Job::ListShards`].
    pub shards: Vec<PackId>,
    /// To [`Job::Heal`] and [`Job::Prove`]: what is wrong with the shard that is there now; `None` when it is proved.
    pub damage: Option<Damage>,
    /// To [`Job::Audit`]: what was wrong, and whether it is right now.
    pub audited: Vec<(Thing, bool)>,
    /// There was no room until the ballast was given up.
    pub ballast_spent: bool,
}

impl Job {
    /// Bytes it writes, roughly: large jobs may take longer.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Prepare(prepare) => prepare.bytes(),
            Self::Checkpoint { image, .. } => image.len() as u64,
            Self::Journal { pieces, .. } => pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
            Self::Shard { pack, shard } => pack.data(*shard).len() as u64,
            // Written and read back, or read.
            Self::Heal { shard, .. } => 2 * shard.header().file_len(),
            Self::Prove(wanted) => wanted.file_len(),
            Self::Audit(audit) => audit.bytes(),
            Self::Ballast(len) => *len,
            _ => 0,
        }
    }

    /// Whether it goes to the journal's lane; the others go to the lane for bulk.
    pub fn is_journal(&self) -> bool {
        matches!(
            self,
            Self::Label(..) | Self::Prepare(_) | Self::Journal { .. } | Self::Forget { .. } | Self::Audit(_)
        )
    }
}

/// Does `job` on `disk`. What must go on when the disk is full is done a second time without the ballast: each of these
/// jobs may be done twice.
pub fn execute(disk: &dyn Disk, job: &Job, keys: &KeyRing, flaws: Flaws) -> DiskResult<Done> {
    match once(disk, job, keys, flaws) {
        Err(DiskError::Full(why)) if !matches!(job, Job::Shard { .. }) => match ballast::release(disk) {
            Ok(true) => once(disk, job, keys, flaws).map(|done| Done { ballast_spent: true, ..done }),
            _ => Err(DiskError::Full(why)),
        },
        done => done,
    }
}

fn once(disk: &dyn Disk, job: &Job, keys: &KeyRing, flaws: Flaws) -> DiskResult<Done> {
    let hand = Hand { disk, keys, flaws };
    match job {
        Job::Label(label, tip) => {
            hand.still_ours(&Guard::of(label))?;
            hand.label(label)?;
            tip.iter().try_for_each(|tip| hand.has_not_grown(tip))?;
        }
        Job::Prepare(prepare) => {
            hand.still_ours(&prepare.guard)?;
            hand.prepare(prepare)?;
        }
        Job::Journal { pieces, segment_len, guard } => {
            hand.still_ours(guard)?;
            hand.journal(pieces, *segment_len)?;
            hand.still_ours(guard)?;
        }
        Job::Shard { pack, shard } => hand.shard(pack, *shard)?,
        Job::Heal { shard, wanted } => return hand.heal(shard, wanted),
        Job::Prove(wanted) => return hand.prove(wanted),
        Job::RemoveShard(pack) => hand.remove_shard(*pack)?,
        Job::Checkpoint { anchor, image } => hand.checkpoint(*anchor, image)?,
        Job::Forget { anchor, guard } => {
            hand.still_ours(guard)?;
            hand.forget(*anchor)?;
        }
        Job::ListShards => return hand.list_shards(),
        Job::Audit(audit) => return hand.audit(audit),
        Job::Ballast(len) => ballast::load(disk, *len)?,
    }
    Ok(Done::default())
}

struct Hand<'a> {
    disk: &'a dyn Disk,
    keys: &'a KeyRing,
    flaws: Flaws,
}

impl Hand<'_> {
    /// After a failed sync nothing that was written counts, and the next attempt goes through a new handle.
    fn sync(&self, path: &str) -> DiskResult<()> {
        let mut done = self.disk.sync(path);
        if done.is_err() && self.flaws.has(Flaw::RetrySync) {
            done = self.disk.sync(path);
        }
        if done.is_err() {
            self.disk.close(path);
        }
        done
    }

    fn sync_dir(&self, path: &str) -> DiskResult<()> {
        if self.flaws.has(Flaw::SkipDirSync) { Ok(()) } else { self.disk.sync_dir(path) }
    }

    /// A write may be torn, so it must not be the last good slot that it goes to: when the other one is bad, that is written first,
    /// with the same content.
    fn label(&self, label: &Label) -> DiskResult<()> {
        if !self.flaws.has(Flaw::LabelOverGood) && !self.other_slot_is_good(label)? {
            self.label_slot(&Label { generation: label.generation.saturating_sub(1), ..label.clone() })?;
        }
        self.label_slot(label)
    }

    fn label_slot(&self, label: &Label) -> DiskResult<()> {
        self.disk.open_rw(layout::LABEL)?;
        self.disk.write_at(layout::LABEL, label.slot_offset(), &label.encode(self.keys))?;
        self.sync(layout::LABEL)
    }

    /// Writes a new file whole. A file of that name from an attempt that was cut off is replaced.
    fn new_file(&self, dir: &str, path: &str, parts: &[&[u8]]) -> DiskResult<()> {
        self.write_whole(path, parts)?;
        self.sync_dir(dir)
    }

    /// The same; its name is not durable yet.
    fn write_whole(&self, path: &str, parts: &[&[u8]]) -> DiskResult<()> {
        match self.disk.create(path) {
            Err(DiskError::Exists(_)) => {
                self.disk.remove(path)?;
                self.disk.create(path)?;
            }
            other => other?,
        }
        let mut offset = 0;
        for part in parts {
            self.disk.write_at(path, offset, part)?;
            offset += part.len() as u64;
        }
        self.sync(path)?;
        self.disk.close(path);
        Ok(())
    }

    fn segments(&self) -> DiskResult<Vec<u32>> {
        numbers(self.disk, layout::JOURNAL, layout::segment_number)
    }

    fn checkpoints(&self) -> DiskResult<Vec<u64>> {
        numbers(self.disk, layout::CHECKPOINTS, layout::checkpoint_seq)
    }

    fn journal(&self, pieces: &[(Spot, Vec<u8>)], segment_len: u32) -> DiskResult<()> {
        for (spot, bytes) in pieces {
            let path = layout::segment(spot.segment);
            match self.disk.open_rw(&path) {
                Err(DiskError::NotFound(_)) => self.new_segment(&path, segment_len)?,
                other => other?,
            }
            self.disk.write_at(&path, u64::from(spot.offset), bytes)?;
            if !self.flaws.has(Flaw::SkipJournalSync) {
                self.sync(&path)?;
            }
        }
        Ok(())
    }

    /// A segment is zeroed before its name exists for good, so that an append never changes its extents.
    fn new_segment(&self, path: &str, segment_len: u32) -> DiskResult<()> {
        let made = self.zeroed_segment(path, segment_len);
        if made.is_err() {
            // Half a segment whose name is not durable must not be taken for a whole one by a second attempt.
            self.disk.close(path);
            match self.disk.remove(path) {
                Ok(()) | Err(DiskError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        made
    }

    fn zeroed_segment(&self, path: &str, segment_len: u32) -> DiskResult<()> {
        self.disk.create(path)?;
        let zeros = vec![0; (segment_len as usize).min(256 * BLOCK)];
        for at in (0..segment_len as usize).step_by(zeros.len()) {
            let len = zeros.len().min(segment_len as usize - at);
            self.disk.write_at(path, at as u64, &zeros[..len])?;
        }
        self.sync(path)?;
        self.sync_dir(layout::JOURNAL)
    }

    fn shard(&self, pack: &EncodedPack, shard: usize) -> DiskResult<()> {
        let dir = layout::shard_dir(pack.id());
        self.new_file(&dir, &layout::shard(pack.id()), &pack.parts(shard))
    }

    /// A shard that stands under its own name counts when the box comes up: so it comes there whole and proved, by
    /// a rename. A bad one that was there stays until then; readers still use what is good in it.
    fn heal(&self, shard: &Rebuilt, wanted: &Wanted) -> DiskResult<Done> {
        let pack = shard.header().pack;
        let (dir, new, path) = (layout::shard_dir(pack), layout::shard_new(pack), layout::shard(pack));
        if self.flaws.has(Flaw::HealOverPlace) {
            self.new_file(&dir, &path, &[shard.bytes()])?;
            return Ok(Done { damage: wanted.inspect(self.disk, &path)?, ..Done::default() });
        }
        if let Err(e) = self.write_whole(&new, &[shard.bytes()]) {
            self.disk.close(&new);
            return Err(e);
        }
        let proof = !self.flaws.has(Flaw::HealWithoutProof);
        if proof && let Some(damage) = wanted.inspect(self.disk, &new)? {
            self.disk.remove(&new)?;
            return Ok(Done { damage: Some(damage), ..Done::default() });
        }
        self.disk.rename(&new, &path)?;
        self.sync_dir(&dir)?;
        Ok(Done::default())
    }

    /// What is read may stand in a cache only, left by a daemon that was killed: it is made durable before it counts.
    fn prove(&self, wanted: &Wanted) -> DiskResult<Done> {
        let path = layout::shard(wanted.pack());
        match self.disk.open_rw(&path) {
            Err(DiskError::NotFound(_)) => {
                return Ok(Done { damage: Some(Damage::ABSENT), ..Done::default() });
            }
            other => other?,
        }
        self.sync(&path)?;
        self.disk.close(&path);
        self.sync_dir(&layout::shard_dir(wanted.pack()))?;
        Ok(Done { damage: wanted.inspect(self.disk, &path)?, ..Done::default() })
    }

    fn remove_shard(&self, pack: PackId) -> DiskResult<()> {
        match self.disk.remove(&layout::shard(pack)) {
            Err(DiskError::NotFound(_)) => Ok(()),
            Ok(()) => self.sync_dir(&layout::shard_dir(pack)),
            Err(e) => Err(e),
        }
    }

    fn checkpoint(&self, anchor: Anchor, image: &[u8]) -> DiskResult<()> {
        self.new_file(layout::CHECKPOINTS, &layout::checkpoint(anchor.seq), &[image])
    }

    fn forget(&self, anchor: Anchor) -> DiskResult<()> {
        for n in self.segments()?.into_iter().filter(|n| *n < anchor.end.segment) {
            let path = layout::segment(n);
            self.disk.close(&path);
            self.remove(&path)?;
        }
        self.sync_dir(layout::JOURNAL)?;
        for seq in self.checkpoints()?.into_iter().filter(|s| *s < anchor.seq) {
            self.remove(&layout::checkpoint(seq))?;
        }
        self.sync_dir(layout::CHECKPOINTS)
    }

    /// Removes a file of ours. Something else under its name is nobody's, and stays.
    fn remove(&self, path: &str) -> DiskResult<()> {
        match self.disk.remove(path) {
            Err(e) if e.is_no_file() => Ok(()),
            other => other,
        }
    }

    /// Only folders of ours are looked into, and only names that belong there count.
    fn list_shards(&self) -> DiskResult<Done> {
        let mut shards = Vec::new();
        for dir in layout::shard_dirs() {
            let mut unproved = Vec::new();
            let here = |pack: Option<PackId>| pack.filter(|id| layout::shard_dir(*id) == dir);
            let listed = self.disk.each(&dir, &mut |name, kind| {
                if matches!(kind, EntryKind::File | EntryKind::Unknown) {
                    shards.extend(here(layout::shard_pack(name)));
                    if unproved.len() < MOST_UNPROVED {
                        unproved.extend(here(layout::shard_new_pack(name)));
                    }
                }
            });
            match listed {
                // Folders are made when a disk is; one that was taken away since is made again, for what is healed into it.
                Err(DiskError::NotFound(_)) => {
                    self.disk.make_dir(&dir)?;
                    self.disk.sync_dir(layout::SHARDS)?;
                }
                other => other?,
            }
            // Healing that was cut off; this lane is the only one that heals.
            unproved.sort_unstable();
            for pack in unproved {
                self.remove(&layout::shard_new(pack))?;
            }
        }
        Ok(Done { shards, ..Done::default() })
    }
}
