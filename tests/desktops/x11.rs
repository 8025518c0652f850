//! Programs on an X11 display, with a session bus.

use dormouse_engine::survey::x11::{Options, look};
use dormouse_wire::{Pid, ProblemKind, Strength};
use harness::wait::{PATIENCE, until};

use crate::said::{CLOSE, NEST, Reason, TOGETHER, at_socket, same};
use crate::scene::{Scene, check_until, group_of};

const DISPLAY: &str = "@/tmp/.X11-unix/X0";

/// Starts a display in memory, `:0`.
fn screen(scene: &mut Scene) -> Pid {
    let mut server = scene.program("Xvfb", &["-nolisten", "tcp", "-displayfd", "1", "-screen", "0", "800x600x24"]);
    let (server, number) = scene.start_saying(&mut server);
    assert_eq!(number, "0");
    server
}

/// Waits until a process has its window, and nobody is asked who may still be busy with that.
fn wait_for_window(pid: Pid) {
    let shown = until(PATIENCE, || (!look(&Options::default()).windows_of(&[pid]).is_empty()).then_some(()));
    assert!(shown.is_some(), "{pid} shows no window");
}

#[test]
fn a_terminal_and_the_shell_in_it_are_two_groups_with_an_edge_between_them() {
    let mut scene = Scene::new();
    let server = screen(&mut scene);
    let mut xterm = scene.program("xterm", &["-T", "Notes", "-e", "bash", "--norc"]);
    let xterm = scene.start(xterm.env("DISPLAY", ":0"));
    wait_for_window(xterm);
    let shell = scene.find("bash");

    let connected = format!("it is connected to the X11 display server, Xvfb (pid {server}), at {DISPLAY}");
    let because = [at_socket(ProblemKind::UnixSocket, xterm, connected, NEST)];
    let said = check_until(xterm, |said| said.is_blocked_by(&because));
    // Whoever freezes the terminal freezes the shell; the server is left alone.
    assert_eq!(said.members(), ["bash", "xterm"]);
    let has = [&format!("x11 {DISPLAY} served-by Xvfb"), &format!("xterm asks x11 {DISPLAY}"), "xterm parent bash"];
    assert_eq!(said.has(&has), Ok(()));
    let terminal = |tie: &&String| tie.starts_with("xterm drives! terminal /dev/pts/");
    assert!(said.ties().iter().any(|tie| terminal(&tie)), "{:#?}", said.ties());
    assert!(said.ties().iter().any(|tie| tie.ends_with(" controls bash")), "{:#?}", said.ties());
    assert!(said.bound_to().is_empty(), "{:#?}", said.ties());
    assert!(said.text.contains("On the X display :0 it holds 1 window: Notes."), "{}", said.text);

    let (terminal, shell) = (group_of(xterm), group_of(shell));
    assert_eq!(
        (terminal.name.as_str(), terminal.icon.as_deref(), terminal.processes),
        ("XTerm", Some("mini.xterm"), 1)
    );
    assert_eq!((shell.name.as_str(), shell.processes), ("bash", 1));
    assert_eq!(group_of(server).name, "Xvfb");
}

/// An app of GNOME with its window on the display.
struct App {
    program: &'static str,
    /// The command name, which the kernel has cut short.
    comm: &'static str,
    name: &'static str,
    icon: &'static str,
    title: &'static str,
}

const APPS: [App; 2] = [
    App {
        program: "gnome-calculator",
        comm: "gnome-calculato",
        name: "Calculator",
        icon: "org.gnome.Calculator",
        title: "Calculator",
    },
    App {
        program: "gnome-text-editor",
        comm: "gnome-text-edit",
        name: "Text Editor",
        icon: "org.gnome.TextEditor",
        title: "New Document (Draft) - Text Editor",
    },
];

