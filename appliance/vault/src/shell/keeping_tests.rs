//! A box whose clock is in doubt, with all its threads: restores go on, the owner attests the time, and nothing expires for 72
//! hours of running time, across a restart.

use super::*;
use crate::api::{InitPlan, init};
use crate::clock::SystemClock;
use crate::ports::Clock;
use crate::shell::Opening;
use crate::state::StateFolder;
use crate::{Vault, Which};
use coffre_core::fault::Class;
use coffre_core::ids::ObjectId;
use coffre_core::wire::{DiskState, Light, ReceiptFacts};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How long the box was off.
const OFF_MS: u64 = 10 * DAY_MS;
/// Longest wait for the box to see or to do something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The system's clocks, each moved forward by as much as is wanted. Clones share it.
#[derive(Clone, Debug, Default)]
struct Moved {
    real: Arc<SystemClock>,
    wall_ms: Arc<AtomicU64>,
    mono_ms: Arc<AtomicU64>,
}

impl Moved {
    /// Time passes while the box is off.
    fn off_ms(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, SeqCst);
    }

    /// Time passes while it runs.
    fn run_ms(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, SeqCst);
        self.mono_ms.fetch_add(ms, SeqCst);
    }
}

impl Clock for Moved {
    fn wall_ms(&self) -> u64 {
        self.real.wall_ms() + self.wall_ms.load(SeqCst)
    }
    fn mono_ms(&self) -> u64 {
        self.real.mono_ms() + self.mono_ms.load(SeqCst)
    }
}

fn dataset(name: &str) -> DatasetRef {
    name.parse().expect("a data set")
}

fn put(vault: &Vault, name: &str, body: &[u8]) -> ReceiptFacts {
    let mut stream = vault.put(&dataset(name), None).expect("a stream");
    stream.write(body).expect("room");
    stream.finish().expect("stored")
}

fn get(vault: &Vault, name: &str, id: ObjectId) -> Result<Vec<u8>> {
    let mut reader = vault.read(&dataset(name), Which::Id(id))?;
    let mut body = Vec::new();
    while (body.len() as u64) < reader.info().size {
        body.extend(reader.read_at(body.len() as u64, 1 << 20)?);
    }
    Ok(body)
}

/// Bytes that neither compress nor repeat.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// Lets time run until so much of the calm is left. A leap of hours may meet a job on a disk, which then seems to hang for
/// hours: the vault is mounted anew, from the last note of its clock, and the hours must pass again.
fn pass(vault: &Vault, clock: &Moved, left_ms: u64) {
    until("the hours pass", || {
        let calm_ms = vault.clock_show().calm_ms;
        if calm_ms > left_ms {
            clock.run_ms(calm_ms - left_ms);
        }
        // Until the ticker has looked at the lanes.
        sleep(Duration::from_millis(200));
        let in_use = vault.status().disks.iter().all(|disk| disk.state == DiskState::Active);
        in_use && vault.clock_show().calm_ms <= left_ms
    });
}

/// A vault for trying out; its state folder.
fn made(scratch: &Path) -> PathBuf {
    let disks: Vec<_> = (0..3).map(|n| scratch.join(format!("disk{n}"))).collect();
    disks.iter().for_each(|disk| std::fs::create_dir(disk).expect("scratch"));
    let state = scratch.join("state");
    let plan = InitPlan { state: state.clone(), disks, geometry: None, name: "office".into(), try_out: true };
    init(&plan, &|_, _, _, _| Ok(b"an authority".to_vec())).expect("made");
    state
}

fn opened(state: &Path, clock: &Moved) -> Vault {
    let folder = StateFolder::new(state);
    let holder = crate::disk::Holder::default();
    Vault::of(House::open_by(folder, Opening::Again, holder, Arc::new(clock.clone())).expect("opens"))
}

/// A push in 2106: its lock is provisional, holds as long as the clocks disagree, and is set when they agree, across a restart too. Should the
/// clock turn out to have lagged then, the lock is longer by as much.
#[test]
fn what_a_wrong_clock_locked_is_set_when_the_clocks_agree() {
    let scratch = tempfile::tempdir().expect("scratch");
    let (state, clock) = (made(scratch.path()), Moved::default());
    let vault = opened(&state, &clock);
    vault.client_add(&"pc".parse().expect("a name"), None, None).expect("added");
    let before = put(&vault, "pc/docs", b"before").snapshot;
    assert!(!before.lock_provisional);
    let ahead_ms = 80 * 365 * DAY_MS;
    clock.wall_ms.fetch_add(ahead_ms, SeqCst);
    let there = put(&vault, "pc/docs", b"in 2106").snapshot;
    assert!(there.lock_provisional && there.locked_until_ms > before.locked_until_ms + ahead_ms - DAY_MS);
    let info = |vault: &Vault| {
        let reader = vault.read(&dataset("pc/docs"), Which::Id(there.id)).expect("readable");
        let info = reader.info();
        (info.lock_provisional, info.locked_until_ms)
    };
    assert_eq!(info(&vault), (true, there.locked_until_ms));
    vault.close();
    drop(vault);
    let vault = opened(&state, &clock);
    assert_eq!(info(&vault), (true, there.locked_until_ms), "a restart settles nothing");
    // Somebody puts the clock right.
    clock.wall_ms.fetch_sub(ahead_ms, SeqCst);
    until("it is set", || !info(&vault).0);
    let set_ms = info(&vault).1;
    let class_ms = there.class.millis();
    assert!(set_ms >= before.locked_until_ms && set_ms <= clock.wall_ms() + class_ms, "{set_ms}");
    // Off for ten days: the retention clock lags, and is told so.
    vault.close();
    drop(vault);
    clock.off_ms(OFF_MS);
    let vault = opened(&state, &clock);
    let told = vault.clock_attest(clock.wall_ms()).expect("attested");
    assert_eq!(info(&vault), (false, set_ms + told.leapt_ms));
    assert!(told.leapt_ms > OFF_MS - DAY_MS);
    vault.close();
    drop(vault);
    let vault = opened(&state, &clock);
    assert_eq!(info(&vault), (false, set_ms + told.leapt_ms), "kept");
    vault.close();
}

