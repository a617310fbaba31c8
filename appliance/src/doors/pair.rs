//! The pairing page: a code from the box makes a machine a client, and gives it files that are ready to use.
//!
//! ```text
//! GET  /                         what this is, for people
//! GET  /pair                     where to type a code          POST  code=…   → 303 to its page
//! GET  /pair/CODE                what is about to happen       POST  name=…   uses the code up → 303
//! GET  /pair/done/TOKEN          the secret, once; the files; the first backup awaited
//! GET  /pair/done/TOKEN/state    the small frame in it that turns green by itself
//! GET  /pair/done/TOKEN/FILE     a file
//! ```
//! It stands before authentication: whoever comes has no secret yet. So everything in it is bounded and small, looking changes
//! nothing (programs that preview links look), a telephone hands the code over to a computer and uses it only when told to, no page needs a script, and none may be kept, framed by others or named as a
//! referrer. Neither codes nor tokens nor secrets are logged; addresses of requests never are.

mod files;
mod form;
mod page;
mod steps;
mod text;

use self::files::{Bundle, File};
use self::text::Language;
use super::answer::{self, Answer};
use super::auth::neighbourhood;
use super::http::Street;
use super::limits::RETRY_AFTER_S;
use crate::pairing::set::{Opened, Refusal, Token};
use crate::pairing::{NotClaimed, Pairings};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffre_core::fault::{Fault, Result};
use coffre_core::pair::PairCode;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, USER_AGENT, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Method, Request, StatusCode};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// Longest `Accept-Language` or `Host` that is looked at.
const MAX_HEADER_BYTES: usize = 512;

/// A request to this room.
struct Visit<'a> {
    street: &'a Street,
    peer: IpAddr,
    request_id: &'a str,
    language: Language,
    host: Option<String>,
    /// Whether a telephone asks, which is where files and steps are of no use.
    telephone: bool,
    /// Whether its owner wants it all the same.
    here: bool,
}

/// In an address: this device is to be paired, also if it is a telephone.
const HERE: &str = "here=1";

/// Who may show a page in a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framed {
    Never,
    /// By a page of this room only.
    ByUs,
}

/// Answers a request whose path continues with `rest` after `/pair`.
pub async fn answer(
    street: &Street,
    peer: IpAddr,
    request_id: &str,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    let header = |name: HeaderName| {
        let value = request.headers().get(name).filter(|value| value.len() <= MAX_HEADER_BYTES)?;
        value.to_str().ok().map(str::to_owned)
    };
    let query = request.uri().query().unwrap_or_default();
    let language = Language::choose(query, header(ACCEPT_LANGUAGE).as_deref());
    let host = header(HOST);
    let telephone = header(USER_AGENT).is_some_and(|agent| is_telephone(&agent));
    let here = query.split('&').any(|part| part == HERE);
    let visit = Visit { street, peer, request_id, language, host, telephone, here };
    let method = request.method().clone();
    let reading = matches!(method, Method::GET | Method::HEAD);
    match rest {
        [] | [""] if reading => visit.html(StatusCode::OK, &page::ask(visit.pairings(), language, None)),
        [] | [""] if method == Method::POST => visit.typed(request).await,
        ["done", token, rest @ ..] if reading => visit.done(token, rest).await,
        ["done", ..] => guarded(answer::method_not_allowed("GET, HEAD"), Framed::Never),
        [code] if reading => visit.look(code).await,
        [code] if method == Method::POST => visit.claim(code, request).await,
        [] | [_] => guarded(answer::method_not_allowed("GET, HEAD, POST"), Framed::Never),
        _ => visit.html(StatusCode::NOT_FOUND, &page::ask(visit.pairings(), language, None)),
    }
}

