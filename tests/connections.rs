//! What `dormouse check` says of ties between processes, held against what was made: 300 processes with some 20,000
//! descriptors. Every tie is found, with both ends right, and none is invented.
#![allow(clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use dormouse_wire::{EdgeKind, Node};
use harness::graph::{Tie, check, ties};
use harness::{Program, Specimen, User, wait};
use serde::Deserialize;

/// A chain of processes: each has pipes, socket pairs, FIFOs, shared memory and a TCP connection with the next, locks a file
/// for which the next one waits, and asks one service. It writes what it has made to `made`.
const CHAIN: &str = r#"
import fcntl, json, mmap, os, socket, sys, time
folder, count, pipes, pairs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
os.chdir(folder)
made, lower, held = [], [], []
inode = lambda fd: os.fstat(fd).st_ino
address = lambda pair: "%s:%d" % pair
listener = socket.socket(socket.AF_UNIX); listener.bind(folder + "/service"); listener.listen(4096)
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen(4096)
started = []
def child(number, up, down, memory):
    for fd in (listener.fileno(), tcp.fileno()):
        if number != 0: os.close(fd)
    asks = socket.socket(socket.AF_UNIX); asks.connect(folder + "/service")
    lock = os.open("lock%d" % number, os.O_RDWR | os.O_CREAT)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    os.close(os.open("locked%d" % number, os.O_CREAT))
    if number % 10 == 1:
        while not os.path.exists("locked%d" % (number - 1)): time.sleep(0.01)
        before = os.open("lock%d" % (number - 1), os.O_RDWR)
        fcntl.lockf(before, fcntl.LOCK_EX)
    while True: time.sleep(1000)
previous, previous_memory = [], None
for number in range(count):
    links, memory = [], None
    if number + 1 < count:
        for _ in range(pipes):
            r, w = os.pipe(); links.append(("pipe", w, r, "pipe:[%d]" % inode(r)))
        for _ in range(pairs):
            a, b = (s.detach() for s in socket.socketpair())
            low, high = sorted((inode(a), inode(b)))
            links.append(("unix-socket", a, b, "socket:[%d]-[%d]" % (low, high)))
        path = folder + "/fifo%d" % number
        os.mkfifo(path)
        r = os.open(path, os.O_RDONLY | os.O_NONBLOCK); w = os.open(path, os.O_WRONLY)
        links.append(("fifo", w, r, path))
        client = socket.socket(); client.connect(tcp.getsockname()); server, _ = tcp.accept()
        ends = sorted((client.getsockname(), client.getpeername()), key=lambda pair: pair[1])
        links.append(("tcp", client.detach(), server.detach(), "%s and %s" % tuple(map(address, ends))))
        fd = os.memfd_create("chain")
        os.ftruncate(fd, 4096); memory = (mmap.mmap(fd, 4096), os.fstat(fd).st_ino); os.close(fd)
    pid = os.fork()
    if pid == 0:
        for _, _, other, _ in links: os.close(other)
        child(number, previous, links, memory)
    started.append(pid)
    for kind, fd, _, name in links: made.append((kind, name, "from", pid, fd))
    for kind, fd, name in previous: made.append((kind, name, "to", pid, fd))
    for which in (memory, previous_memory):
        if which: made.append(("shared-memory", str(which[1]), "from", pid, -1))
    for _, fd, _, _ in links: os.close(fd)
    for _, fd, _ in previous: os.close(fd)
    if previous_memory: previous_memory[0].close()
    previous = [(kind, other, name) for kind, _, other, name in links]
    previous_memory = memory
listener.close(); tcp.close()
while not all(os.path.exists("locked%d" % number) for number in range(count)): time.sleep(0.05)
time.sleep(0.5)
json.dump({"made": made, "pids": started}, open("made.tmp", "w"))
os.rename("made.tmp", "made")
while os.path.isdir(folder): time.sleep(0.2)
"#;

/// A service that shares memory with whoever connects, as display servers do, and a client of it.
const SERVICE: &str = r#"
import mmap, os, socket, sys, time
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen(5)
client, _ = listener.accept()
fd = os.memfd_create("shared"); os.ftruncate(fd, 4096); memory = mmap.mmap(fd, 4096)
socket.send_fds(client, [b"x"], [fd])
time.sleep(1000)
"#;
const CLIENT: &str = r#"
import mmap, os, socket, sys, time
asks = socket.socket(socket.AF_UNIX)
while asks.connect_ex(sys.argv[2]): time.sleep(0.01)
_, (fd,), _, _ = socket.recv_fds(asks, 1, 1)
memory = mmap.mmap(fd, 4096); os.close(fd)
open(sys.argv[1] + "/ready", "w").close()
while os.path.isdir(sys.argv[1]): time.sleep(0.2)
"#;

