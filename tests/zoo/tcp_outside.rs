//! TCP connections to a program outside the group, which are kept: with data on its way in both directions, idle, with one side
//! that has finished, for IPv4, IPv6 and one within the other. The program outside must hear every byte once and in order.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::kernel;
use crate::sockets::{get, poll, receive, send, set, waiting};
use crate::stage::{Doing, Held, Stage, Trouble};

/// Connects five times, and answers on the second connection what it has heard on the others once it is told to listen. Where
/// nobody tells it anything any more it ends after a while.
const OUTSIDE: &str = r#"
import os, signal, socket, sys
os.setsid()
signal.alarm(300)
much, idle, finished, ended, within = ends = [socket.create_connection(place.rsplit("|", 1)) for place in sys.argv[1:]]
much.sendall(b"from outside")
finished.sendall(b"an answer")
ended.sendall(b"the last words")
ended.shutdown(socket.SHUT_WR)
within.sendall(b"to both families")
assert idle.recv(2) == b"go"
def all_of(end):
    length, total = 0, 0
    while piece := end.recv(1 << 16):
        for byte in piece: total = (total * 31 + byte) & 0xffffffff
        length += len(piece)
    return b"%d %d\n" % (length, total)
finished.sendall(b", and more")
heard = b"".join(all_of(end) for end in (much, finished, ended, within))
finished.close()
idle.sendall(heard)
idle.close()
"#;

/// Its answer to these bytes.
fn heard(bytes: &[u8]) -> String {
    let total = bytes.iter().fold(0_u32, |total, byte| total.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("{} {total}\n", bytes.len())
}

/// Starts it where no descendant of ours is, and nothing that marks us.
fn start_outside(places: &[String]) -> Held {
    let pid = kernel::fork()?;
    if pid == 0 {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", OUTSIDE]).args(places).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kernel::exit(i32::from(command.spawn().is_err()));
    }
    match kernel::wait_for(pid)? {
        kernel::Ended::Code(0) => Ok(()),
        other => Err(Trouble::Failed(format!("the program outside does not start: {other:?}"))),
    }
}

/// Bytes that are the same nowhere, as many as are taken.
fn send_all_that_fits(socket: &TcpStream) -> std::io::Result<Vec<u8>> {
    let next = |word: &u32| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let all: Vec<u8> = std::iter::successors(Some(7), next).map(|word| (word >> 24) as u8).take(16 << 20).collect();
    let mut sent = 0;
    while let Ok(taken) = send(socket, &all[sent..all.len().min(sent + 100_000)]) {
        sent += taken as usize;
    }
    Ok(all[..sent].to_vec())
}

/// TCP_INFO: the state, and the options and shifts of windows that were agreed upon.
fn agreed(socket: &TcpStream) -> Option<(u8, u8, u8)> {
    let (mut info, mut length) = ([0_u8; 104], 104_u32);
    let number = std::os::fd::AsRawFd::as_raw_fd(socket) as usize;
    let place = [number, libc::IPPROTO_TCP as usize, libc::TCP_INFO as usize];
    let rest = [kernel::into(&mut info), kernel::into(&mut length)];
    kernel::call(libc::SYS_getsockopt, &[place.as_slice(), &rest].concat()).ok()?;
    Some((info[0], info[5], info[6]))
}

/// The connections, in the order in which the program outside makes them.
fn connected(listeners: &[&TcpListener; 5]) -> Result<[TcpStream; 5], Trouble> {
    let mut places = Vec::new();
    for (number, listener) in listeners.iter().enumerate() {
        let host = if number == 1 { "::1" } else { "127.0.0.1" };
        places.push(format!("{host}|{}", listener.local_addr()?.port()));
    }
    start_outside(&places)?;
    let ends: Vec<TcpStream> =
        listeners.iter().map(|listener| listener.accept().map(|(end, _)| end)).collect::<Result<_, _>>()?;
    <[TcpStream; 5]>::try_from(ends).map_err(|_| Trouble::Failed("five have come".to_owned()))
}

pub fn hold(stage: &mut Stage) -> Held {
    let four = TcpListener::bind("127.0.0.1:0")?;
    let six = TcpListener::bind("[::1]:0")?;
    let both = TcpListener::bind("[::]:0")?;
    let listeners = [&four, &six, &four, &four, &both];
    let [much, mut idle, mut finished, ended, within] = connected(&listeners)?;
    set(&idle, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(&idle, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    finished.write_all(b"before the end")?;
    finished.shutdown(Shutdown::Write)?;
    let sent = send_all_that_fits(&much)?;
    let end = libc::POLLIN | libc::POLLRDHUP;
    kernel::until(|| {
        poll(&ended, end) == end
            && [&much, &finished, &within].iter().all(|one| waiting(*one).is_ok_and(|many| many > 8))
    });
    let all = [&much, &idle, &finished, &ended, &within];
    let names = || all.map(|one| (one.local_addr().ok(), one.peer_addr().ok()));
    let (before, agreed_before) = (names(), all.map(agreed));
    stage.keeps(|wrong| {
        wrong.equal("the addresses", names(), before);
        wrong.equal("how much waits", all.map(|one| waiting(one).ok()), [12, 0, 9, 14, 16].map(Some));
        wrong.equal("one that can be sent no more", poll(&much, end | libc::POLLOUT), libc::POLLIN);
        wrong.equal("who has finished", poll(&finished, end), libc::POLLIN);
        let after = send(&finished, b"x").map_err(|error| error.raw_os_error());
        wrong.equal("it can send no more", after, Err(Some(libc::EPIPE)));
        wrong.equal("whose other end has", poll(&ended, end | libc::POLLOUT), end | libc::POLLOUT);
        wrong.gives("its last words", receive(&ended, libc::MSG_PEEK), b"the last words".to_vec());
        // Whether its end has been answered, the one that has finished may hear again.
        for place in [0, 1, 3, 4] {
            wrong.equal("what was agreed upon", agreed(all[place]), agreed_before[place]);
        }
        wrong.gives("TCP_NODELAY", get(&idle, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
        wrong.gives("SO_KEEPALIVE", get(&idle, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
    })?;
    idle.write_all(b"go")?;
    for (socket, words) in [(&much, ", and on"), (&ended, "still talking"), (&within, "to one")] {
        let mut socket = socket;
        socket.write_all(words.as_bytes()).doing(words)?;
        socket.shutdown(Shutdown::Write)?;
    }
    let mut answer = String::new();
    idle.read_to_string(&mut answer).doing("what was heard")?;
    let expected = [&[&sent[..], b", and on"].concat(), &b"before the end"[..], b"still talking", b"to one"].map(heard);
    stage.wrong.equal("what was heard outside", answer, expected.concat());
    let mut last = String::new();
    finished.read_to_string(&mut last).doing("the answer to the one that has finished")?;
    stage.wrong.equal("the answer", last.as_str(), "an answer, and more");
    stage.wrong.gives("what waited", receive(&much, 0), b"from outside".to_vec());
    stage.wrong.holds("all three listen", listeners.iter().all(|one| one.local_addr().is_ok()));
    Ok(())
}
