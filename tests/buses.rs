//! Which names a group has on a message bus: what `dormouse check` tells of a real bus and its clients, and of buses that hang,
//! refuse, or are none.
#![allow(clippy::panic, missing_docs)]

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dormouse_wire::bus::Bus;
use dormouse_wire::window::Access;
use dormouse_wire::{Checked, EdgeKind, Node, ThingKind};
use harness::command;
use harness::specimen::{ORDINARY, without_inheritance};
use harness::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A client that speaks to the bus by itself, and owns the names that it is given.
const CLIENT: &str = r#"
import os, socket, struct, sys, time
address, ready, names = sys.argv[1], sys.argv[2], sys.argv[3:]
bus = socket.socket(socket.AF_UNIX)
bus.connect("\0" + address[1:] if address.startswith("@") else address)
def call(serial, member, body=b"", kinds=""):
    fields = b""
    parts = [(1, "o", "/org/freedesktop/DBus"), (2, "s", "org.freedesktop.DBus"), (3, "s", member),
        (6, "s", "org.freedesktop.DBus")]
    for code, kind, text in parts:
        fields += bytes(-len(fields) % 8) + bytes([code, 1, ord(kind), 0])
        fields += struct.pack("<I", len(text)) + text.encode() + b"\0"
    if kinds: fields += bytes(-len(fields) % 8) + bytes([8, 1, ord("g"), 0, len(kinds)]) + kinds.encode() + b"\0"
    head = struct.pack("<BBBBIII", ord("l"), 1, 0, 1, len(body), serial, len(fields)) + fields
    bus.sendall(head + bytes(-len(head) % 8) + body)
    bus.recv(65536)
if names[:1] != ["silent"]:
    bus.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    bus.recv(1024)
    bus.sendall(b"BEGIN\r\n")
    call(1, "Hello")
    for serial, name in enumerate(names, 2):
        text = struct.pack("<I", len(name)) + name.encode() + b"\0"
        call(serial, "RequestName", text + bytes(-len(text) % 4) + struct.pack("<I", 0), "su")
open(ready, "w").close()
time.sleep(1000)
"#;

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A program that is ended when this is dropped.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(done(without_inheritance(command).spawn()))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn signal(&self, signal: Signal) {
        done(kill(Pid::from_raw(self.pid()), signal));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// A bus of its own, in a folder of its own.
struct OwnBus {
    folder: tempfile::TempDir,
    address: String,
    daemon: Program,
}

impl OwnBus {
    /// Starts one that listens at `unix:KIND=`.
    fn start(kind: &str, user: u32) -> Self {
        let folder = done(tempfile::tempdir());
        done(std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)));
        done(chown(folder.path(), Some(user), Some(user)));
        let path = folder.path().join("bus").display().to_string();
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        command.arg(format!("--address=unix:{kind}={path}")).uid(user).gid(user);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut daemon = done(without_inheritance(&mut command).spawn());
        let mut said = [0];
        // It says its address once it listens.
        let output = daemon.stdout.as_mut().unwrap_or_else(|| panic!("it has no output"));
        done(output.read_exact(&mut said));
        let address = if kind == "abstract" { format!("@{path}") } else { path };
        Self { folder, address, daemon: Program(daemon) }
    }

    fn client(&self, names: &[&str], user: u32) -> Program {
        client(self.folder.path(), &self.address, names, user)
    }
}

fn client(folder: &Path, address: &str, names: &[&str], user: u32) -> Program {
    let ready = folder.join(format!("ready-{}", names.join("-")));
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", CLIENT, address]).arg(&ready).args(names).uid(user).gid(user);
    let client = Program::start(&mut command);
    assert!(until(PATIENCE, || ready.exists().then_some(())).is_some(), "the client does not get in");
    client
}

