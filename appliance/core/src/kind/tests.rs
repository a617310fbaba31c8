//! Kinds by hand: what each format says at its end, and any bytes in any pieces.

use super::*;
use ::bytes::Bytes;
use proptest::prelude::*;

fn check(expected: Expected, body: &[u8]) -> Option<Checked> {
    let mut checker = Checker::new(expected);
    checker.push(&Bytes::copy_from_slice(body));
    checker.finish()
}

fn finding(kind: Kind, body: &[u8]) -> Finding {
    check(Expected::Said(kind), body).expect("of a kind that is checked").finding
}

const DUMP: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nCREATE TABLE t (a int);\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";

#[test]
fn words_are_read_as_they_are_said() {
    for kind in Kind::ALL {
        assert_eq!(kind.word().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).expect("a value"), kind.word());
    }
    for bad in ["", "File", "sql", "zip ", "postgresql"] {
        assert!(bad.parse::<Kind>().expect_err("no kind").contains("odoo"), "{bad}");
    }
}

#[test]
fn each_finding_has_its_key_and_says_why() {
    for (n, finding) in Finding::ALL.into_iter().enumerate() {
        assert!(Finding::ALL[..n].iter().all(|other| other.key() != finding.key()));
        assert_eq!(serde_json::to_value(finding).expect("a value"), finding.key());
        let checked = Checked { kind: Kind::Zip, finding };
        assert_eq!(checked.why().is_none(), finding == Finding::Whole);
        let bytes = minicbor::to_vec(checked).expect("encodes");
        assert_eq!(minicbor::decode::<Checked>(&bytes).expect("decodes"), checked);
    }
    let page = Checked { kind: Kind::Odoo, finding: Finding::WebPage };
    assert!(page.why().is_some_and(|why| why.contains("the Odoo master password is probably wrong")));
}

#[test]
fn a_plain_dump_is_whole_with_its_last_lines_only() {
    let last = DUMP.trim_ascii_end().len();
    for cut in 0..=DUMP.len() {
        let whole = finding(Kind::Postgres, &DUMP[..cut]) == Finding::Whole;
        assert_eq!(whole, cut >= last, "cut after {cut} bytes");
    }
    let windows = String::from_utf8_lossy(DUMP).replace('\n', "\r\n");
    assert_eq!(finding(Kind::Postgres, windows.as_bytes()), Finding::Whole);
    let more = [DUMP, b"CREATE TABLE half_of_anoth"].concat();
    assert_eq!(finding(Kind::Postgres, &more), Finding::NoLastLine);
    for own in [1, 2_000] {
        let own = [&b"SET role x;\n".repeat(own)[..], DUMP].concat();
        assert_eq!(finding(Kind::Postgres, &own), Finding::Whole, "somebody's own lines before it");
    }
    let two = [DUMP, &String::from_utf8_lossy(DUMP).replace("abc", "def").into_bytes()[..]].concat();
    assert_eq!(finding(Kind::Postgres, &two), Finding::Whole, "two of them, each with its key");
}

/// The last lines of a dump as rows of a table in it: what is cut off behind these rows is no whole dump.
#[test]
fn rows_are_no_last_lines() {
    let rows = b"COPY public.notes (line) FROM stdin;\n--\n-- PostgreSQL database dump complete\n--\n\n";
    for restrict in [&b""[..], b"\\restrict k3y\n\n"] {
        for filler in [10, 40_000] {
            let filler = b"INSERT INTO t VALUES (1);\n".repeat(filler);
            let begin = [b"--\n-- PostgreSQL database dump\n--\n\n", restrict, &filler[..], rows].concat();
            assert_eq!(finding(Kind::Postgres, &begin), Finding::NoLastLine);
            let forged = [&begin[..], b"\\unrestrict key\n\n"].concat();
            assert_eq!(finding(Kind::Postgres, &forged), Finding::NoLastLine);
            let unrestrict = String::from_utf8_lossy(restrict).replace("restrict", "unrestrict");
            let end = [b"\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n", unrestrict.as_bytes()]
                .concat();
            assert_eq!(finding(Kind::Postgres, &[&begin[..], &end].concat()), Finding::Whole);
        }
    }
}

