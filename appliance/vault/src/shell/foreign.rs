//! Looking now and then for what is nobody's in the folders on the disks, in the background.
//!
//! Somebody may have put millions of names there: whoever counts them must hold nobody up. So a thread of its own looks, one
//! round at a time, through handles of its own that are let go after each folder; a disk that hangs holds up this looking alone.

use crate::core::lock;
use crate::disk::FsDisk;
use crate::foreign::{Crowd, look};
use crate::layout;
use coffre_core::diskset::DiskSet;
use coffre_core::ids::DiskNo;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const EVERY_MS: u64 = 20_000;
/// In a try-out people play and watch.
const TRY_OUT_EVERY_MS: u64 = 1_000;
/// Folders of shards may be large: they are looked into in one round of this many.
const SHARDS_EVERY: u64 = 20;

/// What was found, by disk and folder.
type Known = BTreeMap<(u8, String), Crowd>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    known: Arc<Mutex<Known>>,
    busy: Arc<AtomicBool>,
    last: Mutex<Option<(u64, DiskSet, u64)>>,
}

impl Foreign {
    /// Looks at the disks in `there`, at these places, if it is time to. Those that are not there have nothing to tell.
    pub fn tend(&self, now_ms: u64, try_out: bool, there: DiskSet, places: &[PathBuf]) {
        let every_ms = if try_out { TRY_OUT_EVERY_MS } else { EVERY_MS };
        let mut last = lock(&self.last);
        let round = match *last {
            // Others are there than in the last round: all of their folders are new.
            Some((_, disks, _)) if disks != there => 0,
            Some((ms, _, _)) if now_ms.saturating_sub(ms) < every_ms => return,
            Some((_, _, round)) => round + 1,
            None => 0,
        };
        if self.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        *last = Some((now_ms, there, round));
        lock(&self.known).retain(|(no, _), _| there.has(DiskNo(*no)));
        let disks: Vec<(u8, PathBuf)> =
            there.iter().filter_map(|no| Some((no.0, places.get(no.ix())?.clone()))).collect();
        let (known, busy) = (self.known.clone(), self.busy.clone());
        let work = move || {
            let shards = round % SHARDS_EVERY == 0;
            for folder in layout::folders().filter(|f| shards || !f.starts_with(layout::SHARDS)) {
                for (no, path) in &disks {
                    // A disk that went or fails shows that elsewhere.
                    let Ok(crowd) = FsDisk::attach(path).and_then(|disk| look(&disk, &folder)) else {
                        continue;
                    };
                    let place = (*no, folder.clone());
                    let mut known = lock(&known);
                    let news = known.get(&place) != crowd.as_ref();
                    if let (true, Some(crowd)) = (news, &crowd) {
                        tracing::warn!("disk {}: {crowd}", DiskNo(*no));
                    }
                    match crowd {
                        Some(crowd) => drop(known.insert(place, crowd)),
                        None => drop(known.remove(&place)),
                    }
                }
            }
            busy.store(false, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("foreign".into()).spawn(work).is_err() {
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    /// One sentence for each disk on which something is nobody's.
    pub fn reasons(&self, places: &[PathBuf]) -> Vec<String> {
        let known = lock(&self.known);
        let mut of: BTreeMap<u8, Vec<&Crowd>> = BTreeMap::new();
        known.iter().for_each(|((no, _), crowd)| of.entry(*no).or_default().push(crowd));
        let said = |(no, mut crowds): (u8, Vec<&Crowd>)| {
            crowds.sort_by_key(|c| (!c.in_the_way, c.folder.is_empty()));
            let at = places.get(usize::from(no)).map_or_else(String::new, |p| format!(" ({})", p.display()));
            let more = match crowds.len() {
                1 => String::new(),
                n => format!(", and there is more in {} other folders", n - 1),
            };
            let then = "no backup is touched by it; look at it and move it elsewhere";
            let no = DiskNo(no);
            format!("on disk {no}{at} lies what Coffre did not write: {}{more}; {then}", crowds[0])
        };
        of.into_iter().map(said).collect()
    }
}
