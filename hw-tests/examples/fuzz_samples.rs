//! Writes the samples of every fuzz target into `FOLDER/TARGET/`, for libFuzzer to begin with.

use coffre_rig::fuzz;
use coffre_rig::rng::Rng;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "corpus".into()));
    for target in fuzz::targets() {
        let place = folder.join(target.name);
        std::fs::create_dir_all(&place)?;
        for sample in (target.samples)(&mut Rng::new(1)) {
            std::fs::write(place.join(&blake3::hash(&sample).to_hex()[..16]), sample)?;
        }
    }
    Ok(())
}
