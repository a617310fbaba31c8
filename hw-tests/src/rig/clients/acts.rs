//! What each client goes through on good days, and what it may not do.

use super::files;
use super::program::Client;
use super::stage::Stage;
use crate::rig::process::Said;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// An old restic tries a refused deletion again and again for a quarter of an hour; this long it is watched.
const REFUSED_LIMIT: Duration = Duration::from_secs(12);
const FORGET_LIMIT: Duration = Duration::from_secs(120);
/// What a second backup of almost the same may add: the little that is new, its folders, an index.
const LITTLE_BYTES: u64 = 4 << 20;

/// The client makes its own repository, without a step on the box. Again, it sees that it has one, and nothing happens.
pub fn init(stage: &mut Stage, client: &Client) -> Result<()> {
    ensure!(stage.repo(client.repo())?.is_none(), "{} was there before its client made it", client.repo());
    let first = client.init()?;
    ensure!(first.status.success(), "init ended with {}: {}", first.status, first.err.trim());
    let made = stage.repo(client.repo())?.context("the repository is not listed")?;
    ensure!(made["mode"] == "append-only", "a new repository is {}", made["mode"]);
    let again = client.init()?;
    ensure!(!again.status.success(), "a second init made a second repository");
    ensure!(client.snapshots()?.is_empty(), "snapshots in a new repository");
    Ok(())
}

/// Real files, twice with a little new between; all is read and compared.
pub fn backup_and_restore(stage: &mut Stage, client: &Client) -> Result<()> {
    let folder = stage.real.clone();
    client.backup(&folder)?;
    let first = client.newest()?;
    let bytes = stage.figure(client.repo(), "bytes")?;
    stage.restored_is(client, &first, &folder)?;
    files::touch(&folder, &mut stage.rng)?;
    client.backup(&folder)?;
    let added = stage.figure(client.repo(), "bytes")? - bytes;
    ensure!(added < LITTLE_BYTES, "the second backup of almost the same files added {added} bytes");
    client.check()?;
    let second = client.newest()?;
    ensure!(first != second, "the second backup made no snapshot");
    stage.restored_is(client, &second, &folder)?;
    let listed = stage.figure(client.repo(), "snapshots_count")?;
    ensure!(listed == 2, "the box lists {listed} backups, not 2");
    Ok(())
}

/// What a ransomware with the client's secret would do first.
pub fn append_only(stage: &mut Stage, client: &Client) -> Result<()> {
    let folder = stage.fresh()?;
    client.backup(&folder)?;
    let (id, before) = (client.newest()?, client.snapshots()?);
    was_refused(client.forget(&id, REFUSED_LIMIT))?;
    client.unlock()?;
    ensure!(client.snapshots()? == before, "a snapshot is gone after a refused forget");
    let hidden = stage.figure(client.repo(), "deleted_files_count")?;
    ensure!(hidden == 0, "{hidden} files were hidden by an append-only repository");
    stage.restored_is(client, &id, &folder)
}

/// What a deletion came to that the box must not do: ended with an error, or still at it, as an old restic goes on asking. Both
/// say 403.
pub fn was_refused(outcome: Result<Said>) -> Result<()> {
    let said = match outcome {
        Ok(said) => {
            ensure!(!said.status.success(), "forget and prune went through: {}", said.text());
            format!("{}{}", said.text(), said.err)
        }
        Err(why) => format!("{why:#}"),
    };
    ensure!(said.contains("403") || said.contains("Forbidden"), "refused, but not with 403: {said}");
    Ok(())
}

/// The client cleans up as it likes. What it deleted is shown on the box, and one command brings it back.
pub fn recoverable(stage: &mut Stage, client: &Client) -> Result<()> {
    let repo = client.repo();
    stage.coffre.json(&["repo", "set", repo, "--mode", "recoverable"])?;
    let folder = stage.fresh()?;
    client.backup(&folder)?;
    let (id, before) = (client.newest()?, stage.figure(repo, "bytes")?);
    let said = client.forget(&id, FORGET_LIMIT)?;
    ensure!(said.status.success(), "forget --prune ended with {}: {}", said.status, said.err.trim());
    ensure!(!client.snapshots()?.contains(&id), "the forgotten snapshot is still there");
    client.check().context("after the prune")?;
    let hidden = stage.figure(repo, "deleted_bytes")?;
    ensure!(stage.figure(repo, "bytes")? < before, "the client's view of the repository did not shrink");
    ensure!(hidden >= 40 << 20, "the box shows only {hidden} bytes as deleted by the client");
    let back = stage.coffre.json(&["repo", "restore", repo])?;
    ensure!(back["restored_files"].as_u64() > Some(0), "no file came back: {back}");
    ensure!(client.snapshots()?.contains(&id), "the snapshot did not come back");
    stage.restored_is(client, &id, &folder)?;
    client.check().context("after the return")?;
    stage.coffre.json(&["repo", "set", repo, "--mode", "append-only"])?;
    Ok(())
}
