//! Rules about who may import whom: our crates by arrows, outside crates by rooms, manifests by walls.

use crate::sources::{Source, is_word};

/// Our crates, by the name they are imported under.
const OURS: &[&str] = &["coffre_core", "coffre_vault", "coffre", "coffre_tui", "coffre_rig"];

/// What the files under a folder may import of ours. The first match counts, so the deeper folder comes first.
const ARROWS: &[(&str, &[&str])] = &[
    ("appliance/core/src/", &[]),
    ("appliance/core/", &["coffre_core"]),
    ("appliance/vault/src/", &["coffre_core"]),
    ("appliance/vault/", &["coffre_core", "coffre_vault"]),
    ("appliance/", &["coffre_core", "coffre_vault", "coffre"]),
    ("tui/", &["coffre_core", "coffre_tui"]),
    ("hw-tests/src/fuzz", &["coffre_core", "coffre_vault", "coffre", "coffre_rig"]),
    ("hw-tests/", &["coffre_core", "coffre_vault", "coffre_rig"]),
];

/// What the console may see of the ground floor: the wire, and the types the wire is made of.
const TUI_SEES: &[&str] = &["wire", "ids", "geometry", "fault", "names"];

/// Outside crates that only some rooms know, by the beginning of a path.
const ROOMS: &[(&str, &[&str])] = &[
    ("sled", &["appliance/vault/src/index"]),
    ("libc", &["appliance/src/heap.rs"]),
    ("memmap2", &["appliance/vault/src/memory.rs"]),
    ("nix", &["appliance/vault/src/disk", "appliance/vault/src/clock", "appliance/src/", "hw-tests/"]),
    ("hyper", &["appliance/src/doors"]),
    ("hyper_util", &["appliance/src/doors"]),
    ("rustls", &["appliance/src/doors", "appliance/src/identity", "appliance/tests/"]),
    ("tokio_rustls", &["appliance/src/doors", "appliance/src/identity", "appliance/tests/"]),
    ("rcgen", &["appliance/src/identity"]),
    ("mdns_sd", &["appliance/src/announce.rs", "appliance/tests/announce.rs"]),
    ("qrcode", &["appliance/src/cli/pair.rs"]),
    ("ratatui", &["tui/"]),
    ("age", &["appliance/core/src/"]),
    ("reed_solomon_erasure", &["appliance/core/src/erasure", "hw-tests/benches/erasure_speed"]),
    ("libloading", &["hw-tests/benches/erasure_speed"]),
];

/// Dependencies that a crate must not have at all, by manifest.
const WALLS: &[(&str, &[&str])] = &[
    (
        "appliance/core/Cargo.toml",
        &["coffre-vault", "coffre", "coffre-tui", "tokio", "nix", "sled", "hyper", "rustls", "memmap2"],
    ),
    ("appliance/vault/Cargo.toml", &["coffre", "coffre-tui", "tokio", "hyper", "rustls"]),
    ("tui/Cargo.toml", &["coffre-vault", "coffre", "tokio", "nix", "sled", "hyper", "rustls"]),
    ("appliance/Cargo.toml", &["coffre-tui", "sled"]),
];

/// Imports of ours that go up the stairs, or deeper than the console may see.
pub fn arrows(source: &Source) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(folder, _)| source.path.starts_with(folder)) else {
        return vec![format!("{}: stands in no known crate", source.path)];
    };
    let mut complaints = Vec::new();
    for name in
        OURS.iter().filter(|name| !allowed.contains(name) && !path_heads(&source.code, name).is_empty())
    {
        complaints.push(format!("{}: must not import {name}", source.path));
    }
    if source.path.starts_with("tui/") {
        let seen = path_heads(&source.code, "coffre_core");
        for deeper in seen.iter().filter(|head| !TUI_SEES.contains(&head.as_str())) {
            complaints.push(format!("{}: the console must not see coffre_core::{deeper}", source.path));
        }
    }
    complaints
}

/// Outside crates met outside of their room.
pub fn one_room_each(source: &Source) -> Vec<String> {
    ROOMS
        .iter()
        .filter(|(krate, rooms)| {
            !rooms.iter().any(|room| source.path.starts_with(room))
                && !path_heads(&source.code, krate).is_empty()
        })
        .map(|(krate, rooms)| format!("{}: {krate} is known to {} only", source.path, rooms.join(", ")))
        .collect()
}

/// Dependencies that break a wall.
pub fn manifest(path: &str, text: &str) -> Vec<String> {
    let Some((_, banned)) = WALLS.iter().find(|(known, _)| *known == path) else { return vec![] };
    let mut in_dependencies = false;
    let mut complaints = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or("");
        if in_dependencies && banned.contains(&name) {
            complaints.push(format!("{path}: must not depend on {name}"));
        }
    }
    complaints
}

