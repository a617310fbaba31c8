//! The restic door: the REST protocol of restic, versions 1 and 2, over the vault's objects.
//!
//! ```text
//! POST   /CLIENT/REPO/?create=true          makes a repository; again: nothing happens
//! HEAD, GET, POST, DELETE  …/config         the one file without a name
//! GET    …/TYPE/                            names, or names and lengths (version 2)
//! HEAD, GET, POST, DELETE  …/TYPE/NAME      a file, called by the SHA-256 of its bytes
//! ```
//! TYPE is data, keys, locks, snapshots or index. `/CLIENT/` is short for `/CLIENT/default/`. The first part of a path is the
//! client's own name: at any other one it finds the same refusal, whether there is something or not.
//! The whole table, and the test of each line, is in `docs/restic.md`.

mod address;
mod list;

pub use self::address::{Address, parse as parse_address};
use super::answer::{self, Answer};
use super::audit::Attempt;
use super::digests::Digests;
use super::http::{Street, Visit};
use super::limits::ERRAND_BYTES;
use super::places::For;
use super::upload::{self, Upload};
use super::{give, incoming};
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, FileName};
use coffre_vault::{Kept, Vault};
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, StatusCode};

/// Answers a request whose path continues with `rest` after the client's name.
pub async fn answer(street: &Street, visit: Visit, rest: &[&str], request: Request<Incoming>) -> Answer {
    let (name, address) = match parse_address(rest) {
        Ok(parsed) => parsed,
        Err(fault) => {
            let fault = match fault.class == Class::Absent && makes(&request) {
                true => address::nested(rest),
                false => fault,
            };
            if request.method() == Method::POST {
                Attempt::of_backup(street.vault(), &visit, "POST", "an address that is none".into())
                    .failed(&fault);
            }
            return answer::of_fault(&fault);
        }
    };
    let repo = DatasetRef { client: visit.client.clone(), name };
    let method = request.method().clone();
    let reading = matches!(method, Method::GET | Method::HEAD);
    let outcome = match address {
        Address::Root if method == Method::POST => create(street, &visit, repo, &request).await,
        Address::Root if method == Method::DELETE => {
            let fault = Fault::refused("a repository is not deleted by its client")
                .next("whoever looks after the box can: coffre repo remove");
            Attempt::new(&visit, "DELETE", repo.to_string()).failed(&fault);
            Err(fault)
        }
        Address::Root => Ok(answer::method_not_allowed("POST")),
        Address::List(kind) if method == Method::GET => {
            list::names(street, repo, kind, request.headers()).await
        }
        Address::List(_) => Ok(answer::method_not_allowed("GET")),
        Address::File(kind, name) if reading => read(street, repo, kind, name, &request).await,
        Address::File(kind, name) if method == Method::POST => {
            post(street, visit, repo, kind, name, request).await
        }
        Address::File(kind, name) if method == Method::DELETE => {
            delete(street, &visit, repo, kind, name).await
        }
        Address::File(..) => Ok(answer::method_not_allowed("GET, HEAD, POST, DELETE")),
    };
    outcome.unwrap_or_else(|fault| answer::of_fault(&fault))
}

/// Whether a request wants a repository made, at whatever address.
pub fn makes<B>(request: &Request<B>) -> bool {
    let wished = |query: &str| query.split('&').any(|part| part == "create=true");
    request.method() == Method::POST && request.uri().query().is_some_and(wished)
}

/// What `restic init` hears at an address where no client's repositories are.
pub fn no_client_in_address() -> Fault {
    Fault::misuse("the address of a repository begins with the name of its client")
        .next("write it rest:https://CLIENT:SECRET@BOX:PORT/CLIENT/REPO/, CLIENT a valid name as `coffre client list` has it")
}

async fn create(
    street: &Street,
    visit: &Visit,
    repo: DatasetRef,
    request: &Request<Incoming>,
) -> Result<Answer> {
    let attempt = Attempt::of_backup(street.vault(), visit, "POST", repo.to_string());
    let made = match makes(request) {
        true => street.ask(move |vault| vault.repo_create(&repo)).await,
        false => {
            Err(Fault::misuse("a repository is made with POST and ?create=true").next("use restic init"))
        }
    };
    match made {
        Ok(()) => attempt.done("repository made"),
        Err(fault) => {
            attempt.failed(&fault);
            return Ok(not_now(fault));
        }
    }
    Ok(answer::empty(StatusCode::OK))
}

