//! Making an engine from what the disks show: the plan, then the catalogue from checkpoint and records.

use super::whole::{self, Pieced};
use super::{Engine, checkpoint, disks, forget, guests, heal, packs};
use crate::catalog::Catalog;
use crate::limits::Limits;
use crate::ports::Entropy;
use crate::survey::Survey;
use coffre_core::coord::{Coordinator, Plan, Setup, View, plan};
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{Fact, decode_facts};
use coffre_core::fault::{Fault, Result};
use coffre_core::flaw::{Flaw, Flaws};
use coffre_core::ids::{RecordHash, VaultId};
use coffre_core::keys::KeyRing;
use coffre_core::record::{self, Found, Kind, decode};
use coffre_core::roster::Standing;
use coffre_core::witness::Witness;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Everything a mount starts from.
pub struct Mount {
    /// Ceilings and paces.
    pub limits: Limits,
    /// Rules to break; none outside the rig.
    pub flaws: Flaws,
    /// The vault's keys.
    pub keys: Arc<KeyRing>,
    /// Dice.
    pub entropy: Arc<dyn Entropy>,
    /// The roster that holds and the geometry that decides, by the labels of all disks that are there.
    pub standing: Standing,
    /// What each disk of the roster shows, in order; `None` when it is not there. One that has not joined takes no part in
    /// the mount: attach it afterwards.
    pub surveys: Vec<Option<Survey>>,
    /// What the witness remembers; `None` when there is no place to keep one.
    pub witness: Option<Witness>,
    /// Running time now.
    pub now_ms: u64,
    /// Mark of this mount, random: it stands in the labels that it writes.
    pub owner: [u8; 16],
}

impl Engine {
    /// Decides the mount and begins it. The effects that follow carry it out; until the coordinator says
    /// otherwise nothing is acknowledged. `Corrupt` when the adopted history cannot be read.
    pub fn mount(from: Mount) -> Result<Self> {
        let Mount { limits, flaws, keys, entropy, standing, surveys, witness, now_ms, owner } = from;
        let Standing { roster, geometry } = standing;
        let surveys: Vec<Option<&Survey>> =
            surveys.iter().map(|s| s.as_ref().filter(|s| joined(s, flaws))).collect();
        let mut views: Vec<Option<View>> = surveys.iter().map(|s| s.map(|s| s.view.clone())).collect();
        let mut pieced = Pieced::of(&keys, &surveys);
        pieced.lend(&mut views);
        let decide =
            |views: &[Option<View>]| plan(geometry.width(), geometry.m(), views, witness.as_ref(), flaws);
        let plan = pieced.salvage(decide(&views), &views, decide);
        let mut plan = whole::name_damage(plan, &surveys);
        let history = History::read(&keys, &mut plan, &surveys, &pieced)?;
        let wide = roster.geometry;
        let setup = Setup {
            vault: keys.vault(),
            n: geometry.width(),
            m: geometry.m(),
            segment_len: limits.segment_len,
            version: roster.version,
            wider: (wide.width() > geometry.width()).then_some((wide.width(), wide.m())),
            flaws,
        };
        let slots = disks::Slot::all(&roster.disks, &surveys);
        let log_bytes = history.log.values().map(|b| b.len() as u64).sum();
        let mut engine = Self {
            limits,
            flaws,
            keys,
            owner,
            entropy,
            geometry,
            roster,
            changed: None,
            coord: Coordinator::new(setup, &plan, &views, witness),
            catalog: history.catalog,
            applied: plan.adopted.head().seq,
            unacked: BTreeMap::new(),
            answers: BTreeMap::new(),
            log: history.log,
            log_bytes,
            base_image: history.base_image,
            queue: VecDeque::new(),
            waiting: Vec::new(),
            flights: packs::Flights::default(),
            forget: forget::State::default(),
            slots,
            jobs: HashMap::new(),
            missing: HashMap::new(),
            bad: HashMap::new(),
            finds_version: 0,
            found: Vec::new(),
            auditing: 0,
            healing: heal::Healing::default(),
            guests: guests::Guests::default(),
            checkpoint: checkpoint::State::default(),
            swept: false,
            listed: DiskSet::EMPTY,
            next_id: 0,
            now_ms,
            last_refresh_ms: now_ms,
            effects: VecDeque::new(),
        };
        engine.pump();
        Ok(engine)
    }
}

/// Whether a disk takes part in a mount (R8).
fn joined(survey: &Survey, flaws: Flaws) -> bool {
    !survey.label.is_newcomer() || flaws.has(Flaw::SeeNewcomer)
}

struct History {
    catalog: Catalog,
    log: BTreeMap<u64, Arc<[u8]>>,
    base_image: Option<Arc<Vec<u8>>>,
}

impl History {
    fn read(keys: &KeyRing, plan: &mut Plan, surveys: &[Option<&Survey>], pieced: &Pieced) -> Result<Self> {
        let shown = || surveys.iter().flatten().copied();
        let base = plan.adopted.base;
        let mut catalog = Catalog::default();
        let mut base_image = None;
        if base.hash != RecordHash::ZERO {
            let image = shown().find_map(|s| s.checkpoints.get(&base.hash));
            let image = image
                .or(pieced.checkpoints.get(&base.hash))
                .ok_or_else(|| Fault::corrupt("the checkpoint of the adopted journal is gone"))?;
            match coffre_core::checkpoint::salvage_each(keys, image, |fact| catalog.apply(fact))? {
                0 => base_image = Some(image.clone()),
                lost => whole::with_lost(plan, lost)?,
            }
        }
        let mut log = BTreeMap::new();
        for placed in &plan.adopted.chain {
            let bytes = shown().find_map(|s| s.records.get(&placed.meta.hash));
            let bytes = bytes.or(pieced.records.get(&placed.meta.hash));
            let bytes = bytes.ok_or_else(|| Fault::corrupt("a record of the adopted journal is gone"))?;
            for fact in open_record(keys, keys.vault(), bytes)? {
                catalog.apply(fact);
            }
            log.insert(placed.meta.header.seq, bytes.clone());
        }
        Ok(Self { catalog, log, base_image })
    }
}

/// Opens a record's facts.
pub(crate) fn open_record(keys: &KeyRing, vault: VaultId, bytes: &[u8]) -> Result<Vec<Fact>> {
    let Found::Record(meta, body) = decode(vault, bytes) else {
        return Err(Fault::corrupt("a journal record changed between two readings"));
    };
    let header = meta.header;
    let plain = record::open(keys, &header, body).map_err(|_| {
        Fault::corrupt(format!("journal record {} does not open with this vault's keys", header.seq))
    })?;
    match (header.kind, decode_facts(&plain)) {
        (Kind::Mount { .. }, Some(facts)) if facts.is_empty() => Ok(facts),
        (Kind::Facts, Some(facts)) => Ok(facts),
        _ => Err(Fault::corrupt(format!("journal record {}: its facts are not readable", header.seq))),
    }
}
