//! Mount namespaces that only some members live in, put together in a workshop: a copy of the mounts of the engine that only this thread
//! sees, on which the filesystems of all of them are made and filled, and from which they are copied one after the other. What shows the
//! processes in a pid namespace within the group is put in its place when somebody lives there.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dormouse_wire::{Problem, phrase};
use serde_bytes::ByteBuf;

use super::inner::{InnerMade, first_group};
use crate::ThawOptions;
use crate::image::{PageBuffer, Reader};
use crate::kernel::among::{Standpoint, among};
use crate::kernel::inner_namespaces::Maid;
use crate::kernel::{Answer, Errno, files, mounts, namespaces};
use crate::resource::fd::path_of;
use crate::resource::group::Group;
use crate::resource::namespace::inner;
use crate::resource::namespace::mount::build::{
    Bench, dress, failed, fill, new, of_outside, part, place_on, recipe, remove_again, spread_by_name, unbegun, unmade,
};
use crate::resource::namespace::mount::{Filesystem, Mount, Origin, Table};
use crate::resource::namespace::user::{self, UserNamespace};

/// A copy of the mounts of the engine.
struct Workshop {
    outside: Standpoint,
    inside: Standpoint,
}

impl Workshop {
    /// This thread goes there.
    fn open() -> Answer<Self> {
        let outside = Standpoint::here()?;
        // Of mounts that belong to a user namespace nobody gets a part alone where others stand on it.
        let opened = user::unlocked().map_or(Ok(()), namespaces::enter_mounts);
        let opened = opened.and_then(|()| namespaces::part_with(&["mnt"]));
        let opened = opened.and_then(|()| mounts::keep_to_ourselves()).and_then(|()| Standpoint::here());
        match opened {
            Ok(inside) => Ok(Self { outside, inside }),
            Err(errno) => {
                outside.go_back()?;
                Err(errno)
            }
        }
    }

    /// Works in one, and leaves it, whatever has come of that.
    fn work<T>(work: impl FnOnce(&Self) -> Result<T, Problem>) -> Result<T, Problem> {
        let workshop = Self::open().map_err(unbegun)?;
        let done = work(&workshop);
        workshop.outside.go_back().map_err(unbegun)?;
        done
    }
}

fn table<'a>(group: &'a Group, mounts: &'a [Mount]) -> Table<'a> {
    Table { filesystems: &group.mounted, mounts }
}

fn tables(group: &Group) -> impl Iterator<Item = (usize, Table<'_>)> {
    let all = group.inner.iter().enumerate().filter(|(_, inner)| inner.kind == "mnt");
    all.map(|(index, inner)| (index, table(group, &inner.mounts)))
}

/// What of the outside is missing.
pub fn preflight(group: &Group) -> Vec<Problem> {
    let all = tables(group).map(|(_, table)| {
        table.mounts.iter().filter(|mount| mount.terminal().is_none() && !mount.is_socket()).cloned()
    });
    all.flat_map(|mounts| Table { filesystems: &group.mounted, mounts: &mounts.collect::<Vec<_>>() }.preflight())
        .collect()
}

/// A mount with what takes the place of a terminal outside: that of the thaw, or none.
fn at_terminal(mount: &Mount, terminal: Option<&Path>) -> Mount {
    let mut led = mount.clone();
    if mount.terminal().is_some() {
        let terminal = terminal.unwrap_or(Path::new("/dev/null"));
        led.moved(|path| *path = ByteBuf::from(terminal.as_os_str().as_bytes()));
    }
    led
}

/// What there is to be mounted, by the places in a table; none of what shows a pid namespace within the group.
type Parts = Vec<Option<OwnedFd>>;

/// The mount namespaces of a group, by their places in the list.
#[derive(Debug, Default)]
pub struct MountsMade {
    /// Each of them.
    pub namespaces: BTreeMap<usize, OwnedFd>,
    /// What is to be put in its place late.
    late: BTreeMap<usize, Parts>,
}

