//! Places: one for each body under way, in or out, for each list, and for each errand. There are so many, and a client has so many of them.
//!
//! Who waits for a place holds nothing but its connection. Of one client's requests only as many wait for the shared
//! places as it may have: the others wait for these, and nobody who has the secret of one client keeps another one out. Lists and errands
//! (HEAD, locks, keys, configs) have places apart: they do not wait behind the bulk of their own client.

use super::limits::{
    MAX_ERRANDS, MAX_ERRANDS_PER_CLIENT, MAX_LISTS, MAX_LISTS_PER_CLIENT, MAX_STREAMS,
    MAX_STREAMS_PER_CLIENT, STREAM_WAIT,
};
use coffre_core::fault::{Fault, Result};
use coffre_core::names::ClientName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What a place is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    /// A body, in or out.
    Bulk,
    /// A list.
    List,
    /// Something small that must not wait behind bulk.
    Errand,
}

/// All places.
#[derive(Debug)]
pub struct Places {
    bulk: Shelf,
    lists: Shelf,
    errands: Shelf,
}

/// Places of one kind.
#[derive(Debug)]
struct Shelf {
    all: Arc<Semaphore>,
    each: usize,
    /// Of clients that were believed: there are only as many as the owner made.
    own: Mutex<HashMap<ClientName, Arc<Semaphore>>>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            bulk: Shelf::new(MAX_STREAMS, MAX_STREAMS_PER_CLIENT),
            lists: Shelf::new(MAX_LISTS, MAX_LISTS_PER_CLIENT),
            errands: Shelf::new(MAX_ERRANDS, MAX_ERRANDS_PER_CLIENT),
        }
    }
}

impl Places {
    /// A place for something of this client; waits for one, but not for ever. `Transient` when none came free.
    pub async fn take(&self, client: &ClientName, what: For) -> Result<Place> {
        let (shelf, many) = match what {
            For::Bulk => (&self.bulk, "transfers"),
            For::List => (&self.lists, "lists"),
            For::Errand => (&self.errands, "requests"),
        };
        let busy =
            || Fault::transient(format!("too many {many} are under way")).next("try again in a moment");
        timeout(STREAM_WAIT, shelf.take(client)).await.ok().flatten().ok_or_else(busy)
    }
}

impl Shelf {
    fn new(most: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), each, own: Mutex::default() }
    }

    async fn take(&self, client: &ClientName) -> Option<Place> {
        let own = self.of(client).acquire_owned().await.ok()?;
        let shared = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _own: own, _shared: shared })
    }

    fn of(&self, client: &ClientName) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.get(client) {
            Some(semaphore) => Arc::clone(semaphore),
            None => {
                let semaphore = Arc::new(Semaphore::new(self.each));
                own.insert(client.clone(), Arc::clone(&semaphore));
                semaphore
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(text: &str) -> ClientName {
        text.parse().expect("a name")
    }

    #[tokio::test]
    async fn one_client_leaves_the_others_their_places() {
        let places = Places::default();
        let (eve, ali) = (name("eve"), name("ali"));
        let mut held = Vec::new();
        for _ in 0..MAX_STREAMS_PER_CLIENT {
            held.push(places.take(&eve, For::Bulk).await.expect("a place"));
        }
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, places.take(&eve, For::Bulk)).await.is_err(), "one more waits");
        for _ in 0..MAX_STREAMS_PER_CLIENT {
            held.push(places.take(&ali, For::Bulk).await.expect("others do not wait"));
        }
        // Her own bulk keeps nobody's errands waiting, nor her own.
        for what in [For::List, For::Errand] {
            assert!(
                timeout(soon, places.take(&eve, what)).await.is_ok_and(|place| place.is_ok()),
                "{what:?}"
            );
        }
        drop(held);
        places.take(&eve, For::Bulk).await.expect("they come back");
        assert_eq!(places.bulk.all.available_permits(), MAX_STREAMS);
    }
}
