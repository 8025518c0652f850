//! What a mount namespace looks like from within: which mount is a part of the outside, and which is the group's own.

use std::collections::{BTreeMap, HashMap, HashSet};
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
use crate::resource::namespace::inner::Place;

/// What is to be recorded.
#[derive(Debug, Default)]
pub struct Plan {
    /// The filesystems, but for their content.
    filesystems: Vec<Filesystem>,
    /// The mounts of each namespace that was looked at.
    tables: Vec<Vec<Mount>>,
    /// What stands in the way, and what would be lost.
    pub problems: Vec<Problem>,
    sources: Vec<Source>,
    /// Filesystems that lie hidden somewhere: which, what of it, and where.
    hidden: Vec<(usize, ByteBuf, String)>,
    known: HashMap<(u32, u32), usize>,
}

/// Where the content of a filesystem is found.
#[derive(Debug)]
struct Source {
    filesystem: usize,
    /// What of it.
    root: ByteBuf,
    /// Where that is mounted, and by which table.
    place: PathBuf,
    table: usize,
    /// It is a file whose name was removed since.
    removed: bool,
}

/// In which namespaces those live who live among the mounts that are looked at.
#[derive(Debug)]
pub struct Home<'a> {
    /// Of filesystems that are seen for the first time there.
    pub place: Place,
    /// Which of them the pid namespaces are in which somebody lives, by their inodes. None for a whole group, which has one alone.
    pub pids: Option<&'a BTreeMap<u64, Option<usize>>>,
}

