//! A snapshot on its way out: a blocking reader feeds a bounded channel, hyper drinks from it.
//!
//! The length is announced before the first byte, and every byte was verified by the vault before it gets here. A
//! fault in mid-body ends the connection without its end mark: the client sees a broken transfer, never a short
//! body that looks whole. The first piece is read before the answer begins, so that a snapshot that cannot be read
//! at all is a proper error.

use super::limits::{DOWNLOAD_PIECE_BYTES, DOWNLOAD_PIECES_IN_FLIGHT};
use super::places::Place;
use bytes::Bytes;
use coffre_core::fault::{Fault, Result};
use coffre_vault::SnapshotReader;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Bytes on their way; yields exactly what was announced, or a fault.
#[derive(Debug)]
pub struct Download {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes>>,
    left_bytes: u64,
}

impl Download {
    /// Starts reading bytes `start..end` on a blocking thread and waits for the first piece. The place is held until
    /// the last byte is read.
    pub async fn begin(reader: SnapshotReader, start: u64, end: u64, place: Place) -> Result<Self> {
        let (send, mut rest) = mpsc::channel(DOWNLOAD_PIECES_IN_FLIGHT);
        tokio::task::spawn_blocking(move || {
            feed(reader, start, end, &send);
            drop(place);
        });
        let first = if start < end { Some(rest.recv().await.unwrap_or_else(|| Err(cut()))?) } else { None };
        Ok(Self { first, rest, left_bytes: end - start })
    }

    /// Bytes that are still to come.
    pub fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// The next piece; `None` only when all that was announced has come.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let piece = match self.first.take() {
            Some(first) => Ok(first),
            None => match self.rest.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => piece.unwrap_or_else(|| Err(cut())),
            },
        };
        Poll::Ready(Some(piece.and_then(|bytes| {
            let len = bytes.len() as u64;
            self.left_bytes = self.left_bytes.checked_sub(len).ok_or_else(cut)?;
            Ok(bytes)
        })))
    }
}

/// Reads until the end, a fault, or nobody listens any more.
fn feed(mut reader: SnapshotReader, mut offset: u64, end: u64, send: &mpsc::Sender<Result<Bytes>>) {
    while offset < end {
        let max = (end - offset).min(DOWNLOAD_PIECE_BYTES as u64) as usize;
        let piece = match reader.read_at(offset, max) {
            Ok(bytes) if bytes.is_empty() || bytes.len() > max => Err(cut()),
            other => other.map(Bytes::from),
        };
        offset += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let failed = piece.is_err();
        if let Err(fault) = &piece {
            tracing::error!(%fault, offset, snapshot = %reader.info().id, "a snapshot cannot be read on");
        }
        if send.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

fn cut() -> Fault {
    Fault::corrupt("the snapshot ended before its length")
}
