//! Key slots: one standard `age` file that holds the root key, for the recovery words and for the box itself.
//!
//! The file is what stands between a fire and the owner's data, so it must be readable without this program: it
//! is plain age v1 with X25519 recipients, and its content is a few lines of text. The 32 bytes behind the
//! recovery words are an X25519 secret as they are; written as `AGE-SECRET-KEY-1...` they open the file with
//! `age --decrypt -i identity.txt root.age`.
//!
//! ```text
//! coffre root key 1
//! vault <32 hexadecimal digits>
//! root <64 hexadecimal digits>
//! words <number>
//! ```
//!
//! `words` counts how often the recovery words were renewed, from 1, where the line is left out. Copies of the file on the
//! disks and in the state folder may differ after a crash, or when a disk was away: the highest number holds.
//!
//! Identities come from entropy that the caller passes in. What age draws for each file by itself (the file key,
//! the ephemeral keys, the nonce) comes from the system's generator: two files of the same root key differ, and
//! nothing may depend on their bytes being the same.

use crate::fault::{Fault, Result};
use crate::ids::VaultId;
use crate::keys::RootKey;
use age::secrecy::ExposeSecret;
use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;
use zeroize::Zeroizing;

/// Largest slot file that is looked at, in bytes; one with a few recipients has about 500.
pub const MAX_SLOT_FILE_LEN: usize = 64 * 1024;
/// Most recipients of one file.
pub const MAX_RECIPIENTS: usize = 16;

const FIRST_LINE: &str = "coffre root key 1";
/// The longest content: fixed words, 32 + 64 digits, a number and four line ends.
const CONTENT_LEN: usize = SHORT_LEN + "words ".len() + 10 + 1;
/// The content without the number of the words.
const SHORT_LEN: usize = FIRST_LINE.len() + 1 + "vault ".len() + 32 + 1 + "root ".len() + 64 + 1;

/// An X25519 secret that opens slot files.
#[derive(Clone)]
pub struct SlotIdentity(age::x25519::Identity);

/// What a slot file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slots {
    /// The vault.
    pub vault: VaultId,
    /// Its root key.
    pub root: RootKey,
    /// Which recovery words these are: 1 for those of init, one more each time they are renewed.
    pub words_number: u32,
}

/// Whom a slot file is sealed for. `Display` and `FromStr` are the standard `age1...` text.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotRecipient(age::x25519::Recipient);

/// The identity whose secret is `entropy`: the recovery words' bytes, or 32 bytes drawn for the box.
pub fn new_identity(entropy: [u8; 32]) -> SlotIdentity {
    let entropy = Zeroizing::new(entropy);
    let prefix = bech32::Hrp::parse("age-secret-key-").expect("a valid prefix");
    let text = Zeroizing::new(
        bech32::encode_upper::<bech32::Bech32>(prefix, &*entropy).expect("32 bytes fit a bech32 text"),
    );
    SlotIdentity(text.parse().expect("any 32 bytes are an X25519 secret"))
}

impl SlotIdentity {
    /// Its standard text, `AGE-SECRET-KEY-1...`: a secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }

    /// Whom to seal for, so that this identity can open.
    pub fn recipient(&self) -> SlotRecipient {
        SlotRecipient(self.0.to_public())
    }
}

/// Seals the root key for all `recipients` in one age file (binary), with the first words of a vault.
pub fn seal_root(root: &RootKey, vault: VaultId, recipients: &[SlotRecipient]) -> Result<Vec<u8>> {
    seal_slots(&Slots { vault, root: root.clone(), words_number: 1 }, recipients)
}

/// Seals a vault's root key for all `recipients` in one age file (binary).
pub fn seal_slots(slots: &Slots, recipients: &[SlotRecipient]) -> Result<Vec<u8>> {
    if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
        return Err(Fault::misuse(format!(
            "a key slot file has 1 to {MAX_RECIPIENTS} recipients, not {}",
            recipients.len()
        )));
    }
    let Slots { vault, root, words_number } = slots;
    let root_hex = Zeroizing::new(hex::encode(root.expose()));
    let content =
        Zeroizing::new(format!("{FIRST_LINE}\nvault {vault}\nroot {}\nwords {words_number}\n", *root_hex));
    let failed = |e: &dyn fmt::Display| Fault::permanent(format!("the key slot file cannot be made: {e}"));
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| &r.0 as &dyn age::Recipient))
        .map_err(|e| failed(&e))?;
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).map_err(|e| failed(&e))?;
    writer.write_all(content.as_bytes()).map_err(|e| failed(&e))?;
    writer.finish().map_err(|e| failed(&e))?;
    Ok(file)
}

/// Opens a slot file. [`Class::Refused`](crate::fault::Class::Refused): it is whole but not sealed for this
/// identity (for words: they are of another vault). [`Class::Corrupt`](crate::fault::Class::Corrupt): damaged.
pub fn open_root(file: &[u8], identity: &SlotIdentity) -> Result<(VaultId, RootKey)> {
    open_slots(file, identity).map(|slots| (slots.vault, slots.root))
}

