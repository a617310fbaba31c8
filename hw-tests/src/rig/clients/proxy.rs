//! A wire on loopback that loses answers: bytes pass both ways until the answer to a large upload comes; then, at the chosen ones, both
//! ends are cut instead.
//!
//! It knows nothing of TLS or HTTP. Over HTTP/1.1 a server says nothing while a body comes in, so the first bytes from it after
//! much went to it are the answer: what was sent is kept by then, and its sender never learns.

use anyhow::Result;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// This much towards the server since it last spoke was the body of a pack; requests for reading are far smaller.
const UPLOAD_BYTES: u64 = 1 << 20;

/// A running wire. Dropping it ends it.
pub struct Proxy {
    /// Where it listens: `127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    to: String,
    /// Answers to large uploads so far.
    answers: AtomicU64,
    lost: AtomicU64,
    /// Which of them are lost: the second, and then each third, up to so many.
    most: u64,
    over: AtomicBool,
}

impl Proxy {
    /// A wire to `to` that loses up to `most` answers.
    pub fn start(to: &str, most: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (answers, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared =
            Arc::new(Shared { to: to.to_owned(), answers, lost, most, over: AtomicBool::new(false) });
        let its = shared.clone();
        let thread = Some(std::thread::spawn(move || accept(&listener, &its)));
        Ok(Self { address, shared, thread })
    }

    /// Answers that were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for somebody.
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Whether this answer to a large upload is to be lost.
    fn loses_this(&self) -> bool {
        let nth = self.answers.fetch_add(1, Ordering::SeqCst) + 1;
        nth % 3 == 2
            && self
                .lost
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < self.most).then_some(n + 1))
                .is_ok()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(&shared.to)) else { continue };
        let shared = shared.clone();
        // It ends with its connection, which the client and the server close.
        std::thread::spawn(move || {
            let _ = carry(&client, &server, &shared);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }
}

fn carry(client: &TcpStream, server: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let sent = AtomicU64::new(0);
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&mut from_client, &mut to_server, |n| {
                sent.fetch_add(n, Ordering::SeqCst);
                true
            });
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = copy(&mut from_server, &mut to_client, |_| {
            let uploaded = sent.swap(0, Ordering::SeqCst);
            uploaded < UPLOAD_BYTES || !shared.loses_this()
        });
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Copies until the end or until `pass`, asked with the count of bytes that came, says no.
fn copy(from: &mut TcpStream, to: &mut TcpStream, mut pass: impl FnMut(u64) -> bool) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 || !pass(n as u64) {
            return Ok(());
        }
        to.write_all(&buffer[..n])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that takes 2 MiB and answers one byte, again and again, over as many connections as come.
    fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(4).flatten() {
                std::thread::spawn(move || {
                    let (mut stream, mut body) = (stream, vec![0; 2 << 20]);
                    while stream.read_exact(&mut body).is_ok() && stream.write_all(b"k").is_ok() {}
                });
            }
        });
        address
    }

    #[test]
    fn the_second_answer_is_lost_and_the_others_pass() {
        let proxy = Proxy::start(&server(), 1).expect("starts");
        let (body, mut answer) = (vec![1; 2 << 20], [0]);
        let mut stream = TcpStream::connect(&proxy.address).expect("connects");
        stream.write_all(&body).expect("sent");
        stream.read_exact(&mut answer).expect("the first answer");
        stream.write_all(&body).expect("sent");
        assert!(stream.read_exact(&mut answer).is_err(), "the second answer came through");
        assert_eq!(proxy.lost(), 1);
        let mut stream = TcpStream::connect(&proxy.address).expect("connects again");
        for _ in 0..4 {
            stream.write_all(&body).expect("sent");
            stream.read_exact(&mut answer).expect("an answer");
        }
        assert_eq!(proxy.lost(), 1);
    }
}
