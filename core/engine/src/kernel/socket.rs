//! Unix sockets and what is asked of sockets of any family: socket(7), unix(7), getsockopt(2), recvmsg(2), sendmsg(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{Answer, Errno, checked};

fn number(socket: &impl AsFd) -> RawFd {
    socket.as_fd().as_raw_fd()
}

fn owned(result: libc::c_long) -> Answer<OwnedFd> {
    let number = checked(result)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// An option of level SOL_SOCKET, as many bytes as the kernel gives.
pub fn option_bytes(socket: &impl AsFd, option: i32, most: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0_u8; most];
    let mut length = most as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which the vector holds.
    let result = unsafe {
        libc::getsockopt(number(socket), libc::SOL_SOCKET, option, bytes.as_mut_ptr().cast(), &raw mut length)
    };
    checked(result.into())?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// An option of level SOL_SOCKET that is a number.
pub fn option(socket: &impl AsFd, option: i32) -> Answer<i32> {
    let bytes = option_bytes(socket, option, 4)?;
    bytes.try_into().map(i32::from_ne_bytes).map_err(|_| Errno::EINVAL)
}

/// The `struct sock_filter`s of its filter, SO_GET_FILTER; none: it has none. EACCES: it is an eBPF program.
pub fn filter(socket: &impl AsFd) -> Answer<Vec<u8>> {
    /// BPF_MAXINSNS, of 8 bytes each: the kernel counts in instructions here.
    const MOST: usize = 4096;
    let ask = |bytes: &mut [u8]| {
        let mut length = (bytes.len() / 8) as libc::socklen_t;
        let place = bytes.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `length` instructions of 8 bytes, which the slice holds, and nothing where it is 0.
        let result =
            unsafe { libc::getsockopt(number(socket), libc::SOL_SOCKET, libc::SO_GET_FILTER, place, &raw mut length) };
        checked(result.into()).map(|_| length as usize)
    };
    let length = ask(&mut [])?;
    if length == 0 {
        return Ok(Vec::new());
    }
    // It may have got another one meanwhile.
    let mut bytes = vec![0; MOST * 8];
    let length = ask(&mut bytes)?;
    bytes.truncate(length * 8);
    Ok(bytes)
}

/// Gives it a filter of `struct sock_filter`s, SO_ATTACH_FILTER.
pub fn attach_filter(socket: &impl AsFd, program: &[u8]) -> Answer<()> {
    let mut instructions: Vec<libc::sock_filter> = program.chunks_exact(8).map(instruction).collect();
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::EINVAL)?;
    let described = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    let size = size_of_val(&described) as libc::socklen_t;
    let place = (&raw const described).cast();
    // SAFETY: the kernel reads the description, and as many instructions as it names, both of which live through the call.
    let result = unsafe { libc::setsockopt(number(socket), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, place, size) };
    checked(result.into()).map(drop)
}

/// `struct sock_filter` out of its 8 bytes.
fn instruction(bytes: &[u8]) -> libc::sock_filter {
    let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let word = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    libc::sock_filter { code: half(0), jt: bytes[2], jf: bytes[3], k: word }
}

/// Sets an option of level SOL_SOCKET.
pub fn set_option_bytes(socket: &impl AsFd, option: i32, bytes: &[u8]) -> Answer<()> {
    let length = bytes.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    let result = unsafe { libc::setsockopt(number(socket), libc::SOL_SOCKET, option, bytes.as_ptr().cast(), length) };
    checked(result.into()).map(drop)
}

/// Sets an option of level SOL_SOCKET that is a number.
pub fn set_option(socket: &impl AsFd, option: i32, value: i32) -> Answer<()> {
    set_option_bytes(socket, option, &value.to_ne_bytes())
}

/// `struct sockaddr` as bytes.
type Address = libc::sockaddr_storage;

