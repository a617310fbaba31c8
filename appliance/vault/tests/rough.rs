//! Rough use: streams on many threads while disks go and come back and the index burns. What was acknowledged is read back.

mod common;

use coffre_core::fault::Class;
use common::{Scratch, dataset, get, green, noise, put, try_put, until};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

const WRITERS: u64 = 4;
const ROUNDS: u64 = 12;

#[test]
fn what_was_acknowledged_while_disks_came_and_went_is_read_back() {
    let (it, _) = Scratch::made(6);
    let vault = it.open();
    let kept: Mutex<Vec<(String, u64, usize)>> = Mutex::default();
    let (turn, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                let (vault, kept, turn) = (&vault, &kept, &turn);
                scope.spawn(move || {
                    let mut stored = 0;
                    while turn.load(Ordering::Relaxed) < ROUNDS {
                        // A third repeats what another stream wrote.
                        let seed = if stored % 3 == 0 { stored / 3 } else { w << 32 | stored } + 1;
                        let len = 70_000 + (seed as usize * 7919) % 1_500_000;
                        let name = format!("pc/w{w}-{stored}");
                        match try_put(vault, &name, &noise(len, seed)) {
                            Ok(_) => kept.lock().expect("no panic").push((name, seed, len)),
                            Err(fault) => assert_eq!(fault.class, Class::Refused, "{name}: {fault}"),
                        }
                        stored += 1;
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(500));
                vault.index_burn().expect("burnt");
            }
        });
        for round in 0..ROUNDS {
            let (a, b) = (round as usize % 6, (round as usize * 5 + 2) % 6);
            it.pull(a);
            sleep(Duration::from_millis(150));
            if a != b {
                it.pull(b);
            }
            sleep(Duration::from_millis(250));
            it.put_back(a);
            if a != b {
                it.put_back(b);
            }
            until(&vault, "all back", |s| s.disks.iter().all(|d| d.reason.is_none()));
            turn.fetch_add(1, Ordering::Relaxed);
        }
        writers.into_iter().for_each(|w| w.join().expect("no panic"));
        over.store(true, Ordering::Relaxed);
    });
    let kept = kept.into_inner().expect("no panic");
    assert!(kept.len() > 20, "only {} stored", kept.len());
    until(&vault, "green in the end", green);
    drop(vault);
    let vault = it.open();
    for (name, seed, len) in &kept {
        assert!(get(&vault, name) == noise(*len, *seed), "{name}");
    }
    assert!(vault.status().objects >= kept.len() as u64);
}

#[test]
fn a_stream_that_shares_a_pack_is_stored_although_that_pack_was_merged_meanwhile() {
    let (it, _) = Scratch::made(3);
    let vault = it.open();
    let shared = noise(300_000, 1);
    put(&vault, "pc/first", &shared);
    until(&vault, "index whole", |s| s.index_ready);
    let mut slow = vault.put(&dataset("pc/slow"), None).expect("begun");
    slow.write(&shared).expect("taken");
    slow.write(&noise(9 << 20, 2)).expect("taken");
    let mut packs = 0;
    for n in 0..40 {
        put(&vault, &format!("pc/small{n}"), &noise(100_000, 100 + n));
        packs = packs.max(vault.status().packs);
    }
    until(&vault, "merged", |s| s.packs < packs);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(tell.send(slow.finish())));
    told.recv_timeout(Duration::from_secs(15)).expect("answered").expect("stored");
    let mut whole = shared;
    whole.extend(noise(9 << 20, 2));
    assert!(get(&vault, "pc/slow") == whole);
}
