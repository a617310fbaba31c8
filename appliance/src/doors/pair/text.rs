//! Every word of the pairing pages, in French and in English, and which of the two a browser gets.
//!
//! The reader is a shopkeeper with a telephone in the other hand: short sentences, no word of the trade that a file name does not
//! force on us.

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// French, also for whoever asks for neither.
    French,
    /// English.
    English,
}

impl Language {
    /// The one that the address asks for (`lang=fr`), else the one that the browser likes better.
    pub fn choose(query: &str, accepted: Option<&str>) -> Self {
        for part in query.split('&') {
            match part {
                "lang=fr" => return Self::French,
                "lang=en" => return Self::English,
                _ => {}
            }
        }
        let mut best = (Self::French, 0);
        for range in accepted.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let language = match tag.split('-').next() {
                Some("fr") => Self::French,
                Some("en") => Self::English,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, per_mille);
            if quality > best.1 {
                best = (language, quality);
            }
        }
        best.0
    }

    /// As it stands in `lang` of a page.
    pub fn tag(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::English => "en",
        }
    }

    /// What keeps an address in this language.
    pub fn query(self) -> &'static str {
        match self {
            Self::French => "?lang=fr",
            Self::English => "?lang=en",
        }
    }

    /// The other one, and what its link says.
    pub fn other(self) -> (Self, &'static str) {
        match self {
            Self::French => (Self::English, "English"),
            Self::English => (Self::French, "Français"),
        }
    }

    /// The words.
    pub fn text(self) -> &'static Text {
        match self {
            Self::French => &FRENCH,
            Self::English => &ENGLISH,
        }
    }
}

/// `0.8` as 800, nonsense as 0.
fn per_mille(text: &str) -> u32 {
    let quality: f32 = text.parse().unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1000.0) as u32
}

/// All words of one language.
pub struct Text {
    pub tagline: &'static str,
    pub home_title: &'static str,
    pub home_what: &'static str,
    pub home_back_title: &'static str,
    pub home_back: &'static str,
    pub home_papers_title: &'static str,
    pub home_papers: &'static str,
    pub home_addresses: &'static str,
    pub over_title: &'static str,
    pub over_hint: &'static str,
    pub over_unused: &'static str,
    pub over_here: &'static str,
    pub ask_title: &'static str,
    pub ask_hint: &'static str,
    pub code: &'static str,
    pub go_on: &'static str,
    pub words_title: &'static str,
    pub words_hint: &'static str,
    pub claim_title: &'static str,
    pub claim_hint: &'static str,
    pub machine: &'static str,
    pub name: &'static str,
    pub name_hint: &'static str,
    pub name_bad: &'static str,
    pub name_taken: &'static str,
    pub pair: &'static str,
    pub once: &'static str,
    pub not_a_code: &'static str,
    pub unknown: &'static str,
    pub used: &'static str,
    pub too_many: &'static str,
    pub over: &'static str,
    pub not_now: &'static str,
    pub done_title: &'static str,
    pub waiting: &'static str,
    pub arrived: &'static str,
    pub next_title: &'static str,
    pub files_title: &'static str,
    pub files_hint: &'static str,
    pub more_files: &'static str,
    pub secret_title: &'static str,
    pub secret_hint: &'static str,
    pub secret_shown: &'static str,
    pub secret: &'static str,
    pub address: &'static str,
    pub sure_title: &'static str,
    pub sure_hint: &'static str,
    pub rclone: &'static str,
    pub minutes: &'static str,
    pub footer: &'static str,
}

