//! A real box for tests: `coffre init`, `coffred` on a free port, curl and raw TLS as clients.
#![allow(dead_code)] // Each test binary uses its part of it.

pub mod paired;
pub mod wire;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a daemon to come up or go down.
const PATIENCE: Duration = Duration::from_secs(60);

/// A box with its folders; its daemon dies with it.
pub struct TestBox {
    pub scratch: TempDir,
    pub words: Vec<String>,
    pub init: Value,
    daemon: Option<Child>,
    url: String,
    /// What the daemon logs.
    pub level: &'static str,
    /// What a shell does before it becomes the daemon (`ulimit …`).
    pub limit: &'static str,
}

/// A client's TLS connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
    /// curl's own exit code: not 0 when the transfer broke.
    pub curl: i32,
}

impl TestBox {
    /// A new box on this many disk folders, its daemon running.
    pub fn new(disks: usize) -> Self {
        let mut made = Self::without_daemon(disks);
        made.start();
        made
    }

    pub fn without_daemon(disks: usize) -> Self {
        Self::made_with(disks, &[])
    }

    /// A box that was made so long ago (`10d`) by the clock of the system, its daemon not running. `None` without libfaketime, which
    /// tells `coffre init` that time and nobody else.
    pub fn made_ago(disks: usize, ago: &str) -> Option<Self> {
        let lib =
            fs::read_dir("/usr/lib").ok()?.flatten().map(|at| at.path().join("faketime/libfaketime.so.1"));
        let lib = lib.into_iter().find(|lib| lib.is_file())?.display().to_string();
        Some(Self::made_with(disks, &[("LD_PRELOAD", &lib), ("FAKETIME", &format!("-{ago}"))]))
    }

    fn made_with(disks: usize, env: &[(&str, &str)]) -> Self {
        let scratch = tempfile::tempdir().expect("scratch folder");
        let mut args =
            vec!["init".to_owned(), "--try-out".into(), "--json".into(), "--name".into(), "test box".into()];
        for n in 0..disks {
            let disk = scratch.path().join(format!("disk{n}"));
            fs::create_dir(&disk).expect("writable");
            args.extend(["--disk".to_owned(), disk.display().to_string()]);
        }
        let mut made = Self {
            scratch,
            words: vec![],
            init: Value::Null,
            daemon: None,
            url: String::new(),
            level: "trace",
            limit: "",
        };
        let mut init = Command::new(env!("CARGO_BIN_EXE_coffre"));
        init.arg("--state").arg(made.state()).args(&args).envs(env.iter().copied());
        let out = with_input(&mut init, b"");
        assert!(out.status.success(), "init: {}", String::from_utf8_lossy(&out.stderr));
        made.init = serde_json::from_slice(&out.stdout).expect("JSON");
        let words = made.init["recovery_words"].as_array().expect("words").iter();
        made.words = words.map(|word| word.as_str().expect("text").to_owned()).collect();
        fs::copy(made.state().join("authority.pem"), made.path("ca.pem")).expect("a certificate after init");
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("https://").parse().expect("an address")
    }

    /// Starts the daemon on a free port and waits until it says that it is ready.
    pub fn start(&mut self) {
        let mut daemon = self.coffred(&["--listen", "127.0.0.1:0"]).expect("spawned");
        let mut lines = BufReader::new(daemon.stdout.take().expect("piped")).lines();
        let ready = lines.next().expect("a line before the end").expect("text");
        self.url = ready.strip_prefix("ready ").expect("a ready line").to_owned();
        self.daemon = Some(daemon);
    }