async fn read(
    street: &Street,
    repo: DatasetRef,
    kind: FileKind,
    name: Option<FileName>,
    request: &Request<Incoming>,
) -> Result<Answer> {
    let what = if is_small(kind) { For::Errand } else { give::place_for(request.method()) };
    let place = street.place(&repo.client, what).await?;
    let reader = street.ask(move |vault| vault.repo_read(&repo, kind, name)).await?;
    give::stored(reader, request, place).await
}

async fn post(
    street: &Street,
    visit: Visit,
    repo: DatasetRef,
    kind: FileKind,
    name: Option<FileName>,
    request: Request<Incoming>,
) -> Result<Answer> {
    let attempt = Attempt::of_backup(street.vault(), &visit, "POST", called(&repo, kind, name));
    let announced_bytes = request.body().size_hint().exact();
    let small = is_small(kind) && announced_bytes.is_none_or(|bytes| bytes <= ERRAND_BYTES);
    let what =
        if small && (kind == FileKind::Locks || announced_bytes.is_some()) { For::Errand } else { For::Bulk };
    let begun = async {
        incoming::check_headers(request.headers())?;
        let digests = Digests::from_headers(request.headers()).map_err(upload::as_it_is)?;
        Ok((digests, street.place(&repo.client, what).await.map_err(upload::as_it_is)?))
    };
    let (digests, place) = match begun.await {
        Ok(begun) => begun,
        Err((status, fault)) => {
            attempt.failed(&fault);
            return Ok(answer::with_status(status, &fault));
        }
    };
    let wanted = repo.clone();
    let begin = move |vault: &Vault| vault.repo_put(&wanted, kind, name, announced_bytes);
    let other_config = move || {
        Fault::refused(format!("{repo} has another config, and it is not replaced"))
            .next("somebody made this repository at the same time: use it (docs/restic.md, two init at once)")
    };
    let other = other_config.clone();
    let audit = move |stored: &Result<Kept>| match stored {
        Ok(Kept::New(facts)) => attempt.kept("file kept", facts),
        Ok(Kept::Known) => attempt.done("file was there"),
        Ok(Kept::OtherConfig) => attempt.failed(&other()),
        Err(fault) => attempt.failed(fault),
    };
    let upload = Upload { begin, digests, place };
    match upload.receive(street.vault().clone(), request.into_body(), audit).await {
        Ok(Kept::New(_) | Kept::Known) => Ok(answer::empty(StatusCode::OK)),
        Ok(Kept::OtherConfig) => Err(other_config()),
        Err((status, fault)) => Ok(answer::of_refusal(status, &fault)),
    }
}

async fn delete(
    street: &Street,
    visit: &Visit,
    repo: DatasetRef,
    kind: FileKind,
    name: Option<FileName>,
) -> Result<Answer> {
    let attempt = Attempt::new(visit, "DELETE", called(&repo, kind, name));
    let deleted = street.ask(move |vault| vault.repo_delete(&repo, kind, name)).await;
    match &deleted {
        Ok(()) if kind == FileKind::Locks => attempt.done("lock removed"),
        Ok(()) => attempt.done("file hidden, or not there"),
        Err(fault) => attempt.failed(fault),
    }
    deleted.map(|()| answer::empty(StatusCode::OK))
}

/// Files that a client reads and writes around its work: they have places apart, so that no lock waits behind a backup.
fn is_small(kind: FileKind) -> bool {
    matches!(kind, FileKind::Config | FileKind::Keys | FileKind::Locks | FileKind::Snapshots)
}

/// What a file is called in the audit log.
fn called(repo: &DatasetRef, kind: FileKind, name: Option<FileName>) -> String {
    match name {
        Some(name) => format!("{repo}/{kind}/{name}"),
        None => format!("{repo}/{kind}"),
    }
}

/// A vault that is read-only for now: restic takes 403 for an end and comes back after 503.
fn not_now(fault: Fault) -> Answer {
    match fault.class {
        Class::Refused => answer::with_status(StatusCode::SERVICE_UNAVAILABLE, &fault),
        _ => answer::of_fault(&fault),
    }
}
