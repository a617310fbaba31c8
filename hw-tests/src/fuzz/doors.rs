//! What strangers send to the doors: headers and addresses, byte by byte.

use super::disk::Magnitude;
use super::{Answer, Target, accepted, hold, in_proportion, refused};
use crate::rng::Rng;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffre::doors::inspect::{self, Selected};
use coffre_core::ids::ObjectId;
use coffre_core::pair::PairCode;

/// See the module.
pub const TARGETS: &[Target] = &[
    Target {
        name: "range",
        samples: ranges,
        check: check_range,
        mend: None,
        tokens: &[b"bytes", b"=", b"-", b",", b" ", b"\t", b"B", b"bytes=", b"bytes=-", b"lines"],
        max_len: 200,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "basic-auth",
        samples: credentials,
        check: check_credentials,
        mend: None,
        tokens: &[b"Basic ", b"basic", b"Bearer ", b"=", b"==", b":", b"Og==", b"/", b"+", b" "],
        max_len: 700,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "digest",
        samples: digests,
        check: check_digest,
        mend: None,
        tokens: &[b"sha-256=", b"sha-512=", b":", b"::", b",", b";a=1", b"md5=:AAAA:", b"*", b"=", b" "],
        max_len: 900,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "put-headers",
        samples: put_headers,
        check: check_put_headers,
        mend: None,
        tokens: &[
            b"content-length: ",
            b"transfer-encoding: ",
            b"chunked",
            b"content-encoding: ",
            b"identity",
            b"trailer: ",
            b"repr-digest",
            b"expect: ",
            b"100-continue",
            b"content-range: ",
            b"\n",
        ],
        max_len: 600,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "address",
        samples: addresses,
        check: check_address,
        mend: None,
        tokens: &[b"/", b"//", b"..", b"%2f", b"%00", b"?", b"#", b"/v1/datasets", b"latest", b"https://a:1"],
        max_len: 400,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "repo-address",
        samples: repo_addresses,
        check: check_repo_address,
        mend: None,
        tokens: &[
            b"/", b"//", b"..", b"%2f", b"?", b"/pc", b"/data/", b"/config", b"/keys/", b"default", b"A",
        ],
        max_len: 400,
        one_in: 1,
        memory: in_proportion,
    },
    Target {
        name: "pair-form",
        samples: forms,
        check: check_form,
        mend: None,
        tokens: &[
            b"code=", b"name=", b"&", b"=", b"+", b"%", b"%2D", b"%00", b"%C3%A9", b"%ff", b"-", b"O", b"l",
        ],
        max_len: 700,
        one_in: 1,
        memory: in_proportion,
    },
];

/// Eight bytes with the size of the body, then the header.
fn ranges(_: &mut Rng) -> Vec<Vec<u8>> {
    let headers = ["bytes=0-", "bytes=3-5", "bytes=-3", "bytes=9-4000", "bytes=10-18446744073709551615"];
    let sizes = [10_u64, 0, 1 << 40, u64::MAX];
    let sample = |size: u64, header: &str| [&size.to_le_bytes()[..], header.as_bytes()].concat();
    sizes.iter().flat_map(|size| headers.iter().map(|header| sample(*size, header))).collect()
}

fn check_range(bytes: &[u8]) -> Result<Answer, String> {
    let Some((size, header)) = bytes.split_first_chunk::<8>() else { return refused("cut short") };
    let size = u64::from_le_bytes(*size);
    match inspect::range(header, size) {
        None => refused("not a header"),
        Some(Selected::Whole) => accepted("whole"),
        Some(Selected::Beyond) => accepted("beyond"),
        Some(Selected::Part { start, end }) => {
            hold(start < end && end <= size, "a part is not empty and lies within the body")?;
            accepted(("part", start == 0, end == size))
        }
    }
}

fn credentials(rng: &mut Rng) -> Vec<Vec<u8>> {
    let pairs = ["pc-fatima:abcdefghijklmnop234567", ":", "a:b:c", "é:ü"];
    let mut samples: Vec<Vec<u8>> =
        pairs.iter().map(|pair| format!("Basic {}", STANDARD.encode(pair)).into_bytes()).collect();
    let long = rng.bytes(150).iter().map(|b| char::from(b'a' + b % 26)).collect::<String>();
    samples.push(format!("basic {}", STANDARD.encode(format!("{long}:{long}"))).into_bytes());
    samples
}

fn check_credentials(header: &[u8]) -> Result<Answer, String> {
    let Some((name, secret)) = inspect::credentials(header) else { return refused("nobody") };
    hold(!name.contains(':'), "the name ends at the first colon")?;
    let again = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
    let again = inspect::credentials(again.as_bytes());
    // Written again it may be longer than what is looked at, by the padding and the scheme alone.
    hold(
        again.is_none() && header.len() > 500 || again == Some((name.clone(), secret.clone())),
        "credentials written again are the same",
    )?;
    accepted((name.len().ilog2_or_zero(), secret.len().ilog2_or_zero()))
}

/// SHA-256 of `abc`.
const ABC: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

fn digests(_: &mut Rng) -> Vec<Vec<u8>> {
    let sha512 =
        "sha-512=:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==:";
    let texts = [ABC.to_owned(), sha512.to_owned(), format!("{ABC}, {sha512};a=1"), "md5=:AAAA:".to_owned()];
    texts.map(String::into_bytes).to_vec()
}

