//! Looking for the disks of the vault: by their labels, on whatever path they show, without waiting for one that hangs.
//!
//! Nothing is written here. What is found is held, so that nobody else takes it while it is used; what somebody else holds is only
//! said to be there. A folder without a label, with a damaged one or with one of another vault is left alone and
//! the reason is kept in words. One disk on two paths is a copy of a disk: the one in its own place is used, and when neither
//! is in its own place nobody can tell which is the real one, so neither is used.
//!
//! Which disks the vault has is told by the labels themselves: of those that show anywhere, the highest version holds. What
//! the box remembers counts like one label more, so that a disk that was taken out does not bring back its old roster when it
//! comes alone.

use crate::disk::{FsDisk, Holder};
use crate::engine::SlotState;
use crate::layout;
use crate::ports::{Disk, DiskError};
use crate::state::BoxFile;
use crate::survey::{Images, NotOurs, Survey, read_label, survey_sharing};
use coffre_core::diskset::DiskSet;
use coffre_core::ids::{DiskId, DiskNo};
use coffre_core::keys::KeyRing;
use coffre_core::label::{BadLabel, Label};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long a disk may take to show everything it has.
const LOOK_CEILING_MS: u64 = 30_000;

/// How long a disk may take to show its label.
const LABEL_CEILING_MS: u64 = 2_000;

/// A disk that was found and read.
pub(crate) struct Found {
    pub disk: Arc<FsDisk>,
    pub path: PathBuf,
    pub survey: Survey,
}

/// A disk, or why there is none.
pub(crate) type Sight = Result<Found, (SlotState, String)>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lookout {
    keys: Arc<KeyRing>,
    roster: Vec<DiskId>,
    holder: Holder,
    /// Where each disk is expected, then other places; any disk may be at any of them.
    paths: Vec<PathBuf>,
    /// A look at this path has not come back yet.
    busy: Vec<Arc<AtomicBool>>,
}

enum Shown {
    Wanted(DiskNo, Box<Found>),
    /// A disk of ours that another process has.
    Held(DiskNo, String),
    /// A disk of ours that is in use elsewhere.
    InUse(DiskNo),
    /// A disk whose label is damaged or forged, whichever it is, in words.
    Damaged(String),
    Nothing(SlotState, String),
}

impl Lookout {
    pub fn new(of: &BoxFile, keys: &Arc<KeyRing>, holder: &Holder) -> Self {
        let paths = of.paths();
        let busy = paths.iter().map(|_| Arc::default()).collect();
        Self { keys: keys.clone(), roster: of.roster(), holder: holder.clone(), paths, busy }
    }

    /// Looks for the disks in `wanted`, one after the other as in the roster. `in_use`: paths that need no look.
    pub fn look(&self, wanted: DiskSet, in_use: &[PathBuf]) -> Vec<(DiskNo, Sight)> {
        let mut shown = self.look_at_paths(wanted, in_use);
        wanted.iter().map(|disk| (disk, self.sight(disk, &mut shown))).collect()
    }

    /// Reads the labels at all paths, of disks of this vault only, whatever roster they tell.
    pub fn labels(&self) -> Vec<(PathBuf, Label)> {
        let keys = self.keys.clone();
        let read = move |path: &Path| {
            let disk = FsDisk::attach(path).ok()?;
            read_label(&disk, &keys).ok()
        };
        let shown = self.at_each(|_| true, LABEL_CEILING_MS, read);
        let found = |(path, label): (&PathBuf, Option<Option<Label>>)| Some((path.clone(), label??));
        self.paths.iter().zip(shown).filter_map(found).collect()
    }

