//! The recovery words: 32 bytes as 24 French words with a checksum (BIP39), forgiving about how they are typed.
//!
//! The words are read back by a shaken person from paper, years later, on a keyboard that may have no accents. So
//! case, accents in any encoding and blanks do not matter, and the first four letters of a word are enough: in
//! this list they name one word. The last 8 bits are a checksum, so a wrong word that is in the list is still
//! noticed 255 times in 256; a wrong vault key would be noticed by the key slot in any case.

use crate::fault::{Fault, Result};
use aws_lc_rs::{digest, pbkdf2};
use bip39::{Language, Mnemonic};
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// How many words there are.
pub const WORD_COUNT: usize = 24;
/// Letters that are enough to name a word.
const ENOUGH_LETTERS: usize = 4;
/// Longest text that is looked at as one word, in bytes; the longest word of the list has 9 letters.
const MAX_WORD_LEN: usize = 64;

/// What the recovery words stand for. Hidden in logs, erased when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryWords(Zeroizing<[u8; 32]>);

impl RecoveryWords {
    /// The words for these 32 bytes, which must come from a generator fit for keys.
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self(Zeroizing::new(entropy))
    }

    /// Reads 24 words. [`Class::Misuse`](crate::fault::Class::Misuse) says which word is not in the list, how
    /// many there are, or that the checksum is wrong. The fault repeats a misspelt word but no good one.
    pub fn parse<I>(words: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut found = Zeroizing::new(Vec::with_capacity(WORD_COUNT));
        let mut count = 0;
        for word in words.into_iter().take(WORD_COUNT * 4) {
            count += 1;
            found.push(find(count, word.as_ref())?);
        }
        if count != WORD_COUNT {
            return Err(Fault::misuse(format!("there are {WORD_COUNT} recovery words, not {count}"))
                .next("type all of them in order, separated by blanks"));
        }
        let list = Language::French.word_list();
        let line: Zeroizing<String> =
            Zeroizing::new(found.iter().map(|ix| list[*ix]).collect::<Vec<_>>().join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::French, &line).map_err(|_| {
            Fault::misuse("each of the 24 words is in the list, but together they fail their checksum")
                .next("compare them with the paper: one is another word, or two have changed places")
        })?;
        let (bytes, _) = mnemonic.to_entropy_array();
        let mut entropy = Zeroizing::new([0; 32]);
        entropy.copy_from_slice(&bytes[..32]);
        Ok(Self(entropy))
    }

    /// As [`parse`](Self::parse), from one text with blanks or line ends between the words.
    pub fn parse_text(text: &str) -> Result<Self> {
        Self::parse(text.split_whitespace())
    }

    /// The 24 words, in lower case with composed accents (NFC).
    pub fn words(&self) -> Vec<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::French, &*self.0).expect("32 bytes make 24 words");
        mnemonic.words().map(composed).collect()
    }

    /// The 32 bytes: the recovery identity is made of them, see `slots.rs`.
    pub fn entropy(&self) -> &[u8; 32] {
        &self.0
    }
}

/// How many words name an authority.
pub const NAMING_WORDS: usize = 4;
/// What makes these words no other words of the house.
const NAMING_DOMAIN: &[u8] = b"coffre: four words that name an authority, version 1";
/// Rounds behind these words: 44 bits alone would be matched by brute force in minutes.
const NAMING_ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// Four words of the same list that name a certificate (DER), in lower case with composed accents: 44 bits of
/// PBKDF2-HMAC-SHA-256 over its SHA-256. Public, and made of what is public: they have nothing to do with recovery. Takes some
/// hundredths of a second on purpose.
pub fn naming_words(certificate_der: &[u8]) -> [String; NAMING_WORDS] {
    let fingerprint = digest::digest(&digest::SHA256, certificate_der);
    let mut stretched = [0; 8];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        NAMING_ROUNDS,
        NAMING_DOMAIN,
        fingerprint.as_ref(),
        &mut stretched,
    );
    let number = u64::from_be_bytes(stretched);
    let list = Language::French.word_list();
    std::array::from_fn(|at| composed(list[(number >> (53 - 11 * at) & 0x7ff) as usize]))
}

impl fmt::Debug for RecoveryWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryWords(hidden)")
    }
}

/// The index in the list of word number `number` (from 1).
fn find(number: usize, typed: &str) -> Result<usize> {
    let shown: String = typed.trim().chars().take(20).collect();
    let unknown = || {
        Fault::misuse(format!("word {number}, {shown:?}, is not in the list of recovery words"))
            .next("compare it with the paper; accents and capitals do not matter, four letters are enough")
    };
    if typed.len() > MAX_WORD_LEN {
        return Err(unknown());
    }
    let folded = Zeroizing::new(fold(typed.trim()));
    let lookup = lookup();
    if let Some(ix) = lookup.whole.get(folded.as_str()) {
        return Ok(*ix);
    }
    let head = head(&folded).ok_or_else(unknown)?;
    let ix = *lookup.heads.get(head).ok_or_else(unknown)?;
    // "abaixxx" is a typing error, not an abbreviation.
    if lookup.folded[ix].starts_with(folded.as_str()) { Ok(ix) } else { Err(unknown()) }
}

