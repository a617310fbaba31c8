//! Who is knocking: Basic authentication, and patience with those who guess.
//!
//! Secrets are random and long, so guessing is hopeless; the back-off keeps it cheap for us and visible in the log.
//! It slows *answers to wrong secrets only*: behind one address of a small office there are many clients, and the
//! right secret of one must not wait for the wrong one of another.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest `Authorization` header that is looked at.
const MAX_AUTHORIZATION_BYTES: usize = 512;
/// Wrong secrets from one peer that are answered at once.
const FREE_FAILURES: u32 = 5;
/// The first delay; each further failure doubles it.
const FIRST_DELAY_MS: u64 = 100;
/// The longest delay.
const MAX_DELAY_MS: u64 = 5_000;
/// A peer that has been quiet this long is forgotten.
const FORGET_AFTER_MS: u64 = 10 * 60 * 1000;
/// Most peers remembered.
const MAX_PEERS: usize = 1024;

/// A name and a secret as sent; not yet believed. Shows neither when printed.
pub struct Credentials {
    /// The client's name, as sent.
    pub name: String,
    /// Its secret, as sent.
    pub secret: String,
}

impl Credentials {
    /// Reads an `Authorization: Basic` header; `None` when it is not one.
    pub fn parse(header: &HeaderValue) -> Option<Self> {
        if header.len() > MAX_AUTHORIZATION_BYTES {
            return None;
        }
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, secret) = decoded.split_once(':')?;
        Some(Self { name: name.to_owned(), secret: secret.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Remembers who sent wrong secrets, within bounds.
#[derive(Debug, Default)]
pub struct Backoff {
    peers: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_ms: u64,
}

impl Backoff {
    /// Counts a wrong secret from `peer` at `now_ms` of a clock that never goes back; says how long to hold back
    /// the answer.
    pub fn failed(&self, peer: IpAddr, now_ms: u64) -> Duration {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = neighbourhood(peer);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            make_room(&mut peers, now_ms);
        }
        let entry = peers.entry(peer).or_insert(Failures { count: 0, last_ms: now_ms });
        if now_ms.saturating_sub(entry.last_ms) > FORGET_AFTER_MS {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last_ms = now_ms;
        match entry.count.checked_sub(FREE_FAILURES + 1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let delay_ms =
                    FIRST_DELAY_MS.checked_shl(doublings).filter(|ms| *ms >> doublings == FIRST_DELAY_MS);
                Duration::from_millis(delay_ms.map_or(MAX_DELAY_MS, |ms| ms.min(MAX_DELAY_MS)))
            }
        }
    }
}

/// Forgets the quiet ones, and if none is, the one that failed longest ago.
fn make_room(peers: &mut HashMap<IpAddr, Failures>, now_ms: u64) {
    peers.retain(|_, failures| now_ms.saturating_sub(failures.last_ms) <= FORGET_AFTER_MS);
    if peers.len() >= MAX_PEERS {
        let oldest = peers.iter().min_by_key(|(_, failures)| failures.last_ms).map(|(peer, _)| *peer);
        oldest.map(|peer| peers.remove(&peer));
    }
}

/// A host with IPv6 has a whole /64 to come from.
pub(super) fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, String)> {
        Credentials::parse(&HeaderValue::from_bytes(text.as_bytes()).expect("bytes"))
            .map(|c| (c.name, c.secret))
    }

    fn basic(inner: &[u8]) -> String {
        format!("Basic {}", STANDARD.encode(inner))
    }

    #[test]
    fn basic_credentials_are_read() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parse(&basic(b"pc:se:cret")), pair("pc", "se:cret"));
        assert_eq!(parse(&basic(b"pc:")), pair("pc", ""));
        assert_eq!(parse(&basic(b"pc:x").replace("Basic", "bASIC")), pair("pc", "x"));
    }

    #[test]
    fn anything_else_is_nobody() {
        let long = basic(&[b'a'; 1000]);
        let bad = [
            "",
            "Basic",
            "Basic ",
            "Bearer abc",
            "Basic !!!",
            &long,
            &basic(b"no colon"),
            &basic(b"\xff:\xfe"),
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn printing_shows_no_secret() {
        let credentials = Credentials { name: "pc".into(), secret: "hush".into() };
        assert!(!format!("{credentials:?}").contains("hush"));
    }

    #[test]
    fn guessing_gets_slower_up_to_a_ceiling() {
        let backoff = Backoff::default();
        let peer: IpAddr = [192, 0, 2, 1].into();
        let delays: Vec<u64> = (0..80).map(|n| backoff.failed(peer, n).as_millis() as u64).collect();
        assert_eq!(delays[..8], [0, 0, 0, 0, 0, 100, 200, 400]);
        assert_eq!(delays[79], MAX_DELAY_MS);
        assert_eq!(backoff.failed([192, 0, 2, 2].into(), 80), Duration::ZERO, "another peer");
        assert_eq!(backoff.failed(peer, 81 + FORGET_AFTER_MS), Duration::ZERO, "forgotten");
    }

    #[test]
    fn the_table_is_bounded() {
        let backoff = Backoff::default();
        for n in 0..(MAX_PEERS as u32 + 500) {
            backoff.failed(IpAddr::from(n.to_be_bytes()), u64::from(n));
        }
        assert_eq!(backoff.peers.lock().expect("no panic").len(), MAX_PEERS);
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert_eq!(neighbourhood(v6(1)), neighbourhood(v6(2)));
    }
}