    /// Disks of the vault that are in none of its places any more, and where they are. One that was to come back and was cut
    /// off on the way is among them: its label is that of a newcomer, and it has shards.
    pub fn retired(&self) -> Vec<(PathBuf, Label)> {
        let (keys, roster) = (self.keys.clone(), self.roster.clone());
        let read = move |path: &Path| {
            let disk = FsDisk::attach(path).ok()?;
            let label = read_label(&disk, &keys).ok().filter(|l| !roster.contains(&l.disk))?;
            (!label.is_newcomer() || has_shards(&disk)).then_some(label)
        };
        let shown = self.at_each(|path| !path.as_os_str().is_empty(), LABEL_CEILING_MS, read);
        let found = |(path, label): (&PathBuf, Option<Option<Label>>)| Some((path.clone(), label??));
        let mut seen: Vec<(PathBuf, Label)> = Vec::new();
        for (path, label) in self.paths.iter().zip(shown).filter_map(found) {
            if seen.iter().all(|(_, other)| other.disk != label.disk) {
                seen.push((path, label));
            }
        }
        seen
    }

    fn look_at_paths(&self, wanted: DiskSet, in_use: &[PathBuf]) -> Vec<Option<Shown>> {
        let (keys, roster) = (self.keys.clone(), self.roster.clone());
        let idle = |path: &Path| !path.as_os_str().is_empty() && !in_use.iter().any(|p| p == path);
        let (images, holder) = (Images::default(), self.holder.clone());
        let look = move |path: &Path| look_at(path, &keys, &roster, wanted, &images, &holder);
        let shown = self.at_each(idle, LOOK_CEILING_MS, look);
        let silent = || Shown::Nothing(SlotState::Suspect, "it does not answer".into());
        let paths = self.paths.iter().zip(shown);
        paths.map(|(path, shown)| idle(path).then(|| shown.unwrap_or_else(silent))).collect()
    }

    /// Does `look` at each of the `chosen` paths, on a thread of its own, and waits a bounded time. `None`: no answer.
    fn at_each<T: Send + 'static>(
        &self,
        chosen: impl Fn(&Path) -> bool,
        ceiling_ms: u64,
        look: impl Fn(&Path) -> T + Clone + Send + 'static,
    ) -> Vec<Option<T>> {
        let (tell, told) = channel();
        let mut open = 0;
        let mut shown: Vec<Option<T>> = self.paths.iter().map(|_| None).collect();
        for (at, path) in self.paths.iter().enumerate().filter(|(_, path)| chosen(path)) {
            let busy = self.busy[at].clone();
            if busy.swap(true, Ordering::SeqCst) {
                continue;
            }
            let (tell, path, look) = (tell.clone(), path.clone(), look.clone());
            let look = move || {
                let shown = look(&path);
                busy.store(false, Ordering::SeqCst);
                // Whoever asked may have stopped waiting.
                let _ = tell.send((at, shown));
            };
            match std::thread::Builder::new().name(format!("look-{at}")).spawn(look) {
                Ok(_) => open += 1,
                Err(_) => self.busy[at].store(false, Ordering::SeqCst),
            }
        }
        for _ in 0..open {
            match told.recv_timeout(Duration::from_millis(ceiling_ms)) {
                Ok((at, what)) => shown[at] = Some(what),
                Err(_) => break,
            }
        }
        shown
    }

    fn sight(&self, disk: DiskNo, shown: &mut [Option<Shown>]) -> Sight {
        let is = |s: &Option<Shown>| matches!(s, Some(Shown::Wanted(no, _)) if *no == disk);
        let mut places: Vec<usize> = (0..shown.len()).filter(|at| is(&shown[*at])).collect();
        if places.contains(&disk.ix()) {
            places = vec![disk.ix()];
        }
        match places[..] {
            [] => Err(self.why_not(disk, shown)),
            [at] => match shown[at].take() {
                Some(Shown::Wanted(_, found)) => Ok(*found),
                _ => Err((SlotState::Absent, "it was not found".into())),
            },
            [a, b, ..] => {
                let (a, b) = (self.paths[a].display(), self.paths[b].display());
                let why = format!("the same disk shows at {a} and at {b}: take the copy away");
                Err((SlotState::Foreign, why))
            }
        }
    }

    fn why_not(&self, disk: DiskNo, shown: &[Option<Shown>]) -> (SlotState, String) {
        let held = shown.iter().flatten().find_map(|s| match s {
            Shown::Held(no, why) if *no == disk => Some(why.clone()),
            _ => None,
        });
        if let Some(why) = held {
            return (SlotState::Held, why);
        }
        match &shown[disk.ix()] {
            None if self.paths[disk.ix()].as_os_str().is_empty() => (
                SlotState::Absent,
                "the box does not know where; tell it with `coffre disk find PATH`".into(),
            ),
            None => (SlotState::Absent, "another disk of this vault is in its place".into()),
            Some(Shown::Wanted(no, _) | Shown::Held(no, _)) => {
                (SlotState::Absent, format!("disk {no} is in its place"))
            }
            Some(Shown::InUse(no)) => {
                (SlotState::Foreign, format!("a copy of disk {no}, which is in use, is in its place"))
            }
            Some(Shown::Damaged(why)) => (SlotState::Suspect, no_label(disk, why)),
            Some(Shown::Nothing(state, why)) => (*state, why.clone()),
        }
    }
}

