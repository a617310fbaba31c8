//! Making a vault and taking one over: what is refused, what is left behind, what the words open.

mod common;

use coffre_core::fault::{Class, Fault};
use coffre_core::wire::Light;
use coffre_vault::disk::FsDisk;
use coffre_vault::ports::Disk;
use coffre_vault::{InitPlan, Vault, adopt, init};
use common::{Scratch, authority, files, get, green, noise, put, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn refused(it: &Scratch, change: impl FnOnce(&mut InitPlan)) -> Fault {
    let mut plan = it.plan();
    change(&mut plan);
    init(&plan, &authority).expect_err("refused")
}

#[test]
fn init_refuses_with_a_reason_and_touches_nothing() {
    let it = Scratch::empty(3);
    let class = |change: &dyn Fn(&mut InitPlan)| refused(&it, change).class;
    assert_eq!(class(&|p| p.disks.clear()), Class::Misuse);
    assert_eq!(class(&|p| p.disks = vec![p.disks[0].clone(); 9]), Class::Misuse);
    assert_eq!(class(&|p| p.disks[1] = p.disks[0].clone()), Class::Misuse);
    assert_eq!(class(&|p| p.disks[1] = p.disks[0].join("../disk0")), Class::Misuse);
    assert_eq!(class(&|p| p.disks[1] = p.disks[0].join("none")), Class::Absent);
    assert_eq!(class(&|p| p.geometry = "4+2".parse().ok()), Class::Misuse);
    assert_eq!(class(&|p| p.state = p.disks[0].join("state")), Class::Misuse);
    assert_eq!(class(&|p| p.state = p.disks[0].clone()), Class::Misuse);
    assert_eq!(class(&|p| p.state = it.path("disk0/..")), Class::Refused, "the folder of the disks");
    assert_eq!(class(&|p| p.try_out = false), Class::Refused, "one file system");
    for name in ["", " ", "a\nb", &"x".repeat(41)] {
        assert_eq!(class(&|p| p.name = name.into()), Class::Misuse, "{name:?}");
    }
    fs::write(it.path("file"), b"x").expect("scratch");
    assert_eq!(class(&|p| p.disks[2] = it.path("file")), Class::Misuse);
    assert_eq!(class(&|p| p.state = it.path("file")), Class::Misuse);
    fs::write(it.disk(2).join("photo.jpg"), b"precious").expect("scratch");
    let fault = refused(&it, |_| ());
    assert!(fault.class == Class::Refused && fault.what.contains("disk2 is not empty"), "{fault}");
    assert!(fault.next.is_some());
    fs::remove_file(it.disk(2).join("photo.jpg")).expect("scratch");
    fs::create_dir(it.state()).expect("scratch");
    fs::write(it.state().join("mine"), b"precious").expect("scratch");
    assert_eq!(class(&|_| ()), Class::Refused);
    let left = files(it.path("").as_path());
    assert_eq!(left, 2, "the two files of this test and nothing else");
}

#[test]
fn lost_and_found_is_no_content_and_what_is_ours_is_named() {
    let (it, made) = Scratch::made(2);
    let fresh = Scratch::empty(1);
    fs::create_dir(fresh.disk(0).join("lost+found")).expect("scratch");
    let fault = refused(&fresh, |p| p.disks.push(it.disk(1)));
    assert!(fault.class == Class::Refused && fault.what.contains(&made.vault_id.to_string()), "{fault}");
    let fault = refused(&fresh, |p| p.state = it.state());
    assert!(fault.class == Class::Refused && fault.what.contains("already"), "{fault}");
    let made = init(&fresh.plan(), &authority).expect("made");
    assert!(made.warnings[0].contains("no disk may be lost"), "{:?}", made.warnings);
}

#[test]
fn an_init_that_fails_half_way_takes_back_what_it_made() {
    let it = Scratch::empty(2);
    let fault = init(&it.plan(), &|_, _, _, _| Err(Fault::permanent("no certificate"))).expect_err("no");
    assert_eq!(fault.what, "no certificate");
    assert!(!it.state().exists());
    // Something appears on the second disk after the checks, when the first one is labelled already.
    let meddle = |keys: &_, vault, name: &str, now_ms| {
        fs::write(it.disk(1).join("label"), b"in the way").expect("scratch");
        authority(keys, vault, name, now_ms)
    };
    let fault = init(&it.plan(), &meddle).expect_err("in the way");
    assert!(fault.class == Class::Refused && fault.what.contains("disk1"), "{fault}");
    assert_eq!((files(&it.disk(0)), files(&it.disk(1)), it.state().exists()), (0, 0, false));
    init(&it.plan(), &authority).expect("made now");
}

#[test]
fn what_init_makes_is_for_the_owner_alone() {
    let (it, made) = Scratch::made(3);
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(it.state()), 0o700);
    for name in ["box.json", "box.identity", "keys.age", "witness"] {
        assert_eq!(mode(it.state().join(name)), 0o600, "{name}");
    }
    for n in 0..3 {
        assert!(it.disk(n).join("label").exists() && it.disk(n).join("keys.age").exists());
    }
    let text = fs::read_to_string(it.state().join("box.json")).expect("text");
    assert!(made.recovery_words.iter().all(|word| !text.contains(&format!("{word} "))));
}

