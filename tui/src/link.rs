//! The control socket as the console uses it: asks for the status once a second, and says when nobody answers.

use crate::state::Event;
use coffre_core::wire::{Reply, Request, SOCKET, Status, spare_folders};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Between two questions.
pub const POLL: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Longest status that is read.
const MAX_STATUS_BYTES: u64 = 1 << 20;

/// Asks for ever, or until nobody listens to the channel any more.
pub fn poll(state: PathBuf, events: Sender<Event>) {
    std::thread::spawn(move || {
        loop {
            let event = match ask(&state) {
                Ok(status) => Event::Status(Box::new(status)),
                Err(why) => Event::NoAnswer(format!("{}: {why}", state.join("control.sock").display())),
            };
            if events.send(event).is_err() {
                return;
            }
            std::thread::sleep(POLL);
        }
    });
}

/// One question and its answer.
pub fn ask(state: &Path) -> io::Result<Status> {
    let mut stream = connect(state)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let mut line = serde_json::to_string(&Request::Status)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_STATUS_BYTES)).read_line(&mut answer)?;
    match serde_json::from_str(&answer)? {
        Reply::Status(status) => Ok(*status),
        Reply::Failed(fault) => Err(io::Error::other(fault)),
        _ => Err(io::Error::other("the answer is no status")),
    }
}

/// The address of a Unix socket is at most 107 bytes; a state folder may be deeper. The folder's own handle gives
/// it a short name.
fn connect(state: &Path) -> io::Result<UnixStream> {
    let there = |folder: &Path| {
        let folder = File::open(folder)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
    };
    // While the state folder cannot be written the socket is elsewhere, and the first error is the telling one.
    there(state).or_else(|why| {
        let full = state.canonicalize().unwrap_or_else(|_| state.to_owned());
        let spare = spare_folders(&full, std::env::var_os("XDG_RUNTIME_DIR").as_deref());
        spare.iter().find_map(|folder| there(folder).ok()).ok_or(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A box that says one thing to one visitor.
    fn a_box_that_says(answer: &'static str) -> (std::path::PathBuf, std::thread::JoinHandle<String>) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let state = std::env::temp_dir().join(format!("coffre-console-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&state).expect("a scratch folder");
        let socket = state.join("control.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).expect("binds");
        let said = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a visitor");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            (&stream).write_all(answer.as_bytes()).expect("taken");
            line
        });
        (state, said)
    }

    #[test]
    fn nobody_there_is_an_error() {
        assert!(ask(Path::new("/no/such/state/folder")).is_err());
    }

    #[test]
    fn a_status_is_understood() {
        let answer = concat!(
            r#"{"is":"status","name":"bureau","vault_id":"07070707070707070707070707070707","light":"amber","reasons":[],"#,
            r#""writable":true,"can_lose_disks":1,"geometry":"2+1","epoch":1,"disks":[],"objects":0,"snapshots":0,"logical_bytes":0,"#,
            r#""stored_bytes":0,"packs":0,"debt_packs":0,"index_ready":true,"jobs":[],"try_out":false}"#,
            "\n"
        );
        let (state, said) = a_box_that_says(answer);
        let status = ask(&state).expect("a status");
        assert_eq!((status.name.as_str(), status.can_lose_disks), ("bureau", 1));
        said.join().expect("said");
        let _ = std::fs::remove_dir_all(state);
    }

    #[test]
    fn a_fault_and_nonsense_are_errors() {
        let fault = "{\"is\":\"failed\",\"class\":\"refused\",\"what\":\"not yours\",\"next\":null}\n";
        for answer in [fault, "{\"is\":\"done\"}\n", "nonsense\n", "\n"] {
            let (state, said) = a_box_that_says(answer);
            assert!(ask(&state).is_err(), "{answer}");
            assert_eq!(said.join().expect("said"), "{\"do\":\"status\"}\n");
            let _ = std::fs::remove_dir_all(state);
        }
    }
}
