//! `coffre`: the command of whoever looks after a backup box.

use std::process::ExitCode;

fn main() -> ExitCode {
    coffre::cli::main()
}
