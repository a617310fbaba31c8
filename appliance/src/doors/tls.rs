//! TLS of the doors: 1.3 and 1.2, HTTP/1.1 only, a leaf that is replaced while connections go on.
//!
//! Each handshake takes the leaf of the moment from a cell; a keeper looks every few seconds whether the machine has a name or address
//! that the leaf has not, or the leaf nears its end, and puts a new one in the cell. The leaf is kept in the state folder and holds
//! over restarts: clients pin the authority and never notice, and those that can only pin what serves see the same for as long
//! as names stay, about eleven months at most.

use crate::addresses::Names;
use crate::clock;
use crate::hosts::{self, Hosts};
use crate::identity::{Authority, LEAF_RENEW_BEFORE_MS, Leaf};
use crate::state::StateDir;
use coffre_core::fault::{Fault, Result};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
pub use tokio_rustls::TlsAcceptor;

/// How often the keeper looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Issues leaves as they are needed and holds the current one.
#[derive(Debug)]
pub struct LeafKeeper {
    authority: Arc<Authority>,
    box_name: String,
    hosts: Hosts,
    state: StateDir,
    provider: Arc<CryptoProvider>,
    cell: Arc<LeafCell>,
    issued_for: Names,
    not_before_ms: u64,
    not_after_ms: u64,
}

#[derive(Debug)]
struct LeafCell(RwLock<Arc<CertifiedKey>>);

impl LeafKeeper {
    /// Takes the leaf that is kept, if it fits the names that this machine has now, or issues one.
    pub fn new(authority: Arc<Authority>, box_name: &str, state: &StateDir, hosts: Hosts) -> Result<Self> {
        let names = hosts::names(box_name, &hosts.now());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let now_ms = clock::now_ms();
        let kept = state.read_leaf().and_then(|text| authority.kept_leaf(&text));
        let leaf = match kept
            .filter(|leaf| fits(&leaf.names, leaf.not_before_ms, leaf.not_after_ms, &names, now_ms))
        {
            Some(leaf) => leaf,
            None => issued(&authority, state, &names, now_ms)?,
        };
        let cell = Arc::new(LeafCell(RwLock::new(Arc::new(certified(&leaf, &provider)?))));
        Ok(Self {
            authority,
            box_name: box_name.to_owned(),
            hosts,
            state: state.clone(),
            provider,
            cell,
            issued_for: leaf.names,
            not_before_ms: leaf.not_before_ms,
            not_after_ms: leaf.not_after_ms,
        })
    }

    /// Shakes hands for all listeners, each time with the keeper's leaf of the moment.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        Ok(TlsAcceptor::from(self.server_config()?))
    }

    fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| Fault::permanent(format!("TLS cannot be set up: {e}")))?;
        let cell: Arc<dyn ResolvesServerCert> = Arc::clone(&self.cell) as _;
        let mut config = config.with_no_client_auth().with_cert_resolver(cell);
        // Who speaks 1.0 only is let in, to be told so with a sentence (505) and not by the end of a handshake.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Arc::new(config))
    }

    /// Replaces the leaf for as long as it is polled, whenever it no longer fits. A leaf that cannot be issued is
    /// logged and tried again at the next look; the old one stays.
    pub async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let names = hosts::names(&self.box_name, &self.hosts.now());
            match self.refresh(names, clock::now_ms()) {
                Ok(true) => {
                    tracing::info!(addresses = self.issued_for.ips.len(), "issued a new leaf certificate")
                }
                Ok(false) => {}
                Err(fault) => tracing::error!(%fault, "no new leaf certificate"),
            }
        }
    }

    /// Issues a new leaf if the current one does not fit these names and this time; says whether it did.
    fn refresh(&mut self, names: Names, now_ms: u64) -> Result<bool> {
        if fits(&self.issued_for, self.not_before_ms, self.not_after_ms, &names, now_ms) {
            return Ok(false);
        }
        let leaf = issued(&self.authority, &self.state, &names, now_ms)?;
        let key = Arc::new(certified(&leaf, &self.provider)?);
        *self.cell.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.issued_for = leaf.names;
        self.not_before_ms = leaf.not_before_ms;
        self.not_after_ms = leaf.not_after_ms;
        Ok(true)
    }
}

/// Whether a leaf does now. One that covers more does: an address that goes (a container's, a cable's) may be back soon, and
/// each new leaf is one more surprise for whoever pins it.
fn fits(has: &Names, not_before_ms: u64, not_after_ms: u64, names: &Names, now_ms: u64) -> bool {
    let near_end = now_ms.saturating_add(LEAF_RENEW_BEFORE_MS) >= not_after_ms;
    has.cover(names) && !near_end && now_ms >= not_before_ms
}

/// A new leaf, kept for the next start. Where it cannot be written it serves all the same.
fn issued(authority: &Authority, state: &StateDir, names: &Names, now_ms: u64) -> Result<Leaf> {
    let leaf = authority.issue_leaf(names, now_ms)?;
    if let Err(fault) = authority.keep(&leaf).and_then(|text| state.write_leaf(&text)) {
        tracing::warn!(%fault, "the leaf certificate is not kept: the next start will make another");
    }
    Ok(leaf)
}

