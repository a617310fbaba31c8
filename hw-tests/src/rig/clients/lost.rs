//! Backups over a wire that loses answers: to us, where they must survive, and to restic's own server, for comparison.

use super::files;
use super::program::{Client, Program, ended_well};
use super::proxy::Proxy;
use super::stage::Stage;
use crate::rig::binaries;
use crate::rig::rest_server::RestServer;
use crate::rng::Rng;
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

/// Answers that are lost in one backup.
const MOST_LOST: u64 = 3;
/// How long a backup to the other server is watched.
const OTHER_LIMIT: Duration = Duration::from_secs(45);

/// Some answers to uploads are lost. The client sends the same again, and is told that it is there.
pub fn survives(stage: &mut Stage, client: &Client) -> Result<()> {
    let proxy = Proxy::start(&stage.address, MOST_LOST)?;
    let (folder, log) = (stage.fresh()?, stage.path("log")?);
    let backup = client.at(&proxy.address).start_backup(&folder, &log)?;
    ended_well(backup, &log)?;
    ensure!(proxy.lost() > 0, "no answer was lost: nothing was proved");
    client.check()?;
    let id = client.newest()?;
    stage.restored_is(client, &id, &folder)
}

/// The same to rest-server in append-only mode: a sentence of what became of it.
pub fn rest_server(program: &Program, server: &Path) -> Result<String> {
    let scratch = tempfile::Builder::new().prefix("rest-").tempdir_in(binaries::scratch("clients")?)?;
    let folder = scratch.path().canonicalize()?;
    let server = RestServer::start_append_only(server, &folder)?;
    let proxy = Proxy::start(server.address(), MOST_LOST)?;
    let direct = Client::new(program, server.address(), "nobody", "nothing", server.certificate());
    ensure!(direct.init()?.status.success(), "rest-server makes no repository");
    let (fresh, log) = (folder.join("fresh"), folder.join("log"));
    files::fresh(&fresh, &mut Rng::new(42))?;
    let mut backup = direct.at(&proxy.address).start_backup(&fresh, &log)?;
    let ended = backup.wait(OTHER_LIMIT)?;
    let said = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let last = said.trim().lines().last().unwrap_or("").to_owned();
    let lost = proxy.lost();
    Ok(match ended {
        Some(status) if status.success() => format!("survived {lost} lost answers"),
        Some(status) => {
            format!("did not survive {lost} lost answers: {} ended with {status}: {last}", program.name)
        }
        None => format!("has not got over {lost} lost answers after {} s: {last}", OTHER_LIMIT.as_secs()),
    })
}
