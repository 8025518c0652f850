//! Whether a user's session falls asleep at logout and wakes at login: the user's own choice, a file among what is configured in his home.
//!
//! What acts on it is a unit of the system, `dormouse-session@UID.service`, and none of the user's own systemd: at a logout or a shutdown
//! nobody sits before a screen any more, so that polkit would refuse what the user asks for; and a bus that is about to end starts no service.
//! That unit comes with every login, and does nothing for users who have not chosen so.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dormouse_wire::dbus::AtLogout;
use dormouse_wire::{Phrase, phrase};

use crate::store;

/// The file that says so, beside the choice of a folder of images.
const CHOICE: &str = "session-at-logout";
/// A system that systemd has booted has this, sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
const UNIT: &str = "dormouse-session@.service";
/// Where units of packages and of administrators lie, systemd.unit(5).
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// The file, by the user's home; it need not exist.
fn file(user: u32, home: &Path) -> PathBuf {
    store::choice_of(user, home).with_file_name(CHOICE)
}

/// Whether the user has chosen so. A home that cannot be read has chosen nothing.
pub fn is_chosen(user: u32, home: &Path) -> bool {
    file(user, home).symlink_metadata().is_ok()
}

/// Chooses.
pub fn choose(user: u32, home: &Path, wanted: bool) -> io::Result<()> {
    let file = file(user, home);
    if !wanted {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            answer => answer,
        };
    }
    let folder = file.parent().unwrap_or(home);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match File::options().write(true).create_new(true).open(&file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

/// Whether systemd has booted this machine, sd_booted(3).
pub fn is_booted_by_systemd() -> bool {
    Path::new(BOOTED).is_dir()
}

/// What is chosen, and why it would change nothing, if that is so.
pub fn look(user: u32, home: &Path) -> AtLogout {
    AtLogout {
        chosen: is_chosen(user, home),
        hindrance: hindrance(Path::new(BOOTED), &UNITS).map(|why| why.to_string()),
    }
}

fn hindrance(booted: &Path, units: &[&str]) -> Option<Phrase> {
    if !booted.is_dir() {
        return Some(phrase!("Nothing would come of it: systemd does not run on this machine."));
    }
    let there = units.iter().any(|folder| Path::new(folder).join(UNIT).exists());
    (!there).then(|| phrase!("Nothing would come of it: the unit dormouse-session@.service is not installed, which comes with the service."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_until_it_is_taken_back() {
        let home = tempfile::tempdir().expect("a folder");
        let chosen = || is_chosen(1000, home.path());
        assert!(!chosen());
        choose(1000, home.path(), false).expect("nothing is taken back");
        for _ in 0..2 {
            choose(1000, home.path(), true).expect("it is chosen");
            assert!(chosen());
        }
        choose(1000, home.path(), false).expect("it is taken back");
        assert!(!chosen());
    }

    #[test]
    fn without_systemd_or_the_unit_it_is_told_that_nothing_happens() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let why = |booted: &Path| hindrance(booted, &[&path]).map(|why| why.to_string()).unwrap_or_default();
        assert!(why(&folder.path().join("absent")).contains("systemd does not run"));
        assert!(why(folder.path()).contains(UNIT));
        fs::write(folder.path().join(UNIT), "").expect("a file");
        assert_eq!(why(folder.path()), "");
    }
}
