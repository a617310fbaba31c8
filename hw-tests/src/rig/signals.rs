//! Ctrl-C once: the run ends tidily at its next step. Twice: children are killed and the run leaves at once.

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Exit code of a run that was told to stop, as shells have it for SIGINT.
pub const STOPPED: i32 = 130;

/// Whether somebody asked the run to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on. Once per process.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            .context("cannot listen for signals")?;
        let flag = stop.0.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if flag.swap(true, Ordering::SeqCst) {
                    super::process::kill_all_children();
                    std::process::exit(STOPPED);
                }
            }
        });
        Ok(stop)
    }

    /// Whether a stop was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// An error once a stop was asked for: put it between steps.
    pub fn check(&self) -> Result<()> {
        if self.asked() {
            bail!("stopped on request");
        }
        Ok(())
    }

    /// Sleeps in small pieces, until the time is over or a stop is asked for.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let mut left = time;
        while !left.is_zero() {
            self.check()?;
            let piece = left.min(Duration::from_millis(50));
            std::thread::sleep(piece);
            left -= piece;
        }
        self.check()
    }
}
