//! The unix sockets of a network namespace, as sock_diag(7) tells of them (NETLINK_SOCK_DIAG, `unix_diag`): unlike
//! proc_net_unix(5) it says who is connected to whom, and who waits to be accepted. CONFIG_UNIX_DIAG.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Instant;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::message::{attributes, half, word};
use super::{Answer, Errno};

/// A unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its inode, as in `socket:[…]`.
    pub inode: u32,
    /// Where it is bound: `sun_path` as the kernel has it.
    pub name: Option<Vec<u8>>,
    /// Device and inode of the file at that path, as the kernel numbers them itself. Whom a listening socket has accepted
    /// has them too.
    pub file: Option<(u32, u32)>,
    /// The socket it is connected to. 0: one that nobody holds, because it was closed or has not been accepted yet.
    pub peer: Option<u32>,
    /// For one that listens: the sockets that have connected and are not accepted yet, oldest first. 0: closed since.
    pub waiting: Vec<u32>,
    /// It is of a kind that accepts connections, SOCK_STREAM or SOCK_SEQPACKET.
    pub is_stream: bool,
    /// It listens.
    pub listens: bool,
    /// For one that listens: how many may wait.
    pub backlog: u32,
    /// Which of its halves are shut: 1 receiving, 2 sending.
    pub shutdown: u8,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW: u32 = 0x01 | 0x02 | 0x04 | 0x08 | 0x10; // UDIAG_SHOW_NAME, VFS, PEER, ICONS, RQLEN
const HEADER: usize = 16;
const MESSAGE: usize = 16;
const LISTENS: u8 = 10; // TCP_LISTEN
const DATAGRAMS: u8 = libc::SOCK_DGRAM as u8;
/// How often the kernel is asked while connections are being accepted.
const LOOKS: usize = 3;

/// All of this network namespace. The kernel tells of one socket after the other: whoever is accepted in between is told
/// neither as one that waits nor by the socket that has accepted it. It is asked again where this may have been so.
pub fn unix_sockets() -> Answer<Vec<UnixSocket>> {
    let (mut sockets, mut before) = (Vec::new(), HashSet::new());
    for _ in 0..LOOKS {
        sockets.clear();
        dump(&request(), &mut |message| sockets.extend(unix_socket(message)))?;
        let now = between(&sockets);
        // Nobody is accepted twice: who was among them before is connected to another network namespace.
        if now.is_subset(&before) {
            break;
        }
        before = now;
    }
    Ok(sockets)
}

/// The connections of which neither the end that has accepted them nor who waits to be accepted is told. Those into other
/// network namespaces look the same.
fn between(sockets: &[UnixSocket]) -> HashSet<u32> {
    let known: HashSet<u32> = sockets.iter().map(|socket| socket.inode).collect();
    let waiting: HashSet<u32> = sockets.iter().flat_map(|socket| &socket.waiting).copied().collect();
    let is_between = |socket: &&UnixSocket| match socket.peer {
        // Whose other end was closed may neither receive nor send.
        Some(0) => socket.shutdown != 3 && !waiting.contains(&socket.inode),
        Some(peer) => !known.contains(&peer),
        None => false,
    };
    sockets.iter().filter(|socket| socket.is_stream).filter(is_between).map(|socket| socket.inode).collect()
}

