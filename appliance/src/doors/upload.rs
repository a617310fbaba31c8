//! A body on its way in: async frames are gathered into pieces, a blocking thread gives them to the vault.
//!
//! The vault is told that the body is whole by an explicit end mark, sent only after HTTP said so, and by the connection itself: one that
//! is dropped in mid-body cannot say it any more. A channel that just closes (client gone, too slow, daemon stopping) means "cut off", and the unfinished snapshot is dropped
//! unseen. Frames are handed on as they came, not copied together; memory is bounded by counting what is held.
//!
//! Once the end mark is in, the snapshot is kept even if the client vanishes before it reads the receipt: it sent
//! everything, and will find it listed.

use super::answer;
use super::digests::{self, Digests};
use super::limits::{
    Crumbs, FRAME_COPIED_BELOW, FRAME_COST_BYTES, Pace, UPLOAD_PIECE_BYTES, UPLOAD_PIECES_IN_FLIGHT,
};
use super::places::Place;
use crate::clock::Stopwatch;
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::wire::ReceiptFacts;
use coffre_vault::{FileStream, Kept, PutStream, Vault};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where the bytes of a body go, in the vault. Blocking.
pub trait Sink: Sized {
    /// What is known of it once it is kept.
    type Kept: Send + 'static;
    /// Takes the next bytes.
    fn take(&mut self, bytes: Bytes) -> Result<()>;
    /// Ends it and waits until it is safe.
    fn finish(self) -> Result<Self::Kept>;
}

impl Sink for PutStream {
    type Kept = ReceiptFacts;

    fn take(&mut self, bytes: Bytes) -> Result<()> {
        Self::take(self, bytes)
    }

    fn finish(self) -> Result<ReceiptFacts> {
        Self::finish(self)
    }
}

impl Sink for FileStream {
    type Kept = Kept;

    fn take(&mut self, bytes: Bytes) -> Result<()> {
        Self::take(self, bytes)
    }

    fn finish(self) -> Result<Kept> {
        Self::finish(self)
    }
}

/// What is to be received.
pub struct Upload<B> {
    /// Begins it in the vault.
    pub begin: B,
    /// Digests that it must have.
    pub digests: Digests,
    /// Its place among the streams.
    pub place: Place,
}

/// Why nothing was kept: the status of the answer and the fault in it.
pub type Refusal = (StatusCode, Fault);

/// A body of crumbs is left alone for so long at least, not for each of them.
const SHORTEST_REST: Duration = Duration::from_millis(50);

enum Piece {
    /// Frames as they came, not copied together.
    Frames(Vec<Bytes>),
    End,
}

impl<S: Sink, B: FnOnce(&Vault) -> Result<S> + Send + 'static> Upload<B> {
    /// Streams `body` into the vault. `done` is called on the blocking thread with what came of it, as soon as it is
    /// known and even if the client is gone.
    ///
    /// # Durability
    /// On `Ok` what was received is as safe as [`coffre_vault::PutStream::finish`] says; otherwise nothing is visible.
    pub async fn receive(
        self,
        vault: Vault,
        body: Incoming,
        done: impl FnOnce(&Result<S::Kept>) + Send + 'static,
    ) -> std::result::Result<S::Kept, Refusal> {
        let (send, pieces) = mpsc::channel(UPLOAD_PIECES_IN_FLIGHT);
        let (begun, has_begun) = oneshot::channel();
        let worker = tokio::task::spawn_blocking(move || {
            let stored = self.store(&vault, begun, pieces);
            done(&stored);
            stored
        });
        // Refused before the first byte is asked for: a client that waits for "100 Continue" sends none.
        let pumped = match has_begun.await {
            Ok(()) => on_its_own(pump(body, send)).await,
            Err(_) => Ok(None),
        };
        let pumped = match pumped {
            // A failed send means the worker has ended, with its own reason.
            Ok(Some(send)) => {
                let _ = send.send(Piece::End).await;
                Ok(())
            }
            other => other.map(drop),
        };
        let stored = worker.await.unwrap_or_else(|e| Err(Fault::permanent(format!("storing ended: {e}"))));
        pumped.and(stored.map_err(refusal))
    }

    /// On the blocking thread: takes pieces until the end mark, then waits until the snapshot is safe.
    fn store(
        self,
        vault: &Vault,
        begun: oneshot::Sender<()>,
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<S::Kept> {
        let Self { begin, mut digests, place } = self;
        let mut put = begin(vault)?;
        if begun.send(()).is_err() {
            return Err(cut_off());
        }
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Frames(frames)) => {
                    for bytes in frames {
                        digests.update(&bytes);
                        put.take(bytes)?;
                    }
                }
                Some(Piece::End) => break,
                None => return Err(cut_off()),
            }
        }
        digests.verify()?;
        let facts = put.finish();
        drop(place);
        facts
    }
}

