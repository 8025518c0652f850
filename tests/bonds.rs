//! What `dormouse check` says of what processes share as a whole, of System V semaphores and message queues, and of filesystems
//! that a process serves.
#![allow(clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use dormouse_wire::{Node, ProblemKind, Strength};
use harness::graph::{Tie, check, ties_of};
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User};
use serde::de::DeserializeOwned;

/// Children in sessions of their own, each of which shares something else with their parent, and one that shares nothing.
const SHARERS: &str = r#"
import ctypes, json, mmap, os, signal, sys, time
folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def child(flags):
    pid = libc.syscall(56, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os.setsid()
        open(folder + "/there%x" % flags, "w").close()
        while os.path.isdir(folder): time.sleep(0.1)
        os._exit(0)
    while not os.path.exists(folder + "/there%x" % flags): time.sleep(0.01)
    return pid
made = dict(files=child(0x400), filesystem=child(0x200), nothing=child(0))
stack = mmap.mmap(-1, 65536)
top = ctypes.addressof(ctypes.c_char.from_buffer(stack)) + 65536
libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
made["memory"] = libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), top, 0x100 | signal.SIGCHLD, None)
json.dump(made, open(folder + "/made.tmp", "w"))
os.rename(folder + "/made.tmp", folder + "/made")
while os.path.isdir(folder): time.sleep(0.1)
os.kill(made["memory"], signal.SIGKILL)
"#;

#[derive(serde::Deserialize)]
struct Sharers {
    files: i32,
    filesystem: i32,
    memory: i32,
    nothing: i32,
}

/// Three processes that use a queue and a set of semaphores one after the other.
const SYSTEM_V: &str = r#"
import ctypes, json, os, struct, sys, time
folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
queue, semaphores = libc.msgget(0, 0o1600), libc.semget(0, 3, 0o1600)
json.dump(dict(queue=queue, semaphores=semaphores), open(folder + "/objects", "w"))
def use(semaphore):
    assert libc.semop(semaphores, struct.pack("Hhh", semaphore, 1, 0), 1) == 0
def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        open(folder + "/done%d" % os.getpid(), "w").close()
        while os.path.isdir(folder): time.sleep(0.1)
        os._exit(0)
    while not os.path.exists(folder + "/done%d" % pid): time.sleep(0.01)
    return pid
message = struct.pack("l8s", 1, b"message")
room = ctypes.create_string_buffer(100)
def receive(): assert libc.msgrcv(queue, room, 50, 0, 0) == 8
use(1)
assert libc.msgsnd(queue, message, 8, 0) == 0
receiver = child(receive)
user = child(lambda: use(0))
json.dump(dict(receiver=receiver, user=user), open(folder + "/made.tmp", "w"))
os.rename(folder + "/made.tmp", folder + "/made")
while os.path.isdir(folder): time.sleep(0.1)
"#;

#[derive(serde::Deserialize)]
struct Users {
    receiver: i32,
    user: i32,
}

/// The queue and the set: they live on when all who use them have ended.
#[derive(serde::Deserialize)]
struct Objects {
    queue: i32,
    semaphores: i32,
}

impl Drop for Objects {
    fn drop(&mut self) {
        // SAFETY: with IPC_RMID both calls take integers only.
        unsafe {
            libc::msgctl(self.queue, libc::IPC_RMID, std::ptr::null_mut());
            libc::semctl(self.semaphores, 0, libc::IPC_RMID);
        }
    }
}

/// A filesystem with an empty folder, served in a mount namespace of its own, and a process that has that folder open.
const FUSE: &str = r#"
import ctypes, json, os, struct, sys, time
folder = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
where = folder + "/served"
os.mkdir(where)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = "fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
if libc.mount(b"source", where.encode(), b"fuse.ties", 0, options.encode()): sys.exit(os.strerror(ctypes.get_errno()))
pid = os.fork()
if pid == 0:
    os.close(fuse)
    opened = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    json.dump(dict(client=os.getpid(), opened=opened, device=fuse), open(folder + "/made.tmp", "w"))
    os.rename(folder + "/made.tmp", folder + "/made")
    while os.path.isdir(folder): time.sleep(0.1)
    os._exit(0)
def answer(unique, error, data=b""): os.write(fuse, struct.pack("=IiQ", 16 + len(data), -error, unique) + data)
while True:
    try: request = os.read(fuse, 1 << 20)
    except OSError: break
    _, operation, unique = struct.unpack_from("=IIQ", request)
    if operation == 26: answer(unique, 0, struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 10, 1 << 17, 1, 1, 0, 0))
    elif operation == 3: answer(unique, 0, struct.pack("=QII6Q10I", 0, 0, 0, 1, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0))
    elif operation == 27: answer(unique, 0, struct.pack("=QII", 1, 0, 0))
    elif operation in (18, 25, 29): answer(unique, 0)
    elif operation != 2: answer(unique, 38)
"#;

#[derive(serde::Deserialize)]
struct Served {
    client: i32,
    opened: i32,
    device: i32,
}

