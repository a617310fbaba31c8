//! Child processes with deadlines, and a list of those alive, so that none is ever left behind.
//!
//! Each child gets a process group of its own: Ctrl-C reaches the rig only, which then decides in which order
//! things end; and a step that runs out of time is ended together with everything it started.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of a child's output that are kept in memory.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;
const POLL: Duration = Duration::from_millis(5);

static ALIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child in a process group of its own, killed with its group when dropped.
#[derive(Debug)]
pub struct Group {
    child: Child,
    group: Pid,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts the command. Its name is for the error only.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        alive().insert(group.as_raw());
        Ok(Self { child, group, ended: None })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// The child's pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            // The list is held while the process is reaped: nobody signals a number that was given away again.
            let mut alive = alive();
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                alive.remove(&self.group.as_raw());
            }
        }
        Ok(self.ended)
    }

    /// Waits until it ends by itself; `None` when `limit` passed first.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if since.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to the child and what it started. Nothing happens when it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_none() {
            killpg(self.group, signal).with_context(|| format!("cannot signal process {}", self.group))?;
        }
        Ok(())
    }

    /// SIGKILL, then waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        match self.wait(Duration::from_secs(30))? {
            Some(_) => Ok(()),
            None => bail!("process {} does not end on SIGKILL", self.group),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the child was reaped its number may belong to somebody else.
        if self.ended.is_none() {
            let _ = self.kill();
        }
    }
}

/// What a child said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: Vec<u8>,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Its standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Runs a command to its end and collects what it says. An error when it cannot start or takes too long.
pub fn run(command: &mut Command, limit: Duration) -> Result<Said> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut group = Group::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let out = drain(group.child().stdout.take());
    let err = drain(group.child().stderr.take());
    let status = group.wait(limit)?;
    if status.is_none() {
        group.kill()?;
    }
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let err = String::from_utf8_lossy(&err).into_owned();
    match status {
        Some(status) => Ok(Said { status, out, err }),
        None => bail!("{name} took longer than {} s; it said: {}", limit.as_secs(), err.trim()),
    }
}

/// Like [`run`], and an error when it does not end with 0.
pub fn run_ok(command: &mut Command, limit: Duration) -> Result<Said> {
    let said = run(command, limit)?;
    if !said.status.success() {
        bail!("{:?}: {}: {}", command, said.status, said.err.trim());
    }
    Ok(said)
}

/// Ends every child that is still alive, at once. For a rig that must leave now.
pub fn kill_all_children() {
    for &group in alive().iter() {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

fn alive() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_failure_are_told() {
        let said = run(&mut sh("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).expect("runs");
        assert_eq!(
            (said.text().as_str(), said.err.as_str(), said.status.code()),
            ("out\n", "err\n", Some(3))
        );
        assert!(run_ok(&mut sh("echo why >&2; exit 3"), Duration::from_secs(10)).is_err());
        assert!(run(&mut Command::new("no-such-program-here"), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn what_takes_too_long_is_ended_with_what_it_started() {
        let since = Instant::now();
        // The grandchild holds the pipe open: only a kill of the whole group lets the reader end.
        let late = run(&mut sh("sleep 60 & sleep 60"), Duration::from_millis(100));
        assert!(late.is_err());
        assert!(since.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let group = Group::start(&mut sh("sleep 60")).expect("starts");
        let pid = group.pid();
        assert!(alive().contains(&pid));
        drop(group);
        assert!(!alive().contains(&pid));
        assert!(nix::sys::signal::kill(Pid::from_raw(pid), None).is_err());
    }
}
