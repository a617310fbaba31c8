//! `coffred`: the daemon of a backup box. Serves one vault until it is told to stop.

use clap::Parser;
use coffre::cli::usage;
use coffre::daemon::{self, MAX_LISTENERS, Plan};
use coffre::heap;
use coffre::hosts::{Host, MAX_HOSTS};
use coffre::process;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Serve a Coffre vault to its clients over HTTPS until told to stop.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The vault's state folder, made by `coffre init`.
    #[arg(long, env = "COFFRE_STATE", value_name = "DIR")]
    state: PathBuf,
    /// Where to serve HTTPS; may be repeated. Port 0 takes a free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8443")]
    listen: Vec<SocketAddr>,
    /// A name or address under which clients reach the box and that this machine does not know of, for the certificate and the
    /// pages; may be repeated. `coffre host add` keeps one for good.
    #[arg(long, value_name = "NAME[:PORT]")]
    host: Vec<Host>,
    /// Do not announce the box on the LAN (mDNS). One that serves its own machine only is never announced.
    #[arg(long)]
    no_announce: bool,
}

fn main() -> ExitCode {
    let kept = process::keep_to_itself();
    let Args { state, listen, host, no_announce } = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            eprint!("coffred: {}", usage::text(&error));
            return ExitCode::from(2);
        }
        Err(error) => {
            // Help or version; whoever asked may have gone.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    if listen.len() > MAX_LISTENERS {
        eprintln!("coffred: at most {MAX_LISTENERS} addresses to listen on");
        return ExitCode::from(2);
    }
    if host.len() > MAX_HOSTS {
        eprintln!("coffred: at most {MAX_HOSTS} names with --host");
        return ExitCode::from(2);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    heap::keep_small();
    if let Err(error) = kept {
        tracing::warn!(%error, "the system may write an image of this process, with keys in it, to a file");
    }
    match daemon::run(&Plan { state, listen, hosts: host, announce: !no_announce }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("coffred: {fault}");
            ExitCode::from(daemon::exit_code(&fault))
        }
    }
}
