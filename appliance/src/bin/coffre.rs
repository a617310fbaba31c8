//! `coffre`: the command of whoever looks after a backup box.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Recovery words and secrets pass through here. Where the system refuses this it is no reason not to go on.
    let _ = coffre::process::keep_to_itself();
    coffre::cli::main()
}
