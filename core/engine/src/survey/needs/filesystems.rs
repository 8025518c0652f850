//! The mounts on which the files of a group lie. Which mount a file was reached by, the kernel tells itself (statx(2)); what that
//! mount is, the mountinfo of whoever sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use dormouse_wire::needs::{File, Filesystem, Use};
use dormouse_wire::{Pid, ProcessName};

use super::super::connections::holdings::{Holdings, Target};
use crate::kernel::files::{self, Place};
use crate::kernel::{Answer, Errno};
use crate::proc::maps::{Mapping, MappingName, parse_maps};
use crate::proc::mountinfo::{self, Mount};
use crate::proc::{self, strip_deleted};
use crate::resource::fd::shown_bytes;

/// Filesystems that the kernel makes up: every system has them, and they hold no files of anybody's.
const MADE_UP: [&[u8]; 19] = [
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"efivarfs",
    b"fusectl",
    b"mqueue",
    b"nsfs",
    b"proc",
    b"pstore",
    b"securityfs",
    b"selinuxfs",
    b"sysfs",
    b"tracefs",
];

/// A file that is used: its path and the mount by which it was reached.
type Key = (u64, Vec<u8>);

#[derive(Default)]
struct Used {
    uses: BTreeSet<Use>,
    processes: BTreeSet<ProcessName>,
}

/// The mounts, with the files of these processes on each.
pub fn of(own: &[&Holdings]) -> Vec<Filesystem> {
    let mut found = Found::default();
    for holding in own {
        found.look(holding);
    }
    let mounts = Mounts::seen_by(own);
    let mut filesystems: BTreeMap<u64, Filesystem> = BTreeMap::new();
    for ((id, path), used) in found.0 {
        let mount = mounts.by_id.get(&id);
        if mount.is_some_and(|mount| MADE_UP.contains(&mount.filesystem.as_slice())) {
            continue;
        }
        let place = filesystems.entry(id).or_insert_with(|| mounts.filesystem(id));
        let processes = used.processes.into_iter().collect();
        place.files.push(File { path: shown_bytes(&path), uses: used.uses.into_iter().collect(), processes });
    }
    let mut filesystems: Vec<Filesystem> = filesystems.into_values().collect();
    filesystems.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
    filesystems
}

#[derive(Default)]
struct Found(BTreeMap<Key, Used>);

impl Found {
    fn look(&mut self, holding: &Holdings) {
        let pid = holding.name.pid;
        for descriptor in &holding.descriptors {
            if let Target::Path(path, Some(place)) = &descriptor.target {
                let does = if descriptor.access.1 { Use::OpenForWriting } else { Use::Open };
                self.add(path, place, does, &holding.name);
            }
        }
        for (name, does) in [("exe", Use::Program), ("cwd", Use::WorkingDirectory), ("root", Use::Root)] {
            if let (Ok(path), Ok(place)) = (proc::link(pid, name), files::place(&proc::folder(pid).join(name))) {
                self.add(&path, &place, does, &holding.name);
            }
        }
        let program = files::identity(&proc::folder(pid).join("exe")).ok();
        for ((path, does), mapping) in mapped(pid) {
            // Root, and who has CAP_CHECKPOINT_RESTORE, may follow this link; others ask for what has that name now.
            let link = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
            let link = files::place(&proc::folder(pid).join(link));
            let Ok(place) = link.or_else(|_| by_name(pid, &path, &mapping)) else { continue };
            if does == Use::MappedForWriting || program != Some((place.device, place.inode)) {
                self.add(&path, &place, does, &holding.name);
            }
        }
    }

    fn add(&mut self, path: &[u8], place: &Place, does: Use, process: &ProcessName) {
        // A file that has no name any more is on no mount for anybody; so are memfd_create(2) and shmget(2).
        let is_gone = strip_deleted(path).1 && place.names == 0;
        if is_gone || !matches!(place.file_type, libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK | libc::S_IFIFO) {
            return;
        }
        let used = self.0.entry((place.mount, path.to_vec())).or_default();
        used.uses.insert(does);
        used.processes.insert(process.clone());
    }
}

/// The files that a process maps, each with what it does with them, and one mapping of each.
fn mapped(pid: Pid) -> HashMap<(Vec<u8>, Use), Mapping> {
    let mut files: HashMap<Vec<u8>, (BTreeSet<Use>, Mapping)> = HashMap::new();
    for mapping in proc::parsed(pid, "maps", parse_maps).unwrap_or_default() {
        let MappingName::File(path) = &mapping.name else { continue };
        if !path.starts_with(b"/") || mapping.inode == 0 {
            continue;
        }
        let does = match (mapping.shared && mapping.write, mapping.execute) {
            (true, _) => Use::MappedForWriting,
            (false, true) => Use::Library,
            (false, false) => Use::Mapped,
        };
        files.entry(path.clone()).or_insert_with(|| (BTreeSet::new(), mapping.clone())).0.insert(does);
    }
    let of_one = |(path, (mut uses, mapping)): (Vec<u8>, (BTreeSet<Use>, Mapping))| {
        // The data of a library is mapped beside its code.
        if uses.contains(&Use::Library) {
            uses.remove(&Use::Mapped);
        }
        uses.into_iter().map(move |does| ((path.clone(), does), mapping.clone())).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of_one).collect()
}

/// What has this name for a process, if that is what it maps.
fn by_name(pid: Pid, path: &[u8], mapping: &Mapping) -> Answer<Place> {
    use std::os::unix::ffi::OsStrExt;
    let below = path.strip_prefix(b"/").unwrap_or(path);
    let path: PathBuf = proc::folder(pid).join("root").join(std::ffi::OsStr::from_bytes(below));
    let place = files::place(&path)?;
    if place.inode == mapping.inode { Ok(place) } else { Err(Errno::ENOENT) }
}

/// The mounts that somebody of the group sees, or the caller.
struct Mounts {
    by_id: HashMap<u64, Mount>,
    /// Those that somebody of the group sees.
    seen: HashSet<u64>,
    /// Those in the caller's mount namespace.
    ours: HashSet<u64>,
}

impl Mounts {
    fn seen_by(own: &[&Holdings]) -> Self {
        let ourselves = Pid(std::process::id() as i32);
        let mut mounts = Self { by_id: HashMap::new(), seen: HashSet::new(), ours: HashSet::new() };
        // Whoever has another root sees other mounts, and by other names.
        let mut views = HashSet::new();
        for pid in own.iter().map(|holding| holding.name.pid).chain([ourselves]) {
            if !views.insert((proc::link(pid, "ns/mnt").ok(), proc::link(pid, "root").ok(), pid == ourselves)) {
                continue;
            }
            for mount in proc::parsed(pid, "mountinfo", mountinfo::parse).unwrap_or_default() {
                let id = mount.id as u64;
                if pid == ourselves { &mut mounts.ours } else { &mut mounts.seen }.insert(id);
                mounts.by_id.entry(id).or_insert(mount);
            }
        }
        mounts
    }

    fn filesystem(&self, id: u64) -> Filesystem {
        let mount = self.by_id.get(&id);
        let shown = |field: fn(&Mount) -> &[u8]| mount.map(|mount| shown_bytes(field(mount))).unwrap_or_default();
        Filesystem {
            mount_point: self.seen.contains(&id).then(|| shown(|mount| &mount.mount_point)),
            source: shown(|mount| &mount.source),
            kind: shown(|mount| &mount.filesystem),
            subtree: shown(|mount| &mount.root),
            elsewhere: !self.ours.contains(&id),
            files: Vec::new(),
        }
    }
}
