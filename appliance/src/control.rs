//! The control socket: lines of JSON (`coffre_core::wire`) between the daemon and the owner of the box.
//!
//! Two walls: the socket is 0600 in the state folder, and the daemon asks the kernel who is at the other end: its own
//! user or root, nobody else. A connection may ask several things, one after the other. What is asked, without
//! words that are secret, goes into the audit log when it changes something.

use crate::identity::{Authority, certificate_info};
use crate::pairing::{Pairings, Wish};
use crate::state::{StateLock, socket_path};
use coffre_core::fault::{Fault, Result};
use coffre_core::wire::{DiskInfo, Reply, RepoInfo, Request, SOCKET};
use coffre_vault::{Vault, Which};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

/// Longest request line.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Longest answer line: some hundred thousand snapshots.
pub const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;
/// Most connections at once.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a snapshot behind one `Reply::Data` line.
const PIECE_BYTES: usize = 1024 * 1024;
/// Pieces waiting between the vault and the socket.
const PIECES_IN_FLIGHT: usize = 2;

/// Binds the socket, in the place of one that a dead daemon left: the lock proves that it is dead.
pub fn bind(held: &StateLock) -> Result<UnixListener> {
    let (folder, target) = (held.sockets(), held.sockets().join(SOCKET));
    let bind = || -> io::Result<UnixListener> {
        // Born under another name and closed to others before anyone can knock; the rename replaces a stale one.
        let fresh = folder.join("control.sock.new");
        match fs::remove_file(&fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(socket_path(folder, "control.sock.new")?)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        fs::rename(&fresh, &target)?;
        Ok(listener)
    };
    bind().map_err(|e| Fault::permanent(format!("{}: {e}", target.display())))
}

/// Serves the socket for as long as it is polled.
pub async fn serve(listener: UnixListener, vault: Vault, authority: Arc<Authority>, pairings: Arc<Pairings>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if is_owner(&stream) => {
                let (vault, authority) = (vault.clone(), Arc::clone(&authority));
                let pairings = Arc::clone(&pairings);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, vault, authority, pairings).await {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("someone else than the owner knocked at the control socket"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_owner(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(
    stream: UnixStream,
    vault: Vault,
    authority: Arc<Authority>,
    pairings: Arc<Pairings>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(line) = request_line(&mut read).await? {
        let request = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => request,
            Err(e) => {
                let fault = Fault::misuse(format!("not a request: {e}"));
                send(&mut write, &Reply::Failed(fault)).await?;
                continue;
            }
        };
        audit(&request);
        match request {
            Request::Get { dataset, id } => {
                let which = id.map_or(Which::Latest, Which::Id);
                let reading = vault.clone();
                stream_out(&mut write, move || reading.read(&dataset, which)).await?;
            }
            request => {
                let (vault, authority) = (vault.clone(), Arc::clone(&authority));
                let pairings = Arc::clone(&pairings);
                let answer = move || answer(&vault, &authority, &pairings, request);
                let answered = tokio::task::spawn_blocking(answer).await;
                let answered = answered.unwrap_or_else(|e| Err(Fault::permanent(format!("no answer: {e}"))));
                send(&mut write, &answered.unwrap_or_else(Reply::Failed)).await?;
            }
        }
    }
    Ok(())
}

/// The next line, without its end; `None` when the peer has nothing more to say.
async fn request_line(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(MAX_REQUEST_BYTES as u64).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a request line is too long or has no end"))
        }
    }
}

fn answer(vault: &Vault, authority: &Authority, pairings: &Pairings, request: Request) -> Result<Reply> {
    Ok(match request {
        Request::Status => Reply::Status(Box::new(vault.status())),
        Request::ClientAdd { name, quota_bytes, daily_bytes } => {
            Reply::ClientAdded(vault.client_add(&name, quota_bytes, daily_bytes)?)
        }
        Request::ClientSet { name, quota, daily } => {
            Reply::Clients { clients: vec![vault.client_set(&name, quota, daily)?] }
        }
        Request::ClientList => Reply::Clients { clients: vault.clients() },
        Request::ClientRemove { name } => done(vault.client_remove(&name))?,
        Request::ClientRotate { name } => Reply::ClientAdded(vault.client_rotate(&name)?),
        Request::PairBegin { name, kind, quota_bytes } => {
            let wish = Wish { client: name, kind, quota_bytes };
            Reply::Pairings { pairings: vec![pairings.begin(vault, wish)?] }
        }
        Request::PairList { id } => Reply::Pairings { pairings: pairings.list(vault, id)? },
        Request::PairCancel { id } => Reply::Pairings { pairings: pairings.cancel(vault, id)? },
        Request::DiskList => Reply::Disks { disks: vault.disks() },
        Request::Scrub { deep } => Reply::Scrub(Box::new(vault.scrub(deep)?)),
        Request::DiskReplace { old, with } => came(vault, vault.disk_replace(&old, Path::new(&with))?),
        Request::DiskAdd { path } => came(vault, vault.disk_add(Path::new(&path))?),
        Request::DiskFind { path } => came(vault, vault.disk_find(Path::new(&path))?),
        Request::IndexBurn => done(vault.index_burn())?,
        Request::Snapshots { dataset } => Reply::Snapshots { snapshots: vault.snapshots(dataset.as_ref())? },
        Request::DatasetSet { dataset, class, keep, kind } => {
            Reply::Datasets { datasets: vec![vault.dataset_set(&dataset, class, keep, kind)?] }
        }
        Request::DatasetList => Reply::Datasets { datasets: vault.dataset_list() },
        Request::RepoFiles { repo } => Reply::Files { files: vault.repo_files(&repo)? },
        Request::RepoList => repos(vault.repos(), 0),
        Request::RepoSet { repo, mode } => repos(vec![vault.repo_set(&repo, mode)?], 0),
        Request::RepoRemove { repo } => repos(vec![vault.repo_remove(&repo)?], 0),
        Request::RepoRestore { repo } => {
            let (shown, info) = vault.repo_restore(&repo)?;
            repos(vec![info], shown)
        }
        Request::ForgetPlan => Reply::Plan(Box::new(vault.forget_plan()?)),
        Request::ForgetRun { approve } => Reply::Forgot(vault.forget_run(approve.as_deref())?),
        Request::ClockShow => Reply::Clock(vault.clock_show()),
        Request::ClockAttest { at_ms } => Reply::Clock(vault.clock_attest(at_ms)?),
        Request::Certificate => Reply::Certificate(certificate_info(authority)),
        Request::DrawWords => Reply::Words { words: vault.draw_words() },
        Request::RenewWords { words } => Reply::WordsRenewed { disks_without: vault.renew_words(&words)? },
        Request::CheckWords { words } => done(vault.check_words(&words))?,
        Request::Get { .. } => return Err(Fault::permanent("a snapshot is not one line")),
    })
}

fn repos(repos: Vec<RepoInfo>, shown: u64) -> Reply {
    Reply::Repos { repos, shown }
}

fn came(vault: &Vault, disk: DiskInfo) -> Reply {
    Reply::Disk { disk, geometry: vault.geometry() }
}

fn done(outcome: Result<()>) -> Result<Reply> {
    outcome.map(|()| Reply::Done)
}

/// One line in the audit log for what changes something.
fn audit(request: &Request) {
    match request {
        Request::ClientAdd { name, quota_bytes, daily_bytes } => {
            tracing::info!(target: "audit", client = %name, ?quota_bytes, ?daily_bytes, "client to be added");
        }
        Request::ClientSet { name, quota, daily } => {
            tracing::info!(target: "audit", client = %name, ?quota, ?daily, "client to be so");
        }
        Request::ClientRemove { name } => {
            tracing::info!(target: "audit", client = %name, "client to be removed")
        }
        Request::ClientRotate { name } => {
            tracing::info!(target: "audit", client = %name, "secret of a client to be replaced")
        }
        Request::PairBegin { name, kind, quota_bytes } => {
            let name = name.as_ref().map(|name| name.as_str());
            tracing::info!(target: "audit", client = name, ?kind, ?quota_bytes, "pairing asked for");
        }
        Request::Scrub { deep: Some(deep) } => {
            tracing::info!(target: "audit", deep, "scrub to be begun")
        }
        Request::RenewWords { .. } => {
            tracing::info!(target: "audit", "recovery words to be renewed");
        }
        Request::DiskReplace { old, with } => {
            tracing::info!(target: "audit", %old, %with, "disk to be replaced");
        }
        Request::DiskAdd { path } => tracing::info!(target: "audit", %path, "disk to be added"),
        Request::DiskFind { path } => tracing::info!(target: "audit", %path, "disk to be looked for"),
        Request::IndexBurn => tracing::info!(target: "audit", "index to be burnt"),
        Request::DatasetSet { dataset, class, keep, kind } => {
            tracing::info!(target: "audit", %dataset, ?class, ?keep, ?kind, "data set to be kept so");
        }
        Request::RepoSet { repo, mode } => {
            tracing::info!(target: "audit", %repo, %mode, "repository to be so")
        }
        Request::RepoRemove { repo } => tracing::info!(target: "audit", %repo, "repository to be removed"),
        Request::RepoRestore { repo } => tracing::info!(target: "audit", %repo, "repository to be restored"),
        Request::ForgetRun { approve } => tracing::info!(target: "audit", ?approve, "forgetting asked for"),
        Request::ClockAttest { at_ms } => tracing::info!(target: "audit", at_ms, "time to be attested"),
        _ => {}
    }
}

async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    if line.len() >= MAX_REPLY_BYTES {
        let fault = Fault::refused("the answer is too long").next("ask for one data set");
        line = serde_json::to_vec(&Reply::Failed(fault)).map_err(io::Error::other)?;
    }
    line.push(b'\n');
    write.write_all(&line).await
}

/// What is read, then `Data` lines each followed by their bytes, then `Done`; or `Failed` at any point.
async fn stream_out(
    write: &mut OwnedWriteHalf,
    open: impl FnOnce() -> Result<coffre_vault::SnapshotReader> + Send + 'static,
) -> io::Result<()> {
    let (pieces, mut queue) = mpsc::channel::<(Reply, Vec<u8>)>(PIECES_IN_FLIGHT);
    let worker = tokio::task::spawn_blocking(move || {
        // A closed queue means that nobody listens any more.
        let put = |reply, bytes| pieces.blocking_send((reply, bytes)).is_ok();
        let mut reader = match open() {
            Ok(reader) => reader,
            Err(fault) => return put(Reply::Failed(fault), Vec::new()),
        };
        let info = reader.info().clone();
        let size = info.size;
        let mut offset = 0;
        let mut listening = put(Reply::Object(info), Vec::new());
        while listening && offset < size {
            let max = (size - offset).min(PIECE_BYTES as u64) as usize;
            listening = match reader.read_at(offset, max) {
                Ok(bytes) if bytes.is_empty() || bytes.len() > max => {
                    let fault = Fault::corrupt("the snapshot ended before its length");
                    return put(Reply::Failed(fault), Vec::new());
                }
                Ok(bytes) => {
                    offset += bytes.len() as u64;
                    put(Reply::Data { bytes: bytes.len() as u64 }, bytes)
                }
                Err(fault) => return put(Reply::Failed(fault), Vec::new()),
            };
        }
        listening && put(Reply::Done, Vec::new())
    });
    while let Some((reply, bytes)) = queue.recv().await {
        send(write, &reply).await?;
        write.write_all(&bytes).await?;
    }
    worker.await.map_err(io::Error::other)?;
    Ok(())
}
