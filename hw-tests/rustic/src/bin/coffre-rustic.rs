//! rustic as a client of the restic door: one word per thing that the rig asks of it.
//!
//! ```text
//! coffre-rustic init | backup PATH | check | snapshots | restore ID FOLDER | forget ID
//! ```
//! Where the repository is, its password and the pinned authority stand in `RUSTIC_REPOSITORY`, `RUSTIC_PASSWORD` and
//! `RUSTIC_CACERT`; or, with `-P NAME` before the words, in the profile `NAME.toml` of this folder, read into the types that
//! the program rustic reads it into. Nothing is cached: what is read comes from the server.

use anyhow::{Context, Result, bail};
use rustic_backend::BackendOptions;
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, CredentialOptions, Credentials, KeyOptions, LimitOption,
    LocalDestination, LsOptions, OpenStatus, PathList, PruneOptions, Repository, RepositoryOptions,
    RestoreOptions, SnapshotOptions,
};
use serde::Deserialize;
use std::env;

/// Small packs, so that a backup of some megabytes is many uploads.
const PACK_SIZE: &str = "4 MiB";

/// A profile, as `RusticConfig` and its `AllRepositoryOptions` have it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Profile {
    repository: AllRepositoryOptions,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct AllRepositoryOptions {
    #[serde(flatten)]
    be: BackendOptions,
    #[serde(flatten)]
    repo: RepositoryOptions,
    #[serde(flatten)]
    credentials: CredentialOptions,
}

/// Where the repository is and what opens it.
struct Settings {
    be: BackendOptions,
    repo: RepositoryOptions,
    credentials: Credentials,
}

impl Settings {
    fn of_the_environment() -> Result<Self> {
        let mut be = BackendOptions::default().repository(setting("RUSTIC_REPOSITORY")?);
        be.options.insert("cacert".into(), setting("RUSTIC_CACERT")?);
        let credentials = Credentials::password(setting("RUSTIC_PASSWORD")?);
        Ok(Self { be, repo: RepositoryOptions::default(), credentials })
    }

    fn of_profile(name: &str) -> Result<Self> {
        let text =
            std::fs::read_to_string(format!("{name}.toml")).with_context(|| format!("profile {name}"))?;
        let Profile { repository: all } = toml::from_str(&text).with_context(|| format!("profile {name}"))?;
        let credentials = all.credentials.credentials()?.context("the profile has no password")?;
        Ok(Self { be: all.be, repo: all.repo, credentials })
    }

    fn repository(&self) -> Result<Repository<()>> {
        Ok(Repository::new(&self.repo.clone().no_cache(true), &self.be.to_backends()?)?)
    }

    fn open(&self) -> Result<Repository<OpenStatus>> {
        Ok(self.repository()?.open(&self.credentials)?)
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (settings, words) = match words[..] {
        ["-P", profile, ref words @ ..] => (Settings::of_profile(profile)?, words),
        ref words => (Settings::of_the_environment()?, words),
    };
    match *words {
        ["init"] => init(&settings),
        ["backup", path] => backup(&settings, path),
        ["check"] => check(&settings),
        ["snapshots"] => snapshots(&settings),
        ["restore", id, folder] => restore(&settings, id, folder),
        ["forget", id] => forget(&settings, id),
        _ => bail!("init | backup PATH | check | snapshots | restore ID FOLDER | forget ID"),
    }
}

fn setting(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

fn init(settings: &Settings) -> Result<()> {
    let size = PACK_SIZE.parse().map_err(anyhow::Error::msg)?;
    let mut config = ConfigOptions::default();
    config.set_datapack_size = Some(size);
    config.set_treepack_size = Some(size);
    settings.repository()?.init(&settings.credentials, &KeyOptions::default(), &config)?;
    Ok(())
}

fn backup(settings: &Settings, path: &str) -> Result<()> {
    let repository = settings.open()?.to_indexed_ids()?;
    let what = PathList::from_string(path)?.sanitize()?;
    let snapshot = SnapshotOptions::default().to_snapshot()?;
    println!("{}", repository.backup(&BackupOptions::default(), &what, snapshot)?.id);
    Ok(())
}

fn check(settings: &Settings) -> Result<()> {
    let options = CheckOptions::default().read_data(true);
    Ok(settings.open()?.check(options)?.is_ok()?)
}

fn snapshots(settings: &Settings) -> Result<()> {
    let mut all = settings.open()?.get_all_snapshots()?;
    all.sort_by_key(|snapshot| snapshot.time.clone());
    for snapshot in all {
        println!("{}", snapshot.id);
    }
    Ok(())
}

fn restore(settings: &Settings, id: &str, folder: &str) -> Result<()> {
    let repository = settings.open()?.to_indexed()?;
    let node = repository.node_from_snapshot_path(id, |_| true)?;
    let list = LsOptions::default();
    let to = LocalDestination::new(folder, true, false)?;
    let options = RestoreOptions::default();
    let plan = repository.prepare_restore(&options, repository.ls(&node, &list)?, &to, false)?;
    repository.restore(plan, &options, repository.ls(&node, &list)?, &to)?;
    Ok(())
}

/// Forgets a snapshot, then removes at once all that nothing uses any more.
fn forget(settings: &Settings, id: &str) -> Result<()> {
    let repository = settings.open()?;
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
