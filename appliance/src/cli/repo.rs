//! `coffre repo list | files | set | remove | restore`.

use super::{Outcome, Said, arrival, knock, show};
use crate::clock;
use crate::state::StateDir;
use clap::Subcommand;
use coffre_core::fault::Class;
use coffre_core::names::DatasetRef;
use coffre_core::repo::RepoMode;
use coffre_core::rhythm::Every;
use coffre_core::wire::{FileInfo, Reply, RepoInfo, Request};
use serde_json::{Value, json};

/// What may be done with repositories.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// All repositories, and what their clients deleted and may still come back.
    List,
    /// Every file of a repository, hidden ones too, and until when each is locked.
    Files {
        /// CLIENT/REPO.
        repo: DatasetRef,
    },
    /// Say what its client may do with a repository.
    Set {
        /// CLIENT/REPO.
        repo: DatasetRef,
        /// append-only: it only takes more. recoverable: what the client deletes is hidden, kept for as long as its lock and
        /// its class say, and brought back by `coffre repo restore`.
        #[arg(long, value_name = "MODE", required_unless_present_any = ["confirm", "every"])]
        mode: Option<RepoMode>,
        /// The config and the keys that its client sees now are the right ones, although it had others before (after restic
        /// migrate, or a new password).
        #[arg(long)]
        confirm: bool,
        /// How often a backup should come: 24h, 7d and the like, auto (learnt from those that come) or never.
        #[arg(long, value_name = "PERIOD")]
        every: Option<Every>,
    },
    /// Take a repository away from its client. Everything in it is kept for as long as its locks and its class say.
    Remove {
        /// CLIENT/REPO.
        repo: DatasetRef,
    },
    /// Bring back what the client of a repository deleted, or a repository that was removed.
    Restore {
        /// CLIENT/REPO.
        repo: DatasetRef,
    },
}

/// Runs one of them.
pub fn run(state: &StateDir, command: RepoCommand) -> Outcome<Said> {
    match command {
        RepoCommand::List => list(state),
        RepoCommand::Files { repo } => files(state, repo),
        RepoCommand::Set { repo, mode, confirm, every } => {
            let info = one(state, &Request::RepoSet { repo, mode, confirmed: confirm, every })?.0;
            let may = match info.mode {
                RepoMode::AppendOnly => "only takes more: nothing in it is deleted".into(),
                RepoMode::Recoverable => {
                    format!("lets its client delete; what it deletes is kept for {} more", info.class)
                }
            };
            let mut human = format!("{} {may}.", info.repo);
            if every.is_some() {
                human.push_str(&format!("\n{}", arrival::expected(&info.rhythm)));
            }
            Ok(Said { human, json: view(&info) })
        }
        RepoCommand::Remove { repo } => {
            let info = one(state, &Request::RepoRemove { repo })?.0;
            let until = info
                .hidden_until_ms
                .map_or_else(String::new, |ms| format!(" until {} at least", clock::local(ms)));
            let human = format!(
                "{} is gone for its client. {} files are kept{until}; `coffre repo restore {}` brings them back.",
                info.repo, info.hidden_files, info.repo
            );
            Ok(Said { human, json: view(&info) })
        }
        RepoCommand::Restore { repo } => {
            let (info, shown) = one(state, &Request::RepoRestore { repo })?;
            let left = match info.hidden_files {
                0 => String::new(),
                n => format!(" {n} stay hidden: their names are in use by newer files."),
            };
            let mut json = view(&info);
            json["restored_files"] = shown.into();
            Ok(Said { human: format!("{}: {shown} files came back.{left}", info.repo), json })
        }
    }
}

fn list(state: &StateDir) -> Outcome<Said> {
    let all = all_of(state)?;
    let json = json!({ "repositories": all.iter().map(view).collect::<Vec<Value>>() });
    if all.is_empty() {
        return Ok(Said { human: "No repositories yet.".into(), json });
    }
    Ok(Said { human: table(&all), json })
}

