//! What each client goes through on bad days: kills, pulled disks, several at once, and doors that stay shut.

use super::program::{Client, LIMIT, ended_well};
use super::stage::Stage;
use crate::rig::process::Group;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// A backup of new files under way, the files, and where it says something.
struct UnderWay {
    backup: Group,
    folder: PathBuf,
    log: PathBuf,
}

/// Begins a backup of new files and returns when some of it has arrived.
fn under_way(stage: &mut Stage, client: &Client) -> Result<UnderWay> {
    let (folder, log) = (stage.fresh()?, stage.path("log")?);
    let from = stage.figure(client.repo(), "bytes")?;
    let mut backup = client.start_backup(&folder, &log)?;
    stage.wait_for_growth(client.repo(), from)?;
    ensure!(backup.ended()?.is_none(), "the backup was over before anything could happen to it");
    Ok(UnderWay { backup, folder, log })
}

/// The newest snapshot is this folder, and all is well.
fn newest_is(stage: &mut Stage, client: &Client, folder: &Path) -> Result<()> {
    client.check()?;
    let id = client.newest()?;
    stage.restored_is(client, &id, folder)
}

/// Wrong secret; right secret and another one's repository; a repository that nobody has. Each client says so and leaves.
pub fn refused(stage: &mut Stage, client: &Client) -> Result<()> {
    let stranger = client.with_secret("not-the-secret");
    let said = stranger.init()?;
    ensure!(!said.status.success(), "a wrong secret opened the door");
    ensure!(tells(&said.err, &["401", "Unauthorized"]), "a wrong secret is not told: {}", said.err.trim());
    let theirs = client.with_repo("somebody-else/repo");
    ensure!(!theirs.init()?.status.success(), "a client made a repository of another one's");
    ensure!(theirs.snapshots().is_err(), "a client reads another one's repository");
    ensure!(stage.repo("somebody-else/repo")?.is_none(), "there is a repository of another one's");
    Ok(())
}

fn tells(said: &str, one_of: &[&str]) -> bool {
    one_of.iter().any(|word| said.contains(word))
}

/// SIGKILL in mid-backup. Nothing of it is a snapshot; the next backup of the same goes through.
pub fn client_killed(stage: &mut Stage, client: &Client) -> Result<()> {
    let before = client.snapshots()?;
    let UnderWay { mut backup, folder, .. } = under_way(stage, client)?;
    backup.kill()?;
    ensure!(client.snapshots()? == before, "half a backup is a snapshot");
    client.unlock()?;
    client.backup(&folder)?;
    newest_is(stage, client, &folder)
}

/// Two of six disks go in mid-backup. It ends well, and is restored without them; then they come back.
pub fn disks_pulled(stage: &mut Stage, client: &Client) -> Result<()> {
    let UnderWay { backup, folder, log } = under_way(stage, client)?;
    stage.pull_two()?;
    let outcome = ended_well(backup, &log).and_then(|()| {
        let active = stage.active_disks()?;
        ensure!(active <= 4, "{active} disks are in use, and two were pulled");
        newest_is(stage, client, &folder).context("with two disks gone")
    });
    stage.put_back()?;
    outcome?;
    newest_is(stage, client, &folder).context("with the disks back")
}

/// SIGKILL of the daemon in mid-backup, and a new start. The client goes on by itself.
pub fn daemon_killed(stage: &mut Stage, client: &Client) -> Result<()> {
    let UnderWay { backup, folder, log } = under_way(stage, client)?;
    stage.kill_and_start()?;
    ended_well(backup, &log)?;
    newest_is(stage, client, &folder)
}

/// All clients at once, each in its repository, and the first one twice in the same.
pub fn all_at_once(stage: &mut Stage, clients: &[Client]) -> Result<()> {
    let (first, mut under_way) = (clients.first().context("no clients")?, Vec::new());
    for client in clients.iter().chain([first]) {
        let (folder, log) = (stage.fresh()?, stage.path("log")?);
        under_way.push((client, folder.clone(), log.clone(), client.start_backup(&folder, &log)?));
    }
    let mut done = Vec::new();
    for (client, folder, log, backup) in under_way {
        ended_well(backup, &log).with_context(|| client.program.name)?;
        done.push((client, folder));
    }
    for client in clients {
        client.check().with_context(|| client.program.name)?;
    }
    for (client, folder) in done {
        let mut found = Err(anyhow::anyhow!("no snapshot of {}", client.program.name));
        for id in client.snapshots()?.iter().rev().take(2) {
            found = stage.restored_is(client, id, &folder);
            if found.is_ok() {
                break;
            }
        }
        found.with_context(|| format!("{} within {} s", client.program.name, LIMIT.as_secs()))?;
    }
    Ok(())
}
