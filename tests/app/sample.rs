//! A machine on a working day: apps, jobs and images, as the screenshots show them.

use std::time::{SystemTime, UNIX_EPOCH};

use dormouse_wire::dbus::Sleeping;
use dormouse_wire::{
    ByteSize, Checked, Edge, EdgeKind, Graph, GroupKind, Listed, Needs, Node, Phrase, Pid, Problem, ProblemKind,
    ProcessName, Strength, ThingKind, Verdict, phrase,
};

use super::fake::World;

pub fn process(pid: i32, comm: &str) -> ProcessName {
    ProcessName { pid: Pid(pid), comm: comm.to_owned() }
}

/// A group of these processes.
pub fn group(id: &str, name: &str, kind: GroupKind, memory: u64, members: &[(i32, &str)]) -> Listed {
    Listed {
        id: id.to_owned(),
        kind,
        name: name.to_owned(),
        icon: None,
        application: None,
        unit: None,
        first_pid: Pid(members[0].0),
        processes: members.len(),
        members: members.iter().map(|(pid, comm)| process(*pid, comm)).collect(),
        joined: Vec::new(),
        memory: Some(ByteSize(memory)),
        private: None,
        swap: None,
        cpu: None,
        started: None,
        uid: Some(1000),
        user: Some("ada".to_owned()),
        paused: false,
        ended: false,
        verdict: None,
    }
}

/// So many jobs of so many processes each, all of them freezable.
pub fn jobs(count: i32, members: i32) -> World {
    const ICONS: [Option<&str>; 5] =
        [Some("utilities-terminal"), Some("web-browser"), Some("text-editor"), None, Some("no-such-icon")];
    let job = |(number, icon): (i32, Option<&str>)| {
        let pid = 10_000 + number * members;
        let members: Vec<_> = (pid..pid + members).map(|pid| (pid, "job")).collect();
        let job =
            group(&format!("job-{number}"), &format!("Job {number:04}"), GroupKind::Session, 50_000_000, &members);
        Listed { icon: icon.map(ToOwned::to_owned), ..job }
    };
    let groups: Vec<_> = (0..count).zip(ICONS.into_iter().cycle()).map(job).collect();
    let verdicts = groups.iter().map(|group| (group.id.clone(), Verdict::Freezable)).collect();
    World { groups, verdicts, ..World::default() }
}

/// An image that was frozen so many seconds ago.
pub fn image(id: &str, name: &str, ago: u64) -> Sleeping {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Sleeping {
        id: id.to_owned(),
        name: name.to_owned(),
        icon: None,
        application: None,
        frozen: now - ago,
        size: ByteSize(182_000_000),
        processes: vec![process(4711, "make"), process(4712, "cc1plus")],
        kernel: Some("6.12.9-amd64".to_owned()),
        machine: Some("burrow".to_owned()),
        losses: Vec::new(),
        damage: None,
        session: None,
        terminal: false,
        awake: false,
        woken: false,
    }
}

/// As the engine says it.
fn connected(service: &Phrase, holder: &str, name: &str) -> Phrase {
    phrase!("it is connected to {service}, {holder}, at {name}", service = *service, holder, name)
}

fn display(process: ProcessName) -> Problem {
    let what = connected(&phrase!("the X11 display server"), "Xorg (pid 612)", "/tmp/.X11-unix/X0");
    Problem::blocks(ProblemKind::UnixSocket, what)
        .of(&process)
        .at(phrase!("descriptor {number}", number = 5))
        .way_out(phrase!("Pause it instead, or start it in a nested session that is frozen with it"))
}

fn remote() -> Problem {
    Problem::loses(
        ProblemKind::Socket,
        phrase!("it is a TCP connection to {peer}, which is not part of the group", peer = "192.0.2.7:443"),
        phrase!("the connection: the program finds it reset after the thaw, and the other end finds it closed"),
    )
    .of(&process(2201, "rsync"))
    .at(phrase!("descriptor {number}", number = 4))
    .way_out(phrase!("Keep it (--keep-connections), close it in the program, or freeze both ends together"))
    .keepable()
}

/// A connection that can be cut.
pub fn on_the_bus() -> Problem {
    let bus = phrase!("the system's message bus (D-Bus)");
    let what = connected(&bus, "dbus-daemon (pid 402)", "/run/dbus/system_bus_socket");
    Problem::blocks(ProblemKind::UnixSocket, what)
        .of(&process(2201, "rsync"))
        .at(phrase!("descriptor {number}", number = 6))
        .way_out(phrase!("Cut the connection (--disconnect), close it in the program, or pause the group instead"))
        .cut_at("/run/dbus/system_bus_socket", phrase!("the connection; the program finds it closed"))
}

fn edge(from: usize, to: usize, kind: EdgeKind, strength: Strength, end: &str) -> Edge {
    let from_end = Some(end.to_owned()).filter(|end| !end.is_empty());
    Edge { from, to, kind, strength, from_end, to_end: None }
}

fn member(pid: i32, comm: &str) -> Node {
    Node::Process { name: process(pid, comm), member: true }
}

fn thing(kind: ThingKind, name: &str) -> Node {
    Node::Thing { kind, name: name.to_owned() }
}

