//! Tests of the erasure code: every geometry, every loss, and every kernel against the crate.

use super::kernel::Row;
use super::portable::STRIDE;
use super::*;
use crate::fault::Class;
use reed_solomon_erasure::galois_8::{ReedSolomon, mul};

fn noise(shard: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&[shard as u8]).finalize_xof().fill(&mut out);
    out
}

fn geometries() -> impl Iterator<Item = Geometry> {
    (1..=8).flat_map(|k| (0..=7).filter_map(move |m| Geometry::new(k, m).ok()))
}

#[test]
fn the_matrix_is_the_well_known_one() {
    // The example of Backblaze's JavaReedSolomon, which klauspost's tests repeat ("TestOneEncode").
    let codec = ReedSolomon::new(5, 5).expect("possible");
    let mut shards: Vec<[u8; 2]> = vec![[0, 1], [4, 5], [2, 3], [6, 7], [8, 9]];
    shards.resize(10, [0; 2]);
    codec.encode(&mut shards).expect("encodes");
    assert_eq!(shards[5..], [[12, 13], [10, 11], [14, 15], [90, 91], [94, 95]]);
}

#[test]
fn parity_is_what_the_crate_computes() {
    for g in geometries().filter(|g| g.m() > 0) {
        let data: Vec<Vec<u8>> = (0..g.k()).map(|n| noise(n, STRIDE + 77)).collect();
        let mut expected = vec![vec![0; STRIDE + 77]; g.m()];
        ReedSolomon::new(g.k(), g.m()).expect("possible").encode_sep(&data, &mut expected).expect("encodes");
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        assert_eq!(encode(g, &data).expect("encodes"), expected, "{g}");
    }
}

