//! Names and addresses under which this machine can be reached: what a leaf certificate must cover.

use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most addresses in one leaf: a host with more has them for containers, not for clients.
pub const MAX_ADDRESSES: usize = 64;

/// What a leaf certificate covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// DNS names, lower case.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub ips: BTreeSet<IpAddr>,
}

impl Names {
    /// `localhost` and loopback, this machine's host name, `BOX.local`, and all addresses of its interfaces, at most
    /// [`MAX_ADDRESSES`]. What cannot be found out is left out.
    pub fn of_this_machine(box_name: &str) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let found = getifaddrs().map(|all| all.filter_map(|one| address(&one)).collect()).unwrap_or_default();
        Self::of(box_name, host.as_deref(), found)
    }

    /// Whether all of these are covered.
    pub fn cover(&self, others: &Self) -> bool {
        self.dns.is_superset(&others.dns) && self.ips.is_superset(&others.ips)
    }

    fn of(box_name: &str, host: Option<&str>, found: BTreeSet<IpAddr>) -> Self {
        let mut dns = BTreeSet::from(["localhost".to_owned()]);
        dns.extend(host.and_then(host_name));
        dns.extend(label(box_name).map(|label| format!("{label}.local")));
        let mut ips = BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        ips.extend(found.into_iter().take(MAX_ADDRESSES - ips.len()));
        Self { dns, ips }
    }
}

fn address(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (_, Some(v6)) => Some(v6.ip().into()),
        _ => None,
    }
}

/// A host name that may stand in a certificate, or nothing.
pub fn host_name(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let fits = text.len() <= 253 && text.split('.').all(|part| label(part).as_deref() == Some(part));
    fits.then_some(text)
}

/// A box's name as one DNS label: lower case, what is not a letter or digit becomes a hyphen.
pub fn label(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(63)
        .collect();
    let plain = plain.trim_matches('-');
    (!plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_become_labels_or_nothing() {
        assert_eq!(label("Cabinet Alaoui").as_deref(), Some("cabinet-alaoui"));
        assert_eq!(label("é--"), None);
        assert_eq!(label(&"x".repeat(100)).map(|l| l.len()), Some(63));
        assert_eq!(host_name("Box.Example.").as_deref(), Some("box.example"));
        for bad in ["", "a..b", "a b", "*.x", "-a"] {
            assert_eq!(host_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn always_loopback_and_never_too_many() {
        let found = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let names = Names::of("box", Some("pc"), found);
        assert_eq!(names.ips.len(), MAX_ADDRESSES);
        assert!(names.ips.contains(&IpAddr::from(Ipv6Addr::LOCALHOST)));
        let dns: Vec<&str> = names.dns.iter().map(String::as_str).collect();
        assert_eq!(dns, ["box.local", "localhost", "pc"]);
        assert!(Names::of_this_machine("box").ips.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
