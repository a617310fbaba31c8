//! G3: a fault at every single operation of a known course, and power cuts while coming up again.
//!
//! The course: a new box comes up, takes snapshots of every kind, folds, merges, checkpoints and reads. It is run once to
//! count its disk operations, then again for each of them with the power going out there, or that operation failing.

use coffre_core::fault::Class;
use coffre_rig::rng::{Rng, splitmix};
use coffre_rig::scale;
use coffre_rig::seeds::announce;
use coffre_rig::sim::Refusal;
use coffre_rig::world::Bench;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Power cuts while coming up again, each before the box is up.
const NESTED: u64 = 3;

/// Runs all cases on two threads; panics with the first that breaks a promise. Sums what they return.
fn run<C: Sync + std::fmt::Debug>(cases: &[C], case: impl Fn(&C) -> Result<u64, String> + Sync) -> u64 {
    let (next, sum, broken) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(None::<String>));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(c) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if broken.lock().expect("no panic").is_some() {
                        return;
                    }
                    let outcome = catch_unwind(AssertUnwindSafe(|| case(c)));
                    match outcome.unwrap_or_else(|_| Err("a panic".into())) {
                        Ok(n) => sum.fetch_add(n, Ordering::Relaxed),
                        Err(why) => return *broken.lock().expect("no panic") = Some(format!("{c:?}: {why}")),
                    };
                }
            });
        }
    });
    let broken = broken.into_inner().expect("no panic");
    assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    sum.into_inner()
}

/// A course of one geometry under one schedule.
#[derive(Clone, Copy, Debug)]
struct Course {
    k: u8,
    m: u8,
    seed: u64,
}

impl Course {
    fn bench(self) -> Bench {
        Bench::with(self.k, self.m, self.seed, !self.seed.is_multiple_of(3))
    }

    /// Operations of the whole course, and of coming up after it.
    fn ops(self) -> (u64, u64) {
        let mut bench = self.bench();
        let formatted = bench.machine.power.ops();
        bench.boot(bench.all()).expect("a new vault comes up");
        bench.rest();
        bench.work();
        bench.rest();
        let course = bench.machine.power.ops() - formatted;
        assert!(bench.handed.iter().all(|h| h.acked), "without faults everything is acknowledged");
        bench.boot(bench.all()).expect("it comes up again");
        bench.rest();
        (course, bench.machine.power.ops() - formatted - course)
    }
}

/// The power goes out in operation `n`, then three times more while the box comes up.
#[derive(Debug)]
struct Cut {
    course: Course,
    n: u64,
    boot_ops: u64,
}

impl Cut {
    fn play(&self) -> Result<u64, String> {
        let mut bench = self.course.bench();
        let mut rng = Rng::new(splitmix(self.n ^ self.course.seed << 32));
        let all = bench.all();
        bench.machine.power.cut_after(self.n);
        if bench.boot(all).is_ok() {
            bench.rest();
            bench.work();
        }
        for depth in 0..NESTED {
            bench.power_cut(&mut rng);
            bench.machine.power.cut_after(1 + rng.below(self.boot_ops));
            match bench.boot(all) {
                Ok(()) => bench.rest(),
                Err(_) if bench.machine.power.is_out() => continue,
                Err(fault) => return Err(format!("it does not come up at depth {depth}: {fault}")),
            }
            // It came up before the power went: then it works until it does.
            let _ = bench.put(&rng.bytes(30 + 300 * depth as usize));
            bench.check(true)?;
        }
        bench.power_cut(&mut rng);
        bench.boot(all).map_err(|fault| format!("it does not come up in calm: {fault}"))?;
        bench.rest();
        bench.check(true)?;
        for len in [20, 900] {
            bench.put(&rng.bytes(len)).map_err(|fault| format!("it takes no more: {fault}"))?;
        }
        bench.check(true)?;
        Ok(1 + NESTED)
    }
}

