//! An index that lies: wrong hints, omissions, errors, and at any instant an older state or none at all.
//!
//! It keeps an honest index inside and spoils what passes. Nothing that a vault promises may depend on which
//! of the two it was given.

use crate::rng::Rng;
use coffre_core::ids::{ChunkId, ObjectId, PackId};
use coffre_core::names::DatasetRef;
use coffre_vault::index::MemIndex;
use coffre_vault::ports::{ChunkHint, Index, IndexError};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lying index. Clones are handles of the same one: the vault holds one, the test another.
#[derive(Clone, Debug)]
pub struct LyingIndex(Arc<Liar>);

#[derive(Debug)]
struct Liar {
    honest: MemIndex,
    saved: MemIndex,
    lies_per_1000: AtomicU64,
    told: AtomicU64,
    burns: AtomicU64,
    dice: Mutex<Dice>,
}

#[derive(Debug)]
struct Dice {
    rng: Rng,
    /// Packs it heard of: material for plausible lies.
    packs: Vec<PackId>,
}

/// Most packs kept for lies.
const MAX_MATERIAL: usize = 64;

impl LyingIndex {
    /// An empty index that lies in so many of 1000 calls.
    pub fn new(seed: u64, lies_per_1000: u64) -> Self {
        Self(Arc::new(Liar {
            honest: MemIndex::new(),
            saved: MemIndex::new(),
            lies_per_1000: AtomicU64::new(lies_per_1000),
            told: AtomicU64::new(0),
            burns: AtomicU64::new(0),
            dice: Mutex::new(Dice { rng: Rng::new(seed), packs: Vec::new() }),
        }))
    }

    /// Changes how often it lies.
    pub fn set_lies_per_1000(&self, lies_per_1000: u64) {
        self.0.lies_per_1000.store(lies_per_1000, SeqCst);
    }

    /// Lies told so far.
    pub fn lies_told(&self) -> u64 {
        self.0.told.load(SeqCst)
    }

    /// How often it was burnt.
    pub fn burns(&self) -> u64 {
        self.0.burns.load(SeqCst)
    }

    /// Remembers what it knows now, for [`roll_back`](Self::roll_back).
    pub fn save(&self) {
        self.0.saved.become_copy_of(&self.0.honest);
    }

    /// Goes back to what it knew when it was saved; to nothing if it never was.
    pub fn roll_back(&self) {
        self.0.honest.become_copy_of(&self.0.saved);
    }

    /// Forgets everything without being asked.
    pub fn wipe(&self) {
        self.0.honest.become_copy_of(&MemIndex::new());
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of `kinds` lies to tell at this call, if any.
    fn lie(&self, kinds: u64) -> Option<u64> {
        let mut dice = self.dice();
        let lies = dice.rng.chance(self.0.lies_per_1000.load(SeqCst), 1000);
        let kind = dice.rng.below(kinds);
        if lies {
            self.0.told.fetch_add(1, SeqCst);
        }
        lies.then_some(kind)
    }
}

impl Dice {
    fn known_pack(&mut self) -> PackId {
        let known = self.rng.pick(&self.packs).copied();
        known.unwrap_or_else(|| self.unknown_pack())
    }

    fn unknown_pack(&mut self) -> PackId {
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        PackId(id)
    }

    fn hear_of(&mut self, pack: PackId) {
        if self.packs.len() < MAX_MATERIAL {
            self.packs.push(pack);
        } else {
            let at = self.rng.index(MAX_MATERIAL);
            self.packs[at] = pack;
        }
    }
}

fn error() -> IndexError {
    IndexError("simulated".into())
}

impl Index for LyingIndex {
    fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkHint>, IndexError> {
        let truth = self.0.honest.chunk(id)?;
        let Some(lie) = self.lie(6) else { return Ok(truth) };
        let mut dice = self.dice();
        let position = dice.rng.below(40) as u32;
        Ok(match (lie, truth) {
            (0, _) => return Err(error()),
            (1, _) => None,
            (2, Some(hint)) => Some(ChunkHint { position: hint.position.wrapping_add(1), ..hint }),
            (3, _) => Some(ChunkHint { pack: dice.unknown_pack(), position }),
            (4, _) => Some(ChunkHint { pack: dice.known_pack(), position: u32::MAX }),
            _ => Some(ChunkHint { pack: dice.known_pack(), position }),
        })
    }

    fn learn(&self, pack: PackId, chunks: &[ChunkId]) -> Result<(), IndexError> {
        self.dice().hear_of(pack);
        match self.lie(3) {
            None => self.0.honest.learn(pack, chunks),
            Some(0) => Err(error()),
            Some(1) => Ok(()),
            // Learnt in part: the pack is listed, its last chunks are not.
            Some(_) => self.0.honest.learn(pack, &chunks[..chunks.len() / 2]),
        }
    }

    fn forget(&self, pack: PackId) -> Result<(), IndexError> {
        match self.lie(2) {
            None => self.0.honest.forget(pack),
            Some(0) => Err(error()),
            Some(_) => Ok(()),
        }
    }

    fn packs(&self) -> Result<Vec<PackId>, IndexError> {
        let mut packs = self.0.honest.packs()?;
        let Some(lie) = self.lie(4) else { return Ok(packs) };
        let mut dice = self.dice();
        match lie {
            0 => return Err(error()),
            1 => packs.truncate(packs.len() / 2),
            2 => packs.push(dice.unknown_pack()),
            _ => packs.push(dice.known_pack()),
        }
        Ok(packs)
    }

    fn note_object(&self, dataset: &DatasetRef, order: u64, id: ObjectId) -> Result<(), IndexError> {
        match self.lie(3) {
            None => self.0.honest.note_object(dataset, order, id),
            Some(0) => Err(error()),
            Some(1) => Ok(()),
            Some(_) => self.0.honest.note_object(dataset, order / 2, id),
        }
    }

    fn objects(&self, dataset: &DatasetRef) -> Result<Vec<ObjectId>, IndexError> {
        let mut objects = self.0.honest.objects(dataset)?;
        let Some(lie) = self.lie(4) else { return Ok(objects) };
        let mut dice = self.dice();
        match lie {
            0 => return Err(error()),
            1 => objects.truncate(objects.len() / 2),
            2 => objects.push(ObjectId(dice.unknown_pack().0)),
            _ => dice.rng.shuffle(&mut objects),
        }
        Ok(objects)
    }

    /// The one honest verb: a caller that burns it must be able to rely on its being empty.
    fn burn(&self) -> Result<(), IndexError> {
        self.0.burns.fetch_add(1, SeqCst);
        self.0.honest.burn()
    }
}
