//! A client that says exactly what it is told, over one TLS connection that it keeps.

use super::{TestBox, Tls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};

/// One connection, opened when it is needed, and again when it was closed.
pub struct Wire<'a> {
    it: &'a TestBox,
    from: [u8; 4],
    tls: Option<Tls>,
    rest: Vec<u8>,
}

/// What the box answered.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    }
}

/// `Authorization` for `NAME:SECRET`, with the end of its line; nothing for nobody.
pub fn authorization(user: &str) -> String {
    match user {
        "" => String::new(),
        user => format!("Authorization: Basic {}\r\n", STANDARD.encode(user)),
    }
}

/// A request with a body of its length; `headers` end each line with CR LF.
pub fn request(user: &str, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Vec<u8> {
    let length = body.map_or_else(String::new, |body| format!("Content-Length: {}\r\n", body.len()));
    let auth = authorization(user);
    let mut raw =
        format!("{method} {path} HTTP/1.1\r\nHost: box\r\n{auth}{headers}{length}\r\n").into_bytes();
    raw.extend_from_slice(body.unwrap_or_default());
    raw
}

impl<'a> Wire<'a> {
    pub fn new(it: &'a TestBox) -> Self {
        Self::from(it, [127, 0, 0, 1])
    }

    pub fn from(it: &'a TestBox, from: [u8; 4]) -> Self {
        Self { it, from, tls: None, rest: Vec::new() }
    }

    /// Asks, and reads the answer. A connection that the box has closed in between is opened again, once.
    pub fn ask(&mut self, user: &str, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Said {
        let raw = request(user, method, path, headers, body);
        let reused = self.tls.is_some();
        let head_only = method == "HEAD";
        match self.say(&raw, head_only) {
            Some(said) => said,
            None if reused => self.say(&raw, head_only).expect("an answer over a new connection"),
            None => panic!("no answer to {method} {path}"),
        }
    }

    /// Sends bytes and reads an answer; `None` when the box closed before one.
    pub fn say(&mut self, raw: &[u8], head_only: bool) -> Option<Said> {
        self.send(raw);
        self.hear(head_only)
    }

    /// Sends bytes; a box that does not listen any more may still have answered.
    pub fn send(&mut self, raw: &[u8]) {
        if self.tls.is_none() {
            self.rest.clear();
            self.tls = self.it.from(self.from).and_then(|tcp| self.it.tls_over(tcp, &[b"http/1.1"]));
        }
        if let Some(tls) = &mut self.tls {
            let _ = tls.write_all(raw).and_then(|()| tls.flush());
        }
    }

    /// Ends the sending side, as a client that is done or dies.
    pub fn hang_up(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.conn.send_close_notify();
            let _ = tls.flush();
            let _ = tls.sock.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Forgets the connection.
    pub fn close(&mut self) {
        self.tls = None;
    }

    /// Reads the next answer that is final.
    pub fn hear(&mut self, head_only: bool) -> Option<Said> {
        loop {
            let said = self.one(head_only);
            match said {
                Some(said) if said.status / 100 == 1 => {}
                Some(said) => {
                    if said.header("connection") == Some("close") {
                        self.close();
                    }
                    return Some(said);
                }
                None => {
                    self.close();
                    return None;
                }
            }
        }
    }

    fn one(&mut self, head_only: bool) -> Option<Said> {
        let end = self.until(|bytes| find(bytes, b"\r\n\r\n"))?;
        let head = String::from_utf8_lossy(&self.rest[..end]).to_lowercase();
        self.rest.drain(..end + 4);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut said = Said { status, head, body: Vec::new() };
        let empty = head_only || status / 100 == 1 || status == 204 || status == 304;
        if empty {
            return Some(said);
        }
        if said.header("transfer-encoding") == Some("chunked") {
            loop {
                let end = self.until(|bytes| find(bytes, b"\r\n"))?;
                let len = usize::from_str_radix(std::str::from_utf8(&self.rest[..end]).ok()?, 16).ok()?;
                self.until(|bytes| (bytes.len() >= end + 2 + len + 2).then_some(0))?;
                said.body.extend_from_slice(&self.rest[end + 2..end + 2 + len]);
                self.rest.drain(..end + 2 + len + 2);
                if len == 0 {
                    return Some(said);
                }
            }
        }
        let len: usize = said.header("content-length").map_or(Some(0), |text| text.parse().ok())?;
        self.until(|bytes| (bytes.len() >= len).then_some(0))?;
        said.body = self.rest.drain(..len).collect();
        Some(said)
    }

    fn until(&mut self, ready: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(at) = ready(&self.rest) {
                return Some(at);
            }
            match self.tls.as_mut()?.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.rest.extend_from_slice(&piece[..n]),
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
