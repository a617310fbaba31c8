//! Lock classes: how long things in a pack are locked. A pack holds one class only.

use std::fmt;
use std::str::FromStr;

const DAY_S: u32 = 86_400;
/// A year of a lock is never shorter than one of the calendar.
const YEAR_S: u32 = 366 * DAY_S;

/// A lock period in seconds. A longer class covers a shorter one, never the other way round.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    serde::Serialize,
    serde::Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct LockClass(#[n(0)] pub u32);

impl LockClass {
    /// The class of whoever asked for nothing else.
    pub const DAYS_30: Self = Self(30 * DAY_S);
    /// The shortest outside of a try-out.
    pub const SHORTEST: Self = Self(DAY_S);
    /// The longest.
    pub const LONGEST: Self = Self(100 * YEAR_S);

    /// The period in seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The period in milliseconds.
    pub fn millis(self) -> u64 {
        u64::from(self.0) * 1000
    }

    /// Whether what is locked in this class is locked long enough for `wanted`.
    pub fn covers(self, wanted: Self) -> bool {
        self >= wanted
    }
}

impl fmt::Display for LockClass {
    /// In the largest unit that divides it: `10 y`, `30 d`, `36 h`, `90 min`, `5 s`. A year is 366 days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(YEAR_S, "y"), (DAY_S, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let fits = |(unit, _): &(u32, &str)| self.0 != 0 && self.0.is_multiple_of(*unit);
        let (unit, name) = units.into_iter().find(fits).unwrap_or((1, "s"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

impl FromStr for LockClass {
    type Err = String;

    /// `10y`, `30d`, `36h`, `90min`, `5s`, with or without a space.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no lock class: write 30d, 90d, 1y, 10y and the like");
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (count, unit) = text.split_at(digits);
        let unit = match unit.trim() {
            "y" => YEAR_S,
            "d" => DAY_S,
            "h" => 3_600,
            "min" => 60,
            "s" => 1,
            _ => return Err(bad()),
        };
        let seconds = count.parse::<u32>().ok().and_then(|n| n.checked_mul(unit));
        match seconds.map(Self).filter(|c| (Self(1)..=Self::LONGEST).contains(c)) {
            Some(class) => Ok(class),
            None => Err(format!("a lock of {text} is out of bounds: 1 second to {}", Self::LONGEST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_as_it_is_shown_and_as_people_type() {
        for text in ["5 s", "90 min", "36 h", "30 d", "7 y", "100 y"] {
            let class: LockClass = text.parse().expect("a class");
            assert_eq!(class.to_string(), text);
            assert_eq!(text.replace(' ', "").parse(), Ok(class));
        }
        assert_eq!("10y".parse::<LockClass>().expect("a class").seconds(), 316_224_000);
        for text in ["", "d", "10", "-1d", "0s", "101y", "1 week", "4294967296s", "99999999999999999999d"] {
            assert!(text.parse::<LockClass>().is_err(), "{text}");
        }
    }

    #[test]
    fn shown_in_the_largest_exact_unit() {
        let shown = [0, 5, 90, 5_400, 129_600, 2_592_000, 86_401].map(|s| LockClass(s).to_string());
        assert_eq!(shown, ["0 s", "5 s", "90 s", "90 min", "36 h", "30 d", "86401 s"]);
        assert!(LockClass::DAYS_30.covers(LockClass(5)) && !LockClass(5).covers(LockClass::DAYS_30));
    }

    #[test]
    fn one_plain_number_in_cbor() {
        let bytes = minicbor::to_vec(LockClass(5)).expect("encodes");
        assert_eq!(bytes, [5]);
        assert_eq!(minicbor::decode::<LockClass>(&bytes).expect("decodes"), LockClass(5));
    }
}
