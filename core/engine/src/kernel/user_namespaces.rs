//! User namespaces, user_namespaces(7): which is in which, whose they are, and how ids lead from one into another; ioctl_ns(2).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::clone::{Relation, fork_sharing};
use super::namespaces::Side;
use super::{Answer, Errno, checked, files};

const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;

fn asked(namespace: &impl AsFd, request: libc::c_ulong) -> Answer<OwnedFd> {
    // SAFETY: the request takes nothing and answers a new descriptor.
    let answer = checked(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request) }.into())?;
    // SAFETY: the descriptor has just been made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) })
}

/// The user namespace whose capabilities count in a namespace, NS_GET_USERNS.
pub fn owner(namespace: &impl AsFd) -> Answer<OwnedFd> {
    asked(namespace, 0xb701)
}

/// The user namespace that another one is in, NS_GET_PARENT. EPERM: none below our own.
pub fn parent(namespace: &impl AsFd) -> Answer<OwnedFd> {
    asked(namespace, 0xb702)
}

/// The user who has made a user namespace, NS_GET_OWNER_UID.
pub fn maker(namespace: &impl AsFd) -> Answer<u32> {
    const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;
    let mut user: libc::uid_t = 0;
    // SAFETY: the request writes one uid_t, which we hold.
    checked(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_OWNER_UID, &raw mut user) }.into())?;
    Ok(user)
}

/// Which namespace it is: its inode, the same for all that lead to it.
pub fn inode(namespace: &impl AsFd) -> Answer<u64> {
    files::stat(namespace).map(|found| found.st_ino)
}

/// This process is this user from now on, in all that counts, and keeps its capabilities.
pub fn become_user(user: u32, group: u32, groups: &[u32]) -> Answer<()> {
    // SAFETY: integers only.
    checked(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) }.into())?;
    // SAFETY: the kernel reads as many ids as the slice holds; this process has one thread.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: integers only; this process has one thread.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
    // SAFETY: integers only; this process has one thread.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }).map(drop)
}

/// This process lives in this user namespace from now on, with all capabilities in it and none outside.
pub fn enter(namespace: &impl AsFd) -> Answer<()> {
    setns(namespace, CloneFlags::CLONE_NEWUSER)
}

/// This process lives in a new user namespace from now on, whose maps are still empty.
pub fn part() -> Answer<()> {
    unshare(CloneFlags::CLONE_NEWUSER)
}

/// Writes how ids lead out of the user namespace of a process whose folder of proc(5) this is, each line as the kernel reads it: first id
/// inside, first one in the namespace around it, how many.
pub fn write_maps(folder: &Path, users: &str, groups: &str, may_set_groups: bool) -> std::io::Result<()> {
    let write = |name: &str, text: &str| {
        if text.is_empty() {
            return Ok(());
        }
        File::options().write(true).open(folder.join(name))?.write_all(text.as_bytes())
    };
    if !may_set_groups {
        write("setgroups", "deny")?;
    }
    write("gid_map", groups)?;
    write("uid_map", users)
}

/// Does something in a child of this process that shares its table of descriptors, and answers what it has opened there.
/// This process must have no other threads.
pub fn elsewhere(work: impl FnOnce() -> Answer<Vec<OwnedFd>>) -> Answer<Vec<OwnedFd>> {
    let (read, mut written) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
    match fork_sharing(Relation::Child)? {
        Side::Parent(child) => match wait(child)? {
            // All that it has said waits in the pipe.
            WaitStatus::Exited(_, 0) => answer(read),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
        Side::Child => {
            let said = work().and_then(|opened| {
                let opened: Vec<i32> = opened.into_iter().map(IntoRawFd::into_raw_fd).collect();
                let said = [opened.len() as i32].into_iter().chain(opened).flat_map(i32::to_ne_bytes);
                written.write_all(&said.collect::<Vec<u8>>()).map_err(|_| Errno::EPIPE)
            });
            leave(said.err().map_or(0, |errno| errno as i32))
        }
    }
}

fn answer(mut from: impl Read) -> Answer<Vec<OwnedFd>> {
    let mut number = || {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map_err(|_| Errno::ECHILD)?;
        Ok(i32::from_ne_bytes(bytes))
    };
    let count = number()?;
    // SAFETY: the child has opened it in the table that is ours too, forgot it, and told us the number.
    (0..count).map(|_| Ok(unsafe { OwnedFd::from_raw_fd(number()?) })).collect()
}

/// Ends this process, and runs nothing else in it.
pub fn leave(status: i32) -> ! {
    // SAFETY: integers only, and it does not return.
    unsafe { libc::_exit(status) }
}

/// Waits for a child of this process to end.
pub fn wait(child: nix::unistd::Pid) -> Answer<WaitStatus> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Waits for a child of this process that is to stop by itself.
pub fn wait_stopped(child: nix::unistd::Pid) -> Answer<()> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WUNTRACED)) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Stopped(..)) => return Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => return Err(Errno::from_raw(errno)),
            Ok(_) => return Err(Errno::ECHILD),
            Err(errno) => return Err(errno),
        }
    }
}
