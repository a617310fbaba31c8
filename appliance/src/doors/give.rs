//! What is stored as an answer: whole or one range, and HEAD.

use super::answer::{self, Answer, AnswerBody};
use super::download::Download;
use super::places::{For, Place};
use super::ranges::{self, Selected};
use coffre_core::fault::{Fault, Result};
use coffre_core::wire::SnapshotInfo;
use coffre_vault::SnapshotReader;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_RANGE, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};

/// Whether a snapshot is complete: `true` or `false`; not there when that was not checked.
const COMPLETE: HeaderName = HeaderName::from_static("coffre-complete");
/// How many newer snapshots `latest` passed over because they are not.
const PASSED_OVER: HeaderName = HeaderName::from_static("coffre-passed-over");

/// Which places a request for something stored waits for: a HEAD does not wait behind bodies.
pub fn place_for(method: &Method) -> For {
    if method == Method::HEAD { For::Errand } else { For::Bulk }
}

/// Answers a GET or a HEAD with what the reader reads. The place is held until the last byte is.
pub async fn stored(reader: SnapshotReader, request: &Request<Incoming>, place: Place) -> Result<Answer> {
    let (info, passed_over) = (reader.info().clone(), reader.passed_over());
    let mut answer = content(reader, &info, request, place).await?;
    if let Some(complete) = info.checked.and_then(|checked| checked.complete()) {
        set(answer.headers_mut(), COMPLETE, complete.to_string());
    }
    if passed_over > 0 {
        set(answer.headers_mut(), PASSED_OVER, passed_over.to_string());
    }
    Ok(answer)
}

async fn content(
    reader: SnapshotReader,
    info: &SnapshotInfo,
    request: &Request<Incoming>,
    place: Place,
) -> Result<Answer> {
    if request.method() == Method::HEAD {
        // A HEAD promises what a GET would give, so the first byte must be readable.
        Download::begin(reader, 0, info.size.min(1), place).await?;
        return Ok(head(StatusCode::OK, info, info.size, AnswerBody::Length));
    }
    let (status, start, end) = match ranges::select(range_header(request.headers(), info), info.size) {
        Selected::Whole => (StatusCode::OK, 0, info.size),
        Selected::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        Selected::Beyond => return Ok(beyond(info)),
    };
    let download = Download::begin(reader, start, end, place).await?;
    let mut answer = head(status, info, end - start, AnswerBody::Stream(download));
    if status == StatusCode::PARTIAL_CONTENT {
        set(answer.headers_mut(), CONTENT_RANGE, format!("bytes {start}-{}/{}", end - 1, info.size));
    }
    Ok(answer)
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
    let fault = Fault::misuse(format!("the range lies beyond the end: there are {} bytes", info.size));
    let mut answer = answer::with_status(StatusCode::RANGE_NOT_SATISFIABLE, &fault);
    set(answer.headers_mut(), CONTENT_RANGE, format!("bytes */{}", info.size));
    answer
}

/// Sets a header to a text of ours; such texts are plain ASCII.
pub fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
