//! How much is written into the log because of somebody: each address of strangers and each client has a ration of lines, and all
//! strangers together have one. What is left out is counted, and told in one line.

use super::auth::neighbourhood;
use coffre_core::names::ClientName;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Lines that an address may cause at once, and one more each second.
const OF_PEER: Ration = Ration { most: 30, per_s: 1 };
/// Lines that all strangers together may cause at once, and in each second.
const OF_STRANGERS: Ration = Ration { most: 300, per_s: 20 };
/// Lines that a client may cause at once, and in each second: a restore asks for much.
const OF_CLIENT: Ration = Ration { most: 5_000, per_s: 100 };
/// Most addresses that are told apart; the others have the ration of all strangers alone.
const MAX_PEERS: usize = 1_024;
/// What was left out is told this often at most.
const TELL_EVERY_MS: u64 = 10_000;

/// So many lines at once, and so many more in each second.
#[derive(Clone, Copy)]
struct Ration {
    most: u64,
    per_s: u64,
}

/// What is left of a ration, in thousandths of a line.
#[derive(Debug)]
struct Left {
    milli: u64,
    at_ms: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Chatter(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    peers: HashMap<IpAddr, Left>,
    strangers: Option<Left>,
    /// There are only as many as the owner made.
    clients: HashMap<ClientName, Left>,
    left_out: u64,
    told_ms: u64,
}

impl Left {
    fn new(ration: Ration, now_ms: u64) -> Self {
        Self { milli: ration.most * 1_000, at_ms: now_ms }
    }

    /// Fills up with time; says whether it is whole again.
    fn fill(&mut self, ration: Ration, now_ms: u64) -> bool {
        let more = now_ms.saturating_sub(self.at_ms).saturating_mul(ration.per_s);
        self.milli = self.milli.saturating_add(more).min(ration.most * 1_000);
        self.at_ms = now_ms;
        self.milli == ration.most * 1_000
    }

    fn take(&mut self, ration: Ration, now_ms: u64) -> bool {
        self.fill(ration, now_ms);
        let some = self.milli >= 1_000;
        if some {
            self.milli -= 1_000;
        }
        some
    }
}

fn take<K: Eq + Hash>(all: &mut HashMap<K, Left>, who: K, ration: Ration, now_ms: u64) -> bool {
    all.entry(who).or_insert_with(|| Left::new(ration, now_ms)).take(ration, now_ms)
}

impl Chatter {
    /// Whether a line may be written because of a stranger at this address.
    pub fn of_stranger(&self, peer: IpAddr, now_ms: u64) -> bool {
        self.with(now_ms, |inner| {
            let peer = neighbourhood(peer);
            if inner.peers.len() >= MAX_PEERS && !inner.peers.contains_key(&peer) {
                inner.peers.retain(|_, left| !left.fill(OF_PEER, now_ms));
            }
            let known = inner.peers.len() < MAX_PEERS || inner.peers.contains_key(&peer);
            let own = !known || take(&mut inner.peers, peer, OF_PEER, now_ms);
            own && inner
                .strangers
                .get_or_insert_with(|| Left::new(OF_STRANGERS, now_ms))
                .take(OF_STRANGERS, now_ms)
        })
    }

    /// Whether a line may be written because of this client.
    pub fn of_client(&self, client: &ClientName, now_ms: u64) -> bool {
        self.with(now_ms, |inner| match inner.clients.get_mut(client) {
            Some(left) => left.take(OF_CLIENT, now_ms),
            None => take(&mut inner.clients, client.clone(), OF_CLIENT, now_ms),
        })
    }

    fn with(&self, now_ms: u64, may: impl FnOnce(&mut Inner) -> bool) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = may(&mut inner);
        inner.left_out += u64::from(!may);
        if inner.left_out > 0 && now_ms.saturating_sub(inner.told_ms) >= TELL_EVERY_MS {
            inner.told_ms = now_ms;
            let lines = std::mem::take(&mut inner.left_out);
            drop(inner);
            tracing::warn!(lines, "lines were left out: somebody caused too many");
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn one_address_has_its_ration_and_all_of_them_one_together() {
        let chatter = Chatter::default();
        let said = |who: u32, times: usize, now_ms| {
            (0..times).filter(|_| chatter.of_stranger(peer(who), now_ms)).count()
        };
        assert_eq!(said(1, 1_000, 0), 30);
        assert_eq!(said(2, 10, 0), 10, "another address");
        assert_eq!(said(1, 1_000, 5_000), 5, "one more each second");
        // From addresses without number: all together have what is left, and no table grows.
        let all: usize = (10..20_000).map(|n| said(n, 1, 5_000)).sum();
        assert!((250..=300).contains(&all), "{all}");
        let inner = chatter.0.lock().expect("no panic");
        assert!(inner.peers.len() <= MAX_PEERS && inner.left_out > 0);
    }

    #[test]
    fn a_client_has_its_own_and_what_is_left_out_is_counted() {
        let chatter = Chatter::default();
        let eve: ClientName = "eve".parse().expect("a name");
        assert_eq!((0..9_000).filter(|_| chatter.of_client(&eve, 1)).count(), 5_000);
        assert!(chatter.of_client(&"bob".parse().expect("a name"), 1));
        assert_eq!(chatter.0.lock().expect("no panic").left_out, 4_000);
        assert!(chatter.of_client(&eve, TELL_EVERY_MS));
        assert_eq!(chatter.0.lock().expect("no panic").left_out, 0, "told");
    }
}
