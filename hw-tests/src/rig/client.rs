//! curl as a client of the drop-box: push from a stream, get to a hash, many gets in one process.
//!
//! The secret and the pinned authority stand in a file that only the owner may read, never in the arguments,
//! which any user of the machine could see.

use super::process::{self, Group};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest transfer, in seconds.
const MAX_TRANSFER_S: u64 = 1800;
/// Longest answer that is kept whole.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// One client of one box.
#[derive(Clone, Debug)]
pub struct Curl {
    config: PathBuf,
    url: String,
}

/// How a push ended.
#[derive(Debug)]
pub struct Pushed {
    /// The answer's status; 0 when no answer came.
    pub status: u16,
    /// The answer's body.
    pub body: Vec<u8>,
    /// Bytes given to curl.
    pub sent_bytes: u64,
    /// BLAKE3 of them.
    pub hash: blake3::Hash,
    /// From the first byte to the answer.
    pub took: Duration,
    /// What curl said when it went wrong.
    pub trouble: String,
}

/// How a get ended.
#[derive(Debug)]
pub struct Got {
    /// The answer's status; 0 when no answer came.
    pub status: u16,
    /// Whether the body came to its end.
    pub whole: bool,
    /// Bytes received.
    pub bytes: u64,
    /// BLAKE3 of them.
    pub hash: blake3::Hash,
    /// From the request to the last byte.
    pub took: Duration,
    /// What curl said when it went wrong.
    pub trouble: String,
}

impl Pushed {
    /// The receipt of a push that was acknowledged.
    pub fn receipt(&self) -> Result<Value> {
        if self.status != 201 {
            bail!("the push was answered with {}: {} {}", self.status, self.text(), self.trouble);
        }
        receipt(&self.body).with_context(|| format!("not a receipt: {}", self.text()))
    }

    /// The body for a person.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).trim().to_owned()
    }
}

impl Curl {
    /// A client with its name, secret and pin. Writes its two files into `folder`.
    pub fn new(folder: &Path, url: &str, name: &str, secret: &str, authority_pem: &str) -> Result<Self> {
        let pem = folder.join("box.pem");
        let config = folder.join(format!("{name}.curl"));
        private_file(&pem, authority_pem.as_bytes())?;
        let lines = format!(
            "user = \"{name}:{secret}\"\ncacert = \"{}\"\nnoproxy = \"*\"\nconnect-timeout = 10\nmax-time = {MAX_TRANSFER_S}\nsilent\nshow-error\n",
            pem.display()
        );
        private_file(&config, lines.as_bytes())?;
        Ok(Self { config, url: url.to_owned() })
    }