impl Visit<'_> {
    fn pairings(&self) -> &Arc<Pairings> {
        self.street.pairings()
    }

    /// A code was typed into the page: its own page is next.
    async fn typed(&self, request: Request<Incoming>) -> Answer {
        let form = match form::receive(request).await {
            Ok(form) => form,
            Err((status, fault)) => return guarded(answer::with_status(status, &fault), Framed::Never),
        };
        match form.get("code").parse::<PairCode>() {
            Ok(code) => self.see_other(&format!("/pair/{}{}", code.shown(), self.language.query())),
            Err(_) => self.not_a_code(),
        }
    }

    /// The page of a code. Looking uses nothing up.
    async fn look(&self, typed: &str) -> Answer {
        let Ok(code) = typed.parse::<PairCode>() else { return self.not_a_code() };
        match self.pairings().find(neighbourhood(self.peer), &code) {
            Ok(_) if self.telephone && !self.here => {
                let at = self.pairings().reach().authority(self.host.as_deref());
                let here = format!("/pair/{}{}&{HERE}", code.shown(), self.language.query());
                self.html(StatusCode::OK, &page::hand_over(self.pairings(), self.language, &code, &at, &here))
            }
            Ok(wish) => {
                let page = page::claim(self.pairings(), self.language, &code, &wish, None, "", self.also());
                self.html(StatusCode::OK, &page)
            }
            Err(refusal) => self.refused(refusal).await,
        }
    }

    /// The form of a code: makes the client.
    async fn claim(&self, typed: &str, request: Request<Incoming>) -> Answer {
        let Ok(code) = typed.parse::<PairCode>() else { return self.not_a_code() };
        if self.telephone && !self.here {
            return self.look(typed).await;
        }
        let form = match form::receive(request).await {
            Ok(form) => form,
            Err((status, fault)) => return guarded(answer::with_status(status, &fault), Framed::Never),
        };
        let name = form.get("name").to_owned();
        let (pairings, peer, wanted) = (Arc::clone(self.pairings()), neighbourhood(self.peer), code.clone());
        let typed_name = name.clone();
        let claimed =
            self.street.ask(move |vault| Ok(pairings.claim(vault, peer, &wanted, &typed_name))).await;
        match claimed {
            Ok(Ok((token, client))) => {
                let (request, peer) = (self.request_id, self.peer);
                tracing::info!(target: "audit", %request, %peer, %client, "client made by a pairing code");
                self.see_other(&format!("/pair/done/{}{}", hex::encode(token), self.language.query()))
            }
            Ok(Err(NotClaimed::Code(refusal))) => self.refused(refusal).await,
            Ok(Err(NotClaimed::Name(fault))) => match self.pairings().find(neighbourhood(self.peer), &code) {
                Ok(wish) => {
                    let (bad, also) = (Some(fault.class), self.also());
                    let page = page::claim(self.pairings(), self.language, &code, &wish, bad, &name, also);
                    self.html(StatusCode::UNPROCESSABLE_ENTITY, &page)
                }
                Err(refusal) => self.refused(refusal).await,
            },
            Ok(Err(NotClaimed::Vault(fault))) | Err(fault) => {
                tracing::warn!(request = %self.request_id, %fault, "a pairing made no client");
                self.html(StatusCode::SERVICE_UNAVAILABLE, &page::not_now(self.pairings(), self.language))
            }
        }
    }

    /// What is behind a token.
    async fn done(&self, token: &str, rest: &[&str]) -> Answer {
        let Some(token) = parse_token(token) else { return self.refused(Refusal::Unknown).await };
        let Some(id) = self.pairings().known(&token) else { return self.refused(Refusal::Unknown).await };
        if rest == ["state"] {
            let pairings = Arc::clone(self.pairings());
            let arrived = self.street.ask(move |vault| Ok(pairings.has_arrived(vault, id))).await;
            return html(StatusCode::OK, &page::state(self.language, arrived.unwrap_or(false)), Framed::ByUs);
        }
        let on_the_page = matches!(rest, [] | [""]);
        let Some(opened) = self.pairings().open(&token, on_the_page) else {
            let page = page::ask(self.pairings(), self.language, Some(page::Trouble::Over));
            return self.html(StatusCode::GONE, &page);
        };
        match rest {
            [] | [""] => {
                let bundle = self.bundle(&opened);
                self.html(
                    StatusCode::OK,
                    &page::done(self.pairings(), self.language, &opened, &bundle, &token),
                )
            }
            [name] => match File::named(name) {
                Some(file) => download(file, &self.bundle(&opened)),
                None => self.refused(Refusal::Unknown).await,
            },
            _ => self.refused(Refusal::Unknown).await,
        }
    }

    fn bundle(&self, opened: &Opened) -> Bundle {
        Bundle {
            authority: self.pairings().reach().authority(self.host.as_deref()),
            client: opened.client.clone(),
            secret: opened.secret.clone(),
            pem: self.pairings().certificate().pem.clone(),
        }
    }

    /// What the address of the next form goes on with.
    fn also(&self) -> &'static str {
        if self.here { "&here=1" } else { "" }
    }

    fn not_a_code(&self) -> Answer {
        let page = page::ask(self.pairings(), self.language, Some(page::Trouble::NotACode));
        self.html(StatusCode::NOT_FOUND, &page)
    }

    /// Held back for those who go on guessing.
    async fn refused(&self, refusal: Refusal) -> Answer {
        let (status, trouble) = match refusal {
            Refusal::Unknown => (StatusCode::NOT_FOUND, page::Trouble::Unknown),
            Refusal::Used => (StatusCode::GONE, page::Trouble::Used),
            Refusal::TooMany => (StatusCode::TOO_MANY_REQUESTS, page::Trouble::TooMany),
        };
        if refusal != Refusal::Used {
            tracing::warn!(request = %self.request_id, peer = %self.peer, "wrong pairing code");
            self.street.hold_back(self.peer).await;
        }
        self.html(status, &page::ask(self.pairings(), self.language, Some(trouble)))
    }

    fn see_other(&self, to: &str) -> Answer {
        let mut answer = guarded(answer::empty(StatusCode::SEE_OTHER), Framed::Never);
        if let Ok(to) = HeaderValue::try_from(to) {
            answer.headers_mut().insert(LOCATION, to);
        }
        answer
    }

    fn html(&self, status: StatusCode, page: &str) -> Answer {
        html(status, page, Framed::Never)
    }
}