#[test]
fn a_dump_of_all_databases_ends_with_its_own_line() {
    let head = b"--\n-- PostgreSQL database cluster dump\n--\n\n";
    let own = b"SET role x;\n".repeat(200);
    for own in [&b""[..], &own] {
        let cut = [own, head, DUMP, DUMP].concat();
        assert_eq!(finding(Kind::Postgres, &cut), Finding::NoLastLine, "between two databases");
    }
    let cut = [head, DUMP, DUMP].concat();
    let whole = [&cut[..], b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"].concat();
    assert_eq!(finding(Kind::Postgres, &whole), Finding::Whole);
}

#[test]
fn what_cannot_be_told_is_not_told() {
    let packed = ::zstd::encode_all(DUMP, 3).expect("compressed");
    for kind in [Kind::Postgres, Kind::Tar] {
        assert_eq!(finding(kind, &packed), Finding::Compressed);
    }
    assert_eq!(finding(Kind::Postgres, b"PGDMP\x01\x0e"), Finding::CustomFormat);
    assert_eq!(finding(Kind::Zip, &packed), Finding::OtherKind);
    assert_eq!(Finding::Compressed.complete(), None);
    assert_eq!(check(Expected::Said(Kind::File), b"<html>"), None);
    assert_eq!(check(Expected::Unknown, b"<html>"), None, "nobody knows what was due");
    for other in [&b"a note"[..], b"BZh", b"\x1f\x8b"] {
        assert_eq!(check(Expected::Unknown, other), None, "it does not say what it is");
    }
    let some = Some(Checked { kind: Kind::File, finding: Finding::Compressed });
    assert_eq!(check(Expected::Unknown, &packed), some);
}

/// `false | curl -T -`, the same through gzip, an empty line: whatever the kind is, there is nothing in it.
#[test]
fn nothing_is_called_nothing_of_any_kind() {
    let gzip = |bytes: &[u8]| packed_by("gzip", &["-c"], bytes);
    let all = [
        b"".to_vec(),
        b"\n".to_vec(),
        b" \r\n\0".to_vec(),
        gzip(b""),
        gzip(b"\n"),
        gzip(&[0; 10_240]),
        [gzip(b""), gzip(b"")].concat(),
        packed_by("xz", &["-c"], b""),
        packed_by("bzip2", &["-c"], b""),
        ::zstd::encode_all(&b""[..], 3).expect("compressed"),
    ];
    for body in all {
        for kind in Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Zip | Kind::Odoo)) {
            assert_eq!(finding(kind, &body), Finding::Empty, "{body:?} as {kind}");
        }
        let nothing = Some(Checked { kind: Kind::File, finding: Finding::Empty });
        assert_eq!(check(Expected::Unknown, &body), nothing, "{body:?}");
        let due = check(Expected::Recognised(Kind::Odoo), &body).expect("due");
        assert_eq!((due.kind, due.finding), (Kind::Odoo, Finding::Empty));
    }
    assert_eq!(check(Expected::Said(Kind::File), &[7; 9]), None);
    assert_eq!(check(Expected::Said(Kind::File), &[0; 9_000]), None, "a disk of zeros may be meant");
}

/// What that program makes of these bytes.
fn packed_by(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("{program} is there"));
    let (mut into, bytes) = (child.stdin.take().expect("a pipe"), bytes.to_vec());
    let writer = std::thread::spawn(move || into.write_all(&bytes));
    let mut out = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut out).expect("reads");
    writer.join().expect("joined").expect("written");
    assert!(child.wait().expect("waited").success());
    out
}

