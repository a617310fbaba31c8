//! The real `coffred` as a child process, and the command `coffre` beside it.

use super::binaries::Binaries;
use super::process::{self, Group};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Longest wait for the line that says it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a graceful stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for an answer of the command.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    process: Group,
    /// Where it serves: `https://127.0.0.1:PORT`.
    pub url: String,
    /// How long it took until it was ready.
    pub ready_after: Duration,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Highest resident size.
    pub peak_bytes: u64,
}

impl Daemon {
    /// Starts the daemon on a free port of loopback and waits until it says that it is ready. What it writes
    /// to standard error is appended to `log`.
    pub fn start(binaries: &Binaries, state: &Path, log: &Path) -> Result<Self> {
        Self::start_at(binaries, state, log, "127.0.0.1:0")
    }

    /// The same on an address of the caller's: where clients already knock.
    pub fn start_at(binaries: &Binaries, state: &Path, log: &Path, listen: &str) -> Result<Self> {
        let since = Instant::now();
        let mut process = Self::spawn(binaries, state, log, listen)?;
        let out = process.child().stdout.take().context("no standard output")?;
        let (tell, ready) = mpsc::channel();
        // The thread goes on reading after the ready line, so that the daemon never waits for its pipe; it ends
        // with the daemon.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(|line| line.ok()) {
                if let Some(url) = ready_url(&line) {
                    let _ = tell.send(url);
                }
            }
        });
        match ready.recv_timeout(READY_LIMIT) {
            Ok(url) => Ok(Self { process, url, ready_after: since.elapsed() }),
            Err(why) => {
                let how = match (why, process.wait(Duration::from_secs(1))?) {
                    (RecvTimeoutError::Disconnected, Some(status)) => format!("ended with {status}"),
                    (RecvTimeoutError::Disconnected, None) => "closed its output".to_owned(),
                    (RecvTimeoutError::Timeout, _) => {
                        format!("was not ready after {} s", READY_LIMIT.as_secs())
                    }
                };
                bail!("coffred {how} before it said `ready`; the end of its log:\n{}", tail(log, 15))
            }
        }
    }

    /// Starts the daemon and kills it after so long, whether it is ready or not.
    pub fn kill_while_starting(binaries: &Binaries, state: &Path, log: &Path, after: Duration) -> Result<()> {
        let mut process = Self::spawn(binaries, state, log, "127.0.0.1:0")?;
        // Held open until the end: a daemon must not die of its closed output instead of the kill.
        let _out = process.child().stdout.take();
        if let Some(status) = process.wait(after)? {
            bail!("coffred ended by itself with {status}; the end of its log:\n{}", tail(log, 15));
        }
        process.kill()
    }

    fn spawn(binaries: &Binaries, state: &Path, log: &Path, listen: &str) -> Result<Group> {
        let mut log_to = OpenOptions::new();
        let log_file =
            log_to.create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(&binaries.coffred);
        command.arg("--state").arg(state).args(["--listen", listen]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        Group::start(&mut command)
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// SIGKILL: no warning, no tidying. Returns when the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Asks for a graceful stop and waits for it. An error when it takes too long or ends with another code than 0.
    pub fn stop(mut self) -> Result<Duration> {
        let since = Instant::now();
        if let Some(status) = self.process.ended()? {
            bail!("coffred had ended before it was asked to: {status}");
        }
        self.process.signal(Signal::SIGTERM)?;
        match self.process.wait(STOP_LIMIT)? {
            Some(status) if status.success() => Ok(since.elapsed()),
            Some(status) => bail!("coffred ended with {status} when asked to stop"),
            None => bail!("coffred did not stop within {} s", STOP_LIMIT.as_secs()),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.ended(), Ok(None))
    }

    /// What it has used so far; `None` where `/proc` does not tell.
    pub fn usage(&self) -> Option<Usage> {
        usage_of(self.pid())
    }
}

/// What a process has used so far; `None` where `/proc` does not tell.
pub fn usage_of(pid: i32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ticks_per_s = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Usage {
        cpu: Duration::from_millis(cpu_ticks(&stat)? * 1000 / u64::try_from(ticks_per_s).ok()?),
        peak_bytes: peak_bytes(&status)?,
    })
}

/// The command `coffre` for one state folder.
#[derive(Clone, Debug)]
pub struct Coffre {
    binary: PathBuf,
    state: PathBuf,
}

impl Coffre {
    /// The command for the box of `state`.
    pub fn new(binaries: &Binaries, state: &Path) -> Self {
        Self { binary: binaries.coffre.clone(), state: state.to_owned() }
    }