/// Without a label a disk cannot be told from any other, and there is no way back for it but an empty one in its place.
fn no_label(disk: DiskNo, why: &str) -> String {
    format!(
        "{why}, so that it cannot be used any more; nothing is lost as long as enough of the \
         others are there: take another disk and say `coffre disk replace {disk} --with PATH`; empty this one only when the light is green"
    )
}

/// Whether anything of a pack is on a disk. A fresh one that was made ready for the vault has nothing.
pub(super) fn has_shards(disk: &FsDisk) -> bool {
    layout::shard_dirs().any(|dir| disk.list(&dir).is_ok_and(|names| !names.is_empty()))
}

/// What one path shows.
fn look_at(
    path: &Path,
    keys: &KeyRing,
    roster: &[DiskId],
    wanted: DiskSet,
    images: &Images,
    holder: &Holder,
) -> Shown {
    let nothing = |e: NotOurs| {
        let state = match &e {
            NotOurs::BadLabel(BadLabel::Damaged | BadLabel::Forged) => return Shown::Damaged(e.to_string()),
            NotOurs::Unlabelled | NotOurs::Disk(DiskError::Gone(_) | DiskError::NotFound(_)) => {
                SlotState::Absent
            }
            NotOurs::OtherVault(_) => SlotState::Foreign,
            NotOurs::BadLabel(_) | NotOurs::Disk(_) => SlotState::Suspect,
        };
        Shown::Nothing(state, e.to_string())
    };
    let disk = match FsDisk::attach(path) {
        Ok(disk) => Arc::new(disk),
        Err(e) => return nothing(e.into()),
    };
    let label = match read_label(&*disk, keys) {
        Ok(label) => label,
        Err(e) => return nothing(e),
    };
    let Some(no) = roster.iter().position(|id| *id == label.disk).map(|n| DiskNo(n as u8)) else {
        let why = match label.is_newcomer() {
            true => "a disk that was made ready for this vault and never joined it",
            false => "a disk that was taken out of this vault, or lists disks that this box does not know",
        };
        return Shown::Nothing(SlotState::Foreign, why.to_owned());
    };
    if !wanted.has(no) {
        return Shown::InUse(no);
    }
    match disk.hold(holder) {
        Err(DiskError::Held(why)) => return Shown::Held(no, why),
        Err(e) => return nothing(e.into()),
        Ok(()) => {}
    }
    match survey_sharing(&*disk, keys, images) {
        Ok(survey) if survey.label.disk == label.disk => {
            Shown::Wanted(no, Box::new(Found { disk, path: path.to_owned(), survey }))
        }
        Ok(_) => Shown::Nothing(SlotState::Absent, "it was changed while it was read".into()),
        Err(e) => nothing(e),
    }
}
