//! A question before what cannot be taken back: answered at the terminal, or beforehand with `--yes`.

use coffre_core::fault::{Fault, Result};
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1024;

/// Goes on when `yes` was given or somebody at the terminal types it. `what` says in one sentence what is about to happen, without a final
/// stop. `Refused` when the answer is no, and where nobody can be asked.
pub(super) fn confirm(what: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Fault::refused(format!("{what}: nobody is there to be asked, and nothing was changed"))
            .next("add --yes if that is meant"));
    }
    // A question that cannot be shown is answered by nobody: the line below is then no yes.
    let _ = write!(io::stderr(), "{what}.\nGo on? Type yes (oui) or no: ");
    let mut line = String::new();
    let read = stdin.lock().take(MAX_ANSWER_BYTES).read_line(&mut line);
    if read.is_ok() && is_yes(&line) {
        return Ok(());
    }
    Err(Fault::refused("that was not a yes: nothing was changed")
        .next("run it again and type yes, or add --yes"))
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "yes" | "oui")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_word_is_a_yes() {
        assert!(["yes", "YES\n", " oui \n"].iter().all(|line| is_yes(line)));
        assert!(["", "\n", "y", "o", "yes please", "no", "non"].iter().all(|line| !is_yes(line)));
        assert!(confirm("all is lost", true).is_ok());
    }
}
