//! What `dormouse check` says of the sockets of processes in network namespaces of their own: both ends where it may look,
//! and nothing that another namespace has by the same name.
#![allow(clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use dormouse_wire::Checked;
use harness::graph::{Tie, check, ties, ties_of};
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User, command};
use serde::Deserialize;

/// A filesystem of its own at a place that others have too.
const START: &str = r#"mount -t tmpfs own "$2" && exec python3 -c "$1" "$2" "$3" "$4""#;

/// Two processes with a pair, TCP connections and services by names that every such program has. It writes what it has made to
/// `made`.
const PROGRAM: &str = r#"
import fcntl, json, os, socket, struct, sys, time
place, outside, folder = sys.argv[1:4]
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 1)); control.close()
def listens(family, name):
    listener = socket.socket(family); listener.bind(name); listener.listen(1)
    return listener
near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
pair = sorted(os.fstat(end.fileno()).st_ino for end in (near, far))
names = [(socket.AF_INET, ("127.0.0.1", 4000)), (socket.AF_UNIX, "\0ties"), (socket.AF_UNIX, place + "/service")]
listeners = [listens(*name) for name in names]
child = os.fork()
if child == 0:
    for own in (near, *listeners): own.close()
    clients = [socket.socket(family) for family, _ in names]
    clients[0].bind(("127.0.0.1", 4001))
    for client, (_, name) in zip(clients, names): client.connect(name)
    outer = socket.socket(socket.AF_UNIX); outer.connect(outside)
    far.send(json.dumps([end.fileno() for end in (far, outer, *clients)]).encode())
    while os.path.isdir(folder): time.sleep(0.2)
    os._exit(0)
far.close()
servers = [listener.accept()[0] for listener in listeners]
theirs = json.loads(near.recv(1000))
file = os.stat(place + "/service")
numbers = lambda sockets: [end.fileno() for end in sockets]
json.dump(dict(pair=pair, near=near.fileno(), child=child, far=theirs[0], outer=theirs[1], clients=theirs[2:],
    servers=numbers(servers), listeners=numbers(listeners),
    file=[os.major(file.st_dev), os.minor(file.st_dev), file.st_ino],
    network=os.stat("/proc/self/ns/net").st_ino), open(folder + "/made.tmp", "w"))
os.rename(folder + "/made.tmp", folder + "/made")
while os.path.isdir(folder): time.sleep(0.2)
"#;

/// What the program says that it has made: descriptors, and by what it is known.
#[derive(Deserialize)]
struct Made {
    pair: [u64; 2],
    near: i32,
    child: i32,
    far: i32,
    outer: i32,
    clients: [i32; 3],
    servers: [i32; 3],
    listeners: [i32; 3],
    file: [u64; 3],
    network: u64,
}

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn start(user: User, place: &Path, outside: &Path) -> (Specimen, Made) {
    let program = Program::named("networks");
    let specimen = Specimen::launch(&program, user, |folder| {
        let mut command = Command::new("unshare");
        if user == User::Ordinary {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "sh", "-c", START, "sh", PROGRAM]).args([place, outside, folder]);
        command
    });
    let path = specimen.folder().join("made");
    let text = until(PATIENCE, || fs::read_to_string(&path).ok());
    let text = text.unwrap_or_else(|| panic!("nothing was made:\n{}", specimen.errors()));
    (specimen, done(serde_json::from_str(&text)))
}

fn expected(pid: i32, made: &Made, place: &Path, outside: (&Path, i32)) -> BTreeSet<Tie> {
    let mark = format!(" (network namespace {})", made.network);
    let [major, minor, inode] = made.file;
    let services = [
        ("tcp", format!("127.0.0.1:4000 and 127.0.0.1:4001{mark}")),
        ("service", format!("@ties{mark}")),
        ("service", format!("{}/service [{major}:{minor}:{inode}]", place.display())),
    ];
    let tie = |kind: &str, name: &str, leads_there, pid, number: i32| {
        (kind.to_owned(), name.to_owned(), leads_there, pid, format!("descriptor {number}"))
    };
    let pair = format!("socket:[{}]-[{}]", made.pair[0], made.pair[1]);
    let outer = outside.0.display().to_string();
    let mut ties = BTreeSet::from([
        tie("unix-socket", &pair, true, pid, made.near),
        tie("unix-socket", &pair, true, made.child, made.far),
        tie("service", &outer, true, made.child, made.outer),
        tie("service", &outer, false, std::process::id() as i32, outside.1),
        tie("service", &format!("TCP 127.0.0.1:4000{mark}"), false, pid, made.listeners[0]),
    ]);
    for (place, (kind, name)) in services.iter().enumerate() {
        ties.insert(tie(kind, name, true, made.child, made.clients[place]));
        ties.insert(tie(kind, name, *kind == "tcp", pid, made.servers[place]));
        if *kind != "tcp" {
            ties.insert(tie(kind, name, false, pid, made.listeners[place]));
        }
    }
    ties
}

#[test]
fn both_ends_are_found_in_each_network_and_never_those_of_another() {
    let folder = done(tempfile::tempdir());
    let place = folder.path().join("place");
    done(fs::create_dir(&place));
    let outside = folder.path().join("outside");
    let listener = done(UnixListener::bind(&outside));
    let (one, made_by_one) = start(User::Root, &place, &outside);
    let (other, made_by_other) = start(User::Root, &place, &outside);
    assert_ne!(made_by_one.network, made_by_other.network);
    for (specimen, made) in [(&one, &made_by_one), (&other, &made_by_other)] {
        let checked = check(specimen, specimen.pid());
        let found = ties_of(&checked, &["unix-socket", "tcp", "service", "remote-host"]);
        let wanted = expected(specimen.pid(), made, &place, (&outside, listener.as_raw_fd()));
        let (missing, invented): (Vec<_>, Vec<_>) =
            (wanted.difference(&found).collect(), found.difference(&wanted).collect());
        assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}\ninvented: {invented:#?}");
    }
}

/// Who may not enter a network is told nothing of its unix sockets, and of all else as before.
#[test]
fn without_the_privilege_unix_sockets_of_another_network_are_unknown() {
    let folder = done(tempfile::tempdir());
    done(fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)));
    let place = folder.path().join("place");
    done(fs::create_dir(&place));
    let outside = folder.path().join("outside");
    let _listener = done(UnixListener::bind(&outside));
    done(fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)));
    let (specimen, made) = start(User::Ordinary, &place, &outside);
    let dormouse = folder.path().join("dormouse");
    done(fs::copy(command::path(), &dormouse));
    let user = done(fs::metadata(format!("/proc/{}", specimen.pid()))).uid().to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&dormouse);
    command.args(["check", &specimen.pid().to_string(), "--json"]).env_remove("HOME").stdin(Stdio::null());
    let output = done(command.output());
    let checked: Checked = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(ties_of(&checked, &["unix-socket"]), BTreeSet::new());
    let abstracts = ties(&checked).into_iter().filter(|tie| tie.1.starts_with("@ties")).collect::<Vec<_>>();
    assert_eq!(abstracts, []);
    let tcp = format!("127.0.0.1:4000 and 127.0.0.1:4001 (network namespace {})", made.network);
    let holders: Vec<i32> = ties(&checked).into_iter().filter(|tie| tie.1 == tcp).map(|tie| tie.3).collect();
    assert_eq!(holders, BTreeSet::from([specimen.pid(), made.child]).into_iter().collect::<Vec<_>>(), "{output:?}");
}
