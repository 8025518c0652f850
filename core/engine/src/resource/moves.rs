//! Paths that have moved between the freeze and the thaw: a folder was renamed, a disk is mounted elsewhere, another machine has
//! its homes elsewhere. What the records say of the filesystem is led to the new places once, right after they have been read; each
//! record knows which of its fields are paths. What the programs have in their memory stays as it is: they know the old names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use super::named_file::shown;

/// A path that has become another one, with all that lies below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    old: PathBuf,
    new: PathBuf,
}

impl Move {
    /// Both are absolute; what is wrong with them otherwise.
    pub fn new(old: &Path, new: &Path) -> Result<Self, Phrase> {
        Ok(Self { old: plain(old)?, new: plain(new)? })
    }

    /// Where a path leads, if it lies in this one: by whole names.
    fn lead(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.old).ok().map(|rest| joined(&self.new, rest))
    }
}

fn joined(path: &Path, rest: &Path) -> PathBuf {
    path.components().chain(rest.components()).collect()
}

/// The path without `.` and doubled slashes. What `..` means only a filesystem knows, and the old one is gone.
fn plain(path: &Path) -> Result<PathBuf, Phrase> {
    if !path.is_absolute() {
        return Err(phrase!("{path} is not an absolute path", path = shown(path)));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(phrase!("{path} has a .. in it", path = shown(path)));
    }
    Ok(path.components().collect())
}

/// A mount of a group that has mounts of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where the group sees it.
    pub point: PathBuf,
    /// What of this system it shows, as it was at the freeze; none: nothing.
    pub origin: Option<PathBuf>,
}

/// Leads the paths of an image to their new places, and notes what it has seen on the way.
#[derive(Debug)]
pub struct Moving<'a> {
    moves: &'a [Move],
    /// Where the group has mounts of its own: them.
    within: Option<Vec<Shown>>,
    used: BTreeSet<usize>,
    seen: BTreeSet<PathBuf>,
}

impl<'a> Moving<'a> {
    /// `within`: where the group has mounts of its own, each after those below it.
    pub fn new(moves: &'a [Move], within: Option<Vec<Shown>>) -> Self {
        Self { moves, within, used: BTreeSet::new(), seen: BTreeSet::new() }
    }

    /// A path as the group has it.
    pub fn path(&mut self, path: &mut ByteBuf) {
        match self.within.take() {
            None => self.outside(path),
            Some(mounts) => {
                if let Some(new) = self.within(&mounts, Path::new(OsStr::from_bytes(path))) {
                    *path = ByteBuf::from(new.into_os_string().into_encoded_bytes());
                }
                self.within = Some(mounts);
            }
        }
    }

    /// What a group with mounts of its own calls by a name has another one only where it has moved within what is mounted: a mount
    /// that has moved as a whole is seen at its old place.
    fn within(&mut self, mounts: &[Shown], path: &Path) -> Option<PathBuf> {
        let mount = seen_on(mounts, path)?;
        let (origin, rest) = (mount.origin.as_ref()?, path.strip_prefix(&mount.point).ok()?);
        let new = self.lead(&joined(origin, rest))?;
        let now = |origin: &Path| self.best(origin).unwrap_or_else(|| origin.to_owned());
        if new == joined(&now(origin), rest) {
            return None;
        }
        let shows = mounts.iter().filter_map(|other| {
            let origin = now(other.origin.as_ref()?);
            let place = joined(&other.point, new.strip_prefix(&origin).ok()?);
            // Not where another mount lies over it.
            (seen_on(mounts, &place) == Some(other)).then(|| (origin.components().count(), place))
        });
        shows.max_by_key(|(depth, _)| *depth).map(|(_, place)| place)
    }

    /// Does something about paths of those who see these mounts, of which each shows something that the group has.
    pub fn among<T>(&mut self, mounts: &[Shown], work: impl FnOnce(&mut Self) -> T) -> T {
        let around = self.within.take();
        let outside = |origin: &PathBuf| {
            let Some(around) = &around else { return Some(origin.clone()) };
            let mount = seen_on(around, origin)?;
            Some(joined(mount.origin.as_ref()?, origin.strip_prefix(&mount.point).ok()?))
        };
        let led = |shown: &Shown| Shown { origin: shown.origin.as_ref().and_then(outside), ..shown.clone() };
        self.within = Some(mounts.iter().map(led).collect());
        let done = work(self);
        self.within = around;
        done
    }

    /// A path of this system, whatever mounts the group has.
    pub fn outside(&mut self, path: &mut ByteBuf) {
        let old = PathBuf::from(OsStr::from_bytes(path));
        if let Some(new) = self.lead(&old).filter(|_| old.is_absolute()) {
            *path = ByteBuf::from(new.into_os_string().into_encoded_bytes());
        }
    }

    /// Where a path of this system leads, if it has moved; what is said of it has been of use.
    fn lead(&mut self, old: &Path) -> Option<PathBuf> {
        let fits = self.moves.iter().enumerate().filter(|(_, one)| old.starts_with(&one.old));
        self.used.extend(fits.map(|(index, _)| index));
        if old.is_absolute() {
            self.seen.insert(old.to_owned());
        }
        self.best(old)
    }

    /// By the longest path that fits.
    fn best(&self, old: &Path) -> Option<PathBuf> {
        let fits = self.moves.iter().filter_map(|one| Some((one.old.components().count(), one.lead(old)?)));
        fits.max_by_key(|(depth, _)| *depth).map(|(_, new)| new)
    }

