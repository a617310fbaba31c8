//! Seats: one for each connection. An address has so many, a client as well once the house is crowded, and a newcomer gets in.
//!
//! Peers without a secret can open connections faster than deadlines end them, and from as many addresses as their network
//! lets them have; and one secret can be shown from all of them. So in a full house a newcomer takes the seat of somebody else, in
//! this order: of a client that holds more than its share, the connection that has idled longest; of *strangers*, who
//! have not shown a right secret yet, the oldest one of the address that has the most; of the client that holds the most, the
//! one that has idled longest; of a client that has very many at work, the newest. An address that has all its
//! seats gives one up in the same way. A host with IPv6 has a whole /64 to come from, which counts as one address.

use super::auth::neighbourhood;
use super::limits::{MAX_BUSY_PER_CLIENT, MAX_CONNECTIONS_PER_CLIENT, MAX_CONNECTIONS_PER_PEER};
use coffre_core::names::ClientName;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// All seats.
#[derive(Debug)]
pub struct Seats {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// In order of arrival.
    seats: BTreeMap<u64, Sitting>,
    per_peer: HashMap<IpAddr, usize>,
    /// Counts arrivals and whatever else happens: an order, no time.
    events: u64,
}

#[derive(Debug)]
struct Sitting {
    peer: IpAddr,
    /// Who was believed here last; `None` for a stranger.
    client: Option<ClientName>,
    /// Requests whose answers are not given whole yet.
    busy: usize,
    /// When it became idle, or came.
    since: u64,
    leave: Arc<Notify>,
}

/// What one holder of seats has.
#[derive(Default)]
struct Held {
    count: usize,
    /// The seat that has idled longest, and since when.
    idle: Option<(u64, u64)>,
    /// The seat whose work began last, and when.
    busy: Option<(u64, u64)>,
}

/// One connection's seat; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    leave: Arc<Notify>,
}

/// A request under way at a seat, until its answer is given.
#[derive(Debug)]
pub struct Busy(Arc<Seat>);

impl Seats {
    /// So many seats.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A seat for this peer; somebody else may have been shown out for it. `None` when everybody is at work.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let peer = neighbourhood(peer);
        let mut taken = self.lock();
        if taken.per_peer.get(&peer).is_some_and(|count| *count >= MAX_CONNECTIONS_PER_PEER) {
            taken.show_out(|sitting| sitting.peer == peer)?;
        }
        if taken.seats.len() >= self.most {
            taken.show_out(|_| true)?;
        }
        let number = taken.next();
        *taken.per_peer.entry(peer).or_insert(0) += 1;
        let leave = Arc::new(Notify::new());
        let sitting = Sitting { peer, client: None, busy: 0, since: number, leave: Arc::clone(&leave) };
        taken.seats.insert(number, sitting);
        drop(taken);
        Some(Seat { seats: Arc::clone(self), number, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether three quarters of the seats are taken.
    fn crowded(&self, taken: &Taken) -> bool {
        taken.seats.len() * 4 > self.most * 3
    }
}

impl Taken {
    fn next(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Frees one seat among these; `None` when nobody there can be asked to leave.
    fn show_out(&mut self, among: impl Fn(&Sitting) -> bool) -> Option<()> {
        let number = self.who_leaves(among)?;
        self.free(number)?.leave.notify_one();
        Some(())
    }

    fn who_leaves(&self, among: impl Fn(&Sitting) -> bool) -> Option<u64> {
        let mut clients: HashMap<&ClientName, Held> = HashMap::new();
        let mut strangers: HashMap<IpAddr, Held> = HashMap::new();
        for (number, sitting) in self.seats.iter().filter(|(_, sitting)| among(sitting)) {
            match &sitting.client {
                Some(client) => clients.entry(client).or_default().count(*number, sitting),
                // A stranger's request is no work that anybody waits for.
                None => strangers.entry(sitting.peer).or_default().idles(*number, *number),
            }
        }
        let idle = |held: &Held| held.idle.map(|(since, number)| ((held.count, u64::MAX - since), number));
        let most = |some: &mut dyn Iterator<Item = ((usize, u64), u64)>| {
            some.max_by_key(|(rank, _)| *rank).map(|(_, number)| number)
        };
        let greedy = |held: &&Held| held.count > MAX_CONNECTIONS_PER_CLIENT;
        let busy = |held: &Held| held.busy.map(|(since, number)| ((held.count, since), number));
        most(&mut clients.values().filter(greedy).filter_map(idle))
            .or_else(|| most(&mut strangers.values().filter_map(idle)))
            .or_else(|| most(&mut clients.values().filter_map(idle)))
            .or_else(|| {
                most(&mut clients.values().filter(|h| h.count > MAX_BUSY_PER_CLIENT).filter_map(busy))
            })
    }

    fn free(&mut self, number: u64) -> Option<Sitting> {
        let sitting = self.seats.remove(&number)?;
        if let Some(count) = self.per_peer.get_mut(&sitting.peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&sitting.peer);
            }
        }
        Some(sitting)
    }
}

impl Held {
    fn count(&mut self, number: u64, sitting: &Sitting) {
        if sitting.busy == 0 {
            return self.idles(sitting.since, number);
        }
        self.count += 1;
        self.busy = self.busy.max(Some((sitting.since, number)));
    }

    fn idles(&mut self, since: u64, number: u64) {
        self.count += 1;
        self.idle = Some(self.idle.map_or((since, number), |known| known.min((since, number))));
    }
}

impl Seat {
    /// Who sits here has shown this client's secret. In a crowded house a client that has more than its share gives up the
    /// connection that has idled longest.
    pub fn believed(&self, client: &ClientName) {
        let mut taken = self.seats.lock();
        let Some(sitting) = taken.seats.get_mut(&self.number) else { return };
        if sitting.client.as_ref() == Some(client) {
            return;
        }
        sitting.client = Some(client.clone());
        let of_it = |sitting: &Sitting| sitting.client.as_ref() == Some(client);
        if self.seats.crowded(&taken)
            && taken.seats.values().filter(|s| of_it(s)).count() > MAX_CONNECTIONS_PER_CLIENT
        {
            // With none that idles, all stay: the next newcomer will see.
            let _ = taken.show_out(|sitting| of_it(sitting) && sitting.busy == 0);
        }
    }

    /// Who was believed here last.
    pub fn client(&self) -> Option<ClientName> {
        self.seats.lock().seats.get(&self.number)?.client.clone()
    }

    /// A request is under way.
    pub fn works(self: &Arc<Self>) -> Busy {
        let mut taken = self.seats.lock();
        let since = taken.next();
        if let Some(sitting) = taken.seats.get_mut(&self.number) {
            sitting.busy += 1;
            sitting.since = since;
        }
        Busy(Arc::clone(self))
    }

    /// Returns when the seat was given to somebody else.
    pub async fn shown_out(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut taken = self.0.seats.lock();
        let since = taken.next();
        if let Some(sitting) = taken.seats.get_mut(&self.0.number) {
            sitting.busy = sitting.busy.saturating_sub(1);
            sitting.since = since;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().free(self.number);
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
