//! What `dormouse check` says a group needs of the system, held against what a program has made: files on a filesystem that
//! only it sees, a device, ends in the network.
#![allow(clippy::panic, missing_docs)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dormouse_wire::needs::{Endpoint, EndpointState, Filesystem, Use};
use dormouse_wire::{Checked, FdNumber, Needs};
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User, command};
use serde::Deserialize;

/// Mounts a tmpfs that nobody else sees, and goes on as a program that has files on it, a device, and sockets.
const START: &str =
    r#"mkdir "$1/own" && mount -t tmpfs needs-source "$1/own" && cd "$1/own" && exec python3 -c "$2" "$1""#;
const HOLD: &str = r#"
import json, mmap, os, socket, sys, time
folder = sys.argv[1]
written = os.open(b"written\n\xff", os.O_RDWR | os.O_CREAT)
open("read", "w").close(); read = os.open("read", os.O_RDONLY)
gone = os.open("gone", os.O_RDWR | os.O_CREAT); os.unlink("gone")
mapped = os.open("mapped", os.O_RDWR | os.O_CREAT); os.ftruncate(mapped, 4096)
memory = mmap.mmap(mapped, 4096); os.close(mapped)
pseudo = [os.open("/proc/self/stat", os.O_RDONLY), os.open("/dev/null", os.O_RDWR), os.memfd_create("x"), *os.pipe()]
device = os.open("/dev/fuse", os.O_RDWR)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(1)
client = socket.socket(); client.connect(listener.getsockname()); server, _ = listener.accept()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); six.bind(("::1", 0))
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); route.bind((0, 0))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
unbound = socket.socket()
made = dict(written=written, device=device, listener=[listener.fileno(), *listener.getsockname()],
    client=[client.fileno(), *client.getsockname()], server=server.fileno(), udp=[udp.fileno(), *udp.getsockname()],
    six=[six.fileno(), *six.getsockname()[:2]], route=route.fileno(), raw=raw.fileno(), packet=packet.fileno())
json.dump(made, open(folder + "/made.tmp", "w"))
os.rename(folder + "/made.tmp", folder + "/made")
while os.path.exists(folder + "/made"): time.sleep(0.1)
"#;

type Socket = (i32, String, u16);

/// What the program says that it has made.
#[derive(Deserialize)]
struct Made {
    device: i32,
    listener: Socket,
    client: Socket,
    server: i32,
    udp: Socket,
    six: Socket,
    route: i32,
    raw: i32,
    packet: i32,
}

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn start(namespaces: &str) -> (Specimen, Made) {
    let program = Program::named("needs");
    let specimen = Specimen::launch(&program, User::Root, |folder| {
        let mut command = Command::new("unshare");
        command.args([namespaces, "sh", "-c", START, "sh"]).arg(folder).arg(HOLD).stdin(Stdio::null());
        command
    });
    let path = specimen.folder().join("made");
    let text = until(PATIENCE, || fs::read_to_string(&path).ok());
    let text = text.unwrap_or_else(|| panic!("nothing was made:\n{}", specimen.errors()));
    (specimen, done(serde_json::from_str(&text)))
}

fn needs(specimen: &Specimen) -> Needs {
    let outcome = command::run(&["check", &specimen.pid().to_string(), "--json"], &specimen.folder(), || {});
    let checked: Checked =
        serde_json::from_str(&outcome.said).unwrap_or_else(|error| panic!("{error}: {}", outcome.said));
    checked.needs
}

/// The files of a filesystem: name within it, and uses.
fn files(filesystem: &Filesystem) -> Vec<(String, Vec<Use>)> {
    let top = filesystem.mount_point.clone().unwrap_or_default();
    let name = |path: &str| path.strip_prefix(&top).unwrap_or(path).to_owned();
    filesystem.files.iter().map(|file| (name(&file.path), file.uses.clone())).collect()
}

