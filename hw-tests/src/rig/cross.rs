//! The other family of boards: what `cargo verify` needs to build for aarch64 here and to run what it built.
//!
//! Rust's own standard library for the target comes from the toolchain or is added by rustup; linker and C library come
//! from Debian's cross packages, and `qemu-aarch64-static` runs the programs instruction by instruction. Nothing else is
//! needed, and what is missing is told in one sentence.

use super::process;
use super::tools::{self, Tool};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// A plain profile of its own in the workspace's manifest: built quickly, and its files apart from all others.
const PROFILE: &str = "cross";
const LINKER: Tool = Tool { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" };
const RUNNER: Tool = Tool { program: "qemu-aarch64-static", package: "qemu-user-static" };
/// Where Debian has the target's C library, and its package.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";
const LIBRARIES_PACKAGE: &str = "libc6-dev-arm64-cross";
const QUESTION_LIMIT: Duration = Duration::from_secs(60);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(300);

/// A cargo command for the target, `args` being the subcommand and what follows; or why it cannot be run here.
pub fn cargo(mut command: Command, args: &[&str]) -> Result<Command, String> {
    tools::ensure(LINKER)?;
    tools::ensure_file(&Path::new(LIBRARIES).join("libc.so"), LIBRARIES_PACKAGE)?;
    tools::ensure(RUNNER)?;
    have_standard_library()?;
    let (first, rest) = args.split_first().ok_or("no subcommand")?;
    command.args([first, "--target", TARGET, "--profile", PROFILE]).args(rest);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER.program);
    // The target's loader is named and not found through a prefix of `qemu -L`: that would shift `/` for the program as well.
    let loader = format!("{LIBRARIES}/ld-linux-aarch64.so.1 --library-path {LIBRARIES}");
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", format!("{} {loader}", RUNNER.program));
    command.env("CARGO_TERM_COLOR", "never");
    Ok(command)
}

/// Asks the compiler, and rustup if it is not there yet.
fn have_standard_library() -> Result<(), String> {
    if standard_library_is_here()? {
        return Ok(());
    }
    let missing = format!("the Rust standard library for {TARGET} is missing");
    let mut add = here("rustup");
    process::run_ok(add.args(["target", "add", TARGET]), DOWNLOAD_LIMIT).map_err(|why| {
        let why = why.to_string();
        format!("{missing}, and rustup cannot add it: {}", why.lines().last().unwrap_or(""))
    })?;
    if standard_library_is_here()? { Ok(()) } else { Err(format!("{missing}, although rustup added it")) }
}

fn standard_library_is_here() -> Result<bool, String> {
    let mut ask = here("rustc");
    let said = process::run_ok(ask.args(["--print", "target-libdir", "--target", TARGET]), QUESTION_LIMIT)
        .map_err(|why| why.to_string())?;
    let text = said.text();
    let entries = std::fs::read_dir(text.trim()).into_iter().flatten().flatten();
    Ok(entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("libstd-")))
}

/// A program of the toolchain, which the checkout chooses.
fn here(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(super::binaries::checkout());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_knows_the_target() {
        standard_library_is_here().expect("it names a folder, whether that is there or not");
    }

    #[test]
    fn the_profile_is_in_the_manifest() {
        let manifest = super::super::binaries::checkout().join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("a readable manifest");
        assert!(manifest.contains(&format!("[profile.{PROFILE}]")));
    }
}