/// getsockname(2) or getpeername(2).
type Ask = unsafe extern "C" fn(RawFd, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn address(socket: &impl AsFd, ask: Ask) -> Answer<Vec<u8>> {
    let mut length = size_of::<Address>() as libc::socklen_t;
    let mut bytes = vec![0_u8; size_of::<Address>()];
    // SAFETY: getsockname and getpeername write at most `length` bytes, which the vector holds.
    checked(unsafe { ask(number(socket), bytes.as_mut_ptr().cast(), &raw mut length) }.into())?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// Its own address, getsockname(2): `struct sockaddr` with the family in its first two bytes.
pub fn own_address(socket: &impl AsFd) -> Answer<Vec<u8>> {
    address(socket, libc::getsockname)
}

/// The address of its peer, getpeername(2).
pub fn peer_address(socket: &impl AsFd) -> Answer<Vec<u8>> {
    address(socket, libc::getpeername)
}

/// The file that a unix socket is bound to, opened with O_PATH, SIOCUNIXFILE: it leads there whatever has become of the
/// name. Linux 4.13; wants CAP_NET_ADMIN.
pub fn bound_file(socket: &impl AsFd) -> Answer<OwnedFd> {
    const SIOCUNIXFILE: libc::Ioctl = 0x89e0;
    // SAFETY: the request takes no argument.
    owned(unsafe { libc::ioctl(number(socket), SIOCUNIXFILE, 0) }.into())
}

/// The network namespace that it belongs to, by the inode of that, SIOCGSKNS. Linux 4.9; wants CAP_NET_ADMIN.
pub fn network(socket: &impl AsFd) -> Answer<u64> {
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    // SAFETY: the request takes no argument.
    let network = owned(unsafe { libc::ioctl(number(socket), SIOCGSKNS, 0) }.into())?;
    Ok(super::files::stat(&network)?.st_ino)
}

/// How much of what it has sent was not received yet, SIOCOUTQ: bytes as the kernel counts them.
pub fn unreceived(socket: &impl AsFd) -> Answer<i32> {
    let mut count = 0_i32;
    // SAFETY: SIOCOUTQ writes one int, which we hold.
    checked(unsafe { libc::ioctl(number(socket), libc::TIOCOUTQ, &raw mut count) }.into())?;
    Ok(count)
}

/// Whether urgent data waits in it (MSG_OOB).
pub fn has_urgent(socket: &impl AsFd) -> bool {
    let mut byte = 0_u8;
    let flags = libc::MSG_OOB | libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most one byte, which we hold.
    unsafe { libc::recv(number(socket), (&raw mut byte).cast(), 1, flags) > 0 }
}

/// A unix socket of this type that does not block.
pub fn unix(kind: i32) -> Answer<OwnedFd> {
    // SAFETY: socket takes integers.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) }.into())
}

/// Two unix sockets of this type, connected, that do not block; as numbers, for a child may make them for us.
pub fn unix_pair(kind: i32) -> Answer<[i32; 2]> {
    let mut pair = [0; 2];
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socketpair writes two integers, which we hold.
    checked(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) }.into())?;
    Ok(pair)
}

/// Descriptors that a child which shares our table has made for us.
pub fn taken_over(numbers: [i32; 2]) -> (OwnedFd, OwnedFd) {
    let [one, other] = numbers.map(|number| {
        // SAFETY: the child has made them in our table and has ended; nobody else has their numbers.
        unsafe { OwnedFd::from_raw_fd(number) }
    });
    (one, other)
}

/// `struct sockaddr_un` of this `sun_path`.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations)]
pub struct UnixAddress {
    address: libc::sockaddr_un,
    length: libc::socklen_t,
}

impl UnixAddress {
    /// The address; a `sun_path` holds at most 108 bytes.
    pub fn new(path: &[u8]) -> Answer<Self> {
        // SAFETY: all zeros are a valid structure.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if path.len() > address.sun_path.len() || path.is_empty() {
            return Err(Errno::ENAMETOOLONG);
        }
        for (place, byte) in address.sun_path.iter_mut().zip(path) {
            *place = *byte as libc::c_char;
        }
        Ok(Self { address, length: (2 + path.len()) as libc::socklen_t })
    }

    /// The address of whatever a descriptor of ours leads to: a socket's file, opened with O_PATH.
    pub fn of_descriptor(file: &impl AsFd) -> Answer<Self> {
        Self::new(super::procfs::descriptor(&file.as_fd()).as_os_str().as_encoded_bytes())
    }
}

/// bind(2).
pub fn bind(socket: &impl AsFd, address: &UnixAddress) -> Answer<()> {
    let to = (&raw const address.address).cast();
    // SAFETY: the address is as long as is said and lives through the call.
    checked(unsafe { libc::bind(number(socket), to, address.length) }.into()).map(drop)
}

