//! Connections to services and from clients that a freeze cuts when it is told to (`--disconnect`): both programs find them
//! closed, what had arrived before can still be read, and nothing is cut that was not named.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::command::Outcome;
use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use harness::{Job, User, command};

/// A program with three connections to services outside: one in the middle of a conversation, one at an abstract name, and one
/// that has not been accepted yet.
const CLIENT: &str = r#"
import os, socket, sys, time
path, abstract, late = (socket.socket(socket.AF_UNIX) for _ in range(3))
path.connect("service")
abstract.connect("\0" + sys.argv[1])
late.connect("late")
path.send(b"hello")
abstract.send(b"hello")
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
assert path.recv(100) == b"it waits to be read", "what had arrived is gone"
for end in (path, abstract, late):
    assert end.recv(100) == b"", "it is not closed"
    try:
        end.send(b"x")
        raise SystemExit("somebody hears")
    except BrokenPipeError:
        pass
assert path.getpeername() == os.path.abspath("service")
again = socket.socket(socket.AF_UNIX)
again.connect("service")
again.send(b"back")
print("connected again", flush=True)
"#;

/// A server with a client outside, and another one that it has not accepted.
const SERVER: &str = r#"
import os, socket, time
listener = socket.socket(socket.AF_UNIX)
listener.bind("service")
os.chmod("service", 0o777)
listener.listen(5)
print("listens", flush=True)
client, _ = listener.accept()
assert client.recv(100) == b"first"
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
assert client.recv(100) == b"unread"
assert client.recv(100) == b"", "it is not closed"
# Who had waited is gone, and who comes later is served.
late, _ = listener.accept()
assert late.recv(100) == b"late"
late.send(b"welcome")
print("served", flush=True)
"#;

fn freeze(job: &mut Job, options: &[&str]) -> Outcome {
    let (pid, image) = (job.specimen().pid().to_string(), job.specimen().image());
    let folder = image.parent().unwrap_or(&image).to_owned();
    let known = job.specimen().members();
    let image = image.to_string_lossy();
    let arguments = [&["freeze", &pid, "-o", &image], options].concat();
    command::run(&arguments, &folder, || harness::group::reap(&known))
}

