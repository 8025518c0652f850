//! Sockets of the network: ip(7), tcp(7), udp(7), netlink(7). Addresses are `struct sockaddr` as bytes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::{Answer, Errno, checked};

/// A socket that does not block, socket(2).
pub fn open(family: i32, kind: i32, protocol: i32) -> Answer<OwnedFd> {
    // SAFETY: socket takes integers.
    let made = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    let number = checked(made.into())? as i32;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An option, getsockopt(2), as many bytes as the kernel gives; what is `asked` stands in the buffer before.
pub fn option_bytes(socket: &impl AsFd, level: i32, option: i32, asked: &[u8], most: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0_u8; most.max(asked.len())];
    bytes[..asked.len()].copy_from_slice(asked);
    let mut length = bytes.len() as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes, which the vector holds.
    let result = unsafe { libc::getsockopt(number, level, option, bytes.as_mut_ptr().cast(), &raw mut length) };
    checked(result.into())?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// An option that is a number; some are one byte long.
pub fn option(socket: &impl AsFd, level: i32, option: i32) -> Answer<i32> {
    match option_bytes(socket, level, option, &[], 4)?[..] {
        [one] => Ok(i32::from(one)),
        [a, b, c, d] => Ok(i32::from_ne_bytes([a, b, c, d])),
        _ => Err(Errno::EINVAL),
    }
}

/// Sets an option, setsockopt(2).
pub fn set_option_bytes(socket: &impl AsFd, level: i32, option: i32, bytes: &[u8]) -> Answer<()> {
    let length = bytes.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, bytes.as_ptr().cast(), length) };
    checked(result.into()).map(drop)
}

/// Sets an option that is a number.
pub fn set_option(socket: &impl AsFd, level: i32, option: i32, value: i32) -> Answer<()> {
    set_option_bytes(socket, level, option, &value.to_ne_bytes())
}

/// bind(2).
pub fn bind(socket: &impl AsFd, address: &[u8]) -> Answer<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), length) }.into()).map(drop)
}

/// connect(2).
pub fn connect(socket: &impl AsFd, address: &[u8]) -> Answer<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slice holds.
    checked(unsafe { libc::connect(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), length) }.into()).map(drop)
}

/// Sends bytes, without a wait: where to, if it is not connected there. Answers how many were taken.
pub fn send(socket: &impl AsFd, bytes: &[u8], to: &[u8]) -> Answer<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let number = socket.as_fd().as_raw_fd();
    let address = if to.is_empty() { std::ptr::null() } else { to.as_ptr().cast() };
    let length = to.len() as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the slices hold; without an address its length is 0.
    let sent = unsafe { libc::sendto(number, bytes.as_ptr().cast(), bytes.len(), flags, address, length) };
    checked(sent as libc::c_long).map(|sent| sent as usize)
}

/// What waits first, looked at and left where it is: at most `room` bytes of it, how long it is in all, and from which
/// address it came (empty: none is told).
pub fn peek(socket: &impl AsFd, room: usize) -> Answer<(Vec<u8>, usize, Vec<u8>)> {
    let (mut bytes, mut from) = (vec![0_u8; room], vec![0_u8; size_of::<libc::sockaddr_storage>()]);
    let mut length = from.len() as libc::socklen_t;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: both buffers are as long as is said and live through the call.
    let got = unsafe {
        libc::recvfrom(number, bytes.as_mut_ptr().cast(), room, flags, from.as_mut_ptr().cast(), &raw mut length)
    };
    let whole = checked(got as libc::c_long)? as usize;
    bytes.truncate(whole);
    from.truncate(length as usize);
    Ok((bytes, whole, from))
}

/// The first bytes that wait in a stream, looked at and left where they are.
pub fn peek_stream(socket: &impl AsFd, length: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is as long as is said and lives through the call.
    let got = unsafe { libc::recv(socket.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), length, flags) };
    bytes.truncate(checked(got as libc::c_long)? as usize);
    Ok(bytes)
}