/// connect(2).
pub fn connect(socket: &impl AsFd, address: &UnixAddress) -> Answer<()> {
    let to = (&raw const address.address).cast();
    // SAFETY: the address is as long as is said and lives through the call.
    checked(unsafe { libc::connect(number(socket), to, address.length) }.into()).map(drop)
}

/// Takes the peer of a datagram socket away: connect(2) to AF_UNSPEC.
pub fn disconnect(socket: &impl AsFd) -> Answer<()> {
    let family = (libc::AF_UNSPEC as u16).to_ne_bytes();
    // SAFETY: the kernel reads two bytes, which we hold.
    checked(unsafe { libc::connect(number(socket), family.as_ptr().cast(), 2) }.into()).map(drop)
}

/// listen(2).
pub fn listen(socket: &impl AsFd, backlog: i32) -> Answer<()> {
    // SAFETY: listen takes integers.
    checked(unsafe { libc::listen(number(socket), backlog) }.into()).map(drop)
}

/// The oldest connection that waits, accept4(2).
pub fn accept(socket: &impl AsFd) -> Answer<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    owned(unsafe { libc::accept4(number(socket), std::ptr::null_mut(), std::ptr::null_mut(), flags) }.into())
}

/// shutdown(2) of these halves: 1 receiving, 2 sending.
pub fn shut(socket: &impl AsFd, halves: u8) -> Answer<()> {
    let how = match halves & 3 {
        0 => return Ok(()),
        1 => libc::SHUT_RD,
        2 => libc::SHUT_WR,
        _ => libc::SHUT_RDWR,
    };
    // SAFETY: shutdown takes integers.
    checked(unsafe { libc::shutdown(number(socket), how) }.into()).map(drop)
}

/// Who has sent a message, SCM_CREDENTIALS: pid, user, group.
pub type Sender = (i32, u32, u32);

/// A message as it waits in a socket.
#[derive(Debug, Default)]
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// It was longer than the room given.
    pub cut: bool,
    /// The descriptors it carries: duplicates of them.
    pub files: Vec<OwnedFd>,
    /// Who has sent it; every message says so while SO_PASSCRED is set, the end of what was sent does not.
    pub sender: Option<Sender>,
    /// The address it was sent from: `sun_path`.
    pub from: Option<Vec<u8>>,
    /// What else it carries: level and type of a control message, cmsg(3).
    pub other: Option<(i32, i32)>,
}

/// Most descriptors one message carries, SCM_MAX_FD; and room for the other control messages.
const CONTROL: usize = 253 * 4 + 512;

/// The sender once more, as a handle: SO_PASSPIDFD, Linux 6.5.
const SCM_PIDFD: i32 = 4;

/// Control messages, aligned as the kernel writes them.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Looks at a message and leaves it where it is: MSG_PEEK, at SO_PEEK_OFF where that is set.
pub fn peek(socket: &impl AsFd, room: usize) -> Answer<Message> {
    let mut bytes = vec![0_u8; room];
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: room };
    let mut name = [0_u8; 112];
    // SAFETY: all zeros are a valid structure.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_NOSIGNAL;
    // SAFETY: all that the header points to is as long as it says and lives through the call.
    let length = checked(unsafe { libc::recvmsg(number(socket), &raw mut header, flags) } as libc::c_long)?;
    bytes.truncate(length as usize);
    let mut message = Message { bytes, cut: header.msg_flags & libc::MSG_TRUNC != 0, ..Message::default() };
    message.from = name.get(2..header.msg_namelen as usize).filter(|path| !path.is_empty()).map(<[u8]>::to_vec);
    let filled = (header.msg_controllen as usize).min(CONTROL);
    take_control(&control.0[..filled], &mut message);
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno::E2BIG);
    }
    Ok(message)
}

