//! The box's identity: a small authority of its own that clients pin, leaf certificates under it, signed receipts.
//!
//! The authority's P-256 key and the Ed25519 key of the receipts are derived from the root key, so that a box
//! rebuilt from its recovery words is the same box to its clients. So is the key of the leaves, for clients that pin the key of what
//! serves; a leaf with its names and days is kept in the state folder, and issued again when a name comes that it
//! has not, or its end is near. A leaf is never the authority itself: several TLS stacks refuse an authority that serves.

use crate::addresses::Names;
use crate::clock;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffre_core::fault::{Fault, Result};
use coffre_core::ids::VaultId;
use coffre_core::wire::CertificateInfo;
use coffre_core::words::naming_words;
use coffre_vault::IdentityKeys;
use jiff::civil::Date;
use jiff::{Span, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long the authority is valid from its making.
pub const AUTHORITY_YEARS: i16 = 30;
/// How long a leaf is valid, day before included: no more than clients accept (398 days).
pub const LEAF_DAYS: i32 = 397;
/// A leaf with less left than this is issued again.
pub const LEAF_RENEW_BEFORE_MS: u64 = 60 * 24 * 3600 * 1000;

/// No certificate of ours begins before this: a box whose clock woke up in 1970 would otherwise make an
/// authority that has ended before its first client comes.
const EARLIEST: Date = Date::constant(2025, 1, 1);
/// Every authority ends by here: below 2106, where 32-bit times end.
const LATEST: Date = Date::constant(2105, 12, 31);

/// What a kept leaf is sealed with against damage; derived from the key of the leaves.
const KEEPING: &str = "coffre 2026 v1 kept leaf";
/// A leaf as it is kept: `names`, `not_before_ms`, `not_after_ms`, `certificate` (DER in hexadecimal digits).
#[derive(Serialize, Deserialize)]
struct Kept {
    names: Names,
    not_before_ms: u64,
    not_after_ms: u64,
    certificate: String,
}

/// A leaf certificate with its key, ready for TLS.
pub struct Leaf {
    /// The leaf, then the authority, DER.
    pub chain_der: Vec<Vec<u8>>,
    /// The leaf's private key, PKCS#8 DER.
    pub key_der: Vec<u8>,
    /// What it covers.
    pub names: Names,
    /// From when it is valid.
    pub not_before_ms: u64,
    /// Until when it is valid.
    pub not_after_ms: u64,
}

/// The authority at work: issues leaves, signs receipts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_der: Vec<u8>,
    leaf_key: KeyPair,
    keeping: [u8; 32],
    receipts: Ed25519KeyPair,
    box_name: String,
    words: Vec<String>,
}

/// Makes the authority's self-signed certificate (DER): `CN=Coffre NAME`, `OU` the vault's id, a CA that can issue
/// leaves only, valid from the day before `now_ms` for [`AUTHORITY_YEARS`] years, ending below 2106.
pub fn make_authority(keys: &IdentityKeys, vault: VaultId, name: &str, now_ms: u64) -> Result<Vec<u8>> {
    let key = authority_key(keys)?;
    let mut params = authority_params(vault, name);
    set_validity(&mut params, validity(now_ms, Span::new().years(AUTHORITY_YEARS)));
    let certificate = params.self_signed(&key).map_err(|e| bad_identity(&e))?;
    Ok(certificate.der().to_vec())
}

/// The certificate as PEM text, its fingerprint, and the receipts' public key.
pub fn certificate_info(authority: &Authority) -> CertificateInfo {
    CertificateInfo {
        pem: pem(&authority.certificate_der),
        fingerprint: fingerprint(&authority.certificate_der),
        receipt_key: STANDARD.encode(authority.receipts.public_key()),
        words: authority.words.clone(),
    }
}

