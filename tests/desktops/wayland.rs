//! A Wayland compositor without a screen, and an app of GNOME on it in a bus session of its own.

use dormouse_wire::{Pid, ProblemKind, Strength};

use crate::said::{CLOSE, NEST, Reason, Said, TOGETHER, at_socket, same};
use crate::scene::{Scene, check_until, group_of, wait_for};

/// What the compositor is to the app.
fn shows(app: Pid, weston: Pid, display: &str) -> Vec<Reason> {
    let connected = format!("it is connected to the Wayland display server, weston (pid {weston}), at {display}");
    let what = format!("weston (pid {weston}) has this memory too and is not part of the group");
    vec![
        at_socket(ProblemKind::UnixSocket, app, connected, NEST),
        // Pictures go to the compositor in memory.
        Reason { kind: ProblemKind::Memory, pid: app, at: "shared memory ", what, way_out: TOGETHER },
    ]
}

/// What the two buses are to the app.
fn buses(said: &Said, app: Pid, assistive: &str) -> Result<Vec<Reason>, String> {
    const ASKS: &str = "gnome-calculato asks message-bus ";
    let ties = said.ties();
    let at = ties.iter().find_map(|tie| tie.strip_prefix(ASKS).filter(|at| at.starts_with("/tmp/dbus-")));
    let at = at.ok_or("it is not connected to the bus")?;
    let reason = |what: &str, at: &str| -> Result<Reason, String> {
        let what = format!("it is connected to {what} (D-Bus), dbus-daemon (pid {}), at {at}", said.server_of(at)?);
        Ok(at_socket(ProblemKind::UnixSocket, app, what, CLOSE))
    };
    Ok(vec![reason("a message bus", at)?, reason("the message bus of assistive technology", assistive)?])
}

#[test]
fn a_compositor_and_an_app_on_it_are_two_groups() {
    let mut scene = Scene::new();
    let options =
        ["--backend=headless-backend.so", "--use-pixman", "--socket=wayland-7", "--idle-time=0", "--no-config"];
    let weston = scene.start(&mut scene.program("weston", &options));
    let display = scene.runtime().join("wayland-7");
    wait_for(&display);
    let display = display.display().to_string();
    scene.find("weston-desktop-");
    let mut session = scene.program("dbus-run-session", &["--", "gnome-calculator"]);
    let session = scene.start(session.env("WAYLAND_DISPLAY", "wayland-7").env("GDK_BACKEND", "wayland"));
    let app = scene.find("gnome-calculato");

    // The app alone: its display and its buses are outside.
    let connected = shows(app, weston, &display);
    let assistive = format!("{}/at-spi/bus", scene.runtime().display());
    let said =
        check_until(app, |said| said.is_blocked_by(&[connected.clone(), buses(said, app, &assistive)?].concat()));
    assert_eq!(said.members(), ["gnome-calculato"]);
    let has = [format!("gnome-calculato asks wayland {display}"), format!("wayland {display} served-by weston")];
    assert_eq!(said.has(&has.each_ref().map(String::as_str)), Ok(()));
    assert!(said.common("shared-memory", Strength::Weak, &[app, weston]) > 0, "{:#?}", said.ties());
    assert!(said.bound_to().is_empty(), "{:#?}", said.ties());

    // With its session, the display alone is outside.
    let group =
        ["at-spi-bus-laun", "at-spi2-registr", "dbus-daemon", "dbus-daemon", "dbus-run-sessio", "gnome-calculato"];
    check_until(session, |said| {
        same(said.members(), group.to_vec())?;
        said.is_blocked_by(&connected)
    });
    let listed = group_of(app);
    assert_eq!((listed.first_pid, listed.processes), (session, group.len()));

    // The compositor takes its own helpers along, and no app that shows its window there.
    let helpers = ["weston", "weston-desktop-", "weston-keyboard"];
    let said = check_until(weston, |said| same(said.members(), helpers.to_vec()));
    let what = format!("gnome-calculato (pid {app}) is connected to it at {display} and is not part of the group");
    assert!(said.reasons().iter().any(|reason| reason.what == what), "{}", said.text);
    let has = ["weston parent weston-keyboard", "weston parent weston-desktop-"];
    assert_eq!(said.has(&has), Ok(()));
    assert!(said.bound_to().is_empty(), "{:#?}", said.ties());
    let listed = group_of(weston);
    assert_eq!((listed.name.as_str(), listed.processes), ("weston", 3));
}
