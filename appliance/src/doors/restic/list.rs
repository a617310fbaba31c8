//! All names of a kind, as restic's REST protocol lists them: page by page from the catalogue, however many there are.

use super::super::answer::{self, Answer};
use super::super::http::Street;
use super::super::pages;
use super::super::places::For;
use coffre_core::fault::Result;
use coffre_core::names::DatasetRef;
use coffre_core::repo::{FileKind, FileName};
use coffre_vault::Vault;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use std::io::Write as _;

/// Files of one page: the engine is held for as long as it takes to name them.
const PAGE: usize = 1_024;
const V1: &str = "application/vnd.x.restic.rest.v1";
const V2: &str = "application/vnd.x.restic.rest.v2";

/// Lists the files of a kind: with lengths for who accepts version 2. `Absent` when there is no such repository.
pub async fn names(street: &Street, repo: DatasetRef, kind: FileKind, headers: &HeaderMap) -> Result<Answer> {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(V2));
    let with_lengths = headers.get_all(ACCEPT).iter().any(accepts);
    let place = street.place(&repo.client, For::List).await?;
    let of = repo.clone();
    let mut first = Some(street.ask(move |vault| vault.repo_list(&of, kind, None, PAGE)).await?);
    let (mut after, mut ended) = (None, false);
    let next = move |vault: &Vault| -> Result<Option<Vec<u8>>> {
        if ended {
            return Ok(None);
        }
        let begins = first.is_some();
        let page = match first.take() {
            Some(page) => page,
            None => vault.repo_list(&repo, kind, after, PAGE)?,
        };
        ended = page.len() < PAGE;
        after = page.last().map(|(name, _)| *name).or(after);
        Ok(Some(written(&page, with_lengths, begins, ended)))
    };
    let list = pages::answer(street, place, if with_lengths { V2 } else { V1 }, next);
    Ok(answer::list(list, street.vault().partial()))
}

fn written(page: &[(FileName, u64)], with_lengths: bool, begins: bool, ends: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(page.len() * 100 + 2);
    match (begins, page) {
        (true, _) => text.push(b'['),
        (false, []) => {}
        (false, _) => text.push(b','),
    }
    write_page(&mut text, page, with_lengths);
    if ends {
        text.push(b']');
    }
    text
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
        let text = [written(&page[..2], true, true, false), written(&page[2..], true, false, true)].concat();
        let list: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!((&list[2]["name"], &list[2]["size"]), (&"02".repeat(32).into(), &14.into()));
        let text = [written(&page, false, true, false), written(&[], false, false, true)].concat();
        let list: Vec<String> = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(list[1], "01".repeat(32));
    }
}
