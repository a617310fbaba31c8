//! What clients push: zips, tars, dumps, whatever they call themselves.
//!
//! The first byte says what was expected, the next two in which pieces the rest comes.

use super::{Answer, Target, accepted, hold, refused};
use crate::rng::Rng;
use coffre_core::kind::{Checked, Checker, Expected, Finding, Kind};

/// See the module.
pub const TARGETS: &[Target] = &[Target {
    name: "kind",
    samples,
    check,
    mend: None,
    tokens: &[
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\xff\xff\xff\xff",
        b"dump.sql",
        b"manifest.json",
        b"ustar\x0000",
        b"ustar  \0",
        b"30 size=9\n",
        b"\x28\xb5\x2f\xfd",
        b"\x50\x2a\x4d\x18",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0",
        b"BZh91AY&SY",
        b"\x17\x72\x45\x38\x50\x90\0\0\0\0",
        b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
        b"\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ",
        b"<!doctype html",
        b"-- PostgreSQL database dump\n",
        b"-- PostgreSQL database dump complete\n",
        b"-- PostgreSQL database cluster dump\n",
    ],
    max_len: 8192,
    one_in: 2,
    // The ring of the end, whatever comes, and an opened stream with another one; the same twice, as the bytes are checked in one
    // piece and in many.
    memory: |len| 2 * (340 << 10) + 8 * len + (16 << 10),
}];

/// A member of an archive that a test makes.
pub type Member<'a> = (&'a str, &'a [u8]);

/// A zip of stored members, with a comment; with the records of Zip64 if asked for.
pub fn zip(members: &[Member<'_>], comment: &[u8], wide: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let offset = out.len() as u32;
        let (name_len, len) = ((name.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let common = [&[0; 10][..], &[0; 4], &len, &len, &name_len, &[0; 2]].concat();
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
        let rest = [&[0; 10][..], &offset.to_le_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &rest, name.as_bytes()].concat());
    }
    let (offset, len) = (out.len() as u64, directory.len() as u64);
    out.extend(directory);
    let at = out.len() as u64;
    if wide {
        let count = members.len() as u64;
        out.extend([&b"PK\x06\x06"[..], &44u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8]].concat());
        [count, count, len, offset].iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend([&b"PK\x06\x07"[..], &[0; 4], &at.to_le_bytes(), &1u32.to_le_bytes()].concat());
    }
    let narrow = |n: u64| if wide { [0xff; 4] } else { (n as u32).to_le_bytes() };
    let count = (members.len() as u16).to_le_bytes();
    let comment_len = (comment.len() as u16).to_le_bytes();
    out.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &narrow(len), &narrow(offset)].concat());
    out.extend([&comment_len[..], comment].concat());
    out
}

/// A tar as the crate writes it.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).expect("into memory");
    }
    builder.into_inner().expect("into memory")
}

/// A plain dump as `pg_dump` ends it today.
pub fn dump() -> Vec<u8> {
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\nCREATE TABLE t (a integer);\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k\n\n".to_vec()
}

/// What an Odoo backup has in it.
pub const ODOO: [Member<'static>; 3] =
    [("dump.sql", b"CREATE TABLE t;"), ("manifest.json", b"{}"), ("filestore/a/ab", b"0123")];

fn samples(_: &mut Rng) -> Vec<Vec<u8>> {
    let long = "long/".repeat(30);
    let bodies = [
        (1, tar(&[("a", b"first"), (&long, &[0; 1_500]), ("empty", b"")])),
        (2, zip(&ODOO, b"a comment", false)),
        (4, zip(&ODOO, b"", true)),
        (3, dump()),
        (7, zip(&[("a", b"b")], b"", false)),
        (10, dump()),
    ];
    bodies.into_iter().map(|(first, body)| [&[first, 100, 0][..], &body].concat()).collect()
}

fn check(bytes: &[u8]) -> Result<Answer, String> {
    let Some(([first, low, high], body)) = bytes.split_first_chunk() else { return refused("cut short") };
    let kind = Kind::ALL[usize::from(first % 5)];
    let expected = match first / 5 % 3 {
        0 => Expected::Said(kind),
        1 => Expected::Recognised(kind),
        _ => Expected::Unknown,
    };
    let piece = usize::from(u16::from_le_bytes([*low, *high])).max(1);
    let pieces = of(expected, body.chunks(piece));
    let once = of(expected, [body].into_iter());
    hold(pieces == once, "in which pieces it comes does not matter")?;
    let Some(checked) = once else { return refused("nothing to say") };
    let stream = matches!(
        checked.finding,
        Finding::Empty
            | Finding::CutStream
            | Finding::DamagedStream
            | Finding::Compressed
            | Finding::MoreBehind
    );
    hold(checked.kind != Kind::File || stream, "a file is never checked but for its being there")?;
    let said = matches!(expected, Expected::Said(said) if said != checked.kind);
    hold(!said, "what was said of a kind holds")?;
    let sentence = checked.why().is_some() || checked.complete() == Some(true);
    hold(sentence, "what is not complete says why")?;
    match checked.complete() {
        Some(true) => accepted((checked, body.len().min(4_096) / 512)),
        _ => refused(checked.finding.key()),
    }
}

/// What the checker makes of a body that comes in these pieces.
pub fn of<'a>(expected: Expected, pieces: impl Iterator<Item = &'a [u8]>) -> Option<Checked> {
    let mut checker = Checker::new(expected);
    pieces.for_each(|piece| checker.push(&piece.to_vec().into()));
    checker.finish()
}
