//! The pairing pages as HTML: made of pieces that are escaped where they are put in, without a script.

use super::files::{Bundle, File};
use super::steps::{purpose, steps};
use super::text::{Language, Text};
use crate::pairing::set::{Opened, Token};
use crate::pairing::{Pairings, Wish};
use coffre_core::fault::Class;
use coffre_core::names::MAX_NAME_LEN;
use coffre_core::pair::PairCode;

/// The one style of all pages. Its hash stands in the content security policy.
pub const STYLE: &str = include_str!("style.css");
/// A strongbox with its wheel.
const MARK: &str = "<svg viewBox=\"0 0 32 32\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.4\" stroke-linecap=\"round\" \
    aria-hidden=\"true\"><rect x=\"3\" y=\"4\" width=\"26\" height=\"22\" rx=\"4\"/><circle cx=\"16\" cy=\"15\" r=\"5\"/>\
    <path d=\"M16 8.5v3M16 18.5v3M9.5 15h3M19.5 15h3M8 26v2.5M24 26v2.5\"/></svg>";
/// What programs may ask, for whoever writes one.
const ADDRESSES: &str = "GET /v1/certificate\n\
    GET /v1/datasets\n\
    PUT /v1/datasets/NAME                         curl -T FILE, or -T - from a pipe\n\
    GET /v1/datasets/NAME/snapshots\n\
    GET /v1/datasets/NAME/snapshots/{ID|latest}\n\
    PUT, GET  /v1/dav/NAME                        rclone, by WebDAV\n\
    rest:https://CLIENT:SECRET@BOX:PORT/CLIENT/REPO/   restic, rustic";
/// How often the frame with the state loads itself again, in seconds.
const REFRESH_S: u32 = 4;

/// Why a code did not lead further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What was typed cannot be one.
    NotACode,
    /// There is none, or no more.
    Unknown,
    /// It was used.
    Used,
    /// This peer is not heard.
    TooMany,
    /// What was claimed with it cannot be downloaded any more.
    Over,
}

/// Where to type a code.
pub fn ask(pairings: &Pairings, language: Language, trouble: Option<Trouble>) -> String {
    let text = language.text();
    let why = trouble.map_or_else(String::new, |trouble| {
        note(match trouble {
            Trouble::NotACode => text.not_a_code,
            Trouble::Unknown => text.unknown,
            Trouble::Used => text.used,
            Trouble::TooMany => text.too_many,
            Trouble::Over => text.over,
        })
    });
    let body = format!(
        "<section><h1>{title}</h1>{why}<p>{hint}</p>\
         <form method=\"post\" action=\"/pair{query}\"><label for=\"code\">{label}</label>\
         <input class=\"big\" id=\"code\" name=\"code\" maxlength=\"20\" required autofocus autocomplete=\"off\" \
         autocapitalize=\"characters\" spellcheck=\"false\" placeholder=\"XXXX-XXXX\"><br>\
         <button>{go_on}</button></form></section>{words}",
        title = text.ask_title,
        hint = text.ask_hint,
        query = language.query(),
        label = text.code,
        go_on = text.go_on,
        words = words(pairings, text),
    );
    whole(pairings, language, text.ask_title, &body)
}

/// The front page: what this is, where a computer is added, and which addresses there are.
pub fn home(pairings: &Pairings, language: Language) -> String {
    let text = language.text();
    let body = format!(
        "<section><h1>{title}</h1><p>{what}</p><p><a class=\"button\" href=\"/pair{query}\">{ask}</a></p></section>\
         <section><h2>{back_title}</h2><p>{back}</p></section>\
         <section><h2>{papers_title}</h2><p>{papers}</p>\
         <details><summary>{addresses}</summary><pre>{ADDRESSES}</pre></details></section>{words}{sure}",
        title = text.home_title,
        what = text.home_what,
        query = language.query(),
        ask = text.ask_title,
        back_title = text.home_back_title,
        back = text.home_back,
        papers_title = text.home_papers_title,
        papers = text.home_papers,
        addresses = text.home_addresses,
        words = words(pairings, text),
        sure = sure(pairings, text),
    );
    whole(pairings, language, text.home_title, &body)
}

/// On a telephone: the code goes on to a computer, and stays unused. `here` is the address that uses it all the same.
pub fn hand_over(pairings: &Pairings, language: Language, code: &PairCode, at: &str, here: &str) -> String {
    let text = language.text();
    let body = format!(
        "<section><h1>{title}</h1><p>{hint}</p><pre>https://{at}/pair</pre><p class=\"code\">{shown}</p>\
         <p class=\"soft\">{unused}</p></section>{words}{sure}\
         <section><p class=\"soft\"><a href=\"{here}\">{all_the_same}</a></p></section>",
        title = text.over_title,
        hint = text.over_hint,
        shown = code.shown(),
        unused = text.over_unused,
        words = words(pairings, text),
        sure = sure(pairings, text),
        here = escaped(here),
        all_the_same = text.over_here,
    );
    whole(pairings, language, text.over_title, &body)
}