#[test]
fn after_an_attested_time_nothing_expires_for_72_hours_and_restores_go_on_all_the_while() {
    let scratch = tempfile::tempdir().expect("scratch");
    let (state, clock) = (made(scratch.path()), Moved::default());
    let open = || opened(&state, &clock);

    let vault = open();
    vault.client_add(&"pc".parse().expect("a name"), None, None).expect("added");
    let rules = Some(KeepRules { last: 1, ..KeepRules::default() });
    vault.dataset_set(&dataset("pc/docs"), Some(LockClass(1)), rules, None).expect("set");
    let bodies = [noise(300_000, 1), noise(300_000, 2), noise(3_000_000, 3)];
    let old = put(&vault, "pc/docs", &bodies[0]).snapshot.id;
    let new = put(&vault, "pc/docs", &bodies[1]).snapshot.id;
    // Beside it, so that the old one is less than a fifth and nobody has to approve.
    let other = put(&vault, "pc/other", &bodies[2]).snapshot.id;
    let all_read = |vault: &Vault| {
        for (name, id, body) in
            [("pc/docs", old, &bodies[0]), ("pc/docs", new, &bodies[1]), ("pc/other", other, &bodies[2])]
        {
            assert!(get(vault, name, id).expect("readable") == *body, "{name}");
        }
    };
    let stopped = |vault: &Vault| {
        assert!(vault.forget_plan().expect("a plan").stopped.is_some(), "a plan that would be carried out");
        assert_eq!(vault.forget_run(None).expect_err("nothing is forgotten").class, Class::Refused);
        all_read(vault);
    };
    vault.close();
    drop(vault);

    // Off for ten days: the clocks are apart. The lock of a second is long over by either, and holds.
    clock.off_ms(OFF_MS);
    let vault = open();
    let shown = vault.clock_show();
    assert!(shown.doubt.is_some() && shown.calm_ms == CALM_MS && shown.wall_ms > shown.retention_ms + DAY_MS);
    let status = vault.status();
    assert_eq!(status.light, Light::Amber, "{:?}", status.reasons);
    assert!(status.reasons.iter().any(|why| why.contains("coffre clock attest")), "{:?}", status.reasons);
    stopped(&vault);
    // What comes now is locked by the later of the clocks.
    let late = put(&vault, "pc/late", b"while in doubt").snapshot;
    assert!(late.locked_until_ms >= clock.wall_ms() - DAY_MS + late.class.millis());

    assert!(late.lock_provisional);

    // The owner is not believed further than the system's clock, nor far from it.
    assert_eq!(vault.clock_attest(shown.retention_ms).expect_err("ten days ago").class, Class::Refused);
    let told = vault.clock_attest(clock.wall_ms() + HOUR_MS).expect("attested");
    assert!(told.leapt_ms.abs_diff(OFF_MS) < HOUR_MS && told.retention_ms <= told.wall_ms, "{told:?}");
    assert!(told.calm_ms > CALM_MS - HOUR_MS && told.doubt.is_some(), "{told:?}");
    stopped(&vault);

    // Half of it passes; a restart ends nothing, and time that passes while the box is off is no running time.
    pass(&vault, &clock, 36 * HOUR_MS);
    stopped(&vault);
    vault.close();
    drop(vault);
    clock.off_ms(HOUR_MS);
    let vault = open();
    let calm_ms = vault.clock_show().calm_ms;
    assert!((35 * HOUR_MS..=36 * HOUR_MS).contains(&calm_ms), "{calm_ms}");
    stopped(&vault);
    pass(&vault, &clock, HOUR_MS);
    stopped(&vault);

    // The last hour: only now the old snapshot goes, by the box itself, after its grace; the newest and what is locked stay.
    pass(&vault, &clock, 0);
    until("no doubt is left", || vault.clock_show().doubt.is_none());
    until("the old one is forgotten", || {
        clock.run_ms(1_000);
        get(&vault, "pc/docs", old).is_err_and(|fault| fault.class == Class::Absent)
    });
    assert!(get(&vault, "pc/docs", new).expect("readable") == bodies[1]);
    assert!(get(&vault, "pc/other", other).expect("readable") == bodies[2]);
    assert!(get(&vault, "pc/late", late.id).expect("readable") == b"while in doubt");
    vault.close();
}