#[test]
fn a_state_folder_that_lacks_something_says_what() {
    let (it, _) = Scratch::made(2);
    let opening = |what: &str| Vault::open(&it.state()).map(|_| ()).expect_err(what);
    let aside = |name: &str| fs::rename(it.state().join(name), it.path(name)).expect("there");
    let back = |name: &str| fs::rename(it.path(name), it.state().join(name)).expect("there");
    aside("box.identity");
    let fault = opening("no identity");
    assert!(fault.class == Class::Corrupt && fault.what.contains("box.identity"), "{fault}");
    back("box.identity");
    aside("box.json");
    assert_eq!(opening("no vault").class, Class::Absent);
    back("box.json");
    // The key slots are on every disk as well, and the witness begins anew when all disks are there.
    aside("keys.age");
    aside("witness");
    drop(it.open());
    assert!(it.state().join("witness").exists());
    back("keys.age");
    let kept = fs::read_to_string(it.state().join("box.json")).expect("text");
    fs::write(it.state().join("box.json"), kept.replace("\"born\": true", "\"born\": false"))
        .expect("written");
    assert_eq!(opening("cut off").class, Class::Refused);
    fs::write(it.state().join("box.json"), &kept[..kept.len() / 2]).expect("written");
    assert_eq!(opening("half a file").class, Class::Corrupt);
}

#[test]
fn a_vault_that_lost_its_beginning_is_not_opened_as_an_empty_one() {
    let (it, _) = Scratch::made(2);
    for n in 0..2 {
        fs::remove_dir_all(it.disk(n).join("journal")).expect("there");
    }
    fs::remove_file(it.state().join("witness")).expect("there");
    let fault = Vault::open(&it.state()).map(|_| ()).expect_err("empty");
    assert_eq!(fault.class, Class::Corrupt, "{fault}");
}

#[test]
fn a_dead_board_is_replaced_with_the_words() {
    let (it, made) = Scratch::made(3);
    let bytes = noise(2 << 20, 5);
    let vault = it.open();
    put(&vault, "pc/a", &bytes);
    let secret = vault.client_add(&"pc".parse().expect("a name"), None, None).expect("made").secret;
    drop(vault);
    let (other, others) = Scratch::made(2);
    let new = it.path("new-state");
    let disks: Vec<_> = (0..3).map(|n| it.disk(n)).collect();
    let class = |disks: &[_], words: &[String]| adopt(&new, disks, words).expect_err("refused").class;
    assert_eq!(class(&disks, &others.recovery_words), Class::Refused, "the words of another vault");
    assert_eq!(class(&disks, &made.recovery_words[1..]), Class::Misuse);
    assert_eq!(class(&[], &made.recovery_words), Class::Misuse);
    assert_eq!(class(&[it.disk(0), other.disk(0)], &made.recovery_words), Class::Refused);
    assert_eq!(class(&[it.disk(0), it.disk(0)], &made.recovery_words), Class::Misuse);
    let copied = std::process::Command::new("cp").arg("-r").arg(it.disk(0)).arg(it.path("copy")).status();
    assert!(copied.expect("cp").success());
    assert_eq!(class(&[it.disk(0), it.path("copy")], &made.recovery_words), Class::Refused);
    assert_eq!(class(&[it.path("new-state-disk")], &made.recovery_words), Class::Absent);
    assert!(!new.exists(), "nothing is left of what was refused");
    // The system medium died; the disks come in another order.
    fs::remove_dir_all(it.state()).expect("there");
    let disks: Vec<_> = [2, 0, 1].map(|n| it.disk(n)).into();
    let outcome = adopt(&new, &disks, &made.recovery_words).expect("adopted");
    assert_eq!((outcome.vault_id, outcome.name.as_str()), (made.vault_id, "office"));
    assert_eq!(outcome.warnings, Vec::<String>::new());
    let vault = Vault::open(&new).expect("opens");
    assert!(get(&vault, "pc/a") == bytes);
    assert!(vault.authenticate("pc", &secret).is_some());
    assert_eq!(vault.authority_der(), made.authority_der);
    assert!(vault.status().light == Light::Green && new.join("witness").exists());
    vault.check_words(&made.recovery_words).expect("they open it still");
    put(&vault, "pc/b", b"goes on");
}

