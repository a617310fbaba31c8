//! What to do on the machine that was paired, line by line, and what each file is for.
//!
//! Every list ends in a schedule that stays and in the line that brings a file back. No line replaces what is there already: a
//! password, a configuration, a schedule.

use super::files::File;
use super::text::Language;
use coffre_core::pair::MachineKind;

/// A step: what to do, and a line to copy.
pub type Step = (&'static str, Option<String>);

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
        File::ResticBackup => ("sauvegarde des dossiers avec restic", "backs folders up with restic"),
        File::Backrest => (
            "configuration de Backrest, restic avec des fenêtres, pour des fichiers rangés dans C:\\Coffre",
            "configuration of Backrest, restic with windows, for files that are kept in C:\\Coffre",
        ),
        File::Rustic => ("profil pour rustic", "profile for rustic"),
        File::Rclone => ("réglages pour rclone", "settings for rclone"),
        File::Push => ("dépose un fichier ou un flux", "pushes a file or a stream"),
        File::Get => ("rend la dernière sauvegarde", "brings the last backup back"),
        File::Daily => (
            "lance une commande chaque jour : systemd, launchd ou cron",
            "runs a command every day: systemd, launchd or cron",
        ),
        File::PowerShell => ("dépose un fichier depuis Windows", "pushes a file from Windows"),
        File::PowerShellGet => {
            ("rend la dernière sauvegarde, sous Windows", "brings the last backup back, on Windows")
        }
        File::Odoo => (
            "sauvegarde une base Odoo et vérifie que c’en est une",
            "backs up an Odoo database and checks that it is one",
        ),
        File::Postgres => (
            "sauvegarde une base PostgreSQL, chacune à part",
            "backs up a PostgreSQL database, each by itself",
        ),
    };
    match language {
        Language::French => french,
        Language::English => english,
    }
}

/// What to do next on a machine of this kind; `authority` is `HOST:PORT` of the box.
pub fn steps(language: Language, kind: Option<MachineKind>, authority: &str) -> Vec<Step> {
    let all = match kind {
        Some(MachineKind::Odoo) => odoo(),
        Some(MachineKind::Windows) => windows(),
        Some(MachineKind::Mac) => restic(true),
        Some(MachineKind::Linux) => restic(false),
        Some(MachineKind::Nas | MachineKind::Curl) | None => curl(authority),
    };
    let pick = |(french, english, line): Both| match language {
        Language::French => (french, line),
        Language::English => (english, line),
    };
    all.into_iter().map(pick).collect()
}

/// A step in both languages.
type Both = (&'static str, &'static str, Option<String>);

