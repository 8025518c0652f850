//! What a mount namespace looks like from within: which mount is a part of the outside, and which is the group's own.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use super::{Filesystem, KINDS, LONGEST_OPTION, Mount, Mounts, Origin, Tree, path, tree};
use crate::image::{PageBuffer, PageSink};
use crate::kernel::outside::Outside;
use crate::kernel::{files, mounts};
use crate::proc::mountinfo::{self, Mount as Found};
use crate::proc::{ProcError, text};
use crate::resource::named_file::shown;

/// What is to be recorded.
#[derive(Debug)]
pub struct Plan {
    /// The record, but for the content of filesystems.
    record: Mounts,
    /// What stands in the way, and what would be lost.
    pub problems: Vec<Problem>,
    /// Where the content is found: the filesystem, what of it, and where that is mounted.
    sources: Vec<(usize, ByteBuf, PathBuf)>,
    known: HashMap<(u32, u32), usize>,
}

/// Looks at the mounts of this process, which has come from there.
pub fn look(outside: &Outside) -> Result<Plan, ProcError> {
    let found = parents_first(crate::proc::parsed_system("self/mountinfo", mountinfo::parse)?);
    let around = mountinfo::parse(outside.mounts()).unwrap_or_default();
    let mut plan = Plan { record: Mounts::default(), problems: Vec::new(), sources: Vec::new(), known: HashMap::new() };
    let (mut places, mut skipped): (HashMap<i32, usize>, HashSet<i32>) = (HashMap::new(), HashSet::new());
    for mount in &found {
        let visible = files::place(path(&mount.mount_point)).is_ok_and(|place| place.mount == mount.id as u64);
        let parent = places.get(&mount.parent).copied();
        // Nobody can reach one by a name that hides below another and has no path outside either: what stands on it stands on what it
        // stood on.
        let lies_below = skipped.contains(&mount.parent) && !visible;
        let origin = if lies_below { None } else { plan.origin(mount, visible, &around, outside) };
        let Some(origin) = origin else {
            skipped.insert(mount.id);
            places.extend(parent.map(|parent| (mount.id, parent)));
            continue;
        };
        places.insert(mount.id, plan.record.mounts.len());
        plan.record.mounts.push(Mount {
            parent,
            mount_point: ByteBuf::from(mount.mount_point.clone()),
            attributes: attributes(mount),
            receives: mount.propagation.master.is_some(),
            shares: mount.propagation.shared.is_some(),
            origin,
        });
    }
    Ok(plan)
}

/// Each mount after the one it is mounted on, in the order of the kernel otherwise.
fn parents_first(found: Vec<Found>) -> Vec<Found> {
    let known = |id: i32, of: &[Found]| of.iter().any(|mount| mount.id == id);
    let (mut ordered, mut waiting): (Vec<Found>, Vec<Found>) =
        found.iter().cloned().partition(|mount| mount.parent == mount.id || !known(mount.parent, &found));
    loop {
        let before = waiting.len();
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|mount| known(mount.parent, &ordered));
        ordered.extend(ready);
        waiting = later;
        if waiting.is_empty() || waiting.len() == before {
            return ordered;
        }
    }
}

fn attributes(mount: &Found) -> u64 {
    let word = |word: &[u8]| match word {
        b"ro" => mounts::READ_ONLY,
        b"nosuid" => mounts::NO_SUID,
        b"nodev" => mounts::NO_DEVICES,
        b"noexec" => mounts::NO_EXECUTION,
        b"noatime" => mounts::NO_ACCESS_TIME,
        b"nodiratime" => mounts::NO_DIRECTORY_ACCESS_TIME,
        b"nosymfollow" => mounts::NO_SYMBOLIC_LINKS,
        _ => 0,
    };
    let words = |options: &[u8]| options.split(|byte| *byte == b',').map(word).fold(0, |all, one| all | one);
    let access = mounts::NO_ACCESS_TIME | mounts::NO_DIRECTORY_ACCESS_TIME;
    let own = words(&mount.options);
    let is_relative = mount.options.split(|byte| *byte == b',').any(|word| word == b"relatime");
    let strict = if own & access == 0 && !is_relative { mounts::STRICT_ACCESS_TIME } else { 0 };
    own | strict | (words(&mount.super_options) & mounts::READ_ONLY)
}

impl Plan {
    /// What is mounted; none: it is of no use, or stands in the way.
    fn origin(&mut self, mount: &Found, visible: bool, around: &[Found], outside: &Outside) -> Option<Origin> {
        let kind = String::from_utf8_lossy(&mount.filesystem).into_owned();
        let at = || shown(path(&mount.mount_point));
        let way_out = phrase!("Pause the group instead, or start the sandbox without it");
        if let Some(root) = mount.root.strip_suffix(b"//deleted") {
            let what = phrase!("a removed file or folder is mounted there ({shown})", shown = shown(path(root)));
            self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
            return None;
        }
        if around.iter().any(|other| other.device == mount.device) {
            let origin = of_outside(mount, visible, around, outside);
            if origin.is_none() && visible {
                let what = phrase!(
                    "{shown} of a {kind} is mounted there, which no path outside leads to",
                    shown = shown(path(&mount.root)),
                    kind
                );
                self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
            }
            return origin;
        }
        if !KINDS.contains(&kind.as_str()) {
            let what = phrase!("a {kind} of the group's own is mounted there, which cannot be given back yet", kind);
            self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
            return None;
        }
        if let Some(what) = misplaced(&filesystem(&kind, mount), outside) {
            self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
            return None;
        }
        let filesystem = *self.known.entry(mount.device).or_insert_with(|| {
            self.record.filesystems.push(filesystem(&kind, mount));
            self.record.filesystems.len() - 1
        });
        if kind == "tmpfs" {
            self.content(filesystem, mount, visible);
        }
        Some(Origin::Own { filesystem, root: ByteBuf::from(mount.root.clone()) })
    }