/// Makes all of them but for what comes late.
pub fn make(
    group: &Group,
    (reader, options): (&Reader, &ThawOptions),
    inner: &InnerMade,
) -> Result<MountsMade, Problem> {
    if tables(group).next().is_none() {
        return Ok(MountsMade::default());
    }
    Workshop::work(|workshop| {
        // As long as all paths of the outside are there.
        let take = |mount: &Mount| {
            let terminal = options.terminal.as_deref();
            if mount.is_socket() { Ok(None) } else { of_outside(&at_terminal(mount, terminal), true) }
        };
        let taken = tables(group).map(|(_, table)| table.mounts.iter().map(take).collect());
        let taken = taken.collect::<Result<Vec<Parts>, Problem>>()?;
        let filesystems = filesystems(group, inner)?;
        let bench = Bench::set_up().map_err(unbegun)?;
        let mut buffer = PageBuffer::for_reading();
        for (number, (record, made)) in group.mounted.iter().zip(&filesystems).enumerate() {
            let Some(made) = made else { continue };
            bench.put(number, made).map_err(unmade(record))?;
            let somebody = owner(group, record).and_then(UserNamespace::somebody);
            fill(record, made, somebody, (reader, &mut buffer))?;
        }
        let mut all = MountsMade::default();
        for ((index, table), mut parts) in tables(group).zip(taken) {
            for (mount, made) in table.mounts.iter().zip(&mut parts) {
                let Origin::Own { filesystem, root } = &mount.origin else { continue };
                let whole = filesystems.get(*filesystem).and_then(Option::as_ref);
                *made = whole.map(|whole| part(mount, whole, root)).transpose()?;
            }
            let mut early: Parts = table.mounts.iter().map(|_| None).collect();
            for ((early, part), late) in early.iter_mut().zip(&mut parts).zip(table.late()) {
                *early = part.take_if(|_| !late);
            }
            all.namespaces.insert(index, one(workshop, table.mounts, early, group.inner[index].owner, inner)?);
            all.late.insert(index, parts);
        }
        for (record, made) in group.mounted.iter().zip(&filesystems) {
            made.as_ref().map_or(Ok(()), |made| remove_again(record, made))?;
        }
        Ok(all)
    })
}

/// The user namespace that a filesystem belongs to.
fn owner<'a>(group: &'a Group, record: &Filesystem) -> Option<&'a UserNamespace> {
    let owner = record.place.user.filter(|_| record.is_its_makers());
    match owner {
        Some(owner) => group.inner.get(owner)?.users.as_ref(),
        None => user::made().and_then(|made| made.home()).map(|(users, _)| users).filter(|_| record.is_its_makers()),
    }
}

/// The filesystems, attached nowhere; none of what comes late.
fn filesystems(group: &Group, inner: &InnerMade) -> Result<Parts, Problem> {
    let make = |record: &Filesystem| {
        let place = record.place;
        if place.pid.is_some() {
            return Ok(None);
        }
        let seen = [("net", place.net), ("ipc", place.ipc)].into_iter().find_map(|(kind, index)| Some((kind, index?)));
        if let Some((kind, namespace)) = seen.and_then(|(kind, index)| Some((kind, inner.namespace(index)?))) {
            let made = namespaces::visit(namespace, kind, || new(record));
            return made.map_err(|errno| inner::unmade(kind, errno))?.map(Some);
        }
        let home = user::made().and_then(user::Made::home).map(|(_, home)| home);
        let within = place.user.map_or(home, |index| inner.namespace(index));
        match owner(group, record).zip(within) {
            None => new(record).map(Some),
            Some((users, within)) => {
                let recipe = recipe(record, Some(users))?;
                let made = Maid::filesystem(&recipe, within, (users.maker, first_group(users), &[]));
                made.map(Some).map_err(unmade(record))
            }
        }
    };
    group.mounted.iter().map(make).collect()
}

/// One namespace, a copy of the workshop in which this thread is: all that is to be mounted in it, and nothing else.
fn one(
    workshop: &Workshop,
    table: &[Mount],
    parts: Parts,
    owner: Option<usize>,
    inner: &InnerMade,
) -> Result<OwnedFd, Problem> {
    let home = user::made().and_then(user::Made::home).map(|(_, home)| home);
    let within = owner.map_or(home, |owner| inner.namespace(owner));
    namespaces::part_with(&["mnt"]).map_err(unbegun)?;
    let maid = assemble(table, parts).and_then(|()| Maid::stay(within).map_err(unbegun));
    workshop.inside.go_back().map_err(unbegun)?;
    let made = maid?.open("mnt").map_err(unbegun)?;
    among(&made, || spread_by_name(table)).map_err(unbegun)?;
    Ok(made)
}

