//! What a bus tells of its clients: `ListNames`, `GetNameOwner` and `GetConnectionUnixProcessID` of the D-Bus specification.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use dormouse_wire::Pid;
use dormouse_wire::window::Access;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use super::super::x11::server::shares_our_pids;
use super::super::x11::sockets::seen_by;
use super::message::{self, Reply};
use crate::kernel::socket::{self, UnixAddress};
use crate::kernel::{Errno, files};
use crate::resource::fd::unix::name::Name;

/// A bus.
#[derive(Debug)]
pub struct Question<'a> {
    /// Where it listens.
    pub name: &'a Name,
    /// Who is seen to serve it.
    pub servers: &'a [Pid],
}

/// What a bus has told.
#[derive(Debug)]
pub struct Answer {
    /// Whether it has told all.
    pub access: Access,
    /// Its clients.
    pub clients: Vec<Connected>,
}

/// A client, as the bus knows it.
#[derive(Debug)]
pub struct Connected {
    /// The process that has connected.
    pub pid: Pid,
    /// The unique name.
    pub unique: String,
    /// The names that it owns besides.
    pub names: Vec<String>,
}

/// How many bytes a message of the bus may have; the list of all names is the longest.
const LONGEST: usize = 4 << 20;
/// How many names are asked for, and how many at a time.
const MOST_NAMES: usize = 4096;
const AT_A_TIME: usize = 64;

/// Asks, until `end` and no longer.
pub fn ask(question: &Question<'_>, end: Instant) -> Answer {
    let mut clients = Vec::new();
    let access = match tell(question, end, &mut clients) {
        Ok(()) => Access::Answered,
        Err(error) => match error.kind() {
            ErrorKind::TimedOut => Access::Silent,
            ErrorKind::PermissionDenied => Access::Refused("it lets in other users only".to_owned()),
            ErrorKind::InvalidData => Access::Refused("it does not speak D-Bus".to_owned()),
            ErrorKind::Unsupported => Access::Refused("it knows its clients by other pids".to_owned()),
            _ => Access::Gone,
        },
    };
    Answer { access, clients }
}

fn tell(question: &Question<'_>, end: Instant, clients: &mut Vec<Connected>) -> Result<()> {
    let mut bus = Line { socket: connect(question, end)?.into(), end };
    // Within a container pids mean others.
    if question.servers.iter().any(|pid| !shares_our_pids(*pid)) {
        return Err(ErrorKind::Unsupported.into());
    }
    bus.enter()?;
    let names = bus.all("ListNames", &[None])?;
    let names: Vec<String> = names.first().and_then(|reply| Reply::of(reply)?.texts()).unwrap_or_default();
    let mut names: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_name(name)).collect();
    names.truncate(MOST_NAMES);
    let (unique, known): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with(':'));
    let mut owned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, reply) in known.iter().zip(bus.each("GetNameOwner", &known)?) {
        if let Some(owner) = Reply::of(&reply).filter(|reply| !reply.failed).and_then(Reply::text) {
            owned.entry(owner).or_default().push((*name).to_owned());
        }
    }
    for (name, reply) in unique.iter().zip(bus.each("GetConnectionUnixProcessID", &unique)?) {
        // Who has left meanwhile has no pid.
        if let Some(pid) = Reply::of(&reply).filter(|reply| !reply.failed).and_then(Reply::number) {
            let names = owned.remove(*name).unwrap_or_default();
            clients.push(Connected { pid: Pid(pid as i32), unique: (*name).to_owned(), names });
        }
    }
    Ok(())
}

/// What may be a name, D-Bus specification, "Valid Names": whoever plays the bus can say anything.
fn is_name(name: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.:".contains(&letter);
    !name.is_empty() && name.len() <= 255 && name.bytes().all(fits)
}

/// Connects to the socket that its server has there, whatever has the name in our own mount namespace.
fn connect(question: &Question<'_>, end: Instant) -> Result<OwnedFd> {
    let file = match question.name {
        Name::Path(path) => {
            let seen = |pid: &Pid| files::open(&seen_by(*pid, path), libc::O_PATH).ok();
            question.servers.iter().find_map(seen)
        }
        Name::Abstract(_) => None,
    };
    let address = file.as_ref().map_or_else(|| question.name.address(), UnixAddress::of_descriptor)?;
    let socket = socket::unix(libc::SOCK_STREAM)?;
    loop {
        match socket::connect(&socket, &address) {
            // A full queue is waited for, connect(2).
            Err(Errno::EAGAIN) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Err(Errno::EAGAIN) => return Err(ErrorKind::TimedOut.into()),
            other => return other.map(|()| socket).map_err(Error::from),
        }
    }
}

/// A connection on which every wait has an end.
struct Line {
    socket: UnixStream,
    end: Instant,
}

impl Line {
    /// Says who we are, and enters: D-Bus specification, "Authentication Protocol". The kernel has told the bus our user anyhow.
    fn enter(&mut self) -> Result<()> {
        let user = nix::unistd::geteuid().to_string();
        // Each letter as a hexadecimal number: digits begin at 0x30.
        let user: String = user.chars().flat_map(|digit| ['3', digit]).collect();
        self.write(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > 1024 {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
        }
        match line.as_slice() {
            [b'O', b'K', b' ', ..] => {}
            line if line.starts_with(b"REJECTED") => return Err(ErrorKind::PermissionDenied.into()),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        self.write(b"BEGIN\r\n")?;
        // A bus that knows who we are and does not want us closes the connection now.
        let hello = self.all("Hello", &[None]).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                ErrorKind::PermissionDenied.into()
            }
            _ => error,
        })?;
        let failed = hello.first().and_then(|reply| Reply::of(reply)).is_none_or(|reply| reply.failed);
        if failed { Err(ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    /// Asks the same about each of these names; the replies in their order.
    fn each(&mut self, member: &str, names: &[&str]) -> Result<Vec<Vec<u8>>> {
        let mut replies = Vec::with_capacity(names.len());
        for some in names.chunks(AT_A_TIME) {
            let some: Vec<Option<&str>> = some.iter().copied().map(Some).collect();
            replies.extend(self.all(member, &some)?);
        }
        Ok(replies)
    }

    /// Makes some calls and waits for all replies.
    fn all(&mut self, member: &str, arguments: &[Option<&str>]) -> Result<Vec<Vec<u8>>> {
        let calls = arguments.iter().zip(1..).flat_map(|(argument, serial)| message::call(serial, member, *argument));
        self.write(&calls.collect::<Vec<u8>>())?;
        let mut replies = vec![None; arguments.len()];
        while replies.iter().any(Option::is_none) {
            let message = self.message()?;
            // Signals come between, such as NameAcquired.
            let to = Reply::of(&message).and_then(|reply| reply.to.checked_sub(1));
            if let Some(place) = to.and_then(|index| replies.get_mut(index as usize)) {
                *place = Some(message);
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    fn message(&mut self) -> Result<Vec<u8>> {
        let mut message = vec![0; message::HEAD];
        self.read(&mut message)?;
        let length = message::length(&message).filter(|length| (message::HEAD..=LONGEST).contains(length));
        message.resize(length.ok_or(ErrorKind::InvalidData)?, 0);
        self.read(&mut message[message::HEAD..])?;
        Ok(message)
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            // Rounded up, so that the last wait is not a busy one.
            let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), events)], left) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn read(&mut self, mut room: &mut [u8]) -> Result<()> {
        while !room.is_empty() {
            self.wait(PollFlags::POLLIN)?;
            match self.socket.read(room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => room = &mut room[length..],
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.wait(PollFlags::POLLOUT)?;
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
