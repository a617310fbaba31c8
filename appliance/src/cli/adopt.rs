//! `coffre adopt`: a new state folder for disks that live on, opened with the recovery words.

use super::{Outcome, Said, init, words};
use crate::state::StateDir;
use clap::Args;
use coffre_core::fault::Result;
use coffre_core::words::RecoveryWords;
use serde_json::json;
use std::path::PathBuf;

/// Options of `coffre adopt`.
#[derive(Debug, Args)]
pub struct Options {
    /// A disk of the vault, wherever it is mounted now; repeat the option, in any order.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub disk: Vec<PathBuf>,
}

/// Reads 24 words from standard input and makes the state folder. Exit code 5 when they do not open these disks.
pub fn run(state: &StateDir, options: Options) -> Outcome<Said> {
    let folder = PathBuf::from(init::text(state.path())?);
    let disks: Vec<PathBuf> =
        options.disk.iter().map(|disk| init::text(disk).map(PathBuf::from)).collect::<Result<_>>()?;
    let words = words::read_words()?;
    // Looked at first, so that wrong words and a wrong use stay two things.
    RecoveryWords::parse(&words).map_err(words::refused)?;
    let adopted = coffre_vault::adopt(&folder, &disks, &words)?;
    let mut human = format!(
        "Adopted vault {:?} ({}), geometry {}. The words on paper stay the same.\n",
        adopted.name, adopted.vault_id, adopted.geometry
    );
    for warning in &adopted.warnings {
        human.push_str(&format!("\nWarning: {warning}\n"));
    }
    human.push_str(&format!("\nStart the box with `coffred --state {}`.\n", folder.display()));
    let json = json!({
        "vault_id": adopted.vault_id,
        "name": adopted.name,
        "geometry": adopted.geometry,
        "state": folder.to_string_lossy(),
        "disks": disks.iter().map(|disk| disk.to_string_lossy()).collect::<Vec<_>>(),
        "warnings": adopted.warnings,
    });
    Ok(Said { human, json })
}