fn check_digest(header: &[u8]) -> Result<Answer, String> {
    match inspect::digest(header, b"abc") {
        None => refused("not a header"),
        Some(Err(why)) => refused(&why.what),
        Some(Ok(Err(why))) => accepted(why.what),
        Some(Ok(Ok(()))) => {
            // A member that names a known algorithm is checked: one that passes has the right digest in it.
            let text = String::from_utf8_lossy(header);
            let names =
                ["sha-256=", "sha-512="].map(|name| text.split(',').any(|m| m.trim().starts_with(name)));
            let right =
                [ABC, "3a81oZNherrMQXNJriBBMRLm"].map(|part| text.contains(part.trim_end_matches("=:")));
            hold(
                (!names[0] || right[0]) && (!names[1] || right[1]),
                "a body passes with its own digests only",
            )?;
            accepted(names)
        }
    }
}

fn put_headers(_: &mut Rng) -> Vec<Vec<u8>> {
    let texts = [
        "content-length: 3",
        "transfer-encoding: chunked\nexpect: 100-continue",
        "content-length: 3\ncontent-encoding: identity",
        "transfer-encoding: chunked\ntrailer: x-note",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn check_put_headers(text: &[u8]) -> Result<Answer, String> {
    let pair = |line: &[u8]| {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or(&[]).trim_ascii();
        (line[..colon].to_ascii_lowercase(), value.to_vec())
    };
    let pairs: Vec<_> = text.split(|b| *b == b'\n').map(pair).collect();
    match inspect::put_headers(&pairs) {
        None => refused("not headers"),
        Some(Err(status)) => refused(&format!("status {}", char::from(b'g' + (status % 20) as u8))),
        Some(Ok(())) => {
            let values = |name: &'static str| pairs.iter().filter(move |pair| pair.0 == name.as_bytes());
            let coded = values("content-encoding").any(|v| !v.1.eq_ignore_ascii_case(b"identity"));
            hold(!coded, "no coded body is taken")?;
            let length = values("content-length").chain(values("transfer-encoding")).count();
            hold(length > 0, "a body says how it ends")?;
            hold(values("transfer-encoding").count() <= 1, "there is one transfer coding at most")?;
            accepted((pairs.len().ilog2_or_zero(), length))
        }
    }
}

fn forms(_: &mut Rng) -> Vec<Vec<u8>> {
    let texts = ["code=7K02-M91D", "code=+7ko2%20m9ld+&lang=fr", "name=pc-fatima", "name=%C3%A9t%C3%A9&&x"];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// A form and the code in it, which is read forgivingly: what is taken is the same code when it is typed as it is shown.
fn check_form(body: &[u8]) -> Result<Answer, String> {
    let fields = match inspect::form(body) {
        Ok(fields) => fields,
        Err(why) => return refused(&why.what),
    };
    hold(fields.len() <= 8 && body.len() <= 512, "a form is small")?;
    hold(fields.iter().all(|(_, text)| !text.chars().any(char::is_control)), "no control characters")?;
    let codes = fields.iter().filter_map(|(_, text)| text.parse::<PairCode>().ok());
    let mut count = 0;
    for code in codes {
        hold(code.shown().parse() == Ok(code), "a code is read as it is shown")?;
        count += 1;
    }
    accepted((fields.len(), count))
}

fn addresses(_: &mut Rng) -> Vec<Vec<u8>> {
    let texts = [
        "/v1/datasets".to_owned(),
        "/v1/datasets/home".to_owned(),
        "/v1/datasets/home/snapshots/latest".to_owned(),
        format!("/v1/datasets/home/snapshots/{}", ObjectId([0xab; 16])),
        "https://box.local:8443/v1/datasets/home?x=1".to_owned(),
    ];
    texts.map(String::into_bytes).to_vec()
}

fn check_address(target: &[u8]) -> Result<Answer, String> {
    let Some(parts) = inspect::address(target) else { return refused("not ours") };
    hold(parts.iter().all(|part| !part.contains('/')), "a part has no slash in it")?;
    let text = String::from_utf8_lossy(target);
    hold(
        text.contains(&format!("/v1/datasets{}", parts.iter().map(|p| format!("/{p}")).collect::<String>())),
        "nothing is decoded, so nothing is decoded twice",
    )?;
    accepted(parts.len().min(6))
}

fn repo_addresses(_: &mut Rng) -> Vec<Vec<u8>> {
    let name = "0123456789abcdef".repeat(4);
    let texts = [
        "/pc/".to_owned(),
        "/pc/work/?create=true".to_owned(),
        "/pc/work/config".to_owned(),
        "/pc/snapshots/".to_owned(),
        format!("/pc/work/data/{name}"),
        format!("https://box.local:8443/pc/locks/{name}"),
    ];
    texts.map(String::into_bytes).to_vec()
}

fn check_repo_address(target: &[u8]) -> Result<Answer, String> {
    let Some(read) = inspect::repository(target, "pc") else { return refused("not this client's") };
    let (name, within) = match read {
        Ok(read) => read,
        Err(why) => return refused(&format!("{:?} {}", why.class, why.what)),
    };
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    hold(
        !name.is_empty() && name.len() <= 32 && name.bytes().all(good),
        "a repository has a name of the house",
    )?;
    let parts: Vec<&str> = within.split('/').collect();
    let file = parts.get(1).is_none_or(|file| file.is_empty() || file.len() == 64);
    hold(parts.len() <= 2 && file, "a file is called by 64 digits")?;
    let again = inspect::repository(format!("/pc/{name}/{within}").as_bytes(), "pc");
    hold(again == Some(Ok((name.clone(), within.clone()))), "an address written again means the same")?;
    accepted((name == "default", parts[0].to_owned(), parts.len()))
}