fn refused(job: &mut Job, options: &[&str]) -> String {
    let group = job.specimen().members();
    let outcome = freeze(job, options);
    assert!(!outcome.status.success(), "{options:?}: it was frozen, and should have been refused");
    job.specimen().assert_untouched(&group);
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Freezes it with these options, and thaws it.
fn nap(job: &mut Job, options: &[&str]) {
    let group = job.specimen().members();
    freeze(job, &[options, &["--accept-losses"]].concat()).expect_success("freeze");
    job.specimen().assert_asleep(&group);
    job.specimen().thaw().expect_success("thaw");
    job.specimen().assert_awake(&group);
}

fn opened(path: &Path) -> UnixListener {
    use std::os::unix::fs::PermissionsExt;
    let listener = UnixListener::bind(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let set = fs::set_permissions(path, fs::Permissions::from_mode(0o777));
    set.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    listener
}

fn accepted(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().unwrap_or_else(|error| panic!("{error}"));
    let limited = stream.set_read_timeout(Some(Duration::from_secs(30)));
    limited.unwrap_or_else(|error| panic!("{error}"));
    stream
}

fn heard(stream: &mut UnixStream) -> String {
    let mut bytes = [0; 100];
    match stream.read(&mut bytes) {
        Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
        Err(error) => format!("{error}"),
    }
}

#[test]
fn a_program_finds_its_services_closed_once_they_are_cut() {
    for user in [User::Root, User::Ordinary] {
        let name = format!("dormouse-test-{}-{user:?}", std::process::id());
        let mut abstract_listener = None;
        let mut listeners = None;
        let mut job = Job::start("client.py", user, |folder| {
            let address = SocketAddr::from_abstract_name(&name).unwrap_or_else(|error| panic!("{error}"));
            let bound = UnixListener::bind_addr(&address).unwrap_or_else(|error| panic!("{error}"));
            abstract_listener = Some(bound);
            listeners = Some([opened(&folder.join("service")), opened(&folder.join("late"))]);
            let script = folder.join("client.py");
            fs::write(&script, CLIENT).unwrap_or_else(|error| panic!("{error}"));
            let mut command = Command::new("python3");
            command.arg(script).arg(&name);
            command
        });
        let (Some(abstract_listener), Some([service, late])) = (abstract_listener, listeners) else {
            panic!("nobody listens")
        };
        job.wait_for("ready");
        let mut streams = [accepted(&service), accepted(&abstract_listener)];
        assert_eq!(streams.each_mut().map(heard), ["hello", "hello"]);
        let written = streams[0].write_all(b"it waits to be read");
        written.unwrap_or_else(|error| panic!("{error}"));

        // What is not named stands in the way, and the loss has to be accepted.
        let said = refused(&mut job, &["--accept-losses"]);
        assert!(said.contains("--disconnect") && !said.contains("finds it closed"), "{said}");
        let at =
            ["service", "late"].map(|name| format!("--disconnect={}", job.specimen().folder().join(name).display()));
        let said = refused(&mut job, &["--accept-losses", &at[0], &at[1]]);
        assert!(said.contains(&format!("at @{name}")) && said.contains("1 thing stands in the way"), "{said}");
        let said = refused(&mut job, &["--disconnect"]);
        assert!(said.contains("the program finds it closed") && !said.contains("stands in the way"), "{said}");
        assert!(streams.each_mut().iter_mut().all(|stream| is_open(stream)), "a refusal has closed something");

        nap(&mut job, &[&at[0], &at[1], &format!("--disconnect=@{name}")]);
        // The first one had not read all: the kernel tells its service so.
        let told = streams.each_mut().map(heard);
        assert!(told[0].contains("reset") && told[1].is_empty(), "the services have not been told: {told:?}");
        drop(late);
        job.make("go");
        let again = std::thread::spawn(move || heard(&mut accepted(&service)));
        assert!(job.end().ends_with("connected again\n"));
        assert_eq!(again.join().unwrap_or_default(), "back");
    }
}

/// Whether nothing comes, and no end either.
fn is_open(stream: &mut UnixStream) -> bool {
    let set = stream.set_nonblocking(true);
    set.unwrap_or_else(|error| panic!("{error}"));
    let answer = stream.read(&mut [0]).map_err(|error| error.kind());
    let set = stream.set_nonblocking(false);
    set.unwrap_or_else(|error| panic!("{error}"));
    answer == Err(ErrorKind::WouldBlock)
}

#[test]
fn clients_of_a_group_are_cut_and_told_so() {
    for user in [User::Root, User::Ordinary] {
        let mut job = Job::script(&["python3"], user, ("server.py", SERVER), &[]);
        job.wait_for("listens");
        let path = job.specimen().folder().join("service");
        let connect = || UnixStream::connect(&path).unwrap_or_else(|error| panic!("{error}"));
        let mut client = connect();
        client.write_all(b"first").unwrap_or_else(|error| panic!("{error}"));
        job.wait_for("ready");
        client.write_all(b"unread").unwrap_or_else(|error| panic!("{error}"));
        let mut waits = connect();
        let said = refused(&mut job, &["--accept-losses"]);
        for part in ["is connected to it at service", "waits to be accepted by it", "--disconnect"] {
            assert!(said.contains(part), "the refusal does not say {part}:\n{said}");
        }
        nap(&mut job, &["--disconnect"]);
        // A connection that was never accepted is reset by the kernel.
        let ends = [heard(&mut client), heard(&mut waits)];
        assert!(ends[1].is_empty() || ends[1].contains("reset"), "{ends:?}");
        assert!(ends[0].is_empty() || ends[0].contains("reset"), "{ends:?}");
        job.make("go");
        let mut late = connect();
        late.write_all(b"late").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(heard(&mut late), "welcome");
        assert!(job.end().ends_with("served\n"));
    }
}

#[test]
fn a_real_client_of_a_message_bus_learns_that_it_is_gone() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let address = format!("unix:path={}", folder.path().join("bus").display());
    let mut daemon = Command::new("dbus-daemon");
    daemon.args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--address", &address]);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    without_inheritance(&mut daemon);
    let mut daemon = daemon.spawn().unwrap_or_else(|error| panic!("dbus-daemon: {error}"));
    let listens = until(PATIENCE, || folder.path().join("bus").exists().then_some(()));
    assert!(listens.is_some(), "the bus does not listen");
    let mut job = Job::start("dbus-monitor", User::Root, |_| {
        let mut command = Command::new("dbus-monitor");
        command.args(["--address", &address]);
        command
    });
    job.wait_for("NameAcquired");
    let said = refused(&mut job, &["--accept-losses"]);
    assert!(said.contains("it is connected to a message bus (D-Bus), dbus-daemon"), "{said}");
    freeze(&mut job, &["--disconnect", "--accept-losses"]).expect_success("freeze");
    job.specimen().thaw().expect_success("thaw");
    let pid = job.specimen().pid();
    let mut status = 0;
    // SAFETY: `status` lives through the call, and WNOHANG keeps it from waiting.
    let ended =
        until(PATIENCE, || (unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid).then_some(()));
    assert!(ended.is_some(), "it waits for a bus that is gone");
    assert!(libc::WIFEXITED(status), "it did not end by itself: {status:#x}");
    daemon.kill().and_then(|()| daemon.wait()).unwrap_or_else(|error| panic!("{error}"));
}
