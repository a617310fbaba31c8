//! `coffre words check`: whether what was written on paper opens this vault, before the day it must.
//! `coffre words renew`: new words, shown before anything changes and made true only then.

use super::{Failure, Outcome, Said, init, knock, out};
use crate::state::StateDir;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::wire::{Reply, Request};
use coffre_core::words::RecoveryWords;
use serde_json::json;
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Words of a recovery phrase.
const WORDS: usize = 24;
/// More than 24 words can ever be, with their numbers.
const MAX_INPUT_BYTES: u64 = 4096;
/// What to do when new words cannot be shown.
const UNCHANGED: &str =
    "nothing was changed and the old words hold; run it at a terminal, or send its output to a file";

/// Reads the words and asks the daemon. Exit code 5 when they do not open the vault.
pub fn check(state: &StateDir) -> Outcome<Said> {
    let words = read_words()?;
    let answer = knock::ask(state, &Request::CheckWords { words }).map_err(refused)?;
    match answer {
        Reply::Done => Ok(Said {
            human: "These words open this vault. Keep the paper away from the box.".into(),
            json: json!({ "opens": true }),
        }),
        other => Err(knock::unexpected(&other)),
    }
}

/// Shows new words, asks whether they are on paper, then has the box sealed for them. Whatever is cut off, each copy of the
/// key slots opens with the old words or with the ones that were shown.
pub fn renew(state: &StateDir, yes: bool, json: bool) -> Outcome<Said> {
    let asked = io::stdin().is_terminal() && !yes;
    if !asked && !yes {
        return Err(Fault::misuse("nobody can be asked whether the new words are on paper")
            .next("run this at a terminal, or give --yes")
            .into());
    }
    out::seen().map_err(|fault| Fault { next: Some(UNCHANGED.into()), ..fault })?;
    let words = match knock::ask(state, &Request::DrawWords)? {
        Reply::Words { words } if words.len() == WORDS => words,
        other => return Err(knock::unexpected(&other)),
    };
    show_now(&words, json)
        .map_err(|e| Fault::permanent(format!("the words cannot be shown: {e}")).next(UNCHANGED))?;
    if asked {
        confirm(&words)?;
    }
    match knock::ask(state, &Request::RenewWords { words })? {
        Reply::WordsRenewed { disks_without } => {
            let json = json!({ "renewed": true, "disks_without": disks_without });
            Ok(Said { human: renewed(&disks_without, state), json })
        }
        other => Err(knock::unexpected(&other)),
    }
}

/// The words, on standard output at once: they must be out before they hold.
fn show_now(words: &[String], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", json!({ "recovery_words": words }))?;
    } else {
        let grid = init::grid(words);
        writeln!(
            out,
            "New recovery words\n\n{grid}\n\nWrite them on paper now, with their numbers. They are shown this once.\n\
             The old ones hold until this command has said that they do not: keep the old paper until then.\n"
        )?;
    }
    out.flush()
}

/// Asks for the last word back: whoever can type it has the paper in hand.
fn confirm(words: &[String]) -> Result<()> {
    // A prompt that cannot be shown is no reason to fail.
    let _ = writeln!(io::stderr(), "Type word {WORDS} from the paper to make the new words hold:");
    let mut line = String::new();
    io::stdin().lock().take(MAX_INPUT_BYTES).read_line(&mut line).map_err(|e| unreadable(&e))?;
    if names_the_last(&line, words) {
        return Ok(());
    }
    Err(Fault::refused("that is not the word; nothing was changed and the old words hold")
        .next("run the command again: it shows other words"))
}

/// Whether this line is the last of these words, read as forgivingly as all of them are.
fn names_the_last(line: &str, words: &[String]) -> bool {
    let typed: Vec<String> = words_of(line).collect();
    let [typed] = &typed[..] else { return false };
    let first = words.iter().take(words.len().saturating_sub(1));
    let (shown, read) = (RecoveryWords::parse(words), RecoveryWords::parse(first.chain([typed])));
    matches!((shown, read), (Ok(shown), Ok(read)) if shown == read)
}

