//! Files that can be made only when the processes are there, such as handles on them: each process takes them from the
//! engine, under the numbers they have there, pidfd_getfd(2). Those in a user namespace of their own may not look into the engine: they
//! are sent them, unix(7).

use std::os::fd::{AsRawFd, OwnedFd};

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::inner::InnerMade;
use super::objects::Objects;
use super::tree::{Built, Tree};
use crate::ThawOptions;
use crate::arguments;
use crate::image::Reader;
use crate::kernel::{Errno, files, socket};
use crate::puppet::{Batch, Slot};
use crate::resource::group::{Group, Process};
use crate::resource::namespace::user;

/// How files come to processes that may not look into the engine: the end of the engine, and theirs, which they inherit.
#[derive(Debug)]
pub struct Way(Option<(OwnedFd, OwnedFd)>);

impl Way {
    /// Opens it where it is needed, before any process is there.
    pub fn open(objects: &Objects, group: &Group) -> Result<Self, Problem> {
        // Whoever lives among other pids does not find the engine by its own.
        let finds_it = |process: &Process| process.place.user.is_none() && process.place.pid.is_none();
        if user::made().is_none() && group.processes.iter().all(finds_it) {
            return Ok(Self(None));
        }
        let raised = |file: &OwnedFd| files::duplicate_above(file, objects.base);
        let pair = socket::unix_pair(libc::SOCK_STREAM).map(socket::taken_over);
        let pair = pair.and_then(|(ours, theirs)| Ok((raised(&ours)?, raised(&theirs)?)));
        let unopened = |errno: Errno| {
            let what = phrase!("files cannot be handed to the group: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Limit, what)
        };
        Ok(Self(Some(pair.map_err(unopened)?)))
    }
}

/// Makes them, and gives them to everybody.
pub fn restore(
    tree: &mut Tree,
    group: &Group,
    objects: &mut Objects,
    reader: &Reader,
    inner: &InnerMade,
    options: &ThawOptions,
    way: &Way,
) -> Result<(), Problem> {
    let alive = group.processes.iter().filter_map(Process::alive).flat_map(|alive| &alive.threads);
    let leaders = group.processes.iter().map(|process| process.pid().leader());
    let threads = alive.map(|thread| thread.tid).chain(leaders).collect();
    let late = objects.make_late(group, reader, (options, inner), &threads)?;
    if late.is_empty() {
        return Ok(());
    }
    if let Some((ours, theirs)) = &way.0 {
        let built = tree.built.iter_mut().flatten();
        return built.into_iter().try_for_each(|built| send(built, &late, (ours, theirs)));
    }
    let engine = std::process::id();
    for built in tree.built.iter_mut().flatten() {
        let mut batch = Batch::new();
        let handle = batch.must("take files from the engine", libc::SYS_pidfd_open, arguments![engine, 0]);
        for number in &late {
            let taken =
                batch.must("take a file from the engine", libc::SYS_pidfd_getfd, arguments![handle, *number, 0]);
            batch.must("put it in its place", libc::SYS_dup3, arguments![taken, *number, libc::O_CLOEXEC]);
        }
        built.run(&mut batch)?;
    }
    Ok(())
}

/// So many are on their way at the same time.
const AT_ONCE: usize = 64;

/// Sends files to a process, one with each byte.
fn send(built: &mut Built, files: &[i32], (ours, theirs): (&OwnedFd, &OwnedFd)) -> Result<(), Problem> {
    for files in files.chunks(AT_ONCE) {
        for file in files {
            socket::send(ours, b"f", &[*file], None, None).map_err(|errno| {
                let what = phrase!("a file cannot be sent to it: {why}", why = errno.desc());
                Problem::blocks(ProblemKind::Process, what).of(&built.shown)
            })?;
        }
        let mut batch = Batch::new();
        let received: Vec<Slot> = files.iter().map(|_| receive(theirs, &mut batch)).collect();
        built.run(&mut batch)?;
        let mut places = Batch::new();
        for (file, control) in files.iter().zip(received) {
            let taken = batch.read_u32(control, HEADER);
            places.must("put a file in its place", libc::SYS_dup3, arguments![taken, *file, libc::O_CLOEXEC]);
            places.must("close the other one", libc::SYS_close, arguments![taken]);
        }
        built.run(&mut places)?;
    }
    Ok(())
}

/// The length of struct cmsghdr, behind which the number stands.
const HEADER: usize = 16;

/// Receives a file; answers where struct cmsghdr and its number will be.
fn receive(socket: &OwnedFd, batch: &mut Batch) -> Slot {
    // struct msghdr: name and its length, parts and their number, control and its length, flags.
    const PARTS: usize = 16;
    const CONTROL: usize = 32;
    let (byte, control) = (batch.space(1), batch.space(HEADER + 8));
    let part = batch.bytes(&[0_u64, 1].map(u64::to_ne_bytes).concat());
    batch.point(part, 0, byte);
    let header = batch.bytes(&[0_u64, 0, 0, 1, 0, HEADER as u64 + 8, 0].map(u64::to_ne_bytes).concat());
    batch.point(header, PARTS, part);
    batch.point(header, CONTROL, control);
    let flags = libc::MSG_CMSG_CLOEXEC;
    batch.must("receive a file from the engine", libc::SYS_recvmsg, arguments![socket.as_raw_fd(), header, flags]);
    control
}