/// What the display and the two buses are to an app.
fn reasons(app: Pid, server: Pid, bus: (Pid, &str), accessibility: (Pid, &str)) -> Vec<Reason> {
    let socket = |what, way_out| at_socket(ProblemKind::UnixSocket, app, what, way_out);
    let assistive = "the message bus of assistive technology (D-Bus)";
    vec![
        socket(format!("it is connected to the X11 display server, Xvfb (pid {server}), at {DISPLAY}"), NEST),
        socket(format!("it is connected to a message bus (D-Bus), dbus-daemon (pid {}), at {}", bus.0, bus.1), CLOSE),
        socket(
            format!("it is connected to {assistive}, dbus-daemon (pid {}), at {}", accessibility.0, accessibility.1),
            CLOSE,
        ),
        // The extension MIT-SHM: pictures go to the server in memory.
        Reason {
            kind: ProblemKind::Memory,
            pid: app,
            at: "shared memory ",
            what: format!("Xvfb (pid {server}) has this memory too and is not part of the group"),
            way_out: TOGETHER,
        },
    ]
}

#[test]
fn apps_of_gnome_are_groups_of_their_own_beside_the_display_and_the_buses() {
    let mut scene = Scene::new();
    let server = screen(&mut scene);
    let address = format!("unix:path={}/bus", scene.runtime().display());
    let mut bus =
        scene.program("dbus-daemon", &["--session", "--nofork", "--print-address", "1", "--address", &address]);
    let (bus, _) = scene.start_saying(bus.env("DISPLAY", ":0"));
    let apps = APPS.map(|app| {
        let mut command = scene.program(app.program, &[]);
        let pid = scene.start(command.env("DISPLAY", ":0").env("DBUS_SESSION_BUS_ADDRESS", &address));
        (pid, app)
    });
    let own_bus = format!("{}/bus", scene.runtime().display());
    let assistive = format!("{}/at-spi/bus_0", scene.runtime().display());
    for (pid, _) in &apps {
        wait_for_window(*pid);
    }
    let said = check_until(apps[0].0, |said| said.server_of(&assistive).map(|_| ()));
    let accessibility = said.server_of(&assistive).unwrap_or_else(|wrong| panic!("{wrong}"));

    for (pid, app) in &apps {
        let expected = reasons(*pid, server, (bus, &own_bus), (accessibility, &assistive));
        let said = check_until(*pid, |said| said.is_blocked_by(&expected));
        assert_eq!(said.members(), [app.comm]);
        let has = [
            format!("{} asks x11 {DISPLAY}", app.comm),
            format!("x11 {DISPLAY} served-by Xvfb"),
            format!("{} asks message-bus {own_bus}", app.comm),
            format!("message-bus {own_bus} served-by dbus-daemon"),
            format!("{} asks message-bus {assistive}", app.comm),
        ];
        assert_eq!(said.has(&has.each_ref().map(String::as_str)), Ok(()));
        assert!(said.common("system-v", Strength::Weak, &[*pid, server]) > 0, "{:#?}", said.ties());
        assert!(said.bound_to().is_empty(), "{:#?}", said.ties());
        assert_eq!(said.checked.displays.iter().map(|display| display.number).collect::<Vec<_>>(), [0]);
        let sentence = format!("On the X display :0 it holds 1 window: {}.", app.title);
        assert!(said.text.contains(&sentence), "{}", said.text);
        let listed = group_of(*pid);
        assert_eq!((listed.name.as_str(), listed.icon.as_deref(), listed.processes), (app.name, Some(app.icon), 1));
        assert_eq!(listed.first_pid, *pid);
    }
    scene.find("at-spi2-registr");
    let mut of_the_bus: Vec<String> = group_of(bus).members.into_iter().map(|member| member.comm).collect();
    of_the_bus.sort();
    assert_eq!(of_the_bus, ["at-spi-bus-laun", "at-spi2-registr", "dbus-daemon", "dbus-daemon"]);

    // Whoever asks for the server gets the server, though it shares memory with its clients.
    let said = check_until(server, |said| same(said.members(), vec!["Xvfb"]));
    assert!(said.bound_to().is_empty(), "{:#?}", said.ties());
    for (pid, app) in &apps {
        let what = format!("{} (pid {pid}) is connected to it at {DISPLAY} and is not part of the group", app.comm);
        assert!(said.reasons().iter().any(|reason| reason.what == what), "{}", said.text);
    }
}
