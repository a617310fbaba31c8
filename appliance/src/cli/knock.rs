//! Knocking at the daemon: one request, its answers, over the control socket.

use super::{Failure, NO_DAEMON, Outcome};
use crate::control::{MAX_REPLY_BYTES, MAX_REQUEST_BYTES};
use crate::state::StateDir;
use coffre_core::fault::Fault;
use coffre_core::wire::{Reply, Request};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The longest that the daemon may be silent while it owes an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A conversation with the daemon.
#[derive(Debug)]
pub struct Daemon {
    stream: BufReader<UnixStream>,
}

/// Asks one thing and takes one answer.
pub fn ask(state: &StateDir, request: &Request) -> Outcome<Reply> {
    let mut daemon = Daemon::knock(state)?;
    daemon.send(request)?;
    daemon.reply()
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
        let socket = state.socket_path("control.sock");
        let stream = socket.and_then(UnixStream::connect).map_err(|e| no_daemon(state, &e))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| broken(&e))?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|e| broken(&e))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
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
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the daemon does not answer".to_owned(),
        _ => format!("the conversation with the daemon broke: {error}"),
    };
    Fault::transient(what).next("see the daemon's log").into()
}
