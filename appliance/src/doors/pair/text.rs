//! Every word of the pairing pages, in French and in English, and which of the two a browser gets.
//!
//! The reader is a shopkeeper with a telephone in the other hand: short sentences, no word of the trade that a file name does not
//! force on us.

use super::files::File;
use coffre_core::pair::MachineKind;

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
    rclone: "rclone n’a pas encore d’accès à ce coffre : il ne parle ni le protocole de restic en client, ni le dépôt simple. Une porte WebDAV est prévue.",
    minutes: "min",
    footer: "Coffre. Cette page n’a besoin d’aucun script et n’est gardée nulle part.",
};

const ENGLISH: Text = Text {
    tagline: "the backup box of the office",
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
    rclone: "rclone has no way to this box yet: it speaks neither restic’s protocol as a client nor the plain drop-box. A WebDAV door is planned.",
    minutes: "min",
    footer: "Coffre. This page needs no script and is kept nowhere.",
};

/// What a file is for, in one line.
pub fn purpose(language: Language, file: File) -> &'static str {
    let (french, english) = match file {
        File::Pem => (
            "le certificat du coffre, que tous les autres fichiers attendent à côté d’eux",
            "the certificate of the box, which the other files expect beside them",
        ),
        File::Curl => ("nom et secret pour curl", "name and secret for curl"),
        File::Restic => (
            "réglages pour restic : dossiers entiers, chiffrés, sous Linux et Mac",
            "settings for restic: whole folders, encrypted, on Linux and Mac",
        ),
        File::Backrest => (
            "configuration de Backrest, restic avec des fenêtres, pour des fichiers rangés dans C:\\Coffre",
            "configuration of Backrest, restic with windows, for files that are kept in C:\\Coffre",
        ),
        File::Rustic => ("profil pour rustic", "profile for rustic"),
        File::Rclone => ("environnement pour rclone", "environment for rclone"),
        File::PowerShell => ("dépose un fichier depuis Windows", "pushes a file from Windows"),
        File::Odoo => (
            "sauvegarde une base Odoo et vérifie que c’en est une",
            "backs up an Odoo database and checks that it is one",
        ),
        File::Postgres => ("sauvegarde une base PostgreSQL", "backs up a PostgreSQL database"),
    };
    match language {
        Language::French => french,
        Language::English => english,
    }
}

