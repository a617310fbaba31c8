//! G12: a full disk is a polite refusal. Whatever a foreign file leaves of a disk, nothing acknowledged is lost, everything
//! can be read, and forgetting makes room again.

use coffre_core::class::LockClass;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::{DiskNo, ObjectId};
use coffre_core::keep::KeepRules;
use coffre_rig::rng::Rng;
use coffre_rig::world::Bench;
use coffre_vault::core::Core;
use coffre_vault::get::Get;
use coffre_vault::ports::Disk;
use coffre_vault::put::Put;
use std::sync::Arc;

/// Ballast: three times the journal between two checkpoints, and a segment.
const BALLAST_LEN: u64 = 384 << 10;

/// A box that is up, with ballast and a data set with short locks.
fn short(k: u8, m: u8, seed: u64) -> Bench {
    let mut bench = Bench::new(k, m, seed);
    Arc::get_mut(&mut bench.machine).expect("not shared yet").limits.ballast_len = BALLAST_LEN;
    bench.boot(bench.all()).expect("comes up");
    bench.rest();
    let core = bench.core().expect("up").clone();
    let name = "alpha/docs".parse().expect("a name");
    core.set_policy(&name, Some(LockClass(2)), Some(KeepRules::default()), None).expect("set");
    bench
}

fn put(core: &Arc<Core>, bytes: &[u8]) -> Result<ObjectId> {
    let name = "alpha/docs".parse().map_err(|_| Fault::misuse("a name"))?;
    let mut put = Put::begin(core.clone(), name, LockClass(2))?;
    for piece in bytes.chunks(999) {
        put.write(piece)?;
    }
    let submitted = put.submit()?;
    core.wait(submitted.ticket)?;
    Ok(submitted.object.id)
}

fn read(core: &Arc<Core>, id: &ObjectId) -> Result<Vec<u8>> {
    let mut get = Get::open(core.clone(), id)?;
    let mut out = Vec::new();
    loop {
        let piece = get.read_at(out.len() as u64, 4_000)?;
        if piece.is_empty() {
            return Ok(out);
        }
        out.extend(piece);
    }
}

/// Leaves so many blocks of each disk.
fn fill(bench: &Bench, blocks: u64) {
    for disk in &bench.machine.disks {
        let space = disk.space().expect("there");
        disk.faults(|f| f.capacity_bytes = Some(space.total - space.free + blocks * 4_096));
    }
}

fn course(k: u8, m: u8, blocks: u64) -> std::result::Result<(), String> {
    let bench = short(k, m, blocks);
    let core = bench.core().expect("up").clone();
    let mut rng = Rng::new(blocks);
    let texts: Vec<Vec<u8>> = (0..6).map(|n| rng.bytes(3_000 + n * 1_500)).collect();
    let mut ids = Vec::new();
    for text in &texts {
        ids.push(put(&core, text).map_err(|f| f.to_string())?);
    }
    bench.rest();
    fill(&bench, blocks);
    let before = texts.len();
    let mut refused = 0;
    for n in 0..12 {
        match put(&core, &rng.bytes(5_000 + n)) {
            Ok(_) => {}
            Err(_) => refused += 1,
        }
        bench.rest();
    }
    if refused == 0 && blocks < 8 {
        return Err("a full disk took everything".into());
    }
    for (id, text) in ids.iter().zip(&texts) {
        match read(&core, id) {
            Ok(bytes) if bytes == *text => {}
            other => return Err(format!("{before} were kept, one reads {:?}", other.map(|b| b.len()))),
        }
    }
    // Much is said in the journal meanwhile: more than a segment holds.
    let name = "alpha/docs".parse().expect("a name");
    for n in 1..30 {
        let keep = KeepRules { daily: n % 2, ..KeepRules::default() };
        core.set_policy(&name, None, Some(keep), None)
            .map_err(|f| format!("the journal has no room: {f}"))?;
        // As the keeper does: a checkpoint when the journal is long. Its other jobs may find no room.
        let _ = core.upkeep(0);
        bench.rest();
    }
    core.set_policy(&name, None, Some(KeepRules::default()), None).map_err(|f| f.to_string())?;
    for _ in 0..4 {
        bench.rest();
        bench.pass_time(6_000);
        let plan = core.forget_plan().map_err(|f| f.to_string())?;
        core.forget_run(Some(&plan.id)).map_err(|f| format!("a full disk cannot forget: {f}"))?;
    }
    bench.rest();
    if core.with(|e| e.catalog().object_count()) != 1 {
        return Err("what may go did not go".into());
    }
    for disk in 0..bench.machine.disks.len() as u8 {
        core.with(|e| e.has_room(DiskNo(disk)));
    }
    put(&core, &rng.bytes(2_000)).map(drop).map_err(|f| format!("there is room again, and yet: {f}"))
}

/// Every amount of room from none on, in three geometries.
#[test]
fn a_full_disk_reads_forgets_and_takes_again() {
    for (k, m) in [(1, 0), (1, 1), (2, 1)] {
        for blocks in 0..40 {
            course(k, m, blocks).unwrap_or_else(|why| panic!("{k}+{m} with {blocks} blocks left: {why}"));
        }
    }
}

/// Without ballast the same box cannot say what it forgets: the test above is alive.
#[test]
fn without_ballast_a_full_disk_stays_full() {
    let mut bench = Bench::new(2, 1, 1);
    bench.boot(bench.all()).expect("comes up");
    bench.rest();
    fill(&bench, 0);
    let core = bench.core().expect("up").clone();
    let name = "alpha/docs".parse().expect("a name");
    let failed = (0..60).any(|n| {
        let keep = KeepRules { daily: n % 2, ..KeepRules::default() };
        core.set_policy(&name, None, Some(keep), None).is_err()
    });
    assert!(failed, "the journal never needed room");
}
