//! Floods against the real daemon: what strangers and a client gone bad cost, in memory, sockets and processor time, while an
//! honest client goes on.

mod common;

use coffre::doors::limits::{
    CONNECTION_BYTES, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER, MAX_LISTS_PER_CLIENT,
    MAX_STREAMS_PER_CLIENT, STRANGERS_BYTES, UPLOAD_BYTES,
};
use common::wire::{Wire, request};
use common::{TestBox, noise};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the vault keeps for a stream at most: a chunk being cut, its compressed form, and the compressor.
const VAULT_STREAM_BYTES: usize = 12 * 1024 * 1024;
/// Longest answer that an honest client may wait for in a flood, on a busy machine.
const HONEST_WAIT: Duration = Duration::from_secs(6);

/// A number of `/proc/PID/status`, in bytes.
fn memory(it: &TestBox, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", it.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().expect("a number") * 1024
}

fn sockets(it: &TestBox) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", it.pid())).expect("a process");
    let link = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    folder.filter_map(link).filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

/// Processor time of the daemon so far.
fn processor(it: &TestBox) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", it.pid())).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
    Duration::from_millis(ticks * 10)
}

/// Pushes and restores until told to stop; how often, and the longest wait.
fn honest(it: &TestBox, user: &str, stop: &AtomicBool) -> (u64, Duration) {
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let bytes = noise(200_000, rounds);
        let start = Instant::now();
        let mut wire = Wire::from(it, [127, 200, 0, 1]);
        let put = wire.ask(user, "PUT", "/v1/datasets/d", "", Some(&bytes));
        assert_eq!(put.status, 201, "{}", put.text());
        let got = wire.ask(user, "GET", "/v1/datasets/d/snapshots/latest", "", None);
        assert!(got.status == 200 && got.body == bytes);
        longest = longest.max(start.elapsed());
        rounds += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    (rounds, longest)
}

fn quiet_box(disks: usize) -> TestBox {
    let mut it = TestBox::without_daemon(disks);
    it.level = "warn,coffre=off,audit=off";
    it.start();
    it
}

/// Connections that say nothing, or a handshake and half a header, from many addresses, faster than deadlines end them.
fn besiege(it: &TestBox, stop: &AtomicBool, opened: &AtomicU64, number: u8) {
    let mut held = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let n = opened.fetch_add(1, Ordering::Relaxed);
        let Some(tcp) = it.from([127, 3, number, (n % 16) as u8 + 1]) else { continue };
        let _ = tcp.set_write_timeout(Some(Duration::from_secs(2)));
        let _ = tcp.set_read_timeout(Some(Duration::from_secs(2)));
        if n.is_multiple_of(3) {
            let mut tls = it.tls_over(tcp, &[]).expect("configured");
            let _ = tls.sock.set_read_timeout(Some(Duration::from_secs(2)));
            let _ =
                tls.write_all(format!("GET / HTTP/1.1\r\nHost: box\r\nX: {}", "a".repeat(12_000)).as_bytes());
            let _ = tls.flush();
            held.push_back((None, Some(tls)));
        } else {
            held.push_back((Some(tcp), None));
        }
        if held.len() > 250 {
            held.pop_front();
        }
    }
}

