//! Unix sockets that lead out of a group: a connection to a service is refused by name, a pair without a name makes its
//! other holder a member, a datagram socket that logs is connected again; and a server that comes back in the middle of
//! a conversation with its client. And terminals: one that only half of its users would leave, and two at once.
#![allow(missing_docs, clippy::panic)]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use harness::{Job, User, command};

/// A program that connects to what lies in its folder, and says what it hears.
const CLIENT: &str = r#"
import os, socket, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
while not os.path.exists(folder + "/service"):
    time.sleep(0.01)
kind = socket.SOCK_DGRAM if os.path.exists(folder + "/datagrams") else socket.SOCK_STREAM
service = socket.socket(socket.AF_UNIX, kind)
service.connect(folder + "/service")
service.send(b"hello")
print("ready", flush=True)
while not os.path.exists(folder + "/go"):
    time.sleep(0.01)
service.send(b"still here")
print("done", flush=True)
"#;

/// A process that holds one end of a pair, and a child in a session of its own that holds the other.
const PAIR: &str = r#"
import os, socket, sys
near, far = socket.socketpair()
child = os.fork()
if child == 0:
    near.close()
    os.setsid()
    for line in far.makefile("rb"):
        far.send(b"answer to " + line)
    os._exit(0)
far.close()
near.send(b"before\n")
print("child", child, flush=True)
while not os.path.exists("go"):
    import time; time.sleep(0.01)
near.send(b"after\n")
near.shutdown(socket.SHUT_WR)
heard = b""
while part := near.recv(1000):
    heard += part
assert heard == b"answer to before\nanswer to after\n", heard
os.waitpid(child, 0)
print("both heard", flush=True)
"#;

/// The same with ends that the kernel has named, for each has sent its credentials.
const NAMED_PAIR: &str = r#"
import os, socket, time
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for end in (near, far):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
child = os.fork()
if child == 0:
    near.close()
    os.setsid()
    while line := far.recv(100):
        far.send(b"answer to " + line)
    os._exit(0)
