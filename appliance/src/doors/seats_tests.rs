//! Whose seat a newcomer gets.

use super::super::limits::MAX_CONNECTIONS;
use super::*;

fn peer(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn name(text: &str) -> ClientName {
    text.parse().expect("a name")
}

fn seats() -> Arc<Seats> {
    Arc::new(Seats::new(MAX_CONNECTIONS))
}

/// So many seats of a client, from as many addresses as that takes.
fn of_client(seats: &Arc<Seats>, client: &str, first_peer: u8, count: usize) -> Vec<Arc<Seat>> {
    let one = |n: usize| {
        let seat = Arc::new(seats.take(peer(first_peer + (n / MAX_CONNECTIONS_PER_PEER) as u8))?);
        seat.believed(&name(client));
        Some(seat)
    };
    (0..count).filter_map(one).collect()
}

fn gone(seats: &Seats, seat: &Seat) -> bool {
    !seats.lock().seats.contains_key(&seat.number)
}

#[test]
fn no_peer_takes_more_than_its_seats_and_they_come_back() {
    let seats = seats();
    let mut held: Vec<Seat> = (0..MAX_CONNECTIONS_PER_PEER).filter_map(|_| seats.take(peer(1))).collect();
    assert_eq!(held.len(), MAX_CONNECTIONS_PER_PEER);
    held.push(seats.take(peer(1)).expect("a newcomer, for the oldest stranger there"));
    assert!(gone(&seats, &held[0]) && held[1..].iter().all(|seat| !gone(&seats, seat)));
    assert_eq!(seats.lock().per_peer[&peer(1)], MAX_CONNECTIONS_PER_PEER);
    assert!(seats.take(peer(2)).is_some());
    drop(held);
    assert!(seats.lock().per_peer.is_empty() && seats.lock().seats.is_empty());
}

#[test]
fn a_prefix_of_ipv6_is_one_peer_and_an_address_in_another_coat_as_well() {
    let seats = seats();
    let v6 = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, host]);
    let held: Vec<Seat> = (0..200).filter_map(|n| seats.take(v6(n))).collect();
    assert_eq!(seats.lock().seats.len(), MAX_CONNECTIONS_PER_PEER);
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
    let both = (seats.take(mapped), seats.take(peer(1)));
    assert_eq!(seats.lock().per_peer[&peer(1)], 2);
    drop((held, both));
    assert!(seats.lock().per_peer.is_empty());
}

#[test]
fn a_full_house_shows_strangers_out_the_oldest_of_the_most_first() {
    let seats = seats();
    let honest = seats.take(peer(99)).expect("a seat");
    let believed = of_client(&seats, "ali", 98, MAX_CONNECTIONS_PER_PEER);
    let mut flood: Vec<Seat> = Vec::new();
    for n in (0..12).cycle().take(MAX_CONNECTIONS - 1 - believed.len()) {
        flood.push(seats.take(peer(n)).expect("less than its ceiling"));
    }
    let newcomer = seats.take(peer(200)).expect("a seat, for a stranger's");
    assert_eq!(seats.lock().seats.len(), MAX_CONNECTIONS);
    let is_gone = |seat: &Seat| gone(&seats, seat);
    assert!(!is_gone(&honest) && !is_gone(&newcomer) && !believed.iter().any(|seat| is_gone(seat)));
    assert_eq!(flood.iter().filter(|seat| is_gone(seat)).count(), 1);
    // Many addresses with one connection each come and come: who was believed stays.
    honest.believed(&name("bob"));
    let more: Vec<Seat> = (0..2_000u32).filter_map(|n| seats.take(IpAddr::from(n.to_be_bytes()))).collect();
    assert_eq!((more.len(), seats.lock().seats.len()), (2_000, MAX_CONNECTIONS));
    assert!(!is_gone(&honest) && !believed.iter().any(|seat| is_gone(seat)));
    drop((flood, more, believed, honest, newcomer));
    assert!(seats.lock().per_peer.is_empty() && seats.lock().seats.is_empty());
}

#[test]
fn one_secret_does_not_fill_the_house() {
    let seats = seats();
    let bob = of_client(&seats, "bob", 100, 8);
    // From as many addresses as one likes, each connection believed.
    let eve = of_client(&seats, "eve", 1, 4 * MAX_CONNECTIONS);
    assert_eq!(eve.len(), 4 * MAX_CONNECTIONS, "each was let in");
    let sitting = eve.iter().filter(|seat| !gone(&seats, seat)).count();
    assert!(sitting <= MAX_CONNECTIONS * 3 / 4, "crowded, and more than its share: {sitting}");
    assert!(eve[eve.len() - 1..].iter().all(|seat| !gone(&seats, seat)), "the newest stays, the oldest go");
    assert!(!bob.iter().any(|seat| gone(&seats, seat)));
    for n in 0..MAX_CONNECTIONS as u32 {
        let carl =
            seats.take(IpAddr::from([11, 0, (n >> 8) as u8, n as u8])).expect("a seat for the next client");
        carl.believed(&name("carl"));
        assert!(!gone(&seats, &carl));
    }
}

#[test]
fn a_house_full_of_idle_clients_gives_up_what_has_idled_longest() {
    let seats = seats();
    let all: Vec<Vec<Arc<Seat>>> =
        (0..12u8).map(|n| of_client(&seats, &format!("client-{n}"), 10 * n, MAX_CONNECTIONS / 12)).collect();
    assert_eq!(seats.lock().seats.len(), MAX_CONNECTIONS);
    // The oldest of them works, and the next has worked since.
    let at_work = all[0][0].works();
    drop(all[0][1].works());
    let newcomer = seats.take(peer(200)).expect("a seat");
    assert!(!gone(&seats, &all[0][0]) && !gone(&seats, &all[0][1]) && !gone(&seats, &newcomer));
    assert_eq!(all.iter().flatten().filter(|seat| gone(&seats, seat)).count(), 1);
    drop(at_work);
}

#[test]
fn a_house_at_work_turns_away_unless_one_client_has_very_much_under_way() {
    let seats = seats();
    let even: Vec<Vec<Arc<Seat>>> =
        (0..48u8).map(|n| of_client(&seats, &format!("client-{n}"), 2 * n, MAX_CONNECTIONS / 48)).collect();
    let mut work: Vec<Busy> = even.iter().flatten().map(Seat::works).collect();
    assert!(seats.take(peer(200)).is_none(), "everybody is at work, and nobody has much");
    let first = even[0][0].seats.lock().seats.len();
    assert_eq!(first, MAX_CONNECTIONS);
    drop(even);
    work.truncate(MAX_CONNECTIONS / 2);
    drop(work);
    let at_once = |n: u8| {
        let seat = Arc::new(seats.take(peer(n)).expect("a seat"));
        let busy = seat.works();
        seat.believed(&name("eve"));
        busy
    };
    let busy: Vec<Busy> = (0..12).cycle().take(MAX_CONNECTIONS).map(at_once).collect();
    assert_eq!(seats.lock().seats.len(), MAX_CONNECTIONS, "none of them idles");
    let newcomer = seats.take(peer(201)).expect("a seat: one client has them all");
    assert!(!gone(&seats, &newcomer) && busy.iter().filter(|busy| gone(&seats, &busy.0)).count() == 1);
    assert!(gone(&seats, &busy[busy.len() - 1].0), "the newest: the others are further");
}
