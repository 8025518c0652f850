//! What is left alone: Dormouse itself, and what the person who asks needs to wake anything again.

use std::collections::HashSet;

use dormouse_wire::{EdgeKind, Graph, Listed, Node, Phrase, Pid, ThingKind, phrase};

/// Units that make the desktop, by how their names begin, systemd.special(7), "Units for graphical sessions".
const UNITS: [&str; 9] = [
    "dbus.service",
    "dbus-broker.service",
    "dormouse.service",
    "gnome-session",
    "org.gnome.Shell@",
    "pipewire",
    "plasma-kwin_",
    "plasma-plasmashell",
    "wireplumber.service",
];

/// Why a group must run on, if it must: a clause without a full stop. `caller`: the process that asks.
pub fn reason(group: &Listed, graph: &Graph, caller: Option<Pid>) -> Option<Phrase> {
    let own = Pid(std::process::id() as i32);
    let has = |pid: Pid| group.members.iter().any(|member| member.pid == pid);
    if has(own) || caller.is_some_and(has) {
        return Some(phrase!("Dormouse itself runs in it"));
    }
    if let Some(unit) = group.unit.as_ref().filter(|unit| UNITS.iter().any(|begin| unit.starts_with(begin))) {
        return Some(phrase!("it is part of the desktop ({unit})", unit));
    }
    let served = caller.map(|caller| servers(graph, caller)).unwrap_or_default();
    let member = group.members.iter().find(|member| served.contains(&member.pid))?;
    Some(phrase!("{member} serves the desktop that you look at", member))
}

/// Who serves the display and the message bus of a process.
fn servers(graph: &Graph, caller: Pid) -> HashSet<Pid> {
    let pid = |place: usize| match graph.nodes.get(place) {
        Some(Node::Process { name, .. }) => Some(name.pid),
        _ => None,
    };
    let is_desktop = |place: usize| {
        let desktop = [ThingKind::X11, ThingKind::Wayland, ThingKind::MessageBus];
        matches!(graph.nodes.get(place), Some(Node::Thing { kind, .. }) if desktop.contains(kind))
    };
    let asked = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::Asks && pid(edge.from) == Some(caller));
    let things: HashSet<usize> = asked.map(|edge| edge.to).filter(|place| is_desktop(*place)).collect();
    let serving = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::ServedBy && things.contains(&edge.from));
    serving.filter_map(|edge| pid(edge.to)).collect()
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{Edge, GroupKind, ProcessName, Strength};

    use super::*;

    fn name(pid: i32, comm: &str) -> ProcessName {
        ProcessName { pid: Pid(pid), comm: comm.to_owned() }
    }

    fn group(unit: Option<&str>, members: Vec<ProcessName>) -> Listed {
        Listed {
            id: "x".to_owned(),
            kind: GroupKind::Tree,
            name: "x".to_owned(),
            icon: None,
            application: None,
            unit: unit.map(str::to_owned),
            first_pid: members[0].pid,
            processes: members.len(),
            members,
            joined: Vec::new(),
            memory: None,
            private: None,
            swap: None,
            cpu: None,
            started: None,
            uid: None,
            user: None,
            paused: false,
            ended: false,
            verdict: None,
        }
    }

    #[test]
    fn the_caller_and_whoever_serves_him_run_on() {
        let edge = |from, to, kind| Edge { from, to, kind, strength: Strength::Weak, from_end: None, to_end: None };
        let process = |pid, comm| Node::Process { name: name(pid, comm), member: false };
        let thing = |kind, name: &str| Node::Thing { kind, name: name.to_owned() };
        let graph = Graph {
            nodes: vec![
                process(10, "app"),
                thing(ThingKind::Wayland, "/run/user/1000/wayland-0"),
                process(20, "weston"),
                process(30, "client"),
                thing(ThingKind::Wayland, "/run/user/1000/wayland-1"),
                process(40, "weston"),
                thing(ThingKind::Service, "/run/cups"),
                process(50, "cupsd"),
            ],
            edges: vec![
                edge(0, 1, EdgeKind::Asks),
                edge(1, 2, EdgeKind::ServedBy),
                edge(3, 4, EdgeKind::Asks),
                edge(4, 5, EdgeKind::ServedBy),
                edge(0, 6, EdgeKind::Asks),
                edge(6, 7, EdgeKind::ServedBy),
            ],
        };
        let of = |members: Vec<ProcessName>| reason(&group(None, members), &graph, Some(Pid(10)));
        assert_eq!(of(vec![name(9, "sh"), name(10, "app")]).as_deref(), Some("Dormouse itself runs in it"));
        let served = of(vec![name(20, "weston")]);
        assert_eq!(served.as_deref(), Some("weston (pid 20) serves the desktop that you look at"));
        // Another compositor, nested or of somebody else's seat, and a service that is no desktop.
        assert_eq!(of(vec![name(40, "weston")]), None);
        assert_eq!(of(vec![name(50, "cupsd")]), None);
        let shell = group(Some("org.gnome.Shell@wayland.service"), vec![name(60, "gnome-shell")]);
        assert!(reason(&shell, &graph, None).is_some());
    }
}