#[test]
fn files_are_told_by_the_mount_they_lie_on() {
    let (specimen, _) = start("--mount");
    let needs = needs(&specimen);
    let own = specimen.folder().join("own").display().to_string();
    let found = needs.filesystems.iter().find(|found| found.mount_point.as_deref() == Some(&own));
    let found = found.unwrap_or_else(|| panic!("{own} is missing: {:#?}", needs.filesystems));
    assert_eq!((found.kind.as_str(), found.source.as_str(), found.subtree.as_str()), ("tmpfs", "needs-source", "/"));
    assert!(found.elsewhere);
    let expected = [
        (String::new(), vec![Use::WorkingDirectory]),
        ("/mapped".to_owned(), vec![Use::MappedForWriting, Use::OpenForWriting]),
        ("/read".to_owned(), vec![Use::Open]),
        ("/written\\n\u{fffd}".to_owned(), vec![Use::OpenForWriting]),
    ];
    // mmap of Python keeps a descriptor of its own.
    assert_eq!(files(found), expected, "what was removed has no place any more");

    let all = |does: Use| -> Vec<&str> {
        let files = needs.filesystems.iter().flat_map(|filesystem| &filesystem.files);
        files.filter(|file| file.uses.contains(&does)).map(|file| file.path.as_str()).collect()
    };
    let program = done(fs::read_link(format!("/proc/{}/exe", specimen.pid()))).display().to_string();
    assert_eq!((all(Use::Program), all(Use::Root)), (vec![program.as_str()], vec!["/"]));
    assert!(all(Use::Library).iter().any(|path| path.contains("/libc.so.6")), "{:?}", all(Use::Library));
    let made_up = needs.filesystems.iter().find(|found| ["proc", "devtmpfs", "sysfs"].contains(&found.kind.as_str()));
    assert_eq!(made_up, None);
}

/// What of an end is to be as it was made: protocol, state, own and other address, descriptor.
type End = (String, EndpointState, Option<String>, Option<String>, i32);

fn ends(endpoints: &[Endpoint], pid: i32) -> Vec<End> {
    let end = |endpoint: &Endpoint| {
        let [holder] = endpoint.holders.as_slice() else { panic!("one holds it: {endpoint:?}") };
        let [FdNumber(number)] = holder.descriptors[..] else { panic!("by one descriptor: {endpoint:?}") };
        assert_eq!(holder.process.pid.0, pid);
        (endpoint.protocol.clone(), endpoint.state, endpoint.local.clone(), endpoint.remote.clone(), number)
    };
    let mut ends: Vec<End> = endpoints.iter().map(end).collect();
    ends.sort_by_key(|end| end.4);
    ends
}

fn expected(made: &Made) -> Vec<End> {
    use EndpointState::{Bound, Connected, Listens, Open};
    let address = |socket: &Socket| Some(format!("{}:{}", socket.1, socket.2));
    let (listener, client) = (address(&made.listener), address(&made.client));
    let six = Some(format!("[{}]:{}", made.six.1, made.six.2));
    let text = |word: &str| Some(word.to_owned());
    vec![
        ("tcp".to_owned(), Listens, listener.clone(), None, made.listener.0),
        ("tcp".to_owned(), Connected, client.clone(), listener.clone(), made.client.0),
        ("tcp".to_owned(), Connected, listener, client, made.server),
        ("udp".to_owned(), Bound, address(&made.udp), None, made.udp.0),
        ("udp".to_owned(), Bound, six, None, made.six.0),
        ("netlink".to_owned(), Open, text("route"), None, made.route),
        ("raw".to_owned(), Bound, text("0.0.0.0 (protocol 1)"), None, made.raw),
        ("packet".to_owned(), Open, text("all interfaces"), None, made.packet),
    ]
}

