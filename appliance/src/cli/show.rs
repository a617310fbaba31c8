//! How figures are shown to people.

use coffre_core::amount::ByteCount;
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};
use std::io::{self, IsTerminal};

/// A page where nothing says how wide it is.
const PAGE_COLUMNS: u16 = 80;
/// Narrower ones are not believed.
const MIN_COLUMNS: u16 = 40;
/// Words up to this length are not cut: an id is copied whole.
const MAX_WORD: usize = 32;

/// A number of bytes with its unit: `1.5 GB`.
pub fn bytes(count: u64) -> String {
    ByteCount(count).to_string()
}

/// `1 disk`, `2 disks`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Columns of a page: those of the terminal, or what `COLUMNS` says; 80 where nothing does.
fn page_columns() -> u16 {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal =
        || io::stdout().is_terminal().then(comfy_table::Table::new).and_then(|table| table.width());
    said.or_else(terminal).unwrap_or(PAGE_COLUMNS).max(MIN_COLUMNS)
}

/// Whether colour is wanted: a terminal, and `NO_COLOR` not set. Colour only repeats what words say.
pub fn colourful() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How a word is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Look at it.
    Watch,
    /// Act.
    Bad,
}

/// `text` in the colour of its tone, where colour is wanted.
pub fn paint(tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Good => 32,
        Tone::Watch => 33,
        Tone::Bad => 31,
    };
    if colourful() { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The tone of a cell that is a state and nothing else.
fn tone(cell: &str) -> Option<Tone> {
    match cell {
        "active" | "yes" | "on time" => Some(Tone::Good),
        "catching up" | "late" | "never" | "unknown" | "?" | "retired" => Some(Tone::Watch),
        "absent" | "suspect" | "foreign" | "very late" => Some(Tone::Bad),
        _ if cell.starts_with("NO: ") => Some(Tone::Bad),
        _ => None,
    }
}

/// Rows under a head, columns aligned to the left, two spaces between, folded where the page is narrower: long texts go on in the next
/// line of their cell, words and ids stay whole as far as there is room.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    table_of(head, rows, page_columns(), colourful())
}

fn table_of<const N: usize>(head: [&str; N], rows: &[[String; N]], columns: u16, colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    table.set_header(head);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| {
            let plain = Cell::new(cell);
            match tone(cell) {
                Some(Tone::Good) => plain.fg(Color::Green),
                Some(Tone::Watch) => plain.fg(Color::Yellow),
                Some(Tone::Bad) => plain.fg(Color::Red),
                None => plain,
            }
        }));
    }
    let longest = |text: &str| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 < N { 2 } else { 0 }));
        let word = rows.iter().map(|row| longest(&row[at])).max().unwrap_or(0).max(longest(head[at]));
        let padding = if at + 1 < N { 2 } else { 0 };
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(
            (word.min(MAX_WORD) + padding) as u16,
        )));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many() {
        assert_eq!((count(1, "disk"), count(2, "disk")), ("1 disk".into(), "2 disks".into()));
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a".to_owned(), "1".to_owned()], ["bcd".to_owned(), "2".to_owned()]];
        assert_eq!(table_of(["x", "y"], &rows, 80, false), "x    y\na    1\nbcd  2");
        assert_eq!(table_of(["x", "y"], &[], 80, false), "x  y");
    }

    #[test]
    fn tables_fold_and_ids_stay_whole() {
        let id = "0123456789abcdef0123456789abcdef";
        let why = "a long sentence that says why this one is not what it should be, and what to do about it";
        let rows = [[id.to_owned(), "active".to_owned(), why.to_owned()]];
        let folded = table_of(["ID", "STATE", "WHY"], &rows, 80, false);
        assert!(folded.lines().all(|line| line.chars().count() <= 80), "{folded}");
        assert!(folded.contains(id) && folded.lines().count() > 2, "{folded}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(words(why).iter().all(|word| words(&folded).contains(word)), "{folded}");
        let coloured = table_of(["ID", "STATE", "WHY"], &rows, 80, true);
        assert!(coloured.contains("\x1b[") && !folded.contains('\x1b'), "{coloured}");
    }
}
