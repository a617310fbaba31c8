//! How many data and parity shards: the choice for a number of disks, and the shrinking when some are away.
//!
//! `k + m` is chosen once for a vault; each pack then gets the widest geometry that the usable disks allow
//! while keeping full tolerance as long as possible (`Geometry::shrink`).

use std::fmt;
use std::str::FromStr;

/// Most disks in a vault.
pub const MAX_DISKS: usize = 8;

/// `k` data shards and `m` parity shards: any `m` of the `k + m` may be lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Geometry {
    k: u8,
    m: u8,
}

/// Why a geometry cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGeometry {
    /// Not written as `K+M`.
    #[error("{0:?} is not a geometry: write it as K+M, for instance 4+2")]
    Form(String),
    /// Out of bounds.
    #[error("{k}+{m} is not possible: K is at least 1, M is at most K + 1 or 3, and K + M is at most 8")]
    Bounds {
        /// Data shards asked for.
        k: u8,
        /// Parity shards asked for.
        m: u8,
    },
    /// Does not use exactly the disks given.
    #[error("{geometry} needs {}, but {disks} {} given", disks_of(geometry.width()), if *disks == 1 { "was" } else { "were" })]
    Disks {
        /// What was asked for.
        geometry: Geometry,
        /// How many disks there are.
        disks: usize,
    },
}

fn disks_of(count: usize) -> String {
    if count == 1 { "1 disk".to_owned() } else { format!("{count} disks") }
}

impl Geometry {
    /// A geometry of `k` data and `m` parity shards.
    pub fn new(k: u8, m: u8) -> Result<Self, BadGeometry> {
        let width = usize::from(k) + usize::from(m);
        if k == 0 || width > MAX_DISKS || (m > k + 1 && m > 3) {
            return Err(BadGeometry::Bounds { k, m });
        }
        Ok(Self { k, m })
    }

    /// The geometry a box chooses by itself for `disks` disks (1 to 8), `None` outside of that.
    pub fn for_disks(disks: usize) -> Option<Self> {
        let (k, m) = match disks {
            1 => (1, 0),
            2 => (1, 1),
            3 => (2, 1),
            4 => (3, 1),
            5 => (3, 2),
            6 => (4, 2),
            7 => (5, 2),
            8 => (6, 2),
            _ => return None,
        };
        Some(Self { k, m })
    }

    /// The geometry with one disk more: the choice for that number when this was the choice for its own, otherwise one
    /// data shard more. Tolerance never shrinks. `None` when there are 8 already.
    pub fn grown(self) -> Option<Self> {
        let chosen = Self::for_disks(self.width() + 1)?;
        if Self::for_disks(self.width()) == Some(self) {
            return Some(chosen);
        }
        Self::new(self.k + 1, self.m).ok()
    }

    /// Data shards.
    pub fn k(self) -> usize {
        usize::from(self.k)
    }

    /// Parity shards: how many shards may be lost.
    pub fn m(self) -> usize {
        usize::from(self.m)
    }

    /// All shards.
    pub fn width(self) -> usize {
        self.k() + self.m()
    }

    /// The geometry of a new pack while only `usable` disks can be written: tolerance is kept before width.
    /// `None` when no disk is usable.
    pub fn shrink(self, usable: usize) -> Option<Self> {
        if usable == 0 {
            return None;
        }
        let k = self.k().min(usable.saturating_sub(self.m())).max(1);
        let m = self.m().min(usable - k);
        Some(Self { k: k as u8, m: m as u8 })
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

impl FromStr for Geometry {
    type Err = BadGeometry;
    fn from_str(text: &str) -> Result<Self, BadGeometry> {
        let bad = || BadGeometry::Form(text.chars().take(20).collect());
        let (k, m) = text.split_once('+').ok_or_else(bad)?;
        Self::new(k.parse().map_err(|_| bad())?, m.parse().map_err(|_| bad())?)
    }
}

impl serde::Serialize for Geometry {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Geometry {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> minicbor::Encode<C> for Geometry {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u8(self.k)?.u8(self.m)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Geometry {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a geometry is two numbers"));
        }
        Self::new(d.u8()?, d.u8()?).map_err(|_| minicbor::decode::Error::message("impossible geometry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_for_each_number_of_disks() {
        let chosen: Vec<String> =
            (1..=8).map(|n| Geometry::for_disks(n).expect("1 to 8").to_string()).collect();
        assert_eq!(chosen, ["1+0", "1+1", "2+1", "3+1", "3+2", "4+2", "5+2", "6+2"]);
        assert_eq!(Geometry::for_disks(0), None);
        assert_eq!(Geometry::for_disks(9), None);
    }

    #[test]
    fn shrinking_keeps_tolerance_before_width() {
        let g = Geometry::new(4, 2).expect("valid");
        let shrunk: Vec<String> = (1..=6).map(|a| g.shrink(a).expect("some").to_string()).collect();
        assert_eq!(shrunk, ["1+0", "1+1", "1+2", "2+2", "3+2", "4+2"]);
        assert_eq!(g.shrink(0), None);
    }

    #[test]
    fn growing_follows_the_choice_or_adds_width_and_never_loses_tolerance() {
        for n in 1..8 {
            let chosen = Geometry::for_disks(n).expect("1 to 8");
            assert_eq!(chosen.grown(), Geometry::for_disks(n + 1));
            assert!(chosen.grown().is_some_and(|g| g.m() >= chosen.m()));
        }
        let own: Geometry = "2+2".parse().expect("valid");
        assert_eq!(own.grown().map(|g| g.to_string()).as_deref(), Some("3+2"));
        assert_eq!("6+2".parse::<Geometry>().expect("valid").grown(), None);
    }

    #[test]
    fn text_forms() {
        for bad in ["", "4", "4+", "+2", "0+1", "7+2", "1+4", "a+b", "4+2+1"] {
            assert!(bad.parse::<Geometry>().is_err(), "{bad}");
        }
        assert_eq!("2+2".parse::<Geometry>().expect("valid").width(), 4);
    }
}