/// G3: the power goes out at any operation, nested three deep; the box comes up by itself and nothing acknowledged is lost.
#[test]
fn power_cuts_at_every_operation() {
    let states = scale("COFFRE_STATES", 100_000);
    let geometries = [(1, 1), (2, 1), (1, 0), (2, 2), (3, 1), (4, 2)];
    let mut cuts: Vec<Cut> = Vec::new();
    let mut courses = 0;
    for seed in announce("every_operation", "power_cuts_at_every_operation").. {
        for (k, m) in geometries {
            let course = Course { k, m, seed };
            let (ops, boot_ops) = course.ops();
            courses += 1;
            cuts.extend((1..=ops).map(|n| Cut { course, n, boot_ops }));
        }
        if cuts.len() as u64 * (1 + NESTED) >= states {
            break;
        }
    }
    // As many as asked for, evenly.
    let (all, wanted) = (cuts.len(), states.div_ceil(1 + NESTED) as usize);
    let mut place = 0..all;
    cuts.retain(|_| place.next().is_some_and(|i| (i + 1) * wanted / all > i * wanted / all));
    let seen = run(&cuts, Cut::play);
    eprintln!("{courses} courses, {} first cuts, {seen} states after a power cut", cuts.len());
    assert!(seen >= states);
}

/// Operation `n` of `disk` fails once.
#[derive(Debug)]
struct Failure {
    course: Course,
    disk: usize,
    n: u64,
    refusal: Refusal,
}

impl Failure {
    fn play(&self) -> Result<u64, String> {
        let mut bench = self.course.bench();
        let spare = self.course.m > 0;
        let all = bench.all();
        bench.machine.disks[self.disk].faults(|f| f.fail_nth = Some((self.n, self.refusal)));
        match bench.boot(all) {
            Err(fault) if spare => return Err(format!("it does not come up: {fault}")),
            _ => bench.rest(),
        }
        let mut refused = None;
        bench.work_and(|bench| {
            bench.pass_time(1_000);
            bench.rest();
            if let Err(fault) = bench.look_out() {
                refused = Some(fault);
            }
            bench.rest();
        });
        bench.check(true)?;
        if spare {
            self.goes_on(&mut bench)?;
        }
        bench.power_cut(&mut Rng::new(self.n));
        bench.calm();
        bench.boot(all).map_err(|fault| format!("it does not come up again: {fault}"))?;
        bench.rest();
        bench.check(true)?;
        for len in [20, 900] {
            bench.put(&vec![7; len]).map_err(|fault| format!("it takes no more: {fault}"))?;
        }
        bench.check(true)?;
        Ok(1)
    }
}

impl Failure {
    /// With a spare disk everything handed in was acknowledged and more is taken. A disk that once said that it is
    /// full is refused politely instead.
    fn goes_on(&self, bench: &mut Bench) -> Result<(), String> {
        let full = self.refusal == Refusal::Full;
        if let Some(h) = bench.handed.iter().find(|h| !h.acked && !full) {
            return Err(format!("a snapshot of {} bytes was not acknowledged", h.bytes.len()));
        }
        match bench.put(b"and one more") {
            Err(fault) if !(full && fault.class == Class::Full) => Err(format!("it does not go on: {fault}")),
            _ => Ok(()),
        }
    }
}

/// Operations of one disk in the course.
fn ops_of(course: Course, disk: usize) -> u64 {
    let mut bench = course.bench();
    bench.machine.disks[disk].faults(|f| f.fail_nth = Some((u64::MAX, Refusal::Eio)));
    bench.boot(bench.all()).expect("a new vault comes up");
    bench.rest();
    bench.work();
    bench.rest();
    u64::MAX - bench.machine.disks[disk].faults(|f| f.fail_nth).map_or(u64::MAX, |left| left.0)
}

/// G3: any operation of one disk fails once with EIO, ENOSPC or EINTR; with a spare disk the box goes on, and after a
/// start everything acknowledged is there.
#[test]
fn every_operation_fails_once() {
    let mut failures = Vec::new();
    let seed = announce("every_operation", "every_operation_fails_once");
    for (k, m) in [(1, 0), (1, 1), (2, 1), (2, 2), (4, 2)] {
        let course = Course { k, m, seed };
        for disk in 0..usize::from(k + m).min(4) {
            let ops = ops_of(course, disk);
            for refusal in [Refusal::Eio, Refusal::Full, Refusal::Interrupted] {
                failures.extend((1..=ops).map(|n| Failure { course, disk, n, refusal }));
            }
        }
    }
    let stride = scale("COFFRE_FAILURE_STRIDE", 1) as usize;
    let failures: Vec<Failure> = failures.into_iter().step_by(stride).collect();
    eprintln!("{} failed operations", run(&failures, Failure::play));
}