#[test]
fn every_loss_of_up_to_m_shards_is_made_good() {
    for g in geometries() {
        let data: Vec<Vec<u8>> = (0..g.k()).map(|n| noise(n, 100)).collect();
        let parity = encode(g, &data.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("encodes");
        let all: Vec<Option<Vec<u8>>> = data.into_iter().chain(parity).map(Some).collect();
        for lost in 0u32..1 << g.width() {
            let mut shards = all.clone();
            (0..g.width()).filter(|n| lost >> n & 1 == 1).for_each(|n| shards[n] = None);
            let result = reconstruct(g, &mut shards);
            if lost.count_ones() as usize <= g.m() {
                result.expect("enough is left");
                assert_eq!(shards, all, "{g} without {lost:b}");
            } else {
                assert_eq!(result.expect_err("too few").class, Class::Permanent);
            }
        }
    }
}

#[test]
fn a_range_alone_gives_the_same_bytes() {
    let g = Geometry::new(4, 2).expect("possible");
    let data: Vec<Vec<u8>> = (0..4).map(|n| noise(n, 50_000)).collect();
    let parity = encode(g, &data.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("encodes");
    let range = 30_001..30_020;
    let present = [
        (5, &parity[1][range.clone()]),
        (0, &data[0][range.clone()]),
        (2, &data[2][range.clone()]),
        (3, &data[3][range.clone()]),
    ];
    assert_eq!(reconstruct_one(g, &present, 1).expect("enough"), data[1][range]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let g = Geometry::new(2, 1).expect("possible");
    let (a, b) = (noise(0, 10), noise(1, 9));
    let refused = |present: &[(usize, &[u8])], want| {
        assert_eq!(reconstruct_one(g, present, want).expect_err("refused").class, Class::Misuse);
    };
    refused(&[(0, &a), (1, &b)], 2);
    refused(&[(0, &a), (0, &a)], 2);
    refused(&[(0, &a), (3, &a)], 2);
    refused(&[(0, &a), (1, &a)], 3);
    assert_eq!(encode(g, &[&a]).expect_err("one of two").class, Class::Misuse);
    assert_eq!(reconstruct(g, &mut [None, None]).expect_err("two of three").class, Class::Misuse);
}

/// Lengths around the widths of vectors and of columns, and one that has many.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=70).chain(120..=136).chain(250..=262).chain([511, 513, 1025, 4099])
}

/// Coefficients that no geometry has, so that every one of the 256 is met at every place.
fn wild_rows(outputs: usize, sources: usize, seed: usize) -> Vec<Row> {
    let byte = |r: usize, s: usize| (seed + 37 * r + 101 * s) as u8;
    (0..outputs).map(|r| std::array::from_fn(|s| if s < sources { byte(r, s) } else { 0 })).collect()
}

/// The sum of products, byte by byte, with nothing but the crate's multiplication.
fn by_hand(rows: &[Row], sources: &[&[u8]], len: usize) -> Vec<Vec<u8>> {
    let one = |row: &Row, at: usize| sources.iter().zip(row).fold(0, |sum, (s, c)| sum ^ mul(*c, s[at]));
    rows.iter().map(|row| (0..len).map(|at| one(row, at)).collect()).collect()
}

#[test]
fn the_best_kernel_is_the_first_and_the_portable_one_is_the_last() {
    let all = Kernel::all_here();
    assert_eq!(all.first(), Some(&Kernel::best()));
    assert_eq!(all.last().map(|kernel| format!("{kernel:?}")).as_deref(), Some("Portable"));
    #[cfg(target_arch = "aarch64")]
    assert_eq!(format!("{:?}", Kernel::best()), "Neon");
}

#[test]
fn every_kernel_makes_the_same_bytes_at_every_length_and_alignment() {
    const ROOM: usize = 4200;
    for sources in 1..=MAX_DISKS {
        let bytes: Vec<Vec<u8>> = (0..sources).map(|n| noise(n, ROOM)).collect();
        for outputs in 1..=7 {
            let rows = wild_rows(outputs, sources, 0);
            for len in lengths() {
                // Each range begins at an offset of its own, so that hardly any is aligned.
                let from: Vec<&[u8]> = bytes.iter().zip(1..).map(|(b, n)| &b[n * 5..][..len]).collect();
                let expected = by_hand(&rows, &from, len);
                for kernel in Kernel::all_here() {
                    let mut rooms = vec![vec![0xA5; len + 64]; outputs];
                    let mut to: Vec<&mut [u8]> =
                        rooms.iter_mut().zip(1..).map(|(r, n)| &mut r[n * 3..][..len]).collect();
                    kernel.multiply(&rows, &from, &mut to);
                    for ((room, n), expected) in rooms.iter().zip(1..).zip(&expected) {
                        let (before, rest) = room.split_at(n * 3);
                        assert_eq!(&rest[..len], expected, "{kernel:?} {sources} {outputs} {len}");
                        let outside = before.iter().chain(&rest[len..]);
                        assert!(outside.copied().all(|b| b == 0xA5), "{kernel:?} wrote outside, {len}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_kernel_knows_every_product() {
    let all: Vec<u8> = (0..=255).collect();
    for kernel in Kernel::all_here() {
        for c in 0..=255 {
            let mut out = [0; 256];
            kernel.multiply(&[[c, 0, 0, 0, 0, 0, 0, 0]], &[&all], &mut [&mut out]);
            let expected: Vec<u8> = all.iter().map(|x| mul(c, *x)).collect();
            assert_eq!(out[..], expected, "{kernel:?} times {c}");
        }
        for seed in 0..256 {
            let rows = wild_rows(3, 5, seed);
            let bytes: Vec<Vec<u8>> = (0..5).map(|n| noise(n, 200)).collect();
            let from: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let mut made = vec![vec![0; 200]; 3];
            let mut to: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
            kernel.multiply(&rows, &from, &mut to);
            assert_eq!(made, by_hand(&rows, &from, 200), "{kernel:?} {seed}");
        }
    }
}

#[test]
fn every_kernel_sees_every_wrong_byte() {
    for (kernel, outputs) in Kernel::all_here().into_iter().flat_map(|k| (1..=7).map(move |r| (k, r))) {
        let rows = wild_rows(outputs, 4, 9);
        for len in [1, 17, 64, 150, 259, 1030] {
            let bytes: Vec<Vec<u8>> = (0..4).map(|n| noise(n, len)).collect();
            let from: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let mut good = by_hand(&rows, &from, len);
            let holds = |made: &[Vec<u8>]| {
                kernel.matches(&rows, &from, &made.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            assert!(holds(&good), "{kernel:?} {outputs} {len}");
            for (output, at) in (0..outputs).flat_map(|output| (0..len).map(move |at| (output, at))) {
                good[output][at] ^= 1 << (at % 8);
                assert!(!holds(&good), "{kernel:?} {outputs} {len}: {output} {at}");
                good[output][at] ^= 1 << (at % 8);
            }
        }
    }
}

#[test]
fn every_kernel_encodes_and_decodes_every_geometry_as_the_crate_does() {
    const LEN: usize = 1000;
    for g in geometries().filter(|g| g.m() > 0) {
        let data: Vec<Vec<u8>> = (0..g.k()).map(|n| noise(n, LEN)).collect();
        let mut parity = vec![vec![0; LEN]; g.m()];
        ReedSolomon::new(g.k(), g.m()).expect("possible").encode_sep(&data, &mut parity).expect("encodes");
        let all: Vec<&[u8]> = data.iter().chain(&parity).map(Vec::as_slice).collect();
        for kernel in Kernel::all_here() {
            let recipe = Recipe::parity(g).expect("possible").with(kernel);
            let mut made = vec![vec![0; LEN]; g.m()];
            recipe
                .make(&all[..g.k()], &mut made.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())
                .expect("fits");
            assert_eq!(made, parity, "{kernel:?} {g}");
            for lost in (0u32..1 << g.width()).filter(|lost| lost.count_ones() as usize == g.m()) {
                let (mut left, gone): (Vec<usize>, Vec<usize>) =
                    (0..g.width()).partition(|n| lost >> n & 1 == 0);
                left.reverse();
                let recipe = Recipe::new(g, &left, &gone).expect("enough is left").with(kernel);
                let sources: Vec<&[u8]> = left.iter().map(|n| all[*n]).collect();
                let mut made = vec![vec![0; LEN]; gone.len()];
                let mut out: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
                recipe.make(&sources, &mut out).expect("fits");
                let expected: Vec<&[u8]> = gone.iter().map(|n| all[*n]).collect();
                assert_eq!(made, expected, "{kernel:?} {g} without {lost:b}");
                assert!(recipe.confirms(&sources, &expected).expect("fits"));
            }
        }
    }
}

#[test]
fn several_wanted_shards_come_in_one_pass_and_what_is_there_is_copied() {
    let g = Geometry::new(4, 2).expect("possible");
    let data: Vec<Vec<u8>> = (0..4).map(|n| noise(n, 777)).collect();
    let parity = encode(g, &data.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("encodes");
    let all: Vec<&[u8]> = data.iter().chain(&parity).map(Vec::as_slice).collect();
    let present = [5, 0, 3, 4, 2].map(|n| (n, all[n]));
    let wanted = [5, 1, 0, 2];
    let mut made = vec![vec![0; 777]; wanted.len()];
    let mut out: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
    reconstruct_many_into(g, &present, &wanted, &mut out).expect("enough");
    assert_eq!(made, wanted.map(|n| all[n]));
}

#[test]
fn recipes_that_do_not_fit_are_refused() {
    let g = Geometry::new(2, 2).expect("possible");
    for (present, wanted) in
        [(&[0, 4][..], &[1][..]), (&[0, 1], &[4]), (&[0, 0], &[1]), (&[0, 1, 2], &[3]), (&[0, 1], &[2; 8])]
    {
        let refused = Recipe::new(g, present, wanted).expect_err("refused").class;
        assert_eq!(refused, Class::Misuse, "{present:?} {wanted:?}");
    }
    assert_eq!(Recipe::new(g, &[3], &[1]).expect_err("too few").class, Class::Permanent);
    let recipe = Recipe::parity(g).expect("possible");
    let (a, b) = (noise(0, 10), noise(1, 9));
    for sources in [&[&a[..], &b][..], &[&a], &[&a, &a, &a]] {
        assert_eq!(recipe.confirms(sources, &[&a, &a]).expect_err("refused").class, Class::Misuse);
    }
    assert_eq!(recipe.confirms(&[&a, &a], &[&a]).expect_err("refused").class, Class::Misuse);
    assert_eq!(
        recipe.make(&[&a, &a], &mut [&mut [0; 10], &mut [0; 9]]).expect_err("no").class,
        Class::Misuse
    );
}
