//! The drop-box: `PUT` makes a new immutable snapshot of a data set, `GET` lists and restores. Nothing destroys.
//!
//! ```text
//! GET  /v1/datasets                                 the client's data sets
//! PUT  /v1/datasets/NAME                            a new snapshot: 201 with a signed receipt
//! GET  /v1/datasets/NAME/snapshots                  its snapshots, oldest first
//! GET  /v1/datasets/NAME/snapshots/{ID|latest}      the bytes, with ranges; HEAD too
//! ```
//! A path only ever names data sets of the client that knocks, so what belongs to another and what does not exist
//! are one and the same 404. What is not complete is kept and acknowledged like anything else, and the receipt says so: `latest` passes
//! it over, as long as there is one that is complete.

use super::answer::{self, Answer};
use super::audit::Attempt;
use super::digests::Digests;
use super::http::{Street, Visit};
use super::upload::{self, Upload};
use super::{give, incoming, receipt};
use crate::views::SnapshotView;
use coffre_core::fault::{Fault, Result};
use coffre_core::names::{DatasetName, DatasetRef};
use coffre_core::wire::ReceiptFacts;
use coffre_vault::{Vault, Which};
use hyper::body::{Body, Incoming};
use hyper::header::LOCATION;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

const READ_ONLY: &str = "GET, HEAD";
const WRITE_ONLY: &str = "PUT";
/// Of a name that may be no name, so much is put into the log.
const MAX_NAME_SHOWN: usize = 40;

/// Answers a request whose path continues with `rest` after `/v1/datasets`.
pub async fn answer(street: &Street, visit: Visit, rest: &[&str], request: Request<Incoming>) -> Answer {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let outcome = match rest {
        [] if reading => list_datasets(street, visit).await,
        [name] if request.method() == Method::PUT => put(street, visit, name, request).await,
        [name, "snapshots"] if reading => list_snapshots(street, visit, name).await,
        [name, "snapshots", id] if reading => get(street, visit, name, id, &request).await,
        [] | [_, "snapshots"] | [_, "snapshots", _] => Ok(answer::method_not_allowed(READ_ONLY)),
        [""] => Err(Fault::absent("the name of a data set is missing after /v1/datasets/")
            .next("list yours at /v1/datasets, without the final slash")),
        [_] => Ok(answer::method_not_allowed(WRITE_ONLY)),
        _ => Ok(answer::no_such_address()),
    };
    outcome.unwrap_or_else(|fault| answer::of_fault(&fault))
}

async fn list_datasets(street: &Street, visit: Visit) -> Result<Answer> {
    let client = visit.client.clone();
    let names = street.ask(move |vault| Ok(vault.datasets(&client))).await?;
    let list: Vec<_> = names
        .iter()
        .map(|name| json!({"dataset": format!("{}/{name}", visit.client), "name": name}))
        .collect();
    Ok(answer::json(StatusCode::OK, &json!({ "datasets": list })))
}

async fn list_snapshots(street: &Street, visit: Visit, name: &str) -> Result<Answer> {
    let dataset = dataset(visit, name)?;
    let wanted = dataset.clone();
    let snapshots = street.ask(move |vault| vault.snapshots(Some(&wanted))).await?;
    let list: Vec<SnapshotView<'_>> = snapshots.iter().map(Into::into).collect();
    Ok(answer::json(StatusCode::OK, &json!({"dataset": dataset, "snapshots": list})))
}

pub(super) async fn get(
    street: &Street,
    visit: Visit,
    name: &str,
    id: &str,
    request: &Request<Incoming>,
) -> Result<Answer> {
    let dataset = dataset(visit, name)?;
    let which = match id {
        "latest" => Which::Latest,
        id => Which::Id(id.parse().map_err(|_| no_such_snapshot())?),
    };
    let place = street.place(&dataset.client).await?;
    let reader = street.ask(move |vault| vault.read(&dataset, which)).await?;
    give::stored(reader, request, place).await
}

pub(super) async fn put(
    street: &Street,
    visit: Visit,
    name: &str,
    request: Request<Incoming>,
) -> Result<Answer> {
    let attempt = Attempt::new(&visit, "PUT", name.chars().take(MAX_NAME_SHOWN).collect());
    let client = visit.client.clone();
    let begun = async {
        let dataset = dataset(visit, name).map_err(upload::as_it_is)?;
        incoming::check_headers(request.headers())?;
        let digests = Digests::from_headers(request.headers()).map_err(upload::as_it_is)?;
        Ok((dataset, digests, street.place(&client).await.map_err(upload::as_it_is)?))
    };
    let (dataset, digests, place) = match begun.await {
        Ok(begun) => begun,
        Err((status, fault)) => {
            attempt.failed(&fault);
            return Ok(answer::with_status(status, &fault));
        }
    };
    let announced_bytes = request.body().size_hint().exact();
    let wanted = dataset.clone();
    let begin = move |vault: &Vault| vault.put(&wanted, announced_bytes);
    let upload = Upload { begin, digests, place };
    let audit = move |stored: &Result<ReceiptFacts>| match stored {
        Ok(facts) => attempt.kept("snapshot kept", facts),
        Err(fault) => attempt.failed(fault),
    };
    let stored = upload.receive(street.vault().clone(), request.into_body(), audit).await;
    let facts = match stored {
        Ok(facts) => facts,
        Err((status, fault)) => return Ok(answer::of_refusal(status, &fault)),
    };
    let body = receipt::signed(street.authority(), street.vault_id(), &facts)?;
    let mut answer = answer::json(StatusCode::CREATED, &body);
    let place = format!("/v1/datasets/{}/snapshots/{}", dataset.name, facts.snapshot.id);
    give::set(answer.headers_mut(), LOCATION, place);
    Ok(answer)
}

/// The client's own data set of that name.
pub(super) fn dataset(visit: Visit, name: &str) -> Result<DatasetRef> {
    let name: DatasetName = name.parse().map_err(|bad| Fault::misuse(format!("{bad}")))?;
    Ok(DatasetRef { client: visit.client, name })
}

fn no_such_snapshot() -> Fault {
    Fault::absent("there is no such snapshot").next("list them at /v1/datasets/NAME/snapshots")
}
