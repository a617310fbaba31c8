//! As much of WebDAV as rclone needs: each data set is a file, and its newest complete snapshot is what is in it.
//!
//! ```text
//! PROPFIND         /v1/dav/         the client's data sets as files (Depth 0 or 1)
//! PROPFIND         /v1/dav/NAME     length and time of what GET gives
//! PUT, GET, HEAD   /v1/dav/NAME     as at /v1/datasets/NAME, and .../snapshots/latest
//! ```
//! A PUT over an old file replaces nothing: it makes a new snapshot. There are no folders, nothing is deleted, moved or locked, and the
//! body of a PROPFIND is not read: all that we know of a file is said each time.

use super::answer::{self, Answer};
use super::dropbox;
use super::http::{Street, Visit};
use super::places::For;
use crate::clock;
use coffre_core::fault::{Fault, Result};
use coffre_core::wire::SnapshotInfo;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};

/// Where it begins.
const ROOT: &str = "/v1/dav/";
const OF_ROOT: &str = "OPTIONS, PROPFIND";
const OF_FILE: &str = "OPTIONS, PROPFIND, GET, HEAD, PUT";
const DAV: HeaderName = HeaderName::from_static("dav");
const DEPTH: HeaderName = HeaderName::from_static("depth");
const TROUBLE_WITH_FOLDERS: &str = "there are no folders here: a file is a data set, and has a name only";

/// Answers a request whose path continues with `rest` after `/v1/dav`.
pub async fn answer(street: &Street, visit: Visit, rest: &[&str], request: Request<Incoming>) -> Answer {
    let outcome = match (request.method().as_str(), rest) {
        ("OPTIONS", [] | [""]) => Ok(options(OF_ROOT)),
        ("OPTIONS", [_]) => Ok(options(OF_FILE)),
        ("PROPFIND", [] | [""]) => of_all(street, visit, &request).await,
        ("PROPFIND", [name]) => of_one(street, visit, name).await,
        ("PUT", [name]) if !name.is_empty() => dropbox::put(street, visit, name, request).await,
        ("GET" | "HEAD", [name]) if !name.is_empty() => {
            dropbox::get(street, visit, name, "latest", &request).await
        }
        ("MKCOL" | "PUT", [_, _, ..]) => {
            Err(Fault::refused(TROUBLE_WITH_FOLDERS).next("write it to /v1/dav/NAME"))
        }
        (_, [] | [""]) => Ok(answer::method_not_allowed(OF_ROOT)),
        (_, [_]) => Ok(answer::method_not_allowed(OF_FILE)),
        _ => Ok(answer::no_such_address()),
    };
    outcome.unwrap_or_else(|fault| answer::of_fault(&fault))
}

fn options(allow: &'static str) -> Answer {
    let answer = answer::empty(StatusCode::OK);
    let answer = answer::with_header(answer, DAV, HeaderValue::from_static("1"));
    answer::with_header(answer, ALLOW, HeaderValue::from_static(allow))
}

async fn of_all(street: &Street, visit: Visit, request: &Request<Incoming>) -> Result<Answer> {
    let mut listed = folder();
    let place = street.place(&visit.client, For::List).await?;
    match request.headers().get(DEPTH).map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(b"1") => {
            let files = street.ask(move |vault| vault.latest_of_each(&visit.client)).await?;
            files.iter().for_each(|file| listed.push_str(&entry(file)));
        }
        _ => return Err(Fault::misuse("a PROPFIND says how deep it looks").next("send Depth: 0 or Depth: 1")),
    }
    let answer = answer::charged(multistatus(&listed), place);
    Ok(answer::list(answer, street.vault().partial()))
}

async fn of_one(street: &Street, visit: Visit, name: &str) -> Result<Answer> {
    let dataset = dropbox::dataset(visit, name)?;
    let file = street.ask(move |vault| vault.latest(&dataset)).await?;
    Ok(multistatus(&entry(&file)))
}

fn folder() -> String {
    response(ROOT, "<D:resourcetype><D:collection/></D:resourcetype>")
}

/// Names are small letters, digits and `-`, so nothing has to be escaped.
fn entry(file: &SnapshotInfo) -> String {
    let name = &file.dataset.name;
    let properties = format!(
        "<D:displayname>{name}</D:displayname><D:resourcetype/><D:getcontentlength>{}</D:getcontentlength>\
         <D:getlastmodified>{}</D:getlastmodified><D:getetag>\"{}\"</D:getetag>",
        file.size,
        clock::http_date(file.received_ms),
        file.id
    );
    response(&format!("{ROOT}{name}"), &properties)
}

fn response(href: &str, properties: &str) -> String {
    format!(
        "<D:response><D:href>{href}</D:href><D:propstat><D:prop>{properties}</D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
}

fn multistatus(responses: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:multistatus xmlns:D=\"DAV:\">{responses}</D:multistatus>\n"
    );
    answer::with_type(StatusCode::MULTI_STATUS, "application/xml; charset=utf-8", body.into())
}
