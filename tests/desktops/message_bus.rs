//! A session bus that lives as long as one program, and a program that listens on it.

use dormouse_wire::ProblemKind;

use crate::said::{CLOSE, at_socket, same};
use crate::scene::{Scene, check_until, group_of};

#[test]
fn a_session_of_dbus_is_one_group_and_freezes_whole_or_not_at_all() {
    let mut scene = Scene::new();
    let session = scene.start(&mut scene.program("dbus-run-session", &["--", "dbus-monitor", "--session"]));
    let (bus, monitor) = (scene.find("dbus-daemon"), scene.find("dbus-monitor"));

    // The program alone would lose its bus.
    let at = |said: &crate::said::Said| {
        let ties = said.ties();
        let bus = ties.iter().find_map(|tie| tie.strip_prefix("dbus-monitor asks message-bus "));
        bus.map(str::to_owned).ok_or("it is not connected")
    };
    let said = check_until(monitor, |said| {
        let what = format!("it is connected to a message bus (D-Bus), dbus-daemon (pid {bus}), at {}", at(said)?);
        said.is_blocked_by(&[at_socket(ProblemKind::UnixSocket, monitor, what, CLOSE)])
    });
    let address = at(&said).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(address.starts_with("/tmp/dbus-"), "{address}");
    assert_eq!(said.members(), ["dbus-monitor"]);
    assert!(said.bound_to().is_empty(), "{:#?}", said.ties());

    // The session takes its bus along, and nothing stands in the way.
    let said = check_until(session, |said| said.is_blocked_by(&[]));
    assert_eq!(said.members(), ["dbus-daemon", "dbus-monitor", "dbus-run-sessio"]);
    let has = [
        "dbus-run-sessio parent dbus-daemon",
        "dbus-run-sessio parent dbus-monitor",
        &format!("dbus-monitor asks message-bus {address}"),
        &format!("message-bus {address} served-by dbus-daemon"),
    ];
    assert_eq!(said.has(&has), Ok(()));
    assert!(said.text.contains("It can be frozen, and nothing would be lost."), "{}", said.text);

    let listed = group_of(monitor);
    assert_eq!((listed.name.as_str(), listed.first_pid, listed.processes), ("dbus-run-session", session, 3));
    // It runs on, and so does the bus.
    check_until(bus, |said| same(said.members(), vec!["dbus-daemon"]));
}
