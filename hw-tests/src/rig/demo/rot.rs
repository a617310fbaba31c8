//! The leg of rot: shards are damaged and deleted behind the box's back; it finds them, says so, and mends them in place.

use super::legs::{self, Kept};
use super::noise;
use super::prints;
use super::stage::Stage;
use super::summary::{Summary, transfer};
use crate::rig::show;
use crate::rig::signals::Stop;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILMS: &str = "films";
const FILMS_BYTES: u64 = 300_000_000;
/// The disk that rots.
const ROTTEN: usize = 3;
/// So many of its shards get flipped bytes,
const FLIPPED: usize = 3;
/// and so many are deleted.
const DELETED: usize = 2;
/// How often the light is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What was damaged: the pack, its shard's file and what was in it.
struct Wound {
    pack: String,
    file: PathBuf,
    hash: blake3::Hash,
}

/// Pushes what does not compress, so that the disks have something to lose.
pub fn more_to_keep(stage: &mut Stage, summary: &mut Summary, stop: &Stop) -> Result<Kept> {
    summary.page().head("6  Rot on one disk");
    let before = stage.usage();
    let pushed = stage.curl().push(FILMS, |out| noise::write(FILMS, FILMS_BYTES, out))?;
    summary.fact("pushed, incompressible", transfer(pushed.sent_bytes, pushed.took, before, stage.usage()));
    stop.check()?;
    let (kept, _) = legs::acknowledged(FILMS, &pushed, summary)?.context("a push was refused")?;
    Ok(kept)
}

/// Damages shards of one disk, has everything looked at, waits until all is healed.
pub fn damage_and_heal(stage: &mut Stage, all: &[Kept], summary: &mut Summary, stop: &Stop) -> Result<()> {
    let page = summary.page();
    let wounds = damage(&stage.disks()[ROTTEN])?;
    page.fact("damaged on disk 4", format_args!("bytes flipped in {FLIPPED} shards, {DELETED} deleted"));
    page.line("  $ coffre scrub --deep");
    let since = Instant::now();
    let (told, seen) = scrub_and_watch(stage, stop)?;
    let looked = since.elapsed();
    if let Some((after, why)) = &seen {
        page.fact("amber", format_args!("{} after it began: {why}", show::time(*after)));
    }
    let found = found(&told, &wounds).len();
    let strangers = told["finds"].as_array().map_or(0, Vec::len).saturating_sub(found);
    summary.fact("deep scrub, everything read", show::time(looked));
    summary.check(
        found == wounds.len() && strangers == 0,
        format!("the scrub finds the {} damaged shards, and nothing else", wounds.len()),
    );
    summary.check(seen.is_some(), "the light is amber until they are healed");
    legs::green_again(stage, "after the scrub", summary, stop)?;
    let shown = stage.coffre().json(&["scrub", "--show"])?;
    let healed = found_and_healed(&shown, &wounds);
    summary.fact(
        "rotten shards",
        format!(
            "{} damaged, {found} found, {healed} healed, {} from the command on",
            wounds.len(),
            show::time(since.elapsed())
        ),
    );
    let same = |wound: &&Wound| prints::of_file(&wound.file).is_ok_and(|print| print.hash == wound.hash);
    let back = wounds.iter().filter(same).count();
    summary.check(
        healed == wounds.len() && back == wounds.len(),
        "every one is healed in its place, byte for byte what it was",
    );
    legs::restore_all(stage, all, "after the rot", summary, stop)
}

/// Flips bytes in some of the largest shards of a disk and deletes others.
fn damage(disk: &Path) -> Result<Vec<Wound>> {
    let shards = prints::shards_of(disk)?;
    ensure!(shards.len() >= FLIPPED + DELETED, "{} has {} shards only", disk.display(), shards.len());
    let mut wounds = Vec::new();
    for (n, (len_bytes, file)) in shards.into_iter().take(FLIPPED + DELETED).enumerate() {
        let pack = file.file_stem().and_then(|stem| stem.to_str()).context("a shard without a name")?;
        wounds.push(Wound { pack: pack.to_owned(), hash: prints::of_file(&file)?.hash, file: file.clone() });
        match n < FLIPPED {
            true => flip(&file, len_bytes)?,
            false => fs::remove_file(&file)?,
        }
    }
    Ok(wounds)
}

