//! Display servers that do not answer, or are none: nobody waits for them longer than it was said.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use dormouse_engine::survey::x11::{Options, look};
use dormouse_wire::Pid;
use dormouse_wire::window::{Access, Display, ServerKind};
use nix::sys::signal::{Signal, kill};

use crate::{NUMBER, Screen, alone, clients, done, only, seen, with_windows};

/// Whatever can go wrong on a busy machine beside the time that the servers have.
const SLACK: Duration = Duration::from_secs(2);

/// The abstract name of the display.
fn name() -> SocketAddr {
    done(SocketAddr::from_abstract_name(format!("/tmp/.X11-unix/X{NUMBER}")))
}

/// Somebody who listens at the name of the display.
fn pretender() -> UnixListener {
    alone();
    done(UnixListener::bind_addr(&name()))
}

/// Looks, and sees that it did not take longer than it may.
fn look_in_time() -> Display {
    let options = Options { within: Duration::from_millis(300), ..Options::default() };
    let start = Instant::now();
    let display = only(look(&options));
    let took = start.elapsed();
    assert!(took < options.within + SLACK, "it took {took:?}");
    display
}

#[test]
fn who_listens_and_never_answers_holds_nobody_up() {
    let listener = pretender();
    let display = look_in_time();
    assert_eq!((display.access, display.clients.len()), (Access::Unasked, 0));
    let client = done(UnixStream::connect_addr(&name()));
    let own = Pid(std::process::id() as i32);
    // Before it is accepted and after.
    for accepted in [false, true] {
        let server_end = accepted.then(|| done(listener.accept()));
        let display = look_in_time();
        assert_eq!(display.access, Access::Silent);
        assert_eq!(
            display.server.as_ref().map(|server| (server.process.pid, server.kind)),
            Some((own, ServerKind::Other))
        );
        assert_eq!(clients(&display), [(own, true, false)]);
        drop(server_end);
    }
    drop(client);
}

#[test]
fn a_queue_that_is_full_holds_nobody_up() {
    let listener = pretender();
    done(nix::sys::socket::listen(&listener, done(nix::sys::socket::Backlog::new(0))));
    let _client = done(UnixStream::connect_addr(&name()));
    assert_eq!(look_in_time().access, Access::Silent);
}

/// What becomes of a display whose server answers with these bytes, one in some milliseconds.
fn answered(bytes: &'static [u8], pause: Duration) -> Access {
    let listener = pretender();
    let _client = done(UnixStream::connect_addr(&name()));
    let _first = done(listener.accept());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = done(listener.accept());
        let _ = stream.read(&mut [0; 12]);
        for byte in bytes {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(pause);
        }
    });
    let access = look_in_time().access;
    // Where nobody has asked, the server would wait for ever.
    let _ = UnixStream::connect_addr(&name());
    assert!(server.join().is_ok(), "the server of the test fails");
    access
}

#[test]
fn a_server_that_answers_byte_by_byte_holds_nobody_up() {
    assert_eq!(answered(&[1; 500], Duration::from_millis(5)), Access::Silent);
}

#[test]
fn what_is_no_display_server_is_told_from_one() {
    let greeting = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    assert_eq!(answered(greeting, Duration::ZERO), Access::Gone);
    let (other, failed) = (b"\x07.\x0b\0\0\0\x01\0abcd", b"\0\x04\x0b\0\0\0\x01\0no!\n");
    assert_eq!(answered(other, Duration::ZERO), Access::Refused("it does not speak the X11 protocol".to_owned()));
    assert_eq!(answered(failed, Duration::ZERO), Access::Refused("no!".to_owned()));
}

#[test]
fn the_clients_of_a_server_that_hangs_are_known_all_the_same() {
    let mut screen = Screen::start(&[], 0);
    let xev = screen.run("xev", &[]);
    with_windows(1);
    let server = nix::unistd::Pid::from_raw(screen.server.pid().0);
    done(kill(server, Signal::SIGSTOP));
    let display = look_in_time();
    done(kill(server, Signal::SIGCONT));
    assert_eq!((clients(&display), display.access), (vec![(xev, true, false)], Access::Silent));
    assert_eq!(seen().access, Access::Answered);
}

#[test]
fn a_display_that_hangs_hides_no_other() {
    let mut screen = Screen::start(&[], 0);
    screen.run("xev", &[]);
    with_windows(1);
    let hanging = done(SocketAddr::from_abstract_name("/tmp/.X11-unix/X4321"));
    let _listener = done(UnixListener::bind_addr(&hanging));
    let _client = done(UnixStream::connect_addr(&hanging));
    let x11 = look(&Options { within: Duration::from_secs(2), ..Options::default() });
    let told: Vec<_> = x11.displays.iter().map(|display| (display.number, &display.access)).collect();
    assert_eq!(told, [(NUMBER, &Access::Answered), (4321, &Access::Silent)]);
    assert_eq!(x11.displays[0].windows.len(), 1);
}
