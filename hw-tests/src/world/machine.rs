//! The box of a simulated world: disks, state medium, power, clock, dice, and how it is formatted and comes up.

use super::Case;
use super::hands::SimHands;
use crate::rng::Rng;
use crate::sim::{LyingIndex, Power, SimClock, SimDisk, SimEntropy};
use coffre_core::buffer::Pool;
use coffre_core::diskset::DiskSet;
use coffre_core::fact::{Born, Fact};
use coffre_core::fault::Result;
use coffre_core::flaw::Flaws;
use coffre_core::geometry::{Geometry, MAX_DISKS};
use coffre_core::ids::{DiskId, DiskNo, VaultId};
use coffre_core::keys::{KeyRing, RootKey};
use coffre_core::label::Label;
use coffre_core::roster::{Roster, Standing, standing};
use coffre_core::witness::{WITNESS_LEN, Witness};
use coffre_vault::core::{Core, Parts};
use coffre_vault::engine::{Engine, MAX_GUESTS, Mount};
use coffre_vault::lane::{Job, execute};
use coffre_vault::layout;
use coffre_vault::limits::Limits;
use coffre_vault::ports::{Clock, Disk, DiskError, DiskResult};
use coffre_vault::survey::{Survey, read_label, survey};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many disks are in the drawer, unless said otherwise.
const SPARES: u8 = 2;

/// The id that a spare disk gets.
pub fn spare_id(spare: usize) -> DiskId {
    DiskId([0x80 + spare as u8; 16])
}

fn ids(n: u8) -> Vec<DiskId> {
    (0..n).map(|i| DiskId([i + 1; 16])).collect()
}

fn standing_of(roster: Roster) -> Standing {
    let geometry = roster.geometry;
    Standing { roster, geometry }
}

/// The scrub's note on the system medium, and its next one on the way.
const NOTE: &str = "scrub";
const NEW_NOTE: &str = "scrub.new";

/// See the module.
#[derive(Debug)]
pub struct Machine {
    /// The disks it is built with, in roster order.
    pub disks: Vec<SimDisk>,
    /// Disks in the drawer, empty.
    pub spares: Vec<SimDisk>,
    /// The system medium: holds the witness.
    pub state: SimDisk,
    /// One supply for everything.
    pub power: Power,
    /// Virtual time.
    pub clock: SimClock,
    /// Ceilings and paces of the vault.
    pub limits: Limits,
    entropy: Mutex<SimEntropy>,
    /// The keys of its vault.
    pub keys: Arc<KeyRing>,
    /// The roster of the newest mount.
    standing: Mutex<Standing>,
    /// For each number the place of its disk among all, those in the drawer last.
    seats: [AtomicU8; MAX_DISKS + MAX_GUESTS],
    /// Disks that readers cannot reach, for checks.
    blind: AtomicU8,
    witness: bool,
}

impl Machine {
    /// A box with empty disks.
    pub fn new(case: &Case, seed: u64) -> Self {
        Self::with_spares(case, seed, SPARES)
    }

    /// The same, with so many disks in the drawer.
    pub fn with_spares(case: &Case, seed: u64, spares: u8) -> Self {
        let power = Power::new();
        let n = case.k + case.m;
        let vault = VaultId([0xC0; 16]);
        let geometry = Geometry::new(case.k, case.m).expect("cases have possible geometries");
        Self {
            disks: (0..n).map(|i| SimDisk::on(&format!("disk{i}"), seed ^ u64::from(i), &power)).collect(),
            spares: (0..spares)
                .map(|i| SimDisk::on(&format!("spare{i}"), seed ^ 0x5A00 ^ u64::from(i), &power))
                .collect(),
            state: SimDisk::on("state", seed ^ 99, &power),
            power,
            clock: SimClock::new(1_790_000_000_000),
            limits: Limits::TINY,
            entropy: Mutex::new(SimEntropy::new(seed)),
            keys: Arc::new(KeyRing::new(&RootKey::new([7; 32]), vault)),
            seats: std::array::from_fn(|i| AtomicU8::new(i as u8)),
            standing: Mutex::new(standing_of(Roster::first(ids(n), geometry))),
            blind: AtomicU8::new(0),
            witness: case.witness,
        }
    }

    /// Labels all disks, as init does.
    pub fn format(&self) {
        let roster = self.standing().roster;
        for (disk, id) in self.disks.iter().zip(&roster.disks) {
            self.label(disk, *id, roster.clone());
        }
    }

    /// Puts things that are nobody's into every folder of the disks: names of other shapes, and names of ours for what is
    /// none of it.
    pub fn litter(&self) {
        let pack = "ab".repeat(16);
        let names = [
            "photo.jpg".to_owned(),
            "journal/#000001".to_owned(),
            layout::segment(0xfff0),
            layout::segment(u32::MAX),
            "journal/0000000A.seg".to_owned(),
            "checkpoints/0".to_owned(),
            layout::checkpoint(0xffff_ff00),
            layout::checkpoint(u64::MAX),
            "quarantine/old".to_owned(),
            "shards/.DS_Store".to_owned(),
            // A shard in another pack's folder, and one that was made again and never proved.
            format!("shards/0/{pack}.shard"),
            format!("shards/a/{pack}.new"),
        ];
        for disk in &self.disks {
            names.iter().for_each(|name| disk.plant(name, &[0x5a; 9_000]));
        }
    }

