//! The test that keeps house: what `docs/ARCHITECTURE.md` says of the sources is checked against the sources.
//!
//! Each rule is a function from text to complaints, tried on a bad snippet beside it, so that a rule that
//! stopped seeing anything fails by itself. The tests in this file apply the rules to the real tree.

mod imports;
mod papers;
mod sources;
mod style;

use sources::Tree;

/// Fails with every complaint on a line of its own.
fn no_complaints(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_tree_is_seen() {
    let tree = Tree::read();
    for expected in
        ["appliance/core/src/lib.rs", "appliance/vault/src/ports.rs", "hw-tests/tests/house/main.rs"]
    {
        assert!(tree.sources.iter().any(|s| s.path == expected), "{expected} was not read");
    }
}

#[test]
fn every_file_has_its_caption() {
    no_complaints(Tree::read().sources.iter().flat_map(style::caption).collect());
}

#[test]
fn no_file_is_too_long() {
    no_complaints(Tree::read().sources.iter().flat_map(style::size).collect());
}

#[test]
fn no_banned_calls() {
    no_complaints(Tree::read().sources.iter().flat_map(style::banned_calls).collect());
}

#[test]
fn imports_go_down_the_stairs() {
    no_complaints(Tree::read().sources.iter().flat_map(imports::arrows).collect());
}

#[test]
fn each_outside_crate_is_known_to_its_room_only() {
    no_complaints(Tree::read().sources.iter().flat_map(imports::one_room_each).collect());
}

#[test]
fn manifests_keep_the_walls() {
    no_complaints(
        Tree::read().manifests.iter().flat_map(|(path, text)| imports::manifest(path, text)).collect(),
    );
}

#[test]
fn the_floor_plan_names_every_room() {
    let tree = Tree::read();
    no_complaints(papers::floor_plan(&tree.paper("docs/ARCHITECTURE.md"), &tree.rooms()));
}

#[test]
fn the_specification_names_tests_that_exist() {
    let tree = Tree::read();
    no_complaints(papers::specification(&tree.paper("docs/specification.md"), &tree.function_names()));
}

#[test]
fn links_between_papers_lead_somewhere() {
    let tree = Tree::read();
    no_complaints(
        tree.papers.iter().flat_map(|(path, text)| papers::links(path, text, &tree.root)).collect(),
    );
}