/// A certificate as PEM text.
pub fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// DER of the first certificate in a PEM text; `None` when there is none.
pub fn der_of_pem(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

/// SHA-256 of a certificate as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:...`.
pub fn fingerprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

impl Authority {
    /// Puts the kept certificate to work with its keys. `Corrupt` when they do not belong together.
    pub fn open(
        keys: &IdentityKeys,
        vault: VaultId,
        box_name: &str,
        certificate_der: Vec<u8>,
    ) -> Result<Self> {
        let key = authority_key(keys)?;
        let leaf_key = key_pair(&keys.leaf_scalar)?;
        let keeping = blake3::derive_key(KEEPING, &keys.leaf_scalar);
        let holds = |part: &[u8]| certificate_der.windows(part.len().max(1)).any(|window| window == part);
        if !holds(key.der_bytes()) || !holds(common_name(box_name).as_bytes()) {
            return Err(Fault::corrupt("the kept certificate does not belong to this box's key and name"));
        }
        let receipts = Ed25519KeyPair::from_seed_unchecked(&keys.receipt_seed)
            .map_err(|_| Fault::corrupt("the key of the receipts cannot be used"))?;
        let issuer = Issuer::new(authority_params(vault, box_name), key);
        let words = naming_words(&certificate_der).to_vec();
        let box_name = box_name.to_owned();
        Ok(Self { issuer, certificate_der, leaf_key, keeping, receipts, box_name, words })
    }

    /// A new leaf with the key of all leaves for these names, valid from the day before for [`LEAF_DAYS`] days in all.
    pub fn issue_leaf(&self, names: &Names, now_ms: u64) -> Result<Leaf> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial_number()?);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{} door", common_name(&self.box_name)));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.ips.iter().map(|ip| SanType::IpAddress(*ip)).collect();
        for name in &names.dns {
            let dns = name.as_str().try_into().map_err(|e| bad_identity(&e))?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        let (first, last) = validity(now_ms, Span::new().days(LEAF_DAYS));
        set_validity(&mut params, (first, last));
        let certificate = params.signed_by(&self.leaf_key, &self.issuer).map_err(|e| bad_identity(&e))?;
        Ok(self.leaf(certificate.der().to_vec(), names.clone(), midnight_ms(first), midnight_ms(last)))
    }

    /// A leaf as text for the state folder. There is nothing secret in it.
    pub fn keep(&self, leaf: &Leaf) -> Result<String> {
        let certificate = leaf.chain_der.first().map(hex::encode).unwrap_or_default();
        let (names, not_before_ms, not_after_ms) =
            (leaf.names.clone(), leaf.not_before_ms, leaf.not_after_ms);
        let kept = serde_json::to_string(&Kept { names, not_before_ms, not_after_ms, certificate })
            .map_err(|e| bad_identity(&e))?;
        Ok(format!("{kept}\n{}\n", hex::encode(self.seal(&kept))))
    }

    /// The leaf of such a text; `None` when it is damaged, or another authority's.
    pub fn kept_leaf(&self, text: &str) -> Option<Leaf> {
        let (kept, seal) = text.strip_suffix('\n')?.split_once('\n')?;
        let mut expected = [0; 32];
        hex::decode_to_slice(seal, &mut expected).ok()?;
        // In constant time, as `blake3::Hash` compares.
        if blake3::Hash::from_bytes(expected) != blake3::Hash::from_bytes(self.seal(kept)) {
            return None;
        }
        let kept: Kept = serde_json::from_str(kept).ok()?;
        let certificate = hex::decode(&kept.certificate).ok()?;
        Some(self.leaf(certificate, kept.names, kept.not_before_ms, kept.not_after_ms))
    }

    fn leaf(&self, certificate: Vec<u8>, names: Names, not_before_ms: u64, not_after_ms: u64) -> Leaf {
        let chain_der = vec![certificate, self.certificate_der.clone()];
        Leaf { chain_der, key_der: self.leaf_key.serialize_der(), names, not_before_ms, not_after_ms }
    }

    /// Keyed hash of a kept leaf's text, beginning with the authority that it stands under.
    fn seal(&self, kept: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.keeping);
        hasher.update(blake3::hash(&self.certificate_der).as_bytes());
        *hasher.update(kept.as_bytes()).finalize().as_bytes()
    }

    /// Ed25519 signature over exactly these bytes, base64.
    pub fn sign_receipt(&self, receipt: &str) -> String {
        STANDARD.encode(self.receipts.sign(receipt.as_bytes()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("box_name", &self.box_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("not_after_ms", &self.not_after_ms).finish_non_exhaustive()
    }
}

fn common_name(box_name: &str) -> String {
    format!("Coffre {box_name}")
}

fn authority_params(vault: VaultId, box_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name(box_name));
    params.distinguished_name.push(DnType::OrganizationalUnitName, vault.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// 127 random bits: no two certificates of one authority may have the same, and these have one key.
fn serial_number() -> Result<SerialNumber> {
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| Fault::permanent("the system gives no random bits"))?;
    bits[0] = (bits[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bits))
}

fn authority_key(keys: &IdentityKeys) -> Result<KeyPair> {
    key_pair(&keys.authority_scalar)
}

/// A key pair from its scalar: as an RFC 5915 `ECPrivateKey` without its optional public key, which
/// the library computes.
fn key_pair(scalar: &[u8; 32]) -> Result<KeyPair> {
    let unusable = || Fault::corrupt("the key of the box's certificates cannot be used");
    let mut sec1 = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    sec1.extend_from_slice(scalar);
    sec1.extend_from_slice(&[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &sec1);
    let pkcs8 = pair.map_err(|_| unusable())?.to_pkcs8v1().map_err(|_| unusable())?;
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_ref());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(|_| unusable())
}

/// First and last day of a certificate made at `now_ms` that lasts `span` from its first day.
fn validity(now_ms: u64, span: Span) -> (Date, Date) {
    let today = clock::timestamp(now_ms).to_zoned(TimeZone::UTC).date().clamp(EARLIEST, LATEST);
    let first = today.yesterday().unwrap_or(today);
    let last = first.checked_add(span).unwrap_or(LATEST).min(LATEST);
    (first, last)
}

fn set_validity(params: &mut CertificateParams, (first, last): (Date, Date)) {
    let midnight = |day: Date| {
        rcgen::date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    params.not_before = midnight(first);
    params.not_after = midnight(last);
}

fn midnight_ms(day: Date) -> u64 {
    let stamp = day.to_zoned(TimeZone::UTC).map(|z| z.timestamp().as_millisecond());
    stamp.ok().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}

fn bad_identity(error: &dyn fmt::Display) -> Fault {
    Fault::permanent(format!("cannot make a certificate: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    /// 2026-03-01T09:30:00Z.
    pub(crate) const NOW_MS: u64 = 1_772_357_400_000;

    pub(crate) fn keys() -> IdentityKeys {
        IdentityKeys { authority_scalar: [0x11; 32], leaf_scalar: [0x33; 32], receipt_seed: [0x22; 32] }
    }

    pub(crate) fn authority(name: &str) -> Authority {
        let vault = VaultId([7; 16]);
        let der = make_authority(&keys(), vault, name, NOW_MS).expect("made");
        Authority::open(&keys(), vault, name, der).expect("opens")
    }

    #[test]
    fn one_scalar_is_one_key_and_a_foreign_certificate_is_refused() {
        let first = authority_key(&keys()).expect("usable");
        let again = authority_key(&keys()).expect("usable");
        assert_eq!(first.der_bytes(), again.der_bytes());
        let vault = VaultId([7; 16]);
        let other = IdentityKeys { authority_scalar: [0x12; 32], ..keys() };
        let der = make_authority(&other, vault, "a", NOW_MS).expect("made");
        assert!(Authority::open(&keys(), vault, "a", der.clone()).is_err());
        assert!(Authority::open(&other, vault, "b", der.clone()).is_err());
        assert!(Authority::open(&other, vault, "a", der).is_ok());
        // Not a scalar of the curve: an error, not a panic.
        for bad in [[0; 32], [0xff; 32]] {
            assert!(authority_key(&IdentityKeys { authority_scalar: bad, ..keys() }).is_err());
        }
    }

    #[test]
    fn validity_is_bounded_whatever_the_clock_says() {
        let years = Span::new().years(AUTHORITY_YEARS);
        let (first, last) = validity(NOW_MS, years);
        assert_eq!((first.to_string(), last.to_string()), ("2026-02-28".into(), "2056-02-28".into()));
        let (first, last) = validity(0, years);
        assert_eq!((first.to_string(), last.to_string()), ("2024-12-31".into(), "2054-12-31".into()));
        let (_, last) = validity(u64::MAX, years);
        assert_eq!(last, LATEST);
        let leaf = authority("a").issue_leaf(&Names::default(), NOW_MS).expect("issued");
        assert_eq!((leaf.not_after_ms - leaf.not_before_ms) / 86_400_000, 397);
    }

    #[test]
    fn a_kept_leaf_is_the_same_leaf_and_a_damaged_or_foreign_one_is_none() {
        let names = Names { dns: ["box.example".to_owned()].into(), ips: [[10, 0, 0, 1].into()].into() };
        let it = authority("a");
        let leaf = it.issue_leaf(&names, NOW_MS).expect("issued");
        let text = it.keep(&leaf).expect("kept");
        let again = it.kept_leaf(&text).expect("whole");
        assert_eq!(
            (&again.chain_der, &again.key_der, &again.names),
            (&leaf.chain_der, &leaf.key_der, &names)
        );
        assert_eq!((again.not_before_ms, again.not_after_ms), (leaf.not_before_ms, leaf.not_after_ms));
        assert!(!text.contains(&hex::encode(&leaf.key_der[..32])), "no key is kept");
        let other = it.issue_leaf(&names, NOW_MS).expect("issued");
        assert!(other.key_der == leaf.key_der && other.chain_der != leaf.chain_der, "another serial number");
        assert!(authority("b").kept_leaf(&text).is_none());
        for cut in [0, 1, text.len() / 2, text.len() - 1] {
            assert!(it.kept_leaf(&text[..cut]).is_none(), "{cut}");
        }
        for at in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).expect("still ASCII");
            assert!(it.kept_leaf(&damaged).is_none(), "{at}");
        }
    }

    #[test]
    fn a_receipt_is_signed_over_exactly_its_text() {
        let authority = authority("a");
        let info = certificate_info(&authority);
        let signature = STANDARD.decode(authority.sign_receipt("{}")).expect("base64");
        let key = STANDARD.decode(&info.receipt_key).expect("base64");
        let key = UnparsedPublicKey::new(&ED25519, key);
        assert!(key.verify(b"{}", &signature).is_ok());
        assert!(key.verify(b"{ }", &signature).is_err());
    }

    #[test]
    fn pem_there_and_back() {
        let der = authority("a").certificate_der;
        assert_eq!(der_of_pem(&pem(&der)).as_deref(), Some(der.as_slice()));
        assert_eq!(der_of_pem("no certificate"), None);
        assert_eq!(fingerprint(&der).len(), 32 * 3 - 1);
        assert!(pem(&der).lines().all(|line| line.len() <= 64));
    }
}