const FRENCH: Text = Text {
    tagline: "le coffre à sauvegardes du bureau",
    home_title: "Ceci est un coffre à sauvegardes",
    home_what: "Les ordinateurs du bureau y déposent leurs sauvegardes, chacun sous son nom et avec son secret. Rien de ce qui est reçu n’est remplacé ni effacé par eux. Pour en ajouter un, demandez un code à la personne qui s’occupe du coffre (elle tape « coffre client pair »), puis :",
    home_back_title: "Reprendre une sauvegarde",
    home_back: "Sur l’ordinateur qui l’a déposée, avec les fichiers reçus au jumelage : « sh get.sh JEU FICHIER », « get.ps1 » sous Windows, ou « restic restore ». Sur le coffre lui-même : « coffre get CLIENT/JEU --to FICHIER ». L’ordinateur est perdu ? La personne qui s’occupe du coffre peut lui donner un nouveau secret : « coffre client rotate ».",
    home_papers_title: "Où lire la suite",
    home_papers: "« coffre --help » sur le coffre, et les papiers livrés avec lui : README.md, docs/operations.md pour les mauvais jours, docs/cli.md pour les programmes, docs/restic.md pour restic.",
    home_addresses: "Adresses pour les programmes",
    over_title: "Continuez sur l’ordinateur",
    over_hint: "Ce téléphone n’a fait qu’apporter le code. Sur l’ordinateur à sauvegarder, ouvrez cette adresse et tapez ce code :",
    over_unused: "Le code n’est pas utilisé : il sert une fois, sur l’ordinateur, dans les dix minutes.",
    over_here: "Jumeler cet appareil-ci malgré tout",
    ask_title: "Ajouter un ordinateur",
    ask_hint: "Tapez ici le code de 8 caractères que le coffre affiche. Majuscules, tirets et espaces ne comptent pas.",
    code: "Code du coffre",
    go_on: "Continuer",
    words_title: "Les quatre mots de ce coffre",
    words_hint: "Ils doivent être les mêmes que ceux affichés avec le code. S’ils sont différents, arrêtez-vous : ce n’est pas votre coffre.",
    claim_title: "Jumeler cet ordinateur",
    claim_hint: "Cet ordinateur recevra un nom et un secret à lui. Il pourra déposer ses sauvegardes et relire les siennes, jamais celles des autres, et n’en effacera aucune.",
    machine: "Il s’appellera",
    name: "Nom de cet ordinateur",
    name_hint: "1 à 32 lettres minuscules sans accent, chiffres et tirets : pc-fatima, serveur-odoo…",
    name_bad: "Ce nom ne convient pas. Prenez 1 à 32 lettres minuscules sans accent, chiffres et tirets, en commençant par une lettre ou un chiffre.",
    name_taken: "Ce nom est déjà pris, ou l’a été. Choisissez-en un autre.",
    pair: "Jumeler",
    once: "Le code ne sert qu’une fois.",
    not_a_code: "Ceci n’est pas un code. Un code a 8 lettres et chiffres, comme 7KQ2-M9XD.",
    unknown: "Ce code n’existe pas, ou plus : un code ne vit que dix minutes. Vérifiez-le, ou demandez-en un autre au coffre.",
    used: "Ce code a déjà servi. Si ce n’était pas vous, demandez à la personne qui s’occupe du coffre de retirer cet ordinateur, puis un autre code.",
    too_many: "Trop de codes faux sont venus de cet ordinateur. Demandez un nouveau code au coffre, puis recommencez.",
    over: "Le temps de cette page est passé et ses fichiers n’y sont plus. L’ordinateur est jumelé ; s’il manque des fichiers, la personne qui s’occupe du coffre peut lui donner un nouveau secret.",
    not_now: "Le coffre ne peut pas ajouter d’ordinateur en ce moment. Le code reste valable : réessayez dans un instant, ou regardez l’état du coffre.",
    done_title: "est jumelé avec le coffre",
    waiting: "En attente de la première sauvegarde…",
    arrived: "La première sauvegarde est dans le coffre.",
    next_title: "Que faire maintenant",
    files_title: "Fichiers prêts à l’emploi",
    files_hint: "Ils contiennent le secret : gardez-les comme une clé. Ils restent ici encore",
    more_files: "Autres fichiers",
    secret_title: "Le secret",
    secret_hint: "Montré cette seule fois ; il est aussi dans les fichiers. Le coffre n’en garde qu’une empreinte.",
    secret_shown: "Le secret a déjà été montré. Il est dans les fichiers ci-dessus.",
    secret: "Secret",
    address: "Adresse",
    sure_title: "Être sûr que personne ne s’est glissé entre les deux",
    sure_hint: "Le navigateur prévient parce qu’il ne connaît pas encore ce coffre. Les quatre mots montrent que c’est le bon coffre ; un intrus déjà dans votre réseau pourrait les recopier. Qui veut en être sûr compare l’empreinte SHA-256 de l’autorité que le navigateur montre (cadenas, certificat) avec celle affichée à côté du code :",
    rclone: "rclone convient aussi : enregistrez rclone.env et box.pem dans ~/coffre, puis « . ~/coffre/rclone.env && rclone copyto FICHIER coffre:documents » dépose un fichier, et « rclone copyto coffre:documents FICHIER » le rend.",
    minutes: "min",
    footer: "Coffre. Cette page n’a besoin d’aucun script et n’est gardée nulle part.",
};