    /// The same client for a box that moved.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Where the box serves.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file with secret and pin, for a person's own curl.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Pushes what `body` writes as a new snapshot. Errors are those of the rig; what the box did stands in
    /// [`Pushed`]. A body that ends early because nobody listens any more is no error of the rig.
    pub fn push<F>(&self, dataset: &str, body: F) -> Result<Pushed>
    where
        F: FnOnce(&mut dyn Write) -> io::Result<()> + Send,
    {
        let since = Instant::now();
        let mut command = self.command();
        command.args(["-T", "-"]).arg(format!("{}/v1/datasets/{dataset}", self.url));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Group::start(&mut command)?;
        let stdin = process.child().stdin.take().context("no pipe to curl")?;
        let stdout = process.child().stdout.take().context("no pipe from curl")?;
        let stderr = process.child().stderr.take().context("no pipe from curl")?;
        let (sent, answer, said) = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut tap = Tap { out: stdin, bytes: 0, hash: blake3::Hasher::new() };
                let written = body(&mut tap).and_then(|()| tap.flush());
                (written, tap.bytes, tap.hash.finalize())
            });
            let complaints = scope.spawn(move || text(stderr));
            let mut answer = Vec::new();
            let _ = stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
            (writer.join(), answer, complaints.join())
        });
        process.wait(Duration::from_secs(MAX_TRANSFER_S))?;
        let (written, sent_bytes, hash) =
            sent.map_err(|_| anyhow::anyhow!("the body of the push panicked"))?;
        match written {
            Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
                return Err(why).context("body of the push");
            }
            _ => {}
        }
        let (status, trouble) = outcome(&said.unwrap_or_default());
        Ok(Pushed { status, body: answer, sent_bytes, hash, took: since.elapsed(), trouble })
    }

    /// Pushes a file, whose length is announced. Returns the answer's status and text.
    pub fn push_file(&self, dataset: &str, file: &Path) -> Result<(u16, String)> {
        let mut command = self.command();
        command.arg("-T").arg(file).arg(format!("{}/v1/datasets/{dataset}", self.url));
        let said = process::run(&mut command, Duration::from_secs(MAX_TRANSFER_S))?;
        Ok((outcome(&said.err).0, said.text()))
    }

    /// Gets a path below the box's address and hashes what comes.
    pub fn get(&self, path: &str) -> Result<Got> {
        let since = Instant::now();
        let mut command = self.command();
        command.arg(format!("{}{path}", self.url));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Group::start(&mut command)?;
        let mut stdout = process.child().stdout.take().context("no pipe from curl")?;
        let stderr = process.child().stderr.take().context("no pipe from curl")?;
        let complaints = std::thread::spawn(move || text(stderr));
        let mut hash = blake3::Hasher::new();
        let bytes = io::copy(&mut stdout, &mut hash).context("reading from curl")?;
        let ended = process.wait(Duration::from_secs(MAX_TRANSFER_S))?;
        let (status, trouble) = outcome(&complaints.join().unwrap_or_default());
        let whole = ended.is_some_and(|ended| ended.success());
        Ok(Got { status, whole, bytes, hash: hash.finalize(), took: since.elapsed(), trouble })
    }

    /// Gets a path and throws away what comes: its status, and how many bytes came.
    pub fn get_nothing(&self, path: &str) -> Result<(u16, u64)> {
        let mut command = self.command();
        command.args(["-o", "/dev/null", "-w", "%{size_download}%{stderr}http %{http_code}"]);
        command.arg(format!("{}{path}", self.url));
        let said = process::run(&mut command, Duration::from_secs(MAX_TRANSFER_S))?;
        let bytes =
            said.text().trim().parse().with_context(|| format!("{path}: curl did not say how much"))?;
        Ok((outcome(&said.err).0, bytes))
    }

    /// Gets a path that answers JSON. An error for any other status than 200; `None` for 404.
    pub fn get_json(&self, path: &str) -> Result<Option<Value>> {
        let mut command = self.command();
        command.arg(format!("{}{path}", self.url));
        let said = process::run(&mut command, Duration::from_secs(MAX_TRANSFER_S))?;
        match outcome(&said.err) {
            (200, _) => {
                Ok(Some(serde_json::from_slice(&said.out).with_context(|| format!("{path}: not JSON"))?))
            }
            (404, _) => Ok(None),
            (status, trouble) => {
                bail!("GET {path} was answered with {status}: {} {trouble}", said.text().trim())
            }
        }
    }

    /// Gets many paths over few connections; the answers come in the same order. Bodies pass through files in
    /// `scratch`, which are removed.
    pub fn get_many(&self, paths: &[String], scratch: &Path) -> Result<Vec<(u16, blake3::Hash)>> {
        let list = scratch.join("list.curl");
        let file = |n: usize| scratch.join(format!("got-{n}"));
        let mut lines = String::from("write-out = \"%{http_code}\\n\"\n");
        for (n, path) in paths.iter().enumerate() {
            lines.push_str(&format!("url = \"{}{path}\"\noutput = \"{}\"\n", self.url, file(n).display()));
        }
        private_file(&list, lines.as_bytes())?;
        let mut command = Command::new("curl");
        command.arg("-K").arg(&self.config).arg("-K").arg(&list);
        let said = process::run(&mut command, Duration::from_secs(MAX_TRANSFER_S))?;
        let statuses: Vec<u16> = said.text().lines().filter_map(|line| line.trim().parse().ok()).collect();
        if statuses.len() != paths.len() {
            bail!("curl told of {} transfers, not {}: {}", statuses.len(), paths.len(), said.err.trim());
        }
        let mut got = Vec::with_capacity(paths.len());
        for (n, status) in statuses.into_iter().enumerate() {
            let mut hash = blake3::Hasher::new();
            // An empty body leaves no file.
            match std::fs::File::open(file(n)) {
                Ok(mut body) => drop(io::copy(&mut body, &mut hash)?),
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(why.into()),
            }
            let _ = std::fs::remove_file(file(n));
            got.push((status, hash.finalize()));
        }
        Ok(got)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("curl");
        command.arg("-K").arg(&self.config).args(["-w", "%{stderr}\nhttp %{http_code}\n"]);
        command
    }
}

