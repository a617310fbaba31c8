//! Files that are ready to use, with the address, the name, the secret and the pin inside.
//!
//! What is put in comes out of types that cannot hurt: a client's name, a secret in base 32, an address that was recognised as
//! this box's own. So nothing has to be quoted in four languages. The password of a restic repository is never in them: the box
//! must not know it.

use crate::pairing::set::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffre_core::names::ClientName;
use coffre_core::pair::MachineKind;
use serde_json::json;

const ODOO: &str = include_str!("odoo-backup.sh");
const POSTGRES: &str = include_str!("pg-backup.sh");
const POWERSHELL: &str = include_str!("push.ps1");
const POWERSHELL_GET: &str = include_str!("get.ps1");
const PUSH: &str = include_str!("push.sh");
const GET: &str = include_str!("get.sh");
const DAILY: &str = include_str!("daily.sh");
const RESTIC_BACKUP: &str = include_str!("restic-backup.sh");

/// What is put into files.
#[derive(Debug)]
pub struct Bundle {
    /// `HOST:PORT` of the box.
    pub authority: String,
    /// The client's name.
    pub client: ClientName,
    /// Its secret.
    pub secret: Secret,
    /// The authority that it pins.
    pub pem: String,
}

/// A file that may be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The certificate.
    Pem,
    /// Options of curl.
    Curl,
    /// Environment of restic.
    Restic,
    /// Configuration of Backrest.
    Backrest,
    /// Profile of rustic.
    Rustic,
    /// Environment of rclone.
    Rclone,
    /// A script for restic: makes the repository the first time.
    ResticBackup,
    /// A script that pushes.
    Push,
    /// A script that brings back.
    Get,
    /// A script that makes a schedule.
    Daily,
    /// A script that pushes, for Windows.
    PowerShell,
    /// A script that brings back, for Windows.
    PowerShellGet,
    /// A script for Odoo.
    Odoo,
    /// A script for PostgreSQL.
    Postgres,
}

impl File {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Odoo,
        Self::Postgres,
        Self::Push,
        Self::Get,
        Self::Daily,
        Self::Restic,
        Self::ResticBackup,
        Self::PowerShell,
        Self::PowerShellGet,
        Self::Backrest,
        Self::Rustic,
        Self::Rclone,
        Self::Curl,
        Self::Pem,
    ];

    /// The file of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pem => "box.pem",
            Self::Curl => "box.curl",
            Self::Restic => "restic.env",
            Self::Backrest => "backrest.json",
            Self::Rustic => "rustic.toml",
            Self::Rclone => "rclone.env",
            Self::ResticBackup => "restic-backup.sh",
            Self::Push => "push.sh",
            Self::Get => "get.sh",
            Self::Daily => "daily.sh",
            Self::PowerShell => "push.ps1",
            Self::PowerShellGet => "get.ps1",
            Self::Odoo => "odoo-backup.sh",
            Self::Postgres => "pg-backup.sh",
        }
    }

    /// What browsers take it for: never for a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pem => "application/x-pem-file",
            Self::Backrest => "application/json",
            _ => "application/octet-stream",
        }
    }

    /// The files that a machine of this kind needs, the first of all first; all, where the kind is not known.
    pub fn of(kind: Option<MachineKind>) -> &'static [Self] {
        match kind {
            Some(MachineKind::Odoo) => &[Self::Odoo, Self::Daily, Self::Get, Self::Curl, Self::Pem],
            Some(MachineKind::Windows) => {
                &[Self::PowerShell, Self::PowerShellGet, Self::Curl, Self::Pem, Self::Backrest]
            }
            Some(MachineKind::Mac | MachineKind::Linux) => {
                &[Self::Restic, Self::ResticBackup, Self::Daily, Self::Pem]
            }
            Some(MachineKind::Nas | MachineKind::Curl) => {
                &[Self::Push, Self::Get, Self::Daily, Self::Curl, Self::Pem]
            }
            None => &Self::ALL,
        }
    }

    /// What is in it.
    pub fn content(self, bundle: &Bundle) -> String {
        match self {
            Self::Pem => bundle.pem.clone(),
            Self::Curl => format!(
                "# Options of curl, to be used in this folder: curl -K box.curl -T FILE https://{}/v1/datasets/NAME\n\
                 # fail-with-body: curl shows why the box refuses, and ends with 22. A curl before 7.76 does not know it: the box\n\
                 # breaks such an answer off, so that it ends with 18. With -o the reason lands in the file, so write to another\n\
                 # name first, as get.sh does. globoff: {{a,b}} and [1] in the name of a file are letters like others.\n\
                 user = \"{}:{}\"\ncacert = \"box.pem\"\ngloboff\nfail-with-body\nshow-error\n",
                bundle.authority,
                bundle.client,
                bundle.secret.shown()
            ),
            Self::Restic => restic(bundle),
            Self::Backrest => backrest(bundle),
            Self::Rustic => rustic(bundle),
            Self::Rclone => rclone(bundle),
            Self::ResticBackup => bundle.fill(RESTIC_BACKUP),
            Self::Push => bundle.fill(PUSH),
            Self::Get => bundle.fill(GET),
            Self::Daily => bundle.fill(DAILY),
            Self::PowerShell => bundle.fill(POWERSHELL),
            Self::PowerShellGet => bundle.fill(POWERSHELL_GET),
            Self::Odoo => bundle.fill(ODOO),
            Self::Postgres => bundle.fill(POSTGRES),
        }
    }
}

