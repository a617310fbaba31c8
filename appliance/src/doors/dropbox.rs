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
use super::digests::Digests;
use super::http::{Street, Visit};
use super::upload::Upload;
use super::{give, incoming, receipt};
use crate::views::SnapshotView;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::names::{DatasetName, DatasetRef};
use coffre_core::wire::{ReceiptFacts, SnapshotInfo};
use coffre_vault::{Vault, Which};
use hyper::body::{Body, Incoming};
use hyper::header::LOCATION;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

const READ_ONLY: &str = "GET, HEAD";
const WRITE_ONLY: &str = "PUT";

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

async fn get(
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
    let place = street.place().await?;
    let reader = street.ask(move |vault| vault.read(&dataset, which)).await?;
    give::stored(reader, request, place).await
}

async fn put(street: &Street, visit: Visit, name: &str, request: Request<Incoming>) -> Result<Answer> {
    let request_id = visit.request_id.clone();
    let peer = visit.peer;
    let dataset = dataset(visit, name)?;
    let announced_bytes = match incoming::check_headers(request.headers()) {
        Ok(()) => request.body().size_hint().exact(),
        Err((status, fault)) => return Ok(answer::with_status(status, &fault)),
    };
    let digests = Digests::from_headers(request.headers())?;
    let place = street.place().await?;
    let wanted = dataset.clone();
    let begin = move |vault: &Vault| vault.put(&wanted, announced_bytes);
    let upload = Upload { begin, digests, place };
    let audited = request_id.clone();
    let stored = upload
        .receive(street.vault().clone(), request.into_body(), move |facts| audit(&audited, peer, facts))
        .await;
    let facts = match stored {
        Ok(facts) => facts,
        Err((status, fault)) => {
            tracing::warn!(target: "audit", request = %request_id, %peer, %dataset, class = ?fault.class, %fault,
                "nothing kept");
            return Ok(match fault.class {
                Class::Permanent | Class::Corrupt => answer::of_fault(&fault),
                _ => answer::with_status(status, &fault),
            });
        }
    };
    let body = receipt::signed(street.authority(), street.vault_id(), &facts)?;
    let mut answer = answer::json(StatusCode::CREATED, &body);
    let place = format!("/v1/datasets/{}/snapshots/{}", dataset.name, facts.snapshot.id);
    give::set(answer.headers_mut(), LOCATION, place);
    Ok(answer)
}

/// One line per write, from the thread that knows that it is safe.
fn audit(request_id: &str, peer: std::net::IpAddr, facts: &ReceiptFacts) {
    let SnapshotInfo { dataset, id, size, stored_bytes, hash, .. } = &facts.snapshot;
    let tolerates = facts.tolerates;
    let finding = facts.snapshot.checked.map_or("not checked", |checked| checked.finding.key());
    tracing::info!(target: "audit", request = %request_id, %peer, %dataset, %id, size, stored_bytes, tolerates, %hash,
        finding, "snapshot kept");
}

/// The client's own data set of that name.
fn dataset(visit: Visit, name: &str) -> Result<DatasetRef> {
    let name: DatasetName = name.parse().map_err(|bad| Fault::misuse(format!("{bad}")))?;
    Ok(DatasetRef { client: visit.client, name })
}

fn no_such_snapshot() -> Fault {
    Fault::absent("there is no such snapshot").next("list them at /v1/datasets/NAME/snapshots")
}