/// What a check of the editor finds.
fn editor() -> Graph {
    use EdgeKind::{Asks, Holds, Maps, Parent, Reads, ServedBy, Writes};
    use Strength::{Strong, Weak};
    let outside = |pid, comm| Node::Process { name: process(pid, comm), member: false };
    Graph {
        nodes: vec![
            member(3301, "editor"),
            member(3312, "language-server"),
            member(3313, "git"),
            thing(ThingKind::Pipe, "pipe:[88121]"),
            thing(ThingKind::Pipe, "pipe:[88122]"),
            thing(ThingKind::X11, "/tmp/.X11-unix/X0"),
            outside(612, "Xorg"),
            thing(ThingKind::MessageBus, "/run/user/1000/bus"),
            outside(801, "dbus-daemon"),
            thing(ThingKind::SharedMemory, "memfd:cache"),
            thing(ThingKind::File, "/home/ada/notes.txt"),
        ],
        edges: vec![
            edge(0, 1, Parent, Weak, ""),
            edge(0, 2, Parent, Weak, ""),
            edge(0, 3, Writes, Strong, "descriptor 7"),
            edge(3, 1, Reads, Strong, ""),
            edge(2, 4, Writes, Strong, "descriptor 1"),
            edge(4, 0, Reads, Strong, ""),
            edge(0, 5, Asks, Weak, "descriptor 5"),
            edge(5, 6, ServedBy, Weak, ""),
            edge(0, 7, Asks, Weak, "descriptor 6"),
            edge(7, 8, ServedBy, Weak, ""),
            edge(0, 9, Maps, Strong, ""),
            edge(1, 9, Maps, Strong, ""),
            edge(0, 10, Holds, Weak, "descriptor 9"),
        ],
    }
}

/// What a check of a build with so many compilers finds.
fn compilers(count: usize) -> Graph {
    let mut graph = Graph { nodes: vec![member(4100, "make"), member(4101, "sh")], edges: Vec::new() };
    graph.edges.push(edge(0, 1, EdgeKind::Parent, Strength::Weak, ""));
    graph.nodes.push(thing(ThingKind::Terminal, "/dev/pts/3"));
    graph.edges.push(edge(2, 0, EdgeKind::Controls, Strength::Strong, ""));
    for number in 0..count {
        let place = graph.nodes.len();
        graph.nodes.push(member(5000 + number as i32, "cc1"));
        graph.nodes.push(thing(ThingKind::Pipe, &format!("pipe:[{number}]")));
        graph.edges.push(edge(1, place, EdgeKind::Parent, Strength::Weak, ""));
        graph.edges.push(edge(place, place + 1, EdgeKind::Writes, Strength::Strong, "descriptor 1"));
        graph.edges.push(edge(place + 1, 0, EdgeKind::Reads, Strength::Strong, ""));
    }
    graph
}

pub fn checked(group: &Listed, verdict: Verdict, graph: Graph) -> Checked {
    Checked {
        processes: group.members.clone(),
        threads: group.processes * 3,
        memory: group.memory.unwrap_or_default(),
        verdict,
        graph,
        needs: Needs::default(),
        displays: Vec::new(),
        buses: Vec::new(),
        unseen: 0,
    }
}

/// The whole of it.
pub fn world() -> World {
    use GroupKind::{App, Service, Session};
    let icon = |name: &str, group: Listed| Listed { icon: Some(name.to_owned()), ..group };
    let editor_members = [(3301, "editor"), (3312, "language-server"), (3313, "git")];
    let groups = vec![
        icon("accessories-text-editor", group("editor", "Text Editor", App, 412_000_000, &editor_members)),
        icon("web-browser", group("browser", "Web Browser", App, 2_310_000_000, &[(2907, "browser"), (2950, "tab")])),
        icon(
            "utilities-terminal",
            group("build", "Build of the kernel", Session, 943_000_000, &[(4100, "make"), (4101, "cc1")]),
        ),
        group("backup", "Nightly backup", Service, 38_000_000, &[(2201, "rsync")]),
        group(
            "simulation",
            "Climate simulation",
            Session,
            6_120_000_000,
            &[(5001, "simulate"), (5002, "simulate"), (5003, "simulate")],
        ),
        Listed { paused: true, ..group("render", "Rendering", Session, 780_000_000, &[(5105, "blender")]) },
    ];
    let mut world = World::default();
    let blocked = Verdict::Blocked(vec![display(process(3301, "editor"))]);
    world.verdicts.extend([
        ("editor".to_owned(), blocked.clone()),
        ("browser".to_owned(), Verdict::Blocked(vec![display(process(2907, "browser"))])),
        ("build".to_owned(), Verdict::Freezable),
        ("backup".to_owned(), Verdict::Lossy(vec![remote()])),
        ("simulation".to_owned(), Verdict::Freezable),
        ("render".to_owned(), Verdict::Freezable),
    ]);
    world.checked.insert("editor".to_owned(), checked(&groups[0], blocked, editor()));
    let (backup, alone) = (Verdict::Lossy(vec![remote()]), Graph::default());
    world.checked.insert("backup".to_owned(), checked(&groups[3], backup, alone));
    world.checked.insert("build".to_owned(), checked(&groups[2], Verdict::Freezable, compilers(150)));
    world.groups = groups;
    world.images = vec![
        image("tests.dormouse", "Test run", 5_400),
        Sleeping { machine: Some("attic".to_owned()), ..image("old.dormouse", "Chess engine", 3_000_000) },
        Sleeping { awake: true, size: ByteSize(2_400_000_000), ..image("notebook.dormouse", "Notebook", 170_000) },
    ];
    let gone = Problem::blocks(ProblemKind::File, phrase!("the file has been changed or replaced since the freeze"))
        .at("/home/ada/openings.bin")
        .way_out(phrase!("Put the old file back, then thaw again"));
    world.problems.insert("old.dormouse".to_owned(), vec![gone]);
    world
}
