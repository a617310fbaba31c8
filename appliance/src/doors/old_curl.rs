//! Curls before 7.76, which do not know `fail-with-body`: they pass over it in the options that we hand out, and would end with 0
//! after a refusal. Nobody who runs one every night from cron would ever hear of it.
//!
//! So a refusal is broken off one byte before the end that it announced: such a curl shows the sentence, and ends with 18.

use super::answer::{self, Answer};
use hyper::header::{HeaderMap, USER_AGENT};

/// The first version that knows `fail-with-body`.
const KNOWS: (u32, u32) = (7, 76);

/// Whether these headers are of such a curl.
pub fn asks(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let version = agent.and_then(|agent| agent.strip_prefix("curl/"));
    let mut parts = version.unwrap_or_default().split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < KNOWS,
        _ => false,
    }
}

/// An answer as it gets it.
pub fn told(answer: Answer) -> Answer {
    match answer.status().is_client_error() || answer.status().is_server_error() {
        true => answer::broken_off(answer),
        false => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn versions_are_told_apart() {
        for (agent, old) in [
            ("curl/7.74.0", true),
            ("curl/7.61.1", true),
            ("curl/7.9", true),
            ("curl/7.76.0", false),
            ("curl/7.88.1", false),
            ("curl/8.5.0-DEV", false),
            ("curl/x.y", false),
            ("curl/", false),
            ("Mozilla/5.0 curl/7.74.0", false),
        ] {
            let headers = [(USER_AGENT, HeaderValue::from_static(agent))].into_iter().collect();
            assert_eq!(asks(&headers), old, "{agent}");
        }
        assert!(!asks(&HeaderMap::new()));
    }
}
