//! The drop-box: `PUT` makes a new immutable snapshot of a data set, `GET` lists and restores. Nothing destroys.
//!
//! ```text
//! GET  /v1/datasets                                 the client's data sets
//! PUT  /v1/datasets/NAME                            a new snapshot: 201 with a signed receipt
//! GET  /v1/datasets/NAME/snapshots                  its snapshots, oldest first
//! GET  /v1/datasets/NAME/snapshots/{ID|latest}      the bytes, with ranges; HEAD too
//! ```
//! A path only ever names data sets of the client that knocks, so what belongs to another and what does not exist
//! are one and the same 404.

use super::answer::{self, Answer, AnswerBody};
use super::digests::{self, Digests};
use super::download::Download;
use super::http::{Street, Visit};
use super::ranges::{self, Selected};
use super::receipt;
use super::upload::Upload;
use crate::views::SnapshotView;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::names::{DatasetName, DatasetRef};
use coffre_core::wire::{ReceiptFacts, SnapshotInfo};
use coffre_vault::Which;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPECT, HeaderMap,
    HeaderValue, IF_RANGE, LOCATION, RANGE, TRAILER, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
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
    let info = reader.info().clone();
    if request.method() == Method::HEAD {
        // A HEAD promises what a GET would give, so the first byte must be readable.
        Download::begin(reader, 0, info.size.min(1), place).await?;
        return Ok(head(StatusCode::OK, &info, info.size, AnswerBody::Length));
    }
    let (status, start, end) = match ranges::select(range_header(request.headers(), &info), info.size) {
        Selected::Whole => (StatusCode::OK, 0, info.size),
        Selected::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        Selected::Beyond => return Ok(beyond(&info)),
    };
    let download = Download::begin(reader, start, end, place).await?;
    let mut answer = head(status, &info, end - start, AnswerBody::Stream(download));
    if status == StatusCode::PARTIAL_CONTENT {
        set(answer.headers_mut(), CONTENT_RANGE, format!("bytes {start}-{}/{}", end - 1, info.size));
    }
    Ok(answer)
}

async fn put(street: &Street, visit: Visit, name: &str, request: Request<Incoming>) -> Result<Answer> {
    let request_id = visit.request_id.clone();
    let peer = visit.peer;
    let dataset = dataset(visit, name)?;
    let announced_bytes = match check_put_headers(request.headers()) {
        Ok(()) => request.body().size_hint().exact(),
        Err((status, fault)) => return Ok(answer::with_status(status, &fault)),
    };
    let digests = Digests::from_headers(request.headers())?;
    let place = street.place().await?;
    let upload = Upload { dataset: dataset.clone(), announced_bytes, digests, place };
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
    set(answer.headers_mut(), LOCATION, place);
    Ok(answer)
}

/// One line per write, from the thread that knows that it is safe.
fn audit(request_id: &str, peer: std::net::IpAddr, facts: &ReceiptFacts) {
    let SnapshotInfo { dataset, id, size, stored_bytes, hash, .. } = &facts.snapshot;
    let tolerates = facts.tolerates;
    tracing::info!(target: "audit", request = %request_id, %peer, %dataset, %id, size, stored_bytes, tolerates, %hash,
        "snapshot kept");
}

/// Whether the body, as its headers describe it, is one that can be kept as received.
pub(super) fn check_put_headers(headers: &HeaderMap) -> std::result::Result<(), (StatusCode, Fault)> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let fault = Fault::misuse("a body with a Content-Encoding is not taken")
            .next("send the file as it is, without the header: what arrives is what is kept and given back");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, fault));
    }
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    if !matches!(codings[..], []) && !matches!(codings[..], [one] if one.eq_ignore_ascii_case(b"chunked")) {
        let fault = Fault::misuse("of all transfer codings only chunked is known, and only by itself")
            .next("send the file as it is: what arrives is what is kept and given back");
        return Err((StatusCode::NOT_IMPLEMENTED, fault));
    }
    if headers.get_all(TRAILER).iter().any(digests::names_digest) {
        return Err((StatusCode::BAD_REQUEST, digests::in_trailer()));
    }
    if headers.contains_key(CONTENT_RANGE) {
        let fault = Fault::misuse("a snapshot cannot be sent in parts (Content-Range)").next("send it whole");
        return Err((StatusCode::BAD_REQUEST, fault));
    }
    if headers.get_all(EXPECT).iter().any(|what| !what.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let fault = Fault::misuse("of all expectations only 100-continue is known");
        return Err((StatusCode::EXPECTATION_FAILED, fault));
    }
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        let fault = Fault::misuse("there is no body: neither Content-Length nor Transfer-Encoding: chunked")
            .next("with curl: -T FILE, or -T - to send what a pipe brings");
        return Err((StatusCode::LENGTH_REQUIRED, fault));
    }
    Ok(())
}

/// The client's own data set of that name.
fn dataset(visit: Visit, name: &str) -> Result<DatasetRef> {
    let name: DatasetName = name.parse().map_err(|bad| Fault::misuse(format!("{bad}")))?;
    Ok(DatasetRef { client: visit.client, name })
}

fn no_such_snapshot() -> Fault {
    Fault::absent("there is no such snapshot").next("list them at /v1/datasets/NAME/snapshots")
}

/// The `Range` header, unless an `If-Range` says that it was meant for other bytes.
fn range_header<'a>(headers: &'a HeaderMap, info: &SnapshotInfo) -> Option<&'a HeaderValue> {
    let meant = headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag(info).as_bytes());
    headers.get(RANGE).filter(|_| meant)
}

/// A snapshot never changes: its id says which bytes these are, also behind `latest`.
fn etag(info: &SnapshotInfo) -> String {
    format!("\"{}\"", info.id)
}

fn head(status: StatusCode, info: &SnapshotInfo, length: u64, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    set(headers, ETAG, etag(info));
    answer
}

fn beyond(info: &SnapshotInfo) -> Answer {
    let fault = Fault::misuse(format!("the range lies beyond the end: the snapshot has {} bytes", info.size));
    let mut answer = answer::with_status(StatusCode::RANGE_NOT_SATISFIABLE, &fault);
    set(answer.headers_mut(), CONTENT_RANGE, format!("bytes */{}", info.size));
    answer
}

/// Sets a header to a text of ours; such texts are plain ASCII.
fn set(headers: &mut HeaderMap, name: hyper::header::HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_cannot_be_kept_as_received_are_refused() {
        let status = |pairs: &[(hyper::header::HeaderName, &'static str)]| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            check_put_headers(&headers).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(status(&[(CONTENT_LENGTH, "3")]), Ok(()));
        assert_eq!(status(&[(TRANSFER_ENCODING, "chunked"), (EXPECT, "100-Continue")]), Ok(()));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_ENCODING, "identity")]), Ok(()));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_ENCODING, "gzip")]), Err(415));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_RANGE, "bytes 0-2/9")]), Err(400));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (EXPECT, "miracles")]), Err(417));
        assert_eq!(status(&[]), Err(411));
        for codings in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(status(&[(TRANSFER_ENCODING, codings)]), Err(501), "{codings}");
        }
        assert_eq!(status(&[(TRANSFER_ENCODING, "Chunked"), (TRAILER, "x-note")]), Ok(()));
        assert_eq!(status(&[(TRANSFER_ENCODING, "chunked"), (TRAILER, "x-note,Repr-Digest")]), Err(400));
    }
}
