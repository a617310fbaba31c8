//! One disk's three lanes: journal, bulk, and reading. A disk that hangs holds up its own lanes and nobody else.

use super::queue::Queue;
use crate::engine::JobId;
use crate::lane::Job;
use crate::ports::{Disk, DiskError, DiskResult};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The longest piece of a wait that is counted as such: whatever it takes beyond, the whole box stood still, and not this disk.
const SLICE_MS: u64 = 250;
/// How long a read waits at a disk that did not answer the last time.
const SHORT_PATIENCE_MS: u64 = 100;

type Work = Box<dyn FnOnce(&dyn Disk) + Send>;

struct Ask {
    id: u64,
    work: Work,
}

/// A question that was put.
pub(super) struct Asked<T> {
    id: u64,
    answered: Receiver<DiskResult<T>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct DiskLanes {
    /// The disk that is attached now. Swapped only while no job is outstanding, so a job always meets the disk it
    /// was given to.
    disk: RwLock<Option<Arc<dyn Disk>>>,
    pub journal: Queue<(JobId, Job)>,
    pub bulk: Queue<(JobId, Job)>,
    asks: Queue<Ask>,
    next_ask: AtomicU64,
    /// The last read was not answered in time.
    slow: AtomicBool,
}

impl DiskLanes {
    pub fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_disk(&self, disk: Option<Arc<dyn Disk>>) {
        *self.disk.write().unwrap_or_else(PoisonError::into_inner) = disk;
        self.slow.store(false, Ordering::Relaxed);
    }

    /// Asks the disk something on its reading lane and waits for the answer, at most `patience_ms`, and much less
    /// after it has kept somebody waiting in vain.
    pub fn ask<T: Send + 'static>(
        &self,
        patience_ms: u64,
        question: impl FnOnce(&dyn Disk) -> DiskResult<T> + Send + 'static,
    ) -> DiskResult<T> {
        self.hear(self.put(question)?, patience_ms)
    }

    /// Puts a question, to be answered while others are put.
    pub fn put<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Disk) -> DiskResult<T> + Send + 'static,
    ) -> DiskResult<Asked<T>> {
        if self.disk().is_none() {
            return Err(DiskError::Gone("it is not attached".into()));
        }
        let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        let work = Box::new(move |disk: &dyn Disk| drop(answer.send(question(disk))));
        self.asks.push(Ask { id, work });
        Ok(Asked { id, answered })
    }

    /// Waits for the answer to a question.
    pub fn hear<T>(&self, asked: Asked<T>, patience_ms: u64) -> DiskResult<T> {
        let slow = self.slow.load(Ordering::Relaxed);
        let patience_ms = if slow { patience_ms.min(SHORT_PATIENCE_MS) } else { patience_ms };
        match answer_within(&asked.answered, patience_ms) {
            Ok(result) => {
                self.slow.store(false, Ordering::Relaxed);
                result
            }
            Err(RecvTimeoutError::Timeout) => {
                self.slow.store(true, Ordering::Relaxed);
                self.asks.take_back(|ask| ask.id == asked.id);
                let what = format!("the disk did not answer within {patience_ms} ms");
                Err(DiskError::Io { what, source: io::ErrorKind::TimedOut.into() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(DiskError::Gone("it is not attached".into())),
        }
    }

    /// Answers questions until the lanes are closed.
    pub fn serve_asks(&self) {
        self.asks.serve(|ask| {
            // Without a disk the question is dropped, and with it the channel: whoever waits hears that.
            if let Some(disk) = self.disk() {
                (ask.work)(&*disk);
            }
        });
    }

    pub fn close(&self) {
        self.journal.close();
        self.bulk.close();
        self.asks.close();
    }
}

/// Waits in slices, so that a box that stood still for a while does not hold it against the disk.
fn answer_within<T>(answered: &Receiver<T>, patience_ms: u64) -> Result<T, RecvTimeoutError> {
    let mut left_ms = patience_ms;
    loop {
        let slice_ms = left_ms.min(SLICE_MS);
        left_ms -= slice_ms;
        match answered.recv_timeout(Duration::from_millis(slice_ms)) {
            Err(RecvTimeoutError::Timeout) if left_ms > 0 => {}
            answer => return answer,
        }
    }
}

impl std::fmt::Debug for DiskLanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskLanes({:?}, {:?})", self.journal, self.bulk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FsDisk;
    use std::sync::mpsc::channel;

    #[test]
    fn a_disk_that_hangs_keeps_nobody_long_and_is_forgiven_when_it_answers() {
        let scratch = tempfile::tempdir().expect("scratch");
        let lanes = DiskLanes::default();
        assert!(matches!(lanes.ask(1_000, |_| Ok(())), Err(DiskError::Gone(_))), "nothing is attached");
        lanes.set_disk(Some(Arc::new(FsDisk::attach(scratch.path()).expect("a folder"))));
        let (go_on, hang) = channel::<()>();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| lanes.serve_asks());
            let hung = lanes.ask(50, move |_| {
                let _ = hang.recv();
                Ok(())
            });
            assert!(
                matches!(&hung, Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::TimedOut)
            );
            // The one reader still hangs: the next one waits a short time only, and leaves nothing in the queue.
            assert!(lanes.ask(60_000, |_| Ok(())).is_err());
            assert_eq!(lanes.asks.pending(), 1);
            drop(go_on);
            while lanes.asks.pending() > 0 {
                std::thread::yield_now();
            }
            assert_eq!(lanes.ask(60_000, |_| Ok(7)).expect("answered"), 7);
            assert!(!lanes.slow.load(Ordering::Relaxed));
            lanes.close();
            reader.join().expect("no panic");
        });
        assert!(matches!(lanes.ask(1_000, |_| Ok(())), Err(DiskError::Gone(_))), "the lanes are closed");
    }
}
