//! A file that the group uses by its name in the filesystem, and how the thaw knows that it is still that file.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::likeness::Likeness;
use super::moves::Moving;
use super::owners::Walk;
use crate::image::kept::{ContentHash, KeptFiles};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{files, outside};

/// A file by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Its absolute path.
    pub path: ByteBuf,
    /// Its type and permissions, `st_mode`.
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
    /// When its content was last changed: seconds and nanoseconds since 1970. None: its content does not matter, or
    /// the kernel makes it up.
    pub modified: Option<(i64, u32)>,
    /// XXH3-64 of its first and its last bytes, [`END`] of each: they tell a file that has grown from another one. Of a file that is mapped,
    /// where it is opened for who could not open it himself.
    pub ends: Option<u64>,
    /// Opened or mapped for writing by the group.
    pub writable: bool,
    /// Opened so that whatever is written comes to its end, `O_APPEND`: what others have added meanwhile stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub appends: bool,
    /// User, group and groups of whom it is opened for.
    pub owner: Owner,
    /// It lies outside of the mounts that the group has for itself: it was opened before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Of a mapped file: among which mounts within the group it lies, by the place of those in the list of namespaces; none: those of the
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<usize>,
    /// What is known of the content of a mapped file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likeness: Option<Likeness>,
    /// Under which hash a copy of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<ContentHash>,
    /// The copy that takes its place, once that has been decided.
    #[serde(skip)]
    pub stand_in: Option<StandIn>,
}

/// A copy that is kept, whose bytes have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Where.
    pub kept: KeptFiles,
    /// With whose rights it is opened.
    pub identity: Identity,
}

/// How much of a file [`NamedFile::ends`] speaks of, from the front and from the back.
pub const END: u64 = 64 << 10;

/// With whose rights a file is opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Filesystem user.
    pub user: u32,
    /// Filesystem group.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl From<&Owner> for Identity {
    fn from(owner: &Owner) -> Self {
        Self { user: owner.user, group: owner.group, groups: owner.groups.clone() }
    }
}

impl Owner {
    /// Leads it to the numbers that it has here.
    pub fn led(&mut self, walk: &mut Walk<'_>) {
        walk.user(&mut self.user);
        walk.group(&mut self.group);
        walk.groups(&mut self.groups);
    }
}

impl NamedFile {
    /// What is to be known of a file.
    pub fn of(path: &[u8], stat: &libc::stat, writable: bool, owner: &Owner) -> Self {
        Self {
            path: ByteBuf::from(path),
            mode: stat.st_mode,
            size: stat.st_size as u64,
            modified: Some((stat.st_mtime, stat.st_mtime_nsec as u32)),
            ends: None,
            writable,
            appends: false,
            owner: owner.clone(),
            outside: is_outside(path, stat),
            mounts: None,
            likeness: None,
            kept: None,
            stand_in: None,
        }
    }

    /// Whether it lies among mounts that the group, or a part of it, has for itself: what is outside of them cannot take its place.
    pub fn is_deep(&self) -> bool {
        self.mounts.is_some() || outside::known().is_some() && !self.outside
    }

    /// The path by which it is found from here.
    pub fn path(&self) -> PathBuf {
        let path = Path::new(std::ffi::OsStr::from_bytes(&self.path));
        match outside::known().filter(|_| self.outside) {
            Some(outside) => outside.reach(path),
            None => path.to_owned(),
        }
    }

