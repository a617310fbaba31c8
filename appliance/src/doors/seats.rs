//! Seats: one for each connection. A peer has so many; a full house shows strangers out, and never who has been believed.
//!
//! Peers without a secret can open connections faster than deadlines end them, and from as many addresses as their network
//! lets them have. So a newcomer always gets in: when the house is full, it takes the seat of a *stranger*, whoever has not
//! shown a right secret yet, and of these the oldest one of the address that has the most. An honest client needs its seat as
//! a stranger only for a handshake and one request, and is alone at its address: it is the last to be shown out.

use super::limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// All seats.
#[derive(Debug, Default)]
pub struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// In order of arrival.
    seats: BTreeMap<u64, Sitting>,
    per_peer: HashMap<IpAddr, usize>,
    arrivals: u64,
}

#[derive(Debug)]
struct Sitting {
    peer: IpAddr,
    stranger: bool,
    leave: Arc<Notify>,
}

/// One connection's seat; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    leave: Arc<Notify>,
}

impl Seats {
    /// A seat for this peer, or `None` when it has all of its own, or the house is full of those who were believed.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.per_peer.get(&peer).is_some_and(|count| *count >= MAX_CONNECTIONS_PER_PEER) {
            return None;
        }
        if taken.seats.len() >= MAX_CONNECTIONS {
            let number = taken.stranger_to_show_out()?;
            let shown_out = taken.free(number)?;
            shown_out.leave.notify_one();
        }
        let number = taken.arrivals;
        taken.arrivals += 1;
        *taken.per_peer.entry(peer).or_insert(0) += 1;
        let leave = Arc::new(Notify::new());
        taken.seats.insert(number, Sitting { peer, stranger: true, leave: Arc::clone(&leave) });
        drop(taken);
        Some(Seat { seats: Arc::clone(self), number, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The oldest stranger of the address that has the most strangers.
    fn stranger_to_show_out(&self) -> Option<u64> {
        let mut strangers: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, sitting) in self.seats.iter().filter(|(_, sitting)| sitting.stranger) {
            strangers.entry(sitting.peer).or_insert((0, *number)).0 += 1;
        }
        strangers
            .into_values()
            .max_by_key(|(count, oldest)| (*count, u64::MAX - oldest))
            .map(|(_, oldest)| oldest)
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

impl Seat {
    /// Who sits here has shown a right secret: it stays.
    pub fn believed(&self) {
        if let Some(sitting) = self.seats.lock().seats.get_mut(&self.number) {
            sitting.stranger = false;
        }
    }

    /// Returns when the seat was given to somebody else.
    pub async fn shown_out(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().free(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn no_peer_takes_more_than_its_seats_and_they_come_back() {
        let seats = Arc::new(Seats::default());
        let mut held: Vec<Seat> = (0..MAX_CONNECTIONS_PER_PEER).filter_map(|_| seats.take(peer(1))).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS_PER_PEER);
        assert!(seats.take(peer(1)).is_none());
        assert!(seats.take(peer(2)).is_some());
        held.pop();
        assert!(seats.take(peer(1)).is_some());
        drop(held);
        assert!(seats.lock().per_peer.is_empty() && seats.lock().seats.is_empty());
    }

    #[test]
    fn a_full_house_shows_strangers_out_the_oldest_of_the_most_first() {
        let seats = Arc::new(Seats::default());
        let honest = seats.take(peer(99)).expect("a seat");
        let believed: Vec<Seat> =
            (0..MAX_CONNECTIONS_PER_PEER).filter_map(|_| seats.take(peer(98))).collect();
        believed.iter().for_each(Seat::believed);
        let mut flood: Vec<Seat> = Vec::new();
        for n in (0..8).cycle().take(MAX_CONNECTIONS - 1 - believed.len()) {
            flood.push(seats.take(peer(n)).expect("less than its ceiling"));
        }
        let newcomer = seats.take(peer(200)).expect("a seat, for a stranger's");
        assert_eq!(seats.lock().seats.len(), MAX_CONNECTIONS);
        let gone = |seat: &Seat| !seats.lock().seats.contains_key(&seat.number);
        assert!(!gone(&honest) && !gone(&newcomer) && !believed.iter().any(gone));
        assert_eq!(flood.iter().filter(|seat| gone(seat)).count(), 1);
        // Many addresses with one connection each come and come: who was believed stays.
        honest.believed();
        let more: Vec<Seat> =
            (0..2_000u32).filter_map(|n| seats.take(IpAddr::from(n.to_be_bytes()))).collect();
        assert_eq!((more.len(), seats.lock().seats.len()), (2_000, MAX_CONNECTIONS));
        assert!(!gone(&honest) && !believed.iter().any(gone));
        drop((flood, more, believed, honest, newcomer));
        assert!(seats.lock().per_peer.is_empty() && seats.lock().seats.is_empty());
    }

    #[test]
    fn a_house_full_of_the_believed_turns_away() {
        let seats = Arc::new(Seats::default());
        let all: Vec<Seat> = (0..MAX_CONNECTIONS).filter_map(|n| seats.take(peer((n % 100) as u8))).collect();
        assert_eq!(all.len(), MAX_CONNECTIONS);
        all.iter().for_each(Seat::believed);
        assert!(seats.take(peer(200)).is_none());
    }
}