/// The name of a network device, for a request.
fn request(name: &str) -> Answer<libc::ifreq> {
    // SAFETY: all zeros are a valid structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::EINVAL);
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    Ok(request)
}

/// The number of a network device in the network of this process, if_nametoindex(3). ENODEV: there is none of this name.
pub fn device_number(name: &str) -> Answer<u32> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::ENODEV)?;
    // SAFETY: the name ends with a zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(Errno::ENODEV),
        number => Ok(number),
    }
}

/// The name of a network device, if_indextoname(3). ENODEV: there is none of this number.
pub fn device_name(number: u32) -> Answer<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the function writes a name of at most IF_NAMESIZE bytes with its zero.
    if unsafe { libc::if_indextoname(number, name.as_mut_ptr().cast()) }.is_null() {
        return Err(Errno::ENODEV);
    }
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8(name.get(..length).unwrap_or_default().to_vec()).map_err(|_| Errno::ENODEV)
}

/// Whether a network device is up, netdevice(7), SIOCGIFFLAGS.
pub fn is_up(name: &str) -> Answer<bool> {
    let (socket, mut request) = (any_socket()?, request(name)?);
    // SAFETY: the request is a structure that we hold, which the kernel reads and fills in.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) }.into())?;
    // SAFETY: the kernel has filled in the flags.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0)
}

/// Brings a network device up, netdevice(7), SIOCSIFFLAGS. CAP_NET_ADMIN.
pub fn bring_up(name: &str) -> Answer<()> {
    let (socket, mut request) = (any_socket()?, request(name)?);
    // SAFETY: the request is a structure that we hold, which the kernel reads and fills in.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) }.into())?;
    // SAFETY: the kernel has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: the request is a structure that we hold, which the kernel reads.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}

/// A socket by which network devices can be asked about, of a family that needs none of them.
fn any_socket() -> Answer<OwnedFd> {
    super::socket::unix(libc::SOCK_DGRAM)
}

/// Whether the network of this process has tables of packet filters, nft(8): NFT_MSG_GETTABLE. CAP_NET_ADMIN.
pub fn has_packet_filters() -> Answer<bool> {
    const GET_TABLE: u16 = 10 << 8 | 1;
    const NEW_TABLE: u16 = 10 << 8;
    const LENGTH: u32 = 20;
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    // `struct nlmsghdr`: length, type, flags, number, sender. Then `struct nfgenmsg`, of every family.
    let mut request = LENGTH.to_ne_bytes().to_vec();
    request.extend(GET_TABLE.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.resize(LENGTH as usize, 0);
    let socket = open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)?;
    nix::sys::socket::send(socket.as_raw_fd(), &request, nix::sys::socket::MsgFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let length = nix::sys::socket::recv(socket.as_raw_fd(), &mut answer, nix::sys::socket::MsgFlags::empty())?;
    // A kernel without them says so with an error, and one that has none says that this is all.
    Ok(length >= 6 && u16::from_ne_bytes([answer[4], answer[5]]) == NEW_TABLE)
}

/// The addresses of the network devices in the network of this process, getifaddrs(3).
pub fn addresses() -> Answer<Vec<(String, std::net::IpAddr)>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer, which we hold.
    checked(unsafe { libc::getifaddrs(&raw mut first) }.into())?;
    let (mut found, mut next) = (Vec::new(), first);
    while !next.is_null() {
        // SAFETY: the list is whole until it is freed, and ends with a null pointer; names end with a zero.
        let (entry, name) = unsafe { (&*next, std::ffi::CStr::from_ptr((*next).ifa_name)) };
        next = entry.ifa_next;
        if entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: the family says which structure the address is.
        let address = unsafe {
            match i32::from((*entry.ifa_addr).sa_family) {
                libc::AF_INET => {
                    let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(std::net::IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))
                }
                libc::AF_INET6 => {
                    let address = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(std::net::IpAddr::from(address.sin6_addr.s6_addr))
                }
                _ => None,
            }
        };
        found.extend(address.map(|address| (name.to_string_lossy().into_owned(), address)));
    }
    // SAFETY: it is what getifaddrs has answered, and nothing refers to it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}