fn start<T: DeserializeOwned>(name: &'static str, before: &[&str], script: &str) -> (Specimen, T) {
    let program = Program::named(name);
    let specimen = Specimen::launch(&program, User::Root, |folder| {
        let mut command = Command::new(before.first().unwrap_or(&"python3"));
        command.args(before.iter().skip(1)).args(before.first().map(|_| "python3")).args(["-c", script]).arg(folder);
        command
    });
    let path = specimen.folder().join("made");
    let text = until(PATIENCE, || fs::read_to_string(&path).ok());
    let text = text.unwrap_or_else(|| panic!("nothing was made:\n{}", specimen.errors()));
    (specimen, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn what_is_shared_as_a_whole_ties_processes() {
    let (specimen, made) = start::<Sharers>("sharers", &[], SHARERS);
    let pid = specimen.pid();
    let kinds = ["descriptor-table", "filesystem-state", "address-space"];
    let name = format!("of python3 (pid {pid})");
    let tie = |kind: &str, pid: i32| (kind.to_owned(), name.clone(), true, pid, String::new());
    let wanted: BTreeSet<Tie> = kinds
        .into_iter()
        .zip([made.files, made.filesystem, made.memory])
        .flat_map(|(kind, child)| [tie(kind, pid), tie(kind, child)])
        .collect();
    // Whichever of those that cannot be cut from the others is asked for.
    for asked in [pid, made.files, made.filesystem] {
        let checked = check(&specimen, asked);
        assert_eq!(ties_of(&checked, &kinds), wanted, "seen from {asked}");
        let members: BTreeSet<i32> = checked.processes.iter().map(|process| process.pid.0).collect();
        let family = BTreeSet::from([pid, made.files, made.filesystem, made.memory, made.nothing]);
        assert_eq!(members, family, "the group of {asked}");
    }
    let alone = check(&specimen, made.nothing);
    assert_eq!(alone.processes.iter().map(|process| process.pid.0).collect::<Vec<_>>(), [made.nothing]);
    assert_eq!(ties_of(&alone, &kinds), BTreeSet::new());
}

#[test]
fn semaphores_and_queues_tie_those_who_used_them_last() {
    let folder = |specimen: &Specimen| specimen.folder().join("objects");
    let (specimen, made) = start::<Users>("system-v", &[], SYSTEM_V);
    let text = fs::read_to_string(folder(&specimen)).unwrap_or_else(|error| panic!("{error}"));
    let objects: Objects = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let checked = check(&specimen, specimen.pid());
    let tie =
        |kind: &str, id: i32, leads_there, pid| (kind.to_owned(), id.to_string(), leads_there, pid, String::new());
    let wanted = BTreeSet::from([
        tie("message-queue", objects.queue, true, specimen.pid()),
        tie("message-queue", objects.queue, false, made.receiver),
        tie("semaphores", objects.semaphores, true, specimen.pid()),
        tie("semaphores", objects.semaphores, true, made.user),
    ]);
    assert_eq!(ties_of(&checked, &["message-queue", "semaphores"]), wanted);
    // The receiver alone is a group, and the sender is no member of it.
    let receiver = check(&specimen, made.receiver);
    let members: Vec<i32> = receiver.processes.iter().map(|process| process.pid.0).collect();
    assert_eq!(members, [made.receiver]);
    let of_queue: BTreeSet<Tie> = wanted.into_iter().filter(|tie| tie.0 == "message-queue").collect();
    assert_eq!(ties_of(&receiver, &["message-queue", "semaphores"]), of_queue);
}

#[test]
fn a_served_filesystem_ties_whoever_has_something_there_to_its_server() {
    let (mut specimen, made) = start::<Served>("fuse", &["unshare", "--mount"], FUSE);
    let checked = check(&specimen, specimen.pid());
    let place = specimen.folder().join("served").display().to_string();
    let tie =
        |leads_there, pid, number| ("fuse".to_owned(), place.clone(), leads_there, pid, format!("descriptor {number}"));
    let mut wanted = BTreeSet::from([tie(true, made.client, made.opened)]);
    // Linux 6.18.
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/{}", specimen.pid(), made.device)).unwrap_or_default();
    if info.contains("fuse_connection:") {
        wanted.insert(tie(false, specimen.pid(), made.device));
    }
    assert_eq!(ties_of(&checked, &["fuse"]), wanted);

    // Nobody answers for its files while the group stands still: neither of them waits for that.
    let dormouse_wire::Verdict::Blocked(reasons) = &checked.verdict else { panic!("{:?}", checked.verdict) };
    let [reason] = &reasons[..] else { panic!("{reasons:#?}") };
    let process = reason.process.as_ref().map(|process| process.pid.0);
    assert_eq!((reason.kind, process), (ProblemKind::File, Some(made.client)), "{reason:?}");
    assert!(reason.what.contains("that the group itself serves (FUSE)"), "{reason:?}");
    let outcome = specimen.freeze();
    assert!(!outcome.status.success() && outcome.said.contains("(FUSE)"), "{}", outcome.said);
}

/// A shell that always has a new pipeline.
const FORKS: &str = "while :; do { true | cat; } | cat; done";

#[test]
fn who_is_born_meanwhile_is_nobody_outside() {
    let specimen = Specimen::launch(&Program::named("forks"), User::Root, |_| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", FORKS]);
        command
    });
    let mut born = 0;
    for _ in 0..20 {
        let checked = check(&specimen, specimen.pid());
        let judged = |pid| checked.processes.iter().any(|process| process.pid == pid);
        let processes = checked.graph.nodes.iter().enumerate().filter_map(|(place, node)| match node {
            Node::Process { name, member } => Some((place, name, *member)),
            Node::Thing { .. } => None,
        });
        for (place, name, member) in processes {
            born += usize::from(member && !judged(name.pid));
            let ties = || checked.graph.edges.iter().filter(|edge| edge.from == place || edge.to == place);
            let is_tied = ties().any(|edge| edge.strength == Strength::Strong);
            assert!(member || !is_tied, "{name} is outside: {:#?}", checked.graph);
        }
    }
    assert!(born > 0, "nobody was born between: this test has seen nothing");
}
