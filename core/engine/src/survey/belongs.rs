//! Whether processes are a user's own, so that he may have their memory in a file: the rule by which the kernel lets one
//! process trace another, ptrace(2), "Ptrace access mode checking", without the exceptions for the mighty.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, Tid, phrase};

use super::files::OpenFiles;
use super::select;
use crate::Asker;
use crate::kernel::threads::each;
use crate::proc::stat::State;
use crate::proc::status::{self, Status};
use crate::proc::{self, ProcError};
use crate::resource::fd::network;

/// Says of the first process that is not the user's own what makes it so, and how many more there are.
pub fn all_to(asker: &Asker, members: &[Pid]) -> Result<(), Problem> {
    if asker.user == 0 {
        return Ok(());
    }
    let own = proc::link(Pid(std::process::id() as i32), "ns/user").ok();
    let found = each(members, |pid| Some((*pid, foreign(asker, *pid, own.as_deref())?)));
    let mut found = found.into_iter().flatten();
    let Some((pid, what)) = found.next() else { return Ok(()) };
    let what = match found.count() {
        0 => what,
        1 => phrase!("{what}; nor is one more process its user's alone", what),
        more => phrase!("{what}; nor are {more} more processes their user's alone", what, more),
    };
    let problem = Problem::blocks(ProblemKind::Privilege, what).of(&select::named(pid));
    Err(problem.way_out(phrase!("An administrator can do it: sudo dormouse freeze {pid}", pid)))
}

/// Sockets of the network that are more than this user could have back.
pub fn sockets(asker: Option<&Asker>, open: &OpenFiles) -> Vec<Problem> {
    let user = asker.map(|asker| asker.user).filter(|user| *user != 0);
    user.map_or_else(Vec::new, |user| network::beyond(user, &open.facts))
}

/// What makes a process more than the user's own.
fn foreign(asker: &Asker, pid: Pid, own: Option<&[u8]>) -> Option<Phrase> {
    let threads = match proc::list_threads(pid) {
        Ok(threads) => threads,
        Err(ProcError::Gone) => return None,
        Err(error) => return Some(phrase!("it cannot be told whose it is: {why}", why = error)),
    };
    threads.iter().find_map(|tid| foreign_thread(asker, pid, *tid, own)).or_else(|| misplaced(asker, pid))
}

/// What only somebody mightier can have run or been put into. It could not be woken for this user: see `thaw/trust.rs`.
fn misplaced(asker: &Asker, pid: Pid) -> Option<Phrase> {
    let folder = proc::folder(pid);
    if proc::link(pid, "root").is_ok_and(|root| root != b"/") {
        return Some(phrase!("it has a root directory of its own (chroot)"));
    }
    let lends = |found: std::fs::Metadata| found.mode() & (libc::S_ISUID | libc::S_ISGID) != 0;
    if std::fs::metadata(folder.join("exe")).is_ok_and(lends) {
        return Some(phrase!("it runs a program with rights of its own (set-user-ID)"));
    }
    let directory = PathBuf::from(OsString::from_vec(proc::link(pid, "cwd").ok()?));
    // One that has been removed is another matter, and so is one that is seen in its own mounts only.
    let is_there = directory.is_dir();
    let _acting = asker.acting().ok()?;
    let closed = |error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let refuses = is_there && std::fs::metadata(directory.join(".")).is_err_and(closed);
    refuses.then(|| phrase!("it is in {directory}, where its user cannot go", directory = directory.display()))
}

fn foreign_thread(asker: &Asker, pid: Pid, tid: Tid, own: Option<&[u8]>) -> Option<Phrase> {
    let status = match proc::parsed_thread(pid, tid, "status", status::parse) {
        Ok(status) => status,
        Err(ProcError::Gone) => return None,
        Err(error) => return Some(phrase!("it cannot be told whose it is: {why}", why = error)),
    };
    if let Some(what) = of_another(asker, &status) {
        return Some(what);
    }
    if matches!(status.state, State::Zombie | State::Dead) {
        return None;
    }
    let capabilities = status.capabilities.permitted | status.capabilities.inheritable | status.capabilities.ambient;
    // In a user namespace of its own it is mighty over nobody else.
    if capabilities != 0 && proc::link(pid, "ns/user").ok().as_deref() == own {
        return Some(phrase!("it has rights that its user has not (capabilities)"));
    }
    // Whatever is not dumpable belongs to root in /proc, proc_pid(5).
    match std::fs::metadata(proc::thread_folder(pid, tid).join("status")) {
        Ok(found) if found.uid() != asker.user => {
            Some(phrase!("it keeps its memory even from its own user (PR_SET_DUMPABLE), as programs with passwords do"))
        }
        _ => None,
    }
}

fn of_another(asker: &Asker, status: &Status) -> Option<Phrase> {
    let users = [status.uid.real, status.uid.effective, status.uid.saved, status.uid.filesystem];
    if let Some(user) = users.into_iter().find(|user| *user != asker.user) {
        return Some(phrase!("it has the rights of {named}", named = named(user)));
    }
    let groups = [status.gid.real, status.gid.effective, status.gid.saved, status.gid.filesystem];
    let group = groups.iter().chain(&status.groups).find(|group| !asker.has_group(**group))?;
    Some(phrase!("it has the rights of group {group}, which its user has not", group))
}

fn named(user: u32) -> Phrase {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(user)) {
        Ok(Some(found)) => found.name.into(),
        _ => phrase!("user {user}", user),
    }
}