/// What follows `name::` in the code, the heads of a brace group one by one.
fn path_heads(code: &str, name: &str) -> Vec<String> {
    let mut heads = Vec::new();
    for (at, _) in code.match_indices(name) {
        let before = code[..at].bytes().last();
        let is_own_word = before.is_none_or(|b| !is_word(b) && b != b':' && b != b'.' && b != b'-');
        let after = &code[at + name.len()..];
        let Some(rest) = after.strip_prefix("::").filter(|_| is_own_word || code[..at].ends_with(" ::"))
        else {
            // `use sled;` and `use sled as x;` import as well.
            if is_own_word
                && code[..at].trim_end().ends_with("use")
                && !after.starts_with(|c: char| is_word(c as u8))
            {
                heads.push("self".to_owned());
            }
            continue;
        };
        match rest.strip_prefix('{') {
            Some(group) => heads.extend(group_heads(group)),
            None => heads.push(word(rest)),
        }
    }
    heads
}

/// Heads of `a, b::c, d::{e, f}}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut at_head) = (1, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_head = true,
            c if at_head && depth == 1 && !c.is_whitespace() => {
                heads.push(word(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|&c| c.is_alphanumeric() || c == '_' || c == '*').collect()
}

mod tests {
    use super::*;

    fn at(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn going_up_the_stairs_is_seen() {
        for (path, bad) in [
            ("appliance/core/src/a.rs", "use coffre_vault::Vault;"),
            ("appliance/vault/src/a.rs", "let x = coffre::doors::open();"),
            ("appliance/src/a.rs", "use coffre_tui::State;"),
            ("tui/src/a.rs", "use coffre_vault::Vault;"),
            ("hw-tests/src/a.rs", "use coffre::doors::inspect;"),
            ("elsewhere/a.rs", ""),
        ] {
            assert_eq!(arrows(&at(path, bad)).len(), 1, "{path}");
        }
        for (path, good) in [
            ("appliance/vault/src/a.rs", "use coffre_core::ids::PackId; // not coffre::x"),
            ("appliance/src/bin/coffre.rs", "use coffre::cli; use coffre_vault::Vault;"),
            ("hw-tests/src/a.rs", "use coffre_vault::ports::Disk;"),
            ("hw-tests/src/fuzz/a.rs", "use coffre::doors::inspect;"),
        ] {
            assert!(arrows(&at(path, good)).is_empty(), "{path}");
        }
    }

    #[test]
    fn the_console_sees_the_wire_only() {
        let bad = at("tui/src/a.rs", "use coffre_core::{wire::Status, record, ids::{DiskId, PackId}};");
        assert_eq!(arrows(&bad), ["tui/src/a.rs: the console must not see coffre_core::record"]);
        let good = at(
            "tui/src/a.rs",
            "use coffre_core::wire::{Light, Status};\nfn f(x: coffre_core::ids::DiskId) {}",
        );
        assert!(arrows(&good).is_empty());
    }

    #[test]
    fn an_outside_crate_out_of_its_room_is_seen() {
        for bad in ["use sled::Db;", "let t: sled::Tree;", "use sled;", "use ::sled::Db;"] {
            assert_eq!(one_room_each(&at("appliance/vault/src/journal.rs", bad)).len(), 1, "{bad}");
            assert!(one_room_each(&at("appliance/vault/src/index/store.rs", bad)).is_empty());
        }
        assert_eq!(one_room_each(&at("appliance/vault/src/engine.rs", "use nix::fcntl;")).len(), 1);
        assert_eq!(one_room_each(&at("appliance/src/control.rs", "use rustls::ServerConfig;")).len(), 1);
        assert!(
            one_room_each(&at("appliance/src/control.rs", "hassled::x(); a.sled; storage::b()")).is_empty()
        );
    }

    #[test]
    fn a_broken_wall_is_seen() {
        let bad = "[package]\nname = \"coffre-vault\"\n[dependencies]\ntokio.workspace = true\n";
        assert_eq!(manifest("appliance/vault/Cargo.toml", bad).len(), 1);
        let dev = "[dev-dependencies]\ncoffre = { path = \"..\" }\n";
        assert_eq!(manifest("appliance/vault/Cargo.toml", dev).len(), 1);
        let good = "[package]\nname = \"coffre\"\n[dependencies]\ncoffre-core.workspace = true\n";
        assert!(manifest("appliance/vault/Cargo.toml", good).is_empty());
    }
}
