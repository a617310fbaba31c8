//! Snapshots of a kind: whole ones are taken for whole, and cut off anywhere they are noticed, in whatever pieces they come.

use coffre_core::kind::{Checked, Expected, Finding, Kind};
use coffre_rig::fuzz::bodies::{Member, ODOO, dump, of, tar, zip};
use proptest::prelude::*;

fn finding(kind: Kind, body: &[u8]) -> Finding {
    of(Expected::Said(kind), [body].into_iter()).expect("a kind that is checked").finding
}

/// Every part of `whole` that is shorter and is taken for complete.
fn unnoticed(kind: Kind, whole: &[u8], step: usize) -> Vec<usize> {
    let cuts = (0..whole.len()).step_by(step);
    cuts.filter(|cut| finding(kind, &whole[..*cut]).complete() != Some(false)).collect()
}

#[test]
fn a_zip_that_is_cut_off_anywhere_is_noticed() {
    let comment = vec![b'x'; 65_535];
    let fake_end = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (comment, step) in [(&b""[..], 1), (b"short", 1), (fake_end, 1), (&comment, 97)] {
        for wide in [false, true] {
            let whole = zip(&ODOO, comment, wide);
            assert_eq!(finding(Kind::Zip, &whole), Finding::Whole, "wide: {wide}");
            assert_eq!(finding(Kind::Odoo, &whole), Finding::Whole, "wide: {wide}");
            assert_eq!(unnoticed(Kind::Zip, &whole, step), Vec::<usize>::new());
            let more = [&whole[..], b"\n"].concat();
            assert_eq!(finding(Kind::Zip, &more), Finding::NoDirectory, "something behind its end");
            let less = [&whole[..40], &whole[41..]].concat();
            assert_eq!(finding(Kind::Zip, &less), Finding::NoDirectory, "a byte of its middle is missing");
        }
    }
    assert_eq!(finding(Kind::Zip, &zip(&[], b"", false)), Finding::Empty);
}

#[test]
fn an_odoo_backup_has_its_names() {
    for lacking in ["dump.sql", "manifest.json"] {
        let others: Vec<Member<'_>> = ODOO.into_iter().filter(|m| m.0 != lacking).collect();
        let other = zip(&others, b"", false);
        assert_eq!(finding(Kind::Odoo, &other), Finding::NoOdooNames, "{lacking}");
        let seen = of(Expected::Unknown, [&other[..]].into_iter());
        assert_eq!(seen, Some(Checked { kind: Kind::Zip, finding: Finding::Whole }));
    }
    // A directory beyond what is kept of the end.
    let names: Vec<String> = (0..2_000).map(|n| format!("filestore/{n:040}")).collect();
    let many: Vec<Member<'_>> =
        ODOO.into_iter().chain(names.iter().map(|n| (n.as_str(), &b""[..]))).collect();
    let whole = zip(&many, b"", false);
    assert_eq!(finding(Kind::Odoo, &whole), Finding::Whole);
    assert_eq!(finding(Kind::Zip, &whole), Finding::Whole);
    assert_eq!(unnoticed(Kind::Odoo, &whole, 311), Vec::<usize>::new());
    let seen = of(Expected::Unknown, [&whole[..]].into_iter());
    assert_eq!(seen, Some(Checked { kind: Kind::Odoo, finding: Finding::Whole }));
}

