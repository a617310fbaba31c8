//! Named checks with time limits, each a child process, and the tally at the end.
//!
//! A step passes when its child ends with 0. It is *not run* when the child ends with [`NOT_RUN`], or when what it
//! needs is not there. A child may also say `NOT RUN: NAME: WHY` on a line of its own for a part that it could not
//! do: that is counted as a check of its own, so that half a check never looks like a whole one.

use super::process::Group;
use super::show::{self, Page, Tone};
use super::signals::Stop;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Exit code of a check that could not be run, as automake and meson have it.
pub const NOT_RUN: i32 = 77;
const NOT_RUN_LINE: &str = "NOT RUN: ";
/// Lines of a failed step's log that are shown.
const TAIL_LINES: usize = 40;
/// Lines of it that name what failed, shown before those.
const TELLING_LINES: usize = 60;
/// Lines that a panic's message may take.
const PANIC_LINES: usize = 5;

/// The end of a program that is a check: as `run` says, or a line about what failed.
pub fn end(run: impl FnOnce(Page) -> Result<ExitCode>) -> ExitCode {
    let page = Page::stdout();
    run(page).unwrap_or_else(|why| {
        page.line(format_args!("FAILED: {why:#}"));
        ExitCode::FAILURE
    })
}

/// One check.
pub struct Step {
    /// A word for the list and for `--only`, `--allow-not-run`.
    pub name: &'static str,
    /// What it proves, for a person.
    pub what: &'static str,
    /// It is ended when it takes longer.
    pub limit: Duration,
    /// The command, or why it cannot be run here.
    pub command: Box<dyn Fn() -> Result<Command, String>>,
    /// Whether this output of a failed child means that it could not be run, and why.
    pub excuse: fn(&str) -> Option<String>,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not; why.
    Fail(String),
    /// It could not be run; why.
    NotRun(String),
}

/// Outcomes by name.
#[derive(Debug, Default)]
pub struct Tally {
    outcomes: Vec<(String, Outcome)>,
}

impl Tally {
    /// Notes an outcome.
    pub fn note(&mut self, name: &str, outcome: Outcome) {
        self.outcomes.push((name.to_owned(), outcome));
    }

    fn count(&self, wanted: fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count()
    }

