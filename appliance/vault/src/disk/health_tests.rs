//! Answers in smartctl's documented form, and programs that stand in for it.

use super::*;
use std::os::unix::fs::PermissionsExt;

const ATA: &[u8] = include_bytes!("../../tests/fixtures/smartctl-ata.json");
const NVME: &[u8] = include_bytes!("../../tests/fixtures/smartctl-nvme.json");
const STANDBY: &[u8] = include_bytes!("../../tests/fixtures/smartctl-standby.json");

#[test]
fn an_ata_disk_is_read() {
    let health = parse(ATA);
    assert_eq!(health.model.as_deref(), Some("WDC WD40EFRX-68N32N0"));
    assert_eq!(
        (health.passed, health.temperature_c, health.power_on_hours),
        (Some(true), Some(31), Some(38_214))
    );
    assert_eq!((health.reallocated_sectors, health.pending_sectors), (Some(8), Some(1)));
    assert_eq!((health.media_errors, health.wear_percent, health.unknown_why), (None, None, None));
}

#[test]
fn an_nvme_disk_is_read() {
    let health = parse(NVME);
    assert_eq!(
        (health.passed, health.temperature_c, health.power_on_hours),
        (Some(true), Some(44), Some(6_021))
    );
    assert_eq!((health.media_errors, health.wear_percent), (Some(0), Some(3)));
    assert_eq!((health.reallocated_sectors, health.pending_sectors), (None, None));
}

#[test]
fn what_says_nothing_is_unknown_and_says_why() {
    let asleep = parse(STANDBY).unknown_why.expect("asleep");
    assert!(asleep.contains("STANDBY"), "{asleep}");
    for bad in [&b""[..], b"{", b"[]", b"smartctl: not found", br#"{"temperature":{"current":"hot"}}"#] {
        assert!(parse(bad).unknown_why.is_some(), "{}", String::from_utf8_lossy(bad));
    }
    assert!(parse(b"{}").unknown_why.is_some());
    assert_eq!(parse(br#"{"temperature":{"current":9000},"power_on_time":{"hours":5}}"#).temperature_c, None);
}

#[test]
fn a_cut_or_flipped_answer_harms_nobody() {
    for answer in [ATA, NVME] {
        for len in 0..answer.len() {
            let _ = parse(&answer[..len]);
        }
        let mut bad = answer.to_vec();
        for at in 0..bad.len() {
            bad[at] ^= 4;
            let _ = parse(&bad);
            bad[at] ^= 4;
        }
    }
}

#[test]
fn a_folder_and_a_missing_path_are_unknown() {
    let dir = tempfile::tempdir().expect("scratch");
    assert!(health_of(&dir.path().join("none")).unknown_why.is_some_and(|why| why.contains("not there")));
    assert!(health_of(Path::new("/proc")).unknown_why.is_some(), "no block device");
}

/// A stand-in for smartctl, written by another process: one that this process had open for writing while another test
/// forks could not be run.
fn pretender(folder: &Path, script: &str) -> PathBuf {
    let (text, path) = (folder.join("script"), folder.join("smartctl"));
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("written");
    let copied = Command::new("cp").arg(&text).arg(&path).status().expect("runs");
    assert!(copied.success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made to run");
    path
}

#[test]
fn the_program_is_run_bounded_and_may_be_missing() {
    let dir = tempfile::tempdir().expect("scratch");
    std::fs::write(dir.path().join("answer"), ATA).expect("written");
    let answer = dir.path().join("answer");
    // smartctl's exit code is a set of flags: 4 with a whole answer is usual.
    let tells =
        format!("for last; do :; done; test \"$last\" = /dev/sdz && cat {}; exit 4", answer.display());
    let program = pretender(dir.path(), &tells);
    assert_eq!(ask(&program, Path::new("/dev/sdz"), LIMIT), parse(ATA));
    let missing = ask(&dir.path().join("no-such-program"), Path::new("/dev/sdz"), LIMIT);
    assert!(missing.unknown_why.is_some_and(|why| why.contains("smartmontools")));
    // More than is ever read, from a program that would not stop.
    let flood = pretender(dir.path(), "exec yes '{{{{{{{{{{{{{{{{'");
    assert!(ask(&flood, Path::new("/dev/sdz"), LIMIT).unknown_why.is_some());
    let hung = pretender(dir.path(), "exec sleep 600");
    let late = ask(&hung, Path::new("/dev/sdz"), Duration::from_millis(50));
    assert!(late.unknown_why.is_some_and(|why| why.contains("in time")));
}
