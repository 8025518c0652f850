//! The network namespaces that processes are in, network_namespaces(7). What /proc lists of one is read by way of a process in
//! it; what only the kernel itself tells, of unix sockets, is asked from within.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dormouse_wire::Pid;

use super::connections::holdings::Holdings;
use crate::kernel::netlink::{self, UnixSocket};
use crate::kernel::{Answer, files};
use crate::proc::{self, ProcError, Unreadable};

/// How many others are entered.
const MOST: usize = 256;
/// How long that may take, all of them together.
const WITHIN: Duration = Duration::from_millis(500);

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its inode, as lsns(8) shows it.
    pub inode: u64,
    /// It is another than that of the caller.
    pub elsewhere: bool,
    /// The processes in it, as far as they may be looked into.
    pids: Vec<Pid>,
}

impl Network {
    /// Those that these processes are in.
    pub fn all<'a>(holdings: impl IntoIterator<Item = &'a Holdings>) -> Vec<Self> {
        let mut found: BTreeMap<u64, Vec<Pid>> = BTreeMap::new();
        for holding in holdings {
            if let Some(inode) = holding.network {
                found.entry(inode).or_default().push(holding.name.pid);
            }
        }
        let own = proc::ns::read(Pid(std::process::id() as i32), "net").map(|link| link.inode).ok();
        found.into_iter().map(|(inode, pids)| Self { inode, elsewhere: own != Some(inode), pids }).collect()
    }

    /// The lines of a list in /proc/PID/net; none where this kernel has no such list.
    pub fn listed<T>(&self, list: &str, parse: fn(&[u8]) -> Result<Vec<T>, Unreadable>) -> Vec<T> {
        let name = format!("net/{list}");
        let mut lists = self.pids.iter().map(|pid| proc::parsed(*pid, &name, parse));
        // Whoever has ended meanwhile shows nothing any more.
        let living = lists.find(|list| !matches!(list, Err(ProcError::Gone)));
        living.and_then(Result::ok).unwrap_or_default()
    }

    /// What stands behind the name of something that only this namespace knows by that name.
    pub fn mark(&self) -> String {
        if self.elsewhere { format!(" (network namespace {})", self.inode) } else { String::new() }
    }

    fn open(&self) -> Option<std::os::fd::OwnedFd> {
        let path = |pid: &Pid| proc::folder(*pid).join("ns/net");
        self.pids.iter().find_map(|pid| files::open(&path(pid), libc::O_RDONLY).ok())
    }
}

/// The unix sockets of each; those of a namespace that may not be entered are not known.
pub fn unix_sockets(networks: &[Network]) -> Vec<(&Network, UnixSocket)> {
    let (elsewhere, here): (Vec<_>, Vec<_>) = networks.iter().partition(|network| network.elsewhere);
    let doors = elsewhere.into_iter().take(MOST).filter_map(|network| Some((network, network.open()?)));
    let (entered, doors): (Vec<&Network>, Vec<_>) = doors.unzip();
    let answers = netlink::unix_sockets_of(&doors, Instant::now() + WITHIN);
    let own = here.into_iter().map(|network| (network, netlink::unix_sockets()));
    let all: Vec<(&Network, Answer<Vec<UnixSocket>>)> = own.chain(entered.into_iter().zip(answers)).collect();
    let told = |(network, sockets): (_, Answer<Vec<UnixSocket>>)| {
        sockets.unwrap_or_default().into_iter().map(move |socket| (network, socket))
    };
    all.into_iter().flat_map(told).collect()
}
