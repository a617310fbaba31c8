//! The announcement by mDNS, heard by somebody else: two network namespaces and a cable between them, nothing real.
//!
//! Needs root and `ip`; elsewhere it says that it was not run. The listener is this very test, started once more on the
//! other side.

mod common;

use common::TestBox;
use mdns_sd::{ServiceDaemon, ServiceEvent};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BROWSE: &str = "COFFRE_TEST_BROWSE_S";

/// Two namespaces that see each other and nobody else; gone when dropped.
struct Cable {
    here: String,
    there: String,
}

impl Cable {
    fn lay() -> Result<Self, String> {
        let id = std::process::id();
        let made = Self { here: format!("coffre-a{id}"), there: format!("coffre-b{id}") };
        let (a, b) = (format!("cfa{id}"), format!("cfb{id}"));
        ip(&["netns", "add", &made.here])?;
        ip(&["netns", "add", &made.there])?;
        let peer = ["type", "veth", "peer", "name", &b, "netns", &made.there];
        ip(&[&["link", "add", &a, "netns", &made.here], &peer[..]].concat())?;
        for (space, link, address) in [(&made.here, &a, "10.77.0.1/24"), (&made.there, &b, "10.77.0.2/24")] {
            ip(&["-n", space, "link", "set", "lo", "up"])?;
            ip(&["-n", space, "addr", "add", address, "dev", link])?;
            ip(&["-n", space, "link", "set", link, "up"])?;
        }
        Ok(made)
    }

    fn run_in(space: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space, program]);
        command
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for space in [&self.here, &self.there] {
            let _ = ip(&["netns", "del", space]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let out = Command::new("ip").args(args).output().map_err(|e| format!("ip: {e}"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim())),
    }
}

/// On the other side: one line for each service that is heard within so many seconds; ends early once both are.
fn browse(seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let daemon = ServiceDaemon::new().expect("a browser");
    let kinds = ["_coffre._tcp.local.", "_https._tcp.local."];
    let events = kinds.map(|kind| daemon.browse(kind).expect("browsing"));
    let mut heard = [false; 2];
    while Instant::now() < end && heard != [true; 2] {
        for (events, heard) in events.iter().zip(&mut heard) {
            if let Ok(ServiceEvent::ServiceResolved(service)) =
                events.recv_timeout(Duration::from_millis(100))
            {
                let told = |key| service.get_property_val_str(key).unwrap_or_default().to_owned();
                let mut addresses: Vec<String> =
                    service.get_addresses().iter().map(|address| address.to_ip_addr().to_string()).collect();
                addresses.sort();
                eprintln!(
                    "HEARD {}|{}|{}|{}|{}|{}|{}",
                    service.get_fullname(),
                    service.get_port(),
                    addresses.join(","),
                    told("name"),
                    told("words"),
                    told("path"),
                    told("version"),
                );
                *heard = true;
            }
        }
    }
}

/// The box on this side of the cable, serving at `listen`; what the other side heard of it.
fn heard(it: &TestBox, cable: &Cable, options: &[&str], seconds: u64) -> Vec<String> {
    let mut coffred: Child = Cable::run_in(&cable.here, env!("CARGO_BIN_EXE_coffred"))
        .arg("--state")
        .arg(it.state())
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawned");
    let mut ready = String::new();
    BufReader::new(coffred.stdout.take().expect("piped")).read_line(&mut ready).expect("ready");
    assert!(ready.starts_with("ready "), "{ready}");
    let me = std::env::current_exe().expect("a test");
    let out = Cable::run_in(&cable.there, &me.display().to_string())
        .args(["--exact", "the_box_is_heard_where_it_serves_and_nowhere_else", "--nocapture"])
        .env(BROWSE, seconds.to_string())
        .output()
        .expect("ran");
    let _ = Command::new("kill").args(["-s", "TERM", &coffred.id().to_string()]).status();
    assert_eq!(common::wait(&mut coffred), Some(0));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{text}");
    text.lines().filter_map(|line| Some(line.split_once("HEARD ")?.1.to_owned())).collect()
}

#[test]
fn the_box_is_heard_where_it_serves_and_nowhere_else() {
    if let Ok(seconds) = std::env::var(BROWSE) {
        return browse(seconds.parse().expect("a number"));
    }
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return common::left_out(&format!("no network of its own: {why}")),
    };
    let it = TestBox::without_daemon(1);
    for listen in ["0.0.0.0:8443", "10.77.0.1:8443"] {
        let heard = heard(&it, &cable, &["--listen", listen], 15);
        assert_eq!(heard.len(), 2, "{listen}: {heard:?}");
        let words = it.json(&["certificate"])["words"].as_array().expect("words").clone();
        let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
        let version = env!("CARGO_PKG_VERSION");
        let told = format!("|8443|10.77.0.1|test box|{}|/pair|{version}", words.join("-"));
        for kind in ["_coffre._tcp", "_https._tcp"] {
            let line = heard.iter().find(|line| line.contains(kind)).expect(kind);
            assert!(line.ends_with(&told), "{line} instead of {told}");
        }
    }
    for silent in [&["--listen", "0.0.0.0:8443", "--no-announce"][..], &["--listen", "127.0.0.1:8443"]] {
        assert_eq!(heard(&it, &cable, silent, 3), Vec::<String>::new(), "{silent:?}");
    }
}
