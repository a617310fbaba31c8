//! How the box is reached: the addresses that are written into files and on pages.
//!
//! The address that a browser has just used works from where it stands, so it is the best one; but it is what a stranger's
//! request says of itself, so it is believed only when it is a name or address of this machine and a port that is served.

use crate::addresses::Names;
use crate::hosts::{Host, HostName};
use std::net::{IpAddr, SocketAddr};

/// Most addresses that are told.
const MAX_TOLD: usize = 4;
/// The port of an address without one.
const HTTPS_PORT: u16 = 443;

/// Names, addresses and ports of this box at one moment.
#[derive(Clone, Debug)]
pub struct Reach {
    names: Names,
    listeners: Vec<SocketAddr>,
    hosts: Vec<Host>,
}

impl Reach {
    /// What these listeners serve on a machine of these names, `hosts` being those that its owner gave it.
    pub fn new(names: Names, listeners: Vec<SocketAddr>, hosts: Vec<Host>) -> Self {
        Self { names, listeners, hosts }
    }

    /// `HOST:PORT` to write into files for whoever asked for `host` (the `Host` header).
    pub fn authority(&self, host: Option<&str>) -> String {
        host.and_then(|host| self.known(host)).unwrap_or_else(|| {
            self.all().into_iter().next().unwrap_or_else(|| format!("localhost:{HTTPS_PORT}"))
        })
    }

    /// Each `HOST:PORT`, the most useful first, a few at most.
    pub fn all(&self) -> Vec<String> {
        let port = self.listeners.first().map_or(HTTPS_PORT, SocketAddr::port);
        // What the owner names is how clients come here, whatever this machine thinks that it is called.
        let given = |host: &Host| (0, host_written(&host.name, host.port.unwrap_or(port)));
        let mut found: Vec<(u8, String)> = self.hosts.iter().map(given).collect();
        for listener in &self.listeners {
            let port = listener.port();
            if listener.ip().is_unspecified() {
                let named = |ip: &IpAddr| self.hosts.iter().any(|host| host.name == HostName::Ip(*ip));
                let fits = |ip: &&IpAddr| (listener.is_ipv6() || ip.is_ipv4()) && !named(ip);
                let ips = self.names.ips.iter().filter(fits);
                found.extend(ips.map(|ip| (rank(*ip), written(*ip, port))));
            } else {
                found.push((rank(listener.ip()), written(listener.ip(), port)));
            }
        }
        found.sort_by_key(|(rank, _)| *rank);
        let best = found.first().map_or(u8::MAX, |(rank, _)| *rank);
        // Loopback and link-local ones help nobody who has a better one.
        let useful = found.into_iter().filter(|(rank, _)| *rank < 2 || *rank == best);
        let mut all: Vec<String> = useful.map(|(_, written)| written).collect();
        all.dedup();
        all.truncate(MAX_TOLD);
        all
    }

    fn known(&self, host: &str) -> Option<String> {
        let (name, port) = split(host)?;
        let is_ours = match name.parse::<IpAddr>() {
            Ok(ip) => self.names.ips.contains(&ip.to_canonical()),
            Err(_) => self.names.dns.contains(&name.to_ascii_lowercase()),
        };
        let served = self.listeners.iter().any(|listener| listener.port() == port);
        let name = match name.parse::<IpAddr>() {
            Ok(ip) => HostName::Ip(ip.to_canonical()),
            Err(_) => HostName::Dns(name.to_ascii_lowercase()),
        };
        // Behind a router that translates addresses the port may be another one, too: then the owner named it.
        let named = self.hosts.iter().any(|host| host.name == name && host.port == Some(port));
        (is_ours && (served || named)).then(|| host_written(&name, port))
    }
}

fn host_written(name: &HostName, port: u16) -> String {
    match name {
        HostName::Ip(ip) => written(*ip, port),
        HostName::Dns(name) => format!("{name}:{port}"),
    }
}

/// The lower the better for a machine on the LAN.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() => 3,
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_loopback() => 4,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => 5,
        IpAddr::V6(_) => 1,
    }
}

