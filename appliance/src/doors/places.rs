//! Places: one for each body under way, in or out. There are so many, and a client has so many of them.
//!
//! Who waits for a place holds nothing but its connection. Of one client's requests only as many wait for the shared
//! places as it may have: the others wait for these, and nobody who has the secret of one client keeps another one out.

use super::limits::{MAX_STREAMS, MAX_STREAMS_PER_CLIENT, STREAM_WAIT};
use coffre_core::fault::{Fault, Result};
use coffre_core::names::ClientName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// All places.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    /// Of clients that were believed: there are only as many as the owner made.
    own: Mutex<HashMap<ClientName, Arc<Semaphore>>>,
}

/// One body's place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_STREAMS)), own: Mutex::default() }
    }
}

impl Places {
    /// A place for a body of this client; waits for one, but not for ever. `Transient` when none came free.
    pub async fn take(&self, client: &ClientName) -> Result<Place> {
        let own = self.of(client);
        let both = async {
            let own = own.acquire_owned().await;
            let shared = Arc::clone(&self.all).acquire_owned().await;
            own.and_then(|own| Ok(Place { _own: own, _shared: shared? }))
        };
        let busy = || Fault::transient("too many transfers are under way").next("try again in a moment");
        timeout(STREAM_WAIT, both).await.map_err(|_| busy())?.map_err(|_| busy())
    }

    fn of(&self, client: &ClientName) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.get(client) {
            Some(semaphore) => Arc::clone(semaphore),
            None => {
                let semaphore = Arc::new(Semaphore::new(MAX_STREAMS_PER_CLIENT));
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
            held.push(places.take(&eve).await.expect("a place"));
        }
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, places.take(&eve)).await.is_err(), "one more waits");
        for _ in 0..MAX_STREAMS_PER_CLIENT {
            held.push(places.take(&ali).await.expect("others do not wait"));
        }
        drop(held);
        places.take(&eve).await.expect("they come back");
        assert_eq!(places.all.available_permits(), MAX_STREAMS);
    }
}
