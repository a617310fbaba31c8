//! What is nobody's in our folders: names that we give to nothing, and things that are no files under names of ours.
//!
//! Whoever reads a disk passes over them, however many there are; so they hide nothing. But somebody has put them there, they
//! take room, and with some of them in its way a disk cannot be written: they are counted and told, and never touched.
//!
//! A few names with a dot in front are what other systems leave behind wherever they look (`.DS_Store`, `.Trash-1000`): up to
//! [`MOST_HIDDEN`] of them in one folder are not told.

use crate::layout;
use crate::ports::{Disk, DiskError, DiskResult, EntryKind};

/// Names with a dot in front that one folder may have without a word about it.
pub const MOST_HIDDEN: u64 = 16;
/// Longest part of a foreign name that is told, in characters.
const MAX_TOLD: usize = 40;

/// What is nobody's in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// The folder; `""` is the topmost one of the disk.
    pub folder: String,
    /// How many.
    pub count: u64,
    /// The name of one of them, the first in order, fit to be shown.
    pub example: String,
    /// Whether one of them stands in the place of something of ours.
    pub in_the_way: bool,
}

/// Counts what is nobody's in `folder`; `None` when there is nothing to tell.
pub fn look(disk: &dyn Disk, folder: &str) -> DiskResult<Option<Crowd>> {
    let (mut count, mut hidden, mut example, mut in_the_way) = (0, 0, None::<String>, false);
    let looked = disk.each(folder, &mut |name, kind| {
        let in_place = layout::ours(folder, name).map(|is_folder| match kind {
            EntryKind::File => !is_folder,
            EntryKind::Folder => is_folder,
            EntryKind::Other => false,
            EntryKind::Unknown => true,
        });
        if in_place == Some(true) {
            return;
        }
        if in_place.is_none() && name.starts_with('.') {
            hidden += 1;
        }
        count += 1;
        in_the_way |= in_place.is_some();
        if example.as_ref().is_none_or(|known| name < known.as_str()) {
            example = Some(name.to_owned());
        }
    });
    match looked {
        Err(DiskError::NotFound(_)) => return Ok(None),
        other => other?,
    }
    let harmless = count == hidden && hidden <= MOST_HIDDEN;
    let example = fit_to_show(&example.unwrap_or_default());
    Ok((!harmless).then(|| Crowd { folder: folder.to_owned(), count, example, in_the_way }))
}

/// A name that somebody else gave, without what a terminal or a log would obey.
fn fit_to_show(name: &str) -> String {
    let shown = name.chars().take(MAX_TOLD).map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let cut = if name.chars().count() > MAX_TOLD { "\u{2026}" } else { "" };
    shown.collect::<String>() + cut
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folder, count, example, in_the_way } = self;
        match (*count, folder.as_str()) {
            (1, "") => write!(f, "`{example}`")?,
            (1, _) => write!(f, "`{folder}/{example}`")?,
            (n, "") => write!(f, "{n} things in its topmost folder, one of them `{example}`")?,
            (n, _) => write!(f, "{n} things in `{folder}`, one of them `{example}`")?,
        }
        if *in_the_way {
            f.write_str(", and something stands where a file of the vault belongs")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FsDisk;
    use nix::sys::stat::Mode;
    use std::fs;

    #[test]
    fn what_is_ours_is_not_told_and_anything_else_is() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = |name: &str| scratch.path().join(name);
        for folder in layout::folders() {
            fs::create_dir_all(path(&folder)).expect("scratch");
        }
        let disk = FsDisk::attach(scratch.path()).expect("a folder");
        let told = |folder: &str| look(&disk, folder).expect("it answers");
        let pack = coffre_core::ids::PackId([0x3a; 16]);
        let ours = [
            layout::LABEL.to_owned(),
            layout::KEYS.to_owned(),
            format!("{}.new", layout::KEYS),
            layout::BALLAST.to_owned(),
            layout::README.to_owned(),
            layout::segment(7),
            layout::checkpoint(9),
            layout::shard(pack),
            layout::shard_new(pack),
            layout::segment_aside(3, 1),
            layout::tail_aside(3, 1, 4096),
            layout::checkpoint_aside(3, 1),
            "journal/.DS_Store".to_owned(),
        ];
        ours.iter().for_each(|name| fs::write(path(name), b"").expect("scratch"));
        fs::create_dir(path("lost+found")).expect("scratch");
        for folder in layout::folders() {
            assert_eq!(told(&folder), None, "{folder}");
        }
        // Another folder's shard, upper case, a number too short, a name of ours that a pipe or a folder bears.
        fs::write(path(&format!("shards/4/{pack}.shard")), b"").expect("scratch");
        fs::write(path("journal/0000000A.seg"), b"").expect("scratch");
        fs::write(path("checkpoints/9.ckp"), b"").expect("scratch");
        fs::write(path("shards/.a\u{1b}[31m"), b"").expect("scratch");
        fs::write(path("shards/x"), b"").expect("scratch");
        fs::create_dir(path("quarantine/0000000000000003-00000002.seg")).expect("scratch");
        nix::unistd::mkfifo(&path("keys.age.new.new"), Mode::S_IRUSR).expect("scratch");
        fs::remove_file(path(layout::BALLAST)).expect("scratch");
        nix::unistd::mkfifo(&path(layout::BALLAST), Mode::S_IRUSR).expect("scratch");
        let in_the_way = |folder| told(folder).map(|c| (c.count, c.in_the_way));
        assert_eq!(in_the_way("shards/4"), Some((1, false)));
        assert_eq!(in_the_way("journal"), Some((2, false)));
        assert_eq!(in_the_way("checkpoints"), Some((1, false)));
        assert_eq!(in_the_way("quarantine"), Some((1, true)));
        assert_eq!(in_the_way(""), Some((2, true)));
        assert_eq!(told("shards").map(|c| c.example), Some(".a\u{fffd}[31m".to_owned()));
        assert_eq!(told("shards/3"), None);
    }

    #[test]
    fn a_few_hidden_names_are_not_told_and_many_are() {
        let scratch = tempfile::tempdir().expect("scratch");
        fs::create_dir(scratch.path().join("journal")).expect("scratch");
        let disk = FsDisk::attach(scratch.path()).expect("a folder");
        for n in 0..=MOST_HIDDEN {
            let told = look(&disk, "journal").expect("it answers");
            assert_eq!(told, None, "{n}");
            fs::write(scratch.path().join(format!("journal/.{n}")), b"").expect("scratch");
        }
        let told = look(&disk, "journal").expect("it answers").map(|c| c.count);
        assert_eq!(told, Some(MOST_HIDDEN + 1));
    }
}