fn checked(pid: i32) -> Checked {
    let notes = done(tempfile::tempdir());
    let said = command::run(&["check", &pid.to_string(), "--json"], notes.path(), || {}).said;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn text(pid: i32) -> String {
    let notes = done(tempfile::tempdir());
    let said = command::run(&["check", &pid.to_string()], notes.path(), || {}).said;
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The one bus of a group.
fn only(checked: &Checked) -> &Bus {
    let [bus] = checked.buses.as_slice() else { panic!("there should be one bus: {:#?}", checked.buses) };
    bus
}

/// The ends at the bus of the ties of a process.
fn ends(checked: &Checked, pid: i32) -> Vec<Option<String>> {
    let nodes = &checked.graph.nodes;
    let is_bus = |place: usize| matches!(nodes[place], Node::Thing { kind: ThingKind::MessageBus, .. });
    let is_own = |place: usize| matches!(&nodes[place], Node::Process { name, .. } if name.pid.0 == pid);
    let asks = checked.graph.edges.iter().filter(|edge| edge.kind == EdgeKind::Asks);
    asks.filter(|edge| is_own(edge.from) && is_bus(edge.to)).map(|edge| edge.to_end.clone()).collect()
}

#[test]
fn a_client_is_told_with_the_names_it_owns() {
    for kind in ["path", "abstract"] {
        let bus = OwnBus::start(kind, 0);
        let named = bus.client(&["org.example.One", "org.example.Two"], 0);
        let plain = bus.client(&[], 0);
        let checked = checked(named.pid());
        let found = only(&checked);
        assert_eq!((&found.name, &found.access), (&bus.address, &Access::Answered));
        let [client] = found.clients.as_slice() else { panic!("{found:#?}") };
        assert_eq!((client.process.pid.0, client.unique.starts_with(":1.")), (named.pid(), true));
        let mut names = client.names.clone();
        names.sort();
        assert_eq!(names, ["org.example.One", "org.example.Two"]);
        assert_eq!(ends(&checked, named.pid()), [Some(client.shown())]);
        let expected = format!("python3 (pid {}) as {}", named.pid(), client.shown());
        let said = text(named.pid());
        assert!(said.contains(&expected), "{expected:?} is missing: {said}");

        let other = self::checked(plain.pid());
        let [client] = only(&other).clients.as_slice() else { panic!("{other:#?}") };
        assert_eq!((client.process.pid.0, client.names.len()), (plain.pid(), 0));
        assert_eq!(ends(&other, plain.pid()), [Some(client.unique.clone())]);
    }
}

/// How long a check may take with a bus that says nothing, on a busy machine.
const MOST: Duration = Duration::from_secs(10);

/// Checks the client of something that does not tell its names: it is told why, and soon.
fn not_told(pid: i32, access: &Access, words: &str) {
    let begin = Instant::now();
    let checked = checked(pid);
    assert!(begin.elapsed() < MOST, "the check took {:?}", begin.elapsed());
    let bus = only(&checked);
    assert_eq!((&bus.access, bus.clients.len()), (access, 0));
    assert_eq!(ends(&checked, pid), [None]);
    let said = text(pid);
    assert!(said.contains(words), "{words:?} is missing: {said}");
}

#[test]
fn a_bus_that_hangs_is_not_waited_for() {
    let bus = OwnBus::start("path", 0);
    let client = bus.client(&["org.example.Hangs"], 0);
    bus.daemon.signal(Signal::SIGSTOP);
    not_told(client.pid(), &Access::Silent, "it may have names: the bus does not answer.");
    bus.daemon.signal(Signal::SIGCONT);
    let checked =
        until(PATIENCE, || Some(checked(client.pid())).filter(|found| only(found).access == Access::Answered));
    let checked = checked.unwrap_or_else(|| panic!("it does not answer again"));
    assert_eq!(only(&checked).clients[0].names, ["org.example.Hangs"]);
}

#[test]
fn the_bus_of_another_user_lets_nobody_in() {
    let bus = OwnBus::start("path", ORDINARY);
    let client = bus.client(&["org.example.Other"], ORDINARY);
    let refused = Access::Refused("it lets in other users only".to_owned());
    not_told(client.pid(), &refused, "the bus does not let Dormouse in (it lets in other users only).");
}

/// Something that has the name of a bus, and what it answers whoever connects.
fn no_bus(answer: &'static [u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = done(tempfile::tempdir());
    let path = folder.path().join("bus");
    let listener = done(UnixListener::bind(&path));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            use std::io::Write;
            let _ = client.write_all(answer);
            std::thread::spawn(move || client.read_to_end(&mut Vec::new()));
        }
    });
    (folder, path)
}

#[test]
fn what_only_looks_like_a_bus_is_told_as_that() {
    let speaks_not = Access::Refused("it does not speak D-Bus".to_owned());
    let lies = b"OK 00\r\nl\x02\0\x01\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff";
    for (answer, access, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &speaks_not, "it does not speak D-Bus"),
        (lies, &speaks_not, "it does not speak D-Bus"),
        (b"", &Access::Silent, "the bus does not answer"),
    ] {
        let (folder, path) = no_bus(answer);
        let client = client(folder.path(), &path.display().to_string(), &["silent"], 0);
        not_told(client.pid(), access, words);
    }
}

#[test]
fn a_bus_that_belongs_to_the_group_is_asked_while_it_runs() {
    let folder = done(tempfile::tempdir());
    let path = folder.path().join("bus").display().to_string();
    let ready = folder.path().join("ready");
    let whole = format!("dbus-daemon --session --nofork --nopidfile --address=unix:path={path} & \"$@\" & wait");
    let mut command = Command::new("sh");
    let wait = format!("import os,time\nwhile not os.path.exists({path:?}): time.sleep(0.01)\n{CLIENT}");
    command.args(["-c", &whole, "sh", "/usr/bin/python3", "-c", &wait, &path]).arg(&ready).arg("org.example.Within");
    let mut shell = Program::start(command.process_group(0));
    assert!(until(PATIENCE, || ready.exists().then_some(())).is_some(), "the client does not get in");
    let checked = checked(shell.pid());
    let found = only(&checked);
    let names: Vec<&str> = found.clients.iter().flat_map(|client| &client.names).map(String::as_str).collect();
    let end = nix::sys::signal::killpg(Pid::from_raw(shell.pid()), Signal::SIGKILL);
    let _ = shell.0.wait();
    done(end);
    assert_eq!((&found.access, names), (&Access::Answered, vec!["org.example.Within"]));
}
