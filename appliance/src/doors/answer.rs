//! Answers: JSON, text or a stream of bytes; errors as `{"error":{"class","what","next"}}`.

use super::download::Download;
use super::limits::RETRY_AFTER_S;
use super::places::Place;
use super::seats::Busy;
use crate::views::ErrorView;
use bytes::Bytes;
use coffre_core::fault::{Class, Fault, Result};
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Longest reason in a status line, in bytes.
const MAX_REASON_LEN: usize = 400;
/// On a list that may lack something.
const PARTIAL: HeaderName = HeaderName::from_static("coffre-partial");

/// An answer of any door.
pub type Answer = Response<AnswerBody>;

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// Bytes at hand; `None` when they were sent.
    Ready(Option<Bytes>),
    /// The same, holding a place until they were sent.
    Charged { bytes: Option<Bytes>, _place: Place },
    /// Bytes on their way from the vault.
    Stream(Download),
    /// Pieces of a length that nobody knows beforehand; a fault ends the connection without an end mark.
    Pages(mpsc::Receiver<Result<Bytes>>),
    /// Bytes at hand, of which one more was announced than there are; then the connection ends.
    BrokenOff(Option<Bytes>, bool),
    /// No bytes, but the length that a GET would have (for HEAD).
    Length,
}

/// A body on its way out, with what is held until it was given: its connection is at work.
#[derive(Debug)]
pub struct Given {
    body: AnswerBody,
    _busy: Busy,
}

/// The answer as it is given: `busy` ends with its body.
pub fn given(answer: Answer, busy: Busy) -> Response<Given> {
    answer.map(|body| Given { body, _busy: busy })
}

/// The same answer, holding a place until it was sent: a list that is made whole.
pub fn charged(answer: Answer, place: Place) -> Answer {
    answer.map(|body| match body {
        AnswerBody::Ready(bytes) => AnswerBody::Charged { bytes, _place: place },
        other => other,
    })
}

/// JSON with this status.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            with_type(status, "application/json", body)
        }
        Err(e) => of_fault(&Fault::permanent(format!("an answer cannot be written: {e}"))),
    }
}

/// No body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Ready(None));
    *answer.status_mut() = status;
    answer
}

/// Text of a content type, 200.
pub fn text(content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    with_type(StatusCode::OK, content_type, body.into())
}

/// A fault with the status its class has at all doors.
///
/// What is broken inside the box is the owner's to read, in the log: a client learns that it was not its fault.
pub fn of_fault(fault: &Fault) -> Answer {
    if matches!(fault.class, Class::Permanent | Class::Corrupt) {
        tracing::error!(%fault, class = ?fault.class, "a request failed inside the box");
        let said = match fault.class {
            Class::Corrupt => "too much of this snapshot is damaged to read it",
            _ => "the box could not do this",
        };
        let shown =
            Fault::new(fault.class, said).next("tell whoever looks after the box; its log has the reason");
        return with_status(StatusCode::INTERNAL_SERVER_ERROR, &shown);
    }
    with_status(status_of(fault.class), fault)
}

