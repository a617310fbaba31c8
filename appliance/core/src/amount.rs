//! Amounts of bytes as people read and type them: `1.5 GB`, `500M`, `5Go`. One world of units: powers of a thousand.
//!
//! Disks are sold and the console speaks in powers of a thousand, so everything does. Who types `GiB` or `Gio` means powers of 1024 and
//! gets them.

use std::fmt;
use std::str::FromStr;

/// What is shown from a thousand bytes on.
const SHOWN: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
/// What is read.
const LETTERS: &str = "kmgtp";
/// Digits behind the point that are read.
const MAX_DECIMALS: usize = 6;

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1000.0;
        let mut unit = 0;
        // 999.95 would be shown as 1000.0.
        while value >= 999.95 && unit + 1 < SHOWN.len() {
            value /= 1000.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", SHOWN[unit])
    }
}

impl FromStr for ByteCount {
    type Err = String;

    /// `500M`, `5 GB`, `5Go`, `1,5To`, `2GiB`, or plain bytes; large and small letters alike.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is no amount: write bytes, or 500M, 2GB, 1,5To (powers of 1000; GiB or Gio for powers of 1024)"
            )
        };
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        let end = plain.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(plain.len());
        let (number, unit) = plain.split_at(end);
        let base = base(unit).ok_or_else(bad)?;
        let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, "0"));
        if part.is_empty() || part.len() > MAX_DECIMALS || whole.starts_with(['.', ',']) {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let part: u64 =
            part.parse::<u64>().map_err(|_| bad())? * 10_u64.pow((MAX_DECIMALS - part.len()) as u32);
        let part = u128::from(part) * u128::from(base) / 10_u128.pow(MAX_DECIMALS as u32);
        let bytes = u128::from(whole) * u128::from(base) + part;
        u64::try_from(bytes).map(Self).map_err(|_| format!("{text} is more than any disk has"))
    }
}

/// Bytes in one of this unit, in small letters.
fn base(unit: &str) -> Option<u64> {
    let Some(letter) = unit.chars().next().filter(|c| !matches!(c, 'b' | 'o')) else {
        return matches!(unit, "" | "b" | "o").then_some(1);
    };
    let power = LETTERS.find(letter)? as u32 + 1;
    match &unit[1..] {
        "" | "b" | "o" => Some(1000_u64.pow(power)),
        "ib" | "io" => Some(1024_u64.pow(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_powers_of_a_thousand() {
        let shown = [0, 999, 1000, 1500, 999_999, 1_000_000_000, u64::MAX].map(|n| ByteCount(n).to_string());
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.5 kB", "1.0 MB", "1.0 GB", "18.4 EB"]);
    }

    #[test]
    fn amounts_are_read_in_french_and_in_english() {
        let good = [
            ("1000000", 1_000_000),
            ("7B", 7),
            ("7o", 7),
            ("500M", 500_000_000),
            ("2g", 2_000_000_000),
            ("5Go", 5_000_000_000),
            ("5 Go", 5_000_000_000),
            ("5\u{a0}Go", 5_000_000_000),
            ("1,5To", 1_500_000_000_000),
            ("1.5G", 1_500_000_000),
            ("0.000001M", 1),
            ("1TiB", 1 << 40),
            ("1Tio", 1 << 40),
            ("3MB", 3_000_000),
            ("1kb", 1_000),
            ("16383PiB", 16_383 << 50),
        ];
        for (text, bytes) in good {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)), "{text}");
        }
        let bad = [
            "",
            "foo",
            "M",
            "-1",
            "1X",
            "1iB",
            "1MM",
            "1.2.3G",
            ".5G",
            "5.G",
            "1.0000001G",
            "16384PiB",
            "99999999999999999999",
            "1é",
            "bo",
            "1bo",
            "٣M",
        ];
        for bad in bad {
            assert!(bad.parse::<ByteCount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        for bytes in [1, 1_000, 1_500_000, 7_300_000_000, 2_000_000_000_000] {
            assert_eq!(ByteCount(bytes).to_string().parse(), Ok(ByteCount(bytes)));
        }
    }
}
