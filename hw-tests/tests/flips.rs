//! G2: a flipped bit anywhere on any file never becomes a wrong byte.
//!
//! One small vault per geometry holds snapshots of every kind. Each case restores its disks, flips a bit, comes up and reads
//! everything: within the tolerance all of it is there, beyond it what is given out is still exact or an error says
//! why. Every eighth case also goes on: a snapshot is pushed, the power cut, and everything read again.

use coffre_core::fact::Body;
use coffre_core::ids::DiskNo;
use coffre_core::label::Label;
use coffre_core::record::{Found, decode};
use coffre_core::shard::{HEADER_LEN, ShardHeader};
use coffre_core::witness::Witness;
use coffre_rig::rng::{Rng, splitmix};
use coffre_rig::scale;
use coffre_rig::seeds::announce;
use coffre_rig::sim::SimDisk;
use coffre_rig::world::{Bench, Images};
use coffre_vault::layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes are drawn where something is written three times in four: most of a disk is zeros.
const GRAIN: usize = 32;

/// A vault with everything in it, as it lies on its disks.
struct Vault {
    bench: Bench,
    images: Images,
    /// Per disk, and last the state medium: paths with their bytes.
    files: Vec<Vec<(String, Vec<u8>)>>,
}

/// A bit of a file, on one disk or on several.
#[derive(Debug)]
struct Flip {
    disks: Vec<usize>,
    path: String,
    offset: usize,
    bit: u8,
}

impl Vault {
    fn new(k: u8, m: u8) -> Self {
        let mut bench = Bench::new(k, m, 20_260_729);
        bench.boot(bench.all()).expect("a new vault comes up");
        bench.rest();
        bench.work();
        bench.rest();
        let contents = |disk: &SimDisk| -> Vec<(String, Vec<u8>)> {
            let peek = |path: String| disk.peek(&path).map(|bytes| (path, bytes));
            disk.files().into_iter().filter(|f| f.1 > 0).filter_map(|f| peek(f.0)).collect()
        };
        let files = bench.machine.disks.iter().chain([&bench.machine.state]).map(contents).collect();
        let images = bench.images();
        Self { bench, images, files }
    }

    fn medium(&self, at: usize) -> &SimDisk {
        self.bench.machine.disks.get(at).unwrap_or(&self.bench.machine.state)
    }

    /// A bit somewhere on `disk`, and the same one on others of `also` that have such a file.
    fn draw(&self, rng: &mut Rng, disk: usize, also: &[usize]) -> Flip {
        let (path, bytes) = rng.pick(&self.files[disk]).expect("no medium is empty");
        let written: Vec<usize> = (0..bytes.len())
            .step_by(GRAIN)
            .filter(|at| bytes[*at..bytes.len().min(at + GRAIN)].iter().any(|b| *b != 0))
            .collect();
        let three_in_four = rng.chance(3, 4);
        let offset = match rng.pick(&written).copied().filter(|_| three_in_four) {
            Some(at) => (at + rng.index(GRAIN)).min(bytes.len() - 1),
            None => rng.index(bytes.len()),
        };
        let has = |d: &usize| self.files[*d].iter().any(|f| f.0 == *path && f.1.len() > offset);
        let others = also.iter().copied().filter(|d| *d != disk).filter(has);
        Flip {
            disks: std::iter::once(disk).chain(others).collect(),
            path: path.clone(),
            offset,
            bit: rng.below(8) as u8,
        }
    }

    fn flip(&self, flip: &Flip) {
        for at in &flip.disks {
            let medium = self.medium(*at);
            let bytes = medium.peek(&flip.path).expect("drawn from its files");
            medium.poke(&flip.path, flip.offset as u64, &[bytes[flip.offset] ^ 1 << flip.bit]);
        }
    }

    /// Restores, flips, comes up, reads. `Ok` says how many snapshots read whole.
    fn try_flip(&mut self, flip: &Flip, seed: u64, within: bool, go_on: bool) -> Result<usize, String> {
        self.bench.restore(&self.images);
        self.bench.reseed(seed);
        self.flip(flip);
        let handed = self.bench.handed.len();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.play(within, go_on)));
        self.bench.handed.truncate(handed);
        match outcome {
            Ok(Ok(read)) if within && read < handed => {
                Err(format!("{flip:?}: only {read} of {handed} snapshots"))
            }
            Ok(Ok(read)) => Ok(read),
            Ok(Err(why)) => Err(format!("{flip:?}: {why}")),
            Err(_) => Err(format!("{flip:?}: a panic")),
        }
    }

    fn play(&mut self, within: bool, go_on: bool) -> Result<usize, String> {
        let bench = &mut self.bench;
        let all = bench.all();
        match bench.boot(all) {
            Ok(()) => {}
            Err(fault) if within => return Err(format!("it does not come up: {fault}")),
            Err(_) => return Ok(0),
        }
        let read = bench.check(within)?;
        if go_on {
            bench.rest();
            match bench.put(b"one more after the flip") {
                Err(fault) if within => return Err(format!("it takes no more: {fault}")),
                _ => {}
            }
            bench.rest();
            bench.check(within)?;
            bench.power_cut(&mut Rng::new(1));
            match bench.boot(all) {
                Err(fault) if within => return Err(format!("it does not come up again: {fault}")),
                Err(_) => return Ok(read),
                Ok(()) => bench.rest(),
            }
            bench.check(within)?;
        }
        Ok(read)
    }
}