fn written(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

/// Name and port of a `Host` header; an IPv6 address loses its brackets.
fn split(host: &str) -> Option<(&str, u16)> {
    if host.len() > 255 + 6 {
        return None;
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let port = if port.is_empty() { HTTPS_PORT } else { port.parse().ok()? };
    (!name.is_empty()).then_some((name, port))
}

/// Whether a listener serves this machine only.
fn is_private(listener: &SocketAddr) -> bool {
    listener.ip().to_canonical().is_loopback()
}

/// The addresses to announce on; `None`: all that the machine has.
pub fn announced_on(listeners: &[SocketAddr]) -> Option<Vec<IpAddr>> {
    let public = || listeners.iter().filter(|listener| !is_private(listener));
    match public().any(|listener| listener.ip().is_unspecified()) {
        true => None,
        false => Some(public().map(SocketAddr::ip).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(ips: &[&str], listeners: &[&str]) -> Reach {
        let mut names = Names::default();
        names.dns.extend(["localhost".to_owned(), "box.local".to_owned()]);
        names.ips.extend(ips.iter().map(|ip| ip.parse::<IpAddr>().expect("an address")));
        Reach::new(names, listeners.iter().map(|at| at.parse().expect("an address")).collect(), vec![])
    }

    #[test]
    fn what_the_owner_named_comes_first_and_is_known() {
        let mut reach = reach(&["127.0.0.1", "192.168.1.5"], &["0.0.0.0:8443"]);
        reach.hosts =
            ["backup.office.example", "203.0.113.7:443"].map(|host| host.parse().expect("a host")).into();
        for host in &reach.hosts {
            match &host.name {
                HostName::Dns(name) => reach.names.dns.insert(name.clone()),
                HostName::Ip(ip) => reach.names.ips.insert(*ip),
            };
        }
        assert_eq!(reach.all(), ["backup.office.example:8443", "203.0.113.7:443", "192.168.1.5:8443"]);
        for (asked, authority) in [
            ("Backup.Office.example:8443", "backup.office.example:8443"),
            ("203.0.113.7", "203.0.113.7:443"),
            ("192.168.1.5:8443", "192.168.1.5:8443"),
            ("backup.office.example", "backup.office.example:8443"),
            ("evil.example:443", "backup.office.example:8443"),
        ] {
            assert_eq!(reach.authority(Some(asked)), authority, "{asked}");
        }
    }

    #[test]
    fn what_the_browser_used_is_taken_when_it_is_ours() {
        let reach = reach(&["127.0.0.1", "192.168.1.5", "fd00::5"], &["0.0.0.0:8443", "[::]:9443"]);
        for (host, authority) in [
            ("192.168.1.5:8443", "192.168.1.5:8443"),
            ("BOX.local:9443", "box.local:9443"),
            ("[fd00::5]:9443", "[fd00::5]:9443"),
        ] {
            assert_eq!(reach.authority(Some(host)), authority);
        }
        for bad in [
            "evil.example:8443",
            "192.168.1.5:22",
            "192.168.1.5",
            "box.local:8443'; rm -rf /",
            "[fd00::5",
            "",
            ":8443",
            &"a".repeat(10_000),
        ] {
            assert_eq!(reach.authority(Some(bad)), "192.168.1.5:8443", "{bad}");
        }
        assert_eq!(reach.authority(None), "192.168.1.5:8443");
    }

    #[test]
    fn the_most_useful_comes_first() {
        let ips = ["127.0.0.1", "169.254.1.1", "10.0.0.2", "192.168.1.5", "fd00::5", "fe80::1", "::1"];
        assert_eq!(reach(&ips, &["0.0.0.0:8443"]).all(), ["10.0.0.2:8443", "192.168.1.5:8443"]);
        let both = reach(&ips, &["[::]:8443"]).all();
        assert_eq!(both, ["10.0.0.2:8443", "192.168.1.5:8443", "[fd00::5]:8443"]);
        assert_eq!(reach(&ips, &["127.0.0.1:1"]).all(), ["127.0.0.1:1"], "nothing better");
    }

    #[test]
    fn only_what_is_served_is_announced() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(announced_on(&[at("127.0.0.1:1"), at("[::1]:1")]), Some(vec![]));
        assert_eq!(announced_on(&[at("127.0.0.1:1"), at("10.0.0.2:1")]), Some(vec![at("10.0.0.2:1").ip()]));
        assert_eq!(announced_on(&[at("10.0.0.2:1"), at("0.0.0.0:1")]), None);
    }
}
