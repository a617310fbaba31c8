//! restic's own server as a yardstick: what the same bytes cost a program that hashes them and syncs them, and no more.
//!
//! Over HTTPS like ours, each body a file of 16 MiB named by its SHA-256, as restic sends packs. No parity, no encryption, no
//! compression, no deduplication.

use super::daemon::{Usage, usage_of};
use super::process::{self, Group};
use super::tools::{self, Tool};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Length of a body.
pub const BLOB_BYTES: usize = 16 << 20;
const LIMIT: Duration = Duration::from_secs(300);
const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };

/// A running server with an empty repository.
#[derive(Debug)]
pub struct RestServer {
    process: Group,
    address: String,
    url: String,
    certificate: PathBuf,
}

impl RestServer {
    /// Starts `program` on a free port of loopback with everything it needs in `folder`.
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        let server = Self::serve(program, folder, false)?;
        server.curl(&["-X", "POST", &format!("{}/?create=true", server.url)])?;
        Ok(server)
    }

    /// The same in append-only mode, without a repository, and spoken to in HTTP/1.1 only, as we are.
    pub fn start_append_only(program: &Path, folder: &Path) -> Result<Self> {
        Self::serve(program, folder, true)
    }

    fn serve(program: &Path, folder: &Path, append_only: bool) -> Result<Self> {
        let (key, certificate) = certificate(folder, "rest")?;
        let address = free_address()?;
        let mut serve = Command::new(program);
        serve
            .args(["--no-auth", "--tls", "--listen", &address, "--path"])
            .arg(folder.join("rest-data"))
            .arg("--tls-cert")
            .arg(&certificate)
            .arg("--tls-key")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if append_only {
            // Go's servers speak HTTP/2 otherwise.
            serve.arg("--append-only").env("GODEBUG", "http2server=0");
        }
        let process = Group::start(&mut serve)?;
        wait_for(&address, "rest-server")?;
        Ok(Self { process, url: format!("https://{address}/r"), address, certificate })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What clients pin.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Sends files, one after the other over one connection, in HTTP/1.1 as our clients do. Each has the name that it shall have there.
    pub fn push(&self, files: &[PathBuf]) -> Result<()> {
        let mut args: Vec<String> = Vec::new();
        for (n, file) in files.iter().enumerate() {
            let name = file.file_name().context("a file without a name")?.to_string_lossy();
            args.extend(if n > 0 { vec!["--next".into()] } else { vec![] });
            args.extend(["-sS", "-f", "--http1.1", "--cacert"].map(str::to_owned));
            args.push(self.certificate.display().to_string());
            args.extend(["-X", "POST", "--data-binary"].map(str::to_owned));
            args.push(format!("@{}", file.display()));
            args.push(format!("{}/data/{name}", self.url));
        }
        process::run_ok(Command::new("curl").args(&args), LIMIT).map(drop)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        usage_of(self.process.pid())
    }

    fn curl(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new("curl");
        command.args(["-sS", "-f", "--cacert"]).arg(&self.certificate).args(args);
        process::run_ok(&mut command, LIMIT).map(drop)
    }
}

/// Writes `count` files of [`BLOB_BYTES`] made by `fill` into `folder`, named by their SHA-256.
pub fn blobs(folder: &Path, count: usize, mut fill: impl FnMut() -> Vec<u8>) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for n in 0..count {
        let path = folder.join(format!("blob-{n}"));
        fs::write(&path, fill())?;
        let said = process::run_ok(Command::new("sha256sum").arg(&path), LIMIT)?.text();
        let Some(name) = said.split(' ').next().filter(|name| name.len() == 64) else {
            bail!("sha256sum said {said:?}");
        };
        let named = folder.join(name);
        fs::rename(&path, &named)?;
        files.push(named);
    }
    Ok(files)
}

/// A key and a certificate for loopback, as `NAME.key` and `NAME.pem` in `folder`.
pub(super) fn certificate(folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    let openssl = tools::ensure(OPENSSL).map_err(anyhow::Error::msg)?;
    let mut make = Command::new(openssl);
    make.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ])
    .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
    .arg(&key)
    .arg("-out")
    .arg(&certificate);
    process::run_ok(&mut make, LIMIT)?;
    Ok((key, certificate))
}

/// Waits until somebody listens.
pub(super) fn wait_for(address: &str, name: &str) -> Result<()> {
    let since = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(since.elapsed() < Duration::from_secs(20), "{name} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(super) fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