    /// `N passed, N failed, N skipped`.
    pub fn line(&self) -> String {
        let passed = self.count(|o| *o == Outcome::Pass);
        let failed = self.count(|o| matches!(o, Outcome::Fail(_)));
        let skipped = self.count(|o| matches!(o, Outcome::NotRun(_)));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Whether the whole is good: nothing failed, something passed, and where it is strict nothing was left out but
    /// what is allowed to be.
    pub fn is_good(&self, strict: bool, may_be_left_out: &[String]) -> bool {
        let something = self.count(|o| *o == Outcome::Pass) > 0;
        something
            && self.outcomes.iter().all(|(name, outcome)| match outcome {
                Outcome::Pass => true,
                Outcome::Fail(_) => false,
                Outcome::NotRun(_) => !strict || may_be_left_out.contains(name),
            })
    }
}

/// Runs a step, its output going to `NAME.log` in `logs`, and prints its line.
pub fn run(step: &Step, logs: &Path, page: Page, stop: &Stop, tally: &mut Tally) -> Result<()> {
    let since = Instant::now();
    let log = logs.join(format!("{}.log", step.name));
    let about = format!("running  {:<14} {} (log: {})", step.name, step.what, log.display());
    page.line(format_args!("{}", page.paint(Tone::Quiet, &about)));
    let (outcome, parts) = match (step.command)() {
        Err(why) => (Outcome::NotRun(why), Vec::new()),
        Ok(mut command) => {
            let outcome = attempt(step, &mut command, &log, stop)?;
            let said = read(&log);
            (judge(step, outcome, &said), left_out(&said))
        }
    };
    print(page, step, &outcome, since.elapsed(), &log);
    tally.note(step.name, outcome);
    for (name, why) in parts {
        page.line(format_args!("{} {name:<14} {why}", page.paint(Tone::Watch, "NOT RUN:")));
        tally.note(&name, Outcome::NotRun(why));
    }
    Ok(())
}

/// How the child ended: its exit code, or a sentence.
type Ended = std::result::Result<i32, String>;

fn attempt(step: &Step, command: &mut Command, log: &Path, stop: &Stop) -> Result<Ended> {
    let out = File::create(log).with_context(|| log.display().to_string())?;
    let err = out.try_clone()?;
    let mut child = match Group::start(command.stdin(Stdio::null()).stdout(out).stderr(err)) {
        Ok(child) => child,
        Err(why) => return Ok(Err(format!("{why:#}"))),
    };
    let since = Instant::now();
    loop {
        if let Some(status) = child.wait(Duration::from_millis(200))? {
            return Ok(status.code().ok_or_else(|| status.to_string()));
        }
        if since.elapsed() > step.limit || stop.asked() {
            // It may have mounts and daemons of its own: first the chance to tidy up.
            child.signal(nix::sys::signal::Signal::SIGTERM)?;
            if child.wait(Duration::from_secs(20))?.is_none() {
                child.kill()?;
            }
            stop.check()?;
            return Ok(Err(format!("took longer than {} s", step.limit.as_secs())));
        }
    }
}

fn judge(step: &Step, ended: Ended, said: &str) -> Outcome {
    match ended {
        Ok(0) => Outcome::Pass,
        Ok(NOT_RUN) => Outcome::NotRun(last_line(said)),
        Ok(code) => match (step.excuse)(said) {
            Some(why) => Outcome::NotRun(why),
            None => Outcome::Fail(format!("ended with {code}")),
        },
        Err(why) => Outcome::Fail(why),
    }
}

/// Parts that a child says it left out: name and reason.
fn left_out(said: &str) -> Vec<(String, String)> {
    said.lines()
        .filter_map(|line| line.strip_prefix(NOT_RUN_LINE)?.split_once(": "))
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .collect()
}

fn print(page: Page, step: &Step, outcome: &Outcome, took: Duration, log: &Path) {
    let (tone, word, more) = match outcome {
        Outcome::Pass => (Tone::Good, "PASS    ", step.what.to_owned()),
        Outcome::Fail(why) => (Tone::Bad, "FAIL    ", format!("{} – {why}", step.what)),
        Outcome::NotRun(why) => (Tone::Watch, "NOT RUN:", why.clone()),
    };
    let took = page.paint(Tone::Quiet, &format!("({})", show::time(took)));
    page.line(format_args!("{} {:<14} {more} {took}", page.paint(tone, word), step.name));
    if matches!(outcome, Outcome::Fail(_)) {
        for line in telling(&read(log)) {
            page.line(format_args!("    ! {line}"));
        }
        for line in super::daemon::tail(log, TAIL_LINES).lines() {
            page.line(format_args!("    | {line}"));
        }
        page.line(format_args!("    the whole log: {}", log.display()));
    }
}

/// The lines of a log that say which test failed and where: in a long log they are far from its end.
fn telling(said: &str) -> Vec<&str> {
    let mut after_panic = 0;
    let tells = |line: &&str| {
        after_panic =
            if line.contains("panicked at") { PANIC_LINES } else { after_panic.saturating_sub(1_usize) };
        after_panic > 0 || line.ends_with("... FAILED") || line.starts_with("error: test failed")
    };
    said.lines().filter(tells).take(TELLING_LINES).collect()
}

fn read(log: &Path) -> String {
    std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_line(said: &str) -> String {
    let line = said.trim().lines().last().unwrap_or("no reason given");
    line.strip_prefix(NOT_RUN_LINE).unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(script: &'static str, limit: Duration) -> Step {
        let command = move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Ok(command)
        };
        let excuse = |said: &str| said.contains("no network").then(|| "no network".to_owned());
        Step { name: "it", what: "it holds", limit, command: Box::new(command), excuse }
    }

    fn outcome_of(step: &Step) -> Vec<(String, Outcome)> {
        let logs = tempfile::tempdir().expect("a scratch folder");
        let mut tally = Tally::default();
        run(step, logs.path(), Page::stdout(), &Stop::default(), &mut tally).expect("the rig itself works");
        tally.outcomes
    }

    #[test]
    fn outcomes_follow_from_how_the_child_ended() {
        let long = Duration::from_secs(30);
        let only = |script| outcome_of(&step(script, long)).remove(0).1;
        assert_eq!(only("exit 0"), Outcome::Pass);
        assert_eq!(only("exit 3"), Outcome::Fail("ended with 3".into()));
        assert_eq!(only("echo NOT RUN: no loop devices; exit 77"), Outcome::NotRun("no loop devices".into()));
        assert_eq!(only("echo there is no network; exit 1"), Outcome::NotRun("no network".into()));
        assert!(matches!(only("kill -9 $$"), Outcome::Fail(_)));
        let absent = Step { command: Box::new(|| Err("no curl".into())), ..step("", long) };
        assert_eq!(outcome_of(&absent), [("it".to_owned(), Outcome::NotRun("no curl".into()))]);
    }

    #[test]
    fn a_step_that_takes_too_long_fails() {
        let outcome = outcome_of(&step("sleep 60", Duration::from_millis(300))).remove(0).1;
        assert!(matches!(outcome, Outcome::Fail(why) if why.contains("longer")));
    }

    #[test]
    fn a_long_log_still_tells_which_test_failed() {
        let log = "test a ... ok\ntest b ... FAILED\nthread 'b' panicked at x.rs:1:2:\nleft\n1\n2\n3\n4\nerror: test failed, to rerun";
        let told = telling(log);
        assert_eq!(told[..3], ["test b ... FAILED", "thread 'b' panicked at x.rs:1:2:", "left"]);
        assert_eq!(told.last(), Some(&"error: test failed, to rerun"));
        assert!(!told.contains(&"4") && !told.contains(&"test a ... ok"));
    }

    #[test]
    fn a_part_left_out_counts_by_itself() {
        let outcomes = outcome_of(&step("echo 'NOT RUN: xfs: no mkfs.xfs'", Duration::from_secs(30)));
        assert_eq!(outcomes[1], ("xfs".to_owned(), Outcome::NotRun("no mkfs.xfs".into())));
    }

    #[test]
    fn the_tally_is_strict_when_asked() {
        let mut tally = Tally::default();
        assert!(!tally.is_good(false, &[]), "nothing passed");
        tally.note("a", Outcome::Pass);
        tally.note("advisories", Outcome::NotRun("no network".into()));
        assert_eq!(tally.line(), "1 passed, 0 failed, 1 skipped");
        assert!(tally.is_good(false, &[]));
        assert!(!tally.is_good(true, &[]));
        assert!(tally.is_good(true, &["advisories".to_owned()]));
        tally.note("b", Outcome::Fail("x".into()));
        assert!(!tally.is_good(false, &["b".to_owned()]));
    }
}