far.close()
near.send(b"before")
assert near.recv(100) == b"answer to before"
names = near.getsockname(), near.getpeername()
assert all(len(name) == 6 and name[0] == 0 for name in names), names
print("child", child, flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
near.send(b"after")
_, control, _, _ = (heard := near.recvmsg(100, 100))
assert heard[0] == b"answer to after" and control, heard
assert (near.getsockname(), near.getpeername()) == names
near.shutdown(socket.SHUT_WR)
os.waitpid(child, 0)
print("both heard", flush=True)
"#;

/// A threading server and a client that are in the middle of a conversation.
const SERVER: &str = r#"
import os, signal, socket, socketserver, time

class Count(socketserver.StreamRequestHandler):
    def handle(self):
        total = 0
        for line in self.rfile:
            total += int(line)
            self.wfile.write(b"%d\n" % total)

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

server = Server("counting", Count)
if os.fork() == 0:
    server.serve_forever()
expected, clients = 0, []
for _ in range(5):
    client = socket.socket(socket.AF_UNIX)
    client.connect("counting")
    clients.append(client.makefile("rwb"))
number = 0
while number < 400 or not os.path.exists("go"):
    number += 1
    expected += number
    for client in clients:
        client.write(b"%d\n" % number)
        client.flush()
    for client in clients:
        assert int(client.readline()) == expected
    if number == 5:
        print("ready", flush=True)
    time.sleep(0.002)
late = socket.socket(socket.AF_UNIX)
late.connect("counting")
late.send(b"5\n")
assert late.recv(10) == b"5\n"
print("counted right", flush=True)
os.kill(int(open("/proc/self/task/%d/children" % os.getpid()).read().split()[0]), signal.SIGKILL)
os.wait()
"#;

/// A child in a session of its own with both ends of a pseudo-terminal, of which its parent has the slave open too.
const HALF_A_TERMINAL: &str = r#"
import os, time
master, slave = os.openpty()
child = os.fork()
if child == 0:
    os.setsid()
else:
    os.close(master)
    print("child", child, os.ttyname(slave), flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
if child == 0:
    os.write(master, b"a line\n")
    while not os.path.exists("read"):
        time.sleep(0.01)
    os._exit(0)
assert os.read(slave, 100) == b"a line\n"
open("read", "w").close()
os.waitpid(child, 0)
print("it was read", flush=True)
"#;

/// A program that opens the terminals it is told.
const TERMINALS: &str = r#"
import os, sys, time
terminals = [os.open(name, os.O_RDWR | os.O_NOCTTY) for name in sys.argv[1:]]
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
for terminal in terminals:
    os.write(terminal, b"hello")
"#;

/// The refused freeze of a job: what the command has said.
fn refused(job: &mut Job) -> String {
    let group = job.specimen().members();
    let outcome = job.specimen().freeze();
    assert!(!outcome.status.success(), "it was frozen, and should have been refused");
    job.specimen().assert_untouched(&group);
    // The command breaks lines where they are long.
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn receive(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 100];
    let received = socket.set_read_timeout(Some(Duration::from_secs(30))).and_then(|()| socket.recv(&mut bytes));
    let length = received.unwrap_or_else(|error| panic!("nothing comes: {error}"));
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Lets everybody reach the socket.
fn opened(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let set = fs::set_permissions(path, fs::Permissions::from_mode(0o777));
    set.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[test]
fn a_connection_to_a_service_is_refused_with_its_name() {
    let mut job = Job::script(&["python3"], User::Ordinary, ("client.py", CLIENT), &[]);
    let path = job.specimen().folder().join("service");
    let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{error}"));
    opened(&path);
    let own = format!("(pid {})", std::process::id());
    // Whether it has been accepted yet or not.
    job.wait_for("ready");
    let said = refused(&mut job);
    for part in ["it waits to be connected to a service", &own, &path.to_string_lossy()] {
        assert!(said.contains(part), "the refusal does not say {part}:\n{said}");
    }
    let (mut server, _) = listener.accept().unwrap_or_else(|error| panic!("{error}"));
    let said = refused(&mut job);
    for part in ["it is connected to a service", &own, &path.to_string_lossy()] {
        assert!(said.contains(part), "the refusal does not say {part}:\n{said}");
    }
    job.make("go");
    job.end();
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut server, &mut heard).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(heard, "hellostill here");
}

#[test]
fn a_datagram_socket_is_connected_to_its_service_again() {
    let mut job = Job::script(&["python3"], User::Ordinary, ("client.py", CLIENT), &[]);
    job.make("datagrams");
    let path = job.specimen().folder().join("service");
    let log = UnixDatagram::bind(&path).unwrap_or_else(|error| panic!("{error}"));
    opened(&path);
    job.wait_for("ready");
    job.nap();
    job.make("go");
    job.end();
    assert_eq!((receive(&log), receive(&log)), ("hello".to_owned(), "still here".to_owned()));
}

#[test]
fn a_client_outside_is_named() {
    let mut job = Job::script(&["python3"], User::Root, ("server.py", SERVER), &[]);
    job.wait_for("ready");
    let path = job.specimen().folder().join("counting");
    let client = UnixStream::connect(path).unwrap_or_else(|error| panic!("{error}"));
    std::thread::sleep(Duration::from_millis(300));
    let said = refused(&mut job);
    for part in [format!("(pid {})", std::process::id()), "is connected to it at counting".to_owned()] {
        assert!(said.contains(&part), "the refusal does not say {part}:\n{said}");
    }
    drop(client);
    job.make("go");
    assert!(job.end().contains("counted right"));
}

#[test]
fn the_holder_of_the_other_end_of_a_pair_joins() {
    for script in [PAIR, NAMED_PAIR] {
        let mut job = Job::script(&["python3"], User::Ordinary, ("pair.py", script), &[]);
        job.wait_for("child");
        std::thread::sleep(Duration::from_millis(200));
        let said = job.said();
        let child = said.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let (image, known) = (job.specimen().image(), job.specimen().members());
        let folder = image.parent().unwrap_or(&image).to_owned();
        let image = image.to_string_lossy();
        let freeze = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&known));
        // Where only the tree is wanted it is told as what it is.
        let outcome = freeze(&["freeze", &child, "--tree-only", "-o", &image]);
        assert!(!outcome.status.success(), "an end of a pair was frozen alone");
        let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
        let parent = format!("(pid {}) has the other end of it and is not part of the group", job.specimen().pid());
        assert!(said.contains(&parent) && !said.contains("a service"), "{said}");
        freeze(&["freeze", &child, "-o", &image]).expect_success("freeze");
        job.specimen().assert_asleep(&known);
        job.specimen().thaw().expect_success("thaw");
        job.specimen().assert_awake(&known);
        job.make("go");
        assert!(job.end().ends_with("both heard\n"));
    }
}

#[test]
fn a_server_and_its_clients_go_on_in_the_middle_of_a_conversation() {
    for user in [User::Root, User::Ordinary] {
        let mut job = Job::script(&["python3"], user, ("server.py", SERVER), &[]);
        job.wait_for("ready");
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(70));
            job.nap();
        }
        job.make("go");
        assert!(job.end().ends_with("counted right\n"));
    }
}

