//! `cargo verify`: every check of the project, one line each, and a total on the last line.

use anyhow::Result;
use clap::Parser;
use coffre_rig::rig::show::{self, Page};
use coffre_rig::rig::signals::{STOPPED, Stop};
use coffre_rig::rig::steps::{self, Step, Tally};
use coffre_rig::rig::tools;
use coffre_rig::rig::{binaries, cross};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What single tests need besides curl.
const PEERS: [tools::Tool; 3] = [tools::RESTIC, tools::RCLONE, tools::IP];

/// Runs every check of the project.
#[derive(Parser)]
struct Args {
    /// A check that could not be run counts as failed.
    #[arg(long)]
    strict: bool,
    /// With --strict: this one may be left out all the same.
    #[arg(long, value_name = "NAME")]
    allow_not_run: Vec<String>,
    /// Run only these.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say which checks there are.
    #[arg(long)]
    list: bool,
    /// How many SIGKILLs the kill test does.
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How many power cuts of file systems there are.
    #[arg(long, default_value_t = 40)]
    cuts: u32,
}

fn main() -> ExitCode {
    let args = Args::parse_from(coffre_rig::rig::arguments());
    let page = Page::stdout();
    let ended = Stop::on_signals().and_then(|stop| match run(&args, page, &stop) {
        Err(_) if stop.asked() => Ok(ExitCode::from(STOPPED as u8)),
        Ok(good) => Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(why) => Err(why),
    });
    ended.unwrap_or_else(|why| {
        page.line(format_args!("FAILED: {why:#}"));
        ExitCode::FAILURE
    })
}

fn run(args: &Args, page: Page, stop: &Stop) -> Result<bool> {
    let all = all_steps(args.kills, args.cuts);
    if args.list {
        for step in &all {
            page.line(format_args!("{:<14} {}", step.name, step.what));
        }
        return Ok(true);
    }
    let known = |name: &String| all.iter().any(|step| step.name == name);
    if let Some(unknown) = args.only.iter().find(|name| !known(name)) {
        anyhow::bail!("there is no check called {unknown}; see cargo verify --list");
    }
    let logs = binaries::scratch("verify")?;
    let since = Instant::now();
    let mut tally = Tally::default();
    for step in
        all.iter().filter(|step| args.only.is_empty() || args.only.iter().any(|name| name == step.name))
    {
        steps::run(step, &logs, page, stop, &mut tally)?;
    }
    page.line(format_args!("\nlogs in {}, {} in all", logs.display(), show::time(since.elapsed())));
    page.line(tally.line());
    Ok(tally.is_good(args.strict, &args.allow_not_run))
}

/// The checks, the quick ones first. Everything in the release profile, so that dependencies are built once.
fn all_steps(kills: u32, cuts: u32) -> Vec<Step> {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let (kills, cuts) = (kills.to_string(), cuts.to_string());
    vec![
        cargo(
            "fmt",
            "sources are formatted",
            minutes(5),
            &["fmt", "--all", "--check", "--", "--color=never"],
        ),
        cargo("house", "the house is in order", minutes(60), &["test", "--release", "--test", "house"]),
        cargo(
            "clippy",
            "no warnings from clippy",
            minutes(60),
            &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ),
        cargo(
            "docs",
            "no warnings from rustdoc",
            minutes(60),
            &["doc", "--release", "--workspace", "--no-deps"],
        ),
        peers(),
        tests(),
        cargo("demo", "the demo's comparisons hold", minutes(20), &["demo", "--once"]),
        cargo(
            "kills",
            "acknowledged objects survive SIGKILL under load",
            minutes(45),
            &["run", "--quiet", "--release", "--bin", "kills", "--", "--kills", &kills],
        ),
        arm("arm-build", "the daemon links for aarch64", &["build", "-p", "coffre", "--bin", "coffred"]),
        arm(
            "arm-tests",
            "core and vault hold on aarch64, under emulation",
            &["test", "-p", "coffre-core", "-p", "coffre-vault", "--lib", "--test", "vault"],
        ),
        cargo(
            "cuts",
            "acknowledged objects survive power cuts of the file systems",
            minutes(30),
            &["run", "--quiet", "--release", "--bin", "kills", "--", "--cuts", &cuts],
        ),
        cargo(
            "full",
            "full disks refuse politely, read, forget and recover",
            minutes(10),
            &["run", "--quiet", "--release", "--bin", "full"],
        ),
        cargo(
            "mounts",
            "disks on real mount points, moved, copied, old, foreign or away: no wrong write, nothing lost",
            minutes(10),
            &["run", "--quiet", "--release", "-p", "coffre-rig", "--bin", "mounts"],
        ),
        cargo(
            "pages",
            "the pairing page in a real browser, in French and English",
            minutes(15),
            &["run", "--quiet", "--release", "--bin", "pages"],
        ),
        cargo(
            "clients",
            "restic and rustic back up, restore, are refused, and survive bad days",
            minutes(30),
            &["run", "--quiet", "--release", "--bin", "clients"],
        ),
        deny("deny", "licences, bans and sources of dependencies", &["licenses", "bans", "sources"]),
        deny("advisories", "no dependency has a known advisory", &["advisories"]),
    ]
}

