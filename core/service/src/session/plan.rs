//! Which groups belong to a session, and which of them go into one image.

use std::collections::{BTreeMap, HashMap, HashSet};

use dormouse_engine::proc;
use dormouse_engine::proc::stat;
use dormouse_wire::{
    EdgeKind, Graph, GroupKind, Listed, Node, Phrase, Pid, Problem, ProblemKind, ProcessName, ThingKind, phrase,
};
use serde::Serialize;

use super::{Named, Stayed};

/// What carries the session itself: without it there is nothing to come back to. Names of processes, as the kernel cuts them to 15 bytes.
const CARRIERS: [&str; 24] = [
    "systemd",
    "(sd-pam)",
    "init",
    "login",
    "sshd",
    "sshd-session",
    "sshd-auth",
    "mosh-server",
    "dbus-daemon",
    "dbus-broker",
    "dbus-broker-lau",
    "Xorg",
    "Xvfb",
    "Xvnc",
    "Xtigervnc",
    "Xwayland",
    "gnome-shell",
    "gnome-session-b",
    "kwin_wayland",
    "kwin_x11",
    "plasmashell",
    "gdm-session-wor",
    "sway",
    "weston",
];

/// A group that stays as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which.
    #[serde(flatten)]
    pub group: Named,
    /// Why.
    pub why: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What goes into one image each, in the order in which it is put to sleep: the youngest first.
    pub clusters: Vec<Vec<Listed>>,
    /// What stays.
    pub left: Vec<Left>,
    /// What was to sleep, and cannot without somebody who stays.
    pub tied: Vec<Stayed>,
}

/// Chooses among the groups in which a user has a process. `except`: ids of groups that stay.
pub fn plan(user: u32, groups: Vec<Listed>, graph: &Graph, except: &[String]) -> Plan {
    let own = ancestors();
    let mut plan = Plan::default();
    let (mut chosen, mut stays) = (Vec::new(), HashMap::new());
    for group in groups.into_iter().filter(|group| !group.ended) {
        match reason(user, &group, &own, except) {
            Some(why) => {
                plan.left.push(Left { group: Named::from(&group), why: why.to_string() });
                stays.extend(group.members.into_iter().map(|member| (member.pid, member)));
            }
            None => chosen.push((group, None)),
        }
    }
    for (group, tie) in &mut chosen {
        *tie = child_that_stays(group, &stays, graph);
    }
    let (free, tied): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, tie)| tie.is_none());
    plan.tied = tied.iter().filter_map(|(group, child)| Some(stayed(group, child.as_ref()?))).collect();
    plan.clusters = clusters(free.into_iter().map(|(group, _)| group).collect(), graph);
    plan
}

/// A freeze takes descendants along, whatever group they are in: somebody below this group who is to stay.
fn child_that_stays(group: &Listed, stays: &HashMap<Pid, ProcessName>, graph: &Graph) -> Option<ProcessName> {
    let members: Vec<Pid> = group.members.iter().map(|member| member.pid).collect();
    graph.descendants(&members).into_iter().find_map(|pid| stays.get(&pid).cloned())
}

fn stayed(group: &Listed, child: &ProcessName) -> Stayed {
    let what = phrase!("a process of this group has begun it, and a freeze of the group would take it along");
    let problem = Problem::blocks(ProblemKind::Family, what).of(child);
    let problem = problem.way_out(phrase!("Put both to sleep, or leave out both"));
    Stayed {
        groups: vec![Named::from(group)],
        sentence: phrase!("Somebody is left as he is who would fall asleep with it.").to_string(),
        problems: vec![problem],
    }
}

/// This process and those above it.
fn ancestors() -> HashSet<Pid> {
    let mut own = HashSet::new();
    let mut pid = Pid(std::process::id() as i32);
    while pid.0 > 1 && own.insert(pid) {
        let Ok(found) = proc::parsed(pid, "stat", stat::parse) else { break };
        pid = found.ppid;
    }
    own
}

/// Whether somebody means this group: by its id, its name or the pid of one of its processes.
pub fn is_meant(group: &Listed, text: &str) -> bool {
    let pid = text.parse().ok().map(Pid);
    text == group.id || text == group.name || group.members.iter().any(|member| Some(member.pid) == pid)
}

