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

fn is_last_part(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}
