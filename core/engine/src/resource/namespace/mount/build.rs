//! The mounts made again, in a mount namespace that nobody else sees: every part of the outside is taken hold of, then the group's own
//! filesystems are made and filled, then all is put together, and becomes the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use nix::mount::MsFlags;
use serde_bytes::ByteBuf;

use super::{Filesystem, Mount, Mounts, Origin, path, relative};
use crate::image::{PageBuffer, Reader};
use crate::kernel::identity::Making;
use crate::kernel::mounts::Recipe;
use crate::kernel::{Answer, Errno, files, mounts};
use crate::kernel::{namespaces, user_namespaces};
use crate::resource::named_file::shown;
use crate::resource::namespace::user::{self, UserNamespace};

/// What is said of a mount that cannot be made again.
pub fn failed(mount: &Mount, what: Phrase) -> impl Fn(Errno) -> Problem {
    let place = shown(path(&mount.mount_point));
    move |errno| {
        let what = phrase!("a mount cannot be made again: {what}: {why}", what, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).at(place.clone())
    }
}

/// What is said where nothing can be made.
pub fn unbegun(errno: Errno) -> Problem {
    let what = phrase!("the mounts of the group cannot be made again: {why}", why = errno.desc());
    Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
}

/// Makes all mounts in the mount namespace of this process, which must be its own, and makes their root its root.
pub fn build(record: &Mounts, owner: Option<&Owner<'_>>, reader: &Reader) -> Result<(), Problem> {
    mounts::keep_to_ourselves().map_err(unbegun)?;
    let take = |mount| of_outside(mount, owner.is_some());
    let mut taken = record.mounts.iter().map(take).collect::<Result<Vec<_>, _>>()?;
    // As long as all paths of the outside are there, for an overlay lies over some.
    let make = |record| owner.map_or_else(|| new(record), |owner| owner.make(record));
    let filesystems = record.filesystems.iter().map(make).collect::<Result<Vec<_>, _>>()?;
    let bench = Bench::set_up().map_err(unbegun)?;
    let mut buffer = PageBuffer::for_reading();
    for (index, (filesystem, made)) in record.filesystems.iter().zip(&filesystems).enumerate() {
        bench.put(index, made).map_err(unmade(filesystem))?;
        let somebody = owner.and_then(|owner| owner.record.somebody());
        fill(filesystem, made, somebody, (reader, &mut buffer))?;
    }
    let mut made: Vec<OwnedFd> = Vec::with_capacity(record.mounts.len());
    for (mount, taken) in record.mounts.iter().zip(&mut taken) {
        let one = match (&mount.origin, taken.take()) {
            (Origin::Own { filesystem, root }, _) => part(mount, &filesystems[*filesystem], root)?,
            (Origin::Outside { .. }, Some(taken)) => taken,
            (Origin::Outside { .. }, None) => {
                return Err(failed(mount, phrase!("it was not taken hold of"))(Errno::EBADF));
            }
        };
        dress(mount, &one)?;
        let place = match mount.parent {
            None => bench.place("root").map_err(unbegun)?,
            Some(parent) => place_on(mount, &record.mounts[parent], &made[parent])?,
        };
        mounts::attach(&one, &place).map_err(failed(mount, phrase!("it cannot be put there")))?;
        made.push(one);
    }
    for (filesystem, made) in record.filesystems.iter().zip(&filesystems) {
        remove_again(filesystem, made)?;
    }
    let root = made.first().ok_or_else(|| unbegun(Errno::ENOENT))?;
    mounts::become_root(root).map_err(unbegun)?;
    let Some(owner) = owner else { return spread(record, &made) };
    drop(made);
    owner.take_over().map_err(unbegun)?;
    spread_by_name(&record.mounts);
    Ok(())
}

/// A mount of its own of a part of a filesystem, which is mounted in the mount namespace of this thread.
pub fn part(mount: &Mount, filesystem: &OwnedFd, root: &[u8]) -> Result<OwnedFd, Problem> {
    let part = mounts::below(filesystem, &relative(root, b"/"));
    part.and_then(|part| mounts::duplicate(&part)).map_err(failed(mount, phrase!("what is mounted is not there")))
}

