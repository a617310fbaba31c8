//! Rhythms of an open vault in virtual time: learnt, late, kept over a start and over what is forgotten.

use super::*;
use crate::Vault;
use crate::api::{InitPlan, init};
use crate::clock::SystemClock;
use crate::ports::Clock;
use crate::shell::Opening;
use crate::state::StateFolder;
use coffre_core::keep::KeepRules;
use coffre_core::names::DatasetRef;
use coffre_core::wire::DatasetChange;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const DAY_MS: u64 = 24 * HOUR_MS;

/// The system's clock, its wall moved on by as much as is wanted.
#[derive(Clone, Debug, Default)]
struct Ahead {
    real: Arc<SystemClock>,
    wall_ms: Arc<AtomicU64>,
}

impl Clock for Ahead {
    fn wall_ms(&self) -> u64 {
        self.real.wall_ms() + self.wall_ms.load(SeqCst)
    }
    fn mono_ms(&self) -> u64 {
        self.real.mono_ms()
    }
}

fn put(vault: &Vault, dataset: &DatasetRef) {
    let mut stream = vault.put(dataset, None).expect("a stream");
    stream.write(b"x").expect("room");
    stream.finish().expect("stored");
}

#[test]
fn a_rhythm_is_learnt_and_outlives_a_start_and_what_is_forgotten() {
    let scratch = tempfile::tempdir().expect("scratch");
    let disks: Vec<_> = (0..3).map(|n| scratch.path().join(format!("disk{n}"))).collect();
    disks.iter().for_each(|disk| std::fs::create_dir(disk).expect("scratch"));
    let state = scratch.path().join("state");
    let plan = InitPlan { state: state.clone(), disks, geometry: None, name: "office".into(), try_out: true };
    init(&plan, &|_, _, _, _| Ok(b"an authority".to_vec())).expect("made");
    let clock = Ahead::default();
    let open = || {
        let folder = StateFolder::new(&state);
        Vault::of(
            House::open_by(folder, Opening::Again, crate::disk::Holder::default(), Arc::new(clock.clone()))
                .expect("opens"),
        )
    };
    let docs: DatasetRef = "pc/docs".parse().expect("a data set");
    let vault = open();
    vault.client_add(&docs.client, None, None).expect("added");
    let sent = |vault: &Vault| vault.dataset_list().expect("known")[0].rhythm;
    for _ in 0..20 {
        put(&vault, &docs);
        clock.wall_ms.fetch_add(DAY_MS, SeqCst);
    }
    assert_eq!((sent(&vault).every_s, sent(&vault).source), (Some(86_400), Source::Learnt));
    assert_eq!(sent(&vault).standing, Standing::OnTime);
    clock.wall_ms.fetch_add(DAY_MS, SeqCst);
    let light = |vault: &Vault, what: &str| {
        let status = vault.status();
        let late = status.reasons.iter().any(|why| why.contains(what));
        assert!(late, "{what}: {:?}", status.reasons);
        status.light
    };
    assert_eq!(
        light(
            &vault,
            "pc/docs is late: its last complete backup came 2 days ago, and one used to come every 24 h"
        ),
        Light::Amber
    );
    // A checkpoint without the snapshots that were forgotten: what was learnt stays.
    let keep = Some(KeepRules::default());
    let change = DatasetChange { class: None, keep, kind: None, every: None };
    vault.dataset_change(&docs, &change).expect("set");
    let core = vault.house().core();
    let (old, newest) = core.with(|e| {
        let ids = e.catalog().snapshots(&docs).to_vec();
        (ids[..ids.len() - 1].to_vec(), ids[ids.len() - 1])
    });
    let freed = coffre_core::fact::Fact::Freed { objects: old, packs: Vec::new(), moves: Vec::new() };
    core.wait(core.submit(vec![freed], Vec::new())).expect("freed");
    core.with(|e| e.want_checkpoint());
    assert!(vault.house().wait_until(20_000, || core.with(|e| !e.checkpointing())));
    assert_eq!(core.with(|e| e.catalog().snapshots(&docs).to_vec()), [newest]);
    drop(core);
    vault.close();
    drop(vault);
    clock.wall_ms.fetch_add(2 * DAY_MS, SeqCst);
    let vault = open();
    assert_eq!((sent(&vault).every_s, sent(&vault).standing), (Some(86_400), Standing::VeryLate));
    assert_eq!(light(&vault, "pc/docs is very late"), Light::Red);
    // Its owner knows better, and a backup ends it all the same.
    let weekly = DatasetChange { every: Some(Every::Seconds(7 * 86_400)), ..DatasetChange::default() };
    assert_eq!(vault.dataset_change(&docs, &weekly).expect("set").rhythm.standing, Standing::OnTime);
    put(&vault, &docs);
    clock.wall_ms.fetch_add(11 * DAY_MS, SeqCst);
    assert_eq!(light(&vault, "one is expected every 7 d"), Light::Amber);
    put(&vault, &docs);
    assert_eq!(sent(&vault).standing, Standing::OnTime);
}