/// Ends a process when it is dropped.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn a_service_that_shares_memory_is_not_taken_along() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let name = folder.path().join("service");
    let mut service = Command::new("setsid");
    service
        .args(["python3", "-c", SERVICE])
        .arg(&name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let service = Ended(service.spawn().unwrap_or_else(|error| panic!("{error}")));
    let program = Program::named("client");
    let mut client = Specimen::launch(&program, User::Root, |folder| {
        let mut command = Command::new("python3");
        command.args(["-c", CLIENT]).arg(folder).arg(&name);
        command
    });
    client.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let checked = check(&client, client.pid());
    let pids: Vec<i32> = checked.processes.iter().map(|process| process.pid.0).collect();
    assert_eq!(pids, [client.pid()], "the service is {}", service.0.id());
    let dormouse_wire::Verdict::Blocked(reasons) = &checked.verdict else { panic!("{:?}", checked.verdict) };
    let about = |kind| reasons.iter().filter(|reason| reason.kind == kind).count();
    assert_eq!((about(dormouse_wire::ProblemKind::Memory), about(dormouse_wire::ProblemKind::UnixSocket)), (1, 1));
}

/// What the chain says it has made: kind, name, direction, pid, descriptor.
#[derive(Deserialize)]
struct Made {
    made: Vec<(String, String, String, i32, i32)>,
    pids: Vec<i32>,
}

fn chain(count: usize, pipes: usize, pairs: usize) -> (Specimen, Made) {
    let program = Program::named("connections");
    let specimen = Specimen::launch(&program, User::Root, |folder| {
        let mut command = Command::new("python3");
        command.args(["-c", CHAIN]).arg(folder);
        command.args([count, pipes, pairs].map(|number| number.to_string())).stdin(Stdio::null());
        command
    });
    let path = specimen.folder().join("made");
    let text = wait::until(Duration::from_mins(2), || fs::read_to_string(&path).ok());
    let text = text.unwrap_or_else(|| panic!("the chain was not made:\n{}", specimen.errors()));
    (specimen, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}")))
}

/// What of the ties was made by the chain's links.
fn expected(made: &Made) -> BTreeSet<Tie> {
    let of = |(kind, name, direction, pid, fd): &(String, String, String, i32, i32)| {
        let reads = direction == "to" && (kind == "pipe" || kind == "fifo");
        (kind.clone(), name.clone(), !reads, *pid, format!("descriptor {fd}"))
    };
    made.made.iter().filter(|(kind, ..)| kind != "shared-memory").map(of).collect()
}

#[test]
fn every_tie_is_found_and_none_is_invented() {
    let (specimen, made) = chain(300, 28, 4);
    let checked = check(&specimen, specimen.pid());
    let found = ties(&checked);
    let links = ["pipe", "unix-socket", "fifo", "tcp"];
    let seen: BTreeSet<Tie> = found.iter().filter(|tie| links.contains(&tie.0.as_str())).cloned().collect();
    let wanted = expected(&made);
    assert!(wanted.len() > 20_000, "only {} ends were made", wanted.len());
    let (missing, invented): (Vec<_>, Vec<_>) =
        (wanted.difference(&seen).take(5).collect(), seen.difference(&wanted).take(5).collect());
    let errors = specimen.errors();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}\ninvented: {invented:?}\n{errors}");

    // Memory is named by its inode, and held by an address that only its process knows.
    let shared: BTreeSet<(String, i32)> = (found.iter().filter(|tie| tie.0 == "shared-memory"))
        .map(|tie| (tie.1.rsplit(':').next().unwrap_or_default().trim_end_matches(']').to_owned(), tie.3))
        .collect();
    let wanted: BTreeSet<(String, i32)> = (made.made.iter().filter(|(kind, ..)| kind == "shared-memory"))
        .map(|(_, inode, _, pid, _)| (inode.clone(), *pid))
        .collect();
    assert_eq!(shared, wanted, "shared memory");

    let by_kind = |wanted: EdgeKind| checked.graph.edges.iter().filter(|edge| edge.kind == wanted).count();
    assert_eq!(by_kind(EdgeKind::WaitsForLock), 30, "every tenth waits for the lock of the one before");
    assert_eq!(by_kind(EdgeKind::Locks), 30, "locks for which nobody waits tie nobody");
    let service = specimen.folder().join("service").display().to_string();
    let asks: BTreeSet<i32> = found.iter().filter(|tie| tie.1 == service && tie.2).map(|tie| tie.3).collect();
    assert_eq!(asks, made.pids.iter().copied().collect(), "all ask the service");
    let serves: BTreeSet<i32> = found.iter().filter(|tie| tie.1 == service && !tie.2).map(|tie| tie.3).collect();
    assert_eq!(serves, made.pids.iter().copied().take(1).collect(), "the first one serves it");
    let parents = by_kind(EdgeKind::Parent);
    assert!(parents >= 300, "{parents} parents");
}