fn renewed(disks_without: &[u8], state: &StateDir) -> String {
    let mut out = String::from(
        "The new words hold. The old ones open nothing that this box has from now on.\n\
         They still open a copy of the key slots that was made before and kept elsewhere (a disk given away, an image of\n\
         one), and with it everything: the key behind the words is the same. Destroy the old paper.\n",
    );
    for disk in disks_without {
        out.push_str(&format!(
            "\nDisk {disk} is away and still has the old key slots: keep the old paper until it has been back.\n"
        ));
    }
    out.push_str(&format!(
        "\nCheck what you wrote with `coffre --state {} words check`.\n",
        state.path().display()
    ));
    out
}

/// Words that are given and wrong are a refusal, not a wrong use of the command: exit code 5.
pub(super) fn refused(failure: impl Into<Failure>) -> Failure {
    let failure = failure.into();
    match failure.fault.class {
        Class::Misuse => Fault { class: Class::Refused, ..failure.fault }.into(),
        _ => failure,
    }
}

/// 24 words from standard input, prompted for at a terminal.
pub(super) fn read_words() -> Result<Vec<String>> {
    let stdin = io::stdin().lock();
    let watched = stdin.is_terminal();
    if watched {
        // A prompt that cannot be shown is no reason to fail.
        let _ = writeln!(io::stderr(), "Type the {WORDS} words in order, with or without their numbers:");
    }
    let mut words = Vec::new();
    let mut input = stdin.take(MAX_INPUT_BYTES);
    let mut line = String::new();
    // At a terminal the last word ends the reading; from a pipe, its end does.
    while !(watched && words.len() >= WORDS) {
        line.clear();
        let read = input.read_line(&mut line).map_err(|e| unreadable(&e))?;
        if read == 0 {
            break;
        }
        words.extend(words_of(&line));
    }
    if words.len() == WORDS {
        return Ok(words);
    }
    Err(Fault::misuse(format!("{} words were given", words.len()))
        .next(format!("give all {WORDS}, in order")))
}

fn unreadable(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::InvalidData => Fault::misuse("standard input is not UTF-8 text")
            .next(format!("give the {WORDS} words as plain text in UTF-8; accents may be left out")),
        _ => Fault::permanent(format!("standard input cannot be read: {error}")),
    }
}

/// The words of a line, in lower case, without the numbers in front of them.
fn words_of(line: &str) -> impl Iterator<Item = String> {
    let tokens = line.split_whitespace().filter(|token| token.chars().any(char::is_alphabetic));
    tokens.map(|token| token.trim_start_matches(|c: char| !c.is_alphabetic()).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_anybody_to_ask_it_needs_yes() {
        // Tests have no terminal for their input, or are watched: then there is no daemon to knock at.
        let state = StateDir::new("no/such/state");
        assert!(renew(&state, false, false).is_err());
    }

    #[test]
    fn the_last_word_is_asked_for_and_no_other_will_do() {
        let words = RecoveryWords::from_entropy([7; 32]).words();
        let last = &words[23];
        for good in [last.clone(), format!(" 24. {}\n", last.to_uppercase())] {
            assert!(names_the_last(&good, &words), "{good:?}");
        }
        for bad in ["", "\n", "abaisser", "yes", &words[22..].join(" ")] {
            assert!(bad == last || !names_the_last(bad, &words), "{bad:?}");
        }
        assert!(!names_the_last("abaisser", &[]));
    }

    #[test]
    fn disks_that_were_away_are_named() {
        let state = StateDir::new("s");
        assert!(!renewed(&[], &state).contains("is away"));
        assert!(renewed(&[2], &state).contains("Disk 2 is away"));
    }

    #[test]
    fn numbers_and_capitals_do_not_matter() {
        let words: Vec<String> = words_of("  1. Abandon 2) école\t3 zoo 4.x  \n").collect();
        assert_eq!(words, ["abandon", "école", "zoo", "x"]);
        assert_eq!(words_of("1 2 3 . -").count(), 0);
    }
}
