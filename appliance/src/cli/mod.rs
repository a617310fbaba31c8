//! The command `coffre`: one file per command, each making what is said once, for people and for scripts.
//!
//! A command returns `Said`: a text and a JSON value; `out` prints it. Errors go to stderr in one line, and with `--json` also
//! to stdout as JSON; the exit code says the kind (`docs/cli.md`).

mod adopt;
mod amount;
mod ask;
mod certificate;
mod client;
mod dataset;
mod disk;
mod forget;
mod get;
mod index;
mod init;
mod knock;
mod manual;
mod out;
mod pair;
mod progress;
mod repo;
mod scrub;
mod show;
mod snapshots;
mod status;
mod time;
pub mod usage;
mod words;

use crate::state::StateDir;
use crate::views::ErrorView;
use clap::{Parser, Subcommand};
use coffre_core::class::LockClass;
use coffre_core::fault::{Class, Fault};
use coffre_core::ids::ObjectId;
use coffre_core::keep::KeepRules;
use coffre_core::kind::Kind;
use coffre_core::names::{ClientName, DatasetRef};
use coffre_core::wire::Ceiling;
use out::Out;
use serde_json::Value;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code: a wrong use of the command.
const USAGE: u8 = 2;
/// Exit code: no daemon answers.
const NO_DAEMON: u8 = 3;

/// Where to begin.
const EXAMPLES: &str = "\
Examples:
  export COFFRE_STATE=/var/lib/coffre
  coffre init --disk /mnt/a /mnt/b /mnt/c      make a vault; prints the recovery words, once
  coffre status                                the light, and why
  coffre client pair --wait                    a code and a page for the next machine
  coffre snapshots                             what is there
  coffre get odoo/production --to dump.zip     the newest complete backup, back again
  coffre get odoo/production --check           read it back and verify it, write nothing

Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 not there, 5 refused.";

/// Look after a Coffre backup box: make its vault, add clients, see its state, get backups back.
#[derive(Debug, Parser)]
#[command(name = "coffre", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    /// The vault's state folder.
    #[arg(long, global = true, env = "COFFRE_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Answer in JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new vault and print its recovery words, once.
    Init(init::Options),
    /// Make a new state folder for disks that live on, with the recovery words from standard input.
    Adopt(adopt::Options),
    /// The state of the box: light, disks, objects, bytes, jobs.
    Status,
    /// Clients: machines and jobs that may push backups.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Disks.
    #[command(subcommand)]
    Disk(DiskCommand),
    /// The index, which can always be built again.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Snapshots, of one data set or of all.
    Snapshots {
        /// Only this data set, written CLIENT/NAME.
        dataset: Option<DatasetRef>,
    },
    /// Data sets: how long what arrives is locked, and what is kept after that.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Repositories of restic: what their clients may do, and what they deleted.
    #[command(subcommand)]
    Repo(repo::RepoCommand),
    /// What is forgotten, and why; shows the plan unless told otherwise.
    Forget(forget::Options),
    /// The clock that decides when locks end.
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Get a snapshot back, verified.
    Get(get::Options),
    /// The authority that clients pin: PEM, and its fingerprint.
    Certificate,
    /// Look for damage now: labels, journals and headers; the result is told at the end.
    Scrub(scrub::Options),
    /// The recovery words.
    #[command(subcommand)]
    Words(WordsCommand),
    /// What a shell needs to complete this command: `coffre completions bash > /etc/bash_completion.d/coffre`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder.
    Man {
        /// The folder; it must be there.
        #[arg(long, value_name = "DIR", default_value = ".")]
        to: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Make a client and print its secret, once.
    Add {
        /// Its name: 1 to 32 lower-case letters, digits and hyphens.
        name: ClientName,
        /// Most bytes that it may keep, counted as received: 500M, 2G, 1T, or plain bytes.
        #[arg(long, value_name = "BYTES", value_parser = amount::quota)]
        quota: Option<u64>,
        /// Most bytes that it may send within 24 hours, counted as received.
        #[arg(long, value_name = "BYTES", value_parser = amount::quota)]
        daily: Option<u64>,
    },
    /// Say what a client may keep and send from now on.
    Set {
        /// Its name.
        name: ClientName,
        /// Most bytes that it may keep, counted as received, or `default`.
        #[arg(long, value_name = "BYTES", value_parser = client::ceiling)]
        quota: Option<Ceiling>,
        /// Most bytes that it may send within 24 hours, counted as received, or `default`.
        #[arg(long, value_name = "BYTES", value_parser = client::ceiling, required_unless_present = "quota")]
        daily: Option<Ceiling>,
    },
    /// Make a code with which a machine becomes a client by itself: it opens a page of the box and types it.
    Pair(pair::Options),
    /// How far pairings are; codes themselves are not shown again.
    Pairings {
        /// Take the code of this one back.
        #[arg(long, value_name = "ID")]
        cancel: Option<u64>,
    },
    /// A new secret for a client, shown once; the old one is void at once.
    Rotate {
        /// Its name.
        name: ClientName,
    },
    /// All clients.
    List,
    /// Void a client's secret; its data stays.
    Remove {
        /// Its name.
        name: ClientName,
    },
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Say how a data set is kept from now on. What is there already keeps the lock it has.
    Set {
        /// Which, written CLIENT/NAME.
        dataset: DatasetRef,
        /// How long what arrives is locked: 30d, 90d, 1y, 10y and the like; seconds in a try-out only.
        #[arg(long)]
        class: Option<LockClass>,
        /// What stays after its lock: last=N,daily=N,weekly=N,monthly=N,yearly=N, or newest.
        #[arg(long)]
        keep: Option<KeepRules>,
        /// What its snapshots are, so that what arrives is checked: tar, zip, postgres or odoo; file is never checked.
        #[arg(long)]
        kind: Option<Kind>,
        /// Do not ask before a lock of a year or more, which nobody can shorten.
        #[arg(long)]
        yes: bool,
    },
    /// All data sets.
    List,
    /// One data set, and why each of its snapshots stays or goes.
    Show {
        /// Which, written CLIENT/NAME.
        dataset: DatasetRef,
    },
}