impl Bundle {
    /// `rest:https://NAME:SECRET@HOST:PORT/NAME/`: the repository as restic and its family write it.
    fn repository(&self) -> String {
        format!("rest:https://{0}:{1}@{2}/{0}/", self.client, self.secret.shown(), self.authority)
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("@AUTHORITY@", &self.authority)
            .replace("@CLIENT@", self.client.as_str())
            .replace("@SECRET@", self.secret.shown())
            .replace("@PEM@", self.pem.trim_end())
    }
}

/// A shell function that shadows restic. Nothing is exported: what the shell knows of other repositories stays as it is, and a
/// command that names one of them goes there without our certificate or password.
fn restic(bundle: &Bundle) -> String {
    format!(
        "# For restic in a shell: . ~/coffre/restic.env && restic backup ~/Documents\n\
         # box.pem and restic-password lie beside this file, in ~/coffre or in COFFRE_DIR. The password of the repository is yours\n\
         # alone: the box does not know it, and without it nobody can read the backups. Keep it on paper as well.\n\
         # restic -r OTHER ... goes to other repositories as ever.\n\
         COFFRE_DIR=\"${{COFFRE_DIR:-$HOME/coffre}}\"\n\
         restic() {{\n\
         \x20   case \" $* \" in\n\
         \x20       *' -r'* | *' --repo'*) command restic \"$@\" ;;\n\
         \x20       # Debian 12 has a restic that does not read RESTIC_CACERT: it is told.\n\
         \x20       *) RESTIC_REPOSITORY='{}' RESTIC_PASSWORD_FILE=\"$COFFRE_DIR/restic-password\" \\\n\
         \x20           command restic --cacert \"$COFFRE_DIR/box.pem\" \"$@\" ;;\n\
         \x20   esac\n\
         }}\n",
        bundle.repository()
    )
}

/// A whole configuration of Backrest (format 4, which later ones take over) without plans, for a Windows that keeps the page's
/// files in `C:\Coffre`. The password stays in a file of its owner's: Backrest then makes the repository at its next start,
/// and does not start without it. Forward slashes, because Backrest splits flags as a shell does.
fn backrest(bundle: &Bundle) -> String {
    let config = json!({
        "version": 4,
        "instance": bundle.client,
        "repos": [{
            "id": "coffre",
            "uri": bundle.repository(),
            "env": ["RESTIC_PASSWORD_FILE=C:/Coffre/restic-password"],
            "flags": ["--cacert C:/Coffre/box.pem"],
            "autoInitialize": true,
            "prunePolicy": { "schedule": { "disabled": true } },
        }],
    });
    serde_json::to_string_pretty(&config).unwrap_or_default() + "\n"
}

fn rustic(bundle: &Bundle) -> String {
    format!(
        "# Profile of rustic: rustic -P rustic init, in the folder of this file, with box.pem and restic-password beside it.\n\
         [repository]\n\
         repository = \"{}\"\n\
         password-file = \"restic-password\"\n\n\
         [repository.options]\n\
         cacert = \"box.pem\"\n",
        bundle.repository()
    )
}

