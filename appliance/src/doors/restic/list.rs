//! All names of a kind, as restic's REST protocol lists them: page by page from the catalogue, however many there are.

use super::super::answer::{self, Answer, AnswerBody};
use super::super::http::Street;
use bytes::Bytes;
use coffre_core::fault::Result;
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, FileName};
use coffre_vault::Vault;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::io::Write as _;
use tokio::sync::mpsc;

/// Files of one page: the engine is held for as long as it takes to name them.
const PAGE: usize = 4_096;
/// Pages waiting between the vault and the client.
const PAGES_IN_FLIGHT: usize = 2;
const V1: &str = "application/vnd.x.restic.rest.v1";
const V2: &str = "application/vnd.x.restic.rest.v2";

/// Lists the files of a kind: with lengths for who accepts version 2. `Absent` when there is no such repository.
pub async fn names(street: &Street, repo: DatasetRef, kind: FileKind, headers: &HeaderMap) -> Result<Answer> {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(V2));
    let with_lengths = headers.get_all(ACCEPT).iter().any(accepts);
    let place = street.place(&repo.client).await?;
    let of = repo.clone();
    let first = street.ask(move |vault| vault.repo_list(&of, kind, None, PAGE)).await?;
    let (send, pages) = mpsc::channel(PAGES_IN_FLIGHT);
    let vault = street.vault().clone();
    tokio::task::spawn_blocking(move || {
        feed(&vault, &repo, kind, first, with_lengths, &send);
        drop(place);
    });
    let mut answer = Response::new(AnswerBody::Pages(pages));
    *answer.status_mut() = StatusCode::OK;
    let of_version = if with_lengths { V2 } else { V1 };
    Ok(answer::with_header(answer, CONTENT_TYPE, HeaderValue::from_static(of_version)))
}

/// Sends page after page until the last, a fault, or nobody listens any more.
fn feed(
    vault: &Vault,
    repo: &DatasetRef,
    kind: FileKind,
    mut page: Vec<(FileName, u64)>,
    with_lengths: bool,
    send: &mpsc::Sender<Result<Bytes>>,
) {
    let mut text = vec![b'['];
    loop {
        let last = (page.len() == PAGE).then(|| page.last().map(|(name, _)| *name)).flatten();
        write_page(&mut text, &page, with_lengths);
        let Some(last) = last else { break };
        if send.blocking_send(Ok(std::mem::take(&mut text).into())).is_err() {
            return;
        }
        page = match vault.repo_list(repo, kind, Some(last), PAGE) {
            Ok(page) => page,
            Err(fault) => return drop(send.blocking_send(Err(fault))),
        };
        if !page.is_empty() {
            text.push(b',');
        }
    }
    text.push(b']');
    let _ = send.blocking_send(Ok(text.into()));
}

fn write_page(text: &mut Vec<u8>, page: &[(FileName, u64)], with_lengths: bool) {
    text.reserve(page.len() * 100);
    for (n, (name, len)) in page.iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        let mut digits = [0; 64];
        // The lengths are right by their types, and writing to memory does not fail.
        let _ = hex::encode_to_slice(name.0, &mut digits);
        text.extend_from_slice(if with_lengths { b"{\"name\":\"" } else { b"\"" });
        text.extend_from_slice(&digits);
        text.push(b'"');
        if with_lengths {
            let _ = write!(text, ",\"size\":{len}}}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_json() {
        let page: Vec<(FileName, u64)> = (0..3).map(|n| (FileName([n; 32]), u64::from(n) * 7)).collect();
        let mut text = Vec::new();
        write_page(&mut text, &page, true);
        let list: serde_json::Value =
            serde_json::from_slice(&[b"[", &text[..], b"]"].concat()).expect("JSON");
        assert_eq!((&list[2]["name"], &list[2]["size"]), (&"02".repeat(32).into(), &14.into()));
        let mut text = Vec::new();
        write_page(&mut text, &page, false);
        let list: Vec<String> = serde_json::from_slice(&[b"[", &text[..], b"]"].concat()).expect("JSON");
        assert_eq!(list[1], "01".repeat(32));
    }
}
