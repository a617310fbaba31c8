//! Bytes that the box has never seen and cannot compress: what photos and films are to it.

use std::io::{self, Write};

/// Writes so many bytes, the same ones each time for a name.
pub fn write(name: &str, count: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut stream =
        blake3::Hasher::new_derive_key("coffre demo noise").update(name.as_bytes()).finalize_xof();
    let mut left = count;
    let mut piece = vec![0; 1 << 20];
    while left > 0 {
        let len = left.min(piece.len() as u64) as usize;
        stream.fill(&mut piece[..len]);
        out.write_all(&piece[..len])?;
        left -= len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_has_its_length_and_is_the_same_for_a_name() {
        let made = |name, count| {
            let mut out = Vec::new();
            write(name, count, &mut out).expect("a vector takes everything");
            out
        };
        let long = made("a", (1 << 20) + 17);
        assert_eq!(long.len(), (1 << 20) + 17);
        assert_eq!(long, made("a", (1 << 20) + 17));
        assert_ne!(long, made("b", (1 << 20) + 17));
        assert!(made("a", 0).is_empty());
    }
}
