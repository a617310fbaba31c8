//! Power cuts of real file systems under load: what was acknowledged is there when they are mounted again.
//!
//! Four kinds, drawn from the seed. *All* file systems are cut, *some*, or *one*, at almost the same moment as the daemon
//! dies, before it or behind it: whatever was not synced is gone. Or one is cut while the daemon *lives*: the box must
//! go on taking backups and restoring, must not show a green light, and takes the disk back when it is mounted again,
//! half of the time without a restart.

use super::{Figures, Load, Vault};
use crate::rig::client::Curl;
use crate::rig::daemon::Daemon;
use anyhow::{Context, Result, bail};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long pushes go on after one file system was cut and the daemon lives.
const GO_ON_MS: u64 = 1_500;
/// The light must have left green by then: G17.
const NOT_GREEN_LIMIT: Duration = Duration::from_secs(60);
/// Longest that the daemon may hold a file system that is not in use any more.
const LET_GO_LIMIT: Duration = Duration::from_secs(60);

/// What goes out, and who is alive then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// These file systems, and the daemon.
    WithDaemon,
    /// One, while the daemon lives.
    Living,
}

impl Vault {
    /// One round: start, read everything back, load, cut, mount again.
    pub(super) fn cut_round(&mut self, figures: &mut Figures) -> Result<()> {
        let mut daemon = self.start(figures)?;
        let curl = self.client(&daemon)?;
        self.compare(&curl, figures)?;
        // One in three with the daemon alive; those need all disks, or a second loss would be too many.
        if self.dice.below(3) == 0 {
            self.wait_for_green()?;
            self.cut_living(&mut daemon, &curl, figures)
        } else {
            self.cut_with_daemon(&mut daemon, &curl, figures)
        }
    }

    fn cut_with_daemon(&mut self, daemon: &mut Daemon, curl: &Curl, figures: &mut Figures) -> Result<()> {
        let count = self.mounts.len() as u64;
        // One in two cuts everything: that is what a power cut does.
        let all = (1 << count) - 1;
        let set = if self.dice.below(2) == 0 { all } else { 1 + self.dice.below(all) };
        let (before_ms, dead_first) = (20 + self.dice.below(super::MAX_LOAD_MS), self.dice.below(3) == 0);
        let between = Duration::from_micros(self.dice.below(20_000));
        let outcome = self.under_load(curl, |vault| {
            std::thread::sleep(Duration::from_millis(before_ms));
            if dead_first {
                daemon.kill()?;
            }
            for mount in vault.mounts.iter().enumerate().filter(|(n, _)| set >> n & 1 == 1) {
                mount.1.cut()?;
            }
            std::thread::sleep(between);
            daemon.kill()
        });
        self.note(outcome, figures)?;
        for (n, mount) in self.mounts.iter_mut().enumerate().filter(|(n, _)| set >> n & 1 == 1) {
            mount
                .mount_again(LET_GO_LIMIT)
                .with_context(|| format!("disk {n} after {:?}", Cut::WithDaemon))?;
        }
        figures.file_systems_cut += set.count_ones();
        Ok(())
    }

    fn cut_living(&mut self, daemon: &mut Daemon, curl: &Curl, figures: &mut Figures) -> Result<()> {
        let disk = self.dice.below(self.mounts.len() as u64) as usize;
        let (before_ms, restart) = (20 + self.dice.below(super::MAX_LOAD_MS), self.dice.below(2) == 0);
        let mut acknowledged_before = 0;
        let acknowledged = |vault: &Vault| vault.acknowledged.load(Ordering::SeqCst);
        let outcome = self.under_load(curl, |vault| {
            std::thread::sleep(Duration::from_millis(before_ms));
            vault.mounts[disk].cut()?;
            acknowledged_before = acknowledged(vault);
            std::thread::sleep(Duration::from_millis(GO_ON_MS));
            vault.wait_for_another_light()
        });
        let acknowledged_after = acknowledged(self) - acknowledged_before;
        self.note(outcome, figures).with_context(|| format!("{:?} of disk {disk}", Cut::Living))?;
        figures.living += 1;
        figures.file_systems_cut += 1;
        if !daemon.is_running() {
            bail!("the daemon ended when the file system of disk {disk} was cut");
        }
        if acknowledged_after == 0 {
            bail!(
                "no push was acknowledged in the {GO_ON_MS} ms after the file system of disk {disk} was cut"
            );
        }
        self.compare(curl, figures).with_context(|| format!("with the file system of disk {disk} cut"))?;
        if restart {
            daemon.kill()?;
        }
        self.mounts[disk]
            .mount_again(LET_GO_LIMIT)
            .with_context(|| format!("disk {disk} while the daemon lives"))?;
        if restart {
            return Ok(());
        }
        self.wait_for_green().with_context(|| format!("disk {disk} was mounted again"))?;
        self.compare(curl, figures).context("with the disk back")?;
        daemon.kill()
    }

    /// Pushes without pause while `during` happens; then lets every push under way end.
    fn under_load(
        &mut self,
        curl: &Curl,
        during: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Vec<super::Note>> {
        self.acknowledged.store(0, Ordering::SeqCst);
        let seed = self.dice.next();
        let load = Load::through_cuts(curl, seed, &self.acknowledged);
        let (load, vault) = (&load, &*self);
        std::thread::scope(|scope| {
            let pushers: Vec<_> =
                (0..super::PUSHERS).map(|n| scope.spawn(move || load.push_until_unanswered(n))).collect();
            let done = during(vault);
            load.over.store(true, Ordering::SeqCst);
            let mut notes = Vec::new();
            for pusher in pushers {
                notes.extend(pusher.join().unwrap_or_else(|_| bail!("a pusher panicked"))?);
            }
            done.map(|()| notes)
        })
    }

    fn note(&mut self, outcome: Result<Vec<super::Note>>, figures: &mut Figures) -> Result<()> {
        for (dataset, hash, size, fate) in outcome? {
            self.take_note(&dataset, hash, size, fate, figures);
        }
        Ok(())
    }

    /// G17: a disk that is gone shows.
    fn wait_for_another_light(&self) -> Result<()> {
        let since = Instant::now();
        while self.coffre.json(&["status"])?["light"] == "green" {
            if since.elapsed() > NOT_GREEN_LIMIT {
                bail!("the light is green {NOT_GREEN_LIMIT:?} after a file system was cut");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
