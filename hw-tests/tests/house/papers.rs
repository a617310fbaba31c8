//! Rules about the papers: the floor plan names every room, the specification names tests that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rooms that the plan does not name, and rooms that it names and that are not there.
///
/// A room is named by a table row that begins with `` | `CRATE/ROOM` | ``.
pub fn floor_plan(plan: &str, rooms: &BTreeMap<String, String>) -> Vec<String> {
    let planned: BTreeSet<&str> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .filter(|name| name.contains('/'))
        .collect();
    let missing = rooms
        .iter()
        .filter(|(room, _)| !planned.contains(room.as_str()))
        .map(|(room, caption)| format!("docs/ARCHITECTURE.md lacks a row: | `{room}` | {caption} |"));
    let ghosts = planned
        .iter()
        .filter(|name| !rooms.contains_key(**name))
        .map(|name| format!("docs/ARCHITECTURE.md names `{name}`, which is not there"));
    missing.chain(ghosts).collect()
}

/// Number of guarantees, G0 to G18.
const GUARANTEES: usize = 19;

/// Rows of the specification that name neither an existing function nor `pending`, and rows that are missing.
///
/// A row is `| G1 | promise | tests | cases run | long run |`; tests are in back-quotes, their last path segment
/// is the name of a function in the sources.
pub fn specification(text: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| G")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _promise, tests, cases, _long] = cells[..] else {
            complaints.push(format!("docs/specification.md: not five columns: {line}"));
            continue;
        };
        seen.insert(name.to_owned());
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() && !tests.contains("pending") {
            complaints.push(format!("docs/specification.md: {name} names no test and does not say pending"));
        }
        if named.is_empty() && !cases.contains("pending") {
            complaints.push(format!("docs/specification.md: {name} has cases run and no test"));
        }
        for test in named {
            let function = test.rsplit("::").next().unwrap_or(test);
            if !functions.contains(function) {
                complaints.push(format!("docs/specification.md: {name} names `{test}`, which no source has"));
            }
        }
    }
    let expected = (0..GUARANTEES).map(|n| format!("G{n}"));
    complaints.extend(
        expected
            .filter(|name| !seen.contains(name))
            .map(|name| format!("docs/specification.md: {name} is missing")),
    );
    complaints
}

/// Relative links of a paper that lead nowhere. Links to the web are not followed.
pub fn links(path: &str, text: &str, root: &Path) -> Vec<String> {
    let folder = root.join(path).parent().unwrap_or(root).to_path_buf();
    text.match_indices("](")
        .filter_map(|(at, _)| text[at + 2..].split([')', '#', '\n']).next())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|target| !folder.join(target).exists())
        .map(|target| format!("{path}: the link to {target} leads nowhere"))
        .collect()
}

mod tests {
    use super::*;

    #[test]
    fn a_room_without_a_row_and_a_row_without_a_room_are_seen() {
        let rooms = BTreeMap::from([("core/ids".to_owned(), "Names for raw bytes".to_owned())]);
        let plan = "| room | |\n|---|---|\n| `core/ids` | x |\n";
        assert!(floor_plan(plan, &rooms).is_empty());
        assert_eq!(
            floor_plan("", &rooms),
            ["docs/ARCHITECTURE.md lacks a row: | `core/ids` | Names for raw bytes |"]
        );
        assert_eq!(floor_plan(&format!("{plan}| `core/ghost` | x |\n"), &rooms).len(), 1);
    }

    #[test]
    fn a_promise_without_a_test_is_seen() {
        let functions = BTreeSet::from(["survives".to_owned()]);
        let row = |n: usize, tests: &str, cases: &str| format!("| G{n} | p | {tests} | {cases} | l |\n");
        let rest: String = (1..GUARANTEES).map(|n| row(n, "pending", "pending")).collect();
        let complaints =
            |tests: &str, cases: &str| specification(&(row(0, tests, cases) + &rest), &functions);
        assert!(complaints("`crash::survives`", "20 000").is_empty());
        assert!(complaints("pending", "pending").is_empty());
        assert_eq!(complaints("`crash::gone`", "20 000").len(), 1);
        assert_eq!(complaints("", "pending").len(), 1);
        assert_eq!(complaints("pending", "20 000").len(), 1);
        assert_eq!(specification(&rest, &functions), ["docs/specification.md: G0 is missing"]);
        assert_eq!(specification(&("| G0 | p |\n".to_owned() + &rest), &functions).len(), 2);
    }

    #[test]
    fn a_dead_link_is_seen() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            links("a.md", "[x](no-such-file.md) [y](https://example.org/no) [z](#here)", root).len(),
            1
        );
        assert!(links("a.md", "[x](Cargo.toml#top)", root).is_empty());
    }
}