/// Runs this as a task of its own, which ends when nobody waits for it any more. A body that is taken in the task of its connection
/// wakes itself with each frame; the runtime takes that for work that another thread could do, and wakes one each time
/// (`docs/decisions/0059-what-comes-next-is-recognised.md`).
async fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = std::result::Result<T, Refusal>> + Send + 'static,
) -> std::result::Result<T, Refusal> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(e)) => Err(as_it_is(Fault::permanent(format!("receiving ended: {e}")))),
        None => Err(as_it_is(Fault::permanent("receiving never began"))),
    }
}

/// Takes the body from hyper at the client's pace, gathers it, hands it on. Gives the sender back when the body is whole; `None`
/// when the vault stopped listening: then the worker has the reason.
async fn pump(
    mut body: Incoming,
    send: mpsc::Sender<Piece>,
) -> std::result::Result<Option<mpsc::Sender<Piece>>, Refusal> {
    let watch = Stopwatch::start();
    let (mut pace, mut crumbs) = (Pace::new(0), Crumbs::default());
    let (mut piece, mut piece_bytes) = (Vec::new(), 0);
    loop {
        let patience = Duration::from_millis(pace.patience_ms(watch.ms()));
        let frame = match timeout(patience, body.frame()).await {
            Err(_) if pace.took(0, watch.ms()) => continue,
            Err(_) => return Err(too_slow()),
            Ok(None) => break,
            Ok(Some(Err(e))) => return Err(broken(&e)),
            Ok(Some(Ok(frame))) => frame,
        };
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            // Of trailers only this matters: a check that the client believes in must not be passed over.
            Err(frame) if frame.trailers_ref().is_some_and(digests::any_digest) => {
                return Err((StatusCode::BAD_REQUEST, digests::in_trailer()));
            }
            Err(_) => continue,
        };
        if !pace.took(bytes.len() as u64, watch.ms()) {
            return Err(too_slow());
        }
        let rest = crumbs.took(bytes.len() as u64, watch.ms());
        if rest >= SHORTEST_REST {
            tokio::time::sleep(rest).await;
        }
        // A frame smaller than what keeping it costs is copied; else a hostile client could make crumbs of a body.
        piece_bytes += bytes.len() + FRAME_COST_BYTES;
        piece.push(if bytes.len() < FRAME_COPIED_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes });
        if piece_bytes >= UPLOAD_PIECE_BYTES {
            piece_bytes = 0;
            if send.send(Piece::Frames(std::mem::take(&mut piece))).await.is_err() {
                return Ok(None);
            }
        }
    }
    if !piece.is_empty() && send.send(Piece::Frames(piece)).await.is_err() {
        return Ok(None);
    }
    Ok(Some(send))
}

/// While a body is received, a vault that refuses is one that is read-only for now: the client should come back.
fn refusal(fault: Fault) -> Refusal {
    match fault.class {
        Class::Refused | Class::Transient | Class::Unseen | Class::Unknown => {
            (StatusCode::SERVICE_UNAVAILABLE, fault)
        }
        Class::Full => (StatusCode::INSUFFICIENT_STORAGE, fault),
        Class::Misuse => (StatusCode::BAD_REQUEST, fault),
        Class::Absent => (StatusCode::NOT_FOUND, fault),
        Class::Permanent | Class::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, fault),
    }
}

/// A fault from before the body, with the status it has at all doors.
pub fn as_it_is(fault: Fault) -> Refusal {
    (answer::status_of(fault.class), fault)
}

fn too_slow() -> Refusal {
    let fault =
        Fault::transient("the body came too slowly and was given up").next("nothing was kept; send it again");
    (StatusCode::REQUEST_TIMEOUT, fault)
}

fn broken(error: &hyper::Error) -> Refusal {
    let fault = Fault::misuse(format!("the body broke off or is malformed: {error}"));
    (StatusCode::BAD_REQUEST, fault.next("nothing was kept; send it again"))
}

/// Whether a body was not refused but broke off.
pub fn was_cut_off(fault: &Fault) -> bool {
    fault.what == cut_off().what
}

fn cut_off() -> Fault {
    Fault::misuse("the body was cut off").next("nothing was kept; send it again")
}