#[test]
fn strangers_cost_what_is_stated_and_an_honest_client_goes_on() {
    let it = quiet_box(1);
    let ali = it.client("ali", &[]);
    let mut warm = Wire::new(&it);
    (0..20).for_each(|n| {
        assert_eq!(warm.ask(&ali, "PUT", "/v1/datasets/d", "", Some(&noise(200_000, n))).status, 201)
    });
    let (memory_before, sockets_before) = (memory(&it, "VmHWM:"), sockets(&it));
    let (stop, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let most_sockets = AtomicU64::new(0);
    let (rounds, longest) = std::thread::scope(|scope| {
        for number in 0..3 {
            let (it, stop, opened) = (&it, &stop, &opened);
            scope.spawn(move || besiege(it, stop, opened, number));
        }
        let good = scope.spawn(|| honest(&it, &ali, &stop));
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end {
            most_sockets.fetch_max(sockets(&it) as u64, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
        good.join().expect("the honest client was served")
    });
    let grown = memory(&it, "VmHWM:").saturating_sub(memory_before);
    let most = most_sockets.into_inner() as usize;
    eprintln!(
        "{} connections of strangers; honest: {rounds} rounds, longest {longest:?}; {} KiB more memory, {most} sockets",
        opened.into_inner(),
        grown >> 10
    );
    assert!(rounds >= 3 && longest < HONEST_WAIT, "{rounds} rounds, longest {longest:?}");
    assert!(grown <= STRANGERS_BYTES, "{grown} bytes for strangers");
    // Those that were shown out close a moment later.
    assert!(most <= sockets_before + MAX_CONNECTIONS + 64, "{most} sockets");
    assert!(!it.log().contains("panicked"));
}

#[test]
fn wrong_secrets_cost_a_hash() {
    let it = quiet_box(1);
    let ali = it.client("ali", &[]);
    let (count, before) = (AtomicU64::new(0), processor(&it));
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let (it, count) = (&it, &count);
            scope.spawn(move || {
                for n in 0..100u8 {
                    let mut wire = Wire::from(it, [127, 4, thread, n + 1]);
                    for _ in 0..5 {
                        let said = wire.ask("ali:wrong", "PUT", "/v1/datasets/d", "", Some(b"x"));
                        assert_eq!(said.status, 401);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let each = (processor(&it) - before) / count.load(Ordering::Relaxed) as u32;
    eprintln!(
        "{} wrong secrets over 400 connections, {each:?} of processor time each, handshakes included",
        count.into_inner()
    );
    assert!(each < Duration::from_millis(10), "{each:?} (in a debug build)");
    assert_eq!(it.get(&ali, "/v1/datasets").status, 200);
}

#[test]
fn a_client_gone_bad_costs_its_places_and_nobody_elses() {
    let it = quiet_box(1);
    let (ali, eve) =
        (it.client("ali", &[]), it.client("eve", &["--quota", "30000000", "--daily", "60000000"]));
    let mut warm = Wire::new(&it);
    (0..20).for_each(|n| {
        assert_eq!(warm.ask(&ali, "PUT", "/v1/datasets/d", "", Some(&noise(200_000, n))).status, 201)
    });
    let before = memory(&it, "VmHWM:");
    // More bodies that stand still than eve has places.
    let mut slow: Vec<Wire<'_>> =
        (0..MAX_STREAMS_PER_CLIENT + 4).map(|_| Wire::from(&it, [127, 5, 0, 1])).collect();
    for wire in &mut slow {
        wire.send(&request(&eve, "PUT", "/v1/datasets/d", "Content-Length: 1000000\r\n", None));
        wire.send(&noise(100_000, 5));
    }
    std::thread::sleep(Duration::from_millis(500));
    errands_do_not_wait(&it, &eve);
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let (rounds, longest) = std::thread::scope(|scope| {
        let good = scope.spawn(|| honest(&it, &ali, &stop));
        while start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        good.join().expect("the honest client was served")
    });
    assert!(rounds >= 2 && longest < HONEST_WAIT, "{rounds} rounds, longest {longest:?}");
    drop(slow);
    hostile_bodies(&it, &eve);
    let grown = memory(&it, "VmHWM:").saturating_sub(before);
    eprintln!("honest: {rounds} rounds, longest {longest:?}; {} KiB more memory", grown >> 10);
    let ceiling = MAX_STREAMS_PER_CLIENT * (UPLOAD_BYTES + VAULT_STREAM_BYTES) + 64 * CONNECTION_BYTES;
    assert!(grown <= ceiling, "{grown} bytes for one client, {ceiling} are stated");
    assert!(!it.log().contains("panicked"));
}

/// While her own bodies have all places for bodies: what is small is answered at once.
fn errands_do_not_wait(it: &TestBox, eve: &str) {
    let mut wire = Wire::from(it, [127, 5, 0, 2]);
    let lock = format!("/eve/work/locks/{}", name_of(b"a lock"));
    let start = Instant::now();
    for (verb, path, body, status) in [
        ("GET", "/v1/datasets", None, 200),
        ("POST", "/eve/work/?create=true", Some(&b""[..]), 200),
        ("POST", lock.as_str(), Some(b"a lock"), 200),
        ("HEAD", lock.as_str(), None, 200),
        ("GET", "/eve/work/locks/", None, 200),
        ("DELETE", lock.as_str(), None, 200),
        ("HEAD", "/v1/datasets/d/snapshots/latest", None, 404),
        ("PROPFIND", "/v1/dav/", None, 207),
    ] {
        let said = wire.ask(eve, verb, path, "Depth: 1\r\n", body);
        assert_eq!(said.status, status, "{verb} {path}: {}", said.text());
    }
    assert!(start.elapsed() < HONEST_WAIT, "behind her own bodies: {:?}", start.elapsed());
}

/// What restic would call these bytes.
fn name_of(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[test]
fn one_secret_from_many_addresses_keeps_nobody_out() {
    let it = quiet_box(1);
    let (eve, bob) = (it.client("eve", &[]), it.client("bob", &[]));
    let before = sockets(&it);
    let mut held: Vec<Wire<'_>> = Vec::new();
    for n in 0..MAX_CONNECTIONS + 100 {
        let mut wire = Wire::from(&it, [127, 6, 0, (n / MAX_CONNECTIONS_PER_PEER) as u8 + 1]);
        assert_eq!(wire.ask(&eve, "GET", "/v1/datasets", "", None).status, 200, "connection {n}");
        held.push(wire);
        if n % 100 == 99 {
            let start = Instant::now();
            let said = Wire::from(&it, [127, 6, 1, 1]).ask(&bob, "PUT", "/v1/datasets/d", "", Some(b"bob's"));
            assert_eq!(said.status, 201, "beside {n} connections of eve");
            assert!(start.elapsed() < HONEST_WAIT);
        }
    }
    let most = sockets(&it);
    eprintln!("{} connections of one client asked for, {} sockets", held.len(), most - before);
    assert!(most <= before + MAX_CONNECTIONS * 3 / 4 + 64, "more than its share in a crowded house: {most}");
}

#[test]
fn lists_that_nobody_reads_cost_a_few_pages_each() {
    let it = quiet_box(1);
    let (eve, bob) = (it.client("eve", &[]), it.client("bob", &[]));
    let mut wire = Wire::new(&it);
    let put = request(&eve, "PUT", "/v1/datasets/junk", "", Some(b""));
    for _ in 0..125 {
        wire.send(&put.repeat(32));
        (0..32).for_each(|_| assert_eq!(wire.hear(false).map(|said| said.status), Some(201)));
    }
    let list = Wire::new(&it).ask(&eve, "GET", "/v1/datasets/junk/snapshots", "", None);
    let listed: serde_json::Value = serde_json::from_slice(&list.body).expect("one JSON document");
    let snapshots = listed["snapshots"].as_array().expect("a list");
    let ids: std::collections::HashSet<&str> =
        snapshots.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!((snapshots.len(), ids.len()), (4_000, 4_000), "whole, over many pages");
    let before = memory(&it, "VmHWM:");
    let asking = request(&eve, "GET", "/v1/datasets/junk/snapshots", "", None);
    let mut held: Vec<Wire<'_>> = (0..60).map(|_| Wire::from(&it, [127, 7, 0, 1])).collect();
    held.iter_mut().for_each(|wire| wire.send(&asking));
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let said =
        Wire::from(&it, [127, 7, 0, 2]).ask(&bob, "PUT", "/v1/datasets/d", "", Some(&noise(200_000, 1)));
    assert_eq!(said.status, 201);
    assert!(start.elapsed() < HONEST_WAIT, "{:?}", start.elapsed());
    let bobs = Wire::from(&it, [127, 7, 0, 2]).ask(&bob, "GET", "/v1/datasets", "", None);
    assert_eq!(bobs.status, 200, "his lists have places of their own");
    let grown = memory(&it, "VmHWM:").saturating_sub(before);
    eprintln!("60 lists of {} KiB that nobody reads: {} KiB more memory", list.body.len() >> 10, grown >> 10);
    // Some lists under way, connections with what the system had buffered, and bob's push.
    let ceiling =
        MAX_LISTS_PER_CLIENT * list.body.len() + 64 * CONNECTION_BYTES + UPLOAD_BYTES + VAULT_STREAM_BYTES;
    assert!(grown <= ceiling && ceiling < 60 * list.body.len(), "{grown} bytes, {ceiling} are stated");
}

/// Bodies of crumbs, of nothing but trailers, endless ones, and such that say one thing and are another.
fn hostile_bodies(it: &TestBox, eve: &str) {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut crumbs = request(eve, "PUT", "/v1/datasets/d", chunked, None);
    (0..75_000).for_each(|_| crumbs.extend_from_slice(b"1\r\nx\r\n"));
    crumbs.extend_from_slice(b"0\r\n\r\n");
    let said = Wire::new(it).say(&crumbs, false).expect("an answer");
    assert_eq!(said.status, 201, "crumbs are a body: {}", said.text());
    let mut trailers = request(eve, "PUT", "/v1/datasets/d", chunked, None);
    trailers.extend_from_slice(b"1\r\nx\r\n0\r\n");
    (0..20_000).for_each(|n| trailers.extend_from_slice(format!("X-{n}: {n}\r\n").as_bytes()));
    let said = Wire::new(it).say(&trailers, false);
    assert!(said.is_none_or(|said| said.status == 400), "endless trailers");
    // Endless: it is stopped by the quota, after 30 MB and not after what was promised.
    let mut wire = Wire::new(it);
    wire.send(&request(eve, "PUT", "/v1/datasets/d", chunked, None));
    let piece = [b"100000\r\n", &noise(1 << 20, 8)[..], b"\r\n"].concat();
    for _ in 0..60 {
        wire.send(&piece);
    }
    let said = wire.hear(false).expect("an answer");
    assert_eq!(said.status, 507, "{}", said.text());
    let promised = request(eve, "PUT", "/v1/datasets/d", "Content-Length: 99999999999999\r\n", None);
    assert_eq!(
        Wire::new(it).say(&promised, false).expect("an answer").status,
        507,
        "refused before it comes"
    );
}
