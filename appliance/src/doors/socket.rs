//! A client's TCP socket with two manners that neither TLS nor HTTP has: it gives up on a peer that takes too little,
//! and it lingers.
//!
//! **Lingering.** A door often answers before it has read the whole body: wrong secret, quota full. Closing a socket
//! with unread bytes makes the kernel send a reset, and a reset makes the peer throw away the answer that it has
//! not read yet: it sees "connection reset" instead of 507. So after the last byte of the answer this socket sends
//! its end, then reads and throws away for a bounded time and amount, below TLS, where throwing away is cheap.
//! A connection that is aborted (a fault in mid-answer) is dropped without shutdown and does not linger.

use super::limits::{LINGER, LINGER_BYTES, OutPace};
use crate::clock::Stopwatch;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// See the file's head. The bytes pass through unchanged.
#[derive(Debug)]
pub struct ClientSocket {
    inner: TcpStream,
    pace: OutPace,
    /// Since when the peer keeps us waiting, and when that is too long.
    stall: Option<(Stopwatch, Pin<Box<Sleep>>)>,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl ClientSocket {
    /// Wraps a socket that was just accepted.
    pub fn new(inner: TcpStream) -> Self {
        Self { inner, pace: OutPace::default(), stall: None, linger: None }
    }

    /// Passes on what a write said, and ends the connection when the peer has kept us waiting for too long for what it took.
    fn watch(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = polled {
            let waited_ms = self.stall.take().map_or(0, |(since, _)| since.ms());
            let taken_bytes = outcome.as_ref().map_or(0, |bytes| *bytes as u64);
            self.pace.took(taken_bytes, Duration::from_millis(waited_ms));
            return Poll::Ready(outcome);
        }
        let patience = self.pace.patience();
        let (_, timer) = self.stall.get_or_insert_with(|| (Stopwatch::start(), Box::pin(sleep(patience))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes too little")))
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.linger = Some((Box::pin(sleep(LINGER)), LINGER_BYTES));
        }
        let Self { inner, linger: Some((deadline, budget)), .. } = &mut *self else {
            return Poll::Ready(Ok(()));
        };
        let mut scratch = [0; 16 * 1024];
        while deadline.as_mut().poll(cx).is_pending() && *budget > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *inner).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *budget = budget.saturating_sub(buf.filled().len()),
                // The peer has closed, or reset: it has what it wanted.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
