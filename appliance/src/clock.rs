//! The one place where the street side asks the time, and how it is written.
//!
//! Scripts read RFC 3339 in UTC; people read RFC 3339 in the zone of the machine they sit at. On the wire and in
//! the vault a time is a number of milliseconds since 1970-01-01 UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Instant;

/// Counts milliseconds from its start and never goes back, whatever happens to the system's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at 0.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// Milliseconds since 1970-01-01 UTC by the system's clock. May jump; never used to let something expire.
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// RFC 3339 in UTC with milliseconds, for scripts: `2026-03-01T09:30:00.000Z`.
pub fn utc(ms: u64) -> String {
    format!("{:.3}", timestamp(ms))
}

/// RFC 3339 in the zone of this machine, whole seconds, for people: `2026-03-01T10:30:00+01:00`.
pub fn local(ms: u64) -> String {
    let zoned = timestamp(ms).to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// As HTTP writes it, whole seconds: `Sun, 01 Mar 2026 09:30:00 GMT`.
pub fn http_date(ms: u64) -> String {
    timestamp(ms).to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A time as people type it: RFC 3339 with its zone, ms since 1970.
pub fn parse(text: &str) -> std::result::Result<u64, String> {
    let bad = || format!("{text:?} is no time: write it like 2026-03-01T09:30Z or 2026-03-01T10:30:00+01:00");
    let time: Timestamp = text.trim().parse().map_err(|_| bad())?;
    u64::try_from(time.as_millisecond()).map_err(|_| bad())
}

/// A time of ours as jiff knows it; what lies beyond its range (the year 9999) is shown as its end.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_promised() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(http_date(1_772_357_400_999), "Sun, 01 Mar 2026 09:30:00 GMT");
        assert_eq!(utc(1_772_357_400_007), "2026-03-01T09:30:00.007Z");
        assert_eq!(parse("2026-03-01T10:30+01:00"), Ok(1_772_357_400_000));
        assert!(
            parse("yesterday").is_err()
                && parse("2026-03-01").is_err()
                && parse("1969-01-01T00:00Z").is_err()
        );
        assert!(utc(u64::MAX).starts_with("9999-"));
        let local = local(1_772_357_400_000);
        assert!(local.parse::<Timestamp>().is_ok_and(|t| t.as_millisecond() == 1_772_357_400_000), "{local}");
    }
}
