//! TLS of the doors: 1.3 and 1.2, HTTP/1.1 only, a leaf that is replaced while connections go on.
//!
//! Each handshake takes the leaf of the moment from a cell; a keeper looks once a minute whether the addresses of
//! the machine have changed or the leaf nears its end, and puts a new one in the cell. Clients pin the authority,
//! so they never notice.

use crate::addresses::Names;
use crate::clock;
use crate::identity::{Authority, LEAF_RENEW_BEFORE_MS, Leaf};
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
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Issues leaves as they are needed and holds the current one.
#[derive(Debug)]
pub struct LeafKeeper {
    authority: Arc<Authority>,
    box_name: String,
    provider: Arc<CryptoProvider>,
    cell: Arc<LeafCell>,
    issued_for: Names,
    not_before_ms: u64,
    not_after_ms: u64,
}

#[derive(Debug)]
struct LeafCell(RwLock<Arc<CertifiedKey>>);

impl LeafKeeper {
    /// Issues the first leaf, for the names this machine has now.
    pub fn new(authority: Arc<Authority>, box_name: &str) -> Result<Self> {
        let names = Names::of_this_machine(box_name);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let leaf = authority.issue_leaf(&names, clock::now_ms())?;
        let cell = Arc::new(LeafCell(RwLock::new(Arc::new(certified(&leaf, &provider)?))));
        Ok(Self {
            authority,
            box_name: box_name.to_owned(),
            provider,
            cell,
            issued_for: names,
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
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Replaces the leaf for as long as it is polled, whenever it no longer fits. A leaf that cannot be issued is
    /// logged and tried again at the next look; the old one stays.
    pub async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let names = Names::of_this_machine(&self.box_name);
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
        let near_end = now_ms.saturating_add(LEAF_RENEW_BEFORE_MS) >= self.not_after_ms;
        if names == self.issued_for && !near_end && now_ms >= self.not_before_ms {
            return Ok(false);
        }
        let leaf = self.authority.issue_leaf(&names, now_ms)?;
        let key = Arc::new(certified(&leaf, &self.provider)?);
        *self.cell.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.issued_for = names;
        self.not_before_ms = leaf.not_before_ms;
        self.not_after_ms = leaf.not_after_ms;
        Ok(true)
    }
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

    fn keeper() -> LeafKeeper {
        LeafKeeper::new(Arc::new(authority("box")), "box").expect("issued")
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
