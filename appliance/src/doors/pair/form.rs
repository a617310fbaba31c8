//! Forms: a few hundred bytes of `application/x-www-form-urlencoded`, in bounds of length and time.

use super::bad_form;
use coffre_core::fault::{Fault, Result};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

/// Longest form, in bytes.
pub const MAX_FORM_BYTES: usize = 512;
/// Most fields of a form.
const MAX_FIELDS: usize = 8;
/// A form must be there by then.
const FORM_DEADLINE: Duration = Duration::from_secs(10);

/// The fields of a form, in the order they came.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

/// The form of a request, or the status and fault to answer.
pub async fn receive(request: Request<Incoming>) -> std::result::Result<Form, (StatusCode, Fault)> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, bad_form("this is not a form")));
    }
    let body = Limited::new(request.into_body(), MAX_FORM_BYTES).collect();
    match timeout(FORM_DEADLINE, body).await {
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, bad_form("the form came too slowly"))),
        Ok(Err(_)) => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, bad_form("the form is too long, or broke off on its way")))
        }
        Ok(Ok(body)) => Form::parse(&body.to_bytes()).map_err(|fault| (StatusCode::BAD_REQUEST, fault)),
    }
}

impl Form {
    /// Reads `a=b&c=d`. `Misuse` when it is not that.
    pub fn parse(body: &[u8]) -> Result<Self> {
        if body.len() > MAX_FORM_BYTES {
            return Err(bad_form("the form is too long"));
        }
        let mut fields = Vec::new();
        for pair in body.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() >= MAX_FIELDS {
                return Err(bad_form("the form has too many fields"));
            }
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let mut half = || decoded(halves.next().unwrap_or_default());
            fields.push((half()?, half()?));
        }
        Ok(Self(fields))
    }

    /// The first field of this name, without blanks around it; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// All fields.
    pub fn into_fields(self) -> Vec<(String, String)> {
        self.0
    }
}

fn decoded(bytes: &[u8]) -> Result<String> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let pair = tail.get(..2).ok_or_else(|| bad_form("the form is cut off"))?;
                let mut byte = [0];
                hex::decode_to_slice(pair, &mut byte).map_err(|_| bad_form("the form is malformed"))?;
                out.push(byte[0]);
                rest = &tail[2..];
            }
            byte => out.push(*byte),
        }
    }
    let text = String::from_utf8(out).map_err(|_| bad_form("the form is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(bad_form("the form has control characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let form = Form::parse(b"name=+pc%2Dfatima+&x&y=%C3%A9=%26&&name=second").expect("a form");
        assert_eq!((form.get("name"), form.get("x"), form.get("y")), ("pc-fatima", "", "\u{e9}=&"));
        assert_eq!(form.get("absent"), "");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let many = b"a=1&".repeat(9);
        let long = [b'a'; MAX_FORM_BYTES + 1];
        for bad in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=%00", b"a=%0d%0a", &many, &long] {
            assert!(Form::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