/// Why a group stays, if it does.
fn reason(user: u32, group: &Listed, own: &HashSet<Pid>, except: &[String]) -> Option<Phrase> {
    if except.iter().any(|text| is_meant(group, text)) {
        return Some(phrase!("it was left out on request"));
    }
    if group.members.iter().any(|member| own.contains(&member.pid)) {
        return Some(phrase!("this command runs in it"));
    }
    if let Some(carrier) = group.members.iter().find(|member| CARRIERS.contains(&member.comm.as_str())) {
        return Some(phrase!("the session itself runs in it ({comm})", comm = carrier.comm.clone()));
    }
    if group.uid.is_some_and(|uid| uid != user) {
        let first = group.members.iter().find(|member| member.pid == group.first_pid);
        let comm = first.map(|first| first.comm.clone()).unwrap_or_default();
        return Some(phrase!(
            "{comm} (pid {pid}), which began it, belongs to another user",
            comm,
            pid = group.first_pid
        ));
    }
    let is_service = group.unit.as_ref().is_some_and(|unit| unit.ends_with(".service"));
    if group.kind == GroupKind::Service && is_service {
        return Some(phrase!("it is a service of systemd, which starts it by itself"));
    }
    if group.paused {
        return Some(phrase!("it is paused"));
    }
    None
}

/// Puts together what is connected, or is a parent and its child; the youngest first.
pub fn clusters(groups: Vec<Listed>, graph: &Graph) -> Vec<Vec<Listed>> {
    let mut home: HashMap<Pid, usize> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        home.extend(group.members.iter().map(|member| (member.pid, index)));
    }
    let mut sets = Sets((0..groups.len()).collect());
    // By each node that ties: the first group that was met there.
    let mut met: HashMap<usize, usize> = HashMap::new();
    for edge in &graph.edges {
        if edge.kind == EdgeKind::Tracer {
            continue;
        }
        let ends = [edge.from, edge.to].map(|end| match graph.nodes.get(end) {
            Some(Node::Process { name, .. }) => home.get(&name.pid).copied().map(|group| (None, group)),
            Some(Node::Thing { kind, .. }) if ties(*kind) => Some((Some(end), usize::MAX)),
            _ => None,
        });
        match ends {
            [Some((None, one)), Some((None, other))] => sets.join(one, other),
            [Some((None, group)), Some((Some(thing), _))] | [Some((Some(thing), _)), Some((None, group))] => {
                let first = *met.entry(thing).or_insert(group);
                sets.join(first, group);
            }
            _ => {}
        }
    }
    let mut clusters: BTreeMap<usize, Vec<Listed>> = BTreeMap::new();
    for (index, group) in groups.into_iter().enumerate() {
        clusters.entry(sets.root(index)).or_default().push(group);
    }
    let mut clusters: Vec<Vec<Listed>> = clusters.into_values().collect();
    for cluster in &mut clusters {
        // Parents before their children, by and large.
        cluster.sort_by_key(|group| (group.started, group.first_pid));
    }
    clusters.sort_by_key(|cluster| {
        let oldest = cluster.first();
        std::cmp::Reverse((oldest.and_then(|group| group.started), oldest.map(|group| group.first_pid)))
    });
    clusters
}

/// Whether two groups that have such a thing in common belong together.
fn ties(kind: ThingKind) -> bool {
    !matches!(
        kind,
        ThingKind::Terminal
            | ThingKind::X11
            | ThingKind::Wayland
            | ThingKind::MessageBus
            | ThingKind::PipeWire
            | ThingKind::PulseAudio
            | ThingKind::Gpu
            | ThingKind::Sound
            | ThingKind::Camera
            | ThingKind::Device
            | ThingKind::RemoteHost
    )
}

