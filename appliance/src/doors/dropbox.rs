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
use super::places::For;
use super::upload::{self, Upload};
use super::{give, incoming, pages, receipt};
use crate::views::SnapshotView;
use coffre_core::fault::{Fault, Result};
use coffre_core::names::{DatasetName, DatasetRef};
use coffre_core::wire::{ReceiptFacts, SnapshotInfo};
use coffre_vault::{Vault, Which};
use hyper::body::{Body, Incoming};
use hyper::header::LOCATION;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

const READ_ONLY: &str = "GET, HEAD";
const WRITE_ONLY: &str = "PUT";
/// Snapshots of one page of a list: the engine is held for as long as it takes to copy them.
const PAGE: usize = 256;
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
    let place = street.place(&client, For::List).await?;
    let names = street.ask(move |vault| vault.datasets(&client)).await?;
    let list: Vec<_> = names
        .iter()
        .map(|name| json!({"dataset": format!("{}/{name}", visit.client), "name": name}))
        .collect();
    let body = answer::charged(answer::json(StatusCode::OK, &json!({ "datasets": list })), place);
    Ok(answer::list(body, street.vault().partial()))
}

async fn list_snapshots(street: &Street, visit: Visit, name: &str) -> Result<Answer> {
    let dataset = dataset(visit, name)?;
    let place = street.place(&dataset.client, For::List).await?;
    let wanted = dataset.clone();
    let mut first = Some(street.ask(move |vault| vault.snapshots_after(&wanted, None, PAGE)).await?);
    let (mut after, mut ended) = (None, false);
    let next = move |vault: &Vault| -> Result<Option<Vec<u8>>> {
        if ended {
            return Ok(None);
        }
        let begins = first.is_some();
        let page = match first.take() {
            Some(page) => page,
            None => vault.snapshots_after(&dataset, after, PAGE)?,
        };
        ended = page.len() < PAGE;
        after = page.last().map(|(place, _)| *place).or(after);
        written(&dataset, &page, begins, ended).map(Some)
    };
    let list = pages::answer(street, place, "application/json", next);
    Ok(answer::list(list, street.vault().partial()))
}

/// One page of a list of snapshots as JSON, with the beginning and the end of the whole where it has them.
fn written(dataset: &DatasetRef, page: &[(u64, SnapshotInfo)], begins: bool, ends: bool) -> Result<Vec<u8>> {
    let broken = |e: serde_json::Error| Fault::permanent(format!("a list cannot be written: {e}"));
    let mut text = Vec::with_capacity(page.len() * 512 + 64);
    if begins {
        text.extend_from_slice(b"{\"dataset\":");
        serde_json::to_writer(&mut text, dataset).map_err(broken)?;
        text.extend_from_slice(b",\"snapshots\":[");
    }
    for (n, (_, info)) in page.iter().enumerate() {
        if n > 0 || !begins {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &SnapshotView::from(info)).map_err(broken)?;
    }
    if ends {
        text.extend_from_slice(b"]}\n");
    }
    Ok(text)
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
    let place = street.place(&dataset.client, give::place_for(request.method())).await?;
    let reader = street.ask(move |vault| vault.read(&dataset, which)).await?;
    give::stored(reader, request, place).await
}

pub(super) async fn put(
    street: &Street,
    visit: Visit,
    name: &str,
    request: Request<Incoming>,
) -> Result<Answer> {
    let shown = name.chars().take(MAX_NAME_SHOWN).collect();
    let attempt = Attempt::of_backup(street.vault(), &visit, "PUT", shown);
    let client = visit.client.clone();
    let begun = async {
        let dataset = dataset(visit, name).map_err(upload::as_it_is)?;
        incoming::check_headers(request.headers())?;
        let digests = Digests::from_headers(request.headers()).map_err(upload::as_it_is)?;
        Ok((dataset, digests, street.place(&client, For::Bulk).await.map_err(upload::as_it_is)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::class::LockClass;
    use coffre_core::ids::ObjectId;

    fn info(n: u8) -> (u64, SnapshotInfo) {
        let info = SnapshotInfo {
            dataset: "pc/d".parse().expect("a data set"),
            id: ObjectId([n; 16]),
            size: 1,
            stored_bytes: 1,
            received_ms: 1,
            locked_until_ms: 2,
            class: LockClass::DAYS_30,
            hash: "blake3:00".into(),
            checked: None,
            lock_provisional: false,
        };
        (u64::from(n), info)
    }

    #[test]
    fn pages_are_one_list() {
        let dataset = "pc/d".parse().expect("a data set");
        let all: Vec<_> = (0..5).map(info).collect();
        for ends in [&[5][..], &[2, 5], &[2, 4, 5], &[5, 5], &[0]] {
            let begins = [0].into_iter().chain(ends.iter().copied());
            let cuts: Vec<std::ops::Range<usize>> = begins.zip(ends).map(|(from, to)| from..*to).collect();
            let last = cuts.len() - 1;
            let page = |(n, cut): (usize, &std::ops::Range<usize>)| {
                written(&dataset, &all[cut.clone()], n == 0, n == last).expect("written")
            };
            let text: Vec<u8> = cuts.iter().enumerate().flat_map(page).collect();
            let list: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            let count = cuts.iter().map(std::ops::Range::len).sum::<usize>();
            assert_eq!(
                (&list["dataset"], list["snapshots"].as_array().map(Vec::len)),
                (&json!("pc/d"), Some(count))
            );
        }
    }
}
