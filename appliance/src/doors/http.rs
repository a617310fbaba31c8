//! The server loop: HTTP/1.1 over TLS with a deadline on everything, and the way from a request to its room.
//!
//! hyper's header deadline is silently off without a timer: one is set. Requests are answered one by one; a fault of
//! one connection touches no other. Each request has an id, in the log and in `X-Request-Id`.

use super::answer::{self, Answer, Given};
use super::auth::{Backoff, Credentials};
use super::chatter::Chatter;
use super::limits::{
    HANDSHAKE_DEADLINE, HEADER_DEADLINE, MAX_CONNECTION_BUFFER_BYTES, MAX_HEADER_BYTES, MAX_HEADERS,
    MAX_PATH_BYTES, STOP_DEADLINE,
};
use super::places::{For, Place, Places};
use super::seats::{Seat, Seats};
use super::socket::ClientSocket;
use super::tls::TlsAcceptor;
use super::{dav, dropbox, incoming, old_curl, pair, plain, restic};
use crate::clock::Stopwatch;
use crate::identity::{Authority, certificate_info};
use crate::pairing::Pairings;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::VaultId;
use coffre_core::names::ClientName;
use coffre_vault::Vault;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What all doors and listeners share.
#[derive(Debug)]
pub struct Street {
    vault: Vaulted,
    vault_id: VaultId,
    authority: Arc<Authority>,
    seats: Arc<Seats>,
    places: Places,
    chatter: Arc<Chatter>,
    backoff: Backoff,
    pairings: Arc<Pairings>,
    pair_backoff: Backoff,
    watch: Stopwatch,
    request_prefix: String,
    requests: AtomicU64,
}

/// Who knocks, once believed.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The client.
    pub client: ClientName,
    /// From where.
    pub peer: IpAddr,
    /// The id of this request.
    pub request_id: String,
    /// How much may still be written into the log because of it.
    pub log: Arc<Chatter>,
    /// The clock of that.
    pub watch: Stopwatch,
}

struct Vaulted(Vault);

impl Street {
    /// The doors of this vault, closed as yet, with seats for so many connections.
    pub fn new(
        vault: Vault,
        vault_id: VaultId,
        authority: Arc<Authority>,
        pairings: Arc<Pairings>,
        seats: usize,
    ) -> Self {
        let mut prefix = [0; 4];
        // Ids only have to differ between starts; without dice they still differ within one.
        let _ = aws_lc_rs::rand::fill(&mut prefix);
        Self {
            vault: Vaulted(vault),
            vault_id,
            authority,
            seats: Arc::new(Seats::new(seats)),
            places: Places::default(),
            chatter: Arc::default(),
            backoff: Backoff::default(),
            pairings,
            pair_backoff: Backoff::default(),
            watch: Stopwatch::start(),
            request_prefix: hex::encode(prefix),
            requests: AtomicU64::new(0),
        }
    }

    /// The vault behind the doors.
    pub fn vault(&self) -> &Vault {
        &self.vault.0
    }

    /// Its id.
    pub fn vault_id(&self) -> VaultId {
        self.vault_id
    }

    /// Who signs receipts.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The same, to be kept.
    pub fn shared_authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// Codes and what came of them.
    pub fn pairings(&self) -> &Arc<Pairings> {
        &self.pairings
    }

    /// Counts a wrong pairing code from this peer, and waits as long as it deserves.
    pub async fn hold_back(&self, peer: IpAddr) {
        let delay = self.pair_backoff.failed(peer, self.watch.ms());
        tokio::time::sleep(delay).await;
    }

    /// Asks the vault something that may block, on a thread where it may.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Vault) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let vault = self.vault().clone();
        let answered = tokio::task::spawn_blocking(move || question(&vault)).await;
        answered.unwrap_or_else(|e| Err(Fault::permanent(format!("the vault did not answer: {e}"))))
    }

    /// A place for a body, a list or an errand of this client; waits for one, but not for ever.
    pub async fn place(&self, client: &ClientName, what: For) -> Result<Place> {
        self.places.take(client, what).await
    }
}