/// Gives a mount its attributes, before it is attached.
pub fn dress(mount: &Mount, one: &OwnedFd) -> Result<(), Problem> {
    mounts::set_attributes(one, mount.attributes).map_err(failed(mount, phrase!("its attributes")))?;
    if !mount.receives {
        mounts::set_propagation(one, MsFlags::MS_PRIVATE).map_err(failed(mount, phrase!("how it spreads")))?;
    }
    Ok(())
}

/// Where a mount stands on the one that it is mounted on.
pub fn place_on(mount: &Mount, parent: &Mount, made: &OwnedFd) -> Result<OwnedFd, Problem> {
    let below = relative(&mount.mount_point, &parent.mount_point);
    mounts::below(made, &below).map_err(failed(mount, phrase!("there is no such place")))
}

/// Lets those of the mounts of this thread spread what is mounted below them that did.
pub fn spread_by_name(mounts: &[Mount]) {
    let shared = mounts.iter().filter(|mount| mount.shares);
    let reached = shared.filter_map(|mount| files::open(path(&mount.mount_point), libc::O_PATH).ok());
    // One that is hidden has nobody to spread to.
    reached.for_each(|one| mounts::set_propagation(&one, MsFlags::MS_SHARED).unwrap_or_default());
}

/// Makes what is in a filesystem that this descriptor leads to; `somebody`: as whom, where it belongs to a user namespace.
pub fn fill(
    record: &Filesystem,
    filesystem: &OwnedFd,
    somebody: Option<(u32, u32)>,
    (reader, buffer): (&Reader, &mut PageBuffer),
) -> Result<(), Problem> {
    let somebody = somebody.filter(|_| record.is_its_makers());
    let _making = somebody.map(Making::begin).transpose().map_err(unmade(record))?;
    record.trees.iter().try_for_each(|tree| tree.restore(&mounts::reached_by(filesystem.as_fd()), reader, buffer))
}

/// Removes the names of those files that had none any more, once all are mounted.
pub fn remove_again(record: &Filesystem, filesystem: &OwnedFd) -> Result<(), Problem> {
    let place = mounts::reached_by(filesystem.as_fd());
    record.trees.iter().try_for_each(|tree| tree.remove_again(&place)).map_err(unmade(record))
}

/// Lets those spread what is mounted below them that did.
fn spread(record: &Mounts, made: &[OwnedFd]) -> Result<(), Problem> {
    for (mount, one) in record.mounts.iter().zip(made).filter(|(mount, _)| mount.shares) {
        mounts::set_propagation(one, MsFlags::MS_SHARED).map_err(failed(mount, phrase!("how it spreads")))?;
    }
    Ok(())
}

/// A mount of its own of what a mount shows of the outside, if it does.
///
/// `strictly`: the path must not lead through links that somebody who gains by it may have made since.
pub fn of_outside(mount: &Mount, strictly: bool) -> Result<Option<OwnedFd>, Problem> {
    let Origin::Outside { path: outside, file_type } = &mount.origin else { return Ok(None) };
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let found = if strictly { files::open_plainly(path(outside), flags) } else { files::open(path(outside), flags) };
    let found = found.map_err(failed(mount, shown(path(outside)).into()))?;
    let stat = files::stat(&found).map_err(failed(mount, shown(path(outside)).into()))?;
    if stat.st_mode & libc::S_IFMT != *file_type {
        return Err(failed(mount, shown(path(outside)).into())(Errno::ENOTDIR));
    }
    mounts::duplicate(&found).map(Some).map_err(failed(mount, shown(path(outside)).into()))
}

/// A filesystem in memory on which the others stand while all is put together.
#[derive(Debug)]
pub struct Bench(OwnedFd);

impl Bench {
    /// It covers a folder that is not needed any more.
    pub fn set_up() -> Answer<Self> {
        let bench = mounts::new_filesystem("tmpfs", b"", &[])?;
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let mut places = ["/tmp", "/var", "/mnt", "/usr"].into_iter();
        let place = places.find_map(|place| files::open(Path::new(place), flags).ok()).ok_or(Errno::ENOENT)?;
        mounts::attach(&bench, &place)?;
        Ok(Self(bench))
    }

