//! The status screen as it looks, kept as text: a change of the screen is a change of these files.
//!
//! `COFFRE_BLESS=1 cargo test -p coffre-tui` writes them anew; read the difference before committing it.

use coffre_core::ids::{DiskId, VaultId};
use coffre_core::wire::{DiskInfo, DiskState, JobInfo, Light, Status};
use coffre_tui::glyphs::Tier;
use coffre_tui::screen;
use coffre_tui::state::{Event, State};
use coffre_tui::text::Language;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use std::path::Path;

fn disk(number: u8, state: DiskState, reason: Option<&str>) -> DiskInfo {
    let known = state != DiskState::Absent;
    DiskInfo {
        id: DiskId([number; 16]),
        number,
        path: format!("/srv/coffre/disque-{}", number + 1),
        state,
        reason: reason.map(str::to_owned),
        total_bytes: known.then_some(4_000_000_000_000),
        free_bytes: known.then_some(1_560_000_000_000),
        durable_seq: 4711,
        may_be_taken_out: None,
        health: Default::default(),
    }
}

fn green() -> Status {
    Status {
        name: "bureau-fes".into(),
        vault_id: VaultId([7; 16]),
        light: Light::Green,
        reasons: vec![],
        writable: true,
        can_lose_disks: 2,
        geometry: "4+2".parse().expect("a geometry"),
        epoch: 12,
        disks: (1..=6).map(|n| disk(n, DiskState::Active, None)).collect(),
        objects: 1_284,
        snapshots: 1_284,
        logical_bytes: 18_200_000_000_000,
        stored_bytes: 6_310_000_000_000,
        packs: 131_072,
        debt_packs: 0,
        heal: Default::default(),
        scrub: Default::default(),
        index_ready: true,
        jobs: vec![],
        try_out: false,
        senders: vec![],
        senders_count: 0,
        refused: vec![],
        refused_known_since_ms: 0,
    }
}

fn amber() -> Status {
    let mut status = green();
    status.light = Light::Amber;
    status.can_lose_disks = 1;
    status.reasons = vec!["disk 3 is being brought up to date".into()];
    status.disks[2] = disk(3, DiskState::CatchingUp, Some("came back, 41 records behind"));
    status.debt_packs = 12;
    status.index_ready = false;
    status.jobs = vec![
        JobInfo { kind: "catch-up".into(), done: 68, total: Some(100) },
        JobInfo { kind: "index-rebuild".into(), done: 1_024, total: None },
    ];
    status
}

fn red() -> Status {
    let mut status = green();
    status.light = Light::Red;
    status.can_lose_disks = 0;
    status.writable = false;
    status.try_out = true;
    status.reasons = vec![
        "disks 2 and 5 are not there: no further disk may be lost".into(),
        "backups are refused: fewer disks are visible than a mount for writing needs".into(),
    ];
    status.disks[1] = disk(2, DiskState::Absent, Some("not there"));
    status.disks[3] = disk(4, DiskState::Suspect, Some("a sync failed: Input/output error"));
    status.disks[4] = disk(5, DiskState::Foreign, Some("another vault's disk is mounted here"));
    status
}

fn heard(status: Option<Status>, language: Language, tier: Tier) -> State {
    let mut state = State::new(language, tier, true);
    state.apply(Event::Tick { now_ms: 1_000 });
    if let Some(status) = status {
        state.apply(Event::Status(Box::new(status)));
    }
    state
}

fn silent(language: Language) -> State {
    let mut state = heard(Some(green()), language, Tier::Rich);
    state.apply(Event::Tick { now_ms: 185_000 });
    state.apply(Event::NoAnswer("/srv/coffre/state/control.sock: Connection refused (os error 111)".into()));
    state
}

fn drawn(state: &State, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| screen::draw(frame, state)).expect("draws");
    terminal.backend().buffer().clone()
}

/// The screen without its colours.
fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n")
        .collect()
}

fn golden(name: &str, state: &State) {
    let seen = text(&drawn(state, 80, 24));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("COFFRE_BLESS").is_some() {
        std::fs::write(&path, &seen).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, kept, "{name}: the screen changed; see the head of this file");
}

#[test]
fn screens_look_as_kept() {
    let (fr, en) = (Language::French, Language::English);
    golden("green-fr", &heard(Some(green()), fr, Tier::Rich));
    golden("green-en", &heard(Some(green()), en, Tier::Rich));
    golden("amber-fr", &heard(Some(amber()), fr, Tier::Rich));
    golden("amber-en", &heard(Some(amber()), en, Tier::Rich));
    golden("red-fr", &heard(Some(red()), fr, Tier::Rich));
    golden("red-en", &heard(Some(red()), en, Tier::Rich));
    golden("silent-fr", &silent(fr));
    golden("silent-en", &silent(en));
    golden("red-fr-cp437", &heard(Some(red()), fr, Tier::Cp437));
    golden("amber-fr-ascii", &heard(Some(amber()), fr, Tier::Ascii));
    golden("waiting-fr", &heard(None, fr, Tier::Rich));
}

#[test]
fn states_differ_with_colours_stripped() {
    for tier in [Tier::Rich, Tier::Cp437, Tier::Ascii] {
        for language in [Language::French, Language::English] {
            let first_row = |status| {
                let screen = text(&drawn(&heard(status, language, tier), 80, 24));
                screen.lines().next().unwrap_or("").to_owned()
            };
            let same_but_for_the_light = |light| Some(Status { light, ..green() });
            let rows: std::collections::BTreeSet<String> = [
                first_row(same_but_for_the_light(Light::Green)),
                first_row(same_but_for_the_light(Light::Amber)),
                first_row(same_but_for_the_light(Light::Red)),
                text(&drawn(&silent(language), 80, 24)).lines().next().unwrap_or("").to_owned(),
            ]
            .into();
            assert_eq!(rows.len(), 4, "{tier:?} {language:?}: {rows:?}");
        }
    }
}

#[test]
fn no_glyph_outside_of_its_tier() {
    for status in [green(), amber(), red()] {
        for language in [Language::French, Language::English] {
            let screen = text(&drawn(&heard(Some(status.clone()), language, Tier::Ascii), 80, 24));
            assert!(screen.is_ascii(), "{screen}");
            assert!(!screen.contains('?'), "a glyph of ours has no ASCII stand-in:\n{screen}");
        }
    }
}

#[test]
fn a_silent_box_is_never_green() {
    for language in [Language::French, Language::English] {
        let screen = text(&drawn(&silent(language), 80, 24));
        assert!(!screen.contains(language.light(Light::Green)), "{screen}");
        assert!(!screen.contains(language.disk(DiskState::Active)), "{screen}");
    }
}

#[test]
fn any_size_and_any_text_is_drawn() {
    let mut wild = red();
    wild.name = "漢字 \u{1b}[31m".repeat(40);
    wild.reasons = vec!["x".repeat(5_000), "\u{7}é\u{301}".into()];
    wild.disks = (1..=8).map(|n| disk(n, DiskState::Foreign, Some(&"long ".repeat(100)))).collect();
    wild.jobs = (0..50).map(|n| JobInfo { kind: "unknown".into(), done: n, total: Some(0) }).collect();
    for (width, height) in [(1, 1), (40, 10), (79, 24), (80, 24), (132, 43), (240, 67)] {
        for tier in [Tier::Rich, Tier::Cp437, Tier::Ascii] {
            let screen = text(&drawn(&heard(Some(wild.clone()), Language::French, tier), width, height));
            assert!(!screen.contains('\u{1b}'), "{width}x{height}");
        }
    }
}