fn cargo(name: &'static str, what: &'static str, limit: Duration, args: &[&str]) -> Step {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let command = move || {
        let mut command = cargo_command();
        command.args(&args).env("RUSTDOCFLAGS", "-D warnings").env("CARGO_TERM_COLOR", "never");
        Ok(command)
    };
    Step { name, what, limit, command: Box::new(command), excuse: |_| None }
}

/// Programs that single tests need: without them these tests would leave out what they are for.
fn peers() -> Step {
    let command = || {
        if !tools::is_root() {
            return Err("networks of their own need root".to_owned());
        }
        PEERS.into_iter().try_for_each(|tool| tools::ensure(tool).map(drop))?;
        tools::ensure_postgres()?;
        tools::ensure_faketime()?;
        Ok(Command::new("true"))
    };
    let (name, what) = (
        "peers",
        "restic, rclone, PostgreSQL, libfaketime and networks of their own are there for the tests",
    );
    Step { name, what, limit: Duration::from_secs(900), command: Box::new(command), excuse: |_| None }
}

/// All tests. Where their peers are, none of them may do without.
fn tests() -> Step {
    let command = || {
        let mut command = cargo_command();
        command.args(["test", "--release", "--workspace", "--no-fail-fast"]).env("CARGO_TERM_COLOR", "never");
        let peers = PEERS.iter().all(|tool| tools::find(tool.program).is_some());
        let peers = peers && tools::find_postgres().is_some() && tools::find_faketime().is_some();
        if tools::is_root() && peers {
            command.env("COFFRE_PEERS", "1");
        }
        Ok(command)
    };
    let limit = Duration::from_secs(90 * 60);
    Step { name: "tests", what: "all tests", limit, command: Box::new(command), excuse: |_| None }
}

/// A check on the other family of boards.
fn arm(name: &'static str, what: &'static str, args: &'static [&'static str]) -> Step {
    let command = move || cross::cargo(cargo_command(), args);
    Step { name, what, limit: Duration::from_secs(1200), command: Box::new(command), excuse: |_| None }
}

fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(binaries::checkout());
    command
}

/// A check of cargo-deny, which is installed when it is missing.
fn deny(name: &'static str, what: &'static str, checks: &'static [&'static str]) -> Step {
    let command = move || {
        have_cargo_deny()?;
        let mut command = cargo_command();
        command.args(["deny", "--color", "never", "check"]).args(checks);
        Ok(command)
    };
    // The database of advisories is fetched from the network; where there is none, nothing was checked.
    let excuse = |said: &str| {
        let line = said.lines().find(|line| line.contains("failed to fetch advisory database"))?;
        Some(line[line.find("failed").unwrap_or(0)..].chars().take(90).collect())
    };
    Step { name, what, limit: Duration::from_secs(600), command: Box::new(command), excuse }
}

fn have_cargo_deny() -> Result<(), String> {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".cargo")));
    let installed = home.is_some_and(|home| home.join("bin/cargo-deny").is_file());
    if installed || tools::find("cargo-deny").is_some() {
        return Ok(());
    }
    eprintln!("installing cargo-deny from its sources: some minutes");
    let mut install = cargo_command();
    install.args(["install", "--locked", "--quiet", "cargo-deny"]);
    let done = coffre_rig::rig::process::run_ok(&mut install, Duration::from_secs(2400));
    done.map(drop).map_err(|why| {
        let why = why.to_string();
        format!("cargo-deny cannot be installed: {}", why.lines().last().unwrap_or(""))
    })
}
