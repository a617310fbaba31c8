//! Where the control socket is: in the state folder, or, while that cannot be written, in a folder named after it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The socket's name in its folder.
pub const SOCKET: &str = "control.sock";
/// Where short-lived files are on every machine of ours.
const RUN: &str = "/run";
/// Hexadecimal digits that tell state folders apart.
const DIGITS: usize = 16;

/// Folders that may have lock and socket while the state folder cannot be written, in the order in which they are tried. `state`: its
/// full path, links resolved. `runtime`: what `XDG_RUNTIME_DIR` says. Daemon and command may have it differently, so both are looked at.
pub fn spare_folders(state: &Path, runtime: Option<&OsStr>) -> Vec<PathBuf> {
    let hash = blake3::hash(state.as_os_str().as_bytes()).to_hex();
    let runtime = runtime.filter(|folder| !folder.is_empty()).map(Path::new);
    let places = [Path::new(RUN)].into_iter().chain(runtime);
    places.map(|place| place.join(format!("coffre-{}", &hash[..DIGITS]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_folder_has_its_own() {
        let [a, b] = ["/a/state", "/b/state"].map(|state| spare_folders(Path::new(state), None));
        assert!(a != b && a.len() == 1 && a[0].starts_with("/run") && a[0].as_os_str().len() < 60);
        let both = spare_folders(Path::new("/a/state"), Some(OsStr::new("/run/user/7")));
        assert!(both[0] == a[0] && both[1].starts_with("/run/user/7") && both.len() == 2);
        assert_eq!(spare_folders(Path::new("/a/state"), Some(OsStr::new(""))), a);
    }
}
