//! Names under which clients reach the box and that the machine does not know of: of the office's DNS, or the address of a router.
//!
//! Given at each start (`coffred --host`), or once and for all (`coffre host add`, a file in the state folder). A certificate
//! covers them, and pages and files are written with them.

use crate::addresses::{Names, host_name};
use crate::state::StateDir;
use coffre_core::fault::{Fault, Result};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Most names that may be kept, and most that may be given.
pub const MAX_HOSTS: usize = 16;

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostName {
    /// Of the DNS, lower case.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// How clients reach the box: `NAME`, or `NAME:PORT` where they use another port than the one it serves at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The name.
    pub name: HostName,
    /// The port; `None`: that of the box.
    pub port: Option<u16>,
}

/// Where the names of a box come from.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    given: Vec<Host>,
    state: Option<StateDir>,
}

impl Hosts {
    /// Those that were given, and those that are kept in the state folder.
    pub fn new(state: StateDir, given: Vec<Host>) -> Self {
        Self { given, state: Some(state) }
    }

    /// All of them as it is now. What cannot be read is left out, and told in the log.
    pub fn now(&self) -> Vec<Host> {
        let kept = self.state.as_ref().map(kept).transpose().unwrap_or_else(|fault| {
            tracing::warn!(%fault, "names of the box cannot be read");
            None
        });
        let mut all = self.given.clone();
        all.extend(kept.unwrap_or_default());
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|host| seen.insert(host.clone()));
        all
    }
}

/// What this machine is called, and these.
pub fn names(box_name: &str, hosts: &[Host]) -> Names {
    let mut names = Names::of_this_machine(box_name);
    for host in hosts {
        match &host.name {
            HostName::Dns(name) => names.dns.insert(name.clone()),
            HostName::Ip(ip) => names.ips.insert(*ip),
        };
    }
    names
}

/// The names that are kept in a state folder, in the order in which they came.
pub fn kept(state: &StateDir) -> Result<Vec<Host>> {
    let text = state.read_hosts()?.unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty()).take(MAX_HOSTS).map(str::parse).collect()
}

/// Keeps these.
///
/// # Durability
/// On `Ok` they are on stable storage.
pub fn keep(state: &StateDir, hosts: &[Host]) -> Result<()> {
    let text: String = hosts.iter().map(|host| format!("{host}\n")).collect();
    state.write_hosts(&text)
}

impl FromStr for Host {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let bad = || {
            let shown: String = text.chars().take(80).collect();
            Fault::misuse(format!("{shown:?} is no name of a machine"))
                .next("write it like backup.office.example, 203.0.113.7, or 203.0.113.7:443 for another port")
        };
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { name: HostName::Ip(ip.to_canonical()), port: None });
        }
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self {
                name: HostName::Ip(at.ip().to_canonical()),
                port: Some(port(at.port()).ok_or_else(bad)?),
            });
        }
        if let Some(ip) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let ip: Ipv6Addr = ip.parse().map_err(|_| bad())?;
            return Ok(Self { name: HostName::Ip(IpAddr::from(ip).to_canonical()), port: None });
        }
        let (name, port) = match text.split_once(':') {
            None => (text, None),
            Some((name, text)) => (name, Some(text.parse().ok().and_then(port).ok_or_else(bad)?)),
        };
        // What ends in digits alone is an address that went wrong: 192.168.1 or 192.168.1.300.
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let name = host_name(name).filter(|name| !name.rsplit('.').next().is_some_and(is_number));
        Ok(Self { name: HostName::Dns(name.ok_or_else(bad)?), port })
    }
}

fn port(number: u16) -> Option<u16> {
    (number != 0).then_some(number)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.port) {
            (HostName::Dns(name), None) => f.write_str(name),
            (HostName::Dns(name), Some(port)) => write!(f, "{name}:{port}"),
            (HostName::Ip(ip), None) => write!(f, "{ip}"),
            (HostName::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
        }
    }
}

impl serde::Serialize for Host {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, written) in [
            ("Backup.Office.Example.", "backup.office.example"),
            ("nas", "nas"),
            ("nas:443", "nas:443"),
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:8443", "203.0.113.7:8443"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("1and1.example", "1and1.example"),
        ] {
            let host: Host = text.parse().expect(text);
            assert_eq!(host.to_string(), written);
            assert_eq!(host.to_string().parse::<Host>().expect(written), host);
        }
        let long = "a".repeat(300);
        for bad in [
            "",
            " ",
            "*.office.example",
            "a b",
            "https://box",
            "box/",
            "-a",
            "b\u{fc}ro",
            "a..b",
            "box:",
            "box:0",
            "box:65536",
            "192.168.1.300",
            "192.168.1",
            "7",
            "[::1",
            "a:b:c",
            &long,
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept_is_found_beside_what_is_given() {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let state = StateDir::new(scratch.path());
        let host = |text: &str| text.parse::<Host>().expect("a host");
        let hosts = Hosts::new(state.clone(), vec![host("given.example")]);
        assert_eq!(hosts.now(), [host("given.example")]);
        keep(&state, &[host("kept.example:443"), host("given.example")]).expect("written");
        assert_eq!(kept(&state).expect("there"), [host("kept.example:443"), host("given.example")]);
        assert_eq!(hosts.now(), [host("given.example"), host("kept.example:443")]);
        std::fs::write(scratch.path().join("hosts"), b"no name\n").expect("written");
        assert_eq!(hosts.now(), [host("given.example")], "what cannot be read is left out");
    }
}
