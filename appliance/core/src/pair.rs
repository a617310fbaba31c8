//! Pairing: the code that a person carries from the box to a machine, and the kinds of machines there are.
//!
//! A code is 40 random bits as 8 letters of Crockford's base 32, shown as `XXXX-XXXX`. It is read aloud, typed on telephones and
//! copied from a screen across the room: capitals, hyphens and blanks do not matter, `O` is 0, `I` and `L` are 1. It opens
//! one door once, for some minutes, and few wrong ones are borne (`pairing` of the street side), so that it need not be longer.

use std::fmt;
use std::str::FromStr;

/// Letters in a code.
pub const CODE_LETTERS: usize = 8;
/// Bits in a code.
pub const CODE_BITS: usize = CODE_LETTERS * 5;
/// Longest text that is looked at as a code, in bytes: letters with blanks and hyphens between them.
const MAX_TYPED_BYTES: usize = 32;
/// Crockford's letters: no I, L, O, U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A pairing code. Hidden in logs; [`shown`](Self::shown) on purpose only.
#[derive(Clone, PartialEq, Eq)]
pub struct PairCode([u8; CODE_LETTERS]);

/// A text that no code can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a code: a code has 8 letters and digits, like 7KQ2-M9XD")]
pub struct NotACode;

impl PairCode {
    /// The code for these bits, which must come from a generator fit for keys.
    pub fn from_bits(bits: [u8; CODE_BITS / 8]) -> Self {
        let number = bits.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let letter = |at: usize| LETTERS[(number >> (5 * (CODE_LETTERS - 1 - at)) & 31) as usize];
        Self(std::array::from_fn(letter))
    }

    /// Its letters, for comparisons in constant time.
    pub fn letters(&self) -> &[u8; CODE_LETTERS] {
        &self.0
    }

    /// As people see it: `XXXX-XXXX`.
    pub fn shown(&self) -> String {
        let text: String = self.0.iter().map(|&letter| char::from(letter)).collect();
        format!("{}-{}", &text[..4], &text[4..])
    }
}

impl FromStr for PairCode {
    type Err = NotACode;

    fn from_str(typed: &str) -> Result<Self, NotACode> {
        if typed.len() > MAX_TYPED_BYTES {
            return Err(NotACode);
        }
        let mut letters = [0; CODE_LETTERS];
        let mut count = 0;
        for c in
            typed.chars().filter(|c| !matches!(c, '-' | ' ' | '\t' | '\u{2010}'..='\u{2015}' | '_' | '.'))
        {
            let letter = match c.to_ascii_uppercase() {
                'O' => b'0',
                'I' | 'L' => b'1',
                c => u8::try_from(c).ok().filter(|letter| LETTERS.contains(letter)).ok_or(NotACode)?,
            };
            *letters.get_mut(count).ok_or(NotACode)? = letter;
            count += 1;
        }
        if count == CODE_LETTERS { Ok(Self(letters)) } else { Err(NotACode) }
    }
}

impl fmt::Debug for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairCode(hidden)")
    }
}

/// What sort of machine is being added: it decides which files are shown first, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineKind {
    /// A server of Odoo, with its databases.
    Odoo,
    /// A computer with Windows.
    Windows,
    /// A Mac.
    Mac,
    /// A computer or server with Linux.
    Linux,
    /// A network storage.
    Nas,
    /// Anything that has curl.
    Curl,
}

impl MachineKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Odoo, Self::Windows, Self::Mac, Self::Linux, Self::Nas, Self::Curl];

    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Odoo => "odoo",
            Self::Windows => "windows",
            Self::Mac => "mac",
            Self::Linux => "linux",
            Self::Nas => "nas",
            Self::Curl => "curl",
        }
    }
}

impl fmt::Display for MachineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MachineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| "it is one of odoo, windows, mac, linux, nas, curl".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_read_forgivingly() {
        let code: PairCode = "7K02-M91D".parse().expect("a code");
        for typed in ["7k02m91d", " 7KO2 - m9lD ", "7K-O2-M9-iD", "7k02\u{2013}m91d", "7K02.M91D"] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        assert_eq!(code.shown(), "7K02-M91D");
    }

    #[test]
    fn what_cannot_be_a_code_is_none() {
        let long = "7".repeat(100_000);
        for typed in ["", "-", "7K02M91", "7K02M91DD", "7K02-M91U", "7K02-M9é1", "done", &long] {
            assert_eq!(typed.parse::<PairCode>(), Err(NotACode), "{}", typed.len());
        }
    }

    #[test]
    fn printing_hides_it() {
        let code = PairCode::from_bits([0xff; 5]);
        assert_eq!(code.shown(), "ZZZZ-ZZZZ");
        assert!(!format!("{code:?}").contains("ZZ"));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in MachineKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).expect("plain"), format!("\"{kind}\""));
        }
        assert!("toaster".parse::<MachineKind>().is_err());
    }

    proptest! {
        #[test]
        fn every_code_comes_back(bits in any::<[u8; 5]>()) {
            let code = PairCode::from_bits(bits);
            prop_assert_eq!(code.shown().parse(), Ok(code.clone()));
            prop_assert_eq!(code.shown().to_lowercase().replace('-', "").parse(), Ok(code));
        }
    }
}
