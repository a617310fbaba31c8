//! Names for raw bytes: every identifier is a type, so that a pack id can never be passed for a disk id.

use std::fmt;
use std::str::FromStr;

/// A text that is not the identifier it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {expected} lower-case hexadecimal digits")]
pub struct BadId {
    /// The kind of identifier that was expected.
    pub what: &'static str,
    /// How many hexadecimal digits it has.
    pub expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:expr, $what:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// The value of all zero bytes, which no generator ever returns.
            pub const ZERO: Self = Self([0; $len]);

            /// Reads the identifier from the start of `bytes`; `None` when there are too few.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.get(..$len)?.try_into().ok().map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(&self.0[..4.min($len)]))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = BadId { what: $what, expected: $len * 2 };
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad);
                }
                let mut out = [0; $len];
                hex::decode_to_slice(text, &mut out).map_err(|_| bad)?;
                Ok(Self(out))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                <[u8; $len]>::try_from(bytes)
                    .map(Self)
                    .map_err(|_| minicbor::decode::Error::message(concat!("wrong length for a ", $what)))
            }
        }
    };
}

id!(
    /// One vault: everything one box keeps. Random, made at init.
    VaultId, 16, "vault id");
id!(
    /// One disk of a roster. Random, made when the disk is labelled; never a device name or slot.
    DiskId, 16, "disk id");
id!(
    /// One pack. Random; the pack's key is derived from it, so it is never used twice.
    PackId, 16, "pack id");
id!(
    /// One object (a snapshot of a data set). Shown to clients as 32 hexadecimal digits.
    ObjectId, 16, "snapshot id");
id!(
    /// A chunk's keyed BLAKE3 hash within its deduplication domain.
    ChunkId, 32, "chunk id");
id!(
    /// BLAKE3 of plain content, as a client can compute it.
    ContentHash, 32, "content hash");
id!(
    /// The hash of one journal record; the next record carries it, which makes the chain.
    RecordHash, 32, "record hash");

/// Position of a disk in the roster: 0 to 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct DiskNo(pub u8);

impl DiskNo {
    /// As an index into a per-disk array.
    pub fn ix(self) -> usize {
        usize::from(self.0)
    }

    /// The number that people read and type, in JSON too: the first disk is 1.
    pub fn told(self) -> u8 {
        self.0.saturating_add(1)
    }

    /// The disk that people call `told`; `None` for 0, which is no disk.
    pub fn from_told(told: u8) -> Option<Self> {
        told.checked_sub(1).map(Self)
    }
}

/// As people read it: from 1.
impl fmt::Display for DiskNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.told())
    }
}

impl<C> minicbor::Encode<C> for DiskNo {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for DiskNo {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let n = d.u8()?;
        if usize::from(n) < crate::geometry::MAX_DISKS {
            Ok(Self(n))
        } else {
            Err(minicbor::decode::Error::message("a disk number is 0 to 7"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_count_disks_from_one() {
        assert_eq!((DiskNo(0).to_string(), DiskNo(7).told()), ("1".into(), 8));
        assert_eq!((DiskNo::from_told(0), DiskNo::from_told(3)), (None, Some(DiskNo(2))));
    }

    #[test]
    fn text_round_trip_and_refusals() {
        let id = PackId([0xab; 16]);
        assert_eq!(id.to_string().parse::<PackId>(), Ok(id));
        for bad in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
            assert!(bad.parse::<PackId>().is_err(), "{bad}");
        }
    }
}
