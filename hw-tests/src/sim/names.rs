//! The names on a simulated disk: what is visible, what is durable, and the changes between the two.
//!
//! Each change waits in a list until its folders are synced. When one becomes durable, the earlier ones that
//! speak of the same file or name do so with it, as in any journalling file system; unrelated ones need not.
//! A move between folders waits for both, and is never half done.

use coffre_vault::disk::parent;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A file, whatever it is called.
pub(super) type Ino = u64;

/// Files and folders by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, Ino>,
    pub(super) folders: BTreeSet<String>,
}

impl Tree {
    pub(super) fn has_folder(&self, path: &str) -> bool {
        path.is_empty() || self.folders.contains(path)
    }

    /// Names in `folder`, sorted.
    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside =
            |path: &String| path.strip_prefix(&prefix).filter(|n| !n.contains('/')).map(str::to_owned);
        let mut names: Vec<String> = (self.files.range(prefix.clone()..).map(|(path, _)| path))
            .take_while(|path| path.starts_with(&prefix))
            .filter_map(inside)
            .collect();
        let below = self.folders.range(prefix.clone()..).take_while(|path| path.starts_with(&prefix));
        names.extend(below.filter_map(inside));
        names.sort_unstable();
        names
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Folder { path } => {
                self.folders.insert(path.clone());
            }
            Change::Link { path, ino } => {
                self.files.insert(path.clone(), *ino);
            }
            Change::Move { from, to, ino } => {
                self.files.remove(from);
                self.files.insert(to.clone(), *ino);
            }
            Change::Unlink { path, .. } => {
                self.files.remove(path);
            }
        }
    }

    /// Drops what is in a folder that does not exist.
    fn drop_orphans(&mut self) {
        // Sorted, so a folder is judged before those inside it.
        for path in std::mem::take(&mut self.folders) {
            if self.has_folder(parent(&path)) {
                self.folders.insert(path);
            }
        }
        let folders = &self.folders;
        self.files.retain(|path, _| parent(path).is_empty() || folders.contains(parent(path)));
    }
}

/// One change of names.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Folder { path: String },
    Link { path: String, ino: Ino },
    Move { from: String, to: String, ino: Ino },
    Unlink { path: String, ino: Ino },
}

impl Change {
    fn paths(&self) -> [&str; 2] {
        match self {
            Self::Folder { path } | Self::Link { path, .. } | Self::Unlink { path, .. } => [path, path],
            Self::Move { from, to, .. } => [from, to],
        }
    }

    fn ino(&self) -> Option<Ino> {
        match self {
            Self::Folder { .. } => None,
            Self::Link { ino, .. } | Self::Move { ino, .. } | Self::Unlink { ino, .. } => Some(*ino),
        }
    }
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// Whether the folder of each of its two paths was synced since.
    synced: [bool; 2],
    /// A sync of its folder failed: later ones say nothing about it.
    lost: bool,
}

/// Visible and durable names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) now: Tree,
    durable: Tree,
    pending: Vec<Pending>,
}

impl Names {
    pub(super) fn new(durable: Tree) -> Self {
        Self { now: durable.clone(), durable, pending: Vec::new() }
    }

    pub(super) fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(Pending { change, synced: [false; 2], lost: false });
    }

    pub(super) fn sync(&mut self, folder: &str) {
        let mut ready = Vec::with_capacity(self.pending.len());
        for pending in &mut self.pending {
            let here = pending.change.paths().map(|path| parent(path) == folder);
            pending.synced = [pending.synced[0] || here[0], pending.synced[1] || here[1]];
            ready.push(pending.synced == [true; 2] && !pending.lost);
        }
        if ready.contains(&true) {
            self.settle(&ready);
        }
    }

    pub(super) fn sync_failed(&mut self, folder: &str) {
        let here = |p: &&mut Pending| p.change.paths().iter().any(|path| parent(path) == folder);
        self.pending.iter_mut().filter(here).for_each(|p| p.lost = true);
    }

    /// What is certain to survive a power cut.
    pub(super) fn durable(&self) -> Tree {
        let mut tree = self.durable.clone();
        tree.drop_orphans();
        tree
    }

    /// Makes durable what `keeps` says of each waiting change, and forgets the rest.
    pub(super) fn cut(&mut self, mut keeps: impl FnMut() -> bool) {
        let survives: Vec<bool> = self.pending.iter().map(|_| keeps()).collect();
        self.settle(&survives);
        self.durable.drop_orphans();
        *self = Self::new(std::mem::take(&mut self.durable));
    }

    /// Files that some name, now or after any power cut, may still lead to.
    pub(super) fn reachable(&self) -> BTreeSet<Ino> {
        let named = self.now.files.values().chain(self.durable.files.values()).copied();
        named.chain(self.pending.iter().filter_map(|p| p.change.ino())).collect()
    }

    /// Makes the chosen changes durable, with those before them that they rest upon.
    fn settle(&mut self, chosen: &[bool]) {
        let (mut paths, mut inos) = (HashSet::new(), HashSet::new());
        let mut settles = vec![false; self.pending.len()];
        for (i, pending) in self.pending.iter().enumerate().rev() {
            let (of, ino) = (pending.change.paths(), pending.change.ino());
            let needed = of.iter().any(|p| paths.contains(p)) || ino.is_some_and(|i| inos.contains(&i));
            if chosen[i] || needed {
                settles[i] = true;
                paths.extend(of);
                inos.extend(ino);
            }
        }
        let mut settles = settles.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|pending| {
            let settled = settles.next().unwrap_or(false);
            if settled {
                durable.apply(&pending.change);
            }
            !settled
        });
    }
}