#[test]
fn ends_in_the_network_and_devices_are_told_as_they_were_made() {
    let (specimen, made) = start("--mount");
    let needs = needs(&specimen);
    assert_eq!(ends(&needs.endpoints, specimen.pid()), expected(&made));
    assert!(needs.endpoints.iter().all(|endpoint| !endpoint.elsewhere));
    let devices: Vec<_> =
        needs.devices.iter().map(|device| (device.path.as_str(), device.holders.as_slice())).collect();
    let [("/dev/fuse", [holder])] = devices[..] else { panic!("{devices:#?}") };
    assert_eq!((holder.process.pid.0, holder.descriptors[..] == [FdNumber(made.device)]), (specimen.pid(), true));

    let text = command::run(&["check", &specimen.pid().to_string()], &specimen.folder(), || {}).said;
    let (_, text) = text.split_once("What it needs of this system:\n").unwrap_or_else(|| panic!("{text}"));
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = specimen.folder().join("own").display().to_string();
    let pid = specimen.pid();
    for line in [
        format!("{own} (tmpfs of needs-source, in a mount namespace of its own) working directory {own};"),
        format!("written: {own}/mapped, {own}/written\\n\u{fffd}"),
        "device /dev/fuse ".to_owned(),
        format!("TCP listens at {}:{} ", made.listener.1, made.listener.2),
        format!("UDP bound to {}:{}, [::1]:{}", made.udp.1, made.udp.2, made.six.2),
        format!("netlink socket route python3 (pid {pid})"),
        "packet socket on all interfaces ".to_owned(),
    ] {
        assert!(flat.contains(&line), "{line:?} is missing:\n{text}");
    }
    assert!(text.lines().count() < 40, "{text}");
    assert!(!text.contains("/proc/"), "{text}");
}

#[test]
fn ends_in_another_network_are_found_in_that_one() {
    let program = Program::named("elsewhere");
    let specimen = Specimen::launch(&program, User::Root, |folder| {
        let mut command = Command::new("unshare");
        let hold = "import socket,sys,time\ns = socket.socket(); s.bind(('0.0.0.0', 4321)); s.listen(1)\n\
                    open(sys.argv[1] + '/ready', 'w').close()\ntime.sleep(1000)";
        command.args(["--net", "python3", "-c", hold]).arg(folder).stdin(Stdio::null());
        command
    });
    specimen_ready(&specimen);
    let needs = needs(&specimen);
    let [end] = needs.endpoints.as_slice() else { panic!("{:#?}", needs.endpoints) };
    let said = (end.protocol.as_str(), end.state, end.local.as_deref(), end.elsewhere);
    assert_eq!(said, ("tcp", EndpointState::Listens, Some("0.0.0.0:4321"), true));
}

#[test]
fn a_file_from_a_mount_that_nobody_sees_is_told_as_that() {
    let program = Program::named("unseen");
    let folder = done(tempfile::tempdir());
    let hidden: PathBuf = folder.path().join("hidden");
    done(File::create(&hidden));
    let specimen = Specimen::launch(&program, User::Root, |notes| {
        let mut command = Command::new("unshare");
        // The mount is taken away below the open file.
        let hold = r#"mount -t tmpfs unseen "$1" && exec 7>"$1/file" && umount -l "$1" && touch "$2/ready" && exec sleep 1000"#;
        command.args(["--mount", "sh", "-c", hold, "sh"]).arg(folder.path()).arg(notes).stdin(Stdio::null());
        command
    });
    specimen_ready(&specimen);
    let needs = needs(&specimen);
    // Its standard error came from our namespace, whose mounts it does not see either.
    let is_unseen = |found: &&Filesystem| found.mount_point.is_none() && found.elsewhere;
    let unseen: Vec<_> = needs.filesystems.iter().filter(is_unseen).collect();
    let [found] = unseen[..] else { panic!("{:#?}", needs.filesystems) };
    assert_eq!((files(found), found.elsewhere), (vec![("/file".to_owned(), vec![Use::OpenForWriting])], true));
}

fn specimen_ready(specimen: &Specimen) {
    let ready = until(PATIENCE, || specimen.folder().join("ready").exists().then_some(()));
    assert!(ready.is_some(), "it is not ready:\n{}", specimen.errors());
}