/// Runs `count` cases on two threads, each with vaults of its own; panics with the first that breaks a promise.
/// Returns how many snapshots were read whole and how many could have been.
fn run(
    count: u64,
    geometries: &[(u8, u8)],
    case: impl Fn(&mut Vault, u64) -> Result<usize, String> + Sync,
) -> (u64, u64) {
    let (next, whole, all) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let broken = Mutex::new(None::<String>);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut vaults: Vec<Vault> = geometries.iter().map(|(k, m)| Vault::new(*k, *m)).collect();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || broken.lock().expect("no panic").is_some() {
                        return;
                    }
                    let at = n as usize % vaults.len();
                    let vault = &mut vaults[at];
                    match case(vault, n) {
                        Ok(read) => {
                            whole.fetch_add(read as u64, Ordering::Relaxed);
                            all.fetch_add(vault.bench.handed.len() as u64, Ordering::Relaxed);
                        }
                        Err(why) => {
                            let (k, m) = geometries[at];
                            *broken.lock().expect("no panic") = Some(format!("case {n} of {k}+{m}: {why}"));
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().expect("no panic");
    assert!(broken.is_none(), "{}", broken.unwrap_or_default());
    (whole.into_inner(), all.into_inner())
}

/// What is flipped has every kind of snapshot in it, or the rest of this file proves little.
#[test]
fn the_vault_has_every_kind() {
    let vault = Vault::new(2, 1);
    assert!(vault.bench.handed.len() >= 12 && vault.bench.handed.iter().all(|h| h.acked));
    let core = vault.bench.core().expect("it is up");
    let (mut inline, mut chunked, mut deep, mut folded) = (0, 0, 0, 0);
    core.with(|e| {
        for handed in &vault.bench.handed {
            match &e.catalog().object(&handed.id).expect("it is there").body {
                Body::Inline(_) => inline += 1,
                Body::Chunks(_) if handed.bytes.len() <= 128 => folded += 1,
                Body::Chunks(_) => chunked += 1,
                Body::Deep(_) => deep += 1,
            }
        }
    });
    assert!(inline > 1 && chunked > 1 && deep > 0 && folded > 1, "{inline} {chunked} {deep} {folded}");
    let merged = core.with(|e| {
        let moved = |f: &coffre_core::fact::Fact| matches!(f, coffre_core::fact::Fact::PackDropped { .. });
        e.catalog().facts().filter(|f| moved(f)).count()
    });
    assert!(merged > 1, "packs were merged");
    assert!(vault.files[0].iter().any(|f| f.0.starts_with(layout::CHECKPOINTS)), "there is a checkpoint");
}

/// One bit of one medium, m at least 1: everything reads, and the box goes on.
#[test]
fn one_flip_is_mended() {
    let count = scale("COFFRE_FLIPS", 50_000) * 4 / 5;
    let from = announce("flips", "one_flip_is_mended");
    let (whole, all) = run(count, &[(1, 1), (2, 1), (2, 2), (3, 2)], |vault, n| {
        let n = n + from / 4 * 4;
        let mut rng = Rng::new(splitmix(n));
        let at = rng.index(vault.files.len());
        let flip = vault.draw(&mut rng, at, &[]);
        vault.try_flip(&flip, n, true, (n / 4).is_multiple_of(8))
    });
    eprintln!("{count} flips, {whole} of {all} snapshots read bit-identical");
    assert_eq!(whole, all);
}

/// The same bit on more disks than the geometry can miss, or on the only one: exact, or an error.
#[test]
fn flips_beyond_the_tolerance_give_no_wrong_byte() {
    let count = scale("COFFRE_FLIPS", 50_000) / 5;
    let from = announce("flips", "flips_beyond_the_tolerance_give_no_wrong_byte");
    let (whole, all) = run(count, &[(1, 0), (1, 1), (2, 1), (2, 2)], |vault, n| {
        let n = n + from / 4 * 4;
        let mut rng = Rng::new(splitmix(n ^ 0xBE40_0000_0000));
        let disks = vault.bench.machine.disks.len();
        let m = usize::from(vault.bench.case.m);
        let mut order: Vec<usize> = (0..disks).collect();
        rng.shuffle(&mut order);
        order.truncate(m + 1 + rng.index(disks - m));
        let flip = vault.draw(&mut rng, order[0], &order);
        vault.try_flip(&flip, n, false, (n / 4).is_multiple_of(8))
    });
    eprintln!("{count} flips, {whole} of {all} snapshots read bit-identical, the others gave an error");
    assert!(
        whole < all || count < 1_000,
        "flips beyond the tolerance cost nothing: they do not reach anything"
    );
}

/// Every bit of a label, a witness, a record and a shard's header, as the vault meets it when it comes up.
#[test]
fn every_bit_of_the_headers_is_mended() {
    let vault = Vault::new(2, 1);
    let spots = header_spots(&vault);
    let bits = spots.len() as u64 * 8;
    let (whole, all) = run(bits, &[(2, 1)], |vault, n| {
        let (medium, path, offset) = &spots[(n / 8) as usize];
        let flip = Flip { disks: vec![*medium], path: path.clone(), offset: *offset, bit: (n % 8) as u8 };
        vault.try_flip(&flip, n, true, false)
    });
    eprintln!("{bits} flips, {whole} of {all} snapshots read bit-identical");
    assert_eq!(whole, all);
}

/// The bytes of label, witness, first record of a segment and header of a shard, zeros between far fields left out.
fn header_spots(vault: &Vault) -> Vec<(usize, String, usize)> {
    let state = vault.files.len() - 1;
    let shard = vault.files[0].iter().find(|f| f.0.starts_with(layout::SHARDS)).expect("there are shards");
    let segment = vault.files[0].iter().find(|f| f.0.starts_with(layout::JOURNAL)).expect("a journal");
    let pieces = [
        (0, layout::LABEL, 2 * HEADER_LEN),
        (state, layout::WITNESS, 2 * HEADER_LEN),
        (0, segment.0.as_str(), HEADER_LEN),
        (0, shard.0.as_str(), HEADER_LEN),
    ];
    let mut spots = Vec::new();
    for (medium, path, len) in pieces {
        let (_, bytes) = vault.files[medium].iter().find(|f| f.0 == path).expect("it is there");
        for (n, grain) in bytes[..len].chunks(GRAIN).enumerate() {
            if grain.iter().any(|b| *b != 0) {
                spots.extend((0..grain.len()).map(|i| (medium, path.to_owned(), n * GRAIN + i)));
            }
        }
    }
    spots
}

/// Every bit of whole files, as their readers meet them: never anything but what was written.
#[test]
fn every_bit_of_the_files_is_noticed_by_its_reader() {
    let vault = Vault::new(2, 1);
    let bytes = |medium: usize, at: &str| -> Vec<u8> {
        vault.files[medium].iter().find(|f| f.0.starts_with(at)).expect("it is there").1.clone()
    };
    let id = vault.bench.machine.survey(DiskNo(0)).expect("its disk reads").label.vault;
    let label = bytes(0, layout::LABEL);
    let either = [&label[..HEADER_LEN], &label[HEADER_LEN..]].map(|slot| Label::peek(slot).expect("valid"));
    each_flip(&label, |bad| assert!(either.contains(&Label::peek(bad).expect("the other slot is whole"))));
    let witness = bytes(vault.files.len() - 1, layout::WITNESS);
    let either = [&witness[..HEADER_LEN], &witness[HEADER_LEN..]].map(|slot| Witness::decode(id, slot));
    each_flip(&witness, |bad| {
        let read = Witness::decode(id, bad);
        assert!(read.is_some() && either.contains(&read), "the other slot is whole");
    });
    let segment = bytes(0, layout::JOURNAL);
    let Found::Record(whole, body) = decode(id, &segment) else { panic!("a segment begins with a record") };
    let used = coffre_core::record::HEADER_LEN + body.len();
    each_flip(&segment[..whole.padded_len], |bad| match decode(id, bad) {
        Found::Record(meta, read) => assert!(meta == whole && read == body && bad[..used] == segment[..used]),
        Found::Junk => assert!(bad[..used] != segment[..used], "padding is not looked at"),
        Found::Nothing => panic!("a record is not nothing"),
    });
    let shard = bytes(0, layout::SHARDS);
    assert!(ShardHeader::parse(&shard[..HEADER_LEN]).is_ok());
    each_flip(&shard[..HEADER_LEN], |bad| assert!(ShardHeader::parse(bad).is_err()));
}

fn each_flip(bytes: &[u8], mut look: impl FnMut(&[u8])) {
    let mut bad = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        bad[bit / 8] ^= 1 << (bit % 8);
        look(&bad);
        bad[bit / 8] ^= 1 << (bit % 8);
    }
}