/// Sets that grow together.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&self, mut index: usize) -> usize {
        while let Some(above) = self.0.get(index).copied().filter(|above| *above != index) {
            index = above;
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(above) = self.0.get_mut(one.max(other)) {
            *above = one.min(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, ProcessName, Strength};

    use super::*;

    fn group(pid: i32, comm: &str, started: u64) -> Listed {
        let name = ProcessName { pid: Pid(pid), comm: comm.to_owned() };
        Listed {
            id: pid.to_string(),
            kind: GroupKind::Tree,
            name: comm.to_owned(),
            icon: None,
            application: None,
            unit: None,
            first_pid: Pid(pid),
            processes: 1,
            members: vec![name],
            joined: Vec::new(),
            memory: None,
            private: None,
            swap: None,
            cpu: None,
            started: Some(started),
            uid: None,
            user: None,
            paused: false,
            ended: false,
            verdict: None,
        }
    }

    fn process(pid: i32) -> Node {
        Node::Process { name: ProcessName { pid: Pid(pid), comm: String::new() }, member: false }
    }

    fn edge(from: usize, to: usize, kind: EdgeKind) -> Edge {
        Edge { from, to, kind, strength: Strength::Weak, from_end: None, to_end: None }
    }

    fn ids(clusters: &[Vec<Listed>]) -> Vec<Vec<i32>> {
        clusters.iter().map(|cluster| cluster.iter().map(|group| group.first_pid.0).collect()).collect()
    }

    #[test]
    fn what_is_connected_sleeps_together_and_the_youngest_first() {
        let groups =
            vec![group(1000, "old", 1), group(1001, "server", 2), group(1002, "client", 4), group(1003, "own", 3)];
        let thing = |kind| Node::Thing { kind, name: String::new() };
        let graph = Graph {
            nodes: vec![
                process(1001),
                process(1002),
                process(1000),
                process(1003),
                thing(ThingKind::Service),
                thing(ThingKind::MessageBus),
            ],
            edges: vec![
                edge(1, 4, EdgeKind::Asks),
                edge(4, 0, EdgeKind::ServedBy),
                edge(2, 5, EdgeKind::Asks),
                edge(3, 5, EdgeKind::Asks),
            ],
        };
        assert_eq!(ids(&clusters(groups, &graph)), [vec![1003], vec![1001, 1002], vec![1000]]);
    }

    #[test]
    fn a_child_goes_with_its_parent() {
        let groups = vec![group(7, "child", 5), group(6, "parent", 5)];
        let graph = Graph { nodes: vec![process(6), process(7)], edges: vec![edge(0, 1, EdgeKind::Parent)] };
        assert_eq!(ids(&clusters(groups, &graph)), [vec![6, 7]]);
    }

    #[test]
    fn nobody_who_stays_falls_asleep_with_his_parent() {
        let groups = vec![group(5, "shell", 1), group(6, "build", 2), group(7, "kept", 3), group(8, "other", 4)];
        let graph = Graph {
            nodes: vec![process(5), process(6), process(7), process(8)],
            edges: vec![edge(0, 1, EdgeKind::Parent), edge(1, 2, EdgeKind::Parent), edge(0, 3, EdgeKind::Parent)],
        };
        let plan = plan(0, groups, &graph, &["kept".to_owned()]);
        assert_eq!(ids(&plan.clusters), [vec![8]]);
        assert_eq!(plan.left.iter().map(|left| left.group.first_pid.0).collect::<Vec<_>>(), [7]);
        let tied: Vec<i32> = plan.tied.iter().flat_map(|tied| &tied.groups).map(|group| group.first_pid.0).collect();
        assert_eq!(tied, [5, 6]);
        let problem = &plan.tied[0].problems[0];
        assert!(problem.process.as_ref().is_some_and(|process| process.pid == Pid(7)), "{problem}");
    }

    #[test]
    fn the_session_itself_services_and_what_is_not_wanted_stay() {
        let service =
            Listed { kind: GroupKind::Service, unit: Some("sync.service".to_owned()), ..group(1000, "sync", 1) };
        let own = group(std::process::id() as i32, "test", 2);
        let foreign = Listed { uid: Some(0), ..group(1004, "su", 5) };
        let mine = Listed { uid: Some(5), ..group(1002, "build", 3) };
        let groups = vec![service, group(1001, "dbus-daemon", 1), mine, group(1003, "other", 4), own, foreign];
        let plan = plan(5, groups, &Graph::default(), &["1003".to_owned()]);
        assert_eq!(ids(&plan.clusters), [vec![1002]]);
        let left: Vec<(i32, String)> =
            plan.left.iter().map(|left| (left.group.first_pid.0, left.why.clone())).collect();
        for (pid, word) in [(1000, "systemd"), (1001, "dbus-daemon"), (1003, "request"), (1004, "su (pid 1004)")] {
            assert!(left.iter().any(|(of, why)| *of == pid && why.contains(word)), "{left:?}");
        }
        assert_eq!(left.len(), 5);
    }
}