/// A step: what to do, and a line to copy.
pub type Step = (&'static str, Option<String>);

/// What to do next on a machine of this kind; `authority` is `HOST:PORT` of the box.
pub fn steps(language: Language, kind: Option<MachineKind>, authority: &str) -> Vec<Step> {
    let say = |french, english| match language {
        Language::French => french,
        Language::English => english,
    };
    let line = |text: &str| Some(text.to_owned());
    let url = format!("https://{authority}/v1/datasets");
    match kind {
        Some(MachineKind::Odoo) => vec![
            (
                say(
                    "Copiez odoo-backup.sh sur le serveur Odoo, et écrivez le mot de passe maître d’Odoo dans un fichier que root seul peut lire.",
                    "Copy odoo-backup.sh to the Odoo server, and write Odoo’s master password into a file that only root can read.",
                ),
                line(
                    "install -d -m 700 /etc/coffre\ninstall -m 700 odoo-backup.sh /etc/coffre/\ninstall -m 600 /dev/stdin /etc/coffre/odoo-master",
                ),
            ),
            (
                say("Essayez, avec le nom de votre base :", "Try it, with the name of your database:"),
                line("ODOO_DB=production /etc/coffre/odoo-backup.sh"),
            ),
            (
                say(
                    "Puis chaque nuit, dans /etc/cron.d/coffre :",
                    "Then every night, in /etc/cron.d/coffre:",
                ),
                line("30 1 * * * root ODOO_DB=production /etc/coffre/odoo-backup.sh"),
            ),
        ],
        Some(MachineKind::Windows) => vec![
            (
                say(
                    "Enregistrez push.ps1, box.curl, box.pem et backrest.json dans le dossier C:\\Coffre.",
                    "Save push.ps1, box.curl, box.pem and backrest.json in the folder C:\\Coffre.",
                ),
                None,
            ),
            (
                say("Déposez un premier fichier, dans PowerShell :", "Push a first file, in PowerShell:"),
                line(
                    "powershell -ExecutionPolicy Bypass -File C:\\Coffre\\push.ps1 C:\\Users\\Public\\compta.zip documents",
                ),
            ),
            (
                say("Sans script, depuis C:\\Coffre :", "Without the script, from C:\\Coffre:"),
                Some(format!(
                    "curl.exe --ssl-no-revoke -K box.curl -T C:\\Users\\Public\\compta.zip {url}/documents"
                )),
            ),
            (
                say(
                    "Pour des dossiers entiers : installez Backrest et arrêtez-le. Écrivez dans C:\\Coffre\\restic-password un mot de passe à vous, et sur papier aussi : sans lui personne ne lira vos sauvegardes, pas même le coffre. Puis donnez cette configuration à Backrest et démarrez-le. Dans ses plans, gardez tout : le coffre refuse d’effacer.",
                    "For whole folders: install Backrest and stop it. Write a password of your own into C:\\Coffre\\restic-password, and on paper as well: without it nobody can read your backups, not even the box. Then give this configuration to Backrest and start it. In its plans keep everything: the box refuses to delete.",
                ),
                line("copy C:\\Coffre\\backrest.json $env:APPDATA\\backrest\\config.json"),
            ),
        ],
        Some(MachineKind::Mac | MachineKind::Linux) => vec![
            (
                say(
                    "Installez restic, puis enregistrez restic.env et box.pem dans le dossier coffre de votre dossier personnel.",
                    "Install restic, then save restic.env and box.pem in the folder coffre of your home folder.",
                ),
                line("mkdir -p -m 700 ~/coffre"),
            ),
            (
                say(
                    "Tirez un mot de passe et écrivez-le sur papier : sans lui personne ne lira vos sauvegardes, pas même le coffre.",
                    "Draw a password and write it on paper: without it nobody can read your backups, not even the box.",
                ),
                line(
                    "(umask 077; head -c 18 /dev/urandom | base64 > ~/coffre/restic-password)\ncat ~/coffre/restic-password",
                ),
            ),
            (
                say("Faites la première sauvegarde :", "Make the first backup:"),
                line(". ~/coffre/restic.env\nrestic init\nrestic backup ~/Documents"),
            ),
        ],
        Some(MachineKind::Nas | MachineKind::Curl) | None => vec![
            (
                say(
                    "Enregistrez box.curl et box.pem dans un même dossier que vous seul pouvez lire.",
                    "Save box.curl and box.pem in one folder that only you can read.",
                ),
                None,
            ),
            (
                say("Depuis ce dossier, déposez un fichier :", "From that folder, push a file:"),
                Some(format!("curl -K box.curl -T FILE {url}/documents")),
            ),
            (
                say(
                    "… ou un flux (dans un script, commencez par set -o pipefail) :",
                    "… or a stream (in a script, begin with set -o pipefail):",
                ),
                Some(format!("tar c DIR | curl -K box.curl -T - {url}/documents")),
            ),
            (
                say("Et reprenez la dernière :", "And get the last one back:"),
                Some(format!("curl -K box.curl {url}/documents/snapshots/latest -o FILE")),
            ),
        ],
    }
}

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

    #[test]
    fn every_kind_has_steps_in_both_languages() {
        for language in [Language::French, Language::English] {
            for kind in MachineKind::ALL.map(Some).into_iter().chain([None]) {
                assert!(steps(language, kind, "box:1").len() >= 3);
            }
            assert!(File::ALL.iter().all(|file| !purpose(language, *file).is_empty()));
        }
    }
}
