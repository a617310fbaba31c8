//! How fast a disk is filled again and a vault is looked through: `cargo bench -p coffre-rig --bench rebuild_speed [-- MEGABYTES [ROUNDS]]`.
//!
//! A real vault of six folders, 4+2, gets random data. Then, in turns: all shards of one folder are removed and the vault heals
//! them; programs without any sense of what they carry do the same reading and writing; the vault looks at every block; the
//! programs read the same files. Everything is read cold. All folders are on one file system, that of
//! `COFFRE_BENCH_DIR` or of temporary files: each byte of a rebuild crosses one device six times for ours (four read, one written,
//! one read back) and five times for a program that proves nothing.
#![allow(clippy::print_stdout)]

mod ours;
mod yardstick;

use ours::Box6;
use yardstick::Reading;

/// Megabytes of data, and turns of each contender.
const MEGABYTES: usize = 1_500;
const ROUNDS: usize = 3;

/// What one turn took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// Shard bytes written, or read by a deep look.
    bytes: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Turn {
    fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    fn cpu_per_gb(&self) -> f64 {
        self.cpu_seconds / (self.bytes as f64 / 1e9)
    }
}

fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let megabytes = numbers.next().unwrap_or(MEGABYTES);
    let rounds = numbers.next().unwrap_or(ROUNDS).max(1);
    let it = Box6::filled(megabytes)?;
    println!(
        "{megabytes} MB in {} shard files; MB/s of shards, CPU seconds per GB of shards",
        it.shard_files()?
    );
    let mut rebuilds = vec![Vec::new(); 3];
    let mut looks = vec![Vec::new(); 3];
    for round in 0..rounds {
        for turn in (0..3).map(|n| (n + round) % 3) {
            let victim = (round + turn) % 6;
            rebuilds[turn].push(match turn {
                0 => it.rebuild(victim)?,
                1 => yardstick::rebuild(it.folder(), victim, Reading::Cached)?,
                _ => yardstick::rebuild(it.folder(), victim, Reading::Direct)?,
            });
            looks[turn].push(match turn {
                0 => it.deep_look()?,
                1 => yardstick::read_all(it.folder(), Reading::Cached)?,
                _ => yardstick::read_all(it.folder(), Reading::Direct)?,
            });
        }
    }
    report("rebuild", &rebuilds);
    report("deep scrub", &looks);
    println!("peak resident memory of the bench, all contenders: {} MiB", ours::peak_mib());
    Ok(())
}

/// One line per contender; ratios are medians over the rounds.
fn report(what: &str, turns: &[Vec<Turn>]) {
    for (name, of) in ["the vault", "a program, cached", "a program, O_DIRECT"].iter().zip(turns) {
        let ratios = turns[0].iter().zip(of).map(|(ours, theirs)| ours.mb_per_s() / theirs.mb_per_s());
        println!(
            "{what:<11} {name:<20} {:>6.0} MB/s  {:>5.2} CPU s/GB  the vault is {:.2} x it",
            median(of.iter().map(Turn::mb_per_s)),
            median(of.iter().map(Turn::cpu_per_gb)),
            median(ratios)
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
