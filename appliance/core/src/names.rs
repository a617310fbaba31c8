//! Client and data-set names, parsed into types before anything else sees them.

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 32;

/// Words that no client or data set may be called: path prefixes of the doors and restic's type words.
pub const RESERVED: &[&str] = &["v1", "pair", "data", "keys", "locks", "snapshots", "index", "config"];

/// Why a text is not a name. `Display` says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Wrong characters or length.
    #[error(
        "{0:?} is not a valid name: use 1 to 32 lower-case letters, digits and hyphens, starting with a letter or digit{like}",
        like = suggested(.0)
    )]
    Form(String),
    /// A word with a meaning of its own at the doors.
    #[error("{0:?} is a reserved word: choose another name")]
    Reserved(String),
    /// A data set is written `CLIENT/NAME`.
    #[error("{0:?} is not a data set: write it as CLIENT/NAME")]
    NotDataset(String),
}

/// What the nearest name would be, as the end of a sentence; nothing where there is none.
///
/// It is said and not taken: `Photos` and `photos` would be one, and the backups of two folders each other's next.
pub fn suggested(bad: &str) -> String {
    let plain = bad.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let mut name = String::new();
    for c in plain {
        if c != '-' || !(name.is_empty() || name.ends_with('-')) {
            name.push(c);
        }
    }
    name.truncate(MAX_NAME_LEN);
    let name = name.trim_end_matches('-');
    match check(name) {
        Ok(()) => format!(", like {name}"),
        Err(_) => String::new(),
    }
}

fn check(text: &str) -> Result<(), BadName> {
    let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let mut bytes = text.bytes();
    let head_ok = bytes.next().is_some_and(|b| tail(b) && b != b'-');
    if !head_ok || text.len() > MAX_NAME_LEN || !bytes.all(tail) {
        // What came from outside may be long or hostile: show only its beginning.
        return Err(BadName::Form(text.chars().take(40).collect()));
    }
    if RESERVED.contains(&text) {
        return Err(BadName::Reserved(text.to_owned()));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                d.str()?.parse().map_err(|_| minicbor::decode::Error::message("invalid name"))
            }
        }
    };
}

name!(
    /// A client of the box: one machine or one job with its own secret. `[a-z0-9][a-z0-9-]{0,31}`.
    ClientName);
name!(
    /// A data set of one client. Same form as a client's name.
    DatasetName);

/// A data set with its client, written `CLIENT/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, minicbor::Encode, minicbor::Decode)]
pub struct DatasetRef {
    /// Whose data set it is.
    #[n(0)]
    pub client: ClientName,
    /// Its name within that client.
    #[n(1)]
    pub name: DatasetName,
}

impl fmt::Display for DatasetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.client, self.name)
    }
}

impl FromStr for DatasetRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let (client, name) =
            text.split_once('/').ok_or_else(|| BadName::NotDataset(text.chars().take(80).collect()))?;
        Ok(Self { client: client.parse()?, name: name.parse()? })
    }
}

impl serde::Serialize for DatasetRef {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DatasetRef {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "0", "pc-fatima", &"a".repeat(32)] {
            assert!(good.parse::<ClientName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "é", "a/b", "..", "a_b", "v1", "pair", "config", &"a".repeat(33)] {
            assert!(bad.parse::<ClientName>().is_err(), "{bad}");
        }
        for (bad, like) in [
            ("PC-FATIMA", ", like pc-fatima"),
            ("srv01.example.com", ", like srv01-example-com"),
            ("__My  Files!", ", like my-files"),
            (&"A".repeat(40), &format!(", like {}", "a".repeat(32))),
            ("", "digit"),
            ("é", "digit"),
            ("V1", "digit"),
        ] {
            let said = bad.parse::<DatasetName>().expect_err("no name").to_string();
            assert!(said.ends_with(like), "{said}");
        }
        assert!("a/b".parse::<DatasetRef>().is_ok());
        for bad in ["a", "a/", "/b", "a/b/c", "a/v1"] {
            assert!(bad.parse::<DatasetRef>().is_err(), "{bad}");
        }
    }
}
