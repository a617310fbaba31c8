//! Whether a request has the form that it must have, and whether a body, as its headers describe it, can be kept as received.
//!
//! hyper has refused by then what cannot be read in one way only (two lengths, an unknown last coding, folded headers, names
//! and values with bytes that cannot be). What it lets pass and HTTP/1.1 forbids is refused here, before anybody is asked who
//! knocks.

use super::digests;
use coffre_core::fault::Fault;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, EXPECT, HOST, HeaderMap, HeaderValue, TRAILER,
    TRANSFER_ENCODING,
};
use hyper::{Request, StatusCode, Version};

/// The status and reason of the refusal of a request that is not HTTP/1.1 for one host.
pub fn check_form<B>(request: &Request<B>) -> std::result::Result<(), (StatusCode, Fault)> {
    if request.version() != Version::HTTP_11 {
        let fault = Fault::misuse("this box speaks HTTP/1.1 only");
        return Err((
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            fault.next("use a client that does, curl for instance"),
        ));
    }
    if request.headers().get_all(HOST).iter().count() != 1 {
        let fault = Fault::misuse("a request names its host once (Host)");
        return Err((StatusCode::BAD_REQUEST, fault.next("use a client that speaks HTTP/1.1")));
    }
    Ok(())
}

/// The status and reason of the refusal, when it is not.
pub fn check_headers(headers: &HeaderMap) -> std::result::Result<(), (StatusCode, Fault)> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let fault = Fault::misuse("a body with a Content-Encoding is not taken")
            .next("send the file as it is, without the header: what arrives is what is kept and given back");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, fault));
    }
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    if !matches!(codings[..], []) && !matches!(codings[..], [one] if one.eq_ignore_ascii_case(b"chunked")) {
        let fault = Fault::misuse("of all transfer codings only chunked is known, and only by itself")
            .next("send the file as it is: what arrives is what is kept and given back");
        return Err((StatusCode::NOT_IMPLEMENTED, fault));
    }
    if headers.get_all(TRAILER).iter().any(digests::names_digest) {
        return Err((StatusCode::BAD_REQUEST, digests::in_trailer()));
    }
    if headers.contains_key(CONTENT_RANGE) {
        let fault = Fault::misuse("a snapshot cannot be sent in parts (Content-Range)").next("send it whole");
        return Err((StatusCode::BAD_REQUEST, fault));
    }
    if headers.get_all(EXPECT).iter().any(|what| !what.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let fault = Fault::misuse("of all expectations only 100-continue is known");
        return Err((StatusCode::EXPECTATION_FAILED, fault));
    }
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        let fault = Fault::misuse("there is no body: neither Content-Length nor Transfer-Encoding: chunked")
            .next("with curl: -T FILE, or -T - to send what a pipe brings");
        return Err((StatusCode::LENGTH_REQUIRED, fault));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_cannot_be_kept_as_received_are_refused() {
        let status = |pairs: &[(hyper::header::HeaderName, &'static str)]| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            check_headers(&headers).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(status(&[(CONTENT_LENGTH, "3")]), Ok(()));
        assert_eq!(status(&[(TRANSFER_ENCODING, "chunked"), (EXPECT, "100-Continue")]), Ok(()));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_ENCODING, "identity")]), Ok(()));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_ENCODING, "gzip")]), Err(415));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (CONTENT_RANGE, "bytes 0-2/9")]), Err(400));
        assert_eq!(status(&[(CONTENT_LENGTH, "3"), (EXPECT, "miracles")]), Err(417));
        assert_eq!(status(&[]), Err(411));
        for codings in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(status(&[(TRANSFER_ENCODING, codings)]), Err(501), "{codings}");
        }
        assert_eq!(status(&[(TRANSFER_ENCODING, "Chunked"), (TRAILER, "x-note")]), Ok(()));
        assert_eq!(status(&[(TRANSFER_ENCODING, "chunked"), (TRAILER, "x-note,Repr-Digest")]), Err(400));
    }
}
