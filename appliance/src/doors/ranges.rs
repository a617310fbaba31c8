//! `Range` of a GET (RFC 9110, section 14): one range of bytes, or the whole.
//!
//! What cannot be read as one byte range (several ranges, other units, nonsense) is ignored, as the RFC allows, and
//! the whole body is the answer; only a range that is well-formed and lies beyond the end is refused.

use hyper::header::HeaderValue;

/// What to send of a body of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// Everything: 200.
    Whole,
    /// Bytes `start..end`, not empty: 206.
    Part {
        /// First byte.
        start: u64,
        /// First byte that is not sent any more.
        end: u64,
    },
    /// Nothing to send: 416.
    Beyond,
}

/// Reads a `Range` header against a body of `size` bytes.
pub fn select(header: Option<&HeaderValue>, size: u64) -> Selected {
    header.and_then(|value| value.to_str().ok()).and_then(|text| parse(text, size)).unwrap_or(Selected::Whole)
}

/// `None`: not one byte range.
fn parse(text: &str, size: u64) -> Option<Selected> {
    let (unit, spec) = text.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    if first.is_empty() {
        let length = number(last)?;
        return Some(match (length, size) {
            (0, _) => Selected::Beyond,
            (_, 0) => Selected::Whole,
            _ => Selected::Part { start: size - length.min(size), end: size },
        });
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return None;
    }
    Some(if start >= size {
        Selected::Beyond
    } else {
        Selected::Part { start, end: last.saturating_add(1).min(size) }
    })
}

/// Decimal digits only; what does not fit is as good as infinite.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selected::*;
    use super::*;

    fn of(text: &str, size: u64) -> Selected {
        select(Some(&HeaderValue::from_str(text).expect("a header")), size)
    }

    #[test]
    fn one_range_is_taken_and_clipped() {
        assert_eq!(of("bytes=0-", 10), Part { start: 0, end: 10 });
        assert_eq!(of("bytes=0-0", 10), Part { start: 0, end: 1 });
        assert_eq!(of("Bytes=3-5", 10), Part { start: 3, end: 6 });
        assert_eq!(of("bytes=9-4000", 10), Part { start: 9, end: 10 });
        assert_eq!(of("bytes=-3", 10), Part { start: 7, end: 10 });
        assert_eq!(of("bytes=-99", 10), Part { start: 0, end: 10 });
        assert_eq!(of("bytes=5-99999999999999999999999999", 10), Part { start: 5, end: 10 });
        assert_eq!(of("bytes=1-18446744073709551615", u64::MAX), Part { start: 1, end: u64::MAX });
    }

    #[test]
    fn beyond_the_end_is_refused() {
        for text in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(of(text, 10), Beyond, "{text}");
        }
        assert_eq!(of("bytes=0-", 0), Beyond);
        assert_eq!(of("bytes=-5", 0), Whole);
    }

    #[test]
    fn anything_else_is_ignored() {
        let odd = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=--1",
            "bytes=1--2",
            "=0-1",
            "bytes=０-1",
        ];
        for text in odd {
            let header = HeaderValue::from_bytes(text.as_bytes()).expect("bytes");
            assert_eq!(select(Some(&header), 10), Whole, "{text}");
        }
        assert_eq!(select(None, 10), Whole);
        assert_eq!(select(Some(&HeaderValue::from_bytes(b"bytes=\xff-").expect("bytes")), 10), Whole);
    }
}
