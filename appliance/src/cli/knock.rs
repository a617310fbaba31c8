//! Knocking at the daemon: one request, its answers, over the control socket.

use super::{Failure, NO_DAEMON, Outcome};
use crate::control::{MAX_REPLY_BYTES, MAX_REQUEST_BYTES};
use crate::state::{StateDir, socket_path};
use coffre_core::fault::Fault;
use coffre_core::wire::{Reply, Request, SOCKET};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that the daemon may be silent while it owes the answer to a question that it answers from memory,
const QUICK: Duration = Duration::from_secs(10);
/// and to one that is work.
const PATIENCE: Duration = Duration::from_secs(300);

/// A conversation with the daemon.
#[derive(Debug)]
pub struct Daemon {
    stream: BufReader<UnixStream>,
}

/// Asks one thing and takes one answer.
pub fn ask(state: &StateDir, request: &Request) -> Outcome<Reply> {
    let mut daemon = Daemon::knock(state)?;
    daemon.wait_at_most(patience(request))?;
    daemon.send(request)?;
    daemon.reply()
}

/// How long an answer may take: what is only looked up comes at once, or the daemon is stuck.
fn patience(request: &Request) -> Duration {
    match request {
        Request::Status
        | Request::ClientList
        | Request::DiskList
        | Request::DatasetList
        | Request::RepoList
        | Request::ClockShow
        | Request::Certificate
        | Request::DrawWords
        | Request::Scrub { deep: None } => QUICK,
        _ => PATIENCE,
    }
}

/// The answer was none that fits the question.
pub fn unexpected(reply: &Reply) -> Failure {
    let said = serde_json::to_value(reply).ok();
    let kind = said.as_ref().and_then(|v| v["is"].as_str()).unwrap_or("something").to_owned();
    Fault::permanent(format!("the daemon answered {kind}, which does not fit"))
        .next("check that coffre and coffred are of one version")
        .into()
}

impl Daemon {
    /// Connects. Exit code 4 without a vault, 3 without a daemon, 5 for someone else than the owner.
    pub fn knock(state: &StateDir) -> Outcome<Self> {
        state.require()?;
        let connect = |folder: &PathBuf| socket_path(folder, SOCKET).and_then(UnixStream::connect);
        let mut tried: Vec<io::Result<UnixStream>> = state.socket_folders().iter().map(connect).collect();
        // One that answers; else why the state folder's own does not.
        let best = tried.iter().position(io::Result::is_ok).unwrap_or(0);
        let stream = tried.swap_remove(best).map_err(|e| no_daemon(state, &e))?;
        let daemon = Self { stream: BufReader::with_capacity(64 * 1024, stream) };
        daemon.wait_at_most(PATIENCE)?;
        Ok(daemon)
    }

    /// How long it may be silent from now on.
    fn wait_at_most(&self, patience: Duration) -> Outcome<()> {
        let stream = self.stream.get_ref();
        let set = stream.set_read_timeout(Some(patience));
        set.and_then(|()| stream.set_write_timeout(Some(patience))).map_err(|e| broken(&e))
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Outcome<()> {
        let mut line = serde_json::to_vec(request).map_err(|e| broken(&e.into()))?;
        line.push(b'\n');
        if line.len() > MAX_REQUEST_BYTES {
            return Err(Fault::misuse("the request is too long").into());
        }
        self.stream.get_mut().write_all(&line).map_err(|e| broken(&e))
    }

    /// Takes one answer; `Reply::Failed` becomes the failure it is.
    pub fn reply(&mut self) -> Outcome<Reply> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_REPLY_BYTES as u64).read_until(b'\n', &mut line);
        read.map_err(|e| broken(&e))?;
        if line.last() != Some(&b'\n') {
            return Err(broken(&io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line) {
            Ok(Reply::Failed(fault)) => Err(fault.into()),
            Ok(reply) => Ok(reply),
            Err(e) => Err(broken(&e.into())),
        }
    }

    /// The raw bytes behind a `Reply::Data` line.
    pub fn data(&mut self, into: &mut [u8]) -> Outcome<()> {
        self.stream.read_exact(into).map_err(|e| broken(&e))
    }
}

fn no_daemon(state: &StateDir, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let fault = Fault::refused(format!("{}: {error}", state.control_socket().display()));
        return fault.next("run this as the owner of the box, or as root").into();
    }
    let fault =
        Fault::transient(format!("no daemon answers at {} ({error})", state.control_socket().display()))
            .next(format!("start it with `coffred --state {}`", state.path().display()));
    Failure { code: NO_DAEMON, fault }
}

fn broken(error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the daemon ended the conversation".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let fault = Fault::transient("the daemon is there and does not answer");
            let fault =
                fault.next("see its log, and whether it is stopped or waits for a disk; then try again");
            return Failure { code: NO_DAEMON, fault };
        }
        _ => format!("the conversation with the daemon broke: {error}"),
    };
    Fault::transient(what).next("see the daemon's log").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_silent_is_no_daemon() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut daemon = Daemon { stream: BufReader::new(ours) };
        daemon.wait_at_most(Duration::from_millis(20)).expect("set");
        daemon.send(&Request::Status).expect("the socket takes it");
        let failure = daemon.reply().expect_err("nobody answers");
        assert_eq!(failure.code, NO_DAEMON);
        assert!(failure.fault.what.contains("does not answer") && failure.fault.next.is_some());
        drop(theirs);
        assert_eq!(daemon.reply().expect_err("it has gone").code, 1);
    }

    #[test]
    fn a_quick_question_is_not_waited_for_as_long_as_work() {
        assert_eq!(patience(&Request::Status), QUICK);
        assert_eq!(patience(&Request::Scrub { deep: None }), QUICK);
        for work in [Request::Scrub { deep: Some(false) }, Request::ForgetPlan, Request::IndexBurn] {
            assert_eq!(patience(&work), PATIENCE);
        }
    }
}
