//! Where things are on a disk: names of files and folders, drawn in `docs/format.md`.

use coffre_core::ids::PackId;

/// The label.
pub const LABEL: &str = "label";
/// The key slots: one standard `age` file.
pub const KEYS: &str = "keys.age";
/// Folder of journal segments.
pub const JOURNAL: &str = "journal";
/// Folder of checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// Folder of shard folders.
pub const SHARDS: &str = "shards";
/// Folder of journal tails and files put aside, never erased by the box itself.
pub const QUARANTINE: &str = "quarantine";
/// A file of zeros that is removed when the journal finds no room.
pub const BALLAST: &str = "ballast";
/// What a person reads who finds the disk.
pub const README: &str = "LISEZ-MOI.txt";
/// What stands in it.
pub const README_TEXT: &str = include_str!("readme.txt");
/// What systems make by themselves in the topmost folder of a file system.
const OF_THE_SYSTEM: [&str; 3] = ["lost+found", "System Volume Information", "$RECYCLE.BIN"];
/// The witness, in the state folder.
pub const WITNESS: &str = "witness";

/// Segment `n` of the journal.
pub fn segment(n: u32) -> String {
    format!("{JOURNAL}/{n:08x}.seg")
}

/// The number of a segment from its file name, when that is the one name that we give it: `d.seg` is somebody else's.
pub fn segment_number(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name.strip_suffix(".seg")?, 16).ok()?;
    is_last_part(&segment(number), name).then_some(number)
}

/// The checkpoint that covers up to record `seq`.
pub fn checkpoint(seq: u64) -> String {
    format!("{CHECKPOINTS}/{seq:016x}.ckp")
}

/// The record number of a checkpoint from its file name, when that is the one name that we give it.
pub fn checkpoint_seq(name: &str) -> Option<u64> {
    let seq = u64::from_str_radix(name.strip_suffix(".ckp")?, 16).ok()?;
    is_last_part(&checkpoint(seq), name).then_some(seq)
}

/// All shard folders, made at init.
pub fn shard_dirs() -> impl Iterator<Item = String> {
    (0..16).map(|n| format!("{SHARDS}/{n:x}"))
}

/// The folder of a pack's shard: 16 folders, by the first digit of the pack id.
pub fn shard_dir(pack: PackId) -> String {
    format!("{SHARDS}/{:x}", pack.0[0] >> 4)
}

/// A pack's shard.
pub fn shard(pack: PackId) -> String {
    format!("{}/{pack}.shard", shard_dir(pack))
}

/// A pack's shard made again, until it is proved and takes the shard's name.
pub fn shard_new(pack: PackId) -> String {
    format!("{}/{pack}.new", shard_dir(pack))
}

/// The pack of a shard made again from its file name.
pub fn shard_new_pack(name: &str) -> Option<PackId> {
    name.strip_suffix(".new")?.parse().ok()
}

/// The pack of a shard from its file name.
pub fn shard_pack(name: &str) -> Option<PackId> {
    name.strip_suffix(".shard")?.parse().ok()
}

/// Folders of ours on a disk; `""` is the topmost one.
pub fn folders() -> impl Iterator<Item = String> {
    ["", JOURNAL, CHECKPOINTS, QUARANTINE, SHARDS].map(String::from).into_iter().chain(shard_dirs())
}

/// What we give the name `name` in our folder `folder` to, if to anything: `Some(true)` for a folder.
pub fn ours(folder: &str, name: &str) -> Option<bool> {
    let (is_file, is_folder) = match folder {
        "" => (
            [LABEL, KEYS, BALLAST, README].contains(&name.strip_suffix(".new").unwrap_or(name)),
            [JOURNAL, CHECKPOINTS, QUARANTINE, SHARDS].contains(&name) || OF_THE_SYSTEM.contains(&name),
        ),
        JOURNAL => (segment_number(name).is_some(), false),
        CHECKPOINTS => (checkpoint_seq(name).is_some(), false),
        QUARANTINE => (is_put_aside(name), false),
        SHARDS => (false, name.len() == 1 && shard_dirs().any(|dir| is_last_part(&dir, name))),
        _ => {
            let pack = name.strip_suffix(".shard").or(name.strip_suffix(".new"));
            let pack = pack.and_then(|p| p.parse::<PackId>().ok().filter(|id| id.to_string() == p));
            (pack.is_some_and(|id| shard_dir(id) == folder), false)
        }
    };
    (is_file || is_folder).then_some(is_folder)
}

/// Segment `n` that was put aside under the epoch `tag`.
pub fn segment_aside(tag: u64, n: u32) -> String {
    format!("{QUARANTINE}/{tag:016x}-{n:08x}.seg")
}

/// What stood in segment `n` from `offset` on.
pub fn tail_aside(tag: u64, n: u32, offset: u32) -> String {
    format!("{QUARANTINE}/{tag:016x}-{n:08x}-{offset:08x}.tail")
}

/// The checkpoint up to record `seq` that was put aside.
pub fn checkpoint_aside(tag: u64, seq: u64) -> String {
    format!("{QUARANTINE}/{tag:016x}-{seq:016x}.ckp")
}

fn is_put_aside(name: &str) -> bool {
    let digits = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let Some((stem, ending)) = name.split_once('.') else { return false };
    let parts: Vec<&str> = stem.splitn(4, '-').collect();
    match (ending, &parts[..]) {
        ("seg", [tag, n]) => digits(tag, 16) && digits(n, 8),
        ("tail", [tag, n, offset]) => digits(tag, 16) && digits(n, 8) && digits(offset, 8),
        ("ckp", [tag, seq]) => digits(tag, 16) && digits(seq, 16),
        _ => false,
    }
}

fn is_last_part(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}
