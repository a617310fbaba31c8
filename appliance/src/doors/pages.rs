//! Lists as they are made: page by page on a blocking thread, a bounded number of pages waiting. The whole list is never in memory,
//! and its place is held until its last page was taken, or nobody listens any more.

use super::answer::{self, Answer, AnswerBody};
use super::http::Street;
use super::places::Place;
use bytes::Bytes;
use coffre_core::fault::Result;
use coffre_vault::Vault;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

/// Pages waiting between the vault and the client.
const PAGES_IN_FLIGHT: usize = 2;

/// An answer whose body is what `next` gives until it gives nothing. A fault ends the connection without an end mark: the client
/// sees a broken transfer, never a short list that looks whole.
pub fn answer(
    street: &Street,
    place: Place,
    content_type: &'static str,
    mut next: impl FnMut(&Vault) -> Result<Option<Vec<u8>>> + Send + 'static,
) -> Answer {
    let (send, pages) = mpsc::channel::<Result<Bytes>>(PAGES_IN_FLIGHT);
    let vault = street.vault().clone();
    tokio::task::spawn_blocking(move || {
        while let Some(page) = next(&vault).transpose() {
            let failed = page.is_err();
            if send.blocking_send(page.map(Bytes::from)).is_err() || failed {
                break;
            }
        }
        drop(place);
    });
    let mut answer = Response::new(AnswerBody::Pages(pages));
    *answer.status_mut() = StatusCode::OK;
    answer::with_header(answer, CONTENT_TYPE, HeaderValue::from_static(content_type))
}
