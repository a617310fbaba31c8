//! `Repr-Digest` and `Content-Digest` (RFC 9530): what the client says its body hashes to, checked while it streams.
//!
//! A digest is hashed only when it was sent. `sha-256` and `sha-512` are known; others are ignored, as the RFC
//! asks; what is not of the form `algorithm=:BASE64:` is refused, because a check the client believes in and that
//! never happens is worse than none. For the same reason a digest in a trailer is refused, which the RFC allows and
//! this box does not check: before the body if the trailer is declared, behind it if not. Without content coding or ranges the two headers mean the same bytes.

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA512};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use coffre_core::fault::{Fault, Result};
use hyper::header::{HeaderMap, HeaderValue};
use std::fmt;

/// Most digests of one request.
const MAX_DIGESTS: usize = 8;
const HEADERS: [&str; 2] = ["repr-digest", "content-digest"];
/// Fields that say what a body hashes to, older ones included: none of them may come in a trailer.
const DIGEST_FIELDS: [&str; 4] = ["repr-digest", "content-digest", "digest", "content-md5"];
/// Structured fields may leave out the padding (RFC 9651, section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Digests that the body must have, being computed.
#[derive(Default)]
pub struct Digests {
    checks: Vec<Check>,
}

struct Check {
    header: &'static str,
    algorithm: &'static str,
    expected: Vec<u8>,
    context: Context,
}

impl Digests {
    /// Reads both headers. `Misuse` when one is malformed.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let mut checks: Vec<Check> = Vec::new();
        for header in HEADERS {
            for value in headers.get_all(header) {
                let text = value.to_str().map_err(|_| malformed(header))?;
                for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
                    let check = parse_member(header, member)?;
                    checks.extend(check);
                }
            }
        }
        if checks.len() > MAX_DIGESTS {
            return Err(Fault::misuse("too many digests in one request"));
        }
        Ok(Self { checks })
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for check in &mut self.checks {
            check.context.update(bytes);
        }
    }

    /// `Misuse` when the body was not what the client said.
    pub fn verify(self) -> Result<()> {
        for Check { header, algorithm, expected, context } in self.checks {
            if context.finish().as_ref() != expected.as_slice() {
                return Err(Fault::misuse(format!("the body does not have the {algorithm} of its {header}"))
                    .next("nothing was kept; send it again"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.algorithm)).finish()
    }
}

/// Whether a `Trailer` header announces a digest.
pub fn names_digest(trailer: &HeaderValue) -> bool {
    let is_digest = |name: &[u8]| {
        DIGEST_FIELDS.iter().any(|field| name.trim_ascii().eq_ignore_ascii_case(field.as_bytes()))
    };
    trailer.as_bytes().split(|byte| *byte == b',').any(is_digest)
}

/// Whether there is a digest among the trailers that came.
pub fn any_digest(trailers: &HeaderMap) -> bool {
    DIGEST_FIELDS.iter().any(|field| trailers.contains_key(*field))
}

/// `Misuse`: a digest in a trailer would not be checked.
pub fn in_trailer() -> Fault {
    Fault::misuse("a digest in a trailer is not checked here, so it is not taken; nothing was kept")
        .next("send Repr-Digest as a header, or leave it out and compare the hash in the receipt")
}

/// One `algorithm=:BASE64:`, with parameters ignored. `None` for an algorithm that is not known here.
fn parse_member(header: &'static str, member: &str) -> Result<Option<Check>> {
    let bad = || malformed(header);
    let (key, value) = member.split_once('=').ok_or_else(bad)?;
    let mut letters = key.bytes();
    let starts_well = letters.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'*');
    if !starts_well || !letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.*".contains(&b))
    {
        return Err(bad());
    }
    let (encoded, parameters) =
        value.strip_prefix(':').and_then(|rest| rest.split_once(':')).ok_or_else(bad)?;
    if !parameters.is_empty() && !parameters.trim_start().starts_with(';') {
        return Err(bad());
    }
    let expected = BASE64.decode(encoded).map_err(|_| bad())?;
    let (name, algorithm): (&str, &'static Algorithm) = match key {
        "sha-256" => ("sha-256", &SHA256),
        "sha-512" => ("sha-512", &SHA512),
        _ => return Ok(None),
    };
    if expected.len() != algorithm.output_len() {
        return Err(bad());
    }
    Ok(Some(Check { header, algorithm: name, expected, context: Context::new(algorithm) }))
}

fn malformed(header: &str) -> Fault {
    Fault::misuse(format!("the {header} header is malformed"))
        .next("write it as sha-256=:BASE64: (RFC 9530), or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    /// SHA-256 of `abc`.
    const ABC: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

    fn check(headers: &[(&'static str, &str)], body: &[u8]) -> std::result::Result<Result<()>, Fault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("bytes"),
            );
        }
        let mut digests = Digests::from_headers(&map)?;
        body.chunks(2).for_each(|piece| digests.update(piece));
        Ok(digests.verify())
    }

    #[test]
    fn a_right_digest_passes_and_a_wrong_one_does_not() {
        let sha512 = "sha-512=:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==:";
        let unpadded = ABC.replace('=', "").replacen("sha-256", "sha-256=", 1);
        for good in [ABC, sha512, &format!("{ABC}, {sha512}"), &format!("md5=:AAAA:, {ABC};a=1"), &unpadded] {
            assert_eq!(check(&[("repr-digest", good)], b"abc"), Ok(Ok(())), "{good}");
            assert!(check(&[("repr-digest", good)], b"abd").is_ok_and(|r| r.is_err()), "{good}");
        }
        assert_eq!(check(&[("content-digest", ABC), ("repr-digest", ABC)], b"abc"), Ok(Ok(())));
        assert_eq!(check(&[], b"anything"), Ok(Ok(())));
        assert_eq!(check(&[("repr-digest", "md5=:AAAA:, crc32c=:AAAA:")], b"x"), Ok(Ok(())));
    }

    #[test]
    fn malformed_headers_are_refused() {
        let bad = [
            "sha-256",
            "sha-256=",
            "sha-256=abc",
            "sha-256=:abc",
            "sha-256=:!!!!:",
            "sha-256=:AAAA:",
            "SHA-256=:AAAA:",
            "=:AAAA:",
            "sha-256=\"x\"",
            "a b=:AAAA:",
            "sha-256=::",
            "md5=:AAAA:x",
            "é=:AAAA:",
        ];
        for text in bad {
            assert!(check(&[("repr-digest", text)], b"").is_err(), "{text}");
        }
        let many = [ABC; 9].join(",");
        assert!(check(&[("repr-digest", &many)], b"abc").is_err());
    }
}
