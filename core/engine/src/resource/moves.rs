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
        path.strip_prefix(&self.old).ok().map(|rest| self.new.components().chain(rest.components()).collect())
    }
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

/// Leads the paths of an image to their new places, and notes what it has seen on the way.
#[derive(Debug)]
pub struct Moving<'a> {
    moves: &'a [Move],
    /// The group has mounts of its own: what it calls by a name lies within, and only what these show has moved.
    within: bool,
    used: BTreeSet<usize>,
    seen: BTreeSet<PathBuf>,
}

impl<'a> Moving<'a> {
    /// `within`: the group has mounts of its own.
    pub fn new(moves: &'a [Move], within: bool) -> Self {
        Self { moves, within, used: BTreeSet::new(), seen: BTreeSet::new() }
    }

    /// A path as the group has it.
    pub fn path(&mut self, path: &mut ByteBuf) {
        if !self.within {
            self.outside(path);
        }
    }

    /// A path of this system, whatever mounts the group has.
    pub fn outside(&mut self, path: &mut ByteBuf) {
        let old = PathBuf::from(OsStr::from_bytes(path));
        if !old.is_absolute() {
            return;
        }
        let fits = self.moves.iter().enumerate().filter_map(|(index, one)| Some((index, one, one.lead(&old)?)));
        let fits: Vec<_> = fits.collect();
        self.used.extend(fits.iter().map(|(index, ..)| *index));
        if let Some((_, _, new)) = fits.into_iter().max_by_key(|(_, one, _)| one.old.components().count()) {
            *path = ByteBuf::from(new.into_os_string().into_encoded_bytes());
        }
        self.seen.insert(old);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moved(moves: &[Move], path: &str) -> String {
        let (mut moving, mut path) = (Moving::new(moves, false), ByteBuf::from(path));
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
        let mut moving = Moving::new(&all, false);
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
    fn within_mounts_of_its_own_only_the_outside_moves() {
        let all = moves(&[("/a", "/b")]);
        let mut moving = Moving::new(&all, true);
        let (mut own, mut outer) = (ByteBuf::from("/a/x"), ByteBuf::from("/a/x"));
        moving.path(&mut own);
        assert_eq!(moving.problems().len(), 1);
        moving.outside(&mut outer);
        assert_eq!((own.as_slice(), outer.as_slice()), (b"/a/x".as_slice(), b"/b/x".as_slice()));
        assert!(moving.problems().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(old: Vec<u8>, path: Vec<u8>) {
            let all: Vec<Move> = Move::new(Path::new(OsStr::from_bytes(&old)), Path::new("/new")).into_iter().collect();
            let mut moving = Moving::new(&all, false);
            moving.path(&mut ByteBuf::from(path));
            let _ = moving.problems();
        }
    }
}