/// What a code is about to do. `bad` is why the name that was `typed` did not do; `also` is kept in the address of its form.
pub fn claim(
    pairings: &Pairings,
    language: Language,
    code: &PairCode,
    wish: &Wish,
    bad: Option<Class>,
    typed: &str,
    also: &str,
) -> String {
    let text = language.text();
    let why = bad.map_or_else(String::new, |class| {
        note(if class == Class::Misuse { text.name_bad } else { text.name_taken })
    });
    let who = match &wish.client {
        Some(client) => format!("<p>{}&nbsp;: <strong>{client}</strong></p>", text.machine),
        None => format!(
            "<label for=\"name\">{}</label><input id=\"name\" name=\"name\" value=\"{}\" maxlength=\"{MAX_NAME_LEN}\" \
             required autofocus autocomplete=\"off\" autocapitalize=\"none\" spellcheck=\"false\" \
             pattern=\"[A-Za-z0-9][A-Za-z0-9\\-]*\"><p class=\"soft\">{}</p>",
            text.name,
            escaped(typed),
            text.name_hint
        ),
    };
    let body = format!(
        "{words}<section><h1>{title}</h1><p class=\"code\">{shown}</p>{why}<p>{hint}</p>\
         <form method=\"post\" action=\"/pair/{shown}{query}{also}\">{who}<button>{pair}</button></form>\
         <p class=\"soft\">{once}</p></section>{sure}",
        words = words(pairings, text),
        title = text.claim_title,
        shown = code.shown(),
        hint = text.claim_hint,
        query = language.query(),
        pair = text.pair,
        once = text.once,
        sure = sure(pairings, text),
    );
    whole(pairings, language, text.claim_title, &body)
}

/// What to do next, the files, and the secret when nobody has seen it yet.
pub fn done(
    pairings: &Pairings,
    language: Language,
    opened: &Opened,
    bundle: &Bundle,
    token: &Token,
) -> String {
    let text = language.text();
    let (query, here) = (language.query(), format!("/pair/done/{}", hex::encode(token)));
    let first = File::of(opened.wish.kind);
    let others: Vec<File> = File::ALL.into_iter().filter(|file| !first.contains(file)).collect();
    let list = |files: &[File]| -> String {
        let row = |file: &File| {
            let (name, what) = (file.name(), purpose(language, *file));
            format!("<li><a href=\"{here}/{name}\" download>{name}</a><span>{what}</span></li>")
        };
        format!("<ul class=\"files\">{}</ul>", files.iter().map(row).collect::<String>())
    };
    let more = if others.is_empty() {
        String::new()
    } else {
        format!("<details><summary>{}</summary>{}</details>", text.more_files, list(&others))
    };
    let steps: String = steps(language, opened.wish.kind, &bundle.authority)
        .iter()
        .map(|(what, line)| {
            let line = line.as_ref().map_or_else(String::new, |line| format!("<pre>{}</pre>", escaped(line)));
            format!("<li>{what}{line}</li>")
        })
        .collect();
    let body = format!(
        "<section><h1>{client} {done}</h1>\
         <iframe src=\"{here}/state{query}\" title=\"{waiting}\"></iframe></section>\
         <section><h2>{files_title}</h2><p>{files_hint} {left} {minutes}.</p>{files}{more}</section>\
         <section><h2>{next}</h2><ol class=\"steps\">{steps}</ol><p class=\"soft\">{rclone}</p></section>\
         {secret}{words}{sure}",
        client = opened.client,
        done = text.done_title,
        waiting = text.waiting,
        files_title = text.files_title,
        files_hint = text.files_hint,
        left = opened.left_ms.div_ceil(60_000),
        minutes = text.minutes,
        files = list(first),
        next = text.next_title,
        rclone = text.rclone,
        secret = secret(opened, bundle, text),
        words = words(pairings, text),
        sure = sure(pairings, text),
    );
    whole(pairings, language, text.claim_title, &body)
}