    /// A daemon process of this box, its log appended to `log`.
    pub fn coffred(&self, args: &[&str]) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let coffred = env!("CARGO_BIN_EXE_coffred");
        let mut command = Command::new(if self.limit.is_empty() { coffred } else { "sh" });
        if !self.limit.is_empty() {
            command.arg("-c").arg(format!("{}; exec \"$0\" \"$@\"", self.limit)).arg(coffred);
        }
        command
            .arg("--state")
            .arg(self.state())
            .args(args)
            .env("RUST_LOG", self.level)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("a log")
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("running").id()
    }

    /// Sends a signal (`TERM`, `KILL`) and waits for the end; gives the exit code.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("running");
        let sent =
            Command::new("kill").args(["-s", signal, &daemon.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        wait(&mut daemon)
    }

    /// Runs `coffre` on this box.
    pub fn coffre(&self, args: &[&str]) -> Output {
        self.coffre_with(args, b"")
    }

    pub fn coffre_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffre"));
        command.arg("--state").arg(self.state()).args(args);
        with_input(&mut command, input)
    }

    /// Runs `coffre ... --json`, which must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.coffre(&[args, &["--json"]].concat());
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("JSON")
    }

    /// Makes a client; gives `NAME:SECRET`.
    pub fn client(&self, name: &str, options: &[&str]) -> String {
        let made = self.json(&[&["client", "add", name], options].concat());
        format!("{name}:{}", made["secret"].as_str().expect("a secret"))
    }

    /// curl on `path` as `user`; `input` is what `-T -` reads.
    pub fn curl(&self, user: &str, path: &str, args: &[&str], input: &[u8]) -> Got {
        let (head, body) = (self.path("curl.head"), self.path("curl.body"));
        for old in [&head, &body] {
            let _ = fs::remove_file(old);
        }
        let mut command = Command::new("curl");
        command
            .args(["-sS", "-m", "120", "--path-as-is", "-w", "%{http_code}", "--cacert"])
            .arg(self.path("ca.pem"));
        if !user.is_empty() {
            command.args(["-u", user]);
        }
        command.arg("-D").arg(&head).arg("-o").arg(&body).args(args).arg(format!("{}{path}", self.url));
        let out = with_input(&mut command, input);
        let status = String::from_utf8_lossy(&out.stdout);
        Got {
            status: status.trim().parse().unwrap_or(0),
            headers: fs::read_to_string(&head).unwrap_or_default().to_lowercase(),
            body: fs::read(&body).unwrap_or_default(),
            curl: out.status.code().unwrap_or(-1),
        }
    }

    pub fn get(&self, user: &str, path: &str) -> Got {
        self.curl(user, path, &[], b"")
    }

    /// A body through a pipe, so chunked.
    pub fn put(&self, user: &str, dataset: &str, body: &[u8]) -> Got {
        self.curl(user, &format!("/v1/datasets/{dataset}"), &["-T", "-"], body)
    }

    /// A TLS connection with nothing said yet.
    pub fn tls(&self) -> Tls {
        self.tls_over(TcpStream::connect(self.address()).expect("connected"), &[]).expect("configured")
    }

    /// The same over a socket of the test's, offering these protocols; the handshake comes with the first byte.
    pub fn tls_over(&self, tcp: TcpStream, alpn: &[&[u8]]) -> Option<Tls> {
        let mut roots = RootCertStore::empty();
        let pem = fs::read_to_string(self.path("ca.pem")).expect("readable");
        roots.add(coffre::identity::der_of_pem(&pem).expect("PEM").into()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        tcp.set_read_timeout(Some(PATIENCE)).expect("set");
        tcp.set_write_timeout(Some(PATIENCE)).expect("set");
        let _ = tcp.set_nodelay(true);
        Some(StreamOwned::new(ClientConnection::new(Arc::new(config), name).ok()?, tcp))
    }

    /// A socket from an address of this machine, `127.0.0.0/8`; `None` when the box does not take it.
    pub fn from(&self, address: [u8; 4]) -> Option<TcpStream> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().ok()?;
            socket.bind((address, 0).into()).ok()?;
            let connected = socket.connect(self.address());
            let stream =
                tokio::time::timeout(Duration::from_secs(5), connected).await.ok()?.ok()?.into_std().ok()?;
            stream.set_nonblocking(false).ok()?;
            Some(stream)
        })
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The class in an error's body.
    pub fn class(&self) -> String {
        self.json()["error"]["class"].as_str().unwrap_or("none").to_owned()
    }
}

/// Waits for a process to end, within bounds.
pub fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("a process did not end");
}

/// A part of a test that cannot be run here, and why. Where `cargo verify` has seen to it that it can (`COFFRE_PEERS`), it fails.
pub fn left_out(why: &str) {
    assert!(std::env::var_os("COFFRE_PEERS").is_none(), "{why}");
    eprintln!("NOT RUN: {why}");
}

/// Bytes that neither compress nor repeat, the same each time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_derive_key("coffre test noise")
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// A file with these bytes.
pub fn file(path: &Path, bytes: &[u8]) -> String {
    fs::write(path, bytes).expect("writable");
    path.display().to_string()
}

fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is installed");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // A program that ended early reads no more: its exit code says the rest.
        let _ = stdin.write_all(&input);
    });
    let out = child.wait_with_output().expect("ended");
    feeder.join().expect("no panic");
    out
}