#[test]
fn adopting_without_one_disk_goes_by_the_plain_rules() {
    let (it, made) = Scratch::made(3);
    drop(it.open());
    fs::remove_dir_all(it.state()).expect("there");
    let outcome = adopt(&it.state(), &[it.disk(1), it.disk(2)], &made.recovery_words).expect("adopted");
    assert_eq!(outcome.warnings.len(), 1);
    let vault = it.open();
    assert!(!it.state().join("witness").exists(), "no witness without all disks");
    let status = vault.status();
    assert!(status.writable && !green(&status), "{:?}", status.reasons);
    put(&vault, "pc/a", b"degraded");
    it.pull(1);
    until(&vault, "one too many", |s| !s.writable);
}

/// Another file system than the one of the scratch folders, where every user may write.
fn elsewhere() -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt;
    let dev = |path: &std::path::Path| fs::metadata(path).map(|m| m.dev()).ok();
    let other = tempfile::tempdir_in("/dev/shm").ok()?;
    let apart = [std::env::temp_dir().as_path(), std::path::Path::new("/")]
        .iter()
        .all(|p| dev(p) != dev(other.path()));
    let space = FsDisk::attach(other.path()).and_then(|d| d.space()).ok()?;
    (apart && space.free > 512 << 20).then_some(other)
}

#[test]
fn a_folder_where_a_disk_should_be_mounted_is_refused() {
    let Some(other) = elsewhere() else { return };
    let it = Scratch::empty(1);
    let disk = other.path().join("disk");
    fs::create_dir(&disk).expect("scratch");
    let fault = refused(&it, |p| {
        p.disks.push(disk.clone());
        p.try_out = false;
    });
    assert!(fault.class == Class::Refused && fault.what.contains("no disk is mounted at"), "{fault}");
    assert!(fault.what.contains("disk0") && fault.next.is_some(), "{fault}");
    assert!(!it.state().exists() && files(&it.disk(0)) + files(&disk) == 0, "nothing was made");
    // The only disk may be there: whoever has one board and no more. That is said.
    let plan = InitPlan { try_out: false, ..it.plan() };
    let made = init(&plan, &authority).expect("made");
    assert!(made.warnings.iter().any(|w| w.contains("medium of the system")), "{:?}", made.warnings);
    let vault = it.open();
    let folder = it.path("folder");
    fs::create_dir(&folder).expect("scratch");
    let fault = vault.disk_add(&folder).expect_err("forgotten");
    assert!(fault.class == Class::Refused && fault.what.contains("no disk is mounted at"), "{fault}");
    let added = vault.disk_add(&disk).expect("a file system of its own");
    assert_eq!(added.number, 1);
}

#[test]
fn a_state_folder_whose_name_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let it = Scratch::empty(1);
    let state = it.path("").join(std::ffi::OsString::from_vec(b"st\xff".to_vec()));
    let fault = refused(&it, |p| p.state = state.clone());
    assert!(fault.class == Class::Misuse && fault.what.contains("UTF-8") && !state.exists(), "{fault}");
}

#[test]
fn a_state_folder_that_is_open_to_others_is_closed_to_them() {
    let (it, _) = Scratch::made(1);
    let set = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours")
    };
    set(&it.state(), 0o755);
    set(&it.state().join("box.identity"), 0o644);
    let vault = it.open();
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(it.state()), mode(it.state().join("box.identity"))), (0o700, 0o600));
    drop(vault);
}