    /// Makes a spare disk ready for a changed roster, in which it has this id.
    pub fn make_ready(&self, spare: usize, changed: &Roster) {
        self.label(&self.spares[spare], spare_id(spare), changed.clone());
    }

    /// Makes a disk that was taken out ready to come back: its label becomes that of a newcomer, and all else stays.
    pub fn make_ready_again(&self, at: usize, changed: &Roster) -> DiskResult<Label> {
        let everything = self.everything();
        let disk = everything[at].1;
        let before = read_label(disk, &self.keys).map_err(|e| DiskError::Gone(e.to_string()))?;
        let generation = before.generation + 1;
        let label = Label { roster: changed.clone(), since: 0, generation, ..before.clone() };
        execute(disk, &Job::Label(label, None), &self.keys, Flaws::NONE)?;
        Ok(before)
    }

    /// All disks that can be read and are in no place of the roster, with their labels and their places in the list.
    pub fn retired(&self) -> Vec<(usize, Label)> {
        let roster = self.standing().roster;
        let label = |(at, (id, disk)): (usize, (DiskId, &SimDisk))| {
            let label =
                read_label(disk, &self.keys).ok().filter(|l| l.disk == id && !roster.disks.contains(&id))?;
            Some((at, label))
        };
        self.everything().into_iter().enumerate().filter_map(label).collect()
    }

    /// What a box does about disks that were taken out: those that show and are of use are lent, others are let go.
    pub fn tend_guests(&self, core: &Core) {
        let of_use = core.with(|e| e.guests_of_use());
        let retired = self.retired();
        for seat in 0..MAX_GUESTS {
            let Some((id, no)) = core.with(|e| e.guest(seat)) else { continue };
            if !of_use.has(no) || !retired.iter().any(|(_, label)| label.disk == id) {
                core.with(|e| e.guest_left(seat));
            }
        }
        for (at, label) in retired {
            let Some(no) = label.number().filter(|no| of_use.has(*no)) else { continue };
            let guest = |seat: usize| core.with(|e| e.guest(seat));
            let seated = (0..MAX_GUESTS).any(|seat| guest(seat).is_some_and(|(id, _)| id == label.disk));
            let Some(seat) = (0..MAX_GUESTS).find(|seat| guest(*seat).is_none()).filter(|_| !seated) else {
                continue;
            };
            if let Ok(done) = execute(self.everything()[at].1, &Job::ListShards, &self.keys, Flaws::NONE) {
                self.seats[MAX_DISKS + seat].store(at as u8, Ordering::Relaxed);
                core.with(|e| e.guest_came(seat, label.disk, no, done.shards));
            }
        }
    }

    fn label(&self, disk: &SimDisk, id: DiskId, roster: Roster) {
        let label = Label {
            vault: self.keys.vault(),
            disk: id,
            roster,
            since: 0,
            try_out: true,
            created_ms: 0,
            generation: 1,
            promised: 0,
            owner: [0; 16],
        };
        // The power may go out meanwhile.
        let _ = coffre_vault::lane::format(disk, &label, &self.keys);
    }