/// A remote by WebDAV, all of it in the environment: rclone's own configuration stays as it is. The secret goes in a header, for what
/// rclone calls a password it wants scrambled. The certificate and the next option hold for all remotes of a command, so they are
/// given to commands that name ours. Without `IGNORE_TIMES` a dump as long as the one before it would be passed over.
fn rclone(bundle: &Bundle) -> String {
    let credentials = STANDARD.encode(format!("{}:{}", bundle.client, bundle.secret.shown()));
    format!(
        "# For rclone in a shell: . ~/coffre/rclone.env && rclone copyto shop.sql coffre:shop\n\
         # box.pem lies beside this file, in ~/coffre or in COFFRE_DIR. Each copy is a new snapshot; rclone copyto coffre:shop shop.sql\n\
         # gives back the newest complete one. Names have small letters, digits and hyphens, and there are no folders.\n\
         # Other remotes work as ever; one command cannot copy between them and coffre: (it trusts this box and nobody else).\n\
         COFFRE_DIR=\"${{COFFRE_DIR:-$HOME/coffre}}\"\n\
         [ \"${{RCLONE_CONFIG_COFFRE_HEADERS:-Authorization,Basic {credentials}}}\" = 'Authorization,Basic {credentials}' ] ||\n\
         \x20   echo 'rclone.env: from now on coffre: is {} at {} in this shell' >&2\n\
         export RCLONE_CONFIG_COFFRE_TYPE=webdav\n\
         export RCLONE_CONFIG_COFFRE_VENDOR=other\n\
         export RCLONE_CONFIG_COFFRE_URL='https://{}/v1/dav'\n\
         export RCLONE_CONFIG_COFFRE_HEADERS='Authorization,Basic {credentials}'\n\
         rclone() {{\n\
         \x20   case \" $* \" in\n\
         \x20       *' coffre:'*) RCLONE_CA_CERT=\"$COFFRE_DIR/box.pem\" RCLONE_IGNORE_TIMES=true command rclone \"$@\" ;;\n\
         \x20       *) command rclone \"$@\" ;;\n\
         \x20   esac\n\
         }}\n",
        bundle.client, bundle.authority, bundle.authority
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle {
            authority: "192.168.1.5:8443".into(),
            client: "pc".parse().expect("a name"),
            secret: Secret::new("hush".into()),
            pem: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(),
        }
    }

    #[test]
    fn every_file_is_found_by_its_name_and_whole() {
        for file in File::ALL {
            assert_eq!(File::named(file.name()), Some(file));
            let content = file.content(&bundle());
            assert!(!content.contains("@CLIENT@") && !content.contains("@PEM@"), "{content}");
            assert!(!content.contains("@SECRET@") && !content.contains("@AUTHORITY@"), "{content}");
            assert!(content.is_ascii() && content.ends_with('\n'), "{}", file.name());
        }
        assert_eq!(File::named("../state"), None);
    }

    #[test]
    fn the_pin_and_the_address_are_inside() {
        let windows = File::PowerShell.content(&bundle());
        assert!(windows.contains("\"https://192.168.1.5:8443/v1/datasets/$DataSet\""), "{windows}");
        assert!(windows.contains("--ssl-no-revoke") && windows.contains("-K box.curl"), "{windows}");
        let odoo = File::Odoo.content(&bundle());
        assert!(
            odoo.contains("\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\nEND_OF"),
            "{odoo}"
        );
        let backrest: serde_json::Value =
            serde_json::from_str(&File::Backrest.content(&bundle())).expect("JSON");
        assert_eq!(backrest["repos"][0]["uri"], "rest:https://pc:hush@192.168.1.5:8443/pc/");
        let rustic = File::Rustic.content(&bundle());
        assert!(rustic.contains("repository = \"rest:https://pc:hush@192.168.1.5:8443/pc/\""), "{rustic}");
    }

    /// The fields that we use of Backrest's `proto/v1/config.proto` (1.14.1), where they stand and what they hold. Its reader
    /// passes over what it does not know, so a slip of the pen would be silent there.
    const BACKREST: &[(&str, &str)] = &[
        ("version", "int32"),
        ("instance", "string"),
        ("repos", "repeated Repo"),
        ("repos.id", "string"),
        ("repos.uri", "string"),
        ("repos.env", "repeated string"),
        ("repos.flags", "repeated string"),
        ("repos.autoInitialize", "bool"),
        ("repos.prunePolicy", "PrunePolicy"),
        ("repos.prunePolicy.schedule", "Schedule"),
        ("repos.prunePolicy.schedule.disabled", "bool"),
    ];

    /// Every field below a value, with its kind as the schema names kinds.
    fn fields(at: &str, value: &serde_json::Value, into: &mut Vec<String>) {
        use serde_json::Value;
        let Value::Object(map) = value else { return };
        for (name, value) in map {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let (_, kind) = BACKREST
                .iter()
                .find(|(known, _)| *known == path)
                .unwrap_or_else(|| panic!("Backrest knows no {path}"));
            let fits = match value {
                Value::Number(number) => *kind == "int32" && number.as_i64().is_some(),
                Value::String(_) => *kind == "string",
                Value::Bool(_) => *kind == "bool",
                Value::Array(all) if *kind == "repeated string" => all.iter().all(Value::is_string),
                Value::Array(all) => kind.starts_with("repeated ") && all.iter().all(Value::is_object),
                Value::Object(_) => kind.starts_with(char::is_uppercase),
                Value::Null => false,
            };
            assert!(fits, "{path} is no {kind}: {value}");
            into.push(path.clone());
            let inner = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            inner.iter().for_each(|one| fields(&path, one, into));
        }
    }

    #[test]
    fn backrest_json_has_fields_that_backrest_reads_and_what_it_insists_on() {
        let config: serde_json::Value =
            serde_json::from_str(&File::Backrest.content(&bundle())).expect("JSON");
        let mut seen = Vec::new();
        fields("", &config, &mut seen);
        assert_eq!(seen.len(), BACKREST.len(), "{seen:?}");
        // Its `ValidateConfig`: without a guid it takes only what it may make itself, and names are short.
        let repo = &config["repos"][0];
        assert!(repo["autoInitialize"] == true && repo.get("guid").is_none());
        assert!(repo["env"][0].as_str().is_some_and(|pair| pair.contains('=')));
        assert!(config["instance"].as_str().is_some_and(|name| !name.is_empty() && name.len() <= 50));
        assert!(
            (3..=6).contains(&config["version"].as_i64().expect("a number")),
            "older ones are not taken over"
        );
    }

    #[test]
    fn each_kind_gets_files() {
        for kind in MachineKind::ALL {
            assert!(!File::of(Some(kind)).is_empty());
        }
        assert_eq!(File::of(None).len(), File::ALL.len());
    }
}