fn assemble(table: &[Mount], parts: Parts) -> Result<(), Problem> {
    let mut made: Parts = Vec::with_capacity(table.len());
    for (mount, part) in table.iter().zip(parts) {
        if let Some(part) = &part {
            dress(mount, part)?;
            let place = match mount.parent {
                None => files::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY).map_err(unbegun)?,
                Some(parent) => {
                    let above = made.get(parent).and_then(Option::as_ref);
                    let above = above.ok_or_else(|| failed(mount, phrase!("there is no such place"))(Errno::ENOENT))?;
                    place_on(mount, &table[parent], above)?
                }
            };
            mounts::attach(part, &place).map_err(failed(mount, phrase!("it cannot be put there")))?;
        }
        made.push(part);
    }
    let root = made.first().and_then(Option::as_ref).ok_or_else(|| unbegun(Errno::ENOENT))?;
    mounts::leave_old_root(root).map_err(unbegun)
}

impl MountsMade {
    /// Puts what comes late in its place: `procs`, by the pid namespaces that they show.
    pub fn complete(&self, group: &Group, inner: &InnerMade, procs: &BTreeMap<usize, OwnedFd>) -> Result<(), Problem> {
        let waits = |(_, table): &(usize, Table<'_>)| table.late().contains(&true);
        let waiting: Vec<_> = tables(group).filter(waits).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let shown = |mount: &Mount| match &mount.origin {
            Origin::Own { filesystem, root } => {
                let pids = group.mounted.get(*filesystem).and_then(|record| record.place.pid);
                pids.and_then(|pids| procs.get(&pids)).map(|proc| part(mount, proc, root)).transpose()
            }
            Origin::Outside { .. } => Ok(None),
        };
        let socket = |mount: &Mount| if mount.is_socket() { of_outside(mount, true) } else { Ok(None) };
        let parts = Workshop::work(|_| {
            // As long as all paths of the outside are there.
            let sockets = waiting.iter().map(|(_, table)| table.mounts.iter().map(socket).collect());
            let sockets = sockets.collect::<Result<Vec<Parts>, Problem>>()?;
            let bench = Bench::set_up().map_err(unbegun)?;
            for (pids, proc) in procs {
                bench.put(*pids, proc).map_err(|errno| inner::unmade("pid", errno))?;
            }
            let all = waiting.iter().zip(sockets).map(|((_, table), sockets)| {
                let all = table.mounts.iter().zip(sockets);
                all.map(|(mount, socket)| Ok(shown(mount)?.or(socket))).collect()
            });
            all.collect::<Result<Vec<Parts>, Problem>>()
        })?;
        for ((index, table), shown) in waiting.into_iter().zip(parts) {
            let (Some(namespace), Some(others)) = (inner.namespace(index), self.late.get(&index)) else { continue };
            let parts = shown.iter().zip(others).map(|(one, other)| one.as_ref().or(other.as_ref()));
            among(namespace, || put_late(table.mounts, parts)).map_err(unbegun)??;
        }
        Ok(())
    }
}

/// In their order: each stands on one before it, and is found by its name.
fn put_late<'a>(table: &[Mount], parts: impl Iterator<Item = Option<&'a OwnedFd>>) -> Result<(), Problem> {
    for (mount, part) in table.iter().zip(parts) {
        let Some(part) = part else { continue };
        dress(mount, part)?;
        let place = files::open_plainly(&path_of(&mount.mount_point), libc::O_PATH | libc::O_NOFOLLOW);
        let place = place.map_err(failed(mount, phrase!("there is no such place")))?;
        mounts::attach(part, &place).map_err(failed(mount, phrase!("it cannot be put there")))?;
    }
    spread_by_name(table);
    Ok(())
}