struct Lookup {
    folded: Vec<String>,
    whole: HashMap<String, usize>,
    heads: HashMap<String, usize>,
}

fn lookup() -> &'static Lookup {
    static LOOKUP: OnceLock<Lookup> = OnceLock::new();
    LOOKUP.get_or_init(|| {
        let folded: Vec<String> = Language::French.word_list().iter().map(|word| fold(word)).collect();
        let whole = folded.iter().cloned().zip(0..).collect();
        let heads = folded.iter().zip(0..).filter_map(|(w, ix)| Some((head(w)?.to_owned(), ix))).collect();
        Lookup { folded, whole, heads }
    })
}

/// The first four letters of a folded word.
fn head(folded: &str) -> Option<&str> {
    folded.get(..ENOUGH_LETTERS)
}

/// Lower case without accents, whether these are separate characters (NFD) or not (NFC).
fn fold(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for c in word.chars().flat_map(char::to_lowercase) {
        match c {
            '\u{300}'..='\u{36f}' => {}
            'à' | 'â' | 'ä' => out.push('a'),
            'ç' => out.push('c'),
            'è' | 'é' | 'ê' | 'ë' => out.push('e'),
            'î' | 'ï' => out.push('i'),
            'ô' | 'ö' => out.push('o'),
            'ù' | 'û' | 'ü' => out.push('u'),
            'œ' => out.push_str("oe"),
            other => out.push(other),
        }
    }
    out
}

/// The list is kept in NFD; terminals and paper want NFC. Its only accents are on the letter e.
fn composed(word: &str) -> String {
    word.replace("e\u{301}", "é").replace("e\u{300}", "è")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Class;
    use proptest::prelude::*;

    #[test]
    fn the_list_is_what_the_code_relies_on() {
        let lookup = lookup();
        assert_eq!(lookup.whole.len(), 2048, "words differ without their accents");
        assert_eq!(lookup.heads.len(), 2048, "four letters name one word");
        for word in Language::French.word_list() {
            let composed = composed(word);
            assert!(!composed.chars().any(|c| ('\u{300}'..='\u{36f}').contains(&c)), "{word}");
            assert!(fold(&composed).bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn four_words_name_a_certificate() {
        let words = naming_words(b"a certificate");
        assert_eq!(words, naming_words(b"a certificate"), "always the same");
        assert_ne!(words, naming_words(b"another certificate"));
        let list: Vec<String> = Language::French.word_list().iter().map(|word| composed(word)).collect();
        assert!(words.iter().all(|word| list.contains(word)), "{words:?}");
        // Made once with Python's hashlib.pbkdf2_hmac, independently of this code.
        assert_eq!(words, [351, 125, 812, 599].map(|ix: usize| list[ix].clone()));
    }

    #[test]
    fn known_words() {
        let words = RecoveryWords::from_entropy([0; 32]).words();
        assert_eq!(words[..23], vec!["abaisser"; 23]);
        // BIP39 of 256 zero bits: 23 times word 0, then word 102 of the list.
        assert_eq!(words[23], composed(Language::French.word_list()[102]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let words = RecoveryWords::from_entropy([9; 32]).words();
        let fault = |words: &[String]| RecoveryWords::parse(words).expect_err("wrong");
        assert!(fault(&words[..23]).what.contains("24 recovery words, not 23"));
        let mut wrong = words.clone();
        wrong[4] = "zzzz".into();
        let said = fault(&wrong);
        assert_eq!(said.class, Class::Misuse);
        assert!(said.what.contains("word 5, \"zzzz\""), "{said}");
        wrong[4] = "aba".into();
        assert!(fault(&wrong).what.contains("word 5"));
        wrong[4] = "abaixxx".into();
        assert!(fault(&wrong).what.contains("word 5"));
        wrong[4] = "é".repeat(100_000);
        assert!(fault(&wrong).to_string().len() < 300);
        let mut swapped = words.clone();
        swapped.swap(0, 1);
        if swapped != words {
            assert!(fault(&swapped).what.contains("checksum"));
        }
        assert!(!format!("{:?}", RecoveryWords::from_entropy([9; 32])).contains('9'));
    }

    proptest! {
        #[test]
        fn words_come_back_however_they_are_typed(entropy: [u8; 32], style in 0..5) {
            let words = RecoveryWords::from_entropy(entropy);
            let typed: Vec<String> = words.words().iter().map(|word| match style {
                0 => word.clone(),
                1 => fold(word).to_uppercase(),
                2 => word.replace('é', "e\u{301}").replace('è', "e\u{300}"),
                3 => word.chars().take(4).collect(),
                _ => format!(" {} ", word.to_uppercase()),
            }).collect();
            prop_assert_eq!(typed.len(), 24);
            prop_assert!(RecoveryWords::parse(&typed).expect("reads") == words);
            prop_assert!(RecoveryWords::parse_text(&typed.join("\n\t ")).expect("reads") == words);
            prop_assert_eq!(words.entropy(), &entropy);
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            let _ = RecoveryWords::parse_text(&text);
        }
    }
}
