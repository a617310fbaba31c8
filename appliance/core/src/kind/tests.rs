//! Kinds by hand: what each format says at its end, and any bytes in any pieces.

use super::*;
use ::bytes::Bytes;
use proptest::prelude::*;

fn check(expected: Expected, body: &[u8]) -> Option<Checked> {
    let mut checker = Checker::default();
    checker.push(&Bytes::copy_from_slice(body));
    checker.finish(expected)
}

fn finding(kind: Kind, body: &[u8]) -> Finding {
    check(Expected::Said(kind), body).expect("of a kind that is checked").finding
}

const DUMP: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nCREATE TABLE t (a int);\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n";
const END: &[u8] = b"-- PostgreSQL database dump complete";

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
fn a_plain_dump_is_whole_with_its_last_line_only() {
    let line_ends = DUMP.windows(END.len()).position(|w| w == END).expect("there") + END.len();
    for cut in 0..=DUMP.len() {
        let whole = finding(Kind::Postgres, &DUMP[..cut]) == Finding::Whole;
        if whole {
            assert!(cut >= line_ends, "cut after {cut} bytes it is taken for whole");
        }
    }
    assert_eq!(finding(Kind::Postgres, DUMP), Finding::Whole);
    assert_eq!(finding(Kind::Postgres, &DUMP[..line_ends]), Finding::Whole);
    let windows = String::from_utf8_lossy(DUMP).replace('\n', "\r\n");
    assert_eq!(finding(Kind::Postgres, windows.as_bytes()), Finding::Whole);
    let more = [DUMP, b"CREATE TABLE half_of_anoth"].concat();
    assert_eq!(finding(Kind::Postgres, &more), Finding::NoLastLine);
    let own = [b"SET role x;\n", DUMP].concat();
    assert_eq!(finding(Kind::Postgres, &own), Finding::Whole, "somebody's own lines before it");
}

#[test]
fn a_dump_of_all_databases_ends_with_its_own_line() {
    let head = b"--\n-- PostgreSQL database cluster dump\n--\n\n";
    let cut = [head, DUMP, DUMP].concat();
    assert_eq!(finding(Kind::Postgres, &cut), Finding::NoLastLine, "between two databases");
    let whole = [&cut[..], b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"].concat();
    assert_eq!(finding(Kind::Postgres, &whole), Finding::Whole);
}

#[test]
fn what_cannot_be_told_is_not_told() {
    let gzip = [b"\x1f\x8b\x08\0".as_slice(), &[7; 40]].concat();
    for kind in [Kind::Postgres, Kind::Tar] {
        assert_eq!(finding(kind, &gzip), Finding::Compressed);
    }
    assert_eq!(finding(Kind::Postgres, b"PGDMP\x01\x0e"), Finding::CustomFormat);
    assert_eq!(finding(Kind::Zip, &gzip), Finding::OtherKind);
    assert_eq!(Finding::Compressed.complete(), None);
    assert_eq!(check(Expected::Said(Kind::File), b"<html>"), None);
    assert_eq!(check(Expected::Unknown, b"<html>"), None, "nobody knows what was due");
    for other in [&b""[..], b"a note", &gzip] {
        assert_eq!(check(Expected::Unknown, other), None, "it does not say what it is");
    }
}

#[test]
fn zstd_says_where_it_ends() {
    let text: Vec<u8> = (0..60_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    for (level, size) in [(1, 0), (3, 10), (3, 240_000), (19, 5_000)] {
        let one = ::zstd::encode_all(&text[..size], level).expect("compressed");
        let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        for whole in [one.clone(), [&one[..], &one[..]].concat(), [&one[..], skippable, &one[..]].concat()] {
            assert_eq!(finding(Kind::Postgres, &whole), Finding::Compressed);
            let frames = [0, one.len(), one.len() + skippable.len()];
            for cut in (4..whole.len()).filter(|cut| !frames.contains(cut)) {
                assert_eq!(finding(Kind::Postgres, &whole[..cut]), Finding::CutStream, "after {cut}");
            }
        }
    }
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
        let mut checker = Checker::default();
        body.chunks(piece).for_each(|some| checker.push(&Bytes::copy_from_slice(some)));
        prop_assert_eq!(checker.finish(expected), check(expected, &body));
    }
}