    /// What of the moves cannot be meant: two of one path, and one of a path that the image does not know.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, one) in self.moves.iter().enumerate() {
            let refuse = |what: Phrase| Problem::blocks(ProblemKind::File, what).at(shown(&one.old));
            if self.moves[..index].iter().any(|other| other.old == one.old) {
                let what = phrase!("it is said twice where this path has moved to");
                problems.push(refuse(what).way_out(phrase!("Say it once")));
            } else if !self.used.contains(&index) {
                let what = phrase!("nothing that the image uses of this system has this path or lies below it");
                problems.push(refuse(what).way_out(self.nearest(&one.old)));
            }
        }
        problems
    }

    /// What may have been meant.
    fn nearest(&self, path: &Path) -> Phrase {
        const FEW: usize = 5;
        let like = |other: &Path| {
            let pairs = path.as_os_str().as_bytes().iter().zip(other.as_os_str().as_bytes());
            pairs.take_while(|(one, other)| one == other).count()
        };
        let mut seen: Vec<&PathBuf> = self.seen.iter().collect();
        seen.sort_by_key(|other| std::cmp::Reverse(like(other)));
        let nearest: Vec<String> = seen.into_iter().take(FEW).map(|path| shown(path)).collect();
        if nearest.is_empty() {
            return phrase!("Leave it out: the image uses nothing of this system by a path");
        }
        phrase!("Give a path of the image, or a folder above it; the nearest are {paths}", paths = nearest.join(", "))
    }
}

/// The mount on which a path lies: the last one of those that are nearest above it.
fn seen_on<'a>(mounts: &'a [Shown], path: &Path) -> Option<&'a Shown> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moved(moves: &[Move], path: &str) -> String {
        let (mut moving, mut path) = (Moving::new(moves, None), ByteBuf::from(path));
        moving.path(&mut path);
        String::from_utf8_lossy(&path).into_owned()
    }

    fn moves(all: &[(&str, &str)]) -> Vec<Move> {
        all.iter().flat_map(|(old, new)| Move::new(Path::new(old), Path::new(new))).collect()
    }

    #[test]
    fn whole_names_move_and_the_longest_path_wins() {
        let all = moves(&[("/home/ann/", "/home//bob/."), ("/home/ann/music", "/srv"), ("/mnt", "/"), ("/", "/old")]);
        assert_eq!(all.len(), 4);
        for (old, new) in [
            ("/home/ann", "/home/bob"),
            ("/home/ann/x", "/home/bob/x"),
            ("/home/ann/music/a", "/srv/a"),
            ("/home/ann/musical", "/home/bob/musical"),
            ("/home/annex", "/old/home/annex"),
            ("/mnt/x", "/x"),
            ("/mnt", "/"),
            ("memfd:x", "memfd:x"),
        ] {
            assert_eq!(moved(&all, old), new, "{old}");
        }
    }

    #[test]
    fn only_absolute_and_plain_paths_move() {
        for (old, new) in [("a", "/b"), ("/a", "b"), ("", "/b"), ("/a/../b", "/c"), ("/a", "/b/..")] {
            assert!(Move::new(Path::new(old), Path::new(new)).is_err(), "{old} {new}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_told_with_what_is_near() {
        let all = moves(&[("/home/an", "/home/bob"), ("/srv", "/b"), ("/srv", "/c")]);
        let mut moving = Moving::new(&all, None);
        for path in ["/usr/lib/x", "/home/ann/x", "/srv/y"] {
            moving.path(&mut ByteBuf::from(path));
        }
        let problems = moving.problems();
        let said = format!("{problems:?}");
        assert_eq!(problems.len(), 2, "{said}");
        for word in ["/home/an", "nearest", "/home/ann/x, /", "twice"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    #[test]
    fn within_mounts_of_its_own_names_change_only_below_what_is_mounted() {
        let all = moves(&[("/home/ann", "/home/bob"), ("/data", "/srv/data"), ("/home/eve", "/tmp/eve")]);
        let shown = |point: &str, origin: &str| Shown {
            point: PathBuf::from(point),
            origin: (!origin.is_empty()).then(|| PathBuf::from(origin)),
        };
        let mounts = vec![shown("/", "/"), shown("/work", "/data"), shown("/tmp", ""), shown("/all", "/home")];
        for (old, new) in [
            // The mount itself has moved.
            ("/work/x", "/work/x"),
            // What lies below one.
            ("/all/ann/x", "/all/bob/x"),
            ("/home/ann/x", "/all/bob/x"),
            ("/data/x", "/work/x"),
            // Its own, whatever its name.
            ("/tmp/x", "/tmp/x"),
            // Where it lies now is hidden.
            ("/home/eve/x", "/home/eve/x"),
            ("/usr/lib", "/usr/lib"),
        ] {
            let (mut moving, mut path) = (Moving::new(&all, Some(mounts.clone())), ByteBuf::from(old));
            moving.path(&mut path);
            assert_eq!(String::from_utf8_lossy(&path), new, "{old}");
            let mut outer = ByteBuf::from("/data/y");
            moving.outside(&mut outer);
            assert_eq!(outer.as_slice(), b"/srv/data/y");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(old: Vec<u8>, path: Vec<u8>) {
            let all: Vec<Move> = Move::new(Path::new(OsStr::from_bytes(&old)), Path::new("/new")).into_iter().collect();
            let mut moving = Moving::new(&all, None);
            moving.path(&mut ByteBuf::from(path));
            let _ = moving.problems();
        }
    }
}