#[test]
fn a_tar_that_is_cut_off_anywhere_is_noticed_also_in_zeros() {
    let long = "a-long-name/".repeat(20);
    let whole =
        tar(&[("a", b"first"), (&long, &[7; 700]), ("zeros", &[0; 5_000]), ("empty", b""), ("b", b"last")]);
    assert_eq!(finding(Kind::Tar, &whole), Finding::Whole);
    assert_eq!(unnoticed(Kind::Tar, &whole, 1), Vec::<usize>::new());
    let padded = [&whole[..], &[0; 4_096]].concat();
    assert_eq!(finding(Kind::Tar, &padded), Finding::Whole);
    assert_eq!(finding(Kind::Tar, &padded[..padded.len() - 1]), Finding::NoEndBlocks);
    assert_eq!(finding(Kind::Tar, &[0; 10_240]), Finding::Empty);
    assert_eq!(finding(Kind::Postgres, &whole), Finding::Whole, "pg_dump --format=tar");
    let mut oldest = whole.clone();
    oldest[257..265].fill(0);
    assert_eq!(finding(Kind::Tar, &oldest), Finding::OtherKind, "its sum is wrong");
    oldest[148..156].fill(b' ');
    let sum: u32 = oldest[..512].iter().map(|b| u32::from(*b)).sum();
    oldest[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert_eq!(finding(Kind::Tar, &oldest), Finding::Whole, "a tar of before ustar");
    let seen = of(Expected::Unknown, [&oldest[..]].into_iter());
    assert_eq!(seen, Some(Checked { kind: Kind::Tar, finding: Finding::Whole }), "is recognised by its sum");
}

#[test]
fn a_member_of_any_length_is_passed_over() {
    // Lengths beyond eleven octal digits: binary, or an attribute of its own.
    for attribute in [false, true] {
        let mut header = ::tar::Header::new_ustar();
        header.set_path("large").expect("short");
        let len: u64 = 9 << 30;
        if !attribute {
            header.set_size(len);
        }
        header.set_cksum();
        let record = format!("19 size={len}\n");
        let mut head = Vec::new();
        if attribute {
            assert_eq!(record.len(), 19);
            let mut own = ::tar::Header::new_ustar();
            own.set_path("own").expect("short");
            own.set_entry_type(::tar::EntryType::XHeader);
            own.set_size(record.len() as u64);
            own.set_cksum();
            head.extend(
                [own.as_bytes().as_slice(), record.as_bytes(), &vec![0; 512 - record.len()]].concat(),
            );
        }
        head.extend(header.as_bytes());
        let zeros = vec![0; 1 << 20];
        let fill = |megabytes: usize| std::iter::repeat_n(&zeros[..], megabytes);
        let whole = [&head[..]].into_iter().chain(fill(9 << 10)).chain([&zeros[..1_024]]);
        let found = of(Expected::Said(Kind::Tar), whole).expect("checked").finding;
        assert_eq!(found, Finding::Whole, "as an attribute: {attribute}");
        let cut = of(Expected::Said(Kind::Tar), [&head[..]].into_iter().chain(fill(100))).expect("checked");
        assert_eq!(cut.finding, Finding::NoEndBlocks, "in the zeros of its contents");
    }
}

/// A directory is believed entry by entry, however long it is, and only as one of what stands before it.
#[test]
fn a_directory_must_be_one() {
    let junk: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let end = |entries: u16, len: u32, offset: u32| {
        let count = entries.to_le_bytes();
        [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &len.to_le_bytes(), &offset.to_le_bytes(), &[0, 0]]
            .concat()
    };
    let body = [b"PK\x03\x04", &junk[..]].concat();
    for off in [0, 100, body.len() - 46] {
        let fake = [&body[..], &end(1, (body.len() - off) as u32, off as u32)].concat();
        assert_eq!(finding(Kind::Zip, &fake), Finding::NoDirectory, "from {off}");
    }
    // One entry that is right, with texts of the rest.
    let entry = [b"PK\x01\x02".as_slice(), &[0; 24], &9u16.to_le_bytes(), &[0; 16]].concat();
    let claims = [&body[..], &entry, &[b'x'; 9], &end(2, 55, body.len() as u32)].concat();
    assert_eq!(finding(Kind::Zip, &claims), Finding::NoDirectory, "two entries are said, and there is one");
    // A member that lies where the directory is.
    let mut beyond = zip(&ODOO, b"", false);
    let at = beyond.windows(4).position(|w| w == b"PK\x01\x02").expect("there");
    beyond[at + 20] = 200;
    assert_eq!(finding(Kind::Zip, &beyond), Finding::NoDirectory);
    // Zips in a zip, as they are: cut behind any of them.
    let inner = zip(&[("a", &junk[..9_000]), ("b", b"2")], b"", false);
    let names: Vec<String> = (0..40).map(|n| format!("in/{n}.zip")).collect();
    let all: Vec<Member<'_>> = names.iter().map(|name| (name.as_str(), &inner[..])).collect();
    let outer = zip(&all, b"", false);
    assert_eq!(finding(Kind::Zip, &outer), Finding::Whole);
    let ends = outer.windows(4).enumerate().filter(|(_, w)| *w == b"PK\x05\x06").map(|(at, _)| at + 22);
    for cut in ends.filter(|cut| *cut < outer.len()) {
        assert_eq!(finding(Kind::Zip, &outer[..cut]), Finding::NoDirectory, "cut at {cut}");
    }
    for (name, body) in [("dump.sql", &b""[..]), ("manifest.json", b"")] {
        let members = ODOO.map(|m| if m.0 == name { (name, body) } else { m });
        assert_eq!(finding(Kind::Odoo, &zip(&members, b"", false)), Finding::EmptyDump, "{name}");
    }
}

/// The header of a member, with that type and link.
fn header(name: &str, len: u64, kind: ::tar::EntryType) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.set_path(name).expect("short");
    header.set_size(len);
    header.set_entry_type(kind);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn a_tar_is_followed_or_not_called_whole() {
    use ::tar::EntryType::{Continuous, Link, Regular, XHeader};
    let zeros = |blocks: usize| vec![0; 512 * blocks];
    let (end, text) = (zeros(2), [&[b'q'; 600][..], &[0; 424]].concat());
    let first = [header("a", 600, Regular), text.clone()].concat();
    let large = [header("z.img", 1 << 20, Regular), zeros(200)].concat();
    // Attributes that are longer than anything that is kept.
    for len in [66_000usize, 400_000] {
        let value = "v".repeat(len);
        let record = |len: usize| format!("{len} SCHILY.xattr.user.x={value}\n");
        let line = (len..).find(|n| record(*n).len() == *n).expect("it is so long");
        let mut own = record(line).into_bytes();
        let said = own.len() as u64;
        own.resize(own.len().next_multiple_of(512), 0);
        let begin = [header("own", said, XHeader), own, first.clone()].concat();
        assert_eq!(finding(Kind::Tar, &[&begin[..], &end].concat()), Finding::Whole);
        assert_eq!(finding(Kind::Tar, &[&begin[..], &large].concat()), Finding::NoEndBlocks);
        let cut = [&begin[..begin.len() - 1_536], &zeros(4)].concat();
        assert_ne!(finding(Kind::Tar, &cut).complete(), Some(true), "zeros in the place of a header");
    }
    // A hard link with contents, or without although its header has a length; contents that look like an end, or like headers.
    let link = header("b", 1_024, Link);
    for contents in [&text[..], &end, &first[..1_024]] {
        let with = [&first[..], &link, contents].concat();
        assert_ne!(finding(Kind::Tar, &[&with[..], &large].concat()).complete(), Some(true));
        assert_ne!(finding(Kind::Tar, &[&with[..], &end].concat()).complete(), Some(false));
    }
    let with = [&first[..], &link, &text, &large].concat();
    assert_eq!(finding(Kind::Tar, &with), Finding::NoEndBlocks);
    let without = [&first[..], &link, &first, &end].concat();
    assert_eq!(finding(Kind::Tar, &without), Finding::Whole);
    let many = [&first[..], &link.repeat(500), &large].concat();
    assert_ne!(finding(Kind::Tar, &many).complete(), Some(true));
    // Two tars, one behind the other; something else behind one.
    let one = [&first[..], &end].concat();
    assert_eq!(finding(Kind::Tar, &[&one[..], &one].concat()), Finding::Whole);
    for cut in [1_300, 1_600, 2_048, 2_060, 3_000, 3_072 + 511] {
        let two = [&one[..], &zeros(3), &first, &large].concat();
        let cut = &two[..one.len() + cut];
        assert_ne!(finding(Kind::Tar, cut).complete(), Some(true), "{}", cut.len());
    }
    assert_eq!(finding(Kind::Tar, &[&one[..], &[7; 900]].concat()), Finding::MoreBehind);
    let odd = [&header("odd", 700, Continuous)[..], &[9; 1_024], &end].concat();
    assert_eq!(finding(Kind::Tar, &odd), Finding::Whole);
}

proptest! {
    /// Cut at any byte and sent in any pieces, a whole one and a part of it are told apart.
    #[test]
    fn parts_in_pieces(which in 0..4usize, cut: prop::sample::Index, piece in 1..4_000usize, noise: Vec<u8>) {
        let own: Vec<Member<'_>> = ODOO.into_iter().chain([("noise", &noise[..])]).collect();
        let (kind, whole) = match which {
            0 => (Kind::Tar, tar(&own)),
            1 => (Kind::Zip, zip(&own, &noise[..noise.len().min(90)], false)),
            2 => (Kind::Odoo, zip(&own, b"", true)),
            _ => (Kind::Postgres, dump()),
        };
        let check = |bytes: &[u8]| of(Expected::Said(kind), bytes.chunks(piece)).expect("checked").finding;
        prop_assert_eq!(check(&whole), Finding::Whole);
        let cut = cut.index(whole.len());
        let all_there = kind == Kind::Postgres && cut >= whole.trim_ascii_end().len();
        prop_assert!(all_there || check(&whole[..cut]).complete() == Some(false), "cut at {}", cut);
    }
}