/// Looks at the mounts of this process, which has come from there.
pub fn look(outside: &Outside) -> Result<Plan, ProcError> {
    let mut plan = Plan::default();
    plan.add(outside, &Home { place: Place::default(), pids: None })?;
    plan.problems.extend(plan.unseen());
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
    /// Looks at the mounts of this thread, which has come from there; answers their ids.
    pub fn add(&mut self, outside: &Outside, home: &Home<'_>) -> Result<Vec<i32>, ProcError> {
        let found = parents_first(crate::proc::parsed_system("thread-self/mountinfo", mountinfo::parse)?);
        let around = mountinfo::parse(outside.mounts()).unwrap_or_default();
        self.tables.push(Vec::new());
        let (mut places, mut skipped): (HashMap<i32, usize>, HashSet<i32>) = (HashMap::new(), HashSet::new());
        for mount in &found {
            let visible = files::place(path(&mount.mount_point)).is_ok_and(|place| place.mount == mount.id as u64);
            let parent = places.get(&mount.parent).copied();
            // Nobody can reach one by a name that hides below another and has no path outside either: what stands on it stands on what
            // it stood on.
            let lies_below = skipped.contains(&mount.parent) && !visible;
            let origin = if lies_below { None } else { self.origin(mount, visible, &around, (outside, home)) };
            let (Some(origin), Some(table)) = (origin, self.tables.last_mut()) else {
                skipped.insert(mount.id);
                places.extend(parent.map(|parent| (mount.id, parent)));
                continue;
            };
            places.insert(mount.id, table.len());
            table.push(Mount {
                parent,
                mount_point: ByteBuf::from(mount.mount_point.clone()),
                attributes: attributes(mount),
                receives: mount.propagation.master.is_some(),
                shares: mount.propagation.shared.is_some(),
                origin,
            });
        }
        Ok(found.iter().map(|mount| mount.id).collect())
    }

    /// What is mounted; none: it is of no use, or stands in the way.
    fn origin(
        &mut self,
        mount: &Found,
        visible: bool,
        around: &[Found],
        (outside, home): (&Outside, &Home<'_>),
    ) -> Option<Origin> {
        let kind = String::from_utf8_lossy(&mount.filesystem).into_owned();
        let at = || shown(path(&mount.mount_point));
        let way_out = phrase!("Pause the group instead, or start the sandbox without it");
        let is_outside = || around.iter().any(|other| other.device == mount.device);
        let removed = mount.root.strip_suffix(b"//deleted");
        let is_file = || files::place(path(&mount.mount_point)).is_ok_and(|place| place.file_type == libc::S_IFREG);
        if let Some(root) = removed.filter(|_| is_outside() || kind != "tmpfs" || !visible || !is_file()) {
            let what = phrase!("a removed file or folder is mounted there ({shown})", shown = shown(path(root)));
            self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
            return None;
        }
        if is_outside() {
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
        let filesystem = match self.own(&kind, mount, visible, home) {
            Ok(filesystem) => filesystem?,
            Err(what) => {
                self.problems.push(Problem::blocks(ProblemKind::Namespace, what).at(at()).way_out(way_out));
                return None;
            }
        };
        // Nobody is shown it there, and it could not be put there in the end.
        if !visible && self.filesystems[filesystem].place.pid.is_some() {
            return None;
        }
        if kind == "tmpfs" {
            self.content(filesystem, mount, visible, home);
        }
        Some(Origin::Own { filesystem, root: ByteBuf::from(removed.unwrap_or(&mount.root)) })
    }

    /// The number of a filesystem of the group's own; none: it shows what nobody sees there.
    fn own(&mut self, kind: &str, mount: &Found, visible: bool, home: &Home<'_>) -> Result<Option<usize>, Phrase> {
        if let Some(known) = self.known.get(&mount.device) {
            return Ok(Some(*known));
        }
        let Some(place) = placed(kind, mount, visible, home)? else { return Ok(None) };
        let number = self.filesystems.len();
        self.filesystems.push(Filesystem { place, ..filesystem(kind, mount) });
        self.known.insert(mount.device, number);
        Ok(Some(number))
    }

    /// Notes where what is mounted there can be read.
    fn content(&mut self, filesystem: usize, mount: &Found, visible: bool, home: &Home<'_>) {
        let (place, table) = (path(&mount.mount_point).to_owned(), self.tables.len().saturating_sub(1));
        if let Some(root) = mount.root.strip_suffix(b"//deleted") {
            let known = |one: &Source| one.removed && one.filesystem == filesystem && one.root.as_slice() == root;
            if !self.sources.iter().any(known) {
                self.sources.push(Source { filesystem, root: ByteBuf::from(root), place, table, removed: true });
            }
            return;
        }
        let root = ByteBuf::from(mount.root.clone());
        // Nobody takes away what lies over it among mounts that belong to a user namespace, mount_namespaces(7).
        if self.covers(filesystem, &root) || !visible && home.place.user.is_some() {
            return;
        }
        if !visible {
            self.hidden.push((filesystem, root, shown(path(&mount.mount_point))));
            return;
        }
        // Parts of it that were found before are parts of this one.
        let is_part = |one: &Source| {
            one.filesystem == filesystem && !one.removed && path(&one.root).starts_with(path(&mount.root))
        };
        self.sources.retain(|one| !is_part(one));
        self.sources.push(Source { filesystem, root, place, table, removed: false });
    }

    fn covers(&self, filesystem: usize, part: &[u8]) -> bool {
        self.sources
            .iter()
            .any(|one| one.filesystem == filesystem && !one.removed && path(part).starts_with(path(&one.root)))
    }

    /// What lies hidden everywhere.
    pub fn unseen(&self) -> Vec<Problem> {
        let what = phrase!("a filesystem of the group's own lies hidden there, below another mount");
        let hidden = self.hidden.iter().filter(|(filesystem, root, _)| !self.covers(*filesystem, root));
        let lost =
            |at: &String| Problem::loses(ProblemKind::Namespace, what.clone(), phrase!("what is in it")).at(at.clone());
        hidden.map(|(.., at)| lost(at)).collect()
    }

    /// The record of a whole group, as far as it is known by now.
    pub fn record(&self) -> Mounts {
        let mounts = self.tables.first().cloned().unwrap_or_default();
        Mounts { filesystems: self.filesystems.clone(), mounts }
    }

    /// The mounts of each namespace.
    pub fn tables(&self) -> &[Vec<Mount>] {
        &self.tables
    }

    /// The filesystem on this device.
    pub fn filesystem_on(&self, device: (u32, u32)) -> Option<&Filesystem> {
        self.known.get(&device).map(|index| &self.filesystems[*index])
    }

    /// Reads the content that is found by a table into the image, among the mounts of that.
    pub fn read(&mut self, table: usize, sink: &PageSink, buffer: &mut PageBuffer) -> Result<(), Problem> {
        for source in self.sources.iter().filter(|source| source.table == table) {
            let entries = tree::capture(&source.place, sink, buffer)?;
            let tree = Tree { root: source.root.clone(), entries, removed: source.removed };
            self.filesystems[source.filesystem].trees.push(tree);
        }
        Ok(())
    }

    /// The filesystems, and the mounts of each namespace.
    pub fn into_parts(mut self) -> (Vec<Filesystem>, Vec<Vec<Mount>>) {
        // A folder above one that was removed comes with the rest.
        self.filesystems.iter_mut().for_each(|filesystem| filesystem.trees.sort_by_key(|tree| tree.removed));
        (self.filesystems, self.tables)
    }

    /// Reads the content into the image: of a whole group.
    pub fn capture(mut self, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Mounts, Problem> {
        self.read(0, sink, buffer)?;
        let (filesystems, mut tables) = self.into_parts();
        Ok(Mounts { filesystems, mounts: tables.pop().unwrap_or_default() })
    }
}

/// In which namespaces a filesystem was made; none: it shows what nobody sees there.
fn placed(kind: &str, mount: &Found, visible: bool, home: &Home<'_>) -> Result<Option<Place>, Phrase> {
    let Some(known) = home.pids else { return Ok(Some(Place::default())) };
    let own = home.place;
    Ok(Some(match kind {
        "proc" if !visible => return Ok(None),
        "proc" if !filesystem(kind, mount).options.is_empty() => {
            return Err(phrase!("a proc with options of its own is mounted there, which cannot be given back yet"));
        }
        "proc" => Place { pid: *known.get(&init_of(mount)?).ok_or_else(unpeopled)?, ..Place::default() },
        "sysfs" => Place { net: own.net, ..Place::default() },
        "mqueue" => Place { ipc: own.ipc, ..Place::default() },
        _ => Place { user: own.user, ..Place::default() },
    }))
}

fn unpeopled() -> Phrase {
    phrase!("a proc is mounted there that shows a pid namespace in which nobody of the group lives")
}

/// The pid namespace that a proc(5) shows, by the first process that it shows.
fn init_of(mount: &Found) -> Result<u64, Phrase> {
    if mount.root.as_slice() != b"/" {
        return Err(phrase!("a part of a proc is mounted there, without the rest of it"));
    }
    let link = std::fs::read_link(path(&mount.mount_point).join("1/ns/pid")).map_err(|_| unpeopled())?;
    crate::proc::ns::parse(link.as_os_str().as_bytes()).map(|link| link.inode).map_err(|_| unpeopled())
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
        place: Place::default(),
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
