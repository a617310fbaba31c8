//! Rules about one file: caption, size, banned calls.

use crate::sources::{Source, is_word};

/// Longest file, in lines, its own tests not counted.
const MAX_LINES: usize = 500;

/// The first line says what the room is for.
pub fn caption(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or("");
    let says_something = first.strip_prefix("//! ").is_some_and(|words| words.trim().len() >= 8);
    if says_something { vec![] } else { vec![format!("{}: the first line is no caption", source.path)] }
}

/// A file that is too long wants a wall.
pub fn size(source: &Source) -> Vec<String> {
    let lines =
        if source.is_test() { source.text.lines().count() } else { source.lines_without_tests().count() };
    if lines <= MAX_LINES {
        return vec![];
    }
    vec![format!("{}: {lines} lines without its tests, more than {MAX_LINES}", source.path)]
}

/// A call that is banned, where it is allowed all the same, and why.
struct Ban {
    call: &'static str,
    allowed: fn(&Source) -> bool,
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        call: "SystemTime::now",
        allowed: may_ask_the_time,
        why: "time is a parameter: ask the Clock port",
    },
    Ban { call: "Instant::now", allowed: may_ask_the_time, why: "time is a parameter: ask the Clock port" },
    Ban { call: "println!", allowed: may_print, why: "only binaries and the command line print" },
    Ban { call: "print!", allowed: may_print, why: "only binaries and the command line print" },
    Ban { call: "todo!", allowed: |_| false, why: "say `pending` in the papers and leave the code out" },
    Ban {
        call: "unimplemented!",
        allowed: |_| false,
        why: "say `pending` in the papers and leave the code out",
    },
    Ban { call: "dbg!", allowed: |_| false, why: "a leftover" },
];

/// Calls that have no place where they stand. Tests are free.
pub fn banned_calls(source: &Source) -> Vec<String> {
    if source.is_test() {
        return vec![];
    }
    let mut complaints = Vec::new();
    for (number, line) in source.lines_without_tests() {
        for ban in BANS.iter().filter(|ban| has_call(line, ban.call) && !(ban.allowed)(source)) {
            complaints.push(format!("{}:{number}: {}: {}", source.path, ban.call, ban.why));
        }
    }
    complaints
}

/// Whether the call stands in the line as a word of its own (`eprintln!` is not `println!`).
fn has_call(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| at == 0 || !is_word(line.as_bytes()[at - 1]))
}

/// The clock's adapter, binaries, and the rig, which measures the real world; never the simulator.
fn may_ask_the_time(source: &Source) -> bool {
    let path = source.path.as_str();
    let rig = path.starts_with("hw-tests/src/") && !path.starts_with("hw-tests/src/sim");
    rig || path.contains("/src/bin/") || path.ends_with("/clock.rs")
}

fn may_print(source: &Source) -> bool {
    source.path.contains("/src/bin/") || source.path.starts_with("appliance/src/cli")
}

mod tests {
    use super::*;

    fn at(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn a_missing_caption_is_seen() {
        for bad in ["", "use std::fs;", "//!", "//! x", "/// A doc comment is no caption"] {
            assert_eq!(caption(&at("a/src/b.rs", bad)).len(), 1, "{bad:?}");
        }
        assert!(caption(&at("a/src/b.rs", "//! Where bytes rest.\n")).is_empty());
    }

    #[test]
    fn a_long_file_is_seen_and_its_tests_are_not_counted() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(size(&at("a/src/b.rs", &long)).len(), 1);
        assert_eq!(size(&at("a/tests/b.rs", &long)).len(), 1);
        let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "x\n".repeat(MAX_LINES));
        assert!(size(&at("a/src/b.rs", &with_tests)).is_empty());
    }

    #[test]
    fn banned_calls_are_seen_in_code_only() {
        for bad in [
            "SystemTime::now()",
            "std::time::Instant::now()",
            "println!()",
            "todo!()",
            "unimplemented!()",
            "dbg!(1)",
        ] {
            assert_eq!(banned_calls(&at("appliance/core/src/b.rs", bad)).len(), 1, "{bad}");
            assert!(banned_calls(&at("appliance/core/src/b.rs", &format!("// {bad}"))).is_empty());
            assert!(banned_calls(&at("appliance/core/src/b.rs", &format!("\"{bad}\""))).is_empty());
        }
        assert!(banned_calls(&at("appliance/core/src/b.rs", "eprintln!()")).is_empty());
        let in_tests = "#[cfg(test)]\nmod tests {\n    fn a() { println!(); }\n}\n";
        assert!(banned_calls(&at("appliance/core/src/b.rs", in_tests)).is_empty());
    }

    #[test]
    fn the_clock_may_ask_and_the_simulator_may_not() {
        let call = "Instant::now()";
        for allowed in
            ["appliance/vault/src/clock.rs", "appliance/src/bin/coffred.rs", "hw-tests/src/rig/a.rs"]
        {
            assert!(banned_calls(&at(allowed, call)).is_empty(), "{allowed}");
        }
        for banned in ["hw-tests/src/sim/world.rs", "hw-tests/src/sim.rs", "appliance/vault/src/engine/a.rs"]
        {
            assert_eq!(banned_calls(&at(banned, call)).len(), 1, "{banned}");
        }
        assert_eq!(banned_calls(&at("hw-tests/src/rig/a.rs", "println!()")).len(), 1);
        assert_eq!(banned_calls(&at("appliance/src/bin/coffre.rs", "todo!()")).len(), 1);
    }
}