#[derive(Debug, Subcommand)]
enum ClockCommand {
    /// The retention clock beside the system's.
    Show,
    /// Say what time it is: the retention clock goes there, no further than the system's clock.
    Attest {
        /// Now, like 2026-03-01T09:30Z.
        #[arg(value_parser = crate::clock::parse)]
        time: u64,
    },
}

#[derive(Debug, Subcommand)]
enum DiskCommand {
    /// All disks.
    List,
    /// Replace a disk by an empty one; the old one may be dead or gone.
    Replace {
        /// The old disk as `disk list` shows it: its number, the first 6 or more digits of its id, or its path.
        old: String,
        /// Folder or mount point of the new disk, empty.
        #[arg(long, value_name = "PATH")]
        with: PathBuf,
    },
    /// Add an empty disk as one more.
    Add {
        /// Its folder or mount point.
        path: PathBuf,
    },
    /// Tell the box where one of its disks is now.
    Find {
        /// Its folder or mount point.
        path: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Delete the index and build it again while the service stays up.
    Burn,
}

#[derive(Debug, Subcommand)]
enum WordsCommand {
    /// Whether 24 words, read from standard input, open this vault.
    Check,
    /// Make new words; the old ones are void for what the box has from then on. The root key stays the same.
    Renew {
        /// Do not ask whether the new words are on paper. Needed where nobody types.
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    fn needs_no_vault(&self) -> bool {
        matches!(self, Self::Completions { .. } | Self::Man { .. })
    }
}

/// What a command has to say.
#[derive(Debug)]
struct Said {
    /// For people; printed with a final line end.
    human: String,
    /// For scripts; one JSON object.
    json: Value,
}

/// Why a command did not do it.
#[derive(Debug)]
struct Failure {
    code: u8,
    fault: Fault,
}

type Outcome<T> = std::result::Result<T, Failure>;

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_understood(&error),
    };
    let mut out = Out::new(args.json);
    let said = run(args, &mut out).and_then(|said| {
        let text = if out.json() { said.json.to_string() } else { said.human };
        out.say(&text).map_err(Failure::from)
    });
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, fault }) => failed(&out, code, &fault),
    }
}

/// One line on stderr, and for scripts an object on stdout.
fn failed(out: &Out, code: u8, fault: &Fault) -> ExitCode {
    // A closed stderr leaves the exit code to say it.
    let _ = writeln!(io::stderr(), "coffre: {fault}");
    if out.json()
        && let Ok(error) = serde_json::to_string(&ErrorView::from(fault))
    {
        // What stands on stderr is said; the exit code says the rest.
        let _ = out.say(&error);
    }
    ExitCode::from(code)
}

/// Help and version are answers; all else is a wrong use.
fn not_understood(error: &clap::Error) -> ExitCode {
    // What was parsed is lost with the error, so the flag is looked for as it was typed.
    let out = Out::new(std::env::args_os().any(|arg| arg == "--json"));
    if !error.use_stderr() {
        return match out.say(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => failed(&Out::new(false), 1, &fault),
        };
    }
    // A closed stderr leaves the exit code to say it.
    let _ = write!(io::stderr(), "coffre: {}", usage::text(error));
    if out.json()
        && let Ok(error) = serde_json::to_string(&ErrorView::from(&usage::fault(error)))
    {
        let _ = out.say(&error);
    }
    ExitCode::from(USAGE)
}