/// Serves one listener until `stop` turns true, then lets requests under way finish within [`STOP_DEADLINE`].
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    street: Arc<Street>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, from)) => {
                let peer = from.ip().to_canonical();
                let Some(seat) = street.seats.take(peer) else {
                    tracing::debug!(%peer, "all connections are at work: one was turned away");
                    continue;
                };
                let connection =
                    connection(socket, peer, seat, tls.clone(), Arc::clone(&street), stop.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                // Out of file descriptors, most likely: what ends soon gives some back.
                if street.chatter.of_stranger(IpAddr::from([0, 0, 0, 0]), street.watch.ms()) {
                    tracing::warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_DEADLINE, all_done).await.is_err() {
        tracing::warn!("requests under way were cut off by the stop");
    }
}

/// One connection from its handshake to its end.
async fn connection(
    socket: TcpStream,
    peer: IpAddr,
    seat: Seat,
    tls: TlsAcceptor,
    street: Arc<Street>,
    mut stop: watch::Receiver<bool>,
) {
    // Small answers should not wait for company; if it cannot be set, they wait.
    let _ = socket.set_nodelay(true);
    let shaken = timeout(HANDSHAKE_DEADLINE, async {
        if plain::knocks(&socket).await? {
            plain::turn_away(ClientSocket::new(socket)).await?;
            return Err(io::Error::other("plain HTTP"));
        }
        tls.accept(ClientSocket::new(socket)).await
    });
    let stream = tokio::select! {
        () = stopped(&mut stop) => return,
        () = seat.shown_out() => return tracing::debug!(%peer, "shown out before its handshake was over"),
        shaken = shaken => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "handshake failed"),
            Err(_) => return tracing::debug!(%peer, "handshake took too long"),
        },
    };
    let seat = Arc::new(seat);
    let sitting = Arc::clone(&seat);
    let service = service_fn(move |request| {
        let (street, seat) = (Arc::clone(&street), Arc::clone(&sitting));
        async move { Ok::<_, Infallible>(visited(&street, peer, &seat, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_CONNECTION_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = seat.shown_out() => return tracing::debug!(%peer, "shown out: the house is full"),
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// One request: an id, an answer, a line in the log.
async fn visited(
    street: &Street,
    peer: IpAddr,
    seat: &Arc<Seat>,
    request: Request<Incoming>,
) -> Response<Given> {
    let busy = seat.works();
    let number = street.requests.fetch_add(1, Ordering::Relaxed);
    let request_id = format!("{}-{number}", street.request_prefix);
    let method = request.method().clone();
    let watch = Stopwatch::start();
    let old_curl = request.uri().path().starts_with("/v1/datasets") && old_curl::asks(request.headers());
    let mut answer = route(street, peer, seat, &request_id, request).await;
    if old_curl {
        answer = old_curl::told(answer);
    }
    let now_ms = street.watch.ms();
    let may_tell = match seat.client() {
        Some(client) => street.chatter.of_client(&client, now_ms),
        None => street.chatter.of_stranger(peer, now_ms),
    };
    if may_tell {
        let (status, ms, why) = (answer.status().as_u16(), watch.ms(), answer::reason_of(&answer));
        tracing::info!(request = %request_id, %peer, %method, status, ms, why, "answered");
    }
    if let Ok(id) = HeaderValue::try_from(&request_id) {
        answer.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    answer::given(answer, busy)
}

/// From an address to the room behind it.
async fn route(
    street: &Street,
    peer: IpAddr,
    seat: &Seat,
    request_id: &str,
    request: Request<Incoming>,
) -> Answer {
    if let Err((status, fault)) = incoming::check_form(&request) {
        return answer::with_status(status, &fault);
    }
    let path = request.uri().path().to_owned();
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let making = restic::makes(&request);
    match path.as_str() {
        "/" if making => return answer::of_fault(&restic::no_client_in_address()),
        "/" if reading => return pair::home(street, &request),
        "/v1/certificate" if reading => {
            let pem = certificate_info(street.authority()).pem;
            return answer::text("application/x-pem-file", pem);
        }
        "/" | "/v1/certificate" => return answer::method_not_allowed("GET, HEAD"),
        _ => {}
    }
    if let Some(["pair", rest @ ..]) = parts(&path).as_deref() {
        return pair::answer(street, peer, request_id, rest, request).await;
    }
    let client = match believe(street, peer, request_id, request.headers().get(AUTHORIZATION)).await {
        Ok(Some(client)) => {
            seat.believed(&client);
            client
        }
        Ok(None) => return answer::unauthorized(),
        Err(fault) => return answer::of_fault(&fault),
    };
    let log = Arc::clone(&street.chatter);
    let visit = Visit { client, peer, request_id: request_id.to_owned(), log, watch: street.watch };
    match parts(&path).as_deref() {
        Some(["v1", "datasets", rest @ ..]) => dropbox::answer(street, visit, rest, request).await,
        Some(["v1", "dav", rest @ ..]) => dav::answer(street, visit, rest, request).await,
        Some([first, rest @ ..]) if *first == visit.client.as_str() => {
            restic::answer(street, visit, rest, request).await
        }
        Some([first, ..]) if first.parse::<ClientName>().is_ok() => answer::of_fault(&not_yours()),
        _ if making => answer::of_fault(&restic::no_client_in_address()),
        _ => answer::no_such_address(),
    }
}

/// The same whether there is such a client or not.
fn not_yours() -> Fault {
    Fault::refused("this address is not this client's")
        .next("the first part of a repository's address is the client's own name")
}

/// The parts of a path, without the empty one before the first slash; `None` for one that is too long to look at.
pub(super) fn parts(path: &str) -> Option<Vec<&str>> {
    (path.len() <= MAX_PATH_BYTES).then(|| path.split('/').skip(1).collect())
}

/// The client behind an `Authorization` header; `None` for nobody, after a while for those who guess.
async fn believe(
    street: &Street,
    peer: IpAddr,
    request_id: &str,
    header: Option<&HeaderValue>,
) -> Result<Option<ClientName>> {
    let Some(header) = header else { return Ok(None) };
    let credentials = Credentials::parse(header);
    let client = match credentials {
        Some(Credentials { name, secret }) => {
            street.ask(move |vault| vault.authenticate(&name, &secret)).await?
        }
        None => None,
    };
    if client.is_none() {
        let delay = street.backoff.failed(peer, street.watch.ms());
        // Neither the name nor the secret: people type the one in the place of the other.
        if street.chatter.of_stranger(peer, street.watch.ms()) {
            let delay_ms = delay.as_millis() as u64;
            tracing::warn!(request = %request_id, %peer, delay_ms, "wrong name or secret");
        }
        tokio::time::sleep(delay).await;
    }
    Ok(client)
}

/// Returns once `stop` is true, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl std::fmt::Debug for Vaulted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(..)")
    }
}