    /// Leads it to where its path has moved.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        if self.outside { moving.outside(&mut self.path) } else { moving.path(&mut self.path) }
    }

    /// Its name, for a person.
    pub fn shown(&self) -> String {
        shown(Path::new(std::ffi::OsStr::from_bytes(&self.path)))
    }

    /// Whether its owner may see what is at its path, or that nothing is.
    pub fn may_be_looked_at(&self) -> bool {
        let acting = Acting::begin(&Identity::from(&self.owner));
        let found = acting.map_err(std::io::Error::from).and_then(|_acting| self.path().metadata());
        found.err().is_none_or(|error| error.kind() != std::io::ErrorKind::PermissionDenied)
    }

    /// From now on its content does not matter.
    pub fn accept(&mut self) {
        (self.modified, self.ends, self.likeness) = (None, None, None);
    }

    /// What has become of the file: problems that matter to whoever depends on every byte of it (`exact`: it is mapped)
    /// or has it open.
    pub fn check(&self, exact: bool) -> Vec<Problem> {
        if self.stand_in.is_some() {
            return Vec::new();
        }
        let path = self.path();
        let is_link = self.mode & TYPE == libc::S_IFLNK;
        // With its owner's rights: nobody learns through an image what he may not see.
        let acting = Acting::begin(&Identity::from(&self.owner)).map_err(std::io::Error::from);
        let found = acting.and_then(|_acting| if is_link { path.symlink_metadata() } else { path.metadata() });
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let problem =
                    Problem::blocks(ProblemKind::File, phrase!("the file cannot be found: {why}", why = error));
                return vec![problem.at(self.shown()).way_out(phrase!("Put it back in its place, then thaw again"))];
            }
        };
        if found.mode() & TYPE != self.mode & TYPE {
            let problem = Problem::blocks(ProblemKind::File, phrase!("something else has its name now"));
            return vec![problem.at(self.shown()).way_out(phrase!("Put the file back in its place, then thaw again"))];
        }
        match self.modified {
            Some(modified) if self.mode & TYPE == libc::S_IFREG => {
                self.change(&found, modified, exact).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn change(&self, found: &std::fs::Metadata, modified: (i64, u32), exact: bool) -> Option<Problem> {
        let length = found.len();
        let blocks = |what: Phrase| {
            let problem = Problem::blocks(ProblemKind::File, what).at(self.shown());
            Some(problem.way_out(phrase!("Put the old file back, then thaw again")))
        };
        if length < self.size {
            return blocks(phrase!(
                "the file has shrunk from {size} to {length} bytes since the freeze",
                size = self.size,
                length
            ));
        }
        if length == self.size && (found.mtime(), found.mtime_nsec() as u32) == modified {
            // Dates may be clamped: then builds are told apart by their ids.
            return if exact && self.is_another_build() { self.replaced(found, modified) } else { None };
        }
        if exact {
            return self.replaced(found, modified);
        }
        let same = self.ends.is_some() && self.ends == self.ends_now();
        match (same, length > self.size) {
            (true, true) if self.writable && !self.appends => blocks(phrase!(
                "the file has grown from {size} to {length} bytes since the freeze, and what was added would be overwritten",
                size = self.size,
                length
            )),
            (true, true) => {
                let what = phrase!(
                    "the file has grown from {size} to {length} bytes since the freeze",
                    size = self.size,
                    length
                );
                let problem = Problem::loses(ProblemKind::File, what, phrase!("that it ended where it did"));
                Some(problem.at(self.shown()))
            }
            // Every byte of it is known to be the same.
            (true, false) if self.size <= 2 * END => None,
            _ => blocks(phrase!("the file has been changed or replaced since the freeze")),
        }
    }

    fn is_another_build(&self) -> bool {
        let Some(old) = self.likeness.as_ref().and_then(|likeness| likeness.build_id.as_ref()) else { return false };
        let new = || {
            let _acting = Acting::begin(&Identity::from(&self.owner)).ok()?;
            let file = files::open(&self.path(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW).ok()?;
            Likeness::of(&File::from(file), self.size, &mut 0)?.build_id
        };
        new().is_some_and(|new| new != *old)
    }

    /// For a mapped file whose size or date is another one: what has become of it, unless its content is the same.
    fn replaced(&self, found: &std::fs::Metadata, modified: (i64, u32)) -> Option<Problem> {
        let now = self.likeness_now(found.len());
        let both = self.likeness.as_ref().zip(now.as_ref());
        if found.len() == self.size && both.is_some_and(|(old, now)| old.is_like(now)) {
            return None;
        }
        let ids = both.and_then(|(old, now)| old.shown().zip(now.shown())).filter(|(old, new)| old != new);
        let refuse =
            |what: Phrase, way_out: Phrase| Problem::blocks(ProblemKind::File, what).at(self.shown()).way_out(way_out);
        if let Some((old, new)) = ids {
            let what = phrase!(
                "the file has been changed or replaced since the freeze, and the program has it in its memory: its build-id was {old}, and is {new} now",
                old = old.clone(),
                new
            );
            let way_out =
                phrase!("Install the build {old} of it again, or put the old file back, then thaw again", old);
            return Some(refuse(what, way_out));
        }
        let what = phrase!(
            "the file has been changed or replaced since the freeze, and the program has it in its memory: it had {size} bytes, written {old}, and has {length}, written {new}",
            size = self.size,
            old = date(modified.0),
            length = found.len(),
            new = date(found.mtime())
        );
        Some(refuse(what, phrase!("Put the old file back, then thaw again")))
    }

    fn likeness_now(&self, size: u64) -> Option<Likeness> {
        self.likeness.as_ref()?;
        let _acting = Acting::begin(&Identity::from(&self.owner)).ok()?;
        let file = files::open(&self.path(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW).ok()?;
        let mut left = u64::MAX;
        Likeness::of(&File::from(file), size, &mut left)
    }

    /// It is mapped, and is not what it was.
    pub fn is_another(&self) -> Problem {
        let what =
            phrase!("the file has been changed or replaced since the freeze, and the program has it in its memory");
        let problem = Problem::blocks(ProblemKind::File, what).at(self.shown());
        problem.way_out(phrase!("Put the old file back, then thaw again"))
    }

    fn ends_now(&self) -> Option<u64> {
        let _acting = Acting::begin(&Identity::from(&self.owner)).ok()?;
        let file = files::open(&self.path(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW).ok()?;
        ends(&File::from(file), self.size).ok()
    }

    /// Whether its owner may open it now as the group had it.
    pub fn may_open(&self, access: i32) -> Option<Problem> {
        if self.stand_in.is_some() {
            return None;
        }
        let rights = match access & libc::O_ACCMODE {
            libc::O_RDONLY => libc::R_OK,
            libc::O_WRONLY => libc::W_OK,
            _ => libc::R_OK | libc::W_OK,
        };
        let acting = Acting::begin(&Identity::from(&self.owner));
        let errno = acting.and_then(|_acting| files::may_access(&self.path(), rights)).err()?;
        let what =
            phrase!("user {user} may not open the file any more: {why}", user = self.owner.user, why = errno.desc());
        let problem = Problem::blocks(ProblemKind::File, what).at(self.shown());
        Some(problem.way_out(phrase!("Give the user the right to open it, then thaw again")))
    }
}

const TYPE: u32 = libc::S_IFMT;

/// Whether a path leads to this file outside of the mounts that the group has for itself, and not within.
pub fn is_outside(path: &[u8], stat: &libc::stat) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let same = |found: (u64, u64)| found == (stat.st_dev, stat.st_ino);
    outside::known().is_some_and(|outside| {
        let within = path.symlink_metadata().is_ok_and(|found| same((found.dev(), found.ino())));
        let without = outside.open(path, libc::O_PATH | libc::O_NOFOLLOW).and_then(|file| files::stat(&file));
        !within && without.is_ok_and(|found| same((found.st_dev, found.st_ino)))
    })
}

/// What [`NamedFile::ends`] says of a file of this size.
pub fn ends(file: &File, size: u64) -> std::io::Result<u64> {
    let length = size.min(END);
    let mut bytes = vec![0; 2 * length as usize];
    let (front, back) = bytes.split_at_mut(length as usize);
    file.read_exact_at(front, 0)?;
    file.read_exact_at(back, size - length)?;
    Ok(xxhash_rust::xxh3::xxh3_64(&bytes))
}

/// Another name of a file whose own was removed, found in the folder it was removed from.
pub fn other_name(removed: &Path, stat: &libc::stat) -> Option<PathBuf> {
    use std::os::unix::fs::DirEntryExt;
    let entries = std::fs::read_dir(removed.parent()?).ok()?.flatten();
    entries.filter(|entry| entry.ino() == stat.st_ino).map(|entry| entry.path()).find(|path| {
        path.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == (stat.st_dev, stat.st_ino))
    })
}

/// When that was, in UTC: `2026-02-28 17:05:09`.
fn date(seconds: i64) -> String {
    const DAY: i64 = 86_400;
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Years begin in March here, so that a leap day ends one; 400 of them have 146,097 days, and day 0 is 719,468 after one.
    let since = day.saturating_add(719_468);
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (of_month, is_new_year) = (of_year - (153 * month + 2) / 5 + 1, month >= 10);
    let (year, month) = (era * 400 + year + i64::from(is_new_year), if is_new_year { month - 9 } else { month + 3 });
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{of_month:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

/// A path for a person: odd bytes and control characters escaped.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use dormouse_wire::Severity;

    use super::*;

    fn said(file: &NamedFile, exact: bool) -> Option<Severity> {
        file.check(exact).first().map(|problem| problem.severity)
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00"),
            (951_827_696, "2000-02-29 12:34:56"),
            (1_772_298_309, "2026-02-28 17:05:09"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            assert_eq!(date(seconds), shown);
        }
        let _ = (date(i64::MIN), date(i64::MAX));
    }

    #[test]
    fn a_mapped_file_with_the_same_content_is_the_same_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        std::fs::write(&path, "words")?;
        let opened = File::open(&path)?;
        let owner =
            Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), groups: Vec::new() };
        let mut file = NamedFile::of(path.as_os_str().as_bytes(), &files::stat(&opened)?, false, &owner);
        let touch = || opened.set_modified(SystemTime::now() + Duration::from_secs(9));
        touch()?;
        assert_eq!(said(&file, true), Some(Severity::Blocks), "nothing is known of it");
        file.likeness = Likeness::of(&opened, file.size, &mut 100);
        assert_eq!(said(&file, true), None);
        std::fs::write(&path, "woods")?;
        touch()?;
        assert_eq!(said(&file, true), Some(Severity::Blocks));
        Ok(())
    }

    #[test]
    fn a_file_that_has_grown_is_told_from_one_that_is_another() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        for size in [1000, 3 * END as usize] {
            let path = folder.path().join(size.to_string());
            let old: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            std::fs::write(&path, &old)?;
            let opened = File::open(&path)?;
            let owner = Owner {
                user: nix::unistd::geteuid().as_raw(),
                group: nix::unistd::getegid().as_raw(),
                groups: Vec::new(),
            };
            let mut file = NamedFile::of(path.as_os_str().as_bytes(), &files::stat(&opened)?, false, &owner);
            file.ends = Some(ends(&opened, file.size)?);
            assert_eq!((said(&file, false), said(&file, true)), (None, None));
            let mut grown = old.clone();
            grown.push(1);
            std::fs::write(&path, &grown)?;
            assert_eq!((said(&file, false), said(&file, true)), (Some(Severity::Loses), Some(Severity::Blocks)));
            grown[size - 1] ^= 1;
            std::fs::write(&path, &grown)?;
            assert_eq!(said(&file, false), Some(Severity::Blocks));
            std::fs::write(&path, &old)?;
            File::open(&path)?.set_modified(SystemTime::now() + Duration::from_secs(9))?;
            assert_eq!(said(&file, false).is_none(), size == 1000, "touched");
            std::fs::write(&path, &old[1..])?;
            assert_eq!(said(&file, false), Some(Severity::Blocks));
            std::fs::remove_file(&path)?;
            assert_eq!(said(&file, false), Some(Severity::Blocks));
        }
        Ok(())
    }
}
