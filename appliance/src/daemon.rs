//! The daemon: takes the state's lock, opens the vault, opens the doors, and closes everything in reverse.
//!
//! Starting is strict: what is wrong (no vault, another daemon, a port in use) ends it with one line and an exit code
//! before a single `ready` is printed. Stopping is graceful but bounded; nothing that was acknowledged depends on
//! it, for the vault made that safe before it said so.

use crate::announce::Announcement;
use crate::control;
use crate::doors::http::{self, Street};
use crate::doors::limits::MAX_STREAMS;
use crate::doors::tls::LeafKeeper;
use crate::identity::{Authority, certificate_info};
use crate::pairing::Pairings;
use crate::state::{StateDir, StateLock};
use coffre_core::fault::{Class, Fault, Result};
use coffre_core::wire::SOCKET;
use coffre_vault::Vault;
use sd_notify::NotifyState;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most addresses to listen on.
pub const MAX_LISTENERS: usize = 16;
/// Most blocking threads: one per stream, and some for short questions.
const MAX_BLOCKING_THREADS: usize = MAX_STREAMS + 80;
/// How long threads may still run when everything else has stopped.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What the daemon was asked to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The state folder.
    pub state: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Whether to announce the box on the LAN, where it serves more than this machine.
    pub announce: bool,
}

/// Runs until SIGTERM or SIGINT. Prints `ready https://ADDR:PORT` per listener on stdout once all of them serve.
pub fn run(plan: &Plan) -> Result<()> {
    let state = StateDir::new(&plan.state);
    let lock = state.lock()?;
    let vault = match Vault::open(state.path()) {
        Ok(vault) => vault,
        Err(fault) => {
            if fault.class == Class::Absent {
                lock.undo();
            }
            return Err(fault);
        }
    };
    let served = prepare_and_serve(plan, &state, &lock, &vault);
    vault.close();
    drop(lock);
    served
}

/// The exit code for a daemon that ended like this.
pub fn exit_code(fault: &Fault) -> u8 {
    match fault.class {
        Class::Absent => 4,
        Class::Refused | Class::Corrupt => 5,
        Class::Misuse => 2,
        Class::Transient | Class::Permanent | Class::Full => 1,
    }
}

fn prepare_and_serve(plan: &Plan, state: &StateDir, lock: &StateLock, vault: &Vault) -> Result<()> {
    let status = vault.status();
    let authority =
        Authority::open(&vault.identity(), status.vault_id, &vault.name(), vault.authority_der())?;
    let authority = Arc::new(authority);
    if let Err(fault) = state.write_authority(&certificate_info(&authority).pem) {
        // It is a copy for who asks while no daemon runs; a medium that cannot be written is no reason to give nothing back.
        tracing::error!("{fault}");
    }
    let keeper = LeafKeeper::new(Arc::clone(&authority), &vault.name())?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let control = control::bind(lock)?;
        let listeners = bind_all(&plan.listen).await?;
        let served: Vec<SocketAddr> = listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
        let certificate = certificate_info(&authority);
        let announcement =
            plan.announce.then(|| Announcement::begin(&vault.name(), &certificate, &served)).flatten();
        let pairings = Arc::new(Pairings::new(vault.name(), certificate, served));
        let street = Street::new(vault.clone(), status.vault_id, Arc::clone(&authority), pairings);
        let ended = serve(control, listeners, keeper, Arc::new(street)).await;
        if let Some(announcement) = announcement {
            announcement.end();
        }
        ended
    });
    // Before the threads are waited for: a client that comes now should find nobody, not silence.
    let _ = std::fs::remove_file(lock.sockets().join(SOCKET));
    runtime.shutdown_timeout(LAST_WAIT);
    served
}

/// Half the cores: street tasks receive, send, and undo TLS; the rest of the work is done by the vault's threads and the blocking
/// ones. With more, a body wanders between cores (`docs/decisions/0059-what-comes-next-is-recognised.md`).
fn street_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(street_threads())
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_name("street")
        .build()
        .map_err(|e| Fault::permanent(format!("cannot start threads: {e}")))
}

async fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            let fault = Fault::permanent(format!("cannot listen on {address}: {e}"));
            match e.kind() {
                io::ErrorKind::AddrInUse => {
                    fault.next("stop what uses this port, or choose another with --listen")
                }
                io::ErrorKind::PermissionDenied => fault.next("choose a port above 1023 with --listen"),
                _ => fault.next("name an address of this machine with --listen"),
            }
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn serve(
    control: tokio::net::UnixListener,
    listeners: Vec<TcpListener>,
    keeper: LeafKeeper,
    street: Arc<Street>,
) -> Result<()> {
    let tls = keeper.acceptor()?;
    let mut asked_to_stop = stop_signals()?;
    let (stop, stopping) = watch::channel(false);
    let background = Background(vec![
        tokio::spawn(control::serve(
            control,
            street.vault().clone(),
            street.shared_authority(),
            Arc::clone(street.pairings()),
        )),
        tokio::spawn(keeper.keep()),
        tokio::spawn(watchdog(Arc::clone(&street))),
    ]);
    let mut doors = JoinSet::new();
    let mut ready = String::new();
    for listener in listeners {
        let address =
            listener.local_addr().map_err(|e| Fault::permanent(format!("a listener has no address: {e}")))?;
        ready.push_str(&format!("ready https://{address}\n"));
        doors.spawn(http::serve(listener, tls.clone(), Arc::clone(&street), stopping.clone()));
    }
    announce(&ready);
    asked_to_stop.recv().await;
    tell_service_manager(NotifyState::Stopping);
    tracing::info!("stopping");
    // The receivers live in the doors' tasks; without any there is nobody to tell.
    let _ = stop.send(true);
    while doors.join_next().await.is_some() {}
    drop(background);
    Ok(())
}

/// Tasks that end when this is dropped.
struct Background(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Says that the doors are open: to whoever reads stdout, and to the service manager.
fn announce(ready: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(ready.as_bytes()).and_then(|()| stdout.flush()) {
        // Nobody reads it: no reason not to serve.
        tracing::debug!(%error, "stdout is closed");
    }
    tell_service_manager(NotifyState::Ready);
}

fn tell_service_manager(what: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[what]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Pets the service manager's watchdog, if it has one, as long as the vault answers.
async fn watchdog(street: Arc<Street>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let every = limit / 3;
    loop {
        let alive = street.ask(|vault| Ok(vault.status().epoch));
        match tokio::time::timeout(every, alive).await {
            Ok(Ok(_)) => tell_service_manager(NotifyState::Watchdog),
            Ok(Err(_)) | Err(_) => tracing::error!("the vault does not answer"),
        }
        tokio::time::sleep(every).await;
    }
}

/// A channel that hears SIGTERM and SIGINT.
fn stop_signals() -> Result<tokio::sync::mpsc::Receiver<()>> {
    let (heard, asked) = tokio::sync::mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal =
            signal(kind).map_err(|e| Fault::permanent(format!("cannot listen for signals: {e}")))?;
        let heard = heard.clone();
        tokio::spawn(async move {
            signal.recv().await;
            // A full channel has already been told.
            let _ = heard.try_send(());
        });
    }
    Ok(asked)
}
