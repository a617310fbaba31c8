//! What a peer without credentials can cost: bounded time, bounded sockets, and nobody else is kept waiting.

mod common;

use common::TestBox;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Reads until the daemon closes; how long that took.
fn until_closed(mut stream: impl Read) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    start.elapsed()
}

#[test]
fn slow_peers_are_shown_out_and_hold_nobody_up() {
    let it = TestBox::new(1);
    let pc = it.client("pc", &[]);
    let quiet = TcpStream::connect(it.address()).expect("connected");
    quiet.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut dripping = it.tls();
    dripping.write_all(b"GET / HTTP/1.1\r\nHost: b").expect("sent");
    dripping.flush().expect("sent");
    let mut idle = it.tls();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").expect("sent");
    idle.flush().expect("sent");
    assert_eq!(it.put(&pc, "d", b"in between").status, 201);
    let waits = [
        std::thread::spawn(move || until_closed(quiet)),
        std::thread::spawn(move || until_closed(dripping)),
        std::thread::spawn(move || until_closed(idle)),
    ];
    for (what, wait) in ["handshake", "header", "idle"].into_iter().zip(waits) {
        let took = wait.join().expect("no panic");
        assert!(took > Duration::from_secs(5) && took < Duration::from_secs(40), "{what}: {took:?}");
    }
}

#[test]
fn one_peer_has_a_ceiling_and_gets_its_seats_back() {
    let it = TestBox::new(1);
    let mut held: Vec<TcpStream> = (0..coffre::doors::limits::MAX_CONNECTIONS_PER_PEER)
        .map(|_| TcpStream::connect(it.address()).expect("connected"))
        .collect();
    // One more is let in, and the oldest stranger of the address makes room for it at once.
    held.push(TcpStream::connect(it.address()).expect("connected"));
    let oldest = held.remove(0);
    oldest.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    assert!(until_closed(oldest) < Duration::from_secs(5));
    let mut newest = held.pop().expect("the newcomer");
    newest.set_read_timeout(Some(Duration::from_millis(500))).expect("set");
    let nothing = newest.read(&mut [0; 1]).expect_err("neither closed nor spoken to");
    assert!(matches!(nothing.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
    drop((held, newest));
    let back = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        it.get("", "/").status == 200
    });
    assert!(back, "seats come back");
}

#[test]
fn nonsense_on_the_control_socket_is_answered_or_cut() {
    let it = TestBox::new(1);
    let ask = |line: &[u8]| {
        let mut stream = UnixStream::connect(it.state().join("control.sock")).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let _ = stream.write_all(line);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    for line in [&b"hello\n"[..], b"{}\n", b"{\"do\":\"format_disks\"}\n", b"\xff\xfe\n", b"\n"] {
        assert!(ask(line).starts_with(r#"{"is":"failed","class":"misuse""#), "{line:?}");
    }
    assert_eq!(ask(b"{\"do\":\"status\"}"), "", "no end of line, no request");
    assert_eq!(ask(&vec![b'x'; 1024 * 1024]), "");
    let two = ask(b"{\"do\":\"disk_list\"}\n{\"do\":\"client_list\"}\n");
    assert_eq!(two.lines().count(), 2);
    assert!(!it.log().contains("panicked"));
}

#[test]
fn plain_http_is_told_to_write_https() {
    let it = TestBox::new(1);
    let mut plain = TcpStream::connect(it.address()).expect("connected");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: box\r\n\r\n").expect("taken");
    let mut said = String::new();
    plain.read_to_string(&mut said).expect("an end, not a reset");
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("https://"), "{said}");
    let (head, body) = said.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{said}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).expect("JSON")["error"]["class"], "misuse");
    assert_eq!(it.get("", "/").status, 200, "and TLS goes on as ever");
}

#[test]
fn no_image_of_the_daemon_is_written_and_it_takes_the_files_it_may_have() {
    let it = TestBox::new(1);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", it.pid())).expect("a process");
    let of = |what: &str| {
        let line = limits.lines().find(|line| line.starts_with(what)).expect("a limit");
        line[what.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("Max core file size"), ["0", "0"]);
    let files = of("Max open files");
    assert_eq!(files[0], files[1], "raised to what the system lets it have");
}
