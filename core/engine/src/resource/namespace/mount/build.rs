//! The mounts made again, in a mount namespace that nobody else sees: every part of the outside is taken hold of, then the group's own
//! filesystems are made and filled, then all is put together, and becomes the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use nix::mount::MsFlags;
use serde_bytes::ByteBuf;

use super::{Filesystem, Mount, Mounts, Origin, path, relative};
use crate::image::{PageBuffer, Reader};
use crate::kernel::{Answer, Errno, files, mounts};
use crate::resource::named_file::shown;

fn failed(mount: &Mount, what: Phrase) -> impl Fn(Errno) -> Problem {
    let place = shown(path(&mount.mount_point));
    move |errno| {
        let what = phrase!("a mount cannot be made again: {what}: {why}", what, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).at(place.clone())
    }
}

fn unbegun(errno: Errno) -> Problem {
    let what = phrase!("the mounts of the group cannot be made again: {why}", why = errno.desc());
    Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
}

/// Makes all mounts in the mount namespace of this process, which must be its own, and makes their root its root.
pub fn build(record: &Mounts, reader: &Reader) -> Result<(), Problem> {
    mounts::keep_to_ourselves().map_err(unbegun)?;
    let mut taken = record.mounts.iter().map(of_outside).collect::<Result<Vec<_>, _>>()?;
    // As long as all paths of the outside are there, for an overlay lies over some.
    let filesystems = record.filesystems.iter().map(new).collect::<Result<Vec<_>, _>>()?;
    let bench = Bench::set_up().map_err(unbegun)?;
    let mut buffer = PageBuffer::for_reading();
    for (index, (filesystem, made)) in record.filesystems.iter().zip(&filesystems).enumerate() {
        bench.put(index, made).map_err(unmade(filesystem))?;
        for tree in &filesystem.trees {
            tree.restore(&mounts::reached_by(made.as_fd()), reader, &mut buffer)?;
        }
    }
    let mut made: Vec<OwnedFd> = Vec::with_capacity(record.mounts.len());
    for (mount, taken) in record.mounts.iter().zip(&mut taken) {
        let one = match (&mount.origin, taken.take()) {
            (Origin::Own { filesystem, root }, _) => {
                let part = mounts::below(&filesystems[*filesystem], &relative(root, b"/"));
                part.and_then(|part| mounts::duplicate(&part))
                    .map_err(failed(mount, phrase!("what is mounted is not there")))?
            }
            (Origin::Outside { .. }, Some(taken)) => taken,
            (Origin::Outside { .. }, None) => {
                return Err(failed(mount, phrase!("it was not taken hold of"))(Errno::EBADF));
            }
        };
        mounts::set_attributes(&one, mount.attributes).map_err(failed(mount, phrase!("its attributes")))?;
        if !mount.receives {
            mounts::set_propagation(&one, MsFlags::MS_PRIVATE).map_err(failed(mount, phrase!("how it spreads")))?;
        }
        let place = match mount.parent {
            None => bench.place("root").map_err(unbegun)?,
            Some(parent) => {
                let below = relative(&mount.mount_point, &record.mounts[parent].mount_point);
                mounts::below(&made[parent], &below).map_err(failed(mount, phrase!("there is no such place")))?
            }
        };
        mounts::attach(&one, &place).map_err(failed(mount, phrase!("it cannot be put there")))?;
        made.push(one);
    }
    let root = made.first().ok_or_else(|| unbegun(Errno::ENOENT))?;
    mounts::become_root(root).map_err(unbegun)?;
    for (mount, one) in record.mounts.iter().zip(&made).filter(|(mount, _)| mount.shares) {
        mounts::set_propagation(one, MsFlags::MS_SHARED).map_err(failed(mount, phrase!("how it spreads")))?;
    }
    Ok(())
}

fn of_outside(mount: &Mount) -> Result<Option<OwnedFd>, Problem> {
    let Origin::Outside { path: outside, file_type } = &mount.origin else { return Ok(None) };
    let found = files::open(path(outside), libc::O_PATH | libc::O_NOFOLLOW);
    let found = found.map_err(failed(mount, shown(path(outside)).into()))?;
    let stat = files::stat(&found).map_err(failed(mount, shown(path(outside)).into()))?;
    if stat.st_mode & libc::S_IFMT != *file_type {
        return Err(failed(mount, shown(path(outside)).into())(Errno::ENOTDIR));
    }
    mounts::duplicate(&found).map(Some).map_err(failed(mount, shown(path(outside)).into()))
}

/// A filesystem in memory on which the others stand while all is put together.
struct Bench(OwnedFd);

impl Bench {
    /// It covers a folder that is not needed any more.
    fn set_up() -> Answer<Self> {
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

    fn put(&self, index: usize, filesystem: &OwnedFd) -> Answer<()> {
        mounts::set_propagation(filesystem, MsFlags::MS_PRIVATE)?;
        mounts::attach(filesystem, &self.place(&index.to_string())?)
    }
}

fn unmade(record: &Filesystem) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let what =
            phrase!("a filesystem of type {kind} cannot be made again: {why}", kind = record.kind, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
    }
}

/// A filesystem, empty and attached nowhere.
fn new(record: &Filesystem) -> Result<OwnedFd, Problem> {
    let plain = |(key, value): &(ByteBuf, Option<ByteBuf>)| (key.to_vec(), value.as_ref().map(|value| value.to_vec()));
    let options: Vec<_> = record.options.iter().map(plain).collect();
    mounts::new_filesystem(&record.kind, &record.source, &options).map_err(unmade(record))
}
