//! A command line that cannot be understood, said like every other error: no second kind of message for scripts to know.

use clap::error::ErrorKind;
use coffre_core::fault::Fault;

/// What clap says of it, to be printed behind `coffre: `: several lines, with the usage and a hint.
pub fn text(error: &clap::Error) -> String {
    let said = error.render().to_string();
    match error.kind() {
        // Then clap says nothing but the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => format!("a command is missing\n\n{said}"),
        _ => said.strip_prefix("error: ").map(str::to_owned).unwrap_or(said),
    }
}

/// The same as a fault in one sentence; `Misuse`.
pub fn fault(error: &clap::Error) -> Fault {
    let text = text(error);
    let first = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    Fault::misuse(first.collect::<Vec<_>>().join(" ")).next("see `--help` of the command")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn error(args: &[&str]) -> clap::Error {
        let get = Command::new("get").arg(Arg::new("to").long("to").required(true).value_name("FILE"));
        let command = Command::new("coffre").subcommand(get).arg_required_else_help(true);
        command.try_get_matches_from([&["coffre"], args].concat()).expect_err("wrong")
    }

    #[test]
    fn the_first_paragraph_is_the_fault_and_the_rest_is_kept_for_people() {
        let missing = error(&["get"]);
        assert_eq!(fault(&missing).what, "the following required arguments were not provided: --to <FILE>");
        assert!(text(&missing).contains("Usage: coffre get") && !text(&missing).contains("error:"));
        assert_eq!(fault(&error(&["got"])).what, "unrecognized subcommand 'got'");
        assert_eq!(fault(&error(&[])).what, "a command is missing");
        assert!(text(&error(&[])).contains("Usage: coffre"));
    }
}