/// Flips one bit in the first half of a file and one in its middle, where shards have their data.
fn flip(file: &Path, len_bytes: u64) -> Result<()> {
    let open = File::options().read(true).write(true).open(file)?;
    for at in [len_bytes / 4, len_bytes / 2] {
        let mut byte = [0];
        open.read_exact_at(&mut byte, at)?;
        open.write_all_at(&[byte[0] ^ 0x10], at)?;
    }
    Ok(open.sync_all()?)
}

/// Runs the deep scrub to its end. Gives what it told, and when and why the light was first seen amber.
fn scrub_and_watch(stage: &Stage, stop: &Stop) -> Result<(Value, Option<(Duration, String)>)> {
    let since = Instant::now();
    std::thread::scope(|scope| {
        let scrub = scope.spawn(|| stage.coffre().json(&["scrub", "--deep"]));
        let mut seen = None;
        while !scrub.is_finished() {
            let status = stage.status()?;
            if seen.is_none() && status["light"] == "amber" {
                let why = status["reasons"][0].as_str().unwrap_or("?").to_owned();
                seen = Some((since.elapsed(), why));
            }
            stop.sleep(LOOK_EVERY)?;
        }
        let told = scrub.join().map_err(|_| anyhow!("the scrub's thread panicked"))??;
        Ok((told, seen))
    })
}

/// The finds on the rotten disk that are wounds of ours.
fn found<'a>(told: &'a Value, wounds: &[Wound]) -> Vec<&'a Value> {
    let ours = |find: &&Value| {
        let what = find["what"].as_str().and_then(|what| what.strip_prefix("shard "));
        find["disk"] == ROTTEN + 1 && what.is_some_and(|pack| wounds.iter().any(|wound| wound.pack == pack))
    };
    told["finds"].as_array().into_iter().flatten().filter(ours).collect()
}

fn found_and_healed(told: &Value, wounds: &[Wound]) -> usize {
    found(told, wounds).iter().filter(|find| find["healed_at"].is_string()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_are_told_from_those_of_others() {
        let wound = Wound { pack: "aa".into(), file: PathBuf::new(), hash: blake3::hash(b"") };
        let told = json!({"finds": [
            {"disk": ROTTEN + 1, "what": "shard aa", "healed_at": null},
            {"disk": ROTTEN + 1, "what": "shard bb", "healed_at": "2026-03-01T09:30:00.000Z"},
            {"disk": ROTTEN + 2, "what": "shard aa", "healed_at": null},
            {"disk": null, "what": "pack aa", "healed_at": null},
        ]});
        let wounds = [wound];
        assert_eq!((found(&told, &wounds).len(), found_and_healed(&told, &wounds)), (1, 0));
    }

    #[test]
    fn the_damage_is_real_and_no_more_than_was_said() {
        let disk = tempfile::tempdir().expect("a scratch folder");
        let folder = disk.path().join("shards/0");
        fs::create_dir_all(&folder).expect("writable");
        for n in 0..7u8 {
            fs::write(folder.join(format!("{n}.shard")), vec![n; 9000]).expect("writable");
        }
        let wounds = damage(disk.path()).expect("enough shards");
        assert_eq!(wounds.len(), FLIPPED + DELETED);
        let there = |w: &&Wound| w.file.exists();
        assert_eq!(wounds.iter().filter(there).count(), FLIPPED);
        let changed = |w: &Wound| prints::of_file(&w.file).expect("readable").hash != w.hash;
        assert!(wounds.iter().filter(there).all(changed));
        assert_eq!(prints::shards_of(disk.path()).expect("readable").len(), 7 - DELETED);
    }
}