/// Whatever packed it: cut off at any byte, or with a byte changed, it is never whole, and something behind it is noticed.
#[test]
fn packed_streams_say_where_they_end() {
    let mut text: Vec<u8> = (0..60_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    text.extend(vec![7; 70_000]);
    let makers: [(&str, &[&str]); 9] = [
        ("gzip", &["-c"]),
        ("gzip", &["-1c"]),
        ("bzip2", &["-c"]),
        ("bzip2", &["-1c"]),
        ("xz", &["-c"]),
        ("xz", &["-0c", "-T2", "--block-size=20000"]),
        ("xz", &["-c", "--check=none"]),
        ("xz", &["-c", "--check=sha256", "--x86", "--lzma2"]),
        ("xz", &["-c", "--delta=dist=4", "--lzma2=preset=1"]),
    ];
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for size in [5, 10, 5_000, text.len()] {
        streams.extend(makers.iter().map(|(program, args)| packed_by(program, args, &text[..size])));
        streams.extend([1, 3, 19].map(|level| ::zstd::encode_all(&text[..size], level).expect("compressed")));
    }
    let not_whole = |body: &[u8]| {
        let seen = check(Expected::Unknown, body);
        seen.is_none_or(|seen| seen.finding != Finding::Compressed && seen.complete() != Some(true))
    };
    for one in streams {
        let two = [&one[..], &one[..]].concat();
        for whole in [&one, &two] {
            let seen = check(Expected::Unknown, whole).expect("one of them");
            assert_eq!(seen.finding, Finding::Compressed, "{:?}", &whole[..6]);
            let step = whole.len() / 1_500 + 1;
            for cut in (0..whole.len()).step_by(step).chain(whole.len() - 20.min(whole.len())..whole.len()) {
                assert!(cut == one.len() || not_whole(&whole[..cut]), "{:?} cut after {cut}", &whole[..6]);
            }
        }
        let more = [&one[..], b"and more"].concat();
        let seen = check(Expected::Unknown, &more).expect("one of them");
        assert_ne!(seen.complete(), Some(true));
        assert!(matches!(seen.finding, Finding::MoreBehind | Finding::CutStream), "{seen:?}");
        let padded = [&one[..], &[0; 512]].concat();
        assert_ne!(check(Expected::Unknown, &padded).expect("one").complete(), Some(true));
    }
}

/// What is inside a stream of gzip is looked at like what came plain.
#[test]
fn gzip_is_opened() {
    let rows = b"INSERT INTO t VALUES (1);\n".repeat(20_000);
    let dump = [&DUMP[..60], &rows, &DUMP[60..]].concat();
    let gzip = |bytes: &[u8]| packed_by("gzip", &["-c"], bytes);
    let whole = gzip(&dump);
    let is = |body: &[u8]| check(Expected::Unknown, body);
    let of = |finding| Some(Checked { kind: Kind::Postgres, finding });
    assert_eq!(is(&whole), of(Finding::Whole));
    assert_eq!(finding(Kind::Postgres, &whole), Finding::Whole);
    assert_eq!(is(&gzip(&dump[..dump.len() - 40])), of(Finding::NoLastLine), "cut before it was packed");
    assert_eq!(finding(Kind::Postgres, &gzip(b"<html>")), Finding::WebPage);
    assert_eq!(finding(Kind::Tar, &whole), Finding::OtherKind);
    for cut in (0..whole.len()).step_by(7) {
        assert_ne!(finding(Kind::Postgres, &whole[..cut]).complete(), Some(true), "cut after {cut}");
    }
    for at in (10..whole.len()).step_by(11) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_ne!(finding(Kind::Postgres, &changed).complete(), Some(true), "changed at {at}");
    }
    let parts = [gzip(&dump[..400]), gzip(&dump[400..])].concat();
    assert_eq!(is(&parts), of(Finding::Whole), "in members");
    assert_eq!(is(&[&whole[..], &[0; 99]].concat()), of(Finding::Whole), "with zeros behind it");
    assert_eq!(is(&[&whole[..], b"x"].concat()), of(Finding::MoreBehind));
    // A trap: a thousand times as much inside. It is not followed to its end.
    let trap = gzip(&vec![b'a'; 100 << 20]);
    assert_eq!(is(&trap), Some(Checked { kind: Kind::File, finding: Finding::Compressed }));
}

