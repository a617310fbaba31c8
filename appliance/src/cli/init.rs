//! `coffre init`: makes a vault, shows its recovery words, once.

use super::out::Out;
use super::{Outcome, Said, show};
use crate::clock;
use crate::identity::{fingerprint, make_authority, pem};
use crate::state::StateDir;
use clap::Args;
use coffre_core::fault::{Fault, Result};
use coffre_core::geometry::Geometry;
use coffre_vault::{IdentityKeys, InitOutcome, InitPlan};
use serde_json::json;
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf, absolute};

/// Longest name of a box: it stands in certificates.
const MAX_NAME_CHARS: usize = 40;
/// Columns of the words' grid.
const COLUMNS: usize = 4;

/// Options of `coffre init`.
#[derive(Debug, Args)]
pub struct Options {
    /// A disk: an empty folder or mount point. 1 to 8 of them; repeat the option.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub disk: Vec<PathBuf>,
    /// Data and parity shards, instead of the box's choice for that number of disks.
    #[arg(long, value_name = "K+M")]
    pub geometry: Option<Geometry>,
    /// The box's name, for people and certificates.
    #[arg(long, default_value = "coffre", value_parser = box_name)]
    pub name: String,
    /// Try-out: folders of one file system are allowed. Not for real backups.
    #[arg(long)]
    pub try_out: bool,
}

/// What to do when the words could not be shown although the vault is made.
const LOST: &str =
    "the vault is made, its words are lost: start coffred and run `coffre words renew`, which shows new ones";

/// Makes the vault. The certificate's copy in the state folder is written last; the daemon writes it again.
pub fn run(state: &StateDir, options: Options, out: &mut Out) -> Outcome<Said> {
    let plan = InitPlan {
        state: text(state.path())?.into(),
        disks: options.disk.iter().map(|disk| text(disk).map(PathBuf::from)).collect::<Result<_>>()?,
        geometry: options.geometry,
        name: options.name,
        try_out: options.try_out,
    };
    let out = RefCell::new(out);
    // Asked for when everything is checked and nothing is made: the moment to see whether the words can be shown.
    let authority = |keys: &IdentityKeys, vault, name: &str, now_ms| {
        out.borrow_mut().begin(&format!("Making vault {name:?}"), LOST)?;
        make_authority(keys, vault, name, now_ms)
    };
    let mut made = coffre_vault::init(&plan, &authority)?;
    // The vault is made and its words exist only here: from now on nothing may fail without showing them.
    if let Err(fault) = state.write_authority(&pem(&made.authority_der)) {
        made.warnings.push(format!("{fault}; the daemon will write it when it starts"));
    }
    Ok(Said { human: for_people(&plan, &made), json: for_scripts(&plan, &made) })
}

fn for_scripts(plan: &InitPlan, made: &InitOutcome) -> serde_json::Value {
    json!({
        "vault_id": made.vault_id,
        "name": plan.name,
        "state": plan.state.to_string_lossy(),
        "disks": plan.disks.iter().map(|disk| disk.to_string_lossy()).collect::<Vec<_>>(),
        "geometry": made.geometry,
        "try_out": plan.try_out,
        "recovery_words": made.recovery_words,
        "certificate_fingerprint": fingerprint(&made.authority_der),
        "warnings": made.warnings,
    })
}

fn for_people(plan: &InitPlan, made: &InitOutcome) -> String {
    let disks = show::count(plan.disks.len() as u64, "disk");
    let loss = match made.geometry.m() {
        0 => "no disk may be lost".to_owned(),
        1 => "any 1 of them may be lost".to_owned(),
        m => format!("any {m} of them may be lost"),
    };
    let mut out = format!("Made vault {:?} on {disks}, geometry {}: {loss}.\n", plan.name, made.geometry);
    out.push_str(&format!("  vault        {}\n", made.vault_id));
    out.push_str(&format!("  made         {}\n", clock::local(clock::now_ms())));
    out.push_str(&format!("  certificate  SHA-256 {}\n", fingerprint(&made.authority_der)));
    for warning in &made.warnings {
        out.push_str(&format!("\nWarning: {warning}\n"));
    }
    let [bold, plain] = if io::stdout().is_terminal() { ["\x1b[1m", "\x1b[0m"] } else { ["", ""] };
    out.push_str(&format!("\nRecovery words\n\n{bold}{}{plain}\n\n", grid(&made.recovery_words)));
    out.push_str(
        "Write these words on paper now, with their numbers, and keep the paper away from the box.\n\
         They are shown this once and kept nowhere. With them and your copies, the box can be made again;\n\
         without them, nobody can help you, and whoever has them can read everything.\n\n",
    );
    out.push_str(&format!(
        "Check what you wrote with `coffre --state {0} words check`.\n",
        plan.state.display()
    ));
    out.push_str(&format!("Start the box with     `coffred --state {0}`.\n", plan.state.display()));
    out
}

/// Numbered words, read line by line.
pub(super) fn grid(words: &[String]) -> String {
    let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let cell = |(n, word): (usize, &String)| format!("{:>4}  {word:<width$}", n + 1);
    let cells: Vec<String> = words.iter().enumerate().map(cell).collect();
    let lines: Vec<String> = cells.chunks(COLUMNS).map(|line| line.concat().trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The daemon is started elsewhere: paths must not depend on where this command was.
pub(super) fn full(path: &Path) -> Result<PathBuf> {
    absolute(path).map_err(|e| Fault::misuse(format!("{}: {e}", path.display())))
}

/// The same as text: the daemon, its files and JSON know paths as text only.
pub(super) fn text(path: &Path) -> Result<String> {
    full(path)?
        .into_os_string()
        .into_string()
        .map_err(|_| Fault::misuse(format!("{} is not UTF-8", path.display())).next("rename the folder"))
}

fn box_name(text: &str) -> std::result::Result<String, String> {
    let text = text.trim();
    let fits =
        !text.is_empty() && text.chars().count() <= MAX_NAME_CHARS && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("a name has 1 to {MAX_NAME_CHARS} printable characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_six_lines_of_four() {
        let words: Vec<String> = (1..=24).map(|n| format!("mot{n}")).collect();
        let grid = grid(&words);
        assert_eq!(grid.lines().count(), 6);
        assert!(grid.starts_with("   1  mot1    2  mot2"));
        assert!(grid.ends_with("  24  mot24"));
    }

    #[test]
    fn names_of_boxes_are_printable() {
        assert_eq!(box_name(" Cabinet Alaoui ").as_deref(), Ok("Cabinet Alaoui"));
        for bad in ["", "  ", "a\nb", &"x".repeat(41)] {
            assert!(box_name(bad).is_err(), "{bad:?}");
        }
    }
}