/// The front page, for whoever opens the box in a browser.
pub fn home(street: &Street, request: &Request<Incoming>) -> Answer {
    let accepted = request.headers().get(ACCEPT_LANGUAGE).filter(|value| value.len() <= MAX_HEADER_BYTES);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let language = Language::choose(request.uri().query().unwrap_or_default(), accepted);
    html(StatusCode::OK, &page::home(street.pairings(), language), Framed::Never)
}

/// What browsers of telephones and tablets have in their names. One that hides it is taken for a computer.
fn is_telephone(agent: &str) -> bool {
    ["Mobi", "Android", "iPhone", "iPad"].iter().any(|word| agent.contains(word))
}

fn html(status: StatusCode, page: &str, framed: Framed) -> Answer {
    let mut answer = answer::with_type(status, "text/html; charset=utf-8", page.into());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    guarded(answer, framed)
}

fn download(file: File, bundle: &Bundle) -> Answer {
    let mut answer = answer::text(file.content_type(), file.content(bundle));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{}\"", file.name())) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    guarded(answer, Framed::Never)
}

/// The headers that every answer of this room has.
fn guarded(mut answer: Answer, framed: Framed) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let frame = if framed == Framed::ByUs { "SAMEORIGIN" } else { "DENY" };
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static(frame));
    if let Ok(policy) = HeaderValue::try_from(policy(framed)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    answer
}

/// Nothing is loaded but our own style, by its hash, and our own frame.
fn policy(framed: Framed) -> String {
    static STYLE: OnceLock<String> = OnceLock::new();
    let style = STYLE.get_or_init(|| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, page::STYLE.as_bytes());
        STANDARD.encode(hash.as_ref())
    });
    let ancestors = if framed == Framed::ByUs { "'self'" } else { "'none'" };
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors {ancestors}"
    )
}

fn parse_token(text: &str) -> Option<Token> {
    let mut token = Token::default();
    hex::decode_to_slice(text, &mut token).ok()?;
    Some(token)
}

/// What a form that is no form is told.
fn bad_form(what: &str) -> Fault {
    Fault::misuse(what.to_owned()).next("use the form on the page")
}

/// For the fuzz targets: the fields of a form, when its bytes are one.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(String, String)>> {
    form::Form::parse(body).map(form::Form::into_fields)
}
