//! Every word of the console, in French and in English, and figures as each language writes them.
//!
//! What the box says in its own words (reasons, faults) is shown as it comes, in English.

use coffre_core::wire::{DiskState, Light};

/// A language of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// French.
    French,
    /// English.
    English,
}

/// The words that stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Frame around the disks.
    Disks,
    /// Frame around what is kept.
    Kept,
    /// Frame around what to look at.
    ToSee,
    /// Before the number of disks that may still be lost.
    CanLose,
    /// New backups are taken.
    Accepted,
    /// New backups are refused.
    ReadOnly,
    /// Snapshots.
    Snapshots,
    /// Bytes as received.
    Received,
    /// Bytes on all disks.
    Stored,
    /// Packs.
    Packs,
    /// Packs with too little parity.
    Debt,
    /// The index is being rebuilt.
    IndexRebuilding,
    /// Free, of a disk.
    Free,
    /// Of so many.
    Of,
    /// A vault for trying out.
    TryOut,
    /// Backups that are late.
    Late,
    /// Backups that never came.
    NeverCame,
    /// Nothing is wrong.
    NothingToSee,
    /// No answer for so long.
    NoAnswer,
    /// The last answer.
    LastAnswer,
    /// The key that changes the language: names the other one.
    KeyLanguage,
    /// The key that changes glyphs.
    KeyGlyphs,
    /// The key that leaves.
    KeyQuit,
    /// The name of this screen.
    Status,
    /// The window is too small.
    TooSmall,
}

impl Language {
    /// The language of a locale such as `fr_FR.UTF-8`; French when it says nothing else.
    pub fn of_locale(locale: &str) -> Self {
        if locale.starts_with("en") { Language::English } else { Language::French }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Language::French => Language::English,
            Language::English => Language::French,
        }
    }

    fn pick<T>(self, french: T, english: T) -> T {
        match self {
            Language::French => french,
            Language::English => english,
        }
    }

    /// A word.
    pub fn word(self, word: Word) -> &'static str {
        let (french, english) = match word {
            Word::Disks => ("Disques", "Disks"),
            Word::Kept => ("Sauvegardes", "Backups"),
            Word::ToSee => ("À voir", "To look at"),
            Word::CanLose => ("pannes de disque encore supportées :", "disk failures still survived:"),
            Word::Accepted => ("nouvelles sauvegardes acceptées", "new backups are accepted"),
            Word::ReadOnly => ("nouvelles sauvegardes REFUSÉES", "new backups are REFUSED"),
            Word::Snapshots => ("sauvegardes", "snapshots"),
            Word::Received => ("reçus", "received"),
            Word::Stored => ("sur les disques", "on the disks"),
            Word::Packs => ("paquets", "packs"),
            Word::Debt => ("à refaire avec toute leur parité", "to be encoded again with full parity"),
            Word::IndexRebuilding => ("index en reconstruction", "index being rebuilt"),
            Word::Free => ("libres", "free"),
            Word::Of => ("sur", "of"),
            Word::TryOut => ("ESSAI", "TRY-OUT"),
            Word::Late => ("en retard", "late"),
            Word::NeverCame => ("jamais venues", "never came"),
            Word::NothingToSee => ("rien à signaler", "nothing to report"),
            Word::NoAnswer => ("Le coffre ne répond pas", "The box does not answer"),
            Word::LastAnswer => ("dernière réponse il y a", "last answer"),
            Word::KeyLanguage => ("English", "Français"),
            Word::KeyGlyphs => ("signes", "glyphs"),
            Word::KeyQuit => ("quitter", "leave"),
            Word::Status => ("État", "Status"),
            Word::TooSmall => ("Fenêtre trop petite : 80 × 24", "Window too small: 80 × 24"),
        };
        self.pick(french, english)
    }

    /// The word of a light.
    pub fn light(self, light: Light) -> &'static str {
        match light {
            Light::Green => self.pick("PROTÉGÉ", "PROTECTED"),
            Light::Amber => self.pick("À VOIR", "LOOK AT THIS"),
            Light::Red => "DANGER",
        }
    }

    /// The word for a box that does not answer.
    pub fn silent(self) -> &'static str {
        self.pick("PAS DE RÉPONSE", "NO ANSWER")
    }

    /// The word while the first answer is awaited.
    pub fn waiting(self) -> &'static str {
        self.pick("un instant", "one moment")
    }

    /// The word of a disk's state.
    pub fn disk(self, state: DiskState) -> &'static str {
        match state {
            DiskState::Active => self.pick("actif", "active"),
            DiskState::CatchingUp => self.pick("rattrapage", "catching up"),
            DiskState::Suspect => self.pick("suspect", "suspect"),
            DiskState::Absent => self.pick("absent", "absent"),
            DiskState::Held => self.pick("occupé", "held"),
            DiskState::Foreign => self.pick("étranger", "foreign"),
            DiskState::Retired => self.pick("retiré", "retired"),
        }
    }

    /// The word of a background job; a kind this console does not know keeps the box's own word.
    pub fn job(self, kind: &str) -> &str {
        match kind {
            "index-rebuild" => self.pick("reconstruction de l’index", "rebuilding the index"),
            "catch-up" => self.pick("rattrapage d’un disque", "bringing a disk up to date"),
            "merge" => self.pick("fusion de petits paquets", "merging small packs"),
            "checkpoint" => self.pick("point de reprise", "checkpoint"),
            "re-encode" => self.pick("parité rétablie", "restoring full parity"),
            other => other,
        }
    }

    /// A count with groups of three digits.
    pub fn count(self, count: u64) -> String {
        let digits = count.to_string();
        let mut grouped = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                grouped.push(self.pick(' ', ','));
            }
            grouped.push(digit);
        }
        grouped
    }

    /// Bytes with three significant digits, in powers of ten as disks are sold.
    pub fn bytes(self, bytes: u64) -> String {
        let units = self.pick(["o", "ko", "Mo", "Go", "To", "Po"], ["B", "kB", "MB", "GB", "TB", "PB"]);
        let mut value = bytes as f64;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < units.len() {
            value /= 1000.0;
            unit += 1;
        }
        let digits = match value {
            _ if unit == 0 => 0,
            v if v < 9.995 => 2,
            v if v < 99.95 => 1,
            _ => 0,
        };
        let figure = format!("{value:.digits$}").replace('.', self.pick(",", "."));
        format!("{figure} {}", units[unit])
    }

    /// A time that has passed.
    pub fn ago(self, ms: u64) -> String {
        let s = ms / 1000;
        let length = if s < 120 { format!("{s} s") } else { format!("{} min", s / 60) };
        self.pick(length.clone(), format!("{length} ago"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_in_both_languages() {
        assert_eq!(Language::French.bytes(18_200_000_000), "18,2 Go");
        assert_eq!(Language::English.bytes(18_200_000_000), "18.2 GB");
        assert_eq!(Language::English.bytes(999_999), "1.00 MB");
        assert_eq!(Language::French.bytes(12), "12 o");
        assert_eq!(Language::French.count(1_234_567), "1 234 567");
        assert_eq!(Language::English.count(999), "999");
        assert_eq!(Language::English.ago(125_000), "2 min ago");
    }

    #[test]
    fn french_unless_the_locale_says_english() {
        assert_eq!(Language::of_locale("en_GB.UTF-8"), Language::English);
        for other in ["", "C", "fr_MA.UTF-8"] {
            assert_eq!(Language::of_locale(other), Language::French);
        }
    }
}