/// Asks this network namespace for all sockets of a family; `request`: such as `struct unix_diag_req`.
pub(super) fn dump(request: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<()> {
    let channel =
        socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = ((HEADER + request.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(request);
    send(channel.as_raw_fd(), &bytes, MsgFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = recv(channel.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if read(&buffer[..length], each)? {
            return Ok(());
        }
    }
}

/// Those of other network namespaces, one after the other, by a thread that enters them, setns(2): it takes CAP_SYS_ADMIN
/// here and there. Which are not asked before `end` are answered with ETIMEDOUT.
pub fn unix_sockets_of(namespaces: &[OwnedFd], end: Instant) -> Vec<Answer<Vec<UnixSocket>>> {
    let ask = |namespace: &OwnedFd| {
        if Instant::now() >= end {
            return Err(Errno::ETIMEDOUT);
        }
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        unix_sockets()
    };
    let nobody = |errno: Errno| namespaces.iter().map(|_| Err(errno)).collect();
    if namespaces.is_empty() {
        return Vec::new();
    }
    thread::scope(|scope| {
        // This thread stays where it is.
        let visitor = thread::Builder::new().spawn_scoped(scope, || namespaces.iter().map(ask).collect());
        match visitor.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(answers)) => answers,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => nobody(error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw)),
        }
    })
}

/// `struct unix_diag_req`: sockets in whatever state.
fn request() -> Vec<u8> {
    let mut bytes = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [u32::MAX, 0, SHOW, u32::MAX, u32::MAX] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// Takes the sockets out of an answer; true: it was the last one.
fn read(mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> Answer<bool> {
    while let Some(length) = word(bytes, 0) {
        let length = length as usize;
        let (Some(message), true) = (bytes.get(HEADER..length), length >= HEADER) else { return Err(Errno::EBADMSG) };
        match i32::from(half(bytes, 4).unwrap_or_default()) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                return Err(Errno::from_raw(word(message, 0).map_or(libc::EBADMSG, |code| -(code as i32))));
            }
            _ => each(message),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct unix_diag_msg` with its attributes.
fn unix_socket(message: &[u8]) -> Option<UnixSocket> {
    let listens = *message.get(2)? == LISTENS;
    let is_stream = message[1] != DATAGRAMS;
    let mut found = UnixSocket { inode: word(message, 4)?, is_stream, listens, ..UnixSocket::default() };
    for (kind, value) in attributes(message.get(MESSAGE..)?) {
        match kind {
            0 => found.name = Some(value.to_vec()),
            1 => found.file = word(value, 4).zip(word(value, 0)),
            2 => found.peer = word(value, 0),
            3 => found.waiting = value.chunks_exact(4).filter_map(|one| word(one, 0)).collect(),
            4 if listens => found.backlog = word(value, 4)?,
            6 => found.shutdown = *value.first()?,
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use proptest::prelude::*;

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u32 {
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        std::fs::metadata(path).map_or(0, |found| found.ino() as u32)
    }

    #[test]
    fn who_is_connected_and_who_waits_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let name = format!("dormouse test {}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let (one, other) = UnixStream::pair()?;
        other.shutdown(std::net::Shutdown::Write)?;
        let waiting = UnixStream::connect_addr(&address)?;
        let all = unix_sockets()?;
        let found = |socket: u32| all.iter().find(|found| found.inode == socket).cloned().unwrap_or_default();
        assert_eq!(found(inode(&one)).peer, Some(inode(&other)));
        assert_eq!((found(inode(&one)).shutdown, found(inode(&other)).shutdown), (1, 2));
        assert_eq!(found(inode(&listener)).waiting, [inode(&waiting)]);
        assert_eq!(found(inode(&listener)).name, Some(format!("\0{name}").into_bytes()));
        assert_eq!(found(inode(&waiting)).peer, Some(0));
        assert!(found(inode(&listener)).backlog > 0);
        Ok(())
    }

    #[test]
    fn who_is_just_being_accepted_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let address = SocketAddr::from_abstract_name(format!("dormouse accepts {}", std::process::id()))?;
        let listener = UnixListener::bind_addr(&address)?;
        for round in 0..4000 {
            let client = UnixStream::connect_addr(&address)?;
            let (all, accepted) = thread::scope(|scope| {
                let accept = scope.spawn(|| {
                    // At another moment of the look each time.
                    let begin = Instant::now();
                    while begin.elapsed() < std::time::Duration::from_micros(round % 60) {}
                    listener.accept()
                });
                (unix_sockets(), accept.join())
            });
            let (all, accepted) = (all?, accepted.map_err(|_| "the thread has failed")??.0);
            let waits = all.iter().any(|socket| socket.waiting.contains(&inode(&client)));
            let is_in = all.iter().any(|socket| socket.peer == Some(inode(&client)));
            assert!(waits || is_in, "round {round}: {:?}", all.iter().find(|socket| socket.inode == inode(&client)));
            drop(accepted);
        }
        Ok(())
    }

    #[test]
    fn another_namespace_is_asked_from_within_and_this_thread_stays_here() -> Result<(), Box<dyn std::error::Error>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let here = std::fs::read_link("/proc/thread-self/ns/net")?;
        let (one, other, namespace) = thread::spawn(move || -> std::io::Result<_> {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
            let pair = UnixStream::pair()?;
            Ok((pair.0, pair.1, std::fs::File::open("/proc/thread-self/ns/net")?))
        })
        .join()
        .map_err(|_| "the other thread has failed")??;
        let namespaces = [OwnedFd::from(namespace)];
        let end = Instant::now() + std::time::Duration::from_mins(1);
        let [all] = &unix_sockets_of(&namespaces, end)[..] else { return Err("one was asked".into()) };
        let all = all.as_ref().map_err(|errno| errno.desc())?;
        let found = |socket: u32| all.iter().find(|found| found.inode == socket).and_then(|found| found.peer);
        assert_eq!((found(inode(&one)), found(inode(&other))), (Some(inode(&other)), Some(inode(&one))));
        assert!(!unix_sockets()?.iter().any(|socket| socket.inode == inode(&one)));
        assert_eq!(std::fs::read_link("/proc/thread-self/ns/net")?, here);
        assert_eq!(unix_sockets_of(&namespaces, Instant::now()), [Err(Errno::ETIMEDOUT)]);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (read(&bytes, &mut |_| {}), unix_socket(&bytes));
        }
    }
}