#[test]
fn a_web_page_is_called_one() {
    for page in ["<!DOCTYPE html><p>", "\u{feff}\r\n\t <HTML lang=en>", "<!doctype HTML>"] {
        for kind in [Kind::Tar, Kind::Zip, Kind::Postgres, Kind::Odoo] {
            assert_eq!(finding(kind, page.as_bytes()), Finding::WebPage, "{page}");
        }
    }
    assert_eq!(finding(Kind::Zip, b"<htm"), Finding::OtherKind);
    for kind in [Kind::Tar, Kind::Zip, Kind::Postgres, Kind::Odoo] {
        assert_eq!(finding(kind, b""), Finding::Empty);
    }
}

/// The first push of a data set is cut off as easily as the tenth, and until there is a whole one it is the newest.
#[test]
fn what_says_what_it_is_is_held_to_it_from_the_first_one_on() {
    let cut = Some(Checked { kind: Kind::Postgres, finding: Finding::NoLastLine });
    assert_eq!(check(Expected::Unknown, &DUMP[..60]), cut);
    let zip = Some(Checked { kind: Kind::Zip, finding: Finding::NoDirectory });
    assert_eq!(check(Expected::Unknown, b"PK\x03\x04 and no more"), zip);
    // Where another kind was recognised before, only a complete one changes it.
    let due = Some(Checked { kind: Kind::Zip, finding: Finding::OtherKind });
    assert_eq!(check(Expected::Recognised(Kind::Zip), &DUMP[..60]), due);
}

#[test]
fn a_recognised_kind_gives_way_to_another_complete_one() {
    let dump = Some(Checked { kind: Kind::Postgres, finding: Finding::Whole });
    assert_eq!(check(Expected::Recognised(Kind::Zip), DUMP), dump);
    assert_eq!(check(Expected::Unknown, DUMP), dump);
    let said = check(Expected::Said(Kind::Zip), DUMP);
    assert_eq!(said, Some(Checked { kind: Kind::Zip, finding: Finding::OtherKind }));
    let page = check(Expected::Recognised(Kind::Zip), b"<html>");
    assert_eq!(page, Some(Checked { kind: Kind::Zip, finding: Finding::WebPage }));
}

fn expectations() -> impl Strategy<Value = Expected> {
    let kind = (0..5usize).prop_map(|n| Kind::ALL[n]);
    prop_oneof![
        Just(Expected::Unknown),
        kind.clone().prop_map(Expected::Said),
        kind.prop_map(Expected::Recognised)
    ]
}

proptest! {
    /// Any bytes after a beginning that means something, in any pieces: no panic, and the pieces do not matter.
    #[test]
    fn pieces_do_not_matter(
        begin in 0..6usize,
        noise in proptest::collection::vec(any::<u8>(), 0..3_000),
        long in 0..150_000usize,
        piece in 1..9_000usize,
        expected in expectations(),
    ) {
        let begins: [&[u8]; 6] = [b"", b"PK\x03\x04", b"\x28\xb5\x2f\xfd\x24", b"<html>", b"PGDMP", DUMP];
        let mut body = [begins[begin], &noise].concat();
        body.extend(noise.iter().cycle().take(if noise.is_empty() { 0 } else { long }));
        let mut checker = Checker::new(expected);
        body.chunks(piece).for_each(|some| checker.push(&Bytes::copy_from_slice(some)));
        prop_assert_eq!(checker.finish(), check(expected, &body));
    }
}
