//! What a display server tells of itself: it is asked by the X11 protocol, and only ever reads.

use std::time::Instant;

use dormouse_wire::Pid;
use dormouse_wire::window::{Access, Window};
use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError};
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::authority::{self, Candidate};
use super::clients::Clients;
use super::sockets::Sockets;
use super::stream::Bounded;
use super::windows;
use crate::kernel::Errno;

/// A connection to a server that has let us in.
pub type Connection = RustConnection<Bounded>;

/// A display, and what may open it.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its number.
    pub number: u32,
    /// Where it is.
    pub sockets: &'a Sockets,
    /// The files that may hold its cookie.
    pub candidates: Vec<Candidate>,
}

/// What a server has told.
#[derive(Debug)]
pub struct Answer {
    /// Whether it has told all.
    pub access: Access,
    /// Who made its socket listen.
    pub peer: Option<Pid>,
    /// It has said that it is Xwayland.
    pub is_xwayland: bool,
    /// The processes that are connected to it, as it knows them.
    pub clients: Vec<Pid>,
    /// The windows that it has told of.
    pub windows: Vec<Window>,
}

impl Answer {
    /// What is known of a server that has told nothing.
    pub fn none(access: Access) -> Self {
        Self { access, peer: None, is_xwayland: false, clients: Vec::new(), windows: Vec::new() }
    }
}

/// Asks a server, until `end` and no longer.
pub fn ask(question: &Question<'_>, end: Instant) -> Answer {
    let mut answer = Answer::none(Access::Gone);
    answer.access = match enter(question, end, &mut answer.peer) {
        Err(access) => access,
        Ok(connection) => match tell(&connection, &mut answer) {
            Ok(()) => Access::Answered,
            Err(error) => why_not(&error),
        },
    };
    answer
}

/// Connects with each of the cookies, and at last with none: the server may let our user in all the same.
fn enter(question: &Question<'_>, end: Instant, peer: &mut Option<Pid>) -> Result<Connection, Access> {
    let first = connect(question, end)?;
    let (process, user) = first.peer().ok_or(Access::Gone)?;
    *peer = Some(process);
    let mut cookies = authority::cookies(&question.candidates, question.number, user).into_iter();
    let mut stream = Some(first);
    loop {
        let stream = stream.take().map_or_else(|| connect(question, end), Ok)?;
        let cookie = cookies.next();
        let is_last = cookie.is_none();
        let kind = if is_last { Vec::new() } else { authority::KIND.to_vec() };
        match RustConnection::connect_to_stream_with_auth_info(stream, 0, kind, cookie.unwrap_or_default()) {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::SetupFailed(_) | ConnectError::SetupAuthenticate(_)) if !is_last => {}
            Err(error) => return Err(why_closed(error)),
        }
    }
}

/// The first of the display's sockets at which somebody listens.
fn connect(question: &Question<'_>, end: Instant) -> Result<Bounded, Access> {
    let mut access = Access::Gone;
    for place in &question.sockets.places {
        match Bounded::connect(*place, question.number, end) {
            Ok(stream) => return Ok(stream),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => {}
            Err(Errno::ETIMEDOUT) => access = Access::Silent,
            Err(error) => access = Access::Refused(format!("its socket cannot be reached: {}", error.desc())),
        }
    }
    Err(access)
}

/// Everything that is asked, in the order of its worth.
fn tell(connection: &Connection, answer: &mut Answer) -> Result<(), ConnectionError> {
    let xwayland = connection.query_extension(b"XWAYLAND")?;
    let clients = Clients::ask(connection)?;
    answer.is_xwayland = given(xwayland.reply())?.is_some_and(|reply| reply.present);
    answer.clients = clients.pids();
    for screen in &connection.setup().roots {
        windows::on(screen.root, connection, &clients, &mut answer.windows)?;
    }
    Ok(())
}

/// A reply; none where the server answers with an error, as it does for a window that has gone.
pub fn given<T>(reply: Result<T, ReplyError>) -> Result<Option<T>, ConnectionError> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(ReplyError::ConnectionError(error)) => Err(error),
    }
}

const NO_SERVER: &str = "it does not speak the X11 protocol";

fn why_not(error: &ConnectionError) -> Access {
    match error {
        ConnectionError::IoError(error) => of_socket(error),
        _ => Access::Refused(NO_SERVER.to_owned()),
    }
}

fn why_closed(error: ConnectError) -> Access {
    match error {
        ConnectError::IoError(error) => of_socket(&error),
        ConnectError::SetupFailed(failed) => Access::Refused(reason(&failed.reason)),
        ConnectError::SetupAuthenticate(failed) => Access::Refused(reason(&failed.reason)),
        _ => Access::Refused(NO_SERVER.to_owned()),
    }
}

fn of_socket(error: &std::io::Error) -> Access {
    match error.kind() {
        std::io::ErrorKind::TimedOut => Access::Silent,
        std::io::ErrorKind::InvalidData => Access::Refused(NO_SERVER.to_owned()),
        _ => Access::Gone,
    }
}

/// The server's own words, on one line.
fn reason(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).replace(char::is_control, " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "it gives no reason".to_owned() } else { text }
}
