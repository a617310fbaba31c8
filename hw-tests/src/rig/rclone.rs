//! `rclone serve restic` as a yardstick: the protocol of restic over plain files, without a check of hashes and without syncs.

use super::process::Group;
use super::rest_server::{self, free_address};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running server.
#[derive(Debug)]
pub struct Rclone {
    process: Group,
    address: String,
    certificate: PathBuf,
}

impl Rclone {
    /// Starts `program` on a free port of loopback, over HTTPS, with its repositories below `files` and the rest in `folder`.
    pub fn start(program: &Path, folder: &Path, files: &Path) -> Result<Self> {
        let (key, certificate) = rest_server::certificate(folder, "rclone")?;
        let address = free_address()?;
        let mut serve = Command::new(program);
        serve
            .args(["serve", "restic", "--addr", &address, "--cert"])
            .arg(&certificate)
            .arg("--key")
            .arg(&key);
        // No settings of whoever runs this.
        serve.arg("--config").arg(folder.join("rclone.conf")).arg(files);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Group::start(&mut serve)?;
        rest_server::wait_for(&address, "rclone")?;
        Ok(Self { process, address, certificate })
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
}
