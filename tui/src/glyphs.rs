//! Three tiers of glyphs: *rich* for modern terminals, *cp437* for the Linux console, *ASCII* for serial lines.
//!
//! Screens are drawn once, with rich glyphs. Then every cell goes through [`fold`], which replaces what the tier does not
//! have; so no screen can use a glyph outside of its tier, whatever a disk path or a message from the box contains.

use ratatui::buffer::Buffer;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Anything.
    Rich,
    /// The character set of the PC's text mode, which every Linux console font has.
    Cp437,
    /// Seven bits.
    Ascii,
}

/// A good thing.
pub const GOOD: &str = "●";
/// A thing to look at.
pub const WATCH: &str = "▲";
/// A bad thing.
pub const BAD: &str = "■";
/// A thing that is not there.
pub const NOTHING: &str = "○";
/// A thing under way.
pub const UNDER_WAY: &str = "»";
/// Something nobody knows.
pub const UNKNOWN: &str = "?";
/// The done part of a bar.
pub const BAR_DONE: char = '█';
/// The rest of a bar.
pub const BAR_REST: char = '░';

/// Rich glyphs that are not in cp437 or not in ASCII, with what stands for them there.
const FOLDS: &[(char, char, char)] = &[
    ('●', '•', 'o'),
    ('▲', '▲', '!'),
    ('■', '■', '#'),
    ('○', '○', '-'),
    ('»', '»', '>'),
    ('█', '█', '#'),
    ('░', '░', '.'),
    ('─', '─', '-'),
    ('│', '│', '|'),
    ('┌', '┌', '+'),
    ('┐', '┐', '+'),
    ('└', '└', '+'),
    ('┘', '┘', '+'),
    ('…', '~', '~'),
    ('·', '·', '.'),
    ('’', '\'', '\''),
    ('À', 'A', 'A'),
    ('Â', 'A', 'A'),
    ('È', 'E', 'E'),
    ('Ê', 'E', 'E'),
    ('É', 'É', 'E'),
    ('Ô', 'O', 'O'),
    ('Ç', 'Ç', 'C'),
    ('à', 'à', 'a'),
    ('â', 'â', 'a'),
    ('ç', 'ç', 'c'),
    ('é', 'é', 'e'),
    ('è', 'è', 'e'),
    ('ê', 'ê', 'e'),
    ('ë', 'ë', 'e'),
    ('î', 'î', 'i'),
    ('ï', 'ï', 'i'),
    ('ô', 'ô', 'o'),
    ('ù', 'ù', 'u'),
    ('û', 'û', 'u'),
];

impl Tier {
    /// The tier for a terminal, from the values of `TERM` and of the locale (`LC_ALL`, `LC_CTYPE` or `LANG`).
    pub fn for_terminal(term: &str, locale: &str) -> Self {
        let utf8 = locale.to_ascii_lowercase().replace('-', "").ends_with("utf8");
        match term {
            _ if !utf8 => Tier::Ascii,
            "linux" => Tier::Cp437,
            "" | "dumb" | "vt100" | "vt102" | "vt220" => Tier::Ascii,
            _ => Tier::Rich,
        }
    }

    /// The next one, for the key that changes it.
    pub fn next(self) -> Self {
        match self {
            Tier::Rich => Tier::Cp437,
            Tier::Cp437 => Tier::Ascii,
            Tier::Ascii => Tier::Rich,
        }
    }

    /// Its name, the same in all languages.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Rich => "rich",
            Tier::Cp437 => "cp437",
            Tier::Ascii => "ascii",
        }
    }

    /// What this tier shows for a character.
    fn shown(self, c: char) -> char {
        if self == Tier::Rich || c.is_ascii() {
            return c;
        }
        let fold = FOLDS.iter().find(|(rich, _, _)| *rich == c);
        match (self, fold) {
            (Tier::Cp437, Some((_, cp437, _))) => *cp437,
            (Tier::Ascii, Some((_, _, ascii))) => *ascii,
            _ => '?',
        }
    }
}

/// Replaces every glyph that the tier does not have.
pub fn fold(buffer: &mut Buffer, tier: Tier) {
    if tier == Tier::Rich {
        return;
    }
    for cell in &mut buffer.content {
        let mut chars = cell.symbol().chars();
        // A cell may hold a letter with combining marks: the letter is enough.
        let shown = tier.shown(chars.next().unwrap_or(' '));
        cell.set_char(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upper half and the drawable control characters of code page 437.
    const CP437: &str = "☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■";

    #[test]
    fn folds_stay_in_their_tier() {
        for (rich, cp437, ascii) in FOLDS {
            assert!(cp437.is_ascii() || CP437.contains(*cp437), "{rich}");
            assert!(ascii.is_ascii(), "{rich}");
        }
    }

    #[test]
    fn shapes_differ_in_every_tier() {
        for tier in [Tier::Rich, Tier::Cp437, Tier::Ascii] {
            let shapes = [GOOD, WATCH, BAD, NOTHING, UNDER_WAY, UNKNOWN]
                .map(|s| tier.shown(s.chars().next().unwrap_or(' ')));
            let different: std::collections::BTreeSet<char> = shapes.into_iter().collect();
            assert_eq!(different.len(), shapes.len(), "{tier:?}: {shapes:?}");
        }
    }

    #[test]
    fn strangers_become_question_marks() {
        let mut buffer = Buffer::with_lines(["é ● 漢 x"]);
        fold(&mut buffer, Tier::Ascii);
        let line: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(line, "e o ?  x");
    }

    #[test]
    fn the_terminal_chooses() {
        assert_eq!(Tier::for_terminal("xterm-256color", "fr_FR.UTF-8"), Tier::Rich);
        assert_eq!(Tier::for_terminal("linux", "C.utf8"), Tier::Cp437);
        assert_eq!(Tier::for_terminal("vt220", "fr_FR.UTF-8"), Tier::Ascii);
        assert_eq!(Tier::for_terminal("xterm", "C"), Tier::Ascii);
    }
}