const ENGLISH: Text = Text {
    tagline: "the backup box of the office",
    home_title: "This is a backup box",
    home_what: "The computers of the office bring their backups here, each under its name and with its own secret. Nothing that was received is replaced or erased by them. To add one, ask whoever looks after the box for a code (they type “coffre client pair”), then:",
    home_back_title: "Getting a backup back",
    home_back: "On the computer that brought it, with the files that it got when it was paired: “sh get.sh SET FILE”, “get.ps1” on Windows, or “restic restore”. On the box itself: “coffre get CLIENT/SET --to FILE”. The computer is lost? Whoever looks after the box can give it a new secret: “coffre client rotate”.",
    home_papers_title: "Where to read on",
    home_papers: "“coffre --help” on the box, and the papers that came with it: README.md, docs/operations.md for the bad day, docs/cli.md for programs, docs/restic.md for restic.",
    home_addresses: "Addresses for programs",
    over_title: "Go on at the computer",
    over_hint: "This telephone has only carried the code. On the computer that is to be backed up, open this address and type this code:",
    over_unused: "The code is not used: it works once, on the computer, within its ten minutes.",
    over_here: "Pair this device all the same",
    ask_title: "Add a computer",
    ask_hint: "Type the code of 8 letters and digits that the box shows. Capitals, hyphens and blanks do not matter.",
    code: "Code from the box",
    go_on: "Continue",
    words_title: "The four words of this box",
    words_hint: "They must be the same as those shown with the code. If they differ, stop: this is not your box.",
    claim_title: "Pair this computer",
    claim_hint: "This computer gets a name and a secret of its own. It can bring its backups and read its own back, never those of others, and it can erase none.",
    machine: "It will be called",
    name: "Name of this computer",
    name_hint: "1 to 32 lower-case letters, digits and hyphens: pc-fatima, odoo-server…",
    name_bad: "This name will not do. Take 1 to 32 lower-case letters, digits and hyphens, beginning with a letter or a digit.",
    name_taken: "This name is taken, or was once. Choose another one.",
    pair: "Pair",
    once: "The code works once.",
    not_a_code: "This is not a code. A code has 8 letters and digits, like 7KQ2-M9XD.",
    unknown: "There is no such code, or no more: a code lives ten minutes. Check it, or ask the box for another one.",
    used: "This code was used already. If that was not you, ask whoever looks after the box to remove that computer, then for another code.",
    too_many: "Too many wrong codes came from this computer. Ask the box for a new code and begin again.",
    over: "The time of this page is over and its files are gone. The computer is paired; if files are missing, whoever looks after the box can give it a new secret.",
    not_now: "The box cannot add a computer just now. The code still holds: try again in a moment, or look at the state of the box.",
    done_title: "is paired with the box",
    waiting: "Waiting for the first backup…",
    arrived: "The first backup is in the box.",
    next_title: "What to do now",
    files_title: "Files that are ready to use",
    files_hint: "They contain the secret: keep them like a key. They stay here for another",
    more_files: "Other files",
    secret_title: "The secret",
    secret_hint: "Shown this once; it is in the files too. The box keeps only a fingerprint of it.",
    secret_shown: "The secret was shown already. It is in the files above.",
    secret: "Secret",
    address: "Address",
    sure_title: "To be sure that nobody stands in between",
    sure_hint: "The browser warns because it does not know this box yet. The four words show that this is the right box; an intruder who is already in your network could copy them. Whoever wants to be sure compares the SHA-256 fingerprint of the authority that the browser shows (padlock, certificate) with the one shown beside the code:",
    rclone: "rclone does as well: save rclone.env and box.pem in ~/coffre; then “. ~/coffre/rclone.env && rclone copyto FILE coffre:documents” brings a file, and “rclone copyto coffre:documents FILE” gives it back.",
    minutes: "min",
    footer: "Coffre. This page needs no script and is kept nowhere.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_it_likes() {
        for (accepted, language) in [
            ("fr", Language::French),
            ("en-GB,en;q=0.9", Language::English),
            ("ar-MA,ar;q=0.9,en;q=0.2,fr-FR;q=0.5", Language::French),
            ("de,en;q=0.5", Language::English),
            ("en;q=0", Language::French),
            ("en;q=nonsense,fr;q=0.1", Language::French),
            ("*", Language::French),
            ("", Language::French),
        ] {
            assert_eq!(Language::choose("", Some(accepted)), language, "{accepted}");
        }
        assert_eq!(Language::choose("x=1&lang=en", Some("fr")), Language::English);
        assert_eq!(Language::choose("lang=de", None), Language::French);
    }
}
