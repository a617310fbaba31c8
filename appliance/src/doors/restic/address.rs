//! Addresses of the restic door, parsed into types before anything else sees them.

use coffre_core::fault::{Fault, Result};
use coffre_core::names::{DatasetName, suggested};
use coffre_core::repo::{FileKind, FileName};

/// The repository of an address that names none.
const DEFAULT: &str = "default";
/// Of an address that is none, so much is said.
const MAX_SHOWN: usize = 40;

/// What an address is within its repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// The repository itself.
    Root,
    /// All files of a kind.
    List(FileKind),
    /// A file; without a name it is the config.
    File(FileKind, Option<FileName>),
}

/// Reads the parts of a path behind the client's name. `Absent` when nothing can be there, `Misuse` when a name is none.
pub fn parse(rest: &[&str]) -> Result<(DatasetName, Address)> {
    // The words for types are no names, so what they begin is within the default repository.
    match rest {
        [] | [""] => Ok((name(DEFAULT)?, Address::Root)),
        [word, ..] if *word == "config" || FileKind::named(word).is_some() => {
            Ok((name(DEFAULT)?, within(rest)?))
        }
        [repo] | [repo, ""] => Ok((name(repo)?, Address::Root)),
        // What restic asks for first: whoever gave it folders in folders must hear what is wrong with that.
        [folders @ .., "config"] if folders.len() > 1 => Err(nested(folders)),
        [repo, rest @ ..] => Ok((name(repo)?, within(rest)?)),
    }
}

/// What is wrong with an address of folders in folders, and which name would do.
pub fn nested(folders: &[&str]) -> Fault {
    let typed = folders.join("/");
    let typed: String = typed.trim_matches('/').chars().take(MAX_SHOWN).collect();
    Fault::misuse(format!(
        "{typed:?} is not a valid name of a repository, which is one folder below its client's, of lower-case letters, \
         digits and hyphens{}",
        suggested(&typed)
    ))
    .next("write it rest:https://CLIENT:SECRET@BOX:PORT/CLIENT/REPO/")
}

fn within(rest: &[&str]) -> Result<Address> {
    match rest {
        ["config"] => Ok(Address::File(FileKind::Config, None)),
        [kind, ""] => FileKind::named(kind).map(Address::List).ok_or_else(nothing),
        [kind, name] => {
            let kind = FileKind::named(kind).ok_or_else(nothing)?;
            let name = name.parse().map_err(|bad| Fault::misuse(format!("{bad}")))?;
            Ok(Address::File(kind, Some(name)))
        }
        _ => Err(nothing()),
    }
}

fn name(text: &str) -> Result<DatasetName> {
    text.parse().map_err(|bad| Fault::misuse(format!("{bad}")))
}

fn nothing() -> Fault {
    Fault::absent("there is nothing at this address of a repository")
        .next("an address is CLIENT/REPO/ and what restic's REST protocol has behind it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffre_core::fault::Class;

    fn read(path: &str) -> Result<(String, Address)> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        parse(&parts).map(|(name, address)| (name.to_string(), address))
    }

    #[test]
    fn one_folder_or_two_and_everything_behind_them() {
        let hash = "ab".repeat(32);
        let file = Address::File(FileKind::Data, Some(FileName([0xab; 32])));
        let config = Address::File(FileKind::Config, None);
        for (path, name, address) in [
            ("", "default", Address::Root),
            ("/", "default", Address::Root),
            ("/config", "default", config),
            ("/keys/", "default", Address::List(FileKind::Keys)),
            (&format!("/data/{hash}"), "default", file),
            ("/default/", "default", Address::Root),
            ("/home", "home", Address::Root),
            ("/home/", "home", Address::Root),
            ("/home/config", "home", config),
            ("/home/snapshots/", "home", Address::List(FileKind::Snapshots)),
            (&format!("/home/data/{hash}"), "home", file),
        ] {
            assert_eq!(read(path), Ok((name.to_owned(), address)), "{path}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let absent = [
            "/keys",
            "/home/keys",
            "/home/data/ab/cd",
            "/config/",
            "/home/config/",
            "/home/other/",
            "/a/b/c",
        ];
        let misuse = [
            "/Work/",
            "/home/data/xyz",
            "/data/AB",
            "/../",
            "/home/data/..",
            "/a%2fb/",
            "/v1/",
            "/-/",
            "/work/2026/config",
            "/a/b/c/d/config",
            "//x/",
        ];
        for (paths, class) in [(&absent[..], Class::Absent), (&misuse[..], Class::Misuse)] {
            for path in paths {
                assert_eq!(read(path).map_err(|fault| fault.class), Err(class), "{path}");
            }
        }
        let said = |path: &str| read(path).map(|_| ()).expect_err("refused").to_string();
        assert!(said("/work/2026/config").contains("like work-2026"), "{}", said("/work/2026/config"));
        assert!(said("/Work/2026/config").contains("like work-2026"), "{}", said("/Work/2026/config"));
    }
}
