//! The displays of this machine as their sockets tell of them: sock_diag(7), and the folder `/tmp/.X11-unix`.
//!
//! Sockets of other network namespaces are not seen: a client in a sandbox without a network is known to the server only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use dormouse_wire::Pid;

use crate::kernel::netlink::{self, UnixSocket};
use crate::kernel::threads;
use crate::proc::{self, text};

/// Where servers listen, X(7).
const FOLDER: &str = "/tmp/.X11-unix";

/// The name of a display's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file in [`FOLDER`].
    File,
    /// An abstract name that looks like that file's, unix(7).
    Abstract,
}

/// What the sockets tell of a display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Where it can be found; the file comes first.
    pub places: BTreeSet<Place>,
    /// The inodes of the sockets that listen.
    pub listeners: BTreeSet<u32>,
    /// The inodes of the clients' sockets, also of those that wait to be let in.
    pub clients: BTreeSet<u32>,
}

/// The processes that hold a socket, by its inode.
pub type Holders = HashMap<u32, Vec<Pid>>;

impl Place {
    /// `sun_path` for a display.
    pub fn path(self, number: u32) -> Vec<u8> {
        match self {
            Self::File => format!("{FOLDER}/X{number}\0").into_bytes(),
            Self::Abstract => format!("\0{FOLDER}/X{number}").into_bytes(),
        }
    }

    /// For a person.
    pub fn shown(self, number: u32) -> String {
        match self {
            Self::File => format!("{FOLDER}/X{number}"),
            Self::Abstract => format!("@{FOLDER}/X{number}"),
        }
    }

    /// The display that has a socket with this `sun_path`.
    fn of(sun_path: &[u8]) -> Option<(Self, u32)> {
        let (place, name) = match sun_path {
            [0, name @ ..] => (Self::Abstract, name),
            path => (Self::File, path.strip_suffix(b"\0").unwrap_or(path)),
        };
        let name = name.strip_prefix(FOLDER.as_bytes())?.strip_prefix(b"/")?;
        Some((place, number(name)?))
    }
}

/// The display of a file in [`FOLDER`]: the number is as a server writes it.
fn number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"X")?;
    text::decimal::<u32>(digits).filter(|number| number.to_string().as_bytes() == digits)
}

/// All displays. False beside them: the kernel does not tell who listens, and the files in the folder are all there is.
pub fn find() -> (BTreeMap<u32, Sockets>, bool) {
    let table = netlink::unix_sockets();
    let told = table.is_ok();
    let mut found = displays(&table.unwrap_or_default());
    let files = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    for number in files.filter_map(|file| number(file.file_name().as_encoded_bytes())) {
        found.entry(number).or_default().places.insert(Place::File);
    }
    (found, told)
}

fn displays(table: &[UnixSocket]) -> BTreeMap<u32, Sockets> {
    let mut found: BTreeMap<u32, Sockets> = BTreeMap::new();
    for socket in table {
        let Some((place, number)) = socket.name.as_deref().and_then(Place::of) else { continue };
        let display = found.entry(number).or_default();
        display.places.insert(place);
        if socket.listens {
            display.listeners.insert(socket.inode);
        }
        // Whom a listening socket has accepted has the name of that socket.
        display.clients.extend(socket.waiting.iter().chain(&socket.peer).filter(|inode| **inode != 0));
    }
    found
}

/// Who holds these sockets, as far as it may be seen, proc_pid_fd(5).
pub fn holders(wanted: &HashSet<u32>) -> Holders {
    let mut holders = Holders::new();
    if wanted.is_empty() {
        return holders;
    }
    let pids = proc::list_pids().unwrap_or_default();
    for (pid, held) in pids.iter().zip(threads::each(&pids, |pid| held(*pid, wanted))) {
        for inode in held {
            holders.entry(inode).or_default().push(*pid);
        }
    }
    holders
}

/// Those of the wanted sockets that a process holds.
fn held(pid: Pid, wanted: &HashSet<u32>) -> BTreeSet<u32> {
    let inode = |number: dormouse_wire::FdNumber| {
        let link = proc::link(pid, &format!("fd/{number}")).ok()?;
        text::decimal::<u32>(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
    };
    let numbers = proc::list_fds(pid).unwrap_or_default();
    numbers.into_iter().filter_map(inode).filter(|inode| wanted.contains(inode)).collect()
}

/// A path of a process as that process sees it, by way of its root or of its working directory.
pub fn seen_by(pid: Pid, path: &[u8]) -> PathBuf {
    let base = if path.starts_with(b"/") { "root" } else { "cwd" };
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    proc::folder(pid).join(base).join(OsString::from_vec(path[start..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_are_told_by_the_names_of_their_sockets() {
        assert_eq!(Place::of(b"/tmp/.X11-unix/X0\0"), Some((Place::File, 0)));
        assert_eq!(Place::of(b"\0/tmp/.X11-unix/X4321"), Some((Place::Abstract, 4321)));
        for other in ["/tmp/.X11-unix/X", "/tmp/.X11-unix/X01", "/tmp/.X11-unix/X1_", "/tmp/.X11-unix/X-1", "/tmp/X1"] {
            assert_eq!(Place::of(other.as_bytes()), None, "{other}");
        }
        for place in [Place::File, Place::Abstract] {
            assert_eq!(Place::of(&place.path(25)), Some((place, 25)));
        }
    }

    #[test]
    fn clients_are_the_peers_of_what_was_accepted_and_those_who_wait() {
        let name = || Some(Place::File.path(3));
        let listener =
            UnixSocket { inode: 1, name: name(), listens: true, waiting: vec![0, 7], ..UnixSocket::default() };
        let accepted = UnixSocket { inode: 2, name: name(), peer: Some(8), ..UnixSocket::default() };
        let closed = UnixSocket { inode: 3, name: name(), peer: Some(0), ..UnixSocket::default() };
        let other = UnixSocket { inode: 4, peer: Some(5), ..UnixSocket::default() };
        let found = displays(&[listener, accepted, closed, other]);
        assert_eq!(found.len(), 1);
        assert_eq!((&found[&3].listeners, &found[&3].clients), (&BTreeSet::from([1]), &BTreeSet::from([7, 8])));
    }

    #[test]
    fn a_path_is_found_as_its_process_sees_it() {
        assert_eq!(seen_by(Pid(7), b"/run/auth"), PathBuf::from("/proc/7/root/run/auth"));
        assert_eq!(seen_by(Pid(7), b"auth"), PathBuf::from("/proc/7/cwd/auth"));
        assert_eq!(seen_by(Pid(7), b"//etc/x"), PathBuf::from("/proc/7/root/etc/x"));
    }
}
