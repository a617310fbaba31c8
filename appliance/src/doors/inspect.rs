//! What the doors make of raw bytes, as plain values: for the fuzz targets, which know nothing of HTTP.
//!
//! Nothing is decided here. Each function takes the bytes of a header or an address as a stranger would send them and gives
//! what the room behind it reads; `None` where the bytes cannot even stand in a request.

use super::auth::Credentials;
use super::digests::Digests;
use super::http::parts;
use super::incoming;
pub use super::ranges::Selected;
use super::ranges::select;
use super::restic::{self, Address};
use coffre_core::fault::Result;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// What a `Range` header selects of a body of `size` bytes.
pub fn range(header: &[u8], size: u64) -> Option<Selected> {
    Some(select(Some(&HeaderValue::from_bytes(header).ok()?), size))
}

/// Name and secret of an `Authorization` header.
pub fn credentials(header: &[u8]) -> Option<(String, String)> {
    let Credentials { name, secret } = Credentials::parse(&HeaderValue::from_bytes(header).ok()?)?;
    Some((name, secret))
}

/// Whether a `Repr-Digest` header can be read, and if so whether `body` has these digests.
pub fn digest(header: &[u8], body: &[u8]) -> Option<Result<Result<()>>> {
    let headers = [(b"repr-digest".to_vec(), header.to_vec())];
    let headers = header_map(&headers)?;
    Some(Digests::from_headers(&headers).map(|mut digests| {
        digests.update(body);
        digests.verify()
    }))
}

/// Whether a `PUT` with these headers may bring a body: the status that it would be refused with.
pub fn put_headers(headers: &[(Vec<u8>, Vec<u8>)]) -> Option<std::result::Result<(), u16>> {
    let headers = header_map(headers)?;
    Some(incoming::check_headers(&headers).map_err(|(status, _)| status.as_u16()))
}

/// The parts of an address as it stands in a request line, when it is one of the drop-box: behind `/v1/datasets`.
pub fn address(target: &[u8]) -> Option<Vec<String>> {
    let uri = Uri::try_from(target).ok()?;
    match parts(uri.path())?.as_slice() {
        ["v1", "datasets", rest @ ..] => Some(rest.iter().map(|&part| part.to_owned()).collect()),
        _ => None,
    }
}

/// What an address means behind the folder of a client at the restic door: the repository's name, and the rest of the address as it would
/// be written again. `None` when it is no address of that client.
pub fn repository(target: &[u8], client: &str) -> Option<Result<(String, String)>> {
    let uri = Uri::try_from(target).ok()?;
    let parts = parts(uri.path())?;
    let (first, rest) = parts.split_first()?;
    if *first != client {
        return None;
    }
    let written = |(name, address): (coffre_core::names::DatasetName, Address)| {
        let within = match address {
            Address::Root => String::new(),
            Address::List(kind) => format!("{kind}/"),
            Address::File(kind, None) => kind.to_string(),
            Address::File(kind, Some(name)) => format!("{kind}/{name}"),
        };
        (name.to_string(), within)
    };
    Some(restic::parse_address(rest).map(written))
}

/// The fields of the form on the pairing page.
pub fn form(body: &[u8]) -> Result<Vec<(String, String)>> {
    super::pair::fields(body)
}

fn header_map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().take(super::limits::MAX_HEADERS) {
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_the_doors_read_them() {
        assert_eq!(range(b"bytes=1-2", 9), Some(Selected::Part { start: 1, end: 3 }));
        assert_eq!(range(b"bytes=\n", 9), None);
        assert_eq!(credentials(b"Basic YTpi"), Some(("a".into(), "b".into())));
        assert!(matches!(digest(b"sha-256=:AAAA:", b""), Some(Err(_))));
        let length = (b"content-length".to_vec(), b"3".to_vec());
        assert_eq!(put_headers(std::slice::from_ref(&length)), Some(Ok(())));
        assert_eq!(put_headers(&[]), Some(Err(411)));
        let parts = address(b"/v1/datasets/a/snapshots/latest?x=1");
        assert_eq!(parts, Some(vec!["a".into(), "snapshots".into(), "latest".into()]));
        assert_eq!(address(b"/v1/certificate"), None);
        assert_eq!(form(b"code=7%4B"), Ok(vec![("code".into(), "7K".into())]));
    }
}