    /// The roster of the newest mount, and the geometry by whose rule it was made.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn everything(&self) -> Vec<(DiskId, &SimDisk)> {
        let built = ids(self.disks.len() as u8).into_iter().zip(&self.disks);
        built.chain((0..).map(spare_id).zip(&self.spares)).collect()
    }

    /// The disk with this number in the newest mount.
    pub fn seat(&self, disk: DiskNo) -> &SimDisk {
        let at = usize::from(self.seats[disk.ix()].load(Ordering::Relaxed));
        let spare = at.checked_sub(self.disks.len()).and_then(|spare| self.spares.get(spare));
        spare.unwrap_or_else(|| &self.disks[at.min(self.disks.len() - 1)])
    }

    /// Notes which disk has which number.
    fn take_seats(&self, standing: &Standing) {
        let everything = self.everything();
        for (seat, id) in self.seats.iter().zip(&standing.roster.disks) {
            let at = everything.iter().position(|(other, _)| other == id).unwrap_or_default();
            seat.store(at as u8, Ordering::Relaxed);
        }
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing.clone();
    }

    /// What a disk shows, if it can be read.
    pub fn survey(&self, disk: DiskNo) -> Option<Survey> {
        let id = self.standing().roster.disks.get(disk.ix()).copied();
        let found = survey(self.seat(disk), &self.keys).ok()?;
        (Some(found.label.disk) == id).then_some(found)
    }

    /// Lets the labels of all disks that can be read say which roster holds, as a box does that comes up.
    fn judge(&self) -> Standing {
        let label = |disk: &SimDisk| coffre_vault::survey::read_label(disk, &self.keys).ok();
        let labels: Vec<Label> = self.everything().into_iter().filter_map(|(_, d)| label(d)).collect();
        standing(labels.iter().map(|l| (l.disk, &l.roster))).unwrap_or_else(|| self.standing())
    }

    fn read_witness(&self) -> Option<Witness> {
        let vault = self.keys.vault();
        let blank = Witness {
            vault,
            generation: 0,
            confirmed: Default::default(),
            opening: Default::default(),
            built_on: (0, 0),
            acked: 0,
        };
        let file = self.state.read_at(layout::WITNESS, 0, WITNESS_LEN).unwrap_or_default();
        self.witness.then(|| Witness::decode(vault, &file).unwrap_or(blank))
    }

    /// The vault on its disks.
    pub fn vault(&self) -> VaultId {
        self.keys.vault()
    }

    /// Comes up with the disks in `visible`; a vault without any fact is born.
    pub fn boot(self: &Arc<Self>, case: &Case, visible: DiskSet, seed: u64) -> Result<(Arc<Core>, SimHands)> {
        for (i, disk) in self.disks.iter().enumerate() {
            disk.faults(|f| f.gone = !visible.has(DiskNo(i as u8)));
        }
        let standing = self.judge();
        self.take_seats(&standing);
        let numbers = (0..standing.roster.disks.len() as u8).map(DiskNo);
        let surveys: Vec<Option<Survey>> = numbers.map(|d| self.survey(d)).collect();
        let roster = standing.roster.disks.clone();
        let entropy = Arc::new(self.entropy.lock().expect("never poisoned").clone());
        let engine = Engine::mount(Mount {
            limits: self.limits,
            flaws: case.flaws,
            keys: self.keys.clone(),
            entropy: entropy.clone(),
            standing,
            surveys,
            witness: self.read_witness(),
            now_ms: self.clock.mono_ms(),
            owner: [seed as u8 | 1; 16],
        })?;
        let newborn = engine.catalog().born().is_none();
        let hands = SimHands::new(self.clone(), seed);
        let index = LyingIndex::new(seed, case.lies_per_1000);
        let core = Core::new(Parts {
            engine,
            index: Box::new(index),
            keys: self.keys.clone(),
            roster,
            limits: self.limits,
            flaws: case.flaws,
            clock: Arc::new(self.clock.clone()),
            entropy,
            hands: Box::new(hands.clone()),
            buffers: Pool::default(),
        });
        core.scrub_recall(self.state.read_at(NOTE, 0, usize::MAX).ok().as_deref());
        if newborn {
            let born = Born {
                name: "sim".into(),
                created_ms: self.clock.wall_ms(),
                authority_der: Vec::new().into(),
                try_out: true,
            };
            core.submit(vec![Fact::Born(born)], Vec::new());
        }
        Ok((core, hands))
    }

    /// The power went out and came back: what was not synced is decided, handles are closed.
    pub fn power_cut(&self, rng: &mut Rng) {
        self.power.restore();
        for disk in self.disks.iter().chain(&self.spares).chain([&self.state]) {
            disk.faults(|f| f.hung = false);
            disk.power_cut(rng);
        }
        self.clock.reboot();
    }

    /// The daemon was killed, in the middle of an operation perhaps, and the machine lives on with its caches.
    pub fn process_died(&self) {
        self.power.restore();
        self.disks.iter().chain(&self.spares).chain([&self.state]).for_each(SimDisk::process_died);
    }

    /// Keeps the scrub's note, if there is a new one, as the daemon does: written whole, then put in its place.
    pub fn keep_note(&self, core: &Core) {
        if let Some(note) = core.scrub_note() {
            // What fails here fails with the power, or is tried again with the next note.
            let _ = self.write_note(&note);
        }
    }

    fn write_note(&self, note: &[u8]) -> DiskResult<()> {
        let disk = &self.state;
        match disk.create(NEW_NOTE) {
            Err(DiskError::Exists(_)) => {
                disk.remove(NEW_NOTE)?;
                disk.create(NEW_NOTE)?;
            }
            other => other?,
        }
        disk.write_at(NEW_NOTE, 0, note)?;
        disk.sync(NEW_NOTE)?;
        disk.close(NEW_NOTE);
        disk.rename(NEW_NOTE, NOTE)?;
        disk.sync_dir("")
    }

    /// A disk is plugged in again.
    pub fn plug(&self, disk: DiskNo, rng: &mut Rng) {
        self.disks[disk.ix()].plug(rng);
    }

    /// Disks that readers cannot reach.
    pub fn blind(&self) -> DiskSet {
        DiskSet(self.blind.load(Ordering::Relaxed))
    }

    /// Hides disks from readers.
    pub fn set_blind(&self, disks: DiskSet) {
        self.blind.store(disks.0, Ordering::Relaxed);
    }

    /// Hash over all operations so far.
    pub fn trace(&self) -> u64 {
        self.disks.iter().fold(0, |sum, d| crate::rng::splitmix(sum ^ d.trace()))
    }
}
