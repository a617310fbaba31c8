//! New recovery words: shown, made true, spread to disks that were away, finished after a cut; the old ones void.

mod common;

use coffre_core::fault::Class;
use coffre_core::slots::{new_identity, open_root};
use coffre_core::words::RecoveryWords;
use coffre_vault::{Vault, adopt};
use common::{Scratch, get, green, put, until};
use std::path::PathBuf;

/// Which of the copies these words open: the state folder's, then each disk's.
fn opened_by(it: &Scratch, disks: usize, words: &[String]) -> Vec<bool> {
    let identity = new_identity(*RecoveryWords::parse(words).expect("words").entropy());
    let copies = std::iter::once(it.state()).chain((0..disks).map(|n| it.disk(n)));
    let opens = |folder: PathBuf| {
        let file = std::fs::read(folder.join("keys.age")).unwrap_or_default();
        open_root(&file, &identity).is_ok()
    };
    copies.map(opens).collect()
}

fn alike(it: &Scratch, vault: &Vault, disks: usize, words: &[String]) {
    until(vault, "all key slots alike", |_| opened_by(it, disks, words) == vec![true; disks + 1]);
}

fn class_of(vault: &Vault, words: &[String]) -> Option<Class> {
    vault.check_words(words).err().map(|fault| fault.class)
}

#[test]
fn new_words_open_everything_and_old_ones_nothing() {
    let (it, made) = Scratch::made(3);
    let old = made.recovery_words;
    let vault = it.open();
    put(&vault, "pc/a", b"before");
    let new = vault.draw_words();
    assert_eq!((class_of(&vault, &old), class_of(&vault, &new)), (None, Some(Class::Refused)), "only drawn");
    assert_eq!(vault.renew_words(&new).expect("all disks are there"), Vec::<u8>::new());
    assert_eq!((class_of(&vault, &old), class_of(&vault, &new)), (Some(Class::Refused), None));
    assert_eq!(opened_by(&it, 3, &old), [false; 4]);
    assert_eq!(opened_by(&it, 3, &new), [true; 4]);
    put(&vault, "pc/a", b"after");
    drop(vault);
    assert_eq!(get(&it.open(), "pc/a"), b"after", "the box itself opens it as before");
    let wrong = vec!["abaisser".to_owned(); 24];
    assert_eq!(it.open().renew_words(&wrong).expect_err("no checksum").class, Class::Misuse);

    // The board dies: the new paper makes a new state folder, the old one does not.
    std::fs::remove_dir_all(it.state()).expect("gone");
    let disks: Vec<PathBuf> = (0..3).map(|n| it.disk(n)).collect();
    assert_eq!(adopt(&it.state(), &disks, &old).expect_err("void").class, Class::Refused);
    adopt(&it.state(), &disks, &new).expect("the paper in hand");
    assert_eq!(get(&it.open(), "pc/a"), b"after");
}

#[test]
fn a_disk_that_was_away_gets_them_when_it_returns() {
    let (it, made) = Scratch::made(3);
    let vault = it.open();
    it.pull(1);
    until(&vault, "the disk is missed", |status| !green(status));
    let new = vault.draw_words();
    assert_eq!(vault.renew_words(&new).expect("two disks are there"), [1]);
    it.put_back(1);
    alike(&it, &vault, 3, &new);
    assert_eq!(opened_by(&it, 3, &made.recovery_words), [false; 4]);
    // Twice more, the second time over a restart.
    it.pull(2);
    until(&vault, "the disk is missed", |status| !green(status));
    let newer = vault.draw_words();
    vault.renew_words(&newer).expect("two disks are there");
    drop(vault);
    it.put_back(2);
    alike(&it, &it.open(), 3, &newer);
}

/// Every mixture of old and new copies is what some cut may leave: all of them end with the new words everywhere, because
/// these were shown.
#[test]
fn a_renewal_that_was_cut_off_is_finished_at_the_next_start() {
    let (it, _) = Scratch::made(2);
    let places = [it.state(), it.disk(0), it.disk(1)].map(|folder| folder.join("keys.age"));
    let read = || places.clone().map(|place| std::fs::read(place).expect("there"));
    let before = read();
    let vault = it.open();
    let new = vault.draw_words();
    vault.renew_words(&new).expect("both are there");
    drop(vault);
    let after = read();
    for mixture in 1..8 {
        for (n, place) in places.iter().enumerate() {
            let bytes = if mixture >> n & 1 == 1 { &after[n] } else { &before[n] };
            std::fs::write(place, bytes).expect("written");
        }
        // A half-written file of the attempt lies there as well.
        std::fs::write(it.disk(0).join("keys.age.new"), b"half").expect("written");
        let vault = it.open();
        alike(&it, &vault, 2, &new);
        assert_eq!(class_of(&vault, &new), None, "mixture {mixture}");
        drop(vault);
    }
    // A damaged and a missing copy are made good, too.
    std::fs::write(&places[1], b"rot").expect("written");
    std::fs::remove_file(&places[2]).expect("gone");
    alike(&it, &it.open(), 2, &new);
}
