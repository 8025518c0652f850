//! What waits in the group's unix sockets, and the open files that are on their way in them (SCM_RIGHTS, unix(7)): such
//! a file belongs to the group even where no process has it open.

use std::cmp::Ordering;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use dormouse_wire::{FdNumber, Pid, Problem, ProblemKind, Tid, phrase};

use crate::kernel::{Answer, Errno, files, kcmp, netlink};
use crate::proc::{self, fdinfo};
use crate::resource::fd::unix::facts::{Sockets, Waiting, is_unix, kind};
use crate::resource::fd::unix::queue::{Seen, look};
use crate::resource::fd::{FileFacts, FileId, FilesFacts};

/// How closely the queues are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At everything, to take it along.
    Closely,
    /// So that nothing changes for the next look: an empty message that waits behind others can be seen only once, so that
    /// sockets of messages are left alone.
    Lightly,
}

/// So long it may take to ask all networks.
const WITHIN: Duration = Duration::from_millis(500);

/// Looks into all sockets, and into those that are found on their way. `networks`: further ones that the group has sockets in.
pub fn collect(found: &mut FilesFacts, how: Look, networks: &[OwnedFd]) -> Result<(), Problem> {
    if how == Look::Lightly {
        found.look_lightly();
    }
    if !found.files.iter().any(is_unix) {
        return Ok(());
    }
    let mut all = netlink::unix_sockets().map_err(|errno| {
        let what = phrase!(
            "the kernel does not tell of the unix sockets that are open (CONFIG_UNIX_DIAG): {why}",
            why = errno.desc()
        );
        Problem::blocks(ProblemKind::Kernel, what)
            .way_out(phrase!("Load the module unix_diag, or use a kernel that has it"))
    })?;
    // Of one that may not be entered, nothing is known: its sockets are refused.
    let further = netlink::unix_sockets_of(networks, Instant::now() + WITHIN);
    all.extend(further.into_iter().flatten().flatten());
    found.sockets = Sockets::new(all);
    let mut next = 0;
    while next < found.files.len() {
        let facts = &found.files[next];
        if is_unix(facts) && found.sockets.add(facts) {
            let id = facts.id;
            let seen = match (how, kind(facts)) {
                (Look::Lightly, kind) if kind != libc::SOCK_STREAM => Ok(Vec::new()),
                (_, kind) => look(&facts.file, kind),
            };
            let queue = seen.and_then(|seen| seen.into_iter().map(|one| message(one, id, found)).collect());
            found.sockets.queues.insert(id, queue);
        }
        next += 1;
    }
    Ok(())
}

fn message(seen: Seen, receiver: FileId, found: &mut FilesFacts) -> Answer<Waiting> {
    let files = seen.files.into_iter().map(|file| identify(file, receiver, found)).collect::<Answer<_>>()?;
    Ok(Waiting { bytes: seen.bytes, files, credentials: seen.credentials, from: seen.from })
}

/// Which open file of the group it is; one that is nowhere open is added.
fn identify(file: OwnedFd, receiver: FileId, found: &mut FilesFacts) -> Answer<FileId> {
    let own = Pid(std::process::id() as i32);
    let task = Tid(own.0);
    let number = FdNumber(file.as_raw_fd());
    let stat = files::stat(&file)?;
    for known in found.of_inode(&stat) {
        if kcmp::files((task, number), (task, FdNumber(known.file.as_raw_fd())))? == Ordering::Equal {
            return Ok(known.id);
        }
    }
    let link =
        std::fs::read_link(crate::kernel::procfs::path(format!("self/fd/{number}"))).map_err(|_| Errno::EBADF)?;
    let info = proc::parsed(own, &format!("fdinfo/{number}"), fdinfo::parse).map_err(|_| Errno::EBADF)?;
    let id = FileId(found.files.len());
    let receiver = &found.files[receiver.0];
    let facts = FileFacts {
        id,
        file: File::from(file),
        holders: Vec::new(),
        process: receiver.process.clone(),
        link: link.into_os_string().into_vec(),
        stat,
        info,
        locks: Vec::new(),
        owner: receiver.owner.clone(),
        mounts: None,
        tells_of: None,
    };
    found.files.push(facts);
    Ok(id)
}