#[test]
fn ends_are_those_that_the_kernel_tells_lsof() {
    let (specimen, made) = chain(5, 3, 2);
    let checked = check(&specimen, specimen.pid());
    let pids: Vec<String> = made.pids.iter().map(i32::to_string).collect();
    let lsof = Command::new("lsof").args(["-w", "-n", "-P", "-F", "pfti", "-p", &pids.join(",")]).output();
    let lsof = lsof.unwrap_or_else(|error| panic!("lsof does not start: {error}"));
    let (mut pid, mut fd, mut kind) = (0, String::new(), String::new());
    let mut theirs = BTreeSet::new();
    for line in String::from_utf8_lossy(&lsof.stdout).lines() {
        let (field, value) = line.split_at(1);
        match field {
            "p" => pid = value.parse().unwrap_or(0),
            "f" => fd = value.to_owned(),
            "t" => kind = value.to_owned(),
            "i" if kind == "FIFO" && fd.parse::<u32>().is_ok() => {
                theirs.insert((value.to_owned(), pid, format!("descriptor {fd}")));
            }
            _ => {}
        }
    }
    let ours: BTreeSet<_> = (ties(&checked).into_iter().filter(|tie| tie.0 == "pipe"))
        .map(|tie| (tie.1.trim_start_matches("pipe:[").trim_end_matches(']').to_owned(), tie.3, tie.4))
        .collect();
    // lsof tells FIFOs with a name by the inode of the file.
    let named: BTreeSet<_> = theirs.iter().filter(|tie| ours.iter().any(|own| own.0 == tie.0)).cloned().collect();
    assert_eq!(ours, named);
    assert_eq!(ours.len(), 2 * 3 * 4);
}

#[test]
fn ends_of_unix_sockets_are_those_that_the_kernel_tells_ss() {
    let (specimen, made) = chain(5, 1, 3);
    let checked = check(&specimen, specimen.pid());
    let ss = Command::new("ss").args(["-xpanH"]).output().unwrap_or_else(|error| panic!("ss does not start: {error}"));
    let service = specimen.folder().join("service").display().to_string();
    let mut theirs = BTreeSet::new();
    for line in String::from_utf8_lossy(&ss.stdout).lines() {
        // Type, state, two lengths, own address and inode, the other's, and who holds it.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, state, _, _, own, inode, _, peer, ..] = words[..] else { continue };
        let (inode, peer): (u64, u64) = (inode.parse().unwrap_or(0), peer.parse().unwrap_or(0));
        let (kind, name, leads_there) = match (state, own, peer) {
            ("LISTEN", own, _) if own == service => ("service", service.clone(), false),
            // Nobody accepts: who asks has no other end yet.
            ("ESTAB", "*", 0) => ("service", service.clone(), true),
            ("ESTAB", "*", _) => ("unix-socket", format!("socket:[{}]-[{}]", inode.min(peer), inode.max(peer)), true),
            _ => continue,
        };
        for holder in line.split("pid=").skip(1) {
            let (pid, fd) = holder.split_once(",fd=").unwrap_or_default();
            let pid = pid.parse().unwrap_or(0);
            let fd = fd.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
            if made.pids.contains(&pid) {
                theirs.insert((kind.to_owned(), name.clone(), leads_there, pid, format!("descriptor {fd}")));
            }
        }
    }
    let is_told = |tie: &Tie| tie.0 == "unix-socket" || tie.1 == service;
    let ours: BTreeSet<Tie> = ties(&checked).into_iter().filter(is_told).collect();
    assert_eq!(ours, theirs);
    // Four links of three pairs with two ends, five who ask, one who serves.
    assert_eq!(ours.len(), 4 * 3 * 2 + 5 + 1);
}

#[test]
fn locks_are_those_that_the_kernel_lists() {
    let (specimen, made) = chain(15, 1, 1);
    let checked = check(&specimen, specimen.pid());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_else(|error| panic!("{error}"));
    let mut all = BTreeSet::new();
    for line in locks.lines() {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let waits = words.first() == Some(&"->");
        let [_, _, _, pid, file, ..] = words[usize::from(waits)..] else { continue };
        let inode = file.rsplit(':').next().and_then(|inode| inode.parse::<u64>().ok()).unwrap_or(0);
        let pid = pid.parse().unwrap_or(0);
        if made.pids.contains(&pid) {
            all.insert((inode, pid, waits));
        }
    }
    let waited_for: BTreeSet<u64> = all.iter().filter(|lock| lock.2).map(|lock| lock.0).collect();
    let theirs: BTreeSet<_> = all.into_iter().filter(|lock| waited_for.contains(&lock.0)).collect();
    let graph = &checked.graph;
    let lock = |edge: &dormouse_wire::Edge| {
        let waits = edge.kind == EdgeKind::WaitsForLock;
        let (Node::Process { name, .. }, Node::Thing { name: path, .. }) =
            (&graph.nodes[edge.from], &graph.nodes[edge.to])
        else {
            panic!("a lock leads from a process to a file: {edge:?}")
        };
        let file = fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        (std::os::unix::fs::MetadataExt::ino(&file), name.pid.0, waits)
    };
    let locks = graph.edges.iter().filter(|edge| matches!(edge.kind, EdgeKind::Locks | EdgeKind::WaitsForLock));
    let ours: BTreeSet<_> = locks.map(lock).collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 4, "two locks, and two who wait for them");
}
