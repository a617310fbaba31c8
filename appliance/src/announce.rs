//! Announcing the box on the LAN by mDNS, so that nobody has to know an address: `_coffre._tcp` and `_https._tcp`.
//!
//! What is told is public: the box's name, the four words that name its authority, where the pairing page is, the version. It is
//! told on the interfaces that are served and on no other, and not at all where only this machine is served. An announcement is a
//! convenience and no proof: anybody on a LAN can announce anything.

use crate::addresses::label;
use crate::pairing::reach::announced_on;
use coffre_core::wire::CertificateInfo;
use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What kind of service: ours, and the one that browsers and file managers look for.
pub const SERVICES: [&str; 2] = ["_coffre._tcp.local.", "_https._tcp.local."];
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// An announcement that stands; it ends with [`end`](Self::end).
pub struct Announcement {
    daemon: ServiceDaemon,
    services: Vec<String>,
}

impl Announcement {
    /// Announces a box that serves at `listeners`; `None` when there is nothing to announce, or when it cannot be: that is
    /// logged, and no reason not to serve.
    pub fn begin(box_name: &str, certificate: &CertificateInfo, listeners: &[SocketAddr]) -> Option<Self> {
        let on = announced_on(listeners);
        if on.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        match begin(box_name, certificate, listeners, on) {
            Ok(announcement) => Some(announcement),
            Err(error) => {
                tracing::warn!(%error, "the box is not announced on the LAN");
                None
            }
        }
    }

    /// Says goodbye, within bounds.
    pub fn end(self) {
        for service in &self.services {
            if let Ok(done) = self.daemon.unregister(service) {
                // Whoever did not hear it forgets the box when its records are old.
                let _ = done.recv_timeout(GOODBYE);
            }
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _ = done.recv_timeout(GOODBYE);
        }
    }
}

fn begin(
    box_name: &str,
    certificate: &CertificateInfo,
    listeners: &[SocketAddr],
    on: Option<Vec<IpAddr>>,
) -> mdns_sd::Result<Announcement> {
    let daemon = ServiceDaemon::new()?;
    match &on {
        None => {
            let mut silent = vec![IfKind::LoopbackV4, IfKind::LoopbackV6];
            // An address that is not served is worse than none.
            if !listeners.iter().any(|at| at.is_ipv6() && at.ip().is_unspecified()) {
                silent.push(IfKind::IPv6);
            }
            daemon.disable_interface(silent)?;
        }
        Some(addresses) => {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(addresses.iter().copied().map(IfKind::Addr).collect::<Vec<_>>())?;
        }
    }
    let host = format!("{}.local.", label(box_name).unwrap_or_else(|| "coffre".to_owned()));
    let port = listeners.iter().find(|at| !at.ip().to_canonical().is_loopback()).map_or(0, SocketAddr::port);
    let words = certificate.words.join("-");
    let told = [
        ("txtvers", "1"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("name", box_name),
        ("words", &words),
        ("path", "/pair"),
    ];
    let mut services = Vec::new();
    for kind in SERVICES {
        let service = match &on {
            None => ServiceInfo::new(kind, box_name, &host, (), port, &told[..])?.enable_addr_auto(),
            Some(addresses) => ServiceInfo::new(kind, box_name, &host, &addresses[..], port, &told[..])?,
        };
        services.push(service.get_fullname().to_owned());
        daemon.register(service)?;
    }
    tracing::info!(%host, port, "announced on the LAN");
    Ok(Announcement { daemon, services })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_serves_itself_only_is_not_announced() {
        let certificate = CertificateInfo {
            pem: String::new(),
            fingerprint: String::new(),
            receipt_key: String::new(),
            words: Vec::new(),
        };
        let here = ["127.0.0.1:1".parse().expect("an address"), "[::1]:1".parse().expect("an address")];
        assert!(Announcement::begin("box", &certificate, &here).is_none());
    }
}