/// The receipt's facts: they stand in the answer itself, or in the signed text under `receipt`.
fn receipt(body: &[u8]) -> Option<Value> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    if answer.get("id").is_some() {
        return Some(answer);
    }
    let signed: Value = serde_json::from_str(answer.get("receipt")?.as_str()?).ok()?;
    signed.get("id").is_some().then_some(signed)
}

/// The status that curl wrote on the last line of its standard error, and what it complained of before.
fn outcome(said: &str) -> (u16, String) {
    match said.trim_end().rsplit_once("http ") {
        Some((before, status)) => {
            // 100 is no answer yet: the connection ended before the real one.
            let status = status.trim().parse().ok().filter(|&status: &u16| status >= 200);
            (status.unwrap_or(0), before.trim().to_owned())
        }
        None => (0, said.trim().to_owned()),
    }
}

fn text(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(1 << 20).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn private_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Counts and hashes what passes.
struct Tap<W> {
    out: W,
    bytes: u64,
    hash: blake3::Hasher,
}

impl<W: Write> Write for Tap<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_read_from_the_last_line() {
        assert_eq!(outcome("\nhttp 201\n"), (201, String::new()));
        assert_eq!(outcome("curl: (52) Empty reply\n\nhttp 000\n"), (0, "curl: (52) Empty reply".to_owned()));
        assert_eq!(outcome("http 100"), (0, String::new()));
        assert_eq!(outcome(""), (0, String::new()));
    }

    #[test]
    fn receipts_are_found_plain_or_signed() {
        assert_eq!(receipt(br#"{"id":"a","size":1}"#).expect("plain")["size"], 1);
        let signed = br#"{"receipt":"{\"id\":\"a\",\"size\":2}","signature":"x"}"#;
        assert_eq!(receipt(signed).expect("signed")["size"], 2);
        for bad in [&b"<html>"[..], b"{}", br#"{"receipt":"{}"}"#] {
            assert!(receipt(bad).is_none());
        }
    }

    #[test]
    fn nobody_else_can_read_the_secret() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a scratch folder");
        let curl = Curl::new(folder.path(), "https://127.0.0.1:1", "a", "s", "PEM").expect("written");
        let mode = std::fs::metadata(curl.config()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_box_that_is_not_there_is_told_and_the_body_ends() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        // Port 1 of loopback: refused at once.
        let curl = Curl::new(folder.path(), "https://127.0.0.1:1", "a", "s", "").expect("written");
        std::fs::remove_file(folder.path().join("box.pem")).expect("there");
        let pushed = curl.push("d", |out| {
            for _ in 0..1000 {
                out.write_all(&[0; 65_536])?;
            }
            Ok(())
        });
        let pushed = pushed.expect("the rig itself works");
        assert_eq!(pushed.status, 0);
        assert!(pushed.receipt().is_err());
        let got = curl.get("/v1/datasets").expect("the rig itself works");
        assert!(!got.whole && got.status == 0, "{got:?}");
    }
}
