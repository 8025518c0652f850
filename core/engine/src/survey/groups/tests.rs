//! The rules of grouping, tried on values.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::survey::everyone::Cgroups;

fn process(pid: i32, parent: i32, session: i32, cgroup: &str) -> Process {
    let cgroups = Cgroups::parse(format!("1:name=systemd:/\n0::{cgroup}\n").into_bytes()).expect("a path");
    let (parent, session) = (Pid(parent), Pid(session));
    Process { parent, session, cgroups: Some(Arc::new(cgroups)), ..Process::sample(pid, &["/bin/x"]) }
}

fn on_terminal(pid: i32, parent: i32, session: i32, cgroup: &str) -> Process {
    Process { terminal: Some((136, 3)), ..process(pid, parent, session, cgroup) }
}

/// Each group's id, kind and pids.
fn sorted(processes: &[Process]) -> Vec<(String, GroupKind, Vec<i32>)> {
    let pids = |group: &Group<'_>| group.members.iter().map(|process| process.pid.0).collect();
    of(processes).iter().map(|group| (group.id.clone(), group.kind, pids(group))).collect()
}

#[test]
fn a_process_belongs_to_its_unit_else_to_its_session_else_to_its_tree() {
    let app = "/user.slice/user@1000.service/app.slice/app-gnome-org.x.Y-12.scope";
    let processes = [
        process(1, 0, 1, "/init.scope"),
        process(10, 1, 10, "/system.slice/cron.service"),
        process(12, 1, 12, app),
        process(13, 12, 13, app),
        process(20, 1, 20, "/user.slice/session-1.scope"),
        process(21, 20, 20, "/user.slice/session-1.scope"),
        process(30, 1, 0, "/"),
        process(31, 30, 1, "/"),
        process(32, 31, 0, "/"),
        process(33, 1, 0, "/"),
    ];
    let expected = [
        ("cron.service", GroupKind::Service, vec![10]),
        ("app-gnome-org.x.Y-12.scope", GroupKind::App, vec![12, 13]),
        ("session-20", GroupKind::Session, vec![20, 21]),
        ("30", GroupKind::Tree, vec![30, 31, 32]),
        ("33", GroupKind::Tree, vec![33]),
    ];
    assert_eq!(sorted(&processes), expected.map(|(id, kind, pids)| (id.to_owned(), kind, pids)));
}

#[test]
fn the_shells_of_a_terminal_emulator_are_groups_of_their_own() {
    let scope = "/user.slice/user@1000.service/app.slice/app-org.kde.konsole-50.scope";
    let processes = [
        process(50, 1, 50, scope),
        on_terminal(51, 50, 51, &format!("{scope}/tab(51).scope")),
        on_terminal(52, 51, 51, scope),
        // It has given up the terminal, and stays in the session.
        process(53, 52, 51, scope),
        on_terminal(60, 50, 60, scope),
        process(70, 50, 70, scope),
    ];
    let groups = sorted(&processes);
    let pids: Vec<_> = groups.iter().map(|(id, _, pids)| (id.as_str(), pids.as_slice())).collect();
    let app = "app-org.kde.konsole-50.scope";
    assert_eq!(pids, [(app, &[50, 70][..]), ("session-51", &[51, 52, 53]), ("session-60", &[60])]);
}

#[test]
fn a_unit_that_begins_on_a_terminal_stays_whole() {
    let scope = "/user.slice/user@1000.service/app.slice/run-u7.scope";
    let processes = [on_terminal(80, 51, 51, scope), process(81, 80, 81, scope)];
    assert_eq!(sorted(&processes), [("run-u7.scope".to_owned(), GroupKind::Service, vec![80, 81])]);
}

#[test]
fn units_of_one_name_are_told_apart() {
    let processes = [
        process(5, 1, 5, "/system.slice/dbus.service"),
        process(6, 1, 6, "/user.slice/user-1000.slice/user@1000.service/session.slice/dbus.service"),
        process(7, 1, 7, "/user.slice/user-1001.slice/user@1001.service/session.slice/dbus.service"),
        process(8, 1, 8, "/other/dbus.service"),
    ];
    let groups = of(&processes);
    let ids: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(ids, ["dbus.service:pid-5", "dbus.service:1000", "dbus.service:1001", "dbus.service:pid-8"]);
    assert!(matches!(find(&groups, "dbus.service:1001"), Found::One(group) if group.first.pid == Pid(7)));
    assert!(matches!(find(&groups, "dbus"), Found::Several));
}

#[test]
fn a_person_means_a_group_by_its_id_a_pid_or_its_application() {
    let processes =
        [process(12, 1, 12, "/app-gnome-org.x.Y-12.scope"), process(13, 12, 13, "/app-gnome-org.x.Y-12.scope")];
    let groups = of(&processes);
    for text in ["app-gnome-org.x.Y-12.scope", "app-gnome-org.x.Y-12", "12", "13", "org.x.Y"] {
        assert!(matches!(find(&groups, text), Found::One(group) if group.first.pid == Pid(12)), "{text}");
    }
    assert!(matches!(find(&groups, "14"), Found::None) && matches!(find(&groups, ""), Found::None));
}

#[test]
fn threads_of_the_kernel_belong_to_no_group() {
    assert!(of(&[Process { kernel_thread: true, ..process(2, 0, 0, "/") }]).is_empty());
}

proptest! {
    #[test]
    fn every_process_is_in_one_group_and_no_two_have_one_id(
        facts in proptest::collection::vec((0..12_i32, 0..12_i32, 0..6_usize, any::<bool>()), 1..12)
    ) {
        const PATHS: [&str; 6] = ["/", "/a.service", "/b.scope", "/user@5.service/a.service", "/user@5.service/x/a.service", "/session-1.scope"];
        let processes: Vec<Process> = facts.iter().enumerate().map(|(index, (parent, session, path, terminal))| {
            let make = if *terminal { on_terminal } else { process };
            make(index as i32 + 2, *parent, *session, PATHS[*path])
        }).collect();
        let groups = of(&processes);
        let mut pids: Vec<i32> = groups.iter().flat_map(|group| &group.members).map(|process| process.pid.0).collect();
        pids.sort_unstable();
        prop_assert_eq!(pids, (2..facts.len() as i32 + 2).collect::<Vec<_>>());
        let ids: BTreeSet<&str> = groups.iter().map(|group| group.id.as_str()).collect();
        prop_assert_eq!(ids.len(), groups.len());
    }
}