/// The status that faults of a class have at all doors.
pub fn status_of(class: Class) -> StatusCode {
    match class {
        Class::Transient | Class::Unseen | Class::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        Class::Absent => StatusCode::NOT_FOUND,
        Class::Full => StatusCode::INSUFFICIENT_STORAGE,
        Class::Refused => StatusCode::FORBIDDEN,
        Class::Misuse => StatusCode::BAD_REQUEST,
        Class::Permanent | Class::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A fault with a status of its own.
pub fn with_status(status: StatusCode, fault: &Fault) -> Answer {
    let mut answer = json(status, &ErrorView::from(fault));
    if let Some(reason) = reason(status, fault) {
        answer.extensions_mut().insert(reason);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    answer
}

/// `Bad Request: WHAT; NEXT` for the status line: restic shows of an answer its status line only, and so does a curl
/// before 7.76 that was told to `fail`.
fn reason(status: StatusCode, fault: &Fault) -> Option<ReasonPhrase> {
    let said = format!("{}: {fault}", status.canonical_reason().unwrap_or("Error"));
    // What was typed may be in it, and may be anything: a status line is one line of ASCII.
    let plain = said.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' });
    ReasonPhrase::try_from(plain.take(MAX_REASON_LEN).collect::<String>()).ok()
}

/// The reason in the status line of an answer, when it has one of its own.
pub fn reason_of(answer: &Answer) -> Option<&str> {
    answer.extensions().get::<ReasonPhrase>().and_then(|reason| std::str::from_utf8(reason.as_bytes()).ok())
}

/// Why a body was not kept; what is broken inside the box is not told.
pub fn of_refusal(status: StatusCode, fault: &Fault) -> Answer {
    match fault.class {
        Class::Permanent | Class::Corrupt => of_fault(fault),
        _ => with_status(status, fault),
    }
}

/// 401: no credentials, or wrong ones; the same for both.
pub fn unauthorized() -> Answer {
    let fault = Fault::refused("a client's name and secret are needed")
        .next("send them as HTTP Basic authentication (curl: -u NAME:SECRET)");
    let answer = with_status(StatusCode::UNAUTHORIZED, &fault);
    with_header(answer, WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"coffre\""))
}

/// The same list; of a box that came up with too few disks, or with old ones, it says that there may be more.
pub fn list(mut answer: Answer, partial: bool) -> Answer {
    if partial {
        answer.headers_mut().insert(PARTIAL, HeaderValue::from_static("true"));
    }
    answer
}

/// 405 with what is allowed.
pub fn method_not_allowed(allow: &'static str) -> Answer {
    let fault = Fault::misuse("this address does not do that").next(format!("it does {allow}"));
    let answer = with_status(StatusCode::METHOD_NOT_ALLOWED, &fault);
    with_header(answer, ALLOW, HeaderValue::from_static(allow))
}

/// 404 for an address that means nothing.
pub fn no_such_address() -> Answer {
    of_fault(&Fault::absent("there is nothing at this address").next("see / for the addresses there are"))
}

/// The same answer with one more header.
pub fn with_header(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

/// The same answer, broken off one byte before the end that it announces.
pub fn broken_off(mut answer: Answer) -> Answer {
    if let AnswerBody::Ready(Some(bytes)) = answer.body_mut() {
        let bytes = std::mem::take(bytes);
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len() as u64 + 1));
        *answer.body_mut() = AnswerBody::BrokenOff(Some(bytes), false);
    }
    answer
}

/// Text of a content type, with this status.
pub fn with_type(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(AnswerBody::Ready(Some(body.into())));
    *answer.status_mut() = status;
    with_header(answer, CONTENT_TYPE, HeaderValue::from_static(content_type))
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Ready(bytes) | Self::Charged { bytes, .. } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Stream(download) => download.poll_next(cx).map(|piece| piece.map(|p| p.map(Frame::data))),
            Self::Pages(pages) => pages.poll_recv(cx).map(|piece| piece.map(|p| p.map(Frame::data))),
            Self::BrokenOff(bytes @ Some(_), _) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            // Once round, so that the bytes are out before the connection ends.
            Self::BrokenOff(None, waited @ false) => {
                *waited = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Self::BrokenOff(None, true) => Poll::Ready(Some(Err(Fault::refused("broken off: see old_curl")))),
            Self::Length => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) | Self::Charged { bytes, .. } => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(download) => download.left_bytes() == 0,
            Self::Pages(_) | Self::BrokenOff(..) => false,
            Self::Length => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) | Self::Charged { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Stream(download) => SizeHint::with_exact(download.left_bytes()),
            // Unknown, so that the Content-Length set by hand stands.
            Self::Pages(_) | Self::Length | Self::BrokenOff(..) => SizeHint::default(),
        }
    }
}

impl Body for Given {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
