//! Where `coffred` and `coffre` are: in `COFFRE_BIN_DIR`, or beside this program after cargo has brought them up to date.
//!
//! Cargo builds what a command's own crate needs, and the rig knows the binaries only as processes. So it asks
//! cargo once for the crate they are in; that costs a fraction of a second when nothing changed.

use super::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// The two binaries under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The daemon.
    pub coffred: PathBuf,
    /// The command.
    pub coffre: PathBuf,
}

impl Binaries {
    /// Finds the binaries, building them first unless `COFFRE_BIN_DIR` says where they are.
    pub fn ready() -> Result<Self> {
        if let Some(folder) = std::env::var_os("COFFRE_BIN_DIR") {
            return Self::in_folder(Path::new(&folder)).context("COFFRE_BIN_DIR");
        }
        let folder = folder_of_this_program()?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--bin", "coffred", "--bin", "coffre", "--manifest-path"]);
        build.arg(checkout().join("Cargo.toml"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        process::run_ok(&mut build, BUILD_LIMIT).context("cannot build coffred and coffre")?;
        Self::in_folder(&folder)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let found = Self { coffred: folder.join("coffred"), coffre: folder.join("coffre") };
        for binary in [&found.coffred, &found.coffre] {
            if !binary.is_file() {
                bail!("{} is not there; build it with: cargo build --release", binary.display());
            }
        }
        Ok(found)
    }
}

/// The checkout this program was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("hw-tests has a parent")
}

/// A folder for scratch and logs under the build folder, made when missing. Never `/tmp`, which may be memory.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let profile = folder_of_this_program()?;
    let folder = profile.parent().unwrap_or(&profile).join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn folder_of_this_program() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = exe.parent().context("this program is in no folder")?;
    // Test programs are one folder deeper.
    Ok(if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder }.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_binaries_is_refused_with_the_way_out() {
        let empty = tempfile::tempdir().expect("a scratch folder");
        let told = Binaries::in_folder(empty.path()).expect_err("nothing there").to_string();
        assert!(told.contains("cargo build"), "{told}");
    }
}
