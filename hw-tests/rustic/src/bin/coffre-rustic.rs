//! rustic as a client of the restic door: one word per thing that the rig asks of it.
//!
//! ```text
//! coffre-rustic init | backup PATH | check | snapshots | restore ID FOLDER | forget ID
//! ```
//! Where the repository is, its password and the pinned authority stand in `RUSTIC_REPOSITORY`, `RUSTIC_PASSWORD` and
//! `RUSTIC_CACERT`. Nothing is cached: what is read comes from the server.

use anyhow::{Context, Result, bail};
use rustic_backend::BackendOptions;
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, Credentials, KeyOptions, LimitOption, LocalDestination,
    LsOptions, OpenStatus, PathList, PruneOptions, Repository, RepositoryOptions, RestoreOptions,
    SnapshotOptions,
};
use std::env;

/// Small packs, so that a backup of some megabytes is many uploads.
const PACK_SIZE: &str = "4 MiB";

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["init"] => init(),
        ["backup", path] => backup(path),
        ["check"] => check(),
        ["snapshots"] => snapshots(),
        ["restore", id, folder] => restore(id, folder),
        ["forget", id] => forget(id),
        _ => bail!("init | backup PATH | check | snapshots | restore ID FOLDER | forget ID"),
    }
}

fn setting(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

fn repository() -> Result<(Repository<()>, Credentials)> {
    let mut options = BackendOptions::default().repository(setting("RUSTIC_REPOSITORY")?);
    options.options.insert("cacert".into(), setting("RUSTIC_CACERT")?);
    let backends = options.to_backends()?;
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends)?;
    Ok((repository, Credentials::password(setting("RUSTIC_PASSWORD")?)))
}

fn open() -> Result<Repository<OpenStatus>> {
    let (repository, credentials) = repository()?;
    Ok(repository.open(&credentials)?)
}

fn init() -> Result<()> {
    let (repository, credentials) = repository()?;
    let size = PACK_SIZE.parse().map_err(anyhow::Error::msg)?;
    let mut config = ConfigOptions::default();
    config.set_datapack_size = Some(size);
    config.set_treepack_size = Some(size);
    repository.init(&credentials, &KeyOptions::default(), &config)?;
    Ok(())
}

fn backup(path: &str) -> Result<()> {
    let repository = open()?.to_indexed_ids()?;
    let what = PathList::from_string(path)?.sanitize()?;
    let snapshot = SnapshotOptions::default().to_snapshot()?;
    println!("{}", repository.backup(&BackupOptions::default(), &what, snapshot)?.id);
    Ok(())
}

fn check() -> Result<()> {
    let options = CheckOptions::default().read_data(true);
    Ok(open()?.check(options)?.is_ok()?)
}

fn snapshots() -> Result<()> {
    let mut all = open()?.get_all_snapshots()?;
    all.sort_by_key(|snapshot| snapshot.time.clone());
    for snapshot in all {
        println!("{}", snapshot.id);
    }
    Ok(())
}

fn restore(id: &str, folder: &str) -> Result<()> {
    let repository = open()?.to_indexed()?;
    let node = repository.node_from_snapshot_path(id, |_| true)?;
    let list = LsOptions::default();
    let to = LocalDestination::new(folder, true, false)?;
    let options = RestoreOptions::default();
    let plan = repository.prepare_restore(&options, repository.ls(&node, &list)?, &to, false)?;
    repository.restore(plan, &options, repository.ls(&node, &list)?, &to)?;
    Ok(())
}

/// Forgets a snapshot, then removes at once all that nothing uses any more.
fn forget(id: &str) -> Result<()> {
    let repository = open()?;
    let snapshot = repository.get_snapshot_from_str(id, |_| true)?;
    repository.delete_snapshots(&[snapshot.id])?;
    let mut options = PruneOptions::default();
    options.instant_delete = true;
    options.keep_pack = Default::default();
    options.keep_delete = Default::default();
    options.max_unused = LimitOption::Percentage(0);
    let plan = repository.prune_plan(&options)?;
    repository.prune(&options, plan)?;
    Ok(())
}
