//! What shells and `man` know of the command: made from the same grammar that reads it.

use super::{Args, Outcome, Said};
use clap::CommandFactory;
use clap_complete::Shell;
use coffre_core::fault::Fault;
use serde_json::json;
use std::path::Path;

/// The lines that teach a shell to complete `coffre`.
pub fn completions(shell: Shell) -> Outcome<Said> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "coffre", &mut bytes);
    let text = String::from_utf8(bytes)
        .map_err(|e| Fault::permanent(format!("the completions cannot be written: {e}")))?;
    Ok(Said { json: json!({ "shell": shell.to_string(), "completions": text }), human: text })
}

/// Manual pages, one for each command, into a folder that is there.
pub fn man(folder: &Path) -> Outcome<Said> {
    let failed = |e: std::io::Error| {
        Fault::permanent(format!("cannot write manual pages to {}: {e}", folder.display()))
            .next("name a folder that is there with --to")
    };
    clap_mangen::generate_to(Args::command(), folder).map_err(failed)?;
    let human = format!("Manual pages are in {0}: read one with `man {0}/coffre.1`.", folder.display());
    Ok(Said { human, json: json!({ "folder": folder.to_string_lossy() }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_and_each_command_is_served() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let said = completions(shell).expect("made");
            assert!(said.human.contains("dataset") && said.human.contains("--json"), "{shell}");
        }
        let scratch = tempfile::tempdir().expect("scratch folder");
        man(scratch.path()).expect("made");
        let page = std::fs::read_to_string(scratch.path().join("coffre-get.1")).expect("a page for get");
        assert!(page.contains("compare") && scratch.path().join("coffre-client-add.1").exists());
        assert!(man(&scratch.path().join("none")).is_err());
    }
}