/// As [`open_root`], with everything that the file holds.
pub fn open_slots(file: &[u8], identity: &SlotIdentity) -> Result<Slots> {
    let damaged = |e: &dyn fmt::Display| {
        Fault::corrupt(format!("the key slot file is damaged: {e}")).next("take the copy on another disk")
    };
    if file.len() > MAX_SLOT_FILE_LEN {
        return Err(damaged(&format!("{} bytes are too many", file.len())));
    }
    let decryptor = age::Decryptor::new_buffered(file).map_err(|e| damaged(&e))?;
    let reader =
        decryptor.decrypt(std::iter::once(&identity.0 as &dyn age::Identity)).map_err(|e| match e {
            age::DecryptError::NoMatchingKeys => {
                Fault::refused("the key slot file is sealed for somebody else")
                    .next("use the recovery words of this very vault")
            }
            other => damaged(&other),
        })?;
    let mut content = Zeroizing::new(Vec::with_capacity(CONTENT_LEN + 1));
    reader.take(CONTENT_LEN as u64 + 1).read_to_end(&mut content).map_err(|e| damaged(&e))?;
    parse_content(&content).ok_or_else(|| damaged(&"its content is not a root key of format 1"))
}

fn parse_content(content: &[u8]) -> Option<Slots> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('\n')?;
    let mut lines = text.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let vault = lines.next()?.strip_prefix("vault ")?.parse().ok()?;
    let digits = lines.next()?.strip_prefix("root ")?;
    let mut root = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, &mut *root).ok()?;
    let words_number = match lines.next() {
        None => 1,
        Some(line) => number(line.strip_prefix("words ")?)?,
    };
    lines.next().is_none().then(|| Slots { vault, root: RootKey::new(*root), words_number })
}

/// A number from 1, as we write it.
fn number(digits: &str) -> Option<u32> {
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(number)
}

impl FromStr for SlotIdentity {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        // What was typed is a secret: the fault does not repeat it.
        text.trim().parse().map(Self).map_err(|why| Fault::misuse(format!("not an age identity: {why}")))
    }
}

impl FromStr for SlotRecipient {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        text.trim().parse().map(Self).map_err(|why| Fault::misuse(format!("not an age recipient: {why}")))
    }
}

impl fmt::Display for SlotRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for SlotRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotRecipient({self})")
    }
}

impl fmt::Debug for SlotIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotIdentity(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Class;

    const VAULT: VaultId = VaultId([5; 16]);

    fn sealed() -> (Vec<u8>, RootKey, SlotIdentity, SlotIdentity) {
        let root = RootKey::new([7; 32]);
        let (paper, own) = (new_identity([1; 32]), new_identity([2; 32]));
        let file = seal_root(&root, VAULT, &[paper.recipient(), own.recipient()]).expect("seals");
        (file, root, paper, own)
    }

    #[test]
    fn the_words_and_the_box_open_it_and_nobody_else() {
        let (file, root, paper, own) = sealed();
        assert!(file.starts_with(b"age-encryption.org/v1\n"));
        for identity in [paper, own] {
            assert_eq!(open_root(&file, &identity).expect("opens"), (VAULT, root.clone()));
        }
        assert_eq!(open_root(&file, &new_identity([3; 32])).expect_err("other").class, Class::Refused);
        assert_eq!(seal_root(&root, VAULT, &[]).expect_err("nobody").class, Class::Misuse);
    }

    #[test]
    fn text_forms_are_those_of_age() {
        let identity = new_identity([1; 32]);
        let text = identity.to_text();
        assert!(text.starts_with("AGE-SECRET-KEY-1"), "{}", *text);
        let again: SlotIdentity = text.parse().expect("reads");
        assert_eq!(again.recipient(), identity.recipient());
        let recipient = identity.recipient().to_string();
        assert!(recipient.starts_with("age1"), "{recipient}");
        assert_eq!(recipient.parse::<SlotRecipient>().expect("reads"), identity.recipient());
        assert!("age1xyz".parse::<SlotRecipient>().is_err());
        let fault = "AGE-SECRET-KEY-1QQQ".parse::<SlotIdentity>().expect_err("wrong");
        assert!(!fault.to_string().contains("QQQ"), "{fault}");
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_an_error() {
        let (mut file, _, paper, _) = sealed();
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            let fault = open_root(&file, &paper).expect_err("flipped");
            assert!(matches!(fault.class, Class::Corrupt | Class::Refused), "bit {bit}: {fault}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..file.len() {
            assert!(open_root(&file[..len], &paper).is_err(), "{len} bytes");
        }
        assert_eq!(
            open_root(&vec![0; MAX_SLOT_FILE_LEN + 1], &paper).expect_err("long").class,
            Class::Corrupt
        );
    }

    #[test]
    fn content_is_read_strictly() {
        let good = format!("coffre root key 1\nvault {}\nroot {}\n", "05".repeat(16), "07".repeat(32));
        assert_eq!(good.len(), SHORT_LEN);
        assert_eq!(parse_content(good.as_bytes()).expect("of init").words_number, 1);
        let renewed = format!("{good}words 4294967295\n");
        assert_eq!(renewed.len(), CONTENT_LEN);
        assert_eq!(parse_content(renewed.as_bytes()).expect("often renewed").words_number, u32::MAX);
        for bad in
            ["words 0", "words 01", "words +1", "words 4294967296", "words ", "word 1", "words 1\nwords 2"]
        {
            assert!(parse_content(format!("{good}{bad}\n").as_bytes()).is_none(), "{bad}");
        }
        for bad in
            [good.replace('1', "2"), good.replace("07", "0"), format!("{good}\n"), good.replace('\n', "\r\n")]
        {
            assert!(parse_content(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