#[test]
fn disks_with_less_room_than_the_vault_needs_itself_are_told_beforehand() {
    // As root only: a small file system of its own.
    let it = Scratch::empty(1);
    let mount = |size: &str| {
        let mut mount = std::process::Command::new("mount");
        let options = format!("size={size}");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(it.disk(0))
            .stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|s| s.success())
    };
    let unmount = || std::process::Command::new("umount").arg(it.disk(0)).status();
    if !mount("120m") {
        return;
    }
    let fault = refused(&it, |p| p.try_out = false);
    assert!(fault.class == Class::Full && fault.what.contains("120 MiB free"), "{fault}");
    assert!(fault.what.contains("324 MiB") && files(&it.disk(0)) == 0 && !it.state().exists(), "{fault}");
    assert!(unmount().is_ok_and(|s| s.success()) && mount("40m"));
    let made = init(&it.plan(), &authority).expect("a try-out is made all the same");
    assert!(made.warnings.iter().any(|w| w.contains("Backups will be refused")), "{:?}", made.warnings);
    assert!(unmount().is_ok_and(|s| s.success()));
}

/// The state folder says that the vault was not born yet, as it does until the first record was acknowledged.
fn unborn(it: &Scratch) {
    let path = it.state().join("box.json");
    let text = fs::read_to_string(&path).expect("there");
    assert!(text.contains("\"born\": true"));
    fs::write(&path, text.replace("\"born\": true", "\"born\": false")).expect("written");
}

#[test]
fn an_init_that_was_cut_off_is_simply_run_again() {
    // At its end: everything is there but the word that it was born. A daemon may have been started on it.
    let (it, first) = Scratch::made(3);
    unborn(&it);
    fs::write(it.state().join("lock"), b"").expect("written");
    let second = init(&it.plan(), &authority).expect("made");
    assert_ne!(first.vault_id, second.vault_id);
    assert!(it.open().check_words(&second.recovery_words).is_ok());
    // Before the first mount: labels, and no record; with the state folder half-way, or without one.
    for state in [&["box.identity", "keys.age"][..], &["box.identity"], &[]] {
        let (it, _) = Scratch::made(2);
        for entry in fs::read_dir(it.state()).expect("there").map(|entry| entry.expect("readable")) {
            if !state.contains(&entry.file_name().to_string_lossy().as_ref()) {
                let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
            }
        }
        for disk in [it.disk(0), it.disk(1)] {
            fs::remove_dir_all(disk.join("journal")).expect("removed");
            fs::create_dir(disk.join("journal")).expect("made");
        }
        fs::remove_file(it.disk(1).join("label")).expect("removed");
        init(&it.plan(), &authority).unwrap_or_else(|why| panic!("{state:?}: {why}"));
        it.open();
    }
}

#[test]
fn what_may_hold_something_is_no_beginning() {
    // Something was stored: whatever box.json says.
    let (it, made) = Scratch::made(3);
    let vault = it.open();
    vault.client_add(&"pc".parse().expect("a name"), None, None).expect("made");
    put(&vault, "pc/a", b"precious");
    drop(vault);
    unborn(&it);
    let before = files(it.path("").as_path());
    assert_eq!(refused(&it, |_| ()).class, Class::Refused);
    // The state folder is gone as well: the disks are somebody's.
    fs::remove_dir_all(it.state()).expect("removed");
    let fault = refused(&it, |_| ());
    assert!(fault.class == Class::Refused && fault.what.contains(&made.vault_id.to_string()), "{fault}");
    assert!(files(it.path("").as_path()) < before && it.disk(0).join("label").exists());
    // A vault that was born and never used, its state folder lost; and a foreign file beside a beginning.
    for foreign in [false, true] {
        let (it, _) = Scratch::made(1);
        match foreign {
            true => {
                unborn(&it);
                fs::write(it.disk(0).join("photo.jpg"), b"precious").expect("written");
            }
            false => fs::remove_dir_all(it.state()).expect("removed"),
        }
        assert_eq!(refused(&it, |_| ()).class, Class::Refused);
        assert!(it.disk(0).join("label").exists());
    }
    // The disks of one vault, the beginning of another.
    let ((one, _), (other, _)) = (Scratch::made(1), Scratch::made(1));
    unborn(&one);
    assert_eq!(refused(&one, |plan| plan.disks = vec![other.disk(0)]).class, Class::Refused);
    assert!(other.disk(0).join("label").exists() && one.state().join("box.json").exists());
}