fn line(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn odoo() -> Vec<Both> {
    vec![
        (
            "Copiez les fichiers dans /etc/coffre sur le serveur Odoo, en root. Ce qui s’y trouve déjà reste.",
            "Copy the files to /etc/coffre on the Odoo server, as root. What is there already stays.",
            line(
                "install -d -m 700 /etc/coffre\ncp -n odoo-backup.sh daily.sh get.sh box.curl box.pem /etc/coffre/\nchmod 700 /etc/coffre/*.sh",
            ),
        ),
        (
            "Tapez le mot de passe maître d’Odoo, puis Entrée et Ctrl-D. Un mot de passe déjà écrit n’est pas remplacé.",
            "Type Odoo’s master password, then Enter and Ctrl-D. One that was written already is not replaced.",
            line("(umask 077; set -C; cat > /etc/coffre/odoo-master)"),
        ),
        (
            "Essayez, avec le nom de votre base :",
            "Try it, with the name of your database:",
            line("ODOO_DB=production /etc/coffre/odoo-backup.sh"),
        ),
        (
            "Puis chaque nuit, même après un redémarrage (un minuteur systemd, ou une ligne de cron). Une autre base ? La même ligne avec son nom.",
            "Then every night, after restarts too (a systemd timer, or a line of cron). Another database? The same line with its name.",
            line(
                "sh /etc/coffre/daily.sh production /usr/bin/env ODOO_DB=production /etc/coffre/odoo-backup.sh",
            ),
        ),
        (
            "Le jour où il le faut, reprenez la dernière sauvegarde, et donnez-la à Odoo (/web/database/manager, Restaurer) :",
            "The day you need it, get the last backup back, and give it to Odoo (/web/database/manager, Restore):",
            line("sh /etc/coffre/get.sh odoo-production production.zip"),
        ),
    ]
}

fn windows() -> Vec<Both> {
    vec![
        (
            "Enregistrez push.ps1, get.ps1, box.curl, box.pem et backrest.json dans le dossier C:\\Coffre.",
            "Save push.ps1, get.ps1, box.curl, box.pem and backrest.json in the folder C:\\Coffre.",
            None,
        ),
        (
            "Déposez un premier fichier, dans PowerShell :",
            "Push a first file, in PowerShell:",
            line(
                "powershell -ExecutionPolicy Bypass -File C:\\Coffre\\push.ps1 C:\\Users\\Public\\compta.zip compta",
            ),
        ),
        (
            "Pour des dossiers entiers : installez Backrest et arrêtez-le. Écrivez dans C:\\Coffre\\restic-password un mot de passe à vous, et sur papier aussi : sans lui personne ne lira vos sauvegardes, pas même le coffre. Puis donnez-lui cette configuration, s’il n’en a pas déjà une, et démarrez-le. Dans ses plans, choisissez une heure et gardez tout : le coffre refuse d’effacer. Ses fenêtres rendent aussi les fichiers.",
            "For whole folders: install Backrest and stop it. Write a password of your own into C:\\Coffre\\restic-password, and on paper as well: without it nobody can read your backups, not even the box. Then give it this configuration, if it has none yet, and start it. In its plans choose a time and keep everything: the box refuses to delete. Its windows give files back, too.",
            line(
                "$to = \"$env:APPDATA\\backrest\\config.json\"\nif (Test-Path $to) { \"$to is there already and stays: add the repository of C:\\Coffre\\backrest.json in Backrest's window\" }\nelse { New-Item -ItemType Directory -Force (Split-Path $to) | Out-Null; Copy-Item C:\\Coffre\\backrest.json $to }",
            ),
        ),
        (
            "Puis chaque jour à midi et demi, ou dès que l’ordinateur est rallumé (le Planificateur de tâches de Windows ; une tâche de ce nom n’est pas remplacée) :",
            "Then every day at half past twelve, or as soon as the computer is on again (the Task Scheduler of Windows; a task of this name is not replaced):",
            line(
                "Register-ScheduledTask -TaskName Coffre-compta -Trigger (New-ScheduledTaskTrigger -Daily -At 12:30) -Settings (New-ScheduledTaskSettingsSet -StartWhenAvailable -AllowStartIfOnBatteries) -Action (New-ScheduledTaskAction -Execute powershell.exe -Argument '-NoProfile -ExecutionPolicy Bypass -File C:\\Coffre\\push.ps1 C:\\Users\\Public\\compta.zip compta')",
            ),
        ),
        (
            "Le jour où il le faut, reprenez le dernier :",
            "The day you need it, get the last one back:",
            line(
                "powershell -ExecutionPolicy Bypass -File C:\\Coffre\\get.ps1 compta C:\\Users\\Public\\compta-rendu.zip",
            ),
        ),
    ]
}

fn restic(mac: bool) -> Vec<Both> {
    let schedule = match mac {
        true => (
            "Puis chaque nuit, ou dès que le Mac est rallumé (un agent launchd, qui reste après un redémarrage). Si macOS demande l’accès au dossier, accordez-le.",
            "Then every night, or as soon as the Mac is awake again (a launchd agent, which stays after restarts). If macOS asks for access to the folder, grant it.",
        ),
        false => (
            "Puis chaque nuit, même après un redémarrage (un minuteur systemd, ou une ligne de cron) :",
            "Then every night, after restarts too (a systemd timer, or a line of cron):",
        ),
    };
    vec![
        (
            "Installez restic, puis enregistrez restic.env, restic-backup.sh, daily.sh et box.pem dans le dossier coffre de votre dossier personnel.",
            "Install restic, then save restic.env, restic-backup.sh, daily.sh and box.pem in the folder coffre of your home folder.",
            line("mkdir -p -m 700 ~/coffre"),
        ),
        (
            "Tirez un mot de passe et écrivez-le sur papier : sans lui personne ne lira vos sauvegardes, pas même le coffre. S’il y en a déjà un, il reste.",
            "Draw a password and write it on paper: without it nobody can read your backups, not even the box. If there is one already, it stays.",
            line(
                "(umask 077; set -C; head -c 18 /dev/urandom | base64 > ~/coffre/restic-password)\ncat ~/coffre/restic-password",
            ),
        ),
        (
            "Faites la première sauvegarde (le dépôt se crée de lui-même, par « restic init ») :",
            "Make the first backup (the repository is made by itself, by “restic init”):",
            line("sh ~/coffre/restic-backup.sh ~/Documents"),
        ),
        (
            schedule.0,
            schedule.1,
            line("sh ~/coffre/daily.sh documents /bin/sh ~/coffre/restic-backup.sh ~/Documents"),
        ),
        (
            "Le jour où il le faut, reprenez tout dans un nouveau dossier (pour un seul fichier, ajoutez --include) :",
            "The day you need it, get everything back into a new folder (for one file add --include):",
            line(". ~/coffre/restic.env\nrestic restore latest --target ~/rendu"),
        ),
    ]
}

fn curl(authority: &str) -> Vec<Both> {
    let url = format!("https://{authority}/v1/datasets");
    vec![
        (
            "Enregistrez push.sh, get.sh, daily.sh, box.curl et box.pem dans un dossier que vous seul pouvez lire.",
            "Save push.sh, get.sh, daily.sh, box.curl and box.pem in a folder that only you can read.",
            line("mkdir -p -m 700 ~/coffre"),
        ),
        ("Déposez un fichier :", "Push a file:", line("sh ~/coffre/push.sh FILE documents")),
        (
            "… ou un flux (dans un script, commencez par set -o pipefail) :",
            "… or a stream (in a script, begin with set -o pipefail):",
            line("tar c DIR | sh ~/coffre/push.sh - documents"),
        ),
        (
            "Avec curl seul, depuis ce dossier :",
            "With curl alone, from that folder:",
            Some(format!("curl -K box.curl -T FILE {url}/documents")),
        ),
        (
            "Puis chaque nuit, même après un redémarrage (un minuteur systemd, un agent launchd ou une ligne de cron ; un NAS qui a son propre planificateur de tâches : mettez-y ce qui suit « daily.sh documents ») :",
            "Then every night, after restarts too (a systemd timer, a launchd agent or a line of cron; a NAS with a task scheduler of its own: enter there what follows “daily.sh documents”):",
            line("sh ~/coffre/daily.sh documents /bin/sh ~/coffre/push.sh ~/FILE documents"),
        ),
        (
            "Le jour où il le faut, reprenez le dernier :",
            "The day you need it, get the last one back:",
            line("sh ~/coffre/get.sh documents FILE"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> impl Iterator<Item = Option<MachineKind>> {
        MachineKind::ALL.map(Some).into_iter().chain([None])
    }

    fn lines(kind: Option<MachineKind>) -> Vec<String> {
        steps(Language::English, kind, "box:1").into_iter().filter_map(|(_, line)| line).collect()
    }

    #[test]
    fn every_kind_has_steps_in_both_languages() {
        for language in [Language::French, Language::English] {
            assert!(kinds().all(|kind| steps(language, kind, "box:1").len() >= 5));
            assert!(File::ALL.iter().all(|file| !purpose(language, *file).is_empty()));
        }
    }

    #[test]
    fn every_list_ends_in_a_schedule_and_in_the_way_back() {
        for kind in kinds() {
            let lines = lines(kind);
            let [.., schedule, back] = lines.as_slice() else { panic!("{kind:?}: too few lines") };
            assert!(
                schedule.contains("daily.sh ") || schedule.contains("Register-ScheduledTask"),
                "{schedule}"
            );
            assert!(
                ["get.sh ", "get.ps1 ", "restic restore "].iter().any(|way| back.contains(way)),
                "{kind:?}: {back}"
            );
        }
    }

    #[test]
    fn no_line_replaces_what_is_there() {
        for line in kinds().flat_map(lines) {
            for (writes, guard) in
                [(" > ", "set -C"), ("cp ", "cp -n"), ("Copy-Item", "Test-Path"), ("Register-", "Register-")]
            {
                assert!(!line.contains(writes) || line.contains(guard), "{line}");
            }
            assert!(
                !line.contains("install -m") && !line.contains("-Force)") && !line.contains("crontab"),
                "{line}"
            );
        }
    }

    /// What a line names must be among the files that the page shows first.
    #[test]
    fn files_of_the_lines_are_offered() {
        for kind in kinds() {
            let offered = File::of(kind);
            for file in File::ALL {
                let named = lines(kind).iter().any(|line| line.contains(file.name()));
                assert!(!named || offered.contains(&file), "{kind:?}: {}", file.name());
            }
        }
    }
}