    /// Runs the command and gives what it prints. An error when it does not end with 0.
    pub fn text(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--state").arg(&self.state);
        Ok(process::run_ok(&mut command, COMMAND_LIMIT)?.text())
    }

    /// Runs the command with `--json` and gives what it prints.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let mut args = args.to_vec();
        args.push("--json");
        let text = self.text(&args)?;
        serde_json::from_str(&text).with_context(|| format!("coffre {} did not print JSON", args.join(" ")))
    }

    /// Makes a vault on these folders.
    pub fn init(&self, disks: &[PathBuf], name: &str) -> Result<Value> {
        let mut args = vec!["init", "--try-out", "--name", name];
        let paths: Vec<String> = disks.iter().map(|disk| disk.to_string_lossy().into_owned()).collect();
        for path in &paths {
            args.extend(["--disk", path]);
        }
        self.json(&args)
    }

    /// Makes a client and gives its secret.
    pub fn client_add(&self, name: &str) -> Result<String> {
        let made = self.json(&["client", "add", name])?;
        Ok(made["secret"].as_str().context("client add told no secret")?.to_owned())
    }

    /// The certificate that clients pin, PEM.
    pub fn certificate(&self) -> Result<String> {
        let text = self.text(&["certificate"])?;
        pem(&text).context("coffre certificate printed no certificate")
    }
}

/// The address in a line such as `ready https://127.0.0.1:8443`.
fn ready_url(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("ready https://")?;
    let address = rest.split_whitespace().next().filter(|address| address.contains(':'))?;
    Some(format!("https://{address}"))
}

/// The PEM block in a text.
fn pem(text: &str) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let from = text.find("-----BEGIN CERTIFICATE-----")?;
    let to = text[from..].find(END)? + from + END.len();
    Some(format!("{}\n", &text[from..to]))
}

/// User and system ticks of `/proc/PID/stat`; the name in parentheses may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// `VmHWM` of `/proc/PID/status`.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The last lines of a log.
pub fn tail(log: &Path, lines: usize) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_understood() {
        assert_eq!(ready_url("ready https://127.0.0.1:8443").as_deref(), Some("https://127.0.0.1:8443"));
        let dated = "2026-11-21T18:42:00Z ready https://[::1]:1 and more";
        assert_eq!(ready_url(dated).as_deref(), Some("https://[::1]:1"));
        for other in ["", "not ready", "ready https://", "ready http://a:1"] {
            assert_eq!(ready_url(other), None, "{other}");
        }
    }

    #[test]
    fn the_certificate_is_cut_out() {
        let block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(pem(&format!("{block}fingerprint AB:CD\n")).as_deref(), Some(block));
        assert_eq!(pem("nothing"), None);
    }

    #[test]
    fn figures_of_a_process_are_read() {
        assert_eq!(cpu_ticks("1 (a) b) S 1 1 1 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1"), Some(42));
        assert_eq!(cpu_ticks("1 (a"), None);
        assert_eq!(peak_bytes("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_bytes(""), None);
    }

    /// A stand-in for the daemon. Another process makes the file: one that this process had open for writing while
    /// another test forks could not be executed.
    fn pretender(folder: &Path, script: &str) -> Binaries {
        let (text, path) = (folder.join("script"), folder.join("coffred"));
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("written");
        let mut install = Command::new("install");
        process::run_ok(install.args(["-m", "755"]).arg(&text).arg(&path), COMMAND_LIMIT).expect("installed");
        Binaries { coffred: path.clone(), coffre: path }
    }

    #[test]
    fn a_daemon_is_started_stopped_and_killed() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = folder.path().join("log");
        // Ready means ready to be stopped as well: the trap comes first.
        let script = "trap 'exit 0' TERM; echo ready https://127.0.0.1:1; while :; do sleep 0.05; done";
        let binaries = pretender(folder.path(), script);
        let daemon = Daemon::start(&binaries, folder.path(), &log).expect("ready");
        assert_eq!(daemon.url, "https://127.0.0.1:1");
        assert!(daemon.usage().expect("/proc tells").peak_bytes > 0);
        daemon.stop().expect("stops");
        let mut daemon = Daemon::start(&binaries, folder.path(), &log).expect("ready");
        daemon.kill().expect("dies");
        assert!(!daemon.is_running());
    }

    #[test]
    fn a_daemon_that_dies_before_it_is_ready_is_told_with_its_log() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = folder.path().join("log");
        let binaries = pretender(folder.path(), "echo the disk is foreign >&2; exit 5");
        let told = Daemon::start(&binaries, folder.path(), &log).expect_err("never ready").to_string();
        assert!(told.contains("the disk is foreign") && told.contains("ended"), "{told}");
    }
}
