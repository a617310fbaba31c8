//! Ceilings and deadlines of the doors.
//!
//! What an unauthenticated peer can cost: [`MAX_CONNECTIONS_PER_PEER`] sockets, each with the buffers of one TLS
//! session (about [`CONNECTION_BYTES`]) for at most the handshake or header deadline. What an authenticated client
//! can cost on top: [`MAX_STREAMS_PER_CLIENT`] of the [`MAX_STREAMS`] places for bodies under way, each with
//! [`UPLOAD_BYTES`] or [`DOWNLOAD_BYTES`] of pieces and one blocking thread, and what the vault keeps per stream.

use std::time::Duration;

/// Most connections at once, all peers and listeners together; fewer when the process may not open as many files.
pub const MAX_CONNECTIONS: usize = 768;
/// Most connections at once from one address, or from one /64 of IPv6.
pub const MAX_CONNECTIONS_PER_PEER: usize = 64;
/// Connections of one client, whatever its addresses: with more it is the first to give up one that idles, as soon as
/// three quarters of all are taken.
pub const MAX_CONNECTIONS_PER_CLIENT: usize = 64;
/// Of a client that has more than these at work in a house where nobody idles, the newest is shown out.
pub const MAX_BUSY_PER_CLIENT: usize = 24;
/// About what one idle connection keeps in memory: TLS records both ways and the header buffer.
pub const CONNECTION_BYTES: usize = 128 * 1024;
/// What all strangers together may cost in memory, beside what the box needs anyway: sessions, and what the allocator keeps of them.
pub const STRANGERS_BYTES: usize = MAX_CONNECTIONS * CONNECTION_BYTES;
/// Largest request line and headers together, in bytes; more is answered 431.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most header lines of a request.
pub const MAX_HEADERS: usize = 64;
/// Most bytes hyper buffers for one connection.
pub const MAX_CONNECTION_BUFFER_BYTES: usize = 128 * 1024;
/// Longest path that is looked at.
pub const MAX_PATH_BYTES: usize = 256;
/// The TLS handshake must be over by then.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Headers must be there by then, counted from the end of the handshake or of the request before: also the longest
/// that a connection may idle between requests.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(20);
/// A peer that has kept us waiting for so long, all in all, and taken less than [`WRITE_MIN_BYTES`] meanwhile, is shown out.
/// Long: a restore may feed a program that builds an index in between.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(300);
/// So much a peer takes for each [`WRITE_PATIENCE`] that it keeps us waiting.
pub const WRITE_MIN_BYTES: u64 = 64 * 1024;
/// How long, at most, a closed connection is read on so that the peer sees the answer and not a reset.
pub const LINGER: Duration = Duration::from_secs(3);
/// How much, at most, is read and thrown away while lingering.
pub const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Bodies are watched in windows of this length. Long: a dump that feeds a pipe may think for minutes.
pub const BODY_WINDOW: Duration = Duration::from_secs(300);
/// A body that brings less than this in a whole window is given up.
pub const BODY_WINDOW_MIN_BYTES: u64 = 64 * 1024;
/// Frames of a body that may be as small as they like. Each one costs about as much as a kilobyte of content.
pub const FREE_FRAMES: u64 = 64 * 1024;
/// Beyond these, so many bytes of content earn one more frame,
pub const FRAME_WORTH_BYTES: u64 = 512;
/// and so many frames come in a second: a body of crumbs is read at this pace.
pub const FRAMES_PER_S: u64 = 4_000;
/// Most bodies under way at once, in and out together: each has a blocking thread.
pub const MAX_STREAMS: usize = 48;
/// Most of them of one client: slow ones, on purpose or not, leave the others their places.
pub const MAX_STREAMS_PER_CLIENT: usize = 16;
/// Most lists under way at once: each has a blocking thread and some pages.
pub const MAX_LISTS: usize = 16;
/// Most of them of one client.
pub const MAX_LISTS_PER_CLIENT: usize = 4;
/// Most small things under way at once (HEAD, locks, keys, configs): they have places of their own, so that they do not wait
/// behind bulk.
pub const MAX_ERRANDS: usize = 32;
/// Most of them of one client.
pub const MAX_ERRANDS_PER_CLIENT: usize = 8;
/// Longest announced body that is a small thing.
pub const ERRAND_BYTES: u64 = 1024 * 1024;
/// How long a request waits for a free place among them before it is told to come back.
pub const STREAM_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a body handed to the vault at once.
pub const UPLOAD_PIECE_BYTES: usize = 256 * 1024;
/// Frames of a body shorter than this are copied: a frame keeps the whole buffer that it was read into.
pub const FRAME_COPIED_BELOW: usize = 8 * 1024;
/// What a frame costs besides its bytes.
pub const FRAME_COST_BYTES: usize = 64;
/// Bytes of a snapshot read from the vault at once.
pub const DOWNLOAD_PIECE_BYTES: usize = 1024 * 1024;
/// Pieces of a body waiting between a door and the vault: with fewer, each waits for the other so often that putting threads to
/// sleep and waking them shows in what a duplicate costs.
pub const UPLOAD_PIECES_IN_FLIGHT: usize = 8;
/// Pieces of a snapshot waiting between the vault and a door.
pub const DOWNLOAD_PIECES_IN_FLIGHT: usize = 2;
/// Memory of one upload on the street side: waiting pieces, one being filled, one being written.
pub const UPLOAD_BYTES: usize = (UPLOAD_PIECES_IN_FLIGHT + 2) * UPLOAD_PIECE_BYTES;
/// Memory of one download on the street side: waiting pieces, one being read, one being sent.
pub const DOWNLOAD_BYTES: usize = (DOWNLOAD_PIECES_IN_FLIGHT + 2) * DOWNLOAD_PIECE_BYTES;
/// How long a graceful stop waits for requests under way.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// What a client that is told to come back should wait, in seconds.
pub const RETRY_AFTER_S: u32 = 30;

