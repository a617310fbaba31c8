//! What the house test reads: sources with comments and strings blanked out, manifests, papers, rooms.
//!
//! A rule that searched the plain text would stumble over its own name in a comment. So code is seen through
//! [`blank`], a small lexer that replaces the inside of comments, strings and character literals by spaces and
//! keeps every line where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Deepest folder that is looked into, and most files read: a runaway link must not hang a test.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 5_000;

/// One Rust source.
pub struct Source {
    /// From the root of the tree, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    /// The same lines with comments, strings and characters blanked out.
    pub code: String,
}

impl Source {
    /// A source as if it stood at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Whether the whole file is tests.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// Lines of code before the first `#[cfg(test)]` that opens a module, numbered from 1.
    pub fn lines_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let end = (0..lines.len())
            .find(|&i| lines[i].starts_with("#[cfg(test)]") && opens_module(lines.get(i + 1)))
            .unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(i, line)| (i + 1, line))
    }
}

fn opens_module(line: Option<&&str>) -> bool {
    line.is_some_and(|l| l.starts_with("mod ") && l.contains('{'))
}

/// All that the rules look at.
pub struct Tree {
    /// The top of the checkout.
    pub root: PathBuf,
    /// Every `.rs` file.
    pub sources: Vec<Source>,
    /// Every `Cargo.toml`, by path.
    pub manifests: BTreeMap<String, String>,
    /// Every `.md` file, by path.
    pub papers: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the checkout this test was built from.
    pub fn read() -> Self {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("hw-tests has a parent").to_path_buf();
        let mut tree = Self {
            root: root.clone(),
            sources: Vec::new(),
            manifests: BTreeMap::new(),
            papers: BTreeMap::new(),
        };
        tree.walk(&root, "", 0);
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) {
        assert!(depth <= MAX_DEPTH, "{prefix}: deeper than {MAX_DEPTH} folders");
        for entry in std::fs::read_dir(folder).expect("a folder of the checkout is readable") {
            let entry = entry.expect("an entry of the checkout is readable");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("file types are known");
            if kind.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    self.walk(&entry.path(), &format!("{path}/"), depth + 1);
                }
                continue;
            }
            let text = || std::fs::read_to_string(entry.path()).expect("sources and papers are UTF-8");
            match name.rsplit_once('.').map(|(_, ext)| ext) {
                Some("rs") => self.sources.push(Source::new(&path, &text())),
                Some("md") => drop(self.papers.insert(path, text())),
                Some("toml") if name == "Cargo.toml" => drop(self.manifests.insert(path, text())),
                _ => {}
            }
            assert!(self.sources.len() < MAX_FILES, "more than {MAX_FILES} sources");
        }
    }

    /// The text of a paper; empty when it is missing, so that the rule that wants it says so.
    pub fn paper(&self, path: &str) -> String {
        self.papers.get(path).cloned().unwrap_or_default()
    }

    /// Rooms with the caption of each: what stands directly in a crate's `src`, named `CRATE/ROOM`.
    pub fn rooms(&self) -> BTreeMap<String, String> {
        let mut rooms = BTreeMap::new();
        for source in &self.sources {
            let Some((krate, inside)) = source.path.split_once("/src/") else { continue };
            let krate = krate.rsplit('/').next().unwrap_or(krate);
            let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
            if room == "lib" || room.ends_with("tests") {
                continue;
            }
            let caption = source.text.lines().next().unwrap_or("").trim_start_matches("//!").trim();
            let speaks_for_the_room = !inside.contains('/') || inside.ends_with("/mod.rs");
            let seen = rooms.entry(format!("{krate}/{room}")).or_insert_with(|| caption.to_owned());
            if speaks_for_the_room {
                caption.clone_into(seen);
            }
        }
        rooms
    }

    /// Every function name in the sources.
    pub fn function_names(&self) -> BTreeSet<String> {
        self.sources.iter().flat_map(|s| function_names(&s.code)).collect()
    }
}

/// Names that follow `fn` in blanked code.
pub fn function_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_a_word = at == 0 || !is_word(code.as_bytes()[at - 1]);
        let name: String = code[at + 3..].chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect();
        if starts_a_word && !name.is_empty() {
            names.push(name);
        }
    }
    names
}

/// Whether a byte can be part of an identifier.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Replaces the inside of comments, strings and character literals by spaces; lines stay where they are.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at, out.last().copied());
        if end > at {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    // Only whole literals and comments were replaced, so what is left is still UTF-8.
    String::from_utf8(out).expect("blanking keeps characters whole")
}

/// The end of the comment or literal that starts at `at`; `at` itself when none does.
fn skip(bytes: &[u8], at: usize, before: Option<u8>) -> usize {
    let rest = &bytes[at..];
    let to = |found: Option<usize>, len: usize| found.map_or(bytes.len(), |i| at + i + len);
    if rest.starts_with(b"//") {
        return rest.iter().position(|&b| b == b'\n').map_or(bytes.len(), |i| at + i);
    }
    if rest.starts_with(b"/*") {
        return to(find(rest, b"*/"), 2);
    }
    let after_word = before.is_some_and(is_word);
    if !after_word && (rest[0] == b'r' || rest.starts_with(b"br")) {
        let hashes_from = if rest[0] == b'b' { 2 } else { 1 };
        let hashes = rest[hashes_from..].iter().take_while(|&&b| b == b'#').count();
        if rest.get(hashes_from + hashes) == Some(&b'"') {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let body = hashes_from + hashes + 1;
            return to(find(&rest[body..], &close).map(|i| i + body), close.len());
        }
    }
    match rest[0] {
        b'"' => quoted(bytes, at, b'"'),
        // A lifetime has no closing quote within two characters; a character literal has one, or an escape.
        b'\'' if rest.get(1) == Some(&b'\\') => quoted(bytes, at, b'\''),
        b'\'' => match rest[1..].iter().take(5).position(|&b| b == b'\'') {
            Some(len)
                if len > 0 && std::str::from_utf8(&rest[1..=len]).is_ok_and(|s| s.chars().count() == 1) =>
            {
                at + len + 2
            }
            _ => at,
        },
        _ => at,
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

/// The end of a literal with escapes that starts at `at`.
fn quoted(bytes: &[u8], at: usize, close: u8) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b if b == close => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a /* dbg!( */ b // todo!(\n\"x\\\"y\" r#\"z\"z\"# 'c' '\\'' &'a str 'é' c";
        let seen = blank(text);
        assert_eq!(seen.lines().count(), 2);
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["a", "b", "&'a", "str", "c"]);
    }

    #[test]
    fn tests_end_the_counted_lines_but_a_lone_attribute_does_not() {
        let source =
            Source::new("a/src/b.rs", "one\n#[cfg(test)]\nuse x;\ntwo\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines_without_tests().count(), 4);
    }

    #[test]
    fn functions_are_found_by_name() {
        assert_eq!(function_names("pub fn one() {} async fn two<T>() {} often three"), ["one", "two"]);
    }
}