    /// Notes where what is mounted there can be read.
    fn content(&mut self, filesystem: usize, mount: &Found, visible: bool) {
        let covers =
            |(of, root, _): &(usize, ByteBuf, PathBuf)| *of == filesystem && path(&mount.root).starts_with(path(root));
        if self.sources.iter().any(covers) {
            return;
        }
        if !visible {
            let what = phrase!("a filesystem of the group's own lies hidden there, below another mount");
            let loss = phrase!("what is in it");
            self.problems.push(Problem::loses(ProblemKind::Namespace, what, loss).at(shown(path(&mount.mount_point))));
            return;
        }
        // Parts of it that were found before are parts of this one.
        self.sources.retain(|(of, root, _)| !(*of == filesystem && path(root).starts_with(path(&mount.root))));
        self.sources.push((filesystem, ByteBuf::from(mount.root.clone()), path(&mount.mount_point).to_owned()));
    }

    /// The record as far as it is known by now.
    pub fn record(&self) -> &Mounts {
        &self.record
    }

    /// Reads the content into the image.
    pub fn capture(self, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Mounts, Problem> {
        let mut record = self.record;
        for (filesystem, root, place) in self.sources {
            let entries = tree::capture(&place, sink, buffer)?;
            record.filesystems[filesystem].trees.push(Tree { root, entries });
        }
        Ok(record)
    }
}

/// What keeps a filesystem from being made again by its options.
fn misplaced(filesystem: &Filesystem, outside: &Outside) -> Option<Phrase> {
    let kind = &filesystem.kind;
    if filesystem.options.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > LONGEST_OPTION)) {
        return Some(phrase!(
            "a {kind} with options of more than {LONGEST_OPTION} bytes is mounted there",
            kind,
            LONGEST_OPTION
        ));
    }
    let stat = |file: Result<_, _>| file.and_then(|file: std::os::fd::OwnedFd| files::stat(&file));
    filesystem.folders().find_map(|folder| {
        let folder = path(folder);
        let without = stat(outside.open(folder, libc::O_PATH)).ok().filter(|_| folder.is_absolute());
        let within = stat(files::open(folder, libc::O_PATH)).ok();
        let Some(without) = without else {
            return Some(phrase!(
                "an {kind} over {shown} is mounted there, which is not outside",
                kind,
                shown = shown(folder)
            ));
        };
        // What was meant when it was mounted cannot be told.
        let is_another =
            within.is_some_and(|within| (within.st_dev, within.st_ino) != (without.st_dev, without.st_ino));
        is_another.then(|| {
            phrase!(
                "an {kind} over {shown} is mounted there, which is another folder outside",
                kind,
                shown = shown(folder)
            )
        })
    })
}

fn filesystem(kind: &str, mount: &Found) -> Filesystem {
    let option = |word: &[u8]| {
        let (key, value) = text::split_once(word, b'=').map_or((word, None), |(key, value)| (key, Some(value)));
        let plain = |bytes: &[u8]| ByteBuf::from(text::unescape_octal(bytes, |_| true));
        (plain(key), value.map(plain))
    };
    // Whether it can be written to is said by its mounts; a label is that of whoever makes it.
    let counts = |word: &&[u8]| !matches!(*word, b"rw" | b"ro" | b"seclabel" | b"");
    Filesystem {
        kind: kind.to_owned(),
        source: ByteBuf::from(mount.source.clone()),
        options: mount.super_options.split(|byte| *byte == b',').filter(counts).map(option).collect(),
        trees: Vec::new(),
    }
}

/// The path outside that leads to what is mounted.
fn of_outside(mount: &Found, visible: bool, around: &[Found], outside: &Outside) -> Option<Origin> {
    let here = visible.then(|| files::open(path(&mount.mount_point), libc::O_PATH | libc::O_NOFOLLOW));
    let here = here.and_then(Result::ok).and_then(|file| files::stat(&file).ok());
    let device = libc::makedev(mount.device.0, mount.device.1);
    around.iter().filter(|other| other.device == mount.device).find_map(|other| {
        let rest = path(&mount.root).strip_prefix(path(&other.root)).ok()?;
        let candidate = if rest.as_os_str().is_empty() {
            path(&other.mount_point).to_owned()
        } else {
            path(&other.mount_point).join(rest)
        };
        let found =
            outside.open(&candidate, libc::O_PATH | libc::O_NOFOLLOW).and_then(|file| files::stat(&file)).ok()?;
        let same = match here {
            Some(here) => (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino),
            None => found.st_dev == device,
        };
        same.then(|| Origin::Outside { path: bytes(&candidate), file_type: found.st_mode & libc::S_IFMT })
    })
}

fn bytes(path: &Path) -> ByteBuf {
    ByteBuf::from(path.as_os_str().as_bytes())
}
