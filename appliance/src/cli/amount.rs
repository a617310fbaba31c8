//! Amounts of bytes as people type them: `500M`, `2G`, `1TiB`, or plain bytes.
//!
//! As GNU tools read them: `M` and `MiB` are 1024 × 1024 bytes, `MB` is a million.

const UNITS: &str = "KMGTP";

/// For `value_parser`: a quota or a daily cap. 0 is none: a client that may keep nothing is removed instead.
pub(super) fn quota(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("a client that may keep nothing cannot push: leave it out for the box's own ceiling, or remove the client".into()),
        bytes => Ok(bytes),
    }
}

/// Bytes; a fraction is not understood.
fn bytes(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "{text:?} is no amount: write bytes, or 500M, 2G, 1T (M and MiB are 1024 x 1024, MB is a million)"
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit = unit.to_ascii_uppercase();
    let (letter, base) = match unit.strip_suffix("IB") {
        Some(letter) => (letter, 1024_u64),
        None => match unit.strip_suffix('B') {
            Some(letter) => (letter, 1000),
            None => (unit.as_str(), 1024),
        },
    };
    let power = match letter {
        "" if unit.is_empty() || unit == "B" => 0,
        letter if letter.len() == 1 => UNITS.find(letter).ok_or_else(bad)? as u32 + 1,
        _ => return Err(bad()),
    };
    number.checked_mul(base.pow(power)).ok_or_else(|| format!("{text} is more than any disk has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_gnu_tools_do() {
        let good = [
            ("1000000", 1_000_000),
            ("7B", 7),
            ("500M", 500 << 20),
            ("2g", 2 << 30),
            ("1TiB", 1 << 40),
            ("3MB", 3_000_000),
            ("1kb", 1_000),
            ("16383P", 16_383 << 50),
        ];
        for (text, bytes) in good {
            assert_eq!(quota(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "foo", "M", "-1", "1.5G", "1X", "1iB", "1MM", "1 M", "16384P", "99999999999999999999", "1é"]
        {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(quota("0").is_err_and(|why| why.contains("leave it out")) && quota("0G").is_err());
    }
}