/// All repositories, those first that are late.
pub fn all_of(state: &StateDir) -> Outcome<Vec<RepoInfo>> {
    match ask(state, &Request::RepoList) {
        Ok((all, _)) => Ok(all),
        // Beside a list that is called partial; alone it is the failure it is.
        Err(failure) if failure.fault.class == Class::Unseen && knock::partial() => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

/// The same for people.
pub fn table(all: &[RepoInfo]) -> String {
    let row = |info: &RepoInfo| {
        let mode = if info.removed { "removed".to_owned() } else { info.mode.to_string() };
        let deleted = match info.hidden_files {
            0 => String::new(),
            n => format!("{n} files, {}", show::bytes(info.hidden_bytes)),
        };
        [
            info.repo.to_string(),
            arrival::standing(&info.rhythm),
            arrival::last(&info.rhythm),
            arrival::every(&info.rhythm),
            mode,
            info.class.to_string(),
            info.snapshots.to_string(),
            show::bytes(info.bytes),
            deleted,
            info.hidden_until_ms.map_or_else(String::new, clock::local),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let head = [
        "REPOSITORY",
        "STANDS",
        "LAST BACKUP",
        "EVERY",
        "MODE",
        "LOCK",
        "SNAPSHOTS",
        "SIZE",
        "DELETED BY CLIENT",
        "KEPT UNTIL",
    ];
    show::table(head, &rows)
}

fn files(state: &StateDir, repo: DatasetRef) -> Outcome<Said> {
    let files = match knock::ask(state, &Request::RepoFiles { repo: repo.clone() })? {
        Reply::Files { files } => files,
        other => return Err(knock::unexpected(&other)),
    };
    let row = |file: &FileInfo| {
        let hidden = if file.hidden { "deleted by client" } else { "" };
        let (size, until) = (show::bytes(file.size), clock::local(file.locked_until_ms));
        [file.kind.clone(), file.name.clone(), size, until, hidden.to_owned()]
    };
    let view = |file: &FileInfo| {
        json!({
            "id": file.id, "kind": file.kind, "name": file.name, "bytes": file.size, "hidden": file.hidden,
            "received_at": clock::utc(file.received_ms), "locked_until": clock::utc(file.locked_until_ms),
        })
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    let json = json!({ "repository": repo, "files": files.iter().map(view).collect::<Vec<Value>>() });
    Ok(Said { human: show::table(["KIND", "NAME", "SIZE", "LOCKED UNTIL", ""], &rows), json })
}

fn one(state: &StateDir, request: &Request) -> Outcome<(RepoInfo, u64)> {
    let (repos, shown) = ask(state, request)?;
    let info = repos.into_iter().next();
    let nothing = || coffre_core::fault::Fault::permanent("the daemon gave no answer").into();
    info.map(|info| (info, shown)).ok_or_else(nothing)
}

fn ask(state: &StateDir, request: &Request) -> Outcome<(Vec<RepoInfo>, u64)> {
    match knock::ask(state, request)? {
        Reply::Repos { repos, shown } => Ok((repos, shown)),
        other => Err(knock::unexpected(&other)),
    }
}

/// The same for scripts.
pub fn view(info: &RepoInfo) -> Value {
    json!({
        "repository": info.repo, "mode": info.mode, "removed": info.removed, "class_seconds": info.class,
        "created_at": clock::utc(info.created_ms), "files_count": info.files, "bytes": info.bytes,
        "snapshots_count": info.snapshots, "newest_at": info.newest_ms.map(clock::utc),
        "deleted_files_count": info.hidden_files, "deleted_bytes": info.hidden_bytes,
        "deleted_kept_until": info.hidden_until_ms.map(clock::utc),
        "every_seconds": info.rhythm.every_s, "every_source": info.rhythm.source, "standing": info.rhythm.standing,
    })
}