/// Where in the next `length` bytes of a stream, looked at as by [`peek`], the last message begins. The kernel tells no
/// borders; but a look whose last byte has no place to go ends before the message that this byte belongs to.
pub fn start_of_last(socket: &impl AsFd, length: usize) -> Answer<usize> {
    let mut bytes = vec![0_u8; length.checked_sub(1).ok_or(Errno::EINVAL)?];
    let room = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let nowhere = libc::iovec { iov_base: std::ptr::without_provenance_mut(1), iov_len: 1 };
    let mut parts = [room, nowhere];
    // SAFETY: all zeros are a valid structure.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the first part is as long as it says; nothing is ever mapped at the address of the second, which the
    // kernel checks.
    match checked(unsafe { libc::recvmsg(number(socket), &raw mut header, flags) } as libc::c_long) {
        Err(Errno::EFAULT) => Ok(0),
        other => other.map(|copied| copied as usize),
    }
}

/// Takes apart the control messages that the kernel has just written.
fn take_control(mut control: &[u8], message: &mut Message) {
    const HEADER: usize = 16;
    let number = |bytes: &[u8]| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    while control.len() >= HEADER {
        let length = usize::try_from(number(control)).unwrap_or_default();
        let (level, kind) = (number(&control[8..]), number(&control[12..]));
        let Some(data) = control.get(HEADER..length) else { return };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for one in data.chunks_exact(4) {
                    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
                    message.files.push(unsafe { OwnedFd::from_raw_fd(number(one)) });
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if data.len() >= 12 => {
                message.sender = Some((number(data), number(&data[4..]) as u32, number(&data[8..]) as u32));
            }
            (libc::SOL_SOCKET, SCM_PIDFD) if data.len() >= 4 && number(data) >= 0 => {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
                drop(unsafe { OwnedFd::from_raw_fd(number(data)) });
            }
            other => message.other = Some(other),
        }
        control = control.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
}

/// Sends a message whole or not at all: with descriptors, as somebody, to an address where it is not connected.
pub fn send(
    socket: &impl AsFd,
    bytes: &[u8],
    files: &[RawFd],
    sender: Option<Sender>,
    to: Option<&UnixAddress>,
) -> Answer<usize> {
    let mut control = Control([0; CONTROL]);
    let mut length = 0;
    let mut put = |kind: i32, data: &[i32]| {
        const HEADER: usize = 16;
        let whole = HEADER + data.len() * 4;
        let place = control.0.get_mut(length..length + whole).ok_or(Errno::E2BIG)?;
        place[..8].copy_from_slice(&(whole as u64).to_ne_bytes());
        place[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        place[12..16].copy_from_slice(&kind.to_ne_bytes());
        for (at, word) in place[16..].chunks_exact_mut(4).zip(data) {
            at.copy_from_slice(&word.to_ne_bytes());
        }
        length += whole.next_multiple_of(8);
        Ok(())
    };
    if !files.is_empty() {
        put(libc::SCM_RIGHTS, files)?;
    }
    if let Some((pid, user, group)) = sender {
        put(libc::SCM_CREDENTIALS, &[pid, user as i32, group as i32])?;
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros are a valid structure.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    if let Some(to) = to {
        header.msg_name = (&raw const to.address).cast_mut().cast();
        header.msg_namelen = to.length;
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if length > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = length as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: all that the header points to is only read, is as long as it says and lives through the call.
    checked(unsafe { libc::sendmsg(number(socket), &raw const header, flags) } as libc::c_long)
        .map(|sent| sent as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_be_looked_at_with_all_it_carries() -> Result<(), Errno> {
        let (one, other) = taken_over(unix_pair(libc::SOCK_SEQPACKET)?);
        set_option(&other, libc::SO_PASSCRED, 1)?;
        let own = (std::process::id() as i32, nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        send(&one, b"one", &[number(&one), number(&other)], Some(own), None)?;
        send(&one, b"another", &[], None, None)?;
        set_option(&other, libc::SO_PEEK_OFF, 0)?;
        let first = peek(&other, 100)?;
        assert_eq!((first.bytes.as_slice(), first.files.len(), first.sender), (b"one".as_slice(), 2, Some(own)));
        let second = peek(&other, 2)?;
        assert_eq!((second.bytes.as_slice(), second.cut, second.files.len()), (b"an".as_slice(), true, 0));
        Ok(())
    }

    #[test]
    fn no_control_message_makes_it_panic() {
        let cut = [20_u64.to_ne_bytes(), 99_u64.to_ne_bytes()].concat();
        for length in 0..=cut.len() {
            take_control(&cut[..length], &mut Message::default());
        }
        take_control(&[0; 64], &mut Message::default());
    }
}
