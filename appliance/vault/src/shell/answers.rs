//! Where streams wait for their acknowledgements.

use crate::core::lock;
use crate::engine::{Acked, Ticket, unconfirmed};
use crate::ports::Clock;
use coffre_core::fault::Result;
use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Answers by ticket. The engine answers every ticket once, if need be with a refusal; an answer may come before anyone
/// waits for it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    board: Mutex<Board>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Board {
    ready: HashMap<Ticket, Result<Acked>>,
    /// Nobody waits for these any more.
    given_up: HashSet<Ticket>,
    closed: bool,
}

impl Answers {
    pub fn post(&self, answers: Vec<(Ticket, Result<Acked>)>) {
        if answers.is_empty() {
            return;
        }
        let mut board = lock(&self.board);
        for (ticket, answer) in answers {
            if !board.given_up.remove(&ticket) {
                board.ready.insert(ticket, answer);
            }
        }
        self.changed.notify_all();
    }

    pub fn wait(&self, ticket: Ticket, clock: &dyn Clock, ceiling_ms: u64) -> Result<Acked> {
        let deadline_ms = clock.mono_ms().saturating_add(ceiling_ms);
        let mut board = lock(&self.board);
        loop {
            if let Some(answer) = board.ready.remove(&ticket) {
                return answer;
            }
            let left_ms = deadline_ms.saturating_sub(clock.mono_ms());
            if board.closed {
                return Err(unconfirmed("the box stops, or its disks are mounted anew"));
            }
            if left_ms == 0 {
                board.given_up.insert(ticket);
                return Err(unconfirmed(&format!("within {} s", ceiling_ms / 1000)));
            }
            let waited = self.changed.wait_timeout(board, Duration::from_millis(left_ms));
            board = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn close(&self) {
        lock(&self.board).closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use coffre_core::fault::{Class, Fault};

    #[test]
    fn an_answer_may_come_early_late_or_never() {
        let (answers, clock) = (Answers::default(), SystemClock::default());
        let acked = Acked { tolerates: 2 };
        answers.post(vec![(Ticket(1), Ok(acked))]);
        assert_eq!(answers.wait(Ticket(1), &clock, 1), Ok(acked));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| answers.wait(Ticket(2), &clock, 10_000));
            answers.post(vec![(Ticket(2), Err(Fault::full("full")))]);
            assert_eq!(waiting.join().expect("no panic").expect_err("full").class, Class::Full);
        });
        assert_eq!(answers.wait(Ticket(3), &clock, 1).expect_err("never").class, Class::Unknown);
        answers.close();
        assert_eq!(answers.wait(Ticket(4), &clock, 1_000).expect_err("closed").class, Class::Unknown);
        answers.post(vec![(Ticket(3), Ok(acked))]);
        let board = lock(&answers.board);
        assert!(board.ready.is_empty() && board.given_up.is_empty());
    }
}