    fn place(&self, name: &str) -> Answer<OwnedFd> {
        let place = mounts::reached_by(self.0.as_fd()).join(name);
        nix::unistd::mkdir(&place, nix::sys::stat::Mode::S_IRWXU)?;
        files::open(&place, libc::O_PATH | libc::O_DIRECTORY)
    }

    /// Puts a filesystem on it.
    pub fn put(&self, index: usize, filesystem: &OwnedFd) -> Answer<()> {
        mounts::set_propagation(filesystem, MsFlags::MS_PRIVATE)?;
        mounts::attach(filesystem, &self.place(&index.to_string())?)
    }
}

/// What is said of a filesystem that cannot be made again.
pub fn unmade(record: &Filesystem) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let what =
            phrase!("a filesystem of type {kind} cannot be made again: {why}", kind = record.kind, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
    }
}

/// The user namespace that is mighty over the mounts.
#[derive(Debug)]
pub struct Owner<'a> {
    /// Its record.
    pub record: &'a UserNamespace,
    /// It.
    pub namespace: &'a OwnedFd,
    /// User and group outside who have made it.
    pub maker: (u32, u32),
}

impl Owner<'_> {
    /// A filesystem that belongs to it, empty and attached nowhere. That of some kinds is told by another namespace.
    fn make(&self, record: &Filesystem) -> Result<OwnedFd, Problem> {
        if !record.is_its_makers() {
            return new(record);
        }
        let recipe = recipe(record, Some(self.record))?;
        let made = user_namespaces::elsewhere(|| {
            user_namespaces::become_user(self.maker.0, self.maker.1, &[])?;
            user_namespaces::enter(self.namespace)?;
            namespaces::part_with(&["mnt"])?;
            Ok(vec![recipe.make()?])
        });
        made.and_then(|mut made| made.pop().ok_or(Errno::ECHILD)).map_err(unmade(record))
    }

    /// All mounts of this process from now on belong to it, in a copy in which nobody but root outside can take apart what was put together
    /// here, mount_namespaces(7), "Restrictions on mount namespaces".
    fn take_over(&self) -> Answer<()> {
        let mut copy = user_namespaces::elsewhere(|| {
            user_namespaces::enter(self.namespace)?;
            namespaces::part_with(&["mnt"])?;
            Ok(vec![files::open(Path::new("/proc/self/ns/mnt"), libc::O_RDONLY)?])
        })?;
        let copy = copy.pop().ok_or(Errno::ECHILD)?;
        user::keep_unlocked(files::open(Path::new("/proc/self/ns/mnt"), libc::O_RDONLY)?);
        namespaces::enter_mounts(&copy)?;
        user::keep_mounts(copy);
        Ok(())
    }
}

/// A filesystem, empty and attached nowhere.
pub fn new(record: &Filesystem) -> Result<OwnedFd, Problem> {
    recipe(record, None)?.make().map_err(unmade(record))
}

/// How a filesystem is made; `within`: by somebody in this user namespace. Ids in options are shown as they are called outside, and taken as
/// they are called inside.
pub fn recipe(record: &Filesystem, within: Option<&UserNamespace>) -> Result<Recipe, Problem> {
    let plain = |(key, value): &(ByteBuf, Option<ByteBuf>)| {
        let extents = match (key.as_slice(), within) {
            (b"uid", Some(within)) => &within.users,
            (b"gid", Some(within)) => &within.groups,
            _ => return Ok((key.to_vec(), value.as_ref().map(|value| value.to_vec()))),
        };
        let id = value.as_ref().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let id = id.and_then(|id| user::inside(extents, id)).ok_or_else(|| unmade(record)(Errno::EOVERFLOW))?;
        Ok((key.to_vec(), Some(id.to_string().into_bytes())))
    };
    let options = record.options.iter().map(plain).collect::<Result<Vec<_>, Problem>>()?;
    Recipe::of(&record.kind, &record.source, &options).map_err(unmade(record))
}