const _: () = assert!(MAX_CONNECTIONS_PER_PEER * 4 <= MAX_CONNECTIONS, "one peer must not fill the house");
const _: () = assert!(MAX_STREAMS_PER_CLIENT * 3 <= MAX_STREAMS, "two clients must not take all places");
const _: () = assert!(MAX_LISTS_PER_CLIENT * 4 <= MAX_LISTS && MAX_ERRANDS_PER_CLIENT * 4 <= MAX_ERRANDS);
const _: () = assert!(MAX_CONNECTIONS_PER_CLIENT + MAX_CONNECTIONS_PER_PEER < MAX_CONNECTIONS / 4);
const _: () = assert!(MAX_STREAMS < MAX_CONNECTIONS_PER_PEER, "streams are the scarcer good");
const _: () = assert!(MAX_CONNECTION_BUFFER_BYTES >= MAX_HEADER_BYTES && MAX_CONNECTION_BUFFER_BYTES >= 8192);
const _: () = assert!(MAX_PATH_BYTES < MAX_HEADER_BYTES);
const _: () = assert!(
    MAX_STREAMS * if UPLOAD_BYTES > DOWNLOAD_BYTES { UPLOAD_BYTES } else { DOWNLOAD_BYTES }
        <= 192 * 1024 * 1024,
    "all streams together fit a small board"
);

/// Whether a body comes fast enough: at least [`BODY_WINDOW_MIN_BYTES`] in each [`BODY_WINDOW`].
#[derive(Debug)]
pub struct Pace {
    window_ends_ms: u64,
    in_window: u64,
}

impl Pace {
    /// A body that begins at `now_ms` of a clock that never goes back.
    pub fn new(now_ms: u64) -> Self {
        Self { window_ends_ms: now_ms + BODY_WINDOW.as_millis() as u64, in_window: 0 }
    }

    /// How long to wait for the next bytes before looking again.
    pub fn patience_ms(&self, now_ms: u64) -> u64 {
        self.window_ends_ms.saturating_sub(now_ms)
    }

