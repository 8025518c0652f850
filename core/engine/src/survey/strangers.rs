//! Sockets of networks in which nobody of the group lives, network_namespaces(7): they would come back in another one.

use std::os::fd::AsFd;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::inner::way_out;
use crate::kernel::socket;
use crate::resource::fd::{FileFacts, FilesFacts};

/// Those of a group that lives in the engine's network, by their cookies (SO_NETNS_COOKIE, 5.14), which cost less than a look at the
/// network itself. On an older kernel nothing is seen of them.
pub fn look(files: &FilesFacts) -> Vec<Problem> {
    const SO_NETNS_COOKIE: i32 = 71;
    let cookie = |file: &dyn AsFd| socket::option_bytes(&file.as_fd(), SO_NETNS_COOKIE, 8).ok();
    let Some(own) = socket::unix(libc::SOCK_STREAM).ok().and_then(|fresh| cookie(&fresh)) else { return Vec::new() };
    let sockets = files.files.iter().filter(|file| file.file_type() == libc::S_IFSOCK);
    sockets.filter(|file| cookie(&file.file).is_some_and(|network| network != own)).map(problem).collect()
}

/// What such a socket stands in the way with.
pub fn problem(socket: &FileFacts) -> Problem {
    let what = phrase!("it belongs to a network namespace that no process of the group lives in");
    socket.problem(ProblemKind::Socket, what).way_out(way_out())
}
