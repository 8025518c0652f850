//! Where desktop entries lie for the person: XDG Base Directory Specification, and what Flatpak and Snap add to it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use dormouse_engine::survey::names::DataFolders;

/// What the specification says for an empty XDG_DATA_DIRS.
const DEFAULT: &str = "/usr/local/share:/usr/share";
/// Sessions have these in XDG_DATA_DIRS; sudo(8) takes it away.
const ADDED: [&str; 2] = ["/var/lib/flatpak/exports/share", "/var/lib/snapd/desktop"];

/// The folders and the locale of the environment.
pub fn of_environment() -> DataFolders {
    DataFolders { folders: folders(|name| env::var_os(name)), locale: locale(|name| env::var(name).ok()) }
}

fn folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = variable("HOME").map(PathBuf::from);
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| home.map(|home| home.join(".local/share")));
    let all = variable("XDG_DATA_DIRS").filter(|all| !all.is_empty());
    let all = all.as_deref().unwrap_or(OsStr::new(DEFAULT));
    let of_user = data.iter().cloned().chain(data.iter().map(|data| data.join("flatpak/exports/share")));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in of_user.chain(env::split_paths(all)).chain(ADDED.map(PathBuf::from)) {
        // The specification: a path that is not absolute is as good as none.
        if folder.is_absolute() && !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// The locale for messages, setlocale(3).
fn locale(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_are_those_of_the_specification() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            folders(|name| set.iter().find(|(set, _)| set == name).map(|(_, value)| value.into()))
        };
        let plain = of(&[("HOME", "/h"), ("XDG_DATA_DIRS", "/b:relative:/a:/b")]);
        let expected = ["/h/.local/share", "/h/.local/share/flatpak/exports/share", "/b", "/a", ADDED[0], ADDED[1]];
        assert_eq!(plain, expected.map(PathBuf::from));
        let other = of(&[("XDG_DATA_HOME", "/d")]);
        let expected = ["/d", "/d/flatpak/exports/share", "/usr/local/share", "/usr/share", ADDED[0], ADDED[1]];
        assert_eq!(other, expected.map(PathBuf::from));
    }

    #[test]
    fn the_locale_is_the_first_that_is_set() {
        let of = |set: &'static [(&str, &str)]| {
            locale(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(&[("LANG", "de_DE.UTF-8"), ("LC_MESSAGES", "fr"), ("LC_ALL", "")]), "fr");
        assert_eq!(of(&[]), "");
    }
}