fn run(args: Args, out: &mut Out) -> Outcome<Said> {
    let state = match args.state.filter(|path| !path.as_os_str().is_empty()) {
        Some(state) => StateDir::new(state),
        None if args.command.needs_no_vault() => StateDir::new(""),
        None => {
            let fault = Fault::misuse("no state folder was given");
            return Err(fault.next("name it with --state DIR or in COFFRE_STATE").into());
        }
    };
    match args.command {
        Command::Init(options) => init::run(&state, options, out),
        Command::Adopt(options) => adopt::run(&state, options),
        Command::Status => status::run(&state),
        Command::Client(ClientCommand::Add { name, quota, daily }) => {
            client::add(&state, name, quota, daily, out)
        }
        Command::Client(ClientCommand::Set { name, quota, daily }) => client::set(&state, name, quota, daily),
        Command::Client(ClientCommand::Pair(options)) => pair::run(&state, options, args.json),
        Command::Client(ClientCommand::Pairings { cancel }) => pair::list(&state, cancel),
        Command::Client(ClientCommand::Rotate { name }) => client::rotate(&state, name, out),
        Command::Client(ClientCommand::List) => client::list(&state),
        Command::Client(ClientCommand::Remove { name }) => client::remove(&state, name),
        Command::Disk(DiskCommand::List) => disk::list(&state),
        Command::Disk(DiskCommand::Replace { old, with }) => disk::replace(&state, old, &with, args.json),
        Command::Disk(DiskCommand::Add { path }) => disk::add(&state, &path),
        Command::Disk(DiskCommand::Find { path }) => disk::find(&state, &path),
        Command::Index(IndexCommand::Burn) => index::burn(&state),
        Command::Snapshots { dataset } => snapshots::run(&state, dataset),
        Command::Dataset(DatasetCommand::Set { dataset, class, keep, kind, yes }) => {
            dataset::confirm(&dataset, class, yes)?;
            dataset::set(&state, dataset, class, keep, kind)
        }
        Command::Dataset(DatasetCommand::List) => dataset::list(&state),
        Command::Dataset(DatasetCommand::Show { dataset }) => dataset::show(&state, &dataset),
        Command::Repo(command) => repo::run(&state, command),
        Command::Forget(options) => forget::run(&state, options),
        Command::Clock(ClockCommand::Show) => time::show(&state),
        Command::Clock(ClockCommand::Attest { time }) => time::attest(&state, time),
        Command::Get(options) => get::run(&state, options, args.json),
        Command::Certificate => certificate::run(&state),
        Command::Scrub(options) => scrub::run(&state, options),
        Command::Words(WordsCommand::Check) => words::check(&state),
        Command::Words(WordsCommand::Renew { yes }) => words::renew(&state, yes, args.json),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { to } => manual::man(&to),
    }
}

/// For `value_parser`: an id as people copy it.
fn snapshot_id(text: &str) -> std::result::Result<ObjectId, String> {
    text.trim().parse().map_err(|bad| format!("{bad}"))
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let code = match fault.class {
            Class::Misuse => USAGE,
            Class::Absent => 4,
            Class::Refused => 5,
            Class::Transient | Class::Permanent | Class::Corrupt | Class::Full => 1,
        };
        Self { code, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> std::result::Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn state_goes_before_or_after_the_command() {
        for line in [
            "coffre --state /s status --json",
            "coffre status --json --state /s",
            "coffre --json --state /s status",
        ] {
            let args = parse(line).expect(line);
            assert_eq!((args.state, args.json), (Some("/s".into()), true), "{line}");
        }
        for line in [
            "coffre --state /s client list",
            "coffre client --state /s list",
            "coffre client list --state /s",
        ] {
            assert!(parse(line).is_ok_and(|args| args.state.is_some()), "{line}");
        }
    }

    #[test]
    fn disks_are_repeated_or_in_a_row() {
        for line in ["coffre init --disk a --disk b --state s", "coffre init --disk a b --state s"] {
            let Command::Init(options) = parse(line).expect(line).command else { panic!("{line}") };
            assert_eq!(options.disk, [PathBuf::from("a"), PathBuf::from("b")], "{line}");
        }
    }

    #[test]
    fn wrong_words_are_usage_errors() {
        let bad = [
            "coffre init --state s",
            "coffre init --disk a --geometry 9",
            "coffre client add v1",
            "coffre client add Up",
            "coffre client add a --quota -1",
            "coffre client add a --quota foo",
            "coffre client add a --quota 0",
            "coffre client pair v1",
            "coffre client pair a --kind toaster",
            "coffre client pairings --cancel x",
            "coffre client rotate",
            "coffre client set a",
            "coffre client set a --quota none",
            "coffre client set a --daily -1",
            "coffre snapshots noslash",
            "coffre get a/b",
            "coffre get a/b --to f --id xyz",
            "coffre burn",
            "coffre status extra",
            "coffre dataset set a/b --class 30",
            "coffre dataset set a/b --keep hourly=3",
            "coffre forget --plan --run",
            "coffre clock attest noon",
            "coffre words",
            "coffre words renew abaisser",
        ];
        for line in bad {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn without_a_state_folder_it_is_a_usage_error() {
        let mut args = parse("coffre status").expect("valid");
        args.state = Some(PathBuf::new());
        assert_eq!(run(args, &mut Out::new(false)).expect_err("none given").code, 2);
    }
}