/// The frame that says whether the first backup is here; loads itself again until it is.
pub fn state(language: Language, arrived: bool) -> String {
    let text = language.text();
    let (refresh, class, what) = match arrived {
        true => (String::new(), "lamp here", text.arrived),
        false => (format!("<meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">"), "lamp", text.waiting),
    };
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">{refresh}<title>Coffre</title>\
         <style>{STYLE}</style></head><body class=\"frame\"><div class=\"{class}\" role=\"status\"><b></b>{what}</div>\
         </body></html>\n",
        language.tag()
    )
}

/// The vault takes nobody just now.
pub fn not_now(pairings: &Pairings, language: Language) -> String {
    let text = language.text();
    let body = format!("<section><h1>{}</h1>{}</section>", text.claim_title, note(text.not_now));
    whole(pairings, language, text.claim_title, &body)
}

fn secret(opened: &Opened, bundle: &Bundle, text: &Text) -> String {
    let shown = match opened.first_look {
        true => format!(
            "<p>{}</p><dl><dt>{}</dt><dd><code>{}</code></dd><dt>{}</dt><dd><code>{}</code></dd>\
             <dt>{}</dt><dd><code>https://{}</code></dd></dl>",
            text.secret_hint,
            text.name,
            opened.client,
            text.secret,
            escaped(opened.secret.shown()),
            text.address,
            bundle.authority
        ),
        false => format!("<p class=\"soft\">{}</p>", text.secret_shown),
    };
    format!("<section><h2>{}</h2>{shown}</section>", text.secret_title)
}

fn words(pairings: &Pairings, text: &Text) -> String {
    let words: String =
        pairings.certificate().words.iter().map(|word| format!("<li>{}</li>", escaped(word))).collect();
    format!(
        "<section><h2>{}</h2><ul class=\"words\">{words}</ul><p class=\"soft\">{}</p></section>",
        text.words_title, text.words_hint
    )
}

fn sure(pairings: &Pairings, text: &Text) -> String {
    format!(
        "<section><details><summary>{}</summary><p class=\"soft\">{}</p><pre>{}</pre></details></section>",
        text.sure_title,
        text.sure_hint,
        escaped(&pairings.certificate().fingerprint)
    )
}

fn note(what: &str) -> String {
    format!("<p class=\"note bad\" role=\"alert\">{what}</p>")
}

/// A whole page around a body.
fn whole(pairings: &Pairings, language: Language, title: &str, body: &str) -> String {
    let text = language.text();
    let (other, link) = language.other();
    let name = escaped(pairings.box_name());
    format!(
        "<!doctype html><html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title} · {name}</title><style>{STYLE}</style></head><body>\
         <header><div class=\"brand\">{MARK}<div>{name}<small>{tagline}</small></div></div>\
         <a class=\"lang\" href=\"{query}\" hreflang=\"{other_tag}\" lang=\"{other_tag}\">{link}</a></header>\
         <main>{body}</main><footer>{footer}</footer></body></html>\n",
        tag = language.tag(),
        tagline = text.tagline,
        query = other.query(),
        other_tag = other.tag(),
        footer = text.footer,
    )
}

/// Text that is only text, in content and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::set::Secret;
    use coffre_core::wire::CertificateInfo;

    fn pairings(name: &str) -> Pairings {
        let certificate = CertificateInfo {
            pem: "PEM".into(),
            fingerprint: "AB:CD".into(),
            receipt_key: String::new(),
            words: ["lundi", "ouvrir", "bateau", "vague"].map(str::to_owned).to_vec(),
        };
        Pairings::new(name.into(), certificate, vec![], crate::hosts::Hosts::default())
    }

    #[test]
    fn nothing_that_is_put_in_becomes_markup() {
        let evil = "<script>alert(1)</script>\"'";
        let pairings = pairings(evil);
        let code = PairCode::from_bits([1; 5]);
        let wish = Wish::default();
        for page in [
            ask(&pairings, Language::French, Some(Trouble::Unknown)),
            claim(&pairings, Language::English, &code, &wish, Some(Class::Misuse), evil, ""),
            home(&pairings, Language::French),
            hand_over(&pairings, Language::English, &code, "b:1", evil),
        ] {
            assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        }
    }

    #[test]
    fn the_secret_is_on_the_first_look_only() {
        let pairings = pairings("box");
        let secret = Secret::new("hush".into());
        let bundle = Bundle {
            authority: "b:1".into(),
            client: "pc".parse().expect("a name"),
            secret: secret.clone(),
            pem: String::new(),
        };
        for kind in coffre_core::pair::MachineKind::ALL.map(Some).into_iter().chain([None]) {
            let page = |first_look| {
                let (client, wish) = (bundle.client.clone(), Wish { kind, ..Wish::default() });
                let opened =
                    Opened { id: 1, wish, client, secret: secret.clone(), first_look, left_ms: 90_000 };
                done(&pairings, Language::English, &opened, &bundle, &[0xab; 16])
            };
            assert!(page(true).contains("<code>hush</code>") && !page(false).contains("hush"));
            for file in File::ALL {
                assert!(page(false).contains(&format!("/{}/{}\"", "ab".repeat(16), file.name())));
            }
            for word in ["lundi", "ouvrir", "bateau", "vague", "AB:CD", " 2 min"] {
                assert!(page(true).contains(word), "{word}");
            }
        }
    }

    #[test]
    fn the_frame_loads_itself_again_until_it_is_green() {
        assert!(state(Language::French, false).contains("http-equiv=\"refresh\""));
        let here = state(Language::French, true);
        assert!(!here.contains("http-equiv") && here.contains("dans le coffre"));
    }

    #[test]
    fn all_code_is_style_that_the_policy_knows() {
        let page = ask(&pairings("box"), Language::French, None);
        assert_eq!(page.matches("<style>").count(), 1);
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(!page.contains("style=\"") && !page.contains("javascript:") && !page.contains(" onclick"));
        assert!(!STYLE.contains('<'), "it stands in HTML as it is");
    }
}