    /// Counts `bytes` that came by `now_ms` (0 when the patience is over); `false` once the body is too slow.
    pub fn took(&mut self, bytes: u64, now_ms: u64) -> bool {
        self.in_window += bytes;
        if now_ms < self.window_ends_ms {
            return true;
        }
        let enough = self.in_window >= BODY_WINDOW_MIN_BYTES;
        *self = Self::new(now_ms);
        enough
    }
}

/// Whether a peer takes what it asked for: what is waited for in vain adds up until enough was taken.
#[derive(Debug, Default)]
pub struct OutPace {
    waited: Duration,
    taken_bytes: u64,
}

impl OutPace {
    /// How much longer the peer may keep us waiting.
    pub fn patience(&self) -> Duration {
        WRITE_PATIENCE.saturating_sub(self.waited)
    }

    /// The peer took `bytes`, after it had kept us waiting for `waited`.
    pub fn took(&mut self, bytes: u64, waited: Duration) {
        self.waited += waited;
        self.taken_bytes += bytes;
        if self.taken_bytes >= WRITE_MIN_BYTES {
            *self = Self::default();
        }
    }
}

/// The pace of a body that comes in crumbs. Nothing is refused: what is too many is read later.
#[derive(Debug, Default)]
pub struct Crumbs {
    frames: u64,
    bytes: u64,
}

impl Crumbs {
    /// A frame of so many bytes came, `now_ms` after the body began. How long to leave the next one unread.
    pub fn took(&mut self, bytes: u64, now_ms: u64) -> Duration {
        self.frames += 1;
        self.bytes += bytes;
        let free = FREE_FRAMES + self.bytes / FRAME_WORTH_BYTES;
        let due_ms = self.frames.saturating_sub(free).saturating_mul(1_000) / FRAMES_PER_S;
        Duration::from_millis(due_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_little_is_shown_out_and_who_pauses_is_not() {
        let second = Duration::from_secs(1);
        let mut pace = OutPace::default();
        assert_eq!(pace.patience(), WRITE_PATIENCE);
        for _ in 0..299 {
            pace.took(200, second);
        }
        assert_eq!(pace.patience(), second, "a few bytes at a time do not renew it");
        pace.took(WRITE_MIN_BYTES, second);
        assert_eq!(pace.patience(), WRITE_PATIENCE, "enough was taken");
        // Small answers over a connection that lives long wait for nothing, and so they may be as small as they like.
        (0..1_000).for_each(|_| pace.took(10, Duration::ZERO));
        assert_eq!(pace.patience(), WRITE_PATIENCE);
    }

    #[test]
    fn crumbs_are_read_slowly_and_small_pieces_of_a_pipe_are_not() {
        let mut crumbs = Crumbs::default();
        assert!((0..FREE_FRAMES).all(|_| crumbs.took(1, 0).is_zero()));
        let mut wait = Duration::ZERO;
        for _ in 0..2 * FRAMES_PER_S {
            wait = wait.max(crumbs.took(1, 0));
        }
        assert!(wait > Duration::from_millis(1_900) && wait <= Duration::from_secs(2), "{wait:?}");
        assert!(crumbs.took(1, 3_000).is_zero(), "time passed");
        let mut lines = Crumbs::default();
        assert!(
            (0..1_000_000u64).all(|n| lines.took(80, n / 4).is_zero()),
            "lines of 80 bytes, 4,000 a second"
        );
        let mut pipe = Crumbs::default();
        assert!(
            (0..1_000_000).all(|_| pipe.took(4_096, 0).is_zero()),
            "a pipe's own pieces, as fast as they come"
        );
    }

    #[test]
    fn a_trickle_is_given_up_and_a_pause_is_not() {
        let window_ms = BODY_WINDOW.as_millis() as u64;
        let mut pace = Pace::new(0);
        assert!(pace.took(1, window_ms - 1));
        assert!(!pace.took(0, window_ms), "two bytes in a window");
        let mut pace = Pace::new(0);
        assert!(pace.took(BODY_WINDOW_MIN_BYTES, 1), "a burst");
        assert_eq!(pace.patience_ms(1), window_ms - 1);
        assert!(pace.took(0, window_ms), "then a long pause");
        assert!(!pace.took(0, 2 * window_ms), "but not another window of nothing");
    }
}