#[test]
fn a_terminal_that_the_tree_shares_with_others_is_refused_where_only_the_tree_is_wanted() {
    let _alone = harness::alone::with_terminals();
    let mut job = Job::script(&["python3"], User::Root, ("half.py", HALF_A_TERMINAL), &[]);
    job.wait_for("/dev/pts/");
    std::thread::sleep(Duration::from_millis(200));
    let said = job.said();
    let words: Vec<_> = said.split_whitespace().collect();
    let (image, known) = (job.specimen().image(), job.specimen().members());
    let folder = image.parent().unwrap_or(&image).to_owned();
    let freeze = |arguments: &[&str]| command::run(arguments, &folder, || harness::group::reap(&known));
    let image = image.to_string_lossy();
    let outcome = freeze(&["freeze", words[1], "--tree-only", "-o", &image]);
    assert!(!outcome.status.success(), "half of the users of a terminal were frozen");
    job.specimen().assert_untouched(&known);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    let parent =
        format!("(pid {}) is on this terminal ({}) and is not part of the group", job.specimen().pid(), words[2]);
    for part in [&parent, &format!("(pid {}), descriptor ", words[1]), "(/dev/ptmx)"] {
        assert!(said.contains(part), "the refusal does not say {part}:\n{said}");
    }
    // Without that wish the parent comes along.
    freeze(&["freeze", words[1], "-o", &image]).expect_success("freeze");
    job.specimen().assert_asleep(&known);
    job.specimen().thaw().expect_success("thaw");
    job.specimen().assert_awake(&known);
    job.make("go");
    assert!(job.end().ends_with("it was read\n"));
}

#[test]
fn a_job_on_two_terminals_outside_it_is_refused_with_both() {
    let _alone = harness::alone::with_terminals();
    let pairs = [(); 2].map(|()| nix::pty::openpty(None, None).unwrap_or_else(|error| panic!("{error}")));
    let names = pairs.each_ref().map(|pair| {
        nix::unistd::ttyname(&pair.slave).unwrap_or_else(|error| panic!("{error}")).to_string_lossy().into_owned()
    });
    let mut job = Job::script(&["python3"], User::Root, ("terminals.py", TERMINALS), &[&names[0], &names[1]]);
    job.wait_for("ready");
    let said = refused(&mut job);
    let own = format!("(pid {}), ", job.specimen().pid());
    // Told once, with both.
    let mut both = names.clone();
    both.sort();
    for part in ["the group is on several terminals outside it", &format!("{own}{}", both.join(", "))] {
        assert!(said.contains(part), "the refusal does not say {part}:\n{said}");
    }
    job.make("go");
    job.end();
}