impl ResolvesServerCert for LeafCell {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(leaf: &Leaf, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = leaf.chain_der.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key_der.clone()));
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|e| Fault::permanent(format!("the new leaf certificate cannot be used: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{certificate_info, der_of_pem, tests::authority};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConnection};
    use std::sync::OnceLock;

    fn keeper() -> LeafKeeper {
        let scratch = tempfile::tempdir().expect("scratch folder");
        keeper_in(scratch.path(), &[])
    }

    fn keeper_in(folder: &std::path::Path, hosts: &[&str]) -> LeafKeeper {
        let state = StateDir::new(folder);
        let given = hosts.iter().map(|host| host.parse().expect("a host")).collect();
        let hosts = Hosts::new(state.clone(), given);
        // One certificate for all: it is signed with random bits, and a box makes its own but once.
        static AUTHORITY: OnceLock<Arc<Authority>> = OnceLock::new();
        let authority = Arc::clone(AUTHORITY.get_or_init(|| Arc::new(authority("box"))));
        LeafKeeper::new(authority, "box", &state, hosts).expect("issued")
    }

    fn served(keeper: &LeafKeeper) -> Vec<u8> {
        keeper.cell.0.read().expect("no panic").cert[0].to_vec()
    }

    #[test]
    fn a_leaf_stays_over_restarts_until_a_name_comes() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let first = keeper_in(scratch.path(), &[]);
        let leaf = served(&first);
        assert_eq!(served(&keeper_in(scratch.path(), &[])), leaf);
        assert!(shake(&first, client(&first, b"http/1.1"), "backup.office.example").is_err());
        let named = keeper_in(scratch.path(), &["backup.office.example", "203.0.113.7:443"]);
        for name in ["backup.office.example", "203.0.113.7", "localhost"] {
            assert_eq!(shake(&named, client(&named, b"http/1.1"), name), Ok(()), "{name}");
        }
        let leaf_with = served(&named);
        assert_ne!(leaf_with, leaf);
        assert_eq!(served(&keeper_in(scratch.path(), &[])), leaf_with, "a name that went may stay");
        std::fs::write(scratch.path().join("leaf"), b"damaged").expect("written");
        let again = keeper_in(scratch.path(), &[]);
        assert!(
            served(&again) != leaf_with && shake(&again, client(&again, b"http/1.1"), "localhost").is_ok()
        );
        // A folder that takes nothing: a leaf for this start.
        let nowhere = keeper_in(&scratch.path().join("not/there"), &[]);
        assert!(shake(&nowhere, client(&nowhere, b"http/1.1"), "localhost").is_ok());
    }

    fn client(keeper: &LeafKeeper, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let pem = certificate_info(&keeper.authority).pem;
        roots.add(der_of_pem(&pem).expect("PEM").into()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&keeper.provider));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).expect("both versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }

    fn shake(
        keeper: &LeafKeeper,
        config: ClientConfig,
        name: &str,
    ) -> std::result::Result<(), rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = Connection::Client(ClientConnection::new(Arc::new(config), name)?);
        let mut server =
            Connection::Server(ServerConnection::new(keeper.server_config().expect("configured"))?);
        for _ in 0..6 {
            for (from, to) in [(0, 1), (1, 0)] {
                let (a, b) = if (from, to) == (0, 1) {
                    (&mut client, &mut server)
                } else {
                    (&mut server, &mut client)
                };
                let mut wire = Vec::new();
                while a.wants_write() {
                    a.write_tls(&mut wire).expect("to memory");
                }
                let mut wire = wire.as_slice();
                while !wire.is_empty() {
                    b.read_tls(&mut wire).expect("from memory");
                    b.process_new_packets()?;
                }
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok(())
    }

    #[test]
    fn a_client_that_pins_the_authority_is_served() {
        let keeper = keeper();
        for name in ["localhost", "127.0.0.1", "::1", "box.local"] {
            assert_eq!(shake(&keeper, client(&keeper, b"http/1.1"), name), Ok(()), "{name}");
        }
        assert!(shake(&keeper, client(&keeper, b"http/1.1"), "elsewhere.example").is_err());
        assert!(shake(&keeper, client(&keeper, b"h2"), "localhost").is_err(), "HTTP/1.1 only");
    }

    #[test]
    fn a_new_leaf_when_names_change_or_the_end_is_near() {
        let mut keeper = keeper();
        let names = keeper.issued_for.clone();
        let now_ms = clock::now_ms();
        let first = Arc::clone(&keeper.cell.0.read().expect("no panic"));
        assert_eq!(keeper.refresh(names.clone(), now_ms), Ok(false));
        let mut moved = names.clone();
        moved.ips.insert([192, 0, 2, 7].into());
        assert_eq!(keeper.refresh(moved.clone(), now_ms), Ok(true));
        assert!(!Arc::ptr_eq(&first, &keeper.cell.0.read().expect("no panic")));
        assert_eq!(shake(&keeper, client(&keeper, b"http/1.1"), "192.0.2.7"), Ok(()));
        let near_end_ms = keeper.not_after_ms - LEAF_RENEW_BEFORE_MS;
        assert_eq!(keeper.refresh(moved.clone(), near_end_ms - 1), Ok(false));
        assert_eq!(keeper.refresh(moved.clone(), near_end_ms), Ok(true));
        // A clock that jumped back before the leaf's beginning.
        assert_eq!(keeper.refresh(moved, now_ms - 86_400_000 * 3), Ok(true));
    }
}
