//! `coffre host list | add | remove`: names under which clients reach the box and that the machine does not know of.

use super::{Outcome, Said};
use crate::hosts::{self, Host, MAX_HOSTS};
use crate::state::StateDir;
use clap::Subcommand;
use coffre_core::fault::Fault;
use serde_json::json;

/// What may be done with them.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// The names that are kept.
    List,
    /// Have the certificate cover these too, and pages and files say the first of them: a name of the office's DNS, the address of
    /// a router.
    Add {
        /// Like backup.office.example, 203.0.113.7, or 203.0.113.7:443 where clients use another port than the box.
        #[arg(required = true, value_name = "NAME[:PORT]")]
        names: Vec<Host>,
    },
    /// Keep these no longer.
    Remove {
        /// As `host list` shows them.
        #[arg(required = true, value_name = "NAME[:PORT]")]
        names: Vec<Host>,
    },
}

/// Runs one of them. A daemon that runs looks by itself.
pub fn run(state: &StateDir, command: HostCommand) -> Outcome<Said> {
    state.require()?;
    let mut all = hosts::kept(state)?;
    let changed = match command {
        HostCommand::List => false,
        HostCommand::Add { names } => {
            for name in names {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            if all.len() > MAX_HOSTS {
                let fault = Fault::refused(format!("at most {MAX_HOSTS} names are kept"));
                return Err(fault.next("remove one first: coffre host remove NAME").into());
            }
            true
        }
        HostCommand::Remove { names } => {
            for name in names {
                let before = all.len();
                all.retain(|kept| *kept != name);
                if all.len() == before {
                    let fault = Fault::absent(format!("{name} is not among the names that are kept"));
                    return Err(fault.next("coffre host list shows them").into());
                }
            }
            true
        }
    };
    if changed {
        hosts::keep(state, &all)?;
    }
    let list = all.iter().map(|host| format!("  {host}\n")).collect::<String>();
    let human = match (all.is_empty(), changed) {
        (true, _) => "No names are kept: the certificate covers what the machine itself is called.".into(),
        (false, false) => format!("The certificate covers, besides what the machine is called:\n{list}"),
        (false, true) => {
            format!("Kept:\n{list}A daemon that runs has a certificate for them within seconds.")
        }
    };
    Ok(Said { human: human.trim_end().to_owned(), json: json!({ "hosts": all }) })
}
